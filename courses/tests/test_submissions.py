"""Work: opened once, drafted, handed in, refused when the assignment takes none."""

from datetime import timedelta

import pytest
from django.utils import timezone

from courses.models import Submission
from courses.submissions import WorkRefusedError, open_assignment, save_draft, submit
from events.log import Actor
from events.models import Event
from tests.factories import AssignmentFactory, PersonFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def assignment():
    return AssignmentFactory()


@pytest.fixture
def person(assignment):
    return PersonFactory(organization=assignment.course.organization)


def opened(assignment, person):
    return open_assignment(assignment, person, Actor.of(person))


def test_opening_twice_is_one_row_and_one_event(assignment, person):
    first = opened(assignment, person)
    assert opened(assignment, person) == first
    event = Event.objects.get()
    assert event.type == "assignment.opened"
    assert event.organization == assignment.course.organization
    assert event.subject == {"kind": "assignment", "id": str(assignment.pk)}
    assert event.actor["id"] == str(person.pk)


def test_a_draft_is_kept_and_used_up_by_submitting(assignment, person):
    submission = save_draft(opened(assignment, person), "half", "")
    assert Submission.objects.get().draft_text == "half"
    submit(submission, "whole", "https://a.example", Actor.of(person))
    stored = Submission.objects.get()
    assert (stored.text, stored.url, stored.number) == ("whole", "https://a.example", 1)
    assert (stored.draft_text, stored.draft_saved_at) == ("", None)
    assert Event.objects.filter(type="submission.created").count() == 1


def test_submitting_again_counts_on(assignment, person):
    submission = opened(assignment, person)
    submit(submission, "one", "", Actor.of(person))
    assert submit(submission, "two", "", Actor.of(person)).number == 2
    assert Submission.objects.get().text == "two"


def test_nothing_is_no_submission(assignment, person):
    with pytest.raises(WorkRefusedError):
        submit(opened(assignment, person), "  \n", "", Actor.of(person))
    assert Submission.objects.get().submitted_at is None


@pytest.mark.parametrize(
    "fields",
    [
        {"enabled": False},
        {"opens_at": timezone.now() + timedelta(hours=1)},
        {"closes_at": timezone.now() - timedelta(hours=1)},
    ],
)
def test_refused_while_not_open(assignment, person, fields):
    submission = opened(assignment, person)
    for name, value in fields.items():
        setattr(assignment, name, value)
    assignment.save()
    submission = Submission.objects.get(pk=submission.pk)
    with pytest.raises(WorkRefusedError):
        save_draft(submission, "x", "")
    with pytest.raises(WorkRefusedError):
        submit(submission, "x", "", Actor.of(person))
    assert Submission.objects.get().draft_text == ""
    assert not Event.objects.filter(type="submission.created").exists()
