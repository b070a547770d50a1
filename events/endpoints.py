"""What owners do with webhook endpoints: make, change, rotate and reveal the secret, try out, switch off, delete."""

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from django.db import IntegrityError, transaction
from django.db.models import Q

from events.deliveries import cancel_webhooks
from events.event_types import EVENTS
from events.fan_out import AUDIT_TYPES, EVERY_TYPE
from events.log import Actor, EventType, record
from events.models import Delivery, Event, WebhookEndpoint, new_webhook_secret
from lti.outbound import AddressGuard, OutboundPolicy, OutboundRefused
from organizations.models import Organization
from organizations.outbound import outbound_client
from organizations.service_hosts import host_of

LONGEST_OVERLAP = timedelta(days=90)
SECRET_PREFIX = "whsec_"  # noqa: S105 - what every secret begins with
# Standard Webhooks: the key has 24 to 64 bytes.
SHORTEST_KEY, LONGEST_KEY = 24, 64
MOST_ENDPOINTS = 50
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class EndpointError(ValueError):
    """A value that cannot be, with the name of its field: url, description, events, secret or overlap."""

    def __init__(self, field: str, message: str, *, taken: bool = False) -> None:
        super().__init__(message)
        self.field = field
        self.message = message
        self.taken = taken


class EndpointDisabled(ValueError):
    """Nothing is sent to an endpoint that is switched off."""


def event_types() -> list[str]:
    """The names that an endpoint can choose from."""
    return sorted(set(EVENTS) - {EventType.WEBHOOK_TEST} - AUDIT_TYPES)


def key_of(secret: str) -> bytes:
    """The bytes that a secret stands for. Raises EndpointError for what is none."""
    shape = f"must be {SECRET_PREFIX} and {SHORTEST_KEY} to {LONGEST_KEY} bytes in base64; leave it out to get one"
    if not secret.startswith(SECRET_PREFIX):
        raise EndpointError("secret", shape)
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise EndpointError("secret", shape) from error
    if not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
        raise EndpointError("secret", f"{shape}: these are {len(key)} bytes")
    return key


def checked_url(url: str) -> str:
    """The URL without spaces around it. Raises EndpointError for one that the guarded client would never call."""
    url = url.strip()
    if len(url) > 2000:
        raise EndpointError("url", "must have at most 2000 characters")
    policy: OutboundPolicy = outbound_client().policy
    guard = AddressGuard(policy)
    try:
        guard.check_url(url)
        parts = urlsplit(url)
        host = parts.hostname or ""
        host.encode("idna")
        parts.port  # noqa: B018 - raises for a port that cannot be
    except OutboundRefused as error:
        raise EndpointError("url", str(error)) from error
    except ValueError as error:
        raise EndpointError("url", "must be a web address with a host and a port that can be") from error
    try:
        ip_address(host)
    except ValueError:
        # A name is looked up, and its address checked, at every try.
        return url
    if not guard.allows(host, host):
        raise EndpointError("url", "leads into a private network, which webhooks are not sent to")
    return url


def checked_event_types(names: Iterable[str]) -> list[str]:
    """The event types, sorted and each once; ["*"] for all. Raises EndpointError for none and for unknown ones."""
    chosen = set(names)
    if not chosen:
        raise EndpointError("events", f'name at least one event type, or "{EVERY_TYPE}" for all')
    unknown = sorted(chosen - {EVERY_TYPE, EventType.WEBHOOK_TEST, *event_types()})
    if unknown:
        known = ", ".join(event_types())
        raise EndpointError(
            "events", f"there is no event type {unknown[0][:100]!r}: use {EVERY_TYPE} or some of {known}"
        )
    return [EVERY_TYPE] if EVERY_TYPE in chosen else sorted(chosen)


def _checked_description(text: str) -> str:
    text = text.strip()
    if len(text) > 255:
        raise EndpointError("description", "must have at most 255 characters")
    if _CONTROL.search(text):
        raise EndpointError("description", "contains a control character")
    return text


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "url": checked_url,
    "event_types": checked_event_types,
    "description": _checked_description,
    "enabled": bool,
}


def _checked(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _CHECKS[name](value) for name, value in values.items()}


def make_endpoint(organization: Organization, *, secret: str = "", **values: Any) -> WebhookEndpoint:
    """A new endpoint of these `url`, `event_types`, `description`, `enabled`; the secret is made where left out.

    Raises EndpointError.
    """
    if secret:
        key_of(secret)
    endpoint = WebhookEndpoint(
        organization=organization,
        secret=secret or new_webhook_secret(),
        **_checked({"event_types": [EVERY_TYPE], **values}),
    )
    if organization.webhook_endpoints.count() >= MOST_ENDPOINTS:
        raise EndpointError("url", f"there are {MOST_ENDPOINTS} webhooks already: delete one first")
    try:
        with transaction.atomic():
            endpoint.save(force_insert=True)
    except IntegrityError as error:
        raise _taken() from error
    return endpoint


def _taken() -> EndpointError:
    return EndpointError("url", "there is a webhook with this URL already", taken=True)


