"""LTI 1.3 in the admin: registrations by hand and by invite, deployments, and what is said before a slip is saved."""

import re
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from events.models import Event
from organizations.models import Deployment, Installation, LtiKey, Registration, RegistrationInvite
from organizations.registration_invites import hash_of
from organizations.tests.admin_client import operator_client, owner_client, text_of
from tests.factories import (
    DeploymentFactory,
    InstallationFactory,
    LtiKeyFactory,
    OrganizationFactory,
    PersonFactory,
    RegistrationFactory,
    RegistrationInviteFactory,
)

pytestmark = pytest.mark.django_db

ADD = "/admin/organizations/registration/add/"
PEM = """-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAtHEVDlzk3qfxrzGqDWhu
-----END PUBLIC KEY-----"""


@pytest.fixture
def acme(db):
    return OrganizationFactory(slug="acme", name="Acme University")


@pytest.fixture
def moodle(acme):
    return InstallationFactory(organization=acme, name="Moodle")


@pytest.fixture
def owner(acme):
    return owner_client(acme)


def form_for(installation, **changes):
    return {
        "installation": str(installation.pk),
        "issuer": "https://lms.example",
        "client_id": "client-1",
        "auth_login_url": "https://lms.example/mod/lti/auth.php",
        "token_url": "https://lms.example/mod/lti/token.php",
        "jwks_url": "https://lms.example/mod/lti/certs.php",
        "public_key_pem": "",
        "token_audience": "",
        "deployment_ids": "1\r\n 2 \r\n",
        "enabled": "on",
        **changes,
    }


def page_of(row, name):
    return f"/admin/organizations/{row._meta.model_name}/{row.pk}/{name}/"


