"""The start page: courses by organization, what is due next, and nothing of anybody else."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import Client
from django.utils import timezone

from courses.models import Enrolment, Submission
from events.log import SYSTEM
from grades.scores import record_score
from organizations.models import Membership
from tests.factories import (
    AssignmentFactory,
    CourseFactory,
    EnrolmentFactory,
    MembershipFactory,
    OrganizationFactory,
    PersonFactory,
    UserFactory,
)
from tests.visiting import text_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def user():
    return UserFactory(name="Ada", email="ada@example.org")


@pytest.fixture
def home(user):
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return lambda **query: client.get("/", query)


@pytest.fixture
def person(user):
    return PersonFactory(user=user, organization__name="Acme")


def enrolled(person, **course):
    return EnrolmentFactory(person=person, course=CourseFactory(organization=person.organization, **course)).course


def hours(number):
    return timezone.now() + timedelta(hours=number)


def hand_in(assignment, person):
    Submission.objects.create(assignment=assignment, person=person, text="x", submitted_at=timezone.now())


def test_a_students_courses(home, person):
    course = enrolled(person, name="Logic", lms_course_url="https://lms.example/course/5")
    done, graded, unreleased = AssignmentFactory.create_batch(3, course=course)
    AssignmentFactory(course=course, title="Later", due_at=hours(50))
    AssignmentFactory(course=course, title="Soon", due_at=hours(5))
    hand_in(done, person)
    record_score(graded, person, points=Decimal("7.5"), actor=SYSTEM)
    record_score(unreleased, person, points=Decimal(3), released=False, actor=SYSTEM)
    response = home()
    text = text_of(response)
    for words in ("Acme", "Logic", "2 of 5 done", "1 graded: 7.5 of 10 points", "Next: Soon", "Open in the LMS"):
        assert words in text
    assert 'href="https://lms.example/course/5"' in response.content.decode()
    assert text.index("Soon") < text.index("Later")
    assert "Administration" not in text


@pytest.mark.parametrize("url", ["http://lms.example/5", "javascript:alert(1)", "https://a@lms.example/"])
def test_only_a_safe_address_of_the_lms_is_linked(home, person, url, settings):
    settings.OUTBOUND_ALLOW_HTTP = False
    enrolled(person, name="Logic", lms_course_url=url)
    assert "Open in the LMS" not in text_of(home())
    settings.OUTBOUND_ALLOW_HTTP = True
    assert ("Open in the LMS" in text_of(home())) == url.startswith("http://")


def test_what_is_due_next(home, person):
    course = enrolled(person, name="Logic")
    for number, title in ((30, "Third"), (1, "First"), (40, "Fourth"), (20, "Second")):
        AssignmentFactory(course=course, title=title, due_at=hours(number))
    handed_in = AssignmentFactory(course=course, title="Handed in", due_at=hours(0.5))
    scored = AssignmentFactory(course=course, title="Scored", due_at=hours(0.5))
    hand_in(handed_in, person)
    record_score(scored, person, points=Decimal(1), actor=SYSTEM)
    AssignmentFactory(course=course, title="Off", due_at=hours(0.5), enabled=False)
    AssignmentFactory(course=course, title="Past", due_at=hours(-1))
    AssignmentFactory(course=course, title="Not yet", due_at=hours(2), opens_at=hours(1))
    AssignmentFactory(course=course, title="Shut", due_at=hours(2), closes_at=hours(-1))
    AssignmentFactory(course=enrolled(person, archived=True), title="Of the past", due_at=hours(0.5))
    AssignmentFactory(course=CourseFactory(organization=person.organization), title="Of others", due_at=hours(0.5))
    text = text_of(home())
    assert text.index("Due next") < text.index("First") < text.index("Second") < text.index("Third")
    for title in ("Fourth", "Handed in", "Scored", "Off", "Past", "Not yet", "Shut", "Of the past", "Of others"):
        assert title not in text, title


def test_not_started_assignments_can_be_hidden(home, person):
    course = enrolled(person, name="Logic", hide_not_started=True)
    AssignmentFactory(course=course, title="Untouched", due_at=hours(1))
    started = AssignmentFactory(course=course, title="Begun", due_at=hours(2))
    Submission.objects.create(assignment=started, person=person)
    text = text_of(home())
    assert "Untouched" not in text
    assert "Begun" in text
    assert "0 of 1 done" in text


def test_several_people_of_one_user_are_one_list(home, user, person):
    other = PersonFactory(user=user, organization=person.organization)
    course = enrolled(person, name="Logic")
    EnrolmentFactory(course=course, person=other)
    enrolled(other, name="Rhetoric")
    first, second = AssignmentFactory.create_batch(2, course=course)
    hand_in(first, person)
    record_score(first, other, points=Decimal(4), actor=SYSTEM)
    record_score(first, person, points=Decimal(6), actor=SYSTEM)
    hand_in(second, other)
    text = text_of(home())
    assert text.count("Acme") == 1
    assert text.count("Logic") - text.count(": Logic") == 1
    assert "Rhetoric" in text
    assert "2 of 2 done · 1 graded: 6 of 10 points" in text


def test_work_in_a_course_that_one_is_not_enrolled_in_does_not_count(home, user, person):
    """A second person of the same user who only has a score there, enrolled nowhere."""
    other = PersonFactory(user=user, organization=person.organization)
    assignment = AssignmentFactory(course=enrolled(person))
    record_score(assignment, other, points=Decimal(4), actor=SYSTEM)
    assert "0 of 1 done" in text_of(home())


def test_several_organizations(home, user, person):
    enrolled(person, name="Logic")
    membership = MembershipFactory(user=user, organization__name="Zeta", role=Membership.Role.TEACHER)
    CourseFactory(organization=membership.organization, name="Taught", code="T1")
    text = text_of(home())
    assert text.index("Acme") < text.index("Logic") < text.index("Zeta") < text.index("Taught")
    assert "Teacher" in text


def test_nothing_of_others(home, user, person):
    """People with the same address in another organization, courses one left, archived and suspended ones."""
    enrolled(person, name="Mine")
    EnrolmentFactory(
        person=person, course__organization=person.organization, course__name="Left", state=Enrolment.State.GONE
    )
    enrolled(person, name="Old", archived=True)
    CourseFactory(organization=person.organization, name="Neighbour")
    suspended = PersonFactory(user=user, organization=OrganizationFactory(name="Suspended", enabled=False))
    enrolled(suspended, name="Course there")
    stranger = PersonFactory(email=user.email, organization__name="Strangers")
    enrolled(stranger, name="Secret")
    # A row that no code of ours makes: a person in another organization's course.
    EnrolmentFactory(course__name="Crossed", person=person)
    text = text_of(home())
    assert "Mine" in text
    for words in ("Left", "Old", "Neighbour", "Suspended", "Course there", "Strangers", "Secret", "Crossed"):
        assert words not in text, words


def test_an_organization_without_courses(home, user):
    MembershipFactory(user=user, organization__name="Empty")
    text = text_of(home())
    assert "Empty" in text
    assert "Add the first one" in text


def test_many_courses_are_searched_and_paged(home, person):
    for number in range(25):
        enrolled(person, name=f"Course {number:02}", code=f"code-{number:02}")
    first, second = text_of(home()), text_of(home(page="2"))
    assert "Course 19" in first
    assert "Course 20" not in first
    assert "Course 24" in second
    assert "1 to 20 of 25 courses" in first
    assert "Course 24" in text_of(home(page="999"))
    assert "Course 07" in text_of(home(page="x"))
    found = text_of(home(q="code-07"))
    assert "Course 07" in found
    assert "Course 08" not in found
    assert "No course matches “nowhere”" in text_of(home(q="nowhere"))
    for odd in ("\x00", "\x00Course 03", "x" * 5000, "%", "'", "<script>alert(1)</script>"):
        response = home(q=odd)
        assert response.status_code == 200
        assert "<script>alert" not in response.content.decode()


def test_nobody_of_nowhere(home):
    text = text_of(home())
    assert "You belong to no organization yet" in text
    assert "Sign in without your LMS" in text


@pytest.mark.parametrize("number", [3, 20])
def test_statements_do_not_grow(home, user, person, number, django_assert_num_queries):
    for _ in range(number):
        course = enrolled(person)
        for assignment in AssignmentFactory.create_batch(3, course=course, due_at=hours(3)):
            record_score(assignment, person, points=Decimal(1), actor=SYSTEM)
        AssignmentFactory(course=course, due_at=hours(3))
        membership = MembershipFactory(user=user, role=Membership.Role.TEACHER)
        CourseFactory(organization=membership.organization)
    home()
    with django_assert_num_queries(11):
        home()
