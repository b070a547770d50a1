"""Assignments that are live sessions, through the API."""

import pytest

from api.tests.calling import fields_of
from courses.models import Assignment
from recordings.models import AttendanceGrading, Meeting
from tests.factories import AssignmentFactory, CourseFactory, MeetingFactory, RoomFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def room(api):
    return RoomFactory(course__organization=api.organization, slug="office-hours")


def test_a_live_session_is_made_and_listed(api, room, django_assert_max_num_queries):
    path = f"/courses/{room.course_id}/assignments"
    attendance = {"measure": "minutes", "required": 20, "proportional": True}
    wanted = {"slug": "live", "kind": "room", "room": "office-hours", "attendance": attendance}
    response = api.post(path, wanted)
    assert response.status_code == 201, response.content
    made = response.json()
    assert (made["kind"], made["room"]) == ("room", "office-hours")
    assert made["attendance"] == {"measure": "minutes", "required": 20.0, "proportional": True, "span": "best"}
    for number in range(5):
        api.post(path, {**wanted, "slug": f"live-{number}"})
    with django_assert_max_num_queries(8):
        listed = api.get(path).json()["items"]
    assert listed[0] == made
    assert [one["room"] for one in listed] == ["office-hours"] * 6


def test_it_changes_and_becomes_a_page_again(api, room):
    assignment = AssignmentFactory(course=room.course, slug="a")
    path = f"/assignments/{assignment.pk}"
    assert "room" in fields_of(api.patch(path, {"kind": "room"}))
    assert api.patch(path, {"kind": "room", "room": "office-hours"}).json()["attendance"]["measure"] == "none"
    changed = api.patch(path, {"attendance": {"measure": "share", "required": 75}}).json()
    assert (changed["room"], changed["attendance"]["required"]) == ("office-hours", 75.0)
    assert "room" in fields_of(api.patch(path, {"room": None}))
    page = api.patch(path, {"kind": "page"}).json()
    assert (page["kind"], page["room"], page["attendance"]) == ("page", None, None)
    assert not AttendanceGrading.objects.exists()


def test_a_change_has_attendance_counted_again(api, room):
    meeting = MeetingFactory(room=room)
    Meeting.objects.filter(pk=meeting.pk).update(ended_at=meeting.started_at)
    body = {"slug": "live", "kind": "room", "room": "office-hours", "attendance": {"measure": "minutes"}}
    assert api.post(f"/courses/{room.course_id}/assignments", body).status_code == 201
    assert Meeting.objects.get().grading_due_at is not None


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"kind": "room"}, "room"),
        ({"kind": "room", "room": "elsewhere"}, "room"),
        ({"kind": "room", "room": "office-hours", "content_url": "https://content.example"}, "content_url"),
        ({"kind": "page", "room": "office-hours"}, "room"),
        ({"kind": "page", "attendance": {"measure": "minutes"}}, "attendance"),
        ({"kind": "room", "room": "office-hours", "attendance": {"measure": "hours"}}, "attendance.measure"),
        ({"kind": "room", "room": "office-hours", "attendance": {"required": 0}}, "attendance.required"),
        ({"kind": "room", "room": "office-hours", "attendance": {"required": 100_000}}, "attendance.required"),
        ({"kind": "room", "room": "office-hours", "attendance": {"proportional": 1}}, "attendance.proportional"),
    ],
)
def test_what_cannot_be_is_named(api, room, wanted, field):
    response = api.post(f"/courses/{room.course_id}/assignments", {"slug": "live", **wanted})
    assert field in fields_of(response)
    assert not Assignment.objects.exists()


def test_another_courses_room_is_not_there(api, room):
    course = CourseFactory(organization=api.organization)
    body = {"slug": "live", "kind": "room", "room": "office-hours"}
    assert "room" in fields_of(api.post(f"/courses/{course.pk}/assignments", body))