class TestByHand:
    def test_a_registration_is_made_with_its_deployments(self, owner, moodle):
        response = owner.post(ADD, form_for(moodle))
        registration = Registration.objects.get()
        assert response["Location"] == page_of(registration, "change")
        assert (registration.organization, registration.installation) == (moodle.organization, moodle)
        assert registration.is_usable
        assert [(row.deployment_id, row.state, row.installation) for row in Deployment.objects.all()] == [
            ("1", "approved", moodle),
            ("2", "approved", moodle),
        ]
        event = Event.objects.get()
        assert (event.type, event.actor["kind"], event.data["deployment_ids"]) == (
            "registration.created",
            "user",
            ["1", "2"],
        )

    def test_the_tools_values_are_ready_to_copy(self, owner, moodle):
        registration = RegistrationFactory(installation=moodle)
        for path in (ADD, page_of(registration, "change"), page_of(moodle, "change")):
            text = text_of(owner.get(path))
            for url in ("login", "launch", "jwks.json", "config.json"):
                assert f'data-copy="http://testserver/lti/1p3/acme/{url}"' in text, path
            assert reverse("admin:installation-setup", args=[moodle.pk]) in text, path

    def test_the_same_issuer_and_client_id_are_refused(self, owner, moodle):
        owner.post(ADD, form_for(moodle))
        response = owner.post(ADD, form_for(InstallationFactory(organization=moodle.organization)))
        assert response.status_code == 200
        assert "already exists" in text_of(response)
        assert Registration.objects.count() == 1

    def test_another_tenant_may_have_the_same(self, owner, moodle):
        RegistrationFactory(issuer="https://lms.example", client_id="client-1")
        owner.post(ADD, form_for(moodle))
        assert Registration.objects.filter(issuer="https://lms.example", client_id="client-1").count() == 2

    def test_an_installation_has_a_key_and_a_registration(self, owner, moodle):
        key = LtiKeyFactory(installation=moodle)
        owner.post(ADD, form_for(moodle))
        text = text_of(owner.get(page_of(moodle, "change")))
        assert key.consumer_key in text
        assert "client id client-1" in text
        assert LtiKey.objects.get().enabled

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"issuer": "https://lms.example/"}, "ends with a slash"),
            ({"issuer": "http://lms.example"}, "begins with http://"),
            ({"issuer": "https://lms.example:8443"}, "port is 8443"),
            ({"issuer": "https://LMS.example"}, "capital letters"),
            ({"issuer": "https://other.example"}, "no address is there"),
            ({"token_url": "https://auth.example/token"}, "several hosts"),
        ],
    )
    def test_a_slip_is_pointed_out_before_it_is_saved(self, owner, moodle, changes, words):
        response = owner.post(ADD, form_for(moodle, **changes))
        assert response.status_code == 200
        assert words in text_of(response)
        assert not Registration.objects.exists()
        assert owner.post(ADD, form_for(moodle, **changes, save_anyway="on")).status_code == 302
        assert Registration.objects.get().issuer == changes.get("issuer", "https://lms.example")

    def test_an_issuer_that_differs_in_a_slash_from_a_known_one(self, owner, moodle):
        RegistrationFactory(installation=moodle, issuer="https://lms.example/", client_id="client-0")
        text = text_of(owner.post(ADD, form_for(moodle)))
        assert "There is a registration with the issuer https://lms.example/ already" in text

    def test_what_is_right_needs_no_second_look(self, owner, moodle):
        assert "save_anyway" in text_of(owner.get(ADD))
        assert owner.post(ADD, form_for(moodle)).status_code == 302

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"issuer": "lms.example"}, "must be a web address".capitalize()),
            ({"issuer": "https://lms.example/?a=b"}, "without a query"),
            ({"token_url": "http://lms.example/token"}, "begins with https://"),
            ({"auth_login_url": "javascript:alert(1)"}, "begins with https://"),
            ({"jwks_url": "https://user@lms.example/jwks"}, "begins with https://"),
            ({"jwks_url": ""}, "or the public key in its place"),
            ({"public_key_pem": "nonsense"}, "Cannot be used"),
            ({"public_key_pem": PEM}, "Cannot be used"),
            ({"deployment_ids": "x" * 256}, "at most 255"),
            ({"client_id": ""}, "required"),
        ],
    )
    def test_what_cannot_be_is_refused(self, owner, moodle, changes, words):
        response = owner.post(ADD, form_for(moodle, **changes, save_anyway="on"))
        assert response.status_code == 200
        assert words in text_of(response)
        assert not Registration.objects.exists()

    def test_http_endpoints_where_the_settings_allow_them(self, owner, moodle, settings):
        settings.OUTBOUND_ALLOW_HTTP = True
        local = {name: value.replace("https", "http") for name, value in form_for(moodle).items() if "_url" in name}
        owner.post(ADD, form_for(moodle, issuer="http://lms.example", **local, save_anyway="on"))
        assert Registration.objects.get().token_url.startswith("http://")

    @pytest.mark.parametrize(
        ("issuer", "host", "patterns", "audience"),
        [
            ("https://canvas.instructure.com", "sso.canvaslms.com", ["*.instructure.com"], ""),
            ("https://blackboard.com", "developer.blackboard.com", ["*.blackboard.com"], ""),
            (
                "https://school.brightspace.com",
                "auth.brightspace.com",
                ["*.brightspace.com", "*.desire2learn.com"],
                "https://api.brightspace.com/auth/token",
            ),
            ("https://schoology.schoology.com", "lti-service.svc.schoology.com", ["*.schoology.com"], ""),
        ],
    )
    def test_a_cloud_brings_its_hosts_and_audience(self, owner, moodle, issuer, host, patterns, audience):
        urls = {name: f"https://{host}/{name}" for name in ("auth_login_url", "token_url", "jwks_url")}
        assert owner.post(ADD, form_for(moodle, issuer=issuer, **urls)).status_code == 302
        moodle.refresh_from_db()
        assert moodle.service_hosts == patterns
        assert Registration.objects.get().token_audience == audience

    def test_an_installation_of_another_organization_is_no_choice(self, owner, moodle):
        foreign = InstallationFactory()
        response = owner.post(ADD, form_for(foreign))
        assert response.status_code == 200
        assert not Registration.objects.exists()

    def test_an_owner_of_two_organizations_needs_not_name_one(self, acme, moodle):
        other = InstallationFactory(organization=OrganizationFactory())
        client = owner_client(acme, other.organization)
        assert client.post(ADD, form_for(other)).status_code == 302
        assert Registration.objects.get().organization == other.organization


class TestChanging:
    def change(self, registration, **changes):
        names = ("issuer", "client_id", "auth_login_url", "token_url", "jwks_url", "public_key_pem", "token_audience")
        return {name: getattr(registration, name) for name in names} | {"enabled": "on"} | changes

    def test_it_is_switched_off_and_on_without_questions(self, owner, moodle):
        registration = RegistrationFactory(installation=moodle, issuer="https://lms.example/")
        form = self.change(registration)
        del form["enabled"]
        assert owner.post(page_of(registration, "change"), form).status_code == 302
        registration.refresh_from_db()
        assert not registration.is_usable
        assert owner.post(page_of(registration, "change"), self.change(registration)).status_code == 302
        registration.refresh_from_db()
        assert registration.is_usable

    def test_a_slip_in_a_change_is_pointed_out(self, owner, moodle):
        registration = RegistrationFactory(installation=moodle)
        form = self.change(registration, issuer="https://lms.example/")
        assert "ends with a slash" in text_of(owner.post(page_of(registration, "change"), form))
        assert owner.post(page_of(registration, "change"), form | {"save_anyway": "on"}).status_code == 302
        registration.refresh_from_db()
        assert registration.issuer == "https://lms.example/"

    def test_hosts_that_the_owner_took_away_stay_away(self, owner, moodle):
        registration = RegistrationFactory(installation=moodle, issuer="https://canvas.instructure.com")
        assert owner.post(page_of(registration, "change"), self.change(registration)).status_code == 302
        moodle.refresh_from_db()
        assert moodle.service_hosts == []

    def test_one_that_launches_came_through_is_not_deleted(self, owner, moodle):
        used = RegistrationFactory(installation=moodle, last_used_at=timezone.now())
        assert owner.post(page_of(used, "delete"), {"post": "yes"}).status_code == 404
        unused = RegistrationFactory(installation=moodle)
        assert owner.post(page_of(unused, "delete"), {"post": "yes"}).status_code == 302
        assert list(Registration.objects.all()) == [used]


