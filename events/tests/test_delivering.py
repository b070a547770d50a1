"""The worker's part, against real servers: claims, leases, order, parallel runs, whatever the answers."""

import threading
import time
from collections import Counter, defaultdict
from datetime import timedelta
from uuid import UUID

import pytest
from django.db import close_old_connections, connection
from django.utils import timezone

from events.claiming import claim_due, take_over_expired
from events.deliveries import Outgoing, deliver_due, enqueue
from events.models import Attempt, Delivery, SilentHost
from events.senders import Result, Verdict
from events.settling import Ended, settle
from events.tests.sink import KIND, a_delivery, posting_to
from organizations.identifiers import uuid7
from tests.factories import OrganizationFactory
from tests.loopback import Received, Reply, serve
from tests.stack import free_port

pytestmark = pytest.mark.django_db
with_commits = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def loopback_allowed(settings):
    settings.OUTBOUND_ALLOW_HTTP = True
    settings.OUTBOUND_ALLOWED_PRIVATE_HOSTS = ["127.0.0.1"]
    settings.DELIVERY_FIRST_RETRY_SECONDS = 30


@pytest.fixture
def organization():
    return OrganizationFactory()


def answering(status: int = 200, body: bytes = b"thanks", **headers: str):
    return lambda received: Reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


def one(organization, **changes):
    delivery = a_delivery(organization, **changes)
    delivery.save()
    return delivery


def test_it_is_delivered_with_its_attempt(organization):
    delivery = one(organization)
    with serve(answering()) as server, posting_to(server.url) as sender:
        assert deliver_due().delivered == 1
        assert deliver_due().delivered == 0
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts, delivery.claim, delivery.claimed_until) == ("delivered", 1, None, None)
    assert delivery.delivered_at is not None
    assert [(end.delivery.pk, end.state) for end in sender.ends] == [(delivery.pk, "delivered")]
    attempt = Attempt.objects.get()
    assert (attempt.number, attempt.response_status, attempt.response, attempt.outcome) == (
        1,
        200,
        "thanks",
        "delivered",
    )
    assert attempt.request == f"POST {server.url}"
    assert attempt.duration_ms is not None
    assert [received.body for received in server.received] == [f"{delivery.target_id} 1".encode()]


@with_commits
def test_the_attempt_is_saved_before_anything_is_sent(organization):
    seen = []

    def look(received: Received) -> Reply:
        seen.append(list(Attempt.objects.values_list("outcome", flat=True)))
        close_old_connections()
        connection.close()
        return Reply()

    one(organization)
    with serve(look) as server, posting_to(server.url):
        deliver_due()
    assert seen == [[""]]


def test_a_fault_of_the_server_is_tried_again_later(organization):
    delivery = one(organization)
    with serve(answering(503, b"down")) as server, posting_to(server.url) as sender:
        deliver_due()
        assert deliver_due().verdicts == {}  # not due yet
    delivery.refresh_from_db()
    assert (delivery.state, delivery.failures, delivery.last_error) == ("pending", 1, "The server answered 503.")
    assert timedelta(seconds=20) < delivery.due_at - timezone.now() < timedelta(seconds=40)
    assert sender.ends == []
    assert Attempt.objects.get().error == "The server answered 503."


def test_retry_after_is_honoured(organization):
    delivery = one(organization)
    with serve(answering(429, Retry_After="7200")) as server, posting_to(server.url):
        deliver_due()
    delivery.refresh_from_db()
    assert timedelta(seconds=7100) < delivery.due_at - timezone.now() < timedelta(seconds=7300)


def test_a_refusal_is_final_and_told(organization):
    delivery = one(organization)
    with serve(answering(400)) as server, posting_to(server.url) as sender:
        deliver_due()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.due_at, delivery.last_error_code) == ("failed", None, "status_400")
    assert [(end.state, end.words) for end in sender.ends] == [("failed", "The server answered 400.")]


def test_a_refused_signature_is_tried_again_at_once(organization):
    delivery = one(organization)
    with serve(answering(401)) as server, posting_to(server.url):
        deliver_due()
        assert len(server.received) == 2
    delivery.refresh_from_db()
    assert (delivery.state, delivery.refused_signatures) == ("pending", 2)
    assert delivery.due_at > timezone.now() + timedelta(seconds=20)


def test_a_forbidden_address_fails_with_words(organization, settings):
    settings.OUTBOUND_ALLOWED_PRIVATE_HOSTS = []
    delivery = one(organization)
    with serve(answering()) as server, posting_to(server.url):
        deliver_due()
        assert server.received == []
    delivery.refresh_from_db()
    assert delivery.state == "failed"
    assert "private network" in delivery.last_error


