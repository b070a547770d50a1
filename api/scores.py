"""Scores: a content application reports them, and the platform takes them to the LMS."""

from collections import defaultdict
from collections.abc import Iterable
from uuid import UUID

from django.db.models import Exists, OuterRef
from django.http import HttpRequest, HttpResponse
from ninja import Query, Router

from api.authentication import actor_of, get_own
from api.idempotency import HEADERS, IdempotencyKey, once
from api.pagination import Page, PageQuery, slice_of
from api.schemas.scores import ScoreIn, ScoreOut, score_out
from courses.models import Assignment
from events.models import Delivery
from grades.models import Score
from grades.scores import record_score
from launches.merging import person_now
from organizations.models import Person

router = Router()


@router.put(
    "/assignments/{assignment_id}/scores/{person_id}",
    response=ScoreOut,
    summary="Record a score",
    openapi_extra={"x-headers": HEADERS},
)
def put_score(
    request: HttpRequest, assignment_id: UUID, person_id: UUID, score: ScoreIn, key: IdempotencyKey = None
) -> HttpResponse | ScoreOut:
    """Records what the person has in the assignment; every call is a new version, and the newest wins in the LMS.

    The score is kept even if there is no gradebook cell for it yet: a released one is sent to a cell that appears
    later. The answer shows the deliveries as they are right now; they go on by themselves. To send again what may have
    arrived already, send the same `Idempotency-Key`: the score keeps its version.
    """
    return once(request, key, lambda: _recorded(request, assignment_id, person_id, score))


def _recorded(request: HttpRequest, assignment_id: UUID, person_id: UUID, score: ScoreIn) -> ScoreOut:
    assignment = get_own(request, Assignment.objects.select_related("course__organization"), assignment_id)
    # Who was merged with somebody since the application got the id is whom the owner made of the two.
    person_id = person_now(assignment.course.organization_id, person_id)
    person = get_own(request, Person.objects.all(), person_id)
    recorded = record_score(
        assignment,
        person,
        points=score.points,
        extra_credit=score.extra_credit,
        comment=score.comment,
        completed=score.completed,
        graded=score.graded,
        released=score.released,
        actor=actor_of(request),
    )
    return score_out(recorded, latest_deliveries([recorded])[recorded.id])


@router.get("/assignments/{assignment_id}/scores", response=Page[ScoreOut], summary="List an assignment's scores")
def list_scores(request: HttpRequest, assignment_id: UUID, page: Query[PageQuery]) -> Page[ScoreOut]:
    """Each person's score with, for each gradebook cell that wants it, the latest delivery."""
    assignment = get_own(request, Assignment.objects.all(), assignment_id)
    part = slice_of(assignment.scores.select_related("assignment"), page)
    deliveries = latest_deliveries(part.rows)
    return Page(items=[score_out(score, deliveries[score.id]) for score in part.rows], next=part.next)


def latest_deliveries(scores: Iterable[Score]) -> dict[UUID, list[Delivery]]:
    """The newest delivery of each score to each of its cells, by score. One statement."""
    grades = Delivery.objects.filter(kind=Delivery.Kind.GRADE)
    newer = grades.filter(
        source_id=OuterRef("source_id"), target_id=OuterRef("target_id"), sequence__gt=OuterRef("sequence")
    )
    found: dict[UUID, list[Delivery]] = defaultdict(list)
    for delivery in grades.filter(~Exists(newer), source_id__in=[score.id for score in scores]).order_by("id"):
        found[delivery.source_id].append(delivery)
    return found
