"""The assignment URLs of a course, as rows and as CSV (codio.md: Assignment URLs → Export)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from uuid import UUID

from django.http import HttpResponse

from courses.addresses import assignment_url, constant_url
from courses.models import Assignment, Course
from events.csv_export import csv_lines

COLUMNS = ("course", "module", "assignment", "points", "url", "constant_url")
CSV_TYPE = "text/csv; charset=utf-8"
_NAME_LIMIT = 80


@dataclass(frozen=True)
class AssignmentUrls:
    """One assignment with what an LMS needs to open it; `points` is None for what has none."""

    id: UUID
    course: str
    module: str
    assignment: str
    points: Decimal | None
    url: str
    constant_url: str


def urls_of(assignment: Assignment) -> AssignmentUrls:
    """The row of one assignment; its course and module should be loaded with it."""
    return AssignmentUrls(
        id=assignment.id,
        course=assignment.course.name,
        module=assignment.module.name if assignment.module else "",
        assignment=assignment.title,
        points=assignment.points_possible,
        url=assignment_url(assignment),
        constant_url=constant_url(assignment),
    )


def rows_that_launch(course: Course) -> list[AssignmentUrls]:
    """The course's rows in its order, for people: constant URLs open nothing while they are off, so there are none."""
    assignments = Assignment.objects.filter(course=course).select_related("course", "module").order_by("position", "id")
    rows = [urls_of(assignment) for assignment in assignments]
    return rows if course.constant_urls else [replace(row, constant_url="") for row in rows]


def as_csv(rows: Iterable[AssignmentUrls]) -> bytes:
    """CSV (RFC 4180) in UTF-8 with a byte order mark, which Excel wants; no cell is read as a formula."""
    cells = ((row.course, row.module, row.assignment, _number(row.points), row.url, row.constant_url) for row in rows)
    return "".join(csv_lines(COLUMNS, cells)).encode()


def _number(points: Decimal | None) -> str:
    return "" if points is None else f"{points.normalize():f}"


def download_name(course: Course, ending: str) -> str:
    """A file name that every system takes, after the course's code: `cs101-assignment-urls.csv`."""
    code = re.sub(r"[^A-Za-z0-9_-]+", "-", course.code).strip("-_")[:_NAME_LIMIT].strip("-_")
    return f"{code or 'course'}-{ending}"


def as_download(content: bytes, content_type: str, name: str) -> HttpResponse:
    """A file that the browser saves under this name (of `download_name`) and never shows as a page."""
    response = HttpResponse(content, content_type=content_type)
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
