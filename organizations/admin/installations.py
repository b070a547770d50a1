"""LMS installations: what is connected, its keys, what to copy into the LMS, and what waits to be allowed."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Count, Max, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce, Greatest
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextareaWidget

from organizations import service_hosts
from organizations.addresses import tool_addresses
from organizations.models import Installation, LmsAccount, LtiKey, Registration
from organizations.tenancy import scope_of
from organizations.tenant_admin import MANAGE, TenantAdmin, TenantForm, moment_column


class InstallationForm(TenantForm):
    """Service hosts are edited one a line."""

    hosts = forms.CharField(
        label="Service hosts",
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="Grades are sent to these hosts only, one a line: lms.example or *.instructure.com. "
        "The first verified launch adds its own.",
    )

    class Meta:
        model = Installation
        fields = ["organization", "name", "enabled", "verified_emails"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["hosts"].initial = "\n".join(self.instance.service_hosts)

    def clean_hosts(self) -> list[str]:
        hosts = [line.strip().lower() for line in self.cleaned_data["hosts"].splitlines() if line.strip()]
        for host in hosts:
            if not service_hosts.is_host_pattern(host):
                raise ValidationError(f"“{host[:80]}” is no host name: leave out https:// and the path.")
        return list(dict.fromkeys(hosts))

    def save(self, commit: bool = True) -> Any:
        if "hosts" in self.cleaned_data:
            hosts = self.cleaned_data["hosts"]
            self.instance.service_hosts = hosts
            self.instance.pending_service_hosts = [
                host for host in self.instance.pending_service_hosts if host not in hosts
            ]
        return super().save(commit)


@admin.register(Installation)
class InstallationAdmin(TenantAdmin):
    form = InstallationForm
    owners_may = MANAGE
    list_display = [
        "name",
        "lms_column",
        "keys_column",
        "registrations_column",
        "people_column",
        "last_launch_column",
        "enabled",
        "guide_column",
    ]
    search_fields = ["name", "instance_name", "instance_guid", "keys__consumer_key", "registrations__issuer"]
    list_filter = ["enabled"]
    change_form_before_template = "admin/organizations/installation_before.html"
    change_form_outer_after_template = "admin/organizations/installation_after.html"
    add_fieldsets = (
        (None, {"fields": ["name"], "description": "One LMS, or one site of it. It is connected on the next page."}),
    )
    fieldsets = (
        (None, {"fields": ["name", "enabled", "seen_as"]}),
        ("Trust", {"fields": ["verified_emails", "hosts"]}),
    )
    readonly_fields = ["seen_as"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Installation]:
        keys = LtiKey.objects.filter(installation=OuterRef("pk")).order_by().values("installation")
        registrations = Registration.objects.filter(installation=OuterRef("pk")).order_by().values("installation")
        people = LmsAccount.objects.filter(installation=OuterRef("pk")).order_by().values("installation")
        return (
            super()
            .get_queryset(request)
            .annotate(
                key_count=Subquery(keys.annotate(found=Count("pk")).values("found")),
                registration_count=Subquery(registrations.annotate(found=Count("pk")).values("found")),
                people_count=Subquery(people.annotate(found=Count("pk")).values("found")),
                key_used=Subquery(keys.annotate(found=Max("last_used_at")).values("found")),
                registration_used=Subquery(registrations.annotate(found=Max("last_used_at")).values("found")),
            )
            # The greater of two of which one is missing is missing on SQLite.
            .annotate(last_used=Coalesce(Greatest("key_used", "registration_used"), "key_used", "registration_used"))
        )

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # With people in it an installation is disabled, not deleted: their grades would go with it.
        unused = obj is None or not isinstance(obj, Installation) or not obj.accounts.exists()
        return super().has_delete_permission(request, obj) and unused

    @display(description="LMS", ordering="lms")
    def lms_column(self, obj: Installation) -> str:
        return lms_words(obj) or "not seen yet"

    @display(description="LTI 1.1 keys", ordering="key_count")
    def keys_column(self, obj: Any) -> int:
        return obj.key_count or 0

    @display(description="LTI 1.3", ordering="registration_count")
    def registrations_column(self, obj: Any) -> int:
        return obj.registration_count or 0

    @display(description="People", ordering="people_count")
    def people_column(self, obj: Any) -> int:
        return obj.people_count or 0

    last_launch_column = moment_column("last_used", "Last launch", empty="never")

    @display(description="Set-up guide")
    def guide_column(self, obj: Installation) -> str:
        # The page is one of a room above this one: it is known by its name.
        words = '<a class="p-step-label" href="{}">Open<span class="p-sr"> the guide of {}</span></a>'
        return format_html(words, _guide_url(obj), obj)

    @display(description="Seen in launches as")
    def seen_as(self, obj: Installation) -> str:
        words = [lms_words(obj), obj.instance_name, obj.instance_guid]
        return " · ".join(word for word in words if word) or "No launch yet."

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        installation = self.load(request, object_id)
        context = {
            "installation": installation,
            "keys": list(installation.keys.all()),
            "may_handle_secrets": scope_of(request).owns(installation.organization_id),
            "registrations": list(installation.registrations.all()),
            "deployments": list(installation.deployments.select_related("registration", "installation")),
            "tool": tool_addresses(installation.organization),
            "now": timezone.now(),
            "launch_url": f"{settings.BASE_URL}/lti/v1",
            **(extra_context or {}),
        }
        return super().change_view(request, object_id, form_url, context)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        messages.success(request, f"“{obj}” is added. Connect it next: an LTI 1.1 key, or an LTI 1.3 registration.")
        return redirect(self.url_name("change"), obj.pk)

    def get_urls(self) -> list[URLPattern]:
        own = [
            path(
                "<uuid:object_id>/hosts/allow/",
                self.admin_site.admin_view(self.allow_host),
                name="organizations_installation_allow_host",
            )
        ]
        return own + super().get_urls()

    def allow_host(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """POST `host`: grades may go to a host that a verified launch named."""
        installation = self.load(request, str(object_id), "change")
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        host = request.POST.get("host", "")
        if host not in installation.pending_service_hosts:
            messages.warning(request, "This host is no longer waiting.")
        else:
            service_hosts.allow_host(installation, host, scope_of(request).actor)
            self.log_change(request, installation, f"Allowed the service host {host}.")
            messages.success(request, f"Grades may go to {host} now; what waited for it is being sent.")
        return redirect(reverse(self.url_name("change"), args=[installation.pk]))


def _guide_url(installation: Installation) -> str:
    return reverse("admin:installation-setup", args=[installation.pk])


def lms_words(installation: Installation) -> str:
    """The product and version that its launches name, e.g. "Moodle 4.5"."""
    name = LMS_NAMES.get(installation.lms, installation.lms.capitalize())
    return f"{name} {installation.lms_version}".strip()


LMS_NAMES = {
    "canvas": "Canvas",
    "moodle": "Moodle",
    "chamilo": "Chamilo",
    "blackboard": "Blackboard",
    "brightspace": "Brightspace",
    "desire2learn": "Brightspace",
    "sakai": "Sakai",
    "schoology": "Schoology",
    "openedx": "Open edX",
    "edx": "Open edX",
}
