"""The outcome service: requests signed by oauthlib and by our own client, answered as Moodle answers."""

import time
from decimal import Decimal
from typing import Any

import pytest
import requests
from oauthlib.oauth1 import SIGNATURE_TYPE_AUTH_HEADER, Client

from demo_lms.tests.conftest import CONSUMER_KEY, SHARED_SECRET, DemoLms
from demo_lms.tests.test_launches import OTHER_STUDENT, STUDENT, form_of
from lti.v1p1.oauth1 import signed_body_headers
from lti.v1p1.outcomes import delete_result, parse_response, read_result, replace_result


def sourcedid_of(lms: DemoLms, person: str = STUDENT, slug: str = "essay") -> str:
    return form_of(lms, lms.be(person), slug)[1]["lis_result_sourcedid"]


def send(lms: DemoLms, body: bytes, *, secret: str = SHARED_SECRET, **more: Any) -> requests.Response:
    url = f"{lms.url}/outcomes"
    headers = signed_body_headers(url, body, CONSUMER_KEY, secret, **more)
    return requests.post(url, data=body, headers=headers, timeout=30)


def code_of(answer: requests.Response) -> tuple[str, str]:
    parsed = parse_response(answer.status_code, answer.headers["Content-Type"], answer.content)
    return parsed.code_major, parsed.description


def cell(lms: DemoLms, person: str = "ada", link: str = "essay") -> dict:
    return next(grade for grade in lms.grades() if (grade["person"], grade["link"]) == (person, link))


def test_replace_read_delete(lms: DemoLms) -> None:
    sourcedid = sourcedid_of(lms)
    answer = send(lms, replace_result(sourcedid, Decimal("0.925"), message_id="m1"))
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    assert code_of(answer) == ("success", "Grade replace response")
    assert parse_response(200, "", answer.content).message_ref == "m1"
    grade = cell(lms)
    assert (grade["score"], grade["percentage"], grade["points"], grade["maximum"]) == (0.925, 92.5, 9.25, 10)

    read = parse_response(200, "", send(lms, read_result(sourcedid, message_id="m2")).content)
    assert read.score == Decimal("0.925")

    assert code_of(send(lms, delete_result(sourcedid, message_id="m3")))[0] == "success"
    assert cell(lms)["score"] is None
    empty = parse_response(200, "", send(lms, read_result(sourcedid, message_id="m4")).content)
    assert (empty.code_major, empty.score) == ("success", None)
    assert len(cell(lms)["history"]) >= 2


@pytest.mark.parametrize("method", ["HMAC-SHA1", "HMAC-SHA256"])
def test_oauthlib_as_the_signer(lms: DemoLms, method: str) -> None:
    url = f"{lms.url}/outcomes"
    body = replace_result(sourcedid_of(lms, OTHER_STUDENT), Decimal("0.5"), message_id="o1").decode()
    client = Client(
        CONSUMER_KEY,
        client_secret=SHARED_SECRET,
        signature_method=method,
        signature_type=SIGNATURE_TYPE_AUTH_HEADER,
    )
    _, headers, signed = client.sign(url, "POST", body, {"Content-Type": "application/xml"})
    answer = requests.post(url, data=signed.encode(), headers=headers, timeout=10)
    # oauthlib hashes bodies with SHA-1 whatever the method, where LTI wants that of the method (B3).
    wanted = "success" if method == "HMAC-SHA1" else "failure"
    assert code_of(answer)[0] == wanted


def test_bad_signature_is_answered_as_by_moodle(lms: DemoLms) -> None:
    before = lms.grades()
    body = replace_result(sourcedid_of(lms), Decimal(1), message_id="x1")
    answer = send(lms, body, secret="another")
    assert answer.status_code == 200
    assert code_of(answer) == ("failure", "Message signature not valid")
    assert parse_response(200, "", answer.content).message_ref == ""
    headers = signed_body_headers(f"{lms.url}/outcomes", body, CONSUMER_KEY, SHARED_SECRET)
    tampered = requests.post(f"{lms.url}/outcomes", data=body.replace(b">1<", b">0<"), headers=headers, timeout=10)
    assert code_of(tampered)[0] == "failure"
    old = send(lms, body, timestamp=int(time.time()) - 900)
    assert code_of(old)[0] == "failure"
    assert requests.post(f"{lms.url}/outcomes", data=body, timeout=10).status_code == 200
    assert lms.grades() == before


