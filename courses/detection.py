"""Which course a launch means, by what the LMS says of its own course (design §5, I1)."""

import hashlib
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import F, FilteredRelation, Q, QuerySet

from courses.models import Assignment, Course, CourseAlias, LmsCourse, code_validator
from lti.errors import LaunchError, LaunchErrorCode
from lti.message import LaunchMessage
from lti.texts import resolved
from organizations.models import Installation, Organization

TARGET_PARAMETERS = ("course_target_id", "codio_course_target_id", "codio_class_target_id")
OFFERING_PARAMETERS = ("codio_course_offering_sourcedid", "course_offering_sourcedid")
PARENT_PARAMETERS = ("parent_course_id", "codio_parent_course_id", "codio_parent_class_id")

NAME_LIMIT = 255
_SOURCEDID_LIMIT = 8 * 1024
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class CourseNames:
    """What a launch calls its course, "" where it says nothing: an unresolved variable and a blank are nothing (A38).

    `target` was given explicitly, `offering` and `section` are the LMS's sourcedids, `parent` is which course to copy.
    """

    target: str = ""
    offering: str = ""
    section: str = ""
    parent: str = ""

    @property
    def in_order(self) -> tuple[str, ...]:
        """The names that can name a course, the strongest first."""
        return tuple(name for name in (self.target, self.offering, self.section) if name and len(name) <= NAME_LIMIT)


def names_of(message: LaunchMessage) -> CourseNames:
    """What the launch calls its course. Raises `LaunchError` MALFORMED for a name that is too long or holds control
    characters."""
    return CourseNames(
        target=_custom(message, TARGET_PARAMETERS, NAME_LIMIT),
        offering=message.course_offering_sourcedid or _custom(message, OFFERING_PARAMETERS, _SOURCEDID_LIMIT),
        section=message.course_section_sourcedid,
        parent=_custom(message, PARENT_PARAMETERS, NAME_LIMIT),
    )


def _custom(message: LaunchMessage, names: Iterable[str], limit: int) -> str:
    for name in names:
        value = message.custom_value(name)
        if not resolved(value):
            continue
        if len(value) > limit or _CONTROL_CHARACTER.search(value):
            raise LaunchError(
                LaunchErrorCode.MALFORMED,
                f"{name} is an id",
                expected=f"at most {limit} characters, none of them a control character",
                received=f"{len(value)} characters"
                + (", with control characters" if _CONTROL_CHARACTER.search(value) else ""),
                cause=f"The custom parameter {name} in the LMS was filled with something else. Correct it there.",
            )
        return resolved(value)
    return ""


def assignment_named_by(
    names: CourseNames, assignments: QuerySet[Assignment], remembered: Sequence[UUID]
) -> Assignment | None:
    """Of these assignments (alike, in several courses) the one in the course that the launch names: by target id, else
    offering, else section, else the first that fits of the remembered courses. At most one statement.

    An explicit target id is never overruled by a guess: where it names none of these courses, None.
    """
    values = names.in_order
    assignments = assignments.select_related("course").order_by()
    found: list[Any] = []
    if values:
        named = Q(course__code__in=values) | Q(known_as__isnull=False) | Q(course__in=remembered)
        found = list(
            assignments.annotate(
                known_as=FilteredRelation("course__aliases", condition=Q(course__aliases__value__in=values)),
                alias=F("known_as__value"),
            ).filter(named)
        )
    elif remembered:
        found = list(assignments.filter(course__in=remembered))
    for value in values:
        for assignment in found:
            if assignment.course.code == value:
                return assignment
        for assignment in found:
            if assignment.alias == value:
                return assignment
        if value == names.target:
            return None
    by_course = {assignment.course_id: assignment for assignment in found}
    return next((by_course[course_id] for course_id in remembered if course_id in by_course), None)


def course_known_as(organization: Organization, name: str) -> Course | None:
    """The organization's course of this code, else the one that has learned this alias."""
    if not name or len(name) > NAME_LIMIT:
        return None
    courses = Course.objects.filter(organization=organization)
    return (
        courses.filter(code=name).first()
        or courses.filter(aliases__organization=organization, aliases__value=name).first()
    )


def parent_known_as(organization: Organization, name: str) -> Course | None:
    """The course that `parent_course_id` names: by its id, code or alias (contract §3)."""
    try:
        course = Course.objects.filter(organization=organization, pk=UUID(name)).first()
    except (ValueError, ValidationError):
        course = None
    return course or course_known_as(organization, name)


def code_for(target: str) -> str:
    """The code of a course made for this target id: the id itself, unless no course can be called so.

    Then one that resembles it, always the same for the same id and another for any other; the id becomes its alias.
    """
    try:
        code_validator(target)
        if target.isprintable():
            return target
    except ValidationError:
        pass
    fit = "".join(letter if letter.isprintable() and letter != "/" else "-" for letter in target)
    return f"{fit[:200].strip()}-{hashlib.sha256(target.encode()).hexdigest()[:8]}"


def learn(course: Course, name: str) -> bool:
    """Remembers another name of the course (I1); False when another course is known by it. The course's own code and
    what is too long for a name are not learned."""
    if not name or len(name) > NAME_LIMIT:
        return True
    known = course_known_as(course.organization, name)
    if known is None:
        alias, _ = CourseAlias.objects.get_or_create(
            organization=course.organization, value=name, defaults={"course": course}
        )
        return alias.course_id == course.pk
    return known.pk == course.pk


def ancestors(installation: Installation, history: Sequence[str], own: str = "") -> list[LmsCourse]:
    """The LMS courses of this very installation that the history names and that open a course of ours, newest first
    (I2, I3). `own` is the context id of the launch itself."""
    wanted = [context_id for context_id in history if context_id and context_id != own]
    if not wanted:
        return []
    known = LmsCourse.objects.select_related("course").filter(
        installation=installation, context_id__in=wanted, course__isnull=False
    )
    return sorted(known, key=lambda lms_course: wanted.index(lms_course.context_id))


def counterpart(course: Course, assignments: Collection[Assignment]) -> Assignment | None:
    """The first of these that the course has too: the same constant key."""
    for assignment in assignments:
        if assignment.course_id == course.pk:
            return assignment
        same = Assignment.objects.filter(course=course, constant_key=assignment.constant_key).first()
        if same is not None:
            same.course = course
            return same
    return None
