from __future__ import annotations

import itertools
import json
import threading
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lti.tests.platform_1p3 import Recorder, answer
from lti.tests.recorded import load
from lti.v1p1.outcomes import OutcomeVerdict
from lti.v1p3 import vocabulary as names
from lti.v1p3.ags import (
    LINE_ITEM_GONE,
    STALE_TIMESTAMP,
    CanvasSubmission,
    LineItem,
    Score,
    clear_call,
    create_call,
    delete_call,
    find_line_item,
    find_or_create_line_item,
    judge,
    line_item_call,
    line_items_call,
    list_line_items,
    matching_line_item,
    next_timestamp,
    parse_line_item,
    parse_line_items,
    parse_results,
    read_results,
    replace_call,
    results_call,
    score_call,
)
from lti.v1p3.claims import AgsClaim
from lti.v1p3.services import PlatformServices, ServiceFailed
from lti.v1p3.tokens import AccessToken

VERDICT = OutcomeVerdict
MOODLE = load("moodle/ags_exchanges.json")
BASE = "http://127.0.0.1:8081/mod/lti/services.php/2/lineitems"
ITEMS, ITEM = f"{BASE}?type_id=3", f"{BASE}/4/lineitem?type_id=3"
AT = datetime(2026, 11, 20, 18, 58, 35, 88000, tzinfo=UTC)


class AllScopes:
    def get(self):
        return AccessToken("tok", frozenset(names.SERVICE_SCOPES), 0)

    def forget(self, token):
        raise AssertionError(token)


def platform(*answers, by=None):
    sender = Recorder(*answers, by=by)
    return PlatformServices(sender, AllScopes(), lambda _: True), sender


def recorded(name):
    response = MOODLE[name]["response"]
    headers = {key.replace("-", "_"): value for key, value in response["headers"].items()}
    return answer(response["status"], response["body"], **headers)


def failure(call, *args, **kwargs):
    with pytest.raises(ServiceFailed) as caught:
        call(*args, **kwargs)
    return caught.value.judgement


def sent_as(call, name):
    """Whether this call is the one that Moodle answered: what the standard fixes, byte for byte."""
    request = MOODLE[name]["request"]
    assert (call.method, call.url) == (request["method"], request["url"])
    assert call.accept == ("" if request["headers"]["Accept"] == "*/*" else request["headers"]["Accept"])
    assert call.content_type == request["headers"].get("Content-Type", "")
    assert (json.loads(call.body) if call.body else None) == request["body"]


# ----------------------------------------------------------------------------------------- requests as Moodle took


def test_requests_are_those_that_moodle_answered():
    sent_as(line_item_call(ITEM), "lineitem GET")
    sent_as(line_items_call(ITEMS), "lineitems GET")
    sent_as(line_items_call(ITEMS, resource_id="res-main"), "lineitems GET resource_id")
    sent_as(line_items_call(ITEMS, tag="main"), "lineitems GET tag")
    sent_as(line_items_call(ITEMS, resource_link_id="4"), "lineitems GET resource_link_id")
    extra = LineItem("Extra column é", Decimal(20), resource_id="res-x", tag="extra", resource_link_id="4")
    sent_as(create_call(ITEMS, extra), "lineitems POST")
    sent_as(results_call(ITEM), "results GET")
    sent_as(results_call(ITEM, user_id="5"), "results GET user_id")
    sent_as(delete_call(f"{BASE}/5/lineitem?type_id=3"), "lineitem DELETE own")


def test_a_score_is_the_one_that_moodle_took():
    score = Score("5", Decimal(83), Decimal(100), AT, comment="Good <b>work</b> é")
    sent_as(score_call(ITEM, score), "score POST")
    assert score_call(ITEM, score).scopes == (names.SCOPE_SCORE,)
    assert score_call(ITEM, score).url == f"{BASE}/4/lineitem/scores?type_id=3"


# ------------------------------------------------------------------------------------------------------ line items


def test_moodles_columns_are_read():
    item = parse_line_item(recorded("lineitem GET"))
    assert (item.url, item.label, item.score_maximum) == (ITEM, "LTI 1.3 launch", Decimal(100))
    assert (item.resource_id, item.tag, item.resource_link_id) == ("res-main", "main", "4")
    assert item.other == {"ltiLinkId": "4"}
    assert parse_line_items(recorded("lineitems GET")) == (item,)
    made = load("moodle/ags_lineitem_of_deep_linked_item.json")["response"]["body"]
    assert parse_line_item(answer(200, made)).resource_id == "res-1"


