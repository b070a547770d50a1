"""The outbox and the event log in the admin."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, StreamingHttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter
from unfold.decorators import display
from unfold.views import ChangeList

from events import endpoint_admin, overview  # noqa: F401 - webhooks; this room's part of the home page
from events.csv_export import csv_response
from events.deliveries import cancel, resend, resend_many
from events.delivery_subjects import search_of, subjects_of
from events.log import Actor, EventType
from events.models import Attempt, Delivery, Event, Mail
from organizations.tenancy import scope_of
from organizations.tenant_admin import READ, TenantAdmin, TenantRelatedFilter, TenantTabularInline, moment_column

STATE_TONES = {
    "Waiting": "info",
    "Delivered": "success",
    "Failed": "danger",
    "Superseded": None,
    "Cancelled": "warning",
}
ACTION_LIMIT = 5000


class SinceFilter(DropdownFilter):
    """The last hours or days, by the time column the admin names in `time_field`."""

    title = "time"
    parameter_name = "since"
    spans = {
        "hour": timedelta(hours=1),
        "day": timedelta(days=1),
        "week": timedelta(days=7),
        "fortnight": timedelta(days=14),
        "month": timedelta(days=30),
    }

    def __init__(self, request: HttpRequest, params: Any, model: Any, model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        self.time_field = model_admin.time_field

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("hour", "Last hour"),
            ("day", "Last 24 hours"),
            ("week", "Last 7 days"),
            ("fortnight", "Last 14 days"),
            ("month", "Last 30 days"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        span = self.spans.get(self.value() or "")
        return queryset.filter(**{f"{self.time_field}__gte": timezone.now() - span}) if span else queryset


class ReasonFilter(DropdownFilter):
    """Reached from the home page, which counts failures by their reason."""

    title = "reason"
    parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        wanted = request.GET.get(self.parameter_name, "")
        return [(wanted, wanted.replace("_", " ").capitalize())] if wanted else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(last_error_code=self.value()) if self.value() else queryset


class AttemptInline(TenantTabularInline):
    model = Attempt
    fields = ["number", "started_at", "outcome", "status_column", "duration_column", "error_column", "exchange"]
    readonly_fields = fields
    verbose_name_plural = "attempts"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Attempt]:
        return super().get_queryset(request).order_by("number")

    @display(description="Answer")
    def status_column(self, obj: Attempt) -> str:
        return f"HTTP {obj.response_status}" if obj.response_status else "—"

    @display(description="Took")
    def duration_column(self, obj: Attempt) -> str:
        return "—" if obj.duration_ms is None else f"{obj.duration_ms} ms"

    @display(description="In words")
    def error_column(self, obj: Attempt) -> str:
        if obj.error:
            return obj.error
        return "" if obj.outcome else "Not finished: under way, or the worker stopped. It is tried again."

    @display(description="Request and answer")
    def exchange(self, obj: Attempt) -> str:
        if not obj.request and not obj.response:
            return "—"
        return format_html(
            '<details class="p-exchange"><summary>Show</summary><div class="p-muted">Request</div>'
            '<pre class="p-base">{}</pre><div class="p-muted">Answer (excerpt)</div>'
            '<pre class="p-base">{}</pre></details>',
            obj.request or "(none)",
            obj.response or "(none)",
        )


class DeliveryChangeList(ChangeList):
    """Looks up what a page of deliveries carries in few queries."""

    result_list: Any

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows = list(self.result_list)
        subjects = subjects_of(rows)
        for row in rows:
            row.subject_found = subjects.get(row.pk)
        self.result_list = rows


@admin.register(Delivery)
class DeliveryAdmin(TenantAdmin):
    owners_may = READ
    time_field = "created_at"
    list_display = [
        "what_column",
        "whom_column",
        "state_column",
        "attempts",
        "next_column",
        "error_column",
        "made_column",
    ]
    list_filter = [
        ("state", ChoicesDropdownFilter),
        ("kind", ChoicesDropdownFilter),
        ("endpoint", TenantRelatedFilter),
        ReasonFilter,
        SinceFilter,
    ]
    search_fields = ["last_error", "host"]
    search_help_text = "Person, assignment, event type, host or error"
    actions = ["send_again", "cancel_selected"]
    fields = [
        "state_column",
        "subject_column",
        "error_column",
        "attempts",
        "next_column",
        "give_up_at",
        "delivered_at",
        "host",
        "version_column",
        "created_at",
    ]
    inlines = [AttemptInline]
    change_form_outer_before_template = "admin/events/delivery_before.html"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return DeliveryChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Delivery], search_term: str
    ) -> tuple[QuerySet[Delivery], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        return queryset.filter(Q(last_error__icontains=term) | Q(host__icontains=term) | search_of(term)), False

    # Columns

    made_column = moment_column("created_at", "Made")

    @display(description="What", ordering="id")
    def what_column(self, obj: Any) -> str:
        subject = obj.subject_found
        return f"{obj.get_kind_display()}: {subject.what}" if subject else f"{obj.get_kind_display()} (its row is gone)"

    @display(description="For")
    def whom_column(self, obj: Any) -> str:
        subject = obj.subject_found
        return f"{subject.whom} · {subject.where}" if subject else "—"

    @display(description="State", ordering="state", label=STATE_TONES)
    def state_column(self, obj: Delivery) -> str:
        return str(obj.get_state_display())

    @display(description="Next try", ordering="due_at")
    def next_column(self, obj: Delivery) -> str:
        if obj.state != Delivery.State.PENDING:
            return "—"
        if obj.claim is not None:
            return "under way"
        if obj.due_at is None:
            return "waits for you"
        return "now" if obj.due_at <= timezone.now() else f"{obj.due_at:%d %b %H:%M} UTC"

    @display(description="In words")
    def error_column(self, obj: Delivery) -> str:
        return obj.last_error or ""

    @display(description="What")
    def subject_column(self, obj: Delivery) -> str:
        subject = subjects_of([obj]).get(obj.pk)
        if subject is None:
            return "—"
        return format_html('<a href="{}">{}</a> for {}, to {}', subject.url, subject.what, subject.whom, subject.where)

    @display(description="Version of the score")
    def version_column(self, obj: Delivery) -> str:
        return str(obj.sequence) if obj.kind == Delivery.Kind.GRADE else "—"

    # Verbs

    def _actor(self, request: HttpRequest) -> Actor:
        return Actor.of(scope_of(request).actor)

    @admin.action(description="Send again", permissions=["view"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        """Of the selected rows, or of all that match."""
        rows = list(queryset.filter(state__in=_MAY_BE_SENT_AGAIN)[: ACTION_LIMIT + 1])
        left_over = len(rows) > ACTION_LIMIT
        due = resend_many(rows[:ACTION_LIMIT], self._actor(request))
        messages.success(request, f"{due} due now." if due else "Nothing among these is to be sent again.")
        if left_over:
            messages.warning(request, f"Only the first {ACTION_LIMIT}: run it again for the rest.")

    @admin.action(description="Cancel…", permissions=["view"])
    def cancel_selected(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> HttpResponse | None:
        """Asks first, naming what will not arrive."""
        waiting = queryset.filter(state=Delivery.State.PENDING)
        if request.POST.get("confirmed"):
            done = sum(cancel(row, self._actor(request)) for row in waiting[:ACTION_LIMIT])
            messages.success(request, f"{done} cancelled.")
            return None
        rows = list(waiting[:21])
        if not rows:
            messages.warning(request, "None of these waits.")
            return None
        total = waiting.count()
        subjects = subjects_of(rows)
        lines = [
            f"{found.what}: {found.whom}, {found.where}" if (found := subjects.get(row.pk)) else str(row)
            for row in rows[:20]
        ]
        across = request.POST.get("select_across") == "1"
        selected = request.POST.getlist(ACTION_CHECKBOX_NAME)
        hidden = [("action", "cancel_selected"), ("confirmed", "1"), ("select_across", "1" if across else "0")]
        hidden += [(ACTION_CHECKBOX_NAME, pk) for pk in selected]
        return self.page(
            request,
            "admin/confirm_page.html",
            f"Cancel {total} {'delivery' if total == 1 else 'deliveries'}?",
            submit_words="Cancel them",
            danger=True,
            hidden=hidden,
            lines=lines,
            more=max(total - 20, 0),
            intro="LMS gradebooks and webhooks do not get these. Scores and events stay here, and can be sent again "
            "later.",
        )

    def get_urls(self) -> list[URLPattern]:
        return [
            path(
                "<uuid:object_id>/resend/", self.admin_site.admin_view(self.resend_one), name="events_delivery_resend"
            ),
            path(
                "<uuid:object_id>/cancel/", self.admin_site.admin_view(self.cancel_one), name="events_delivery_cancel"
            ),
            *super().get_urls(),
        ]

    def resend_one(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        delivery = self.load(request, str(object_id))
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        due = resend(delivery, self._actor(request))
        if due.pk != delivery.pk:
            messages.info(request, "A newer score replaced this one: the newest is sent.")
        else:
            messages.success(request, "It is being sent.")
        return redirect(reverse(self.url_name("change"), args=[due.pk]))

    def cancel_one(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        delivery = self.load(request, str(object_id))
        if request.method == "POST":
            if cancel(delivery, self._actor(request)):
                messages.success(request, "Cancelled.")
            else:
                messages.warning(request, "It is under way or over already, and stays as it is.")
            return redirect(reverse(self.url_name("change"), args=[delivery.pk]))
        return self.page(
            request,
            "admin/confirm_page.html",
            "Cancel this delivery?",
            delivery,
            submit_words="Cancel it",
            danger=True,
            intro=_WITHOUT_IT[delivery.kind],
        )

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        delivery = self.load(request, object_id)
        context = {
            "delivery": delivery,
            "may_resend": delivery.state in _MAY_BE_SENT_AGAIN and delivery.claim is None,
            "may_cancel": delivery.state == Delivery.State.PENDING and delivery.claim is None,
            **(extra_context or {}),
        }
        return super().change_view(request, object_id, form_url, context)


_WITHOUT_IT = {
    Delivery.Kind.GRADE: "The LMS gradebook does not get it. The score stays here, and can be sent again later.",
    Delivery.Kind.WEBHOOK: "The webhook does not get it. The event stays in the log, and can be sent again later.",
}
_MAY_BE_SENT_AGAIN = [
    Delivery.State.PENDING,
    Delivery.State.FAILED,
    Delivery.State.CANCELLED,
    Delivery.State.DELIVERED,
]


@admin.register(Attempt)
class AttemptAdmin(TenantAdmin):
    """All attempts in one list: what the LMSs answered, newest first."""

    owners_may = READ
    time_field = "started_at"
    started_column = moment_column("started_at", "Started")
    list_display = ["started_column", "delivery", "number", "outcome", "response_status", "duration_ms", "error"]
    list_select_related = ["delivery"]
    list_filter = [SinceFilter]
    ordering = ["-id"]
    fields = ["delivery", "number", "started_at", "duration_ms", "response_status", "outcome", "error"]
    fields += ["request", "response"]


@admin.register(Mail)
class MailAdmin(TenantAdmin):
    """The mails of the platform's own accord: to whom, about what, and whether they have left."""

    owners_may = READ
    time_field = "created_at"
    list_display = ["made_column", "kind", "address", "subject", "sent_column", "attempts", "last_error"]
    made_column = moment_column("created_at", "Made")
    sent_column = moment_column("sent_at", "Left", empty="not yet")
    list_filter = [("kind", ChoicesDropdownFilter), SinceFilter]
    search_fields = ["address", "subject"]
    ordering = ["-id"]
    fields = ["kind", "address", "subject", "body", "created_at", "due_at", "attempts", "last_error", "sent_at"]