def test_a_server_that_is_away_is_tried_again_later(organization):
    delivery = one(organization)
    with posting_to(f"http://127.0.0.1:{free_port()}"):
        deliver_due()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.last_error_code) == ("pending", "connection")


def test_what_is_decided_here_is_no_attempt(organization):
    held, cancelled = (
        one(organization, payload={"here": "held"}),
        one(organization, payload={"here": "cancelled"}),
    )
    postponed = one(organization, payload={"here": "postponed"})
    with serve(answering()) as server, posting_to(server.url):
        deliver_due()
        assert server.received == []
    for delivery in (held, cancelled, postponed):
        delivery.refresh_from_db()
        assert (delivery.attempts, delivery.claim, delivery.last_error) == (0, None, "Decided here.")
    assert (held.state, held.due_at) == ("pending", None)
    assert cancelled.state == "cancelled"
    assert postponed.due_at > timezone.now() + timedelta(minutes=9)
    assert Attempt.objects.count() == 0


def test_one_that_cannot_be_prepared_does_not_hold_up_the_others(organization):
    broken = one(organization, payload={"broken": True})
    good = one(organization)
    with serve(answering()) as server, posting_to(server.url):
        deliver_due()
    good.refresh_from_db()
    broken.refresh_from_db()
    assert good.state == "delivered"
    assert (broken.state, broken.last_error_code) == ("pending", "internal_error")


def test_kinds_that_nobody_sends_wait(organization):
    delivery = one(organization, kind="pigeon")
    with serve(answering()) as server, posting_to(server.url):
        deliver_due()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.claim) == ("pending", None)


# -------------------------------------------------------------------------------------- errands of several requests


def echo(received: Received) -> Reply:
    if "slow" in received.path:
        time.sleep(1.2)
    return Reply(404 if "missing" in received.path else 200, received.path.encode())


def test_an_errand_makes_its_requests_in_turn_and_tells_what_it_learned(organization):
    delivery = one(organization, payload={"paths": ["/token", "/list", "/grade"]})
    with serve(echo) as server, posting_to(server.url) as sender:
        assert deliver_due().delivered == 1
        assert [received.path for received in server.received] == ["/token", "/list", "/grade"]
    attempt = Attempt.objects.get(delivery=delivery)
    assert (attempt.request, attempt.response_status) == ("GET ['/token', '/list', '/grade']", 200)
    assert (attempt.response, attempt.outcome) == ("/token /list /grade", "delivered")
    assert [(end.state, end.learned) for end in sender.ends] == [("delivered", ["/token", "/list", "/grade"])]


def test_an_errand_says_itself_how_it_ended(organization):
    delivery = one(organization, payload={"paths": ["/token", "/missing", "/grade"]})
    with serve(echo) as server, posting_to(server.url) as sender:
        deliver_due()
        assert [received.path for received in server.received] == ["/token", "/missing"]
    delivery.refresh_from_db()
    assert (delivery.state, delivery.last_error) == ("failed", "The server answered 404.")
    assert Attempt.objects.get().response_status == 404
    assert sender.ends[0].learned == ["/token", "/missing"]


def test_an_errand_asks_nothing_that_might_be_answered_after_its_lease(organization, settings):
    settings.DELIVERY_LEASE_SECONDS = 4
    delivery = one(organization, payload={"paths": ["/slow-token", "/slow-list", "/grade"]})
    with serve(echo) as server, posting_to(server.url):
        deliver_due()
        assert [received.path for received in server.received] == ["/slow-token", "/slow-list"]
    delivery.refresh_from_db()
    assert (delivery.state, delivery.failures, delivery.last_error_code) == ("pending", 1, "timeout")


def test_an_errand_that_breaks_is_tried_again_and_holds_nothing_up(organization):
    broken = one(organization, payload={"paths": 7})
    good = one(organization, payload={"paths": ["/grade"]})
    with serve(echo) as server, posting_to(server.url):
        deliver_due()
    good.refresh_from_db()
    broken.refresh_from_db()
    assert good.state == "delivered"
    assert (broken.state, broken.claim, broken.last_error_code) == ("pending", None, "internal_error")


# ----------------------------------------------------------------------------------------------- order and leases


