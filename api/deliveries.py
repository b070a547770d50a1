"""Deliveries: what is on its way to an LMS, has arrived, or could not."""

from typing import Literal
from uuid import UUID

from django.http import HttpRequest
from ninja import Query, Router
from pydantic import Field

from api.authentication import actor_of, get_own, own
from api.pagination import Page, PageQuery, slice_of
from api.schemas.scores import ListedDelivery, listed_deliveries
from events.deliveries import resend
from events.models import Delivery
from grades.models import Score

router = Router()


class DeliveryQuery(PageQuery):
    """Which deliveries."""

    kind: Literal["", "grade", "webhook"] = Field(default="", description="Of this kind only.")
    state: Literal["", "pending", "delivered", "failed", "superseded", "cancelled"] = Field(
        default="", description="In this state only."
    )


@router.get("/deliveries", response=Page[ListedDelivery], summary="List deliveries")
def list_deliveries(request: HttpRequest, query: Query[DeliveryQuery]) -> Page[ListedDelivery]:
    """Newest first."""
    rows = own(request, Delivery.objects.all())
    if query.kind:
        rows = rows.filter(kind=query.kind)
    if query.state:
        rows = rows.filter(state=query.state)
    part = slice_of(rows, query, ("-id",))
    return Page(items=_with_scores(part.rows), next=part.next)


@router.post("/deliveries/{delivery_id}/resend", response=ListedDelivery, summary="Send again")
def resend_delivery(request: HttpRequest, delivery_id: UUID) -> ListedDelivery:
    """Sends it again, with a whole new time to arrive; a pending one becomes due now.

    Grades never go backwards: of an older version the newest is sent instead, and is the answer.
    """
    delivery = get_own(request, Delivery.objects.all(), delivery_id)
    return _with_scores([resend(delivery, actor_of(request))])[0]


def _with_scores(deliveries: list[Delivery]) -> list[ListedDelivery]:
    sources = [delivery.source_id for delivery in deliveries if delivery.kind == Delivery.Kind.GRADE]
    return listed_deliveries(deliveries, Score.objects.in_bulk(sources))
