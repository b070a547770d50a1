"""What a teacher sees and does in an assignment, in the LMS frame and signed in directly. A mentor sees it too, and
changes nothing."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.core.paginator import Page, Paginator
from django.db.models import Exists, OuterRef, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from courses.models import Assignment, SendGrade
from courses.roster import has_roster
from events.csv_export import csv_lines
from events.deliveries import resend, resend_failed
from events.models import Delivery
from grades.models import Score
from grades.scores import record_score, release_scores
from launches.course_access import CourseAccess
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
    students_seen,
)
from launches.lms_results_pages import readable_links
from launches.room_access import room_of_assignment
from launches.searching import typed_search
from launches.sections import AskedSection
from launches.student_pages import WATCH_LIMIT, asked, closed_because, load_assignment
from organizations.models import Person


def _load(access: CourseAccess, assignment_id: UUID) -> Assignment:
    """An assignment of the course; anything else is not found."""
    if access.visit is not None:
        return load_assignment(access.visit, assignment_id)
    found = Assignment.objects.filter(course=access.course, pk=assignment_id).first()
    if found is None:
        raise Http404
    found.course = access.course
    return found


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


def _table(request: HttpRequest, access: CourseAccess, assignment: Assignment) -> dict[str, Any]:
    chosen, search = _chosen(request, assignment)
    people = learners(access, assignment)
    page: Page[Person] = Paginator(narrowed(people, chosen, search), PAGE_SIZE).get_page(request.GET.get("page"))
    table_rows = rows(list(page.object_list), assignment)
    return {
        "access": access,
        "visit": access.visit,
        "course": access.course,
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
    request: HttpRequest, access: CourseAccess, assignment: Assignment, *, asked_for: AskedSection | None = None
) -> HttpResponse:
    """The table of an assignment."""
    context = _table(request, access, assignment)
    context |= {
        "counts": counts(context["people"]),
        "filters": filters_for(assignment),
        "closed_because": closed_because(assignment),
        "room": room_of_assignment(assignment),
        "has_roster": has_roster(assignment.course),
        "reads_lms": access.visit is not None and readable_links(access.visit, assignment).exists(),
        "asked_for": asked_for,
        "send_grade": SendGrade(assignment.effective_send_grade).label,
        "done": request.GET.get("done", ""),
        "done_count": asked_number(request.GET.get("n", "")),
    }
    return render(request, "launches/teacher_assignment.html", context)


@require_safe
def table(request: HttpRequest, access: CourseAccess, assignment_id: UUID) -> HttpResponse:
    """The table of an assignment of the course, signed in directly; in the frame it is the launch's own page."""
    return table_page(request, access, _load(access, assignment_id))


def asked_number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0


@require_safe
def passages(request: HttpRequest, access: CourseAccess, assignment_id: UUID) -> HttpResponse:
    """The passage of every row of the page, or of the one person of a grading view; both ask this by themselves while
    something is under way."""
    assignment = _load(access, assignment_id)
    if person_id := request.GET.get("person"):
        row = _row(access, assignment, _uuid(person_id))
        context = _watched_person(access, row) | {"assignment": assignment, "asked": asked(request)}
        context["rows"] = [(row, stored_score(row))]
    else:
        context = _table(request, access, assignment)
    return render(request, "launches/passages.html", context)


def _watched_person(access: CourseAccess, row: Row) -> dict[str, Any]:
    """What a grading view needs to follow the one person's grade."""
    return {
        "access": access,
        "visit": access.visit,
        "course": access.course,
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


@require_safe
def person(request: HttpRequest, access: CourseAccess, assignment_id: UUID, person_id: UUID) -> HttpResponse:
    """One student's submission with its score and comment, and the way to the next."""
    assignment = _load(access, assignment_id)
    row = _row(access, assignment, person_id)
    return _person_page(request, access, row, stored_score(row, is_saved=request.GET.get("done") == "saved"))


def _person_page(
    request: HttpRequest, access: CourseAccess, row: Row, typed: TypedScore, *, status: int = 200
) -> HttpResponse:
    assignment = _load(access, _assignment_id(request))
    chosen, search = _chosen(request, assignment)
    context = _watched_person(access, row) | {
        "assignment": assignment,
        "typed": typed,
        "filter": chosen,
        "search": search,
        "done": request.GET.get("done", ""),
        "neighbours": neighbours(learners(access, assignment), row.person.pk, chosen, search),
    }
    return render(request, "launches/teacher_person.html", context, status=status)


def _assignment_id(request: HttpRequest) -> UUID:
    match = request.resolver_match
    if match is None:
        raise Http404
    return match.kwargs["assignment_id"]


@require_POST
def score(request: HttpRequest, access: CourseAccess, assignment_id: UUID, person_id: UUID) -> HttpResponse:
    """Saves a score and comment: of a row in place, or of the grading view."""
    assignment = _load(access, assignment_id)
    row = _row(access, assignment, person_id)
    in_place = request.headers.get("HX-Request") == "true"
    errors = _save(access, assignment, row, ScoreForm(request.POST), release=request.POST.get("then") == "release")
    if errors:
        typed = TypedScore(
            request.POST.get("points", "")[:20],
            request.POST.get("comment", ""),
            row.score.version if row.score else 0,
            errors,
        )
        if in_place:
            return _row_answer(request, access, assignment, row, typed, status=422)
        return _person_page(request, access, row, typed, status=422)
    if in_place:
        fresh = _row(access, assignment, person_id)
        return _row_answer(request, access, assignment, fresh, stored_score(fresh, is_saved=True))
    return _after_saving(request, access, assignment, person_id)


def _save(access: CourseAccess, assignment: Assignment, row: Row, form: ScoreForm, *, release: bool) -> list[str]:
    """Records the score; returns what is wrong with what was typed, or nothing."""
    if not form.is_valid():
        return [str(error) for errors in form.errors.values() for error in errors]
    if access.is_own(row.person):
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
        actor=access.actor,
    )
    return []


