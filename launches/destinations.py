"""Where a launch goes: the first of four rules that matches (design §5)."""

from dataclasses import dataclass, replace
from enum import StrEnum
from uuid import UUID

from django.core.exceptions import ValidationError

from courses.detection import course_known_as, names_of
from courses.models import Assignment, Course, ResourceLink
from events.log import Actor
from launches.course_finding import (
    CopyOrder,
    CourseQuestion,
    NamedBy,
    find_assignment,
    find_for_unnamed,
    remembered_courses,
)
from launches.own_course import find_own_course
from lti.errors import LaunchError, LaunchErrorCode
from lti.message import LaunchMessage
from lti.roles import CourseRole
from organizations.models import Installation, Organization
from organizations.prepared_query import PreparedQuery
from recordings.models import Room


class ResourceKind(StrEnum):
    """What a launch URL can name."""

    ANY = "any"
    ASSIGNMENT = "assignment"
    CONSTANT = "constant"
    ENROLL = "enroll"
    COURSE = "course"
    ROOM = "room"


@dataclass(frozen=True)
class Resource:
    """What the launch URL names: for ASSIGNMENT, ENROLL and ROOM an id, for CONSTANT a constant key; COURSE is the LMS
    course's own."""

    kind: ResourceKind
    name: str = ""


@dataclass(frozen=True)
class Destination:
    """Where the person stands after the launch: an assignment, a live session's room (`room`, which an assignment of
    that kind has, too), a course's dashboard, or (none of them) the picker.

    `to_copy`: a copy is to be made first (`after_copying`). `question`: a teacher has to say which course is meant.
    """

    course: Course | None = None
    assignment: Assignment | None = None
    room: Room | None = None
    to_copy: CopyOrder | None = None
    question: CourseQuestion | None = None


def resolve(
    resource: Resource, message: LaunchMessage, installation: Installation, link: ResourceLink | None
) -> Destination:
    """The destination of a verified launch.

    Raises `LaunchError`: UNKNOWN_DESTINATION, LTI_DISABLED, COURSE_NOT_READY or LINK_NOT_SET_UP.
    """
    return _with_room(_checked(_named(resource, message, installation, link)))


def after_copying(destination: Destination, actor: Actor) -> Destination:
    """The destination once the course that it waits for is copied. Call it in the launch's transaction.

    Raises `LaunchError` as `resolve`.
    """
    if destination.to_copy is None:
        return destination
    return _with_room(_checked(_to(destination.to_copy.carry_out(actor), destination.to_copy.name)))


def _with_room(destination: Destination) -> Destination:
    """With the room of an assignment that is a live session."""
    assignment = destination.assignment
    if assignment is None or assignment.kind != Assignment.Kind.ROOM:
        return destination
    room = Room.objects.filter(gradings__assignment=assignment, course=assignment.course_id).first()
    return replace(destination, room=room)


def _checked(destination: Destination) -> Destination:
    course = destination.course
    if course is not None and (not course.lti_enabled or course.archived):
        raise LaunchError(
            LaunchErrorCode.LTI_DISABLED,
            "LTI is enabled in the course",
            expected="an active course with LTI enabled",
            received=f"{course.code}: {'archived' if course.archived else 'LTI is off'}",
            cause="A teacher or owner switched LTI off for this course, or archived it.",
        )
    return destination


def _named(
    resource: Resource, message: LaunchMessage, installation: Installation, link: ResourceLink | None
) -> Destination:
    organization = installation.organization
    if resource.kind is ResourceKind.ENROLL:
        return _enroll(resource, organization)
    if resource.kind is ResourceKind.COURSE:
        own = find_own_course(message, installation, link)
        return Destination(question=own) if isinstance(own, CourseQuestion) else Destination(own)
    if resource.kind is ResourceKind.ASSIGNMENT:
        # A link that names an assignment wins over a remembered mapping: Canvas SpeedGrader sends wrong link ids (C8).
        remembered = link.assignment if link is not None else None
        if remembered is not None and _is(remembered, resource.name, organization):
            # The remembered link opens that very assignment: it has been read already.
            return Destination(remembered.course, remembered)
        return _to(_assignment(organization, resource.name), resource.name)
    if resource.kind is ResourceKind.ROOM:
        return _to_room(_room(organization, resource.name), resource.name)
    if resource.kind is ResourceKind.CONSTANT:
        found = find_assignment(NamedBy.CONSTANT_KEY, resource.name, message, installation, link)
        return _to(found, resource.name)
    if link is not None and link.assignment is not None:
        return Destination(link.assignment.course, link.assignment)
    if link is not None and link.course is not None:
        return Destination(link.course)
    if link is not None:
        remembered_room = Room.objects.select_related("course").filter(links__resource_link=link).first()
        if remembered_room is not None:
            return _to_room(remembered_room, str(remembered_room.pk))
    named = message.custom_value("assignment", "codio_assignment")
    if named:
        return _to(_custom_assignment(named, message, installation, link), named)
    named_room = message.custom_value("room")
    if named_room:
        return _to_room(_custom_room(named_room, message, installation, link), named_room)
    unnamed = find_for_unnamed(message, installation, link)
    if unnamed is not None:
        return _to(unnamed, "")
    if message.roles.course_role is CourseRole.TEACHER:
        return Destination()
    raise LaunchError(
        LaunchErrorCode.LINK_NOT_SET_UP,
        "the link is set up",
        expected="a link that a teacher has connected to an assignment",
        received=f"link {message.resource_link_id!r} of course {message.context_title!r}",
        cause="No teacher has opened this link yet and chosen what it shows.",
    )


