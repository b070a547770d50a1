"""The gradebook of a course: students by assignments, each score with where it stands on its way to the LMS.

A page of it costs the same number of statements however many people and assignments there are.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet

from courses.models import Assignment, Course, Enrolment, Submission
from events.models import Delivery
from grades.models import Score
from grades.passage import Passage, newest_deliveries, passage_of
from grades.scores import release_scores
from launches.course_access import CourseAccess
from launches.grading_table import BY_NAME, named, students_seen
from launches.standing import assignments_of
from organizations.models import LmsAccount, Person

PEOPLE_A_PAGE = 50
ASSIGNMENTS_A_PART = 50
# So many cells are looked up at once where all are wanted: databases limit the parameters of a statement.
_CELLS_AT_ONCE = 10_000


class Filter(StrEnum):
    """Whom a teacher looks for."""

    ALL = "all"
    FAILED = "failed"
    UNRELEASED = "unreleased"

    @property
    def label(self) -> str:
        return {Filter.ALL: "All", Filter.FAILED: "Failed", Filter.UNRELEASED: "Not released"}[self]


@dataclass(frozen=True)
class Counts:
    """The head of the gradebook: students who are there now (test users are not counted, I7), and scores that are not
    released, on their way to the LMS, and failed."""

    students: int
    unreleased: int
    under_way: int
    failed: int


# Of several columns in LMSs the one that needs a look first stands in the cell.
_WORST_FIRST = ("failed", "held", "waiting", "sending", "cancelled", "withheld", "no_cell", "delivered")


@dataclass(frozen=True)
class Cell:
    """What one person has in one assignment. `key` names the cell in the page."""

    key: str
    url: str
    score: Score | None
    submitted_at: datetime | None
    passages: Sequence[Passage]

    @property
    def points(self) -> Decimal | None:
        return self.score.points if self.score is not None and self.score.graded else None

    @property
    def is_to_grade(self) -> bool:
        """Whether something was handed in since it was last graded."""
        if self.submitted_at is None:
            return False
        return self.score is None or not self.score.graded or self.submitted_at > self.score.updated_at

    @property
    def is_unreleased(self) -> bool:
        return self.score is not None and self.score.graded and not self.score.released

    @cached_property
    def passage(self) -> Passage | None:
        """The passage to show; None where it says nothing that the page does not say of the whole course, or the cell
        by "not released" or "to grade"."""
        told = [one for one in self.passages if one.code not in _SAID_ELSEWHERE]
        return min(told, key=lambda one: _WORST_FIRST.index(one.state), default=None)

    @property
    def words(self) -> str:
        """The passages in words, by LMS course where there are several."""
        if len(self.passages) < 2:
            return self.passage.words if self.passage is not None else ""
        return " ".join(f"{one.lms_course}: {one.words}" for one in self.passages)

    @property
    def progress(self) -> int:
        """0 where nothing is under way, else 1 to 3: another number after every step of a delivery."""
        moving = [one for one in self.passages if one.is_under_way]
        if not moving:
            return 0
        return 1 + sum(2 * one.attempts + (one.state == "waiting") for one in moving) % 3


_SAID_ELSEWHERE = ("enroll_only", "not_released", "not_graded")


@dataclass(frozen=True)
class Row:
    """One student of the gradebook."""

    person: Person
    url: str
    is_gone: bool
    is_test_user: bool
    cells: Sequence[Cell]

    @property
    def is_under_way(self) -> bool:
        return any(cell.progress for cell in self.cells)


def columns_of(course: Course) -> list[Assignment]:
    """The assignments in the order of the course, those that are switched off too."""
    assignments = list(assignments_of([course]).defer("body"))
    for assignment in assignments:
        assignment.course = course
    return assignments


def people_of(access: CourseAccess) -> QuerySet[Person]:
    """The students whom the access sees, by family name; those who left stay as long as they have work or a score."""
    scores = Score.objects.filter(assignment__course=access.course, person=OuterRef("pk"))
    work = Submission.objects.filter(
        assignment__course=access.course, person=OuterRef("pk"), submitted_at__isnull=False
    )
    return (
        students_seen(access)
        .annotate(is_test_user=Exists(LmsAccount.objects.filter(person=OuterRef("pk"), is_test_user=True)))
        .filter(Q(enrolment_state=Enrolment.State.ACTIVE) | Exists(scores) | Exists(work))
        .order_by(*BY_NAME)
    )


def narrowed(access: CourseAccess, people: QuerySet[Person], chosen: Filter, search: str) -> QuerySet[Person]:
    """The people that match a filter and a part of their name or address."""
    scores = Score.objects.filter(assignment__course=access.course, person=OuterRef("pk"))
    if chosen is Filter.FAILED:
        people = people.filter(Exists(scores.filter(Exists(newest_deliveries(Delivery.State.FAILED)))))
    elif chosen is Filter.UNRELEASED:
        people = people.filter(Exists(scores.filter(graded=True, released=False)))
    return named(people, search)


def matching_columns(access: CourseAccess, columns: Sequence[Assignment], chosen: Filter) -> Sequence[Assignment]:
    """The columns in which somebody matches the filter: what failed is not looked for across forty columns."""
    scores = scores_seen(access)
    if chosen is Filter.FAILED:
        scores = scores.filter(Exists(newest_deliveries(Delivery.State.FAILED)))
    elif chosen is Filter.UNRELEASED:
        scores = scores.filter(graded=True, released=False)
    else:
        return columns
    found = set(scores.order_by().values_list("assignment_id", flat=True).distinct())
    return [assignment for assignment in columns if assignment.pk in found]


def scores_seen(access: CourseAccess, people: Iterable[UUID] | None = None) -> QuerySet[Score]:
    """The scores of the course that the access sees; of these people only, where they are named."""
    scores = Score.objects.filter(assignment__course=access.course, person__in=students_seen(access).values("pk"))
    return scores if people is None else scores.filter(person__in=list(people))


def counts(access: CourseAccess) -> Counts:
    """Four statements, one for each number: a database plans these better than one for all."""
    students = students_seen(access).filter(Q(enrolment_state=Enrolment.State.ACTIVE))
    test_users = LmsAccount.objects.filter(person=OuterRef("pk"), is_test_user=True)
    scores = scores_seen(access)
    return Counts(
        students=students.exclude(Exists(test_users)).count(),
        unreleased=scores.filter(graded=True, released=False).count(),
        under_way=scores.filter(Exists(newest_deliveries(Delivery.State.PENDING).filter(due_at__isnull=False))).count(),
        failed=scores.filter(Exists(newest_deliveries(Delivery.State.FAILED))).count(),
    )


def rows_of(access: CourseAccess, people: Sequence[Person], columns: Sequence[Assignment]) -> list[Row]:
    """The rows of these people (of `people_of`) in these columns: four statements."""
    by_id = {assignment.pk: assignment for assignment in columns}
    ids = [person.pk for person in people]
    scores: dict[tuple[UUID, UUID], Score] = {}
    for found in Score.objects.filter(assignment__in=by_id, person__in=ids).defer("comment"):
        found.assignment = by_id[found.assignment_id]
        scores[found.person_id, found.assignment_id] = found
    submitted = {
        (person_id, assignment_id): at
        for person_id, assignment_id, at in Submission.objects.filter(
            assignment__in=by_id, person__in=ids, submitted_at__isnull=False
        ).values_list("person_id", "assignment_id", "submitted_at")
    }
    passages = passage_of(scores.values())
    addresses = _Addresses(access, columns)
    rows = []
    for person in people:
        cells = []
        for assignment in columns:
            score = scores.get((person.pk, assignment.pk))
            cells.append(
                Cell(
                    key=f"cell-{person.pk}-{assignment.pk}",
                    url=addresses.of(assignment, person),
                    score=score,
                    submitted_at=submitted.get((person.pk, assignment.pk)),
                    passages=passages[score.pk] if score is not None else (),
                )
            )
        rows.append(
            Row(
                person=person,
                url=access.url("gradebook-person", person_id=person.pk),
                is_gone=person.enrolment_state != Enrolment.State.ACTIVE,  # type: ignore[attr-defined] # annotated
                is_test_user=person.is_test_user,  # type: ignore[attr-defined] # annotated by people_of
                cells=cells,
            )
        )
    return rows


class _Addresses:
    """The grading views of many cells: resolving thousands of routes one by one takes longer than all statements."""

    def __init__(self, access: CourseAccess, columns: Sequence[Assignment]) -> None:
        nobody = UUID(int=0)
        self._patterns = {
            assignment.pk: access.grading_url("person", assignment.pk, person_id=nobody).rpartition(str(nobody))
            for assignment in columns
        }

    def of(self, assignment: Assignment, person: Person) -> str:
        before, _, after = self._patterns[assignment.pk]
        return f"{before}{person.pk}{after}"


def all_rows(access: CourseAccess, people: QuerySet[Person], columns: Sequence[Assignment]) -> Iterable[Row]:
    """The rows of all these people, some at a time."""
    everyone = list(people)
    size = max(1, _CELLS_AT_ONCE // max(1, len(columns)))
    for start in range(0, len(everyone), size):
        yield from rows_of(access, everyone[start : start + size], columns)


def failed_deliveries(access: CourseAccess, people: Iterable[UUID] | None = None) -> QuerySet[Delivery]:
    """The deliveries that failed and carry the newest version of a score that the access sees."""
    newest = scores_seen(access, people).filter(pk=OuterRef("source_id"), version=OuterRef("sequence"))
    return Delivery.objects.filter(
        Exists(newest), organization=access.organization, kind=Delivery.Kind.GRADE, state=Delivery.State.FAILED
    )


def release(access: CourseAccess, people: Iterable[UUID] | None = None) -> int:
    """Releases the scores that the access sees (of these people only, where they are named). Returns how many.

    Each assignment in a transaction of its own: what was done before something breaks stays done.
    """
    wanted: dict[UUID, list[UUID]] = {}
    unreleased = scores_seen(access, people).filter(graded=True, released=False)
    for assignment_id, person_id in unreleased.values_list("assignment_id", "person_id"):
        wanted.setdefault(assignment_id, []).append(person_id)
    return sum(
        release_scores(assignment, wanted[assignment.pk], access.actor)
        for assignment in columns_of(access.course)
        if assignment.pk in wanted
    )
