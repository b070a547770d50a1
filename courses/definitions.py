"""Courses and assignments as others define them: the API and `provision` come in through these verbs."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from django.db import IntegrityError, transaction
from django.db.models import Max
from pydantic import ConfigDict, Field

from courses.course_settings import note_changed_settings
from courses.models import IFRAME_SIZE, Assignment, Course, Module
from events.log import Actor
from organizations.input_types import EmptyIsNone, GuardedAddress, Input, Line, Moment, Points, Text
from organizations.models import Organization

# As the models' validators say it (code_validator, slug_validator).
Code = Annotated[Line, Field(pattern=r"^[^/]+$", description="Unique in the organization; also its target id.")]
Slug = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9_-]{0,98}[A-Za-z0-9])?$",
        description="Unique in the course: letters, digits, - and _ (at most 100).",
    ),
]
Policy = Literal["GRADE_RELEASE", "ALWAYS", "CHANGED"]
FrameSize = Annotated[int, Field(strict=True, ge=IFRAME_SIZE[0], le=IFRAME_SIZE[1])]


class DefinitionError(ValueError):
    """A definition that cannot be: `field` names the key; `taken` says that another row has this value already."""

    def __init__(self, field: str, message: str, *, taken: bool = False) -> None:
        super().__init__(message)
        self.field = field
        self.message = message
        self.taken = taken


def as_a_change(example: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    """Adapts a JSON schema to a change, with an example: a key left out stays as it is, so that there is no default."""

    def adapt(schema: dict[str, Any]) -> None:
        schema.pop("required", None)
        for shown in schema.get("properties", {}).values():
            shown.pop("default", None)
        schema["example"] = example

    return adapt


class ModuleDefinition(Input):
    """A module of a course."""

    name: Line


class CourseSettings(Input):
    """The settings of a course. A key left out keeps its value (or, in a new course, gets the default)."""

    name: Line = Field(default="", description="Left out in a new course: its code.", validate_default=False)
    lti_enabled: bool = Field(default=True, strict=True, description="Off: launches are refused with lti_disabled.")
    constant_urls: bool = Field(default=False, strict=True, description="Copies of the course share one set of URLs.")
    course_copy: bool = Field(default=False, strict=True, description="Launches may copy the course.")
    enroll_only: bool = Field(default=False, strict=True, description="No grades are passed back to the LMS.")
    lms_course_url: Annotated[GuardedAddress | None, EmptyIsNone] = Field(
        default=None, description="The course in the LMS, https: where students are sent to start an assignment."
    )
    release_grades_automatically: bool = Field(default=False, strict=True)
    send_grade: Policy = Field(default="GRADE_RELEASE", description="When a score goes to the LMS.")
    hide_not_started: bool = Field(
        default=False, strict=True, description="Students' dashboards show what they have started, and nothing else."
    )
    filter_learners_for_mentors: bool = Field(
        default=False, strict=True, description="Mentors see the learners that the LMS names for them, and nobody else."
    )
    public_feedback_link: bool = Field(
        default=False, strict=True, description="Grades carry a link to the feedback that needs no sign-in."
    )
    iframe_width: FrameSize = Field(default=1000, description="Of the frame that deep linking asks for, in pixels.")
    iframe_height: FrameSize = Field(default=800, description="Of the frame that deep linking asks for, in pixels.")
    archived: bool = Field(default=False, strict=True)
    modules: list[ModuleDefinition] = Field(
        default=[], max_length=1000, description="In their order. Modules that are not named stay."
    )


class CourseDefinition(CourseSettings):
    """A course, found by its code."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "code": "cs101",
                "name": "Introduction",
                "lms_course_url": "https://lms.example/course/view.php?id=5",
                "release_grades_automatically": True,
                "send_grade": "GRADE_RELEASE",
                "modules": [{"name": "Week 1"}],
            }
        }
    )

    code: Code


class AssignmentSettings(Input):
    """The settings of an assignment. A key left out keeps its value (or, in a new assignment, gets the default)."""

    title: Line = Field(default="", description="Left out in a new assignment: its slug.", validate_default=False)
    module: Line | None = Field(default=None, description="The name of its module; made when the course has none such.")
    kind: Literal["page", "link", "room"] = Field(
        default="page",
        description="`page`: a text that students answer; `link`: handed off to a content application; `room`: a live "
        "session.",
    )
    points_possible: Points = Field(default=100, validate_default=True)
    body: Text | None = Field(default=None, description="Markdown.")
    content_url: Annotated[GuardedAddress | None, EmptyIsNone] = Field(
        default=None, description="Where a `link` assignment's work happens."
    )
    send_grade: Annotated[Policy | None, EmptyIsNone] = Field(default=None, description="Null: as the course says.")
    enabled: bool = Field(default=True, strict=True)
    opens_at: Moment | None = None
    due_at: Moment | None = None
    closes_at: Moment | None = None


