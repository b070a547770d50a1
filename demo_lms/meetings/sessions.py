"""Sessions that run: who is in them, what is recorded, and what becomes of it all afterwards."""

import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from demo_lms.meetings.archive import ARTIFACT, RECORDING, SESSION, Archive
from demo_lms.meetings.media import playing_time, wav_file
from demo_lms.meetings.notifying import Notifier

# Seconds without a word from a page after which it counts as closed; hidden pages are heard of once a minute only.
SILENCE = 90
ANALYTICS = "MEETING_ANALYTICS"


class Refused(Exception):
    """Somebody in the room page asked for what cannot be; the text says why."""


@dataclass
class Presence:
    """Somebody in a session, from one open page."""

    connection: str  # the page's own, a secret
    sid: str
    identity: str
    name: str
    is_admin: bool
    joined_at: float
    seen_at: float


@dataclass
class Past:
    """What analytics tell of somebody."""

    name: str
    is_admin: bool
    joined: list[int] = field(default_factory=list)  # milliseconds
    left: list[int] = field(default_factory=list)


@dataclass
class Session:
    """A room that runs, from its creation on, also while nobody is in it."""

    room_id: str
    sid: str
    title: str
    metadata: Mapping[str, Any]
    empty_timeout: int
    max_participants: int
    created_at: float
    people: dict[str, Presence] = field(default_factory=dict)
    past: dict[str, Past] = field(default_factory=dict)
    blocked: set[str] = field(default_factory=set)
    recorded_since: float | None = None
    empty_since: float | None = None
    has_started: bool = False

    @property
    def features(self) -> Mapping[str, Any]:
        features: Mapping[str, Any] = self.metadata["room_features"]
        return features

    @property
    def may_record(self) -> bool:
        recording = self.features["recording_features"]
        return bool(recording.get("is_allow") and recording.get("is_allow_cloud"))


