"""A sign-in of their own for people who come from an LMS: a link is mailed to the address that the LMS gave for them,
and whoever follows it proves that they read that mailbox.

The link ties this one person of this one organization to a user and nothing else: no other person with the same
address, no membership. Where a user with the address exists, that user has to be signed in as well (J4: an address that
an LMS asserts opens nobody's account).
"""

import hashlib
import smtplib
from datetime import timedelta

import structlog
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.template.loader import render_to_string
from django.utils import timezone

from organizations.identifiers import random_token
from organizations.models import Person, SignInLink, User
from organizations.signals import own_sign_in_changed

log = structlog.get_logger(__name__)

LIFETIME = timedelta(hours=24)
# Enough for whoever looks into the wrong folder first, too few to fill somebody's mailbox.
MAILS_PER_HOUR = 3
ADDRESS_LIMIT = User._meta.get_field("email").max_length or 254


class NoAddress(ValueError):
    """The LMS gave no address that a mail could go to."""


class HasSignIn(ValueError):
    """The person can sign in already."""


class TooManyLinks(ValueError):
    """This person or address got `MAILS_PER_HOUR` links within the hour."""


class LinkNotSent(Exception):
    """The mail server did not take the mail; nothing was kept."""


class LinkNotUsable(Exception):
    """Unknown, used, older than a day, or mailed to an address that is no longer the person's: one answer for all."""


class AnotherUser(Exception):
    """A user with the link's address exists, and it is not the one who follows the link."""


def mail_address_of(person: Person) -> str:
    """The address that the LMS gave, if a mail can go there; else ""."""
    # Letters beyond ASCII may turn into others when their case changes: two addresses would become one user.
    if not person.email.isascii() or len(person.email) > ADDRESS_LIMIT:
        return ""
    try:
        validate_email(person.email)
    except ValidationError:
        return ""
    return person.email


def mail_sign_in_link(person: Person, page: str) -> SignInLink:
    """Mails the person a link to the page (its absolute URL), good for one use and a day. Call it outside of
    transactions.

    Raises `HasSignIn`, `NoAddress`, `TooManyLinks` or `LinkNotSent`.
    """
    token = random_token()
    link = _make_link(person, token)
    context = {
        "organization": person.organization,
        # In the query, which no log keeps.
        "url": f"{page}?link={token}",
        "hours": int(LIFETIME.total_seconds()) // 3600,
    }
    message = EmailMessage(
        subject=f"Your sign-in at {' '.join(person.organization.name.split())}",
        body=render_to_string("organizations/sign_in_link.txt", context),
        to=[link.email],
    )
    try:
        message.send()
    except (OSError, smtplib.SMTPException) as error:
        link.delete()
        log.warning("sign_in_link_not_sent", person=str(person.pk), error=type(error).__name__)
        raise LinkNotSent("The mail server did not take the mail.") from error
    return link


def _make_link(person: Person, token: str) -> SignInLink:
    now = timezone.now()
    with transaction.atomic():
        # Many requests of one person at once are counted one after the other.
        person = Person.objects.select_for_update(no_key=True).get(pk=person.pk)
        if person.user_id is not None:
            raise HasSignIn("You can sign in already.")
        address = mail_address_of(person)
        if not address:
            raise NoAddress("The LMS gave no e-mail address for this person.")
        SignInLink.objects.filter(expires_at__lt=now - LIFETIME).delete()
        lately = SignInLink.objects.filter(created_at__gt=now - timedelta(hours=1))
        # By address, too: an LMS can make up as many people as it likes.
        if lately.filter(Q(person=person) | Q(email__iexact=address)).count() >= MAILS_PER_HOUR:
            raise TooManyLinks("Several links were mailed within the last hour.")
        return SignInLink.objects.create(
            person=person, email=address, hash=_hash_of(token), expires_at=now + LIFETIME, created_at=now
        )


def find_link(token: str) -> SignInLink:
    """The usable link with this token, with its person and organization. Raises `LinkNotUsable`."""
    links = SignInLink.objects.select_related("person__organization")
    link = links.filter(hash=_hash_of(token)).first()
    if link is None or not _is_usable(link):
        raise LinkNotUsable
    return link


def _is_usable(link: SignInLink) -> bool:
    person = link.person
    return (
        link.used_at is None
        and link.expires_at > timezone.now()
        and person.user_id is None
        and person.email == link.email
        and person.organization.enabled
    )


def user_of_address(link: SignInLink) -> User | None:
    """The user who has the link's address already, active or not."""
    return User.objects.filter(email__iexact=link.email).first()


def accept_with_password(link: SignInLink, password: str) -> User:
    """Makes the user with the link's address and ties the person to it. The password has been validated.

    Raises `LinkNotUsable`, or `AnotherUser` when there is a user with this address.
    """
    try:
        with transaction.atomic():
            if user_of_address(link) is not None:
                raise AnotherUser
            user = User.objects.create_user(link.email, password, name=link.person.name)
            _tie(link, user)
    except IntegrityError as error:
        # Somebody made a user with this address in this very moment.
        raise AnotherUser from error
    return user


def accept_as(link: SignInLink, user: User) -> None:
    """Ties the person to the user who is signed in and has the link's address.

    Raises `LinkNotUsable`, or `AnotherUser` for everybody else.
    """
    owner = user_of_address(link)
    if owner is None or owner.pk != user.pk or not owner.is_active:
        raise AnotherUser
    with transaction.atomic():
        _tie(link, user)


def _tie(link: SignInLink, user: User) -> None:
    # Two who follow the same link at once: one of them changes the row.
    now = timezone.now()
    unused = SignInLink.objects.filter(pk=link.pk, used_at=None, expires_at__gt=now)
    if not unused.update(used_at=now):
        raise LinkNotUsable
    tied = Person.objects.filter(pk=link.person_id, user=None, email=link.email, organization__enabled=True)
    if not tied.update(user=user):
        raise LinkNotUsable
    SignInLink.objects.filter(person=link.person_id, used_at=None).update(used_at=now)
    own_sign_in_changed.send(sender=Person, person=link.person, signs_in=True)


def end_sign_in(person: Person) -> None:
    """The person comes from the LMS only again. The user stays, with whatever else it opens."""
    with transaction.atomic():
        if Person.objects.filter(pk=person.pk, user__isnull=False).update(user=None):
            own_sign_in_changed.send(sender=Person, person=person, signs_in=False)


def _hash_of(token: str) -> str:
    # 256 bits of entropy: a slow hash would add nothing.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
