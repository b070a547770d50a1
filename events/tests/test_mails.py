"""Mails as rows: written with what they tell of, sent once, and again until the mail server takes them."""

import smtplib
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.db import connection, transaction
from django.utils import timezone

from events import mails
from events.endpoints import change_endpoint, make_endpoint
from events.mails import Letter, Mailed, send_due_mails, write_mails
from events.models import Mail, WebhookEndpoint
from events.tasks import send_mails
from events.webhook_mail import write_to_owners
from events.webhooks import _switch_off
from organizations.identifiers import uuid7
from organizations.models import Membership
from tests.factories import MembershipFactory, OrganizationFactory

pytestmark = pytest.mark.django_db
BACKEND = "django.core.mail.backends.locmem.EmailBackend.send_messages"


@pytest.fixture
def organization() -> Any:
    organization: Any = OrganizationFactory(name="Acme")
    MembershipFactory(organization=organization, user__email="o@acme.example", role=Membership.Role.OWNER)
    return organization


def letter(address: str = "a@acme.example", **values: Any) -> Letter:
    given = {"kind": "grade_digest", "about": uuid7(), "occasion": "x", "subject": "Hello\nyou", "body": "Text"}
    return Letter(**{**given, "address": address, **values})


def refusing(monkeypatch: pytest.MonkeyPatch, error: Exception, only: str = "") -> Any:
    """The mail server refuses every mail, or those to one address."""
    context = monkeypatch.context()
    patched = context.__enter__()
    honest = EmailBackend.send_messages

    def send(self: Any, messages: Any) -> int:
        if not only or only in messages[0].to:
            raise error
        return int(honest(self, messages))

    patched.setattr(BACKEND, send)
    return context


def test_a_mail_is_written_once_and_leaves_once(organization):
    one = letter("A@acme.example", stop_url="https://tool.example/digest/x")
    write_mails(organization, [one])
    write_mails(organization, [one, Letter(**{**vars(one), "address": "a@ACME.example"})])
    assert Mail.objects.count() == 1
    assert send_due_mails() == Mailed(sent=1)
    assert send_due_mails() == Mailed()
    (message,) = mail.outbox
    assert (message.to, message.subject) == (["A@acme.example"], "Hello you")
    row = Mail.objects.get()
    assert message.extra_headers["Message-ID"].startswith(f"<{row.pk}@")
    assert message.extra_headers["List-Unsubscribe"] == "<https://tool.example/digest/x>"
    assert (row.due_at, row.attempts) == (None, 1)
    assert row.sent_at is not None


def test_what_is_rolled_back_is_not_mailed(organization):
    with transaction.atomic():
        write_mails(organization, [letter()])
        transaction.set_rollback(True)
    assert not Mail.objects.exists()


def test_a_mail_wakes_a_worker_after_commit(organization, memory_queue, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        write_mails(organization, [letter()])
    assert memory_queue() == 1


def test_without_a_broker_the_next_sweep_sends_it(organization, monkeypatch, django_capture_on_commit_callbacks):
    monkeypatch.setattr(mails, "knock", lambda **kwargs: False)
    with django_capture_on_commit_callbacks(execute=True):
        write_mails(organization, [letter()])
    assert mail.outbox == []
    send_mails()
    assert len(mail.outbox) == 1


def test_a_mail_server_that_is_away_loses_nothing(organization, monkeypatch):
    write_mails(organization, [letter("a@acme.example"), letter("b@acme.example")])
    context = refusing(monkeypatch, ConnectionRefusedError())
    # It is asked once in a run, not once for each mail.
    assert send_due_mails() == Mailed(failed=1)
    assert send_due_mails() == Mailed(failed=1)
    assert send_due_mails() == Mailed()
    context.__exit__(None, None, None)
    waits = [row.due_at - timezone.now() for row in Mail.objects.all()]
    assert all(timedelta(0) < wait <= mails.FIRST_RETRY for wait in waits)
    assert set(Mail.objects.values_list("last_error", flat=True)) == {"ConnectionRefusedError"}
    Mail.objects.update(due_at=timezone.now())
    assert send_due_mails() == Mailed(sent=2)


def test_one_bad_address_holds_nobody_up(organization, monkeypatch):
    write_mails(organization, [letter("bad@acme.example"), letter("good@acme.example")])
    refused = smtplib.SMTPRecipientsRefused({"bad@acme.example": (550, b"unknown")})
    context = refusing(monkeypatch, refused, only="bad@acme.example")
    assert send_due_mails() == Mailed(sent=1, failed=1)
    context.__exit__(None, None, None)
    assert [message.to for message in mail.outbox] == [["good@acme.example"]]


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("a@acme.example\nBcc: victim@other.example", id="a header"),
        pytest.param(f"ä@{'é' * 70}.example", id="no domain"),
    ],
)
def test_what_is_no_address_gets_nothing_and_holds_nobody_up(organization, address):
    write_mails(organization, [letter(address), letter("good@acme.example")])
    assert send_due_mails() == Mailed(sent=1, failed=1)
    assert send_due_mails() == Mailed()
    assert [message.to for message in mail.outbox] == [["good@acme.example"]]
    row = Mail.objects.get(sent_at=None)
    assert (row.due_at, row.claimed_until) == (None, None)
    assert row.last_error.startswith("Cannot be written")


