"""The event log, for those who poll."""

from uuid import UUID

from django.http import HttpRequest
from ninja import Query, Router
from pydantic import Field

from api.authentication import own
from api.pagination import Page, PageQuery, slice_of
from api.schemas.events import EventOut, event_out
from events.models import Event

router = Router()


class EventQuery(PageQuery):
    """Which events."""

    after: UUID | None = Field(default=None, description="Only events after this one: the id of the last one seen.")


@router.get("/events", response=Page[EventOut], summary="Read the event log")
def list_events(request: HttpRequest, query: Query[EventQuery]) -> Page[EventOut]:
    """Oldest first. To follow the log, ask again with `after` set to the id of the last event received.

    An event appears when its transaction ends, so one may appear just before another that was seen already: to miss
    none, go on from an event a minute back and pass over ids that are known.
    """
    rows = own(request, Event.objects.all())
    if query.after is not None:
        rows = rows.filter(id__gt=query.after)
    part = slice_of(rows, query)
    return Page(items=[event_out(event) for event in part.rows], next=part.next)
