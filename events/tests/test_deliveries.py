"""The outbox itself: what goes in, what is superseded, taken back, sent again; and what follows from a try."""

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from events.deliveries import Outgoing, cancel, cancel_waiting, enqueue, make_due, resend, resend_many
from events.log import SYSTEM, Actor
from events.models import Delivery
from events.senders import WAITS_FOR_KEY, Result, Verdict
from events.settling import UNAUTHORIZED_TRIES, decide
from organizations.identifiers import uuid7
from organizations.models import Organization
from organizations.service_hosts import allow_host
from tests.factories import InstallationFactory, LtiKeyFactory, OrganizationFactory, UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def organization() -> Any:
    return OrganizationFactory()


def outgoing(organization: Organization, sequence: int = 1, **changes: Any) -> Outgoing:
    values: dict[str, Any] = {
        "target_id": UUID(int=1),
        "source_id": UUID(int=2),
        "payload": {"n": sequence},
        "host": "lms.example",
    }
    return Outgoing(organization.pk, sequence=sequence, **{**values, **changes})


def states() -> dict[int, str]:
    return dict(Delivery.objects.order_by("sequence").values_list("sequence", "state"))


def a_delivery(organization: Organization, **changes: Any) -> Delivery:
    now = timezone.now()
    values: dict[str, Any] = {
        "kind": "grade",
        "target_id": uuid7(),
        "source_id": uuid7(),
        "sequence": 1,
        "give_up_at": now + timedelta(hours=72),
    }
    return Delivery.objects.create(organization=organization, **{**values, **changes})


def test_a_newer_version_supersedes_what_waits(organization):
    enqueue("grade", [outgoing(organization, 1)])
    enqueue("grade", [outgoing(organization, 2), outgoing(organization, 2, target_id=UUID(int=9))])
    assert sorted(Delivery.objects.values_list("target_id", "sequence", "state")) == [
        (UUID(int=1), 1, "superseded"),
        (UUID(int=1), 2, "pending"),
        (UUID(int=9), 2, "pending"),
    ]


def test_a_newer_version_leaves_alone_what_is_under_way(organization):
    enqueue("grade", [outgoing(organization, 1)])
    Delivery.objects.update(claim=uuid7(), claimed_until=timezone.now() + timedelta(seconds=60))
    enqueue("grade", [outgoing(organization, 2)])
    assert states() == {1: "pending", 2: "pending"}


def test_a_newer_version_waits_for_what_the_other_side_may_still_be_at_work_on(organization):
    enqueue("grade", [outgoing(organization, 1), outgoing(organization, 1, target_id=UUID(int=9))])
    Delivery.objects.filter(target_id=UUID(int=1)).update(last_error_code="no_answer_timeout")
    enqueue("grade", [outgoing(organization, 2), outgoing(organization, 2, target_id=UUID(int=9))])
    newer = Delivery.objects.get(target_id=UUID(int=1), sequence=2)
    assert newer.due_at > timezone.now() + timedelta(seconds=50)
    assert Delivery.objects.get(target_id=UUID(int=9), sequence=2).due_at <= timezone.now()
    assert states()[1] == "superseded"


def test_many_are_enqueued_in_few_statements(organization, django_assert_max_num_queries):
    with django_assert_max_num_queries(3):
        enqueue("grade", [outgoing(organization, 2, target_id=uuid7(), source_id=uuid7()) for _ in range(40)])
    assert Delivery.objects.filter(state="pending").count() == 40


def test_the_same_version_again_is_sent_again(organization):
    enqueue("grade", [outgoing(organization, 1)])
    Delivery.objects.update(state="delivered", due_at=None, attempts=3, delivered_at=timezone.now())
    enqueue("grade", [outgoing(organization, 1)])
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.attempts) == ("pending", 3)
    assert delivery.due_at is not None


@pytest.mark.parametrize("state", ["failed", "cancelled", "delivered", "pending"])
def test_resend_makes_due_with_a_whole_new_time(organization, state):
    long_ago = timezone.now() - timedelta(days=5)
    delivery = a_delivery(
        organization, state=state, due_at=None, give_up_at=long_ago, attempts=7, failures=7, refused_signatures=7
    )
    due = resend(delivery, SYSTEM)
    due.refresh_from_db()
    assert (due.pk, due.state, due.attempts, due.failures, due.refused_signatures) == (delivery.pk, "pending", 7, 0, 0)
    assert due.due_at <= timezone.now()
    assert due.give_up_at > timezone.now() + timedelta(hours=71)


