"""The way of an event to a webhook (Standard Webhooks 1.0): a signed request, what its answer means, and what becomes
of an endpoint that does not answer well."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from uuid import UUID

import structlog
from django.db import transaction
from django.utils import timezone

from events.endpoints import disable_endpoint, key_of
from events.models import Delivery, Event, WebhookEndpoint
from events.senders import WAITS_FOR_ORGANIZATION, Errand, Prepared, Result, Settled, Verdict
from events.webhook_mail import write_to_owners
from lti.outbound import OutboundFailed, OutboundRefused, OutboundResponse
from lti.redaction import redact
from lti.retry_after import retry_after
from lti.texts import single_line, truncated
from organizations.service_hosts import host_of, shown_address

logger = structlog.get_logger(__name__)

PAYLOAD_VERSION = 1
# Owners are warned after three days without a success; after five, and a day after the warning, it is switched off.
WARNED_AFTER = timedelta(days=3)
DISABLED_AFTER = timedelta(days=5)
TIME_TO_REACT = timedelta(days=1)
GONE = "gone"
_EXCERPT = 1000


class WebhookSender:
    """Sends the deliveries of kind "webhook": the event as it was written, signed anew for every try."""

    def prepare(self, deliveries: Sequence[Delivery]) -> Mapping[UUID, Prepared | Errand | Result]:
        events = Event.objects.in_bulk({delivery.source_id for delivery in deliveries})
        endpoints = WebhookEndpoint.objects.select_related("organization").in_bulk(
            {delivery.endpoint_id for delivery in deliveries if delivery.endpoint_id}
        )
        prepared: dict[UUID, Prepared | Errand | Result] = {}
        for delivery in deliveries:
            endpoint = endpoints.get(delivery.endpoint_id) if delivery.endpoint_id else None
            event = events.get(delivery.source_id)
            hindered = _hindered(endpoint, event)
            if hindered is not None or endpoint is None or event is None:
                prepared[delivery.pk] = hindered or _ENDPOINT_GONE
                continue
            delivery.host = host_of(endpoint.url)[:255]
            prepared[delivery.pk] = _request(delivery, endpoint, event)
        return prepared

    def judge(self, prepared: Prepared, answer: OutboundResponse | OutboundFailed | OutboundRefused) -> Result:
        return judged(answer)

    def settled(self, ends: Sequence[Settled]) -> None:
        # No events: they would be told to the endpoint that they tell of, for ever. The log of deliveries has it all.
        # After the transaction: whoever deletes an endpoint locks it first and its deliveries then.
        transaction.on_commit(lambda: _note(ends))

    def to_be_repeated(self, tries: Sequence[Settled]) -> None:
        transaction.on_commit(lambda: _note(tries))


_ENDPOINT_GONE = Result(Verdict.CANCELLED, "endpoint_deleted", "Not sent: the webhook was deleted.")


def _hindered(endpoint: WebhookEndpoint | None, event: Event | None) -> Result | None:
    """Why this event may not leave now, looked at again before every try."""
    if endpoint is None:
        return _ENDPOINT_GONE
    if event is None or event.organization_id != endpoint.organization_id:
        return Result(Verdict.CANCELLED, "event_deleted", "Not sent: the event is past its age and was deleted.")
    if not endpoint.organization.enabled:
        words = f"{endpoint.organization.name} is suspended; webhooks wait until it is enabled again."
        return Result(Verdict.POSTPONED, WAITS_FOR_ORGANIZATION, words)
    if not endpoint.enabled:
        words = "Not sent: the webhook is disabled. When it is enabled again, this can be sent again."
        return Result(Verdict.CANCELLED, "endpoint_disabled", words)
    return None


def body_of(event: Event) -> bytes:
    """The body: type, time and data of the event, thin and versioned; the same bytes for every try."""
    document = {
        "type": event.type,
        "timestamp": event.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "data": {
            "version": PAYLOAD_VERSION,
            "id": str(event.pk),
            "organization": str(event.organization_id),
            "actor": event.actor,
            "subject": event.subject,
            "data": event.data,
        },
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def signature_of(secrets: Sequence[str], message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`: `v1,<base64 of HMAC-SHA256 of id.timestamp.body>` for each secret."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    digests = [hmac.digest(key_of(secret), signed, hashlib.sha256) for secret in secrets]
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


def _request(delivery: Delivery, endpoint: WebhookEndpoint, event: Event) -> Prepared:
    body, message_id, timestamp = body_of(event), str(event.pk), int(time.time())
    return Prepared(
        delivery_id=delivery.pk,
        method="POST",
        url=endpoint.url,
        headers={
            "Content-Type": "application/json",
            "Accept": "*/*",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature_of(endpoint.valid_secrets(), message_id, timestamp, body),
        },
        body=body,
        description=f"POST {shown_address(endpoint.url)}\nwebhook-id: {message_id}\nwebhook-timestamp: {timestamp}\n\n"
        + truncated(body.decode(), 4000),
        context=None,
    )


def judged(answer: OutboundResponse | OutboundFailed | OutboundRefused) -> Result:
    """What the answer to a request means: 2xx is success, 410 the end, everything else is tried again."""
    if isinstance(answer, OutboundRefused):
        words = f"The webhook's address may not be called from here: {answer.reason}."
        return Result(Verdict.REFUSED, "address_refused", words)
    if isinstance(answer, OutboundFailed):
        return Result(Verdict.RETRY, f"no_answer_{answer.kind}", f"The webhook did not answer: {answer.reason}.")
    status = answer.status
    excerpt = truncated(single_line(redact(answer.body[: 4 * _EXCERPT].decode("utf-8", "replace"))), _EXCERPT)
    if 200 <= status < 300:
        return Result(Verdict.DELIVERED, "", "", excerpt=excerpt)
    if status == HTTPStatus.GONE:
        words = "The webhook answered 410 Gone: it wants no more events, and was disabled."
        return Result(Verdict.REFUSED, GONE, words, excerpt=excerpt)
    if 300 <= status < 400:
        words = f"The webhook answered {_named(status)}. Redirects are not followed: correct its URL."
        return Result(Verdict.RETRY, f"status_{status}", words, excerpt=excerpt)
    # requests compares names of headers without case.
    wait = retry_after(answer.headers.get("Retry-After", ""), datetime.now(UTC))
    return Result(Verdict.RETRY, f"status_{status}", f"The webhook answered {_named(status)}.", wait, excerpt)


def _named(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _note(tries: Sequence[Settled]) -> None:
    """Keeps since when each endpoint fails; warns its owners, and switches off what has failed for too long."""
    arrived: set[UUID] = set()
    failed: set[UUID] = set()
    gone: set[UUID] = set()
    for one in tries:
        endpoint_id = one.delivery.endpoint_id
        if endpoint_id is None or one.prepared is None or one.code == "internal_error":
            continue
        if one.state == Delivery.State.DELIVERED:
            arrived.add(endpoint_id)
        elif one.code == GONE:
            gone.add(endpoint_id)
        else:
            failed.add(endpoint_id)
    if arrived:
        WebhookEndpoint.objects.filter(pk__in=arrived, failing_since__isnull=False).update(
            failing_since=None, warned_at=None
        )
    for endpoint in _enabled(gone):
        _switch_off(endpoint, "It answered 410 Gone, which says that it wants no more events.")
    if failed - arrived:
        now = timezone.now()
        WebhookEndpoint.objects.filter(pk__in=failed - arrived, failing_since__isnull=True).update(failing_since=now)
        for endpoint in _enabled(failed - arrived):
            _judge_endpoint(endpoint, now)


def _enabled(primary_keys: set[UUID]) -> list[WebhookEndpoint]:
    if not primary_keys:
        return []
    rows = WebhookEndpoint.objects.filter(pk__in=primary_keys, enabled=True)
    return list(rows.defer("secret", "previous_secret"))


def _judge_endpoint(endpoint: WebhookEndpoint, now: datetime) -> None:
    since = endpoint.failing_since
    if since is None or now - since < WARNED_AFTER:
        return
    if endpoint.warned_at is None:
        # Written once for each row of failures, however often it fails meanwhile.
        with transaction.atomic():
            write_to_owners(endpoint, "warning")
    elif now - since >= DISABLED_AFTER and now - endpoint.warned_at >= TIME_TO_REACT:
        _switch_off(endpoint, f"Every try since {since:%d %B %Y, %H:%M} UTC has failed.")


def _switch_off(endpoint: WebhookEndpoint, reason: str) -> None:
    with transaction.atomic():
        if not disable_endpoint(endpoint, reason):
            return
        endpoint.disabled_reason = reason
        write_to_owners(endpoint, "disabled")
    logger.warning("webhook_disabled", endpoint_id=str(endpoint.pk), reason=reason)