class Sessions:
    """All sessions of the server. Thread-safe; `tick` does what is due, and is to be called a few times a second.

    `recording_delay` and `analytics_delay` (seconds) are how long files take to be made: a real server needs a minute.
    """

    def __init__(
        self, archive: Archive, notifier: Notifier, *, recording_delay: float = 1.0, analytics_delay: float = 2.0
    ) -> None:
        self.archive = archive
        self._notifier = notifier
        self._recording_delay = recording_delay
        self._analytics_delay = analytics_delay
        self._running: dict[str, Session] = {}
        self._due: list[tuple[float, Callable[[], None]]] = []
        self._lock = threading.RLock()

    # What the API asks

    def create(self, room_id: str, metadata: Mapping[str, Any], empty_timeout: int, max_participants: int) -> Session:
        """The session that runs in the room, unchanged, or a new one."""
        with self._lock:
            running = self._running.get(room_id)
            if running is not None:
                return running
            session = Session(
                room_id=room_id,
                sid=str(uuid.uuid4()),
                title=metadata["room_title"],
                metadata=metadata,
                empty_timeout=empty_timeout,
                max_participants=max_participants,
                created_at=time.time(),
            )
            session.empty_since = session.created_at
            self._running[room_id] = session
            self._tell(session, "room_created")
            return session

    def running(self, room_id: str) -> Session | None:
        with self._lock:
            return self._running.get(room_id)

    def all_running(self) -> list[Session]:
        with self._lock:
            return list(self._running.values())

    def was_there(self, room_id: str) -> bool:
        """Whether a session of the room has ended."""
        return bool(
            self.archive.listed(SESSION, room_ids=[room_id], session_id="", offset=0, limit=1, ascending=False)[1]
        )

    def end(self, room_id: str) -> bool:
        """Whether there was one."""
        with self._lock:
            session = self._running.pop(room_id, None)
            if session is None:
                return False
            if session.recorded_since is not None:
                self._stop_recording(session)
            for one in list(session.people.values()):
                self._leave(session, one)
            self._tell(session, "session_ended")
            self._tell(session, "room_finished")
            ended_at = time.time()
            body = {
                "room_title": session.title,
                "room_id": session.room_id,
                "room_sid": session.sid,
                "joined_participants": str(len(session.past)),
                "webhook_url": session.metadata.get("webhook_url", ""),
                "created": _rfc3339(session.created_at),
                "ended": _rfc3339(ended_at),
            }
            self.archive.keep(SESSION, session.sid, session.room_id, session.sid, body)
            if session.features.get("enable_analytics"):
                self._later(self._analytics_delay, lambda: self._write_analytics(session, ended_at, body))
            return True

    # What pages ask

    def enter(self, room_id: str, identity: str, name: str, is_admin: bool) -> Presence:
        """Lets somebody in; a page that is open under this identity is closed. Raises Refused."""
        with self._lock:
            session = self._running.get(room_id)
            if session is None:
                raise Refused("The session has ended.")
            if identity in session.blocked:
                raise Refused("You were removed from this session.")
            before = session.people.get(identity)
            if before is not None:
                self._leave(session, before)
            if session.max_participants and len(session.people) >= session.max_participants:
                raise Refused("The session is full.")
            now = time.time()
            presence = Presence(uuid.uuid4().hex, f"PA_{uuid.uuid4().hex[:12]}", identity, name, is_admin, now, now)
            if not session.has_started:
                session.has_started = True
                self._tell(session, "room_started")
            session.people[identity] = presence
            session.empty_since = None
            session.past.setdefault(identity, Past(name, is_admin)).joined.append(_milliseconds(now))
            self._tell(session, "participant_joined", participant=self.participant(presence))
            auto = session.features["recording_features"].get("enable_auto_cloud_recording")
            if auto and session.may_record and session.recorded_since is None:
                self._start_recording(session)
            return presence

    def visit(self, connection: str) -> tuple[Session, Presence]:
        """The session of an open page, which has been heard of just now. Raises Refused."""
        with self._lock:
            for session in self._running.values():
                for presence in session.people.values():
                    if presence.connection == connection:
                        presence.seen_at = time.time()
                        return session, presence
        raise Refused("You are not in this session any more: it has ended, or you opened it in another window.")

    def leave(self, connection: str) -> None:
        with self._lock:
            session, presence = self.visit(connection)
            self._leave(session, presence)

    def record(self, connection: str, *, on: bool) -> None:
        """Starts or stops the recording, for a moderator. Raises Refused."""
        with self._lock:
            session, presence = self.visit(connection)
            if not presence.is_admin or not session.may_record:
                raise Refused("Recording is not allowed in this session, or not to you.")
            if on and session.recorded_since is None:
                self._start_recording(session)
            if not on and session.recorded_since is not None:
                self._stop_recording(session)

    def finish(self, connection: str) -> None:
        """Ends the session for everybody, for a moderator. Raises Refused."""
        with self._lock:
            session, presence = self.visit(connection)
            if not presence.is_admin:
                raise Refused("Only a moderator ends the session.")
            self.end(session.room_id)

    def remove(self, connection: str, identity: str) -> None:
        """Puts somebody out for good, for a moderator. Raises Refused."""
        with self._lock:
            session, presence = self.visit(connection)
            if not presence.is_admin or identity == presence.identity:
                raise Refused("Only a moderator removes others.")
            session.blocked.add(identity)
            if identity in session.people:
                self._leave(session, session.people[identity])

    # What time does

    def tick(self) -> None:
        with self._lock:
            now = time.time()
            for session in list(self._running.values()):
                for presence in list(session.people.values()):
                    if now - presence.seen_at > SILENCE:
                        self._leave(session, presence, presence.seen_at)
                minutes = session.features.get("room_duration") or 0
                is_over = minutes and now - session.created_at > minutes * 60
                is_empty = session.empty_since is not None and now - session.empty_since > session.empty_timeout
                if is_over or is_empty:
                    self.end(session.room_id)
            due = [deed for at, deed in self._due if at <= now]
            self._due = [entry for entry in self._due if entry[0] > now]
            for deed in due:
                deed()

    def _later(self, seconds: float, deed: Callable[[], None]) -> None:
        self._due.append((time.time() + seconds, deed))

    # Inside

    def _leave(self, session: Session, presence: Presence, at: float | None = None) -> None:
        del session.people[presence.identity]
        session.past[presence.identity].left.append(_milliseconds(at or time.time()))
        if not session.people:
            session.empty_since = time.time()
        self._tell(session, "participant_left", participant={**self.participant(presence), "state": "DISCONNECTED"})

    def _start_recording(self, session: Session) -> None:
        session.recorded_since = time.time()
        self._tell(session, "start_recording", recording_info=self._recording_info(session))

    def _stop_recording(self, session: Session) -> None:
        since = session.recorded_since or time.time()
        info = self._recording_info(session)
        session.recorded_since = None
        self._tell(session, "end_recording", recording_info=info)
        seconds = playing_time(time.time() - since)
        self._later(self._recording_delay, lambda: self._write_recording(session, since, seconds, info))

    def _recording_info(self, session: Session) -> dict[str, Any]:
        since = session.recorded_since or time.time()
        return {
            "record_id": f"{session.sid}-{_milliseconds(since)}",
            "recorder_id": "sandbox",
            "recorder_msg": "success",
        }

    def _write_recording(self, session: Session, since: float, seconds: int, info: Mapping[str, Any]) -> None:
        record_id = info["record_id"]
        size = round(len(wav_file(seconds)) / 1_000_000, 2)
        body = {
            "record_id": record_id,
            "room_id": session.room_id,
            "room_sid": session.sid,
            "file_path": f"sandbox/{session.room_id}/{record_id}.wav",
            "file_size": size,
            "creation_time": str(int(time.time())),
            "room_creation_time": str(int(session.created_at)),
            "metadata": {
                "title": "",
                "description": "",
                "subtitles": {},
                "extra_data": {"meeting-title": session.title, "meeting-created": _rfc3339(session.created_at)},
            },
            "seconds": seconds,
        }
        self.archive.keep(RECORDING, record_id, session.room_id, session.sid, body)
        self._tell(
            session,
            "recording_proceeded",
            recording_info={**info, "file_path": body["file_path"], "file_size": size},
        )

    def _write_analytics(self, session: Session, ended_at: float, past: dict[str, Any]) -> None:
        if session.room_id in self._running:
            return  # as a real server, which skips the file of a room that was made anew at once
        artifact_id = str(uuid.uuid4())
        users = []
        for identity, one in session.past.items():
            events = [("joined", one.joined), ("left", one.left)]
            users.append(
                {
                    "user_id": identity,
                    "name": one.name,
                    "is_admin": one.is_admin,
                    "events": [
                        {
                            "name": name,
                            "total": len(times),
                            "values": [{"time": str(moment), "value": ""} for moment in times],
                        }
                        for name, times in events
                    ],
                }
            )
        document = {
            "room": {
                "room_id": session.room_id,
                "room_title": session.title,
                "room_total_users": str(len(users)),
                "room_creation": str(int(session.created_at)),
                "room_ended": str(int(ended_at)),
                "room_duration": str(int(ended_at - session.created_at)),
                "enabled_e2ee": False,
                "events": [],
            },
            "users": users,
        }
        content = json.dumps(document)
        body = {
            "artifact_id": artifact_id,
            "room_id": session.room_id,
            "type": ANALYTICS,
            "created": _rfc3339(time.time()),
            "metadata": {
                "file_info": {
                    "file_path": f"sandbox/{session.room_id}/{artifact_id}.json",
                    "file_size": str(len(content)),
                    "mime_type": "application/json",
                }
            },
            "document": document,
        }
        self.archive.keep(ARTIFACT, artifact_id, session.room_id, session.sid, body)
        self.archive.keep(
            SESSION, session.sid, session.room_id, session.sid, {**past, "analytics_file_id": artifact_id}
        )
        self._tell(session, "analytics_proceeded", analytics={"file_id": artifact_id})
        self._tell(session, "artifact_created", room_artifact={"type": ANALYTICS, "artifact_id": artifact_id})

    @staticmethod
    def participant(presence: Presence) -> dict[str, Any]:
        """As LiveKit describes somebody."""
        return {
            "sid": presence.sid,
            "identity": presence.identity,
            "state": "ACTIVE",
            "metadata": json.dumps({"is_admin": presence.is_admin}),
            "joined_at": str(int(presence.joined_at)),
            "name": presence.name,
        }

    def _tell(self, session: Session, event: str, **more: Any) -> None:
        room = {
            "sid": session.sid,
            "room_id": session.room_id,
            "empty_timeout": session.empty_timeout,
            "creation_time": str(int(session.created_at)),
            "metadata": json.dumps(session.metadata),
        }
        if session.people:
            room["num_participants"] = len(session.people)
        self._notifier.tell(session.room_id, session.metadata.get("webhook_url", ""), event, {"room": room, **more})


def _milliseconds(at: float) -> int:
    return int(at * 1000)


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
