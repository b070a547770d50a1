"""The pages of those who sign in directly: sign-in, reset, two factors, the start page, and plain errors."""

import re

import pytest
from django.core import mail

from organizations.models import Membership
from tests.factories import CourseFactory, MembershipFactory, OrganizationFactory, UserFactory
from tests.visiting import text_of

pytestmark = pytest.mark.django_db

ATTACK = "<script>alert(1)</script>"


def test_the_start_page_asks_to_sign_in(client):
    response = client.get("/")
    assert response.status_code == 302
    assert response["Location"].startswith("/accounts/login/")


def test_signing_in(client):
    UserFactory(email="owner@acme.example", name="Olga")
    wrong = client.post("/accounts/login/", {"login": "owner@acme.example", "password": "wrong"})
    unknown = client.post("/accounts/login/", {"login": "nobody@acme.example", "password": "wrong"})
    assert "not correct" in text_of(wrong)
    strip = lambda response: re.sub(r'value="[^"]*"', "", text_of(response))  # noqa: E731
    assert strip(wrong) == strip(unknown)
    right = client.post("/accounts/login/", {"login": "owner@acme.example", "password": "correct horse battery"})
    assert right["Location"] == "/"
    assert "Welcome, Olga" in text_of(client.get("/"))


def test_a_reset_does_not_tell_who_has_an_account(client):
    UserFactory(email="owner@acme.example")
    answers = [
        client.post("/accounts/password/reset/", {"email": email}, follow=True)
        for email in ("owner@acme.example", "nobody@acme.example")
    ]
    assert answers[0].redirect_chain == answers[1].redirect_chain
    assert text_of(answers[0]) == text_of(answers[1])
    assert "/accounts/password/reset/key/" in mail.outbox[0].body


def test_nobody_signs_up(client):
    response = client.get("/accounts/signup/")
    assert "<form" not in response.content.decode()


@pytest.mark.parametrize("path", ["password/change/", "2fa/", "logout/"])
def test_account_pages(client, path):
    client.force_login(UserFactory())
    response = client.get(f"/accounts/{path}")
    assert response.status_code == 200
    assert "<style" not in response.content.decode()
    assert 'href="/static/css/pages.css"' in response.content.decode()


def test_a_member_without_verified_address_may_use_a_second_factor(client):
    UserFactory(email="owner@acme.example")
    client.post("/accounts/login/", {"login": "owner@acme.example", "password": "correct horse battery"})
    next_page = "/accounts/2fa/totp/activate/"
    assert "Confirm Access" in text_of(client.get(next_page, follow=True))
    confirmed = client.post("/accounts/reauthenticate/", {"password": "correct horse battery", "next": next_page})
    assert "Authenticator secret" in text_of(client.get(confirmed["Location"]))


def test_the_start_page_shows_ones_own_organizations_only(client):
    user = UserFactory(name=ATTACK)
    own, disabled = OrganizationFactory(name="Own"), OrganizationFactory(name="Disabled", enabled=False)
    for organization in (own, disabled):
        MembershipFactory(organization=organization, user=user, role=Membership.Role.TEACHER)
        CourseFactory(organization=organization, name=f"Course of {organization.name}")
    CourseFactory(name="Course of strangers")
    CourseFactory(organization=own, name="Old course", archived=True)
    client.force_login(user)
    response = client.get("/")
    text = text_of(response)
    assert "Course of Own" in text
    for words in ("Disabled", "strangers", "Old course", "Administration"):
        assert words not in text
    assert ATTACK not in response.content.decode()


def test_owners_find_the_administration(client):
    membership = MembershipFactory()
    course = CourseFactory(organization=membership.organization)
    client.force_login(membership.user)
    html = client.get("/").content.decode()
    assert 'href="/admin/"' in html
    assert f"/admin/courses/course/{course.id}/change/" in html


def test_nobody_of_no_organization_is_told_what_to_do(client):
    client.force_login(UserFactory())
    assert "You belong to no organization yet" in text_of(client.get("/"))


def test_not_found(client):
    response = client.get("/nothing-here")
    assert response.status_code == 404
    assert "Page not found" in text_of(response)
