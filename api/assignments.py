"""Assignments, and the exports of a course for an LMS."""

from http import HTTPStatus
from typing import Literal
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Status
from pydantic import Field

from api.authentication import get_own, own
from api.pagination import Page, PageQuery, QueryParameters, slice_of
from api.schemas.courses import (
    AssignmentChange,
    AssignmentOut,
    AssignmentUrlsOut,
    assignment_out,
    assignment_urls_out,
)
from courses.exports import CSV_TYPE, as_csv, as_download, download_name, urls_of
from courses.models import Assignment, Course
from lti.cartridge import CartridgeVersion
from recordings.definitions import AssignmentDefinition, change_assignment, make_assignment
from recordings.exports import export_cartridge, room_rows

router = Router()
CONFLICT = {"x-problems": [409]}
IN_THE_COURSE = ("position", "id")
_CSV = "course,module,assignment,points,url,constant_url\r\nIntroduction,Week 1,Hello,10,https://…,https://…\r\n"


def _assignments(request: HttpRequest) -> QuerySet[Assignment]:
    return own(request, Assignment.objects.select_related("course", "module", "attendance_grading__room"))


@router.get("/courses/{course_id}/assignments", response=Page[AssignmentOut], summary="List a course's assignments")
def list_assignments(request: HttpRequest, course_id: UUID, page: Query[PageQuery]) -> Page[AssignmentOut]:
    """In the order of the course."""
    course = get_own(request, Course.objects.all(), course_id)
    part = slice_of(_assignments(request).filter(course=course), page, IN_THE_COURSE)
    return Page(items=[assignment_out(assignment) for assignment in part.rows], next=part.next)


@router.post(
    "/courses/{course_id}/assignments",
    response={201: AssignmentOut},
    summary="Make an assignment",
    openapi_extra=CONFLICT,
)
def create_assignment(request: HttpRequest, course_id: UUID, definition: AssignmentDefinition) -> Status[AssignmentOut]:
    """A new assignment at the end of the course. 409 when its slug is taken."""
    course = get_own(request, Course.objects.all(), course_id)
    return Status(HTTPStatus.CREATED, assignment_out(make_assignment(course, definition)))


@router.get("/assignments/{assignment_id}", response=AssignmentOut, summary="Show an assignment")
def get_assignment(request: HttpRequest, assignment_id: UUID) -> AssignmentOut:
    """One assignment with its settings and URLs."""
    return assignment_out(get_own(request, _assignments(request), assignment_id))


@router.patch(
    "/assignments/{assignment_id}", response=AssignmentOut, summary="Change an assignment", openapi_extra=CONFLICT
)
def update_assignment(request: HttpRequest, assignment_id: UUID, change: AssignmentChange) -> AssignmentOut:
    """Changes what is sent and leaves the rest. 409 when the new slug is taken."""
    assignment = get_own(request, _assignments(request), assignment_id)
    return assignment_out(change_assignment(assignment, change, slug=change.slug or None))


@router.get(
    "/courses/{course_id}/assignment-urls", response=Page[AssignmentUrlsOut], summary="List a course's assignment URLs"
)
def list_assignment_urls(request: HttpRequest, course_id: UUID, page: Query[PageQuery]) -> Page[AssignmentUrlsOut]:
    """What an LMS needs to open each assignment of the course, in the order of the course."""
    course = get_own(request, Course.objects.all(), course_id)
    part = slice_of(_assignments(request).filter(course=course), page, IN_THE_COURSE)
    rows = [assignment_urls_out(assignment) for assignment in part.rows]
    return Page(items=rows, next=part.next)


@router.get(
    "/courses/{course_id}/assignment-urls.csv",
    summary="Export a course's assignment URLs",
    openapi_extra={
        "responses": {
            200: {
                "description": "All rows, in UTF-8 with a byte order mark.",
                "content": {"text/csv": {"schema": {"type": "string"}, "example": _CSV}},
            }
        }
    },
)
def export_assignment_urls(request: HttpRequest, course_id: UUID) -> HttpResponse:
    """The same as a table for a spreadsheet, and after them the course's rooms, in the module “Live sessions” and
    without points. No cell is read as a formula. A `constant_url` opens the assignment while the course's constant URLs
    are on."""
    course = get_own(request, Course.objects.all(), course_id)
    assignments = _assignments(request).filter(course=course).order_by(*IN_THE_COURSE)
    content = as_csv([*(urls_of(assignment) for assignment in assignments), *room_rows(course)])
    return as_download(content, CSV_TYPE, download_name(course, "assignment-urls.csv"))


class CartridgeQuery(QueryParameters):
    """Which Common Cartridge."""

    version: Literal["1.3", "1.1"] = Field(default="1.3", description="1.1 is for Moodle, which knows no newer one.")


@router.get(
    "/courses/{course_id}/cartridge",
    summary="Export a course as a Common Cartridge",
    openapi_extra={
        "responses": {
            200: {
                "description": "An `.imscc` file; the same course gives the same bytes.",
                "content": {
                    version.content_type: {
                        "schema": {"type": "string", "format": "binary"},
                        "example": "PK…imsmanifest.xml…",
                    }
                    for version in CartridgeVersion
                },
            }
        }
    },
)
def export_course_cartridge(request: HttpRequest, course_id: UUID, query: Query[CartridgeQuery]) -> HttpResponse:
    """Modules as folders, assignments and rooms as LTI links; assignments with constant URLs on by their constant URLs,
    with the course's target id. No key and no secret is in it."""
    course = get_own(request, Course.objects.select_related("organization"), course_id)
    version = CartridgeVersion(query.version)
    return as_download(
        export_cartridge(course, version), version.content_type, download_name(course, f"{version}.imscc")
    )
