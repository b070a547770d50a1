"""Rooms, meetings, recordings and attendance through the API."""

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest

from api.tests.calling import fields_of, problem_of
from recordings.models import Recording
from tests.factories import AttendanceFactory, MeetingFactory, PersonFactory, RecordingFactory, RoomFactory

pytestmark = pytest.mark.django_db

START = datetime(2030, 1, 31, 18, tzinfo=UTC)


@pytest.fixture
def room(api):
    return RoomFactory(course__organization=api.organization, slug="office-hours", settings={"allow_polls": False})


def there(meeting, name, minutes, after=0):
    """Somebody in the meeting from `after` minutes on."""
    person = PersonFactory(organization=meeting.room.course.organization, name=name)
    joined, left = START + timedelta(minutes=after), START + timedelta(minutes=after + minutes)
    row = AttendanceFactory(meeting=meeting, person=person, joined_at=joined, left_at=left, seconds=minutes * 60)
    row.intervals.create(connection_id="1", joined_at=joined, left_at=left)
    return person


def test_rooms_of_all_courses(api, room):
    RoomFactory()
    second = RoomFactory(course__organization=api.organization)
    first, other = api.all("/rooms", limit=1)
    assert first == {
        "id": str(room.id),
        "slug": "office-hours",
        "title": room.title,
        "course": str(room.course_id),
        "url": f"http://testserver/lti/rooms/{room.id}",
        "settings": {"allow_polls": False},
    }
    assert other["id"] == str(second.id)


def test_meetings_newest_first(api, room, django_assert_max_num_queries):
    ended = MeetingFactory(room=room, started_at=START, ended_at=START + timedelta(hours=1))
    running = MeetingFactory(room=room, started_at=START + timedelta(days=1))
    there(ended, "Ada", 10)
    AttendanceFactory(meeting=ended)  # asked for the way in, and never came
    with django_assert_max_num_queries(8):
        now, before = api.get(f"/rooms/{room.id}/meetings").json()["items"]
    assert (now["id"], now["state"], now["ended_at"], now["participants"]) == (str(running.id), "running", None, 0)
    assert before == {
        "id": str(ended.id),
        "state": "ended",
        "started_at": "2030-01-31T18:00:00Z",
        "ended_at": "2030-01-31T19:00:00Z",
        "participants": 1,
    }
    assert [one["id"] for one in api.all(f"/rooms/{room.id}/meetings", limit=1)] == [now["id"], before["id"]]


def test_recordings_that_are_there(api, room):
    meeting = MeetingFactory(room=room)
    found = RecordingFactory(
        room=room, meeting=meeting, record_id="R-1", title="One", size=1_500_000, published=True, recorded_at=START
    )
    RecordingFactory(room=room, state=Recording.State.GONE)
    RecordingFactory(room=room, state=Recording.State.DELETED, deleted_at=START)
    assert api.get(f"/rooms/{room.id}/recordings").json()["items"] == [
        {
            "id": str(found.id),
            "record_id": "R-1",
            "title": "One",
            "meeting": str(meeting.id),
            "created_at": "2030-01-31T18:00:00Z",
            "size_mb": 1.5,
            "published": True,
        }
    ]


def test_attendance_and_its_table(api, room):
    meeting = MeetingFactory(room=room, started_at=START, ended_at=START + timedelta(hours=1))
    late, early = there(meeting, "=Late", 20, after=30), there(meeting, "Early", 60)
    path = f"/meetings/{meeting.id}/attendance"
    rows = api.all(path, limit=1)
    assert rows == [
        {
            "person": str(early.id),
            "name": "Early",
            "seconds": 3600,
            "joined_at": "2030-01-31T18:00:00Z",
            "left_at": "2030-01-31T19:00:00Z",
        },
        {
            "person": str(late.id),
            "name": "=Late",
            "seconds": 1200,
            "joined_at": "2030-01-31T18:30:00Z",
            "left_at": "2030-01-31T18:50:00Z",
        },
    ]
    response = api.get(f"{path}.csv")
    assert response["Content-Type"].startswith("text/csv")
    table = list(csv.reader(io.StringIO(b"".join(response.streaming_content).decode("utf-8-sig"))))
    assert table[0] == ["person", "name", "seconds", "joined_at", "left_at"]
    assert table[1] == [str(early.id), "Early", "3600", "2030-01-31T18:00:00Z", "2030-01-31T19:00:00Z"]
    assert table[2][1] == "'=Late", "no cell is read as a formula"


def test_a_cursor_of_another_meeting_is_refused(api, room):
    meeting = MeetingFactory(room=room, started_at=START, ended_at=START + timedelta(hours=1))
    other = MeetingFactory(room=room, started_at=START, ended_at=START + timedelta(hours=1))
    for number in range(2):
        there(meeting, f"Person {number}", 10)
        there(other, f"Person {number}", 10)
    cursor = api.get(f"/meetings/{meeting.id}/attendance", limit=1).json()["next"]
    assert "cursor" in fields_of(api.get(f"/meetings/{other.id}/attendance", cursor=cursor), 400)


def test_another_organization_finds_nothing(stranger, room):
    meeting = MeetingFactory(room=room)
    assert stranger.get("/rooms").json()["items"] == []
    for path in (f"/rooms/{room.id}/meetings", f"/rooms/{room.id}/recordings"):
        problem_of(stranger.get(path), 404)
    for ending in ("", ".csv"):
        problem_of(stranger.get(f"/meetings/{meeting.id}/attendance{ending}"), 404)
