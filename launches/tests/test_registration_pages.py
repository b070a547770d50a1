"""Dynamic registration from the invite to the pending registration, with an LMS on loopback (D40 to D45, J18)."""

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from django.db import connection, connections
from django.test import Client
from django.utils import timezone

from events.models import Event
from launches import registration_pages
from lti.tests.recorded import load
from organizations.models import Deployment, Installation, Registration, RegistrationInvite
from organizations.registration_invites import make_invite
from tests.factories import InstallationFactory, LtiKeyFactory, OrganizationFactory, RegistrationFactory
from tests.loopback import Reply, serve

pytestmark = pytest.mark.django_db

MOODLE = load("moodle/dynamic_registration_openid_configuration.json")
MOODLE_ANSWER = load("moodle/dynamic_registration_response.json")
MOODLE_TOKEN = load("moodle/dynamic_registration_request.json")["initiation"]["query"]["registration_token"]
TOOL = "https://purl.imsglobal.org/spec/lti-tool-configuration"
PATHS = {
    "/mod/lti/openid-configuration.php": "configuration",
    "/mod/lti/openid-registration.php": "registration",
}


@dataclass
class Lms:
    """Moodle's registration as it was recorded, at the address where it runs here."""

    url: str = ""
    client_id: str = "b9v7LGkbHL07B9u"
    changes: dict = field(default_factory=dict)
    answer_changes: dict = field(default_factory=dict)
    consumer: dict = field(default_factory=dict)
    replies: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)

    def configuration(self):
        document = json.loads(json.dumps(MOODLE).replace("http://127.0.0.1:8081", self.url)) | self.changes
        return {name: value for name, value in document.items() if value is not None}

    def answer(self, received):
        what = PATHS.get(received.path, "")
        self.asked.append((received.method, what, received.headers.get("Authorization"), received.body))
        if (received.method, what) in self.replies:
            return self.replies[received.method, what]
        if what == "configuration":
            return _json(self.configuration())
        if what == "registration" and received.method == "GET":
            return _json({TOOL: {"oauth_consumer": self.consumer}} if self.consumer else {}, 200)
        answer = MOODLE_ANSWER | {"client_id": self.client_id} | self.answer_changes
        return _json(answer)

    def posted(self):
        return [json.loads(body) for method, what, _, body in self.asked if (method, what) == ("POST", "registration")]


def _json(document, status=200):
    return Reply(status, json.dumps(document).encode(), {"Content-Type": "application/json"})


@pytest.fixture
def lms(settings):
    settings.OUTBOUND_ALLOW_HTTP = True
    settings.OUTBOUND_ALLOWED_PRIVATE_HOSTS = ["127.0.0.0/8"]
    lms = Lms()
    with serve(lms.answer) as server:
        lms.url = server.url
        yield lms


@pytest.fixture
def acme(db):
    return OrganizationFactory(slug="acme", name="Acme University")


@pytest.fixture
def invited(acme):
    _, url = make_invite(acme, "Moodle of the library")
    assert url.startswith("http://testserver/lti/1p3/acme/register?invite=")
    return url


def open_page(url, lms, **more):
    query = {"openid_configuration": f"{lms.url}/mod/lti/openid-configuration.php", "registration_token": MOODLE_TOKEN}
    address, _, invite = url.partition("?invite=")
    return Client(enforce_csrf_checks=True).get(address, {"invite": invite, **query, **more})


def form_of(response):
    return re.search(r'name="form" value="([^"]+)"', response.content.decode())[1]


def press(response, path="/lti/1p3/acme/register"):
    """The one button of the page, without any cookie, as in a frame that gets none."""
    return Client(enforce_csrf_checks=True).post(path, {"form": form_of(response)})


def text_of(response):
    return response.content.decode()