def test_refusals(lms: DemoLms) -> None:
    sourcedid = sourcedid_of(lms)
    too_much = replace_result(sourcedid, Decimal(1), message_id="x2").replace(b">1<", b">1.5<")
    assert code_of(send(lms, too_much)) == ("failure", "Score not between 0.0 and 1.0")
    comma = replace_result(sourcedid, Decimal(1), message_id="x2").replace(b">1<", b">0,5<")
    assert code_of(send(lms, comma))[0] == "failure"
    forged = sourcedid.replace('"userid":"4"', '"userid":"5"')
    assert forged != sourcedid
    assert code_of(send(lms, replace_result(forged, Decimal(1), message_id="x3"))) == (
        "failure",
        "SourcedId hash not valid",
    )
    membership = read_result(sourcedid, message_id="x4").replace(b"readResultRequest", b"readMembershipRequest")
    assert code_of(send(lms, membership))[0] == "unsupported"
    assert code_of(send(lms, b"no xml"))[0] == "failure"


def test_old_sourcedids_stay_valid(lms: DemoLms) -> None:
    older, newer = sourcedid_of(lms, slug="window"), sourcedid_of(lms, slug="window")
    assert older != newer
    assert code_of(send(lms, replace_result(older, Decimal("0.1"), message_id="n1")))[0] == "success"
    assert cell(lms, link="window")["points"] == 10


def test_faults(lms: DemoLms) -> None:
    body = replace_result(sourcedid_of(lms), Decimal("0.75"), message_id="f1")
    before = lms.grades()
    lms.behave("failing")
    assert send(lms, body).status_code == 500
    assert send(lms, body).status_code == 500
    lms.behave("busy", seconds=9, times=1)
    busy = send(lms, body)
    assert (busy.status_code, busy.headers["Retry-After"]) == (429, "9")
    lms.behave("refuses", times=1)
    assert code_of(send(lms, body))[0] == "failure"
    lms.behave("unauthorized", times=1)
    assert code_of(send(lms, body)) == ("failure", "Message signature not valid")
    lms.behave("malformed", times=1)
    malformed = send(lms, body)
    assert malformed.status_code == 200
    with pytest.raises(Exception, match="XML"):
        parse_response(200, "", malformed.content)
    lms.behave("down", times=1)
    with pytest.raises(requests.ConnectionError):
        send(lms, body)
    assert lms.grades() == before
    lms.behave("slow", seconds=1, times=1)
    started = time.monotonic()
    assert code_of(send(lms, body))[0] == "success"
    assert time.monotonic() - started >= 1
    assert cell(lms)["score"] == 0.75
    results = [message["result"] for message in lms.messages("outcome")]
    assert {"HTTP 500, on purpose", "connection closed, on purpose", "success: 0.75"} <= set(results)


def test_faults_count_down(lms: DemoLms) -> None:
    body = replace_result(sourcedid_of(lms), Decimal("0.25"), message_id="f2")
    lms.behave("failing", times=2)
    assert [send(lms, body).status_code for _ in range(3)] == [500, 500, 200]


def test_message_log_is_readable_and_has_no_secrets(lms: DemoLms) -> None:
    sourcedid = sourcedid_of(lms)
    send(lms, replace_result(sourcedid, Decimal("0.5"), message_id="r1"))
    message = lms.messages("outcome")[0]
    assert message["title"].startswith("replaceResult: Ada Lovelace")
    assert "<textString>0.5</textString>" in message["sent"]
    assert "imsx_codeMajor>success" in message["answered"]
    assert '"hash":"[redacted]"' in message["sent"]
    assert 'oauth_signature="[redacted]"' in message["sent"]


def test_gradebook_page_shows_what_arrived(lms: DemoLms) -> None:
    send(lms, replace_result(sourcedid_of(lms), Decimal("0.8"), message_id="g1"))
    own = lms.be(STUDENT).get(f"{lms.url}/gradebook/", timeout=10).text
    assert "(80 %)" in own
    assert "Grace Hopper" not in own
    assert "Grace Hopper" in lms.be("2").get(f"{lms.url}/gradebook/", timeout=10).text


def test_only_the_last_fifty_messages_are_kept(lms: DemoLms) -> None:
    body = read_result(sourcedid_of(lms), message_id="k1")
    for _ in range(52):
        send(lms, body)
    assert len(lms.messages()) == 50
