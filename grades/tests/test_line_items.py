"""Grades by LTI 1.3: what is sent, with which timestamps, and that the newest score always arrives."""

import json
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.core.cache import cache
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from courses.models import Submission
from events.claiming import claim_due
from events.deliveries import deliver_due
from events.models import Attempt, Delivery, Event
from events.senders import sender_of
from grades.models import GradebookCell
from grades.outbox import KIND
from grades.tests.ags_platform import (
    STUDENT,
    an_ags_place,
    another_student,
    deliver_until_settled,
    delivery_of,
    due_again,
    launch,
    serve_ags,
)
from lti.tests.recorded import load
from lti.v1p3 import vocabulary as names
from lti.v1p3.claims import AgsClaim
from tests.loopback import Reply

# What a try has learned is written down after the commit.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def place(platform):
    return an_ags_place(platform)


# -------------------------------------------------------------------------------------------------- what is sent


def test_a_grade_arrives(place, platform):
    place.score("8.5", comment="Well done, é < ü")
    assert deliver_due().delivered == 1
    assert platform.last() == 85
    number, members = platform.scores[0]
    moment = GradebookCell.objects.get().last_score_at
    assert number == "4"
    assert members == {
        "userId": STUDENT,
        "activityProgress": "Completed",
        "gradingProgress": "FullyGraded",
        "scoreGiven": 8.5,
        "scoreMaximum": 10,
        "timestamp": moment.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "comment": "Well done, é < ü",
    }
    post = platform.received[-1]
    assert (post.method, post.path) == ("POST", "/mod/lti/services.php/2/lineitems/4/lineitem/scores?type_id=3")
    assert post.headers["Content-Type"] == names.SCORE_TYPE
    assert post.headers["Authorization"] == "Bearer token-1"
    assert post.headers["User-Agent"]
    delivery = delivery_of(place)
    assert (delivery.state, delivery.last_error, delivery.attempts) == ("delivered", "", 1)
    assert Event.objects.get(type="grade.delivered").data["person"] == str(place.person.id)
    assert GradebookCell.objects.get().last_percentage == Decimal("0.85")


def test_the_tool_says_who_it_is_with_its_organizations_key(place, platform):
    place.score()
    deliver_due()
    claims = platform.assertions[0]
    assert (claims["iss"], claims["sub"], claims["aud"]) == ("client-1", "client-1", platform.token_url)
    assert claims["jti"]
    assert claims["iat"] <= time.time() - 5
    form = platform.received[0].body.decode()
    for scope in names.AGS_SCOPES:
        assert scope.rsplit("/", 1)[1] in form


def test_what_goes_to_moodle_is_what_moodle_was_seen_to_take(platform):
    """Path, query and members of the recorded exchange, for the claim of the recorded launch."""
    claim = AgsClaim.from_claims(load("moodle/id_token_claims_student.json")["claims"])
    recorded = load("moodle/ags_exchanges.json")["score POST"]["request"]
    place = an_ags_place(platform, assignment__points_possible=100)
    here = [url.replace("http://127.0.0.1:8081", platform.url) for url in (claim.line_items, claim.line_item)]
    launch(place, ags=AgsClaim(claim.scopes, *here), lms_user_id="5")
    place.score(83, comment="Good <b>work</b> é")
    deliver_due()
    post = platform.received[-1]
    assert recorded["url"].endswith(post.path)
    assert post.headers["Content-Type"] == recorded["headers"]["Content-Type"]
    expected = recorded["body"]
    sent = json.loads(post.body)
    assert {**sent, "timestamp": expected["timestamp"]} == expected
    assert len(sent["timestamp"]) == len(expected["timestamp"])


@pytest.mark.parametrize(("points", "given"), [("12", 12), ("0", 0), ("3.25", 3.25), ("10", 10)])
def test_points_go_as_they_are_also_more_than_the_maximum(place, platform, points, given):
    place.score(points, extra_credit=Decimal(3))
    deliver_due()
    members = platform.scores[0][1]
    assert (members["scoreGiven"], members["scoreMaximum"]) == (given, 10)


def test_far_more_than_the_maximum_is_remembered_too(place, platform):
    place.assignment.points_possible = Decimal("0.01")
    place.assignment.save()
    place.score("9999999.99")
    deliver_due()
    assert GradebookCell.objects.get().last_percentage == Decimal("999999999")