def change_endpoint(endpoint: WebhookEndpoint, **values: Any) -> WebhookEndpoint:
    """Changes these of `url`, `event_types`, `description`, `enabled`.

    A new URL, and switching on, start with a clean slate; switching off cancels what waits. Raises EndpointError.
    """
    changed = {name: value for name, value in _checked(values).items() if value != getattr(endpoint, name)}
    if not changed:
        return endpoint
    if "url" in changed or changed.get("enabled"):
        changed |= {"failing_since": None, "warned_at": None}
    if "enabled" in changed:
        changed["disabled_reason"] = ""
    for name, value in changed.items():
        setattr(endpoint, name, value)
    try:
        with transaction.atomic():
            endpoint.save(update_fields=list(changed))
            if changed.get("enabled") is False:
                _cancel_waiting(endpoint)
    except IntegrityError as error:
        raise _taken() from error
    return endpoint


def disable_endpoint(endpoint: WebhookEndpoint, reason: str) -> bool:
    """Switches it off for a reason that its owner is to read, and cancels what waits. Whether it was on."""
    with transaction.atomic():
        switched = WebhookEndpoint.objects.filter(pk=endpoint.pk, enabled=True).update(
            enabled=False, disabled_reason=reason[:500]
        )
        if switched:
            _cancel_waiting(endpoint)
    return bool(switched)


def _cancel_waiting(endpoint: WebhookEndpoint) -> None:
    words = "Not sent: the webhook was disabled. When it is enabled again, this can be sent again."
    cancel_webhooks(Q(endpoint=endpoint), "endpoint_disabled", words)


def delete_endpoint(endpoint: WebhookEndpoint) -> None:
    """Deletes it; what waits is cancelled, and the record of what was sent stays."""
    with transaction.atomic():
        # Events that are being written for it end first; later ones do not see it any more.
        locked = WebhookEndpoint.objects.select_for_update().filter(pk=endpoint.pk).first()
        if locked is None:
            return
        cancel_webhooks(Q(endpoint=locked), "endpoint_deleted", "Not sent: the webhook was deleted.")
        locked.delete()


def rotate_secret(endpoint: WebhookEndpoint, overlap: timedelta, actor: Actor, secret: str = "") -> str:
    """Makes a new secret (or takes this one) and returns it; the old one signs as well for the overlap.

    A secret that was still being rotated out ends now. Raises EndpointError for a secret that is none, and for an
    overlap that is negative or above 90 days.
    """
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        raise EndpointError("overlap", "must be between none and 90 days")
    if secret:
        key_of(secret)
    with transaction.atomic():
        fresh = WebhookEndpoint.objects.select_for_update(no_key=True).get(pk=endpoint.pk)
        if secret and secret == fresh.secret:
            raise EndpointError("secret", "is the present one already")
        fresh.replace_secret(secret or new_webhook_secret(), overlap)
        fresh.save(update_fields=["secret", "previous_secret", "previous_secret_expires_at"])
        _record(fresh, EventType.KEY_ROTATED, actor, {"overlap_seconds": int(overlap.total_seconds())})
    for name in ("secret", "previous_secret", "previous_secret_expires_at"):
        setattr(endpoint, name, getattr(fresh, name))
    return fresh.secret


def drop_previous_secret(endpoint: WebhookEndpoint) -> bool:
    """Ends the overlap now. Whether there was a previous secret."""
    rows = WebhookEndpoint.objects.filter(pk=endpoint.pk, previous_secret_expires_at__isnull=False)
    return bool(rows.update(previous_secret="", previous_secret_expires_at=None))


def reveal_secret(endpoint: WebhookEndpoint, actor: Actor, reason: str) -> str:
    """The secret, after the reason was written to the audit trail. Raises EndpointError for an empty reason."""
    reason = " ".join(reason.split())
    if not reason:
        raise EndpointError("reason", "Say what the secret is needed for.")
    with transaction.atomic():
        _record(endpoint, EventType.KEY_REVEALED, actor, {"reason": reason[:500]})
    return endpoint.secret


def send_test_event(endpoint: WebhookEndpoint, actor: Actor) -> Delivery:
    """Writes a `webhook.test` event, which goes to this endpoint alone. Raises EndpointDisabled."""
    with transaction.atomic():
        event = _record(endpoint, EventType.WEBHOOK_TEST, actor, {"message": "It works when you can read this."})
        # By its own rows, since the endpoint may have been switched off a moment ago.
        delivery = Delivery.objects.filter(endpoint=endpoint, source_id=event.pk).first()
        if delivery is None:
            raise EndpointDisabled("The webhook is disabled: enable it first.")
    return delivery


def _record(endpoint: WebhookEndpoint, event_type: str, actor: Actor, data: dict[str, Any]) -> Event:
    # The host alone: the rest of a webhook's URL may be what keeps others out.
    return record(
        endpoint.organization_id,
        event_type,
        actor=actor,
        subject_kind="webhook",
        subject_id=endpoint.pk,
        data={"host": host_of(endpoint.url), **data},
    )
