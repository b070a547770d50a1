"""A sign-in of one's own for somebody who comes from an LMS: asked for in the frame, accepted from the mail."""

import re
from datetime import timedelta

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone

from events.models import Event
from organizations.models import LmsAccount, Membership, Person, SignInLink, User
from organizations.own_sign_in import LinkNotUsable, accept_with_password, find_link
from tests.factories import AssignmentFactory, LtiKeyFactory, MembershipFactory, PersonFactory, UserFactory
from tests.visiting import student, teacher, text_of

pytestmark = pytest.mark.django_db

ADDRESS = "ada@example.org"
PASSWORD = "nine green teapots"
NEW = {"new_password1": PASSWORD, "new_password2": PASSWORD}


@pytest.fixture
def ada(key, assignment):
    return student(key, assignment, lis_person_contact_email_primary=ADDRESS)


def ask(visitor):
    """The address of the link that was mailed."""
    response = visitor.post("launch-sign-in")
    assert response.status_code == 302
    return link_of(mail.outbox[-1])


def link_of(message):
    return re.search(r"https?://[^/]+(/sign-in\?link=\S+)", message.body)[1]


def signed_in(user):
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def assert_nothing_tied(person):
    person.refresh_from_db()
    assert person.user is None


def test_from_the_frame_to_the_start_page(ada, assignment):
    assert "Sign in without your LMS" in text_of(ada.get("launch-sign-in"))
    link = ask(ada)
    message = mail.outbox[0]
    assert message.to == [ADDRESS]
    assert "works once, for 24 hours" in message.body
    asked = text_of(ada.client.get(f"{ada.url('launch-sign-in')}?sent=1"))
    assert "A mail is on its way" in asked
    assert ADDRESS not in asked
    client = Client()
    assert "Set a password" in text_of(client.get(link))
    assert_nothing_tied(ada.person)
    response = client.post(link, NEW)
    assert (response.status_code, response["Location"]) == (302, "/")
    user = User.objects.get(email=ADDRESS)
    assert ada.person.user == user
    assert user.check_password(PASSWORD)
    assert assignment.course.name in text_of(client.get("/"))
    assert Event.objects.get(type="person.sign_in_added").subject["id"] == str(ada.person.pk)
    assert "You have a sign-in of your own" in text_of(ada.get("launch-sign-in"))


def test_it_makes_no_member_and_no_staff(ada):
    Client().post(ask(ada), NEW)
    user = User.objects.get(email=ADDRESS)
    assert not Membership.objects.filter(user=user).exists()
    assert (user.is_staff, user.is_superuser) == (False, False)


def test_a_teacher_of_the_lms_is_no_teacher_by_it(key, assignment):
    visitor = teacher(key, assignment, lis_person_contact_email_primary=ADDRESS)
    assert "open from your LMS only" in text_of(visitor.get("launch-sign-in"))
    client = Client()
    client.post(ask(visitor), NEW)
    assert "You teach it in your LMS" in text_of(client.get("/"))
    page = text_of(client.get(f"/courses/{assignment.course_id}/"))
    assert "You teach this course in your LMS" in page
    assert "To grade" not in page
    for path in ("", "draft", "submission", "passage"):
        assert client.get(f"/courses/{assignment.course_id}/assignments/{assignment.id}/{path}").status_code == 404
    assert client.get(f"/courses/{assignment.course_id}/copy").status_code == 404
    assert not Membership.objects.exists()


def test_a_link_works_once(ada):
    link = ask(ada)
    Client().post(link, NEW)
    user = User.objects.get()
    for client in (Client(), signed_in(user)):
        assert client.get(link).status_code == 410
        response = client.post(link, {"new_password1": "another one entirely", "new_password2": "another one entirely"})
        assert response.status_code == 410
        assert "does not work any more" in text_of(response)
    user.refresh_from_db()
    assert user.check_password(PASSWORD)


def test_using_one_link_uses_up_the_others(ada):
    first, second = ask(ada), ask(ada)
    Client().post(second, NEW)
    Person.objects.update(user=None)
    assert Client().post(first, NEW).status_code == 410


def test_a_link_lasts_a_day(ada):
    link = ask(ada)
    SignInLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    for method in ("get", "post"):
        assert getattr(Client(), method)(link, NEW).status_code == 410
    assert not User.objects.exists()
    assert_nothing_tied(ada.person)


