"""What the demo LMS sends, checked with oauthlib and beside a launch recorded from Moodle."""

import json
import re
import time
from html import unescape
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import requests
from oauthlib.oauth1 import RequestValidator, SignatureOnlyEndpoint

from demo_lms.tests.conftest import CONSUMER_KEY, SHARED_SECRET, DemoLms, found

STUDENT, OTHER_STUDENT, TEACHER = "4", "5", "2"


class OneKey(RequestValidator):
    """oauthlib's own validator, told of the one key; its length rules are for others."""

    enforce_ssl = False
    secret = SHARED_SECRET

    def check_client_key(self, client_key: str) -> bool:
        return True

    def check_nonce(self, nonce: str) -> bool:
        return True

    def validate_client_key(self, client_key, request):
        return client_key == CONSUMER_KEY

    def validate_timestamp_and_nonce(self, client_key, timestamp, nonce, request, **more):
        return abs(time.time() - int(timestamp)) < 300

    def get_client_secret(self, client_key, request):
        return self.secret

    @property
    def dummy_client(self) -> str:
        return "dummy"


def form_of(lms: DemoLms, session: requests.Session, slug: str, container: str = "frame") -> tuple[str, dict[str, str]]:
    """Where the launch form goes, and its fields as a browser would send them."""
    page = session.get(f"{lms.url}/links/{slug}/launch", params={"container": container}, timeout=10).text
    action = unescape(found(r'<form id="launch" action="([^"]*)"', page))
    fields = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', page)
    return action, {unescape(name): unescape(value) for name, value in fields}


def signature_is_valid(url: str, fields: dict[str, str], secret: str = SHARED_SECRET) -> bool:
    validator = OneKey()
    validator.secret = secret
    valid, _ = SignatureOnlyEndpoint(validator).validate_request(
        url, "POST", urlencode(fields), {"Content-Type": "application/x-www-form-urlencoded"}
    )
    return valid


@pytest.mark.parametrize("slug", ["essay", "window", "enroll"])
def test_oauthlib_verifies_the_signature(lms: DemoLms, slug: str) -> None:
    url, fields = form_of(lms, lms.be(STUDENT), slug)
    assert url.startswith(lms.tool_url)
    assert signature_is_valid(url, fields)
    assert not signature_is_valid(url, {**fields, "roles": "Instructor"})
    assert not signature_is_valid(url, fields, secret="another")


def test_parameters_are_those_that_moodle_sends(lms: DemoLms) -> None:
    _, fields = form_of(lms, lms.be(STUDENT), "essay")
    assert fields["roles"] == "Learner"
    assert fields["lis_person_name_full"] == "Ada Lovelace"
    assert fields["context_title"] == "A course <b>of</b> tests"
    assert "\r\n" in fields["resource_link_description"]
    assert fields["custom_starts"] == "$Not.a.variable"
    assert fields["launch_presentation_document_target"] == "iframe"
    assert fields["oauth_signature_method"] == "HMAC-SHA1"
    assert fields["oauth_callback"] == "about:blank"
    assert fields["lis_outcome_service_url"] == f"{lms.url}/outcomes"
    assert json.loads(fields["lis_result_sourcedid"])["data"]["userid"] == STUDENT
    assert dict(parse_qsl(urlsplit(fields["launch_presentation_return_url"]).query))["sesskey"]


def test_teacher_is_an_instructor(lms: DemoLms) -> None:
    _, fields = form_of(lms, lms.be(TEACHER), "essay")
    assert fields["roles"] == "Instructor"
    # As Moodle's (moodle.md 9): a teacher gets a sourcedid, too.
    assert fields["lis_result_sourcedid"]


def test_sourcedid_changes_and_ungraded_link_has_none(lms: DemoLms) -> None:
    session = lms.be(STUDENT)
    one = form_of(lms, session, "essay")[1]
    other = form_of(lms, session, "essay")[1]
    assert one["lis_result_sourcedid"] != other["lis_result_sourcedid"]
    assert one["oauth_nonce"] != other["oauth_nonce"]
    ungraded = form_of(lms, session, "enroll")[1]
    assert "lis_result_sourcedid" not in ungraded
    assert "lis_outcome_service_url" not in ungraded


def test_new_tab_says_window(lms: DemoLms) -> None:
    _, fields = form_of(lms, lms.be(STUDENT), "window", "window")
    assert fields["launch_presentation_document_target"] == "window"


def test_a_link_of_another_course_says_so_and_what_it_was_copied_from(lms: DemoLms) -> None:
    _, fields = form_of(lms, lms.be(STUDENT), "copied")
    assert (fields["context_id"], fields["context_label"], fields["context_title"]) == ("8", "T-8", "A copy of it")
    assert (fields["custom_history"], fields["custom_course"]) == ("7,6", "8")


