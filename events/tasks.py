"""Queue entries of this room. They carry no data: what there is to do is in the tables."""

import threading
import time
from datetime import timedelta
from typing import Any

import structlog
from celery import shared_task
from celery.signals import worker_ready, worker_shutting_down
from django.db import DatabaseError
from django.db.models import Min
from django.utils import timezone

from events.mails import SEND_MAILS, send_due_mails
from events.models import Delivery
from events.senders import registered_kinds
from events.sending import deliver_due as send_what_is_due
from events.waking import DELIVER_DUE, knock

logger = structlog.get_logger(__name__)

# What becomes due within this time gets a wake-up of its own; the rest is left to beat, which sweeps every ten seconds.
NEAR = timedelta(seconds=10)

_running = threading.Lock()
_again = threading.Event()
_stop = threading.Event()
_next_knock = 0.0


@worker_shutting_down.connect
def stop_sending(**kwargs: Any) -> None:
    """A worker that is told to stop claims nothing more; what is in the air lands and is written down."""
    _stop.set()


@worker_ready.connect
def look_for_work(**kwargs: Any) -> None:
    """A worker that starts does not wait for beat: the one before it may have died in the middle."""
    knock()


# No time limits of Celery's: a pool of threads knows none. The run limits itself (sending.TIME_LIMIT), and each request
# is limited by the outbound client.
@shared_task(name=DELIVER_DUE, ignore_result=True)
def deliver_due() -> None:
    """Sends everything that is due. Harmless however often, and wherever else, it runs.

    One run in a process is enough, with its twenty requests in flight: a second call only makes the first look again.
    """
    _again.set()
    while _again.is_set() and not _stop.is_set() and _running.acquire(blocking=False):
        try:
            _again.clear()
            tally = send_what_is_due(stop=_stop)
        except DatabaseError:
            # Its connection was cut off, say: what was under way waits for its lease, the rest need not wait for beat.
            knock(countdown=1)
            raise
        finally:
            _running.release()
        if tally.verdicts:
            logger.info("deliveries_sent", **{verdict.value: count for verdict, count in tally.verdicts.items()})
        if tally.unfinished and not _stop.is_set():
            knock(countdown=1)
        else:
            _knock_for_what_is_near()


def _knock_for_what_is_near() -> None:
    global _next_knock
    now = timezone.now()
    nearest = Delivery.objects.filter(
        state=Delivery.State.PENDING, claim__isnull=True, due_at__lte=now + NEAR, kind__in=registered_kinds()
    ).aggregate(nearest=Min("due_at"))["nearest"]
    if nearest is None:
        return
    # What is due and was not taken waits for another one under way, or for a host that rests: no hurry.
    wait = max((nearest - now).total_seconds(), 1.0)
    moment = time.monotonic() + wait
    # One alarm at a time: every run would set another one for the same moment.
    if time.monotonic() < _next_knock <= moment + 0.1:
        return
    if knock(countdown=wait):
        _next_knock = moment


# No time limits: one could cut a mail off between leaving and being noted. The mail server's time-out bounds it.
@shared_task(name=SEND_MAILS, ignore_result=True)
def send_mails() -> None:
    """Sends the mails that are due; beat asks for it every minute, and whoever writes one at once."""
    send_due_mails()
