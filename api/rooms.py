"""Rooms of live sessions: their meetings, recordings and attendance."""

from uuid import UUID

from django.db.models import Count, Q
from django.http import HttpRequest, StreamingHttpResponse
from ninja import Query, Router

from api.authentication import get_own, own
from api.pagination import Page, PageQuery, slice_of, slice_of_list
from api.schemas.rooms import (
    AttendanceRowOut,
    MeetingOut,
    RecordingOut,
    RoomOut,
    attendance_row_out,
    meeting_out,
    recording_out,
    room_out,
)
from events.csv_export import csv_response
from recordings.attendance import Attendee, attendance_of
from recordings.models import Meeting, Recording, Room

router = Router()
_COLUMNS = ("person", "name", "seconds", "joined_at", "left_at")
_CSV = (
    "person,name,seconds,joined_at,left_at\r\n0197f3a0-…,Sam Student,3480,2030-01-31T18:02:00Z,2030-01-31T19:00:00Z\r\n"
)


@router.get("/rooms", response=Page[RoomOut], summary="List rooms")
def list_rooms(request: HttpRequest, page: Query[PageQuery]) -> Page[RoomOut]:
    """The rooms of all courses, oldest first."""
    part = slice_of(own(request, Room.objects.all()), page)
    return Page(items=[room_out(room) for room in part.rows], next=part.next)


@router.get("/rooms/{room_id}/meetings", response=Page[MeetingOut], summary="List a room's meetings")
def list_meetings(request: HttpRequest, room_id: UUID, page: Query[PageQuery]) -> Page[MeetingOut]:
    """Every session in the room, newest first. At most one is running."""
    room = get_own(request, Room.objects.all(), room_id)
    part = slice_of(own(request, Meeting.objects.filter(room=room)), page, ("-started_at", "-id"))
    there = Q(attendances__joined_at__isnull=False)
    counted = Meeting.objects.filter(pk__in=[meeting.pk for meeting in part.rows]).annotate(
        people=Count("attendances", filter=there)
    )
    participants = dict(counted.order_by().values_list("pk", "people"))
    items = [meeting_out(meeting, participants.get(meeting.pk, 0)) for meeting in part.rows]
    return Page(items=items, next=part.next)


@router.get("/rooms/{room_id}/recordings", response=Page[RecordingOut], summary="List a room's recordings")
def list_recordings(request: HttpRequest, room_id: UUID, page: Query[PageQuery]) -> Page[RecordingOut]:
    """The recordings that are on the meeting server, newest first, those that are not published too."""
    room = get_own(request, Room.objects.all(), room_id)
    available = Recording.objects.filter(room=room, state=Recording.State.AVAILABLE)
    part = slice_of(own(request, available), page, ("-recorded_at", "-id"))
    return Page(items=[recording_out(recording) for recording in part.rows], next=part.next)


@router.get("/meetings/{meeting_id}/attendance", response=Page[AttendanceRowOut], summary="Read a meeting's attendance")
def list_attendance(request: HttpRequest, meeting_id: UUID, page: Query[PageQuery]) -> Page[AttendanceRowOut]:
    """Who was there, by when they first came. Exact once the session is over and the server has reported."""
    meeting = get_own(request, Meeting.objects.all(), meeting_id)
    part = slice_of_list(_in_order(meeting), page, _place, f"attendance.{meeting.pk}")
    return Page(items=[attendance_row_out(one) for one in part.rows], next=part.next)


@router.get(
    "/meetings/{meeting_id}/attendance.csv",
    summary="Export a meeting's attendance",
    openapi_extra={
        "responses": {
            200: {
                "description": "All rows, in UTF-8 with a byte order mark.",
                "content": {"text/csv": {"schema": {"type": "string"}, "example": _CSV}},
            }
        }
    },
)
def export_attendance(request: HttpRequest, meeting_id: UUID) -> StreamingHttpResponse:
    """The same as a table for a spreadsheet. No cell is read as a formula."""
    meeting = get_own(request, Meeting.objects.all(), meeting_id)
    rows = [attendance_row_out(one).model_dump(mode="json") for one in _in_order(meeting)]
    cells = (["" if row[name] is None else str(row[name]) for name in _COLUMNS] for row in rows)
    return csv_response(f"attendance-{meeting.started_at:%Y-%m-%d-%H%M}.csv", _COLUMNS, cells)


def _in_order(meeting: Meeting) -> list[Attendee]:
    return sorted(attendance_of(meeting), key=_place)


def _place(attendee: Attendee) -> tuple[str, str]:
    """What the rows are ordered by: guests of one name who came at one moment are the only ones to share it."""
    return attendee.joined_at.isoformat(), str(attendee.person.pk) if attendee.person else f"guest {attendee.name}"
