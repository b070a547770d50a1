"""The outbox: what is to be sent is a row, written in the transaction of what caused it (design §2).

A worker sends it (`deliver_due`); the queue only wakes workers up.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from events.claiming import supersede_overtaken, wait_for_unanswered
from events.models import Delivery
from events.senders import WAITS_FOR_HOST
from events.sending import Tally, deliver_due
from events.settling import renewed_give_up_at
from events.waking import wake_up

if TYPE_CHECKING:
    from events.log import Actor  # which fills the outbox with what webhooks are to be told

__all__ = [
    "Outgoing",
    "Tally",
    "cancel",
    "cancel_waiting",
    "cancel_webhooks",
    "deliver_due",
    "enqueue",
    "hosts_waited_for",
    "make_due",
    "resend",
    "resend_failed",
    "resend_many",
    "wake_up",
]

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One thing to be sent: version `sequence` of `source_id` to `target_id`. `payload` is JSON."""

    organization_id: UUID
    target_id: UUID
    source_id: UUID
    sequence: int
    payload: dict[str, Any] = field(default_factory=dict)
    host: str = ""
    endpoint_id: UUID | None = None  # of a webhook


_AGAIN = (
    "state",
    "payload",
    "host",
    "due_at",
    "give_up_at",
    "failures",
    "refused_signatures",
    "last_error_code",
    "last_error",
)


def enqueue(kind: str, outgoing: Iterable[Outgoing]) -> int:
    """Puts deliveries into the outbox, due at once; call it in the transaction of what caused them.

    Older versions for the same target that still wait are superseded. A version that is there already (delivered,
    failed, cancelled) is to be sent again. Three statements for any number. Returns how many.
    """
    now = timezone.now()
    deliveries = [
        Delivery(
            organization_id=one.organization_id,
            kind=kind,
            endpoint_id=one.endpoint_id,
            target_id=one.target_id,
            source_id=one.source_id,
            sequence=one.sequence,
            payload=one.payload,
            host=one.host[:255],
            due_at=now,
            created_at=now,
            give_up_at=renewed_give_up_at(now),
        )
        for one in outgoing
    ]
    if not deliveries:
        return 0
    with transaction.atomic(savepoint=False):
        Delivery.objects.bulk_create(
            deliveries,
            update_conflicts=True,
            unique_fields=["kind", "target_id", "source_id", "sequence"],
            update_fields=_AGAIN,
            batch_size=500,
        )
        followed = [delivery for delivery in deliveries if delivery.sequence > 1]
        if followed:
            these = Q(
                kind=kind,
                target_id__in={delivery.target_id for delivery in followed},
                source_id__in={delivery.source_id for delivery in followed},
            )
            wait_for_unanswered(these)
            supersede_overtaken(these)
        wake_up()
    return len(deliveries)


def resend(delivery: Delivery, actor: "Actor") -> Delivery:
    """Sends it again, now and with a whole new time to arrive; a waiting one becomes due now. Attempts are kept.

    Of an older version the newest is sent instead, since grades never go backwards. One that is under way stays so.
    Returns the delivery that is due.
    """
    now = timezone.now()
    with transaction.atomic():
        newest = (
            Delivery.objects.select_for_update()
            .filter(kind=delivery.kind, target_id=delivery.target_id, source_id=delivery.source_id)
            .order_by("-sequence")[:1]
            .get()
        )
        if newest.claim is None:
            newest.state = Delivery.State.PENDING
            newest.due_at = now
            newest.give_up_at = renewed_give_up_at(now)
            newest.failures = 0
            newest.refused_signatures = 0
            newest.save(update_fields=["state", "due_at", "give_up_at", "failures", "refused_signatures"])
            _note_deed("resent", [newest], actor)
            wake_up()
    logger.info("delivery_resent", delivery_id=str(newest.pk), actor_kind=actor.kind, actor_id=actor.id)
    return newest


def resend_failed(deliveries: QuerySet[Delivery], actor: "Actor") -> int:
    """Sends those again that have failed, now and with a whole new time to arrive. Returns how many.

    The rows are locked while they are failed: of two people who ask at the same moment one does it, and what has
    arrived meanwhile is not sent twice. Which of them are still the newest of their target, the caller says.
    """
    return _resend(Q(pk__in=deliveries.values("pk"), state=Delivery.State.FAILED), actor)


