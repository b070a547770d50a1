"""What orchestrators and Prometheus ask."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections
from django.test import Client
from django.utils import timezone

from events.models import Delivery
from lti_platform import health
from organizations.identifiers import uuid7
from tests import factories


def test_live_asks_nobody(client: Client) -> None:
    response = client.get("/health/live")  # without database access: the test has none

    assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.django_db
def test_ready_names_each_dependency(client: Client) -> None:
    response = client.get("/health/ready")

    assert (response.status_code, response.json()) == (
        200,
        {"status": "ok", "database": "ok", "cache": "ok", "broker": "ok"},
    )


def broken() -> None:
    raise ConnectionError("redis://user:hunter2@cache.internal:6379 refused")


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["cache", "broker"])
def test_the_rest_can_wait(client: Client, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(health.CHECKS, name, broken)

    response = client.get("/health/ready")

    assert response.status_code == 200
    assert response.json()["status"] == "ok"
    assert response.json()[name] == "unavailable: ConnectionError"
    assert "hunter2" not in response.content.decode()


@pytest.mark.django_db
def test_without_the_database_it_is_not_ready(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(health.CHECKS, "database", broken)

    response = client.get("/health/ready")

    assert response.status_code == 503
    assert response.json()["status"] == "unavailable"


def test_a_redis_that_is_away_is_named(settings: object) -> None:
    settings.CELERY_BROKER_URL = "redis://127.0.0.1:1/0"  # type: ignore[attr-defined]
    settings.CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_connect_timeout": 0.5}  # type: ignore[attr-defined]

    assert health.state_of(health.CHECKS["broker"]).startswith("unavailable: ")


@pytest.mark.django_db
def test_metrics_count_requests_by_view_and_status(client: Client) -> None:
    client.get("/no-such-page")
    client.get("/health/live")

    text = client.get("/metrics").content.decode()

    assert 'lti_platform_request_seconds_count{method="GET",status="404",view="unresolved"}' in text
    assert 'lti_platform_request_seconds_count{method="GET",status="200",view="health-live"}' in text
    assert "no-such-page" not in text


@pytest.mark.django_db
def test_metrics_say_how_far_behind_the_outbox_is(client: Client) -> None:
    assert 'lti_platform_deliveries_pending{kind="grade"} 0.0' in client.get("/metrics").content.decode()
    organization: Any = factories.OrganizationFactory()
    now = timezone.now()
    for due_at, state in ((now - timedelta(minutes=10), "pending"), (None, "pending"), (now, "delivered")):
        Delivery.objects.create(
            organization=organization,
            kind=Delivery.Kind.GRADE,
            target_id=organization.id,
            source_id=uuid7(),
            sequence=1,
            due_at=due_at,
            state=state,
            give_up_at=now,
        )

    lines = client.get("/metrics").content.decode().splitlines()

    assert 'lti_platform_deliveries_pending{kind="grade"} 2.0' in lines
    (overdue,) = [line for line in lines if line.startswith('lti_platform_delivery_overdue_seconds{kind="grade"}')]
    assert 599 < float(overdue.split()[-1]) < 660


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no server that ends connections")
def test_a_connection_that_the_server_ended_is_noticed_without_asking() -> None:
    here = connections["default"]
    here.ensure_connection()
    assert here.is_usable()
    with here.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        ours = cursor.fetchone()[0]
    other = here.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [ours])
    other.close()

    assert not here.is_usable()
    here.close()
    with here.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)
