"""Grades on their way to a real outcome service on loopback."""

import threading
import time
from datetime import timedelta
from decimal import Decimal
from xml.etree.ElementTree import Element

import pytest
from defusedxml.ElementTree import fromstring
from django.db import connection
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from courses.models import Submission
from events.deliveries import deliver_due, resend
from events.log import SYSTEM
from events.models import Attempt, Delivery, Event
from grades.models import GradebookCell
from grades.tests.place import SECRET, a_place
from lti.v1p1.outcomes import response as outcome_response
from organizations.credentials import reset_secret
from organizations.models import LtiKey
from organizations.service_hosts import allow_host
from tests.factories import AssignmentFactory, UserFactory
from tests.loopback import Reply, serve_gradebook

pytestmark = pytest.mark.django_db
with_commits = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def loopback_allowed(settings):
    settings.OUTBOUND_ALLOW_HTTP = True
    settings.OUTBOUND_ALLOWED_PRIVATE_HOSTS = ["127.0.0.1"]


@pytest.fixture
def gradebook():
    with serve_gradebook({}) as running:
        yield running


@pytest.fixture
def place(gradebook):
    place = a_place(gradebook.url)
    gradebook.secrets[place.key.consumer_key] = SECRET
    return place


def delivery_of(place) -> Delivery:
    return Delivery.objects.get(target_id=place.cell.id)


def sent(gradebook) -> Element:
    return fromstring(gradebook.bodies[-1])


def text_of(root: Element, *path: str) -> str | None:
    return root.findtext("/".join(f".//{{*}}{path[0]}" if n == 0 else f"{{*}}{name}" for n, name in enumerate(path)))


@with_commits
def test_a_grade_arrives(place, gradebook):
    place.score("8.5")
    assert deliver_due().delivered == 1
    assert gradebook.last() == {place.cell.result_sourcedid: Decimal("0.85")}
    assert gradebook.refused == []
    delivery = delivery_of(place)
    assert (delivery.state, delivery.last_error) == ("delivered", "")
    assert GradebookCell.objects.get().last_percentage == Decimal("0.85")
    event = Event.objects.get(type="grade.delivered")
    assert event.organization == place.organization
    assert event.subject == {"kind": "delivery", "id": str(delivery.id)}
    assert event.data == {
        "score": str(delivery.source_id),
        "version": 1,
        "percentage": 85.0,
        "attempts": 1,
        "assignment": str(place.assignment.id),
        "person": str(place.person.id),
        "course": str(place.course.id),
        "installation": str(place.installation.id),
    }


@pytest.mark.parametrize(
    ("points", "possible", "arrives"), [("12", 10, "1"), ("0", 10, "0"), ("1", 3, "0.3333333333"), ("2.5", 10, "0.25")]
)
def test_what_arrives_is_a_share_of_the_points(place, gradebook, points, possible, arrives):
    place.assignment.points_possible = possible
    place.assignment.save()
    place.score(points, extra_credit=Decimal(3))
    deliver_due()
    assert gradebook.last() == {place.cell.result_sourcedid: Decimal(arrives)}


def test_nothing_secret_is_in_the_attempts_record(place, gradebook):
    sourcedid = '{"data":{"instanceid":"6","userid":"4"},"hash":"5e3a<&>"}'
    GradebookCell.objects.update(result_sourcedid=sourcedid)
    gradebook.manners = lambda received, asked, score: Reply(
        200,
        outcome_response(
            "replaceResult", message_id="1", message_ref="", code_major="failure", description=f"Unknown id {asked}"
        ),
    )
    place.score()
    deliver_due()
    attempt = Attempt.objects.get()
    told = (attempt.request, attempt.response, attempt.error, delivery_of(place).last_error)
    assert gradebook.url in attempt.request
    assert "score 0.85" in attempt.request
    for text in told:
        for secret in ("instanceid", "5e3a", SECRET, "course=5", "oauth_signature"):
            assert secret not in text
    assert "Unknown id" in delivery_of(place).last_error


def test_it_posts_xml_to_the_whole_address(place, gradebook):
    headers = []
    gradebook.manners = lambda received, sourcedid, score: headers.append((received.path, received.headers))
    place.score()
    deliver_due()
    path, named = headers[0]
    assert path == "/outcomes?course=5"
    assert named["Content-Type"] == "application/xml"
    assert named["Authorization"].startswith("OAuth ")
    assert named["User-Agent"]


