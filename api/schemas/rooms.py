"""Rooms of live sessions, and what happened in them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from recordings.addresses import room_url
from recordings.attendance import Attendee
from recordings.models import Meeting, Recording, Room


class RoomOut(BaseModel):
    """A room with its LTI integration URL."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "0197f3a0-0000-7000-8000-00000000000e",
                "slug": "office-hours",
                "title": "Office hours",
                "course": "0197f3a0-0000-7000-8000-000000000001",
                "url": "https://tool.example/lti/rooms/0197f3a0-0000-7000-8000-00000000000e",
                "settings": {"allow_polls": False},
            }
        }
    )

    id: UUID
    slug: str
    title: str
    course: UUID
    url: str = Field(description="Its LTI integration URL: LTI 1.1 launch URL and LTI 1.3 target link URI.")
    settings: dict[str, Any] = Field(description="What is set on the room, by the names of the custom parameters.")


class MeetingOut(BaseModel):
    """One session in a room."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "0197f3a0-0000-7000-8000-00000000000f",
                "state": "ended",
                "started_at": "2030-01-31T18:00:00Z",
                "ended_at": "2030-01-31T19:00:00Z",
                "participants": 24,
            }
        }
    )

    id: UUID
    state: str = Field(description="`running` or `ended`.")
    started_at: datetime
    ended_at: datetime | None
    participants: int = Field(description="How many have been in it.")


class RecordingOut(BaseModel):
    """A recording that is on the meeting server."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "0197f3a0-0000-7000-8000-000000000010",
                "record_id": "RM_aBcDeF-1893438000000",
                "title": "The first hour",
                "meeting": "0197f3a0-0000-7000-8000-00000000000f",
                "created_at": "2030-01-31T19:02:00Z",
                "size_mb": 81.5,
                "published": True,
            }
        }
    )

    id: UUID
    record_id: str = Field(description="What the meeting server calls it.")
    title: str
    meeting: UUID | None
    created_at: datetime
    size_mb: float | None = Field(description="In megabytes (10^6 bytes); null where the server did not say.")
    published: bool = Field(description="Whether students see it.")


class AttendanceRowOut(BaseModel):
    """Somebody in a session, all their devices together."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "person": "0197f3a0-0000-7000-8000-000000000004",
                "name": "Sam Student",
                "seconds": 3480,
                "joined_at": "2030-01-31T18:02:00Z",
                "left_at": "2030-01-31T19:00:00Z",
            }
        }
    )

    person: UUID | None = Field(description="Null for a guest whom the meeting server let in by itself.")
    name: str
    seconds: int
    joined_at: datetime
    left_at: datetime | None = Field(description="Null while they are in.")


def room_out(room: Room) -> RoomOut:
    """The room as it is."""
    return RoomOut(
        id=room.id,
        slug=room.slug,
        title=room.title,
        course=room.course_id,
        url=room_url(room),
        settings=room.settings,
    )


def meeting_out(meeting: Meeting, participants: int) -> MeetingOut:
    """The meeting as it is now."""
    return MeetingOut(
        id=meeting.id,
        state="running" if meeting.is_running else "ended",
        started_at=meeting.started_at,
        ended_at=meeting.ended_at,
        participants=participants,
    )


def recording_out(recording: Recording) -> RecordingOut:
    """The recording, without a way to its file: those are made in the page, for the person in front of it."""
    return RecordingOut(
        id=recording.id,
        record_id=recording.record_id,
        title=recording.title,
        meeting=recording.meeting_id,
        created_at=recording.recorded_at,
        size_mb=recording.size_mb,
        published=recording.published,
    )


def attendance_row_out(attendee: Attendee) -> AttendanceRowOut:
    """One line of a meeting's attendance."""
    return AttendanceRowOut(
        person=attendee.person.id if attendee.person else None,
        name=attendee.name,
        seconds=attendee.seconds,
        joined_at=attendee.joined_at,
        left_at=attendee.left_at,
    )
