"""What happens to tenants and LMSs below, and what the outbox does about it."""

from typing import Any

from django.db.models.signals import post_save
from django.dispatch import receiver

from events.deliveries import hosts_waited_for, make_due
from events.senders import (
    WAITS_FOR_HOST,
    WAITS_FOR_INSTALLATION,
    WAITS_FOR_KEY,
    WAITS_FOR_ORGANIZATION,
    WAITS_FOR_REGISTRATION,
)
from organizations.models import Deployment, Installation, LtiKey, Organization, Registration
from organizations.service_hosts import host_of, is_allowed
from organizations.signals import service_host_allowed


@receiver(service_host_allowed, dispatch_uid="events.send_to_allowed_host")
def send_to_allowed_host(installation: Installation, host: str, **kwargs: Any) -> None:
    """An owner allowed a host: what waited for it becomes due."""
    make_due(installation.organization_id, code=WAITS_FOR_HOST, hosts=[host])


# The receivers below run for every save: what a launch saves must not pay for them.


@receiver(post_save, sender=Organization, dispatch_uid="events.send_for_organization")
def send_for_organization(
    instance: Organization, created: bool, update_fields: frozenset[str] | None, **kwargs: Any
) -> None:
    """A suspended organization may have been enabled again."""
    if instance.enabled and not created and (update_fields is None or "enabled" in update_fields):
        make_due(instance.pk, code=WAITS_FOR_ORGANIZATION)


@receiver(post_save, sender=LtiKey, dispatch_uid="events.send_for_key")
def send_for_key(instance: LtiKey, created: bool, update_fields: frozenset[str] | None, **kwargs: Any) -> None:
    """A disabled key may have been enabled again."""
    if instance.enabled and not created and (update_fields is None or "enabled" in update_fields):
        make_due(instance.installation.organization_id, code=WAITS_FOR_KEY)


@receiver(post_save, sender=Installation, dispatch_uid="events.send_for_installation")
def send_for_installation(
    instance: Installation, created: bool, update_fields: frozenset[str] | None, **kwargs: Any
) -> None:
    """A disabled LMS may have been enabled again, or a host been added to its list by hand."""
    if created or not instance.enabled:
        return
    if update_fields is None or "enabled" in update_fields:
        make_due(instance.organization_id, code=WAITS_FOR_INSTALLATION)
    if update_fields is None or "service_hosts" in update_fields:
        hosts = [host for host in hosts_waited_for(instance.organization_id) if is_allowed(instance, f"https://{host}")]
        if hosts:
            make_due(instance.organization_id, code=WAITS_FOR_HOST, hosts=hosts)


@receiver(post_save, sender=Registration, dispatch_uid="events.send_for_registration")
def send_for_registration(
    instance: Registration, created: bool, update_fields: frozenset[str] | None, **kwargs: Any
) -> None:
    """A registration may have been activated, or got the endpoints of a host that grades wait for."""
    if created or not instance.is_usable:
        return
    if update_fields is None or update_fields & {"enabled", "state"}:
        make_due(instance.organization_id, code=WAITS_FOR_REGISTRATION)
    if update_fields is None or update_fields & {"token_url", "auth_login_url", "jwks_url"}:
        own = {host_of(url) for url in (instance.token_url, instance.auth_login_url, instance.jwks_url)}
        hosts = hosts_waited_for(instance.organization_id) & own
        if hosts:
            make_due(instance.organization_id, code=WAITS_FOR_HOST, hosts=hosts)


@receiver(post_save, sender=Deployment, dispatch_uid="events.send_for_deployment")
def send_for_deployment(
    instance: Deployment, created: bool, update_fields: frozenset[str] | None, **kwargs: Any
) -> None:
    """A deployment may have been approved."""
    if (
        instance.state == Deployment.State.APPROVED
        and not created
        and (update_fields is None or "state" in update_fields)
    ):
        make_due(instance.registration.organization_id, code=WAITS_FOR_REGISTRATION)
