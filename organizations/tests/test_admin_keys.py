"""Keys in the admin: masked everywhere, shown once for a reason, rotated, never an operator's business."""

import re

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from events.models import Event
from organizations.models import Installation, LtiKey
from organizations.tests.admin_client import operator_client, owner_client, text_of
from tests.factories import LtiKeyFactory, OrganizationFactory
from tests.tenants import make_tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def key(db):
    return LtiKeyFactory(secret="a-secret-to-be-kept", consumer_key="acme-moodle")


@pytest.fixture
def owner(key):
    return owner_client(key.installation.organization)


def page_of(key, name):
    return f"/admin/organizations/ltikey/{key.pk}/{name}/"


def test_no_page_shows_a_secret(db):
    tenant = make_tenant("Zyxquirk")
    owner = owner_client(tenant.organization)
    tenant.organization.memberships.count()
    seen = 0
    for client in (owner, operator_client()):
        for model in admin.site._registry:
            for page in ("changelist", "add", "change", "delete", "history"):
                try:
                    name = f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}"
                    path = reverse(name, args=[tenant.row(model).pk] if page in ("change", "delete", "history") else [])
                except NoReverseMatch:
                    continue
                response = client.get(path)
                seen += response.status_code == 200
                text = text_of(response)
                assert not [secret for secret in tenant.secrets if secret in text], path
        for page in ("reveal", "reset"):
            text = text_of(client.get(f"/admin/organizations/ltikey/{tenant.row(LtiKey).pk}/{page}/"))
            assert not [secret for secret in tenant.secrets if secret in text]
        text = text_of(client.get(reverse("admin:events_event_export")))
        assert not [secret for secret in tenant.secrets if secret in text]
    assert seen > 60


def test_revealing_needs_a_post_and_a_reason(owner, key):
    assert key.secret not in text_of(owner.get(page_of(key, "reveal") + "?reason=because"))
    response = owner.post(page_of(key, "reveal"), {"reason": "   "})
    assert "This field is required" in text_of(response)
    assert key.secret not in text_of(response)
    assert not Event.objects.exists()


def test_a_revealed_secret_is_shown_once_and_not_kept_by_the_browser(owner, key):
    response = owner.post(page_of(key, "reveal"), {"reason": "new Moodle"})
    assert key.secret in text_of(response)
    assert response["Cache-Control"] == "no-store"
    assert Event.objects.get().data["reason"] == "new Moodle"
    assert key.secret not in text_of(owner.get(page_of(key, "change")))
    assert key.secret not in str(list(LogEntry.objects.values()))


def test_operators_never_see_a_tenants_secret(key):
    operator = operator_client()
    for page in ("reveal", "reset", "end-overlap"):
        assert operator.get(page_of(key, page)).status_code == 404
        assert operator.post(page_of(key, page), {"reason": "x", "overlap": "0"}).status_code == 404
    assert operator.get(f"/admin/organizations/ltikey/for/{key.installation.pk}/").status_code == 404
    assert "Reveal" not in text_of(operator.get(page_of(key, "change")))
    key.refresh_from_db()
    assert key.secret == "a-secret-to-be-kept"


def test_operators_may_disable_a_key(key):
    operator_client().post(page_of(key, "change"), {})
    key.refresh_from_db()
    assert not key.enabled


def test_resetting_shows_the_new_secret_and_keeps_the_old_for_a_while(owner, key):
    response = owner.post(page_of(key, "reset"), {"overlap": "3600"})
    key.refresh_from_db()
    assert key.secret in text_of(response)
    assert key.valid_previous_secret() == "a-secret-to-be-kept"
    assert "a-secret-to-be-kept" not in text_of(response)
    assert Event.objects.get().type == "key.rotated"
    assert "End overlap now" in text_of(owner.get(page_of(key, "change")))
    owner.post(page_of(key, "end-overlap"))
    key.refresh_from_db()
    assert key.valid_previous_secret() is None


def test_an_overlap_that_was_not_offered_is_refused(owner, key):
    assert "Select a valid choice" in text_of(owner.post(page_of(key, "reset"), {"overlap": "999999999"}))
    key.refresh_from_db()
    assert key.secret == "a-secret-to-be-kept"


def test_ending_an_overlap_needs_a_post(owner, key):
    assert owner.get(page_of(key, "end-overlap")).status_code == 405


