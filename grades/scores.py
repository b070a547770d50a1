"""The one way in for scores: what a person has in an assignment, written with its event and its deliveries."""

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from courses.models import Assignment
from events.log import Actor, EventType, event_of, record, record_many
from grades.models import GradebookCell, Score
from grades.outbox import enqueue_scores, lock_passage
from grades.policies import percentage_of
from lti.texts import without_nul
from organizations.models import Person

LARGEST = Decimal("9999999.99")  # what Score.points holds
_CENT = Decimal("0.01")


def record_score(
    assignment: Assignment,
    person: Person,
    *,
    points: Decimal,
    extra_credit: Decimal = Decimal(0),
    comment: str = "",
    completed: bool = True,
    graded: bool = True,
    released: bool | None = True,
    actor: Actor,
) -> Score:
    """Records what a person has now, as a new version, and sends it on where the policies say so; in one transaction.

    Points may exceed the assignment's. `released` None means: as the course releases, and what is released stays so.
    Raises ``ValueError`` for points or extra credit that are negative, not finite or above 9,999,999.99, and for a
    person of another organization.
    """
    points, extra_credit = _amount(points, "points"), _amount(extra_credit, "extra credit")
    if person.organization_id != assignment.course.organization_id:
        raise ValueError("The person and the assignment belong to different organizations.")
    now = timezone.now()
    with transaction.atomic():
        lock_passage([(assignment.pk, person.pk)])
        score = _locked_score(assignment, person)
        if released is None:
            released = score.released if score.version else False
            released = released or assignment.course.release_grades_automatically
        score.points = points
        score.extra_credit = extra_credit
        score.comment = without_nul(comment)
        score.completed = completed
        score.graded = graded
        score.released_at = (score.released_at or now) if released else None
        score.released = released
        score.version += 1
        score.updated_at = now
        score.save()
        record(
            assignment.course.organization_id,
            EventType.SCORE_CHANGED,
            actor=actor,
            subject_kind="score",
            subject_id=score.pk,
            data=score_data(score),
        )
        enqueue_scores([score], list(GradebookCell.objects.filter(assignment=assignment, person=person)))
    return score


def release_scores(assignment: Assignment, person_ids: Iterable[UUID] | None, actor: Actor) -> int:
    """Releases these people's scores (None: everybody's), each as a new version, and sends on what waited for it.

    Returns how many were released; those that were already are left alone.
    """
    now = timezone.now()
    unreleased = Score.objects.filter(assignment=assignment, released=False)
    if person_ids is not None:
        unreleased = unreleased.filter(person_id__in=list(person_ids))
    with transaction.atomic():
        people = list(unreleased.values_list("person_id", flat=True))
        lock_passage((assignment.pk, person_id) for person_id in people)
        scores = list(
            Score.objects.select_for_update()
            .filter(assignment=assignment, released=False, person_id__in=people)
            .order_by("pk")
        )
        if not scores:
            return 0
        Score.objects.filter(pk__in=[score.pk for score in scores]).update(
            released=True, released_at=now, updated_at=now, version=F("version") + 1
        )
        for score in scores:
            score.assignment = assignment
            score.released, score.released_at, score.updated_at = True, now, now
            score.version += 1
        organization_id = assignment.course.organization_id
        record_many(
            event_of(
                organization_id,
                EventType.SCORE_CHANGED,
                actor=actor,
                subject_kind="score",
                subject_id=score.pk,
                data=score_data(score),
            )
            for score in scores
        )
        cells = GradebookCell.objects.filter(assignment=assignment, person_id__in=[score.person_id for score in scores])
        enqueue_scores(scores, list(cells))
    return len(scores)


def score_data(score: Score) -> dict[str, Any]:
    """What the event `score.changed` says; `percentage` is 0 to 100 (more, with more points), null without points."""
    assignment = score.assignment
    percentage = percentage_of(score.points, assignment.points_possible)
    return {
        "assignment": str(assignment.pk),
        "person": str(score.person_id),
        "course": str(assignment.course_id),
        "points": float(score.points),
        "points_possible": float(assignment.points_possible),
        "percentage": None if percentage is None else float(percentage * 100),
        "version": score.version,
        "completed": score.completed,
        "graded": score.graded,
        "released": score.released,
        "enroll_only": assignment.course.enroll_only,
    }


def _amount(value: Decimal, name: str) -> Decimal:
    if not value.is_finite() or value < 0 or value > LARGEST:
        raise ValueError(f"The {name} must be a number from 0 to {LARGEST}.")
    return value.quantize(_CENT, rounding=ROUND_HALF_UP)


def _locked_score(assignment: Assignment, person: Person) -> Score:
    """The person's score, locked; a new one has version 0. Two first writers at once get the same row."""
    rows = Score.objects.select_for_update().filter(assignment=assignment, person=person)
    score = rows.first()
    if score is None:
        fresh = Score(assignment=assignment, person=person, points=Decimal(0), released=False, version=0)
        Score.objects.bulk_create([fresh], ignore_conflicts=True)
        score = rows.get()
    score.assignment = assignment
    score.person = person
    return score
