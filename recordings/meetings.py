"""Meetings begin and end here, once each, with their events: whoever tells of it first (a teacher's click, a webhook,
the reconciler), and however many tell of it at once.

Every change of a room's meetings and of their attendance holds the room's row: `held`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from events.log import SYSTEM, Actor, EventType, record
from events.waking import knock
from organizations.models import Person
from recordings.attendance import length_of, recount
from recordings.models import Attendance, AttendanceGrading, Meeting, MeetingServer, Room

GRADE_ATTENDANCE = "recordings.grade_attendance"


@dataclass(frozen=True)
class Asked:
    """What was asked of the server, and what came of it: as the columns of a meeting of these names."""

    settings: dict[str, Any] = field(default_factory=dict)
    refused: Sequence[dict[str, Any]] = ()
    differences: Sequence[dict[str, Any]] = ()


def held(room_id: UUID) -> Room | None:
    """The room, locked until the end of the transaction, with its course; None if somebody deleted it."""
    return Room.objects.select_for_update(of=("self",)).select_related("course").filter(pk=room_id).first()


def running_meeting(room: Room) -> Meeting | None:
    return Meeting.objects.filter(room=room, ended_at__isnull=True).select_related("server").first()


def note_running(
    room: Room,
    server: MeetingServer,
    session_id: str,
    *,
    started_at: datetime | None,
    actor: Actor = SYSTEM,
    person: Person | None = None,
    asked: Asked | None = None,
    ended_at: datetime | None = None,
) -> Meeting:
    """The meeting of this session of the server's, which runs, or ran until `ended_at`; made if nobody has told of it.

    A room has one session at a time: one that ran here before has ended, and one that began before the running one has
    ended, too. Call it in a transaction that holds the room.
    """
    started_at = started_at or timezone.now()
    known = Meeting.objects.filter(server=server, session_id=session_id).first()
    if known is not None:
        if asked is not None and not known.settings:
            # A webhook was here before whoever started it.
            known.settings, known.refused, known.differences = asked.settings, asked.refused, asked.differences
            known.started_by = person
            known.save(update_fields=["settings", "refused", "differences", "started_by"])
        if asked is not None and known.ended_at is not None:
            _reopen(room, known)
        return known
    running = running_meeting(room)
    if running is not None and ended_at is None:
        if asked is not None or running.started_at <= started_at:
            note_ended(running, started_at)
        else:
            ended_at = running.started_at
    asked = asked or Asked()
    meeting = Meeting.objects.create(
        room=room,
        server=server,
        session_id=session_id,
        started_by=person,
        started_at=started_at,
        ended_at=None if ended_at is None else max(started_at, ended_at),
        settings=asked.settings,
        refused=list(asked.refused),
        differences=list(asked.differences),
    )
    record(
        room.course.organization_id,
        EventType.MEETING_STARTED,
        actor=actor,
        subject_kind="meeting",
        subject_id=meeting.pk,
        data=_meeting_data(room, meeting),
    )
    if ended_at is not None:
        _tell_ended(meeting, actor)
    return meeting


def _reopen(room: Room, meeting: Meeting) -> None:
    """The server has just answered with a session whose end we had been told of: it goes on."""
    running = running_meeting(room)
    if running is not None:
        note_ended(running, timezone.now())
    meeting.ended_at = None
    meeting.save(update_fields=["ended_at"])
    recount(meeting)


def note_ended(meeting: Meeting, ended_at: datetime, *, actor: Actor = SYSTEM) -> bool:
    """Ends the meeting, if nobody has yet; returns whether it was we. Call it in a transaction that holds the room."""
    ended_at = max(ended_at, meeting.started_at)
    if not Meeting.objects.filter(pk=meeting.pk, ended_at__isnull=True).update(ended_at=ended_at):
        return False
    meeting.ended_at = ended_at
    recount(meeting)
    _tell_ended(meeting, actor)
    note_attendance_changed(meeting)
    return True


def _tell_ended(meeting: Meeting, actor: Actor) -> None:
    room, ended_at = meeting.room, meeting.ended_at or meeting.started_at
    participants = Attendance.objects.filter(meeting=meeting, joined_at__isnull=False)
    record(
        room.course.organization_id,
        EventType.MEETING_ENDED,
        actor=actor,
        subject_kind="meeting",
        subject_id=meeting.pk,
        data={
            **_meeting_data(room, meeting),
            "ended_at": ended_at.isoformat(),
            "seconds": length_of(meeting, ended_at),
            "participants": participants.count(),
        },
    )


def note_attendance_changed(meeting: Meeting) -> None:
    """What somebody's presence is worth is counted again, by a worker, if the meeting is over and is graded. Call it in
    the transaction of the change."""
    if meeting.ended_at is None:
        return
    graded = AttendanceGrading.objects.filter(room=meeting.room_id).exclude(measure=AttendanceGrading.Measure.NONE)
    if not graded.exists():
        return
    meeting.grading_due_at = timezone.now()
    Meeting.objects.filter(pk=meeting.pk).update(grading_due_at=meeting.grading_due_at)
    wake(GRADE_ATTENDANCE)


def wake(task: str) -> None:
    """After this transaction's commit, tells a worker of a task; beat asks for it anyhow."""
    transaction.on_commit(lambda: knock(task=task))


def _meeting_data(room: Room, meeting: Meeting) -> dict[str, Any]:
    return {
        "course": str(room.course_id),
        "room": str(room.pk),
        "started_at": meeting.started_at.isoformat(),
    }
