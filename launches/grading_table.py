"""Who is in an assignment and how far they are: the rows, counts and filters of a teacher's table.

A page of the table costs the same number of statements however many people there are.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from django.db.models import BooleanField, Case, Count, Exists, F, FilteredRelation, OuterRef, Q, QuerySet, Value, When
from django.db.models.functions import Coalesce, Lower, NullIf

from courses.models import Assignment, Course, Enrolment, Participation, RosterMember, Submission
from events.models import Delivery
from grades.models import Score
from grades.passage import Passage, newest_deliveries, passage_of
from launches.course_access import CourseAccess
from launches.mentoring import seen_by_mentor
from launches.visits import Visit
from organizations.models import LmsAccount, Person

PAGE_SIZE = 50


class Filter(StrEnum):
    """What a teacher looks for."""

    ALL = "all"
    TO_GRADE = "to_grade"
    NOT_SUBMITTED = "not_submitted"
    NOT_OPENED = "not_opened"
    FAILED = "failed"

    @property
    def label(self) -> str:
        return _LABELS[self]


_LABELS = {
    Filter.ALL: "All",
    Filter.TO_GRADE: "To grade",
    Filter.NOT_SUBMITTED: "Not submitted",
    Filter.NOT_OPENED: "Not opened",
    Filter.FAILED: "Failed",
}
_CONDITIONS = {
    Filter.ALL: Q(),
    Filter.TO_GRADE: Q(to_grade=True),
    Filter.NOT_SUBMITTED: Q(submitted_at=None),
    Filter.NOT_OPENED: Q(opened_at=None),
    Filter.FAILED: Q(failed=True),
}


def filters_for(assignment: Assignment) -> list[Filter]:
    """The filters that make sense: work in a content application is neither submitted here nor graded from here."""
    if assignment.kind == Assignment.Kind.PAGE:
        return [Filter.ALL, Filter.TO_GRADE, Filter.NOT_SUBMITTED, Filter.FAILED]
    return [Filter.ALL, Filter.NOT_OPENED, Filter.FAILED]


@dataclass(frozen=True)
class Counts:
    """How many students are how far. Test users of the LMS are not counted (I7)."""

    people: int
    opened: int
    submitted: int
    to_grade: int
    unreleased: int
    released: int
    failed: int


@dataclass(frozen=True)
class Row:
    """One student of the table."""

    person: Person
    is_test_user: bool
    submission: Submission | None
    score: Score | None
    passage: list[Passage]

    @property
    def submitted_at(self) -> datetime | None:
        return self.submission.submitted_at if self.submission else None

    @property
    def is_late(self) -> bool:
        due_at = self.submission.assignment.due_at if self.submission else None
        return bool(due_at and self.submitted_at and self.submitted_at > due_at)

    @property
    def is_changed_since_graded(self) -> bool:
        return bool(self.score and self.submitted_at and self.submitted_at > self.score.updated_at)

    @property
    def is_over_maximum(self) -> bool:
        return bool(self.score and self.score.points > self.score.assignment.points_possible)

    @property
    def is_under_way(self) -> bool:
        return any(passage.is_under_way for passage in self.passage)


def from_lms_course(visit: Visit, person: str) -> Q:
    """Whether the person (named by the field `person` of the query) came from the visit's LMS course, or is in its
    roster."""
    link = visit.launch.resource_link
    if link is None:
        return Q(pk__in=[])
    came = Participation.objects.filter(lms_course=link.lms_course_id, person=OuterRef(person))
    listed = RosterMember.objects.filter(lms_course=link.lms_course_id, account__person=OuterRef(person))
    return Q(Exists(came)) | Q(Exists(listed))


def students_of(course: Course) -> QuerySet[Person]:
    """All students of a course, each once, with their `enrolment_state`: whom the organization's members see."""
    return (
        Person.objects.filter(organization=course.organization_id)
        .alias(
            enrolment=FilteredRelation(
                "enrolments", condition=Q(enrolments__course=course.pk, enrolments__role=Enrolment.Role.STUDENT)
            )
        )
        # A filter on the relation itself would join it once more, for every filter.
        .annotate(enrolment_state=F("enrolment__state"))
        .filter(enrolment_state__isnull=False)
    )


def visible_students(visit: Visit, course: Course) -> QuerySet[Person]:
    """The students of a course that the visitor may see, each once, with their `enrolment_state`.

    Those whom the visitor's own LMS course sent or lists: a teacher of another LMS course that opens the same course is
    nobody to them (design §2 promise 4). A mentor sees of these whom the launch named (launches/mentoring.py).
    """
    return students_of(course).filter(from_lms_course(visit, "pk"), seen_by_mentor(visit, course, "pk"))


def students_seen(access: CourseAccess) -> QuerySet[Person]:
    """The students of the course whose work may be seen: in the frame those of `visible_students`, signed in directly
    all of them."""
    if access.visit is not None:
        return visible_students(access.visit, access.course)
    return students_of(access.course)


