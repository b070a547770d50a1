"""This room's part of the admin's home page: how deliveries go, and which failed."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID

from django.db.models import Count, Min, Q
from django.urls import reverse

from events.models import Delivery, Mail, WebhookEndpoint
from organizations.identifiers import first_uuid7_of
from organizations.overview import (
    Attention,
    Chart,
    Reach,
    Reason,
    Reasons,
    Series,
    Sums,
    View,
    adds_attention,
    adds_charts,
    adds_reasons,
    adds_sums,
    counted_by_day,
    since_days,
)
from organizations.tenancy import within

SHOWN_STATES = (Delivery.State.DELIVERED, Delivery.State.PENDING, Delivery.State.FAILED)
REASONS_SHOWN = 20
_TONES = {"delivered": "good", "pending": "waiting", "failed": "bad"}
_EMPTY = {
    "grade": "No grade was to be sent. Grade somebody in an assignment and release it.",
    "webhook": "No event was to be told. Add a webhook, or send it a test event.",
}


@adds_charts
def deliveries(view: View) -> list[Chart]:
    rows = within(Delivery.objects.filter(state__in=SHOWN_STATES), view.reach)
    totals: dict[str, Any] = {
        f"{kind}_{state}": Count("pk", filter=Q(kind=kind, state=state))
        for kind in (Delivery.Kind.GRADE, Delivery.Kind.WEBHOOK)
        for state in SHOWN_STATES
    }
    counts = counted_by_day(rows, view, **totals)
    return [_chart(view, counts, 20, "Grades", "grade"), _chart(view, counts, 30, "Webhooks", "webhook")]


def _chart(view: View, counts: Mapping[str, Mapping[date, int]], order: int, title: str, kind: str) -> Chart:
    url = reverse("admin:events_delivery_changelist")

    def series(state: str) -> Series:
        name = "waiting" if state == "pending" else state
        link = view.link(url, kind__exact=kind, state__exact=state)
        return Series(name, _TONES[state], counts[f"{kind}_{state}"], link)

    return Chart(order, title, [series(state) for state in SHOWN_STATES], view.days, _EMPTY[kind])


@adds_reasons
def reasons_of_webhooks(view: View) -> Reasons:
    rows = within(Delivery.objects.filter(kind=Delivery.Kind.WEBHOOK, state=Delivery.State.FAILED), view.reach)
    found = (
        rows.filter(id__gte=first_uuid7_of(view.since))
        .order_by()
        .values("host", "last_error_code")
        .annotate(total=Count("pk"), words=Min("last_error"))
        .order_by("-total", "host", "last_error_code")
    )
    url = reverse("admin:events_delivery_changelist")
    failed = {"kind__exact": "webhook", "state__exact": "failed"}
    return Reasons(
        30,
        "Why webhooks failed",
        [
            Reason(
                reason_in(one["words"]) or one["last_error_code"],
                one["total"],
                one["host"],
                view.link(url, **failed, reason=one["last_error_code"]),
            )
            for one in found[:REASONS_SHOWN]
        ],
    )


def reason_in(words: str) -> str:
    """The part of a delivery's words that others share: without what the LMS said, which may name people, and without
    how often it was tried."""
    for begins in (' It says "', " It was tried "):
        words = words.partition(begins)[0]
    return words.strip()


@adds_sums
def sums_of_deliveries(view: View) -> Sums:
    rows = within(Delivery.objects.filter(state__in=SHOWN_STATES), view.reach).filter(
        id__gte=first_uuid7_of(view.since)
    )
    found: dict[UUID, dict[str, int]] = defaultdict(dict)
    counted = rows.order_by().values_list("organization", "kind", "state").annotate(total=Count("pk"))
    for organization_id, kind, state, total in counted:
        column = f"{kind}s {'waiting' if state == Delivery.State.PENDING else state}"
        found[organization_id][column] = total
    columns = [f"{kind}s {state}" for kind in ("grade", "webhook") for state in ("delivered", "waiting", "failed")]
    return Sums(20, columns, "grades failed", found)


@adds_attention
def failed_deliveries(reach: Reach) -> list[Attention]:
    grades = within(Delivery.objects.filter(kind=Delivery.Kind.GRADE), reach)
    grades = since_days(grades.filter(state__in=[Delivery.State.FAILED, Delivery.State.PENDING]))
    counted = grades.aggregate(
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
                f"{url}?kind__exact=grade&state__exact=failed&since=fortnight",
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


@adds_attention
def mails_that_wait(reach: Reach) -> list[Attention]:
    waiting = within(Mail.objects.filter(sent_at=None, attempts__gt=0), reach).count()
    if not waiting:
        return []
    return [
        Attention(
            "warning",
            "1 mail has not left" if waiting == 1 else f"{waiting} mails have not left",
            "The mail server does not take them; they are tried again. Ask whoever runs the platform.",
            reverse("admin:events_mail_changelist"),
            "Look at them",
        )
    ]


def _grades(count: int) -> str:
    return "1 grade" if count == 1 else f"{count} grades"
