"""LTI 1.3 registrations: made by hand with the LMS's values, or activated after the LMS registered by an invite."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldBooleanWidget

from organizations import registrations
from organizations.addresses import tool_addresses
from organizations.models import Deployment, Installation, Organization, Registration
from organizations.registrations import Platform, check_platform, doubts_about
from organizations.tenancy import scope_of, within
from organizations.tenant_admin import MANAGE, TenantAdmin, TenantForm, TenantRelatedFilter, moment_column

PLATFORM_FIELDS = tuple(Platform.__dataclass_fields__)
MOST_DEPLOYMENTS = 50
GUIDES_OFFERED = 5


class RegistrationForm(TenantForm):
    """The LMS's values. What is possible and yet looks like a slip is said before it is saved (D4)."""

    deployment_ids = forms.CharField(
        label="Deployment ids",
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2, "spellcheck": "false"}),
        help_text="One a line. Left out, the first launch brings it, and waits for your approval.",
    )
    save_anyway = forms.BooleanField(label="Save it as it is", required=False, widget=forms.HiddenInput)

    class Meta:
        model = Registration
        fields = ["installation", *PLATFORM_FIELDS, "enabled"]
        help_texts = {
            "issuer": "Also: platform ID. Exactly as the LMS writes it: a slash at the end, http or a port make "
            "another one.",
            "client_id": "The LMS makes it when the tool is added.",
            "auth_login_url": "Also: OIDC authentication request, authorization endpoint.",
            "token_url": "Also: OAuth2 access token endpoint.",
            "jwks_url": "Also: keyset URL, JWKS.",
            "token_audience": "Brightspace shows one. Everywhere else leave it empty.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "public_key_pem" in self.fields:
            self.fields["public_key_pem"].widget.attrs["rows"] = 3
        for name in PLATFORM_FIELDS:
            if name in self.fields:
                self.fields[name].widget.attrs |= {"autocomplete": "off", "spellcheck": "false"}

    def clean_deployment_ids(self) -> list[str]:
        found = [line.strip() for line in self.cleaned_data["deployment_ids"].splitlines() if line.strip()]
        if len(found) > MOST_DEPLOYMENTS or any(len(line) > 255 or not line.isprintable() for line in found):
            raise ValidationError(f"At most {MOST_DEPLOYMENTS} ids, one a line, of at most 255 characters each.")
        return list(dict.fromkeys(found))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        installation = cleaned.get("installation")
        if installation is not None and self.instance._state.adding:
            self.instance.organization_id = installation.organization_id
        platform = self.platform(cleaned)
        refused = check_platform(platform, allow_http=settings.OUTBOUND_ALLOW_HTTP)
        for error in refused:
            if error.field in self.fields and error.field not in self.errors:
                self.add_error(error.field, f"{str(error)[:1].upper()}{str(error)[1:]}.")
        if not self.errors and not cleaned.get("save_anyway") and set(self.changed_data) & set(PLATFORM_FIELDS):
            self._doubt(platform)
        return cleaned

    def _doubt(self, platform: Platform) -> None:
        organization = Organization.objects.filter(pk=self.instance.organization_id).first()
        own = None if self.instance._state.adding else self.instance
        doubts = doubts_about(platform, organization, own) if organization else []
        if doubts:
            self.fields["save_anyway"].widget = UnfoldBooleanWidget()
            self.add_error("save_anyway", ValidationError([*doubts, "Correct it, or tick the box and save again."]))

    @staticmethod
    def platform(cleaned: dict[str, Any]) -> Platform:
        return Platform(**{name: (cleaned.get(name) or "").strip() for name in PLATFORM_FIELDS})


class InstallationChoice(forms.Form):
    """Which LMS installation people, courses and links belong to."""

    installation = forms.ModelChoiceField(
        Installation.objects.none(),
        label="Belongs to",
        empty_label=None,
        widget=UnfoldAdminSelectWidget,
        help_text="Equal user ids are one person there: choose an installation with LTI 1.1 keys only if it is this "
        "very LMS. Its people, courses and grades then go on under LTI 1.3.",
    )

    def __init__(self, *args: Any, own: QuerySet[Installation], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["installation"].queryset = own  # type: ignore[attr-defined]


@admin.register(Registration)
class RegistrationAdmin(TenantAdmin):
    form = RegistrationForm
    owners_may = MANAGE
    list_display = [
        "issuer",
        "client_column",
        "installation",
        "state_column",
        "deployments_column",
        "used_column",
        "enabled",
    ]
    used_column = moment_column("last_used_at", "Last used", empty="never")
    list_select_related = ["installation"]
    ordering = ["issuer", "created_at"]
    list_filter = ["state", "enabled", ("installation", TenantRelatedFilter)]
    search_fields = ["issuer", "client_id", "installation__name", "deployments__deployment_id"]
    change_form_before_template = "admin/organizations/registration_before.html"
    change_form_outer_after_template = "admin/organizations/registration_after.html"
    list_before_template = "admin/organizations/registration_list_before.html"
    add_fieldsets = (
        (None, {"fields": ["installation", "issuer", "client_id", "deployment_ids"]}),
        (
            "The LMS's addresses",
            {"fields": ["auth_login_url", "token_url", "jwks_url", "public_key_pem", "token_audience", "save_anyway"]},
        ),
    )
    fieldsets = (
        (None, {"fields": ["installation", "enabled", "issuer", "client_id"]}),
        (
            "The LMS's addresses",
            {"fields": ["auth_login_url", "token_url", "jwks_url", "public_key_pem", "token_audience", "save_anyway"]},
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Registration]:
        return (
            super()
            .get_queryset(request)
            .annotate(
                approved_count=Count("deployments", Q(deployments__state=Deployment.State.APPROVED), distinct=True),
                pending_count=Count("deployments", Q(deployments__state=Deployment.State.PENDING), distinct=True),
            )
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        # Its people and courses are there: they do not move by a form.
        return [] if obj is None else ["installation"]

    def _chooses_organization(self, request: HttpRequest, obj: Any) -> bool:
        return False  # the installation says which

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # One that launches came through is disabled, not deleted: its deployments name where grades go.
        unused = not isinstance(obj, Registration) or obj.last_used_at is None
        return super().has_delete_permission(request, obj) and unused

    @display(description="Client id", ordering="client_id")
    def client_column(self, obj: Registration) -> str:
        return obj.client_id if len(obj.client_id) <= 40 else f"{obj.client_id[:39]}…"

    @display(description="State", ordering="state", label={"Active": "success", "Waits for you": "warning"})
    def state_column(self, obj: Registration) -> str:
        return "Active" if obj.state == Registration.State.ACTIVE else "Waits for you"

    @display(description="Deployments")
    def deployments_column(self, obj: Any) -> str:
        waiting = f", {obj.pending_count} waiting" if obj.pending_count else ""
        return f"{obj.approved_count}{waiting}"

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change:
            made = registrations.make_registration(
                obj.installation,
                form.platform(form.cleaned_data),
                deployment_ids=form.cleaned_data.get("deployment_ids", []),
                actor=scope_of(request).actor,
            )
            obj.pk = made.pk
            obj.refresh_from_db()
            return
        super().save_model(request, obj, form, change)
        if set(form.changed_data) & set(PLATFORM_FIELDS):
            registrations.add_service_hosts(obj.installation, Platform.of(obj).product.service_hosts)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {"may_invite": bool(scope_of(request).organization_ids), **(extra_context or {})}
        return super().changelist_view(request, context)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        organizations = scope_of(request).limit(Organization.objects.all())
        only = scope_of(request).only_organization_id
        chosen = organizations.filter(pk=only).first() if only else None
        installations = list(scope_of(request).limit(Installation.objects.order_by("name"))[:GUIDES_OFFERED])
        context = {
            "tool": tool_addresses(chosen) if chosen else None,
            "has_installation": bool(installations),
            "guides": installations,
            **(extra_context or {}),
        }
        return super().add_view(request, form_url, context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        registration = self.load(request, object_id)
        context = {
            "registration": registration,
            "tool": tool_addresses(registration.organization),
            "deployments": list(registration.deployments.select_related("installation")),
            "other_deployments_open": registration.state == Registration.State.ACTIVE,
            **(extra_context or {}),
        }
        return super().change_view(request, object_id, form_url, context)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        messages.success(request, f"{obj.issuer} is registered. Open a link from the LMS to try it.")
        return redirect(self.url_name("change"), obj.pk)

    # Activating and refusing what came by an invite

    def get_urls(self) -> list[URLPattern]:
        def page(route: str, view: Any, name: str) -> URLPattern:
            return path(route, self.admin_site.admin_view(view), name=f"organizations_registration_{name}")

        return [
            page("<uuid:object_id>/activate/", self.activate, "activate"),
            page("<uuid:object_id>/refuse/", self.refuse, "refuse"),
            *super().get_urls(),
        ]

    def _load_pending(self, request: HttpRequest, object_id: Any) -> Registration:
        registration: Registration = self.load(request, str(object_id), "change")
        if registration.state != Registration.State.PENDING:
            raise Http404
        return registration

    def activate(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """Asks which installation it belongs to (GET), and lets it in (POST)."""
        registration = self._load_pending(request, object_id)
        own = within(Installation.objects.all(), [registration.organization_id])
        form = InstallationChoice(request.POST or None, own=own, initial={"installation": registration.installation_id})
        if request.method == "POST" and form.is_valid():
            registrations.activate_registration(registration, form.cleaned_data["installation"])
            self.log_change(request, registration, "Activated.")
            messages.success(request, f"{registration.issuer} may launch now.")
            return redirect(self.url_name("change"), registration.pk)
        ids = ", ".join(registration.deployments.values_list("deployment_id", flat=True)) or "comes with a launch"
        return self.page(
            request,
            "admin/organizations/activate_page.html",
            "Activate this registration",
            registration,
            form=form,
            submit_words="Activate",
            facts=[
                ("Issuer", registration.issuer),
                ("Client id", registration.client_id),
                ("Deployment", ids),
                ("Access token URL", registration.token_url),
                ("Key set URL", registration.jwks_url),
            ],
            intro="Whoever runs these addresses says who comes in, with which role, and receives the grades. Compare "
            "the issuer with your LMS's address before you activate it.",
            proved=registration.upgraded_key,
        )

    def refuse(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """Removes a registration that waits."""
        registration = self._load_pending(request, object_id)
        if request.method == "POST":
            self.log_deletions(request, Registration.objects.filter(pk=registration.pk))
            registrations.refuse_registration(registration)
            messages.success(request, "The registration is refused and removed.")
            return redirect(self.url_name("changelist"))
        return self.page(
            request,
            "admin/confirm_page.html",
            "Refuse this registration?",
            registration,
            submit_words="Refuse",
            danger=True,
            intro=f"{registration.issuer} cannot launch, as until now, and its registration is removed here. In the "
            "LMS it stays until its administrator removes it. To let it in later, make a new invite.",
        )
