"""What a meeting server can do for us, whatever its kind: one protocol, typed values, and errors with words.

A new kind of server is one module with a class like `recordings/plugnmeet.py`, and a line in `recordings/servers.py`.
Nothing here is called inside a database transaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from recordings.room_settings import RoomSettings

Item = TypeVar("Item")

# What to do, for whoever cannot repair the server.
_ASK_OWNER = "If it stays like this, tell the owner of your organization on this platform."


class MeetingServerError(Exception):
    """A meeting server did not do what was asked. `str()` and `for_owner` say why, `for_teacher` what to do.

    `code` is stable, for logs and metrics; `temporary` says whether the same may succeed a little later.
    """

    code = "meeting_server"
    temporary = False
    teacher_words = f"The meeting server did not do it. {_ASK_OWNER}"

    def __init__(self, for_owner: str) -> None:
        super().__init__(for_owner)
        self.for_owner = for_owner

    @property
    def for_teacher(self) -> str:
        return self.teacher_words


class ServerUnreachable(MeetingServerError):
    """Nothing answers: the name is unknown, no connection, no secure connection, or it broke."""

    code = "unreachable"
    temporary = True
    teacher_words = f"The meeting server does not answer. Try again in a minute. {_ASK_OWNER}"


class ServerTooSlow(MeetingServerError):
    """It did not answer in time; what was asked may have been done all the same."""

    code = "too_slow"
    temporary = True
    teacher_words = f"The meeting server takes too long to answer. Try again in a minute. {_ASK_OWNER}"


class ServerFailing(MeetingServerError):
    """It, or a proxy before it, answers that it cannot now (5xx, 429)."""

    code = "failing"
    temporary = True
    teacher_words = f"The meeting server has a problem of its own. Try again in a minute. {_ASK_OWNER}"


class AddressRefused(MeetingServerError):
    """Our own rules forbid calling its address."""

    code = "address_refused"
    teacher_words = "The meeting server is not set up correctly. Tell the owner of your organization on this platform."


class NotAMeetingServer(MeetingServerError):
    """What answers there does not speak the API: a web page, a redirect, something cut off or of another shape."""

    code = "not_a_meeting_server"
    teacher_words = AddressRefused.teacher_words


class KeyRefused(MeetingServerError):
    """It does not take our API key and secret."""

    code = "key_refused"
    teacher_words = AddressRefused.teacher_words


class RequestRefused(MeetingServerError):
    """It understood, and says no. `reason` is its own text, `status_code` its own name for it, perhaps empty."""

    code = "refused"
    teacher_words = f"The meeting server refused this. {_ASK_OWNER}"

    def __init__(self, for_owner: str, *, reason: str = "", status_code: str = "") -> None:
        super().__init__(for_owner)
        self.reason = reason
        self.status_code = status_code


class RoomNotRunning(RequestRefused):
    """The room has no session now."""

    code = "not_running"
    teacher_words = "The session is not running any more. Start it again."


class PersonBlocked(RequestRefused):
    """Somebody removed this person from the session for good."""

    code = "blocked"
    teacher_words = "You were removed from this session and cannot join it again. Ask your teacher."


class NotOnServer(RequestRefused):
    """The recording or file is not there."""

    code = "not_found"
    teacher_words = "This is no longer on the meeting server."


class WebhookRefused(Exception):
    """A webhook that is not to be believed; `code`: unsigned, signature, stale, body or malformed."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True)
class RoomRequest:
    """What a session is to be like. `webhook_url` and `return_url` are absolute, or empty."""

    room_id: str
    title: str
    settings: RoomSettings
    webhook_url: str = ""
    return_url: str = ""


@dataclass(frozen=True)
class Difference:
    """A setting that the server applied otherwise than it was asked to."""

    name: str
    asked: bool | int | str
    applied: bool | int | str

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "asked": self.asked, "applied": self.applied}


@dataclass(frozen=True)
class Session:
    """A running session. `differences` is None where the server did not say what it applied."""

    room_id: str
    session_id: str
    started_at: datetime | None
    participants: int
    is_recording: bool
    differences: tuple[Difference, ...] | None = None


@dataclass(frozen=True)
class Participant:
    """Somebody in a session: `identity` is the id we gave, `connection_id` the server's for this stay."""

    identity: str
    connection_id: str
    name: str = field(repr=False)
    joined_at: datetime | None
    is_moderator: bool = False
    is_present: bool = True
    is_bot: bool = False


@dataclass(frozen=True)
class LiveSession:
    """A running session and who is in it, without recorders and other programs."""

    session: Session
    participants: tuple[Participant, ...]


