"""Several people at once at a course's LTI/LMS page: one of them wins, the others are told, and launches go on."""

from collections import Counter
from decimal import Decimal

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from courses.copying import copy_course
from courses.course_settings import CourseSettingsForm, state_of
from courses.models import Course, ResourceLink
from events.log import SYSTEM
from events.models import Event
from grades.models import GradebookCell, Score
from tests.at_once import at_once
from tests.factories import AssignmentFactory, MembershipFactory
from tests.launching import STUDENT, TEACHER, launch
from tests.visiting import Visitor

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="the tests' SQLite is in memory, and has one writer"),
]


@pytest.fixture
def members(assignment):
    clients = []
    for _ in range(6):
        client = Client()
        user = MembershipFactory(organization=assignment.course.organization).user
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        clients.append(client)
    return clients


def form_of(course, **changes):
    values = {name: getattr(course, name) for name in CourseSettingsForm.Meta.fields} | changes
    form = {name: "on" if value is True else value for name, value in values.items() if value is not False}
    return {"seen": state_of(course), **form}


def test_of_many_saves_over_the_same_state_one_wins(members, assignment):
    address = reverse("course-lti", args=[assignment.course_id])
    forms = [form_of(assignment.course, iframe_width=300 + number) for number in range(len(members))]
    answers = at_once(
        [lambda c=client, f=form: c.post(address, f) for client, form in zip(members, forms, strict=True)]
    )
    assert Counter(answer.status_code for answer in answers) == {302: 1, 409: len(members) - 1}
    winner = next(number for number, answer in enumerate(answers) if answer.status_code == 302)
    assert Course.objects.get().iframe_width == 300 + winner


def test_a_copy_takes_all_of_a_change_or_nothing(members, assignment):
    course = assignment.course
    address = reverse("course-lti", args=[course.pk])
    form = form_of(course, iframe_width=444, iframe_height=555)
    saved, *copies = at_once(
        [
            lambda: members[0].post(address, form),
            *(lambda n=number: copy_course(course, code=f"copy-{n}", actor=SYSTEM) for number in range(5)),
        ]
    )
    assert saved.status_code == 302
    sizes = {(copy.iframe_width, copy.iframe_height) for copy in copies}
    assert sizes <= {(1000, 800), (444, 555)}


def test_of_many_who_change_a_link_one_wins(key, members, assignment):
    visitor = Visitor(key, "/lti/v1", **TEACHER)
    visitor.post("launch-choose", assignment=str(assignment.pk))
    link = ResourceLink.objects.get()
    others = [AssignmentFactory(course=assignment.course) for _ in members]
    address = reverse("course-lti-link", args=[assignment.course_id, link.pk])
    answers = at_once(
        [
            lambda c=client, o=other: c.post(address, {"assignment": str(o.pk), "seen": str(assignment.pk)})
            for client, other in zip(members, others, strict=True)
        ]
    )
    assert Counter(answer.status_code for answer in answers) == {302: 1, 409: len(members) - 1}
    winner = next(number for number, answer in enumerate(answers) if answer.status_code == 302)
    link.refresh_from_db()
    assert link.assignment == others[winner]
    assert Event.objects.filter(type="link.mapped", data__by="teacher").count() == 2


def test_students_launch_while_their_link_is_changed(key, members, assignment):
    """Nobody waits for each other in a circle, and after the next launch each column has the new assignment's grade."""
    visitor = Visitor(key, "/lti/v1", **TEACHER)
    visitor.post("launch-choose", assignment=str(assignment.pk))
    link = ResourceLink.objects.get()
    other = AssignmentFactory(course=assignment.course)
    address = reverse("course-lti-link", args=[assignment.course_id, link.pk])

    def arrive(number):
        changes = {"user_id": f"student-{number}", "lis_result_sourcedid": f"sourcedid-{number}"}
        return launch(Client(), "/lti/v1", key, STUDENT, **changes).status_code

    count = 8
    assert {arrive(number) for number in range(count)} == {302}
    for cell in GradebookCell.objects.all():
        Score.objects.create(assignment=other, person=cell.person, points=Decimal(5))
    shown, hidden = assignment, other
    for _ in range(4):
        form = {"assignment": str(hidden.pk), "seen": str(shown.pk)}
        changed, *statuses = at_once(
            [
                lambda form=form: members[0].post(address, form).status_code,
                *(lambda n=number: arrive(n) for number in range(count)),
            ]
        )
        assert (changed, set(statuses)) == (302, {302})
        shown, hidden = hidden, shown
    assert {arrive(number) for number in range(count)} == {302}
    assert set(GradebookCell.objects.values_list("assignment", flat=True)) == {shown.pk}
    assert GradebookCell.objects.count() == count