# People as lists show them: by family name, where the LMS told it.
BY_NAME = (Lower(Coalesce(NullIf("family_name", Value("")), "name")), Lower("name"), "id")


def learners(access: CourseAccess, assignment: Assignment) -> QuerySet[Person]:
    """The students whose work may be seen, by family name, with how far they are in the assignment.

    Those who left the LMS course stay as long as they have work or a score.
    """
    return (
        students_seen(access)
        .alias(
            work=FilteredRelation("submissions", condition=Q(submissions__assignment=assignment.pk)),
            mark=FilteredRelation("scores", condition=Q(scores__assignment=assignment.pk)),
        )
        .annotate(
            opened_at=F("work__opened_at"),
            submitted_at=F("work__submitted_at"),
            mark_id=F("mark__id"),
            mark_version=F("mark__version"),
            is_graded=F("mark__graded"),
            is_released=F("mark__released"),
            scored_at=F("mark__updated_at"),
        )
        .annotate(
            is_test_user=Exists(LmsAccount.objects.filter(person=OuterRef("pk"), is_test_user=True)),
            failed=Exists(newest_deliveries(Delivery.State.FAILED, "mark_id", "mark_version")),
            to_grade=Case(
                When(submitted_at=None, then=Value(False)),
                When(Q(mark_id=None) | Q(is_graded=False) | Q(submitted_at__gt=F("scored_at")), then=Value(True)),
                default=Value(False),
                output_field=BooleanField(),
            ),
        )
        .filter(Q(enrolment_state=Enrolment.State.ACTIVE) | Q(submitted_at__isnull=False) | Q(mark_id__isnull=False))
        .order_by(*BY_NAME)
    )


def narrowed(people: QuerySet[Person], chosen: Filter, search: str) -> QuerySet[Person]:
    """The people that match a filter and a part of their name or address."""
    return named(people.filter(_CONDITIONS[chosen]), search)


def named(people: QuerySet[Person], search: str) -> QuerySet[Person]:
    """The people in whose name or address every word of the search occurs."""
    for word in search.split():
        people = people.filter(Q(name__icontains=word) | Q(email__icontains=word))
    return people


def counts(people: QuerySet[Person]) -> Counts:
    """The head of the table, in one statement."""
    real = people.order_by().filter(Q(is_test_user=False))
    # Not under the fields' own names: an aggregate called like an annotation would take its place in the next one.
    found = real.aggregate(
        n_people=Count("pk"),
        n_opened=Count("pk", filter=Q(opened_at__isnull=False)),
        n_submitted=Count("pk", filter=Q(submitted_at__isnull=False)),
        n_to_grade=Count("pk", filter=Q(to_grade=True)),
        n_unreleased=Count("pk", filter=Q(is_graded=True, is_released=False)),
        n_released=Count("pk", filter=Q(is_graded=True, is_released=True)),
        n_failed=Count("pk", filter=Q(failed=True)),
    )
    return Counts(**{name.removeprefix("n_"): number for name, number in found.items()})


def rows(people: list[Person], assignment: Assignment) -> list[Row]:
    """The rows of these people, in their order; `people` come from `learners`."""
    ids = [person.pk for person in people]
    submissions = {
        submission.person_id: submission
        for submission in Submission.objects.filter(assignment=assignment, person__in=ids)
    }
    scores = {score.person_id: score for score in Score.objects.filter(assignment=assignment, person__in=ids)}
    for submission in submissions.values():
        submission.assignment = assignment
    for score in scores.values():
        score.assignment = assignment
    passages = passage_of(list(scores.values())) if scores else {}
    return [
        Row(
            person=person,
            is_test_user=person.is_test_user,  # type: ignore[attr-defined] # annotated by learners
            submission=submissions.get(person.pk),
            score=scores.get(person.pk),
            passage=passages.get(scores[person.pk].pk, []) if person.pk in scores else [],
        )
        for person in people
    ]


@dataclass(frozen=True)
class Neighbours:
    """Who comes before and after a person among those that match the filter, and where the person stands."""

    previous: UUID | None
    next: UUID | None
    position: int
    total: int


def neighbours(people: QuerySet[Person], person_id: UUID, chosen: Filter, search: str) -> Neighbours:
    """The neighbours in the table. A person who no longer matches (just graded) keeps their place."""
    everyone = list(people.values_list("pk", flat=True))
    matching = set(narrowed(people, chosen, search).values_list("pk", flat=True))
    here = everyone.index(person_id)
    before = [pk for pk in everyone[:here] if pk in matching]
    after = [pk for pk in everyone[here + 1 :] if pk in matching]
    total = len(matching | {person_id})
    return Neighbours(before[-1] if before else None, after[0] if after else None, len(before) + 1, total)
