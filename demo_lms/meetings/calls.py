"""The calls of plugNmeet's API, by their path under `/auth/`."""

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import jwt

from demo_lms.meetings import wire
from demo_lms.meetings.archive import ARTIFACT, RECORDING, SESSION
from demo_lms.meetings.sessions import Session, Sessions
from demo_lms.meetings.wire import BadRequest

JOIN_SECONDS, RECORDING_SECONDS, ARTIFACT_SECONDS = 600, 1800, 600
LONGEST_EMPTY, SHORTEST_EMPTY = 1800, 120
_ROOM_ID = re.compile(r"[a-zA-Z0-9_-]+")
_RESERVED = ("user_", "ingres_", "pnm_agent-", "pnm_tts_agent-", "sip_")

Answer = dict[str, Any]


class Calls:
    """What the server answers, for requests whose signature was checked. `follows_false`: as servers before v2.3.0."""

    def __init__(self, key: str, secret: str, sessions: Sessions, *, follows_false: bool = False) -> None:
        self._key = key
        self._secret = secret
        self._sessions = sessions
        self._follows_false = follows_false
        self._by_path: Mapping[str, tuple[wire.Kind, Callable[[Mapping[str, Any]], Answer]]] = {
            "room/create": (wire.CREATE, self._create),
            "room/getJoinToken": (wire.JOIN, self._join),
            "room/isRoomActive": (wire.ROOM, self._is_active),
            "room/getActiveRoomInfo": (wire.ROOM, self._active),
            "room/getActiveRoomsInfo": (wire.message(), self._all_active),
            "room/endRoom": (wire.ROOM, self._end),
            "room/fetchPastRooms": (wire.LIST, self._past),
            "recording/fetch": (wire.LIST, self._recordings),
            "recording/info": (wire.RECORD, self._recording),
            "recording/recordingInfo": (wire.RECORD, self._recording),
            "recording/updateMetadata": (wire.RENAME, self._describe),
            "recording/delete": (wire.RECORD, self._delete_recording),
            "recording/getDownloadToken": (wire.RECORD, self._recording_token),
            "artifact/fetch": (wire.LIST, self._artifacts),
            "artifact/info": (wire.ARTIFACT, self._artifact),
            "artifact/delete": (wire.ARTIFACT, self._delete_artifact),
            "artifact/getDownloadToken": (wire.ARTIFACT, self._artifact_token),
        }

    def knows(self, path: str) -> bool:
        return path in self._by_path

    def answer(self, path: str, body: Any) -> Answer:
        """The answer, which is one of HTTP 200 whatever its `status`."""
        kind, call = self._by_path[path]
        try:
            return call(wire.read(kind, body))
        except BadRequest as error:
            return _failed(str(error), error.status_code)

    # Rooms

    def _create(self, asked: Mapping[str, Any]) -> Answer:
        room_id = _room_id(asked)
        metadata = asked.get("metadata")
        for name in ("empty_timeout", "max_participants"):
            if asked.get(name) == 0:
                raise BadRequest(f"validation error: {name}: value must be greater than 0")
        if not metadata or not metadata.get("room_title"):
            raise BadRequest("validation error: metadata.room_title: value is required")
        if "room_features" not in metadata:
            raise BadRequest("validation error: metadata.room_features: value is required")
        for name in ("webhook_url", "logout_url"):
            if name in metadata and not _is_uri(metadata[name]):
                raise BadRequest(f"validation error: metadata.{name}: value must be a valid URI")
        for name in ("is_recording", "is_active_rtmp", "is_breakout_room", "parent_room_id", "metadata_id"):
            if metadata.get(name):
                raise BadRequest(f"validation error: metadata.{name}: value must be empty")
        features = wire.applied_features(metadata["room_features"], follows_false=self._follows_false)
        empty_timeout = asked.get("empty_timeout") or LONGEST_EMPTY
        session = self._sessions.create(
            room_id,
            {**metadata, "room_features": features},
            LONGEST_EMPTY if empty_timeout < SHORTEST_EMPTY else empty_timeout,
            asked.get("max_participants", 0),
        )
        return _well(room_info=_room_info(session))

    def _join(self, asked: Mapping[str, Any]) -> Answer:
        room_id = _room_id(asked)
        user = asked.get("user_info") or {}
        identity, name = user.get("user_id", ""), user.get("name", "")
        if not name:
            raise BadRequest("validation error: user_info.name: value is required")
        if not _ROOM_ID.fullmatch(identity):
            raise BadRequest("user_id should only contain ASCII letters (a-z A-Z), digits (0-9) or -_")
        if identity.startswith(_RESERVED) or identity.endswith("-native") or "-FIELD_" in identity:
            raise BadRequest("validation error: user_info.user_id: value uses a reserved word")
        metadata = user.get("user_metadata") or {}
        if "profile_pic" in metadata and not _is_uri(metadata["profile_pic"]):
            raise BadRequest("validation error: user_info.user_metadata.profile_pic: value must be a valid URI")
        session = self._sessions.running(room_id)
        if session is None:
            raise BadRequest("room is not active", "ROOM_NOT_FOUND")
        if identity in session.blocked:
            raise BadRequest("this user is blocked to join this session", "USER_BLOCKED")
        claims = {
            "name": name,
            "user_id": identity,
            "room_id": room_id,
            "is_admin": user.get("is_admin", False),
            "is_hidden": user.get("is_hidden", False),
            "client_type": "WEB",
            "sub": identity,
        }
        return _well(token=self._token(JOIN_SECONDS, **claims))

    def _is_active(self, asked: Mapping[str, Any]) -> Answer:
        room_id = _room_id(asked)
        if self._sessions.running(room_id) is not None:
            return {"status": True, "msg": "room is active", "status_code": "SUCCESS", "is_active": True}
        known = self._sessions.was_there(room_id)
        return {
            "status": True,
            "msg": "room is not active" if known else "room not found",
            "status_code": "ROOM_NOT_ACTIVE" if known else "ROOM_NOT_FOUND",
            "is_active": False,
        }

    def _active(self, asked: Mapping[str, Any]) -> Answer:
        session = self._sessions.running(_room_id(asked))
        if session is None:
            return {**_failed("room not found in active state", "ROOM_NOT_FOUND"), "room": None}
        return _well(room=self._room(session))

    def _all_active(self, asked: Mapping[str, Any]) -> Answer:
        rooms = [self._room(session) for session in self._sessions.all_running()]
        return _well(rooms=rooms) if rooms else {**_failed("no active room found", "NOT_FOUND"), "rooms": []}

    def _room(self, session: Session) -> Answer:
        people = [self._sessions.participant(one) for one in list(session.people.values())]
        return {"room_info": _room_info(session), "participants_info": people}

    def _end(self, asked: Mapping[str, Any]) -> Answer:
        if not self._sessions.end(_room_id(asked)):
            raise BadRequest("room not found or not active", "ROOM_NOT_FOUND")
        return _well()

    def _past(self, asked: Mapping[str, Any]) -> Answer:
        return self._listed(SESSION, {**asked, "room_sid": ""}, "total_rooms", "rooms_list", "no room found")

    # Recordings

    def _recordings(self, asked: Mapping[str, Any]) -> Answer:
        return self._listed(RECORDING, asked, "total_recordings", "recordings_list", "no recording found")

    def _recording(self, asked: Mapping[str, Any]) -> Answer:
        found = self._found(RECORDING, asked.get("record_id", ""), "recording not found")
        past = self._sessions.archive.find(SESSION, found["room_sid"])
        return _well(recording_info=_public(found), room_info=past)

    def _describe(self, asked: Mapping[str, Any]) -> Answer:
        found = self._found(RECORDING, asked.get("record_id", ""), "recording not found")
        changes = asked.get("metadata")
        if changes is None:
            raise BadRequest("validation error: metadata: value is required")
        found["metadata"] = {**found["metadata"], **changes}
        self._sessions.archive.keep(RECORDING, found["record_id"], found["room_id"], found["room_sid"], found)
        return _well()

    def _delete_recording(self, asked: Mapping[str, Any]) -> Answer:
        if not self._sessions.archive.remove(RECORDING, asked.get("record_id", "")):
            raise BadRequest("recording not found", "NOT_FOUND")
        return _well()

    def _recording_token(self, asked: Mapping[str, Any]) -> Answer:
        found = self._found(RECORDING, asked.get("record_id", ""), "recording not found")
        return _well(token=self._token(RECORDING_SECONDS, sub=f"recording:{found['record_id']}"))

    # Files

    def _artifacts(self, asked: Mapping[str, Any]) -> Answer:
        return self._listed(ARTIFACT, asked, "total_artifacts", "artifacts_list", "no artifact found")

    def _artifact(self, asked: Mapping[str, Any]) -> Answer:
        found = self._found(ARTIFACT, asked.get("artifact_id", ""), "artifact not found")
        return _well(artifact_info=_public(found))

    def _delete_artifact(self, asked: Mapping[str, Any]) -> Answer:
        if not self._sessions.archive.remove(ARTIFACT, asked.get("artifact_id", "")):
            raise BadRequest("artifact not found", "NOT_FOUND")
        return _well()

    def _artifact_token(self, asked: Mapping[str, Any]) -> Answer:
        found = self._found(ARTIFACT, asked.get("artifact_id", ""), "artifact not found")
        return _well(token=self._token(ARTIFACT_SECONDS, sub=f"artifact:{found['artifact_id']}"))

    # Both

    def _found(self, kind: str, document_id: str, message: str) -> dict[str, Any]:
        found = self._sessions.archive.find(kind, document_id)
        if found is None:
            raise BadRequest(message, "NOT_FOUND")
        return found

    def _listed(self, kind: str, asked: Mapping[str, Any], total_name: str, name: str, none: str) -> Answer:
        offset, limit = asked.get("from", 0), min(asked.get("limit", 0) or 20, 100)
        order = "ASC" if asked.get("order_by") == "ASC" else "DESC"
        found, total = self._sessions.archive.listed(
            kind,
            room_ids=asked.get("room_ids", []),
            session_id=asked.get("room_sid") or "",
            offset=offset,
            limit=limit,
            ascending=order == "ASC",
        )
        if not found:
            raise BadRequest(none, "NOT_FOUND")
        listed = [_public(one) for one in found]
        result = {total_name: str(total), "from": offset, "limit": limit, "order_by": order, name: listed}
        return _well(result=result)

    def _token(self, seconds: int, **claims: Any) -> str:
        now = int(time.time())
        return jwt.encode({**claims, "iss": self._key, "nbf": now, "exp": now + seconds}, self._secret, "HS256")