@with_commits
def test_a_newer_version_waits_for_the_older_ones_try_and_wins(organization):
    target, source = uuid7(), uuid7()
    arrived = []

    def answer(received: Received) -> Reply:
        version = int(received.body.split()[1])
        if version == 1:
            # While the older one is under way, the newer one appears, and another worker looks for work.
            enqueue(KIND, [Outgoing(organization.pk, target, source, 2)])
            assert claim_due(10).deliveries == []
            connection.close()
            arrived.append(version)
            return Reply(503)
        arrived.append(version)
        return Reply()

    enqueue(KIND, [Outgoing(organization.pk, target, source, 1)])
    with serve(answer) as server, posting_to(server.url):
        deliver_due()
    assert arrived == [1, 2]
    assert dict(Delivery.objects.values_list("sequence", "state")) == {1: "superseded", 2: "delivered"}


@pytest.mark.parametrize("state", ["pending", "delivered", "failed", "cancelled"])
def test_an_older_version_is_never_sent_once_a_newer_one_exists(organization, state):
    target, source = uuid7(), uuid7()
    later = timezone.now() + timedelta(hours=1)
    one(organization, target_id=target, source_id=source, sequence=1)
    one(organization, target_id=target, source_id=source, sequence=2, state=state, due_at=later)
    with serve(answering()) as server, posting_to(server.url):
        deliver_due()
        assert server.received == []
    assert Delivery.objects.get(sequence=1).state == "superseded"


def test_a_dead_workers_delivery_is_taken_over_when_its_lease_ends(organization):
    now = timezone.now()
    dead = one(organization, claim=uuid7(), claimed_until=now - timedelta(seconds=1), attempts=1)
    Attempt.objects.create(delivery=dead, number=1)
    alive = one(organization, claim=uuid7(), claimed_until=now + timedelta(seconds=60))
    with serve(answering()) as server, posting_to(server.url):
        assert deliver_due().delivered == 1
    dead.refresh_from_db()
    alive.refresh_from_db()
    assert (dead.state, alive.state) == ("delivered", "pending")
    assert list(dead.tries.values_list("number", "outcome")) == [(1, ""), (2, "delivered")]


def test_a_dead_workers_older_version_is_not_sent_again(organization):
    target, source, past = uuid7(), uuid7(), timezone.now() - timedelta(seconds=1)
    one(organization, target_id=target, source_id=source, sequence=1, claim=uuid7(), claimed_until=past)
    one(organization, target_id=target, source_id=source, sequence=2)
    with serve(answering()) as server, posting_to(server.url):
        deliver_due()
        assert [received.body.split()[1] for received in server.received] == [b"2"]
    assert dict(Delivery.objects.values_list("sequence", "state")) == {1: "superseded", 2: "delivered"}


def test_a_worker_whose_lease_ran_out_changes_nothing(organization, settings):
    one(organization)
    with posting_to("http://unused.example") as sender:
        settings.DELIVERY_LEASE_SECONDS = 0.05
        zombie = claim_due(1).deliveries[0]
        time.sleep(0.1)
        assert take_over_expired() == 1
        settings.DELIVERY_LEASE_SECONDS = 60
        heir = claim_due(1).deliveries[0]
        assert heir.pk == zombie.pk
        settle([Ended(zombie, Result(Verdict.DELIVERED, "", ""))])
        heir.refresh_from_db()
        assert (heir.state, heir.claim is None, sender.ends) == ("pending", False, [])
        settle([Ended(heir, Result(Verdict.REFUSED, "no", "No."))])
    heir.refresh_from_db()
    assert (heir.state, len(sender.ends)) == ("failed", 1)


def test_nothing_is_sent_when_the_lease_is_too_short_for_the_request(organization, settings):
    """Half of the lease is for the request; here the other half goes by before it can leave."""
    settings.DELIVERY_LEASE_SECONDS = 0.4
    delivery = one(organization, payload={"slow": 0.25}, last_error="Said before.")
    with serve(answering()) as server, posting_to(server.url):
        deliver_due(time_limit=0.5)
        assert server.received == []
    delivery.refresh_from_db()
    assert (delivery.state, delivery.claim, delivery.failures) == ("pending", None, 0)
    assert delivery.last_error == "Said before."
    assert set(Attempt.objects.values_list("outcome", flat=True)) == {"not_sent"}


def test_a_target_never_has_two_under_way(organization):
    """Several sources for one target (as webhooks have) go one after the other."""
    target = uuid7()
    busy, overlaps = threading.Lock(), []

    def answer(received: Received) -> Reply:
        overlaps.append(not busy.acquire(blocking=False))
        time.sleep(0.02)
        busy.release()
        return Reply()

    Delivery.objects.bulk_create([a_delivery(organization, target_id=target) for _ in range(8)])
    with serve(answer) as server, posting_to(server.url):
        assert deliver_due().delivered == 8
    assert overlaps == [False] * 8


