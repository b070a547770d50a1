"""/metrics: what all web processes observed, and how far behind the outbox is."""

import os
from collections.abc import Iterator

from django.db import DatabaseError
from django.db.models import Count, Min
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest, multiprocess
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from events.models import Delivery


class OutboxCollector(Collector):
    """How many deliveries wait, and since when the oldest of them could have been sent, read at scrape time."""

    def collect(self) -> Iterator[Metric]:
        now = timezone.now()
        pending = Delivery.objects.filter(state=Delivery.State.PENDING)
        waiting = GaugeMetricFamily(
            "lti_platform_deliveries_pending", "Deliveries not sent yet (held ones included).", labels=["kind"]
        )
        overdue = GaugeMetricFamily(
            "lti_platform_delivery_overdue_seconds", "Since when the oldest due delivery waits.", labels=["kind"]
        )
        try:
            counts = {
                row["kind"]: row["number"] for row in pending.values("kind").annotate(number=Count("id")).order_by()
            }
            oldest = {
                row["kind"]: row["oldest"]
                for row in pending.filter(due_at__lte=now).values("kind").annotate(oldest=Min("due_at")).order_by()
            }
        except DatabaseError:
            # Without a database the processes' own figures are still worth having; /health/ready tells of the database.
            return
        for kind in Delivery.Kind.values:
            waiting.add_metric([kind], counts.get(kind, 0))
            overdue.add_metric([kind], (now - oldest[kind]).total_seconds() if kind in oldest else 0)
        yield waiting
        yield overdue


def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus' text format; of all web processes with PROMETHEUS_MULTIPROC_DIR, which gunicorn.conf.py sets."""
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        processes = CollectorRegistry()
        multiprocess.MultiProcessCollector(processes)  # type: ignore[no-untyped-call]
    else:
        processes = REGISTRY
    outbox = CollectorRegistry()
    outbox.register(OutboxCollector())
    return HttpResponse(generate_latest(processes) + generate_latest(outbox), content_type=CONTENT_TYPE_LATEST)
