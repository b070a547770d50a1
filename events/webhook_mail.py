"""Mails to owners about a webhook that fails: a warning, then that it was switched off."""

from typing import Literal
from uuid import UUID

import structlog
from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone

from events.models import Delivery, WebhookEndpoint
from organizations.models import Membership

logger = structlog.get_logger(__name__)

_SUBJECTS = {"warning": "A webhook of {} fails", "disabled": "A webhook of {} was disabled"}


def mail_owners(endpoint_id: UUID, about: Literal["warning", "disabled"]) -> int:
    """Mails the organization's owners, a warning once for each row of failures; what is no longer so is not mailed.

    Returns how many mails left. Raises OSError or SMTPException when the mail server does not take them; a warning can
    then be asked for again.
    """
    endpoint = WebhookEndpoint.objects.select_related("organization").filter(pk=endpoint_id).first()
    if endpoint is None or not endpoint.organization.enabled:
        return 0
    if about == "warning":
        # Before the mail leaves, so that two workers do not send two; taken back below when it did not leave.
        due = WebhookEndpoint.objects.filter(pk=endpoint.pk, enabled=True, failing_since__isnull=False, warned_at=None)
        if not due.update(warned_at=timezone.now()):
            return 0
    elif endpoint.enabled or not endpoint.disabled_reason:
        return 0
    messages = [_message(endpoint, about, address) for address in _addresses(endpoint)]
    try:
        get_connection().send_messages(messages)
    except Exception:
        if about == "warning":
            WebhookEndpoint.objects.filter(pk=endpoint.pk).update(warned_at=None)
        raise
    logger.info("webhook_owners_mailed", endpoint_id=str(endpoint.pk), about=about, mails=len(messages))
    return len(messages)


def _addresses(endpoint: WebhookEndpoint) -> list[str]:
    owners = endpoint.organization.memberships.filter(role=Membership.Role.OWNER, user__is_active=True)
    return sorted(owners.values_list("user__email", flat=True))


def _message(endpoint: WebhookEndpoint, about: str, address: str) -> EmailMessage:
    last = Delivery.objects.filter(endpoint=endpoint).exclude(last_error="").order_by("-id").first()
    context = {
        "endpoint": endpoint,
        "organization": endpoint.organization,
        "last_error": last.last_error if last else "",
        "url": f"{settings.BASE_URL}{reverse('admin:events_webhookendpoint_change', args=[endpoint.pk])}",
    }
    return EmailMessage(
        subject=_SUBJECTS[about].format(" ".join(endpoint.organization.name.split())),
        body=render_to_string(f"events/webhook_{about}.txt", context),
        to=[address],
    )
