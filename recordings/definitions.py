"""Rooms, and assignments that are live sessions, as others define them: the API and `provision` come in through these
verbs. What an assignment is beside its room is defined below, in courses/definitions.py."""

from decimal import Decimal
from typing import Annotated, Any, Literal

from django.db import IntegrityError, transaction
from django.db.models import Max
from pydantic import ConfigDict, Field

from courses import definitions as courses
from courses.definitions import DefinitionError, Slug
from courses.models import Assignment, Course
from organizations.input_types import EmptyIsNone, Input, Line, Points
from recordings.attendance_grades import grade_again
from recordings.models import AttendanceGrading, MeetingServer, Room
from recordings.room_settings import SettingsError, checked_settings

_MOST_REQUIRED = 99_999


class RoomSettingsDefinition(Input):
    """A room. A key left out keeps its value (or, in a new room, gets the default)."""

    title: Line = Field(default="", description="Left out in a new room: its slug.", validate_default=False)
    meeting_server: Annotated[Line | None, EmptyIsNone] = Field(
        default=None, description="The name of its meeting server. Null: the organization's default."
    )
    settings: dict[str, Any] = Field(
        default={}, description="By the names of the custom parameters; null takes one away, others stay as they are."
    )
    enabled: bool = Field(default=True, strict=True)


class RoomDefinition(RoomSettingsDefinition):
    """A room, found by its slug in its course."""

    slug: Slug


class AttendanceDefinition(Input):
    """How attendance becomes the score. A key left out keeps its value (or, at first, gets the default)."""

    measure: Literal["none", "minutes", "share"] = Field(
        default="none", description="What is counted: minutes in the session, or its share in percent."
    )
    required: Points = Field(default=1, description="Minutes or percent that give all points.", validate_default=True)
    proportional: bool = Field(default=False, strict=True, description="Less than required gives a part of the points.")
    span: Literal["best", "all"] = Field(default="best", description="The best meeting counts, or all together.")


class AssignmentSettings(courses.AssignmentSettings):
    """The settings of an assignment. A key left out keeps its value (or, in a new assignment, gets the default)."""

    room: Annotated[Slug | None, EmptyIsNone] = Field(
        default=None, description="The slug of the room that a `room` assignment opens."
    )
    attendance: AttendanceDefinition | None = Field(
        default=None, description="How attendance in the room is graded. Null: not at all."
    )


class AssignmentDefinition(AssignmentSettings, courses.AssignmentDefinition):
    """An assignment, found by its slug in its course."""

    model_config = ConfigDict(json_schema_extra=courses.AssignmentDefinition.model_config.get("json_schema_extra"))


def make_room(course: Course, definition: RoomDefinition) -> Room:
    """A new room at the end of the course. Raises DefinitionError when it cannot be."""
    last = course.rooms.aggregate(last=Max("position"))["last"]
    room = Room(
        course=course,
        slug=definition.slug,
        title=definition.title or definition.slug,
        position=0 if last is None else last + 1,
    )
    _apply(room, definition)
    try:
        with transaction.atomic():
            room.save(force_insert=True)
    except IntegrityError as error:
        if not Room.objects.filter(course=course, slug=room.slug).exists():
            raise
        raise DefinitionError("slug", f"the course has a room {room.slug} already", taken=True) from error
    return room


def change_room(room: Room, definition: RoomSettingsDefinition) -> Room:
    """Changes what the definition names, and nothing else. Raises DefinitionError when the result cannot be."""
    with transaction.atomic():
        # A teacher may be saving the settings at this moment.
        room = Room.objects.select_for_update(of=("self",)).select_related("course", "server").get(pk=room.pk)
        changed = _apply(room, definition)
        if changed:
            room.save(update_fields=changed)
    return room


def _apply(room: Room, definition: RoomSettingsDefinition) -> list[str]:
    named = definition.model_fields_set
    wanted: dict[str, Any] = {name: getattr(definition, name) for name in ("title", "enabled") if name in named}
    if "meeting_server" in named:
        wanted["server"] = _server(room.course, definition.meeting_server)
    if "settings" in named:
        try:
            wanted["settings"] = checked_settings({**room.settings, **definition.settings})
        except SettingsError as error:
            raise DefinitionError(f"settings.{error.field}", error.message) from error
    changed = [name for name, value in wanted.items() if getattr(room, name) != value]
    for name in changed:
        setattr(room, name, wanted[name])
    return changed


def _server(course: Course, name: str | None) -> MeetingServer | None:
    if name is None:
        return None
    server = MeetingServer.objects.filter(organization=course.organization_id, name=name).first()
    if server is None:
        raise DefinitionError("meeting_server", f"the organization has no meeting server {name}")
    return server


def make_assignment(course: Course, definition: AssignmentDefinition) -> Assignment:
    """A new assignment at the end of the course, with its room. Raises DefinitionError when it cannot be."""
    with transaction.atomic():
        assignment = courses.make_assignment(course, definition)
        set_room(assignment, definition)
    return assignment


def change_assignment(assignment: Assignment, settings: AssignmentSettings, *, slug: str | None = None) -> Assignment:
    """Changes what the settings name, and nothing else; an assignment that is a live session no more loses its room.

    Raises DefinitionError when the result cannot be.
    """
    with transaction.atomic():
        assignment = courses.change_assignment(assignment, settings, slug=slug)
        set_room(assignment, settings)
    return assignment


def grading_of(assignment: Assignment) -> AttendanceGrading | None:
    """The room of the assignment, and how attendance there is graded; None for one of another kind."""
    return getattr(assignment, "attendance_grading", None)


def set_room(assignment: Assignment, settings: AssignmentSettings) -> None:
    """Gives an assignment of kind `room` the room that the settings name, and takes that of any other away.

    Raises DefinitionError when the result cannot be.
    """
    grading = grading_of(assignment)
    if assignment.kind != Assignment.Kind.ROOM:
        for name in ("room", "attendance"):
            if getattr(settings, name) is not None:
                raise DefinitionError(name, f"an assignment of kind {assignment.kind} has none: use kind room")
        if grading is not None:
            grading.delete()
            assignment._meta.get_field("attendance_grading").delete_cached_value(assignment)
        return
    if grading is None:
        grading = AttendanceGrading(assignment=assignment)
    stored = {name: getattr(grading, name) for name in _GRADED} if grading.room_id else {}
    if settings.room is not None:
        grading.room = _room(assignment, settings.room)
    elif "room" in settings.model_fields_set or not grading.room_id:
        raise DefinitionError("room", "an assignment of kind room needs the slug of its room")
    if "attendance" in settings.model_fields_set:
        _set_attendance(grading, settings.attendance)
    wanted = {name: getattr(grading, name) for name in _GRADED}
    if wanted != stored:
        grading.save()
        grade_again(grading)


_GRADED = ("room_id", "measure", "required", "proportional", "span")


def _room(assignment: Assignment, slug: str) -> Room:
    room = Room.objects.filter(course=assignment.course_id, slug=slug).first()
    if room is None:
        raise DefinitionError("room", f"the course has no room {slug}")
    return room


def _set_attendance(grading: AttendanceGrading, definition: AttendanceDefinition | None) -> None:
    if definition is None:
        grading.measure = AttendanceGrading.Measure.NONE
        return
    for name in definition.model_fields_set:
        setattr(grading, name, getattr(definition, name))
    most = 100 if grading.measure == AttendanceGrading.Measure.SHARE else _MOST_REQUIRED
    if not Decimal(0) < grading.required <= most:
        raise DefinitionError("attendance.required", f"must be more than 0, and at most {most}")
