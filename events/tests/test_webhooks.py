"""Webhooks: who hears of an event, how it is signed, what an answer means, and what becomes of failing endpoints."""

import base64
import json
import os
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import connection, transaction
from django.utils import timezone
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from events import webhooks
from events.deliveries import deliver_due, resend
from events.endpoints import (
    EndpointDisabled,
    EndpointError,
    change_endpoint,
    checked_url,
    delete_endpoint,
    disable_endpoint,
    drop_previous_secret,
    make_endpoint,
    reveal_secret,
    rotate_secret,
    send_test_event,
)
from events.log import SYSTEM, EventType, event_of, record, record_many
from events.mails import send_due_mails
from events.models import Attempt, Delivery, Event, Mail, WebhookEndpoint
from lti.outbound import OutboundRefused, OutboundResponse
from organizations.models import Membership, Organization
from organizations.reencryption import encrypted_fields
from tests.factories import MembershipFactory, OrganizationFactory
from tests.loopback import Received, Reply, serve

pytestmark = pytest.mark.django_db
with_commits = pytest.mark.django_db(transaction=True)
only_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")


@pytest.fixture(autouse=True)
def loopback_allowed(settings):
    settings.OUTBOUND_ALLOW_HTTP = True
    settings.OUTBOUND_ALLOWED_PRIVATE_HOSTS = ["127.0.0.1"]
    settings.DELIVERY_FIRST_RETRY_SECONDS = 30
    settings.EVENT_DATA_CHECKED = False  # whatever events say, this is how they travel


@pytest.fixture
def organization() -> Any:
    return OrganizationFactory(name="Acme")


def endpoint_of(organization: Organization, url: str = "https://hooks.example/in", **values: Any) -> WebhookEndpoint:
    return make_endpoint(organization, url=url, **values)


def happens(organization: Organization, event_type: str = EventType.SCORE_CHANGED, **data: Any) -> Event:
    return record(organization, event_type, actor=SYSTEM, subject_kind="score", subject_id="1", data=data)


def answering(status: int = 200, body: bytes = b"", **headers: str):
    return lambda received: Reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


def verified(received: Received, secret: str) -> Any:
    """The document, if the receiver's library takes the signature."""
    headers = {name.lower(): value for name, value in received.headers.items()}
    return Webhook(secret).verify(received.body.decode(), headers)


def due_now() -> None:
    Delivery.objects.filter(state="pending").update(due_at=timezone.now())


def commits(django_capture_on_commit_callbacks):
    return django_capture_on_commit_callbacks(execute=True)


# Who hears


def test_the_filter_decides_who_hears(organization):
    all_of_them = endpoint_of(organization, "https://a.example/")
    scores = endpoint_of(organization, "https://b.example/", event_types=["score.changed", "grade.failed"])
    endpoint_of(organization, "https://c.example/", event_types=["meeting.started"])
    endpoint_of(organization, "https://d.example/", enabled=False)
    endpoint_of(OrganizationFactory(), "https://a.example/")
    score, link = happens(organization), happens(organization, EventType.LINK_MAPPED)
    made = set(Delivery.objects.values_list("endpoint", "source_id", "kind", "host", "sequence"))
    assert made == {
        (all_of_them.pk, score.pk, "webhook", "a.example", 1),
        (scores.pk, score.pk, "webhook", "b.example", 1),
        (all_of_them.pk, link.pk, "webhook", "a.example", 1),
    }
    assert Delivery.objects.values("target_id").distinct().count() == 3


@with_commits
def test_a_rollback_takes_event_and_deliveries_with_it(organization):
    endpoint_of(organization)
    with transaction.atomic():
        happens(organization)
        assert Delivery.objects.count() == 1
        transaction.set_rollback(True)
    assert not Event.objects.exists()
    assert not Delivery.objects.exists()


