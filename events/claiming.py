"""Taking due deliveries under a lease, so that no two workers send the same one, and none is lost with a worker."""

import time
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from events.models import Delivery
from events.senders import registered_kinds
from organizations.identifiers import uuid7

logger = structlog.get_logger(__name__)

_TRIES = 3
# What a sender's code begins with when the other side did not answer in time, and how long it may still be at work.
UNANSWERED = "no_answer"
UNANSWERED_GRACE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Claimed:
    """Deliveries that are ours until `deadline` (of `time.monotonic`)."""

    claim: UUID
    deadline: float
    deliveries: list[Delivery]


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


def _due(resting_hosts: frozenset[str]) -> QuerySet[Delivery]:
    under_way = Delivery.objects.filter(kind=OuterRef("kind"), target_id=OuterRef("target_id"), claim__isnull=False)
    # Scalar subqueries, since PostgreSQL turns NOT EXISTS into a join that may read the whole index of claims, dead
    # entries and all; so it asks the index once for each due row, and stops at the limit.
    due = Delivery.objects.alias(
        under_way=Subquery(under_way.order_by().values("pk")[:1]),
        newer=Subquery(_newer_versions().values("pk")[:1]),
    ).filter(
        state=Delivery.State.PENDING,
        claim__isnull=True,
        due_at__lte=timezone.now(),
        kind__in=registered_kinds(),
        under_way__isnull=True,
        newer__isnull=True,
    )
    return due.exclude(host__in=resting_hosts) if resting_hosts else due


def claim_due(limit: int, resting_hosts: frozenset[str] = frozenset()) -> Claimed:
    """Claims at most `limit` due deliveries, the longest due first and never two for one target.

    Counts the try in each. Deliveries to `resting_hosts` are left alone.
    """
    for _ in range(_TRIES):
        try:
            return _claim(limit, resting_hosts)
        except IntegrityError:
            # Another worker claimed a delivery to one of these targets between our look and our claim
            # (delivery_one_under_way_per_target); the next look sees it.
            logger.info("delivery_claim_collided")
    return Claimed(uuid7(), time.monotonic(), [])


def _claim(limit: int, resting_hosts: frozenset[str]) -> Claimed:
    claim = uuid7()
    with transaction.atomic():
        rows = _due(resting_hosts).order_by("due_at")
        if connection.features.has_select_for_update_skip_locked:
            rows = rows.select_for_update(skip_locked=True)
        one_per_target: dict[tuple[str, UUID], Delivery] = {}
        for delivery in rows[:limit]:
            one_per_target.setdefault((delivery.kind, delivery.target_id), delivery)
        deliveries = list(one_per_target.values())
        deadline = time.monotonic() + settings.DELIVERY_LEASE_SECONDS
        if deliveries:
            until = timezone.now() + timedelta(seconds=settings.DELIVERY_LEASE_SECONDS)
            Delivery.objects.filter(pk__in=[delivery.pk for delivery in deliveries], claim__isnull=True).update(
                claim=claim, claimed_until=until, attempts=F("attempts") + 1
            )
    for delivery in deliveries:
        delivery.claim = claim
        delivery.attempts += 1
    return Claimed(claim, deadline, deliveries)


def wait_for_unanswered(among: Q) -> None:
    """Lets newer versions wait where an older one's last try got no answer in time.

    The LMS may still be at work on it, and would put the older grade over the newer one (B14). Call it before the older
    ones are superseded.
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
        surely_over = timezone.now() + UNANSWERED_GRACE
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
    freed = Delivery.objects.filter(claim__isnull=False, claimed_until__lt=timezone.now()).update(
        claim=None, claimed_until=None
    )
    if freed:
        logger.warning("delivery_leases_expired", deliveries=freed)
    return freed


def supersede_overtaken(among: Q | None = None) -> int:
    """Marks waiting deliveries that a newer version has overtaken. Returns how many."""
    waiting = Delivery.objects.filter(newer_version(), state=Delivery.State.PENDING, claim__isnull=True)
    waiting = waiting.filter(due_at__lte=timezone.now()) if among is None else waiting.filter(among)
    return waiting.update(state=Delivery.State.SUPERSEDED, due_at=None)
