"""Whose turn it is: organizations share fairly, a host gets no more than it may, and one that is silent rests."""

import threading
import time
from collections import Counter
from datetime import timedelta

import pytest
from django.db import connection, connections
from django.utils import timezone

from events import sharing
from events.claiming import claim_due, take_over_expired
from events.deliveries import deliver_due
from events.models import Attempt, Delivery, SilentHost
from events.sharing import _receivers_with_due
from events.silence import UNANSWERED_UNTIL_REST, note_answers, rest_after
from events.tests.sink import a_delivery, posting_to
from tests.factories import OrganizationFactory
from tests.loopback import Received, Reply, serve, trickling
from tests.stack import free_port

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def loopback_allowed(settings):
    settings.OUTBOUND_ALLOW_HTTP = True
    settings.OUTBOUND_ALLOWED_PRIVATE_HOSTS = ["127.0.0.1"]
    settings.DELIVERY_FIRST_RETRY_SECONDS = 30


def waiting(organization, host: str, count: int, **changes) -> None:
    Delivery.objects.bulk_create(a_delivery(organization, host=host, **changes) for _ in range(count))


def shares(deliveries: list[Delivery]) -> Counter:
    return Counter((delivery.organization_id, delivery.host) for delivery in deliveries)


def test_organizations_take_turns_whoever_came_first(settings):
    """One has ten thousand due for an hour; the other's few leave with the very next claim."""
    many, few = OrganizationFactory(), OrganizationFactory()
    waiting(many, "a.example", 2000, due_at=timezone.now() - timedelta(hours=1))
    waiting(few, "b.example", 5)
    assert shares(claim_due(20).deliveries) == {(many.pk, "a.example"): 10, (few.pk, "b.example"): 5}
    assert shares(claim_due(20).deliveries) == {(many.pk, "a.example"): 20}


def test_who_names_thousands_of_hosts_makes_no_claim_last(monkeypatch):
    """So many are looked at, and what is due longest; the next organization's turn comes all the same."""
    monkeypatch.setattr(sharing, "_MOST_HOSTS", 3)
    many, few = OrganizationFactory(), OrganizationFactory()
    minute_ago = timezone.now() - timedelta(minutes=1)
    for number in range(10):
        waiting(many, f"h{number}.example", 3, due_at=minute_ago)
    waiting(few, "a.example", 1, due_at=minute_ago)
    waiting(few, "b.example", 1, due_at=minute_ago)
    seen = Counter(receiver[0] for receiver, _ in _receivers_with_due())
    assert seen == {many.pk: 3, few.pk: 2}
    Delivery.objects.filter(host="h9.example").update(due_at=timezone.now() - timedelta(hours=1))
    assert shares(claim_due(8).deliveries)[many.pk, "h9.example"] >= 1
    claimed = shares(claim_due(8).deliveries)
    assert claimed[few.pk, "a.example"] == claimed[few.pk, "b.example"] == 1
    for _ in range(10):
        claim_due(8)
    assert not Delivery.objects.filter(claim=None).exists()


def test_old_notes_of_silence_are_not_read():
    """A host that nobody calls any more costs the claims of others nothing."""
    silent, other = OrganizationFactory(), OrganizationFactory()
    for number in range(5):
        note_answers([((silent.pk, f"gone{number}.example"), False)], ())
    waiting(other, "a.example", 2)
    claimed = claim_due(10)
    assert (len(claimed.deliveries), claimed.silent) == (2, frozenset())


def test_where_all_fits_all_is_claimed_at_once():
    first, second = OrganizationFactory(), OrganizationFactory()
    waiting(first, "a.example", 6)
    waiting(second, "b.example", 3)
    waiting(second, "c.example", 3, due_at=timezone.now() + timedelta(hours=1))
    assert shares(claim_due(20).deliveries) == {(first.pk, "a.example"): 6, (second.pk, "b.example"): 3}


def test_who_has_less_under_way_comes_first():
    busy, idle = OrganizationFactory(), OrganizationFactory()
    waiting(busy, "a.example", 30, due_at=timezone.now() - timedelta(hours=1))
    assert len(claim_due(10).deliveries) == 10
    waiting(idle, "b.example", 30)
    taken = shares(claim_due(10).deliveries)
    assert taken[idle.pk, "b.example"] >= 5


def test_a_host_never_has_more_under_way_than_its_limit(settings):
    """Over all workers, and for all organizations together."""
    settings.DELIVERY_HOST_LIMIT = 12
    first, second = OrganizationFactory(), OrganizationFactory()
    waiting(first, "shared.example", 30)
    waiting(second, "shared.example", 30)
    waiting(second, "other.example", 4)
    counts = sum((shares(claim_due(10).deliveries) for _ in range(5)), Counter())
    assert sum(count for (_, host), count in counts.items() if host == "shared.example") == 12
    assert counts[second.pk, "other.example"] == 4


