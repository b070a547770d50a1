from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from lxml import etree

from lti.message import OutcomeExtensions
from lti.tests.recorded import DATA, load
from lti.v1p1.oauth1 import verify_signed_body
from lti.v1p1.outcomes import (
    OutcomeVerdict,
    UnreadableResponse,
    delete_result,
    format_score,
    judge,
    parse_request,
    parse_response,
    read_result,
    replace_result,
    response,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ALL = OutcomeExtensions(
    data_values_accepted=frozenset({"url", "text"}),
    total_score_accepted=True,
    submitted_at_accepted=True,
    prioritize_non_tool_grade_accepted=True,
    needs_additional_review_accepted=True,
)
SOURCEDIDS = [
    sample["params"]["lis_result_sourcedid"]
    for sample in load("lms-launch-samples.json")
    if "lis_result_sourcedid" in sample["params"]
]
EXCHANGES = load("moodle/outcome_exchanges.json")
DELIVERED, RETRY, REFUSED, UNAUTHORIZED = OutcomeVerdict


@pytest.fixture(scope="module")
def schema():
    parser = etree.XMLParser(no_network=True)
    return etree.XMLSchema(etree.parse(DATA / "OMSv1p0_LTIv1p1Profile_SyncXSD_v1p0.xsd", parser))


def local_names(body):
    return [etree.QName(element).localname for element in etree.fromstring(body).iter()]


# ------------------------------------------------------------------------------------------------------- scores


@pytest.mark.parametrize(
    ("score", "text"),
    [
        ("0", "0"),
        ("1", "1"),
        ("0.0", "0"),
        ("-0", "0"),
        ("0E+5", "0"),
        ("1.000", "1"),
        ("0.92", "0.92"),
        ("1E-7", "0.0000001"),
        ("0.33333333333333", "0.3333333333"),
        ("0.99999999999", "1"),
        ("1E-30", "0"),
    ],
)
def test_format_score(score, text):
    assert format_score(Decimal(score)) == text


@pytest.mark.parametrize("score", ["1.01", "-0.01", "NaN", "sNaN", "Infinity", "-Infinity", "1E+9"])
def test_scores_that_are_none(score):
    with pytest.raises(ValueError):
        format_score(Decimal(score))


@given(st.decimals(0, 1, allow_nan=False))
def test_scores_are_plain_and_near(score):
    text = format_score(score)
    assert set(text) <= set("0123456789.")
    assert abs(Decimal(text) - score) <= Decimal("1e-10")
    assert 0 <= Decimal(text) <= 1


@given(points=st.integers(0, 1000), possible=st.integers(1, 1000))
@example(points=1, possible=3)
def test_percentages(points, possible):
    score = min(Decimal(points) / Decimal(possible), Decimal(1))
    assert abs(Decimal(format_score(score)) * possible - min(points, possible)) < Decimal("0.000001")


# ----------------------------------------------------------------------------------------------------- requests


@pytest.mark.parametrize("sourcedid", [*SOURCEDIDS, "a&b<c>\"d'é李", " spaces "])
def test_requests_are_valid_and_keep_the_sourcedid(schema, sourcedid):
    for body, operation in (
        (replace_result(sourcedid, Decimal("0.92"), message_id="m-1"), "replaceResult"),
        (read_result(sourcedid, message_id="m-1"), "readResult"),
        (delete_result(sourcedid, message_id="m-1"), "deleteResult"),
    ):
        assert body.startswith(b"<?xml version='1.0' encoding='UTF-8'?>")
        schema.assertValid(etree.fromstring(body))
        request = parse_request(body)
        assert (request.operation, request.message_id, request.sourcedid) == (operation, "m-1", sourcedid)
        assert request.score == (Decimal("0.92") if operation == "replaceResult" else None)


def test_what_is_no_part_of_the_standard_is_sent_only_if_advertised(schema):
    extras = {
        "message_id": "m",
        "total_score": Decimal("87.5"),
        "text": "Well done",
        "url": "https://x/",
        "submitted_at": NOW,
        "prioritize_non_tool_grade": True,
        "needs_additional_review": True,
    }
    plain = replace_result("s", Decimal(1), **extras)
    schema.assertValid(etree.fromstring(plain))
    assert plain == replace_result("s", Decimal(1), message_id="m")
    names = local_names(replace_result("s", Decimal(1), extensions=ALL, now=NOW, **extras))
    start = names.index("replaceResultRequest")
    assert names[start:] == [
        "replaceResultRequest",
        "submissionDetails",
        "submittedAt",
        "prioritizeNonToolGrade",
        "needsAdditionalReview",
        "resultRecord",
        "sourcedGUID",
        "sourcedId",
        "result",
        "resultScore",
        "language",
        "textString",
        "resultTotalScore",
        "language",
        "textString",
        "resultData",
        "url",
    ]


def test_one_kind_of_data():
    def data(**kwargs):
        names = local_names(replace_result("s", Decimal(1), message_id="m", **kwargs))
        return names[names.index("resultData") + 1 :] if "resultData" in names else []

    text_only = OutcomeExtensions(data_values_accepted=frozenset({"text"}))
    assert data(text="t", url="u", lti_launch_url="l", extensions=ALL) == ["ltiLaunchUrl"]
    assert data(text="t", url="u", lti_launch_url="l", extensions=text_only) == ["text"]
    assert data(url="u", extensions=text_only) == []
    assert data(extensions=ALL) == []


def test_texts_are_escaped_and_legal():
    body = replace_result("s", Decimal(1), message_id="m", text="<b>\x00\x08\ud800&", extensions=ALL)
    assert b"&lt;b&gt;&amp;" in body
    assert len(replace_result("s", Decimal(1), message_id="m", text="x" * 9999, extensions=ALL)) < 3000


def test_a_time_in_the_future_is_sent_as_now():
    def sent(moment):
        body = replace_result("s", Decimal(1), message_id="m", submitted_at=moment, extensions=ALL, now=NOW)
        return etree.fromstring(body).findtext(".//{*}submittedAt")

    assert sent(NOW + timedelta(hours=1)) == "2026-01-02T03:04:05.000Z"
    assert sent(NOW - timedelta(seconds=5)) == "2026-01-02T03:04:00.000Z"
    with pytest.raises(ValueError):
        sent(NOW.replace(tzinfo=None))


def test_moodles_recorded_requests_are_read():
    for exchange in EXCHANGES:
        request = parse_request(exchange["request"]["body"].encode())
        assert request.sourcedid.startswith('{"data"') or exchange["codeMajor"] != "success"
    labels = {exchange["label"]: parse_request(exchange["request"]["body"].encode()) for exchange in EXCHANGES}
    assert labels["score abc"].score is None
    assert labels["score abc"].score_text == "abc"
    assert labels["score 1.5"].score == Decimal("1.5")
    assert labels["unsupported operation"].operation == "readMembership"


@pytest.mark.parametrize(
    "exchange", [e for e in EXCHANGES if e["description"] != "Message signature not valid"], ids=lambda e: e["label"]
)
def test_recorded_requests_that_moodle_took_verify(exchange):
    request = exchange["request"]
    timestamp = int(request["headers"]["Authorization"].split('oauth_timestamp="')[1].split('"')[0])
    body, headers = request["body"].encode(), request["headers"]
    secrets = {"lab-key": "lab-secret"}
    assert verify_signed_body("POST", request["url"], headers, body, secrets.get, timestamp) == "lab-key"


# ---------------------------------------------------------------------------------------------------- responses


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda e: e["label"])
def test_moodles_recorded_answers(exchange):
    answer = exchange["response"]
    body = answer["body"].encode()
    parsed = parse_response(answer["status"], answer["headers"]["Content-type"], body)
    assert parsed.code_major == exchange["codeMajor"]
    assert parsed.description == exchange["description"]
    assert parsed.severity == "status"
    message_id = parse_request(exchange["request"]["body"].encode()).message_id
    judgement = judge(answer["status"], answer["headers"], body, message_id=message_id)
    expected = {
        "Message signature not valid": UNAUTHORIZED,
        "Score not between 0.0 and 1.0": REFUSED,
        "Score must be numeric": REFUSED,
        "SourcedId hash not valid": REFUSED,
        "unsupported": REFUSED,
    }.get(exchange["description"], DELIVERED)
    assert judgement.verdict is expected
    assert judgement.warning == ""
    assert judgement.explanation.endswith(".")
    if expected is not DELIVERED:
        assert exchange["description"] in judgement.detail


