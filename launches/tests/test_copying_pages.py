"""Copying a course by hand: the page in the LMS frame and signed in directly, and its way in the admin."""

import re
import uuid
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from courses.copying import copy_course
from courses.models import Course, Enrolment, LmsCourse, Submission
from events.log import SYSTEM, Actor
from events.models import Event
from organizations.models import Membership
from tests.factories import AssignmentFactory, CourseFactory, MembershipFactory, PersonFactory, RoomFactory, UserFactory
from tests.visiting import mentor, student, teacher, text_of

pytestmark = pytest.mark.django_db


class Member:
    """A member of the organization who signed in directly."""

    def __init__(self, organization, role=Membership.Role.TEACHER):
        self.user = MembershipFactory(organization=organization, role=role).user
        self.client = Client()
        self.client.force_login(self.user, backend="django.contrib.auth.backends.ModelBackend")

    def get(self, page, /, *args, **query):
        return self.client.get(reverse(page, args=args), query)

    def post(self, page, /, *args, **data):
        return self.client.post(reverse(page, args=args), data)


@pytest.fixture
def course(assignment):
    course = assignment.course
    course.code = "rhetoric"
    course.constant_urls = True
    course.save()
    return course


@pytest.fixture
def member(course):
    return Member(course.organization)


def typed(response):
    """What stands in the fields of the form."""
    fields = r'<input type="text" name="(\w+)" value="([^"]*)"'
    return dict(re.findall(fields, response.content.decode()))


def test_the_form_says_what_is_copied_and_proposes(member, course):
    AssignmentFactory(course=course, due_at=timezone.now())
    course.modules.create(name="Week 1")
    page = member.get("course-copy", course.pk)
    assert typed(page) == {"code": "rhetoric-copy", "name": "Copy of Rhetoric"}
    words = text_of(page)
    for said in (
        "2 assignments in 1 module, each with the same constant key",
        "Their dates as they are",
        "constant URLs too",
        "People, their work and their grades",
        "Course copy at launch: it is off in the copy",
    ):
        assert said in words
    empty = CourseFactory(organization=course.organization)
    assert "No assignment: this course has none yet" in text_of(member.get("course-copy", empty.pk))


def test_the_form_names_the_rooms(member, course):
    assert "live sessions" not in text_of(member.get("course-copy", course.pk))
    RoomFactory(course=course)
    text = text_of(member.get("course-copy", course.pk))
    assert "1 room of live sessions, each with a URL of its own" in text
    assert "Sessions that were held" in text


def test_a_member_copies_and_undoes(member, course):
    response = member.post("course-copy", course.pk, code="rhetoric-2031", name="Rhetoric 2031")
    copy = Course.objects.get(code="rhetoric-2031")
    assert (copy.copied_from, copy.name) == (course, "Rhetoric 2031")
    assert response["Location"] == reverse("course-copied", args=[course.pk, copy.pk])
    assert Event.objects.get(type="course.copied").actor["kind"] == "user"
    page = member.client.get(response["Location"])
    words = text_of(page)
    assert 'value="course_target_id=rhetoric-2031"' in page.content.decode()
    assert 'value="parent_course_id=rhetoric-2031"' in page.content.decode()
    assert "Undo this copy" in words
    assert "Rhetoric 2031" in text_of(member.get("course-copy", course.pk))
    response = member.client.post(response["Location"])
    assert response["Location"] == reverse("course-copy", args=[course.pk]) + "?undone=1"
    assert not Course.objects.filter(pk=copy.pk).exists()
    assert "The copy is deleted" in text_of(member.client.get(response["Location"]))
    again = member.post("course-copied", course.pk, copy.pk)
    assert again["Location"] == response["Location"], "a double click"
    assert member.get("course-copied", course.pk, copy.pk).status_code == 404
    assert Event.objects.filter(type="course.copy_undone").count() == 1


@pytest.mark.parametrize(
    ("code", "name", "says"),
    [
        ("", "N", "Give the copy a code."),
        ("a/b", "N", "Use at most 255 characters, without slashes."),
        ("x" * 1000, "N", "Use at most 255 characters"),
        ("a\x00b", "N", "Null characters are not allowed."),
        ("a\x01b", "N", "Contains a character that is not allowed (U+0001)."),
        ("rhetoric", "N", "The course rhetoric exists already."),
        ("ok", "", "Give the copy a name."),
        ("ok", "x" * 1000, "Use at most 255 characters."),
        ("ok", "a\x00b", "Null characters are not allowed."),
    ],
)
def test_what_is_wrong_is_said_at_the_field(member, course, code, name, says):
    page = member.post("course-copy", course.pk, code=code, name=name)
    assert page.status_code == 422
    field = "code" if name == "N" else "name"
    assert re.search(rf'id="id_{field}_error">{re.escape(says)}', page.content.decode())
    if "\x00" not in code + name:
        assert {key: value for key, value in {"code": code, "name": name}.items() if value} == typed(page)
    assert Course.objects.count() == 1
    assert not Event.objects.exists()