# ---------------------------------------------------------------------------------------------- what is advertised


def test_nothing_beyond_the_standard_is_sent_unasked(place, gradebook):
    place.score()
    deliver_due()
    for name in ("resultTotalScore", "submissionDetails", "resultData"):
        assert sent(gradebook).find(f".//{{*}}{name}") is None


@pytest.mark.parametrize(
    ("lms_points", "points", "total"),
    [(None, "8.5", "8.5"), ("100", "8.5", "85"), ("0", "8.5", "8.5"), ("20", 12, "20")],
)
def test_points_go_where_the_lms_takes_points(place, gradebook, lms_points, points, total):
    """They override the percentage, so they are in the points of the LMS where it named them (B20)."""
    extensions = {"total_score_accepted": True, "data_values_accepted": ["url", "text"]}
    if lms_points is not None:
        extensions["points_possible"] = lms_points
    GradebookCell.objects.update(outcome_extensions=extensions)
    place.score(points)
    deliver_due()
    assert text_of(sent(gradebook), "resultTotalScore", "textString") == total
    assert sent(gradebook).find(".//{*}resultData") is None


def test_the_time_of_handing_in_goes_where_the_lms_wants_it(place, gradebook):
    moment = timezone.now().replace(microsecond=0) - timedelta(days=2)
    Submission.objects.create(assignment=place.assignment, person=place.person, submitted_at=moment)
    GradebookCell.objects.update(outcome_extensions={"submitted_at_accepted": True})
    place.score()
    deliver_due()
    assert text_of(sent(gradebook), "submissionDetails", "submittedAt") == moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


# ------------------------------------------------------------------------------------------------------- signatures


def test_the_old_secret_signs_until_the_lms_knows_the_new_one(place, gradebook):
    LtiKey.objects.update(last_used_at=timezone.now())
    new = reset_secret(LtiKey.objects.get(), timedelta(days=1), None)
    place.score(1)
    deliver_due()
    assert (gradebook.refused, Attempt.objects.count()) == ([], 1)
    # The LMS was given the new one, and launched with it.
    LtiKey.objects.update(last_used_at=timezone.now())
    gradebook.secrets[place.key.consumer_key] = new
    place.score(2)
    deliver_due()
    assert (gradebook.refused, gradebook.last()) == ([], {place.cell.result_sourcedid: Decimal("0.2")})


def test_a_refused_signature_is_made_anew_with_the_other_secret_at_once(place, gradebook):
    LtiKey.objects.update(last_used_at=timezone.now())
    gradebook.secrets[place.key.consumer_key] = reset_secret(LtiKey.objects.get(), timedelta(days=1), None)
    place.score()
    deliver_due()
    assert len(gradebook.refused) == 1
    assert gradebook.last() == {place.cell.result_sourcedid: Decimal("0.85")}
    assert list(Attempt.objects.values_list("number", "outcome")) == [(1, "unauthorized"), (2, "delivered")]


def test_a_wrong_secret_fails_after_seven_tries_and_says_why(place, gradebook, settings):
    settings.DELIVERY_FIRST_RETRY_SECONDS = 0.01
    gradebook.secrets[place.key.consumer_key] = "another"
    place.score()
    deadline = time.monotonic() + 20
    while delivery_of(place).state == "pending" and time.monotonic() < deadline:
        deliver_due()
        time.sleep(0.05)
    delivery = delivery_of(place)
    assert (delivery.state, delivery.attempts) == ("failed", 7)
    assert "shared secret" in delivery.last_error
    assert "clock" in delivery.last_error
    event = Event.objects.get(type="grade.failed")
    assert event.data["reason"] == delivery.last_error
    assert event.data["code"] == delivery.last_error_code


# ---------------------------------------------------------------------------------------------- what holds it back