def test_a_moodle_is_asked_shown_and_registered(invited, lms, acme):
    page = open_page(invited, lms)
    text = text_of(page)
    assert page.status_code == 200
    for words in (
        "Connect Moodle with Acme University",
        lms.url,
        "4.5.6 (Build: 20250811)",
        "Grades come back to the gradebook",
        "Name and e-mail address",
        "Teachers choose content",
    ):
        assert words in text
    assert "Teachers open a student" not in text  # this Moodle does not say that it reviews submissions
    assert not Registration.objects.exists()
    assert [what for _, what, _, _ in lms.asked] == ["configuration"]
    done = press(page)
    assert done.status_code == 200
    assert "Registered" in text_of(done)
    assert "press <b>Activate</b>" in text_of(done)

    registration = Registration.objects.get()
    assert registration.state == "pending"
    assert not registration.is_usable
    assert (registration.organization, registration.issuer, registration.client_id) == (acme, lms.url, lms.client_id)
    assert registration.auth_login_url == f"{lms.url}/mod/lti/auth.php"
    assert registration.token_url == f"{lms.url}/mod/lti/token.php"
    assert registration.jwks_url == f"{lms.url}/mod/lti/certs.php"
    deployment = Deployment.objects.get()
    assert (deployment.deployment_id, deployment.state) == ("5", "pending")
    assert deployment.installation == registration.installation
    assert (registration.installation.name, registration.installation.lms) == ("Moodle of the library", "moodle")
    invite = RegistrationInvite.objects.get()
    assert invite.used_at is not None
    assert invite.registration == registration
    event = Event.objects.get()
    assert (event.type, event.actor["kind"], event.subject["id"]) == (
        "registration.created",
        "system",
        str(registration.pk),
    )


def test_what_is_posted_is_what_moodle_takes(invited, lms):
    press(open_page(invited, lms))
    (document,) = lms.posted()
    recorded = load("moodle/dynamic_registration_request.json")["registration_request"]
    base = "http://testserver/lti/1p3/acme"
    assert document["initiate_login_uri"] == f"{base}/login"
    assert document["redirect_uris"] == [f"{base}/launch"]
    assert document["jwks_uri"] == f"{base}/jwks.json"
    assert document["client_name"] == "Acme University"
    tool = document[TOOL]
    assert tool["domain"] == "testserver"
    assert tool["target_link_uri"] == f"{base}/launch"
    for name in ("application_type", "response_types", "grant_types", "token_endpoint_auth_method"):
        assert document[name] == recorded[name]
    assert set(document["scope"].split()) <= set(recorded["scope"].split())
    assert [message["type"] for message in tool["messages"]] == ["LtiResourceLinkRequest", "LtiDeepLinkingRequest"]
    bearers = {bearer for _, _, bearer, _ in lms.asked}
    assert bearers == {f"Bearer {MOODLE_TOKEN}"}


def test_the_page_may_be_framed_by_any_lms_and_stays_out_of_caches_and_referers(invited, lms, settings):
    page = open_page(invited, lms)
    for response in (page, press(page), Client().get("/lti/1p3/acme/register")):
        assert "X-Frame-Options" not in response
        assert "frame-ancestors 'self' https: http:" in response["Content-Security-Policy"]
        assert response["Cache-Control"] == "no-store"
        assert response["Referrer-Policy"] == "no-referrer"
        assert not response.cookies
    settings.OUTBOUND_ALLOW_HTTP = False
    response = Client().get("/lti/1p3/acme/register")
    assert "frame-ancestors 'self' https:;" in response["Content-Security-Policy"] + ";"


def test_the_last_page_closes_itself_and_has_a_button_for_it(invited, lms):
    done = text_of(press(open_page(invited, lms)))
    assert "data-close-after" in done
    assert re.search(r"<button[^>]+data-close>Close</button>", done)
    assert "js/registration.js" in done
    assert "<script>" not in done


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"used_at": timezone.now()},
        {"expires_at": timezone.now() - timedelta(seconds=1)},
    ],
)
def test_without_a_usable_invite_nothing_is_asked(invited, lms, change):
    if change:
        RegistrationInvite.objects.update(**change)
    url = invited if change else "http://testserver/lti/1p3/acme/register?invite=made-up"
    response = open_page(url, lms)
    assert response.status_code == 404
    assert "This registration link does not work" in text_of(response)
    assert lms.asked == []


