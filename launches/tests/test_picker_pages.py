"""The picker: a teacher connects an unmapped link to an assignment."""

import pytest

from courses.models import Enrolment, LmsCourse, Module, ResourceLink
from events.models import Event
from launches.mapping import AlreadyMappedError, map_link
from launches.visits import Visit
from tests.factories import AssignmentFactory
from tests.launching import STUDENT, TEACHER, launch
from tests.visiting import Visitor, text_of

pytestmark = pytest.mark.django_db

ATTACK = "<script>alert(1)</script>"


def arrive(key, **changes):
    return Visitor(key, "/lti/v1", **{**TEACHER, **changes})


def visit_of(visitor):
    row = visitor.launch
    return Visit(
        launch=row,
        organization=row.organization,
        installation=row.installation,
        person=row.person,
        role=row.role,
        course=row.course,
        assignment=row.assignment,
        token=visitor.token,
    )


def test_the_tree(key, assignment):
    assignment.module = Module.objects.create(course=assignment.course, name="Week 1")
    assignment.save()
    text = text_of(arrive(key).get("launch"))
    for words in ("Choose what this link shows", "Rhetoric", "Week 1", "Essay", "10 points", "Introduction"):
        assert words in text


def test_only_what_may_be_chosen(key, assignment):
    organization = key.installation.organization
    AssignmentFactory(course__organization=organization, course__lti_enabled=False, title="No LTI")
    AssignmentFactory(course__organization=organization, course__archived=True, title="Archived")
    AssignmentFactory(title="Of somebody else")
    text = text_of(arrive(key).get("launch"))
    assert "Essay" in text
    for words in ("No LTI", "Archived", "Of somebody else"):
        assert words not in text


def test_search(key, assignment):
    AssignmentFactory(course__organization=key.installation.organization, title="Other")
    visitor = arrive(key)
    text = text_of(visitor.get("launch", q="ess rhet"))
    assert "Essay" in text
    assert "Other" not in text
    assert "Nothing found for" in text_of(visitor.get("launch", q="zzz"))


def test_nothing_to_choose_says_what_to_do(key):
    assert "There is nothing to choose yet" in text_of(arrive(key).get("launch"))


def test_choosing_asks_first_and_then_connects(key, assignment):
    visitor = arrive(key)
    asked = visitor.get("launch", assignment=str(assignment.id))
    assert "Connect this link?" in text_of(asked)
    assert ResourceLink.objects.get().assignment is None
    response = visitor.post("launch-choose", assignment=str(assignment.id))
    assert response["Location"] == visitor.url("launch")
    assert ResourceLink.objects.get().assignment == assignment
    assert LmsCourse.objects.get().course == assignment.course
    row = visitor.launch
    assert (row.assignment, row.course) == (assignment, assignment.course)
    enrolment = Enrolment.objects.get()
    assert (enrolment.person, enrolment.role) == (visitor.person, "teacher")
    event = Event.objects.get(type="link.mapped")
    assert event.actor["id"] == str(visitor.person.id)
    assert event.data["assignment"] == str(assignment.id)
    assert "No student has been here yet" in text_of(visitor.get("launch"))


def test_the_next_student_arrives(key, assignment, client):
    refused = launch(client, "/lti/v1", key, STUDENT)
    assert refused["X-Launch-Error"] == "link_not_set_up"
    arrive(key).post("launch-choose", assignment=str(assignment.id))
    assert "Essay" in text_of(Visitor(key, "/lti/v1", **STUDENT).get("launch"))


def test_the_course_of_an_lms_course_is_not_changed(key, assignment):
    arrive(key).post("launch-choose", assignment=str(assignment.id))
    other = AssignmentFactory(course__organization=key.installation.organization)
    arrive(key, resource_link_id="link-2").post("launch-choose", assignment=str(other.id))
    assert LmsCourse.objects.get().course == assignment.course


def test_no_context_no_lms_course(key, assignment):
    arrive(key, context_id="").post("launch-choose", assignment=str(assignment.id))
    assert LmsCourse.objects.get().course is None
    assert ResourceLink.objects.get().assignment == assignment


def test_the_second_teacher_is_told(key, assignment):
    other = AssignmentFactory(course=assignment.course)
    first, second = arrive(key), arrive(key, user_id="teacher-2")
    first.post("launch-choose", assignment=str(assignment.id))
    response = second.post("launch-choose", assignment=str(other.id))
    assert response.status_code == 409
    assert "connected to something else" in text_of(response)
    assert ResourceLink.objects.get().assignment == assignment
    with pytest.raises(AlreadyMappedError):
        map_link(visit_of(second), other)


def test_choosing_the_same_twice_is_no_error_and_one_event(key, assignment):
    visitor = arrive(key)
    for _ in range(2):
        assert visitor.post("launch-choose", assignment=str(assignment.id)).status_code == 302
    assert Event.objects.filter(type="link.mapped").count() == 1


def test_another_organizations_assignment_is_not_found(key, assignment):
    visitor = arrive(key)
    foreign = AssignmentFactory()
    for named in (str(foreign.id), "nonsense", ""):
        assert visitor.post("launch-choose", assignment=named).status_code == 404
    assert visitor.get("launch", assignment=str(foreign.id)).status_code == 404
    with pytest.raises(ValueError, match="another organization"):
        map_link(visit_of(visitor), foreign)
    assert ResourceLink.objects.get().assignment is None


def test_a_student_or_mentor_chooses_nothing(key, assignment):
    path = f"/lti/assignments/{assignment.id}"
    other = AssignmentFactory(course__organization=key.installation.organization)
    for changes in (STUDENT, TEACHER | {"roles": "Mentor"}):
        visitor = Visitor(key, path, **changes)
        assert visitor.post("launch-choose", assignment=str(other.id)).status_code == 404
    assert ResourceLink.objects.get().assignment == assignment


def test_a_forged_form_connects_nothing(key, assignment):
    visitor = arrive(key)
    assert visitor.post("launch-choose", token="forged", assignment=str(assignment.id)).status_code == 403
    assert ResourceLink.objects.get().assignment is None


def test_texts_from_outside_are_escaped_once(key, assignment):
    assignment.title = ATTACK
    assignment.save()
    visitor = arrive(key, resource_link_title=ATTACK, context_title=ATTACK)
    for response in (visitor.get("launch"), visitor.get("launch", assignment=str(assignment.id))):
        html = response.content.decode()
        assert ATTACK not in html
        assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 3
        assert "&amp;lt;script" not in html


def test_statements_do_not_grow(key, assignment, django_assert_max_num_queries):
    for _ in range(40):
        AssignmentFactory(course__organization=key.installation.organization)
    visitor = arrive(key)
    with django_assert_max_num_queries(5):
        visitor.get("launch")
