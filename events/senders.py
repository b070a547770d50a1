"""What the outbox knows about each kind of delivery: who turns a row into a request, and reads the answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

from events.models import Delivery
from lti.outbound import OutboundFailed, OutboundRefused, OutboundResponse

# Codes of deliveries that wait for something here, not for the receiver: they are looked at again when it changes.
WAITS_FOR_HOST = "waits_for_host"
WAITS_FOR_ORGANIZATION = "waits_for_organization"
WAITS_FOR_INSTALLATION = "waits_for_installation"
WAITS_FOR_KEY = "waits_for_key"
WAITS_FOR_REGISTRATION = "waits_for_registration"


class Verdict(StrEnum):
    """What to do with a delivery after a try, or instead of one."""

    DELIVERED = "delivered"
    RETRY = "retry"  # later, with backoff, until give_up_at
    UNAUTHORIZED = "unauthorized"  # one fresh signature at once, then a few more tries (B15)
    REFUSED = "refused"  # failed for good
    HELD = "held"  # waits for a person
    POSTPONED = "postponed"  # waits for something here to be enabled again; never gives up meanwhile
    CANCELLED = "cancelled"  # not wanted any more
    NOT_SENT = "not_sent"  # the lease had too little time left; due again at once


@dataclass(frozen=True, slots=True)
class Result:
    """How a try ended. `words` are for teachers and owners, `retry_after` is in seconds, `excerpt` is redacted."""

    verdict: Verdict
    code: str
    words: str
    retry_after: float | None = None
    excerpt: str = ""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request ready to be sent by a thread that has no database.

    `description` is what the attempt's record shows of it, redacted; `context` is the sender's own, handed back to it.
    """

    delivery_id: UUID
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    description: str
    context: Any


class Courier(Protocol):
    """Sends an errand's requests while the delivery's lease lasts, and bounds each in time."""

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> OutboundResponse:
        """One request; raises `OutboundRefused` or `OutboundFailed`."""
        ...


@dataclass(frozen=True, slots=True)
class Returned:
    """What an errand came back with: how the try ended, the status of the last answer where it counts, and whatever
    its sender wants to be told in `settled`. `answered` is false when the receiver was silent."""

    result: Result
    status: int | None = None
    learned: Any = None
    answered: bool = True


@dataclass(frozen=True, slots=True)
class Errand:
    """A try that takes more than one request, such as a token, a look-up and the grade.

    `run` is called by a thread that has no database, and says itself how the try ended. `description` and `context` are
    as in `Prepared`.
    """

    delivery_id: UUID
    run: Callable[[Courier], Returned]
    description: str
    context: Any


@dataclass(frozen=True, slots=True)
class Settled:
    """A delivery that has come to its end in this try: `state` is delivered or failed (or pending, for those who hear
    of tries that are repeated). `learned` is what its errand brought back."""

    delivery: Delivery
    state: str
    words: str
    code: str
    prepared: Prepared | Errand | None
    at: datetime
    learned: Any = None


class Sender(Protocol):
    """One kind of delivery. Only `judge` may run without a database; none of them sends anything."""

    def prepare(self, deliveries: Sequence[Delivery]) -> Mapping[UUID, Prepared | Errand | Result]:
        """A request or an errand for each delivery, by its id, or why nothing is to be sent; in few queries for all.

        Called outside of any transaction: what it writes is there before anything is sent.
        """
        ...

    def judge(self, prepared: Prepared, answer: OutboundResponse | OutboundFailed | OutboundRefused) -> Result:
        """What the answer to a request means; errands are not asked about."""
        ...

    def settled(self, ends: Sequence[Settled]) -> None:
        """Called in the transaction that settles them: events are written here."""
        ...


@runtime_checkable
class HearsOfRepeats(Protocol):
    """A sender that wants to know of every try that failed, not only of the last one."""

    def to_be_repeated(self, tries: Sequence[Settled]) -> None:
        """Called in the transaction that puts them off."""
        ...


_senders: dict[str, Sender] = {}


def register(kind: str, sender: Sender) -> None:
    """Makes `sender` responsible for a kind of delivery. Kinds without a sender are left waiting."""
    _senders[kind] = sender


def sender_of(kind: str) -> Sender:
    return _senders[kind]


def registered_kinds() -> list[str]:
    return sorted(_senders)
