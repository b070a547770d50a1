"""Recordings: listed from our rows, looked at by links of minutes, and published, renamed and deleted.

What concerns the server's file (its title, its end) is written here first, and carried out by a worker that tries until
the server has done it: `carry_out`. Whether students see a recording is ours alone; servers know no such thing.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from events.log import SYSTEM, Actor, EventType, record
from lti.texts import truncated, without_nul
from organizations.models import Organization
from recordings.meeting_server import MeetingServerError, NotOnServer, RecordingOnServer
from recordings.meetings import held, wake
from recordings.models import Meeting, MeetingServer, Recording, Room
from recordings.servers import client_of
from recordings.sessions import MeetingServerTrouble, note_answered, note_trouble

logger = structlog.get_logger(__name__)

CARRY_OUT = "recordings.carry_out"
LONGEST_TITLE = 255
# After a failure: half a minute, doubled each time, and never more than six hours. A deletion is never given up.
FIRST_RETRY, LONGEST_RETRY = timedelta(seconds=30), timedelta(hours=6)
LEASE = timedelta(minutes=2)
RUN_SECONDS = 30.0


class RecordingGone(Exception):
    """The recording is not on its server any more. `for_teacher` and `for_student` say so."""

    for_teacher = "This recording is no longer on the meeting server, so it cannot be played."
    for_student = "This recording is not there any more."


class TitleError(ValueError):
    """A title that cannot be; `str()` says how to correct it."""


@dataclass(frozen=True)
class Viewer:
    """Who looks: at which course, and whether as one of its teachers (or mentors), who see what is not published."""

    course_id: UUID
    sees_unpublished: bool


def recordings_of(room: Room, viewer: Viewer) -> QuerySet[Recording]:
    """The room's recordings that this person may see, newest first; only teachers see those on their way out."""
    return _visible(viewer).filter(room=room).select_related("meeting", "room")


def recording_for(viewer: Viewer, recording_id: UUID) -> Recording:
    """The recording, if it belongs to a room of the viewer's course and they may see it.

    Raises Recording.DoesNotExist otherwise: not found and not allowed are the same.
    """
    return _visible(viewer).select_related("room__course", "server", "meeting").get(pk=recording_id)


def address_to_play(recording: Recording, viewer: Viewer) -> str:
    """The server's own address of the file, good for some minutes; it answers range requests itself: redirect there,
    and never store or log it.

    Raises Recording.DoesNotExist (as `recording_for`), RecordingGone and MeetingServerTrouble.
    """
    recording = recording_for(viewer, recording.pk)
    server = recording.server
    if recording.state != Recording.State.AVAILABLE or server is None:
        raise RecordingGone
    try:
        address = client_of(server).recording_address(recording.record_id)
    except NotOnServer:
        note_gone([recording.pk])
        raise RecordingGone from None
    except MeetingServerError as error:
        note_trouble(server, error)
        raise MeetingServerTrouble(error) from error
    note_answered(server)
    return address


def address_to_download(recording: Recording, viewer: Viewer) -> str:
    """As `address_to_play`: servers give one address for both, and answer it as an attachment, which a `<video>` plays
    all the same."""
    return address_to_play(recording, viewer)


def media_origin(server: MeetingServer) -> str:
    """Where its recordings are played from, as a page's content security policy names it."""
    parts = urlsplit(server.url)
    return f"{parts.scheme}://{parts.netloc}"


def publish(recording: Recording) -> bool:
    """Students see it from now on; False where it is not there any more."""
    return bool(_available(recording).update(published=True))


def hide(recording: Recording) -> bool:
    """Students no longer see it."""
    return bool(_available(recording).update(published=False))


def rename(recording: Recording, title: str) -> bool:
    """Gives it another title here at once, and on its server soon. False where it is not there any more.

    Raises TitleError.
    """
    title = " ".join(without_nul(title).split())
    if not title or len(title) > LONGEST_TITLE:
        raise TitleError(f"Give it a title of 1 to {LONGEST_TITLE} characters.")
    with transaction.atomic():
        changed = _available(recording).update(
            title=title, title_is_sent=False, due_at=timezone.now(), failures=0, problem=""
        )
        if changed:
            recording.title = title
            wake(CARRY_OUT)
    return bool(changed)


def delete(recording: Recording, actor: Actor, *, reason: str = "asked") -> bool:
    """Nobody sees it from now on, and its file is deleted from the server soon, for good; False where it is deleted.

    `reason` is `asked` or `retention`, as the event says it once the file is gone.
    """
    with transaction.atomic():
        changed = _available(recording).update(
            state=Recording.State.DELETING,
            published=False,
            due_at=timezone.now(),
            failures=0,
            problem="",
            deletion={"reason": reason, "actor": actor.as_json()},
        )
        if changed:
            wake(CARRY_OUT)
    return bool(changed)