class TestPending:
    @pytest.fixture
    def pending(self, acme):
        made = InstallationFactory(organization=acme, name="Made for it", lms="moodle")
        registration = RegistrationFactory(installation=made, state="pending")
        DeploymentFactory(registration=registration, deployment_id="5", state="pending")
        return registration

    def test_the_owner_is_told(self, owner, pending):
        assert "registered and waits for you" in text_of(owner.get("/admin/"))
        text = text_of(owner.get(page_of(pending, "change")))
        assert page_of(pending, "activate") in text
        assert page_of(pending, "refuse") in text
        assert "Add a deployment" not in text

    def test_activating_lets_it_and_its_deployment_in(self, owner, pending):
        text = text_of(owner.get(page_of(pending, "activate")))
        assert "Equal user ids are one person" in text
        assert pending.token_url in text
        pending.refresh_from_db()
        assert pending.state == "pending"
        owner.post(page_of(pending, "activate"), {"installation": str(pending.installation_id)})
        pending.refresh_from_db()
        assert pending.is_usable
        deployment = Deployment.objects.get()
        assert (deployment.state, deployment.installation) == ("approved", pending.installation)
        assert owner.get(page_of(pending, "activate")).status_code == 404

    def test_it_may_join_an_lms_that_is_known_over_1p1(self, owner, moodle, pending):
        LtiKeyFactory(installation=moodle)
        owner.post(page_of(pending, "activate"), {"installation": str(moodle.pk)})
        pending.refresh_from_db()
        assert pending.installation == moodle
        assert Deployment.objects.get().installation == moodle
        assert list(Installation.objects.all()) == [moodle]  # the one made for it had nothing else in it
        moodle.refresh_from_db()
        assert moodle.lms == "moodle"

    def test_an_installation_with_something_in_it_stays(self, owner, moodle, pending):
        LtiKeyFactory(installation=pending.installation)
        owner.post(page_of(pending, "activate"), {"installation": str(moodle.pk)})
        assert Installation.objects.count() == 2

    def test_the_proof_of_an_upgrade_is_shown(self, owner, moodle, pending):
        pending.upgraded_key = LtiKeyFactory(installation=moodle, consumer_key="acme-moodle")
        pending.save()
        assert "with the LTI 1.1 key acme-moodle before" in text_of(owner.get(page_of(pending, "activate")))

    def test_it_does_not_join_another_organizations(self, owner, pending):
        foreign = InstallationFactory()
        response = owner.post(page_of(pending, "activate"), {"installation": str(foreign.pk)})
        assert response.status_code == 200
        pending.refresh_from_db()
        assert pending.state == "pending"

    def test_refusing_removes_it(self, owner, pending):
        assert owner.get(page_of(pending, "refuse")).status_code == 200
        assert Registration.objects.exists()
        owner.post(page_of(pending, "refuse"))
        assert not Registration.objects.exists()
        assert not Installation.objects.exists()

    def test_refusing_leaves_an_lms_that_is_in_use(self, owner, acme, pending):
        pending.installation.accounts.create(lms_user_id="1", person=PersonFactory(organization=acme))
        owner.post(page_of(pending, "refuse"))
        assert Installation.objects.exists()

    def test_an_active_one_is_not_refused(self, owner, moodle):
        active = RegistrationFactory(installation=moodle)
        assert owner.post(page_of(active, "refuse")).status_code == 404
        assert Registration.objects.exists()