def test_there_are_26_exchanges():
    assert len(EXCHANGES) == 26


def test_scores_read_back():
    scores = {e["label"]: parse_response(200, "", e["response"]["body"].encode()).score for e in EXCHANGES}
    assert scores["readResult before any grade"] is None
    assert scores["readResult"] == Decimal("0.92")
    assert scores["read back"] == Decimal("0.3333334")


def answer(code_major="success", *, description="", minor=(), ref="m", score=None, operation="replaceResult"):
    return response(
        operation,
        message_id="r-1",
        message_ref=ref,
        code_major=code_major,
        description=description,
        code_minor=dict(minor),
        score=score,
    )


def test_our_own_answers_are_valid(schema):
    for body in (
        answer(),
        answer("failure", description="no", minor={"TargetEndSystem": "unknownobject"}),
        answer(operation="readResult"),
        answer(operation="readResult", score=Decimal("0.5")),
        answer(operation="deleteResult"),
        answer("processing"),
    ):
        schema.assertValid(etree.fromstring(body))
    assert parse_response(200, "", answer(operation="readResult", score=Decimal(0))).score == 0
    assert parse_response(200, "", answer(operation="readResult")).score is None
    parsed = parse_response(200, "", answer("failure", minor={"TargetEndSystem": "unknownobject"}))
    assert parsed.code_minor == {"TargetEndSystem": "unknownobject"}


