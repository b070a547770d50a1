"""What a student sees and does in an assignment."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from courses.models import Assignment, Submission
from courses.submissions import WorkRefusedError, open_assignment, save_draft, submit
from events.log import Actor
from grades.models import Score
from grades.passage import Passage, passage_of
from launches.forms import WorkForm
from launches.handoff import HandOff, hand_off
from launches.sections import AskedSection
from launches.visits import Visit, get_visit, launch_page

# How often a page asks whether the grade has arrived meanwhile: every few seconds at first, then it gives up.
WATCH_LIMIT = 40


class OwnPassage:
    """Where a student's own grade is, in the words that students are told."""

    passage: list[Passage]

    @property
    def delivered_at(self) -> datetime | None:
        """Since when the released score is in the LMS's gradebook: the last of its links to arrive."""
        arrived = [passage.at for passage in self.passage if passage.state == "delivered" and passage.at]
        return max(arrived) if arrived and len(arrived) == len(self.passage) else None

    @property
    def is_under_way(self) -> bool:
        return any(passage.is_under_way for passage in self.passage)

    @property
    def is_stuck(self) -> bool:
        return any(passage.state in ("failed", "held", "cancelled") for passage in self.passage)


@dataclass(frozen=True)
class StudentWork(OwnPassage):
    """How a student stands in an assignment. `score` only once it is released."""

    assignment: Assignment
    submission: Submission
    score: Score | None
    passage: list[Passage]
    closed_because: str  # "": open; "disabled", "not_yet", "closed"
    may_submit: bool

    @property
    def is_opened(self) -> bool:
        """Whether the person has ever been here: not so where somebody looks before them."""
        return not self.submission._state.adding

    @property
    def is_submitted(self) -> bool:
        return self.submission.submitted_at is not None

    @property
    def is_late(self) -> bool:
        due_at, submitted_at = self.assignment.due_at, self.submission.submitted_at
        return due_at is not None and submitted_at is not None and submitted_at > due_at

    @property
    def is_overdue(self) -> bool:
        return self.assignment.due_at is not None and self.assignment.due_at < timezone.now()


def load_assignment(visit: Visit, assignment_id: UUID) -> Assignment:
    """An assignment of the visit's own course; anything else is not found."""
    if visit.assignment is not None and visit.assignment.pk == assignment_id:
        return visit.assignment
    if visit.course is None:
        raise Http404
    assignment = Assignment.objects.select_related("course").filter(course=visit.course, pk=assignment_id).first()
    if assignment is None:
        raise Http404
    return assignment


def closed_because(assignment: Assignment) -> str:
    """Why no work can be handed in now: "disabled", "not_yet", "closed", or "" when it can."""
    now = timezone.now()
    if not assignment.enabled:
        return "disabled"
    if assignment.opens_at is not None and now < assignment.opens_at:
        return "not_yet"
    if assignment.closes_at is not None and assignment.closes_at <= now:
        return "closed"
    return ""


def student_work(visit: Visit, assignment: Assignment) -> StudentWork:
    """How the visitor stands in the assignment; opens it the first time, unless it is a look."""
    submission = (
        _looked_at(visit, assignment)
        if visit.is_look
        else open_assignment(assignment, visit.person, Actor.of(visit.person))
    )
    score = Score.objects.filter(assignment=assignment, person=visit.person, graded=True, released=True).first()
    passage = passage_of([score])[score.pk] if score else []
    because = closed_because(assignment)
    may_submit = not because and score is None and not visit.is_look
    return StudentWork(assignment, submission, score, passage, because, may_submit)


def _looked_at(visit: Visit, assignment: Assignment) -> Submission:
    """The person's work, or one that is not saved where they have never opened the assignment."""
    known = Submission.objects.filter(assignment=assignment, person=visit.person).first()
    return known or Submission(assignment=assignment, person=visit.person)


def assignment_page(
    request: HttpRequest,
    visit: Visit,
    assignment: Assignment,
    *,
    form: WorkForm | None = None,
    error: str = "",
    asked_for: AskedSection | None = None,
) -> HttpResponse:
    """The student's page of an assignment; with a form, as it came back because something was wrong with it."""
    work = student_work(visit, assignment)
    if assignment.kind == Assignment.Kind.LINK:
        return _link_page(request, visit, work)
    if form is None:
        form = WorkForm(initial=_initial(work.submission))
    context = {"visit": visit, "assignment": assignment, "work": work, "form": form, "error": error}
    context["asked_for"] = asked_for
    status = 422 if error or form.is_bound else 200
    return render(request, "launches/assignment.html", context, status=status)


