"""LTI 1.3 logins and launches: the same arrival, and every way to be refused."""

import html
import re
import time
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
from django.conf import settings
from django.test import Client

from courses.addresses import assignment_url
from launches.models import Launch
from lti.v1p3 import vocabulary as names
from organizations.models import Deployment, Person
from tests.factories import AssignmentFactory, InstallationFactory, LtiKeyFactory
from tests.launching import STUDENT, launch, launch_id_of
from tests.platform_1p3 import ROLE, platform_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("loopback")]


@pytest.fixture
def installation():
    return InstallationFactory()


@pytest.fixture
def platform(installation):
    with platform_of(installation) as running:
        yield running


@pytest.fixture
def target(installation):
    return assignment_url(AssignmentFactory(course__organization=installation.organization))


def assert_refused(response, status, code):
    assert (response.status_code, response.headers.get("X-Launch-Error")) == (status, code)


def test_the_login_asks_the_platform(client, platform, target):
    response = platform.login(client, target)
    assert response.status_code == 302
    url = urlsplit(response["Location"])
    query = parse_qs(url.query)
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{platform.url}/auth"
    assert query.pop("tenant") == ["7"]
    state, nonce = query.pop("state")[0], query.pop("nonce")[0]
    assert len(nonce) >= 22
    assert len(state) > 40
    assert query == {
        "scope": ["openid"],
        "response_type": ["id_token"],
        "response_mode": ["form_post"],
        "prompt": ["none"],
        "client_id": ["client-1"],
        "redirect_uri": [f"{settings.BASE_URL}/lti/1p3/{platform.slug}/launch"],
        "login_hint": ["hint"],
        "lti_message_hint": ['{"cmid":5,"launchid":"a+b="}'],
    }
    assert "__Host-browser" in response.cookies


def test_a_student_arrives(client, platform, target):
    response = platform.launch(client, target)
    row = Launch.objects.get(pk=launch_id_of(response))
    assert (row.result, row.lti_version, row.role) == ("accepted", "1.3", "student")
    assert (row.person.name, row.deployment) == ("Ada Lovelace", platform.deployment)
    assert assignment_url(row.assignment) == target
    assert client.get(response["Location"].partition("#")[0]).status_code == 200


def test_a_person_of_lti_1p1_is_the_same_person_by_1p3(client, platform, installation, target):
    key = LtiKeyFactory(installation=installation)
    launch(client, target.removeprefix(settings.BASE_URL), key, user_id="user-1")
    platform.launch(client, target)
    assert Person.objects.count() == 1


def test_the_id_token_may_come_to_the_resource_url(client, platform, target):
    state, nonce = platform.begin(client, target)
    token = platform.token(platform.claims(nonce, target))
    path = target.removeprefix(settings.BASE_URL)
    body = f"id_token={token}&state={state}"
    response = client.post(path, body, content_type="application/x-www-form-urlencoded")
    assert response.status_code == 302


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"iss": "https://unknown.example"}, 401, "authentication_failed"),
        ({"client_id": "other"}, 401, "authentication_failed"),
        ({"login_hint": ""}, 400, "missing_parameter"),
        ({"iss": ""}, 400, "missing_parameter"),
        ({"target_link_uri": "https://evil.example/"}, 404, "unknown_destination"),
        ({"target_link_uri": "http://testserver/admin/"}, 404, "unknown_destination"),
    ],
)
def test_logins_refused(client, platform, target, changes, status, code):
    assert_refused(platform.login(client, target, **changes), status, code)


def test_without_a_client_id_the_issuer_has_to_be_enough(client, platform, target):
    assert platform.login(client, target, client_id="").status_code == 302
    registration = platform.registration
    registration.pk, registration.client_id = None, "client-2"
    type(registration)(
        organization=registration.organization,
        installation=registration.installation,
        issuer=registration.issuer,
        client_id="client-2",
        auth_login_url=registration.auth_login_url,
        token_url=registration.token_url,
    ).save()
    assert_refused(platform.login(client, target, client_id=""), 401, "authentication_failed")


