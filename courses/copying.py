"""Copying a course: by hand, at a launch (once, however many arrive), and taking a fresh copy back (design §5)."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import IntegrityError, OperationalError, transaction
from django.db.models import Q
from django.utils import timezone
from pydantic import TypeAdapter
from pydantic import ValidationError as InputError

from courses.definitions import DefinitionError
from courses.models import Assignment, Course, CourseAlias, Enrolment, Module, code_validator
from courses.signals import course_contents_copied, undoing_considered
from events.log import Actor, EventType, record
from events.models import Event
from organizations.identifiers import first_uuid7_of, uuid7
from organizations.input_types import Line
from organizations.upsert import insert_missing

UNDO_WITHIN = timedelta(days=1)
_DEADLOCK = "40P01"
# What a copy does not take over from its parent. All other settings it does, those of the future too.
_ITS_OWN = {
    "id", "organization", "code", "name", "lms_course_url", "course_copy", "archived",
    "copied_from", "copied_at", "created_at",
}  # fmt: skip
_LINE: TypeAdapter[str] = TypeAdapter(Line)


class CopyNotUndoneError(Exception):
    """The copy stays; `str()` says why, in a sentence for whoever wanted to take it back."""


def copy_course(parent: Course, *, code: str, actor: Actor, name: str = "") -> Course:
    """A new course with the parent's modules, assignments (same constant keys), rooms and settings, dates as they are.

    People, scores, sessions and recordings, LMS links, aliases and the course LMS URL stay with the parent; course copy
    is off in the copy. An archived course is copied like any other, and its copy is not archived. `name` empty:
    "Copy of …". Event `course.copied` in the same transaction. Raises `DefinitionError` for `code` or `name`: what is
    wrong with it, or `taken`, when the organization has another course that is known by this code.
    """
    name = _checked("name", name) if name.strip() else ""
    code = _checked_code(code)
    course, is_new = _copy(parent, code, name, actor, by="request", before_name="Copy of ")
    if not is_new:
        known = f"the course {course.code} exists already"
        if course.code != code:
            known = f"LMSs know the course {course.code} by this name"
        raise DefinitionError("code", known, taken=True)
    return course


def copy_once(parent: Course, *, code: str, actor: Actor, name: str = "") -> tuple[Course, bool]:
    """The course of the parent's organization that is known by `code`, made as a copy of the parent if there is none.

    Returns (course, whether it was made now): for a hundred at once, True for one of them. The course need not be a
    copy of the parent: it may have been there, or another launch may have copied another one. For launches, inside
    their transaction: nobody waits who finds the course there, and who makes it holds a lock on the parent that neither
    launches nor enrolments of the parent's people wait for. Whether the parent may be copied (course copy on, not
    archived, same organization as the launch) is the caller's to check. `name` empty: the parent's; unfit characters
    in it are left out. Raises `DefinitionError` for a `code` that no course can have (`code`: too long, slashes).
    """
    code = _checked_code(code)
    known = _known_as(parent.organization_id, code)
    if known is not None:
        return known, False
    name = "".join(character if character.isprintable() else " " for character in name).strip()[:255].strip()
    return _copy(parent, code, name, actor, by="launch")


def undo_copy(course: Course, actor: Actor) -> None:
    """Deletes a copy that was made within the last day and that nobody has worked in.

    Links and LMS courses that opened it are unmapped. Event `course.copy_undone`. Raises `CopyNotUndoneError`, and then
    nothing has changed: it is no copy; it is older; a learner has come in, or has a submission or a score; a
    session was held; or something was added to it since. Teachers' and mentors' visits, and people of the roster who
    never came, do not keep it.
    """
    try:
        with transaction.atomic():
            # What is inserted below the course or its assignments at this moment waits at its commit, and then fails
            # as a whole: it can neither be overlooked nor be deleted silently.
            locked = Course.objects.select_for_update().filter(pk=course.pk).first()
            if locked is None:
                raise CopyNotUndoneError("The course is not there any more.")
            list(Assignment.objects.select_for_update().filter(course=locked).order_by("pk").values_list("pk"))
            reason = reason_to_keep(locked, lock=True)
            if reason:
                raise CopyNotUndoneError(reason)
            record(
                locked.organization_id,
                EventType.COURSE_COPY_UNDONE,
                actor=actor,
                subject_kind="course",
                subject_id=locked.pk,
                data=_told(locked),
            )
            locked.delete()
    except (IntegrityError, OperationalError) as error:
        # A launch that renames its LMS course holds that row, and waits for this course while this waits for the row.
        if isinstance(error, OperationalError) and getattr(error.__cause__, "pgcode", "") != _DEADLOCK:
            raise
        raise CopyNotUndoneError("Somebody came into the course at this very moment. Nothing has changed.") from error


def reason_to_keep(course: Course, *, lock: bool = False) -> str:
    """Why the course cannot be taken back as a copy, in a sentence; "" when it can.

    `lock`: it is about to be, in this transaction, and nothing may be inserted below it that was not seen here.
    """
    if course.copied_at is None:
        return "This course was not made as a copy."
    if timezone.now() > course.copied_at + UNDO_WITHIN:
        return "The copy is older than a day. Archive the course instead."
    arrived = course.enrolments.filter(role=Enrolment.Role.STUDENT, last_launch_at__isnull=False)
    # Whoever came as a student and is a teacher by now has a launch to tell; the organization's are found by an index.
    launched = course.launches.filter(
        organization=course.organization_id, pk__gte=first_uuid7_of(course.copied_at), role=Enrolment.Role.STUDENT
    )
    if arrived.exists() or launched.exists():
        return "Students have opened the copy already. Archive the course instead."
    if course.assignments.filter(Q(submissions__isnull=False) | Q(scores__isnull=False)).exists():
        return "There is work in the copy already. Archive the course instead."
    if course.assignments.exclude(created_at=course.copied_at).exists():
        return "Assignments were added to the copy. Archive the course instead."
    answers = undoing_considered.send(Course, course=course, lock=lock)
    return next((reason for _, reason in answers if reason), "")


def was_copied_by(course: Course, actor: Actor) -> bool:
    """Whether it was this actor who had the copy made, as its event says."""
    made = Event.objects.filter(
        organization=course.organization_id,
        type=EventType.COURSE_COPIED,
        subject__id=str(course.pk),
        actor__kind=actor.kind,
        actor__id=actor.id,
    )
    return bool(actor.id) and made.exists()


def proposed_code(parent: Course) -> str:
    """A free code for a copy: the parent's with `-copy`, numbered where that is taken."""
    stem = parent.code[:240].rstrip()
    courses = Course.objects.filter(organization=parent.organization_id, code__startswith=f"{stem}-copy")
    aliases = CourseAlias.objects.filter(organization=parent.organization_id, value__startswith=f"{stem}-copy")
    taken = {*courses.values_list("code", flat=True), *aliases.values_list("value", flat=True)}
    number, code = 1, f"{stem}-copy"
    while code in taken:
        number += 1
        code = f"{stem}-copy-{number}"
    return code