def test_a_run_that_is_at_a_host_already_takes_no_more_than_it_has_room_for():
    organization = OrganizationFactory()
    waiting(organization, "a.example", 9)
    waiting(organization, "b.example", 9)
    waiting(organization, "c.example", 3)
    assert shares(claim_due(20, {"a.example": 0, "b.example": 2}).deliveries) == {
        (organization.pk, "b.example"): 2,
        (organization.pk, "c.example"): 3,
    }


def test_every_receiver_with_something_due_is_found_in_one_step_each():
    organizations = [OrganizationFactory() for _ in range(3)]
    for organization in organizations:
        for host in ("", "a.example", "B.example", "ü.example"):
            waiting(organization, host, 3)
    waiting(organizations[0], "later.example", 2, due_at=timezone.now() + timedelta(hours=1))
    waiting(organizations[0], "held.example", 1, due_at=None)
    found = [receiver for receiver, _ in _receivers_with_due()]
    assert len(found) == len(set(found)) == 12
    assert {host for _, host in found} == {"", "a.example", "B.example", "ü.example"}


def test_a_lease_is_measured_by_the_clock_of_the_database(settings, monkeypatch):
    """A worker whose own clock is an hour behind takes no lease that has run out already, and takes over nobody's."""
    settings.DELIVERY_LEASE_SECONDS = 60
    organization = OrganizationFactory()
    waiting(organization, "a.example", 1, due_at=timezone.now() - timedelta(hours=2))
    real = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: real() - timedelta(hours=1))
    claimed = claim_due(1).deliveries[0]
    monkeypatch.setattr(timezone, "now", lambda: real() + timedelta(hours=1))
    assert take_over_expired() == 0
    claimed.refresh_from_db()
    assert timedelta(seconds=30) < claimed.claimed_until - real() <= timedelta(seconds=61)


def test_what_a_newer_version_has_overtaken_does_not_stand_in_the_way():
    """More of them than are looked at in one claim: they are superseded, and what is behind them is claimed."""
    organization = OrganizationFactory()
    past = timezone.now() - timedelta(hours=1)
    older = [a_delivery(organization, host="a.example", due_at=past) for _ in range(30)]
    newer = [
        a_delivery(
            organization, host="a.example", target_id=one.target_id, source_id=one.source_id, sequence=2, due_at=None
        )
        for one in older
    ]
    Delivery.objects.bulk_create([*older, *newer])
    waiting(organization, "a.example", 3)
    assert len(claim_due(10).deliveries) == 3
    assert Delivery.objects.filter(state="superseded").count() == 30


# ------------------------------------------------------------------------------------------------ hosts that rest


def test_some_silence_in_a_row_makes_a_host_rest_and_each_rest_is_longer(settings):
    settings.DELIVERY_FIRST_RETRY_SECONDS = 30
    organization = OrganizationFactory()
    receiver = (organization.pk, "a.example")
    assert note_answers([(receiver, False)] * (UNANSWERED_UNTIL_REST - 1), ()) == set()
    assert note_answers([(receiver, False)], ()) == {receiver}
    rests = []
    for _ in range(4):
        rests.append((SilentHost.objects.get().resting_until - timezone.now()).total_seconds())
        SilentHost.objects.update(resting_until=timezone.now() - timedelta(seconds=1))
        note_answers([(receiver, False)], {receiver})
    assert [round(seconds, -1) for seconds in rests] == [30, 60, 120, 240]
    assert rest_after(50).total_seconds() == 600


def test_requests_that_were_in_the_air_together_are_one_reason_to_rest():
    organization = OrganizationFactory()
    receiver = (organization.pk, "a.example")
    for _ in range(4):
        note_answers([(receiver, False)] * 5, {receiver})
    silent = SilentHost.objects.get()
    assert (silent.unanswered, silent.rests) == (20, 1)


def test_any_answer_ends_the_silence():
    organization = OrganizationFactory()
    receiver = (organization.pk, "a.example")
    note_answers([(receiver, False)] * 5, ())
    note_answers([(receiver, False), (receiver, True), (receiver, False)], {receiver})
    assert SilentHost.objects.get().unanswered == 1
    note_answers([(receiver, False), (receiver, True)], {receiver})
    assert not SilentHost.objects.exists()


def test_nothing_is_asked_of_the_database_while_all_answer(django_assert_num_queries):
    with django_assert_num_queries(0):
        assert note_answers([((OrganizationFactory.build().pk, "a.example"), True)] * 3, ()) == set()


