"""Asking meeting servers for what their webhooks missed: sessions that ended, who is in, reports, recordings.

A server's webhooks wait in its memory and are lost when it restarts. So every server is asked about once a minute for
what is open here. Servers are asked at the same time, in threads that have no database, so that one that hangs holds up
no other; what they answer is written by the thread that asked.
"""

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from recordings.attendance import Step, note_report, note_steps
from recordings.library import take_over, take_over_list
from recordings.meeting_server import (
    AttendanceReport,
    LiveSession,
    MeetingServerClient,
    MeetingServerError,
    NotOnServer,
    Participant,
    PastSession,
    RecordingOnServer,
)
from recordings.meetings import held, note_attendance_changed, note_ended, note_running
from recordings.models import AttendanceInterval, Meeting, MeetingServer, Recording, Room
from recordings.servers import client_of
from recordings.sessions import note_answered, note_trouble

logger = structlog.get_logger(__name__)

EVERY = timedelta(seconds=50)  # beat comes every minute
LIST_EVERY, LIST_EVERY_AT_REST = timedelta(minutes=5), timedelta(hours=24)
# How long after its end a session's report may still come, and how often it is asked for after the first minutes.
REPORT_AWAITED, REPORT_SOON, REPORT_EVERY = timedelta(hours=24), timedelta(minutes=15), timedelta(minutes=15)
RUN_SECONDS = 45.0
AT_ONCE = 8  # servers
MEETINGS_AT_ONCE = 100
ROOMS_AT_ONCE = 50
PAGE = 100
# A webhook that is on its way knows better than we do.
SETTLING = timedelta(seconds=60)
JUST_STARTED = timedelta(seconds=20)


@dataclass(frozen=True)
class Running:
    """A meeting that runs, as far as we know."""

    meeting: UUID
    room_id: str
    session_id: str


@dataclass(frozen=True)
class Awaited:
    """A meeting that is over, and whose report has not come; `analytics_id` is empty until it is known."""

    meeting: UUID
    room_id: str
    session_id: str
    analytics_id: str


@dataclass(frozen=True)
class Questions:
    """What a server is to be asked; no rooms to list where its recordings were listed lately."""

    running: tuple[Running, ...] = ()
    awaited: tuple[Awaited, ...] = ()
    rooms_to_list: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.running or self.awaited or self.rooms_to_list)


@dataclass
class Answers:
    """What a server answered until `trouble`, if there was any. `live` has the rooms that were asked about."""

    asked_at: datetime
    live: dict[str, LiveSession | None] = field(default_factory=dict)
    past: list[PastSession] = field(default_factory=list)
    reports: dict[UUID, AttendanceReport] = field(default_factory=dict)
    recordings: list[RecordingOnServer] = field(default_factory=list)
    is_listed: bool = False  # whether these are all there are
    trouble: MeetingServerError | None = None


def reconcile(now: datetime | None = None, *, seconds: float = RUN_SECONDS) -> int:
    """Asks every server that is due, and writes down what it answers; returns how many answered in time."""
    now = now or timezone.now()
    deadline = time.monotonic() + seconds
    _end_orphans(now)
    due = [(server, _questions(server, now)) for server in _due(now) if _claim(server, now)]
    claimed = [(server, questions) for server, questions in due if questions]
    if not claimed:
        return 0
    executor = ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="meeting-servers")
    asked = 0
    try:
        futures = {
            executor.submit(ask, client_of(server), questions, deadline): (server, questions)
            for server, questions in claimed
        }
        for future in as_completed(futures, timeout=max(0.0, deadline - time.monotonic())):
            server, questions = futures[future]
            try:
                write_down(server, questions, future.result())
                asked += 1
            # One server whose answers break must not keep the others' from being written.
            except Exception as error:
                logger.error("reconciling_failed", server=str(server.pk), exc_info=error)
    except NotInTime:
        logger.warning("reconciling_not_in_time", servers=len(claimed) - asked)
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
    return asked


