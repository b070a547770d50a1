"""Copies of courses: what is in them, and that there is one."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from courses.copying import (
    CopyNotUndoneError,
    copy_course,
    copy_once,
    proposed_code,
    reason_to_keep,
    undo_copy,
    was_copied_by,
)
from courses.definitions import DefinitionError
from courses.models import Assignment, Course, CourseAlias, Enrolment, Module, ResourceLink, Submission
from events.log import SYSTEM, Actor
from events.models import Event
from grades.models import Score
from launches.models import Launch
from organizations.identifiers import uuid7
from tests.factories import (
    AssignmentFactory,
    CourseFactory,
    EnrolmentFactory,
    LmsCourseFactory,
    OrganizationFactory,
    PersonFactory,
    ResourceLinkFactory,
)

pytestmark = pytest.mark.django_db

ANNA = Actor("user", "00000000-0000-7000-8000-000000000001", "Anna")
DUE = datetime(2030, 1, 31, 18, tzinfo=UTC)


@pytest.fixture
def parent():
    course = CourseFactory(
        code="cs101",
        name="Introduction",
        constant_urls=True,
        course_copy=True,
        enroll_only=True,
        lms_course_url="https://lms.example/course/5",
        release_grades_automatically=True,
        send_grade="ALWAYS",
        hide_not_started=True,
        filter_learners_for_mentors=True,
        public_feedback_link=True,
        iframe_width=1234,
        iframe_height=567,
    )
    second = Module.objects.create(course=course, name="Week 2", position=1)
    first = Module.objects.create(course=course, name="Week 1", position=0)
    AssignmentFactory(
        course=course, module=first, slug="hello", title="Hello 👋", body="Write.", due_at=DUE, send_grade="CHANGED",
        points_possible=Decimal("7.50"), position=3,
    )  # fmt: skip
    AssignmentFactory(
        course=course, module=second, slug="lab", kind="link", content_url="https://c.example/", enabled=False
    )
    AssignmentFactory(course=course, slug="live", kind="room")
    return course


OWN = {"id", "course_id", "module_id", "created_at"}


def contents(course):
    """What is in the course, in its order, apart from ids."""
    columns = [field.attname for field in Assignment._meta.concrete_fields if field.attname not in OWN]
    modules = [(module.name, module.position) for module in course.modules.all()]
    assignments = [
        (row.module.name if row.module else None, *(getattr(row, name) for name in columns))
        for row in course.assignments.select_related("module")
    ]
    return modules, assignments


def test_modules_assignments_and_settings_are_copied(parent):
    copy = Course.objects.get(pk=copy_course(parent, code=" cs101-b ", name="Again", actor=ANNA).pk)
    assert (copy.organization_id, copy.code, copy.name) == (parent.organization_id, "cs101-b", "Again")
    assert contents(copy) == contents(parent)
    assert {row.constant_key for row in copy.assignments.all()} == {
        row.constant_key for row in parent.assignments.all()
    }
    assert not {row.pk for row in copy.assignments.all()} & {row.pk for row in parent.assignments.all()}
    assert {row.module.course_id for row in copy.assignments.all() if row.module} == {copy.pk}
    changed = {"id", "code", "name", "lms_course_url", "course_copy", "copied_from_id", "copied_at", "created_at"}
    for field in Course._meta.concrete_fields:
        same = getattr(copy, field.attname) == getattr(parent, field.attname)
        assert same == (field.attname not in changed), field.attname
    assert (copy.lms_course_url, copy.course_copy, copy.copied_from_id) == ("", False, parent.pk)
    assert timezone.now() - copy.copied_at < timedelta(minutes=1)


def test_people_work_links_and_aliases_stay_with_the_parent(parent):
    assignment = parent.assignments.first()
    person = EnrolmentFactory(course=parent).person
    Submission.objects.create(assignment=assignment, person=person)
    Score.objects.create(assignment=assignment, person=person, points=1)
    lms_course = LmsCourseFactory(installation__organization=parent.organization, course=parent)
    link = ResourceLinkFactory(lms_course=lms_course, assignment=assignment)
    CourseAlias.objects.create(organization=parent.organization, course=parent, value="cs101-2029")
    copy = copy_course(parent, code="cs101-b", actor=ANNA)
    for related in (copy.enrolments, copy.lms_courses, copy.resource_links, copy.aliases, copy.launches):
        assert not related.exists()
    for model in (Submission, Score, ResourceLink):
        assert not model.objects.filter(assignment__course=copy).exists()
    link.refresh_from_db()
    assert (link.assignment, parent.lms_courses.get(), parent.aliases.get().value) == (
        assignment, lms_course, "cs101-2029",
    )  # fmt: skip
    assert parent.enrolments.get().person == person


def test_the_event_tells_of_the_copy(parent):
    copy = copy_course(parent, code="cs101-b", actor=ANNA)
    event = Event.objects.get(type="course.copied")
    assert (event.organization_id, event.actor["name"]) == (parent.organization_id, "Anna")
    assert event.subject == {"kind": "course", "id": str(copy.pk)}
    assert event.data == {
        "course": str(copy.pk), "code": "cs101-b", "name": "Copy of Introduction", "copied_from": str(parent.pk),
        "by": "request",
    }  # fmt: skip
    assert was_copied_by(copy, ANNA)
    assert not was_copied_by(copy, Actor("person", ANNA.id))
    assert not was_copied_by(copy, SYSTEM)
    assert not was_copied_by(parent, ANNA)


def test_a_copy_of_a_copy_keeps_the_keys(parent):
    copy = copy_course(copy_course(parent, code="b", actor=ANNA), code="c", actor=ANNA)
    assert contents(copy) == contents(parent)
    assert copy.copied_from.code == "b"


def test_rows_of_one_position_keep_their_order():
    course = CourseFactory()
    for number in range(60):
        AssignmentFactory(course=course, title=f"A {number}", position=0)
        Module.objects.create(course=course, name=f"M {number}", position=0)
    copy = copy_course(course, code="b", actor=ANNA)
    assert contents(copy) == contents(course)


def test_an_empty_course_and_a_large_one():
    course = CourseFactory()
    assert contents(copy_course(course, code="empty", actor=ANNA)) == ([], [])
    Assignment.objects.bulk_create(
        Assignment(course=course, slug=f"s{number}", title=f"T {number}", position=number) for number in range(1500)
    )
    assert contents(copy_course(course, code="large", actor=ANNA)) == contents(course)


def test_an_archived_course_gives_a_copy_that_is_in_use(parent):
    parent.archived = True
    parent.save()
    assert copy_course(parent, code="b", actor=ANNA).archived is False


def test_another_organization_may_have_the_code(parent):
    CourseFactory(code="theirs")
    assert copy_course(parent, code="theirs", actor=ANNA).organization == parent.organization


def test_the_parent_is_read_afresh(parent):
    stale = Course.objects.get(pk=parent.pk)
    Course.objects.filter(pk=parent.pk).update(send_grade="CHANGED")
    assert copy_course(stale, code="b", actor=ANNA).send_grade == "CHANGED"
    Course.objects.filter(pk=parent.pk).delete()
    with pytest.raises(DefinitionError, match="not there any more"):
        copy_course(stale, code="c", actor=ANNA)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("", "is required"),
        ("  ", "is required"),
        ("a/b", "without slashes"),
        ("a\x00b", "U+0000"),
        ("a\nb", "U+000A"),
        ("\ud800", "not allowed"),
        ("x" * 1000, "at most 255"),
    ],
)
def test_a_code_that_cannot_be(parent, code, says):
    for make in (copy_course, copy_once):
        with pytest.raises(DefinitionError) as refused:
            make(parent, code=code, actor=ANNA)
        assert (refused.value.field, refused.value.taken) == ("code", False)
        assert says in refused.value.message
    assert Course.objects.count() == 1
    assert not Event.objects.exists()


@pytest.mark.parametrize(("name", "says"), [("x" * 256, "at most 255"), ("a\x00b", "U+0000")])
def test_a_name_that_cannot_be(parent, name, says):
    with pytest.raises(DefinitionError, match=says.replace("+", r"\+")) as refused:
        copy_course(parent, code="b", name=name, actor=ANNA)
    assert refused.value.field == "name"
    assert Course.objects.count() == 1


def test_a_code_by_which_another_course_is_known(parent):
    other = CourseFactory(organization=parent.organization, code="other")
    CourseAlias.objects.create(organization=parent.organization, course=other, value="its alias")
    for code in ("cs101", "other", "its alias"):
        with pytest.raises(DefinitionError) as refused:
            copy_course(parent, code=code, actor=ANNA)
        assert (refused.value.field, refused.value.taken) == ("code", True)
    assert Course.objects.count() == 2
    assert not Event.objects.exists()


def test_a_proposed_code_is_free(parent):
    assert proposed_code(parent) == "cs101-copy"
    CourseFactory(organization=parent.organization, code="cs101-copy")
    CourseAlias.objects.create(organization=parent.organization, course=parent, value="cs101-copy-2")
    assert proposed_code(parent) == "cs101-copy-3"
    parent.code = "x" * 255
    assert copy_course(parent, code=proposed_code(parent), actor=ANNA)


def test_copied_once(parent):
    first, made = copy_once(parent, code="2030", actor=ANNA, name="LMS\x00 title")
    again, made_again = copy_once(parent, code="2030", actor=ANNA)
    assert (made, made_again, again) == (True, False, first)
    assert (first.name, first.copied_from) == ("LMS  title", parent)
    assert contents(first) == contents(parent)
    assert Event.objects.get().data["by"] == "launch"
    assert copy_once(parent, code="2031", actor=ANNA)[0].name == "Introduction"


def test_copied_once_finds_what_is_there(parent):
    other = CourseFactory(organization=parent.organization, code="other")
    CourseAlias.objects.create(organization=parent.organization, course=other, value="its alias")
    CourseFactory(code="foreign")
    assert copy_once(parent, code="other", actor=ANNA) == (other, False)
    assert copy_once(parent, code="its alias", actor=ANNA) == (other, False)
    assert copy_once(parent, code="cs101", actor=ANNA) == (parent, False)
    course, made = copy_once(parent, code="foreign", actor=ANNA)
    assert made
    assert course.organization == parent.organization


def test_a_fresh_copy_is_taken_back(parent):
    copy = copy_course(parent, code="b", actor=ANNA)
    lms_course = LmsCourseFactory(installation__organization=parent.organization, course=copy)
    link = ResourceLinkFactory(lms_course=lms_course, assignment=copy.assignments.first())
    whole = ResourceLinkFactory(lms_course=lms_course, course=copy)
    EnrolmentFactory(course=copy, role=Enrolment.Role.TEACHER, last_launch_at=timezone.now())
    EnrolmentFactory(course=copy)  # from the roster: never came
    before = contents(parent)
    undo_copy(copy, ANNA)
    assert list(Course.objects.all()) == [parent]
    assert contents(parent) == before
    for row in (link, whole, lms_course):
        row.refresh_from_db()
    assert (link.assignment, whole.course, lms_course.course) == (None, None, None)
    event = Event.objects.get(type="course.copy_undone")
    assert (event.subject["id"], event.data["code"], event.actor["name"]) == (str(copy.pk), "b", "Anna")
    with pytest.raises(CopyNotUndoneError, match="not there any more"):
        undo_copy(Course(pk=copy.pk), ANNA)
    assert copy_once(parent, code="b", actor=ANNA)[1], "the code is free again"


def _student_came(copy):
    EnrolmentFactory(course=copy, last_launch_at=timezone.now())


def _student_became_teacher(copy):
    person = PersonFactory(organization=copy.organization)
    Launch.objects.create(
        organization=copy.organization, person=person, role="student", course=copy, credential=uuid7()
    )


def _opened(copy):
    person = PersonFactory(organization=copy.organization)
    Submission.objects.create(assignment=copy.assignments.first(), person=person)


def _scored(copy):
    person = PersonFactory(organization=copy.organization)
    Score.objects.create(assignment=copy.assignments.first(), person=person, points=1)


def _added_to(copy):
    AssignmentFactory(course=copy)


def _a_day_passed(copy):
    Course.objects.filter(pk=copy.pk).update(copied_at=copy.copied_at - timedelta(hours=24, seconds=1))


@pytest.mark.parametrize(
    ("what", "says"),
    [
        (_student_came, "Students have opened"),
        (_student_became_teacher, "Students have opened"),
        (_opened, "work in the copy"),
        (_scored, "work in the copy"),
        (_added_to, "Assignments were added"),
        (_a_day_passed, "older than a day"),
    ],
)
def test_a_copy_that_stays(parent, what, says):
    copy = copy_course(parent, code="b", actor=ANNA)
    assert reason_to_keep(copy) == ""
    what(copy)
    with pytest.raises(CopyNotUndoneError, match=says):
        undo_copy(copy, ANNA)
    assert Course.objects.filter(pk=copy.pk).exists()
    assert not Event.objects.filter(type="course.copy_undone").exists()


def test_what_is_no_copy_stays():
    course = CourseFactory(organization=OrganizationFactory())
    with pytest.raises(CopyNotUndoneError, match="not made as a copy"):
        undo_copy(course, ANNA)
    assert Course.objects.filter(pk=course.pk).exists()