def _is(assignment: Assignment, assignment_id: str, organization: Organization) -> bool:
    return str(assignment.id) == assignment_id and assignment.course.organization_id == organization.id


def _to(found: Assignment | CopyOrder | CourseQuestion | None, name: str) -> Destination:
    match found:
        case None:
            raise _unknown(name)
        case CopyOrder():
            return Destination(to_copy=found)
        case CourseQuestion():
            return Destination(question=found)
    return Destination(found.course, found)


def _to_room(found: Room | None, name: str) -> Destination:
    if found is None:
        raise _unknown(name)
    return Destination(found.course, room=found)


def _unknown(name: str) -> LaunchError:
    return LaunchError(
        LaunchErrorCode.UNKNOWN_DESTINATION,
        "what the link names exists",
        expected="an assignment, room or course of this organization",
        received=name,
        cause="The launch URL was mistyped, what it names was deleted, it belongs to another organization's key, or "
        "the course that course_target_id names does not have it (or has constant URLs off).",
    )


def _assignment(organization: Organization, assignment_id: str) -> Assignment | None:
    try:
        return _ASSIGNMENT.first(organization=organization.id, assignment=UUID(assignment_id))
    except (ValueError, ValidationError):
        return None


_ASSIGNMENT = PreparedQuery(
    lambda organization, assignment: Assignment.objects.select_related("course").filter(
        course__organization=organization, pk=assignment
    ),
    organization=UUID,
    assignment=UUID,
)


def _room(organization: Organization, room_id: str) -> Room | None:
    try:
        return Room.objects.select_related("course").filter(course__organization=organization, pk=UUID(room_id)).first()
    except (ValueError, ValidationError):
        return None


def _custom_room(
    named: str, message: LaunchMessage, installation: Installation, link: ResourceLink | None
) -> Room | None:
    """The room of this id, else of this slug, which is unique in a course only: in the course that the launch names or
    that its LMS course opens."""
    by_id = _room(installation.organization, named)
    if by_id is not None:
        return by_id
    rooms = Room.objects.select_related("course").filter(course__organization=installation.organization, slug=named)
    names = names_of(message)
    for name in names.in_order:
        course = course_known_as(installation.organization, name)
        if course is not None:
            return rooms.filter(course=course).first()
        if name == names.target:
            # An explicit target id is never overruled by a guess.
            return None
    for course_id in remembered_courses(message, installation, link):
        found = rooms.filter(course=course_id).first()
        if found is not None:
            return found
    return None


def _enroll(resource: Resource, organization: Organization) -> Destination:
    try:
        course = Course.objects.filter(organization=organization, pk=UUID(resource.name)).first()
    except ValueError:
        course = None
    if course is None:
        raise _unknown(resource.name)
    if not course.enroll_only:
        raise LaunchError(
            LaunchErrorCode.LTI_DISABLED,
            "enroll to course only is on",
            expected="a course with “enroll to course only” on",
            received=course.code,
            cause="A teacher or owner switched “enroll to course only” off for this course.",
        )
    return Destination(course)


def _custom_assignment(
    named: str, message: LaunchMessage, installation: Installation, link: ResourceLink | None
) -> Assignment | CopyOrder | CourseQuestion | None:
    by_id = _assignment(installation.organization, named)
    if by_id is None:
        # A slug is unique in a course only: it counts in the course that the launch names.
        return find_assignment(NamedBy.SLUG, named, message, installation, link)
    if by_id.course.constant_urls and names_of(message).target:
        # A link that was copied with its LMS course, or that lost its constant URL: the target id says which course.
        found = find_assignment(NamedBy.CONSTANT_KEY, by_id.constant_key, message, installation, link)
        return by_id if found is None else found
    return by_id