def test_changed_sees_what_is_above_the_maximum(place, platform):
    GradebookCell.objects.update(send_grade="CHANGED")
    for points in ("12", "12", "13"):
        place.score(points)
        deliver_due()
    assert [members["scoreGiven"] for _, members in platform.scores] == [12, 13]


def test_what_is_not_released_is_not_posted(place, platform):
    place.score(released=False, comment="Secret")
    deliver_due()
    assert (platform.scores, Delivery.objects.count()) == ([], 0)


def test_a_comment_is_not_told_before_the_release(place, platform):
    GradebookCell.objects.update(send_grade="ALWAYS")
    place.score(released=False, comment="Secret")
    deliver_due()
    assert platform.last() == 85
    assert "comment" not in platform.scores[0][1]
    assert platform.scores[0][1]["gradingProgress"] == "FullyGraded"


def test_the_time_of_handing_in_goes_along(place, platform):
    moment = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
    Submission.objects.create(assignment=place.assignment, person=place.person, submitted_at=moment, number=1)
    place.score()
    deliver_due()
    assert platform.scores[0][1]["submission"] == {"submittedAt": "2026-11-20T12:00:00.000Z"}
    assert not [name for name in platform.scores[0][1] if "canvas" in name]


def test_no_secret_is_in_the_record(place, platform):
    platform.manners = lambda received: (
        Reply(400, b'{"error": "token-1 ada@example.org"}') if "scores" in received.path else None
    )
    place.score()
    deliver_due()
    attempt = Attempt.objects.get()
    assert attempt.request.startswith(f"POST {platform.url}/mod/lti/services.php/2/lineitems/4/lineitem/scores?…")
    assert "score 8.5 of 10, timestamp " in attempt.request
    for text in (attempt.request, attempt.response, attempt.error, delivery_of(place).last_error):
        for secret in ("Bearer", "type_id", "ada@example.org", "eyJ"):
            assert secret not in text


@pytest.mark.django_db(transaction=False)
def test_a_batch_costs_few_statements(platform, django_assert_max_num_queries):
    place = an_ags_place(platform)
    place.score()
    deliver_due()  # the token is there
    for student in [place, *(another_student(place, f"student-{number}") for number in range(19))]:
        student.score()
    # As over LTI 1.1, and besides: deployments, links, works, the signing key, and the timestamps (2).
    with django_assert_max_num_queries(66):
        assert deliver_due().delivered == 20


# ------------------------------------------------------------------------------------------------------ timestamps


def test_timestamps_increase_by_whole_seconds_however_fast_scores_follow(place, platform):
    for points in range(1, 6):
        place.score(points)
        assert deliver_due().delivered == 1
    assert platform.last() == 50
    assert platform.stamps() == list(range(platform.stamps()[0], platform.stamps()[0] + 5))


def test_timestamps_increase_when_our_clock_goes_back(place, platform):
    ahead = timezone.now().replace(microsecond=0) + timedelta(hours=1)
    GradebookCell.objects.update(last_score_at=ahead)
    place.score()
    deliver_due()
    assert platform.stamps() == [ahead.timestamp() + 1]


def test_a_crash_between_stamp_and_send_never_uses_the_stamp_again(place, platform):
    place.score(1)
    claimed = claim_due(10)
    errands = sender_of(KIND).prepare(claimed.deliveries)
    given_out = GradebookCell.objects.get().last_score_at
    assert given_out is not None
    assert platform.scores == []
    # The worker dies here, or worse: its request leaves after all, when the next worker is done.
    Delivery.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    place.score(2)
    deliver_due()
    assert platform.last() == 20
    assert platform.stamps() == [given_out.timestamp() + 1]
    late = next(iter(errands.values())).run(_client())
    assert late.status == 409
    assert platform.last() == 20


def _client():
    from organizations.outbound import outbound_client

    return outbound_client()


def test_two_workers_never_get_the_same_stamp(place):
    """The one was stopped for longer than its lease: both hold the same delivery."""
    place.score()
    held = claim_due(10).deliveries
    first = sender_of(KIND).prepare(held)
    second_time = sender_of(KIND).prepare(held)
    descriptions = [next(iter(errands.values())).description for errands in (first, second_time)]
    assert descriptions[0] != descriptions[1]