def ask(client: MeetingServerClient, questions: Questions, deadline: float) -> Answers:
    """Asks a server until the deadline (of `time.monotonic`), or until it does not do what it is asked. No database."""
    answers = Answers(timezone.now())

    def in_time() -> bool:
        return time.monotonic() < deadline

    try:
        for running in questions.running:
            if not in_time():
                return answers
            answers.live[running.room_id] = client.live_session(running.room_id)
        over = [one.room_id for one in questions.running if answers.live[one.room_id] is None]
        unknown = [one.room_id for one in questions.awaited if not one.analytics_id]
        for some in _parts(sorted({*over, *unknown}), ROOMS_AT_ONCE):
            if not in_time():
                return answers
            answers.past += client.past_sessions(some, limit=PAGE).items
        by_session = {one.session_id: one.analytics_id for one in answers.past}
        for awaited in questions.awaited:
            analytics_id = awaited.analytics_id or by_session.get(awaited.session_id, "")
            if analytics_id and in_time():
                try:
                    answers.reports[awaited.meeting] = client.attendance_report(analytics_id)
                except NotOnServer:
                    # Announced before it is there, or deleted: it is asked for until it is awaited no more.
                    logger.info("attendance_report_missing", meeting=str(awaited.meeting))
        if questions.rooms_to_list and in_time():
            answers.recordings, answers.is_listed = _listed(client, questions.rooms_to_list, deadline)
    except MeetingServerError as error:
        answers.trouble = error
    return answers


def _listed(client: MeetingServerClient, rooms: Sequence[str], deadline: float) -> tuple[list[RecordingOnServer], bool]:
    """The recordings of these rooms, and whether they are all. The list may grow at its head while it is read."""
    found: dict[str, RecordingOnServer] = {}
    for some in _parts(rooms, ROOMS_AT_ONCE):
        offset, here = 0, 0
        while True:
            if time.monotonic() >= deadline:
                return list(found.values()), False
            page = client.recordings(some, offset=offset, limit=PAGE)
            fresh = {one.record_id: one for one in page.items if one.record_id not in found}
            found |= fresh
            here += len(fresh)
            offset += len(page.items)
            if offset >= page.total or not page.items:
                break
        if here < page.total:
            return list(found.values()), False
    return list(found.values()), True


def write_down(server: MeetingServer, questions: Questions, answers: Answers) -> None:
    """Writes down what a server answered."""
    if answers.trouble is None:
        note_answered(server)
    else:
        note_trouble(server, answers.trouble)
    past = {one.session_id: one for one in answers.past}
    for running in questions.running:
        if running.room_id in answers.live:
            _write_running(server, running, answers.live[running.room_id], past, answers.asked_at)
    _write_unknown(server, answers.past)
    for meeting, report in answers.reports.items():
        _write_report(meeting, report)
    asked = [one.meeting for one in questions.running] + [one.meeting for one in questions.awaited]
    Meeting.objects.filter(pk__in=asked).update(reconciled_at=answers.asked_at)
    if answers.is_listed:
        take_over_list(server, answers.recordings, answers.asked_at)
        MeetingServer.objects.filter(pk=server.pk).update(listed_at=answers.asked_at)
    else:
        rooms = _room_keys(server, {one.room_id for one in answers.recordings})
        for one in answers.recordings:
            if one.room_id in rooms:
                take_over(server, rooms[one.room_id], one)


def _due(now: datetime) -> list[MeetingServer]:
    """Servers that may be asked now; those that had no trouble first."""
    meetings = Meeting.objects.filter(server=OuterRef("pk"))
    recordings = Recording.objects.filter(server=OuterRef("pk"))
    servers = MeetingServer.objects.filter(
        Q(reconciled_at=None) | Q(reconciled_at__lte=now - EVERY), enabled=True, organization__enabled=True
    )
    servers = servers.filter(Exists(meetings) | Exists(recordings))
    return sorted(servers, key=lambda one: (bool(one.problem), one.reconciled_at is not None, one.reconciled_at or now))


def _claim(server: MeetingServer, now: datetime) -> bool:
    """Two workers that look at the same time do not ask the same server."""
    free = Q(reconciled_at=None) | Q(reconciled_at__lte=now - EVERY)
    return bool(MeetingServer.objects.filter(free, pk=server.pk).update(reconciled_at=now))


def _questions(server: MeetingServer, now: datetime) -> Questions:
    meetings = Meeting.objects.filter(server=server)
    running = meetings.filter(ended_at=None, created_at__lte=now - JUST_STARTED).order_by("reconciled_at", "id")
    awaited = meetings.filter(
        Q(reconciled_at=None) | Q(ended_at__gte=now - REPORT_SOON) | Q(reconciled_at__lte=now - REPORT_EVERY),
        ended_at__gte=now - REPORT_AWAITED,
        analytics_taken_at=None,
    ).order_by("reconciled_at", "id")
    is_busy = meetings.filter(Q(ended_at=None) | Q(ended_at__gte=now - REPORT_AWAITED)).exists()
    list_every = LIST_EVERY if is_busy else LIST_EVERY_AT_REST
    rooms: Iterable[str] = ()
    if server.listed_at is None or server.listed_at <= now - list_every:
        here = Q(meetings__server=server) | Q(recordings__server=server)
        rooms = Room.objects.filter(here).order_by("room_id").values_list("room_id", flat=True).distinct()
    return Questions(
        tuple(
            Running(*values) for values in running.values_list("pk", "room__room_id", "session_id")[:MEETINGS_AT_ONCE]
        ),
        tuple(
            Awaited(*values)
            for values in awaited.values_list("pk", "room__room_id", "session_id", "analytics_id")[:MEETINGS_AT_ONCE]
        ),
        tuple(rooms),
    )