class EventTypeFilter(DropdownFilter):
    title = "type"
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        known = sorted(value for name, value in vars(EventType).items() if name.isupper())
        return [(value, value) for value in known]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Event]) -> QuerySet[Event]:
        return queryset.filter(type=self.value()) if self.value() else queryset


@admin.register(Event)
class EventAdmin(TenantAdmin):
    owners_may = READ
    time_field = "at"
    at_column = moment_column("at", "Time")
    list_display = ["at_column", "type", "actor_column", "subject_column", "data_column"]
    list_filter = [EventTypeFilter, SinceFilter]
    search_fields = ["actor__name", "subject__id"]
    search_help_text = "Who did it, or the id of what it is about"
    fields = ["at", "type", "actor_column", "subject_column", "pretty_data"]
    list_before_template = "admin/events/event_list_before.html"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Event], search_term: str
    ) -> tuple[QuerySet[Event], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        return queryset.filter(Q(actor__name__icontains=term) | Q(subject__id__icontains=term)), False

    @display(description="Who")
    def actor_column(self, obj: Event) -> str:
        kind = str(obj.actor.get("kind", "system")).replace("_", " ")
        name = obj.actor.get("name")
        return f"{name} ({kind})" if name else kind

    @display(description="About")
    def subject_column(self, obj: Event) -> str:
        return f"{obj.subject.get('kind', '')} {str(obj.subject.get('id', ''))[-8:]}".replace("_", " ").strip()

    @display(description="Details")
    def data_column(self, obj: Event) -> str:
        text = ", ".join(f"{name}: {value}" for name, value in obj.data.items())
        return text if len(text) <= 120 else f"{text[:119]}…"

    @display(description="Details")
    def pretty_data(self, obj: Event) -> str:
        return format_html(
            '<pre class="p-base">{}</pre>', json.dumps(obj.data, indent=2, ensure_ascii=False, sort_keys=True)
        )

    def get_urls(self) -> list[URLPattern]:
        export = path("export.csv", self.admin_site.admin_view(self.export), name="events_event_export")
        return [export, *super().get_urls()]

    def export(self, request: HttpRequest) -> StreamingHttpResponse:
        """The rows that the list's filters leave, as CSV."""
        rows: QuerySet[Event] = self.get_changelist_instance(request).get_queryset(request)
        header = ["id", "time", "type", "actor kind", "actor id", "actor", "subject kind", "subject id", "data"]
        return csv_response("events.csv", header, (_event_cells(event) for event in rows.iterator(2000)))


def _event_cells(event: Event) -> Sequence[Any]:
    at: datetime = event.at
    return [
        event.pk,
        at.isoformat(),
        event.type,
        event.actor.get("kind", ""),
        event.actor.get("id", ""),
        event.actor.get("name", ""),
        event.subject.get("kind", ""),
        event.subject.get("id", ""),
        json.dumps(event.data, ensure_ascii=False, sort_keys=True),
    ]