@pytest.mark.parametrize(
    "body",
    [
        b"<r><imsx_codeMajor> Success </imsx_codeMajor></r>",
        b'<?xml version="1.0"?><p:e xmlns:p="urn:other"><p:imsx_codeMajor>success</p:imsx_codeMajor></p:e>',
        b"\n\n<imsx_POXEnvelopeResponse><imsx_codeMajor>success</imsx_codeMajor><imsx_POXBody/>"
        b"</imsx_POXEnvelopeResponse>\n",
        b"\xef\xbb\xbf" + answer(),
        b"<br />\n<b>Notice</b>: undefined &nbsp; in x.php" + answer(),
        answer() + b"<br/>Backtrace: <b>unclosed",
    ],
)
def test_lenient_parsing(body):
    assert parse_response(200, "text/html", body).code_major == "success"


def bomb():
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 9))
    return f'<!DOCTYPE imsx_x [<!ENTITY a0 "lol">{entities}]><imsx_codeMajor>&a8;</imsx_codeMajor>'.encode()


UNREADABLE = [
    b"",
    b"   ",
    b"success",
    b"<html><body>Please log in<br></body></html>",
    b"<a/>",
    answer()[:-40],
    b"\xff\xfe\x00",
    b'<?xml version="1.0" encoding="no-such"?><imsx_codeMajor>success</imsx_codeMajor>',
    b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><imsx_codeMajor>&e;</imsx_codeMajor>',
    b'<!DOCTYPE x SYSTEM "http://evil.example/x.dtd"><imsx_codeMajor>success</imsx_codeMajor>',
    bomb(),
    b"<a>" * 60_000,
    answer() + b" " * 300_000,
]


@pytest.mark.parametrize("body", UNREADABLE, ids=range(len(UNREADABLE)))
def test_unreadable(body):
    with pytest.raises(UnreadableResponse):
        parse_response(200, "application/xml", body)
    with pytest.raises(UnreadableResponse):
        parse_request(body)
    verdict = judge(200, {}, body, message_id="m").verdict
    assert verdict is (RETRY if body.strip() else UNAUTHORIZED)


@given(st.binary(max_size=200), st.sampled_from([200, 204, 302, 400, 401, 403, 422, 429, 500]))
def test_judge_never_raises(body, status):
    judgement = judge(status, {"Retry-After": body.decode("latin-1")}, body, message_id="m")
    assert judgement.verdict in OutcomeVerdict
    assert "\n" not in judgement.detail


# ---------------------------------------------------------------------------------------------------- judgement

CANVAS_UNAVAILABLE = answer("failure", description="Course not available for student").replace(
    b"</imsx_statusInfo>", b"<ext_canvas_error_code>course_not_available</ext_canvas_error_code></imsx_statusInfo>"
)