def _known_as(organization_id: UUID, code: str) -> Course | None:
    """The course of this code, else the one whose alias it is: a target id is matched against both (contract §3)."""
    return (
        Course.objects.filter(organization=organization_id, code=code).first()
        or Course.objects.filter(aliases__organization=organization_id, aliases__value=code).first()
    )


def _copy(parent: Course, code: str, name: str, actor: Actor, *, by: str, before_name: str = "") -> tuple[Course, bool]:
    """(the copy, True), or (the course that is known by this code, False). `name` empty: the parent's, with
    `before_name` before it."""
    with transaction.atomic():
        # One copier at a time, and no half of a change of settings. A lock that inserts below the parent wait for would
        # keep its people out, and parallel launches that hold it in part would wait for each other.
        locked = Course.objects.select_for_update(no_key=True).filter(pk=parent.pk).first()
        if locked is None:
            raise DefinitionError("parent", "the course is not there any more")
        parent = locked
        known = _known_as(parent.organization_id, code)
        if known is not None:
            return known, False
        copied_at = timezone.now()
        settings = {
            field.attname: getattr(parent, field.attname)
            for field in Course._meta.concrete_fields
            if field.name not in _ITS_OWN
        }
        course = Course(
            **settings,
            organization_id=parent.organization_id,
            code=code,
            name=name or f"{before_name}{parent.name}"[:255],
            copied_from_id=parent.pk,
            copied_at=copied_at,
            created_at=copied_at,
        )
        values = {field.attname: getattr(course, field.attname) for field in Course._meta.concrete_fields}
        # Somebody who makes a course of this code without this parent is met at the unique constraint.
        insert_missing(Course, values)
        stored = Course.objects.get(organization=parent.organization_id, code=code)
        if stored.pk != course.pk:
            return stored, False
        _copy_contents(parent, stored)
        record(
            parent.organization_id,
            EventType.COURSE_COPIED,
            actor=actor,
            subject_kind="course",
            subject_id=stored.pk,
            data={**_told(stored), "by": by},
        )
    return stored, True


