"""What a student sees who signed in directly: the dashboard of a course, and their own work in its assignments.

New assignments are started from the LMS, which says where their grade belongs; what was started there can be gone on
with here (codio.md, K3).
"""

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from courses.models import Assignment, Submission
from courses.submissions import WorkRefusedError, open_assignment, save_draft, submit
from events.log import Actor
from grades.models import Score
from grades.passage import passage_of
from launches.forms import WorkForm
from launches.learner_access import Learner, learner_page
from launches.room_access import room_of_assignment
from launches.room_listing import rooms_on_dashboard
from launches.standing import Item, Section, assignments_of, progress_of, sections_of, shown, standing_of
from launches.student_pages import StudentWork, asked, closed_because
from organizations.models import Person


@dataclass(frozen=True)
class Row:
    """An assignment on the dashboard: `opens` "here", "lms" (it has to be started there) or "" (nowhere now)."""

    item: Item
    opens: str

    @property
    def assignment(self) -> Assignment:
        return self.item.assignment


def dashboard(request: HttpRequest, learner: Learner) -> HttpResponse:
    """What is due next, done and graded in the course, and what can be opened here."""
    context = {"learner": learner, "course": learner.course, "places": learner.places()}
    if not learner.people:
        return render(request, "launches/taught_in_lms.html", context)
    assignments = list(assignments_of([learner.course]).defer("body"))
    everything = standing_of(assignments, {learner.course.pk: {person.pk for person in learner.people}})
    items = shown(everything, learner.course)
    context |= {
        "rooms": rooms_on_dashboard(learner.course),
        "sections": _sections(learner, items),
        "progress": progress_of(items),
        "hidden": len(everything) - len(items),
    }
    return render(request, "launches/learner_dashboard.html", context)


def _sections(learner: Learner, items: list[Item]) -> list[Section[Row]]:
    return sections_of([Row(item, _opens(learner, item)) for item in items])


def _opens(learner: Learner, item: Item) -> str:
    if item.is_started:
        return "here"
    if not item.assignment.enabled or item.state in ("not_open", "closed"):
        return ""
    if _may_start(learner, item.assignment):
        return "here"
    return "lms"


def _may_start(learner: Learner, assignment: Assignment) -> bool:
    return learner.may_start_here and assignment.kind == Assignment.Kind.PAGE and not closed_because(assignment)


@learner_page
@require_safe
def assignment(request: HttpRequest, learner: Learner, assignment_id: UUID) -> HttpResponse:
    """The student's own work in an assignment; where there is none, how to start it."""
    found = _load(learner, assignment_id)
    room = room_of_assignment(found)
    if room is not None:
        return redirect("course-room", learner.course.pk, room.pk)
    return _page(request, learner, found)


def _load(learner: Learner, assignment_id: UUID) -> Assignment:
    found = Assignment.objects.select_related("course").filter(course=learner.course, pk=assignment_id).first()
    if found is None:
        raise Http404
    return found


def _page(
    request: HttpRequest, learner: Learner, assignment: Assignment, *, form: WorkForm | None = None, error: str = ""
) -> HttpResponse:
    works = _works(learner, assignment)
    context: dict[str, Any] = {
        "visit": None,
        "layout": "site.html",
        "learner": learner,
        "course": learner.course,
        "assignment": assignment,
        "places": learner.places(),
    }
    if not works:
        context["because"] = closed_because(assignment)
        return render(request, "launches/learner_not_started.html", context)
    work = works[0]
    if form is None:
        form = WorkForm(initial=_initial(work.submission))
    context |= {"work": work, "others": works[1:], "form": form, "error": error}
    status = 422 if error or form.is_bound else 200
    return render(request, "launches/learner_assignment.html", context, status=status)


def _initial(submission: Submission) -> dict[str, str]:
    if submission.draft_saved_at is not None:
        return {"text": submission.draft_text, "url": submission.draft_url}
    return {"text": submission.text, "url": submission.url}