@pytest.mark.parametrize(
    "url", ["/lti/1p3/acme/register", "/lti/1p3/nobody/register", "/lti/1p3/acme/register?invite="]
)
def test_no_invite_and_no_organization_look_alike(acme, url):
    response = Client().get(url)
    assert response.status_code == 404
    assert "Acme" not in text_of(response)


def test_a_suspended_organization_registers_nothing(invited, lms, acme):
    page = open_page(invited, lms)
    acme.enabled = False
    acme.save()
    assert press(page).status_code == 404
    assert open_page(invited, lms).status_code == 404


def test_an_invite_of_another_organization_does_not_open_here(invited, lms):
    OrganizationFactory(slug="rivals")
    page = open_page(invited, lms)
    assert open_page(invited.replace("/acme/", "/rivals/"), lms).status_code == 404
    assert press(page, "/lti/1p3/rivals/register").status_code == 404
    assert not Registration.objects.exists()


def test_an_invite_works_once(invited, lms):
    page, second = open_page(invited, lms), open_page(invited, lms)
    assert press(page).status_code == 200
    assert press(second).status_code == 404
    assert press(page).status_code == 404
    assert open_page(invited, lms).status_code == 404
    assert Registration.objects.count() == 1
    assert len(lms.posted()) == 1


def test_removing_the_registration_does_not_bring_its_invite_back(invited, lms):
    press(open_page(invited, lms))
    Registration.objects.all().delete()
    assert open_page(invited, lms).status_code == 404


def test_a_form_that_is_not_ours_or_too_old_registers_nothing(invited, lms, monkeypatch):
    page = open_page(invited, lms)
    for form in ("", "made:up", form_of(page)[:-2], form_of(page).replace(":", "::")):
        assert Client().post("/lti/1p3/acme/register", {"form": form}).status_code == 404
    monkeypatch.setattr(registration_pages, "FORM_AGE", -1)
    assert press(page).status_code == 404
    assert lms.posted() == []


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(400, b"domain_targetlinkuri_mismatch"), "domain_targetlinkuri_mismatch"),
        (Reply(404, b"<html><script>alert(1)</script>Not found"), "HTTP 404"),
        (Reply(200, b"<html>"), "cannot be read"),
        (Reply(200, b'{"client_id": ""}'), "client id"),
        (Reply(200, b'{"client_id": "a\\u0000b"}'), "cannot be read"),
        (Reply(302, b"", {"Location": "http://169.254.169.254/"}), "HTTP 302"),
        (Reply(200, b"[" * 300_000), "more than is read"),
        (Reply(503, b"busy"), "HTTP 503"),
    ],
)
def test_what_the_lms_refuses_is_readable_stores_nothing_and_leaves_the_invite(invited, lms, reply, words):
    page = open_page(invited, lms)
    lms.replies["POST", "registration"] = reply
    response = press(page)
    assert response.status_code == 400
    assert words in text_of(response)
    assert "<script>alert" not in text_of(response)
    assert MOODLE_TOKEN not in text_of(response)
    assert not Registration.objects.exists()
    assert not Installation.objects.exists()
    lms.replies.clear()
    assert press(open_page(invited, lms)).status_code == 200
    assert Registration.objects.count() == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"issuer": "https://bank.example"}, "another one than the one it was asked at"),
        ({"issuer": None}, "issuer"),
        ({"issuer": "https://canvas.instructure.com"}, "another one than the one it was asked at"),
        ({"token_endpoint": "ftp://lms.example/token"}, "token_endpoint"),
        ({"authorization_endpoint": "javascript:alert(1)"}, "authorization_endpoint"),
        ({"jwks_uri": None}, "jwks_uri"),
        ({"registration_endpoint": None}, "registration_endpoint"),
        ({"token_endpoint_auth_methods_supported": ["client_secret_basic"]}, "private_key_jwt"),
        ({"id_token_signing_alg_values_supported": ["HS256"]}, "RS256"),
    ],
)
def test_a_configuration_that_cannot_be_believed(invited, lms, changes, words):
    lms.changes = changes
    response = open_page(invited, lms)
    assert response.status_code == 400
    assert words in text_of(response)
    assert "Not registered" in text_of(response)


