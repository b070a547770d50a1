"""Members: invited by mail, given a role, removed; an organization never loses its last owner."""

import smtplib

import structlog
from allauth.account import app_settings as account_settings
from allauth.account.utils import user_pk_to_url_str
from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.template.loader import render_to_string
from django.urls import reverse

from organizations.models import Membership, Organization, User

log = structlog.get_logger(__name__)


class LastOwner(ValueError):
    """An organization keeps at least one owner."""


class AlreadyMember(ValueError):
    """The address belongs to a member already."""


class InvitationNotSent(Exception):
    """The mail server did not take the mail; the membership exists and the mail can be sent again."""


def invite_member(organization: Organization, email: str, name: str, role: str) -> Membership:
    """Makes the membership, and the user with an unusable password where the address is new. Sends nothing yet.

    Raises ``AlreadyMember``.
    """
    with transaction.atomic():
        user = User.objects.filter(email__iexact=email).first()
        if user is None:
            user = User.objects.create_user(email, name=name)
        membership, made = Membership.objects.get_or_create(
            organization=organization, user=user, defaults={"role": role}
        )
        if not made:
            raise AlreadyMember("This address belongs to a member already.")
    return membership


def send_invitation(membership: Membership, inviter: User) -> None:
    """Mails the member the way in: a link to set a password, or the sign-in page for somebody who has one.

    Call it outside of transactions. Raises ``InvitationNotSent``.
    """
    user = membership.user
    context = {
        "membership": membership,
        "organization": membership.organization,
        "inviter": inviter,
        "url": sign_in_url() if user.has_usable_password() else set_password_url(user),
        "sets_password": not user.has_usable_password(),
        "days": settings.PASSWORD_RESET_TIMEOUT // 86400,
    }
    message = EmailMessage(
        subject=f"You are invited to {' '.join(membership.organization.name.split())}",
        body=render_to_string("organizations/invitation.txt", context),
        to=[user.email],
    )
    try:
        message.send()
    except (OSError, smtplib.SMTPException) as error:
        log.warning("invitation_not_sent", membership=str(membership.pk), error=type(error).__name__)
        raise InvitationNotSent("The mail server did not take the mail.") from error


def set_password_url(user: User) -> str:
    """A link, good for one use and `PASSWORD_RESET_TIMEOUT` seconds, to the page where the user sets a password."""
    token = account_settings.PASSWORD_RESET_TOKEN_GENERATOR().make_token(user)
    path = reverse("account_reset_password_from_key", kwargs={"uidb36": user_pk_to_url_str(user), "key": token})
    return f"{settings.BASE_URL}{path}"


def sign_in_url() -> str:
    return f"{settings.BASE_URL}{reverse('account_login')}"


def change_role(membership: Membership, role: str) -> None:
    """Raises ``LastOwner`` when the organization would be left without an owner."""
    with transaction.atomic():
        _lock_owners(membership)
        if role != Membership.Role.OWNER:
            _keep_an_owner(membership)
        membership.role = role
        membership.save(update_fields=["role"])


def check_role_change(membership: Membership, role: str) -> None:
    """Raises ``LastOwner`` like ``change_role``, for a form that wants to say so beside the field."""
    if role != Membership.Role.OWNER:
        _keep_an_owner(membership)


def remove_member(membership: Membership) -> None:
    """Ends the membership; the user stays, and with it what they did. Raises ``LastOwner``."""
    with transaction.atomic():
        _lock_owners(membership)
        _keep_an_owner(membership)
        membership.delete()


def _lock_owners(membership: Membership) -> None:
    # Two owners who remove each other at once must not both succeed.
    Organization.objects.select_for_update(no_key=True).get(pk=membership.organization_id)


def _keep_an_owner(membership: Membership) -> None:
    owners = Membership.objects.filter(
        organization=membership.organization_id, role=Membership.Role.OWNER, user__is_active=True
    )
    if owners.filter(pk=membership.pk).exists() and not owners.exclude(pk=membership.pk).exists():
        raise LastOwner("This is the last owner: make somebody else an owner first.")
