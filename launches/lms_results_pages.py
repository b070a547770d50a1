"""The LMS's own gradebook for an assignment, beside the scores here (F11): the teacher asks, and the LMS is read."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from courses.models import Assignment, ResourceLink
from grades.models import GradebookCell, Score
from grades.results import GradeInLms, results_of
from launches.grading_table import visible_students
from launches.student_pages import load_assignment
from launches.visits import Visit, get_visit_for_staff, launch_page
from lti.v1p3.services import ServiceFailed
from organizations.models import Person

# An LMS rounds what it keeps, most of them to two decimals of its own maximum.
ROUNDED = Decimal("0.006")


class Agreement(StrEnum):
    """How a grade in the LMS stands to the score here; in the order that a teacher wants to see them."""

    DIFFERS = "differs"
    MISSING = "missing"
    ONLY_THERE = "only_there"
    SAME = "same"


@dataclass(frozen=True)
class Comparison:
    """One student: the released score here (None: there is none), the LMS's grade (None: its cell is empty), how they
    stand to each other."""

    person: Person
    score: Score | None
    grade: GradeInLms | None
    agreement: Agreement


@dataclass(frozen=True)
class LinkResults:
    """One link's column in the LMS: what it shows, or why it could not be read. `unknown` is how many grades there are
    of people who never came here or may not be seen."""

    link: ResourceLink
    comparisons: list[Comparison]
    unknown: int
    failure: str = ""

    @property
    def differences(self) -> int:
        return sum(comparison.agreement is not Agreement.SAME for comparison in self.comparisons)


def readable_links(visit: Visit, assignment: Assignment) -> QuerySet[ResourceLink]:
    """The links of the visit's LMS course that open the assignment and have a column that can be read (AGS)."""
    own = visit.launch.resource_link
    cells = GradebookCell.objects.filter(resource_link=OuterRef("pk"), deployment__isnull=False)
    return (
        ResourceLink.objects.filter(lms_course=own.lms_course_id if own else None, assignment=assignment)
        .filter(Exists(cells))
        .order_by("pk")
    )


@launch_page
@require_safe
def results_page(request: HttpRequest, launch_id: UUID, assignment_id: UUID) -> HttpResponse:
    """Reads the columns now, and shows where they differ. HTTP: not in a transaction."""
    visit = get_visit_for_staff(request, launch_id)
    assignment = load_assignment(visit, assignment_id)
    people = {person.pk: person for person in visible_students(visit, assignment.course)}
    scores = {
        score.person_id: score
        for score in Score.objects.filter(assignment=assignment, person__in=people, graded=True, released=True)
    }
    read = [_read(link, assignment, people, scores) for link in readable_links(visit, assignment)]
    return render(
        request,
        "launches/lms_results.html",
        {"visit": visit, "assignment": assignment, "results": read},
    )


def _read(
    link: ResourceLink, assignment: Assignment, people: dict[UUID, Person], scores: dict[UUID, Score]
) -> LinkResults:
    try:
        grades = results_of(link)
    except ServiceFailed as failure:
        return LinkResults(link, [], 0, failure.judgement.explanation)
    found = {grade.person.pk: grade for grade in grades if grade.person is not None}
    comparisons = [
        Comparison(person, score, grade, _agreement(assignment, score, grade))
        for person in people.values()
        for score, grade in [(scores.get(person.pk), found.get(person.pk))]
        if score is not None or (grade is not None and grade.points is not None)
    ]
    order = list(Agreement)
    comparisons.sort(key=lambda one: (order.index(one.agreement), one.person.display_name.casefold()))
    return LinkResults(
        link, comparisons, sum(grade.person is None or grade.person.pk not in people for grade in grades)
    )


def _agreement(assignment: Assignment, score: Score | None, grade: GradeInLms | None) -> Agreement:
    if score is None:
        return Agreement.ONLY_THERE
    if grade is None or grade.points is None:
        return Agreement.MISSING
    if not grade.maximum or not assignment.points_possible:
        return Agreement.SAME if grade.points == score.points else Agreement.DIFFERS
    apart = abs(grade.points / grade.maximum - score.points / assignment.points_possible)
    return Agreement.SAME if apart * grade.maximum <= ROUNDED else Agreement.DIFFERS