class AssignmentDefinition(AssignmentSettings):
    """An assignment, found by its slug in its course."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "slug": "hello",
                "module": "Week 1",
                "title": "Hello",
                "kind": "page",
                "points_possible": 10,
                "body": "Write **three** sentences about yourself.",
                "send_grade": "ALWAYS",
                "due_at": "2030-01-31T18:00:00Z",
            }
        }
    )

    slug: Slug


def make_course(organization: Organization, definition: CourseDefinition) -> Course:
    """A new course. Raises DefinitionError when its code is taken."""
    course = Course(organization=organization, code=definition.code, name=definition.name or definition.code)
    with transaction.atomic():
        _apply(course, definition)
        _save(course, "code", f"the course {course.code} exists already")
        _set_modules(course, definition)
    return course


def change_course(course: Course, settings: CourseSettings, *, actor: Actor, code: str | None = None) -> Course:
    """Changes what the settings name, and nothing else. Raises DefinitionError when the new code is taken."""
    with transaction.atomic():
        changed = _apply(course, settings)
        if code is not None and code != course.code:
            course.code = code
            changed.append("code")
        if changed:
            _save(course, "code", f"the course {course.code} exists already", changed)
            note_changed_settings(course, changed, actor)
        _set_modules(course, settings)
    return course


def make_assignment(course: Course, definition: AssignmentDefinition) -> Assignment:
    """A new assignment at the end of the course. Raises DefinitionError when it cannot be."""
    last = course.assignments.aggregate(last=Max("position"))["last"]
    assignment = Assignment(
        course=course,
        slug=definition.slug,
        title=definition.title or definition.slug,
        position=0 if last is None else last + 1,
    )
    with transaction.atomic():
        _apply(assignment, definition)
        _place(assignment, definition)
        _check(assignment, definition)
        _save(assignment, "slug", f"the course has an assignment {assignment.slug} already")
    return assignment


def change_assignment(assignment: Assignment, settings: AssignmentSettings, *, slug: str | None = None) -> Assignment:
    """Changes what the settings name, and nothing else. Raises DefinitionError when the result cannot be."""
    with transaction.atomic():
        changed = [*_apply(assignment, settings), *_place(assignment, settings)]
        if slug is not None and slug != assignment.slug:
            assignment.slug = slug
            changed.append("slug")
        changed += _check(assignment, settings)
        if changed:
            _save(assignment, "slug", f"the course has an assignment {assignment.slug} already", changed)
    return assignment


def put_in_order(rows: Sequence[Any]) -> None:
    """Makes the rows follow each other as given, within the places that they hold among all others.

    Modules, assignments or rooms of one course: what has a `position`.
    """
    places = sorted(row.position for row in rows)
    for index in range(1, len(places)):
        places[index] = max(places[index], places[index - 1] + 1)
    for row, place in zip(rows, places, strict=True):
        if row.position != place:
            row.position = place
            row.save(update_fields=["position"])


# The settings that are plain columns of the row.
_COURSE_COLUMNS = set(CourseSettings.model_fields) - {"modules"}
_ASSIGNMENT_COLUMNS = set(AssignmentSettings.model_fields) - {"module"}


def _apply(row: Course | Assignment, settings: CourseSettings | AssignmentSettings) -> list[str]:
    changed = []
    columns = _COURSE_COLUMNS if isinstance(row, Course) else _ASSIGNMENT_COLUMNS
    for name in sorted(columns & settings.model_fields_set):
        value = getattr(settings, name)
        if value is None and not row._meta.get_field(name).null:
            value = ""
        if getattr(row, name) != value:
            setattr(row, name, value)
            changed.append(name)
    return changed


def _save(row: Course | Assignment, unique: str, message: str, changed: list[str] | None = None) -> None:
    try:
        with transaction.atomic():
            row.save(update_fields=changed, force_insert=changed is None)
    except IntegrityError as error:
        if not type(row).objects.filter(**_twin(row, unique)).exclude(pk=row.pk).exists():
            raise
        raise DefinitionError(unique, message, taken=True) from error


def _twin(row: Course | Assignment, unique: str) -> dict[str, Any]:
    parent = "organization_id" if isinstance(row, Course) else "course_id"
    return {parent: getattr(row, parent), unique: getattr(row, unique)}


def _set_modules(course: Course, settings: CourseSettings) -> None:
    names = [module.name for module in settings.modules]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise DefinitionError(f"modules[{index}].name", f"the module {name} is named twice")
    put_in_order([_module(course, name) for name in names])


def _module(course: Course, name: str) -> Module:
    last = course.modules.aggregate(last=Max("position"))["last"]
    module, _ = Module.objects.get_or_create(
        course=course, name=name, defaults={"position": 0 if last is None else last + 1}
    )
    return module


def _place(assignment: Assignment, settings: AssignmentSettings) -> list[str]:
    if "module" not in settings.model_fields_set:
        return []
    module = _module(assignment.course, settings.module) if settings.module else None
    if assignment.module == module:
        return []
    assignment.module = module
    return ["module"]


def _check(assignment: Assignment, settings: AssignmentSettings) -> list[str]:
    """Refuses what cannot be; returns the columns that had to follow another one."""
    followed = []
    if assignment.kind == Assignment.Kind.LINK and not assignment.content_url:
        raise DefinitionError("content_url", "an assignment of kind link needs a content_url")
    if assignment.kind != Assignment.Kind.LINK and assignment.content_url:
        if settings.content_url:
            raise DefinitionError(
                "content_url", f"an assignment of kind {assignment.kind} has no content_url: use kind link"
            )
        assignment.content_url = ""
        followed.append("content_url")
    if assignment.opens_at and assignment.closes_at and assignment.closes_at <= assignment.opens_at:
        raise DefinitionError("closes_at", "must be after opens_at")
    return followed
