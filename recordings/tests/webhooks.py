"""Webhooks as plugNmeet sends them: the body, and the token that vouches for it."""

import base64
import hashlib
import json
import time
from datetime import datetime
from typing import Any
from uuid import uuid4

import jwt
from django.test import Client

from recordings.models import Meeting, MeetingServer

SECRET = "meeting-secret-that-is-long-enough"
KEY = "meeting-key"


def unix(moment: datetime) -> str:
    """64-bit integers come as strings."""
    return str(int(moment.timestamp()))


def event(kind: str, meeting: Meeting, at: datetime, **more: Any) -> dict[str, Any]:
    room = {
        "sid": meeting.session_id,
        "room_id": meeting.room.room_id,
        "creation_time": unix(meeting.started_at),
        "metadata": "{}",
    }
    return {"event": kind, "id": str(uuid4()), "created_at": unix(at), "room": room, **more}


def person(
    kind: str, meeting: Meeting, at: datetime, identity: str, *, stay: str = "c1", **more: Any
) -> dict[str, Any]:
    """Somebody comes or goes; `joined_at` of the stay where `more` says so."""
    participant = {"sid": stay, "identity": identity, "name": f"Name of {identity[:8]}", "state": "ACTIVE", **more}
    return event(kind, meeting, at, participant=participant)


def signed(body: bytes, *, secret: str = SECRET, key: str = KEY, age: float = 0, sha256: str = "") -> str:
    """The token of `Authorization` and `Hash-Token`, made so many seconds ago."""
    now = int(time.time() - age)
    digest = sha256 or base64.b64encode(hashlib.sha256(body).digest()).decode()
    return jwt.encode({"iss": key, "nbf": now, "exp": now + 300, "sha256": digest}, secret, algorithm="HS256")


def post(
    server: MeetingServer,
    message: dict[str, Any] | bytes,
    *,
    content_type: str = "application/json",
    client: Client | None = None,
    **signature: Any,
) -> int:
    """Sends it as the server does; returns the answer's status."""
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    answer = (client or Client()).post(
        f"/meetings/webhook/{server.pk}",
        body,
        content_type=content_type,
        headers={"Hash-Token": signed(body, **signature)},
    )
    return answer.status_code
