"""Who hears of an event: a delivery for each endpoint that wants it, written in the event's own transaction."""

from collections.abc import Sequence
from uuid import UUID

from django.db import connection

from events.deliveries import Outgoing, enqueue
from events.models import Event, WebhookEndpoint
from organizations.identifiers import uuid7
from organizations.service_hosts import host_of

KIND = "webhook"
EVERY_TYPE = "*"
# Told to the endpoint that it is about, whatever that one has chosen, and to no other.
TEST_TYPE = "webhook.test"
# For the audit trail alone: told to webhooks, a thousand deliveries sent again would be another thousand.
AUDIT_TYPES = frozenset({"delivery.resent", "delivery.cancelled"})

_COLUMNS = ("id", "organization_id", "event_types", "url")


def fan_out(events: Sequence[Event]) -> int:
    """Puts these events, which are written already, into the outbox for every enabled endpoint that wants them.

    One look at the endpoints, and one insert if any wants one. Returns how many deliveries were made.
    """
    events = [event for event in events if event.type not in AUDIT_TYPES]
    if not events:
        return 0
    endpoints = _enabled_endpoints({event.organization_id for event in events})
    return enqueue(
        KIND,
        [
            Outgoing(
                organization_id=event.organization_id,
                # A target of its own: deliveries to one endpoint need not wait for one another.
                target_id=uuid7(),
                source_id=event.pk,
                sequence=1,
                host=host_of(endpoint.url),
                endpoint_id=endpoint.pk,
            )
            for event in events
            for endpoint in endpoints
            if wants(endpoint, event)
        ],
    )


def wants(endpoint: WebhookEndpoint, event: Event) -> bool:
    """Whether the endpoint is to hear of the event."""
    if endpoint.organization_id != event.organization_id:
        return False
    if event.type == TEST_TYPE:
        return str(endpoint.pk) == event.subject.get("id")
    return EVERY_TYPE in endpoint.event_types or event.type in endpoint.event_types


def _enabled_endpoints(organization_ids: set[UUID]) -> list[WebhookEndpoint]:
    rows = WebhookEndpoint.objects.filter(organization__in=organization_ids, enabled=True).order_by()
    sql, parameters = rows.only(*_COLUMNS).query.sql_with_params()
    if connection.vendor == "postgresql":
        # The lock that a foreign key takes anyway, taken early: an owner who deletes the endpoint at this very moment
        # must not make the event's transaction, and with it a grade, fail. Django has no name for it.
        sql += " FOR KEY SHARE"
    return list(WebhookEndpoint.objects.raw(sql, parameters))
