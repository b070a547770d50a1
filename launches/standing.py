"""How a student stands in the assignments of their courses: what is to do, done, graded.

A student who comes from several LMSs may be several people of one organization; signed in directly they see one list,
in which an assignment shows what any of them did.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from django.db.models import F, QuerySet
from django.utils import timezone

from courses.models import Assignment, Course, Submission
from grades.models import Score


@dataclass(frozen=True)
class Item:
    """An assignment as one student stands in it: `state` is todo, overdue, submitted, graded, not_open, closed or
    disabled. `score` only once it is released."""

    assignment: Assignment
    state: str
    score: Score | None
    submission: Submission | None

    @property
    def is_started(self) -> bool:
        return self.submission is not None or self.score is not None

    @property
    def is_done(self) -> bool:
        return self.state in ("submitted", "graded")


@dataclass(frozen=True)
class Progress:
    """How far a student is in a course. `points` are of the assignments that are graded and released."""

    done: int
    total: int
    graded: int
    points: Decimal
    points_possible: Decimal
    due_next: Item | None


def assignments_of(courses: Iterable[Course]) -> QuerySet[Assignment]:
    """The assignments of these courses in the order of the course, those of no module first, with their course."""
    return (
        Assignment.objects.filter(course__in=list(courses))
        .select_related("module", "course")
        .order_by("course_id", F("module__position").asc(nulls_first=True), "module_id", "position", "id")
    )


def standing_of(assignments: Collection[Assignment], people: Mapping[UUID, Collection[UUID]]) -> list[Item]:
    """How the people (ids by course id) stand in each assignment, in two statements.

    Of several people's work the one that was handed in counts, and of several released scores the best.
    """
    ids = {person for known in people.values() for person in known}
    course_of = {assignment.pk: assignment.course_id for assignment in assignments}
    submissions: dict[UUID, Submission] = {}
    for submission in Submission.objects.filter(assignment__in=course_of, person__in=ids).defer("text", "draft_text"):
        if submission.person_id in people.get(course_of[submission.assignment_id], ()):
            known = submissions.get(submission.assignment_id)
            if known is None or (known.submitted_at is None and submission.submitted_at is not None):
                submissions[submission.assignment_id] = submission
    scores: dict[UUID, Score] = {}
    for score in Score.objects.filter(assignment__in=course_of, person__in=ids, graded=True, released=True):
        if score.person_id in people.get(course_of[score.assignment_id], ()):
            best = scores.get(score.assignment_id)
            if best is None or score.points > best.points:
                scores[score.assignment_id] = score
    return [_item(assignment, submissions.get(assignment.pk), scores.get(assignment.pk)) for assignment in assignments]


def _item(assignment: Assignment, submission: Submission | None, score: Score | None) -> Item:
    return Item(assignment, _state(assignment, submission, score), score, submission)


def _state(assignment: Assignment, submission: Submission | None, score: Score | None) -> str:
    now = timezone.now()
    if score is not None:
        return "graded"
    if submission is not None and submission.submitted_at is not None:
        return "submitted"
    if not assignment.enabled:
        return "disabled"
    if assignment.opens_at is not None and now < assignment.opens_at:
        return "not_open"
    if assignment.closes_at is not None and assignment.closes_at <= now:
        return "closed"
    return "overdue" if assignment.due_at is not None and assignment.due_at < now else "todo"


def shown(items: Iterable[Item], course: Course) -> list[Item]:
    """What the course lets students see on a dashboard (codio.md: hide not started assignments)."""
    return [item for item in items if item.is_started or not course.hide_not_started]


def progress_of(items: Iterable[Item]) -> Progress:
    """Assignments that are switched off count only once something was done in them."""
    counted = [item for item in items if item.assignment.enabled or item.is_done]
    graded = [(item.assignment, item.score) for item in counted if item.score is not None]
    coming = [(item.assignment.due_at, item) for item in counted if item.state == "todo" and item.assignment.due_at]
    return Progress(
        done=sum(item.is_done for item in counted),
        total=len(counted),
        graded=len(graded),
        points=sum((score.points for _, score in graded), Decimal(0)),
        points_possible=sum((assignment.points_possible for assignment, _ in graded), Decimal(0)),
        due_next=min(coming, key=lambda found: found[0], default=(None, None))[1],
    )


class OfAssignment(Protocol):
    """Something that stands for an assignment in a list."""

    @property
    def assignment(self) -> Assignment: ...


Listed = TypeVar("Listed", bound=OfAssignment)


@dataclass(frozen=True)
class Section(Generic[Listed]):
    """A module's assignments; those of no module come under no name."""

    name: str
    items: list[Listed]


def sections_of(items: Iterable[Listed]) -> list[Section[Listed]]:
    """The items by module, in the order in which the modules appear."""
    sections: dict[str, Section[Listed]] = {}
    for item in items:
        name = item.assignment.module.name if item.assignment.module else ""
        sections.setdefault(name, Section(name, [])).items.append(item)
    return list(sections.values())
