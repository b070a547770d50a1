"""What became of a person's scores: every version, who made it, and how it fared on its way to the LMS."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from events.log import EventType
from events.models import Delivery, Event
from grades.models import Score
from grades.passage import way_of

# More of a person's versions than this nobody reads; what is left out are the oldest.
VERSIONS_LIMIT = 400
_REPLACED = "Replaced by a newer score before it arrived."


@dataclass(frozen=True)
class Sent:
    """How one version fared in one gradebook column; `at` as in `grades.passage.Passage`."""

    state: str
    words: str
    at: datetime | None


@dataclass(frozen=True)
class Version:
    """One version of a score. `actor` is a name, and empty for the platform itself."""

    number: int
    at: datetime
    actor: str
    points: Decimal
    points_possible: Decimal
    graded: bool
    released: bool
    sent: Sequence[Sent]


def histories_of(organization_id: UUID, scores: Collection[Score]) -> dict[UUID, list[Version]]:
    """The versions of each of one person's scores, by the score's id, newest first: two statements.

    They are read from the event log, so that what a retention has taken from there is missing here.
    """
    if not scores:
        return {}
    ids = [score.pk for score in scores]
    sent: dict[tuple[UUID, int], list[Sent]] = defaultdict(list)
    for delivery in Delivery.objects.filter(kind=Delivery.Kind.GRADE, source_id__in=ids).order_by("created_at"):
        sent[delivery.source_id, delivery.sequence].append(_sent(delivery))
    found: dict[UUID, list[Version]] = {score.pk: [] for score in scores}
    for event in _events(organization_id, ids):
        score_id = UUID(event.subject["id"])
        found[score_id].append(_version(event, sent.get((score_id, event.data["version"]), [])))
    return found


def _events(organization_id: UUID, ids: Sequence[UUID]) -> QuerySet[Event]:
    # Ids rise with time, so that nothing older than the first of the scores is looked at.
    return Event.objects.filter(
        organization=organization_id,
        type=EventType.SCORE_CHANGED,
        id__gte=min(ids),
        subject__id__in=[str(score_id) for score_id in ids],
    ).order_by("-id")[:VERSIONS_LIMIT]


def _version(event: Event, sent: Sequence[Sent]) -> Version:
    data: dict[str, Any] = event.data
    return Version(
        number=data["version"],
        at=event.at,
        actor=str(event.actor.get("name", "")),
        points=Decimal(str(data["points"])),
        points_possible=Decimal(str(data["points_possible"])),
        graded=data["graded"],
        released=data["released"],
        sent=sent,
    )


def _sent(delivery: Delivery) -> Sent:
    if delivery.state == Delivery.State.SUPERSEDED:
        return Sent("superseded", _REPLACED, None)
    return Sent(*way_of(delivery))