def test_an_event_costs_a_look_and_an_insert(organization, django_assert_num_queries):
    def many() -> list[Event]:
        kinds = [EventType.SCORE_CHANGED] * 5
        return [event_of(organization.pk, one, actor=SYSTEM, subject_kind="x", subject_id="1") for one in kinds]

    with django_assert_num_queries(0):
        record_many([])
    with django_assert_num_queries(2):
        record_many(many())
    for number in range(3):
        endpoint_of(organization, f"https://{number}.example/")
    with django_assert_num_queries(3):
        record_many(many())
    assert Delivery.objects.count() == 15


@with_commits
@only_postgresql
def test_deleting_an_endpoint_never_fails_what_is_told_to_it(organization):
    endpoint = endpoint_of(organization)
    failures: list[Exception] = []

    def write() -> None:
        try:
            for _ in range(10):
                with transaction.atomic():
                    happens(organization)
                    time.sleep(0.005)
        except Exception as error:  # noqa: BLE001
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.02)
    delete_endpoint(endpoint)
    for thread in threads:
        thread.join()
    assert failures == []
    assert Event.objects.count() == 40
    assert not Delivery.objects.exclude(state="cancelled", endpoint=None).exists()


# What is sent


def test_the_receivers_library_takes_the_signature(organization):
    with serve(answering()) as server:
        endpoint = endpoint_of(organization, f"{server.url}/in?key=hidden")
        event = happens(organization, points="8.50", name="Zoë")
        before = time.time()
        assert deliver_due().delivered == 1
    (received,) = server.received
    document = verified(received, endpoint.secret)
    headers = {name.lower(): value for name, value in received.headers.items()}
    assert (received.method, received.path) == ("POST", "/in?key=hidden")
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"].startswith("lti-platform/")
    assert headers["webhook-id"] == str(event.pk)
    assert before - 2 <= int(headers["webhook-timestamp"]) <= time.time()
    assert set(document) == {"type", "timestamp", "data"}
    assert document["type"] == "score.changed"
    assert datetime.fromisoformat(document["timestamp"]) == event.at.astimezone(UTC).replace(
        microsecond=event.at.microsecond // 1000 * 1000
    )
    assert document["timestamp"].endswith("Z")
    assert document["data"] == {
        "version": 1,
        "id": str(event.pk),
        "organization": str(organization.pk),
        "actor": {"kind": "system", "id": "", "name": ""},
        "subject": {"kind": "score", "id": "1"},
        "data": {"points": "8.50", "name": "Zoë"},
    }
    attempt = Attempt.objects.get()
    assert f"webhook-id: {event.pk}" in attempt.request
    for secret in ("hidden", headers["webhook-signature"], endpoint.secret):
        assert secret not in attempt.request
    tampered = Received(received.method, received.path, received.headers, received.body.replace(b"8.50", b"9.50"))
    with pytest.raises(WebhookVerificationError):
        verified(tampered, endpoint.secret)


def test_old_and_new_secret_verify_while_rotating(organization):
    with serve(answering()) as server:
        endpoint = endpoint_of(organization, server.url)
        old = endpoint.secret
        new = rotate_secret(endpoint, timedelta(hours=24), SYSTEM)
        happens(organization)
        deliver_due()
        WebhookEndpoint.objects.update(previous_secret_expires_at=timezone.now() - timedelta(seconds=1))
        happens(organization)
        deliver_due()
    # The rotation's own event goes there, too: it is signed with both, like the first score.
    during, after = server.received[:2], server.received[2]
    assert old != new
    for received in during:
        assert verified(received, old) == verified(received, new)
        assert len(received.headers["webhook-signature"].split(" ")) == 2
    verified(after, new)
    with pytest.raises(WebhookVerificationError):
        verified(after, old)


