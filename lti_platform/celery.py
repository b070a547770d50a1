"""The Celery application. The queue only wakes workers up: everything there is to do is a row in the database."""

import os
from typing import Any

from celery import Celery, signals
from django_structlog.celery.steps import DjangoStructLogInitStep

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "lti_platform.settings")

app = Celery("lti_platform")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.steps["worker"].add(DjangoStructLogInitStep)


@signals.setup_logging.connect
def keep_our_logging(**kwargs: Any) -> None:
    """Celery leaves logging alone when somebody listens to this signal: settings have configured it already."""