def test_a_double_click_leads_to_the_one_copy(member, course):
    first = member.post("course-copy", course.pk, code="b", name="N")
    second = member.post("course-copy", course.pk, code="b", name="N")
    assert first["Location"] == second["Location"]
    Course.objects.filter(code="b").update(copied_at=timezone.now() - timedelta(minutes=2))
    assert member.post("course-copy", course.pk, code="b", name="N").status_code == 422
    other = Member(course.organization)
    Course.objects.filter(code="b").update(copied_at=timezone.now())
    assert other.post("course-copy", course.pk, code="b", name="N").status_code == 422
    assert Course.objects.filter(copied_from=course).count() == 1


def test_a_copy_that_somebody_worked_in_stays(member, course):
    copy = copy_course(course, code="b", actor=SYSTEM)
    Submission.objects.create(assignment=copy.assignments.get(), person=PersonFactory(organization=course.organization))
    page = member.get("course-copied", course.pk, copy.pk)
    assert "There is work in the copy already" in text_of(page)
    assert "Undo this copy" not in text_of(page)
    page = member.post("course-copied", course.pk, copy.pk)
    assert page.status_code == 409
    assert "The copy was not undone. There is work in the copy already." in text_of(page)
    assert Course.objects.filter(pk=copy.pk).exists()


def test_undone_from_the_copys_own_page(member, course):
    copy = copy_course(course, code="b", actor=SYSTEM)
    assert "A copy itself" in text_of(member.get("course-copy", copy.pk))
    response = member.post("course-copied", copy.pk, copy.pk)
    assert response["Location"] == reverse("course-copy", args=[course.pk]) + "?undone=1"
    orphan = copy_course(course, code="c", actor=SYSTEM)
    Course.objects.filter(pk=orphan.pk).update(copied_from=None)
    assert member.post("course-copied", orphan.pk, orphan.pk)["Location"] == reverse("home")


def test_constant_urls_off(member, course):
    Course.objects.filter(pk=course.pk).update(constant_urls=False)
    copy = copy_course(Course.objects.get(pk=course.pk), code="b", actor=SYSTEM)
    page = member.get("course-copied", course.pk, copy.pk)
    assert "Constant URLs are off in the copy" in text_of(page)
    assert "course_target_id" not in page.content.decode()


def test_many_copies(member, course):
    for number in range(25):
        copy_course(course, code=f"c{number}", name=f"Number {number}", actor=SYSTEM)
    words = text_of(member.get("course-copy", course.pk))
    assert ("Number 24" in words, "Number 4 " in words, "And 5 older." in words) == (True, False, True)


def test_an_archived_course_is_copied_signed_in(member, course):
    Course.objects.filter(pk=course.pk).update(archived=True, lti_enabled=False)
    assert "Archived" in text_of(member.get("course-copy", course.pk))
    assert member.post("course-copy", course.pk, code="b", name="N").status_code == 302


def test_a_copy_of_another_course_is_not_shown(member, course):
    other = CourseFactory(organization=course.organization)
    copy = copy_course(other, code="b", actor=SYSTEM)
    foreign = CourseFactory()
    for copy_id in (copy.pk, other.pk, course.pk, foreign.pk, uuid.uuid4()):
        for call in (member.get, member.post):
            assert call("course-copied", course.pk, copy_id).status_code == 404
    assert Course.objects.filter(pk=copy.pk).exists()


def test_strangers_find_nothing(course):
    copy = copy_course(course, code="b", actor=SYSTEM)
    stranger = Member(CourseFactory().organization, Membership.Role.OWNER)
    for name, args in (("course-copy", [course.pk]), ("course-copied", [course.pk, copy.pk])):
        assert stranger.get(name, *args).status_code == 404
        assert stranger.post(name, *args, code="x", name="x").status_code == 404
        nobody = Client().post(reverse(name, args=args), {"code": "x", "name": "x"})
        assert nobody["Location"].startswith(reverse("account_login"))
    assert Course.objects.filter(copied_from=course).count() == 1


# In the frame


def test_a_teacher_in_the_frame_copies_and_undoes(key, assignment, course):
    visitor = teacher(key, assignment)
    page = visitor.get("launch-course-copy")
    assert page.status_code == 200
    assert visitor.token in page.content.decode()
    response = visitor.post("launch-course-copy", code="b", name="Mine")
    copy = Course.objects.get(code="b")
    assert response["Location"] == visitor.url("launch-course-copied", copy.pk)
    assert not copy.enrolments.exists(), "nobody becomes a teacher by copying"
    event = Event.objects.get(type="course.copied")
    assert (event.actor["kind"], event.actor["id"]) == ("person", str(visitor.person.pk))
    assert 'value="course_target_id=b"' in visitor.get("launch-course-copied", copy.pk).content.decode()
    assert "Copies that you made today Mine" in text_of(visitor.get("launch-course-copy"))
    assert visitor.post("launch-course-copied", copy.pk, token="wrong").status_code == 403
    response = visitor.post("launch-course-copied", copy.pk)
    assert response["Location"] == visitor.url("launch-course-copy") + "?undone=1"
    assert not Course.objects.filter(pk=copy.pk).exists()


