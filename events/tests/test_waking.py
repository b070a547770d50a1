"""Wake-ups: after commit, once, and harmless without a broker."""

import logging
import socket
import threading
import time
from typing import Any

import pytest
from django.db import connection, transaction

from events import waking
from events.deliveries import Outgoing, enqueue
from events.models import Delivery
from events.tasks import deliver_due as task
from events.tests.sink import KIND, a_delivery, posting_to
from events.waking import knock, wake_up
from lti_platform.celery import app
from organizations.identifiers import uuid7
from tests.factories import OrganizationFactory
from tests.loopback import Reply, serve
from tests.stack import free_port

pytestmark = pytest.mark.django_db(transaction=True)


def outgoing() -> Outgoing:
    organization: Any = OrganizationFactory()
    return Outgoing(organization.pk, uuid7(), uuid7(), 1)


def test_a_worker_is_woken_after_commit_and_once(memory_queue):
    with transaction.atomic():
        enqueue(KIND, [outgoing()])
        enqueue(KIND, [outgoing()])
        wake_up()
        assert memory_queue() == 0
    assert memory_queue() == 1


def test_nobody_is_woken_by_what_was_rolled_back(memory_queue):
    with transaction.atomic():
        enqueue(KIND, [outgoing()])
        transaction.set_rollback(True)
    assert memory_queue() == 0
    assert not Delivery.objects.exists()


@pytest.fixture
def silent_redis():
    """A port that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(50)
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"


@pytest.mark.parametrize("broker", ["nobody there", "silent", "unknown host"])
def test_without_a_broker_nothing_raises_and_nobody_waits(broker, silent_redis, caplog):
    app.conf.broker_url = {
        "nobody there": f"redis://127.0.0.1:{free_port()}/0",
        "silent": silent_redis,
        "unknown host": "redis://redis.invalid:6379/0",
    }[broker]
    caplog.set_level(logging.WARNING)
    started = time.monotonic()
    enqueue(KIND, [outgoing()])
    first = time.monotonic() - started
    for _ in range(100):
        enqueue(KIND, [outgoing()])
    assert first < 8
    assert time.monotonic() - started < first + 15  # the pause: a hundred more knocks would take longer
    assert sum("broker_unreachable" in record.getMessage() for record in caplog.records) == 1
    assert Delivery.objects.filter(state="pending").count() == 101


def test_after_the_pause_the_broker_is_tried_again(memory_queue, monkeypatch):
    app.conf.broker_url = f"redis://127.0.0.1:{free_port()}/0"
    assert not knock()
    app.conf.broker_url = "memory://"
    assert not knock()
    monkeypatch.setattr(waking, "_pause_until", time.monotonic() - 1)
    assert knock()
    assert memory_queue() == 1


# ------------------------------------------------------------------------------------------------------- the task


def test_the_task_delivers(settings):
    settings.OUTBOUND_ALLOW_HTTP, settings.OUTBOUND_ALLOWED_PRIVATE_HOSTS = True, ["127.0.0.1"]
    a_delivery(OrganizationFactory()).save()
    with serve(lambda received: Reply()) as server, posting_to(server.url):
        task()
    assert Delivery.objects.get().state == "delivered"


def test_the_task_sees_to_a_retry_that_is_near(settings, memory_queue):
    settings.OUTBOUND_ALLOW_HTTP, settings.OUTBOUND_ALLOWED_PRIVATE_HOSTS = True, ["127.0.0.1"]
    settings.DELIVERY_FIRST_RETRY_SECONDS = 2
    a_delivery(OrganizationFactory()).save()
    with serve(lambda received: Reply(503)) as server, posting_to(server.url):
        task()
        task()  # the alarm is set already
    assert memory_queue() == 1


def test_a_second_task_in_the_same_process_leaves_the_work_to_the_first(settings):
    settings.OUTBOUND_ALLOW_HTTP, settings.OUTBOUND_ALLOWED_PRIVATE_HOSTS = True, ["127.0.0.1"]
    organization = OrganizationFactory()
    a_delivery(organization).save()
    second_is_over = threading.Event()

    def second_task() -> None:
        task()
        connection.close()

    def answer(received: object) -> Reply:
        if not second_is_over.is_set():
            a_delivery(organization).save()
            connection.close()
        second = threading.Thread(target=second_task)
        second.start()
        second.join(5)
        if not second.is_alive():
            second_is_over.set()
        return Reply()

    with serve(answer) as server, posting_to(server.url):
        task()
    assert second_is_over.is_set()
    assert set(Delivery.objects.values_list("state", flat=True)) == {"delivered"}