@pytest.mark.parametrize("address", ["mallory@example.org", "", "ADA@example.org"])
def test_a_link_to_an_address_of_the_past_does_not_work(ada, address):
    link = ask(ada)
    Person.objects.filter(pk=ada.person.pk).update(email=address)
    assert Client().get(link).status_code == 410
    assert Client().post(link, NEW).status_code == 410
    assert not User.objects.exists()
    assert_nothing_tied(ada.person)


@pytest.mark.parametrize("token", ["", "x", "\x00", "%ff", "é" * 5000, "../../"])
def test_a_made_up_link_does_not_work(ada, token):
    ask(ada)
    assert Client().get("/sign-in", {"link": token}).status_code == 410
    assert Client().post("/sign-in?link=" + "x", NEW).status_code == 410


def test_an_existing_user_has_to_be_signed_in(ada):
    user = UserFactory(email="Ada@Example.org")
    link = ask(ada)
    client = Client()
    page = client.get(link)
    assert "There is an account with this address already" in text_of(page)
    response = client.post(link, NEW)
    assert response.status_code == 403
    assert_nothing_tied(ada.person)
    user.refresh_from_db()
    assert user.check_password("correct horse battery")
    there = re.search(r'href="(/accounts/login/\?next=[^"]+)"', page.content.decode())[1]
    signed = client.post(there, {"login": "ada@example.org", "password": "correct horse battery"})
    assert signed["Location"] == link
    assert_nothing_tied(ada.person)
    assert client.post(link).status_code == 302
    assert ada.person.user == user
    assert User.objects.count() == 1


def test_somebody_elses_link(ada):
    link = ask(ada)
    bob = UserFactory(email="bob@example.org")
    for owner_exists in (False, True):
        if owner_exists:
            UserFactory(email=ADDRESS)
        response = signed_in(bob).post(link, NEW)
        assert response.status_code == 403
        assert "this link is for ada@example.org" in text_of(response)
        assert_nothing_tied(ada.person)
    assert not bob.people.exists()


def test_a_user_who_was_switched_off_gets_nothing(ada):
    UserFactory(email=ADDRESS, is_active=False)
    link = ask(ada)
    assert Client().post(link, NEW).status_code == 403
    assert_nothing_tied(ada.person)


def test_only_this_person_is_tied(ada, key):
    organization = key.installation.organization
    same = [PersonFactory(organization=organization, email=ADDRESS), PersonFactory(email=ADDRESS)]
    client = Client()
    client.post(ask(ada), NEW)
    for person in same:
        assert_nothing_tied(person)
    assert same[1].organization.name not in text_of(client.get("/"))


def test_two_lms_accounts_of_one_user(ada, key, assignment):
    """The second account is tied by a link of its own, signed in as the user of the first."""
    other_key = LtiKeyFactory(installation__organization=key.installation.organization)
    other = student(other_key, assignment, user_id="ada-there", lis_person_contact_email_primary=ADDRESS)
    client = Client()
    client.post(ask(ada), NEW)
    link = ask(other)
    assert "You are signed in as ada@example.org" in text_of(client.get(link))
    assert client.post(link).status_code == 302
    assert User.objects.get().people.count() == 2
    assert text_of(client.get("/")).count(assignment.course.name) == 1


def test_a_user_may_be_of_several_organizations(ada):
    Client().post(ask(ada), NEW)
    user = User.objects.get()
    elsewhere = AssignmentFactory()
    other_key = LtiKeyFactory(installation__organization=elsewhere.course.organization)
    visitor = student(other_key, elsewhere, lis_person_contact_email_primary=ADDRESS)
    link = ask(visitor)
    assert Client().post(link, NEW).status_code == 403
    client = signed_in(user)
    assert client.post(link).status_code == 302
    assert elsewhere.course.name in text_of(client.get("/"))


@pytest.mark.parametrize(
    "address", ["", "no address", "a@b\nBcc: c@d.example", "ädä@example.org", f"{'a' * 300}@x.org"]
)
def test_without_an_address_the_owner_is_asked(key, assignment, address):
    visitor = student(key, assignment)
    Person.objects.filter(pk=visitor.person.pk).update(email=address)
    page = text_of(visitor.get("launch-sign-in"))
    assert "We have no address for you" in page
    assert "Mail me the link" not in page
    assert visitor.post("launch-sign-in").status_code == 302
    assert not mail.outbox
    assert not SignInLink.objects.exists()