def _room_id(asked: Mapping[str, Any]) -> str:
    room_id: str = asked.get("room_id", "")
    if not _ROOM_ID.fullmatch(room_id):
        raise BadRequest("validation error: room_id: value does not match regex pattern `^[a-zA-Z0-9-_]+$`")
    if len(room_id) > 64 or room_id.startswith("user_") or "-FIELD_" in room_id:
        raise BadRequest("validation error: room_id: value is too long or uses a reserved word")
    return room_id


def _is_uri(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme and (parts.netloc or parts.path)) and " " not in text


def _public(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in ("seconds", "document")}


def _room_info(session: Session) -> Answer:
    # Metadata travels as a string, with the names that the server's own JSON has.

    return {
        "room_title": session.title,
        "room_id": session.room_id,
        "sid": session.sid,
        "joined_participants": str(len(session.people)),
        "is_running": 1,
        "is_recording": int(session.recorded_since is not None),
        "is_active_rtmp": 0,
        "webhook_url": session.metadata.get("webhook_url", ""),
        "is_breakout_room": 0,
        "parent_room_id": "",
        "creation_time": str(int(session.created_at)),
        "metadata": json.dumps(session.metadata),
    }


def _well(**more: Any) -> Answer:
    return {"status": True, "msg": "success", "status_code": "SUCCESS", **more}


def _failed(message: str, status_code: str) -> Answer:
    return {"status": False, "msg": message, "status_code": status_code}
