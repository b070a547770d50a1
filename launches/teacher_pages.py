"""What a teacher sees and does in an assignment. A mentor sees it too, and changes nothing."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.core.paginator import Page, Paginator
from django.db.models import Exists, OuterRef, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from courses.models import Assignment, SendGrade
from courses.roster import has_roster
from events.deliveries import resend
from events.log import Actor
from events.models import Delivery
from grades.models import Score
from grades.scores import record_score, release_scores
from launches.forms import ScoreForm, SelectionForm
from launches.grading_table import (
    PAGE_SIZE,
    Filter,
    Row,
    counts,
    filters_for,
    learners,
    narrowed,
    neighbours,
    rows,
    visible_students,
)
from launches.lms_results_pages import readable_links
from launches.searching import typed_search
from launches.sections import AskedSection
from launches.student_pages import WATCH_LIMIT, asked, closed_because, load_assignment
from launches.visits import Visit, get_visit_for_staff, get_visit_for_teacher, launch_page
from organizations.models import Person

# What a spreadsheet takes for the beginning of a formula (OWASP, CSV injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True)
class TypedScore:
    """What stands in the score fields of a row: as stored, or as typed with what is wrong with it."""

    points: str
    comment: str
    version: int
    errors: list[str]
    is_saved: bool = False


def _chosen(request: HttpRequest, assignment: Assignment) -> tuple[Filter, str]:
    """The filter and search of the address; a filter that does not exist is none."""
    allowed = filters_for(assignment)
    value = request.GET.get("filter", "")
    search = typed_search(request.GET)
    return next((known for known in allowed if known.value == value), Filter.ALL), search


def _table(request: HttpRequest, visit: Visit, assignment: Assignment) -> dict[str, Any]:
    chosen, search = _chosen(request, assignment)
    people = learners(visit, assignment)
    page: Page[Person] = Paginator(narrowed(people, chosen, search), PAGE_SIZE).get_page(request.GET.get("page"))
    table_rows = rows(list(page.object_list), assignment)
    return {
        "visit": visit,
        "assignment": assignment,
        "people": people,
        "page": page,
        "rows": [(row, stored_score(row)) for row in table_rows],
        "is_under_way": any(row.is_under_way for row in table_rows),
        "filter": chosen,
        "search": search,
        "asked": asked(request),
        "watch_limit": WATCH_LIMIT,
    }


def stored_score(row: Row, *, is_saved: bool = False) -> TypedScore:
    """The score fields as they are stored."""
    if row.score is None or not row.score.graded:
        return TypedScore("", row.score.comment if row.score else "", row.score.version if row.score else 0, [])
    text = f"{row.score.points:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return TypedScore(text, row.score.comment, row.score.version, [], is_saved)


def table_page(
    request: HttpRequest, visit: Visit, assignment: Assignment, *, asked_for: AskedSection | None = None
) -> HttpResponse:
    """The table of an assignment."""
    context = _table(request, visit, assignment)
    context |= {
        "counts": counts(context["people"]),
        "filters": filters_for(assignment),
        "closed_because": closed_because(assignment),
        "has_roster": has_roster(assignment.course),
        "reads_lms": readable_links(visit, assignment).exists(),
        "asked_for": asked_for,
        "send_grade": SendGrade(assignment.effective_send_grade).label,
        "done": request.GET.get("done", ""),
        "done_count": asked_number(request.GET.get("n", "")),
    }
    return render(request, "launches/teacher_assignment.html", context)


def asked_number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0


@launch_page
@require_safe
def passages(request: HttpRequest, launch_id: UUID, assignment_id: UUID) -> HttpResponse:
    """The passage of every row of the page, or of the one person of a grading view; both ask this by themselves while
    something is under way."""
    visit = get_visit_for_staff(request, launch_id)
    assignment = load_assignment(visit, assignment_id)
    if person_id := request.GET.get("person"):
        row = _row(visit, assignment, _uuid(person_id))
        context = _watched_person(visit, row) | {"assignment": assignment, "asked": asked(request)}
        context["rows"] = [(row, stored_score(row))]
    else:
        context = _table(request, visit, assignment)
    return render(request, "launches/passages.html", context)


def _watched_person(visit: Visit, row: Row) -> dict[str, Any]:
    """What a grading view needs to follow the one person's grade."""
    return {
        "visit": visit,
        "row": row,
        "from_person": True,
        "watched_person": row.person.pk,
        "is_under_way": row.is_under_way,
        "asked": 0,
        "watch_limit": WATCH_LIMIT,
    }


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise Http404 from error


@launch_page
@require_safe
def person(request: HttpRequest, launch_id: UUID, assignment_id: UUID, person_id: UUID) -> HttpResponse:
    """One student's submission with its score and comment, and the way to the next."""
    visit = get_visit_for_staff(request, launch_id)
    assignment = load_assignment(visit, assignment_id)
    row = _row(visit, assignment, person_id)
    return _person_page(request, visit, row, stored_score(row, is_saved=request.GET.get("done") == "saved"))