def test_a_refused_timestamp_is_sent_once_more_at_once_with_a_newer_one(place, platform):
    taken = timezone.now().replace(microsecond=0)
    platform.columns["4"].grades[STUDENT] = [{"timestamp": taken.isoformat(), "scoreGiven": 1, "scoreMaximum": 10}]
    GradebookCell.objects.update(last_score_at=taken - timedelta(seconds=30))
    place.score()
    deliver_due()
    delivery = delivery_of(place)
    if delivery.state == "pending":  # it was sent within that very second
        assert delivery.last_error_code == "stale_timestamp"
        assert delivery.due_at <= timezone.now() + timedelta(seconds=1.5)
        due_again()
        time.sleep(1)
        deliver_due()
    assert platform.last() == 85


def test_timestamps_that_stay_refused_are_tried_again_as_after_any_failure(place, platform):
    """The LMS's clock is ahead of ours, and a teacher has changed the grade there."""
    platform.manners = lambda received: Reply(409, b"[]") if "scores" in received.path else None
    place.score()
    deliver_due()
    first = delivery_of(place)
    assert first.due_at - timezone.now() < timedelta(seconds=1.5)
    due_again()
    deliver_due()
    second_try = delivery_of(place)
    assert (second_try.state, second_try.last_error_code) == ("pending", "stale_timestamp")
    assert second_try.due_at - timezone.now() > timedelta(seconds=20)
    assert platform.stamps() == sorted(set(platform.stamps()))
    assert len(platform.scores) == 0  # mannered answers come before they are noted
    assert platform.asked("POST", "scores") == 2


def test_a_refused_timestamp_is_not_sent_again_for_an_older_score(place, platform):
    def manners(received):
        if "scores" not in received.path or platform.asked("POST", "scores") > 1:
            return None
        return Reply(409, b"[]")

    platform.manners = manners
    place.score(1)
    deliver_due()
    place.score(2)
    deliver_due()
    assert [members["scoreGiven"] for _, members in platform.scores] == [2]
    assert list(Delivery.objects.order_by("sequence").values_list("state", flat=True)) == ["superseded", "delivered"]


# -------------------------------------------------------------------------------------------------------- together


def test_one_token_serves_all_until_it_expires(platform):
    place = an_ags_place(platform)
    for _ in range(3):
        place.score()
        deliver_due()
    assert len(platform.assertions) == 1
    cache.clear()
    platform.token_seconds = 0
    for _ in range(2):
        place.score()
        deliver_due()
    assert len(platform.assertions) == 3


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("score"), st.integers(0, 1), st.integers(0, 120)),
            st.tuples(st.just("deliver"), st.just(0), st.just(0)),
        ),
        min_size=1,
        max_size=10,
    ),
    faults=st.lists(st.sampled_from([0, 0, 401, 409, 429, 503, 200]), max_size=8),
)
@hypothesis_settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_whatever_happens_the_newest_score_is_in_the_gradebook(loopback, settings, steps, faults):
    """Any order of writing and sending, against a platform that fails (200: takes the grade; the answer is lost)."""
    settings.DELIVERY_FIRST_RETRY_SECONDS = 0.01
    remaining = list(faults)
    with serve_ags() as platform:
        first = an_ags_place(platform, assignment__points_possible=100)
        places = [first, another_student(first, "student-6")]

        def manners(received):
            if not received.path.endswith("scores?type_id=3"):
                return None
            fault = remaining.pop() if remaining else 0
            if fault == 200:
                platform._scored("4", received)
                return Reply(502)
            return Reply(fault, b"[]", {"Retry-After": "0"} if fault == 429 else {}) if fault else None

        platform.manners = manners
        newest = {}
        for what, which, points in steps:
            if what == "score":
                places[which].score(points)
                newest[places[which].cell.lms_user_id] = points
            else:
                deliver_due()
        deliver_until_settled()
        assert {user: platform.last("4", user) for user in newest} == newest
        assert platform.overlaps == 0
        assert set(Delivery.objects.values_list("state", flat=True)) <= {"delivered", "superseded"}
    Delivery.objects.all().delete()
