"""Members, API tokens, the organization, and what operators do."""

import re
from datetime import timedelta

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone

from organizations import invitations
from organizations.models import ApiToken, Membership, Organization, User
from organizations.tests.admin_client import client_of, operator_client, owner_client, text_of
from tests.factories import MembershipFactory, OrganizationFactory, UserFactory

pytestmark = pytest.mark.django_db

INVITE = "/admin/organizations/membership/add/"


@pytest.fixture
def organization(db):
    return OrganizationFactory(name="Acme")


@pytest.fixture
def owner(organization):
    return owner_client(organization)


def test_an_invitation_leads_to_a_password(owner, organization):
    response = owner.post(INVITE, {"email": "new@example.org", "name": "Nora  New", "role": "teacher"})
    assert response.status_code == 302
    user = User.objects.get(email="new@example.org")
    assert (user.name, user.has_usable_password()) == ("Nora New", False)
    assert Membership.objects.get(user=user).organization == organization
    message = mail.outbox[0]
    assert message.to == ["new@example.org"]
    assert "Acme" in message.subject
    link = re.search(r"http://testserver(/accounts/password/reset/key/\S+)", str(message.body))
    assert link
    browser = Client()
    page = browser.get(link[1], follow=True)
    assert page.status_code == 200
    browser.post(page.request["PATH_INFO"], {"password1": "horse battery 77", "password2": "horse battery 77"})
    user.refresh_from_db()
    assert user.check_password("horse battery 77")


def test_somebody_with_a_password_is_sent_to_the_sign_in_page(owner):
    UserFactory(email="known@example.org")
    owner.post(INVITE, {"email": "KNOWN@example.org", "role": "owner"})
    assert User.objects.filter(email__iexact="known@example.org").count() == 1
    assert "/accounts/login/" in str(mail.outbox[0].body)
    assert "password/reset" not in str(mail.outbox[0].body)


def test_an_invitation_tells_nothing_of_a_user_the_platform_knew(owner):
    long_ago = timezone.now() - timedelta(days=9)
    UserFactory(email="known@example.org", name="Known Elsewhere", date_joined=long_ago, last_login=long_ago)
    owner.post(INVITE, {"email": "known@example.org", "role": "teacher"})
    membership = Membership.objects.get(user__email="known@example.org")
    for path in ("", f"{membership.pk}/change/", f"{membership.pk}/delete/", f"{membership.pk}/history/"):
        assert "Known Elsewhere" not in text_of(owner.get(f"/admin/organizations/membership/{path}"))


def test_a_member_is_invited_once(owner):
    owner.post(INVITE, {"email": "new@example.org", "role": "teacher"})
    response = owner.post(INVITE, {"email": "New@example.org", "role": "owner"})
    assert "belongs to a member already" in text_of(response)
    assert Membership.objects.get(user__email="new@example.org").role == "teacher"


def test_a_mail_that_is_not_taken_is_said_and_can_be_sent_again(owner, settings):
    settings.EMAIL_BACKEND, settings.EMAIL_HOST, settings.EMAIL_PORT = (
        "django.core.mail.backends.smtp.EmailBackend",
        "127.0.0.1",
        1,
    )
    response = owner.post(INVITE, {"email": "new@example.org", "role": "teacher"}, follow=True)
    assert "could not be sent" in text_of(response)
    membership = Membership.objects.get(user__email="new@example.org")
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    owner.post(f"/admin/organizations/membership/{membership.pk}/invite-again/")
    assert mail.outbox[-1].to == ["new@example.org"]


def test_the_last_owner_stays(organization):
    membership = MembershipFactory(organization=organization)
    client = client_of(membership.user)
    path = f"/admin/organizations/membership/{membership.pk}"
    assert "last owner" in text_of(client.post(f"{path}/delete/", {"post": "yes"}, follow=True))
    assert "last owner" in text_of(client.post(f"{path}/change/", {"role": "teacher"}))
    membership.refresh_from_db()
    assert membership.role == "owner"


def test_an_inactive_owner_does_not_count(organization):
    membership = MembershipFactory(organization=organization)
    MembershipFactory(organization=organization, user=UserFactory(is_active=False))
    with pytest.raises(invitations.LastOwner):
        invitations.remove_member(membership)


def test_members_change_role_and_leave(owner, organization):
    teacher = MembershipFactory(organization=organization, role=Membership.Role.TEACHER)
    path = f"/admin/organizations/membership/{teacher.pk}"
    owner.post(f"{path}/change/", {"role": "owner"})
    teacher.refresh_from_db()
    assert teacher.role == "owner"
    assert owner.post(f"{path}/delete/", {"post": "yes"}).status_code == 302
    assert not Membership.objects.filter(pk=teacher.pk).exists()
    assert User.objects.filter(pk=teacher.user_id).exists()


# API tokens


def test_a_token_is_shown_once_and_stored_as_a_hash(owner, organization):
    response = owner.post("/admin/organizations/apitoken/add/", {"name": "content"})
    shown = re.search(r'data-copy="([^"]+)"', text_of(response))
    token = ApiToken.objects.get()
    assert shown
    assert token.hash == ApiToken.hash_of(shown[1])
    assert token.organization == organization
    assert response["Cache-Control"] == "no-store"
    for path in ("/admin/organizations/apitoken/", f"/admin/organizations/apitoken/{token.pk}/change/"):
        text = text_of(owner.get(path))
        assert shown[1] not in text
        assert token.hash not in text


