"""What a delivery carries, in words. The outbox does not know; the room that filled it registers how to say it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q

from events.models import Delivery


@dataclass(frozen=True)
class DeliverySubject:
    """`what` is the thing, `whom` the person it is about, `where` the LMS; `url` leads to it in the admin."""

    what: str
    whom: str
    where: str
    url: str


@dataclass(frozen=True)
class SubjectReader:
    """`describe` answers for a page of deliveries in few queries; `search` finds deliveries by a word."""

    describe: Callable[[Sequence[Delivery]], dict[UUID, DeliverySubject]]
    search: Callable[[str], Q]


readers: dict[str, SubjectReader] = {}


def register(kind: str, reader: SubjectReader) -> None:
    readers[kind] = reader


def subjects_of(deliveries: Sequence[Delivery]) -> dict[UUID, DeliverySubject]:
    """The subjects of these deliveries by delivery id; one whose subject is gone is left out."""
    found: dict[UUID, DeliverySubject] = {}
    for kind, reader in readers.items():
        of_kind = [delivery for delivery in deliveries if delivery.kind == kind]
        if of_kind:
            found |= reader.describe(of_kind)
    return found


def search_of(term: str) -> Q:
    """The condition for deliveries about this word."""
    condition = Q(pk__in=[])
    for kind, reader in readers.items():
        condition |= Q(kind=kind) & reader.search(term)
    return condition
