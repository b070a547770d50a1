"""Who gets into the admin, how they sign in, and what the browser may load there."""

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from organizations.models import Membership
from organizations.tests.admin_client import client_of, operator_client, owner_client, text_of
from tests.factories import MembershipFactory, OrganizationFactory, UserFactory

pytestmark = pytest.mark.django_db

HOME = "/admin/"


@pytest.mark.parametrize("path", [HOME, "/admin/courses/course/", "/admin/login/", "/admin/nothing-here/"])
def test_strangers_are_sent_to_the_sign_in_page(path):
    response = Client().get(path)
    assert response.status_code == 302
    assert response["Location"].startswith(reverse("account_login"))


def test_a_failed_sign_in_at_the_admin_address_is_no_way_in():
    user = UserFactory(is_superuser=True)
    response = Client().post("/admin/login/", {"username": user.email, "password": "correct horse battery"})
    assert response.status_code == 302
    assert response["Location"].startswith(reverse("account_login"))
    assert "sessionid" not in response.cookies


@pytest.mark.parametrize("path", [HOME, "/admin/courses/course/", "/admin/login/"])
def test_teachers_and_users_without_membership_find_nothing(path):
    teacher = MembershipFactory(role=Membership.Role.TEACHER).user
    for user in (teacher, UserFactory()):
        assert client_of(user).get(path).status_code == 404


def test_owners_of_a_suspended_organization_lose_the_admin():
    organization = OrganizationFactory()
    client = owner_client(organization)
    assert client.get(HOME).status_code == 200
    organization.enabled = False
    organization.save()
    assert client.get(HOME).status_code == 404


def test_an_owner_of_two_loses_only_the_suspended_one():
    one, other = OrganizationFactory(name="Stays here"), OrganizationFactory(name="Goes away", enabled=False)
    text = text_of(owner_client(one, other).get("/admin/organizations/organization/"))
    assert "Stays here" in text
    assert "Goes away" not in text


def test_inactive_users_are_strangers():
    user = UserFactory(is_superuser=True)
    client = client_of(user)
    user.is_active = False
    user.save()
    assert client.get(HOME).status_code in (302, 404)


def test_pages_load_nothing_from_elsewhere_and_are_not_framed_or_kept():
    response = owner_client(OrganizationFactory()).get(HOME)
    policy = response["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "script-src 'self' 'unsafe-eval'" in policy
    assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
    assert "default-src 'self'" in policy
    assert response["Cache-Control"] == "no-store"


def test_the_policy_is_loosened_for_the_admin_alone():
    assert "unsafe" not in Client().get(reverse("account_login"))["Content-Security-Policy"]


def test_signing_out_ends_the_session():
    client = owner_client(OrganizationFactory())
    assert client.post("/admin/logout/").status_code == 302
    assert client.get(HOME).status_code == 302


def test_passwords_are_changed_on_the_platforms_own_page():
    response = owner_client(OrganizationFactory()).get("/admin/password_change/")
    assert response["Location"] == reverse("account_change_password")


def test_operators_pages_are_theirs_alone():
    owner, operator = owner_client(OrganizationFactory()), operator_client()
    for path in ("/admin/health/", "/admin/organizations/user/", "/admin/organizations/organization/add/"):
        assert owner.get(path).status_code == 404, path
        assert operator.get(path).status_code == 200, path


def test_admins_that_packages_bring_along_stay_out():
    from django.contrib.auth.models import Group

    assert not admin.site.is_registered(Group)


@pytest.mark.parametrize("who", ["owner", "operator"])
def test_every_list_and_add_page_opens(who):
    client = owner_client(OrganizationFactory()) if who == "owner" else operator_client()
    opened = 0
    for model, model_admin in admin.site._registry.items():
        for page in ("changelist", "add"):
            response = client.get(reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}"))
            assert response.status_code in (200, 404), (model, page)
            opened += response.status_code == 200
        assert model_admin.list_display
    assert opened > 15


def test_the_number_of_queries_does_not_grow_with_the_rows(django_assert_max_num_queries):
    from tests.factories import AssignmentFactory, EnrolmentFactory, LmsCourseFactory, LtiKeyFactory

    organization = OrganizationFactory()
    for _ in range(12):
        key = LtiKeyFactory(installation__organization=organization)
        course = AssignmentFactory(course__organization=organization).course
        EnrolmentFactory(course=course)
        LmsCourseFactory(installation=key.installation, course=course)
    client = owner_client(organization)
    for model in admin.site._registry:
        if model._meta.model_name == "user":
            continue
        with django_assert_max_num_queries(16):
            client.get(reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"))
    with django_assert_max_num_queries(36):
        client.get(HOME)
