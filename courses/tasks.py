"""Queue entries of this room: reading rosters. Who wants which is in the tables; ids are all that travels."""

import threading
import time
from uuid import UUID

import structlog
from celery import shared_task
from django.utils import timezone

from courses.models import RosterSync
from courses.roster import SYNC_ROSTER, due_lms_courses
from courses.roster import sync_roster as read_roster

logger = structlog.get_logger(__name__)

RUN_SECONDS = 50.0
AT_ONCE = 200
# What all courses of a platform would meet (lti.v1p3.services.judge).
TROUBLE = {"no_answer", "server_error", "rate_limited", "too_slow"}

_running = threading.Lock()


# No time limits of Celery's: a pool of threads knows none. A reading limits itself (roster.TIME_LIMIT).
@shared_task(name=SYNC_ROSTER, ignore_result=True)
def sync_roster(lms_course_id: str) -> None:
    """Reads one LMS course's roster, if somebody still waits for it or it is old."""
    read_roster(UUID(lms_course_id))


@shared_task(name="courses.refresh_rosters", ignore_result=True)
def refresh_rosters() -> None:
    """Reads the rosters that are due; beat asks for it every minute. Harmless however often, and wherever, it runs.

    One run in a process is enough. A platform that has trouble is left alone until the next run: it must not keep the
    others' rosters waiting.
    """
    if not _running.acquire(blocking=False):
        return
    try:
        _refresh(time.monotonic() + RUN_SECONDS)
    finally:
        _running.release()


def _refresh(deadline: float) -> None:
    in_trouble: set[UUID] = set()
    for lms_course in due_lms_courses(timezone.now(), AT_ONCE):
        deployment = lms_course.deployment
        if deployment is None or deployment.registration_id in in_trouble:
            continue
        if time.monotonic() > deadline:
            return
        try:
            sync = read_roster(lms_course.pk)
        # One roster that breaks must not keep the others from being read.
        except Exception as error:
            logger.error("roster_refresh_failed", lms_course=str(lms_course.pk), exc_info=error)
            continue
        if sync is not None and sync.state == RosterSync.State.FAILED and sync.reason_code in TROUBLE:
            in_trouble.add(deployment.registration_id)
