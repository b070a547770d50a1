"""What owners are written about a webhook that fails: a warning, then that it was switched off."""

from typing import Literal

from django.conf import settings
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone

from events.mails import Letter, write_mails
from events.models import Delivery, Mail, WebhookEndpoint
from organizations.models import Membership
from organizations.service_hosts import host_of

_KINDS = {"warning": Mail.Kind.WEBHOOK_WARNING, "disabled": Mail.Kind.WEBHOOK_DISABLED}
_SUBJECTS = {"warning": "A webhook of {} fails", "disabled": "A webhook of {} was disabled"}


def write_to_owners(endpoint: WebhookEndpoint, about: Literal["warning", "disabled"]) -> int:
    """Writes to each owner, once for each row of failures; call it in the transaction of what it tells of.

    `warned_at` is set when a warning has left (events/mails.py). Returns to how many.
    """
    organization = endpoint.organization
    since = endpoint.failing_since or timezone.now()
    occasion = f"{since if about == 'warning' else timezone.now():%Y%m%d%H%M%S}"
    addresses = _addresses(endpoint)
    last = Delivery.objects.filter(endpoint=endpoint).exclude(last_error="").order_by("-id").first()
    context = {
        "endpoint": endpoint,
        # The host alone: the rest of a webhook's URL may be what keeps others out, and mails are kept for years.
        "name": endpoint.description or f"at {host_of(endpoint.url)}",
        "organization": organization,
        "last_error": last.last_error if last else "",
        "url": f"{settings.BASE_URL}{reverse('admin:events_webhookendpoint_change', args=[endpoint.pk])}",
    }
    body = render_to_string(f"events/webhook_{about}.txt", context)
    subject = _SUBJECTS[about].format(organization.name)
    write_mails(
        organization,
        [Letter(_KINDS[about], endpoint.pk, occasion, address, subject, body) for address in addresses],
    )
    if about == "warning" and not addresses:
        # Nobody can be warned, and nobody is waited for.
        WebhookEndpoint.objects.filter(pk=endpoint.pk, warned_at=None).update(warned_at=timezone.now())
    return len(addresses)


def _addresses(endpoint: WebhookEndpoint) -> list[str]:
    owners = endpoint.organization.memberships.filter(role=Membership.Role.OWNER, user__is_active=True)
    return sorted(owners.values_list("user__email", flat=True))
