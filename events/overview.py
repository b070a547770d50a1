"""This room's part of the admin's home page: how deliveries go, and which failed."""

from datetime import timedelta

from django.db.models import Count, Q
from django.urls import reverse
from django.utils import timezone

from events.models import Delivery, WebhookEndpoint
from organizations.overview import (
    DAYS,
    Attention,
    Reach,
    Series,
    adds_attention,
    adds_series,
    counts_per_day,
)
from organizations.tenancy import within


@adds_series
def deliveries(reach: Reach) -> list[Series]:
    rows = within(
        Delivery.objects.filter(kind=Delivery.Kind.GRADE, state__in=[Delivery.State.DELIVERED, Delivery.State.FAILED]),
        reach,
    )
    delivered, failed = counts_per_day(rows, "created_at", Q(state=Delivery.State.DELIVERED))
    url = reverse("admin:events_delivery_changelist")
    return [
        Series(20, "Grades", "delivered", "good", delivered, f"{url}?state__exact=delivered"),
        Series(20, "Grades", "failed", "bad", failed, f"{url}?state__exact=failed"),
    ]


@adds_attention
def failed_deliveries(reach: Reach) -> list[Attention]:
    since = timezone.now() - timedelta(days=DAYS)
    grades = Delivery.objects.filter(kind=Delivery.Kind.GRADE, created_at__gte=since)
    counted = within(grades, reach).aggregate(
        failed=Count("pk", filter=Q(state=Delivery.State.FAILED)),
        held=Count("pk", filter=Q(state=Delivery.State.PENDING, due_at=None, claim=None)),
    )
    url = reverse("admin:events_delivery_changelist")
    found = []
    if counted["failed"]:
        found.append(
            Attention(
                "danger",
                f"{_grades(counted['failed'])} did not arrive",
                "Each says why, and can be sent again.",
                f"{url}?kind__exact=grade&state__exact=failed",
                "See why",
            )
        )
    if counted["held"]:
        found.append(
            Attention(
                "warning",
                f"{_grades(counted['held'])} wait for you",
                "They are held until somebody allows or changes something.",
                f"{url}?kind__exact=grade&state__exact=pending",
                "Look at them",
            )
        )
    return found


@adds_attention
def failing_webhooks(reach: Reach) -> list[Attention]:
    rows = within(WebhookEndpoint.objects.all(), reach).defer("secret", "previous_secret")
    troubled = rows.filter(Q(enabled=False) & ~Q(disabled_reason="") | Q(enabled=True, failing_since__isnull=False))
    return [
        Attention(
            "warning" if endpoint.enabled else "danger",
            f"The webhook {endpoint} {'fails' if endpoint.enabled else 'was disabled'}",
            f"Nothing has arrived since {endpoint.failing_since:%d %B, %H:%M} UTC."
            if endpoint.enabled and endpoint.failing_since
            else endpoint.disabled_reason,
            reverse("admin:events_webhookendpoint_change", args=[endpoint.pk]),
            "See why",
        )
        for endpoint in troubled.order_by("-failing_since")[:5]
    ]


def _grades(count: int) -> str:
    return "1 grade" if count == 1 else f"{count} grades"