def test_a_replacement_sends_back_what_it_does_not_know():
    item = parse_line_item(recorded("lineitem GET"))
    call = replace_call(item)
    assert (call.method, call.url) == ("PUT", ITEM)
    assert json.loads(call.body) == MOODLE["lineitem GET"]["response"]["body"]


@pytest.mark.parametrize(
    "response",
    [
        answer(200, []),
        answer(200, {}),
        answer(200, "<html>"),
        answer(200, {"id": "javascript:x"}),
        answer(200, b"", truncated=True),
    ],
)
def test_what_is_no_column_is_worth_another_try(response):
    assert failure(parse_line_item, response).verdict is VERDICT.RETRY


def test_columns_without_an_address_are_passed_over():
    body = [{"label": "x"}, 5, None, {"id": "https://x/1", "scoreMaximum": 0, "label": 7}]
    (item,) = parse_line_items(answer(200, body))
    assert (item.score_maximum, item.label) == (Decimal(1), "7")
    assert failure(parse_line_items, answer(200, {"lineItems": []})).verdict is VERDICT.RETRY


@pytest.mark.parametrize("maximum", ["0", "-1", "NaN", "Infinity"])
def test_a_column_has_a_maximum(maximum):
    with pytest.raises(ValueError):
        create_call(ITEMS, LineItem("x", Decimal(maximum)))


def test_pages_with_moodles_curly_links_are_followed():
    pages = {
        ITEMS: recorded("lineitems GET limit=1"),
        f"{ITEMS}&limit=1&from=1": recorded("lineitem GET after PUT"),
    }
    second = answer(200, [MOODLE["lineitem GET after PUT"]["response"]["body"]])
    services, sender = platform(by=lambda method, url, *_: second if "from=1" in url else pages[url])
    assert [item.resource_id for item in list_line_items(services, ITEMS)] == ["res-main", "res-x"]
    assert [url for _, url, _, _ in sender.sent] == list(pages)


WANTED = LineItem("Hello", Decimal(10), resource_id="r", tag="t", resource_link_id="4")


def column(url, **changes):
    values = {"resource_id": "r", "tag": "t", "resource_link_id": "4", **changes}
    return LineItem("x", Decimal(1), url=url, **values)


def test_a_column_is_that_of_resource_tag_and_link():
    own, unbound, other = (
        column("https://x/2"),
        column("https://x/1", resource_link_id=""),
        column("https://x/0", resource_link_id="9"),
    )
    assert matching_line_item([other, unbound, own], WANTED) == own
    assert matching_line_item([other, unbound], WANTED) == unbound
    # Another link's grades are another's, whoever asks for them (J9, CVE-2023-23611).
    assert matching_line_item([other], WANTED) is None
    assert matching_line_item([column("https://x/3", tag="u"), column("https://x/3", resource_id="s")], WANTED) is None
    assert matching_line_item([column("https://x/10"), column("https://x/9")], WANTED).url == "https://x/9"


def listed(*items):
    return answer(
        200,
        [
            {"id": item.url, "resourceId": item.resource_id, "tag": item.tag, "resourceLinkId": item.resource_link_id}
            for item in items
        ],
    )


def test_the_column_that_the_launch_names_is_taken_without_a_request():
    services, sender = platform()
    found = find_line_item(services, AgsClaim(line_items=ITEMS, line_item=ITEM), WANTED)
    assert (found.url, sender.sent) == (ITEM, [])


def test_a_column_is_found_before_it_is_made():
    services, sender = platform(listed(column("https://x/9", resource_link_id="9"), column("https://x/1")))
    found = find_or_create_line_item(services, AgsClaim(line_items=ITEMS), WANTED, lock=nullcontext())
    assert found.url == "https://x/1"
    query = parse_qs(urlsplit(sender.sent[0][1]).query)
    assert query == {"type_id": ["3"], "resource_link_id": ["4"], "resource_id": ["r"], "tag": ["t"]}


def test_a_platform_that_heeds_no_filter_is_filtered_here():
    services, _ = platform(listed(column("https://x/9", resource_link_id="9"), column("https://x/8", tag="u")))
    assert find_line_item(services, AgsClaim(line_items=ITEMS), WANTED) is None


class Gradebook:
    """Columns as a platform keeps them: two equal posts make two."""

    def __init__(self):
        self.items = []

    def __call__(self, method, url, headers, body):
        if method == "POST":
            self.items.append({**json.loads(body), "id": f"https://x/{len(self.items)}"})
            return answer(201, self.items[-1])
        return answer(200, list(self.items))