def test_resending_an_older_version_resends_the_newest(organization):
    old = a_delivery(organization, target_id=UUID(int=1), source_id=UUID(int=2), sequence=1, state="failed")
    newest = a_delivery(organization, target_id=UUID(int=1), source_id=UUID(int=2), sequence=2, state="failed")
    assert resend(old, SYSTEM).pk == newest.pk
    assert states() == {1: "failed", 2: "pending"}


def test_resend_leaves_alone_what_is_under_way(organization):
    claim = uuid7()
    delivery = a_delivery(organization, claim=claim, claimed_until=timezone.now(), failures=2)
    assert resend(delivery, SYSTEM).claim == claim
    delivery.refresh_from_db()
    assert delivery.failures == 2


def test_resending_many_is_as_resending_each(organization):
    under_way = a_delivery(organization, claim=uuid7(), claimed_until=timezone.now(), failures=2)
    old = a_delivery(organization, target_id=UUID(int=1), source_id=UUID(int=2), sequence=1, state="failed")
    newest = a_delivery(organization, target_id=UUID(int=1), source_id=UUID(int=2), sequence=2, state="delivered")
    others = [a_delivery(organization, state=state) for state in ("failed", "cancelled", "delivered", "pending")]
    left = a_delivery(organization, state="failed")
    assert resend_many([under_way, old, newest, *others], SYSTEM) == 5
    due = Delivery.objects.filter(state="pending", due_at__lte=timezone.now())
    assert set(due.values_list("pk", flat=True)) == {under_way.pk, newest.pk, *(other.pk for other in others)}
    for delivery, state in ((old, "failed"), (left, "failed")):
        delivery.refresh_from_db()
        assert delivery.state == state
    under_way.refresh_from_db()
    assert (under_way.claim is not None, under_way.failures) == (True, 2)


def test_many_are_sent_again_in_few_statements(organization, django_assert_max_num_queries):
    rows = [a_delivery(organization, state="failed") for _ in range(40)]
    with django_assert_max_num_queries(6):
        assert resend_many(rows, Actor("user", "1", "Ada")) == 40


def test_cancel_takes_back_what_waits_and_nothing_else(organization):
    waiting, under_way, over = (
        a_delivery(organization),
        a_delivery(organization, claim=uuid7(), claimed_until=timezone.now()),
        a_delivery(organization, state="delivered"),
    )
    assert [cancel(delivery, SYSTEM) for delivery in (waiting, under_way, over)] == [True, False, False]
    waiting.refresh_from_db()
    assert (waiting.state, waiting.due_at) == ("cancelled", None)


def test_cancel_waiting_can_spare_sources(organization):
    target, spared = uuid7(), uuid7()
    a_delivery(organization, target_id=target, source_id=spared)
    a_delivery(organization, target_id=target)
    assert cancel_waiting("grade", target_ids=[target], except_source_ids=[spared], code="x", words="y") == 1
    assert Delivery.objects.get(state="pending").source_id == spared


def test_the_database_allows_one_under_way_per_target(organization):
    target, until = uuid7(), timezone.now()
    a_delivery(organization, target_id=target, claim=uuid7(), claimed_until=until)
    with pytest.raises(IntegrityError), transaction.atomic():
        a_delivery(organization, target_id=target, claim=uuid7(), claimed_until=until)


# ------------------------------------------------------------------------------------------- what is waited for


def waiting(organization: Organization, code: str, **changes: Any) -> Delivery:
    return a_delivery(organization, due_at=None, last_error_code=code, **changes)


def test_an_allowed_host_makes_due_what_waited_for_it(organization):
    installation = InstallationFactory(organization=organization, pending_service_hosts=["new.example", "b.example"])
    released = waiting(organization, "waits_for_host", host="new.example")
    other_host = waiting(organization, "waits_for_host", host="b.example")
    other_tenant = waiting(OrganizationFactory(), "waits_for_host", host="new.example")
    allow_host(installation, "new.example", UserFactory())
    assert Delivery.objects.get(due_at__isnull=False) == released
    assert set(Delivery.objects.filter(due_at=None)) == {other_host, other_tenant}


def test_a_host_added_by_hand_makes_due_what_waited_for_it(organization):
    installation = InstallationFactory(organization=organization)
    waiting(organization, "waits_for_host", host="lms.campus.example")
    waiting(organization, "waits_for_host", host="lms.elsewhere.example")
    installation.service_hosts = ["*.campus.example"]
    installation.save()
    assert Delivery.objects.get(due_at__isnull=False).host == "lms.campus.example"


@pytest.mark.parametrize("what", ["organization", "installation", "key"])
def test_enabling_makes_due_what_waited(organization, what):
    installation = InstallationFactory(organization=organization)
    key = LtiKeyFactory(installation=installation)
    waiting(organization, f"waits_for_{what}")
    {"organization": organization, "installation": installation, "key": key}[what].save(update_fields=["enabled"])
    assert Delivery.objects.get().due_at is not None