def test_rotating_without_overlap_and_ending_one(organization):
    endpoint = endpoint_of(organization)
    own = "whsec_" + base64.b64encode(os.urandom(64)).decode()
    assert rotate_secret(endpoint, timedelta(0), SYSTEM, own) == own
    endpoint.refresh_from_db()
    assert endpoint.valid_secrets() == [own]
    rotate_secret(endpoint, timedelta(days=1), SYSTEM)
    assert own in endpoint.valid_secrets()
    assert drop_previous_secret(endpoint)
    endpoint.refresh_from_db()
    assert own not in endpoint.valid_secrets()
    for overlap in (timedelta(seconds=-1), timedelta(days=91)):
        with pytest.raises(EndpointError, match="90 days"):
            rotate_secret(endpoint, overlap, SYSTEM)
    rotations = Event.objects.filter(type="key.rotated").order_by("id")
    assert [one.data["overlap_seconds"] for one in rotations] == [0, 86400]
    assert own not in json.dumps([one.data for one in rotations])


@pytest.mark.parametrize(
    "secret",
    [
        "secret",
        "whsec_",
        "whsec_not base64",
        "whsec_" + base64.b64encode(b"x" * 23).decode(),
        "whsec_" + base64.b64encode(b"x" * 65).decode(),
        "whsec_" + base64.b64encode(b"x" * 32).decode().rstrip("="),
        "whsec_\x00",
    ],
)
def test_a_secret_that_is_none_is_refused(organization, secret):
    with pytest.raises(EndpointError, match="24 to 64 bytes in base64"):
        endpoint_of(organization, secret=secret)
    assert not WebhookEndpoint.objects.exists()


def test_secrets_are_encrypted_and_rewritten_with_all_others(organization):
    endpoint = endpoint_of(organization)
    with connection.cursor() as cursor:
        cursor.execute("SELECT secret FROM events_webhookendpoint")
        assert endpoint.secret not in str(cursor.fetchall())
    names = {f"{field.model.__name__}.{field.name}" for field in encrypted_fields()}
    assert {"WebhookEndpoint.secret", "WebhookEndpoint.previous_secret"} <= names


def test_deliveries_to_one_endpoint_go_side_by_side(organization):
    busy, most, lock = 0, 0, threading.Lock()

    def slow(received: Received) -> Reply:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.1)
        with lock:
            busy -= 1
        return Reply()

    with serve(slow) as server:
        endpoint_of(organization, server.url)
        events = [happens(organization) for _ in range(10)]
        assert deliver_due().delivered == 10
    assert most >= 5
    assert {received.headers["webhook-id"] for received in server.received} == {str(event.pk) for event in events}


# What an answer means


def test_every_try_has_the_same_id_and_body_and_a_fresh_signature(organization):
    statuses = iter([500, 200, 200])
    with serve(lambda received: Reply(next(statuses))) as server:
        endpoint = endpoint_of(organization, server.url)
        event = happens(organization)
        deliver_due()
        delivery = Delivery.objects.get()
        assert (delivery.state, delivery.last_error) == ("pending", "The webhook answered 500 Internal Server Error.")
        time.sleep(1.01)
        due_now()
        deliver_due()
        resend(Delivery.objects.get(), SYSTEM)
        deliver_due()
    assert Delivery.objects.get().state == "delivered"
    assert {received.headers["webhook-id"] for received in server.received} == {str(event.pk)}
    assert len({received.body for received in server.received}) == 1
    assert len({received.headers["webhook-timestamp"] for received in server.received}) >= 2
    for received in server.received:
        verified(received, endpoint.secret)


@pytest.mark.parametrize("status", [300, 302, 307, 400, 401, 403, 404, 409, 422, 429, 500, 503, 599])
def test_other_answers_are_tried_again(organization, status):
    with serve(answering(status, b"no\x00 token eyJhbGciOi.abc", Location="http://127.0.0.1:1/")) as server:
        endpoint_of(organization, server.url)
        happens(organization)
        deliver_due()
        assert len(server.received) == 1
    delivery = Delivery.objects.get()
    assert delivery.state == "pending"
    assert delivery.due_at > timezone.now()
    assert str(status) in delivery.last_error
    assert ("Redirects are not followed" in delivery.last_error) is (status < 400)
    assert "\x00" not in Attempt.objects.get().response
    assert "eyJ" not in Attempt.objects.get().response


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured(organization, status):
    with serve(answering(status, Retry_After="300")) as server:
        endpoint_of(organization, server.url)
        happens(organization)
        deliver_due()
    wait = (Delivery.objects.get().due_at - timezone.now()).total_seconds()
    assert 290 < wait <= 300


