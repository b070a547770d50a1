"""Taking due deliveries under a lease, so that no two workers send the same one, and none is lost with a worker."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Now
from django.utils import timezone

from events.models import Delivery
from events.senders import registered_kinds
from events.sharing import Traffic, next_ones
from events.silence import Receiver
from organizations.identifiers import uuid7

logger = structlog.get_logger(__name__)

_TRIES = 3
_CLAIM_LOCK = 0x6F7574626F78  # "outbox"
_STOPPED_AFTER = "10s"
# What a sender's code begins with when the other side did not answer in time.
UNANSWERED = "no_answer"


@dataclass(frozen=True, slots=True)
class Claimed:
    """Deliveries that are ours until `deadline` (of `time.monotonic`)."""

    claim: UUID
    deadline: float
    deliveries: list[Delivery]
    # Of whom something is due or under way: who has left requests unanswered, and who rests for it.
    silent: frozenset[Receiver] = frozenset()
    resting: frozenset[Receiver] = frozenset()


def _newer_versions() -> QuerySet[Delivery]:
    return Delivery.objects.filter(
        kind=OuterRef("kind"),
        target_id=OuterRef("target_id"),
        source_id=OuterRef("source_id"),
        sequence__gt=OuterRef("sequence"),
    ).order_by()


def newer_version() -> Exists:
    """Whether a newer version for the same target exists, in whatever state: then an older one is never sent."""
    return Exists(_newer_versions())


def _due() -> QuerySet[Any]:
    """What is due and may be claimed, unless a `newer` version makes it needless."""
    under_way = Delivery.objects.filter(kind=OuterRef("kind"), target_id=OuterRef("target_id"), claim__isnull=False)
    # Scalar subqueries, since PostgreSQL turns NOT EXISTS into a join that may read the whole index of claims, dead
    # entries and all; so it asks the index once for each due row, and stops at the limit.
    return (
        Delivery.objects.alias(
            under_way=Subquery(under_way.order_by().values("pk")[:1]),
        )
        .annotate(
            newer=Subquery(_newer_versions().values("pk")[:1]),
        )
        .filter(
            state=Delivery.State.PENDING,
            claim__isnull=True,
            due_at__lte=timezone.now(),
            kind__in=registered_kinds(),
            under_way__isnull=True,
        )
    )


def claim_due(limit: int, here: Mapping[str, int] | None = None) -> Claimed:
    """Claims at most `limit` due deliveries, in turn for each organization and host, and never two for one target.

    Counts the try in each. No host gets more than may be under way to it over all workers (DELIVERY_HOST_LIMIT), one
    that rests gets none, and one named in `here` at most so many.
    """
    collisions = 0
    while collisions < _TRIES:
        try:
            claimed, overtaken = _claim(limit, here or {})
        except IntegrityError:
            # Another worker claimed a delivery to one of these targets between our look and our claim
            # (delivery_one_under_way_per_target); the next look sees it.
            logger.info("delivery_claim_collided")
            collisions += 1
            continue
        if claimed.deliveries or not (overtaken and supersede_overtaken(Q(pk__in=overtaken))):
            return claimed
    return Claimed(uuid7(), time.monotonic(), [])


def _claim(limit: int, here: Mapping[str, int]) -> tuple[Claimed, list[UUID]]:
    """What is claimed, and those that stood in the way and are to be superseded."""
    claim = uuid7()
    with transaction.atomic():
        _one_claim_at_a_time()
        traffic = Traffic.now(here)
        chosen, overtaken = next_ones(_due(), limit, traffic)
        rows = _due().filter(pk__in=chosen, newer__isnull=True).order_by("due_at")
        if connection.features.has_select_for_update_skip_locked:
            # Whoever sends one of them again or takes it back at this moment has it.
            rows = rows.select_for_update(skip_locked=True)
        deliveries = list(rows) if chosen else []
        deadline = time.monotonic() + settings.DELIVERY_LEASE_SECONDS
        if deliveries:
            # By the database's clock, as take_over_expired compares it: workers' clocks may differ.
            until = Now() + timedelta(seconds=settings.DELIVERY_LEASE_SECONDS)
            Delivery.objects.filter(pk__in=[delivery.pk for delivery in deliveries], claim__isnull=True).update(
                claim=claim, claimed_until=until, attempts=F("attempts") + 1
            )
    for delivery in deliveries:
        delivery.claim = claim
        delivery.attempts += 1
    claimed = Claimed(claim, deadline, deliveries, frozenset(traffic.silent), frozenset(traffic.resting))
    return claimed, overtaken


def _one_claim_at_a_time() -> None:
    """Until the end of this transaction, so that what is under way to a host is counted before more is claimed.

    A claim takes milliseconds; a worker that is stopped in the middle of one is cut off, so that it stops no other.
    For as long PostgreSQL goes by the indexes made for this: it cannot know how many rows of a queue are due, and would
    read and sort all that wait for one receiver, or compile for longer than it runs. SQLite has one writer anyway.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('jit', 'off', true), set_config('enable_bitmapscan', 'off', true), "
                "set_config('enable_seqscan', 'off', true), "
                "set_config('idle_in_transaction_session_timeout', %s, true), pg_advisory_xact_lock(%s)",
                [_STOPPED_AFTER, _CLAIM_LOCK],
            )


def wait_for_unanswered(among: Q) -> None:
    """Lets newer versions wait where an older one's last try got no answer in time.

    The LMS may still be at work on it, and would put the older grade over the newer one (B14): it has a lease's time
    to come to an end. Call it before the older ones are superseded.
    """
    older = Delivery.objects.filter(
        among,
        newer_version(),
        state=Delivery.State.PENDING,
        claim__isnull=True,
        last_error_code__startswith=UNANSWERED,
    )
    targets = set(older.order_by().values_list("kind", "target_id", "source_id", "sequence"))
    for kind, target_id, source_id, sequence in targets:
        surely_over = timezone.now() + timedelta(seconds=settings.DELIVERY_LEASE_SECONDS)
        Delivery.objects.filter(
            kind=kind,
            target_id=target_id,
            source_id=source_id,
            sequence__gt=sequence,
            state=Delivery.State.PENDING,
            claim__isnull=True,
            due_at__lt=surely_over,
        ).update(due_at=surely_over)


def take_over_expired() -> int:
    """Frees what a dead worker had claimed; it is due again as it was. Returns how many."""
    freed = Delivery.objects.filter(claim__isnull=False, claimed_until__lt=Now()).update(claim=None, claimed_until=None)
    if freed:
        logger.warning("delivery_leases_expired", deliveries=freed)
    return freed


def supersede_overtaken(among: Q | None = None) -> int:
    """Marks those of these (without `among`: of all) that wait while there is a newer version. Returns how many."""
    waiting = Delivery.objects.filter(newer_version(), state=Delivery.State.PENDING, claim__isnull=True)
    if among is not None:
        waiting = waiting.filter(among)
    return waiting.update(state=Delivery.State.SUPERSEDED, due_at=None)
