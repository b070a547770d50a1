"""First launches with a signed claim at the same moment."""

import threading

import pytest
from django.db import connection, connections, transaction
from django.test import Client

from courses.models import LmsCourse, ResourceLink
from grades.models import GradebookCell
from launches.legacy_claims import LegacyClaim
from launches.migration import SomebodyArrivedError, apply, plan_of
from launches.models import Migration
from launches.tests.moving import OLD, moving
from organizations.account_locks import hold_accounts
from organizations.models import LmsAccount, Person
from organizations.upsert import upsert
from tests.factories import MembershipFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _real_writers(loopback, memory_queue):
    if connection.vendor == "sqlite":
        pytest.skip("the tests' SQLite is in memory, where writers do not wait for each other")


@pytest.fixture
def move(key, assignment):
    with moving(key, assignment) as made:
        yield made


def at_once(*deeds):
    """What the deeds return, or raise, all begun at the same moment."""
    start, answers = threading.Barrier(len(deeds)), []

    def run(deed):
        try:
            start.wait()
            answers.append(deed())
        except Exception as error:  # noqa: BLE001 - shown by the test
            answers.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=[deed]) for deed in deeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_one_person_many_times(move):
    before = move.by_1p1()
    score = move.score(before.person)
    answers = at_once(*[lambda: move.post_by_1p3(client=Client()).status_code] * 6)
    assert answers == [302] * 6
    assert list(Person.objects.all()) == [before.person]
    assert LmsAccount.objects.filter(lms_user_id="uuid-of-student-1").count() == 1
    cell = GradebookCell.objects.get()
    assert (cell.person, cell.resource_link.resource_link_id) == (before.person, "placement-9")
    score.refresh_from_db()
    assert score.version == 1
    assert Migration.objects.count() == 2


def test_a_whole_class_that_opens_a_link_for_the_first_time(move):
    numbers = range(6)
    people = {
        number: move.by_1p1(user_id=f"student-{number}", lis_result_sourcedid=f"sourcedid-{number}").person
        for number in numbers
    }

    def arrives(number):
        members = {**OLD, "user_id": f"student-{number}"}
        return lambda: move.by_1p3(sub=f"uuid-{number}", members=members, client=Client()).person

    answers = at_once(*[arrives(number) for number in numbers])
    assert {str(one) for one in answers if isinstance(one, Exception)} == set()
    assert set(answers) == set(people.values())
    assert LmsCourse.objects.filter(context_id="course-9", course=move.assignment.course).count() == 1
    assert ResourceLink.objects.filter(resource_link_id="placement-9", assignment=move.assignment).count() == 1
    assert GradebookCell.objects.filter(resource_link__resource_link_id="placement-9").count() == 6
    assert LegacyClaim.objects.filter(kind="link").count() == 1


def test_applied_twice_at_once_it_is_done_once(move, key):
    before = move.by_1p1()
    move.by_1p3(move.target, sign=None)
    owner = MembershipFactory(organization=key.installation.organization).user
    chosen = {match.key for match in plan_of(key.installation).matches if match.is_suggested}
    answers = at_once(*[lambda: apply(key.installation, chosen, owner)] * 3)
    assert not [one for one in answers if isinstance(one, Exception) and not isinstance(one, SomebodyArrivedError)]
    assert Migration.objects.count() == 1
    assert Person.objects.get() == before.person


def test_an_account_that_others_hold_is_found_by_upsert_at_once(move):
    """Two launches that hold one account and both insert it anew would wait for each other without end otherwise."""
    person = move.by_1p1().person
    account = LmsAccount.objects.get(person=person)
    held, found = threading.Event(), threading.Event()

    def hold():
        with transaction.atomic():
            hold_accounts(LmsAccount.objects.filter(pk=account.pk))
            held.set()
            return found.wait(10)

    def find():
        held.wait(10)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '5s'")
            unique = {"installation_id": account.installation_id, "lms_user_id": account.lms_user_id}
            row = upsert(LmsAccount, unique, {"person_id": person.pk}, update=[])
        found.set()
        return row

    assert sorted(map(str, at_once(hold, find))) == sorted([str((account.pk, False)), "True"])
