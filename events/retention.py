"""How long the outbox remembers what is over, and forgetting it in small steps beside the work that goes on."""

from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from events.models import Attempt, Delivery, Mail, SilentHost
from organizations.identifiers import first_uuid7_of

OVER = (
    Delivery.State.DELIVERED,
    Delivery.State.FAILED,
    Delivery.State.SUPERSEDED,
    Delivery.State.CANCELLED,
)
KEPT_AT_LEAST = timedelta(days=1)
MAILS_KEPT = timedelta(days=30)
SILENCE_KEPT = timedelta(days=7)
BATCH = 1000


def forget_deliveries() -> int:
    """Deletes deliveries that are over, with their attempts: DELIVERY_LOG_DAYS after they were made and last tried.

    What waits is never deleted. Of every gradebook cell the latest delivery of each score stays, and the latest that
    arrived: they are what gradebooks show of the way to the LMS. Each batch is a transaction of its own. Returns how
    many deliveries were deleted.
    """
    horizon = timezone.now() - max(timedelta(days=settings.DELIVERY_LOG_DAYS), KEPT_AT_LEAST)
    old = _old(Delivery.objects.filter(id__lt=first_uuid7_of(horizon)), horizon)
    deleted = 0
    last = UUID(int=0)
    while True:
        # Behind the last one that was looked at, since those that stay would be looked at again by every batch.
        batch = list(old.filter(id__gt=last).order_by("id").values_list("pk", flat=True)[:BATCH])
        deleted += _delete(batch)
        if len(batch) < BATCH:
            return deleted
        last = batch[-1]


def _old(rows: QuerySet[Delivery], horizon: object) -> QuerySet[Delivery]:
    newer = Delivery.objects.filter(
        kind=OuterRef("kind"),
        target_id=OuterRef("target_id"),
        source_id=OuterRef("source_id"),
        sequence__gt=OuterRef("sequence"),
    )
    arrived_later = Exists(newer.filter(state=Delivery.State.DELIVERED))
    overtaken = Exists(newer) & (~Q(state=Delivery.State.DELIVERED) | arrived_later)
    tried_lately = Attempt.objects.filter(delivery=OuterRef("pk"), started_at__gte=horizon)
    return rows.filter(Q(kind=Delivery.Kind.WEBHOOK) | overtaken, ~Exists(tried_lately), state__in=OVER)


def _delete(batch: list[UUID]) -> int:
    if not batch:
        return 0
    with transaction.atomic():
        # Somebody may have had one of them sent again since: the state is asked once more, and holds until it is gone.
        rows = Delivery.objects.filter(pk__in=batch, state__in=OVER).order_by("pk")
        locked = list(rows.select_for_update(skip_locked=True).values_list("pk", flat=True))
        Attempt.objects.filter(delivery__in=locked).delete()
        _, by_model = Delivery.objects.filter(pk__in=locked).delete()
    return by_model.get(Delivery._meta.label, 0)


def forget_mails() -> int:
    """Deletes mails that were written 30 days ago, whether they left or not. Returns how many."""
    deleted, _ = Mail.objects.filter(id__lt=first_uuid7_of(timezone.now() - MAILS_KEPT)).delete()
    return deleted


def forget_silence() -> int:
    """Deletes the notes of hosts that were silent, made a week ago, to which nothing is waiting to be sent. Returns how
    many."""
    waiting = Delivery.objects.filter(
        organization=OuterRef("organization"), host=OuterRef("host"), state=Delivery.State.PENDING
    )
    old = SilentHost.objects.filter(~Exists(waiting), id__lt=first_uuid7_of(timezone.now() - SILENCE_KEPT))
    deleted, _ = old.delete()
    return deleted