def test_a_host_that_does_not_answer_does_not_hold_up_the_others(organization, settings):
    settings.DELIVERY_FIRST_RETRY_SECONDS = 5
    away = f"http://127.0.0.1:{free_port()}"
    first = timezone.now() - timedelta(minutes=1)
    Delivery.objects.bulk_create(
        a_delivery(organization, host="away", payload={"url": away}, due_at=first) for _ in range(100)
    )
    Delivery.objects.bulk_create(a_delivery(organization, host="here") for _ in range(10))
    with serve(answering()) as server, posting_to(server.url):
        tally = deliver_due(in_flight=5)
    assert tally.delivered == 10
    assert Attempt.objects.filter(outcome="retry").count() < 50
    assert SilentHost.objects.get().resting_until > timezone.now()


def test_a_run_ends_when_it_is_told_to_and_loses_nothing(organization):
    Delivery.objects.bulk_create(a_delivery(organization) for _ in range(30))
    stop = threading.Event()

    def answer(received: Received) -> Reply:
        stop.set()
        time.sleep(0.05)
        return Reply()

    with serve(answer) as server, posting_to(server.url):
        tally = deliver_due(in_flight=2, stop=stop)
        assert tally.unfinished
        assert tally.delivered == len(server.received) < 30
    assert not Delivery.objects.filter(claim__isnull=False).exists()


# ---------------------------------------------------------------------------------------------------- in parallel


@pytest.fixture
def parallel_writers():
    if connection.vendor == "sqlite":
        pytest.skip(
            "the tests' SQLite is in memory, where writers do not wait for each other; tests/ has it with files"
        )


def run_in_threads(count: int, work) -> list[BaseException]:
    failed: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - shown by the test
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=guarded) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failed


@with_commits
def test_parallel_runs_share_the_work_and_send_nothing_twice(organization, parallel_writers):
    Delivery.objects.bulk_create(a_delivery(organization) for _ in range(200))

    def answer(received: Received) -> Reply:
        time.sleep(0.01)
        return Reply()

    with serve(answer) as server, posting_to(server.url):
        assert run_in_threads(4, lambda: deliver_due(in_flight=5)) == []
        sent = Counter(received.body for received in server.received)
    assert len(sent) == 200
    assert set(sent.values()) == {1}
    assert Delivery.objects.filter(state="delivered", attempts=1, claim=None).count() == 200


@with_commits
def test_parallel_runs_while_versions_keep_coming(organization, parallel_writers):
    """No overlap for a target, no older one after a newer one, the newest at the end; one in three answers fails."""
    targets = [(uuid7(), uuid7()) for _ in range(10)]
    under_way: set[UUID] = set()
    overlaps: list[UUID] = []
    arrived: dict[UUID, list[int]] = defaultdict(list)
    lock = threading.Lock()
    count = 0

    def answer(received: Received) -> Reply:
        nonlocal count
        target, version = UUID(received.body.split()[0].decode()), int(received.body.split()[1])
        with lock:
            count += 1
            fails = count % 3 == 0
            if target in under_way:
                overlaps.append(target)
            under_way.add(target)
        time.sleep(0.005)
        with lock:
            under_way.discard(target)
            if not fails:
                arrived[target].append(version)
        return Reply(429, b"", {"Retry-After": "0"}) if fails else Reply()

    finished = threading.Event()

    def write() -> None:
        for version in range(1, 16):
            for target, source in targets:
                enqueue(KIND, [Outgoing(organization.pk, target, source, version)])
            time.sleep(0.03)
        finished.set()

    def deliver() -> None:
        while not finished.is_set():
            deliver_due(in_flight=4)
            time.sleep(0.005)

    works = iter([write, deliver, deliver, deliver])
    with serve(answer) as server, posting_to(server.url):
        failed = run_in_threads(4, lambda: next(works)())
        deadline = time.monotonic() + 15
        while Delivery.objects.filter(state="pending").exists() and time.monotonic() < deadline:
            deliver_due()
            time.sleep(0.1)
    assert failed == []
    assert overlaps == []
    assert {target: versions[-1] for target, versions in arrived.items()} == {target: 15 for target, _ in targets}
    assert all(versions == sorted(set(versions)) for versions in arrived.values())
    assert set(Delivery.objects.values_list("state", flat=True)) <= {"delivered", "superseded"}
