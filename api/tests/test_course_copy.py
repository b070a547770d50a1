"""Copies of courses through the API."""

import uuid

import pytest

from api.tests.calling import fields_of, problem_of
from courses.models import Course, CourseAlias
from events.models import Event
from tests.factories import AssignmentFactory, CourseFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def parent(api):
    course = CourseFactory(
        organization=api.organization, code="cs101", name="Introduction", constant_urls=True, course_copy=True,
        lms_course_url="https://lms.example/course/5", send_grade="ALWAYS",
    )  # fmt: skip
    module = course.modules.create(name="Week 1")
    AssignmentFactory(course=course, module=module, slug="hello")
    return course


def test_a_course_is_copied(api, parent):
    before = api.get(f"/courses/{parent.id}").json()
    response = api.post(f"/courses/{parent.id}/copy", {"code": "cs101-b", "name": "Again"})
    assert response.status_code == 201
    answer = response.json()
    copy = Course.objects.get(code="cs101-b")
    assert copy.copied_from == parent
    assert answer == before | {
        "id": str(copy.id), "code": "cs101-b", "name": "Again", "course_copy": False, "lms_course_url": None,
        "enroll_url": f"http://testserver/lti/courses/{copy.id}/enroll",
    }  # fmt: skip
    assert api.get(f"/courses/{copy.id}").json() == answer
    (theirs,) = api.all(f"/courses/{parent.id}/assignments")
    (ours,) = api.all(f"/courses/{copy.id}/assignments")
    own = {"id", "course", "url"}
    assert {key: value for key, value in ours.items() if key not in own} == {
        key: value for key, value in theirs.items() if key not in own
    }
    assert (ours["course"], ours["id"] != theirs["id"]) == (str(copy.id), True)
    (event,) = api.get("/events").json()["items"]
    assert (event["type"], event["subject"]["id"], event["actor"]["kind"]) == (
        "course.copied", str(copy.id), "api_token",
    )  # fmt: skip


def test_a_name_can_be_left_out(api, parent):
    assert api.post(f"/courses/{parent.id}/copy", {"code": "b"}).json()["name"] == "Copy of Introduction"


def test_a_code_that_is_taken(api, parent):
    CourseAlias.objects.create(organization=api.organization, course=parent, value="sis-9")
    for code, says in (("cs101", "the course cs101 exists already"), ("sis-9", "LMSs know the course cs101")):
        assert says in fields_of(api.post(f"/courses/{parent.id}/copy", {"code": code}), 409)["code"]
    assert Course.objects.count() == 1
    assert not Event.objects.exists()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "code"),
        ({"code": None}, "code"),
        ({"code": ""}, "code"),
        ({"code": " "}, "code"),
        ({"code": "a/b"}, "code"),
        ({"code": "a\x00b"}, "code"),
        ({"code": "x" * 1000}, "code"),
        ({"code": "\ud800"}, "code"),
        ({"code": 7}, "code"),
        ({"code": "b", "name": "x" * 1000}, "name"),
        ({"code": "b", "name": "a\x00"}, "name"),
        ({"code": "b", "name": None}, "name"),
        ({"code": "b", "course_copy": True}, "course_copy"),
    ],
)
def test_bad_fields_are_named(api, parent, body, field):
    assert set(fields_of(api.post(f"/courses/{parent.id}/copy", body))) == {field}
    assert Course.objects.count() == 1


def test_another_organizations_course_is_not_found(api, stranger, parent):
    for course_id in (parent.id, uuid.uuid4()):
        problem_of(stranger.post(f"/courses/{course_id}/copy", {"code": "mine"}), 404)
    assert Course.objects.count() == 1