def test_it_is_given_up_after_three_days(organization):
    with serve(answering(404)) as server:
        endpoint_of(organization, server.url)
        happens(organization)
        Delivery.objects.update(give_up_at=timezone.now(), created_at=timezone.now() - timedelta(days=3))
        deliver_due()
    delivery = Delivery.objects.get()
    assert delivery.state == "failed"
    assert delivery.last_error.endswith("It was tried 1 times, for 3 days, without success.")


def test_410_disables_at_once(organization, django_capture_on_commit_callbacks):
    MembershipFactory(organization=organization, user__email="o@acme.example", role=Membership.Role.OWNER)
    with serve(answering(410)) as server:
        endpoint = endpoint_of(organization, server.url)
        happens(organization)
        late = happens(organization)
        Delivery.objects.filter(source_id=late.pk).update(due_at=timezone.now() + timedelta(hours=1))
        with commits(django_capture_on_commit_callbacks):
            deliver_due()
    endpoint.refresh_from_db()
    assert (endpoint.enabled, endpoint.disabled_reason[:25]) == (False, "It answered 410 Gone, whi")
    assert send_due_mails().sent == 1
    assert dict(Delivery.objects.values_list("state", "last_error_code")) == {
        "failed": "gone",
        "cancelled": "endpoint_disabled",
    }
    assert [(message.to, message.subject) for message in mail.outbox] == [
        (["o@acme.example"], "A webhook of Acme was disabled")
    ]
    assert endpoint.disabled_reason in mail.outbox[0].body
    happens(organization)
    assert Delivery.objects.count() == 2
    change_endpoint(endpoint, enabled=True)
    endpoint.refresh_from_db()
    assert (endpoint.disabled_reason, endpoint.failing_since) == ("", None)
    happens(organization)
    assert Delivery.objects.count() == 3


def test_410_disables_beside_a_success(organization, django_capture_on_commit_callbacks):
    statuses = iter([200, 410])
    with serve(lambda received: Reply(next(statuses))) as server:
        endpoint = endpoint_of(organization, server.url)
        happens(organization)
        happens(organization)
        with commits(django_capture_on_commit_callbacks):
            deliver_due()
    endpoint.refresh_from_db()
    assert not endpoint.enabled


def test_a_private_address_is_refused_with_words(organization, settings):
    endpoint = endpoint_of(organization, "http://127.0.0.1:9/")
    happens(organization)
    settings.OUTBOUND_ALLOWED_PRIVATE_HOSTS = []
    deliver_due()
    delivery = Delivery.objects.get()
    assert delivery.state == "failed"
    assert "leads into a private network" in delivery.last_error
    for url in ("http://127.0.0.1/", "https://[::1]/", "http://10.0.0.7:8080/x", "https://169.254.169.254/latest"):
        with pytest.raises(EndpointError, match="private network"):
            change_endpoint(endpoint, url=url)


@pytest.mark.parametrize(
    "url",
    ["", "hooks", "ftp://h.example/", "http://h.example/", "https://u:p@h.example/", "https://h.example:99999/",
     "https://h.example/\x00", "https://" + "a" * 64 + ".example/", "https://h.example/" + "a" * 2000, "https:///x"],
)  # fmt: skip
def test_a_url_that_is_never_called_is_refused(settings, url):
    settings.OUTBOUND_ALLOW_HTTP = False
    with pytest.raises(EndpointError):
        checked_url(url)