def test_saving_other_fields_costs_nothing(organization, django_assert_num_queries):
    installation = InstallationFactory(organization=organization)
    with django_assert_num_queries(1):
        installation.save(update_fields=["lms_version"])


def test_what_waits_for_its_next_try_is_not_hurried(organization):
    soon = timezone.now() + timedelta(hours=1)
    a_delivery(organization, due_at=soon, last_error_code="server_error")
    assert make_due(organization.pk, code=WAITS_FOR_KEY) == 0
    assert Delivery.objects.get().due_at == soon


# ------------------------------------------------------------------------------------------------ after a try


NOW = datetime.fromisoformat("2030-01-01T12:00:00+00:00")


def after(verdict: Verdict, *, retry_after: float | None = None, **values: Any):
    fields: dict[str, Any] = {"attempts": 1, "created_at": NOW, "give_up_at": NOW + timedelta(hours=72), **values}
    return decide(Delivery(kind="grade", sequence=1, **fields), Result(verdict, "code", "Words.", retry_after), NOW)


@pytest.mark.parametrize(
    ("verdict", "state"),
    [
        (Verdict.DELIVERED, "delivered"),
        (Verdict.REFUSED, "failed"),
        (Verdict.CANCELLED, "cancelled"),
        (Verdict.RETRY, "pending"),
        (Verdict.UNAUTHORIZED, "pending"),
        (Verdict.HELD, "pending"),
        (Verdict.POSTPONED, "pending"),
        (Verdict.NOT_SENT, "pending"),
    ],
)
def test_state_after_each_verdict(verdict, state):
    decision = after(verdict)
    assert decision.state == state
    assert (decision.due_at is None) == (state != "pending" or verdict == Verdict.HELD)


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 30), (1, 60), (2, 120), (5, 960), (9, 15360), (10, 21600), (200, 21600)]
)
def test_retries_wait_twice_as_long_each_time_up_to_six_hours(settings, failures, seconds):
    settings.DELIVERY_FIRST_RETRY_SECONDS = 30
    waits = [(after(Verdict.RETRY, failures=failures).due_at - NOW).total_seconds() for _ in range(50)]
    assert seconds * 0.8 <= min(waits) < max(waits) <= seconds * 1.2


@pytest.mark.parametrize(("asked", "seconds"), [(7, 7), (0, 1), (86400, 86400)])
def test_retry_after_is_honoured(asked, seconds):
    assert after(Verdict.RETRY, retry_after=asked).due_at == NOW + timedelta(seconds=seconds)


def test_a_server_that_always_says_at_once_is_not_hammered(settings):
    settings.DELIVERY_FIRST_RETRY_SECONDS = 30
    assert after(Verdict.RETRY, retry_after=0, failures=20).due_at > NOW + timedelta(hours=4)


def test_the_last_try_is_when_the_time_is_up():
    decision = after(Verdict.RETRY, retry_after=3600, give_up_at=NOW + timedelta(minutes=5))
    assert (decision.state, decision.due_at) == ("pending", NOW + timedelta(minutes=5))


def test_after_the_last_try_it_has_failed_and_says_so():
    decision = after(Verdict.RETRY, attempts=17, created_at=NOW - timedelta(hours=72), give_up_at=NOW)
    assert (decision.state, decision.due_at) == ("failed", None)
    assert decision.words == "Words. It was tried 17 times, for 3 days, without success."


def test_a_refused_signature_is_tried_again_at_once_then_five_times_more():
    refused, waits, decision = 0, [], None
    while decision is None or decision.state == "pending":
        decision = after(
            Verdict.UNAUTHORIZED, refused_signatures=refused, failures=decision.failures if decision else 0
        )
        refused = decision.refused_signatures
        waits.append(decision.due_at and (decision.due_at - NOW).total_seconds())
    assert decision.state == "failed"
    assert len(waits) == UNAUTHORIZED_TRIES
    assert waits[0] == 0
    assert waits[-1] is None
    assert all(earlier < later for earlier, later in pairwise(waits[:-1]))


@pytest.mark.parametrize("verdict", [Verdict.HELD, Verdict.POSTPONED])
def test_waiting_for_people_uses_up_no_time(verdict):
    decision = after(verdict, give_up_at=NOW - timedelta(days=9))
    assert (decision.state, decision.give_up_at) == ("pending", NOW + timedelta(hours=72))


def test_what_was_not_sent_keeps_what_it_said_before():
    decision = after(Verdict.NOT_SENT, last_error="Said before.", give_up_at=NOW - timedelta(hours=1))
    assert (decision.state, decision.due_at, decision.words) == ("pending", NOW, "Said before.")
