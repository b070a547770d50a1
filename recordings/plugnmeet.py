"""plugNmeet's HTTP API, and its webhooks. The sandbox server speaks the same.

Each request is signed: lower-case hexadecimal HMAC-SHA256 of the body's very bytes. Bodies are protobuf JSON with
snake_case names; 64-bit integers come as strings. Everything but a bad signature is answered with HTTP 200: `status`
says whether it went well, and an empty list is a failure with NOT_FOUND.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import quote, urljoin

from lti.outbound import OutboundFailed, OutboundRefused, OutboundResponse
from lti.redaction import redact
from lti.texts import single_line, truncated
from organizations.outbound import outbound_client
from recordings import plugnmeet_answers as answers
from recordings.meeting_server import (
    AddressRefused,
    Artifact,
    AttendanceReport,
    Attendee,
    KeyRefused,
    LiveSession,
    NotAMeetingServer,
    NotOnServer,
    Page,
    PastSession,
    PersonBlocked,
    RecordingOnServer,
    RequestRefused,
    RoomNotRunning,
    RoomRequest,
    ServerFailing,
    ServerTooSlow,
    ServerUnreachable,
    Session,
    WebhookMessage,
)
from recordings.plugnmeet_answers import read_answer
from recordings.plugnmeet_rooms import create_body, differences, join_body
from recordings.plugnmeet_webhooks import body_signature, read_webhook
from recordings.room_settings import RoomSettings

# Seconds. Creating, ending and asking about a room wait up to 15 s for the room's lock on the server.
QUICK, LOCKED, DOWNLOAD = 10.0, 20.0, 30.0
LARGEST_ANSWER = 2 * 1024 * 1024
LARGEST_REPORT = 16 * 1024 * 1024
# A connection that had been kept open may have gone meanwhile, and a proxy may be restarting what is behind it.
RETRY_AFTER_SECONDS = 0.3
_PASSING = frozenset({502, 503, 504})

_Answer = TypeVar("_Answer")


class PlugNmeetClient:
    """A plugNmeet server at this address (scheme, host, perhaps a path), with the key and secret of its API.

    `patience` multiplies the time that each call may take.
    """

    def __init__(self, url: str, api_key: str, api_secret: str, *, patience: float = 1.0) -> None:
        self._url = url.rstrip("/")
        self._key = api_key
        self._secret = api_secret
        self._patience = patience

    def __repr__(self) -> str:
        return f"PlugNmeetClient({self._url!r})"

    # Rooms

    def check(self) -> None:
        # The cheapest call that needs the key: no room of ours has this name.
        answer = self._call("room/isRoomActive", {"room_id": "connection-test"})
        if not answers.is_missing(answer):
            self._well(answer)
            answers.boolean(answer, "is_active")

    def create_room(self, request: RoomRequest) -> Session:
        answer = self._call("room/create", create_body(request), seconds=LOCKED)
        self._well(answer)
        session, metadata = answers.session(answers.message(answer, "room_info"))
        return replace(session, differences=differences(request.settings, metadata))

    def live_session(self, room_id: str) -> LiveSession | None:
        answer = self._call("room/getActiveRoomInfo", {"room_id": room_id}, seconds=LOCKED)
        if answers.is_missing(answer):
            return None
        self._well(answer)
        return answers.live_session(answers.message(answer, "room"))

    def is_running(self, room_id: str) -> bool:
        answer = self._call("room/isRoomActive", {"room_id": room_id})
        if answers.is_missing(answer):
            return False
        self._well(answer)
        # A room without a session is told of with a status of true.
        return answers.boolean(answer, "is_active")

    def join_address(self, room_id: str, attendee: Attendee, settings: RoomSettings) -> str:
        answer = self._call("room/getJoinToken", join_body(room_id, attendee))
        self._well(answer)
        address = f"{self._url}/?access_token={quote(answers.text(answer, 'token', required=True), safe='')}"
        if settings.design:
            design = json.dumps(settings.design, separators=(",", ":"))
            address += f"&custom_design={quote(design, safe='')}"
        return address

    def end_room(self, room_id: str) -> bool:
        answer = self._call("room/endRoom", {"room_id": room_id}, seconds=LOCKED)
        if answers.is_missing(answer):
            return False
        self._well(answer)
        return True

    def past_sessions(self, room_ids: Sequence[str], *, offset: int = 0, limit: int = 100) -> Page[PastSession]:
        return self._page(
            "room/fetchPastRooms", {}, "rooms_list", "total_rooms", answers.past_session, room_ids, offset, limit
        )

    # Recordings

    def recordings(self, room_ids: Sequence[str], *, offset: int = 0, limit: int = 100) -> Page[RecordingOnServer]:
        return self._page(
            "recording/fetch", {}, "recordings_list", "total_recordings", answers.recording, room_ids, offset, limit
        )

    def recordings_of_session(self, session_id: str) -> Page[RecordingOnServer]:
        if not session_id:
            raise ValueError("Without a session the server would answer with the recordings of everybody.")
        session = {"room_sid": session_id}
        return self._page("recording/fetch", session, "recordings_list", "total_recordings", answers.recording)

    def recording(self, record_id: str) -> RecordingOnServer | None:
        answer = self._call("recording/info", {"record_id": record_id})
        if answers.is_missing(answer):
            return None
        self._well(answer)
        return answers.recording(answers.message(answer, "recording_info"))

    def rename_recording(self, record_id: str, title: str) -> None:
        # Only what is named is changed; an empty text clears it.
        self._well(
            self._call("recording/updateMetadata", {"record_id": record_id, "metadata": {"title": title}}),
            missing=NotOnServer,
        )

    def delete_recording(self, record_id: str) -> bool:
        answer = self._call("recording/delete", {"record_id": record_id}, seconds=LOCKED)
        if answers.is_missing(answer):
            return False
        self._well(answer)
        return True

    def recording_address(self, record_id: str) -> str:
        return self._download_address("recording", {"record_id": record_id})

    # Files about a session

    def artifacts(self, room_ids: Sequence[str], *, offset: int = 0, limit: int = 100) -> Page[Artifact]:
        kind = {"type": answers.ANALYTICS}
        return self._page(
            "artifact/fetch", kind, "artifacts_list", "total_artifacts", answers.artifact, room_ids, offset, limit
        )

    def attendance_report(self, artifact_id: str) -> AttendanceReport:
        address = self._download_address("artifact", {"artifact_id": artifact_id})
        response = self._send("GET", address, {}, None, DOWNLOAD, LARGEST_REPORT)
        if response.status in (302, 307):
            # The storage behind the server; the guarded client checks where that leads.
            address = urljoin(address, response.headers.get("Location", ""))
            response = self._send("GET", address, {}, None, DOWNLOAD, LARGEST_REPORT)
        if response.status in (401, 404):
            raise NotOnServer("The file on who attended is not on the meeting server any more.")
        return answers.attendance_report(self._json(response))

    # Webhooks

    def read_webhook(self, headers: Mapping[str, str], body: bytes) -> WebhookMessage:
        return read_webhook(self._key, self._secret, headers, body)

    # The way there

    def _page(
        self,
        path: str,
        body: Mapping[str, Any],
        list_name: str,
        total_name: str,
        read: Callable[[Mapping[str, Any]], _Answer],
        room_ids: Sequence[str] | None = None,
        offset: int = 0,
        limit: int = 100,
    ) -> Page[_Answer]:
        if room_ids is not None:
            if not room_ids:
                # Without a room the server would answer with the lists of all its tenants.
                return Page((), 0, offset)
            body = {"room_ids": list(room_ids), **body}
        answer = self._call(path, {**body, "from": offset, "limit": min(limit, 100), "order_by": "DESC"})
        if answers.is_missing(answer):
            return Page((), 0, offset)
        self._well(answer)
        result = answers.message(answer, "result")
        items = tuple(read(entry) for entry in answers.messages(result, list_name))
        return Page(items, answers.integer(result, total_name), offset)

    def _download_address(self, kind: str, body: Mapping[str, Any]) -> str:
        answer = self._call(f"{kind}/getDownloadToken", body)
        self._well(answer, missing=NotOnServer)
        return f"{self._url}/download/{kind}/{quote(answers.text(answer, 'token', required=True), safe='')}"

    def _call(self, path: str, body: Mapping[str, Any], seconds: float = QUICK) -> Mapping[str, Any]:
        """The answer, whatever its `status`. Every call of this API may be made twice: what exists or is gone already
        is answered as such."""
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "API-KEY": self._key,
            "HASH-SIGNATURE": body_signature(self._secret, content),
        }
        return self._json(self._send("POST", f"{self._url}/auth/{path}", headers, content, seconds, LARGEST_ANSWER))

    def _send(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None, seconds: float, largest: int
    ) -> OutboundResponse:
        try:
            response = self._sent(method, url, headers, content, seconds, largest)
            if response.status not in _PASSING:
                return response
        except ServerUnreachable:
            # Nothing to hold on to: the second try says what is wrong, if it still is.
            pass
        time.sleep(RETRY_AFTER_SECONDS)
        return self._sent(method, url, headers, content, seconds, largest)

    def _sent(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None, seconds: float, largest: int
    ) -> OutboundResponse:
        seconds *= self._patience
        client = outbound_client(total_timeout=seconds, max_response_bytes=largest)
        try:
            return client.request(method, url, headers=headers, body=content)
        except OutboundRefused as error:
            raise AddressRefused(f"The server's address may not be called from here: {error.reason}.") from None
        except OutboundFailed as error:
            if error.kind == "timeout":
                raise ServerTooSlow(
                    f"The server did not answer within {seconds:g} seconds ({error.reason}). Look whether it is "
                    "overloaded, or whether a firewall swallows our requests."
                ) from None
            raise ServerUnreachable(
                f"The server cannot be reached: {error.reason}. Check its URL, and that it runs."
            ) from None

    def _json(self, response: OutboundResponse) -> Mapping[str, Any]:
        if response.status == 401:
            raise KeyRefused(_key_words(read_answer(response)))
        if response.status >= 500 or response.status == 429:
            raise ServerFailing(f"The server answers HTTP {response.status}. Look into its log, and that of its proxy.")
        if response.truncated:
            raise NotAMeetingServer("The server's answer is larger than any that we asked for.")
        answer = read_answer(response)
        if answer is None or response.status != 200:
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip()[:60] or "something"
            raise NotAMeetingServer(
                f"No meeting server's API answers there (HTTP {response.status}, {single_line(kind)}). The URL must be "
                "that of the server itself, such as https://meet.example.org, without a path to one of its pages."
            )
        return answer

    def _well(self, answer: Mapping[str, Any], *, missing: type[RequestRefused] = RoomNotRunning) -> None:
        """Raises what a `status` of false stands for."""
        if answers.boolean(answer, "status"):
            return
        reason = truncated(single_line(redact(answers.text(answer, "msg"))), 200)
        status_code = answers.text(answer, "status_code")
        kind: type[RequestRefused] = RequestRefused
        if answers.is_missing(answer):
            kind = missing
        elif status_code == "USER_BLOCKED" or "blocked to join" in reason:
            kind = PersonBlocked
        raise kind(f"The server refused: {reason or 'it gave no reason'}.", reason=reason, status_code=status_code)


def _key_words(answer: Mapping[str, Any] | None) -> str:
    """Which of key and secret is wrong, as far as the server tells."""
    said = answers.text(answer, "msg") if answer is not None else ""
    if "Invalid API key" in said:
        return "The server does not know this API key. Compare it with api_key in the server's configuration."
    if "verify" in said:
        return (
            "The server knows the API key, but the secret does not fit. Compare it with the server's configuration; "
            "a proxy that rewrites requests would look the same."
        )
    return "The server refuses the API key and secret (HTTP 401). A proxy that drops the API-KEY header looks the same."
