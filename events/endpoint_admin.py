"""Webhooks for owners: where events are told to, with masked secrets, a test event, and what was delivered."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from unfold.decorators import display
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from events import delivery_subjects, endpoints
from events.delivery_subjects import DeliverySubject, SubjectReader, subjects_of
from events.endpoints import EndpointDisabled, EndpointError
from events.fan_out import EVERY_TYPE
from events.log import Actor, EventType
from events.models import Delivery, Event, WebhookEndpoint
from organizations.admin.lti_keys import DAY, OVERLAPS, RevealForm
from organizations.models import Organization
from organizations.tenancy import scope_of
from organizations.tenant_admin import MANAGE, TenantAdmin, TenantForm, moment_column

RECENT = 20
_LINE = {"autocomplete": "off", "spellcheck": "false"}
_URL_HELP = "Events are sent there as signed POST requests. Redirects are not followed."


def _types() -> list[tuple[str, str]]:
    return [
        (EVERY_TYPE, "All, also those that later versions bring"),
        *((name, name) for name in endpoints.event_types()),
    ]


def _checked(check: Any, value: Any) -> Any:
    try:
        return check(value)
    except EndpointError as error:
        raise ValidationError(f"{error.message[:1].upper()}{error.message[1:]}.") from error


class EventTypesField(forms.MultipleChoiceField):
    """Checkboxes, one for each event type, and one for all."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            label="Events",
            choices=_types,
            widget=UnfoldAdminCheckboxSelectMultipleWidget,
            error_messages={"required": "Choose at least one."},
            **kwargs,
        )


