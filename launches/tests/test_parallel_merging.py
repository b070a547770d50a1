"""People who arrive, are graded and are merged at the same moment."""

import random
import threading
import time
from decimal import Decimal

import pytest
from django.core.cache import cache
from django.db import connection, connections
from django.test import Client

from courses.models import Enrolment, Participation
from courses.submissions import open_assignment, submit
from events.log import SYSTEM, Actor
from grades.models import GradebookCell, Score
from grades.scores import record_score
from launches.merge_undoing import undo_merge
from launches.merging import CannotMergeError, merge
from launches.models import Launch, Merge
from organizations.models import LmsAccount, Person
from tests.factories import AssignmentFactory, LtiKeyFactory, MembershipFactory
from tests.launching import STUDENT, launch
from tests.visiting import path_of, student

pytestmark = pytest.mark.django_db(transaction=True)
ROUNDS = 2


@pytest.fixture(autouse=True)
def _real_writers(memory_queue):
    if connection.vendor == "sqlite":
        pytest.skip("the tests' SQLite is in memory, where writers do not wait for each other")
    cache.clear()


@pytest.fixture
def owner(key):
    return MembershipFactory(organization=key.installation.organization).user


@pytest.fixture
def elsewhere(key):
    return LtiKeyFactory(installation__organization=key.installation.organization)


def at_once(*deeds):
    """What the deeds return, or raise, all begun within a few milliseconds."""
    start, answers = threading.Barrier(len(deeds)), [None] * len(deeds)

    def run(place, deed):
        try:
            start.wait()
            time.sleep(random.uniform(0, 0.03))
            answers[place] = deed()
        except Exception as error:  # noqa: BLE001 - shown by the test
            answers[place] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=entry) for entry in enumerate(deeds)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def arriving(key, assignment, user_id, **changes):
    number = assignment.pk.hex
    parameters = {
        "user_id": user_id,
        "resource_link_id": f"link-{number}",
        "context_id": f"context-{number}",
        "lis_result_sourcedid": f"{user_id} {number}",
        **changes,
    }
    return lambda: launch(Client(), path_of(assignment), key, STUDENT, **parameters).status_code


@pytest.mark.parametrize("both_worked", [False, True], ids=["other deleted", "other set aside"])
def test_who_arrives_while_being_merged_is_enrolled_as_the_one_person(key, elsewhere, assignment, owner, both_worked):
    for number in range(ROUNDS):
        kept = student(key, assignment, user_id=f"kept-{number}").person
        other = student(elsewhere, assignment, user_id=f"other-{number}").person
        if both_worked:
            for person in (kept, other):
                record_score(assignment, person, points=Decimal(5), actor=SYSTEM)
        fresh = [AssignmentFactory(course__organization=kept.organization) for _ in range(3)]
        answers = at_once(
            lambda kept=kept, other=other: merge(kept, other, owner),
            # Names change, so that the launches write into people and accounts, too.
            *[arriving(elsewhere, row, f"other-{number}", lis_person_name_full=f"Name {row.pk}") for row in fresh],
            arriving(elsewhere, assignment, f"other-{number}"),
            arriving(elsewhere, assignment, f"other-{number}", ext_user_username="changed"),
            arriving(key, fresh[0], f"kept-{number}"),
            arriving(key, assignment, f"kept-{number}"),
            *[lambda row=row, kept=kept: record_score(row, kept, points=Decimal(3), actor=SYSTEM) for row in fresh],
        )
        assert isinstance(answers[0], Merge), answers[0]
        assert answers[1:8] == [302] * 7
        assert [one for one in answers if isinstance(one, Exception)] == []
        assert set(LmsAccount.objects.filter(lms_user_id__endswith=f"-{number}").values_list("person", flat=True)) == {
            kept.pk
        }
        for row in fresh:
            assert list(Enrolment.objects.filter(course=row.course).values_list("person", flat=True)) == [kept.pk]
        for model in (Launch, GradebookCell, Participation, Enrolment):
            assert not model.objects.filter(person=other.pk).exists(), model.__name__
        assert Person.objects.filter(pk=other.pk).exists() == both_worked
        assert Score.objects.filter(person=kept, assignment__in=fresh).count() == 3


def test_who_arrives_while_being_parted_is_one_of_the_two(key, elsewhere, assignment, owner):
    for number in range(ROUNDS):
        kept = student(key, assignment, user_id=f"kept-{number}").person
        other = student(elsewhere, assignment, user_id=f"other-{number}").person
        merged = merge(kept, other, owner)
        fresh = [AssignmentFactory(course__organization=kept.organization) for _ in range(3)]
        answers = at_once(
            lambda merged=merged: undo_merge(merged, owner),
            *[arriving(elsewhere, row, f"other-{number}") for row in fresh],
            *[arriving(key, row, f"kept-{number}") for row in fresh],
        )
        assert [one for one in answers if isinstance(one, Exception)] == []
        assert answers[1:] == [302] * 6
        by_account = dict(LmsAccount.objects.filter(person__in=[kept, other.pk]).values_list("lms_user_id", "person"))
        assert by_account == {f"kept-{number}": kept.pk, f"other-{number}": other.pk}
        since = Launch.objects.filter(assignment__in=fresh)
        assert set(since.filter(installation=key.installation).values_list("person", flat=True)) == {kept.pk}
        assert set(since.filter(installation=elsewhere.installation).values_list("person", flat=True)) == {other.pk}
        for cell in GradebookCell.objects.filter(assignment__in=fresh):
            assert cell.result_sourcedid.startswith("kept" if cell.person_id == kept.pk else "other")


def test_merged_both_ways_at_once_one_stays(key, elsewhere, assignment, owner):
    for number in range(ROUNDS):
        one = student(key, assignment, user_id=f"one-{number}").person
        two = student(elsewhere, assignment, user_id=f"two-{number}").person
        answers = at_once(
            lambda one=one, two=two: merge(one, two, owner),
            lambda one=one, two=two: merge(two, one, owner),
            lambda one=one, two=two: merge(one, two, owner),
        )
        assert sorted(type(answer).__name__ for answer in answers) == ["CannotMergeError", "CannotMergeError", "Merge"]
        assert [str(answer) for answer in answers if not isinstance(answer, Merge | CannotMergeError)] == []
        assert Person.objects.filter(pk__in=[one.pk, two.pk]).count() == 1


def test_work_handed_in_while_being_merged_is_the_one_persons(key, elsewhere, assignment, owner):
    for number in range(ROUNDS):
        kept = student(key, assignment, user_id=f"kept-{number}").person
        other = student(elsewhere, assignment, user_id=f"other-{number}").person
        opened = open_assignment(assignment, other, Actor.of(other))
        answers = at_once(
            lambda kept=kept, other=other: merge(kept, other, owner),
            lambda opened=opened, other=other: submit(opened, "Mine", "", Actor.of(other)),
            lambda other=other: record_score(assignment, other, points=Decimal(3), actor=SYSTEM),
        )
        assert isinstance(answers[0], Merge), answers[0]
        assert not isinstance(answers[1], Exception), answers[1]
        opened.refresh_from_db()
        assert (opened.number, opened.person) == (1, kept)
