"""Queue entries of this room. They carry no data: what there is to do is in the tables."""

import threading
from collections.abc import Callable
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


class _OneAtATime:
    """Runs a deed once in this process: who asks meanwhile makes it run again, and waits for nothing.

    Otherwise a server that hangs, or a burst, would take all of the worker's threads, which grades are sent by, too.
    """

    def __init__(self) -> None:
        self._running = threading.Lock()
        self._again = threading.Event()

    def run(self, deed: Callable[[], int]) -> int:
        """Returns the sum of what the runs return."""
        done = 0
        self._again.set()
        while self._again.is_set() and self._running.acquire(blocking=False):
            try:
                self._again.clear()
                done += deed()
            finally:
                self._running.release()
        return done


_webhooks, _grades, _orders, _questions = _OneAtATime(), _OneAtATime(), _OneAtATime(), _OneAtATime()


@worker_ready.connect
def look_for_work(**kwargs: Any) -> None:
    """A worker that starts does not wait for beat: the one before it may have died in the middle."""
    for task in (PROCESS_WEBHOOKS, GRADE_ATTENDANCE, CARRY_OUT):
        knock(task=task)


# No time limits of Celery's: a pool of threads knows none. Each run ends when nothing waits, or limits itself.
@shared_task(name=PROCESS_WEBHOOKS, ignore_result=True)
def process_webhooks() -> None:
    """Processes what meeting servers told; whoever keeps a webhook asks for it, and beat for what was left behind."""
    done = _webhooks.run(process_what_waits)
    if done:
        logger.info("meeting_webhooks_processed", webhooks=done)


@shared_task(name=GRADE_ATTENDANCE, ignore_result=True)
def grade_attendance() -> None:
    """Makes scores of attendance that has changed; beat asks for what was left behind."""
    written = _grades.run(grade_what_is_due)
    if written:
        logger.info("attendance_graded", scores=written)


@shared_task(name=CARRY_OUT, ignore_result=True)
def carry_out() -> None:
    """Tells meeting servers of new titles and deletions; beat asks for what has to be tried again."""
    _orders.run(tell_servers)


@shared_task(name="recordings.reconcile", ignore_result=True)
def reconcile() -> None:
    """Asks meeting servers for what their webhooks missed; beat asks for it every minute."""
    asked = _questions.run(ask_servers)
    if asked:
        logger.info("meeting_servers_asked", servers=asked)


@shared_task(name="recordings.tidy", ignore_result=True)
def tidy() -> None:
    """Deletes recordings and webhooks that are past their age; beat asks for it every hour."""
    logger.info("recordings_tidied", recordings=delete_old(), webhooks=forget_old())
