"""Courses."""

from http import HTTPStatus
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest
from ninja import Query, Router, Status

from api.authentication import actor_of, get_own, organization_of, own
from api.pagination import Page, PageQuery, slice_of
from api.schemas.courses import CourseChange, CourseCopy, CourseOut, course_out
from courses.copying import copy_course
from courses.definitions import CourseDefinition, change_course, make_course
from courses.models import Course

router = Router()
CONFLICT = {"x-problems": [409]}


def _courses() -> QuerySet[Course]:
    return Course.objects.prefetch_related("modules")


@router.get("/courses", response=Page[CourseOut], summary="List courses")
def list_courses(request: HttpRequest, page: Query[PageQuery]) -> Page[CourseOut]:
    """The organization's courses, archived ones too, oldest first."""
    part = slice_of(own(request, _courses()), page)
    return Page(items=[course_out(course) for course in part.rows], next=part.next)


@router.post("/courses", response={201: CourseOut}, summary="Make a course", openapi_extra=CONFLICT)
def create_course(request: HttpRequest, definition: CourseDefinition) -> Status[CourseOut]:
    """A new course. 409 when its code is taken."""
    course = make_course(organization_of(request), definition)
    return Status(HTTPStatus.CREATED, course_out(course))


@router.get("/courses/{course_id}", response=CourseOut, summary="Show a course")
def get_course(request: HttpRequest, course_id: UUID) -> CourseOut:
    """One course with its settings."""
    return course_out(get_own(request, _courses(), course_id))


@router.patch("/courses/{course_id}", response=CourseOut, summary="Change a course", openapi_extra=CONFLICT)
def update_course(request: HttpRequest, course_id: UUID, change: CourseChange) -> CourseOut:
    """Changes what is sent and leaves the rest. 409 when the new code is taken."""
    course = get_own(request, Course.objects.all(), course_id)
    return course_out(change_course(course, change, code=change.code or None, actor=actor_of(request)))


@router.post("/courses/{course_id}/copy", response={201: CourseOut}, summary="Copy a course", openapi_extra=CONFLICT)
def make_copy(request: HttpRequest, course_id: UUID, wanted: CourseCopy) -> Status[CourseOut]:
    """A new course with the modules, assignments (same constant keys), rooms and settings of this one, dates as they
    are.

    People, scores, sessions and recordings, LMS links and the course LMS URL are not copied, and course copy is off in
    the copy. 409 when another course has the code, or is known by it in the LMS.
    """
    parent = get_own(request, Course.objects.all(), course_id)
    course = copy_course(parent, code=wanted.code, name=wanted.name, actor=actor_of(request))
    return Status(HTTPStatus.CREATED, course_out(course))
