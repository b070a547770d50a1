"""LTI 1.1 keys: masked everywhere, shown on request, replaced with an overlap, disabled."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import timezone
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from organizations import credentials
from organizations.identifiers import random_token
from organizations.models import Installation, LtiKey, User, consumer_key_validator
from organizations.tenancy import scope_of
from organizations.tenant_admin import TenantAdmin, TenantRelatedFilter, moment_column

HOUR, DAY = 3600, 86400
OVERLAPS = [
    (0, "None: the old secret stops working now"),
    (HOUR, "1 hour"),
    (DAY, "1 day"),
    (7 * DAY, "7 days"),
    (30 * DAY, "30 days"),
]


class RevealForm(forms.Form):
    reason = forms.CharField(
        max_length=500,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "autofocus": True}),
        help_text="Kept in the event log with your name, e.g. “connecting the library's Moodle”.",
    )


class ResetForm(forms.Form):
    overlap = forms.TypedChoiceField(
        label="The old secret goes on working for",
        choices=OVERLAPS,
        coerce=int,
        initial=7 * DAY,
        widget=UnfoldAdminSelectWidget,
        help_text="Time to paste the new one into the LMS while launches go on.",
    )


class NewKeyForm(forms.Form):
    consumer_key = forms.CharField(
        max_length=255,
        validators=[consumer_key_validator],
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text="A generated one, or your own: it must be unique on this platform. Prefer letters, digits, - and _.",
    )
    secret = forms.CharField(
        label="Shared secret",
        required=False,
        min_length=12,
        max_length=255,
        strip=True,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 1, "autocomplete": "off", "spellcheck": "false"}),
        help_text="Leave it empty to get a random one. Give your own only when the LMS has one already.",
    )

    def clean_consumer_key(self) -> str:
        key: str = self.cleaned_data["consumer_key"]
        if LtiKey.objects.filter(consumer_key=key).exists():
            raise ValidationError("This key is taken. Choose another one.")
        return key

    def clean_secret(self) -> str:
        secret: str = self.cleaned_data["secret"]
        if any(ord(character) < 0x21 or ord(character) == 0x7F for character in secret):
            raise ValidationError("Spaces and control characters break signatures: leave them out.")
        return secret


@admin.register(LtiKey)
class LtiKeyAdmin(TenantAdmin):
    owners_may = frozenset({"view", "change"})
    list_display = ["consumer_key", "installation", "secret_column", "used_column", "overlap_column", "enabled"]
    used_column = moment_column("last_used_at", "Last used", empty="never")
    list_select_related = ["installation"]
    list_filter = ["enabled", ("installation", TenantRelatedFilter)]
    search_fields = ["consumer_key", "installation__name"]
    fields = ["installation", "enabled"]
    readonly_fields = ["installation"]
    change_form_before_template = "admin/organizations/ltikey_before.html"
    change_form_outer_after_template = "admin/organizations/ltikey_after.html"

    @display(description="Shared secret")
    def secret_column(self, obj: LtiKey) -> str:
        return "••••••••••••"

    @display(description="Old secret", empty_value="")
    def overlap_column(self, obj: LtiKey) -> str:
        expires_at = obj.previous_secret_expires_at
        if expires_at is None or expires_at <= timezone.now():
            return ""
        return f"works until {expires_at:%d %b %Y %H:%M} UTC"

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        key = self.load(request, object_id)
        context = {
            "lti_key": key,
            "may_handle_secrets": scope_of(request).owns(key.installation.organization_id),
            "overlap_until": key.previous_secret_expires_at if key.valid_previous_secret() else None,
            **(extra_context or {}),
        }
        return super().change_view(request, object_id, form_url, context)

    # Pages of our own

    def get_urls(self) -> list[URLPattern]:
        def page(route: str, view: Any, name: str) -> URLPattern:
            return path(route, self.admin_site.admin_view(view), name=f"organizations_ltikey_{name}")

        return [
            page("for/<uuid:installation_id>/", self.make, "make"),
            page("<uuid:object_id>/reveal/", self.reveal, "reveal"),
            page("<uuid:object_id>/reset/", self.reset, "reset"),
            page("<uuid:object_id>/end-overlap/", self.end_overlap, "end_overlap"),
            *super().get_urls(),
        ]

    def _load_for_owner(self, request: HttpRequest, object_id: Any) -> LtiKey:
        """Tenants' secrets are their owners' alone: an operator gets the same 404 as a stranger."""
        key: LtiKey = self.load(request, str(object_id), "change")
        if not scope_of(request).owns(key.installation.organization_id):
            raise Http404
        return key

    def make(self, request: HttpRequest, installation_id: Any) -> HttpResponse:
        """A new key of an installation: a form, then the values, once."""
        scope = scope_of(request)
        installation = scope.limit(Installation.objects.all()).filter(pk=installation_id).first()
        if installation is None or not scope.owns(installation.organization_id):
            raise Http404
        form = NewKeyForm(request.POST or None, initial={"consumer_key": random_token(24)})
        if request.method == "POST" and form.is_valid():
            key = LtiKey(installation=installation, consumer_key=form.cleaned_data["consumer_key"])
            key.secret = form.cleaned_data["secret"] or random_token()
            key.save(force_insert=True)
            self.log_addition(request, key, "Made the key.")
            return self._shown_once(request, key, key.secret, "The key is made")
        return self.page(
            request,
            "admin/form_page.html",
            f"New key for {installation}",
            installation,
            opts=Installation._meta,
            form=form,
            submit_words="Make key",
            intro="An LTI 1.1 consumer key with its shared secret. The secret is shown once, on the next page.",
        )

    def reveal(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """Asks for a reason (GET), then shows the secret as the answer to the POST: never at an address."""
        key = self._load_for_owner(request, object_id)
        form = RevealForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            secret = credentials.reveal_secret(key, self._user(request), form.cleaned_data["reason"])
            self.log_change(request, key, "Revealed the shared secret.")
            return self._shown_once(request, key, secret, "Shared secret")
        return self.page(
            request,
            "admin/form_page.html",
            "Reveal the shared secret",
            key,
            form=form,
            submit_words="Reveal",
            intro="Whoever has the secret can sign in as anybody from this LMS. That you looked at it, and why, "
            "is written to the event log.",
        )

    def reset(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """A new secret; the old one works on for as long as the owner chooses."""
        key = self._load_for_owner(request, object_id)
        form = ResetForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            overlap = timedelta(seconds=form.cleaned_data["overlap"])
            secret = credentials.reset_secret(key, overlap, self._user(request))
            self.log_change(request, key, "Reset the shared secret.")
            key.refresh_from_db()
            return self._shown_once(request, key, secret, "The new shared secret")
        running = key.valid_previous_secret() is not None
        return self.page(
            request,
            "admin/form_page.html",
            "Reset the shared secret",
            key,
            form=form,
            submit_words="Make a new secret",
            intro="A new secret is made and shown once. Paste it into the LMS before the old one stops working.",
            warning="An older secret is still in its overlap: it stops working now." if running else "",
        )

    def end_overlap(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """POST: the previous secret stops working now."""
        key = self._load_for_owner(request, object_id)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if credentials.drop_previous_secret(key):
            self.log_change(request, key, "Ended the overlap of the old secret.")
            messages.success(request, "The old secret no longer works.")
        return redirect(self.url_name("change"), key.pk)

    def _shown_once(self, request: HttpRequest, key: LtiKey, secret: str, title: str) -> HttpResponse:
        return self.page(
            request,
            "admin/secret_once.html",
            title,
            key,
            values=[("Consumer key", key.consumer_key), ("Shared secret", secret)],
            overlap_until=key.previous_secret_expires_at if key.valid_previous_secret() else None,
            back=("admin:organizations_installation_change", key.installation_id),
            back_words=f"Back to {key.installation}",
        )

    @staticmethod
    def _user(request: HttpRequest) -> User:
        return scope_of(request).actor