def retry(recording: Recording) -> bool:
    """What the server would not do is tried again now."""
    with transaction.atomic():
        changed = Recording.objects.filter(pk=recording.pk, due_at__isnull=False).update(due_at=timezone.now())
        if changed:
            wake(CARRY_OUT)
    return bool(changed)


def _available(recording: Recording) -> QuerySet[Recording]:
    return Recording.objects.filter(pk=recording.pk, state=Recording.State.AVAILABLE)


def _visible(viewer: Viewer) -> QuerySet[Recording]:
    rows = Recording.objects.filter(room__course=viewer.course_id)
    if viewer.sees_unpublished:
        return rows.exclude(state=Recording.State.DELETED)
    return rows.filter(published=True, state=Recording.State.AVAILABLE)


# What the server tells of


def note_recording(
    room: Room,
    server: MeetingServer,
    record_id: str,
    *,
    session_id: str = "",
    title: str = "",
    size: int | None = None,
    seconds: int | None = None,
    recorded_at: datetime | None = None,
) -> Recording:
    """The row of a recording that is ready on the server; made once, with its event, and completed by what is known
    later. Call it in a transaction that holds the room."""
    meeting = Meeting.objects.filter(server=server, session_id=session_id, room=room).first() if session_id else None
    known = Recording.objects.filter(server=server, record_id=record_id).first()
    if known is not None:
        _complete(known, meeting, title, size, seconds, recorded_at)
        return known
    recording = Recording.objects.create(
        room=room,
        meeting=meeting,
        server=server,
        record_id=record_id,
        title=truncated(" ".join(title.split()), LONGEST_TITLE),
        size=size,
        seconds=seconds,
        recorded_at=recorded_at or timezone.now(),
    )
    record(
        room.course.organization_id,
        EventType.RECORDING_READY,
        actor=SYSTEM,
        subject_kind="recording",
        subject_id=recording.pk,
        data=_recording_data(recording),
    )
    return recording


def _complete(
    known: Recording,
    meeting: Meeting | None,
    title: str,
    size: int | None,
    seconds: int | None,
    recorded_at: datetime | None,
) -> None:
    found: dict[str, Any] = {"size": size, "seconds": seconds, "recorded_at": recorded_at}
    changes = {name: value for name, value in found.items() if value and getattr(known, name) != value}
    if known.meeting_id is None and meeting is not None:
        changes["meeting"] = meeting
    if not known.title and title.strip() and known.title_is_sent:
        changes["title"] = truncated(" ".join(title.split()), LONGEST_TITLE)
    if known.state == Recording.State.GONE:
        # It is back: a storage that was away, say.
        changes["state"] = Recording.State.AVAILABLE
    for name, value in changes.items():
        setattr(known, name, value)
    if changes:
        known.save(update_fields=list(changes))


def note_gone(recordings: Sequence[UUID]) -> int:
    """These recordings are not on their server any more, though nobody here deleted them. Returns how many were."""
    count = 0
    for pk in recordings:
        with transaction.atomic():
            row = Recording.objects.select_related("room__course").filter(pk=pk).first()
            gone = Recording.objects.filter(pk=pk, state=Recording.State.AVAILABLE).update(
                state=Recording.State.GONE, published=False, due_at=None, title_is_sent=True
            )
            if row is not None and gone:
                _tell_deleted(row, SYSTEM, "gone")
                count += 1
    return count


# What the server is told


def carry_out(now: datetime | None = None, *, seconds: float = RUN_SECONDS) -> int:
    """Tells servers what is due: titles and deletions. Returns how many went well.

    Each is claimed by putting its next try off, so that two workers do not do the same, and a dead one's is taken up
    again. A server that does not answer keeps its other recordings waiting, and nobody else's.
    """
    now = now or timezone.now()
    deadline = time.monotonic() + seconds
    silent: set[UUID] = set()
    done = 0
    while time.monotonic() < deadline:
        due = Recording.objects.filter(due_at__lte=now).exclude(server__in=silent).order_by("due_at")
        recording = due.select_related("server", "room__course").first()
        if recording is None:
            break
        lease = max(timezone.now(), now) + LEASE
        if not Recording.objects.filter(pk=recording.pk, due_at=recording.due_at).update(due_at=lease):
            continue
        recording.due_at = lease
        try:
            _tell_server(recording)
            done += 1
        except MeetingServerError as error:
            if recording.server is not None:
                note_trouble(recording.server, error)
                silent.add(recording.server.pk)
            _put_off(recording, error)
    return done