def test_another_organizations_registration_does_not_exist(client, platform, target):
    other = InstallationFactory()
    response = client.get(
        f"/lti/1p3/{other.organization.slug}/login?iss={platform.url}&login_hint=1&target_link_uri={target}"
    )
    assert_refused(response, 401, "authentication_failed")
    state, nonce = platform.begin(client, target)
    platform.slug = other.organization.slug
    token = platform.token(platform.claims(nonce, target))
    assert_refused(platform.post(client, token, state), 401, "state_mismatch")


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"iss": "https://other.example"}, 401, "invalid_token"),
        ({"aud": "other"}, 401, "invalid_token"),
        ({"aud": ["client-1", "other"]}, 401, "invalid_token"),
        ({"azp": "other"}, 401, "invalid_token"),
        ({"nonce": "forged"}, 401, "invalid_token"),
        ({"exp": int(time.time()) - 600}, 401, "timestamp_expired"),
        ({"iat": int(time.time()) - 6000}, 401, "timestamp_expired"),
        ({"sub": None}, 400, "missing_parameter"),
        ({"version": None}, 400, "missing_parameter"),
        ({"version": "1.0.0"}, 400, "unsupported_message"),
        ({"message_type": "LtiUnheardOfRequest"}, 400, "unsupported_message"),
        ({"deployment_id": None}, 400, "missing_parameter"),
        ({"resource_link": {}}, 400, "missing_parameter"),
        ({"target_link_uri": "https://evil.example/"}, 404, "unknown_destination"),
        ({"roles": None}, 400, "missing_parameter"),
    ],
)
def test_bad_tokens(client, platform, target, changes, status, code):
    assert_refused(platform.launch(client, target, **changes), status, code)
    row = Launch.objects.get()
    assert (row.result, row.nonce, row.lti_version) == (code, None, "1.3")
    assert row.refusal["check"]
    assert not Person.objects.exists()


def test_a_token_signed_by_somebody_else(client, platform, target):
    state, nonce = platform.begin(client, target)
    from lti.tests.platform_1p3 import key

    genuine = platform.keys["k1"]
    platform.keys["k1"] = key(5)
    token = platform.token(platform.claims(nonce, target))
    platform.keys["k1"] = genuine
    assert_refused(platform.post(client, token, state), 401, "invalid_token")


def test_a_replayed_launch(client, platform, target):
    state, nonce = platform.begin(client, target)
    token = platform.token(platform.claims(nonce, target))
    assert platform.post(client, token, state).status_code == 302
    assert_refused(platform.post(client, token, state), 401, "nonce_reused")


def test_another_browser_may_not_use_the_state(client, platform, target):
    state, nonce = platform.begin(client, target)
    token = platform.token(platform.claims(nonce, target))
    other = Client()
    platform.login(other, target)
    assert_refused(platform.post(other, token, state), 401, "state_mismatch")
    assert not Launch.objects.filter(result="accepted").exists()


def test_without_a_cookie_the_state_alone_is_not_enough(client, platform, target):
    state, nonce = platform.begin(client, target)
    token = platform.token(platform.claims(nonce, target))
    response = platform.post(Client(), token, state)
    assert_refused(response, 401, "state_mismatch")
    page = response.content.decode()
    assert f"/lti/1p3/{platform.slug}/login?" in page
    assert "Open in a new window" in page
    assert_refused(platform.post(Client(), token, state, browser="x" * 43), 401, "state_mismatch")
    assert not Launch.objects.filter(result="accepted").exists()


def test_what_the_lms_kept_for_the_browser_proves_it(client, platform, target):
    state, nonce = platform.begin(client, target)
    token = platform.token(platform.claims(nonce, target))
    kept = client.cookies["__Host-browser"].value
    assert platform.post(Client(), token, state, browser=kept).status_code == 302


