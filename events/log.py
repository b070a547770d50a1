"""The one way in for events: every event of the platform is written here, in the transaction of the change."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from events.event_types import EventType, check_event
from events.fan_out import fan_out
from events.models import Event
from organizations.models import ApiToken, Organization, Person, User


@dataclass(frozen=True)
class Actor:
    """Who did it, as the event shows it: kind is person, user, api_token or system."""

    kind: str
    id: str = ""
    name: str = ""

    @classmethod
    def of(cls, who: "Person | User | ApiToken | None") -> "Actor":
        """The actor for a domain object; None is the platform itself."""
        if isinstance(who, Person):
            return cls("person", str(who.id), who.display_name)
        if isinstance(who, User):
            return cls("user", str(who.id), who.name or who.email)
        if isinstance(who, ApiToken):
            return cls("api_token", str(who.id), who.name)
        return SYSTEM

    def as_json(self) -> dict[str, str]:
        return {"kind": self.kind, "id": self.id, "name": self.name}


SYSTEM = Actor("system")

__all__ = ["SYSTEM", "Actor", "EventType", "event_of", "record", "record_many"]


def event_of(
    organization_id: UUID,
    event_type: str,
    *,
    actor: Actor,
    subject_kind: str,
    subject_id: UUID | str,
    data: dict[str, Any] | None = None,
) -> Event:
    """An event that is not written yet: for `record_many`. What it says has to be described in `event_types.EVENTS`."""
    if settings.EVENT_DATA_CHECKED:
        check_event(event_type, actor.kind, subject_kind, data or {})
    return Event(
        organization_id=organization_id,
        type=event_type,
        actor=actor.as_json(),
        subject={"kind": subject_kind, "id": str(subject_id)},
        data=data or {},
    )


def record_many(events: Iterable[Event]) -> None:
    """Writes many events in one statement, inside the transaction that makes the changes they tell of; and what
    webhooks are to be told of them."""
    written = list(events)
    if not written:
        return
    with transaction.atomic(savepoint=False):
        Event.objects.bulk_create(written)
        fan_out(written)


def record(
    organization: Organization | UUID,
    event_type: str,
    *,
    actor: Actor,
    subject_kind: str,
    subject_id: UUID | str,
    data: dict[str, Any] | None = None,
) -> Event:
    """Writes an event, and what webhooks are to be told of it. Call it inside the transaction that makes the change it
    tells of."""
    organization_id = organization if isinstance(organization, UUID) else organization.pk
    event = event_of(
        organization_id, event_type, actor=actor, subject_kind=subject_kind, subject_id=subject_id, data=data
    )
    with transaction.atomic(savepoint=False):
        event.save(force_insert=True)
        fan_out([event])
    return event