def test_a_host_that_is_not_allowed_gets_nothing_until_the_owner_allows_it(place, gradebook):
    place.installation.service_hosts = ["elsewhere.example"]
    place.installation.save()
    place.score()
    deliver_due()
    held = delivery_of(place)
    assert (held.state, held.due_at, held.attempts, held.last_error_code) == ("pending", None, 0, "waits_for_host")
    assert held.host in held.last_error
    assert place.organization.name in held.last_error
    assert gradebook.bodies == []
    allow_host(place.installation, held.host, UserFactory())
    deliver_due()
    assert gradebook.last() == {place.cell.result_sourcedid: Decimal("0.85")}


@pytest.mark.parametrize("what", ["organization", "installation", "key"])
def test_what_is_suspended_sends_nothing_and_loses_nothing(place, gradebook, what):
    suspended = getattr(place, what)
    suspended.enabled = False
    suspended.save()
    place.score()
    deliver_due()
    waiting = delivery_of(place)
    assert (waiting.state, waiting.attempts, gradebook.bodies) == ("pending", 0, [])
    assert waiting.due_at > timezone.now()
    suspended.enabled = True
    suspended.save()
    deliver_due()
    assert gradebook.last() == {place.cell.result_sourcedid: Decimal("0.85")}


def change_to_enroll_only(place):
    place.course.enroll_only = True
    place.course.save()


def point_elsewhere(place):
    GradebookCell.objects.update(assignment=AssignmentFactory(course=place.course))


def delete_the_cell(place):
    GradebookCell.objects.all().delete()


def withdraw_quietly(place):
    """As another worker's view would be: the older version was under way when the score was taken back."""
    place.score("8.5", released=False)
    Delivery.objects.update(state="pending", due_at=timezone.now())


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (change_to_enroll_only, "enroll_only"),
        (point_elsewhere, "link_opens_another_assignment"),
        (delete_the_cell, "gone"),
        (withdraw_quietly, "not_released"),
    ],
)
def test_what_is_not_to_be_sent_any_more_is_cancelled(place, gradebook, change, code):
    place.score()
    change(place)
    deliver_due()
    delivery = delivery_of(place)
    assert (delivery.state, delivery.last_error_code, delivery.attempts) == ("cancelled", code, 0)
    assert gradebook.bodies == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda: LtiKey.objects.all().delete(), "key_deleted"),
        (lambda: GradebookCell.objects.update(outcome_service_url="outcomes.php"), "bad_address"),
    ],
)
def test_what_can_never_arrive_fails_with_words(place, gradebook, change, code):
    place.score()
    change()
    deliver_due()
    delivery = delivery_of(place)
    assert (delivery.state, delivery.last_error_code) == ("failed", code)
    assert delivery.last_error
    assert Event.objects.get(type="grade.failed").data["person"] == str(place.person.id)


def test_a_private_address_is_not_called(place, gradebook, settings):
    settings.OUTBOUND_ALLOWED_PRIVATE_HOSTS = []
    place.score()
    deliver_due()
    assert delivery_of(place).state == "failed"
    assert "private network" in delivery_of(place).last_error


# --------------------------------------------------------------------------------------------------------- answers


@pytest.mark.parametrize(
    ("reply", "state", "code"),
    [
        (Reply(503, b"maintenance"), "pending", "server_error"),
        (Reply(429, b"", {"Retry-After": "60"}), "pending", "rate_limited"),
        (Reply(200, b"<html>Log in</html>"), "pending", "unreadable_answer"),
        (Reply(302, b"", {"Location": "https://www.lms.example/"}), "failed", "redirected"),
        (Reply(404, b"gone"), "failed", "not_found"),
        (
            Reply(200, outcome_response("replaceResult", message_id="1", message_ref="", code_major="processing")),
            "pending",
            "processing",
        ),
        (
            Reply(
                200,
                outcome_response(
                    "replaceResult",
                    message_id="1",
                    message_ref="",
                    code_major="failure",
                    description="Tool does not accept grades",
                ),
            ),
            "failed",
            "grades_not_accepted",
        ),
    ],
)
def test_what_an_answer_means(place, gradebook, reply, state, code):
    gradebook.manners = lambda received, sourcedid, score: reply
    place.score()
    deliver_due()
    delivery = delivery_of(place)
    assert (delivery.state, delivery.last_error_code) == (state, code)
    assert delivery.last_error.endswith(".")
    assert "again later" not in delivery.last_error