def _works(learner: Learner, assignment: Assignment) -> list[StudentWork]:
    """What the learner's people have in the assignment: first whose work was graded, handed in, launched last."""
    submissions = {
        submission.person_id: submission
        for submission in Submission.objects.filter(assignment=assignment, person__in=learner.people)
    }
    scores = {
        score.person_id: score
        for score in Score.objects.filter(
            assignment=assignment, person__in=learner.people, graded=True, released=True
        ).select_related("assignment__course")
    }
    passages = passage_of(scores.values())
    because = closed_because(assignment)
    works = []
    for person in learner.people:
        submission, score = submissions.get(person.pk), scores.get(person.pk)
        if submission is None and score is None:
            continue
        if submission is None:
            submission = Submission(assignment=assignment, person=person)
        submission.assignment, submission.person = assignment, person
        passage = passages[score.pk] if score else []
        works.append(StudentWork(assignment, submission, score, passage, because, may_submit=False))
    if not works and _may_start(learner, assignment):
        person = learner.people[0]
        submission = open_assignment(assignment, person, Actor.of(person))
        submission.assignment = assignment
        works.append(StudentWork(assignment, submission, None, [], because, may_submit=False))
    works.sort(key=lambda work: (work.score is None, not work.is_submitted))
    if works and works[0].score is None and _may_submit(learner, assignment):
        works[0] = replace(works[0], may_submit=True)
    return works


def _may_submit(learner: Learner, assignment: Assignment) -> bool:
    return learner.may_work_here and assignment.kind == Assignment.Kind.PAGE and not closed_because(assignment)


@learner_page
@require_POST
def draft(request: HttpRequest, learner: Learner, assignment_id: UUID) -> HttpResponse:
    """Keeps unfinished work: asked by the page itself while somebody types, or by its button."""
    assignment, work = _own_work(learner, assignment_id)
    by_itself = request.headers.get("HX-Request") == "true"
    form = WorkForm(request.POST)
    error = "" if form.is_valid() else str(next(iter(form.errors.values()))[0])
    if not error:
        try:
            _check_may_submit(learner, work)
            save_draft(work.submission, form.cleaned_data["text"], form.cleaned_data["url"])
        except WorkRefusedError as refused:
            error = str(refused)
    if by_itself:
        context = {"submission": work.submission, "error": error}
        return render(request, "launches/draft_state.html", context, status=422 if error else 200)
    if error:
        return _page(request, learner, assignment, form=form, error=error)
    return redirect("course-own-assignment", learner.course.pk, assignment.pk)


@learner_page
@require_POST
def submission(request: HttpRequest, learner: Learner, assignment_id: UUID) -> HttpResponse:
    """Hands work in."""
    assignment, work = _own_work(learner, assignment_id)
    form = WorkForm(request.POST)
    if not form.is_valid():
        return _page(request, learner, assignment, form=form)
    try:
        _check_may_submit(learner, work)
        person: Person = work.submission.person
        submit(work.submission, form.cleaned_data["text"], form.cleaned_data["url"], Actor.of(person))
    except WorkRefusedError as refused:
        return _page(request, learner, assignment, form=form, error=str(refused))
    return redirect("course-own-assignment", learner.course.pk, assignment.pk)


@learner_page
@require_safe
def passage(request: HttpRequest, learner: Learner, assignment_id: UUID) -> HttpResponse:
    """Whether the grade is in the course's gradebook by now; the page asks this by itself while it is under way."""
    assignment, work = _own_work(learner, assignment_id)
    context = {"visit": None, "assignment": assignment, "work": work, "asked": asked(request)}
    return render(request, "launches/own_passage.html", context)


def _own_work(learner: Learner, assignment_id: UUID) -> tuple[Assignment, StudentWork]:
    """Work that was started; there is nothing to hand in for what was not."""
    assignment = _load(learner, assignment_id)
    works = _works(learner, assignment)
    if not works:
        raise Http404
    return assignment, works[0]


def _check_may_submit(learner: Learner, work: StudentWork) -> None:
    if work.score is not None:
        raise WorkRefusedError("Your work has been graded, so it can no longer be changed. Ask your teacher.")
    if work.assignment.kind != Assignment.Kind.PAGE or not learner.may_work_here:
        raise WorkRefusedError("Work is not handed in here. Open the assignment from your course.")
