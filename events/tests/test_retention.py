"""Which deliveries are forgotten, and which never are."""

import threading
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import time_machine
from django.db import connection, transaction
from django.utils import timezone

from events import retention
from events.models import Attempt, Delivery, Mail, SilentHost
from events.retention import SILENCE_KEPT, forget_deliveries, forget_mails, forget_silence
from launches.retention import purge
from organizations.identifiers import first_uuid7_of, uuid7
from tests.factories import OrganizationFactory

pytestmark = pytest.mark.django_db
only_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")

NOW = timezone.now()


@pytest.fixture(autouse=True)
def ninety_days(settings):
    settings.DELIVERY_LOG_DAYS = 90


@pytest.fixture
def organization() -> Any:
    return OrganizationFactory()


def made(
    organization: Any,
    days: float,
    state: str = "delivered",
    *,
    cell: UUID | None = None,
    score: UUID | None = None,
    tried: float | None = None,
    **values: Any,
) -> Delivery:
    """A delivery that was made so many days ago, and last tried then (or `tried` days ago)."""
    moment: datetime = NOW - timedelta(days=days)
    with time_machine.travel(moment, tick=False):
        delivery = Delivery.objects.create(
            **{
                "organization": organization,
                "kind": "grade",
                "target_id": cell or uuid7(),
                "source_id": score or cell or uuid7(),
                "sequence": 1,
                "state": state,
                "give_up_at": moment,
                **values,
            }
        )
        Attempt.objects.create(delivery=delivery, number=1)
    if tried is not None:
        Attempt.objects.create(delivery=delivery, number=2, started_at=NOW - timedelta(days=tried))
    return delivery


def left() -> set[UUID]:
    return set(Delivery.objects.values_list("pk", flat=True))


@pytest.mark.parametrize("state", ["delivered", "failed", "superseded", "cancelled"])
def test_webhooks_that_are_over_go_with_their_attempts(organization, state):
    kept = made(organization, 89, state, kind="webhook")
    made(organization, 91, state, kind="webhook")
    assert forget_deliveries() == 1
    assert left() == {kept.pk}
    assert Attempt.objects.get().delivery == kept
    assert forget_deliveries() == 0


@pytest.mark.parametrize("values", [{"due_at": NOW}, {"due_at": None}, {"claim": uuid7(), "claimed_until": NOW}])
@pytest.mark.parametrize("kind", ["grade", "webhook"])
def test_what_waits_never_goes(organization, kind, values):
    cell = uuid7()
    waiting = made(organization, 1000, "pending", kind=kind, cell=cell, **values)
    made(organization, 999, "pending", kind=kind, cell=cell, sequence=2)
    assert forget_deliveries() == 0
    assert waiting.pk in left()


def test_the_latest_of_every_cell_stays(organization):
    cell, other = uuid7(), uuid7()
    for version in (1, 2, 3):
        made(organization, 200 - version, cell=cell, sequence=version)
    latest = made(organization, 150, cell=cell, sequence=4)
    only = made(organization, 300, "failed", cell=other)
    # The cell showed another assignment for a while: that score's latest stays as well.
    of_another_score = made(organization, 400, cell=cell, score=uuid7())
    assert forget_deliveries() == 3
    assert left() == {latest.pk, only.pk, of_another_score.pk}


def test_the_latest_that_arrived_stays_behind_one_that_failed(organization):
    cell = uuid7()
    made(organization, 300, cell=cell, sequence=1)
    arrived = made(organization, 299, cell=cell, sequence=2)
    made(organization, 298, "superseded", cell=cell, sequence=3)
    failed = made(organization, 297, "failed", cell=cell, sequence=4)
    assert forget_deliveries() == 2
    assert left() == {arrived.pk, failed.pk}


def test_what_was_tried_lately_stays(organization):
    made(organization, 200, kind="webhook", tried=91)
    again = made(organization, 200, kind="webhook", tried=89)
    assert forget_deliveries() == 1
    assert left() == {again.pk}


def test_batches_walk_over_what_stays(organization, monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 2)
    cell = uuid7()
    kept = set()
    for number in range(5):
        kept.add(made(organization, 200, "failed").pk)
        made(organization, 200, kind="webhook")
        made(organization, 200, cell=cell, sequence=number + 1)
    kept.add(made(organization, 100, cell=cell, sequence=9).pk)
    assert forget_deliveries() == 10
    assert left() == kept


def test_the_age_is_a_setting_and_at_least_a_day(organization, settings):
    settings.DELIVERY_LOG_DAYS = 0
    kept = made(organization, 0.9, kind="webhook")
    made(organization, 1.1, kind="webhook")
    assert purge().deliveries == 1
    assert left() == {kept.pk}


def test_mails_go_after_a_month(organization):
    for days in (31, 29):
        with time_machine.travel(NOW - timedelta(days=days)):
            Mail.objects.create(
                organization=organization, kind="grade_digest", once=str(days), about=uuid7(), address="a@b.example"
            )
    assert forget_mails() == 1
    assert Mail.objects.get().once == "29"


@pytest.mark.django_db(transaction=True)
@only_postgresql
def test_one_that_is_sent_again_at_that_moment_stays(organization):
    first, second = made(organization, 200, kind="webhook"), made(organization, 199, kind="webhook")
    holding, done = threading.Event(), threading.Event()

    def send_again() -> None:
        try:
            with transaction.atomic():
                Delivery.objects.select_for_update().get(pk=first.pk)
                holding.set()
                done.wait(timeout=60)
                Delivery.objects.filter(pk=first.pk).update(state="pending", due_at=timezone.now())
        finally:
            connection.close()

    thread = threading.Thread(target=send_again)
    thread.start()
    assert holding.wait(timeout=60)
    try:
        assert forget_deliveries() == 1
    finally:
        done.set()
        thread.join()
    assert left() == {first.pk}
    assert first.tries.count() == 1
    assert second.pk not in left()
    assert forget_deliveries() == 0


def test_silence_is_forgotten_where_nothing_waits(organization):
    ages = {"gone.example": SILENCE_KEPT * 2, "waits.example": SILENCE_KEPT * 3, "new.example": SILENCE_KEPT / 2}
    for host, age in ages.items():
        made_at = first_uuid7_of(timezone.now() - age)
        SilentHost.objects.create(id=made_at, organization=organization, host=host, unanswered=1)
    Delivery.objects.create(
        organization=organization, kind="grade", target_id=uuid7(), source_id=uuid7(), sequence=1,
        host="waits.example", give_up_at=timezone.now(),
    )  # fmt: skip
    assert forget_silence() == 1
    assert sorted(SilentHost.objects.values_list("host", flat=True)) == ["new.example", "waits.example"]