def test_token_names_are_unique_and_tokens_can_be_disabled(owner):
    owner.post("/admin/organizations/apitoken/add/", {"name": "content"})
    assert "of this name already" in text_of(owner.post("/admin/organizations/apitoken/add/", {"name": "content"}))
    token = ApiToken.objects.get()
    owner.post(f"/admin/organizations/apitoken/{token.pk}/change/", {"name": "content"})
    token.refresh_from_db()
    assert not token.enabled


def test_operators_make_no_tokens(organization):
    form = {"name": "back door", "organization": str(organization.pk)}
    assert operator_client().post("/admin/organizations/apitoken/add/", form).status_code == 404
    assert not ApiToken.objects.exists()


# The organization


def change(client, organization, **values):
    form = {"name": organization.name, "grade_digest": "on", "time_zone": "UTC"} | values
    return client.post(f"/admin/organizations/organization/{organization.pk}/change/", form)


def test_branding_and_frames_are_saved(owner, organization):
    organization.branding = {"footer": "kept"}
    organization.save()
    values = {"name": "Acme 2", "primary_color": "#1D5FD1", "logo_url": "https://acme.example/logo.svg"}
    assert change(owner, organization, **values, frame_ancestors="https://portal.example/\n").status_code == 302
    organization.refresh_from_db()
    assert organization.name == "Acme 2"
    assert organization.branding == {
        "footer": "kept",
        "primary_color": "#1D5FD1",
        "logo_url": "https://acme.example/logo.svg",
    }
    assert organization.frame_ancestors == "https://portal.example"


def test_the_time_zone_is_chosen_from_a_list(owner, organization):
    url = f"/admin/organizations/organization/{organization.pk}/change/"
    assert '<option value="Europe/Berlin">' in text_of(owner.get(url))
    assert change(owner, organization, time_zone="Asia/Tokyo").status_code == 302
    organization.refresh_from_db()
    assert organization.time_zone == "Asia/Tokyo"
    refused = change(owner, organization, time_zone="Acme/City")
    assert "give a name such as Europe/Berlin" in text_of(refused)
    # A name that the list does not offer, from a file, stays what it is.
    organization.time_zone = "EST5EDT"
    organization.save()
    assert '<option value="EST5EDT" selected>' in text_of(owner.get(url))


def test_owners_switch_the_digest_for_a_member(owner, organization):
    member = MembershipFactory(organization=organization, role=Membership.Role.TEACHER)
    url = f"/admin/organizations/membership/{member.pk}/change/"
    for form, expected in (({"role": "teacher"}, False), ({"role": "owner", "grade_digest": "on"}, True)):
        assert owner.post(url, form).status_code == 302
        member.refresh_from_db()
        assert (member.role, member.grade_digest) == (form["role"], expected)


@pytest.mark.parametrize(
    "values",
    [
        {"primary_color": "red"},
        {"primary_color": "#ffff00"},
        {"background_color": "#222222"},
        {"logo_url": "javascript:alert(1)"},
        {"logo_url": "http://acme.example/logo.svg"},
        {"frame_ancestors": "https://a.example; script-src *"},
        {"frame_ancestors": "'unsafe-inline'"},
        {"frame_ancestors": "https://a.example/path"},
        {"launch_log_days": "0"},
    ],
)
def test_bad_values_are_form_errors(owner, organization, values):
    assert change(owner, organization, **values).status_code == 200
    organization.refresh_from_db()
    assert organization.branding == {}
    assert organization.frame_ancestors == ""


def test_owners_neither_rename_the_address_nor_suspend(owner, organization):
    change(owner, organization, slug="other", enabled="")
    organization.refresh_from_db()
    assert organization.enabled
    assert organization.slug != "other"
    assert owner.post(f"/admin/organizations/organization/{organization.pk}/suspend/").status_code == 404


def test_operators_make_an_organization_and_invite_its_first_owner():
    form = {"name": "New Place", "slug": "new-place", "first_owner": "boss@example.org"}
    assert operator_client().post("/admin/organizations/organization/add/", form).status_code == 302
    membership = Membership.objects.get(organization__slug="new-place")
    assert (membership.user.email, membership.role) == ("boss@example.org", "owner")
    assert mail.outbox[0].to == ["boss@example.org"]


def test_suspending_asks_first_and_can_be_undone(organization):
    operator, path = operator_client(), f"/admin/organizations/organization/{organization.pk}/suspend/"
    assert "Nothing is deleted" in text_of(operator.get(path))
    assert Organization.objects.get(pk=organization.pk).enabled
    operator.post(path, {"enabled": "0"})
    assert not Organization.objects.get(pk=organization.pk).enabled
    operator.post(path, {"enabled": "1"})
    assert Organization.objects.get(pk=organization.pk).enabled


def test_an_operator_cannot_switch_themselves_off():
    user = UserFactory(is_superuser=True)
    client_of(user).post(
        f"/admin/organizations/user/{user.pk}/change/",
        {"email": user.email, "name": "x", "memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"},
    )
    user.refresh_from_db()
    assert user.is_active
