"""Queue entries of this room."""

from dataclasses import asdict

import structlog
from celery import shared_task

from launches.retention import purge as forget_what_is_old

logger = structlog.get_logger(__name__)


@shared_task(name="launches.purge", ignore_result=True)
def purge() -> None:
    """Forgets what is past its age; beat asks for it every hour."""
    logger.info("purged", **asdict(forget_what_is_old()))
