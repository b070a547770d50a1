"""The queue for tests: wake-ups go into this process's memory, where they can be counted, and reach no worker."""

from collections.abc import Iterator
from typing import Any

import pytest
from kombu import Connection

from events import waking
from lti_platform.celery import app


@pytest.fixture(autouse=True)
def memory_queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Yields a function that says how many wake-ups wait; taking them away."""
    previous = app.conf.broker_url, app.conf.broker_transport_options
    app.conf.broker_url, app.conf.broker_transport_options = "memory://", {}
    monkeypatch.setattr(waking, "_pause_until", 0.0)

    def taken() -> int:
        with Connection("memory://") as connection:
            queue = connection.SimpleQueue("celery")
            count = queue.qsize()
            queue.clear()
            return count

    taken()
    yield taken
    taken()
    app.conf.broker_url, app.conf.broker_transport_options = previous
