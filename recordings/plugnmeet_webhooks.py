"""The signatures of plugNmeet: of our requests to it, and of its webhooks to us (reference 3.1 and 3.8)."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

import jwt

from recordings import plugnmeet_answers as answers
from recordings.meeting_server import NotAMeetingServer, WebhookMessage, WebhookRefused

# Servers since v2.4.0 say the first, older ones and the documentation the second.
CONTENT_TYPES = frozenset({"application/json", "application/webhook+json"})
# Seconds that the server's clock may be wrong by.
CLOCK_DIFFERENCE = 60


def body_signature(secret: str, body: bytes) -> str:
    """The HASH-SIGNATURE header: lower-case hexadecimal HMAC-SHA256 of the body as it is sent."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def body_hash(body: bytes) -> str:
    """The `sha256` claim of a webhook: the standard base64 of the body's SHA-256."""
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def read_webhook(key: str, secret: str, headers: Mapping[str, str], body: bytes) -> WebhookMessage:
    """The message in these very bytes, if a token signed with our secret vouches for them.

    The token stands in two headers, since proxies take Authorization away. Raises WebhookRefused.
    """
    by_name = {name.lower(): value for name, value in headers.items()}
    content_type = by_name.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in CONTENT_TYPES:
        raise WebhookRefused("malformed", "the content type is not that of a webhook")
    token = by_name.get("hash-token", "").strip() or by_name.get("authorization", "").strip()
    if not token:
        raise WebhookRefused("unsigned", "neither Hash-Token nor Authorization is there")
    claims = _claims(token, key, secret)
    claimed = claims.get("sha256")
    if not isinstance(claimed, str) or not hmac.compare_digest(claimed.encode(), body_hash(body).encode()):
        raise WebhookRefused("body", "the token was made for another body")
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        raise WebhookRefused("malformed", "the body is not JSON") from None
    if not isinstance(payload, dict):
        raise WebhookRefused("malformed", "the body is not a JSON object")
    try:
        return _message(payload)
    except NotAMeetingServer as error:
        raise WebhookRefused("malformed", error.for_owner) from None


def _claims(token: str, key: str, secret: str) -> Mapping[str, Any]:
    # The join tokens of the same server have the same secret and issuer: only a token with the hash of a body counts.
    try:
        claims: Mapping[str, Any] = jwt.decode(
            token,
            secret,
            algorithms=["HS256"],
            issuer=key,
            leeway=CLOCK_DIFFERENCE,
            options={"require": ["exp", "iss", "sha256"], "verify_aud": False},
        )
    except (jwt.ExpiredSignatureError, jwt.ImmatureSignatureError):
        raise WebhookRefused("stale", "the token is past its time, or before it: compare the clocks") from None
    except jwt.PyJWTError:
        raise WebhookRefused("signature", "the token is not signed with this server's key and secret") from None
    return claims


def _message(payload: Mapping[str, Any]) -> WebhookMessage:
    room = payload.get("room")
    room = room if isinstance(room, dict) else {}
    people = payload.get("participant")
    recording = payload.get("recording_info")
    recording = recording if isinstance(recording, dict) else {}
    artifact = payload.get("room_artifact")
    artifact = artifact if isinstance(artifact, dict) else {}
    analytics = payload.get("analytics")
    analytics = analytics if isinstance(analytics, dict) else {}
    return WebhookMessage(
        event_id=answers.text(payload, "id", required=True),
        type=answers.text(payload, "event", required=True),
        sent_at=answers.moment(payload, "created_at"),
        room_id=answers.text(room, "room_id"),
        session_id=answers.text(room, "sid"),
        session_started_at=answers.moment(room, "creation_time"),
        participant=answers.participant(people) if isinstance(people, dict) else None,
        record_id=answers.text(recording, "record_id"),
        recording_size=answers.size(recording, "file_size") if "file_size" in recording else None,
        artifact_id=answers.text(artifact, "artifact_id") or answers.text(analytics, "file_id"),
        # An enum: its name, in some versions its number.
        artifact_type=str(artifact.get("type", "")) or (answers.ANALYTICS if analytics else ""),
        payload=payload,
    )
