"""The course of a launch whose link names an assignment that several courses have, or names nothing at all: found,
to be copied, or a question for an instructor (design §5, I1 to I3)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from courses.copying import copy_once
from courses.definitions import DefinitionError
from courses.detection import (
    CourseNames,
    ancestors,
    assignment_named_by,
    code_for,
    counterpart,
    course_known_as,
    learn,
    names_of,
    parent_known_as,
)
from courses.models import Assignment, Course, LmsCourse, ResourceLink
from events.log import Actor
from lti.errors import LaunchError, LaunchErrorCode
from lti.message import LaunchMessage
from lti.roles import CourseRole
from organizations.models import Installation, Organization


class NamedBy(StrEnum):
    """How a link names its assignment: by its constant key, by the slug in a custom parameter, or not at all."""

    CONSTANT_KEY = "constant"
    SLUG = "slug"
    NOTHING = "nothing"


class Reason(StrEnum):
    """Why the launch does not say which course it means."""

    NOT_NAMED = "not_named"
    UNKNOWN_TARGET = "unknown_target"
    PARENT_UNKNOWN = "parent_unknown"
    PARENT_CLOSED = "parent_closed"
    PARENT_NOT_COPIED = "parent_not_copied"
    PARENT_LACKS_IT = "parent_lacks_it"
    COPIED = "copied"


_CAUSES = {
    Reason.NOT_NAMED: "With constant URLs the LMS has to say which course is meant: add the custom parameter "
    "course_target_id, or let a teacher open the link and choose.",
    Reason.UNKNOWN_TARGET: "No course has this code or has learned this target id. Add parent_course_id if it is to be "
    "made as a copy, or let a teacher open the link and choose.",
    Reason.PARENT_UNKNOWN: "This organization has no course with the id or code that parent_course_id names.",
    Reason.PARENT_CLOSED: "The course that parent_course_id names is archived, or LTI is off in it.",
    Reason.PARENT_NOT_COPIED: "Constant URLs or course copy are off in the course that parent_course_id names (course "
    "copy is always off in copies).",
    Reason.PARENT_LACKS_IT: "The course that parent_course_id names does not have the assignment of this link.",
    Reason.COPIED: "The LMS says that its course was copied from one that is known here. A teacher has to say whether "
    "ours is to be copied too.",
}


@dataclass(frozen=True)
class CourseQuestion:
    """What a launch said of its course where that decided nothing. `name` is the constant key or slug of the link.

    It is kept in `Launch.course_question` and read again when the page is shown.
    """

    named_by: NamedBy
    name: str
    reason: Reason
    target: str = ""
    offering: str = ""
    section: str = ""
    parent: str = ""
    context_history: tuple[str, ...] = ()
    link_history: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "CourseQuestion":
        return cls(
            **{
                **kept,
                "named_by": NamedBy(kept["named_by"]),
                "reason": Reason(kept["reason"]),
                "context_history": tuple(kept["context_history"]),
                "link_history": tuple(kept["link_history"]),
            }
        )

    @property
    def names(self) -> CourseNames:
        return CourseNames(self.target, self.offering, self.section, self.parent)


@dataclass(frozen=True)
class CopyOrder:
    """A copy to be made at the launch, and the link's assignment in it."""

    parent: Course
    target: str
    course_name: str
    named_by: NamedBy
    name: str

    def carry_out(self, actor: Actor) -> Assignment | None:
        """The link's assignment in the copy, which the first of many launches makes; None: another course has taken
        the target id meanwhile, without the assignment, or the parent is gone. Call it in the launch's transaction."""
        try:
            course, _ = copy_once(self.parent, code=code_for(self.target), name=self.course_name, actor=actor)
        except DefinitionError:
            return None  # the parent was deleted at this very moment
        if course.code != self.target:
            learn(course, self.target)
        return (
            assignments_named(self.parent.organization, self.named_by, self.name)
            .select_related("course")
            .filter(course=course)
            .first()
        )


def assignments_named(organization: Organization, named_by: NamedBy, name: str) -> QuerySet[Assignment]:
    """What a link may mean: the organization's assignments with this constant key (where constant URLs are on), or
    with this slug."""
    assignments = Assignment.objects.filter(course__organization=organization)
    if named_by is NamedBy.CONSTANT_KEY:
        return assignments.filter(course__constant_urls=True, constant_key=name)
    return assignments.filter(slug=name)


def find_assignment(
    named_by: NamedBy, name: str, message: LaunchMessage, installation: Installation, link: ResourceLink | None
) -> Assignment | CopyOrder | CourseQuestion | None:
    """The assignment in the course that the launch names, the copy to make for it, or what to ask a teacher.

    None: there is no such assignment, or none in the course that the target id names. Raises `LaunchError`: MALFORMED,
    and COURSE_NOT_READY where a teacher has to be asked and somebody else is there.
    """
    organization = installation.organization
    names = names_of(message)
    remembered = remembered_courses(message, installation, link)
    alike = assignments_named(organization, named_by, name)
    found = assignment_named_by(names, alike, remembered)
    if found is not None:
        return found
    some = list(alike.select_related("course").order_by()[:2])
    if not some:
        return None
    if names.target:
        known = course_known_as(organization, names.target)
        if known is not None:
            # It lacks the assignment, or another launch has made it since the statement before this one.
            return alike.select_related("course").filter(course=known).first()
        order = _copy_order(organization, names, named_by, name, message)
        return order if isinstance(order, CopyOrder) else _ask(named_by, name, order, names, message)
    if named_by is NamedBy.SLUG and len(some) == 1 and (remembered or not _is_copied(message, installation)):
        return some[0]
    reason = Reason.COPIED if not remembered and _is_copied(message, installation) else Reason.NOT_NAMED
    return _ask(named_by, name, reason, names, message)