def test_two_sessions_are_two_people(lms: DemoLms) -> None:
    ada, grace = lms.be(STUDENT), lms.be(OTHER_STUDENT)
    assert form_of(lms, ada, "essay")[1]["user_id"] == STUDENT
    assert form_of(lms, grace, "essay")[1]["user_id"] == OTHER_STUDENT


def test_faults_of_launches(lms: DemoLms) -> None:
    session = lms.be(STUDENT)
    lms.behave("wrong_secret", switch="launches", times=1)
    assert not signature_is_valid(*form_of(lms, session, "essay"))
    assert signature_is_valid(*form_of(lms, session, "essay"))

    lms.behave("clock_behind", switch="launches", times=1)
    assert int(form_of(lms, session, "essay")[1]["oauth_timestamp"]) < time.time() - 1100

    lms.behave("private", switch="launches", times=1)
    url, fields = form_of(lms, session, "essay")
    assert signature_is_valid(url, fields)
    assert not [name for name in fields if name.startswith(("lis_person_name", "lis_person_contact"))]

    lms.behave("replayed", switch="launches", times=2)
    first, second = form_of(lms, session, "essay")[1], form_of(lms, session, "essay")[1]
    assert first["oauth_nonce"] == second["oauth_nonce"]


def test_message_log_has_no_secrets(lms: DemoLms) -> None:
    _, fields = form_of(lms, lms.be(STUDENT), "essay")
    message = lms.messages("launch")[0]
    assert message["title"].startswith("Ada Lovelace opens")
    assert "roles = Learner" in message["sent"]
    sesskey = dict(parse_qsl(urlsplit(fields["launch_presentation_return_url"]).query))["sesskey"]
    digest = json.loads(fields["lis_result_sourcedid"])["hash"]
    for secret in (fields["oauth_signature"], sesskey, digest, SHARED_SECRET):
        assert secret not in message["sent"]


def test_nobody_is_asked_who_they_are(lms: DemoLms) -> None:
    answer = requests.get(f"{lms.url}/links/essay/launch", timeout=10, allow_redirects=False)
    assert answer.status_code == 302
    assert answer.headers["Location"] == "/people/"
    assert lms.be(STUDENT).get(f"{lms.url}/links/no-such-link/", timeout=10).status_code == 404


def test_way_back_shows_messages_as_text(lms: DemoLms) -> None:
    _, fields = form_of(lms, lms.be(STUDENT), "essay")
    url = fields["launch_presentation_return_url"]
    # As in a frame: without cookies.
    page = requests.get(url, params={"lti_errormsg": "<b>no</b> way", "lti_msg": "well done"}, timeout=10)
    assert page.status_code == 200
    assert "&lt;b&gt;no&lt;/b&gt; way" in page.text
    assert "well done" in page.text
    assert "data-go" not in page.text
    assert "data-go" in requests.get(url, timeout=10).text
    forged = url.replace("sesskey=", "sesskey=x")
    assert requests.get(forged, timeout=10).status_code == 403


def test_pages_answer(lms: DemoLms) -> None:
    for person in (STUDENT, TEACHER):
        session = lms.be(person)
        for path in ("/", "/course/", "/links/essay/", "/gradebook/", "/messages/", "/manners/"):
            page = session.get(lms.url + path, timeout=10)
            assert page.status_code == 200, path
            assert "demo" in page.text


def test_frame_allows_what_moodle_allows(lms: DemoLms) -> None:
    page = lms.be(STUDENT).get(f"{lms.url}/links/essay/", timeout=10).text
    allow = found(r'<iframe[^>]*allow="([^"]*)"', page)
    for feature in ("camera", "microphone", "fullscreen", "autoplay"):
        assert f"{feature} {lms.tool_url}" in allow


def test_switching_a_fault_needs_the_form(lms: DemoLms) -> None:
    assert (
        requests.post(f"{lms.url}/manners/", data={"name": "outcomes", "mode": "down"}, timeout=10).status_code == 403
    )
    form = requests.post(f"{lms.url}/api/behaviour", data={"mode": "down"}, timeout=10)
    assert form.status_code == 415
    assert requests.post(f"{lms.url}/api/behaviour", json={"mode": "sleepy"}, timeout=10).status_code == 400
    session = lms.be(TEACHER)
    sent = {"name": "outcomes", "mode": "busy", "seconds": "7", "remaining": "2"}
    token = session.cookies["demo_lms_csrf"]
    page = session.post(f"{lms.url}/manners/", data={**sent, "csrfmiddlewaretoken": token}, timeout=10)
    assert "for the next 2" in page.text
    bad = session.post(f"{lms.url}/manners/", data={**sent, "seconds": "999", "csrfmiddlewaretoken": token}, timeout=10)
    assert bad.status_code == 400