def test_no_flood_of_mails(ada, key, assignment):
    for _ in range(3):
        ask(ada)
    response = ada.post("launch-sign-in")
    assert response.status_code == 429
    assert "within the last hour" in text_of(response)
    # Nor by making up another person with the same address.
    other = student(key, assignment, user_id="made-up", lis_person_contact_email_primary=ADDRESS.upper())
    assert other.post("launch-sign-in").status_code == 429
    assert len(mail.outbox) == 3
    SignInLink.objects.update(created_at=timezone.now() - timedelta(hours=2))
    ask(ada)


def test_a_mail_server_that_refuses(ada, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    response = ada.post("launch-sign-in")
    assert response.status_code == 503
    assert "could not be sent" in text_of(response)
    assert not SignInLink.objects.exists()


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("short", "short", "too short"),
        ("12345678901234", "12345678901234", "entirely numeric"),
        (PASSWORD, "other", "match"),
        (ADDRESS, ADDRESS, "too similar"),
        ("", "", "required"),
        ("nul\x00nul\x00nul\x00", "nul\x00nul\x00nul\x00", "Null characters"),
    ],
)
def test_a_password_that_will_not_do(ada, first, second, words):
    link = ask(ada)
    response = Client().post(link, {"new_password1": first, "new_password2": second})
    assert response.status_code == 422
    assert words in text_of(response)
    assert not User.objects.exists()
    assert Client().post(link, NEW).status_code == 302


def test_a_suspended_organization(ada, key):
    link = ask(ada)
    organization = key.installation.organization
    organization.enabled = False
    organization.save()
    assert Client().post(link, NEW).status_code == 410


def test_giving_it_up(ada):
    client = Client()
    client.post(ask(ada), NEW)
    assert ada.post("launch-sign-in-end").status_code == 302
    assert_nothing_tied(ada.person)
    assert User.objects.count() == 1
    assert Event.objects.filter(type="person.sign_in_removed").count() == 1
    assert "You belong to no organization yet" in text_of(client.get("/"))


def test_forms_need_the_launchs_token(ada):
    for name in ("launch-sign-in", "launch-sign-in-end"):
        assert ada.post(name, token="forged").status_code == 403
    assert not mail.outbox


def test_the_accepting_form_needs_djangos_token(ada):
    link = ask(ada)
    assert Client(enforce_csrf_checks=True).post(link, NEW).status_code == 403
    assert not User.objects.exists()


def test_nobody_asks_for_a_test_user_or_for_somebody_looked_at(ada):
    LmsAccount.objects.filter(person=ada.person).update(is_test_user=True)
    assert ada.get("launch-sign-in").status_code == 404
    assert ada.post("launch-sign-in").status_code == 404
    LmsAccount.objects.update(is_test_user=False)
    launch = ada.launch
    launch.actual_user = {"id": "t", "name": "Tom"}
    launch.save(update_fields=["actual_user"])
    assert ada.get("launch-sign-in").status_code == 404
    assert ada.post("launch-sign-in").status_code in (403, 404)
    assert not mail.outbox


def test_an_owner_who_also_studies(ada, key):
    """What the account may do elsewhere stays as it was."""
    membership = MembershipFactory(user__email=ADDRESS)
    client = signed_in(membership.user)
    assert client.post(ask(ada)).status_code == 302
    assert list(membership.user.memberships.all()) == [membership]
    assert key.installation.organization.name in text_of(client.get("/"))


def test_the_token_is_not_stored(ada):
    token = ask(ada).partition("link=")[2]
    stored = SignInLink.objects.values().get()
    assert token not in str(stored)
    with pytest.raises(LinkNotUsable):
        find_link(stored["hash"])


def test_a_link_read_before_it_was_used_ties_once(ada):
    """Two requests that both found the link usable: the second finds it used."""
    token = ask(ada).partition("link=")[2]
    first, second = find_link(token), find_link(token)
    user = accept_with_password(first, PASSWORD)
    user.email = "moved@example.org"
    user.save()
    with pytest.raises(LinkNotUsable):
        accept_with_password(second, PASSWORD)
    assert User.objects.count() == 1