def test_a_login_with_platform_storage_keeps_the_browser_there_first(client, platform, target):
    response = platform.login(client, target, lti_storage_target="_parent")
    assert response.status_code == 200
    page = response.content.decode()
    assert client.cookies["__Host-browser"].value in page
    assert f"{platform.url}/auth" in page
    assert platform.login(client, target, lti_storage_target="_parent").status_code == 302, "the cookie came back"


def in_a_frame() -> Client:
    return Client(headers={"Sec-Fetch-Dest": "iframe"})


def test_a_frame_shows_that_it_keeps_cookies_before_the_hint_is_used(platform, target):
    """D27: a platform may take its hint once only, so it is asked when the browser has brought its cookie back."""
    client = in_a_frame()
    first = platform.login(client, target, lti_message_hint="used once")
    assert (first.status_code, first["Cache-Control"]) == (303, "no-store")
    assert first["Location"].startswith(f"/lti/1p3/{platform.slug}/login?")
    second = client.get(first["Location"])
    assert second.status_code == 302
    assert second["Location"].startswith(f"{platform.url}/auth")
    assert parse_qs(urlsplit(second["Location"]).query)["lti_message_hint"] == ["used once"]


def test_a_frame_without_cookies_offers_a_window_with_the_hint_unused(platform, target):
    first = platform.login(in_a_frame(), target, lti_message_hint="used once")
    refused = in_a_frame().get(first["Location"])
    assert_refused(refused, 401, "state_mismatch")
    page = refused.content.decode()
    assert "Open in a new window" in page
    (again,) = re.findall(r'href="(/lti/1p3/[^"]+)"', page)
    window = Client(headers={"Sec-Fetch-Dest": "document"}).get(html.unescape(again))
    assert window.status_code == 302
    assert parse_qs(urlsplit(window["Location"]).query)["lti_message_hint"] == ["used once"]


def test_an_unknown_deployment_waits_for_the_owner(client, platform, target):
    assert_refused(platform.launch(client, target, deployment_id="2"), 403, "deployment_pending")
    pending = Deployment.objects.get(deployment_id="2")
    assert pending.state == "pending"
    assert not Person.objects.exists()
    pending.state = "approved"
    pending.save()
    assert platform.launch(client, target, deployment_id="2").status_code == 302


@pytest.mark.parametrize("what", ["registration", "installation", "organization", "pending"])
def test_switched_off(client, platform, installation, target, what):
    response = platform.launch(client, target)
    if what == "pending":
        platform.registration.state = "pending"
        platform.registration.save()
    else:
        row = {
            "registration": platform.registration,
            "installation": installation,
            "organization": installation.organization,
        }[what]
        row.enabled = False
        row.save()
    assert_refused(platform.login(client, target), 403, "installation_disabled")
    assert_refused(client.get(response["Location"].partition("#")[0]), 403, "installation_disabled")


def test_the_platforms_error_is_shown_readably(client, platform, target):
    state, _ = platform.begin(client, target)
    response = client.post(f"/lti/1p3/{platform.slug}/launch", {"error": "login_required", "state": state})
    assert response.status_code in (400, 415)
    body = f"error=login_required&error_description=nobody+here&state={state}"
    response = client.post(f"/lti/1p3/{platform.slug}/launch", body, content_type="application/x-www-form-urlencoded")
    assert_refused(response, 400, "platform_error")


def test_key_rotation_and_a_flood_of_unknown_keys(client, platform, target):
    assert platform.launch(client, target).status_code == 302
    reads = platform.requests
    from lti.tests.platform_1p3 import key

    for number in range(5):
        state, nonce = platform.begin(client, target)
        platform.keys["flood"] = key(9)
        token = platform.token(platform.claims(nonce, target, sub=f"u{number}"), kid="flood")
        del platform.keys["flood"]
        assert_refused(platform.post(client, token, state), 401, "invalid_token")
    assert platform.requests - reads <= 1


