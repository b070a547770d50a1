"""This room's part of the admin's home page."""

from datetime import timedelta

from django.urls import reverse
from django.utils import timezone

from organizations.models import Deployment, Installation, LtiKey, Organization, Registration
from organizations.overview import Attention, Reach, Step, adds_attention, adds_steps
from organizations.tenancy import within

UNUSED_AFTER = timedelta(days=30)


@adds_steps
def set_up(reach: Reach) -> list[Step]:
    organization = within(Organization.objects.all(), reach).first()
    installation = within(Installation.objects.all(), reach).first()
    connected = within(LtiKey.objects.all(), reach).exists() or within(Registration.objects.all(), reach).exists()
    installations = reverse("admin:organizations_installation_changelist")
    page = reverse("admin:organizations_installation_change", args=[installation.pk]) if installation else installations
    return [
        Step(
            10,
            "Name your organization",
            bool(organization and organization.name and organization.name != organization.slug),
            "Its name, logo and colours are what people see in the LMS.",
            reverse("admin:organizations_organization_change", args=[organization.pk]) if organization else "",
        ),
        Step(
            20,
            "Add your LMS",
            installation is not None,
            "Moodle, Canvas, Chamilo or another: one installation for each.",
            reverse("admin:organizations_installation_add"),
        ),
        Step(
            30,
            "Connect it: a key, or a registration",
            connected,
            "LTI 1.1 or LTI 1.3, as the LMS can; the set-up guide on its page says what to press there.",
            page,
        ),
    ]


@adds_attention
def pending_hosts(reach: Reach) -> list[Attention]:
    rows = within(Installation.objects.all(), reach).exclude(pending_service_hosts=[])
    return [
        Attention(
            "danger",
            f"{row.name}: grades wait for your word",
            "A launch named a host that is not on the list: " + ", ".join(row.pending_service_hosts[:3]),
            reverse("admin:organizations_installation_change", args=[row.pk]),
            "Look at it",
        )
        for row in rows[:5]
    ]


@adds_attention
def pending_registrations(reach: Reach) -> list[Attention]:
    rows = within(Registration.objects.all(), reach).filter(state=Registration.State.PENDING)
    return [
        Attention(
            "danger",
            f"{row.issuer} registered and waits for you",
            "Nobody comes in from there until you activate it.",
            reverse("admin:organizations_registration_change", args=[row.pk]),
            "Look at it",
        )
        for row in rows[:5]
    ]


@adds_attention
def pending_deployments(reach: Reach) -> list[Attention]:
    rows = within(Deployment.objects.all(), reach).filter(
        state=Deployment.State.PENDING, registration__state=Registration.State.ACTIVE
    )
    return [
        Attention(
            "danger",
            f"{row.registration.installation}: a deployment waits for you",
            f"Launches of the deployment {row.deployment_id[:60]} are refused until you approve it.",
            reverse("admin:organizations_deployment_approve", args=[row.pk]),
            "Look at it",
        )
        for row in rows.select_related("registration__installation")[:5]
    ]


@adds_attention
def unused_keys(reach: Reach) -> list[Attention]:
    long_ago = timezone.now() - UNUSED_AFTER
    rows = within(LtiKey.objects.all(), reach).filter(enabled=True, installation__enabled=True, created_at__lt=long_ago)
    idle = rows.exclude(last_used_at__gte=long_ago).exclude(previous_secret_last_used_at__gte=long_ago)
    return [
        Attention(
            "warning",
            f"{key.installation.name}: a key is not in use",
            f"The key {key.consumer_key[:40]} has opened nothing for 30 days. Disable what nobody needs.",
            reverse("admin:organizations_ltikey_change", args=[key.pk]),
            "Open the key",
        )
        for key in idle.select_related("installation")[:3]
    ]


@adds_attention
def mixed_installations(reach: Reach) -> list[Attention]:
    rows = within(Installation.objects.all(), reach).exclude(other_instance_guids=[])
    return [
        Attention(
            "warning",
            f"{row.name}: two LMSs share one key",
            "Launches name more than one site. User ids of two sites can be the same: give each its own key.",
            reverse("admin:organizations_installation_change", args=[row.pk]),
            "Open it",
        )
        for row in rows[:5]
    ]
