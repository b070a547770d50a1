"""The gradebook of a course, in the LMS frame and signed in directly: teachers and members see everybody whom they may
see and send or release grades, mentors see and change nothing, students see their own row."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlencode
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.core.paginator import Page, Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from courses.exports import download_name
from courses.models import Assignment, Enrolment, Submission
from courses.roster import has_roster
from events.csv_export import csv_lines
from events.deliveries import resend_failed
from grades.models import Score
from launches import own_grades_pages
from launches.course_access import CourseAccess, member_access
from launches.course_navigation import access_of
from launches.forms import SelectionForm
from launches.gradebook import (
    ASSIGNMENTS_A_PART,
    PEOPLE_A_PAGE,
    Cell,
    Filter,
    Row,
    all_rows,
    columns_of,
    counts,
    failed_deliveries,
    matching_columns,
    narrowed,
    people_of,
    release,
    rows_of,
)
from launches.gradebook_watching import as_text, changed_cells, columns_as_text, columns_in, rows_in
from launches.learner_access import learner_of
from launches.score_history import Version, histories_of
from launches.searching import typed_search
from launches.student_pages import WATCH_LIMIT, asked
from launches.teacher_pages import asked_number
from launches.visits import get_visit, launch_page
from organizations.models import Person, User


@launch_page
@require_safe
def launch_gradebook(request: HttpRequest, launch_id: UUID) -> HttpResponse:
    """The gradebook of the launch's course, by role."""
    visit = get_visit(request, launch_id)
    if visit.course is None:
        raise Http404
    access = access_of(visit)
    if access is None:
        return own_grades_pages.of_visit(request, visit, visit.course)
    return _gradebook(request, access)


@never_cache
@login_required
@require_safe
def course_gradebook(request: HttpRequest, course_id: UUID) -> HttpResponse:
    """The gradebook for those who signed in directly: of everybody for the organization's members, else one's own
    row for a student."""
    user = cast(User, request.user)
    access = member_access(user, course_id)
    if access is None:
        return own_grades_pages.of_learner(request, learner_of(user, course_id))
    return _gradebook(request, access)


def _chosen(request: HttpRequest) -> tuple[Filter, str]:
    """The filter and search of the address; a filter that does not exist is none."""
    value = request.GET.get("filter", "")
    return next((known for known in Filter if known.value == value), Filter.ALL), typed_search(request.GET)


def _gradebook(request: HttpRequest, access: CourseAccess) -> HttpResponse:
    chosen, search = _chosen(request)
    everything = columns_of(access.course)
    wanted = matching_columns(access, everything, chosen)
    columns: Page[Assignment] = Paginator(wanted, ASSIGNMENTS_A_PART).get_page(request.GET.get("part"))
    people = narrowed(access, people_of(access), chosen, search)
    page: Page[Person] = Paginator(people, PEOPLE_A_PAGE).get_page(request.GET.get("page"))
    rows = rows_of(access, list(page.object_list), list(columns.object_list))
    context = _context(access) | {
        "columns": columns,
        "is_without_assignments": not everything,
        "page": page,
        "rows": rows,
        "counts": counts(access),
        "filters": list(Filter),
        "filter": chosen,
        "search": search,
        "has_roster": has_roster(access.course),
        "done": request.GET.get("done", ""),
        "done_count": asked_number(request.GET.get("n", "")),
    }
    context |= _watching(rows, everything, list(columns.object_list), 0)
    return render(request, "launches/gradebook.html", context)


def _context(access: CourseAccess) -> dict[str, Any]:
    return {"access": access, "visit": access.visit, "course": access.course}


def _watching(
    rows: Iterable[Row], everything: Sequence[Assignment], columns: Sequence[Assignment], asked_before: int
) -> dict[str, Any]:
    """What the page needs to ask for changes by itself; nothing where nothing is under way."""
    watched = as_text(rows)
    query = {"asked": asked_before + 1, "columns": columns_as_text(everything, columns), "rows": watched}
    return {"watched": urlencode(query) if watched and asked_before < WATCH_LIMIT else "", "asked": asked_before}


@require_safe
def changes(request: HttpRequest, access: CourseAccess) -> HttpResponse:
    """The cells that have gone on since the page showed them; the page asks by itself while something is under way."""
    everything = columns_of(access.course)
    try:
        columns = columns_in(request.GET.get("columns", ""), everything)
        seen = rows_in(request.GET.get("rows", ""))
    except ValueError as error:
        raise Http404 from error
    if columns is None:
        return render(request, "launches/gradebook_changes.html", {"is_outdated": True})
    people = people_of(access).filter(pk__in=[one.person_id for one in seen])
    rows = rows_of(access, list(people), columns)
    changed = changed_cells(seen, rows)
    context = _context(access) | {"changed": changed, "counts": counts(access) if changed else None}
    context |= _watching(rows, everything, columns, asked(request))
    return render(request, "launches/gradebook_changes.html", context)