def delete_old(now: datetime | None = None) -> int:
    """Deletes what is past its organization's days (`meeting_policy.recording_days`). Returns how many."""
    now = now or timezone.now()
    count = 0
    for organization in Organization.objects.exclude(meeting_policy={}):
        days = organization.meeting_policy.get("recording_days")
        if isinstance(days, bool) or not isinstance(days, int) or days < 1:
            continue
        old = Recording.objects.filter(
            room__course__organization=organization,
            state=Recording.State.AVAILABLE,
            recorded_at__lt=now - timedelta(days=days),
        )
        for recording in old.iterator(chunk_size=500):
            count += delete(recording, SYSTEM, reason="retention")
    return count


def _tell_server(recording: Recording) -> None:
    """Raises MeetingServerError."""
    server = recording.server
    if recording.state == Recording.State.DELETING:
        if server is None:
            # The server was removed here, with the way to what is on it.
            _note_deleted(recording, Recording.State.GONE)
            return
        client_of(server).delete_recording(recording.record_id)
        _note_deleted(recording, Recording.State.DELETED)
        return
    if recording.title_is_sent or server is None:
        Recording.objects.filter(pk=recording.pk, due_at=recording.due_at).update(due_at=None)
        return
    try:
        client_of(server).rename_recording(recording.record_id, recording.title)
    except NotOnServer:
        note_gone([recording.pk])
        return
    # Whoever renamed it meanwhile, or deleted it, made it due anew.
    Recording.objects.filter(pk=recording.pk, due_at=recording.due_at, title=recording.title).update(
        title_is_sent=True, due_at=None, failures=0, problem=""
    )


def _put_off(recording: Recording, error: MeetingServerError) -> None:
    wait = min(FIRST_RETRY * 2 ** min(recording.failures, 20), LONGEST_RETRY)
    Recording.objects.filter(pk=recording.pk, due_at=recording.due_at).update(
        due_at=timezone.now() + wait, failures=F("failures") + 1, problem=truncated(error.for_teacher, 500)
    )


def _note_deleted(recording: Recording, state: Recording.State) -> None:
    is_deleted = state == Recording.State.DELETED
    with transaction.atomic():
        changed = Recording.objects.filter(pk=recording.pk, state=Recording.State.DELETING).update(
            state=state,
            deleted_at=timezone.now() if is_deleted else None,
            due_at=None,
            failures=0,
            problem="",
            deletion={},
        )
        if changed:
            asked = recording.deletion
            actor = Actor(**asked["actor"]) if "actor" in asked else SYSTEM
            _tell_deleted(recording, actor, asked.get("reason", "asked") if is_deleted else "gone")


def _tell_deleted(recording: Recording, actor: Actor, reason: str) -> None:
    record(
        recording.room.course.organization_id,
        EventType.RECORDING_DELETED,
        actor=actor,
        subject_kind="recording",
        subject_id=recording.pk,
        data={**_recording_data(recording), "reason": reason},
    )


def _recording_data(recording: Recording) -> dict[str, Any]:
    return {
        "course": str(recording.room.course_id),
        "room": str(recording.room_id),
        "meeting": str(recording.meeting_id) if recording.meeting_id else None,
        "record_id": recording.record_id,
        "title": recording.title,
    }


# In step with the server


def take_over_list(server: MeetingServer, listed: Sequence[RecordingOnServer], asked_at: datetime) -> None:
    """Brings our rows in step with the whole list of the server's recordings of our rooms, as it was asked for then."""
    by_room = {one.room_id for one in listed}
    rooms = {room.room_id: room.pk for room in Room.objects.filter(room_id__in=by_room).filter(_of(server))}
    for one in listed:
        if one.room_id in rooms:
            take_over(server, rooms[one.room_id], one)
    there = {one.record_id for one in listed}
    ours = Recording.objects.filter(server=server, state=Recording.State.AVAILABLE, created_at__lt=asked_at)
    note_gone([pk for pk, record_id in ours.values_list("pk", "record_id") if record_id not in there])


def take_over(server: MeetingServer, room_pk: UUID, one: RecordingOnServer) -> None:
    """Writes down what the server says of a recording of this room."""
    with transaction.atomic():
        room = held(room_pk)
        if room is not None:
            note_recording(
                room,
                server,
                one.record_id,
                session_id=one.session_id,
                title=one.title,
                size=one.size or None,
                recorded_at=one.recorded_at,
            )


def _of(server: MeetingServer) -> Q:
    return Q(course__organization=server.organization_id)