class TestDeployments:
    @pytest.fixture
    def waiting(self, moodle):
        return DeploymentFactory(registration__installation=moodle, deployment_id="dep-1", state="pending")

    def test_the_owner_is_told(self, owner, waiting):
        assert "a deployment waits for you" in text_of(owner.get("/admin/"))
        for path in (
            "/admin/organizations/deployment/",
            page_of(waiting.registration, "change"),
            page_of(waiting.installation, "change"),
        ):
            text = text_of(owner.get(path))
            assert "dep-1" in text
            assert "Waits for you" in text

    def test_approving_says_what_it_means_and_lets_it_in(self, owner, acme, waiting):
        other = InstallationFactory(organization=acme)
        text = text_of(owner.get(page_of(waiting, "approve")))
        assert "Equal user ids are one person" in text
        assert "LTI 1.1 keys only if it is this very LMS" in re.sub(r"\s+", " ", text)
        owner.post(page_of(waiting, "approve"), {"installation": str(other.pk)})
        waiting.refresh_from_db()
        assert (waiting.state, waiting.installation) == ("approved", other)
        assert owner.post(page_of(waiting, "approve")).status_code == 404

    def test_refusing_and_withdrawing(self, owner, waiting):
        assert owner.get(page_of(waiting, "withdraw")).status_code == 404
        owner.post(page_of(waiting, "approve"), {"installation": str(waiting.installation_id)})
        assert owner.post(page_of(waiting, "refuse")).status_code == 404
        owner.post(page_of(waiting, "withdraw"))
        waiting.refresh_from_db()
        assert waiting.state == "pending"
        owner.post(page_of(waiting, "refuse"))
        assert not Deployment.objects.exists()

    def test_one_is_added_by_hand(self, owner, moodle):
        registration = RegistrationFactory(installation=moodle)
        form = {"registration": str(registration.pk), "deployment_id": "7", "installation": str(moodle.pk)}
        owner.post("/admin/organizations/deployment/add/", form)
        assert Deployment.objects.get().state == "approved"
        response = owner.post("/admin/organizations/deployment/add/", form)
        assert "already exists" in text_of(response)
        foreign = RegistrationFactory()
        for mixed in ({"registration": str(foreign.pk)}, {"installation": str(foreign.installation_id)}):
            assert owner.post("/admin/organizations/deployment/add/", {**form, **mixed}).status_code == 200
        assert Deployment.objects.count() == 1

    def test_an_operator_helps_and_cannot_mix_tenants(self, waiting):
        foreign = InstallationFactory()
        operator = operator_client()
        assert operator.post(page_of(waiting, "approve"), {"installation": str(foreign.pk)}).status_code == 200
        waiting.refresh_from_db()
        assert waiting.state == "pending"


class TestInvites:
    ADD = "/admin/organizations/registrationinvite/add/"

    def test_the_link_is_shown_once_and_kept_as_a_hash(self, owner, acme):
        response = owner.post(self.ADD, {"name": "Moodle of the library"})
        url = re.search(r'data-copy="([^"]+register[^"]+)"', text_of(response))[1]
        assert url.startswith("http://testserver/lti/1p3/acme/register?invite=")
        assert response["Cache-Control"] == "no-store"
        invite = RegistrationInvite.objects.get()
        token = url.partition("invite=")[2]
        assert invite.hash == hash_of(token)
        assert timedelta(days=6, hours=23) < invite.expires_at - timezone.now() <= timedelta(days=7)
        for page in ("", f"{invite.pk}/change/"):
            assert token not in text_of(owner.get(f"/admin/organizations/registrationinvite/{page}"))

    def test_it_may_be_for_an_lms_that_is_here(self, owner, moodle):
        text = text_of(owner.get(self.ADD, {"installation": str(moodle.pk)}))
        assert f'<option value="{moodle.pk}" selected' in text
        owner.post(self.ADD, {"name": "x", "installation": str(moodle.pk)})
        assert RegistrationInvite.objects.get().installation == moodle
        assert owner.post(self.ADD, {"name": "y", "installation": str(InstallationFactory().pk)}).status_code == 200
        assert RegistrationInvite.objects.count() == 1

    def test_an_operator_makes_none_and_takes_one_away(self, acme):
        operator = operator_client()
        assert operator.get(self.ADD).status_code == 404
        assert operator.post(self.ADD, {"name": "x", "organization": str(acme.pk)}).status_code == 404
        invite = RegistrationInviteFactory(organization=acme)
        operator.post(page_of(invite, "delete"), {"post": "yes"})
        assert not RegistrationInvite.objects.exists()

    def test_the_list_says_which_still_work(self, owner, acme):
        RegistrationInviteFactory(organization=acme, name="open one")
        RegistrationInviteFactory(organization=acme, name="old one", expires_at=timezone.now())
        RegistrationInviteFactory(organization=acme, name="used one", used_at=timezone.now())
        text = text_of(owner.get(reverse("admin:organizations_registrationinvite_changelist")))
        for word in ("Open", "Expired", "Used"):
            assert re.search(rf">\s*{word}\s*<", text), word
