"""Which due deliveries go next: fairly between organizations, and no more to one host than it may have at once."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import Count, QuerySet
from django.db.models.functions import Now

from events.models import Delivery, SilentHost
from events.silence import UNANSWERED_UNTIL_REST, Receiver

# Where more is due than can be claimed, so many receivers share a claim, and the next ones the next; so many are asked
# about at most, since all that is due for one may be waiting for what is under way.
_RECEIVERS_AT_ONCE = 8
_MOST_RECEIVERS = 40
# Where more is due than can be claimed, so many hosts of one organization are looked at, and those of what is due
# longest: a claim holds up all others, and whoever names ten thousand hosts must not make it last.
_MOST_HOSTS = 400


@dataclass
class Traffic:
    """What is under way and who rests, as the database knows it: over all workers, dead ones' leases included.

    Of silence only what `hear_of` was asked about is known: notes of hosts that nobody calls any more cost nothing.
    `here` is the room that the caller itself has for hosts which it is at already; others have no such bound.
    """

    here: Mapping[str, int]
    by_receiver: Counter[Receiver] = field(default_factory=Counter)
    by_host: Counter[str] = field(default_factory=Counter)
    by_organization: Counter[UUID] = field(default_factory=Counter)
    claimed_now: Counter[str] = field(default_factory=Counter)
    silent: dict[Receiver, int] = field(default_factory=dict)
    resting: set[Receiver] = field(default_factory=set)
    _heard_of: set[Receiver] = field(default_factory=set)

    @classmethod
    def now(cls, here: Mapping[str, int]) -> "Traffic":
        """Two statements at most."""
        traffic = cls(here)
        under_way = Delivery.objects.filter(claim__isnull=False).order_by().values_list("organization_id", "host")
        for organization_id, host, count in under_way.annotate(count=Count("pk")):
            traffic._add((organization_id, host), count)
        # Whose first answer ends their silence.
        traffic.hear_of(list(traffic.by_receiver))
        return traffic

    def hear_of(self, receivers: Iterable[Receiver]) -> None:
        """Finds out which of these have been silent, and which rest."""
        wanted = set(receivers) - self._heard_of
        if not wanted:
            return
        self._heard_of |= wanted
        rows = SilentHost.objects.filter(
            organization__in={organization_id for organization_id, _ in wanted}, host__in={host for _, host in wanted}
        )
        columns = ("organization", "host", "unanswered", "resting_until", "now")
        for organization_id, host, unanswered, until, now in rows.order_by().annotate(now=Now()).values_list(*columns):
            self.silent[organization_id, host] = unanswered
            if until is not None and until > now:
                self.resting.add((organization_id, host))

    def _add(self, receiver: Receiver, count: int = 1) -> None:
        self.by_receiver[receiver] += count
        self.by_organization[receiver[0]] += count
        self.by_host[receiver[1]] += count

    def claimed(self, receiver: Receiver) -> None:
        self._add(receiver)
        self.claimed_now[receiver[1]] += 1

    def room_for(self, receiver: Receiver) -> int:
        """How many more may be under way to this host for this organization."""
        if receiver in self.resting:
            return 0
        host = receiver[1]
        room = settings.DELIVERY_HOST_LIMIT - self.by_host[host]
        if host in self.here:
            room = min(room, self.here[host] - self.claimed_now[host])
        if self.silent.get(receiver, 0) >= UNANSWERED_UNTIL_REST:
            room = min(room, 1 - self.by_receiver[receiver])
        return max(room, 0)

    def load_of(self, receiver: Receiver) -> tuple[int, int]:
        """Who has least under way comes first: by organization, then by host."""
        return self.by_organization[receiver[0]], self.by_receiver[receiver]


def next_ones(due: QuerySet[Any], limit: int, traffic: Traffic) -> tuple[list[UUID], list[UUID]]:
    """Ids of at most `limit` of the due deliveries, never two of one target, the longest due of each receiver first;
    and those of them that a newer version has overtaken, which are not among the first.

    What it costs depends on the limit and on how many receivers have something waiting, not on how much waits.
    """
    columns = due.order_by("due_at").values_list(
        "organization_id", "host", "kind", "target_id", "pk", "newer", "due_at"
    )
    longest_due = list(columns[: limit + 1])
    looked_at: list[tuple[Any, ...]] = []
    if len(longest_due) <= limit:
        looked_at = longest_due
    else:
        # There is more than can be claimed: each receiver's share is asked for by itself, so that nobody has to wait
        # behind another's thousands.
        known = dict(_receivers_with_due())
        known |= {(row[0], row[1]): row[6] for row in reversed(longest_due)}
        for receiver, share in _shares(known, limit, traffic):
            looked_at += columns.filter(organization_id=receiver[0], host=receiver[1])[:share]
            if len(looked_at) >= limit:
                break
    queues: dict[Receiver, deque[tuple[str, UUID, UUID]]] = {}
    for organization_id, host, kind, target_id, pk, newer, _ in looked_at:
        if newer is None:
            queues.setdefault((organization_id, host), deque()).append((kind, target_id, pk))
    traffic.hear_of(queues)
    return _taken_in_turn(queues, limit, traffic), [row[4] for row in looked_at if row[5] is not None]


def _taken_in_turn(queues: dict[Receiver, deque[tuple[str, UUID, UUID]]], limit: int, traffic: Traffic) -> list[UUID]:
    chosen: dict[tuple[str, UUID], UUID] = {}
    while queues and len(chosen) < limit:
        receiver = min(queues, key=traffic.load_of)
        queue = queues[receiver]
        if not queue or not traffic.room_for(receiver):
            del queues[receiver]
            continue
        kind, target_id, pk = queue.popleft()
        if (kind, target_id) not in chosen:
            chosen[kind, target_id] = pk
            traffic.claimed(receiver)
    return list(chosen.values())


def _shares(known: Mapping[Receiver, datetime], limit: int, traffic: Traffic) -> Iterator[tuple[Receiver, int]]:
    """Those of the receivers that something is due for (since when) that have room, and how many of theirs to look
    at."""
    traffic.hear_of(known)
    due = [(receiver, since) for receiver, since in known.items() if traffic.room_for(receiver)]
    due.sort(key=lambda one: (*traffic.load_of(one[0]), one[1]))
    share = -(-limit // min(len(due), _RECEIVERS_AT_ONCE)) if due else 0
    for receiver, _ in due[:_MOST_RECEIVERS]:
        yield receiver, min(share, traffic.room_for(receiver))


# From the longest due delivery of one receiver to that of the next, by the index delivery_due_by_receiver: one step for
# each receiver, however many deliveries wait, and from an organization's last one that is looked at to the next
# organization. `before` and `hosts` are the organization of the step before, and how many of its hosts had come by
# then. PostgreSQL and SQLite understand the same words.
_RECEIVERS = """
WITH RECURSIVE first (id, before, hosts) AS (
  SELECT * FROM (
    SELECT id, organization_id, 0 FROM events_delivery
    WHERE state = 'pending' AND claim IS NULL AND due_at IS NOT NULL
    ORDER BY organization_id, host, due_at LIMIT 1
  ) AS one
  UNION ALL
  SELECT
    CASE WHEN first.before = this.organization_id AND first.hosts + 1 >= {most_hosts} THEN (
      SELECT following.id FROM events_delivery AS following
      WHERE following.state = 'pending' AND following.claim IS NULL AND following.due_at IS NOT NULL
        AND following.organization_id > this.organization_id
      ORDER BY following.organization_id, following.host, following.due_at LIMIT 1
    ) ELSE (
      SELECT following.id FROM events_delivery AS following
      WHERE following.state = 'pending' AND following.claim IS NULL AND following.due_at IS NOT NULL
        AND (following.organization_id, following.host) > (this.organization_id, this.host)
      ORDER BY following.organization_id, following.host, following.due_at LIMIT 1
    ) END,
    this.organization_id,
    CASE WHEN first.before = this.organization_id THEN first.hosts + 1 ELSE 1 END
  FROM first JOIN events_delivery AS this ON this.id = first.id
)
SELECT delivery.id, delivery.organization_id, delivery.host, delivery.due_at
FROM first JOIN events_delivery AS delivery ON delivery.id = first.id
WHERE delivery.due_at <= {now}
"""


def _receivers_with_due() -> list[tuple[Receiver, datetime]]:
    now = "clock_timestamp()" if connection.vendor == "postgresql" else "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now')"
    rows = Delivery.objects.raw(_RECEIVERS.format(now=now, most_hosts=_MOST_HOSTS))
    return [((row.organization_id, row.host), row.due_at) for row in rows if row.due_at is not None]
