"""A copied course has rooms of its own; what was held and recorded stays with the course it was held in."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from courses.copying import CopyNotUndoneError, copy_course, copy_once, reason_to_keep, undo_copy
from courses.models import Assignment, Course
from events.log import SYSTEM, Actor
from recordings.models import AttendanceGrading, Meeting, Recording, Room, RoomLink
from tests.factories import (
    AssignmentFactory,
    CourseFactory,
    MeetingFactory,
    RecordingFactory,
    ResourceLinkFactory,
    RoomFactory,
)

pytestmark = pytest.mark.django_db

ANNA = Actor("user", "00000000-0000-7000-8000-000000000001", "Anna")


@pytest.fixture
def parent():
    course = CourseFactory(code="cs101")
    room = RoomFactory(course=course, slug="live", settings={"allow_polls": False}, position=1, enabled=False)
    RoomFactory(course=course, slug="second", position=0, server=None)
    assignment = AssignmentFactory(course=course, slug="session", kind="room")
    AttendanceGrading.objects.create(
        assignment=assignment, room=room, measure="share", required=Decimal("75.50"), proportional=True, span="all"
    )
    AssignmentFactory(course=course, slug="no-room-yet", kind="room")
    RecordingFactory(room=room, meeting=MeetingFactory(room=room, ended_at=timezone.now() + timedelta(hours=1)))
    return course


def test_rooms_are_copied_with_new_room_ids(parent):
    old = {room.slug: room for room in parent.rooms.all()}
    copy = copy_course(parent, code="copy", actor=SYSTEM)
    rooms = list(copy.rooms.all())
    assert [room.slug for room in rooms] == ["second", "live"]
    for room in rooms:
        before = old[room.slug]
        assert room.room_id != before.room_id
        for name in ("title", "server_id", "settings", "enabled", "position"):
            assert getattr(room, name) == getattr(before, name)
    assert Room.objects.values("room_id").distinct().count() == 4


def test_sessions_and_recordings_stay(parent):
    copy = copy_course(parent, code="copy", actor=SYSTEM)
    assert Meeting.objects.get().room.course == Recording.objects.get().room.course == parent
    assert not Meeting.objects.filter(room__course=copy).exists()


def test_grading_by_attendance_follows_into_the_copys_room(parent):
    copy, made = copy_once(parent, code="copy", actor=SYSTEM)
    assert made
    grading = AttendanceGrading.objects.get(assignment__course=copy)
    assert (grading.assignment.slug, grading.room) == ("session", copy.rooms.get(slug="live"))
    assert (grading.measure, grading.required, grading.proportional, grading.span) == (
        "share",
        Decimal("75.50"),
        True,
        "all",
    )
    assert AttendanceGrading.objects.get(assignment__course=parent).room.course == parent
    assert not hasattr(Assignment.objects.get(course=copy, slug="no-room-yet"), "attendance_grading")


def test_a_copy_of_a_copy_has_its_own(parent):
    second = copy_course(copy_course(parent, code="copy", actor=SYSTEM), code="copy-2", actor=SYSTEM)
    assert AttendanceGrading.objects.get(assignment__course=second).room.course == second


def test_an_undone_copy_takes_its_rooms_and_leaves_the_parents(parent):
    copy = copy_course(parent, code="copy", actor=SYSTEM)
    link = ResourceLinkFactory()
    RoomLink.objects.create(resource_link=link, room=copy.rooms.first())
    undo_copy(copy, ANNA)
    assert not Course.objects.filter(code="copy").exists()
    assert (Room.objects.count(), RoomLink.objects.count(), Recording.objects.count()) == (2, 0, 1)
    link.refresh_from_db()


def test_a_copy_in_which_a_session_was_held_stays(parent):
    copy = copy_course(parent, code="copy", actor=SYSTEM)
    assert reason_to_keep(copy) == ""
    meeting = MeetingFactory(room=copy.rooms.get(slug="live"))
    with pytest.raises(CopyNotUndoneError, match="A live session was held"):
        undo_copy(copy, ANNA)
    assert Meeting.objects.filter(pk=meeting.pk).exists()


def test_a_copy_to_which_a_room_was_added_stays(parent):
    copy = copy_course(parent, code="copy", actor=SYSTEM)
    RoomFactory(course=copy)
    with pytest.raises(CopyNotUndoneError, match="Rooms were added"):
        undo_copy(copy, ANNA)


def test_many_rooms_cost_no_more_statements(parent, django_assert_max_num_queries):
    for number in range(30):
        room = RoomFactory(course=parent, slug=f"r{number}")
        AttendanceGrading.objects.create(assignment=AssignmentFactory(course=parent, kind="room"), room=room)
    with django_assert_max_num_queries(16):
        copy_course(parent, code="copy", actor=SYSTEM)
    assert AttendanceGrading.objects.filter(room__course__code="copy").count() == 31
