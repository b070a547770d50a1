"""Members of the organization who signed in directly grade as teachers in the LMS frame do, by the same pages."""

import re
from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse

from courses.models import Enrolment
from courses.submissions import open_assignment, submit
from events.log import SYSTEM, Actor
from events.models import Delivery, Event
from grades.models import Score
from grades.scores import record_score
from organizations.models import Membership
from tests.factories import (
    AssignmentFactory,
    EnrolmentFactory,
    GradebookCellFactory,
    MembershipFactory,
    PersonFactory,
    UserFactory,
)
from tests.visiting import text_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def member(assignment):
    return MembershipFactory(
        organization=assignment.course.organization, user=UserFactory(name="Mary Member"), role=Membership.Role.TEACHER
    ).user


@pytest.fixture
def client(member):
    return signed_in(member)


def signed_in(user):
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def person(assignment):
    person = PersonFactory(organization=assignment.course.organization, name="Grace Hopper")
    EnrolmentFactory(course=assignment.course, person=person)
    submit(open_assignment(assignment, person, Actor.of(person)), "My long answer", "", Actor.of(person))
    return person


def url(page, assignment, *more):
    return reverse(f"course-grading-{page}", args=[assignment.course_id, assignment.pk, *more])


def test_the_dashboard_leads_to_the_table_and_to_a_student(client, assignment, person):
    dashboard = client.get(reverse("course-dashboard", args=[assignment.course_id])).content.decode()
    assert f'href="{url("assignment", assignment)}"' in dashboard
    table = client.get(url("assignment", assignment))
    assert "Grace Hopper" in text_of(table)
    assert "/launches/" not in table.content.decode()
    view = client.get(url("person", assignment, person.pk))
    assert "My long answer" in text_of(view)
    assert "/launches/" not in view.content.decode()


def test_a_score_is_saved_in_place_released_and_sent_again(client, member, assignment, person):
    GradebookCellFactory(assignment=assignment, person=person)
    saved = client.post(
        url("score", assignment, person.pk),
        {"points": "7.5", "comment": "Good", "version": "0"},
        headers={"HX-Request": "true"},
    )
    assert saved.status_code == 200
    assert "Saved" in text_of(saved)
    assert Event.objects.get(type="score.changed").actor == Actor.of(member).as_json()
    released = client.post(url("release", assignment), {"everyone": "1"})
    assert released["Location"].startswith(url("assignment", assignment))
    assert "1 score released" in text_of(client.get(released["Location"]))
    assert Score.objects.get().released
    Delivery.objects.update(state="failed", due_at=None, last_error="Gone.")
    watched = client.get(url("passages", assignment))
    assert "Gone." in text_of(watched)
    again = client.post(url("send-again", assignment))
    assert "1 grade on the way again" in text_of(client.get(again["Location"]))
    assert Delivery.objects.get().state == "pending"
    # To the person's own page it goes back.
    form = {"points": "8", "comment": "", "version": str(Score.objects.get().version)}
    saved = client.post(url("score", assignment, person.pk), form)
    assert saved["Location"].startswith(url("person", assignment, person.pk))
    assert client.get(url("table-csv", assignment)).content.decode().count("Grace Hopper") == 1


def test_a_form_without_its_token_is_refused(member, assignment, person):
    client = Client(enforce_csrf_checks=True)
    client.force_login(member, backend="django.contrib.auth.backends.ModelBackend")
    form = {"points": "7", "comment": "", "version": "0"}
    assert client.post(url("score", assignment, person.pk), form).status_code == 403
    page = client.get(url("person", assignment, person.pk)).content.decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)[1]
    assert client.post(url("score", assignment, person.pk), form | {"csrfmiddlewaretoken": token}).status_code == 302
    assert Score.objects.get().points == 7


def test_nobody_grades_their_own_work(client, member, assignment, person):
    person.user = member
    person.save()
    answer = client.post(url("score", assignment, person.pk), {"points": "10", "comment": "", "version": "0"})
    assert answer.status_code == 422
    assert "You cannot grade your own work." in text_of(answer)
    assert not Score.objects.exists()


def test_other_assignments_and_people_are_not_found(client, assignment, person):
    other = AssignmentFactory(course__organization=assignment.course.organization)
    foreign = AssignmentFactory()
    for course_id, assignment_id in ((assignment.course_id, other.pk), (foreign.course_id, foreign.pk)):
        assert client.get(reverse("course-grading-assignment", args=[course_id, assignment_id])).status_code == 404
    assert client.get(url("person", assignment, PersonFactory().pk)).status_code == 404
    teacher = EnrolmentFactory(course=assignment.course, role=Enrolment.Role.TEACHER).person
    assert client.get(url("person", assignment, teacher.pk)).status_code == 404


def test_a_student_who_signed_in_grades_nobody(assignment, person):
    person.user = UserFactory()
    person.save()
    client = signed_in(person.user)
    record_score(assignment, person, points=Decimal(3), released=False, actor=SYSTEM)
    assert client.get(url("assignment", assignment)).status_code == 404
    form = {"points": "10", "comment": "", "version": "1"}
    assert client.post(url("score", assignment, person.pk), form).status_code == 404
    assert client.post(url("release", assignment), {"everyone": "1"}).status_code == 404
    assert (Score.objects.get().points, Score.objects.get().released) == (3, False)