@pytest.mark.parametrize(
    ("status", "headers", "body", "verdict", "reason"),
    [
        (None, {}, b"", RETRY, "no_answer"),
        (200, {}, answer(), DELIVERED, "success"),
        (201, {}, answer(), DELIVERED, "success"),
        (200, {}, answer("processing"), RETRY, "processing"),
        (200, {}, answer("failure"), REFUSED, "failure"),
        (200, {}, answer("unsupported"), REFUSED, "unsupported"),
        (200, {}, answer("banana"), RETRY, "unreadable_answer"),
        (200, {}, answer("failure", minor={"x": "targetisbusy"}), RETRY, "busy"),
        (200, {}, answer("failure", minor={"x": "unauthorizedresultreplace"}), REFUSED, "grade_protected"),
        (200, {}, answer("failure", minor={"x": "made-up"}), REFUSED, "failure"),
        (200, {}, answer("failure", description="Tool does not accept grades"), REFUSED, "grades_not_accepted"),
        (200, {}, answer("failure", description="Grade is past due"), REFUSED, "past_due"),
        (200, {}, answer("failure", description="Incorrect sourcedId"), REFUSED, "not_enrolled"),
        (200, {}, answer("failure", description="OAuth verification error: x"), UNAUTHORIZED, "signature_refused"),
        (422, {}, CANVAS_UNAVAILABLE, REFUSED, "course_not_available"),
        (422, {}, answer("failure", description="no_points_possible"), REFUSED, "no_points_possible"),
        (422, {}, answer("failure", description="Invalid sourcedid"), REFUSED, "sourcedid_refused"),
        (422, {}, answer("failure", description="InvalidSourceId"), REFUSED, "sourcedid_refused"),
        (401, {}, b"", UNAUTHORIZED, "unauthorized"),
        (401, {}, answer("failure", description="x"), UNAUTHORIZED, "unauthorized"),
        (200, {}, b"", UNAUTHORIZED, "empty_answer"),
        (200, {}, b" \n", UNAUTHORIZED, "empty_answer"),
        (204, {}, b"", RETRY, "unreadable_answer"),
        (403, {}, b"no", REFUSED, "forbidden"),
        (403, {}, b"403 Forbidden (Rate Limit Exceeded)", RETRY, "rate_limited"),
        (403, {"retry-after": "5"}, b"", RETRY, "rate_limited"),
        (429, {}, b"", RETRY, "rate_limited"),
        (500, {}, b"", RETRY, "server_error"),
        (502, {}, b"<html>", RETRY, "server_error"),
        (503, {"Retry-After": "60"}, answer("failure"), RETRY, "server_error"),
        (301, {"Location": "https://x"}, b"", REFUSED, "redirected"),
        (302, {}, answer(), REFUSED, "redirected"),
        (307, {}, b"", REFUSED, "redirected"),
        (404, {}, b"<html>", REFUSED, "not_found"),
        (400, {}, b"User not found", REFUSED, "not_enrolled"),
        (415, {}, b"", REFUSED, "content_type"),
        (418, {}, b"", REFUSED, "refused"),
    ],
)
def test_judge(status, headers, body, verdict, reason):
    judgement = judge(status, headers, body, message_id="m")
    assert (judgement.verdict, judgement.reason_code) == (verdict, reason)
    assert judgement.explanation.endswith(".")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("9" * 9, 86400),
        ("9" * 30, None),
        ("-5", None),
        ("Fri, 02 Jan 2026 03:05:05 GMT", 60),
        ("Fri, 02 Jan 2026 03:00:00 GMT", 0),
        ("Fri, 02 Jan 2099 03:00:00 GMT", 86400),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after(value, seconds):
    assert judge(429, {"RETRY-AFTER": value}, b"", message_id="m", now=NOW).retry_after == seconds


def test_a_foreign_message_reference_is_a_warning():
    assert judge(200, {}, answer(ref="other"), message_id="m").warning
    assert judge(200, {}, answer(ref="other"), message_id="m").verdict is DELIVERED
    assert not judge(200, {}, answer(ref=""), message_id="m").warning


def test_details_are_one_line_and_without_addresses():
    body = answer("failure", description="line 1\r\nline 2 for ada@example.edu " + "x" * 2000)
    judgement = judge(200, {}, body, message_id="m")
    assert "\n" not in judgement.detail + judgement.explanation
    assert "ada@" not in judgement.detail + judgement.explanation
    assert len(judgement.detail) <= 500
    assert len(judgement.explanation) < 300