def test_however_many_need_the_column_it_is_made_once():
    book, lock, start = Gradebook(), threading.Lock(), threading.Barrier(6)
    services, _ = platform(by=book)
    found = []

    def work():
        start.wait()
        found.append(find_or_create_line_item(services, AgsClaim(line_items=ITEMS), WANTED, lock=lock).url)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(book.items) == 1
    assert found == ["https://x/0"] * 6


def test_an_answer_that_got_lost_makes_no_second_column():
    book = Gradebook()
    services, sender = platform(by=book)
    claim = AgsClaim(line_items=ITEMS)
    sender.by = lambda method, *rest: (book(method, *rest), answer(504))[1] if method == "POST" else book(method, *rest)
    assert failure(find_or_create_line_item, services, claim, WANTED, lock=nullcontext()).verdict is VERDICT.RETRY
    sender.by = book
    assert find_or_create_line_item(services, claim, WANTED, lock=nullcontext()).url == "https://x/0"
    assert len(book.items) == 1


@pytest.mark.parametrize(
    "claim", [AgsClaim(line_items=ITEMS, scopes=(names.SCOPE_LINE_ITEM_READONLY, names.SCOPE_SCORE)), AgsClaim()]
)
def test_columns_that_may_only_be_read_are_not_made(claim):
    services, sender = platform(listed())
    judgement = failure(find_or_create_line_item, services, claim, WANTED, lock=nullcontext())
    assert (judgement.verdict, judgement.reason_code) == (VERDICT.REFUSED, "no_gradebook_column")
    assert all(method == "GET" for method, *_ in sender.sent)


# ---------------------------------------------------------------------------------------------------------- scores


def members(**changes):
    values = {"user_id": "5", "given": Decimal(1), "maximum": Decimal(2), "timestamp": AT, **changes}
    return json.loads(score_call(ITEM, Score(**values)).body)


def test_scores_are_final_and_in_points():
    assert members(given=Decimal("83.33333333333"), maximum=Decimal("100.0")) == {
        "userId": "5",
        "activityProgress": "Completed",
        "gradingProgress": "FullyGraded",
        "scoreGiven": 83.3333333333,
        "scoreMaximum": 100,
        "timestamp": "2026-11-20T18:58:35.088Z",
    }
    assert members(given=Decimal(0))["scoreGiven"] == 0
    assert members(given=Decimal(11), maximum=Decimal(10))["scoreGiven"] == 11


@pytest.mark.parametrize(
    "changes",
    [
        {"given": Decimal(-1)},
        {"given": Decimal("NaN")},
        {"maximum": Decimal(0)},
        {"maximum": Decimal("Infinity")},
        {"user_id": ""},
        {"timestamp": datetime(2026, 1, 1)},  # noqa: DTZ001 (that is the point)
    ],
)
def test_what_is_no_score_is_not_sent(changes):
    with pytest.raises(ValueError):
        members(**changes)


def test_a_score_may_carry_comment_grader_and_submission():
    made = members(
        comment="x" * 2000,
        scoring_user_id="3",
        submitted_at=datetime(2026, 11, 20, 12, tzinfo=timezone(timedelta(hours=1))),
        canvas_submission=CanvasSubmission(
            True, "basic_lti_launch", "https://tool.example/s/1", AT + timedelta(hours=1)
        ),
    )
    assert len(made["comment"]) == 1500
    assert made["scoringUserId"] == "3"
    assert made["submission"] == {"submittedAt": "2026-11-20T11:00:00.000Z"}
    assert made["https://canvas.instructure.com/lti/submission"] == {
        "new_submission": True,
        "submission_type": "basic_lti_launch",
        "submission_data": "https://tool.example/s/1",
        "submitted_at": "2026-11-20T18:58:35.088Z",
    }
    regrade = members(canvas_submission=CanvasSubmission(False, prioritize_non_tool_grade=True))
    assert regrade["https://canvas.instructure.com/lti/submission"] == {
        "new_submission": False,
        "prioritize_non_tool_grade": True,
    }


def test_clearing_is_no_zero():
    made = json.loads(clear_call(ITEM, "5", AT).body)
    assert "scoreGiven" not in made
    assert made["gradingProgress"] == "NotReady"


moments = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(st.lists(moments, min_size=1, max_size=20))
def test_timestamps_increase_by_whole_seconds_whatever_the_clock_does(clock):
    last, stamps = None, []
    for now in clock:
        last = next_timestamp(now, last)
        stamps.append(last)
    assert all(later - earlier >= timedelta(seconds=1) for earlier, later in itertools.pairwise(stamps))
    assert all(stamp.microsecond == 0 for stamp in stamps)


