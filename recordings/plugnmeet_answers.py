"""Reading what plugNmeet answers: protobuf JSON, with 64-bit integers as strings, into our own typed values.

Whatever has another shape than the API's raises `NotAMeetingServer`. A field that is absent has its zero value, since
webhooks and older servers leave those out.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from lti.outbound import OutboundResponse
from recordings.meeting_server import (
    Artifact,
    AttendanceReport,
    Attended,
    LiveSession,
    NotAMeetingServer,
    Participant,
    PastSession,
    RecordingOnServer,
    Session,
    Stay,
)
from recordings.models import MEGABYTE

ANALYTICS = "MEETING_ANALYTICS"
_MISSING_CODES = frozenset({"NOT_FOUND", "ROOM_NOT_FOUND", "ROOM_NOT_ACTIVE"})
# What servers said before they had a status_code (2026).
_MISSING_WORDS = re.compile(r"(no [a-z ]+ found|[a-z]+ not found.*|room is not active.*)", re.IGNORECASE)
# Who is in a session without being a person: recorders, phone bridges, transcribers.
_BOTS = re.compile(r"(RECORDER_BOT|RTMP_BOT)|(sip_|ingres_|pnm_agent-|pnm_tts_agent-)")


def read_answer(response: OutboundResponse) -> Mapping[str, Any] | None:
    """The JSON object in the answer; None where there is none."""
    try:
        answer = json.loads(response.body)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def is_missing(answer: Mapping[str, Any]) -> bool:
    """Whether this is the failure that stands for "there is none": of a room, a recording, or in a list."""
    if boolean(answer, "status"):
        return False
    status_code = text(answer, "status_code")
    if status_code in ("", "UNKNOWN_STATUS"):
        return _MISSING_WORDS.fullmatch(text(answer, "msg").strip()) is not None
    return status_code in _MISSING_CODES


def is_bot(identity: str) -> bool:
    return _BOTS.match(identity) is not None


# Values


def boolean(answer: Mapping[str, Any], name: str) -> bool:
    """A field that is always there: without it, this is another API."""
    value = answer.get(name)
    if not isinstance(value, bool):
        raise _odd(name)
    return value


def text(answer: Mapping[str, Any], name: str, *, required: bool = False) -> str:
    value = answer.get(name)
    if value is None:
        value = ""
    if not isinstance(value, str) or (required and not value):
        raise _odd(name)
    # PostgreSQL stores no NUL.
    return value.replace("\x00", "")


def integer(answer: Mapping[str, Any], name: str) -> int:
    """A number, or a 64-bit one as a string; absent: 0."""
    value = answer.get(name)
    if value is None or value == "":
        return 0
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}", value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise _odd(name)


def message(answer: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = answer.get(name)
    if not isinstance(value, dict):
        raise _odd(name)
    return value


def messages(answer: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    value = answer.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise _odd(name)
    return value


def size(answer: Mapping[str, Any], name: str) -> int:
    """A file's size in bytes: it comes in megabytes with two decimals, whatever the server's documentation says."""
    value = answer.get(name)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise _odd(name)
    return round(value * MEGABYTE)


def moment(answer: Mapping[str, Any], name: str, *, per_second: int = 1) -> datetime | None:
    """A point in time: Unix seconds (or so many parts of one), RFC 3339, or `YYYY-MM-DD HH:MM:SS` in UTC; 0: none."""
    value = answer.get(name)
    if isinstance(value, str) and "-" in value[1:]:
        try:
            parsed = datetime.fromisoformat(value)
        except ValueError:
            raise _odd(name) from None
        return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    count = integer(answer, name)
    try:
        return datetime.fromtimestamp(count / per_second, UTC) if count > 0 else None
    except (OverflowError, OSError, ValueError):
        raise _odd(name) from None


def embedded(answer: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """JSON that travels as a string inside JSON; empty where there is none, or where it is no object."""
    try:
        value = json.loads(text(answer, name) or "{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _odd(name: str) -> NotAMeetingServer:
    return NotAMeetingServer(
        f"What answers there is not the API of a meeting server, or another version of it: “{name}” is missing or odd."
    )


# Objects


def session(info: Mapping[str, Any]) -> tuple[Session, Mapping[str, Any]]:
    """A running session, and the metadata that the server keeps with its room."""
    running = Session(
        room_id=text(info, "room_id", required=True),
        session_id=text(info, "sid", required=True),
        started_at=moment(info, "creation_time"),
        participants=integer(info, "joined_participants"),
        is_recording=bool(integer(info, "is_recording")),
    )
    return running, embedded(info, "metadata")


def live_session(room: Mapping[str, Any]) -> LiveSession:
    running, _ = session(message(room, "room_info"))
    people = (participant(entry) for entry in messages(room, "participants_info"))
    return LiveSession(running, tuple(one for one in people if one.is_present and not one.is_bot))


def participant(info: Mapping[str, Any]) -> Participant:
    identity = text(info, "identity", required=True)
    return Participant(
        identity=identity,
        connection_id=text(info, "sid"),
        name=text(info, "name"),
        joined_at=moment(info, "joined_at"),
        is_moderator=embedded(info, "metadata").get("is_admin") is True,
        is_present=text(info, "state") != "DISCONNECTED",
        is_bot=is_bot(identity),
    )


def past_session(info: Mapping[str, Any]) -> PastSession:
    return PastSession(
        room_id=text(info, "room_id", required=True),
        session_id=text(info, "room_sid", required=True),
        title=text(info, "room_title"),
        participants=integer(info, "joined_participants"),
        started_at=moment(info, "created"),
        ended_at=moment(info, "ended"),
        analytics_id=text(info, "analytics_file_id"),
    )


def recording(info: Mapping[str, Any]) -> RecordingOnServer:
    metadata = info.get("metadata")
    return RecordingOnServer(
        record_id=text(info, "record_id", required=True),
        room_id=text(info, "room_id"),
        session_id=text(info, "room_sid"),
        title=text(metadata, "title") if isinstance(metadata, dict) else "",
        size=size(info, "file_size"),
        recorded_at=moment(info, "creation_time"),
        session_started_at=moment(info, "room_creation_time"),
    )


def artifact(info: Mapping[str, Any]) -> Artifact:
    return Artifact(
        artifact_id=text(info, "artifact_id", required=True),
        room_id=text(info, "room_id"),
        type=str(info.get("type", "")),
        created_at=moment(info, "created"),
    )


def attendance_report(document: Mapping[str, Any]) -> AttendanceReport:
    """The file of type MEETING_ANALYTICS: of each user the times (ms) of joining and of leaving."""
    room = message(document, "room")
    ended_at = moment(room, "room_ended")
    people = []
    for user in messages(document, "users"):
        identity = text(user, "user_id", required=True)
        if is_bot(identity):
            continue
        people.append(
            Attended(
                identity=identity,
                name=text(user, "name"),
                is_moderator=user.get("is_admin") is True,
                stays=_stays(_times(user, "joined"), _times(user, "left")),
            )
        )
    return AttendanceReport(
        room_id=text(room, "room_id", required=True),
        started_at=moment(room, "room_creation"),
        ended_at=ended_at,
        people=tuple(people),
    )


def _times(user: Mapping[str, Any], name: str) -> list[datetime]:
    times = [
        moment(value, "time", per_second=1000)
        for event in messages(user, "events")
        if text(event, "name") == name
        for value in messages(event, "values")
    ]
    return sorted(at for at in times if at is not None)


def _stays(joined: Sequence[datetime], left: Sequence[datetime]) -> tuple[Stay, ...]:
    """Each join with the first leave after it, unless the next join comes before that."""
    stays = []
    for index, start in enumerate(joined):
        following = joined[index + 1] if index + 1 < len(joined) else None
        ends = [at for at in left if at >= start and (following is None or at <= following)]
        stays.append(Stay(start, ends[0] if ends else None))
    return tuple(stays)