class NewEndpointForm(forms.Form):
    organization = forms.ModelChoiceField(Organization.objects.none(), widget=UnfoldAdminSelectWidget)
    url = forms.CharField(
        label="URL",
        max_length=2000,
        widget=UnfoldAdminTextInputWidget(attrs={**_LINE, "autofocus": True, "placeholder": "https://"}),
        help_text=_URL_HELP,
    )
    description = forms.CharField(
        max_length=255,
        required=False,
        widget=UnfoldAdminTextInputWidget(),
        help_text="What listens there, e.g. “content application”.",
    )
    event_types = EventTypesField(initial=[EVERY_TYPE])
    secret = forms.CharField(
        label="Signing secret",
        required=False,
        max_length=255,
        widget=UnfoldAdminTextInputWidget(attrs=_LINE),
        help_text="Leave it empty to get a random one. Your own is whsec_ and 24 to 64 bytes in base64.",
    )

    def __init__(self, *args: Any, owned: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["organization"].queryset = owned  # type: ignore[attr-defined]
        self.only = owned[0] if len(owned) == 1 else None
        if self.only:
            del self.fields["organization"]

    def clean_url(self) -> str:
        url: str = _checked(endpoints.checked_url, self.cleaned_data["url"])
        return url

    def clean_secret(self) -> str:
        secret: str = self.cleaned_data["secret"]
        if secret:
            _checked(endpoints.key_of, secret)
        return secret

    def make(self) -> WebhookEndpoint | None:
        """The endpoint; None, with the reason at its field, when it cannot be."""
        values = dict(self.cleaned_data)
        organization: Organization = self.only or values.pop("organization")
        try:
            return endpoints.make_endpoint(organization, **values)
        except EndpointError as error:
            self.add_error(error.field if error.field in self.fields else None, f"Not made: {error.message}.")
            return None


class EndpointForm(TenantForm):
    url = forms.URLField(
        label="URL",
        max_length=2000,
        assume_scheme="https",
        widget=UnfoldAdminTextInputWidget(attrs=_LINE),
        help_text=_URL_HELP,
    )
    event_types = EventTypesField()

    class Meta:
        model = WebhookEndpoint
        fields = ["url", "description", "event_types", "enabled"]

    def clean_url(self) -> str:
        url: str = _checked(endpoints.checked_url, self.cleaned_data["url"])
        return url

    def clean_event_types(self) -> list[str]:
        names: list[str] = _checked(endpoints.checked_event_types, self.cleaned_data["event_types"])
        return names


class RotateForm(forms.Form):
    overlap = forms.TypedChoiceField(
        label="The old secret goes on signing for",
        choices=[(0, "None: only the new secret signs from now on"), *OVERLAPS[1:]],
        coerce=int,
        initial=DAY,
        widget=UnfoldAdminSelectWidget,
        help_text="Until then every request carries both signatures: the receiver can change over without a gap.",
    )
    secret = forms.CharField(
        label="New secret",
        required=False,
        max_length=255,
        widget=UnfoldAdminTextInputWidget(attrs=_LINE),
        help_text="Leave it empty to get a random one.",
    )

    def clean_secret(self) -> str:
        secret: str = self.cleaned_data["secret"]
        if secret:
            _checked(endpoints.key_of, secret)
        return secret


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(TenantAdmin):
    owners_may = MANAGE
    # What an organization tells to whom is its own matter; an operator may look, switch off and take away.
    operators_may = frozenset({"view", "change", "delete"})
    form = EndpointForm
    list_display = ["name_column", "types_column", "state_column", "failing_column", "made_column"]
    failing_column = moment_column("failing_since", "Failing since", empty="")
    made_column = moment_column("created_at", "Made")
    list_filter = ["enabled"]
    search_fields = ["url", "description"]
    fields = ["url", "description", "event_types", "enabled"]
    change_form_before_template = "admin/events/webhookendpoint_before.html"
    change_form_outer_after_template = "admin/events/webhookendpoint_after.html"

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(scope_of(request).organization_ids)

    @display(description="Webhook", ordering="url", header=True)
    def name_column(self, obj: WebhookEndpoint) -> list[str]:
        return [obj.description or obj.url, obj.url if obj.description else ""]

    @display(description="Events")
    def types_column(self, obj: WebhookEndpoint) -> str:
        names = ["all" if name == EVERY_TYPE else name for name in obj.event_types]
        return ", ".join(names) if len(names) <= 3 else f"{names[0]} and {len(names) - 1} more"

    @display(description="State", label={"On": "success", "Failing": "warning", "Off": None, "Disabled": "danger"})
    def state_column(self, obj: WebhookEndpoint) -> str:
        if obj.enabled:
            return "Failing" if obj.failing_since else "On"
        return "Disabled" if obj.disabled_reason else "Off"

    # Making and changing

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise Http404
        owned = Organization.objects.filter(pk__in=scope_of(request).organization_ids)
        form = NewEndpointForm(request.POST or None, owned=owned)
        if request.method == "POST" and form.is_valid():
            endpoint = form.make()
            if endpoint is not None:
                self.log_addition(request, endpoint, "Made the webhook.")
                return self._shown_once(request, endpoint, endpoint.secret, "The webhook is made")
        return self.page(
            request,
            "admin/form_page.html",
            "New webhook",
            form=form,
            submit_words="Make webhook",
            intro="Whatever happens is told to this address within seconds, by Standard Webhooks 1.0. The secret that "
            "signs it is shown on the next page.",
        )

    def save_model(self, request: HttpRequest, obj: WebhookEndpoint, form: Any, change: bool) -> None:
        # Only what was changed here: a rotation, or the platform, may have written the rest meanwhile.
        fresh = WebhookEndpoint.objects.get(pk=obj.pk)
        values = {name: form.cleaned_data[name] for name in form.changed_data if name in self.fields}
        try:
            endpoints.change_endpoint(fresh, **values)
        except EndpointError as error:
            messages.error(request, f"Not changed: {error.message}.")

    def delete_model(self, request: HttpRequest, obj: WebhookEndpoint) -> None:
        endpoints.delete_endpoint(obj)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        endpoint = self.load(request, object_id)
        expires = endpoint.previous_secret_expires_at
        rows: list[Any] = list(endpoint.deliveries.order_by("-id")[:RECENT])
        subjects = subjects_of(rows)
        for row in rows:
            row.subject_found = subjects.get(row.pk)
        context = {
            "endpoint": endpoint,
            "may_handle_secrets": scope_of(request).owns(endpoint.organization_id),
            "overlap_until": expires if expires and expires > timezone.now() else None,
            "deliveries": rows,
            "log_url": f"{reverse('admin:events_delivery_changelist')}?endpoint__id__exact={endpoint.pk}",
            **(extra_context or {}),
        }
        return super().change_view(request, object_id, form_url, context)

    # Pages of our own

    def get_urls(self) -> list[URLPattern]:
        def page(route: str, view: Any, name: str) -> URLPattern:
            return path(route, self.admin_site.admin_view(view), name=f"events_webhookendpoint_{name}")

        return [
            page("<uuid:object_id>/reveal/", self.reveal, "reveal"),
            page("<uuid:object_id>/rotate/", self.rotate, "rotate"),
            page("<uuid:object_id>/end-overlap/", self.end_overlap, "end_overlap"),
            page("<uuid:object_id>/test/", self.send_test, "test"),
            *super().get_urls(),
        ]

    def _load_for_owner(self, request: HttpRequest, object_id: Any) -> WebhookEndpoint:
        """Tenants' secrets are their owners' alone: an operator gets the same 404 as a stranger."""
        endpoint: WebhookEndpoint = self.load(request, str(object_id), "change")
        if not scope_of(request).owns(endpoint.organization_id):
            raise Http404
        return endpoint

    def reveal(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """Asks for a reason (GET), then shows the secret as the answer to the POST: never at an address."""
        endpoint = self._load_for_owner(request, object_id)
        form = RevealForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            secret = endpoints.reveal_secret(endpoint, self._actor(request), form.cleaned_data["reason"])
            self.log_change(request, endpoint, "Revealed the signing secret.")
            return self._shown_once(request, endpoint, secret, "Signing secret")
        return self.page(
            request,
            "admin/form_page.html",
            "Reveal the signing secret",
            endpoint,
            form=form,
            submit_words="Reveal",
            intro="Whoever has the secret can make up events that the receiver believes. That you looked at it, and "
            "why, is written to the event log.",
        )

    def rotate(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """A new secret; the old one signs as well for as long as the owner chooses."""
        endpoint = self._load_for_owner(request, object_id)
        form = RotateForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            overlap = timedelta(seconds=form.cleaned_data["overlap"])
            try:
                secret = endpoints.rotate_secret(endpoint, overlap, self._actor(request), form.cleaned_data["secret"])
            except EndpointError as error:
                form.add_error(error.field, f"Not changed: it {error.message}.")
            else:
                self.log_change(request, endpoint, "Rotated the signing secret.")
                return self._shown_once(request, endpoint, secret, "The new signing secret")
        running = len(endpoint.valid_secrets()) > 1
        return self.page(
            request,
            "admin/form_page.html",
            "Rotate the signing secret",
            endpoint,
            form=form,
            submit_words="Make a new secret",
            intro="A new secret is made and shown once. Give it to the receiver before the old one stops signing.",
            warning="An older secret is still in its overlap: it stops signing now." if running else "",
        )

    def end_overlap(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """POST: the previous secret stops signing now."""
        endpoint = self._load_for_owner(request, object_id)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if endpoints.drop_previous_secret(endpoint):
            self.log_change(request, endpoint, "Ended the overlap of the old secret.")
            messages.success(request, "The old secret no longer signs.")
        return redirect(self.url_name("change"), endpoint.pk)

    def send_test(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """POST: a test event to this webhook alone; its delivery tells what became of it."""
        endpoint: WebhookEndpoint = self.load(request, str(object_id), "change")
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        try:
            delivery = endpoints.send_test_event(endpoint, self._actor(request))
        except EndpointDisabled as error:
            messages.warning(request, str(error))
            return redirect(self.url_name("change"), endpoint.pk)
        messages.success(request, "A test event is being sent. Load this page again to see the answer.")
        return redirect("admin:events_delivery_change", delivery.pk)

    def _shown_once(self, request: HttpRequest, endpoint: WebhookEndpoint, secret: str, title: str) -> HttpResponse:
        both = len(endpoint.valid_secrets()) > 1
        return self.page(
            request,
            "admin/secret_once.html",
            title,
            endpoint,
            values=[("URL", endpoint.url), ("Signing secret", secret)],
            overlap_until=endpoint.previous_secret_expires_at if both else None,
            back=("admin:events_webhookendpoint_change", endpoint.pk),
            back_words="Back to the webhook",
        )

    @staticmethod
    def _actor(request: HttpRequest) -> Actor:
        return Actor.of(scope_of(request).actor)


def _describe(deliveries: Sequence[Delivery]) -> dict[UUID, DeliverySubject]:
    events = Event.objects.defer("data").in_bulk({delivery.source_id for delivery in deliveries})
    by_id = WebhookEndpoint.objects.only("organization", "url", "description").in_bulk(
        {delivery.endpoint_id for delivery in deliveries if delivery.endpoint_id}
    )
    found = {}
    for delivery in deliveries:
        event = events.get(delivery.source_id)
        # A row names its event by the bare id, and only one of the same tenant is shown.
        if event is None or event.organization_id != delivery.organization_id:
            continue
        endpoint = by_id.get(delivery.endpoint_id) if delivery.endpoint_id else None
        subject = f"{event.subject.get('kind', '')} {str(event.subject.get('id', ''))[-8:]}"
        found[delivery.pk] = DeliverySubject(
            what=event.type,
            whom=subject.replace("_", " ").strip() or "the platform",
            where=str(endpoint) if endpoint else "a webhook that was deleted",
            url=reverse("admin:events_event_change", args=[event.pk]),
        )
    return found


def _search(term: str) -> Q:
    about = Q(endpoint__url__icontains=term) | Q(endpoint__description__icontains=term)
    types = [name for name in (*endpoints.event_types(), EventType.WEBHOOK_TEST) if term.lower() in name]
    return about | Q(source_id__in=Event.objects.filter(type__in=types).values("pk")) if types else about


delivery_subjects.register(Delivery.Kind.WEBHOOK, SubjectReader(_describe, _search))