def _end_orphans(now: datetime) -> None:
    """Meetings on servers that were removed here: nobody will ever tell of their end."""
    for meeting in Meeting.objects.filter(server=None, ended_at=None)[:PAGE]:
        with transaction.atomic():
            room = held(meeting.room_id)
            if room is not None:
                meeting.room = room
                note_ended(meeting, now)


def _write_running(
    server: MeetingServer,
    running: Running,
    live: LiveSession | None,
    past: dict[str, PastSession],
    asked_at: datetime,
) -> None:
    with transaction.atomic():
        meeting = Meeting.objects.filter(pk=running.meeting).first()
        room = held(meeting.room_id) if meeting is not None else None
        # Looked at again now that nobody else changes it.
        meeting = Meeting.objects.filter(pk=running.meeting, ended_at=None).first()
        if room is None or meeting is None:
            return
        meeting.room = room
        if live is not None and live.session.session_id == meeting.session_id:
            _write_people(meeting, live.participants, asked_at)
            return
        known = past.get(meeting.session_id)
        note_ended(meeting, (known.ended_at if known else None) or asked_at)
        if live is not None:
            session = live.session
            current = note_running(room, server, session.session_id, started_at=session.started_at)
            current.room = room
            _write_people(current, live.participants, asked_at)


def _write_people(meeting: Meeting, present: Sequence[Participant], asked_at: datetime) -> None:
    """Who is in, and who has gone without our hearing of it."""
    steps = [Step(one, joined_at=one.joined_at or asked_at) for one in present if not one.is_bot]
    connections = {(one.identity, one.connection_id) for one in present}
    nameless = {one.identity for one in present if not one.connection_id}
    open_stays = AttendanceInterval.objects.filter(
        attendance__meeting=meeting, left_at=None, joined_at__lt=asked_at - SETTLING
    ).select_related("attendance")
    for stay in open_stays:
        identity = stay.attendance.identity
        if (identity, stay.connection_id) not in connections and identity not in nameless:
            gone = Participant(identity, stay.connection_id, "", None)
            steps.append(Step(gone, joined_at=stay.joined_at, left_at=asked_at))
    if note_steps(meeting, steps):
        note_attendance_changed(meeting)


def _write_unknown(server: MeetingServer, past: Sequence[PastSession]) -> None:
    """Sessions of our rooms that nobody told us of, since whoever started them got no answer."""
    known = set(
        Meeting.objects.filter(server=server, session_id__in=[one.session_id for one in past]).values_list(
            "session_id", flat=True
        )
    )
    rooms = _room_keys(server, {one.room_id for one in past})
    for one in past:
        if one.session_id in known or one.room_id not in rooms or not one.participants:
            continue
        if one.started_at is None or one.ended_at is None:
            continue
        with transaction.atomic():
            room = held(rooms[one.room_id])
            if room is not None:
                note_running(room, server, one.session_id, started_at=one.started_at, ended_at=one.ended_at)


def _write_report(meeting_pk: UUID, report: AttendanceReport) -> None:
    with transaction.atomic():
        meeting = Meeting.objects.filter(pk=meeting_pk).first()
        room = held(meeting.room_id) if meeting is not None else None
        if meeting is None or room is None or room.room_id != report.room_id:
            return
        meeting.room = room
        if note_report(meeting, report.people):
            note_attendance_changed(meeting)
        Meeting.objects.filter(pk=meeting.pk).update(analytics_taken_at=timezone.now())


def _room_keys(server: MeetingServer, room_ids: set[str]) -> dict[str, UUID]:
    """Our rooms among these: only those of the server's own organization."""
    rooms = Room.objects.filter(room_id__in=room_ids, course__organization=server.organization_id)
    return dict(rooms.values_list("room_id", "pk"))


def _parts(rooms: Sequence[str], size: int) -> Iterable[Sequence[str]]:
    return (rooms[start : start + size] for start in range(0, len(rooms), size))