def test_a_failed_grade_can_be_sent_again(place, gradebook):
    gradebook.manners = lambda received, sourcedid, score: Reply(404)
    place.score()
    deliver_due()
    gradebook.manners = lambda received, sourcedid, score: None
    resend(delivery_of(place), SYSTEM)
    deliver_due()
    assert gradebook.last() == {place.cell.result_sourcedid: Decimal("0.85")}
    assert list(Attempt.objects.values_list("number", "outcome")) == [(1, "refused"), (2, "delivered")]


def test_a_batch_costs_few_statements(gradebook, django_assert_max_num_queries):
    places = [a_place(gradebook.url) for _ in range(20)]
    for place in places:
        gradebook.secrets[place.key.consumer_key] = SECRET
        place.score()
    # Housekeeping 2, claim 2, cells, scores, attempts, then for each settled part: deliveries, attempts, events,
    # percentages; an empty look at the end. Transaction control comes on top.
    with django_assert_max_num_queries(60):
        assert deliver_due().delivered == 20


# ------------------------------------------------------------------------------------------------- the whole promise


@with_commits
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("score"), st.integers(0, 1), st.integers(0, 100)),
            st.tuples(st.just("deliver"), st.just(0), st.just(0)),
        ),
        min_size=1,
        max_size=12,
    ),
    faults=st.lists(st.sampled_from([0, 0, 429, 503, 200]), max_size=8),
)
@hypothesis_settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_whatever_happens_the_newest_score_is_in_the_gradebook(gradebook, settings, steps, faults):
    """Any order of writing and sending, against a server that fails (200: takes the grade, and the answer is lost)."""
    settings.DELIVERY_FIRST_RETRY_SECONDS = 0.01
    places = [a_place(gradebook.url) for _ in range(2)]
    for place in places:
        gradebook.secrets[place.key.consumer_key] = SECRET
    remaining = list(faults)

    def manners(received, sourcedid, score):
        fault = remaining.pop() if remaining else 0
        if fault == 200:
            gradebook.grades[sourcedid].append(score)
            return Reply(200, b"")  # taken for a refused signature: sent again
        return Reply(fault, b"", {"Retry-After": "0"} if fault == 429 else {}) if fault else None

    gradebook.manners = manners
    newest = {}
    for what, which, points in steps:
        if what == "score":
            places[which].assignment.points_possible = 100
            places[which].score(points)
            newest[places[which].cell.result_sourcedid] = Decimal(points) / 100
        else:
            deliver_due()
    deadline = time.monotonic() + 20
    while Delivery.objects.filter(state="pending").exists() and time.monotonic() < deadline:
        deliver_due()
        time.sleep(0.02)
    last = gradebook.last()
    assert {sourcedid: last[sourcedid] for sourcedid in newest} == newest
    assert set(Delivery.objects.values_list("state", flat=True)) <= {"delivered", "superseded"}


@with_commits
def test_scores_that_keep_changing_while_workers_send(gradebook, settings):
    if connection.vendor == "sqlite":
        pytest.skip("the tests' SQLite is in memory, where writers do not wait for each other")
    settings.DELIVERY_FIRST_RETRY_SECONDS = 0.05
    places = [a_place(gradebook.url) for _ in range(6)]
    for place in places:
        gradebook.secrets[place.key.consumer_key] = SECRET
    asked = 0

    def manners(received, sourcedid, score):
        nonlocal asked
        asked += 1
        time.sleep(0.004)
        return Reply(503) if asked % 4 == 0 else None

    gradebook.manners = manners
    finished = threading.Event()

    def deliver():
        try:
            while not finished.is_set():
                deliver_due(in_flight=4)
                time.sleep(0.01)
        finally:
            connection.close()

    workers = [threading.Thread(target=deliver) for _ in range(3)]
    for worker in workers:
        worker.start()
    for points in range(1, 11):
        for place in places:
            place.score(points)
    finished.set()
    for worker in workers:
        worker.join()
    deadline = time.monotonic() + 20
    while Delivery.objects.filter(state="pending").exists() and time.monotonic() < deadline:
        deliver_due()
        time.sleep(0.05)
    assert gradebook.last() == {place.cell.result_sourcedid: Decimal(1) for place in places}
    assert all(grades == sorted(grades) for grades in gradebook.grades.values())
    assert gradebook.overlaps == 0
    assert gradebook.refused == []
