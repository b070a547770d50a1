"""Rooms in the admin, and assignments that are live sessions."""

import pytest

from courses.models import Assignment
from organizations.tests.admin_client import operator_client, owner_client, text_of
from recordings.models import AttendanceGrading, Room
from tests.factories import (
    AssignmentFactory,
    CourseFactory,
    MeetingFactory,
    MeetingServerFactory,
    OrganizationFactory,
    RoomFactory,
)

pytestmark = pytest.mark.django_db

ROOMS = "/admin/recordings/room/"
ASSIGNMENTS = "/admin/courses/assignment/"
EMPTY_TIMES = {f"{name}_{part}": "" for name in ("opens_at", "due_at", "closes_at") for part in (0, 1)}
FORM = {
    "title": "Live",
    "slug": "live",
    "kind": "room",
    "enabled": "on",
    "points_possible": "5",
    "body": "",
    "content_url": "",
    "send_grade": "",
    "position": "0",
    "module": "",
    "measure": "minutes",
    "required": "20",
    "proportional": "on",
    "span": "all",
    **EMPTY_TIMES,
}


@pytest.fixture
def course():
    return CourseFactory(organization=OrganizationFactory(), name="Introduction")


@pytest.fixture
def owner(course):
    return owner_client(course.organization)


def test_an_owner_adds_a_room(course, owner):
    assert "There is none yet" in text_of(owner.get(ROOMS))
    server = MeetingServerFactory(organization=course.organization)
    other = MeetingServerFactory()
    values = {"course": course.pk, "title": "Office hours", "slug": "office-hours", "enabled": "on", "position": "0"}
    refused = owner.post(f"{ROOMS}add/", {**values, "server": other.pk})
    assert refused.status_code == 200
    assert not Room.objects.exists()
    owner.post(f"{ROOMS}add/", {**values, "server": server.pk})
    room = Room.objects.get()
    assert (room.course, room.server, room.slug, room.settings) == (course, server, "office-hours", {})
    page = text_of(owner.get(f"{ROOMS}{room.pk}/change/"))
    assert f"http://testserver/lti/rooms/{room.pk}" in page
    assert f"/courses/{course.pk}/rooms/{room.pk}/settings" in page
    assert room.room_id not in page, "it is no business of people"


def test_an_operator_has_no_way_into_a_room(course):
    room = RoomFactory(course=course)
    page = text_of(operator_client().get(f"{ROOMS}{room.pk}/change/"))
    assert f"/lti/rooms/{room.pk}" in page
    assert f"/courses/{course.pk}/rooms/" not in page


def test_a_room_in_which_something_was_held_is_not_deleted(course, owner):
    room = RoomFactory(course=course)
    assert owner.post(f"{ROOMS}{RoomFactory(course=course).pk}/delete/", {"post": "yes"}).status_code == 302
    MeetingFactory(room=room)
    assert owner.post(f"{ROOMS}{room.pk}/delete/", {"post": "yes"}).status_code in (403, 404)
    assert Room.objects.get() == room


def test_an_assignment_becomes_a_live_session(course, owner):
    room = RoomFactory(course=course, title="Office hours")
    assert "Introduction: Office hours" in text_of(owner.get(f"{ASSIGNMENTS}add/"))
    response = owner.post(f"{ASSIGNMENTS}add/", {**FORM, "course": course.pk, "room": room.pk})
    assert response.status_code == 302, text_of(response)
    grading = AttendanceGrading.objects.get()
    assert (grading.assignment.slug, grading.assignment.kind, grading.room) == ("live", "room", room)
    assert (grading.measure, grading.required, grading.proportional, grading.span) == ("minutes", 20, True, "all")


def test_it_is_shown_changed_and_taken_back(course, owner):
    room, second = RoomFactory(course=course), RoomFactory(course=course, title="The second")
    assignment = AssignmentFactory(course=course, slug="live", kind="room")
    AttendanceGrading.objects.create(assignment=assignment, room=room, measure="share", required=80)
    address = f"{ASSIGNMENTS}{assignment.pk}/change/"
    assert f'value="{room.pk}" selected' in text_of(owner.get(address))
    owner.post(address, {**FORM, "room": second.pk, "measure": "none"})
    grading = AttendanceGrading.objects.get()
    assert (grading.room, grading.measure, grading.required) == (second, "none", 80)
    owner.post(address, {**FORM, "kind": "page", "room": second.pk})
    assert Assignment.objects.get().kind == "page"
    assert not AttendanceGrading.objects.exists()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"room": ""}, "A live session needs its room"),
        ({"required": "0"}, "more than 0"),
        ({"required": ""}, "more than 0"),
        ({"measure": "share", "required": "101"}, "at most 100 percent"),
    ],
)
def test_what_cannot_be_is_said(course, owner, wrong, words):
    room = RoomFactory(course=course)
    response = owner.post(f"{ASSIGNMENTS}add/", {**FORM, "course": course.pk, "room": room.pk, **wrong})
    assert words in text_of(response)
    assert not Assignment.objects.exists()


def test_rooms_of_others_are_no_choice(course, owner):
    elsewhere = RoomFactory(course__organization=course.organization, title="In another course")
    foreign = RoomFactory(title="Of another organization")
    page = text_of(owner.get(f"{ASSIGNMENTS}add/"))
    assert "In another course" in page
    assert "Of another organization" not in page
    other_course = owner.post(f"{ASSIGNMENTS}add/", {**FORM, "course": course.pk, "room": elsewhere.pk})
    assert "This room is in another course" in text_of(other_course)
    assert owner.post(f"{ASSIGNMENTS}add/", {**FORM, "course": course.pk, "room": foreign.pk}).status_code == 200
    assert not Assignment.objects.exists()
