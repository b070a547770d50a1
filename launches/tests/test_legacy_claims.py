"""Signed claims of the LTI 1.1 past: the same people, courses, links and grades by LTI 1.3 (D37 to D39)."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from courses.models import LmsCourse, ResourceLink
from events.models import Delivery
from grades.models import GradebookCell, Score
from launches.models import LegacyClaim, Migration
from launches.tests.moving import OLD, moving
from lti.v1p3 import vocabulary as names
from organizations.models import LmsAccount, Person
from tests.factories import AssignmentFactory, LtiKeyFactory

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("loopback", "memory_queue")]


@pytest.fixture
def move(key, assignment):
    with moving(key, assignment) as made:
        yield made


def test_a_signed_claim_makes_one_person_of_two_ids(move):
    before = move.by_1p1()
    score = move.score(before.person)
    after = move.by_1p3()
    assert after.person == before.person
    assert after.assignment == move.assignment
    assert Person.objects.count() == 1
    assert set(LmsAccount.objects.values_list("lms_user_id", flat=True)) == {"student-1", "uuid-of-student-1"}
    assert list(Score.objects.all()) == [score]
    assert LmsCourse.objects.get(context_id="course-9").course == move.assignment.course
    link = ResourceLink.objects.get(resource_link_id="placement-9")
    assert link.assignment == move.assignment


def test_the_cell_follows_and_the_grade_is_not_sent_twice(move):
    before = move.by_1p1()
    cell = GradebookCell.objects.get()
    move.score(before.person)
    move.by_1p3()
    moved = GradebookCell.objects.get()
    assert moved.pk == cell.pk
    assert (moved.resource_link.resource_link_id, moved.lms_user_id) == ("placement-9", "uuid-of-student-1")
    assert moved.deployment == move.platform.deployment
    assert Delivery.objects.filter(kind="grade").count() == 1
    move.score(before.person, 9)
    assert Delivery.objects.filter(kind="grade", state="pending").count() == 1


def test_who_comes_by_both_ways_keeps_one_cell(move):
    move.by_1p1()
    move.by_1p3()
    move.by_1p1()
    assert GradebookCell.objects.count() == 2
    move.by_1p3()
    assert GradebookCell.objects.get().resource_link.resource_link_id == "placement-9"


def test_absent_members_mean_unchanged(move):
    before = move.by_1p1()
    unchanged = {"context": {"id": "context-1", "title": "T"}, "resource_link": {"id": "link-1", "title": "L"}}
    after = move.by_1p3(members={"user_id": "student-1"}, **unchanged)
    assert after.person == before.person
    assert after.assignment == move.assignment
    assert ResourceLink.objects.count() == LmsCourse.objects.count() == GradebookCell.objects.count() == 1
    assert LegacyClaim.objects.get().kind == "person"


def test_a_key_of_another_installation_of_the_same_organization(move, key):
    other = LtiKeyFactory(installation__organization=key.installation.organization)
    before = move.by_1p1()
    platform_key, move.key = move.key, other
    theirs = move.by_1p1()
    assert theirs.person != before.person, "equal ids of two LMSs are two people"
    after = move.by_1p3()
    assert after.person == theirs.person
    assert platform_key.installation == after.installation


@pytest.mark.parametrize("sign", [None, "wrong order", "wrong secret"])
def test_what_is_not_signed_is_remembered_only(move, sign):
    before = move.by_1p1()
    after = move.by_1p3(move.target, sign=sign)
    assert after.person != before.person
    assert not Migration.objects.exists()
    said = LegacyClaim.objects.order_by("id")
    assert {row.kind: (row.lms_id, row.old_id) for row in said} == {
        "person": ("uuid-of-student-1", "student-1"),
        "course": ("course-9", "context-1"),
        "link": ("placement-9", "link-1"),
    }
    assert {row.proof for row in said} == {"wrong" if sign else "none"}


def test_a_refused_launch_leaves_its_claim(move):
    move.by_1p1()
    response = move.post_by_1p3(sign=None)
    assert (response.status_code, response["X-Launch-Error"]) == (409, "link_not_set_up")
    assert LegacyClaim.objects.filter(kind="link").count() == 1
    assert not ResourceLink.objects.filter(resource_link_id="placement-9").exists()


def test_another_organizations_key_proves_nothing(move):
    before = move.by_1p1()
    foreign = LtiKeyFactory()
    move.key, own = foreign, move.key
    theirs = LmsAccount.objects.create(
        installation=foreign.installation,
        lms_user_id="student-1",
        person=Person.objects.create(organization=foreign.installation.organization, name="Stranger"),
    )
    after = move.by_1p3(move.target)
    assert after.person not in (before.person, theirs.person)
    assert after.person.organization == own.installation.organization
    assert {row.proof for row in LegacyClaim.objects.all()} == {"wrong"}
    assert theirs.person.accounts.count() == 1


@pytest.mark.parametrize("what", ["key", "installation"])
def test_a_disabled_key_proves_nothing(move, key, what):
    other = LtiKeyFactory(installation__organization=key.installation.organization)
    move.key = other
    before = move.by_1p1()
    row = other if what == "key" else other.installation
    row.enabled = False
    row.save()
    assert move.by_1p3(move.target).person != before.person


def test_the_secret_that_is_being_rotated_out_counts_while_it_lasts(move, key):
    before = move.by_1p1()
    old = key.secret
    key.previous_secret, key.secret = old, "a-new-secret-for-the-key"
    key.previous_secret_expires_at = timezone.now() - timedelta(minutes=1)
    key.save()
    assert move.by_1p3(move.target, sign=old).person != before.person
    key.previous_secret_expires_at = timezone.now() + timedelta(hours=1)
    key.save()
    second = move.by_1p3(move.target, sign=old, sub="uuid-2", members={**OLD, "user_id": "student-1"})
    assert second.person == before.person


def test_lti11_legacy_user_id_is_remembered_and_never_followed(move):
    before = move.by_1p1()
    after = move.by_1p3(move.target, says=False, **{names.LEGACY_USER_ID: "student-1"})
    assert after.person != before.person
    claim = LegacyClaim.objects.get()
    assert (claim.kind, claim.old_id, claim.consumer_key, claim.proof) == ("person", "student-1", "", "none")


def test_somebody_who_is_known_already_is_left_alone(move):
    before = move.by_1p1()
    second = move.by_1p3(move.target, sign=None)
    third = move.by_1p3(move.target)
    assert second.person == third.person != before.person


def test_a_link_that_opens_something_else_is_left_alone(move):
    move.by_1p1()
    other = AssignmentFactory(course=move.assignment.course)
    lms_course = LmsCourse.objects.create(installation=move.key.installation, context_id="course-9")
    ResourceLink.objects.create(lms_course=lms_course, resource_link_id="placement-9", assignment=other)
    assert move.by_1p3().assignment == other
    assert GradebookCell.objects.filter(resource_link__resource_link_id="link-1").exists()


def test_a_claim_that_is_settled_costs_little_and_none_costs_nothing(move, django_assert_max_num_queries):
    move.by_1p1()
    move.by_1p3()
    client = Client()
    with CaptureQueriesContext(connection) as silent:
        move.by_1p3(says=False, client=client)
    assert "legacyclaim" not in str(silent.captured_queries).lower()
    with django_assert_max_num_queries(len(silent) + 12):
        move.by_1p3(client=client)
    assert Migration.objects.count() == 2, "one for the person, one for what all share"