def test_a_made_key_is_random_and_shown_once(owner, key):
    path = f"/admin/organizations/ltikey/for/{key.installation.pk}/"
    offered = re.search(r'name="consumer_key" value="([^"]+)"', text_of(owner.get(path)))
    assert offered
    assert re.fullmatch(r"[A-Za-z0-9_-]{20,64}", offered[1])
    response = owner.post(path, {"consumer_key": offered[1]})
    made = LtiKey.objects.get(consumer_key=offered[1])
    assert re.fullmatch(r"[A-Za-z0-9_-]{20,64}", made.secret)
    assert made.secret in text_of(response)
    assert made.installation == key.installation


def test_a_key_of_ones_own(owner, key):
    path = f"/admin/organizations/ltikey/for/{key.installation.pk}/"
    owner.post(path, {"consumer_key": "library.moodle", "secret": "given-by-the-lms"})
    assert LtiKey.objects.get(consumer_key="library.moodle").secret == "given-by-the-lms"


@pytest.mark.parametrize(
    ("consumer_key", "secret", "message"),
    [
        ("acme-moodle", "", "taken"),
        ("a&b", "", "letters, digits"),
        ("a b", "", "letters, digits"),
        ("fine", "short", "at least 12"),
        ("fine", "with a space inside", "Spaces"),
    ],
)
def test_bad_keys_are_refused(owner, key, consumer_key, secret, message):
    path = f"/admin/organizations/ltikey/for/{key.installation.pk}/"
    response = owner.post(path, {"consumer_key": consumer_key, "secret": secret})
    assert message in text_of(response)
    assert LtiKey.objects.count() == 1


def test_a_pending_host_is_allowed_by_its_owner(owner, key):
    installation = key.installation
    Installation.objects.filter(pk=installation.pk).update(pending_service_hosts=["grades.example"])
    path = f"/admin/organizations/installation/{installation.pk}/hosts/allow/"
    assert "grades.example" in text_of(owner.get(f"/admin/organizations/installation/{installation.pk}/change/"))
    assert owner.get(path).status_code == 405
    owner.post(path, {"host": "somewhere.else"})
    owner.post(path, {"host": "grades.example"})
    installation.refresh_from_db()
    assert (installation.service_hosts, installation.pending_service_hosts) == (["grades.example"], [])


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        (
            "LMS.example\n*.instructure.com\n\nlms.example:8443",
            ["lms.example", "*.instructure.com", "lms.example:8443"],
        ),
        ("https://lms.example/path", None),
        ("*", None),
        ("*.*.example", None),
    ],
)
def test_service_hosts_are_host_names(owner, key, text, stored):
    path = f"/admin/organizations/installation/{key.installation.pk}/change/"
    response = owner.post(path, {"name": "Moodle", "enabled": "on", "hosts": text})
    key.installation.refresh_from_db()
    assert response.status_code == (302 if stored else 200)
    assert key.installation.service_hosts == (stored or [])


def test_the_installation_page_has_what_to_copy(owner, key):
    key.last_used_at = timezone.now()
    key.save()
    text = text_of(owner.get(f"/admin/organizations/installation/{key.installation.pk}/change/"))
    assert "http://testserver/lti/v1" in text
    assert 'data-copy="acme-moodle"' in text
    assert f"/admin/organizations/installation/{key.installation.pk}/setup/" in text


def test_an_installation_with_people_is_disabled_not_deleted(owner, key):
    from organizations.models import LmsAccount
    from tests.factories import PersonFactory

    installation = key.installation
    person = PersonFactory(organization=installation.organization)
    LmsAccount.objects.create(installation=installation, person=person, lms_user_id="1")
    path = f"/admin/organizations/installation/{installation.pk}/delete/"
    assert owner.post(path, {"post": "yes"}).status_code == 404
    LmsAccount.objects.all().delete()
    assert owner.post(path, {"post": "yes"}).status_code == 302
    assert not Installation.objects.exists()


def test_an_installation_name_twice_is_a_form_error(owner, key):
    response = owner.post("/admin/organizations/installation/add/", {"name": key.installation.name})
    assert response.status_code == 200
    other = owner_client(OrganizationFactory())
    assert other.post("/admin/organizations/installation/add/", {"name": key.installation.name}).status_code == 302
