"""What is forgotten, and when."""

from datetime import timedelta

import pytest
import time_machine
from django.contrib.sessions.models import Session
from django.utils import timezone

from events.log import SYSTEM, record
from events.models import Event
from launches import retention
from launches.models import Launch, RefusalTally
from launches.tasks import purge
from organizations.identifiers import first_uuid7_of, uuid7
from tests.factories import OrganizationFactory

pytestmark = pytest.mark.django_db

NOW = timezone.now()


def _launch(organization, days):
    with time_machine.travel(NOW - timedelta(days=days)):
        return Launch.objects.create(organization=organization, credential=uuid7(), nonce="n")


def _tally(organization, days):
    return RefusalTally.objects.create(
        organization=organization, credential=uuid7(), minute=NOW - timedelta(days=days), count=3
    )


def test_launches_go_by_the_days_of_their_organization(settings, monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 2)
    settings.LAUNCH_LOG_DAYS = 30
    default, short = OrganizationFactory(), OrganizationFactory(launch_log_days=5)
    kept = {_launch(default, 29), _launch(default, 0), _launch(short, 4)}
    for _ in range(5):
        _launch(default, 31)
    _launch(short, 6)
    forgotten = retention.purge()
    assert forgotten.launches == 6
    assert set(Launch.objects.all()) == kept
    assert retention.purge().launches == 0


def test_a_nonce_outlives_its_window_whatever_is_set(settings):
    settings.LAUNCH_LOG_DAYS = 0
    launch = _launch(OrganizationFactory(), 0.5)
    purge()
    assert Launch.objects.get() == launch


@pytest.mark.usefixtures("events_of_any_kind")
def test_counts_events_and_sessions_go_too():
    organization = OrganizationFactory(launch_log_days=10)
    kept = _tally(organization, 9)
    _tally(organization, 11)
    for days in (401, 399):
        with time_machine.travel(NOW - timedelta(days=days)):
            record(organization, "score.changed", actor=SYSTEM, subject_kind="score", subject_id="1", data={"d": days})
    for key, days in (("old", -1), ("new", 1)):
        Session.objects.create(session_key=key, session_data="", expire_date=NOW + timedelta(days=days))
    forgotten = retention.purge()
    assert (forgotten.refusal_tallies, forgotten.events, forgotten.sessions) == (1, 1, 1)
    assert RefusalTally.objects.get() == kept
    assert Event.objects.get().data == {"d": 399}
    assert Session.objects.get().session_key == "new"


def test_ids_before_a_moment_are_smaller():
    with time_machine.travel("2030-01-01T00:00:00Z", tick=False) as clock:
        moment = timezone.now()
        clock.shift(timedelta(milliseconds=-1))
        before = [uuid7() for _ in range(50)]
        clock.shift(timedelta(milliseconds=1))
        after = [uuid7() for _ in range(50)]
    assert max(before) < first_uuid7_of(moment) <= min(after)
