"""Courses and assignments, as the API and `provision` show and change them."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from api.schemas.values import Number
from courses.addresses import assignment_url, constant_url, enroll_url
from courses.definitions import Code, CourseSettings, Slug, as_a_change
from courses.exports import urls_of
from courses.models import Assignment, Course
from organizations.input_types import Input, Line
from recordings.definitions import AssignmentSettings, grading_of
from recordings.models import AttendanceGrading

_COURSE: JsonDict = {
    "id": "0197f3a0-0000-7000-8000-000000000001",
    "code": "cs101",
    "name": "Introduction",
    "lti_enabled": True,
    "constant_urls": False,
    "course_copy": False,
    "enroll_only": False,
    "lms_course_url": "https://lms.example/course/view.php?id=5",
    "release_grades_automatically": True,
    "send_grade": "GRADE_RELEASE",
    "hide_not_started": False,
    "filter_learners_for_mentors": False,
    "public_feedback_link": False,
    "iframe_width": 1000,
    "iframe_height": 800,
    "archived": False,
    "modules": [{"name": "Week 1"}],
    "enroll_url": "https://tool.example/lti/courses/0197f3a0-0000-7000-8000-000000000001/enroll",
}
_ASSIGNMENT: JsonDict = {
    "id": "0197f3a0-0000-7000-8000-000000000002",
    "course": "0197f3a0-0000-7000-8000-000000000001",
    "slug": "hello",
    "title": "Hello",
    "module": "Week 1",
    "kind": "page",
    "points_possible": 10.0,
    "body": "Write **three** sentences about yourself.",
    "content_url": None,
    "room": None,
    "attendance": None,
    "send_grade": "ALWAYS",
    "enabled": True,
    "opens_at": None,
    "due_at": "2030-01-31T18:00:00Z",
    "closes_at": None,
    "constant_key": "QHrGxMq1zPzq0gq7nUYrJ5wPq0i1o3nZ0m1Yt6m8zEw",
    "url": "https://tool.example/lti/assignments/0197f3a0-0000-7000-8000-000000000002",
    "constant_url": "https://tool.example/lti/constant/QHrGxMq1zPzq0gq7nUYrJ5wPq0i1o3nZ0m1Yt6m8zEw",
}


class ModuleOut(BaseModel):
    """A module of a course."""

    name: str


class CourseOut(BaseModel):
    """A course with its settings."""

    model_config = ConfigDict(json_schema_extra={"example": _COURSE})

    id: UUID
    code: str
    name: str
    lti_enabled: bool
    constant_urls: bool
    course_copy: bool
    enroll_only: bool
    lms_course_url: str | None
    release_grades_automatically: bool
    send_grade: str
    hide_not_started: bool
    filter_learners_for_mentors: bool
    public_feedback_link: bool
    iframe_width: int
    iframe_height: int
    archived: bool
    modules: list[ModuleOut]
    enroll_url: str = Field(description="Enrols in the course and opens its dashboard.")


class AttendanceOut(BaseModel):
    """How attendance becomes the score of an assignment of kind `room`."""

    measure: str
    required: Number
    proportional: bool
    span: str


class AssignmentOut(BaseModel):
    """An assignment with its settings and the URLs that an LMS is given."""

    model_config = ConfigDict(json_schema_extra={"example": _ASSIGNMENT})

    id: UUID
    course: UUID
    slug: str
    title: str
    module: str | None
    kind: str
    points_possible: Number
    body: str
    content_url: str | None
    room: str | None = Field(description="The slug of its room; null for an assignment of another kind.")
    attendance: AttendanceOut | None
    send_grade: str | None
    enabled: bool
    opens_at: datetime | None
    due_at: datetime | None
    closes_at: datetime | None
    constant_key: str
    url: str = Field(description="Its LTI integration URL: LTI 1.1 launch URL and LTI 1.3 target link URI.")
    constant_url: str = Field(description="The same for every copy of the course, with constant URLs on.")


class CourseChange(CourseSettings):
    """What to change in a course; a key left out stays as it is."""

    model_config = ConfigDict(
        json_schema_extra=as_a_change({"name": "Introduction to programming", "constant_urls": True})
    )

    code: Code = Field(default="", validate_default=False)


class CourseCopy(Input):
    """A copy to be made of a course."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"code": "cs101-2031", "name": "Introduction, spring of 2031"}}
    )

    code: Code
    name: Line = Field(default="", description="Left out: “Copy of …”.", validate_default=False)


class AssignmentChange(AssignmentSettings):
    """What to change in an assignment; a key left out stays as it is."""

    model_config = ConfigDict(
        json_schema_extra=as_a_change({"points_possible": 20, "closes_at": "2030-02-28T18:00:00+01:00"})
    )

    slug: Slug = Field(default="", validate_default=False)


class AssignmentUrlsOut(BaseModel):
    """A row of the export of assignment URLs."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": _ASSIGNMENT["id"],
                "course": "Introduction",
                "module": "Week 1",
                "assignment": "Hello",
                "points": 10.0,
                "url": _ASSIGNMENT["url"],
                "constant_url": _ASSIGNMENT["constant_url"],
            }
        }
    )

    id: UUID
    course: str
    module: str
    assignment: str
    points: Number
    url: str
    constant_url: str


def course_out(course: Course) -> CourseOut:
    """The course; its modules should be loaded with it."""
    return CourseOut(
        id=course.id,
        code=course.code,
        name=course.name,
        lti_enabled=course.lti_enabled,
        constant_urls=course.constant_urls,
        course_copy=course.course_copy,
        enroll_only=course.enroll_only,
        lms_course_url=course.lms_course_url or None,
        release_grades_automatically=course.release_grades_automatically,
        send_grade=course.send_grade,
        hide_not_started=course.hide_not_started,
        filter_learners_for_mentors=course.filter_learners_for_mentors,
        public_feedback_link=course.public_feedback_link,
        iframe_width=course.iframe_width,
        iframe_height=course.iframe_height,
        archived=course.archived,
        modules=[ModuleOut(name=module.name) for module in course.modules.all()],
        enroll_url=enroll_url(course),
    )


def assignment_out(assignment: Assignment) -> AssignmentOut:
    """The assignment; its module and its room should be loaded with it."""
    grading = grading_of(assignment)
    return AssignmentOut(
        id=assignment.id,
        course=assignment.course_id,
        slug=assignment.slug,
        title=assignment.title,
        module=assignment.module.name if assignment.module else None,
        kind=assignment.kind,
        points_possible=assignment.points_possible,
        body=assignment.body,
        content_url=assignment.content_url or None,
        room=grading.room.slug if grading else None,
        attendance=_attendance_out(grading) if grading else None,
        send_grade=assignment.send_grade or None,
        enabled=assignment.enabled,
        opens_at=assignment.opens_at,
        due_at=assignment.due_at,
        closes_at=assignment.closes_at,
        constant_key=assignment.constant_key,
        url=assignment_url(assignment),
        constant_url=constant_url(assignment),
    )


def _attendance_out(grading: AttendanceGrading) -> AttendanceOut:
    return AttendanceOut(
        measure=grading.measure, required=grading.required, proportional=grading.proportional, span=grading.span
    )


def assignment_urls_out(assignment: Assignment) -> AssignmentUrlsOut:
    """The row of the assignment; its course and module should be loaded with it."""
    row = urls_of(assignment)
    return AssignmentUrlsOut(
        id=row.id,
        course=row.course,
        module=row.module,
        assignment=row.assignment,
        points=assignment.points_possible,
        url=row.url,
        constant_url=row.constant_url,
    )
