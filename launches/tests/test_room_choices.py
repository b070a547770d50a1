"""Rooms beside assignments: in the picker, on the LTI/LMS page, and as what a link shows."""

import json

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from joserfc import jwt
from joserfc.jwk import KeySet

from courses.models import ResourceLink
from events.models import Event
from launches.models import Launch
from lti.v1p3 import vocabulary as names
from recordings.models import RoomLink
from tests.choosing import by_lti_1p1, by_lti_1p3, posted
from tests.factories import AssignmentFactory, CourseFactory, RoomFactory
from tests.launching import STUDENT, TEACHER, launch, launch_id_of
from tests.platform_1p3 import platform_of
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


# ------------------------------------------------------------------------------------------------ choosing in the LMS


@pytest.fixture
def platform(key, loopback):
    with platform_of(key.installation) as running:
        yield running


def test_a_room_is_inserted_over_lti_1p3_and_opens(client, platform, room, assignment):
    chooser = by_lti_1p3(platform, accept_lineitem=True)
    assert "Office hours" in text_of(chooser.get("launch"))
    chosen = [str(room.pk), str(assignment.pk)]
    preview = text_of(chooser.post("launch-selection", item=chosen, do="preview"))
    assert "Add 2 links" in preview
    assert "a room brings no grades" in preview
    answer = posted(chooser.post("launch-selection-insert", item=chosen, display="iframe"))
    published = Client().get(f"/lti/1p3/{platform.slug}/jwks.json").json()
    claims = jwt.decode(answer.fields["JWT"], KeySet.import_key_set(published), algorithms=["RS256"]).claims
    first, second = claims[names.CONTENT_ITEMS]
    assert first["custom"]["assignment"] == str(assignment.pk)
    assert (second["url"], second["title"]) == (f"http://testserver/lti/rooms/{room.pk}", "Office hours")
    assert second["custom"]["room"] == str(room.pk)
    assert "lineItem" not in second
    by_url = platform.launch(client, second["url"], resource_link={"id": "made-1"})
    by_custom = platform.launch(client, "", resource_link={"id": "made-2"}, custom=second["custom"])
    for opened in (by_url, by_custom):
        assert Launch.objects.get(pk=launch_id_of(opened)).room == room


def test_a_room_is_inserted_over_lti_1p1(key, room):
    chooser = by_lti_1p1(key)
    answer = posted(chooser.post("launch-selection-insert", item=[str(room.pk)]))
    (item,) = json.loads(answer.fields["content_items"])["@graph"]
    assert (item["url"], item["custom"]["room"]) == (f"http://testserver/lti/rooms/{room.pk}", str(room.pk))
    assert "lineItem" not in item


def test_a_room_of_somebody_else_is_not_inserted(key, room):
    chooser = by_lti_1p1(key)
    assert chooser.post("launch-selection-insert", item=[str(RoomFactory().pk)]).status_code == 404
    assert chooser.launch.answered_at is None


def test_what_is_chosen_stays_through_a_search(key, room, assignment):
    page = text_of(by_lti_1p1(key).post("launch-selection", item=[str(room.pk)], q="essay"))
    assert "Chosen already" in page
    assert "Office hours" in page
