"""A student who signed in directly: the dashboard of a course, and their own work in it."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from courses.models import Enrolment, Module, Submission
from events.log import SYSTEM
from events.models import Event
from grades.scores import record_score
from tests.factories import (
    AssignmentFactory,
    CourseFactory,
    EnrolmentFactory,
    LmsCourseFactory,
    MembershipFactory,
    PersonFactory,
    UserFactory,
)
from tests.visiting import came_from_the_course, student, text_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def visitor(key, assignment):
    """Started "Essay" from the LMS, and has a sign-in since."""
    visitor = student(key, assignment)
    visitor.get("launch")
    person = visitor.person
    person.user = UserFactory()
    person.save()
    return visitor


@pytest.fixture
def person(visitor):
    return visitor.person


@pytest.fixture
def client(person):
    client = Client()
    client.force_login(person.user, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def course(assignment):
    return assignment.course


def change(row, **fields):
    type(row).objects.filter(pk=row.pk).update(**fields)


def dashboard(client, course):
    return client.get(f"/courses/{course.pk}/")


def address(assignment, page="assignment"):
    return reverse(f"course-own-{page}", args=[assignment.course_id, assignment.pk])


def hours(number):
    return timezone.now() + timedelta(hours=number)


def test_the_dashboard(client, course, assignment, person):
    week = Module.objects.create(course=course, name="Week 1")
    AssignmentFactory(course=course, title="New", due_at=hours(5), module=week)
    AssignmentFactory(course=course, title="Missed", due_at=hours(-5))
    AssignmentFactory(course=course, title="Later", opens_at=hours(5))
    AssignmentFactory(course=course, title="Gone", closes_at=hours(-5))
    AssignmentFactory(course=course, title="Silent", enabled=False)
    graded, unreleased = AssignmentFactory.create_batch(2, course=course)
    record_score(graded, person, points=Decimal(8), actor=SYSTEM)
    record_score(unreleased, person, points=Decimal(9), released=False, actor=SYSTEM)
    response = dashboard(client, course)
    text, html = text_of(response), response.content.decode()
    for words in (
        "Due next: New", "Week 1", "Overdue", "Not open yet", "Closed", "Switched off", "8 of 10",
        "1 of 7 done", "What you have started opens here",
    ):  # fmt: skip
        assert words in text, words
    assert "9 of 10" not in text
    for here in (assignment, graded):
        assert f'href="{address(here)}"' in html
    for title in ("Later", "Gone", "Silent"):
        assert f"<strong>{title}</strong>" in html


def test_new_ones_are_started_from_the_lms(client, course, settings):
    new = AssignmentFactory(course=course, title="New")
    change(course, lms_course_url="https://lms.example/course/5")
    for page in (dashboard(client, course), client.get(address(new))):
        html = page.content.decode()
        assert 'href="https://lms.example/course/5" target="_top"' in html
    text = text_of(client.get(address(new)))
    assert "Start it from your LMS" in text
    assert "tells us where your grade belongs" in text
    assert not Submission.objects.filter(assignment=new).exists()
    for page in ("draft", "submission"):
        assert client.post(address(new, page), {"text": "x", "url": ""}).status_code == 404
    assert client.get(address(new, "passage")).status_code == 404
    assert not Submission.objects.filter(assignment=new).exists()


@pytest.mark.parametrize("url", ["", "javascript:alert(1)", "http://lms.example/", "https://a:b@lms.example/"])
def test_without_an_address_they_read_where(client, course, key, url):
    new = AssignmentFactory(course=course)
    change(course, lms_course_url=url)
    change(key.installation, name="Moodle of the library")
    text = text_of(client.get(address(new)))
    assert "Open it from your course" in text
    assert "in Moodle of the library" in text
    assert "lms.example" not in text


def test_the_lms_is_named_without_a_known_lms_course(client, course, key, person):
    person.participations.all().delete()
    change(key.installation, name="Moodle of the library")
    assert "Open it from your course (Moodle of the library)" in text_of(dashboard(client, course))


def test_started_work_goes_on_here(client, assignment, person, memory_queue):
    assert "Your work" in text_of(client.get(address(assignment)))
    headers = {"HX-Request": "true"}
    saved = client.post(address(assignment, "draft"), {"text": "begun", "url": ""}, headers=headers)
    assert "Draft saved" in text_of(saved)
    assert "begun" in client.get(address(assignment)).content.decode()
    done = client.post(address(assignment, "submission"), {"text": "my work", "url": ""})
    assert done["Location"] == address(assignment)
    submission = Submission.objects.get(assignment=assignment, person=person)
    assert (submission.text, submission.number) == ("my work", 1)
    assert Event.objects.get(type="submission.created").actor["id"] == str(person.pk)
    text = text_of(client.get(address(assignment)))
    assert "Waiting for your teacher" in text
    assert "my work" in text


def test_a_draft_by_its_button(client, assignment):
    assert client.post(address(assignment, "draft"), {"text": "x", "url": ""}).status_code == 302
    refused = client.post(address(assignment, "draft"), {"text": "typed", "url": "javascript:alert(1)"})
    assert refused.status_code == 422
    assert "typed" in refused.content.decode()


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"text": "", "url": ""}, "Write something"),
        ({"text": "kept", "url": "ftp://x"}, "whole web address"),
        ({"text": "nul\x00", "url": ""}, "Null characters"),
        ({"text": "x" * 100_001, "url": ""}, "at most 100000"),
    ],
)
def test_bad_work(client, assignment, form, words):
    response = client.post(address(assignment, "submission"), form)
    assert response.status_code == 422
    assert words in text_of(response)
    assert Submission.objects.get(assignment=assignment).submitted_at is None


def test_the_result(client, assignment, person):
    client.post(address(assignment, "submission"), {"text": "my work", "url": ""})
    record_score(assignment, person, points=Decimal(7), comment="Well done", actor=SYSTEM)
    response = client.get(address(assignment))
    text = text_of(response)
    for words in ("7 of 10 points", "Well done", "my work", "Graded"):
        assert words in text
    assert "course's gradebook" in response.content.decode()
    assert client.get(address(assignment, "passage")).status_code == 200
    refused = client.post(address(assignment, "submission"), {"text": "other", "url": ""})
    assert refused.status_code == 422
    assert "has been graded" in text_of(refused)
    assert Submission.objects.get(assignment=assignment).text == "my work"


def test_unreleased_results_stay_unseen(client, assignment, person):
    record_score(assignment, person, points=Decimal(7), comment="Not yet for you", released=False, actor=SYSTEM)
    text = text_of(client.get(address(assignment)))
    assert "Your result" not in text
    assert "Not yet for you" not in text


def test_a_score_without_work(client, course, person):
    """Graded by the API or a teacher before they opened it."""
    graded = AssignmentFactory(course=course)
    record_score(graded, person, points=Decimal(7), actor=SYSTEM)
    assert "7 of 10 points" in text_of(client.get(address(graded)))
    assert client.post(address(graded, "submission"), {"text": "x", "url": ""}).status_code == 422
    assert not Submission.objects.filter(assignment=graded).exists()


@pytest.mark.parametrize("fields", [{"enabled": False}, {"opens_at": hours(2)}, {"closes_at": hours(-2)}])
def test_closed_assignments_take_nothing(client, assignment, fields):
    change(assignment, **fields)
    response = client.get(address(assignment))
    assert "<form" not in response.content.decode().partition("<main")[2]
    refused = client.post(address(assignment, "submission"), {"text": "x", "url": ""})
    assert refused.status_code == 422
    assert Submission.objects.get().submitted_at is None


def test_a_link_assignment_is_opened_from_the_lms(client, key, link_assignment, person):
    change(link_assignment.course, lms_course_url="https://lms.example/course/5")
    Submission.objects.create(assignment=link_assignment, person=person)
    record_score(link_assignment, person, points=Decimal(5), actor=SYSTEM)
    response = client.get(address(link_assignment))
    text = text_of(response)
    assert "worked on in another application" in text
    assert "5 of 10 points" in text
    html = response.content.decode()
    assert 'name="token"' not in html
    assert "content.example" not in html
    assert client.post(address(link_assignment, "submission"), {"text": "x", "url": ""}).status_code == 422


def test_enroll_only_courses_are_worked_in_here(client, course, person):
    """No grade goes back, so nothing has to be started from the LMS (B25)."""
    change(course, enroll_only=True)
    new = AssignmentFactory(course=course, title="New")
    assert f'href="{address(new)}"' in dashboard(client, course).content.decode()
    assert "Your work" in text_of(client.get(address(new)))
    assert client.post(address(new, "submission"), {"text": "x", "url": ""}).status_code == 302
    assert Event.objects.filter(type="assignment.opened", subject__id=str(new.pk)).count() == 1
    shut = AssignmentFactory(course=course, enabled=False)
    client.get(address(shut))
    assert not Submission.objects.filter(assignment=shut).exists()


def test_a_course_closed_to_lmss_is_read_only(client, course, assignment):
    change(course, lti_enabled=False, lms_course_url="https://lms.example/5")
    new = AssignmentFactory(course=course)
    for page in (dashboard(client, course), client.get(address(assignment)), client.get(address(new))):
        text = text_of(page)
        assert "closed at the moment" in text
        assert "Open your course in the LMS" not in text
    assert client.post(address(assignment, "submission"), {"text": "x", "url": ""}).status_code == 422


def test_not_started_ones_can_be_hidden(client, visitor, course, assignment):
    AssignmentFactory(course=course, title="Untouched")
    change(course, hide_not_started=True)
    for page in (dashboard(client, course), visitor.client.get(visitor.url("launch"))):
        assert page.status_code == 200
        assert "Untouched" not in text_of(page)
    assert "Essay" in text_of(dashboard(client, course))
    Submission.objects.all().delete()
    assert "Nothing started yet" in text_of(dashboard(client, course))


def test_an_empty_course(client, assignment, course):
    assignment.delete()
    assert "No assignments yet" in text_of(dashboard(client, course))


def test_two_people_of_one_user(client, course, assignment, person):
    other = PersonFactory(user=person.user, organization=person.organization)
    EnrolmentFactory(course=course, person=other)
    Submission.objects.create(assignment=assignment, person=other, text="from there", submitted_at=timezone.now())
    assert text_of(dashboard(client, course)).count("Essay") == 1
    text = text_of(client.get(address(assignment)))
    assert "from there" in text
    assert "another LMS account of yours" in text
    # What is submitted from here is the work that is shown first.
    client.post(address(assignment, "submission"), {"text": "newer", "url": ""})
    assert Submission.objects.get(person=other).text == "newer"
    assert Submission.objects.get(person=person).text == ""
    record_score(assignment, person, points=Decimal(4), comment="of the first", actor=SYSTEM)
    text = text_of(client.get(address(assignment)))
    assert "4 of 10 points" in text
    assert "newer" in text


@pytest.mark.parametrize("case", ["gone", "archived", "suspended", "untied", "unknown", "another"])
def test_only_ones_own_active_courses(client, course, assignment, person, case):
    if case == "gone":
        Enrolment.objects.update(state=Enrolment.State.GONE)
    elif case == "archived":
        change(course, archived=True)
    elif case == "suspended":
        change(course.organization, enabled=False)
    elif case == "untied":
        change(person, user=None)
    elif case == "unknown":
        course.pk = assignment.pk
    else:
        course = CourseFactory(organization=course.organization)
        assignment = AssignmentFactory(course=course)
    assert dashboard(client, course).status_code == 404
    for page in ("assignment", "passage"):
        assert client.get(reverse(f"course-own-{page}", args=[course.pk, assignment.pk])).status_code == 404
    for page in ("draft", "submission"):
        where = reverse(f"course-own-{page}", args=[course.pk, assignment.pk])
        assert client.post(where, {"text": "x", "url": ""}).status_code == 404


def test_an_assignment_of_another_course_is_not_there(client, course):
    foreign = AssignmentFactory(course__organization=course.organization)
    assert client.get(reverse("course-own-assignment", args=[course.pk, foreign.pk])).status_code == 404


def test_others_work_is_not_ones_own(client, key, assignment, person):
    other = student(key, assignment, user_id="student-2", lis_person_name_full="Bert Beta")
    other.post("launch-submission", assignment.pk, text="Berts work", url="")
    record_score(assignment, other.person, points=Decimal(9), comment="For Bert", actor=SYSTEM)
    text = text_of(client.get(address(assignment))) + text_of(dashboard(client, assignment.course))
    for words in ("Berts work", "For Bert", "9 of 10"):
        assert words not in text


def test_it_asks_to_sign_in(course, assignment):
    for where in (f"/courses/{course.pk}/", address(assignment)):
        response = Client().get(where)
        assert response.status_code == 302
        assert response["Location"].startswith("/accounts/login/")


def test_forms_need_djangos_token(client, person, assignment):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(person.user, backend="django.contrib.auth.backends.ModelBackend")
    assert strict.post(address(assignment, "submission"), {"text": "x", "url": ""}).status_code == 403


def test_members_see_everybody(key, assignment, course, person):
    """The overview of a member counts the students of every LMS course; of a visit those of its own."""
    lms_course = LmsCourseFactory(installation=key.installation, course=course)
    other = EnrolmentFactory(course=course).person
    lms_course.participations.create(person=other)
    Submission.objects.create(assignment=assignment, person=other, text="x", submitted_at=timezone.now())
    EnrolmentFactory(course=course, role=Enrolment.Role.TEACHER)
    EnrolmentFactory(course=CourseFactory(organization=course.organization))
    for role in ("owner", "teacher"):
        client = Client()
        member = MembershipFactory(organization=course.organization, role=role).user
        client.force_login(member, backend="django.contrib.auth.backends.ModelBackend")
        response = dashboard(client, course)
        text = text_of(response)
        assert "2 students" in text
        assert "Essay no date 2 1 1 0 0" in text
        assert ("Edit in the administration" in text) == (role == "owner")


def test_members_see_archived_courses_but_no_others(course):
    client = Client()
    member = MembershipFactory(organization=course.organization).user
    client.force_login(member, backend="django.contrib.auth.backends.ModelBackend")
    change(course, archived=True)
    assert "Archived" in text_of(dashboard(client, course))
    assert dashboard(client, CourseFactory()).status_code == 404
    change(course.organization, enabled=False)
    assert dashboard(client, course).status_code == 404


@pytest.mark.parametrize("number", [3, 40])
def test_statements_do_not_grow(client, key, course, person, number, django_assert_num_queries):
    came_from_the_course(key, person)
    for assignment in AssignmentFactory.create_batch(number, course=course):
        record_score(assignment, person, points=Decimal(1), actor=SYSTEM)
    dashboard(client, course)
    with django_assert_num_queries(10):
        dashboard(client, course)