def find_for_unnamed(
    message: LaunchMessage, installation: Installation, link: ResourceLink | None
) -> Assignment | CourseQuestion | None:
    """What a link opens that names nothing: the counterpart of what the link opened that it was copied from, where a
    teacher has said which course its LMS course is; or the question to a teacher, where the LMS course is a copy.

    None: the picker. Raises as `find_assignment`.
    """
    names = names_of(message)
    organization = installation.organization
    courses = remembered_courses(message, installation, link)
    if names.target:
        known = course_known_as(organization, names.target)
        if known is None:
            return _ask(NamedBy.NOTHING, "", Reason.UNKNOWN_TARGET, names, message)
        courses = [known.pk]
    if not courses:
        copied = bool(message.context_id) and _is_copied(message, installation)
        return _ask(NamedBy.NOTHING, "", Reason.COPIED, names, message) if copied else None
    course = Course.objects.filter(organization=organization, pk=courses[0]).first()
    if course is None or not message.resource_link_history:
        return None
    return counterpart(course, opened_before(installation, message.resource_link_history))


def opened_before(installation: Installation, link_history: Sequence[str]) -> list[Assignment]:
    """What the links open that a link was copied from, newest first: links of this very installation only (I3)."""
    links = (
        ResourceLink.objects.select_related("assignment__course")
        .filter(lms_course__installation=installation, resource_link_id__in=link_history, assignment__isnull=False)
        .order_by("id")
    )
    ordered = sorted(links, key=lambda one: link_history.index(one.resource_link_id))
    return [one.assignment for one in ordered if one.assignment is not None]


def courses_opened_by(link: ResourceLink) -> list[UUID]:
    """The course that the link's LMS course opens, then that of what the link opens.

    None where an owner has taken the course from the LMS course: its links wait for a new answer, too.
    """
    if link.lms_course.course_id is None and link.lms_course.context_id:
        return []
    opened = link.assignment.course_id if link.assignment is not None else link.course_id
    return list(dict.fromkeys(course_id for course_id in (link.lms_course.course_id, opened) if course_id))


def remembered_courses(message: LaunchMessage, installation: Installation, link: ResourceLink | None) -> list[UUID]:
    """The course that the LMS course opens, also for a link of it that nobody has opened before; then the one that the
    link itself has opened."""
    if link is not None:
        return courses_opened_by(link)
    if not message.context_id:
        return []
    known = LmsCourse.objects.filter(
        installation=installation, context_id=message.context_id, course__isnull=False
    ).values_list("course_id", flat=True)
    return [course_id for course_id in known[:1] if course_id]


def _is_copied(message: LaunchMessage, installation: Installation) -> bool:
    return bool(ancestors(installation, message.context_history, own=message.context_id))


def _copy_order(
    organization: Organization, names: CourseNames, named_by: NamedBy, name: str, message: LaunchMessage
) -> CopyOrder | Reason:
    """The copy that the launch may have made by itself (design §5), or why it may not."""
    if not names.parent:
        return Reason.UNKNOWN_TARGET
    parent = parent_known_as(organization, names.parent)
    if parent is None:
        return Reason.PARENT_UNKNOWN
    if parent.archived or not parent.lti_enabled:
        return Reason.PARENT_CLOSED
    if not parent.course_copy or not parent.constant_urls:
        return Reason.PARENT_NOT_COPIED
    if not assignments_named(organization, named_by, name).filter(course=parent).exists():
        return Reason.PARENT_LACKS_IT
    parent.organization = organization
    return CopyOrder(parent, names.target, message.context_title.strip() or parent.name, named_by, name)


def _ask(named_by: NamedBy, name: str, reason: Reason, names: CourseNames, message: LaunchMessage) -> CourseQuestion:
    """The question, for a teacher; anybody else has to wait for one (design §5)."""
    if message.roles.course_role is CourseRole.TEACHER:
        return CourseQuestion(
            named_by,
            name,
            reason,
            **asdict(names),
            context_history=message.context_history,
            link_history=message.resource_link_history,
        )
    said = {
        "course_target_id": names.target,
        "parent_course_id": names.parent,
        "lis_course_offering_sourcedid": names.offering,
        "lis_course_section_sourcedid": names.section,
    }
    raise LaunchError(
        LaunchErrorCode.COURSE_NOT_READY,
        "the launch names one course",
        expected="course_target_id, lis_course_offering_sourcedid or lis_course_section_sourcedid naming one course",
        received=", ".join(f"{what} {value!r}" for what, value in said.items() if value)
        or "none of them, or unresolved variables",
        cause=_CAUSES[reason],
    )