def test_a_teacher_of_the_parent_sees_no_copies_of_others(key, assignment, course):
    visitor = teacher(key, assignment)
    copies = [
        copy_course(course, code="theirs", name="Theirs", actor=Actor("user", str(uuid.uuid4()), "Owner")),
        copy_course(course, code="by-a-launch", name="Theirs", actor=Actor("person", str(uuid.uuid4()), "Sam")),
        copy_course(course, code="by-nobody", name="Theirs", actor=SYSTEM),
    ]
    assert "Theirs" not in text_of(visitor.get("launch-course-copy"))
    for copy in copies:
        assert visitor.get("launch-course-copied", copy.pk).status_code == 404
        assert visitor.post("launch-course-copied", copy.pk).status_code == 404
    assert Course.objects.filter(copied_from=course).count() == 3


def test_a_teacher_of_the_copy_undoes_it(key, assignment, course):
    copy = copy_course(course, code="b", actor=SYSTEM)
    visitor = teacher(key, copy.assignments.get(), context_id="another", resource_link_id="another")
    assert "Undo this copy" in text_of(visitor.get("launch-course-copied", copy.pk))
    response = visitor.post("launch-course-copied", copy.pk)
    assert response["Location"] == visitor.url("launch")
    assert not Course.objects.filter(pk=copy.pk).exists()
    assert LmsCourse.objects.get(context_id="another").course is None
    assert visitor.get("launch").status_code == 200, "the picker"


def test_students_and_mentors_copy_nothing(key, assignment, course):
    for visitor in (student(key, assignment), mentor(key, assignment)):
        for name, args in (("launch-course-copy", []), ("launch-course-copied", [course.pk])):
            assert visitor.get(name, *args).status_code == 404
            assert visitor.post(name, *args, code="b", name="N").status_code == 404
    assert Course.objects.count() == 1


def test_a_student_who_came_keeps_the_copy(key, assignment, course):
    visitor = teacher(key, assignment)
    visitor.post("launch-course-copy", code="b", name="N")
    copy = Course.objects.get(code="b")
    student(key, copy.assignments.get(), context_id="another", resource_link_id="another")
    page = visitor.post("launch-course-copied", copy.pk)
    assert page.status_code == 409
    assert "Students have opened the copy already" in text_of(page)
    assert copy.enrolments.get().role == Enrolment.Role.STUDENT


# In the admin


@pytest.fixture
def owner(course):
    return Member(course.organization, Membership.Role.OWNER)


def test_an_owner_copies_and_undoes_in_the_admin(owner, course):
    page = owner.get("admin:courses_course_change", course.pk)
    copy_url = reverse("admin:course-copy", args=[course.pk])
    assert copy_url in page.content.decode()
    assert 'value="rhetoric-copy"' in owner.client.get(copy_url).content.decode()
    response = owner.client.post(copy_url, {"code": "b", "name": "Mine"})
    copy = Course.objects.get(code="b")
    assert response["Location"] == reverse("admin:courses_course_change", args=[copy.pk])
    page = owner.client.get(response["Location"])
    words = text_of(page)
    assert "Copied from Rhetoric" in words
    assert "course_target_id=b" in words
    undo_url = reverse("admin:course-copy-undo", args=[copy.pk])
    assert undo_url in page.content.decode()
    assert "Delete the copy" in text_of(owner.client.get(undo_url))
    response = owner.client.post(undo_url)
    assert response["Location"] == reverse("admin:courses_course_change", args=[course.pk])
    assert not Course.objects.filter(pk=copy.pk).exists()
    assert Event.objects.get(type="course.copy_undone").actor["id"] == str(owner.user.pk)


def test_the_admin_says_what_is_wrong(owner, course):
    url = reverse("admin:course-copy", args=[course.pk])
    for code, says in (("a/b", "without slashes"), ("rhetoric", "exists already"), ("", "Give the copy a code")):
        page = owner.client.post(url, {"code": code, "name": "N"})
        assert page.status_code == 422
        assert says in text_of(page)
    assert Course.objects.count() == 1


def test_the_admin_undoes_no_course_in_use(owner, course):
    copy = copy_course(course, code="b", actor=SYSTEM)
    Course.objects.filter(pk=copy.pk).update(copied_at=timezone.now() - timedelta(days=2))
    undo_url = reverse("admin:course-copy-undo", args=[copy.pk])
    page = owner.get("admin:courses_course_change", copy.pk)
    assert "Copied from Rhetoric" in text_of(page)
    assert undo_url not in page.content.decode()
    page = owner.client.post(undo_url)
    assert page.status_code == 409
    assert "older than a day" in text_of(page)
    assert owner.client.get(undo_url).status_code == 409
    assert owner.get("admin:course-copy-undo", course.pk).status_code == 404, "no copy"
    assert Course.objects.filter(pk=copy.pk).exists()


def test_an_operator_may_copy_in_the_admin(course):
    client = Client()
    client.force_login(UserFactory(is_superuser=True), backend="django.contrib.auth.backends.ModelBackend")
    response = client.post(reverse("admin:course-copy", args=[course.pk]), {"code": "b", "name": "N"})
    assert response.status_code == 302
    assert Course.objects.get(code="b").organization == course.organization
