"""Connecting an LMS's link to an assignment: what a teacher chooses at the first launch is remembered (design §5)."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from courses.models import Assignment, Course, Enrolment, LmsCourse, ResourceLink
from events.log import Actor, EventType, record
from grades.cells import follow_link
from launches.models import Launch
from launches.visits import Visit
from organizations.upsert import upsert


class AlreadyMappedError(Exception):
    """Somebody else has connected the link to something else meanwhile."""


def map_link(visit: Visit, assignment: Assignment) -> Visit:
    """Connects the visit's link to an assignment of the visit's organization, and goes there with this visit.

    The LMS course remembers the assignment's course as its own if it has none yet, and the teacher is enrolled. Event
    `link.mapped`. Returns the visit as it is now. Raises `AlreadyMappedError` when the link opens something else
    already, `Assignment.DoesNotExist` when the assignment is not there any more, and `ValueError` for one of another
    organization.
    """
    if assignment.course.organization_id != visit.organization.pk:
        raise ValueError("The assignment belongs to another organization.")
    link = visit.launch.resource_link
    if link is None:
        raise ValueError("The launch has no link.")
    with transaction.atomic():
        _hold_course_of(assignment)
        link = _locked(link)
        if link.course_id is not None or (link.assignment_id is not None and link.assignment_id != assignment.pk):
            raise AlreadyMappedError
        if link.assignment_id is None:
            _connect(link, assignment, Actor.of(visit.person))
        return _go_there(visit, assignment)


def change_link(
    link: ResourceLink, assignment: Assignment | None, *, seen: UUID | None, actor: Actor, visit: Visit | None = None
) -> None:
    """Lets a link show another assignment of its organization from now on, or (None) nothing until it is chosen anew.

    Event `link.mapped` with what it showed before as `was`. Work and scores stay where they are. The link's gradebook
    column goes along with an assignment; with none it stays the old one's, so that no grade of work that came by this
    link is lost. `seen` is the assignment that it was believed to show. `visit`: that of a teacher who stands in the
    link, and goes along. Raises `AlreadyMappedError` when it shows something else meanwhile,
    `Assignment.DoesNotExist` when the assignment is not there any more, and `ValueError` for one of another
    organization.
    """
    if assignment is not None and assignment.course.organization_id != link.lms_course.installation.organization_id:
        raise ValueError("The assignment belongs to another organization.")
    with transaction.atomic():
        if assignment is not None:
            _hold_course_of(assignment)
        link = _locked(link)
        if link.assignment_id != seen:
            raise AlreadyMappedError
        if assignment is None:
            _disconnect(link, actor)
            return
        if link.assignment_id != assignment.pk or link.course_id is not None:
            _connect(link, assignment, actor)
            follow_link(link, assignment)
        if visit is not None:
            _go_there(visit, assignment)


def _hold_course_of(assignment: Assignment) -> None:
    """Until the end of the transaction nobody takes back the copy that the assignment is in."""
    # Before the LMS course, as whoever takes it back locks them. Launches do not wait for this.
    list(Course.objects.select_for_update(no_key=True).filter(pk=assignment.course_id).values_list("pk"))
    Assignment.objects.only("pk").get(pk=assignment.pk)


def _locked(link: ResourceLink) -> ResourceLink:
    """The link as it is now, held until the end of the transaction: of two teachers at once, one wins and the other is
    told."""
    # The LMS course first, then the link, as launches lock them: else a launch and this would wait for each other.
    LmsCourse.objects.select_for_update(no_key=True).get(pk=link.lms_course_id)
    # no_key: the rows of launches refer to its key, and launches hold cells that this is going to want.
    ResourceLink.objects.select_for_update(no_key=True).get(pk=link.pk)
    return ResourceLink.objects.select_related("lms_course__installation").get(pk=link.pk)


def _connect(link: ResourceLink, assignment: Assignment, actor: Actor) -> None:
    was, link.assignment, link.course = link.assignment_id, assignment, None
    link.save(update_fields=["assignment", "course"])
    _tell(link, actor, {"assignment": str(assignment.pk), "course": str(assignment.course_id)}, was)
    # A launch without a context id belongs to no course of the LMS (A31).
    LmsCourse.objects.filter(pk=link.lms_course_id, course=None).exclude(context_id="").update(course=assignment.course)


def _disconnect(link: ResourceLink, actor: Actor) -> None:
    if link.assignment_id is None and link.course_id is None:
        return
    was, link.assignment, link.course = link.assignment_id, None, None
    link.save(update_fields=["assignment", "course"])
    _tell(link, actor, {"assignment": None, "course": None}, was)


def _tell(link: ResourceLink, actor: Actor, shows: dict[str, Any], was: UUID | None) -> None:
    data = {**shows, "by": "teacher"}
    record(
        link.lms_course.installation.organization_id,
        EventType.LINK_MAPPED,
        actor=actor,
        subject_kind="resource_link",
        subject_id=link.pk,
        data=data if was is None else {**data, "was": str(was)},
    )


def _go_there(visit: Visit, assignment: Assignment) -> Visit:
    """The visit in this assignment, its teacher enrolled in the course. Call it in a transaction."""
    course = assignment.course
    enrolment_id, enrolled = upsert(
        Enrolment,
        {"course_id": course.pk, "person_id": visit.person.pk},
        {"role": visit.role, "state": Enrolment.State.ACTIVE, "last_launch_at": timezone.now()},
    )
    if enrolled:
        record(
            visit.organization,
            EventType.ENROLMENT_CREATED,
            actor=Actor.of(visit.person),
            subject_kind="enrolment",
            subject_id=enrolment_id,
            data={"course": str(course.pk), "person": str(visit.person.pk), "role": visit.role},
        )
    Launch.objects.filter(pk=visit.launch.pk).update(course=course, assignment=assignment)
    return replace(visit, course=course, assignment=assignment)