def test_http_is_refused_unless_the_settings_allow_it(invited, lms, settings):
    settings.OUTBOUND_ALLOW_HTTP = False
    response = open_page(invited, lms)
    assert response.status_code == 400
    assert lms.asked == []


def test_private_addresses_are_refused_unless_the_settings_allow_them(invited, lms, settings):
    settings.OUTBOUND_ALLOWED_PRIVATE_HOSTS = []
    for url in (lms.url, "http://169.254.169.254/latest", "http://localhost:6379"):
        response = open_page(invited, lms, openid_configuration=f"{url}/mod/lti/openid-configuration.php")
        assert response.status_code == 400
    assert lms.asked == []


def test_a_registration_endpoint_inside_is_refused(invited, lms, settings):
    lms.changes = {"registration_endpoint": "http://10.0.0.1/register"}
    response = press(open_page(invited, lms))
    assert response.status_code == 400
    assert "could not be asked" in text_of(response)


@pytest.mark.parametrize("configuration", ["", "javascript:alert(1)", "http://user@lms.example/", "x" * 5000])
def test_what_the_lms_left_out_is_said(invited, lms, configuration):
    response = open_page(invited, lms, openid_configuration=configuration)
    assert response.status_code == 400
    assert "openid_configuration" in text_of(response)


def test_addresses_at_other_hosts_are_pointed_out(invited, lms):
    lms.changes = {"token_endpoint": "http://elsewhere.example/token"}
    assert "elsewhere.example" in text_of(open_page(invited, lms))


def test_texts_of_the_lms_are_escaped(invited, lms):
    platform = "https://purl.imsglobal.org/spec/lti-platform-configuration"
    lms.changes = {platform: {"product_family_code": "<img src=x onerror=alert(1)>", "version": "<b>1</b>"}}
    text = text_of(open_page(invited, lms))
    assert "&lt;img src=x" in text
    assert "<img src=x" not in text
    assert "<b>1</b>" not in text


def test_an_existing_registration_is_not_overwritten(invited, lms, acme):
    own = RegistrationFactory(
        installation=InstallationFactory(organization=acme),
        issuer=lms.url,
        client_id=lms.client_id,
        token_url="https://kept.example/token",
    )
    response = press(open_page(invited, lms))
    assert response.status_code == 400
    assert "registered here already" in text_of(response)
    own.refresh_from_db()
    assert (own.token_url, own.state) == ("https://kept.example/token", "active")
    assert Registration.objects.count() == 1
    assert Installation.objects.count() == 1
    invite = RegistrationInvite.objects.get()
    assert (invite.used_at, invite.claimed_until) == (None, None)


def test_another_tenants_registration_of_the_same_lms_is_no_hindrance(invited, lms):
    RegistrationFactory(issuer=lms.url, client_id=lms.client_id)
    assert press(open_page(invited, lms)).status_code == 200
    assert Registration.objects.count() == 2


def test_a_deployment_that_is_not_named_comes_with_the_first_launch(invited, lms):
    lms.answer_changes = {TOOL: {"version": "1.3.0"}}
    assert press(open_page(invited, lms)).status_code == 200
    assert not Deployment.objects.exists()


def test_where_the_registration_can_be_changed_is_kept_encrypted(invited, lms):
    lms.answer_changes = {
        "registration_client_uri": "https://lms.example/registrations/1",
        "registration_access_token": "token-of-the-registration",
    }
    press(open_page(invited, lms))
    registration = Registration.objects.get()
    assert registration.configuration_url == "https://lms.example/registrations/1"
    assert registration.configuration_token == "token-of-the-registration"
    with connection.cursor() as cursor:
        cursor.execute("SELECT configuration_token FROM organizations_registration")
        assert "token-of-the-registration" not in cursor.fetchone()[0]


