"""Connecting an LMS's link to an assignment or a room: a teacher's choice at the first launch stays (design §5)."""

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
from recordings.models import Room, RoomLink


class AlreadyMappedError(Exception):
    """Somebody else has connected the link to something else meanwhile."""


def shown_room(link: ResourceLink) -> Room | None:
    """The room that the link opens, where it opens no assignment and no course."""
    found: RoomLink | None = getattr(link, "room_link", None)
    return found.room if found is not None and link.assignment_id is None and link.course_id is None else None


def map_link(visit: Visit, shown: Assignment | Room) -> Visit:
    """Connects the visit's link to an assignment or room of the visit's organization, and goes there with this visit.

    The LMS course remembers its course as its own if it has none yet, and the teacher is enrolled. Event
    `link.mapped`. Returns the visit as it is now. Raises `AlreadyMappedError` when the link opens something else
    already, `ObjectDoesNotExist` when what was chosen is not there any more, and `ValueError` for something of another
    organization.
    """
    if shown.course.organization_id != visit.organization.pk:
        raise ValueError("The assignment belongs to another organization.")
    link = visit.launch.resource_link
    if link is None:
        raise ValueError("The launch has no link.")
    with transaction.atomic():
        _hold_course_of(shown)
        link = _locked(link)
        before = _shown(link)
        if link.course_id is not None or before not in (None, shown.pk):
            raise AlreadyMappedError
        if before is None:
            _connect(link, shown, Actor.of(visit.person))
        return _go_there(visit, shown)


def change_link(
    link: ResourceLink, shown: Assignment | Room | None, *, seen: UUID | None, actor: Actor, visit: Visit | None = None
) -> None:
    """Lets a link show another assignment or room of its organization from now on, or (None) nothing until it is chosen
    anew.

    Event `link.mapped` with what it showed before as `was`. Work and scores stay where they are. The link's gradebook
    column goes along with an assignment; with none it stays the old one's, so that no grade of work that came by this
    link is lost. `seen` is the assignment or room that it was believed to show. `visit`: that of a teacher who stands
    in the link, and goes along. Raises `AlreadyMappedError` when it shows something else meanwhile,
    `ObjectDoesNotExist` when what was chosen is not there any more, and `ValueError` for something of another
    organization.
    """
    if shown is not None and shown.course.organization_id != link.lms_course.installation.organization_id:
        raise ValueError("The assignment belongs to another organization.")
    with transaction.atomic():
        if shown is not None:
            _hold_course_of(shown)
        link = _locked(link)
        if _shown(link) != seen:
            raise AlreadyMappedError
        if shown is None:
            _disconnect(link, actor)
            return
        if seen != shown.pk or link.course_id is not None:
            _connect(link, shown, actor)
            if isinstance(shown, Assignment):
                follow_link(link, shown)
        if visit is not None:
            _go_there(visit, shown)


def _shown(link: ResourceLink) -> UUID | None:
    """The id of the assignment or room that the link opens."""
    room = shown_room(link)
    return room.pk if room is not None else link.assignment_id


def _hold_course_of(shown: Assignment | Room) -> None:
    """Until the end of the transaction nobody takes back the copy that the assignment or room is in."""
    # Before the LMS course, as whoever takes it back locks them. Launches do not wait for this.
    list(Course.objects.select_for_update(no_key=True).filter(pk=shown.course_id).values_list("pk"))
    type(shown)._default_manager.only("pk").get(pk=shown.pk)


def _locked(link: ResourceLink) -> ResourceLink:
    """The link as it is now, held until the end of the transaction: of two teachers at once, one wins and the other is
    told."""
    # The LMS course first, then the link, as launches lock them: else a launch and this would wait for each other.
    LmsCourse.objects.select_for_update(no_key=True).get(pk=link.lms_course_id)
    # no_key: the rows of launches refer to its key, and launches hold cells that this is going to want.
    ResourceLink.objects.select_for_update(no_key=True).get(pk=link.pk)
    return ResourceLink.objects.select_related("lms_course__installation", "room_link__room").get(pk=link.pk)


def _connect(link: ResourceLink, shown: Assignment | Room, actor: Actor) -> None:
    was = _shown(link)
    RoomLink.objects.filter(resource_link=link).delete()
    link.assignment, link.course = (shown if isinstance(shown, Assignment) else None), None
    link.save(update_fields=["assignment", "course"])
    told: dict[str, Any] = {"assignment": None, "course": str(shown.course_id)}
    if isinstance(shown, Room):
        # A launch by the room's own address may have remembered it at this very moment.
        upsert(RoomLink, {"resource_link_id": link.pk}, {"room_id": shown.pk})
        told["room"] = str(shown.pk)
    else:
        told["assignment"] = str(shown.pk)
    _tell(link, actor, told, was)
    # A launch without a context id belongs to no course of the LMS (A31).
    LmsCourse.objects.filter(pk=link.lms_course_id, course=None).exclude(context_id="").update(course=shown.course)


def _disconnect(link: ResourceLink, actor: Actor) -> None:
    was = _shown(link)
    RoomLink.objects.filter(resource_link=link).delete()
    if was is None and link.course_id is None:
        return
    link.assignment, link.course = None, None
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


def _go_there(visit: Visit, shown: Assignment | Room) -> Visit:
    """The visit in this assignment or room, its teacher enrolled in the course. Call it in a transaction."""
    course = shown.course
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
    assignment = shown if isinstance(shown, Assignment) else None
    room = shown if isinstance(shown, Room) else None
    Launch.objects.filter(pk=visit.launch.pk).update(course=course, assignment=assignment, room=room)
    return replace(visit, course=course, assignment=assignment)
