"""Secrets: shown for a reason, replaced with an overlap."""

from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from events.models import Event
from organizations import credentials
from organizations.models import LtiKey
from tests.factories import LtiKeyFactory, UserFactory

pytestmark = pytest.mark.django_db


def test_a_secret_is_shown_for_a_reason_which_is_written_down():
    key, owner = LtiKeyFactory(), UserFactory(name="Ada")
    assert credentials.reveal_secret(key, owner, "  new\n Moodle ") == key.secret
    event = Event.objects.get()
    assert event.type == "key.revealed"
    assert event.organization == key.installation.organization
    assert event.actor == {"kind": "user", "id": str(owner.pk), "name": "Ada"}
    assert event.data["reason"] == "new Moodle"
    assert key.secret not in str(event.data)


def test_without_a_reason_nothing_is_shown():
    with pytest.raises(credentials.ReasonMissing):
        credentials.reveal_secret(LtiKeyFactory(), UserFactory(), " \n ")
    assert not Event.objects.exists()


def test_a_reset_keeps_the_old_secret_for_the_overlap():
    used = timezone.now() - timedelta(hours=1)
    key = LtiKeyFactory(secret="old-secret", last_used_at=used)
    new = credentials.reset_secret(key, timedelta(days=1), UserFactory())
    key.refresh_from_db()
    assert key.secret == new != "old-secret"
    assert key.valid_previous_secret() == "old-secret"
    assert (key.last_used_at, key.previous_secret_last_used_at) == (None, used)
    with time_machine.travel(timezone.now() + timedelta(days=1, minutes=1), tick=False):
        assert key.valid_previous_secret() is None
    assert Event.objects.get().data["overlap_seconds"] == 86400


def test_a_reset_without_overlap_ends_the_old_secret():
    key = LtiKeyFactory(secret="old-secret")
    credentials.reset_secret(key, timedelta(0), None)
    key.refresh_from_db()
    assert key.valid_previous_secret() is None
    assert key.previous_secret == ""
    assert Event.objects.get().actor["kind"] == "system"


def test_a_second_reset_drops_the_oldest_secret():
    key = LtiKeyFactory(secret="first")
    second = credentials.reset_secret(key, timedelta(days=7), None)
    credentials.reset_secret(key, timedelta(hours=1), None)
    key.refresh_from_db()
    assert key.valid_previous_secret() == second


@pytest.mark.parametrize("overlap", [timedelta(seconds=-1), timedelta(days=91)])
def test_an_overlap_has_bounds(overlap):
    with pytest.raises(ValueError):
        credentials.reset_secret(LtiKeyFactory(), overlap, None)


def test_the_overlap_can_be_ended():
    key = LtiKeyFactory(secret="old")
    credentials.reset_secret(key, timedelta(days=7), None)
    assert credentials.drop_previous_secret(key)
    key.refresh_from_db()
    assert key.valid_previous_secret() is None
    assert not credentials.drop_previous_secret(key)


def test_secrets_are_ciphertext_in_the_database():
    from django.db import connection

    key = LtiKeyFactory(secret="very-secret-words")
    credentials.reset_secret(key, timedelta(days=7), None)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT secret, previous_secret FROM {LtiKey._meta.db_table}")  # noqa: S608
        row = cursor.fetchone()
    assert "very-secret-words" not in str(row)