class TestUpgrade:
    """Moodle proves that it used the tool over LTI 1.1 (D44)."""

    SECRET = "shared-secret-of-the-key"

    @pytest.fixture
    def key(self, acme):
        return LtiKeyFactory(
            installation=InstallationFactory(organization=acme, name="Old Moodle"),
            consumer_key="acme-moodle",
            secret=self.SECRET,
        )

    def proof(self, key="acme-moodle", secret=SECRET, nonce="nonce-1"):
        return {
            "key": key,
            "nonce": nonce,
            "sign": hashlib.sha256(f"{key}{secret}{nonce}".encode()).hexdigest(),
        }

    def test_a_genuine_proof_joins_the_installation_of_the_key(self, invited, lms, key):
        lms.consumer = self.proof()
        done = press(open_page(invited, lms))
        assert "used this tool before" in text_of(done)
        registration = Registration.objects.get()
        assert registration.installation == key.installation
        assert registration.upgraded_key == key
        assert Deployment.objects.get().installation == key.installation
        assert registration.state == Deployment.objects.get().state == "pending"
        assert Installation.objects.count() == 1
        assert Event.objects.get().data["upgraded_key"] == "acme-moodle"

    def test_it_may_come_with_the_answer(self, invited, lms, key):
        lms.answer_changes = {TOOL: {"deployment_id": "5", "oauth_consumer": self.proof()}}
        press(open_page(invited, lms))
        assert Registration.objects.get().upgraded_key == key

    def test_the_secret_being_rotated_out_proves_as_well(self, invited, lms, key):
        key.previous_secret, key.secret = key.secret, "another secret"
        key.previous_secret_expires_at = timezone.now() + timedelta(days=1)
        key.save()
        lms.consumer = self.proof()
        press(open_page(invited, lms))
        assert Registration.objects.get().upgraded_key == key

    @pytest.mark.parametrize("wrong", [{"secret": "guessed"}, {"key": "unknown"}])
    def test_a_wrong_proof_is_as_good_as_none(self, invited, lms, key, wrong):
        lms.consumer = self.proof(**wrong)
        done = press(open_page(invited, lms))
        assert done.status_code == 200
        assert "used this tool before" not in text_of(done)
        registration = Registration.objects.get()
        assert registration.upgraded_key is None
        assert registration.installation != key.installation

    def test_the_key_of_another_organization_proves_nothing(self, invited, lms):
        LtiKeyFactory(consumer_key="foreign", secret=self.SECRET)
        lms.consumer = self.proof(key="foreign")
        press(open_page(invited, lms))
        assert Registration.objects.get().upgraded_key is None


def test_the_name_of_the_new_installation_is_free(lms, acme):
    InstallationFactory(organization=acme, name="Moodle")
    for number in range(3):
        _, url = make_invite(acme, "Moodle")
        lms.client_id = f"client-{number}"
        assert press(open_page(url, lms)).status_code == 200
    names = set(Installation.objects.values_list("name", flat=True))
    host = lms.url.removeprefix("http://")
    assert names == {"Moodle", f"Moodle ({host})", f"Moodle ({host}) 2", f"Moodle ({host}) 3"}


def test_while_one_registration_is_under_way_another_waits(invited, lms):
    page = open_page(invited, lms)
    RegistrationInvite.objects.update(claimed_until=timezone.now() + timedelta(seconds=60))
    assert press(page).status_code == 404
    assert lms.posted() == []
    # Who claimed it and died lets go by itself.
    RegistrationInvite.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    assert press(page).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_of_two_uses_at_once_one_wins(invited, lms):
    if connection.vendor == "sqlite":
        pytest.skip("the tests' SQLite is in memory, where writers do not wait for each other")
    pages = [open_page(invited, lms) for _ in range(6)]
    statuses = []

    def use(page):
        try:
            statuses.append(press(page).status_code)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=use, args=[page]) for page in pages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, 404, 404, 404, 404, 404]
    assert Registration.objects.count() == 1
    assert len(lms.posted()) == 1
