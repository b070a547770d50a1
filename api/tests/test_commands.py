"""`doctor` and `purge`."""

import json
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from api import checkup
from api.checkup import Level
from events.models import Delivery
from organizations.identifiers import uuid7
from organizations.models import Registration
from organizations.tool_keys import key_set
from tests.factories import LtiKeyFactory, OrganizationFactory, RegistrationFactory
from tests.loopback import Reply, serve

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(checkup, "PING_SECONDS", 0.1)


def _levels(check):
    return {finding.subject: finding.level for finding in check()}


def _doctor(capsys) -> str:
    call_command("doctor", "--no-color")
    return capsys.readouterr().out


def test_doctor_says_one_line_each_and_what_to_do(capsys, settings):
    settings.BASE_URL = "https://tool.example.org"
    settings.TRUSTED_PROXIES = ["10.0.0.0/8"]
    lines = _doctor(capsys).splitlines()
    subjects = [line.split(":")[0].split(maxsplit=1)[1] for line in lines]
    assert {"SECRET_KEY", "database", "migrations", "cache", "broker", "worker", "clock", "public URL"} <= set(subjects)
    for line in lines:
        assert line[:4].strip() in ("OK", "WARN")
        assert line.startswith("OK") or " — " in line


def test_doctor_fails_for_what_cannot_work(capsys, settings):
    settings.ALLOWED_HOSTS = ["elsewhere.example"]
    settings.BASE_URL = "http://tool.example.org"
    with pytest.raises(CommandError, match="2 checks failed"):
        call_command("doctor", "--no-color")
    output = capsys.readouterr().out
    assert "FAIL ALLOWED_HOSTS: does not allow tool.example.org" in output
    assert "FAIL BASE_URL" in output


def test_doctor_goes_on_without_its_services(capsys, settings):
    settings.CELERY_BROKER_URL = "redis://:sesame@127.0.0.1:1/0"
    settings.CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_connect_timeout": 0.2}
    with pytest.raises(CommandError):
        call_command("doctor", "--no-color")
    captured = capsys.readouterr()
    assert "FAIL broker" in captured.out
    assert "clock" in captured.out
    assert "sesame" not in captured.out + captured.err


def test_secrets(settings):
    assert set(_levels(checkup.check_secrets).values()) == {Level.OK}
    settings.SECRET_KEY = "insecure"
    settings.FIELD_ENCRYPTION_KEYS = ["nonsense"]
    assert _levels(checkup.check_secrets) == {"SECRET_KEY": Level.FAIL, "FIELD_ENCRYPTION_KEYS": Level.FAIL}


def test_addresses(settings):
    settings.BASE_URL = "https://tool.example.org"
    settings.TRUSTED_PROXIES = []
    assert _levels(checkup.check_addresses)["TRUSTED_PROXIES"] == Level.WARN
    settings.TRUSTED_PROXIES = ["proxy"]
    settings.ALLOWED_HOSTS = ["*"]
    assert _levels(checkup.check_addresses) == {
        "BASE_URL": Level.OK,
        "ALLOWED_HOSTS": Level.WARN,
        "TRUSTED_PROXIES": Level.FAIL,
    }


def test_an_overdue_delivery_is_a_failure():
    assert _levels(checkup.check_deliveries) == {"deliveries": Level.OK}
    now = timezone.now()
    Delivery.objects.create(
        organization=OrganizationFactory(),
        kind="grade",
        target_id=uuid7(),
        source_id=uuid7(),
        sequence=1,
        due_at=now - timedelta(minutes=6),
        give_up_at=now,
    )
    (finding,) = checkup.check_deliveries()
    assert (finding.level, finding.text) == (Level.FAIL, "one has been due for 6 minutes")


def test_a_secret_that_no_key_opens_is_a_failure(settings):
    LtiKeyFactory()
    assert _levels(checkup.check_stored_secrets) == {"stored secrets": Level.OK}
    settings.FIELD_ENCRYPTION_KEYS = ["YW5vdGhlci1rZXktb2YtMzItYnl0ZXMtbG9uZy0wMTI="]
    assert _levels(checkup.check_stored_secrets) == {"stored secrets": Level.FAIL}


def test_the_lmss_addresses_are_asked(settings):
    settings.OUTBOUND_ALLOW_HTTP = True
    settings.OUTBOUND_ALLOWED_PRIVATE_HOSTS = ["127.0.0.0/8"]
    (finding,) = checkup.check_registrations()
    assert (finding.level, finding.text) == (Level.OK, "no LMS is registered")
    acme = OrganizationFactory(slug="acme")
    replies = {
        "/jwks": Reply(200, json.dumps(key_set(acme)).encode()),
        "/token": Reply(405, b"POST only"),
        "/auth": Reply(400, b"no hint"),
    }
    with serve(lambda received: replies[received.path.partition("?")[0]]) as lms:
        endpoints = {
            "jwks_url": f"{lms.url}/jwks",
            "token_url": f"{lms.url}/token",
            "auth_login_url": f"{lms.url}/auth?site=secret",
        }
        for client_id in ("one", "two"):
            RegistrationFactory(installation__organization=acme, issuer=lms.url, client_id=client_id, **endpoints)
        (finding,) = checkup.check_registrations()
        assert (finding.level, finding.text) == (Level.OK, "3 addresses of LMSs answer")
        assert len(lms.received) == 3
        replies |= {"/jwks": Reply(200, b"<html>"), "/auth": Reply(503)}
        found = list(checkup.check_registrations())
        assert {finding.level for finding in found} == {Level.WARN}
        assert "cannot be read" in found[0].text
        assert found[1].text == f"{lms.url}/auth answered 503"
        assert "acme" in found[0].advice
    Registration.objects.update(
        jwks_url="", token_url="http://127.0.0.1:1/token", auth_login_url="http://10.1.2.3/auth"
    )
    found = list(checkup.check_registrations())
    assert ["was not reached" in finding.text for finding in found] == [True, True]
    Registration.objects.update(enabled=False)
    (finding,) = checkup.check_registrations()
    assert finding.text == "no LMS is registered"


def test_the_database_is_described():
    levels = _levels(checkup.check_database)
    assert levels["database"] == levels["migrations"] == Level.OK
    assert ("SQLite" in levels) == (connection.vendor == "sqlite")


def test_the_public_url_is_asked(live_server, settings):
    settings.BASE_URL = live_server.url
    settings.OUTBOUND_ALLOW_HTTP = True
    assert _levels(checkup.check_public_url) == {"public URL": Level.WARN}
    settings.OUTBOUND_ALLOWED_PRIVATE_HOSTS = ["127.0.0.0/8", "localhost"]
    assert _levels(checkup.check_public_url) == {"public URL": Level.OK}


def test_purge_says_what_it_did(capsys):
    call_command("purge")
    assert "Deleted 0 launches" in capsys.readouterr().out
