"""Several people at once at the gradebook: nothing is released, written or sent twice, and nobody waits for ever."""

from decimal import Decimal

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from events.claiming import claim_due, supersede_overtaken
from events.log import SYSTEM
from events.models import Delivery, Event
from grades.models import Score
from grades.scores import record_score
from launches.tests.test_gradebook import enrolled, graded
from tests.at_once import at_once
from tests.factories import AssignmentFactory, MembershipFactory

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="the tests' SQLite is in memory, and has one writer"),
]

PEOPLE = 5


@pytest.fixture
def assignments(assignment):
    return [assignment, AssignmentFactory(course=assignment.course), AssignmentFactory(course=assignment.course)]


@pytest.fixture
def members(assignment):
    clients = []
    for _ in range(4):
        client = Client()
        user = MembershipFactory(organization=assignment.course.organization).user
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        clients.append(client)
    return clients


def post(client, page, assignment, **data):
    return client.post(reverse(f"course-gradebook-{page}", args=[assignment.course_id]), data)


def number_in(response):
    return int(response["Location"].rpartition("n=")[2])


def test_of_many_releases_each_score_has_one(key, assignment, assignments, members):
    people = [enrolled(assignment.course, key, f"Person {number}") for number in range(PEOPLE)]
    for person in people:
        for one in assignments:
            graded(one, key, person, released=False)
    before = Event.objects.filter(type="score.changed").count()
    total = PEOPLE * len(assignments)
    # Somebody releases single people meanwhile, and somebody in another assignment's table.
    answers = at_once(
        [
            *(lambda c=client: post(c, "release", assignment, everyone="1") for client in members[:2]),
            lambda: post(members[2], "release", assignment, person=[str(person.pk) for person in people[::-1]]),
            lambda: members[3].post(
                reverse("course-grading-release", args=[assignment.course_id, assignments[2].pk]), {"everyone": "1"}
            ),
        ]
    )
    assert [answer.status_code for answer in answers] == [302] * 4
    assert sum(number_in(answer) for answer in answers) == total
    assert set(Score.objects.values_list("released", "version")) == {(True, 2)}
    assert Event.objects.filter(type="score.changed").count() == before + total
    assert Delivery.objects.filter(state="pending", sequence=2).count() == total


def test_of_many_resends_each_grade_is_sent_by_one(key, assignment, assignments, members):
    people = [enrolled(assignment.course, key, f"Person {number}") for number in range(PEOPLE)]
    for person in people:
        for one in assignments:
            graded(one, key, person, state="failed", error="Gone.")
    answers = at_once(
        [
            *(lambda c=client: post(c, "send-again", assignment, everyone="1") for client in members[:3]),
            lambda: post(members[3], "send-again", assignment, person=[str(person.pk) for person in people]),
        ]
    )
    assert sum(number_in(answer) for answer in answers) == PEOPLE * len(assignments)
    assert set(Delivery.objects.values_list("state", flat=True)) == {"pending"}
    # What has arrived by the time that a second request gets to it is not sent again.
    Delivery.objects.update(state="delivered", delivered_at=timezone.now(), due_at=None)
    assert number_in(post(members[0], "send-again", assignment, everyone="1")) == 0
    assert set(Delivery.objects.values_list("state", flat=True)) == {"delivered"}


def test_resending_while_newer_scores_come_sends_the_newest(key, assignment, members):
    people = [enrolled(assignment.course, key, f"Person {number}") for number in range(PEOPLE)]
    for person in people:
        graded(assignment, key, person, state="failed", error="Gone.")
    at_once(
        [
            *(lambda c=client: post(c, "send-again", assignment, everyone="1") for client in members[:2]),
            *(lambda p=person: record_score(assignment, p, points=Decimal(9), actor=SYSTEM) for person in people),
        ]
    )
    assert Delivery.objects.filter(sequence=2, state="pending").count() == PEOPLE
    # An older one that somebody made wait again at that very moment is taken out by the next sweep, never sent.
    assert not any(delivery.sequence == 1 for delivery in claim_due(100).deliveries)
    supersede_overtaken()
    assert not Delivery.objects.filter(sequence=1, state="pending").exists()