def _row_answer(
    request: HttpRequest,
    access: CourseAccess,
    assignment: Assignment,
    row: Row,
    typed: TypedScore,
    *,
    status: int = 200,
) -> HttpResponse:
    context = {
        "access": access,
        "visit": access.visit,
        "course": access.course,
        "assignment": assignment,
        "row": row,
        "typed": typed,
        "counts": counts(learners(access, assignment)) if status == 200 else None,
        "is_under_way": row.is_under_way,
        "asked": 0,
        "watch_limit": WATCH_LIMIT,
    }
    return render(request, "launches/row_answer.html", context, status=status)


def _after_saving(request: HttpRequest, access: CourseAccess, assignment: Assignment, person_id: UUID) -> HttpResponse:
    chosen, search = _chosen(request, assignment)
    where = {"filter": chosen.value, "q": search}
    if request.POST.get("then") == "next":
        following = neighbours(learners(access, assignment), person_id, chosen, search).next
        if following is None:
            return _to_table(access, assignment, where | {"done": "all"})
        person_id = following
    else:
        where |= {"done": "saved"}
    address = access.grading_url("person", assignment.id, person_id=person_id)
    return redirect(f"{address}?{urlencode(where)}")


def _to_table(access: CourseAccess, assignment: Assignment, where: dict[str, str]) -> HttpResponse:
    address = access.grading_url("assignment", assignment.id)
    return redirect(f"{address}?{urlencode({name: value for name, value in where.items() if value})}")


@require_POST
def release(request: HttpRequest, access: CourseAccess, assignment_id: UUID) -> HttpResponse:
    """Releases the scores of the ticked rows, or of everybody."""
    assignment = _load(access, assignment_id)
    chosen, search = _chosen(request, assignment)
    form = SelectionForm(request.POST)
    form.full_clean()
    people = learners(access, assignment)
    if not form.cleaned_data["everyone"]:
        people = people.filter(pk__in=form.people())
    released = release_scores(assignment, list(people.values_list("pk", flat=True)), access.actor)
    return _to_table(access, assignment, {"filter": chosen, "q": search, "done": "released", "n": str(released)})


@require_POST
def send_again(request: HttpRequest, access: CourseAccess, assignment_id: UUID) -> HttpResponse:
    """Sends grades again: one delivery, or all of this assignment that failed."""
    assignment = _load(access, assignment_id)
    deliveries = _deliveries(access, assignment)
    person_id: UUID | None = None
    if delivery_id := request.POST.get("delivery"):
        delivery = deliveries.filter(pk=_uuid(delivery_id)).first()
        if delivery is None:
            raise Http404
        resend(delivery, access.actor)
        sent = 1
        person_id = Score.objects.values_list("person_id", flat=True).get(pk=delivery.source_id)
    else:
        # One that failed before a newer score went through is over, too.
        newest = Score.objects.filter(pk=OuterRef("source_id"), version=OuterRef("sequence"))
        sent = resend_failed(deliveries.filter(Exists(newest)), access.actor)
    if person_id and request.headers.get("HX-Request") == "true":
        row = _row(access, assignment, person_id)
        context = _watched_person(access, row) | {"assignment": assignment, "is_under_way": True}
        if request.POST.get("from") != "person":
            context |= {"from_person": False, "watched_person": ""}
        return render(request, "launches/resent.html", context)
    if person_id and request.POST.get("from") == "person":
        address = access.grading_url("person", assignment.id, person_id=person_id)
        return redirect(f"{address}?done=resent")
    chosen, search = _chosen(request, assignment)
    return _to_table(access, assignment, {"filter": chosen, "q": search, "done": "resent", "n": str(sent)})


def _deliveries(access: CourseAccess, assignment: Assignment) -> QuerySet[Delivery]:
    """The grade deliveries of the students in this assignment; what a newer score replaced is over."""
    scores = Score.objects.filter(assignment=assignment, person__in=students_seen(access).values("pk"))
    return Delivery.objects.filter(
        organization=access.organization, kind=Delivery.Kind.GRADE, source_id__in=scores.values("pk")
    ).exclude(state=Delivery.State.SUPERSEDED)


@require_safe
def table_csv(request: HttpRequest, access: CourseAccess, assignment_id: UUID) -> HttpResponse:
    """The table with the filter in force, as a file that spreadsheets open as it is."""
    assignment = _load(access, assignment_id)
    chosen, search = _chosen(request, assignment)
    columns = [
        "Name",
        "E-mail",
        "Opened",
        "Submitted",
        "Points",
        "Points possible",
        "Comment",
        "Released",
        "In the LMS",
    ]
    found = rows(list(narrowed(learners(access, assignment), chosen, search)), assignment)
    lines = csv_lines(columns, (_cells(row, assignment) for row in found))
    response = HttpResponse(lines, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{assignment.slug}-{timezone.now():%Y-%m-%d}.csv"'
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


def _row(access: CourseAccess, assignment: Assignment, person_id: UUID) -> Row:
    found = learners(access, assignment).filter(pk=person_id).first()
    if found is None:
        raise Http404
    return rows([found], assignment)[0]