def _initial(submission: Submission) -> dict[str, str]:
    if submission.draft_saved_at is not None:
        return {"text": submission.draft_text, "url": submission.draft_url}
    return {"text": submission.text, "url": submission.url}


def _link_page(request: HttpRequest, visit: Visit, work: StudentWork) -> HttpResponse:
    # Work is looked at when it is over, too.
    token = None if work.closed_because and not visit.is_look else hand_off(visit, work.assignment)
    context = {"visit": visit, "assignment": work.assignment, "work": work, "hand_off": token, "sends_itself": True}
    return _handing_off(render(request, "launches/hand_off.html", context), token)


def _handing_off(response: HttpResponse, token: HandOff | None) -> HttpResponse:
    if token is not None:
        response._csp_update = {"form-action": [token.origin]}  # type: ignore[attr-defined]
    return response


@launch_page
@require_safe
def content(request: HttpRequest, launch_id: UUID, assignment_id: UUID) -> HttpResponse:
    """Opens the content of a `link` assignment: for a teacher or mentor from their table, for a student once more."""
    visit = get_visit(request, launch_id)
    assignment = load_assignment(visit, assignment_id)
    if assignment.kind != Assignment.Kind.LINK:
        raise Http404
    if not visit.is_staff:
        return _link_page(request, visit, student_work(visit, assignment))
    token = hand_off(visit, assignment)
    context = {"visit": visit, "assignment": assignment, "hand_off": token, "sends_itself": True}
    return _handing_off(render(request, "launches/hand_off.html", context), token)


@launch_page
@require_POST
def draft(request: HttpRequest, launch_id: UUID, assignment_id: UUID) -> HttpResponse:
    """Keeps unfinished work: asked by the page itself while somebody types, or by its button."""
    visit, work = _own_work(request, launch_id, assignment_id)
    by_itself = request.headers.get("HX-Request") == "true"
    form = WorkForm(request.POST)
    error = "" if form.is_valid() else str(next(iter(form.errors.values()))[0])
    if not error:
        try:
            _check_not_graded(work)
            save_draft(work.submission, form.cleaned_data["text"], form.cleaned_data["url"])
        except WorkRefusedError as refused:
            error = str(refused)
    if by_itself:
        context = {"submission": work.submission, "error": error}
        return render(request, "launches/draft_state.html", context, status=422 if error else 200)
    if error:
        return assignment_page(request, visit, work.assignment, form=form, error=error)
    return redirect("launch-assignment", visit.launch.id, work.assignment.id)


@launch_page
@require_POST
def submission(request: HttpRequest, launch_id: UUID, assignment_id: UUID) -> HttpResponse:
    """Hands work in."""
    visit, work = _own_work(request, launch_id, assignment_id)
    form = WorkForm(request.POST)
    if not form.is_valid():
        return assignment_page(request, visit, work.assignment, form=form)
    try:
        _check_not_graded(work)
        submit(work.submission, form.cleaned_data["text"], form.cleaned_data["url"], Actor.of(visit.person))
    except WorkRefusedError as refused:
        return assignment_page(request, visit, work.assignment, form=form, error=str(refused))
    return redirect("launch-assignment", visit.launch.id, work.assignment.id)


@launch_page
@require_safe
def own_passage(request: HttpRequest, launch_id: UUID, assignment_id: UUID) -> HttpResponse:
    """Whether the grade is in the course's gradebook by now; the page asks this by itself while it is under way."""
    visit = get_visit(request, launch_id)
    if visit.is_staff:
        raise Http404
    work = student_work(visit, load_assignment(visit, assignment_id))
    context = {"visit": visit, "assignment": work.assignment, "work": work, "asked": asked(request)}
    return render(request, "launches/own_passage.html", context)


def asked(request: HttpRequest) -> int:
    """How often the page has asked by itself, and whether it should stop: 0 up to `WATCH_LIMIT`."""
    value = request.GET.get("asked", "0")
    return min(int(value), WATCH_LIMIT) if value.isascii() and value.isdigit() and len(value) < 4 else 0


def _own_work(request: HttpRequest, launch_id: UUID, assignment_id: UUID) -> tuple[Visit, StudentWork]:
    visit = get_visit(request, launch_id)
    if visit.is_staff:
        raise Http404
    assignment = load_assignment(visit, assignment_id)
    if assignment.kind != Assignment.Kind.PAGE:
        raise Http404
    return visit, student_work(visit, assignment)


def _check_not_graded(work: StudentWork) -> None:
    if work.score is not None:
        raise WorkRefusedError("Your work has been graded, so it can no longer be changed. Ask your teacher.")
