"""What people read about a grade's way to the LMS."""

from datetime import timedelta

import pytest
from django.utils import timezone

from events.models import Delivery
from grades.models import GradebookCell
from grades.passage import passage_of
from grades.tests.place import a_place
from organizations.identifiers import uuid7
from tests.factories import DeploymentFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def place():
    place = a_place()
    place.cell.resource_link.lms_course.title = "Biology 101"
    place.cell.resource_link.lms_course.save()
    return place


def passage(score):
    found = passage_of([score])[score.pk]
    assert len(found) == 1
    return found[0]


def after(place, **changes):
    """The passage of a released score whose delivery looks like this."""
    score = place.score()
    Delivery.objects.update(**changes)
    return passage(score)


def test_no_column(place):
    GradebookCell.objects.all().delete()
    told = passage(place.score())
    assert (told.state, told.can_resend, told.delivery_id) == ("no_cell", False, None)
    assert told.words.startswith("No gradebook column: ")


def test_delivered(place):
    moment = timezone.now()
    told = after(place, state="delivered", delivered_at=moment)
    assert (told.state, told.words, told.at, told.can_resend) == ("delivered", "In the LMS since", moment, True)
    assert told.lms_course == "Biology 101"


def test_waiting_for_the_first_try(place):
    told = passage(place.score())
    assert (told.state, told.words, told.at) == ("waiting", "On its way to the LMS.", None)


def test_waiting_for_the_next_try(place):
    soon = timezone.now() + timedelta(minutes=2)
    told = after(place, due_at=soon, last_error="The LMS has a fault of its own (HTTP 503).")
    assert told.words == "Waits: The LMS has a fault of its own (HTTP 503). Next try"
    assert (told.at, told.can_resend) == (soon, True)


def test_a_next_try_that_is_due(place):
    told = after(place, due_at=timezone.now(), last_error="It was busy.")
    assert (told.words, told.at) == ("Waits: It was busy. The next try is due now.", None)


def test_under_way(place):
    told = after(place, claim=uuid7(), claimed_until=timezone.now())
    assert (told.state, told.can_resend) == ("sending", False)


def test_held(place):
    told = after(place, due_at=None, last_error="Waits for the owner.")
    assert (told.state, told.words, told.needs_attention) == ("held", "Waits for the owner.", True)


def test_failed(place):
    told = after(place, state="failed", last_error="The column is locked.")
    assert (told.state, told.words) == ("failed", "Not in the LMS: The column is locked.")
    assert told.can_resend
    assert told.needs_attention


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"released": False}, "Waits until it is released."),
        ({"graded": False}, "Waits until it is graded."),
        ({"completed": False}, "Waits until the work is completed."),
    ],
)
def test_withheld(place, changes, words):
    told = passage(place.score(**changes))
    assert (told.state, told.words, told.can_resend) == ("withheld", words, False)


def test_an_earlier_grade_is_there_and_the_new_one_waits(place):
    place.score(5)
    Delivery.objects.update(state="delivered", delivered_at=timezone.now())
    told = passage(place.score(9, released=False))
    assert told.state == "withheld"
    assert told.words == "An earlier grade is in the LMS. Waits until it is released."


def test_enroll_only(place):
    place.course.enroll_only = True
    place.course.save()
    assert passage(place.score()).code == "enroll_only"
    GradebookCell.objects.all().delete()
    assert "only enrolls" in passage(place.score()).words


def test_without_points(place):
    place.assignment.points_possible = 0
    place.assignment.save()
    assert passage(place.score()).words.startswith("Nothing to send: ")


def test_each_column_has_its_own(place):
    second = place.another_cell()
    score = place.score()
    Delivery.objects.filter(target_id=second.pk).update(state="failed")
    assert sorted(told.state for told in passage_of([score])[score.pk]) == ["failed", "waiting"]


def test_the_newest_version_counts(place):
    place.score()
    score = place.score()
    Delivery.objects.filter(sequence=2).update(state="delivered", delivered_at=timezone.now())
    assert passage(score).state == "delivered"


def test_many_scores_cost_two_statements(place, django_assert_num_queries):
    scores = [place.score(), *[a_place().score() for _ in range(5)]]
    with django_assert_num_queries(2):
        found = passage_of(scores)
    assert len(found) == 6
    assert passage_of([]) == {}


# ---------------------------------------------------------------------------------------------------------- LTI 1.3


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ("10", "In the LMS since"),
        ("12.5", "Sent as 12.5 of 10 points; some LMSs keep no more than the maximum. In the LMS since"),
    ],
)
def test_more_than_the_maximum_is_told_where_it_was_sent(points, words):
    place = a_place(deployment=DeploymentFactory(), lms_user_id="user-5")
    score = place.score(points)
    Delivery.objects.update(state="delivered", delivered_at=timezone.now())
    assert passage(score).words == words


def test_lti_1p1_never_sent_more_than_the_maximum(place):
    score = place.score("12.5")
    Delivery.objects.update(state="delivered", delivered_at=timezone.now())
    assert passage(score).words == "In the LMS since"