def test_a_key_set_that_cannot_be_read(client, platform, target):
    platform.registration.jwks_url = f"{platform.url}/nothing"
    platform.registration.save()
    assert_refused(platform.launch(client, target), 502, "platform_unreachable")


def test_only_teachers_choose_content(client, platform, target):
    settings_claim = {
        "deep_link_return_url": "https://lms.example/return",
        "accept_types": ["ltiResourceLink"],
        "accept_presentation_document_targets": ["iframe"],
    }
    claims = {
        "message_type": "LtiDeepLinkingRequest",
        "resource_link": None,
        names.DEEP_LINKING_SETTINGS: settings_claim,
    }
    assert_refused(platform.launch(client, target, **claims), 403, "role_not_allowed")
    response = platform.launch(client, target, **claims, roles=[f"{ROLE}Instructor"])
    row = Launch.objects.get(pk=launch_id_of(response))
    assert row.selection["return_url"] == "https://lms.example/return"
    assert (row.assignment, row.resource_link) == (None, None)


def test_submission_review(client, platform, target):
    platform.launch(client, target)
    review = {"message_type": "LtiSubmissionReviewRequest", "for_user": {"user_id": "user-1"}, "sub": "teacher-1"}
    response = platform.launch(client, target, **review, roles=[f"{ROLE}Instructor"])
    row = Launch.objects.get(pk=launch_id_of(response))
    assert row.for_person.name == "Ada Lovelace"
    page = client.get(response["Location"].partition("#")[0], follow=True)
    assert page.redirect_chain[-1][0].endswith(f"/{row.for_person_id}/")
    assert "Ada Lovelace" in page.content.decode()
    assert_refused(platform.launch(client, target, **review), 403, "role_not_allowed")
    unknown = {**review, "for_user": {"user_id": "nobody"}}
    assert_refused(platform.launch(client, target, **unknown, roles=[f"{ROLE}Instructor"]), 404, "unknown_destination")


def test_statements_of_a_returning_persons_launch(client, platform, target, django_assert_max_num_queries):
    platform.launch(client, target)
    state, nonce = platform.begin(client, target)
    token = platform.token(platform.claims(nonce, target))
    with django_assert_max_num_queries(11):
        assert platform.post(client, token, state).status_code == 302


def test_equal_ids_of_other_platforms_are_other_people(client, platform, installation, target):
    platform.launch(client, target)
    second = InstallationFactory(organization=installation.organization)
    with platform_of(second) as other:
        other.launch(client, target)
    assert Person.objects.count() == 2
    assert STUDENT["user_id"] not in Person.objects.values_list("name", flat=True)


def test_the_address_of_somebodys_work_opens_that_work_for_a_teacher(client, platform, target):
    """What SpeedGrader launches: the address that came with the grade (F12)."""
    student = Launch.objects.get(pk=launch_id_of(platform.launch(Client(), target))).person
    address = f"{target}?person={student.pk}"
    opened = platform.launch(client, address, sub="teacher", roles=[f"{ROLE}Instructor"])
    assignment_id = target.rsplit("/", 1)[1]
    assert client.get(opened["Location"].partition("#")[0])["Location"].endswith(
        f"/assignments/{assignment_id}/people/{student.pk}/"
    )
    for unknown in (f"{target}?person={uuid4()}", f"{target}?person=x%00", f"{target}?person="):
        shown = platform.launch(client, unknown, sub="teacher", roles=[f"{ROLE}Instructor"])
        assert client.get(shown["Location"].partition("#")[0]).status_code == 200


def test_the_address_of_somebodys_work_is_ones_own_page_for_another_student(client, platform, target):
    student = Launch.objects.get(pk=launch_id_of(platform.launch(Client(), target))).person
    opened = platform.launch(client, f"{target}?person={student.pk}", sub="another")
    row = Launch.objects.get(pk=launch_id_of(opened))
    assert (row.for_person, row.role) == (None, "student")
    assert client.get(opened["Location"].partition("#")[0]).status_code == 200
