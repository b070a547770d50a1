"""Telling a worker, after commit, that something is due. A wake-up that gets lost costs seconds: beat sweeps."""

import threading
import time

import structlog
from celery import Celery, current_app
from django.db import transaction
from kombu import Connection
from kombu.pools import producers

logger = structlog.get_logger(__name__)

DELIVER_DUE = "events.deliver_due"
BROKER_SECONDS = 0.4  # for the connection, and for each answer
LONGEST_SECONDS = 0.9  # for all of it
# After a failure nobody knocks for so long, so that a hundred requests do not each wait for a broker that is away.
PAUSE_SECONDS = 5.0

_pause_until = 0.0
_pause_lock = threading.Lock()


def wake_up() -> None:
    """After this transaction's commit (once, however often called), tells a worker to look for due deliveries.

    Never raises and never waits longer than a second: launches and grading go on without a broker.
    """
    connection = transaction.get_connection()
    if connection.in_atomic_block and any(entry[1] is knock for entry in connection.run_on_commit):
        return
    transaction.on_commit(knock)


def knock(countdown: float | None = None, *, task: str = DELIVER_DUE, arguments: tuple[str, ...] = ()) -> bool:
    """Sends the wake-up now, or for `countdown` seconds from now: for what is due, or for another task with the ids it
    takes. Returns whether the broker took it."""
    global _pause_until
    if time.monotonic() < _pause_until:
        return False
    taken: list[bool] = []
    failed: list[str] = []

    def publish() -> None:
        try:
            _publish(countdown, task, arguments)
            taken.append(True)
        # Each broker has errors of its own kind, and none of them may fail what has been committed.
        except Exception as error:  # noqa: BLE001
            failed.append(type(error).__name__)

    # In a thread, since looking up the broker's name may take many seconds, and nothing else bounds that.
    thread = threading.Thread(target=publish, daemon=True, name="wake-up")
    thread.start()
    thread.join(LONGEST_SECONDS)
    if taken:
        return True
    with _pause_lock:
        _pause_until = time.monotonic() + PAUSE_SECONDS
    logger.warning("broker_unreachable", reason=failed[0] if failed else "no answer in time")
    return False


def _publish(countdown: float | None, task: str, arguments: tuple[str, ...]) -> None:
    app: Celery = current_app._get_current_object()  # type: ignore[attr-defined]
    connection = _connection(app)
    with producers[connection].acquire(block=True, timeout=BROKER_SECONDS) as producer:
        app.send_task(
            task, arguments, producer=producer, countdown=countdown, retry=False, ignore_result=True, expires=600
        )


def _connection(app: Celery) -> Connection:
    """The broker's connection with short waits: the application's own would try to reach it for ever."""
    options = {
        **app.conf.broker_transport_options,
        "socket_connect_timeout": BROKER_SECONDS,
        "socket_timeout": BROKER_SECONDS,
        "retry_on_timeout": False,
        "max_retries": 0,
        "interval_start": 0,
        "interval_step": 0,
        "interval_max": 0,
    }
    return app.connection_for_write(connect_timeout=BROKER_SECONDS, transport_options=options)
