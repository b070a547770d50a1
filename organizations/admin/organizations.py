"""The organization: branding, retention, frames. Operators make and suspend organizations."""

import re
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.core.validators import URLValidator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from unfold.decorators import display
from unfold.widgets import (
    UnfoldAdminEmailInputWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldAdminURLInputWidget,
)

from organizations import invitations
from organizations.models import Membership, Organization
from organizations.tenancy import scope_of
from organizations.tenant_admin import TenantAdmin, TenantForm, moment_column
from organizations.time_zones import time_zone_names

_COLOR = re.compile(r"#[0-9A-Fa-f]{6}\Z")
_ORIGIN = re.compile(r"https?://(?:\*\.)?[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*(?::\d{1,5})?\Z")
COLORS = ("primary_color", "secondary_color", "background_color")


def _color(label: str, used_for: str) -> forms.CharField:
    widget = UnfoldAdminTextInputWidget(attrs={"placeholder": "#1D5FD1", "data-color": "true", "maxlength": 7})
    return forms.CharField(label=label, required=False, widget=widget, help_text=used_for)


class OrganizationForm(TenantForm):
    """Branding is stored as one value and edited field by field."""

    logo_url = forms.CharField(
        label="Logo",
        required=False,
        max_length=2000,
        widget=UnfoldAdminURLInputWidget,
        help_text="The address of a picture (https), shown at the head of the course pages.",
    )
    primary_color = _color("Primary colour", "Buttons and links, with white text on it.")
    secondary_color = _color("Secondary colour", "Lines and marks.")
    background_color = _color("Background colour", "Behind the pages in the LMS frame, with dark text on it.")
    first_owner = forms.EmailField(
        label="First owner",
        required=False,
        widget=UnfoldAdminEmailInputWidget,
        help_text="Gets a mail with a link to set a password. More members are invited by the owner.",
    )

    class Meta:
        model = Organization
        fields = ["name", "slug", "launch_log_days", "time_zone", "grade_digest", "frame_ancestors"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "time_zone" in self.fields:
            names = time_zone_names()
            chosen = [] if self.instance.time_zone in names else [self.instance.time_zone]
            self.fields["time_zone"].widget = UnfoldAdminSelectWidget(choices=[(name, name) for name in chosen + names])
        if "frame_ancestors" in self.fields:
            self.fields["frame_ancestors"].widget.attrs["rows"] = 3
        for name in ("logo_url", *COLORS):
            self.fields[name].initial = self.instance.branding.get(name, "")

    def clean_logo_url(self) -> str:
        url: str = self.cleaned_data["logo_url"]
        if url:
            URLValidator(schemes=["https"])(url)
        return url

    def clean_frame_ancestors(self) -> str:
        origins = [line.strip().rstrip("/") for line in self.cleaned_data["frame_ancestors"].splitlines()]
        for origin in filter(None, origins):
            if not _ORIGIN.match(origin):
                raise ValidationError(f"“{origin[:80]}” is no origin: write https://portal.example, without a path.")
        return "\n".join(filter(None, origins))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        for name in COLORS:
            if cleaned.get(name) and not _COLOR.match(cleaned[name]):
                self.add_error(name, "Write six hexadecimal digits after #, such as #1D5FD1.")
        if _COLOR.match(cleaned.get("primary_color") or "") and contrast(cleaned["primary_color"], "#ffffff") < 4.5:
            self.add_error("primary_color", "White text on this colour is hard to read: choose a darker one.")
        background = cleaned.get("background_color") or ""
        if _COLOR.match(background) and contrast(background, "#212529") < 4.5:
            self.add_error("background_color", "Dark text on this colour is hard to read: choose a lighter one.")
        return cleaned

    def save(self, commit: bool = True) -> Any:
        given = {name: self.cleaned_data.get(name, "") for name in ("logo_url", *COLORS)}
        others = {name: value for name, value in self.instance.branding.items() if name not in given}
        self.instance.branding = {**others, **{name: value for name, value in given.items() if value}}
        return super().save(commit)


def contrast(one: str, other: str) -> float:
    """The WCAG contrast ratio of two colours given as #rrggbb, 1 to 21."""

    def luminance(color: str) -> float:
        parts = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


@admin.register(Organization)
class OrganizationAdmin(TenantAdmin):
    form = OrganizationForm
    owners_may = frozenset({"view", "change"})
    operators_may = frozenset({"view", "add", "change"})
    list_display = ["name", "slug", "owners_column", "state_column", "since_column"]
    since_column = moment_column("created_at", "Since")
    list_filter = ["enabled"]
    search_fields = ["name", "slug"]
    add_fieldsets = ((None, {"fields": ["name", "slug", "first_owner"]}),)
    fieldsets = (
        (None, {"fields": ["name", "slug"]}),
        (
            "Branding",
            {"fields": ["logo_url", "primary_color", "secondary_color", "background_color"]},
        ),
        ("Time, retention and mail", {"fields": ["time_zone", "launch_log_days", "grade_digest"]}),
        ("Frames", {"fields": ["frame_ancestors"]}),
    )
    change_form_outer_before_template = "admin/organizations/organization_before.html"

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("memberships__user")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        # LMSs have URLs with the slug in their settings.
        return ["slug"] if obj is not None else []

    @display(description="Owners")
    def owners_column(self, obj: Organization) -> str:
        owners = [row.user.email for row in obj.memberships.all() if row.role == Membership.Role.OWNER]
        return ", ".join(owners) or "none yet"

    @display(description="State", label={"Active": "success", "Suspended": "danger"}, ordering="enabled")
    def state_column(self, obj: Organization) -> str:
        return "Active" if obj.enabled else "Suspended"

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not change and form.cleaned_data.get("first_owner"):
            form.invited = invitations.invite_member(obj, form.cleaned_data["first_owner"], "", Membership.Role.OWNER)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        response = super().add_view(request, form_url, extra_context)
        self._mail_first_owner(request)
        return response

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        request._made_organization = obj  # type: ignore[attr-defined]
        return super().response_add(request, obj, post_url_continue)

    def _mail_first_owner(self, request: HttpRequest) -> None:
        """After the transaction that made the organization: mail is no part of it."""
        organization = getattr(request, "_made_organization", None)
        if organization is None:
            return
        for membership in organization.memberships.select_related("user", "organization"):
            try:
                invitations.send_invitation(membership, scope_of(request).actor)
            except invitations.InvitationNotSent:
                messages.warning(request, "The owner's mail could not be sent: open the member and send it again.")

    # Suspending

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {"is_operator": scope_of(request).is_operator, **(extra_context or {})}
        return super().change_view(request, object_id, form_url, context)

    def get_urls(self) -> list[URLPattern]:
        suspend = path(
            "<uuid:object_id>/suspend/",
            self.admin_site.admin_view(self.suspend),
            name="organizations_organization_suspend",
        )
        return [suspend, *super().get_urls()]

    def suspend(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """Operators only: suspends, or lets a suspended organization work again."""
        if not scope_of(request).is_operator:
            raise Http404
        organization = self.load(request, str(object_id), "change")
        if request.method == "POST":
            organization.enabled = request.POST.get("enabled") == "1"
            organization.save(update_fields=["enabled"])
            words = "Let it work again." if organization.enabled else "Suspended."
            self.log_change(request, organization, words)
            state = "works again" if organization.enabled else "is suspended"
            messages.success(request, f"{organization} {state}.")
            return redirect(self.url_name("change"), organization.pk)
        suspending = organization.enabled
        return self.page(
            request,
            "admin/confirm_page.html",
            f"Suspend {organization}?" if suspending else f"Let {organization} work again?",
            organization,
            submit_words="Suspend" if suspending else "Let it work",
            danger=suspending,
            hidden=[("enabled", "0" if suspending else "1")],
            intro=(
                "Its launches, pages and API tokens are refused at once, and its owners can no longer sign in to "
                "the admin. Nothing is deleted; grades that wait go on waiting."
                if suspending
                else "Launches, pages, API tokens and its owners' admin work again at once."
            ),
        )
