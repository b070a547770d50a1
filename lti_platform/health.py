"""What ops and orchestrators ask: is it alive, can it serve, how is it doing."""

from collections.abc import Callable

from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from kombu import Connection

from organizations.identifiers import random_token


def live(request: HttpRequest) -> HttpResponse:
    """The process answers."""
    return JsonResponse({"status": "ok"})


def _database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()


def _cache() -> None:
    key, value = "health", random_token(8)
    cache.set(key, value, 10)
    if cache.get(key) is None:
        raise ConnectionError("the cache does not keep what it is given")


def _broker() -> None:
    with Connection(
        settings.CELERY_BROKER_URL, connect_timeout=1, transport_options=settings.CELERY_BROKER_TRANSPORT_OPTIONS
    ) as broker:
        broker.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=1)


CHECKS: dict[str, Callable[[], None]] = {"database": _database, "cache": _cache, "broker": _broker}


def state_of(check: Callable[[], None]) -> str:
    """`ok`, or `unavailable: <kind of error>`; the error's text could name hosts and credentials."""
    try:
        check()
    except Exception as error:  # noqa: BLE001 - whatever is wrong with a dependency is the answer, not a failure
        return f"unavailable: {type(error).__name__}"
    return "ok"


def ready(request: HttpRequest) -> HttpResponse:
    """Each dependency's state. 503 only without the database: cache and broker can wait (contract §3)."""
    states = {name: state_of(check) for name, check in CHECKS.items()}
    ok = states["database"] == "ok"
    return JsonResponse({"status": "ok" if ok else "unavailable", **states}, status=200 if ok else 503)