def _person_page(request: HttpRequest, visit: Visit, row: Row, typed: TypedScore, *, status: int = 200) -> HttpResponse:
    assignment = load_assignment(visit, _assignment_id(request))
    chosen, search = _chosen(request, assignment)
    context = _watched_person(visit, row) | {
        "assignment": assignment,
        "typed": typed,
        "filter": chosen,
        "search": search,
        "done": request.GET.get("done", ""),
        "neighbours": neighbours(learners(visit, assignment), row.person.pk, chosen, search),
    }
    return render(request, "launches/teacher_person.html", context, status=status)


def _assignment_id(request: HttpRequest) -> UUID:
    match = request.resolver_match
    if match is None:
        raise Http404
    return match.kwargs["assignment_id"]


@launch_page
@require_POST
def score(request: HttpRequest, launch_id: UUID, assignment_id: UUID, person_id: UUID) -> HttpResponse:
    """Saves a score and comment: of a row in place, or of the grading view."""
    visit = get_visit_for_teacher(request, launch_id)
    assignment = load_assignment(visit, assignment_id)
    row = _row(visit, assignment, person_id)
    in_place = request.headers.get("HX-Request") == "true"
    errors = _save(visit, assignment, row, ScoreForm(request.POST), release=request.POST.get("then") == "release")
    if errors:
        typed = TypedScore(
            request.POST.get("points", "")[:20],
            request.POST.get("comment", ""),
            row.score.version if row.score else 0,
            errors,
        )
        if in_place:
            return _row_answer(request, visit, assignment, row, typed, status=422)
        return _person_page(request, visit, row, typed, status=422)
    if in_place:
        fresh = _row(visit, assignment, person_id)
        return _row_answer(request, visit, assignment, fresh, stored_score(fresh, is_saved=True))
    return _after_saving(request, visit, assignment, person_id)


def _save(visit: Visit, assignment: Assignment, row: Row, form: ScoreForm, *, release: bool) -> list[str]:
    """Records the score; returns what is wrong with what was typed, or nothing."""
    if not form.is_valid():
        return [str(error) for errors in form.errors.values() for error in errors]
    if row.person.pk == visit.person.pk:
        # Some LMSs let a teacher become a student for a while, under the same id.
        return ["You cannot grade your own work."]
    points, comment = form.cleaned_data["points"], form.cleaned_data["comment"]
    before = row.score
    if before is not None:
        unchanged = before.graded and before.completed and before.points == points and before.comment == comment
        if unchanged and (before.released or not release):
            return []
        if before.version != form.cleaned_data["version"]:
            shown = f"{before.points.normalize():f}"
            return [f"Somebody else changed this meanwhile: it is now {shown}. Save again to replace it with yours."]
    record_score(
        assignment,
        row.person,
        points=points,
        # Set by the API only; grading here must not take it away.
        **({"extra_credit": before.extra_credit} if before is not None else {}),
        comment=comment,
        completed=True,
        graded=True,
        released=True if release else None,
        actor=Actor.of(visit.person),
    )
    return []


def _row_answer(
    request: HttpRequest, visit: Visit, assignment: Assignment, row: Row, typed: TypedScore, *, status: int = 200
) -> HttpResponse:
    context = {
        "visit": visit,
        "assignment": assignment,
        "row": row,
        "typed": typed,
        "counts": counts(learners(visit, assignment)) if status == 200 else None,
        "is_under_way": row.is_under_way,
        "asked": 0,
        "watch_limit": WATCH_LIMIT,
    }
    return render(request, "launches/row_answer.html", context, status=status)


def _after_saving(request: HttpRequest, visit: Visit, assignment: Assignment, person_id: UUID) -> HttpResponse:
    chosen, search = _chosen(request, assignment)
    where = {"filter": chosen.value, "q": search}
    if request.POST.get("then") == "next":
        following = neighbours(learners(visit, assignment), person_id, chosen, search).next
        if following is None:
            return _to_table(visit, assignment, where | {"done": "all"})
        person_id = following
    else:
        where |= {"done": "saved"}
    address = reverse("launch-person", args=[visit.launch.id, assignment.id, person_id])
    return redirect(f"{address}?{urlencode(where)}")


def _to_table(visit: Visit, assignment: Assignment, where: dict[str, str]) -> HttpResponse:
    address = reverse("launch-assignment", args=[visit.launch.id, assignment.id])
    return redirect(f"{address}?{urlencode({name: value for name, value in where.items() if value})}")


