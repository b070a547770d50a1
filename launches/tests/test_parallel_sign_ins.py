"""One mailed link followed many times at the same moment, and many links asked for at once."""

import threading

import pytest
from django.core import mail
from django.db import connection, connections
from django.test import Client

from launches.tests.test_sign_in_pages import ADDRESS, NEW, ask
from organizations.models import Person, SignInLink, User
from tests.factories import PersonFactory
from tests.visiting import student

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _real_writers(memory_queue):
    if connection.vendor == "sqlite":
        pytest.skip("the tests' SQLite is in memory, where writers do not wait for each other")


@pytest.fixture
def ada(key, assignment):
    return student(key, assignment, lis_person_contact_email_primary=ADDRESS)


def at_once(*deeds):
    """What the deeds return, sorted, all begun at the same moment."""
    start, answers = threading.Barrier(len(deeds)), []

    def run(deed):
        try:
            start.wait()
            answers.append(deed())
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=[deed]) for deed in deeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(answers)


def test_one_link_makes_one_user(ada):
    link = ask(ada)
    answers = at_once(*[lambda: Client().post(link, NEW).status_code] * 6)
    assert answers.count(302) == 1
    assert set(answers) <= {302, 403, 410}
    user = User.objects.get()
    assert ada.person.user == user


def test_an_existing_user_is_tied_once(ada):
    link = ask(ada)
    user = User.objects.create_user(ADDRESS, "correct horse battery")

    def accept():
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client.post(link).status_code

    assert at_once(*[accept] * 4) == [302, 410, 410, 410]
    assert ada.person.user == user


def test_two_people_of_one_address_become_one_user_only(ada, key):
    """Both links are good; the second needs the user whom the first made."""
    first = ask(ada)
    other = PersonFactory(organization=key.installation.organization, email=ADDRESS)
    Person.objects.filter(pk=ada.person.pk).update(email=ADDRESS)
    second = ask(student(key, ada.launch.assignment, user_id="other", lis_person_contact_email_primary=ADDRESS))
    answers = at_once(lambda: Client().post(first, NEW).status_code, lambda: Client().post(second, NEW).status_code)
    assert answers == [302, 403]
    assert User.objects.get().people.count() == 1
    other.refresh_from_db()
    assert other.user is None


def test_links_are_counted_one_after_the_other(ada):
    answers = at_once(*[lambda: ada.post("launch-sign-in").status_code] * 6)
    assert answers == [302, 302, 302, 429, 429, 429]
    assert len(mail.outbox) == SignInLink.objects.count() == 3