def resend_many(deliveries: Iterable[Delivery], actor: "Actor") -> int:
    """As `resend`, for thousands; returns how many are due. `deliveries` may be any that `resend` takes.

    Each is sent again only while its newest version is in the state in which it was seen here: what somebody else sends
    again at the same moment is not sent twice.
    """
    newest = Delivery.objects.filter(
        kind=OuterRef("kind"), target_id=OuterRef("target_id"), source_id=OuterRef("source_id")
    ).order_by("-sequence")
    seen = Delivery.objects.filter(pk__in=[delivery.pk for delivery in deliveries]).values_list(
        Subquery(newest.values("state")[:1]), Subquery(newest.values("pk")[:1])
    )
    by_state: dict[str, set[UUID]] = defaultdict(set)
    for state, pk in seen:
        by_state[state].add(pk)
    return sum(_resend(Q(pk__in=pks, state=state), actor) for state, pks in by_state.items())


def _resend(which: Q, actor: "Actor") -> int:
    now = timezone.now()
    with transaction.atomic():
        # The state is asked of the row itself: that is what PostgreSQL looks at again after waiting for somebody else.
        resting = Delivery.objects.filter(which, claim__isnull=True)
        rows = list(resting.order_by("pk").select_for_update().only("pk", "organization_id", "kind"))
        sent = Delivery.objects.filter(pk__in=[row.pk for row in rows]).update(
            state=Delivery.State.PENDING,
            due_at=now,
            give_up_at=renewed_give_up_at(now),
            failures=0,
            refused_signatures=0,
        )
        if sent:
            _note_deed("resent", rows, actor)
            wake_up()
    logger.info("deliveries_resent", count=sent, actor_kind=actor.kind, actor_id=actor.id)
    return sent


def cancel(delivery: Delivery, actor: "Actor", words: str = "Cancelled by hand.") -> bool:
    """Takes back a delivery that waits. Returns whether it did: one that is under way or over stays as it is."""
    with transaction.atomic():
        cancelled = _cancel(Q(pk=delivery.pk), "cancelled", words)
        if cancelled:
            _note_deed("cancelled", [delivery], actor)
    if cancelled:
        logger.info("delivery_cancelled", delivery_id=str(delivery.pk), actor_kind=actor.kind, actor_id=actor.id)
    return bool(cancelled)


def _note_deed(deed: Literal["resent", "cancelled"], deliveries: Iterable[Delivery], actor: "Actor") -> None:
    """Writes into the audit trail what a person or an application did to these deliveries; what the platform does by
    itself stands in the deliveries."""
    # The log tells webhooks, whose way out is this outbox: it imports this module.
    from events.log import EventType, event_of, record_many

    if actor.kind == "system":
        return
    event_type = EventType.DELIVERY_RESENT if deed == "resent" else EventType.DELIVERY_CANCELLED
    record_many(
        event_of(
            delivery.organization_id,
            event_type,
            actor=actor,
            subject_kind="delivery",
            subject_id=delivery.pk,
            data={"kind": delivery.kind},
        )
        for delivery in deliveries
    )


def cancel_waiting(
    kind: str,
    *,
    target_ids: Iterable[UUID],
    code: str,
    words: str,
    source_ids: Iterable[UUID] | None = None,
    except_source_ids: Iterable[UUID] = (),
) -> int:
    """Takes back what waits for these targets (from these sources only, or from all but some). Returns how many.

    What is under way is not touched: its sender finds out before the next try.
    """
    which = Q(kind=kind, target_id__in=list(target_ids)) & ~Q(source_id__in=list(except_source_ids))
    if source_ids is not None:
        which &= Q(source_id__in=list(source_ids))
    return _cancel(which, code, words)


def cancel_webhooks(which: Q, code: str, words: str) -> int:
    """Takes back the webhooks among these that wait. Returns how many."""
    return _cancel(Q(kind=Delivery.Kind.WEBHOOK) & which, code, words)


def _cancel(which: Q, code: str, words: str) -> int:
    return Delivery.objects.filter(which, state=Delivery.State.PENDING, claim__isnull=True).update(
        state=Delivery.State.CANCELLED, due_at=None, last_error_code=code, last_error=words
    )


def make_due(organization_id: UUID, *, code: str, hosts: Iterable[str] | None = None) -> int:
    """What waits in this organization for `code` (only for these hosts, where named) is looked at again now."""
    now = timezone.now()
    waiting = _waiting(organization_id, code)
    if hosts is not None:
        waiting = waiting.filter(host__in=list(hosts))
    due = waiting.update(due_at=now, give_up_at=renewed_give_up_at(now))
    if due:
        wake_up()
    return due


def hosts_waited_for(organization_id: UUID) -> set[str]:
    """The hosts that deliveries of this organization wait for permission to call."""
    return set(_waiting(organization_id, WAITS_FOR_HOST).order_by().values_list("host", flat=True).distinct())


def _waiting(organization_id: UUID, code: str) -> QuerySet[Delivery]:
    return Delivery.objects.filter(
        organization_id=organization_id,
        state=Delivery.State.PENDING,
        claim__isnull=True,
        last_error_code=code,
    )