def test_large_and_slow_answers_are_bounded(organization, settings):
    settings.DELIVERY_LEASE_SECONDS = 2  # half of it for a request

    over = threading.Event()

    def slow(received: Received) -> Reply:
        over.wait(60)
        return Reply()

    with serve(answering(200, b"x" * 1_000_000)) as large, serve(slow) as hanging:
        endpoint_of(organization, large.url)
        endpoint_of(organization, f"{hanging.url}/slow")
        happens(organization)
        started = time.monotonic()
        deliver_due()
        assert time.monotonic() - started < 20
        over.set()
    states = dict(Delivery.objects.values_list("state", "last_error_code"))
    assert states == {"delivered": "", "pending": "no_answer_timeout"}
    assert max(len(one) for one in Attempt.objects.values_list("response", flat=True)) <= 1000


def test_what_an_answer_means_in_words():
    assert webhooks.judged(OutboundRefused("why")).words == "The webhook's address may not be called from here: why."
    answer = OutboundResponse(299, {}, b"\xff" * 9000, True, 1)
    assert webhooks.judged(answer).verdict == "delivered"
    assert len(webhooks.judged(answer).excerpt) <= 1000
    assert webhooks.judged(OutboundResponse(799, {}, b"", False, 1)).words == "The webhook answered 799."


# Failing endpoints


def test_five_days_of_failure_warn_first_and_then_disable(organization, django_capture_on_commit_callbacks):
    MembershipFactory(organization=organization, user__email="o@acme.example", role=Membership.Role.OWNER)
    MembershipFactory(organization=organization, user__email="t@acme.example", role=Membership.Role.TEACHER)

    def fail_when(since: timedelta | None = None, **values: Any) -> WebhookEndpoint:
        if since is not None:
            WebhookEndpoint.objects.update(failing_since=timezone.now() - since, **values)
        due_now()
        with commits(django_capture_on_commit_callbacks):
            deliver_due()
        send_due_mails()
        return WebhookEndpoint.objects.get()

    with serve(answering(500)) as server:
        endpoint_of(organization, server.url)
        happens(organization)
        first = fail_when().failing_since
        assert timezone.now() - first < timedelta(seconds=10)
        assert fail_when().failing_since == first
        assert fail_when(timedelta(days=2, hours=23)).warned_at is None
        assert mail.outbox == []
        assert fail_when(timedelta(days=3, minutes=1)).warned_at is not None
        fail_when()
        assert [(message.to, message.subject) for message in mail.outbox] == [
            (["o@acme.example"], "A webhook of Acme fails")
        ]
        assert "500 Internal Server Error" in mail.outbox[0].body
        assert fail_when(timedelta(days=4, hours=23), warned_at=timezone.now() - timedelta(days=2)).enabled
        # Warned only just now, because nothing was sent in between: there is a day left to react.
        assert fail_when(timedelta(days=9), warned_at=timezone.now() - timedelta(hours=23)).enabled
        endpoint = fail_when(timedelta(days=5, minutes=1), warned_at=timezone.now() - timedelta(days=2))
    assert not endpoint.enabled
    assert endpoint.disabled_reason.startswith("Every try since ")
    assert [message.subject for message in mail.outbox[1:]] == ["A webhook of Acme was disabled"]
    assert Delivery.objects.get().state == "cancelled"


def test_a_success_clears_the_failures(organization, django_capture_on_commit_callbacks):
    with serve(answering()) as server:
        endpoint_of(organization, server.url)
        WebhookEndpoint.objects.update(failing_since=timezone.now() - timedelta(days=4), warned_at=timezone.now())
        happens(organization)
        with commits(django_capture_on_commit_callbacks):
            deliver_due()
    assert WebhookEndpoint.objects.values_list("failing_since", "warned_at").get() == (None, None)
    assert not Mail.objects.exists()


def test_what_is_disabled_deleted_or_purged_meanwhile_is_cancelled(organization):
    first, second = endpoint_of(organization, "https://a.example/"), endpoint_of(organization, "https://b.example/")
    third = endpoint_of(organization, "https://c.example/")
    happens(organization)
    # As if a worker had it in its hands at that moment.
    Delivery.objects.update(claim=None)
    WebhookEndpoint.objects.filter(pk=first.pk).update(enabled=False)
    WebhookEndpoint.objects.filter(pk=second.pk).delete()
    Delivery.objects.filter(endpoint=third).update(source_id=third.pk)
    deliver_due()
    assert set(Delivery.objects.values_list("state", "last_error_code")) == {
        ("cancelled", "endpoint_disabled"),
        ("cancelled", "endpoint_deleted"),
        ("cancelled", "event_deleted"),
    }


