"""Grades by LTI 1.3: what the platform's answers mean, and what holds a grade back."""

from datetime import timedelta

import pytest
from django.utils import timezone

from courses.models import ResourceLink
from events.deliveries import deliver_due
from events.models import Attempt, Delivery, Event, SilentHost
from grades.models import GradebookCell
from grades.tests.ags_platform import (
    an_ags_place,
    another_student,
    deliver_until_settled,
    delivery_of,
    launch,
    refusal,
    serve_ags,
)
from organizations.models import Deployment, Installation, Registration
from organizations.service_hosts import allow_host, host_of
from tests.factories import UserFactory
from tests.loopback import Reply

# What a try has learned is written down after the commit.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def place(platform):
    return an_ags_place(platform)


# --------------------------------------------------------------------------------------------------------- answers


@pytest.mark.parametrize(
    ("reply", "state", "code"),
    [
        (Reply(403, b"{}"), "failed", "forbidden"),
        (Reply(403, b"403 Forbidden (Rate Limit Exceeded)"), "pending", "rate_limited"),
        (Reply(429, b"", {"Retry-After": "60"}), "pending", "rate_limited"),
        (
            Reply(422, b'{"errors": {"message": "User not found in course or is not a student"}}'),
            "failed",
            "not_enrolled",
        ),
        (Reply(422, b"{}"), "failed", "score_refused"),
        (Reply(400, b"[]"), "failed", "score_refused"),
        (Reply(422, b'{"error": "course concluded"}'), "failed", "course_not_available"),
        (Reply(503, b"maintenance"), "pending", "server_error"),
        (Reply(200, b"<html>Log in</html>", {"Content-Type": "text/html"}), "pending", "unreadable_answer"),
        (Reply(302, b"", {"Location": "https://www.lms.example/"}), "failed", "redirected"),
        (Reply(404, b"{}"), "failed", "line_item_gone"),
        (refusal(400, "No handler found for /2/lineitems"), "failed", "address_wrong"),
    ],
)
def test_what_an_answer_means(place, platform, reply, state, code):
    platform.manners = lambda received: reply if "scores" in received.path else None
    place.score()
    deliver_due()
    delivery = delivery_of(place)
    assert (delivery.state, delivery.last_error_code) == (state, code)
    assert delivery.last_error.endswith(".")
    for promise in ("again later", "tried again", "newer time"):
        assert promise not in delivery.last_error
    if reply.headers.get("Retry-After"):
        assert timedelta(seconds=50) < delivery.due_at - timezone.now() < timedelta(seconds=70)
    assert Attempt.objects.get().response_status == reply.status


def test_a_token_that_is_not_accepted_is_forgotten_and_a_fresh_one_taken_at_once(place, platform):
    place.score(1)
    deliver_due()
    platform.tokens.clear()  # the LMS has forgotten it
    place.score(2)
    deliver_due()
    assert platform.last() == 20
    assert [claims["iss"] for claims in platform.assertions] == ["client-1", "client-1"]
    assert list(Attempt.objects.values_list("outcome", flat=True)) == ["delivered", "unauthorized", "delivered"]


def test_tokens_that_are_never_accepted_fail_after_seven_tries(place, platform):
    platform.manners = lambda received: Reply(401, b"{}") if "scores" in received.path else None
    place.score()
    deliver_due()
    assert platform.asked("POST", "scores") == 2
    deliver_until_settled()
    delivery = delivery_of(place)
    assert (delivery.state, delivery.attempts, platform.asked("POST", "scores")) == ("failed", 7, 7)
    assert len(platform.assertions) == 7
    assert "access token" in delivery.last_error


def test_a_client_that_the_platform_does_not_know_fails_with_words(place, platform):
    platform.public_keys.clear()
    place.score()
    deliver_until_settled()
    delivery = delivery_of(place)
    assert (delivery.state, delivery.attempts) == ("failed", 7)
    assert "signature" in delivery.last_error
    assert platform.scores == []
    # A burst of tries is few requests: a refusal stands for some seconds.
    assert platform.asked("POST", "token.php") < 7


def test_a_platform_that_is_away_is_tried_again(place, platform):
    with serve_ags() as gone:
        away = gone.url
    Registration.objects.update(token_url=f"{away}/token")
    place.score()
    deliver_due()
    assert (delivery_of(place).state, delivery_of(place).last_error_code) == ("pending", "no_answer")
    assert platform.received == []


