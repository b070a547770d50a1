"""The switch of the daily digest, behind the link in its mails."""

from urllib.parse import urlsplit

import pytest
from django.test import Client

from grades.digest_switch import DigestSwitch, switch_url
from organizations.models import Membership, Person
from tests.factories import MembershipFactory, PersonFactory

pytestmark = pytest.mark.django_db


@pytest.fixture(params=["member", "person"])
def row(request):
    return MembershipFactory() if request.param == "member" else PersonFactory()


def path_of(row):
    kind = "member" if isinstance(row, Membership) else "person"
    return urlsplit(switch_url(DigestSwitch(kind, row.pk))).path


@pytest.fixture
def browser():
    """Checks tokens against forgery as browsers' requests are: these pages have none."""
    return Client(enforce_csrf_checks=True)


def test_looking_changes_nothing(browser, row):
    response = browser.get(path_of(row))
    assert response.status_code == 200
    assert "Send me no more" in response.content.decode()
    assert response["Referrer-Policy"] == "no-referrer"
    assert "noindex" in response["X-Robots-Tag"]
    row.refresh_from_db()
    assert row.grade_digest


def test_it_is_switched_off_and_on(browser, row):
    off = browser.post(path_of(row), {"digest": "off"})
    assert "Switched off." in off.content.decode()
    row.refresh_from_db()
    assert not row.grade_digest
    on = browser.post(path_of(row), {"digest": "on"})
    assert "Switched on." in on.content.decode()
    row.refresh_from_db()
    assert row.grade_digest


def test_a_mail_program_switches_it_off_by_itself(browser, row):
    assert browser.post(path_of(row), {"List-Unsubscribe": "One-Click"}).status_code == 200
    row.refresh_from_db()
    assert not row.grade_digest


def test_it_names_nobody(browser, row):
    html = browser.get(path_of(row)).content.decode()
    assert row.organization.name in html
    person = row.user if isinstance(row, Membership) else row
    assert person.email not in html
    assert person.name not in html


def test_one_switch_moves_no_other(browser, row):
    others = [MembershipFactory(organization=row.organization), PersonFactory(organization=row.organization)]
    browser.post(path_of(row), {"digest": "off"})
    for other in others:
        other.refresh_from_db()
        assert other.grade_digest


@pytest.mark.parametrize("token", ["x", "m.x", "m" * 300, "mAAAA.AAAA", "%00", "é.é"])
def test_a_forged_address_opens_nothing(browser, token):
    assert browser.get(f"/digest/{token}").status_code == 404
    assert browser.post(f"/digest/{token}").status_code == 404


def test_a_suspended_organization_and_one_who_is_gone(browser, row):
    row.organization.enabled = False
    row.organization.save()
    assert browser.get(path_of(row)).status_code == 404
    path = path_of(row)
    type(row).objects.all().delete()
    assert browser.get(path).status_code == 404
    assert isinstance(row, Membership | Person)
