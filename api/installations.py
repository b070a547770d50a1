"""LMS installations, their LTI 1.1 keys and LTI 1.3 registrations: shown, switched on and off."""

from uuid import UUID

import structlog
from django.http import Http404, HttpRequest
from ninja import Query, Router

from api.authentication import get_own, own
from api.pagination import Page, PageQuery, slice_of
from api.schemas.installations import (
    InstallationOut,
    KeyOut,
    RegistrationOut,
    Switch,
    installation_out,
    key_out,
    registration_out,
)
from organizations.models import Installation, LtiKey, Registration

router = Router()
logger = structlog.get_logger(__name__)

_PARTS = ("keys", "registrations__deployments")


@router.get("/installations", response=Page[InstallationOut], summary="List LMS installations")
def list_installations(request: HttpRequest, page: Query[PageQuery]) -> Page[InstallationOut]:
    """The LMSs that are connected, with their keys and registrations and without any secret."""
    part = slice_of(own(request, Installation.objects.prefetch_related(*_PARTS)), page)
    return Page(items=[installation_out(installation) for installation in part.rows], next=part.next)


@router.patch("/installations/{installation_id}", response=InstallationOut, summary="Switch an installation")
def switch_installation(request: HttpRequest, installation_id: UUID, switch: Switch) -> InstallationOut:
    """Launches of a disabled installation are refused with installation_disabled; nothing is deleted."""
    installation = get_own(request, Installation.objects.prefetch_related(*_PARTS), installation_id)
    installation.enabled = switch.enabled
    installation.save(update_fields=["enabled"])
    logger.info("installation_switched", installation_id=str(installation.id), enabled=switch.enabled)
    return installation_out(installation)


@router.patch("/keys/{path:consumer_key}", response=KeyOut, summary="Switch an LTI 1.1 key")
def switch_key(request: HttpRequest, consumer_key: str, switch: Switch) -> KeyOut:
    """Launches signed with a disabled key are refused; its other keys go on."""
    if "\x00" in consumer_key:
        raise Http404
    key = own(request, LtiKey.objects.all()).filter(consumer_key=consumer_key).first()
    if key is None:
        raise Http404
    key.enabled = switch.enabled
    key.save(update_fields=["enabled"])
    logger.info("key_switched", key_id=str(key.id), enabled=switch.enabled)
    return key_out(key)


@router.patch("/registrations/{registration_id}", response=RegistrationOut, summary="Switch an LTI 1.3 registration")
def switch_registration(request: HttpRequest, registration_id: UUID, switch: Switch) -> RegistrationOut:
    """Launches of a disabled registration are refused with installation_disabled. One that is pending stays so: its
    owner activates it in the admin."""
    registration = get_own(request, Registration.objects.prefetch_related("deployments"), registration_id)
    registration.enabled = switch.enabled
    registration.save(update_fields=["enabled"])
    logger.info("registration_switched", registration_id=str(registration.id), enabled=switch.enabled)
    return registration_out(registration)
