"""Scores, and the deliveries that take them to the LMS."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from api.schemas.values import Number
from events.models import Delivery
from grades.models import Score
from organizations.input_types import Input, ScoredPoints, Text

_DELIVERY: JsonDict = {
    "id": "0197f3a0-0000-7000-8000-000000000005",
    "state": "pending",
    "attempts": 1,
    "last_error": "The LMS answered 503; it is tried again.",
    "delivered_at": None,
}


class ScoreIn(Input):
    """What a person has in an assignment."""

    model_config = ConfigDict(json_schema_extra={"example": {"points": 8.5, "comment": "Well done."}})

    points: ScoredPoints = Field(description="0 or more; more than the assignment's points is possible.")
    extra_credit: ScoredPoints = Field(default=Decimal(0), description="Kept, but never sent to the LMS.")
    comment: Text = ""
    completed: bool = Field(default=True, strict=True)
    graded: bool = Field(default=True, strict=True)
    released: bool = Field(default=True, strict=True, description="An explicit false wins over automatic release.")


class DeliveryOut(BaseModel):
    """One thing to be sent, and how that goes."""

    model_config = ConfigDict(json_schema_extra={"example": _DELIVERY})

    id: UUID
    state: str = Field(description="`pending`, `delivered`, `failed`, `superseded` or `cancelled`.")
    attempts: int
    last_error: str = Field(description="In plain words; empty if nothing went wrong.")
    delivered_at: datetime | None


class ScoreOut(BaseModel):
    """A score with, for each gradebook cell that wants it, its latest delivery."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "person": "0197f3a0-0000-7000-8000-000000000004",
                "points": 8.5,
                "points_possible": 10.0,
                "extra_credit": 0.0,
                "comment": "Well done.",
                "completed": True,
                "graded": True,
                "released": True,
                "version": 1,
                "updated_at": "2030-01-31T18:00:00Z",
                "deliveries": [_DELIVERY],
            }
        }
    )

    person: UUID
    points: Number
    points_possible: Number
    extra_credit: Number
    comment: str
    completed: bool
    graded: bool
    released: bool
    version: int = Field(description="Counts the changes of the score.")
    updated_at: datetime
    deliveries: list[DeliveryOut]


class ListedDelivery(DeliveryOut):
    """A delivery on its own, with what it carries."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                **_DELIVERY,
                "kind": "grade",
                "assignment": "0197f3a0-0000-7000-8000-000000000002",
                "person": "0197f3a0-0000-7000-8000-000000000004",
                "version": 1,
                "webhook": None,
                "event": None,
                "created_at": "2030-01-31T18:00:00Z",
                "due_at": "2030-01-31T18:00:30Z",
            }
        }
    )

    kind: str = Field(description="`grade` or `webhook`.")
    assignment: UUID | None = Field(description="Of a grade: its assignment.")
    person: UUID | None = Field(description="Of a grade: whose it is.")
    version: int = Field(description="Of a grade: the version of the score.")
    webhook: UUID | None = Field(description="Of a webhook: which; null if it was deleted.")
    event: UUID | None = Field(description="Of a webhook: the event, whose id is `webhook-id`.")
    created_at: datetime
    due_at: datetime | None = Field(description="When it is tried next; null if it is not, or waits for a person.")


def delivery_out(delivery: Delivery) -> DeliveryOut:
    """The delivery, short."""
    return DeliveryOut(
        id=delivery.id,
        state=delivery.state,
        attempts=delivery.attempts,
        last_error=delivery.last_error,
        delivered_at=delivery.delivered_at,
    )


def score_out(score: Score, deliveries: Sequence[Delivery]) -> ScoreOut:
    """The score with these deliveries of it; its assignment should be loaded with it."""
    return ScoreOut(
        person=score.person_id,
        points=score.points,
        points_possible=score.assignment.points_possible,
        extra_credit=score.extra_credit,
        comment=score.comment,
        completed=score.completed,
        graded=score.graded,
        released=score.released,
        version=score.version,
        updated_at=score.updated_at,
        deliveries=[delivery_out(delivery) for delivery in deliveries],
    )


def listed_deliveries(deliveries: Iterable[Delivery], scores: Mapping[UUID, Score]) -> list[ListedDelivery]:
    """The deliveries, with the scores that grades among them carry."""
    listed = []
    for delivery in deliveries:
        score = scores.get(delivery.source_id)
        listed.append(
            ListedDelivery(
                **delivery_out(delivery).model_dump(),
                kind=delivery.kind,
                assignment=score.assignment_id if score else None,
                person=score.person_id if score else None,
                version=delivery.sequence,
                webhook=delivery.endpoint_id,
                event=delivery.source_id if delivery.kind == Delivery.Kind.WEBHOOK else None,
                created_at=delivery.created_at,
                due_at=delivery.due_at if delivery.state == Delivery.State.PENDING else None,
            )
        )
    return listed