@dataclass(frozen=True)
class Attendee:
    """Whom to let in. `identity`: letters, digits, - and _; a name is never empty."""

    identity: str
    name: str = field(repr=False)
    is_moderator: bool
    language: str = ""


@dataclass(frozen=True)
class PastSession:
    """A session that has ended; `analytics_id` is empty where there is no file on who was there."""

    room_id: str
    session_id: str
    title: str
    participants: int
    started_at: datetime | None
    ended_at: datetime | None
    analytics_id: str = ""


@dataclass(frozen=True)
class RecordingOnServer:
    """A recording as its server describes it; `size` in bytes, from megabytes (10^6) with two decimals."""

    record_id: str
    room_id: str
    session_id: str
    title: str
    size: int
    recorded_at: datetime | None
    session_started_at: datetime | None


@dataclass(frozen=True)
class Artifact:
    """A file that the server made of a session, e.g. of type MEETING_ANALYTICS."""

    artifact_id: str
    room_id: str
    type: str
    created_at: datetime | None


@dataclass(frozen=True)
class Page(Generic[Item]):
    """A part of a list, newest first, of `total` entries in all."""

    items: tuple[Item, ...]
    total: int
    offset: int


@dataclass(frozen=True)
class Stay:
    """When somebody came and left; the end is None where it is not known."""

    joined_at: datetime
    left_at: datetime | None


@dataclass(frozen=True)
class Attended:
    """Somebody's stays in a session, in their order."""

    identity: str
    name: str = field(repr=False)
    is_moderator: bool
    stays: tuple[Stay, ...]


@dataclass(frozen=True)
class AttendanceReport:
    """Who was in a session and when, as the server wrote it down."""

    room_id: str
    started_at: datetime | None
    ended_at: datetime | None
    people: tuple[Attended, ...]


@dataclass(frozen=True)
class WebhookMessage:
    """A verified webhook. What an event does not speak of is None or empty; `payload` is the whole of it."""

    event_id: str
    type: str
    sent_at: datetime | None
    room_id: str
    session_id: str
    session_started_at: datetime | None = None
    participant: Participant | None = None
    record_id: str = ""
    recording_size: int | None = None  # bytes
    artifact_id: str = ""
    artifact_type: str = ""
    payload: Mapping[str, Any] = field(default_factory=dict, repr=False)


class MeetingServerClient(Protocol):
    """One meeting server. Every method but `read_webhook` and `room_address` makes a request and raises
    `MeetingServerError`."""

    def check(self) -> None:
        """Whether the server is there and takes our key: silence is a yes."""

    def create_room(self, request: RoomRequest) -> Session:
        """Starts a session, or answers with the one that runs in this room, unchanged."""

    def live_session(self, room_id: str) -> LiveSession | None:
        """The session that runs in the room, and who is in it; None when there is none."""

    def is_running(self, room_id: str) -> bool:
        """Whether a session runs in the room."""

    def join_address(self, room_id: str, attendee: Attendee, settings: RoomSettings) -> str:
        """The address that lets this person in once, within minutes. A secret: never stored or logged.

        Raises also `RoomNotRunning` and `PersonBlocked`.
        """

    def end_room(self, room_id: str) -> bool:
        """Ends the session for everybody; False when none was running."""

    def past_sessions(self, room_ids: Sequence[str], *, offset: int = 0, limit: int = 100) -> Page[PastSession]:
        """Sessions of these rooms that have ended."""

    def recordings(self, room_ids: Sequence[str], *, offset: int = 0, limit: int = 100) -> Page[RecordingOnServer]:
        """Recordings of these rooms."""

    def recordings_of_session(self, session_id: str) -> Page[RecordingOnServer]:
        """Recordings of one session, a hundred at most."""

    def recording(self, record_id: str) -> RecordingOnServer | None:
        """One recording; None when it is not there."""

    def rename_recording(self, record_id: str, title: str) -> None:
        """Sets the title. Raises also `NotOnServer`."""

    def delete_recording(self, record_id: str) -> bool:
        """Deletes the file for good; False when it was not there."""

    def recording_address(self, record_id: str) -> str:
        """An address that gives the file to whoever has it, for some minutes. A secret. Raises also `NotOnServer`."""

    def artifacts(self, room_ids: Sequence[str], *, offset: int = 0, limit: int = 100) -> Page[Artifact]:
        """Files about the attendance in these rooms."""

    def attendance_report(self, artifact_id: str) -> AttendanceReport:
        """Reads such a file. Raises also `NotOnServer`."""

    def read_webhook(self, headers: Mapping[str, str], body: bytes) -> WebhookMessage:
        """The message, once its signature is checked against these very bytes. Raises `WebhookRefused`."""