def test_a_timestamp_is_now_when_it_can_be():
    assert next_timestamp(AT, None) == AT.replace(microsecond=0)
    assert next_timestamp(AT, AT - timedelta(minutes=1)) == AT.replace(microsecond=0)
    assert next_timestamp(AT, AT) == AT.replace(microsecond=0) + timedelta(seconds=1)


# --------------------------------------------------------------------------------------------------------- results


def test_moodles_grades_are_read():
    found = {result.user_id: result for result in parse_results(recorded("results GET"))}
    assert (found["5"].score, found["5"].maximum) == (Decimal(72), Decimal(100))
    (zero,) = parse_results(recorded("results GET after a zero"))
    assert zero.score == 0


@pytest.mark.parametrize("score", [None, "", "5", True])
def test_no_grade_is_no_zero(score):
    (result,) = parse_results(answer(200, [{"userId": "5", "resultScore": score}, {"resultScore": 1}, 7]))
    assert (result.score, result.maximum) == (None, Decimal(1))


def test_a_page_in_place_of_grades_is_told():
    services, _ = platform(recorded("results GET limit=1"))
    assert failure(read_results, services, ITEM).reason_code == "not_found"
    assert failure(parse_results, answer(200, {"results": []})).verdict is VERDICT.RETRY


# ------------------------------------------------------------------------------------------------------- judgement


@pytest.mark.parametrize(
    ("name", "verdict", "reason"),
    [
        ("score POST", VERDICT.DELIVERED, "success"),
        ("score POST, same second again", VERDICT.RETRY, STALE_TIMESTAMP),
        ("score POST, earlier timestamp", VERDICT.RETRY, STALE_TIMESTAMP),
        ("score POST above maximum (120/100)", VERDICT.DELIVERED, "success"),
        ("score POST bad timestamp", VERDICT.REFUSED, "score_refused"),
        ("score POST application/json", VERDICT.REFUSED, "address_wrong"),
        ("score POST for the teacher", VERDICT.REFUSED, "score_refused"),
        ("score POST for a suspended student", VERDICT.DELIVERED, "success"),
        ("score POST unknown user", VERDICT.REFUSED, "score_refused"),
        ("score POST URL built wrongly (?type_id=N/scores)", VERDICT.REFUSED, "address_wrong"),
        ("lineitem GET deleted", VERDICT.REFUSED, LINE_ITEM_GONE),
        ("no token", VERDICT.UNAUTHORIZED, "unauthorized"),
    ],
)
def test_moodles_answers_are_judged(name, verdict, reason):
    response = recorded(name)
    judgement = judge(response.status, response.headers, response.body)
    assert (judgement.verdict, judgement.reason_code) == (verdict, reason)
    assert judgement.explanation


@pytest.mark.parametrize(
    ("response", "verdict", "reason"),
    [
        (answer(403), VERDICT.REFUSED, "forbidden"),
        (answer(403, "Rate Limit Exceeded"), VERDICT.RETRY, "rate_limited"),
        (answer(403, "insufficient_scope"), VERDICT.REFUSED, "scope_not_granted"),
        (answer(403, "User is not enrolled"), VERDICT.REFUSED, "not_enrolled"),
        (answer(404, "User could not be found"), VERDICT.REFUSED, "not_enrolled"),
        (answer(410), VERDICT.REFUSED, LINE_ITEM_GONE),
        (answer(422, "User not found in course or is not a student"), VERDICT.REFUSED, "not_enrolled"),
        (answer(422, "Course is concluded"), VERDICT.REFUSED, "course_not_available"),
        (answer(400, "Provided timestamp of x before last updated timestamp of y"), VERDICT.RETRY, STALE_TIMESTAMP),
        (answer(400), VERDICT.REFUSED, "score_refused"),
        (answer(412), VERDICT.RETRY, STALE_TIMESTAMP),
        (answer(429, Retry_After="9"), VERDICT.RETRY, "rate_limited"),
        (answer(500), VERDICT.RETRY, "server_error"),
        (answer(502), VERDICT.RETRY, "server_error"),
        (answer(302), VERDICT.REFUSED, "redirected"),
        (answer(200, "<html>log in", content_type="text/html"), VERDICT.RETRY, "unreadable_answer"),
        (answer(204), VERDICT.DELIVERED, "success"),
        (answer(200, {"resultUrl": "https://x"}), VERDICT.DELIVERED, "success"),
    ],
)
def test_answers_are_judged(response, verdict, reason):
    judgement = judge(response.status, response.headers, response.body)
    assert (judgement.verdict, judgement.reason_code) == (verdict, reason)


def test_no_answer_is_tried_again():
    assert judge(None, {}, b"").verdict is VERDICT.RETRY
    assert judge(429, {"retry-after": "9"}, b"").retry_after == 9
