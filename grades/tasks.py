"""Queue entries of this room. They carry no data: what there is to do is in the tables."""

import structlog
from celery import shared_task

from grades.digest import write_due_digests

logger = structlog.get_logger(__name__)


@shared_task(name="grades.write_digests", ignore_result=True, soft_time_limit=300, time_limit=330)
def write_digests() -> None:
    """Writes the digests whose hour has come; beat asks every ten minutes."""
    written = write_due_digests()
    if written:
        logger.info("digests_looked_at", organizations=written)
