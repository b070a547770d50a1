"""Queue entries of this room. They carry no data: what there is to do is in the tables."""

import threading
from typing import Any

import structlog
from celery import shared_task
from celery.signals import worker_ready

from events.waking import knock
from recordings.attendance_grades import grade_what_is_due
from recordings.library import CARRY_OUT, delete_old
from recordings.library import carry_out as tell_servers
from recordings.meetings import GRADE_ATTENDANCE
from recordings.receiving import PROCESS_WEBHOOKS, forget_old
from recordings.receiving import process_webhooks as process_what_waits
from recordings.reconciling import reconcile as ask_servers

logger = structlog.get_logger(__name__)

_running = threading.Lock()
_again = threading.Event()
_asking = threading.Lock()


@worker_ready.connect
def look_for_work(**kwargs: Any) -> None:
    """A worker that starts does not wait for beat: the one before it may have died in the middle."""
    for task in (PROCESS_WEBHOOKS, GRADE_ATTENDANCE, CARRY_OUT):
        knock(task=task)


# No time limits of Celery's: a pool of threads knows none. Each run ends when nothing waits, or limits itself.
@shared_task(name=PROCESS_WEBHOOKS, ignore_result=True)
def process_webhooks() -> None:
    """Processes what meeting servers told; whoever keeps a webhook asks for it, and beat for what was left behind.

    One run in a process is enough: a second call only makes the first look again.
    """
    _again.set()
    while _again.is_set() and _running.acquire(blocking=False):
        try:
            _again.clear()
            done = process_what_waits()
        finally:
            _running.release()
        if done:
            logger.info("meeting_webhooks_processed", webhooks=done)


@shared_task(name=GRADE_ATTENDANCE, ignore_result=True)
def grade_attendance() -> None:
    """Makes scores of attendance that has changed; beat asks for what was left behind."""
    written = grade_what_is_due()
    if written:
        logger.info("attendance_graded", scores=written)


@shared_task(name=CARRY_OUT, ignore_result=True)
def carry_out() -> None:
    """Tells meeting servers of new titles and deletions; beat asks for what has to be tried again."""
    tell_servers()


@shared_task(name="recordings.reconcile", ignore_result=True)
def reconcile() -> None:
    """Asks meeting servers for what their webhooks missed; beat asks for it every minute. One run in a process."""
    if not _asking.acquire(blocking=False):
        return
    try:
        asked = ask_servers()
    finally:
        _asking.release()
    if asked:
        logger.info("meeting_servers_asked", servers=asked)


@shared_task(name="recordings.tidy", ignore_result=True)
def tidy() -> None:
    """Deletes recordings and webhooks that are past their age; beat asks for it every hour."""
    logger.info("recordings_tidied", recordings=delete_old(), webhooks=forget_old())
