"""Refused launches: the contract's codes, pages without secrets, and entries that explain themselves."""

import time

import pytest
from django.conf import settings
from django.core.cache import cache
from django.utils import timezone

from courses.addresses import assignment_url
from courses.models import Enrolment, LmsCourse, ResourceLink
from events.models import Event
from grades.models import GradebookCell
from launches.models import Launch, RefusalTally
from organizations.models import LmsAccount, Person
from tests.factories import AssignmentFactory, CourseFactory, LtiKeyFactory
from tests.launching import STUDENT, TEACHER, launch, launch_id_of, post, signed

pytestmark = pytest.mark.django_db

UUID4 = "3f6c1d0e-5b8a-4f27-99ad-0c1b2e3f4a5b"


@pytest.fixture(autouse=True)
def _fresh_counts():
    cache.clear()


@pytest.fixture
def key():
    return LtiKeyFactory()


@pytest.fixture
def assignment(key):
    return AssignmentFactory(course__organization=key.installation.organization)


@pytest.fixture
def path(assignment):
    return assignment_url(assignment).removeprefix(settings.BASE_URL)


def nothing_was_written():
    models = (Person, LmsAccount, LmsCourse, ResourceLink, Enrolment, GradebookCell, Event)
    return not any(model.objects.exists() for model in models)


def assert_refused(response, status, code):
    assert (response.status_code, response.headers.get("X-Launch-Error")) == (status, code)
    assert response["Content-Type"].startswith("text/html")


def assert_logged(code):
    row = Launch.objects.get()
    assert (row.result, row.nonce, row.person) == (code, None, None)
    assert row.refusal["check"]
    return row


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"resource_link_id": None}, 400, "missing_parameter"),
        ({"resource_link_id": ""}, 400, "missing_parameter"),
        ({"user_id": None}, 400, "missing_parameter"),
        ({"lti_message_type": None}, 400, "missing_parameter"),
        ({"lti_version": None}, 400, "missing_parameter"),
        ({"lti_version": "LTI-2p0"}, 400, "unsupported_message"),
        ({"lti_message_type": "DashboardRequest"}, 400, "unsupported_message"),
        ({"lti_message_type": "ToolProxyRegistrationRequest"}, 400, "unsupported_message"),
        ({"user_id": "a\x07b"}, 400, "malformed"),
        ({"user_id": "a\x00b"}, 400, "malformed"),
        ({"context_id": "x" * 256}, 400, "malformed"),
        ({"lis_result_sourcedid": "x" * 8193}, 400, "malformed"),
    ],
)
def test_bad_messages(client, key, path, changes, status, code):
    response = launch(client, path, key, **changes)
    assert_refused(response, status, code)
    assert_logged(code)
    assert nothing_was_written()


def test_duplicate_parameters(client, key, path):
    pairs = signed(settings.BASE_URL + path, key, STUDENT)
    assert_refused(post(client, path, [*pairs, ("roles", "Instructor")]), 400, "malformed")
    assert_logged("malformed")


def test_a_query_that_contradicts_the_form(client, key, path):
    url = path + "?roles=Instructor"
    response = post(client, url, signed(settings.BASE_URL + url, key, STUDENT))
    assert_refused(response, 400, "malformed")


def test_not_utf8(client, key, path):
    body = b"oauth_consumer_key=" + key.consumer_key.encode() + b"&user_id=%ff%fe"
    response = client.post(path, body, content_type="application/x-www-form-urlencoded")
    assert_refused(response, 400, "malformed")
    assert_logged("malformed")


@pytest.mark.parametrize("timestamp", ["soon", "1.5", ""])
def test_a_timestamp_that_is_no_number(client, key, path, timestamp):
    pairs = [
        (name, timestamp if name == "oauth_timestamp" else value)
        for name, value in signed(settings.BASE_URL + path, key, STUDENT)
    ]
    expected = (400, "malformed") if timestamp else (401, "authentication_failed")
    assert_refused(post(client, path, pairs), *expected)


@pytest.mark.parametrize(
    ("offset", "accepted"), [(-290, True), (290, True), (-310, False), (310, False), (10**9, False)]
)
def test_the_time_window(client, key, path, offset, accepted):
    pairs = signed(settings.BASE_URL + path, key, STUDENT, timestamp=int(time.time()) + offset)
    response = post(client, path, pairs)
    if accepted:
        assert response.status_code == 302
    else:
        assert_refused(response, 401, "timestamp_expired")
        assert_logged("timestamp_expired")
        assert nothing_was_written()


@pytest.mark.parametrize(
    "without",
    ["oauth_consumer_key", "oauth_signature", "oauth_nonce", "oauth_timestamp", "oauth_signature_method"],
)
def test_a_launch_that_is_not_wholly_signed(client, key, path, without):
    pairs = [pair for pair in signed(settings.BASE_URL + path, key, STUDENT) if pair[0] != without]
    assert_refused(post(client, path, pairs), 401, "authentication_failed")
    assert nothing_was_written()