def test_a_host_that_has_rested_is_tried_with_one_request_at_a_time():
    organization = OrganizationFactory()
    waiting(organization, "a.example", 10)
    silent = SilentHost.objects.create(
        organization=organization, host="a.example", unanswered=9, rests=1,
        resting_until=timezone.now() + timedelta(minutes=1),
    )  # fmt: skip
    assert claim_due(10).deliveries == []
    silent.resting_until = timezone.now() - timedelta(seconds=1)
    silent.save()
    assert len(claim_due(10).deliveries) == 1
    assert claim_due(10).deliveries == []


def test_one_organizations_silent_host_does_not_rest_for_another():
    silent, other = OrganizationFactory(), OrganizationFactory()
    waiting(silent, "shared.example", 3)
    waiting(other, "shared.example", 3)
    note_answers([((silent.pk, "shared.example"), False)] * 5, ())
    assert shares(claim_due(10).deliveries) == {(other.pk, "shared.example"): 3}


def test_a_host_that_answers_again_is_sent_all_that_waited(settings):
    settings.DELIVERY_FIRST_RETRY_SECONDS = 0.05
    organization = OrganizationFactory()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    waiting(organization, f"127.0.0.1:{port}", 30)
    with posting_to(url):
        deliver_due()
        assert SilentHost.objects.get().rests >= 1
        with serve(lambda received: Reply(), port=port):
            deadline = time.monotonic() + 30
            while Delivery.objects.filter(state="pending").exists() and time.monotonic() < deadline:
                deliver_due()
                time.sleep(0.02)
    assert Delivery.objects.filter(state="delivered").count() == 30
    assert not SilentHost.objects.exists()


# ----------------------------------------------------------------------------------------------- hosts that hang


@pytest.mark.django_db(transaction=True)
def test_a_host_that_hangs_holds_back_nobody_else(settings):
    """Deliveries to others leave while it still has all the requests of this run that it may have."""
    if connection.vendor == "sqlite":
        pytest.skip(
            "the tests' SQLite is in memory, where writers do not wait for each other; test_slow_lms has a file"
        )
    settings.DELIVERY_LEASE_SECONDS = 20
    slow, quick = OrganizationFactory(), OrganizationFactory()
    released = threading.Event()
    asked = threading.Semaphore(0)

    def hang(received: Received) -> Reply:
        asked.release()
        released.wait(30)
        return Reply()

    with serve(hang) as hanging, serve(lambda received: Reply()) as good, posting_to(good.url):
        waiting(slow, "hanging", 100, payload={"url": hanging.url}, due_at=timezone.now() - timedelta(hours=1))

        def run() -> None:
            try:
                deliver_due(in_flight=5, time_limit=30)
            finally:
                connection.close()

        worker = threading.Thread(target=run)
        worker.start()
        try:
            for _ in range(5):
                assert asked.acquire(timeout=20)
            # In the middle of it, something for another LMS is recorded.
            waiting(quick, "quick", 10)
            deadline = time.monotonic() + 8  # the requests that hang have ten seconds, and nobody has answered them
            while Delivery.objects.filter(host="quick", state="delivered").count() < 10:
                assert time.monotonic() < deadline, "what hangs held back the others"
                time.sleep(0.05)
            assert not Delivery.objects.filter(host="hanging", state="delivered").exists()
            assert len(hanging.received) <= 5
            assert not released.is_set()
        finally:
            released.set()
            worker.join(40)
            connections.close_all()
    assert not worker.is_alive()


def test_what_waits_its_turn_at_a_host_that_went_silent_is_given_back(settings):
    """It has not left: no attempt is lost, and it is due again when the host has rested."""
    settings.DELIVERY_LEASE_SECONDS = 4
    organization = OrganizationFactory()
    released = threading.Event()

    def hang(received: Received) -> Reply:
        released.wait(20)
        return Reply()

    with serve(hang) as server, posting_to(server.url):
        waiting(organization, "hanging", 10)
        deliver_due(in_flight=5)
        released.set()
        assert len(server.received) == 5
    assert Counter(Attempt.objects.values_list("outcome", flat=True)) == {"retry": 5, "not_sent": 5}
    assert Delivery.objects.filter(state="pending", claim=None, failures=0, due_at__lte=timezone.now()).count() == 5


def test_an_answer_that_trickles_without_end_is_cut_off(settings):
    """A byte at a time keeps every read alive; the request as a whole has its time all the same."""
    settings.DELIVERY_LEASE_SECONDS = 3  # half of which is the request's
    organization = OrganizationFactory()
    waiting(organization, "trickles", 1)
    with trickling() as url, posting_to(url):
        started = time.monotonic()
        deliver_due()
        assert time.monotonic() - started < 15
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.failures, delivery.last_error_code) == ("pending", 1, "timeout")
    attempt = Attempt.objects.get()
    assert attempt.outcome == "retry"
    assert attempt.duration_ms >= 1000
