"""Keys are published before they sign and after it, and nothing fails meanwhile (D32, D33)."""

import threading
import time
from datetime import timedelta

import jwt
import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.utils import timezone

from events.models import Event
from organizations.key_rotation import rotate_tool_key
from organizations.models import ToolKey
from organizations.tool_keys import key_set, sign_jwt, signing_key
from tests.factories import OrganizationFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme():
    return OrganizationFactory(slug="acme")


def published(organization):
    return [key["kid"] for key in key_set(organization)["keys"]]


def signer_of(organization):
    return jwt.get_unverified_header(sign_jwt(organization, {"a": 1}))["kid"]


def verify(organization, token):
    """As an LMS does: by the key id, with what the key set says at this moment."""
    key_id = jwt.get_unverified_header(token)["kid"]
    (key,) = (key for key in key_set(organization)["keys"] if key["kid"] == key_id)
    return jwt.decode(token, jwt.PyJWK(key), algorithms=["RS256"])


def at(monkeypatch, moment):
    monkeypatch.setattr(timezone, "now", lambda: moment)


def test_a_new_key_is_published_a_day_before_it_signs_and_the_old_one_a_week_after(acme, monkeypatch):
    now = timezone.now()
    first = signing_key(acme).key_id
    rotation = rotate_tool_key(acme)
    assert rotation.made
    assert rotation.signs_from - now >= timedelta(hours=24)
    assert published(acme) == [first, rotation.key_id]
    assert signer_of(acme) == first
    for days, signer, kids in (
        (0.99, first, [first, rotation.key_id]),
        (1.01, rotation.key_id, [first, rotation.key_id]),
        (7.9, rotation.key_id, [first, rotation.key_id]),
        (8.1, rotation.key_id, [rotation.key_id]),
    ):
        at(monkeypatch, now + timedelta(days=days))
        assert signer_of(acme) == signer, days
        assert published(acme) == kids, days


def test_it_may_be_run_again(acme):
    first = signing_key(acme)
    made = rotate_tool_key(acme)
    again = rotate_tool_key(acme)
    assert (again.made, again.key_id, again.signs_from) == (False, made.key_id, made.signs_from)
    assert ToolKey.objects.count() == 2
    first.refresh_from_db()
    assert first.retired_at == made.signs_from
    assert [event.data["key_id"] for event in Event.objects.filter(type="key.rotated")] == [made.key_id]


def test_an_organization_without_a_key_gets_one_that_signs_now(acme):
    rotation = rotate_tool_key(acme)
    assert rotation.made
    assert signer_of(acme) == rotation.key_id
    assert published(acme) == [rotation.key_id]


def test_a_leaked_key_stops_signing_at_once_and_its_last_tokens_still_verify(acme):
    token = sign_jwt(acme, {"sub": "before"})
    rotation = rotate_tool_key(acme, timedelta(0))
    assert signer_of(acme) == rotation.key_id
    assert verify(acme, token) == {"sub": "before"}


def test_keys_that_nobody_needs_any_more_are_deleted(acme, monkeypatch):
    now = timezone.now()
    signing_key(acme)
    second = rotate_tool_key(acme)
    at(monkeypatch, now + timedelta(days=9))
    third = rotate_tool_key(acme)
    assert third.dropped == 1
    assert set(ToolKey.objects.values_list("key_id", flat=True)) == {second.key_id, third.key_id}


def test_the_key_set_shows_no_private_part_and_the_database_no_key(acme, client):
    rotate_tool_key(acme)
    rotate_tool_key(acme, timedelta(0))
    response = client.get("/lti/1p3/acme/jwks.json")
    for key in response.json()["keys"]:
        assert set(key) == {"kty", "n", "e", "kid", "alg", "use"}
        assert (key["kty"], key["alg"], key["use"]) == ("RSA", "RS256", "sig")
    with connection.cursor() as cursor:
        cursor.execute("SELECT private_key FROM organizations_toolkey")
        stored = [row[0] for row in cursor.fetchall()]
    assert stored
    assert not any("PRIVATE" in text for text in stored)


def test_the_command(acme, capsys):
    other = OrganizationFactory(slug="other")
    signing_key(acme)
    call_command("rotate_tool_keys", "--organization", "acme", "--publish-hours", "2")
    out = capsys.readouterr().out
    assert out.startswith("acme: new key ")
    assert "other" not in out
    assert not other.tool_keys.exists()
    assert acme.tool_keys.filter(signs_from__gt=timezone.now() + timedelta(minutes=119)).count() == 1
    call_command("rotate_tool_keys")
    out = capsys.readouterr().out
    assert "acme: the key that waits:" in out
    assert "other: new key" in out
    with pytest.raises(CommandError, match="no organization nobody"):
        call_command("rotate_tool_keys", "--organization", "nobody")
    with pytest.raises(CommandError, match="publish-hours"):
        call_command("rotate_tool_keys", "--publish-hours", "-1")


@pytest.mark.django_db(transaction=True)
def test_nothing_fails_while_keys_change():
    """Four threads sign, each token is verified against the key set as it is then, and keys change under them."""
    if connection.vendor == "sqlite":
        pytest.skip("the tests' SQLite is in memory, where readers do not wait for writers")
    acme = OrganizationFactory(slug="acme")
    signing_key(acme)
    failures, signers, stop = [], set(), threading.Event()

    def sign():
        try:
            while not stop.is_set():
                token = sign_jwt(acme, {"sub": "x"})
                signers.add(jwt.get_unverified_header(token)["kid"])
                verify(acme, token)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test tells
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=sign) for _ in range(4)]
    for thread in threads:
        thread.start()
    for seconds in (0, 0.2, 0.2, 0):
        time.sleep(0.3)
        rotate_tool_key(acme, timedelta(seconds=seconds))
    time.sleep(0.4)
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(signers) >= 3
