"""The switch of the daily digest that every one of its mails links to: a signed address, no sign-in, one receiver."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.db import transaction

from events.models import Mail
from organizations.models import Membership, Organization, Person

_SALT = "grades.digest"
_TOKEN_LIMIT = 200
_LETTERS: dict[str, Literal["member", "person"]] = {"m": "member", "p": "person"}


@dataclass(frozen=True)
class DigestSwitch:
    """Whose switch: a member's, or that of a teacher who is none."""

    kind: Literal["member", "person"]
    id: UUID


@dataclass(frozen=True)
class FoundSwitch:
    """A switch as it stands."""

    row: Membership | Person
    organization: Organization

    @property
    def is_on(self) -> bool:
        return self.row.grade_digest

    def turn(self, on: bool) -> None:
        """Switches the digest on or off for this receiver; one that has not left yet does not leave any more."""
        with transaction.atomic():
            self.row.grade_digest = on
            self.row.save(update_fields=["grade_digest"])
            if not on:
                mine = DigestSwitch("member" if isinstance(self.row, Membership) else "person", self.row.pk)
                waiting = Mail.objects.filter(organization=self.organization, sent_at=None)
                waiting.filter(stop_url=switch_url(mine)).delete()


def _signer() -> signing.Signer:
    return signing.Signer(salt=_SALT, sep=".")


def switch_token(switch: DigestSwitch) -> str:
    """What names a switch in its address: the same for good, letters, digits, `-`, `_` and one dot."""
    return _signer().sign(switch.kind[0] + urlsafe_b64encode(switch.id.bytes).decode().rstrip("="))


def switch_url(switch: DigestSwitch) -> str:
    return f"{settings.BASE_URL}/digest/{switch_token(switch)}"


def switch_of(token: str) -> FoundSwitch | None:
    """The switch that a token names, while its organization works and the receiver is there."""
    if len(token) > _TOKEN_LIMIT:
        return None
    try:
        text = _signer().unsign(token)
        kind = _LETTERS.get(text[:1])
        pk = UUID(bytes=urlsafe_b64decode(f"{text[1:]}=="))
    except (signing.BadSignature, NotBase64, ValueError):
        return None
    row: Membership | Person | None = None
    if kind == "member":
        row = Membership.objects.filter(pk=pk, organization__enabled=True).select_related("organization").first()
    elif kind == "person":
        row = Person.objects.filter(pk=pk, organization__enabled=True).select_related("organization").first()
    return None if row is None else FoundSwitch(row, row.organization)
