"""A copy is taken back at the very moment at which somebody else comes to it: nobody meets an error of ours."""

from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from django.db import connection
from django.test import Client

from courses.copying import CopyNotUndoneError, copy_course, undo_copy
from courses.models import Course, LmsCourse, ResourceLink
from events.log import SYSTEM, Actor
from launches import arrival, course_question, mapping
from tests.factories import AssignmentFactory, LmsCourseFactory, ResourceLinkFactory
from tests.launching import STUDENT, TEACHER, launch
from tests.visiting import Visitor

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="the tests' SQLite is in memory, and has one writer"),
]
# Longer than one who is not held up needs to take a copy back, shorter than PostgreSQL's look for deadlocks.
A_MOMENT = 0.7


@pytest.fixture
def copied(key):
    parent = AssignmentFactory(
        course__organization=key.installation.organization, course__constant_urls=True, constant_key="lab"
    ).course
    return copy_course(parent, code="copy", actor=SYSTEM)


@pytest.fixture
def undone_during(monkeypatch, copied):
    """Lets the copy be taken back when a function is called for the first time: before it, or behind it. Returns a
    list that gets the answer of taking back, once it is known."""
    with ThreadPoolExecutor(1) as pool:
        begun = []

        def undo():
            try:
                undo_copy(Course.objects.get(pk=copied.pk), Actor("user"))
            except CopyNotUndoneError as error:
                return str(error)
            finally:
                connection.close()
            return "undone"

        def begin():
            if not begun:
                begun.append(pool.submit(undo))
                wait(begun, A_MOMENT)

        def install(module, name, *, before=True):
            real = getattr(module, name)

            def interrupted(*args, **named):
                if before:
                    begin()
                found = real(*args, **named)
                begin()
                return found

            monkeypatch.setattr(module, name, interrupted)
            return begun

        yield install


def patient(**changes):
    return Client(raise_request_exception=False, **changes)


def linked(key, copied, title="Introduction"):
    lms_course = LmsCourseFactory(
        installation=key.installation, context_id=STUDENT["context_id"], course=copied, title=title
    )
    return ResourceLinkFactory(
        lms_course=lms_course,
        resource_link_id=STUDENT["resource_link_id"],
        title=STUDENT["resource_link_title"],
        assignment=copied.assignments.get(),
        address_kind="any",
    )


def test_a_launch_that_finds_the_copy_gone_under_it_is_told_what_every_later_one_is(key, copied, undone_during):
    linked(key, copied)
    begun = undone_during(arrival, "_enrol")
    response = launch(patient(), "/lti/v1", key)
    assert begun[0].result(20) == "undone"
    assert response.headers["X-Launch-Error"] == "link_not_set_up"


def test_who_takes_a_copy_back_while_a_launch_renames_its_lms_course_is_told_that_it_stays(key, copied, undone_during):
    linked(key, copied, title="An older title")
    begun = undone_during(arrival, "_enrol", before=False)
    response = launch(patient(), "/lti/v1", key)
    outcome = begun[0].result(20)
    if outcome == "undone":
        assert response.headers["X-Launch-Error"] == "link_not_set_up"
    else:
        assert "at this very moment" in outcome
        assert response.status_code == 302
        assert Course.objects.filter(pk=copied.pk).exists()


def test_a_link_is_not_mapped_into_a_copy_that_is_taken_back(key, copied, undone_during):
    teacher = Visitor(key, "/lti/v1", **TEACHER)
    teacher.client.raise_request_exception = False
    assignment = copied.assignments.get()
    begun = undone_during(mapping, "_locked")
    response = teacher.post("launch-choose", assignment=str(assignment.pk))
    # Who was first holds the course: the copy goes after the mapping, and the link shows nothing again.
    assert response.status_code == 302
    assert begun[0].result(20) == "undone"
    assert ResourceLink.objects.get().assignment is None
    assert teacher.post("launch-choose", assignment=str(assignment.pk)).status_code == 404


def test_an_assignment_that_goes_before_it_is_mapped_is_not_found(key, copied, undone_during):
    teacher = Visitor(key, "/lti/v1", **TEACHER)
    teacher.client.raise_request_exception = False
    begun = undone_during(mapping, "_hold_course_of")
    response = teacher.post("launch-choose", assignment=str(copied.assignments.get().pk))
    assert (begun[0].result(20), response.status_code) == ("undone", 404)
    assert ResourceLink.objects.get().assignment is None


def test_a_course_that_goes_before_a_teacher_answers_with_it_is_not_found(key, copied, undone_during):
    LmsCourseFactory(installation=key.installation, context_id="old", course=copied, title="Last term")
    new = {"context_id": "new", "custom_context_id_history": "old"}
    teacher = Visitor(key, "/lti/v1", **{**TEACHER, **new})
    teacher.client.raise_request_exception = False
    begun = undone_during(course_question, "_answer")
    response = teacher.post("launch-course-answer", choice="link", course=str(copied.pk))
    assert (begun[0].result(20), response.status_code) == ("undone", 404)
    assert LmsCourse.objects.get(context_id="new").course is None


def test_a_launch_whose_parent_goes_before_it_is_copied_is_refused(key, copied, undone_during):
    Course.objects.filter(pk=copied.pk).update(course_copy=True)
    begun = undone_during(arrival, "person_of", before=False)
    wanted = {"custom_course_target_id": "next", "custom_parent_course_id": "copy"}
    response = launch(patient(), "/lti/constant/lab", key, {**STUDENT, **wanted})
    assert begun[0].result(20) == "undone"
    assert response.headers["X-Launch-Error"] == "unknown_destination"
    assert not Course.objects.filter(code="next").exists()