def _copy_contents(parent: Course, course: Course) -> None:
    # The assignments first, in one statement: a module that comes meanwhile is copied, one that goes leaves its
    # assignments without a module, as it does in the parent.
    assignments = list(parent.assignments.order_by("position", "id"))
    modules = list(parent.modules.order_by("position", "id"))
    new_modules = [
        Module(id=new_id, course=course, name=module.name, position=module.position)
        for new_id, module in zip(_ids(len(modules)), modules, strict=True)
    ]
    by_old_id = {module.pk: new.pk for module, new in zip(modules, new_modules, strict=True)}
    own: dict[str, Any] = {"course_id": course.pk, "created_at": course.copied_at}
    new_assignments = []
    for new_id, assignment in zip(_ids(len(assignments)), assignments, strict=True):
        values = {field.attname: getattr(assignment, field.attname) for field in Assignment._meta.concrete_fields}
        module_id = by_old_id.get(assignment.module_id) if assignment.module_id else None
        new_assignments.append(Assignment(**{**values, **own, "id": new_id, "module_id": module_id}))
    Module.objects.bulk_create(new_modules, batch_size=500)
    Assignment.objects.bulk_create(new_assignments, batch_size=200)
    pairs = list(zip(assignments, new_assignments, strict=True))
    course_contents_copied.send(Course, parent=parent, course=course, assignments=pairs)


def _ids(count: int) -> list[UUID]:
    """New ids in their order: rows of one position stand in the order of their ids."""
    return sorted(uuid7() for _ in range(count))


def _told(course: Course) -> dict[str, Any]:
    return {
        "course": str(course.pk),
        "code": course.code,
        "name": course.name,
        "copied_from": str(course.copied_from_id) if course.copied_from_id else None,
    }


def _checked_code(code: str) -> str:
    code = _checked("code", code)
    try:
        code_validator(code)
    except ValidationError as error:
        raise DefinitionError("code", "use at most 255 characters, without slashes") from error
    return code


def _checked(field: str, text: str) -> str:
    try:
        return _LINE.validate_python(text)
    except InputError as error:
        raise DefinitionError(field, _plain(error)) from error


def _plain(error: InputError) -> str:
    first = error.errors(include_input=False)[0]
    messages = {
        "string_too_short": "is required",
        "string_too_long": "use at most 255 characters",
        "string_unicode": "contains a character that is not allowed",
    }
    return messages.get(first["type"]) or first["msg"].removeprefix("Value error, ")
