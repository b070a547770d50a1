"""Grades a second of one worker process, beside concurrency ÷ latency of the gradebook they go to."""

import json
import os
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

from django.db import transaction

from bench import data, servers
from courses.models import Assignment, LmsCourse, ResourceLink
from events.models import Delivery
from events.sending import IN_FLIGHT
from grades.models import GradebookCell, Score
from grades.outbox import enqueue_scores
from organizations.models import LtiKey, Person

LATENCY_MS = 50


def make_deliveries(tenant: data.Tenant, url: str, count: int) -> None:
    """One released score, one cell and one pending delivery for each of `count` people."""
    key = LtiKey.objects.select_related("installation__organization").get(consumer_key=tenant.consumer_key)
    installation = key.installation
    installation.service_hosts = ["127.0.0.1"]
    installation.save(update_fields=["service_hosts"])
    assignment = Assignment.objects.select_related("course").get(pk=tenant.assignment_id)
    course = LmsCourse.objects.create(installation=installation, context_id="deliveries", course=assignment.course)
    link = ResourceLink.objects.create(lms_course=course, resource_link_id="deliveries", assignment=assignment)
    people = Person.objects.bulk_create(
        Person(organization=installation.organization, name=f"Student {number}") for number in range(count)
    )
    scores = Score.objects.bulk_create(
        Score(assignment=assignment, person=person, points=Decimal(number % 11)) for number, person in enumerate(people)
    )
    cells = GradebookCell.objects.bulk_create(
        GradebookCell(
            resource_link=link,
            person=person,
            assignment=assignment,
            installation=installation,
            lti_key=key,
            outcome_service_url=url,
            result_sourcedid=f"sourcedid-{number}",
        )
        for number, person in enumerate(people)
    )
    with transaction.atomic():
        enqueue_scores(scores, cells)


def measure(environment: dict[str, str], tenant: data.Tenant, count: int) -> None:
    """Prints how fast one worker empties an outbox of `count` grades."""
    port = servers.free_port()
    make_deliveries(tenant, f"http://127.0.0.1:{port}/outcomes", count)
    command = [sys.executable, "-m", "celery", "-A", "lti_platform", "worker"]
    with tempfile.TemporaryDirectory() as folder:
        variables = {
            **os.environ,
            **environment,
            "VAR_DIR": folder,
            "OUTBOUND_ALLOW_HTTP": "true",
            "OUTBOUND_ALLOWED_PRIVATE_HOSTS": "127.0.0.1",
        }
        sink_command = [sys.executable, "-m", "bench.sink", str(port), str(LATENCY_MS)]
        with (
            servers.process(sink_command, variables) as (sink, sink_log),
            servers.process(command, variables) as (worker, worker_log),
        ):
            subprocess.run(
                [sys.executable, "-c", "from events.waking import knock; import django; django.setup(); knock()"],
                env=variables,
                cwd=servers.ROOT,
                check=True,
            )
            waited = wait_until_delivered(count, worker_log)
            memory = peak_memory_mb(worker.pid)
            cpu = cpu_seconds(worker.pid) / count * 1000
            sink.terminate()
            sink.wait(10)
            figures = next(json.loads(line) for line in sink_log.read_text().splitlines() if line.startswith("{"))
    ceiling = IN_FLIGHT / (LATENCY_MS / 1000)
    rate = figures["taken"] / figures["seconds"]
    print(f"Deliveries: one worker process, {IN_FLIGHT} in flight, a gradebook that answers after {LATENCY_MS} ms")
    print(f"  {rate:.0f} grades/s of {ceiling:.0f}: {rate / ceiling:.2f}; at most {figures['most']} in flight at once,")
    print(f"  {figures['connections']} connections for {figures['taken']} requests, {memory:.0f} MB, {waited:.1f} s,")
    print(f"  {cpu:.2f} ms of the worker's CPU a grade, its start included")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_until_delivered(count: int, worker_log: Path) -> float:
    started = time.monotonic()
    while Delivery.objects.filter(state=Delivery.State.DELIVERED).count() < count:
        if time.monotonic() - started > 120:
            states = list(Delivery.objects.values_list("state", "last_error")[:3])
            raise SystemExit(f"Deliveries do not arrive: {states}\n{worker_log.read_text()[-3000:]}")
        time.sleep(0.5)
    return time.monotonic() - started


def peak_memory_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0
