"""Invites to dynamic registration: the link is shown once, works once, for seven days."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from organizations.models import Installation, Organization, RegistrationInvite
from organizations.registration_invites import make_invite
from organizations.tenancy import scope_of
from organizations.tenant_admin import TenantAdmin, moment_column


class NewInviteForm(forms.Form):
    organization = forms.ModelChoiceField(Organization.objects.none(), widget=UnfoldAdminSelectWidget)
    name = forms.CharField(
        max_length=255,
        widget=UnfoldAdminTextInputWidget(attrs={"autofocus": True}),
        help_text="Which LMS it is for, e.g. “Moodle of the library”. A new installation gets this name.",
    )
    installation = forms.ModelChoiceField(
        Installation.objects.none(),
        label="LMS installation",
        required=False,
        empty_label="A new one",
        widget=UnfoldAdminSelectWidget,
        help_text="Choose one if this LMS is connected already, over LTI 1.1: its people and courses stay.",
    )

    def __init__(self, *args: Any, organizations: Any, installations: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["organization"].queryset = organizations  # type: ignore[attr-defined]
        self.fields["installation"].queryset = installations  # type: ignore[attr-defined]
        self.only = organizations[0] if len(organizations) == 1 else None
        if self.only:
            del self.fields["organization"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        organization = self.only or cleaned.get("organization")
        installation = cleaned.get("installation")
        if organization and installation and installation.organization_id != organization.pk:
            self.add_error("installation", "This belongs to another organization.")
        return {**cleaned, "organization": organization}


@admin.register(RegistrationInvite)
class RegistrationInviteAdmin(TenantAdmin):
    owners_may = frozenset({"view", "add", "delete"})
    # Who has the link connects an LMS: an operator may take it away, never make one.
    operators_may = frozenset({"view", "delete"})
    list_display = ["name", "state_column", "installation", "made_column", "expires_column", "registration"]
    made_column = moment_column("created_at", "Made")
    expires_column = moment_column("expires_at", "Works until")
    list_select_related = ["installation", "registration"]
    search_fields = ["name", "installation__name"]
    fields = ["name", "state_column", "installation", "created_at", "expires_at", "used_at", "registration"]
    readonly_fields = ["state_column", "installation", "created_at", "expires_at", "used_at", "registration"]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(scope_of(request).organization_ids)

    @display(description="State", label={"Open": "info", "Used": "success", "Expired": "default"})
    def state_column(self, obj: RegistrationInvite) -> str:
        if obj.used_at is not None:
            return "Used"
        return "Open" if obj.expires_at > timezone.now() else "Expired"

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """A name, then the link, once."""
        if not self.has_add_permission(request):
            raise Http404
        owned = scope_of(request).organization_ids
        installations = Installation.objects.filter(organization__in=owned)
        chosen = request.GET.get("installation", "")
        known = next((row for row in installations if str(row.pk) == chosen), None)
        form = NewInviteForm(
            request.POST or None,
            organizations=Organization.objects.filter(pk__in=owned),
            installations=installations,
            initial={"installation": known, "name": known.name if known else ""},
        )
        if request.method == "POST" and form.is_valid():
            asked = form.cleaned_data
            invite, url = make_invite(asked["organization"], asked["name"], asked["installation"])
            self.log_addition(request, invite, "Made the invite.")
            return self.page(
                request,
                "admin/secret_once.html",
                "The invite link is made",
                invite,
                values=[("Registration URL", url)],
                back=("admin:organizations_registration_changelist", None),
                back_words="To the registrations",
                note="In Moodle: Site administration → Plugins → External tool → Manage tools, paste it as the tool "
                "URL and choose “Add LTI Advantage”. In Canvas: Admin → Developer Keys → + LTI Registration → enter "
                "URL. In Brightspace: Manage Extensibility → LTI Advantage → Register Tool → Dynamic. It works once, "
                "within seven days. When the LMS has registered, you activate it here.",
            )
        return self.page(
            request,
            "admin/form_page.html",
            "Invite an LMS",
            form=form,
            submit_words="Make the link",
            intro="A link that registers this tool in an LMS with LTI 1.3, without copying any value. Give it to "
            "somebody who may add tools there.",
        )