def test_a_host_that_does_not_answer_rests(platform):
    place = an_ags_place(platform)
    students = [place, *(another_student(place, f"student-{number}") for number in range(14))]
    with serve_ags() as gone:
        away = gone.line_item_url("4")
    Installation.objects.update(service_hosts=["127.0.0.1"])
    ResourceLink.objects.update(line_item_url=away)
    for student in students:
        student.score()
    deliver_due(in_flight=2)
    assert SilentHost.objects.get(host=host_of(away)).resting_until > timezone.now()
    assert Delivery.objects.filter(state="pending", attempts=0).exists()


# ----------------------------------------------------------------------------------------------- what holds it back


@pytest.mark.parametrize("what", ["column", "list"])
def test_a_foreign_host_gets_no_token_and_no_grade_until_the_owner_allows_it(platform, what):
    """J9, CVE-2023-23611: what a launch names is called only on hosts of the registration or the installation."""
    with serve_ags() as foreign:
        place = an_ags_place(platform, column="")
        if what == "column":
            launch(place, line_item=foreign.line_item_url("4"))
        else:
            launch(place, line_items=foreign.line_items_url)
        foreign.tokens = platform.tokens
        place.score()
        deliver_due()
        held = delivery_of(place)
        assert (held.state, held.due_at, held.attempts, held.last_error_code) == ("pending", None, 0, "waits_for_host")
        assert held.host in held.last_error
        assert held.host == foreign.url.removeprefix("http://")
        assert (platform.received, foreign.received) == ([], [])
        installation = Installation.objects.get()
        assert (installation.service_hosts, installation.pending_service_hosts) == ([], [held.host])
        allow_host(installation, held.host, UserFactory())
        assert deliver_due().delivered == 1
        assert platform.asked("POST", "token.php") == 1
        assert foreign.asked("POST", "token.php") == 0
        assert foreign.asked("POST", "scores") == 1


def test_a_list_of_columns_that_leads_to_a_foreign_host_is_held(platform):
    place = an_ags_place(platform, column="")
    platform.add_column(
        "7",
        id="https://evil.example/lineitem",
        resourceId=str(place.assignment.pk),
        tag="grade",
        resourceLinkId=place.cell.resource_link.resource_link_id,
    )
    place.score()
    deliver_due()
    assert (delivery_of(place).due_at, delivery_of(place).last_error_code) == (None, "waits_for_host")
    assert platform.scores == []


def suspend(place, what, so):
    if what == "registration":
        registration = Registration.objects.get()
        registration.enabled = not so
        registration.save()
    elif what == "pending registration":
        registration = Registration.objects.get()
        registration.state = "pending" if so else "active"
        registration.save(update_fields=["state"])
    elif what == "deployment":
        deployment = Deployment.objects.get()
        deployment.state = "pending" if so else "approved"
        deployment.save()
    else:
        suspended = getattr(place, what)
        suspended.enabled = not so
        suspended.save()


@pytest.mark.parametrize("what", ["organization", "installation", "registration", "pending registration", "deployment"])
def test_what_is_suspended_sends_nothing_and_loses_nothing(place, platform, what):
    suspend(place, what, True)
    place.score()
    deliver_due()
    waiting = delivery_of(place)
    assert (waiting.state, waiting.attempts, platform.received) == ("pending", 0, [])
    assert waiting.last_error
    suspend(place, what, False)
    assert deliver_due().delivered == 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda: Deployment.objects.all().delete(), "deployment_deleted"),
        (lambda: ResourceLink.objects.update(line_item_url="lineitem.php"), "bad_address"),
    ],
)
def test_what_can_never_arrive_fails_with_words(place, platform, change, code):
    place.score()
    change()
    deliver_due()
    assert (delivery_of(place).state, delivery_of(place).last_error_code) == ("failed", code)
    assert Event.objects.get(type="grade.failed").data["person"] == str(place.person.id)
    assert platform.received == []


def test_a_cell_that_is_deleted_while_it_is_prepared_is_no_trouble(place, platform):
    place.score()
    GradebookCell.objects.all().delete()
    deliver_due()
    assert delivery_of(place).last_error_code == "gone"


def test_a_private_address_is_not_called(place, platform, settings):
    settings.OUTBOUND_ALLOWED_PRIVATE_HOSTS = []
    place.score()
    deliver_due()
    assert platform.received == []
    assert "private network" in delivery_of(place).last_error
