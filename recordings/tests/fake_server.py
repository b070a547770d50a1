"""A meeting server in memory: the protocol's methods, and whatever goes wrong when a test says so."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from recordings import servers
from recordings.meeting_server import (
    Artifact,
    AttendanceReport,
    Attendee,
    Difference,
    LiveSession,
    MeetingServerError,
    NotOnServer,
    Page,
    Participant,
    PastSession,
    RecordingOnServer,
    RoomNotRunning,
    RoomRequest,
    Session,
    WebhookMessage,
)
from recordings.models import MeetingServer
from recordings.plugnmeet_webhooks import read_webhook
from recordings.room_settings import RoomSettings

NOW = datetime(2030, 2, 1, 18, 0, tzinfo=UTC)
_numbers = count(1)


@dataclass
class FakeServer:
    """Its rooms, recordings and reports are attributes for tests to look at and to change.

    `trouble` is raised by every call; `before` is called with the name of each call, first.
    """

    sessions: dict[str, Session] = field(default_factory=dict)
    people: dict[str, list[Participant]] = field(default_factory=dict)
    past: list[PastSession] = field(default_factory=list)
    files: dict[str, RecordingOnServer] = field(default_factory=dict)
    reports: dict[str, AttendanceReport] = field(default_factory=dict)
    requests: list[RoomRequest] = field(default_factory=list)
    joined: list[tuple[str, Attendee]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    differences: tuple[Difference, ...] = ()
    trouble: MeetingServerError | None = None
    before: Callable[[str], Any] = lambda name: None
    secret: str = "meeting-secret-that-is-long-enough"

    def _called(self, name: str) -> None:
        self.calls.append(name)
        self.before(name)
        if self.trouble is not None:
            raise self.trouble

    def check(self) -> None:
        self._called("check")

    def create_room(self, request: RoomRequest) -> Session:
        self._called("create_room")
        self.requests.append(request)
        if request.room_id not in self.sessions:
            self.sessions[request.room_id] = Session(
                request.room_id, f"session-of-fake-{next(_numbers)}", NOW, 0, False, self.differences
            )
        return self.sessions[request.room_id]

    def live_session(self, room_id: str) -> LiveSession | None:
        self._called("live_session")
        session = self.sessions.get(room_id)
        return None if session is None else LiveSession(session, tuple(self.people.get(room_id, ())))

    def is_running(self, room_id: str) -> bool:
        self._called("is_running")
        return room_id in self.sessions

    def join_address(self, room_id: str, attendee: Attendee, settings: RoomSettings) -> str:
        self._called("join_address")
        if room_id not in self.sessions:
            raise RoomNotRunning("The server refused: room is not active.")
        self.joined.append((room_id, attendee))
        return f"https://meet.example/?access_token={len(self.joined)}"

    def end_room(self, room_id: str) -> bool:
        self._called("end_room")
        return self.sessions.pop(room_id, None) is not None

    def past_sessions(self, room_ids: Sequence[str], *, offset: int = 0, limit: int = 100) -> Page[PastSession]:
        self._called("past_sessions")
        found = tuple(one for one in self.past if one.room_id in room_ids)
        return Page(found[offset : offset + limit], len(found), offset)

    def recordings(self, room_ids: Sequence[str], *, offset: int = 0, limit: int = 100) -> Page[RecordingOnServer]:
        self._called("recordings")
        found = tuple(one for one in self.files.values() if one.room_id in room_ids)
        return Page(found[offset : offset + limit], len(found), offset)

    def recordings_of_session(self, session_id: str) -> Page[RecordingOnServer]:
        self._called("recordings_of_session")
        found = tuple(one for one in self.files.values() if one.session_id == session_id)
        return Page(found, len(found), 0)

    def recording(self, record_id: str) -> RecordingOnServer | None:
        self._called("recording")
        return self.files.get(record_id)

    def rename_recording(self, record_id: str, title: str) -> None:
        self._called("rename_recording")
        self._file(record_id)
        self.files[record_id] = replace(self.files[record_id], title=title)

    def delete_recording(self, record_id: str) -> bool:
        self._called("delete_recording")
        return self.files.pop(record_id, None) is not None

    def recording_address(self, record_id: str) -> str:
        self._called("recording_address")
        self._file(record_id)
        return f"https://meet.example/download/recording/token-of-{record_id}"

    def artifacts(self, room_ids: Sequence[str], *, offset: int = 0, limit: int = 100) -> Page[Artifact]:
        self._called("artifacts")
        return Page((), 0, offset)

    def attendance_report(self, artifact_id: str) -> AttendanceReport:
        self._called("attendance_report")
        if artifact_id not in self.reports:
            raise NotOnServer("The file on who attended is not on the meeting server any more.")
        return self.reports[artifact_id]

    def read_webhook(self, headers: Mapping[str, str], body: bytes) -> WebhookMessage:
        return read_webhook("meeting-key", self.secret, headers, body)

    def _file(self, record_id: str) -> RecordingOnServer:
        if record_id not in self.files:
            raise NotOnServer("The server refused: recording not found.")
        return self.files[record_id]

    # What tests make happen there

    def record(self, room_id: str, record_id: str, *, session_id: str = "", title: str = "") -> RecordingOnServer:
        self.files[record_id] = RecordingOnServer(record_id, room_id, session_id, title, 1_500_000, NOW, NOW)
        return self.files[record_id]

    def finish(self, room_id: str, *, minutes: int = 60, analytics_id: str = "") -> None:
        """The session ends, and nobody is told."""
        session = self.sessions.pop(room_id)
        start = session.started_at or NOW
        ended_at = start + timedelta(minutes=minutes)
        self.past.insert(0, PastSession(room_id, session.session_id, "", 1, start, ended_at, analytics_id))


def use(monkeypatch: pytest.MonkeyPatch, fakes: Callable[[MeetingServer], FakeServer]) -> None:
    """Every meeting server is one of these from now on."""
    monkeypatch.setattr(servers, "_CLIENTS", dict.fromkeys(MeetingServer.Kind.values, fakes))
