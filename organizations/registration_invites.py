"""One-time invites for dynamic registration, and the registration that uses one up (D40 to D45, J18)."""

import hashlib
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from lti.v1p3.dynamic_registration import (
    PlatformConfiguration,
    Registered,
    RegistrationFailed,
    UpgradeProof,
    fetch_upgrade_proof,
    register,
)
from organizations.identifiers import random_token
from organizations.models import Installation, LtiKey, Organization, Registration, RegistrationInvite
from organizations.outbound import outbound_client
from organizations.registrations import Platform, RegistrationRefused, lms_of, make_registration, title_of
from organizations.tool_description import tool_description

logger = structlog.get_logger(__name__)

LIFETIME = timedelta(days=7)
# Longer than the two requests to the LMS may take together.
CLAIM = timedelta(seconds=90)


class InviteNotUsable(Exception):
    """The invite is unknown, used, past its seven days, or being used in this moment: one answer for all."""


def hash_of(token: str) -> str:
    """SHA-256, hexadecimal: the token has 256 bits of entropy."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def make_invite(
    organization: Organization, name: str, installation: Installation | None = None
) -> tuple[RegistrationInvite, str]:
    """A new invite and its registration URL, which is known only now. `installation`: the LMS, if it is one here."""
    token = random_token()
    invite = RegistrationInvite.objects.create(
        organization=organization,
        name=name,
        installation=installation,
        hash=hash_of(token),
        expires_at=timezone.now() + LIFETIME,
    )
    return invite, _registration_url(organization, token)


def renew_invite(invite: RegistrationInvite) -> str:
    """A new registration URL for an invite that is not used; the one it had stops working."""
    token = random_token()
    invite.hash = hash_of(token)
    invite.expires_at = timezone.now() + LIFETIME
    invite.claimed_until = None
    invite.save(update_fields=["hash", "expires_at", "claimed_until"])
    return _registration_url(invite.organization, token)


def _registration_url(organization: Organization, token: str) -> str:
    return f"{settings.BASE_URL}/lti/1p3/{organization.slug}/register?invite={token}"


def find_invite(slug: str, token: str) -> RegistrationInvite:
    """The usable invite of the enabled organization with this token. Raises `InviteNotUsable`."""
    return _usable(organization__slug=slug, hash=hash_of(token))


def invite_of_form(slug: str, invite_id: UUID) -> RegistrationInvite:
    """The same by its id, which our own signed form names."""
    return _usable(organization__slug=slug, pk=invite_id)


def _usable(**names: object) -> RegistrationInvite:
    invites = RegistrationInvite.objects.select_related("organization", "installation")
    invite = invites.filter(**names, organization__enabled=True, used_at=None, expires_at__gt=timezone.now()).first()
    if invite is None:
        raise InviteNotUsable
    return invite


def register_by_invite(
    invite: RegistrationInvite, platform: PlatformConfiguration, registration_token: str
) -> Registration:
    """Registers the tool at the platform and stores what it answers: pending, until the owner activates it.

    Of several at once, one goes on. Requests go out between two transactions, not within. Nothing is stored and the
    invite stays usable when it fails: raises `RegistrationFailed`, or `InviteNotUsable`.
    """
    claimed_until = _claim(invite)
    try:
        sender = outbound_client()
        proof = fetch_upgrade_proof(sender, platform, registration_token) if _is_moodle(platform) else None
        tool = tool_description(invite.organization, named=True)
        registered = register(sender, tool, platform, registration_token)
        registration = _store(invite, claimed_until, platform, registered, proof)
    except BaseException:
        RegistrationInvite.objects.filter(pk=invite.pk, claimed_until=claimed_until, used_at=None).update(
            claimed_until=None
        )
        raise
    logger.info("registered_dynamically", registration=str(registration.pk), invite=str(invite.pk))
    return registration


def _is_moodle(platform: PlatformConfiguration) -> bool:
    return platform.product_family.lower() == "moodle"


def _claim(invite: RegistrationInvite) -> datetime:
    now = timezone.now()
    claimed_until = now + CLAIM
    free = Q(claimed_until=None) | Q(claimed_until__lt=now)
    claimed = RegistrationInvite.objects.filter(free, pk=invite.pk, used_at=None, expires_at__gt=now)
    if not claimed.update(claimed_until=claimed_until):
        raise InviteNotUsable
    return claimed_until


def _store(
    invite: RegistrationInvite,
    claimed_until: datetime,
    configuration: PlatformConfiguration,
    registered: Registered,
    proof: UpgradeProof | None,
) -> Registration:
    platform = Platform(
        issuer=configuration.issuer,
        client_id=registered.client_id,
        auth_login_url=configuration.authorization_endpoint,
        token_url=configuration.token_endpoint,
        jwks_url=configuration.jwks_uri,
        token_audience=configuration.authorization_server,
    )
    with transaction.atomic():
        used = RegistrationInvite.objects.filter(pk=invite.pk, claimed_until=claimed_until, used_at=None)
        if not used.update(used_at=timezone.now(), claimed_until=None):
            raise InviteNotUsable  # it took longer than the claim lasts, and another one was faster
        key = _proved_key(invite.organization, registered.upgrade or proof)
        lms = lms_of(configuration.product_family, platform)
        installation = key.installation if key else invite.installation
        if installation is None:
            installation = Installation.objects.create(
                organization=invite.organization, name=_free_name(invite, platform, lms), lms=lms
            )
        try:
            registration = make_registration(
                installation,
                platform,
                deployment_ids=[registered.deployment_id] if registered.deployment_id else [],
                state=Registration.State.PENDING,
                configuration_url=registered.configuration_url,
                configuration_token=registered.access_token,
                upgraded_key=key,
            )
        except RegistrationRefused as error:
            # J18: what is registered stays as it is.
            raise RegistrationFailed(
                "client_id",
                "This LMS is registered here already with the same client id, and that registration was left as it "
                "is. Its owner can remove it first.",
            ) from error
        RegistrationInvite.objects.filter(pk=invite.pk).update(registration=registration)
    return registration


def _proved_key(organization: Organization, proof: UpgradeProof | None) -> LtiKey | None:
    """The organization's key that the proof was made with; a wrong proof is as good as none (D44)."""
    if proof is None or len(proof.consumer_key) > 255 or "\x00" in proof.consumer_key:
        return None
    keys = LtiKey.objects.select_related("installation")
    key = keys.filter(consumer_key=proof.consumer_key, installation__organization=organization).first()
    if key is None:
        return None
    secrets = [secret for secret in (key.secret, key.valid_previous_secret()) if secret]
    return key if any(proof.is_genuine(secret) for secret in secrets) else None


def _free_name(invite: RegistrationInvite, platform: Platform, lms: str) -> str:
    """A name for the new installation: the invite's, with the LMS's host and a number where that is taken."""
    taken = set(Installation.objects.filter(organization=invite.organization).values_list("name", flat=True))
    name = invite.name or title_of(lms)
    if name in taken:
        host = platform.issuer.partition("://")[2].strip("/")
        name = f"{name[:150]} ({host[:90]})"
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name[:245]} {number}"
    return found
