"""API tokens: made under a name, shown once, disabled."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from organizations.api_tokens import make_token
from organizations.models import ApiToken, Organization
from organizations.tenancy import scope_of
from organizations.tenant_admin import MANAGE, TenantAdmin, moment_column


class NewTokenForm(forms.Form):
    organization = forms.ModelChoiceField(Organization.objects.none(), widget=UnfoldAdminSelectWidget)
    name = forms.CharField(
        max_length=255,
        widget=UnfoldAdminTextInputWidget(attrs={"autofocus": True}),
        help_text="What uses it, e.g. “content application”.",
    )

    def __init__(self, *args: Any, owned: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["organization"].queryset = owned  # type: ignore[attr-defined]
        self.only = owned[0] if len(owned) == 1 else None
        if self.only:
            del self.fields["organization"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        organization = self.only or cleaned.get("organization")
        if organization and ApiToken.objects.filter(organization=organization, name=cleaned.get("name")).exists():
            raise ValidationError({"name": "There is a token of this name already."})
        return {**cleaned, "organization": organization}


@admin.register(ApiToken)
class ApiTokenAdmin(TenantAdmin):
    owners_may = MANAGE
    # A token opens a tenant's whole API: an operator may take one away, never make one.
    operators_may = frozenset({"view", "change", "delete"})
    list_display = ["name", "prefix_column", "made_column", "used_column", "enabled"]
    made_column = moment_column("created_at", "Made")
    used_column = moment_column("last_used_at", "Last used", empty="never")
    list_filter = ["enabled"]
    search_fields = ["name", "prefix"]
    fields = ["name", "prefix_column", "enabled", "created_at", "last_used_at"]
    readonly_fields = ["prefix_column", "created_at", "last_used_at"]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(scope_of(request).organization_ids)

    @display(description="Begins with", ordering="prefix")
    def prefix_column(self, obj: ApiToken) -> str:
        return f"{obj.prefix}…"

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise Http404
        owned = Organization.objects.filter(pk__in=scope_of(request).organization_ids)
        form = NewTokenForm(request.POST or None, owned=owned)
        if request.method == "POST" and form.is_valid():
            token, text = make_token(form.cleaned_data["organization"], form.cleaned_data["name"])
            self.log_addition(request, token, "Made the token.")
            return self.page(
                request,
                "admin/secret_once.html",
                "The token is made",
                token,
                values=[("API token", text)],
                back=("admin:organizations_apitoken_changelist", None),
                back_words="Back to the tokens",
                note="Send it as “Authorization: Bearer …”. It reads and writes everything of this organization "
                "that the API offers.",
            )
        return self.page(
            request,
            "admin/form_page.html",
            "New API token",
            form=form,
            submit_words="Make token",
            intro="The token is shown once, on the next page; only a hash of it is stored.",
        )