@pytest.mark.parametrize("name", list(STUDENT))
def test_every_tampered_parameter_is_noticed(client, key, path, name):
    pairs = [
        (known, value + "x" if known == name else value)
        for known, value in signed(settings.BASE_URL + path, key, STUDENT)
    ]
    assert_refused(post(client, path, pairs), 401, "authentication_failed")
    assert nothing_was_written()


def test_unknown_key_and_wrong_secret_look_alike(client, key, path):
    import re

    unknown, wrong = LtiKeyFactory.build(installation=key.installation), LtiKeyFactory.build(secret="wrong")
    wrong.consumer_key = key.consumer_key
    pages = []
    for credential in (unknown, wrong):
        response = launch(client, path, credential)
        assert_refused(response, 401, "authentication_failed")
        text = re.sub(r"[A-Z2-7]{4}-[A-Z2-7]{4}", "REFERENCE", response.content.decode())
        pages.append(re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", text))
    assert pages[0] == pages[1]
    assert Launch.objects.count() == 1, "only a known key has a log to write to"


def test_the_log_of_a_bad_signature_explains_it_and_keeps_no_secret(client, key, path):
    wrong = LtiKeyFactory.build(secret="not-the-secret")
    wrong.consumer_key = key.consumer_key
    response = launch(client, path, wrong)
    row = assert_logged("authentication_failed")
    assert row.refusal["base_string"].startswith("POST&http%3A%2F%2Ftestserver%2Flti%2F")
    assert row.refusal["explanation"]
    assert "External tool" in row.refusal["hint"] or "LTI External tools" in row.refusal["hint"]
    text = response.content.decode() + str(row.refusal)
    for secret in (key.secret, "not-the-secret", "ada@example.edu", "sourcedid-1", "sesskey"):
        assert secret not in text
    assert row.reference in response.content.decode()


def test_https_signed_for_http_is_found_out(client, key, path):
    response = post(client, path, signed(f"https://testserver{path}", key, STUDENT))
    assert_refused(response, 401, "authentication_failed")
    assert "https" in assert_logged("authentication_failed").refusal["explanation"]


def test_a_launch_is_verified_against_the_host_it_came_to_if_that_is_ours(client, key, path):
    pairs = signed(f"http://tool.example.org{path}", key, STUDENT)
    assert post(client, path, pairs, headers={"Host": "tool.example.org"}).status_code == 302
    forged = signed(f"http://evil.example{path}", key, STUDENT)
    assert_refused(
        post(client, path, forged, headers={"X-Forwarded-Host": "evil.example"}), 401, "authentication_failed"
    )


@pytest.mark.parametrize("what", ["key", "installation", "organization"])
def test_switched_off(client, key, path, what):
    row = {"key": key, "installation": key.installation, "organization": key.installation.organization}[what]
    row.enabled = False
    row.save()
    assert_refused(launch(client, path, key), 403, "installation_disabled")
    assert_logged("installation_disabled")
    assert nothing_was_written()


@pytest.mark.parametrize("change", [{"lti_enabled": False}, {"archived": True}])
def test_a_course_that_is_not_open(client, key, assignment, path, change):
    type(assignment.course).objects.filter(pk=assignment.course_id).update(**change)
    assert_refused(launch(client, path, key), 403, "lti_disabled")
    assert nothing_was_written()


def test_enroll_switched_off(client, key):
    course = CourseFactory(organization=key.installation.organization, enroll_only=False)
    assert_refused(launch(client, f"/lti/courses/{course.id}/enroll", key), 403, "lti_disabled")


@pytest.mark.parametrize(
    "path",
    [
        f"/lti/assignments/{UUID4}",
        "/lti/assignments/nothing",
        f"/lti/courses/{UUID4}/enroll",
        "/lti/constant/nothing",
    ],
)
def test_an_unknown_destination(client, key, path):
    assert_refused(launch(client, path, key), 404, "unknown_destination")
    assert_logged("unknown_destination")


def test_another_organizations_assignment_does_not_exist(client, key):
    foreign = AssignmentFactory()
    path = assignment_url(foreign).removeprefix(settings.BASE_URL)
    assert_refused(launch(client, path, key), 404, "unknown_destination")
    assert_refused(launch(client, "/lti/v1", key, custom_assignment=str(foreign.id)), 404, "unknown_destination")
    assert_refused(launch(client, "/lti/v1", key, custom_assignment=foreign.slug), 404, "unknown_destination")


def test_a_student_of_an_unmapped_link(client, key):
    assert_refused(launch(client, "/lti/v1", key), 409, "link_not_set_up")
    assert nothing_was_written()


def test_a_replay_changes_nothing(client, key, path):
    pairs = signed(settings.BASE_URL + path, key, STUDENT)
    assert post(client, path, pairs).status_code == 302
    before = Event.objects.count()
    assert_refused(post(client, path, pairs), 401, "nonce_reused")
    assert Launch.objects.filter(result="accepted").count() == 1
    assert Event.objects.count() == before
    assert Launch.objects.filter(result="nonce_reused").count() == 1


def test_the_same_nonce_under_another_key_is_fine(client, key, path):
    other = LtiKeyFactory(installation__organization=key.installation.organization)
    from lti.v1p1.oauth1 import sign_form

    for credential in (key, other):
        pairs = sign_form(settings.BASE_URL + path, STUDENT, credential.consumer_key, credential.secret, nonce="same")
        assert post(client, path, pairs).status_code == 302


def test_bad_signatures_store_no_nonce(client, key, path, settings):
    settings.REFUSED_LAUNCHES_PER_MINUTE = 10_000
    wrong = LtiKeyFactory.build(secret="wrong")
    wrong.consumer_key = key.consumer_key
    for _ in range(20):
        launch(client, path, wrong)
    assert not Launch.objects.exclude(nonce=None).exists()


def test_get_and_wrong_forms_of_request(client, key, path):
    response = client.get(path)
    assert_refused(response, 405, "malformed")
    assert response["Allow"] == "POST"
    assert_refused(client.post(path, "{}", content_type="application/json"), 415, "malformed")
    body = "oauth_consumer_key=" + key.consumer_key + "&a=" + "x" * (256 * 1024)
    assert_refused(client.post(path, body, content_type="application/x-www-form-urlencoded"), 413, "malformed")
    huge = "a=" + "x" * (3 * 1024 * 1024)
    assert_refused(client.post(path, huge, content_type="application/x-www-form-urlencoded"), 413, "malformed")


def test_too_many_refusals_are_only_counted_and_a_valid_launch_still_arrives(client, key, path, settings, time_machine):
    # Counted by the minute: none may begin meanwhile.
    time_machine.move_to(timezone.now().replace(second=5), tick=False)
    settings.REFUSED_LAUNCHES_PER_MINUTE = 3
    wrong = LtiKeyFactory.build(secret="wrong")
    wrong.consumer_key = key.consumer_key
    statuses = [launch(client, path, wrong).status_code for _ in range(6)]
    assert statuses == [401, 401, 401, 429, 429, 429]
    assert launch(client, path, wrong)["X-Launch-Error"] == "too_many_requests"
    assert Launch.objects.count() == 3
    assert RefusalTally.objects.get().count >= 1
    assert launch(client, path, key).status_code == 302


def test_the_return_link_only_of_a_verified_launch(client, key):
    response = launch(client, "/lti/v1", key)
    assert "https://lms.example/course?id=1&amp;sesskey=abc&amp;lti_errormsg=" in response.content.decode()
    wrong = LtiKeyFactory.build(secret="wrong")
    wrong.consumer_key = key.consumer_key
    assert "lms.example" not in launch(client, "/lti/v1", wrong).content.decode()


def test_a_teacher_reads_more(client, key, path):
    wrong = LtiKeyFactory.build(secret="wrong")
    wrong.consumer_key = key.consumer_key
    student, teacher = launch(client, path, wrong), launch(client, path, wrong, TEACHER)
    assert "secret or launch URL in the LMS differ" in teacher.content.decode()
    assert "secret or launch URL in the LMS differ" not in student.content.decode()


def test_relaunch_binds_the_launch_to_the_browser(client, key, path):
    offer = {"relaunch_url": "https://lms.example/relaunch?id=7", "platform_state": "p/1"}
    response = launch(client, path, key, **offer)
    assert response.status_code == 302
    assert response["Location"].startswith("https://lms.example/relaunch?id=7&tool_state=")
    assert response["Location"].endswith("&platform_state=p%2F1")
    assert not Launch.objects.exists()
    assert nothing_was_written()
    from urllib.parse import parse_qs, urlsplit

    tool_state = parse_qs(urlsplit(response["Location"]).query)["tool_state"][0]
    accepted = launch(client, path, key, **offer, tool_state=tool_state)
    assert launch_id_of(accepted)
    from django.test import Client

    assert_refused(launch(Client(), path, key, **offer, tool_state=tool_state), 401, "state_mismatch")
    assert_refused(launch(client, path, key, **offer, tool_state="forged"), 401, "state_mismatch")


def test_a_forged_relaunch_url_is_not_followed(client, key, path):
    wrong = LtiKeyFactory.build(secret="wrong")
    wrong.consumer_key = key.consumer_key
    offer = {"relaunch_url": "https://evil.example/", "platform_state": "p"}
    assert_refused(launch(client, path, wrong, **offer), 401, "authentication_failed")
    assert_refused(launch(client, path, key, relaunch_url="javascript:alert(1)", platform_state="p"), 400, "malformed")
