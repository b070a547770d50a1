"""Rooms beside assignments: in the picker, on the LTI/LMS page, and as what a link shows."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from courses.models import ResourceLink
from events.models import Event
from recordings.models import RoomLink
from tests.factories import AssignmentFactory, CourseFactory, RoomFactory
from tests.launching import STUDENT, TEACHER, launch
from tests.visiting import Visitor, text_of

pytestmark = pytest.mark.django_db


def arrive(key, url="/lti/v1", **changes):
    return Visitor(key, url, **{**TEACHER, **changes})


@pytest.fixture
def room(assignment):
    return RoomFactory(course=assignment.course, title="Office hours")


def test_the_tree_and_its_search(key, room):
    organization = key.installation.organization
    RoomFactory(course=CourseFactory(organization=organization, name="Without assignments"), title="Alone")
    RoomFactory(course=CourseFactory(organization=organization, lti_enabled=False), title="No LTI")
    RoomFactory(title="Of somebody else")
    visitor = arrive(key)
    text = text_of(visitor.get("launch"))
    for words in ("Live sessions", "Office hours", "Without assignments", "Alone", "Essay"):
        assert words in text
    for words in ("No LTI", "Of somebody else"):
        assert words not in text
    found = text_of(visitor.get("launch", q="office rhet"))
    assert "Office hours" in found
    assert "Essay" not in found


def test_choosing_a_room_asks_first_and_then_connects(key, room):
    visitor = arrive(key)
    asked = text_of(visitor.get("launch", room=str(room.pk)))
    assert "Connect this link?" in asked
    assert "it brings no grades" in asked
    response = visitor.post("launch-choose", room=str(room.pk))
    assert response["Location"] == visitor.url("launch")
    assert RoomLink.objects.get().room == room
    link = ResourceLink.objects.get()
    assert (link.assignment, link.course, link.lms_course.course) == (None, None, room.course)
    assert (visitor.launch.room, visitor.launch.assignment) == (room, None)
    event = Event.objects.get(type="link.mapped")
    assert event.data == {
        "assignment": None,
        "course": str(room.course_id),
        "room": str(room.pk),
        "by": "teacher",
    }
    assert "Office hours" in text_of(visitor.get("launch"))
    assert "Office hours" in text_of(Visitor(key, "/lti/v1", **STUDENT).get("launch"))


def test_the_second_teacher_is_told(key, room, assignment):
    first, second = arrive(key), arrive(key, user_id="teacher-2")
    first.post("launch-choose", room=str(room.pk))
    assert second.post("launch-choose", assignment=str(assignment.pk)).status_code == 409
    assert RoomLink.objects.get().room == room
    assert second.post("launch-choose", room=str(room.pk)).status_code == 302


@pytest.mark.parametrize("named", ["", "x", "0197f3a0-0000-7000-8000-000000000001"])
def test_a_room_that_may_not_be_chosen_is_not_there(key, room, named):
    assert arrive(key).post("launch-choose", room=named).status_code == 404
    assert arrive(key).post("launch-choose", room=str(RoomFactory().pk)).status_code == 404


def test_the_lti_page_lists_rooms_with_their_links(key, room):
    visitor = arrive(key, f"/lti/rooms/{room.pk}", resource_link_title="Our hours")
    response = visitor.get("launch-course-lti")
    assert f"http://testserver/lti/rooms/{room.pk}" in response.content.decode()
    text = text_of(response)
    assert "Live sessions and their links" in text
    assert "Our hours" in text
    assert "Links that open the course itself" not in text


def test_more_rooms_cost_no_more_statements(key, room, django_assert_max_num_queries):
    visitor = arrive(key, f"/lti/rooms/{room.pk}")
    with CaptureQueriesContext(connection) as few:
        visitor.get("launch-course-lti")
    for _ in range(10):
        RoomFactory(course=room.course)
    with django_assert_max_num_queries(len(few)):
        visitor.get("launch-course-lti")


def test_a_link_is_mapped_to_a_room_anew_and_unmapped(key, room, assignment, client):
    visitor = arrive(key)
    visitor.post("launch-choose", assignment=str(assignment.pk))
    link = ResourceLink.objects.get()
    asked = text_of(visitor.get("launch-course-lti-link", link.pk, room=str(room.pk)))
    assert "Change this link?" in asked
    stale = visitor.post("launch-course-lti-link", link.pk, room=str(room.pk), seen="")
    assert stale.status_code == 409
    changed = visitor.post("launch-course-lti-link", link.pk, room=str(room.pk), seen=str(assignment.pk))
    assert changed.status_code == 302
    link.refresh_from_db()
    assert (link.assignment, RoomLink.objects.get().room) == (None, room)
    assert Event.objects.filter(type="link.mapped").latest("id").data["was"] == str(assignment.pk)
    shown = text_of(visitor.get("launch-course-lti-link", link.pk))
    assert "shows the room" in shown
    assert "shown now" in shown

    other = AssignmentFactory(course=assignment.course)
    visitor.post("launch-course-lti-link", link.pk, assignment=str(other.pk), seen=str(room.pk))
    link.refresh_from_db()
    assert (link.assignment, RoomLink.objects.count()) == (other, 0)

    visitor.post("launch-course-lti-link", link.pk, room=str(room.pk), seen=str(other.pk))
    unmapped = visitor.post("launch-course-lti-link", link.pk, do="unmap", seen=str(room.pk))
    assert unmapped.status_code == 302
    assert not RoomLink.objects.exists()
    assert launch(client, "/lti/v1", key, STUDENT)["X-Launch-Error"] == "link_not_set_up"


def test_an_address_that_names_a_room_wins(key, room):
    visitor = arrive(key, f"/lti/rooms/{room.pk}")
    link = ResourceLink.objects.get()
    assert link.address_kind == "room"
    text = text_of(visitor.get("launch-course-lti-link", link.pk))
    assert "names the room, so it is changed there" in text
    assert "Take it off the list" in text
    other = RoomFactory(course=room.course)
    answer = visitor.post("launch-course-lti-link", link.pk, room=str(other.pk), seen=str(room.pk))
    assert answer.status_code == 404
    assert RoomLink.objects.get().room == room