@launch_page
@require_POST
def release(request: HttpRequest, launch_id: UUID, assignment_id: UUID) -> HttpResponse:
    """Releases the scores of the ticked rows, or of everybody."""
    visit = get_visit_for_teacher(request, launch_id)
    assignment = load_assignment(visit, assignment_id)
    chosen, search = _chosen(request, assignment)
    form = SelectionForm(request.POST)
    form.full_clean()
    people = learners(visit, assignment)
    if not form.cleaned_data["everyone"]:
        people = people.filter(pk__in=form.people())
    released = release_scores(assignment, list(people.values_list("pk", flat=True)), Actor.of(visit.person))
    return _to_table(visit, assignment, {"filter": chosen, "q": search, "done": "released", "n": str(released)})


@launch_page
@require_POST
def send_again(request: HttpRequest, launch_id: UUID, assignment_id: UUID) -> HttpResponse:
    """Sends grades again: one delivery, or all of this assignment that failed."""
    visit = get_visit_for_teacher(request, launch_id)
    assignment = load_assignment(visit, assignment_id)
    deliveries = _deliveries(visit, assignment)
    person_id: UUID | None = None
    if delivery_id := request.POST.get("delivery"):
        delivery = deliveries.filter(pk=_uuid(delivery_id)).first()
        if delivery is None:
            raise Http404
        chosen = [delivery]
        person_id = Score.objects.values_list("person_id", flat=True).get(pk=delivery.source_id)
    else:
        # One that failed before a newer score went through is over, too.
        newest = Score.objects.filter(pk=OuterRef("source_id"), version=OuterRef("sequence"))
        chosen = list(deliveries.filter(Exists(newest), state=Delivery.State.FAILED))
    for delivery in chosen:
        resend(delivery, Actor.of(visit.person))
    if person_id and request.headers.get("HX-Request") == "true":
        row = _row(visit, assignment, person_id)
        context = _watched_person(visit, row) | {"assignment": assignment, "is_under_way": True}
        if request.POST.get("from") != "person":
            context |= {"from_person": False, "watched_person": ""}
        return render(request, "launches/resent.html", context)
    if person_id and request.POST.get("from") == "person":
        address = reverse("launch-person", args=[visit.launch.id, assignment.id, person_id])
        return redirect(f"{address}?done=resent")
    where, search = _chosen(request, assignment)
    return _to_table(visit, assignment, {"filter": where, "q": search, "done": "resent", "n": str(len(chosen))})


def _deliveries(visit: Visit, assignment: Assignment) -> QuerySet[Delivery]:
    """The grade deliveries of the students in this assignment; what a newer score replaced is over."""
    scores = Score.objects.filter(
        assignment=assignment, person__in=visible_students(visit, assignment.course).values("pk")
    )
    return Delivery.objects.filter(
        organization=visit.organization, kind=Delivery.Kind.GRADE, source_id__in=scores.values("pk")
    ).exclude(state=Delivery.State.SUPERSEDED)


@launch_page
@require_safe
def table_csv(request: HttpRequest, launch_id: UUID, assignment_id: UUID) -> HttpResponse:
    """The table with the filter in force, as a file that spreadsheets open as it is."""
    visit = get_visit_for_staff(request, launch_id)
    assignment = load_assignment(visit, assignment_id)
    chosen, search = _chosen(request, assignment)
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{assignment.slug}-{timezone.now():%Y-%m-%d}.csv"'
    # The byte order mark tells Excel that this is UTF-8.
    response.write("\ufeff")
    writer = csv.writer(response)
    writer.writerow(
        ["Name", "E-mail", "Opened", "Submitted", "Points", "Points possible", "Comment", "Released", "In the LMS"]
    )
    for row in rows(list(narrowed(learners(visit, assignment), chosen, search)), assignment):
        writer.writerow(plain_cells(_cells(row, assignment)))
    return response


def _cells(row: Row, assignment: Assignment) -> Iterable[str]:
    graded = row.score if row.score and row.score.graded else None
    yield row.person.display_name
    yield row.person.email
    yield row.submission.opened_at.strftime("%Y-%m-%d %H:%M UTC") if row.submission else ""
    yield row.submitted_at.strftime("%Y-%m-%d %H:%M UTC") if row.submitted_at else ""
    yield f"{graded.points:f}" if graded else ""
    yield f"{assignment.points_possible:f}"
    yield graded.comment if graded else ""
    yield ("yes" if graded.released else "no") if graded else ""
    yield "; ".join(
        f"{passage.words} {passage.at:%Y-%m-%d %H:%M UTC}" if passage.at else passage.words for passage in row.passage
    )


def plain_cells(cells: Iterable[str]) -> list[str]:
    """Cells that no spreadsheet runs: what looks like a formula gets an apostrophe in front."""
    return [f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells]


def _row(visit: Visit, assignment: Assignment, person_id: UUID) -> Row:
    found = learners(visit, assignment).filter(pk=person_id).first()
    if found is None:
        raise Http404
    return rows([found], assignment)[0]
