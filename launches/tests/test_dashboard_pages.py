"""The dashboard of a course that is opened as "enroll to course only"."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from courses.models import Enrolment, Module
from events.log import SYSTEM
from events.models import Delivery, Event
from grades.models import GradebookCell
from grades.scores import record_score
from tests.factories import AssignmentFactory, CourseFactory, EnrolmentFactory
from tests.launching import STUDENT, TEACHER
from tests.visiting import Visitor, text_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def course(key):
    return CourseFactory(organization=key.installation.organization, name="Workshop", enroll_only=True)


def enter(key, course, parameters=STUDENT, **changes):
    return Visitor(key, f"/lti/courses/{course.id}/enroll", **{**parameters, **changes})


def hours(number):
    return timezone.now() + timedelta(hours=number)


def test_an_empty_course(key, course):
    assert "No assignments yet" in text_of(enter(key, course).get("launch"))
    assert "No assignments yet" in text_of(enter(key, course, TEACHER).get("launch"))


def test_states(key, course):
    week = Module.objects.create(course=course, name="Week 1")
    AssignmentFactory(course=course, title="First", due_at=hours(5), module=week)
    AssignmentFactory(course=course, title="Missed", due_at=hours(-5))
    AssignmentFactory(course=course, title="Later", opens_at=hours(5))
    AssignmentFactory(course=course, title="Gone", closes_at=hours(-5))
    AssignmentFactory(course=course, title="Hidden", enabled=False)
    handed_in = AssignmentFactory(course=course, title="Handed in")
    scored = AssignmentFactory(course=course, title="Scored")
    visitor = enter(key, course)
    visitor.post("launch-submission", handed_in.id, text="x", url="")
    record_score(scored, visitor.person, points=Decimal(7), actor=SYSTEM)
    text = text_of(visitor.get("launch"))
    for words in ("Due next: First", "Week 1", "Overdue", "Not open yet", "Closed", "Submitted", "7 of 10", "2 of 6"):
        assert words in text
    assert "Hidden" not in text


def test_an_assignment_opens_in_this_launch(key, course):
    assignment = AssignmentFactory(course=course, title="First")
    visitor = enter(key, course)
    text = text_of(visitor.get("launch-assignment", assignment.id))
    assert "First" in text
    assert "All assignments" in text
    assert visitor.post("launch-submission", assignment.id, text="done", url="").status_code == 302
    assert "Submitted" in text_of(visitor.get("launch"))


def test_unreleased_scores_are_not_shown(key, course):
    assignment = AssignmentFactory(course=course)
    visitor = enter(key, course)
    record_score(assignment, visitor.person, points=Decimal(7), released=False, actor=SYSTEM)
    assert "7 of 10" not in text_of(visitor.get("launch"))


def test_others_work_is_not_ones_own(key, course):
    assignment = AssignmentFactory(course=course)
    enter(key, course, user_id="student-2").post("launch-submission", assignment.id, text="x", url="")
    assert "Submitted" not in text_of(enter(key, course).get("launch"))


def test_enrolling_sends_no_grade_and_tells(key, course):
    """B25: enrolled, the dashboard, no grade on its way whatever the LMS offers to take, and the events."""
    assignment = AssignmentFactory(course=course, send_grade="ALWAYS")
    visitor = enter(key, course)
    enrolment = Enrolment.objects.get(course=course)
    assert (enrolment.person, enrolment.role, enrolment.state) == (visitor.person, "student", "active")
    assert visitor.launch.course == course
    visitor.post("launch-submission", assignment.id, text="done", url="")
    record_score(assignment, visitor.person, points=Decimal(7), actor=SYSTEM)
    assert not GradebookCell.objects.exists()
    assert not Delivery.objects.filter(kind=Delivery.Kind.GRADE).exists()
    types = ["assignment.opened", "enrolment.created", "score.changed", "submission.created"]
    assert sorted(Event.objects.values_list("type", flat=True)) == types
    assert Event.objects.get(type="score.changed").data["enroll_only"] is True
    enter(key, course, TEACHER)
    assert Enrolment.objects.get(course=course, role="teacher").person != visitor.person


def test_a_teacher_sees_counts_and_that_grades_stay(key, course):
    assignment = AssignmentFactory(course=course, title="First")
    student = enter(key, course)
    student.post("launch-submission", assignment.id, text="x", url="")
    EnrolmentFactory(person=student.person, course=CourseFactory(organization=course.organization))
    teacher = enter(key, course, TEACHER)
    text = text_of(teacher.get("launch"))
    assert "not passed back to your LMS" in text
    assert "1 student" in text
    assert "First no date 1 1 1 0 0" in text
    record_score(assignment, student.person, points=Decimal(7), actor=SYSTEM)
    assert "First no date 1 1 0 1 0" in text_of(teacher.get("launch"))
    assert "Score and comment" in text_of(teacher.get("launch-assignment", assignment.id))


def test_a_mentors_counts_are_of_their_own_learners(key, course):
    assignment = AssignmentFactory(course=course, title="First")
    for user_id in ("u1", "u2"):
        enter(key, course, user_id=user_id).post("launch-submission", assignment.id, text="x", url="")
    mentor = enter(key, course, TEACHER, roles="Mentor", user_id="m", role_scope_mentor="u1")
    text = text_of(mentor.get("launch"))
    assert "1 student" in text
    assert "First no date 1 1 1 0 0" in text


@pytest.mark.parametrize("number", [3, 40])
def test_statements_do_not_grow(key, course, number, django_assert_max_num_queries):
    for _ in range(number):
        AssignmentFactory(course=course)
    student, teacher = enter(key, course), enter(key, course, TEACHER)
    with django_assert_max_num_queries(6):
        student.get("launch")
    with django_assert_max_num_queries(10):
        teacher.get("launch")