def test_waits_grow_and_end_after_a_week(organization, monkeypatch):
    write_mails(organization, [letter()])
    context = refusing(monkeypatch, ConnectionRefusedError())
    Mail.objects.update(attempts=4)
    send_due_mails()
    row = Mail.objects.get()
    assert timedelta(minutes=15) < row.due_at - timezone.now() <= timedelta(minutes=16)
    Mail.objects.update(created_at=timezone.now() - timedelta(days=7, minutes=1), due_at=timezone.now())
    send_due_mails()
    row = Mail.objects.get()
    assert (row.due_at, row.sent_at, row.last_error) == (None, None, "ConnectionRefusedError")
    context.__exit__(None, None, None)


def test_who_died_with_a_mail_in_hand_lets_go_of_it(organization):
    write_mails(organization, [letter()])
    Mail.objects.update(claimed_until=timezone.now() + timedelta(minutes=1))
    assert send_due_mails() == Mailed()
    Mail.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    assert send_due_mails() == Mailed(sent=1)


def test_a_suspended_organization_is_not_mailed(organization):
    write_mails(organization, [letter()])
    organization.enabled = False
    organization.save()
    assert send_due_mails() == Mailed()
    organization.enabled = True
    organization.save()
    assert send_due_mails() == Mailed(sent=1)


def test_a_webhook_that_is_switched_off_without_a_broker_is_mailed_later(organization, monkeypatch):
    endpoint = make_endpoint(organization, url="https://hooks.example/in")
    monkeypatch.setattr(mails, "knock", lambda **kwargs: False)
    _switch_off(endpoint, "It answered 410 Gone.")
    _switch_off(endpoint, "It answered 410 Gone.")
    assert Mail.objects.count() == 1
    context = refusing(monkeypatch, ConnectionRefusedError())
    assert send_due_mails().failed == 1
    context.__exit__(None, None, None)
    Mail.objects.update(due_at=timezone.now())
    assert send_due_mails().sent == 1
    assert "It answered 410 Gone." in mail.outbox[0].body
    assert mail.outbox[0].subject == "A webhook of Acme was disabled"


def test_a_warning_counts_from_when_it_left(organization, monkeypatch):
    endpoint = make_endpoint(organization, url="https://hooks.example/in")
    WebhookEndpoint.objects.update(failing_since=timezone.now() - timedelta(days=4))
    endpoint.refresh_from_db()
    assert write_to_owners(endpoint, "warning") == 1
    assert write_to_owners(endpoint, "warning") == 1
    assert Mail.objects.count() == 1
    context = refusing(monkeypatch, ConnectionRefusedError())
    send_due_mails()
    context.__exit__(None, None, None)
    assert WebhookEndpoint.objects.get().warned_at is None
    Mail.objects.update(due_at=timezone.now())
    send_due_mails()
    assert WebhookEndpoint.objects.get().warned_at is not None


@pytest.mark.parametrize("about", ["warning", "disabled"])
def test_a_mail_names_no_address_that_may_be_a_key(organization, about):
    endpoint = make_endpoint(organization, url="https://hooks.example/services/T0/kept-to-oneself?key=abc")
    WebhookEndpoint.objects.update(failing_since=timezone.now() - timedelta(days=4))
    endpoint.refresh_from_db()
    write_to_owners(endpoint, about)
    row = Mail.objects.get()
    assert "the webhook at hooks.example of Acme" in row.body
    assert "kept-to-oneself" not in row.subject + row.body
    assert "abc" not in row.body


def test_who_is_no_owner_any_more_is_not_told(organization):
    MembershipFactory(organization=organization, user__email="p@acme.example", role=Membership.Role.OWNER)
    endpoint = make_endpoint(organization, url="https://hooks.example/in")
    _switch_off(endpoint, "It answered 410 Gone.")
    Membership.objects.filter(user__email="o@acme.example").update(role=Membership.Role.TEACHER)
    assert send_due_mails() == Mailed(sent=1, unneeded=1)
    assert [message.to for message in mail.outbox] == [["p@acme.example"]]


def test_what_is_not_so_any_more_is_not_mailed(organization):
    endpoint = make_endpoint(organization, url="https://hooks.example/in")
    _switch_off(endpoint, "It answered 410 Gone.")
    change_endpoint(WebhookEndpoint.objects.get(), enabled=True)
    assert send_due_mails() == Mailed(unneeded=1)
    assert mail.outbox == []
    assert send_due_mails() == Mailed()


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
def test_two_senders_send_each_mail_once(organization):
    write_mails(organization, [letter(f"{number}@acme.example") for number in range(30)])
    barrier = threading.Barrier(4)
    results = []

    def send() -> None:
        barrier.wait()
        try:
            results.append(send_due_mails().sent)
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(results) == 30
    assert len({message.to[0] for message in mail.outbox}) == len(mail.outbox) == 30