def test_deleting_keeps_the_record(organization):
    endpoint = endpoint_of(organization)
    happens(organization)
    delete_endpoint(endpoint)
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.endpoint, delivery.last_error) == (
        "cancelled",
        None,
        "Not sent: the webhook was deleted.",
    )
    delete_endpoint(endpoint)


def test_a_suspended_organizations_webhooks_wait(organization):
    with serve(answering()) as server:
        endpoint_of(organization, server.url)
        happens(organization)
        organization.enabled = False
        organization.save(update_fields=["enabled"])
        deliver_due()
        assert server.received == []
        assert Delivery.objects.get().last_error_code == "waits_for_organization"
        organization.enabled = True
        organization.save(update_fields=["enabled"])
        assert deliver_due().delivered == 1


def test_outcomes_of_webhooks_are_no_events(organization, django_capture_on_commit_callbacks):
    with serve(answering()) as server:
        endpoint_of(organization, server.url)
        happens(organization)
        with commits(django_capture_on_commit_callbacks):
            deliver_due()
            deliver_due()
        assert len(server.received) == 1
    assert Event.objects.count() == 1


# What owners do


def test_a_test_event_goes_to_that_endpoint_alone(organization):
    with serve(answering()) as server:
        endpoint = endpoint_of(organization, server.url, event_types=["meeting.ended"])
        endpoint_of(organization, f"{server.url}/other")
        delivery = send_test_event(endpoint, SYSTEM)
        assert deliver_due().delivered == 1
    (received,) = server.received
    document = verified(received, endpoint.secret)
    assert document["type"] == "webhook.test"
    assert document["data"]["subject"] == {"kind": "webhook", "id": str(endpoint.pk)}
    assert Delivery.objects.get() == delivery
    disable_endpoint(endpoint, "x")
    with pytest.raises(EndpointDisabled):
        send_test_event(endpoint, SYSTEM)
    assert Event.objects.count() == 1


def test_a_secret_is_revealed_for_a_reason(organization):
    endpoint = endpoint_of(organization, "https://hooks.example/in?token=hidden")
    with pytest.raises(EndpointError):
        reveal_secret(endpoint, SYSTEM, "  ")
    assert not Event.objects.exists()
    assert reveal_secret(endpoint, SYSTEM, "connecting") == endpoint.secret
    event = Event.objects.get()
    assert (event.type, event.subject) == ("key.revealed", {"kind": "webhook", "id": str(endpoint.pk)})
    assert event.data == {"host": "hooks.example", "reason": "connecting"}


@pytest.mark.parametrize("names", [[], ["score.chnged"], ["*", "nothing"], ["\x00"]])
def test_unknown_event_types_are_refused(organization, names):
    with pytest.raises(EndpointError) as refused:
        endpoint_of(organization, event_types=names)
    assert refused.value.field == "events"


def test_one_url_has_one_endpoint(organization):
    first = endpoint_of(organization, "https://a.example/")
    with pytest.raises(EndpointError, match="already") as refused:
        endpoint_of(organization, "https://a.example/")
    assert refused.value.taken
    second = endpoint_of(organization, "https://b.example/")
    with pytest.raises(EndpointError, match="already"):
        change_endpoint(second, url=first.url)
    assert WebhookEndpoint.objects.filter(url=first.url).count() == 1


@with_commits
@only_postgresql
def test_one_url_made_twice_at_once_is_one(organization):
    results: list[str] = []
    start = threading.Barrier(4)

    def make() -> None:
        try:
            start.wait()
            endpoint_of(organization, "https://a.example/")
            results.append("made")
        except EndpointError as error:
            results.append(error.field)
        finally:
            connection.close()

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["made", "url", "url", "url"]
