"""Deployments of LTI 1.3 registrations: those that wait for the owner's word, approved or refused."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from unfold.decorators import display

from organizations import registrations
from organizations.admin.registrations import InstallationChoice
from organizations.models import Deployment, Installation
from organizations.tenancy import within
from organizations.tenant_admin import TenantAdmin, TenantRelatedFilter, moment_column


@admin.register(Deployment)
class DeploymentAdmin(TenantAdmin):
    owners_may = frozenset({"view", "add"})
    list_display = ["deployment_id", "registration", "installation", "state_column", "since_column"]
    since_column = moment_column("created_at", "Since")
    list_select_related = ["registration", "installation"]
    list_filter = ["state", ("registration", TenantRelatedFilter), ("installation", TenantRelatedFilter)]
    search_fields = ["deployment_id", "registration__issuer", "registration__client_id", "installation__name"]
    fields = ["registration", "deployment_id", "installation"]
    add_fieldsets = (
        (
            None,
            {
                "fields": ["registration", "deployment_id", "installation"],
                "description": "Adding a deployment approves it. Its user ids and those of the installation are then "
                "taken for one: equal ids are one person.",
            },
        ),
    )
    change_form_outer_after_template = "admin/organizations/deployment_after.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Deployment]:
        return super().get_queryset(request).select_related("registration__organization", "installation")

    @display(description="State", ordering="state", label={"Approved": "success", "Waits for you": "warning"})
    def state_column(self, obj: Deployment) -> str:
        return "Approved" if obj.state == Deployment.State.APPROVED else "Waits for you"

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        messages.success(request, f"The deployment {obj} is approved.")
        return redirect("admin:organizations_registration_change", obj.registration_id)

    def get_urls(self) -> list[URLPattern]:
        def page(route: str, view: Any, name: str) -> URLPattern:
            return path(route, self.admin_site.admin_view(view), name=f"organizations_deployment_{name}")

        return [
            page("<uuid:object_id>/approve/", self.approve, "approve"),
            page("<uuid:object_id>/refuse/", self.refuse, "refuse"),
            page("<uuid:object_id>/withdraw/", self.withdraw, "withdraw"),
            *super().get_urls(),
        ]

    def _load_in(self, request: HttpRequest, object_id: Any, state: str) -> Deployment:
        deployment: Deployment = self.load(request, str(object_id), "add")
        if deployment.state != state:
            raise Http404
        return deployment

    def approve(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """Asks which installation it belongs to, saying what that means (GET), and lets it in (POST)."""
        deployment = self._load_in(request, object_id, Deployment.State.PENDING)
        own = within(Installation.objects.all(), [deployment.registration.organization_id])
        form = InstallationChoice(request.POST or None, own=own, initial={"installation": deployment.installation_id})
        if request.method == "POST" and form.is_valid():
            registrations.approve_deployment(deployment, form.cleaned_data["installation"])
            self.log_change(request, deployment, "Approved.")
            messages.success(request, f"The deployment {deployment} is approved: its next launch goes through.")
            return redirect("admin:organizations_registration_change", deployment.registration_id)
        return self.page(
            request,
            "admin/organizations/activate_page.html",
            "Approve this deployment",
            deployment,
            form=form,
            submit_words="Approve",
            facts=[
                ("Deployment id", deployment.deployment_id),
                ("Issuer", deployment.registration.issuer),
                ("Client id", deployment.registration.client_id),
                ("First seen", f"{deployment.created_at:%d %b %Y, %H:%M} UTC"),
            ],
            intro="A launch with a valid signature named a deployment that is not known here: the tool was added to "
            "the LMS, or to another customer of the same cloud. Compare the id with the one that your LMS shows.",
        )

    def refuse(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """Removes a deployment that waits."""
        deployment = self._load_in(request, object_id, Deployment.State.PENDING)
        registration_id = deployment.registration_id
        if request.method == "POST":
            self.log_deletions(request, Deployment.objects.filter(pk=deployment.pk))
            deployment.delete()
            messages.success(request, "The deployment is refused and removed.")
            return redirect("admin:organizations_registration_change", registration_id)
        return self.page(
            request,
            "admin/confirm_page.html",
            "Refuse this deployment?",
            deployment,
            submit_words="Refuse",
            danger=True,
            intro=f"Launches of {deployment.deployment_id} are refused, as until now. If somebody launches from there "
            "again, it is listed here once more.",
        )

    def withdraw(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """Takes the approval back."""
        deployment = self._load_in(request, object_id, Deployment.State.APPROVED)
        if request.method == "POST":
            registrations.withdraw_deployment(deployment)
            self.log_change(request, deployment, "Withdrew the approval.")
            messages.success(request, f"Launches of the deployment {deployment} are refused from now on.")
            return redirect("admin:organizations_registration_change", deployment.registration_id)
        return self.page(
            request,
            "admin/confirm_page.html",
            "Withdraw the approval?",
            deployment,
            submit_words="Withdraw",
            danger=True,
            intro=f"Launches of the deployment {deployment.deployment_id} are refused until you approve it again. Its "
            "people, their work and their grades stay.",
        )