@dataclass(frozen=True)
class PersonRow:
    """One assignment of a person's page."""

    assignment: Assignment
    cell: Cell
    opened_at: Any
    comment: str
    versions: Sequence[Version]


@require_safe
def person(request: HttpRequest, access: CourseAccess, person_id: UUID) -> HttpResponse:
    """All assignments of one student, with what became of each score."""
    found = people_of(access).filter(pk=person_id).first()
    if found is None:
        raise Http404
    columns = columns_of(access.course)
    row = rows_of(access, [found], columns)[0]
    histories = histories_of(access.organization.pk, [cell.score for cell in row.cells if cell.score is not None])
    opened = dict(
        Submission.objects.filter(assignment__in=columns, person=found).values_list("assignment_id", "opened_at")
    )
    comments = dict(Score.objects.filter(assignment__in=columns, person=found).values_list("assignment_id", "comment"))
    lines = [
        PersonRow(
            assignment,
            cell,
            opened.get(assignment.pk),
            comments.get(assignment.pk, ""),
            histories.get(cell.score.pk, []) if cell.score is not None else [],
        )
        for assignment, cell in zip(columns, row.cells, strict=True)
    ]
    graded = [(cell.points, assignment.points_possible) for assignment, cell in _graded(columns, row)]
    context = _context(access) | {
        "row": row,
        "lines": lines,
        "points": sum(points for points, _ in graded if points is not None),
        "points_possible": sum(possible for _, possible in graded),
        "graded": len(graded),
        "failed": failed_deliveries(access, [found.pk]).count(),
        "done": request.GET.get("done", ""),
        "done_count": asked_number(request.GET.get("n", "")),
    }
    return render(request, "launches/gradebook_person.html", context)


def _graded(columns: Sequence[Assignment], row: Row) -> Iterator[tuple[Assignment, Cell]]:
    return ((assignment, cell) for assignment, cell in zip(columns, row.cells, strict=True) if cell.points is not None)


@require_POST
def send_again(request: HttpRequest, access: CourseAccess) -> HttpResponse:
    """Sends grades again that failed: those of the ticked people, or all."""
    people = _selected(request)
    sent = resend_failed(failed_deliveries(access, people), access.actor)
    if request.POST.get("from") == "person" and people:
        address = access.url("gradebook-person", person_id=people[0])
        return redirect(f"{address}?{urlencode({'done': 'resent', 'n': sent})}")
    return _to_gradebook(request, access, "resent", sent)


@require_POST
def release_page(request: HttpRequest, access: CourseAccess) -> HttpResponse:
    """Releases scores: those of the ticked people, or all."""
    return _to_gradebook(request, access, "released", release(access, _selected(request)))


def _selected(request: HttpRequest) -> list[UUID] | None:
    """The people who were ticked; None where all are meant, and that was said."""
    form = SelectionForm(request.POST)
    form.full_clean()
    return None if form.cleaned_data["everyone"] else form.people()


def _to_gradebook(request: HttpRequest, access: CourseAccess, done: str, number: int) -> HttpResponse:
    kept = {name: value for name in ("filter", "q", "page", "part") if (value := request.GET.get(name, ""))}
    return redirect(f"{access.url('gradebook')}?{urlencode(kept | {'done': done, 'n': number})}")


@require_safe
def table_csv(request: HttpRequest, access: CourseAccess) -> HttpResponse:
    """The gradebook with the filter in force, all pages and parts of it, as a file that spreadsheets open as it is."""
    chosen, search = _chosen(request)
    columns = columns_of(access.course)
    header = ["Name", "E-mail", "State"]
    for assignment in columns:
        possible = f"{assignment.points_possible.normalize():f}"
        header += [
            f"{assignment.title} (of {possible})",
            f"{assignment.title}: released",
            f"{assignment.title}: in the LMS",
        ]
    rows = all_rows(access, narrowed(access, people_of(access), chosen, search), columns)
    lines = csv_lines(header, (_csv_cells(row) for row in rows))
    response = HttpResponse(lines, content_type="text/csv; charset=utf-8")
    name = download_name(access.course, f"gradebook-{timezone.now():%Y-%m-%d}.csv")
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _csv_cells(row: Row) -> Iterator[str]:
    yield row.person.display_name
    yield row.person.email
    yield Enrolment.State.GONE.label if row.is_gone else Enrolment.State.ACTIVE.label
    for cell in row.cells:
        points = cell.points
        yield "" if points is None else f"{points:f}"
        yield "" if points is None else ("no" if cell.is_unreleased else "yes")
        yield "; ".join(f"{one.words} {one.at:%Y-%m-%d %H:%M UTC}" if one.at else one.words for one in cell.passages)
