"""The sandbox over HTTP: the signed API under `/auth/`, downloads, and the room page with what its script asks."""

import hashlib
import hmac
import json
import re
import socket
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt

from demo_lms.meetings.archive import ARTIFACT, RECORDING
from demo_lms.meetings.calls import Calls
from demo_lms.meetings.media import wav_file
from demo_lms.meetings.sessions import Presence, Refused, Session, Sessions

LARGEST_BODY = 1024 * 1024
TICK_SECONDS = 0.2
PAGES = Path(__file__).with_name("pages")
_TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript"}
_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z")


class MeetingServer(ThreadingHTTPServer):
    """The sandbox on an address (host, port), with the key and secret that it takes."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(
        self,
        address: tuple[str, int],
        key: str,
        secret: str,
        sessions: Sessions,
        *,
        follows_false: bool = False,
        inherited: int | None = None,
    ) -> None:
        """`inherited` is the number of a socket that listens already; the address is then its own."""
        self.key = key
        self.secret = secret
        self.sessions = sessions
        self.calls = Calls(key, secret, sessions, follows_false=follows_false)
        self._stopping = threading.Event()
        super().__init__(address, _Handler, bind_and_activate=inherited is None)
        if inherited is not None:
            self.socket.close()
            self.socket = socket.socket(fileno=inherited)
            self.server_name, self.server_port = self.socket.getsockname()[:2]
        threading.Thread(target=self._tick, daemon=True).start()

    def _tick(self) -> None:
        while not self._stopping.wait(TICK_SECONDS):
            self.sessions.tick()

    def server_close(self) -> None:
        self._stopping.set()
        super().server_close()


class _Handler(BaseHTTPRequestHandler):
    server: MeetingServer
    protocol_version = "HTTP/1.1"
    server_version = "sandbox"
    # Head and body of an answer leave in one packet: Nagle's algorithm and delayed ACKs would add 40 ms.
    wbufsize = -1
    disable_nagle_algorithm = True
    timeout = 120

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,9}", length) or int(length) > LARGEST_BODY:
            self.close_connection = True
            self._text(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too large, or without a length")
            return
        body = self.rfile.read(int(length))
        path = urlsplit(self.path).path
        if path.startswith("/auth/") and self.server.calls.knows(path.removeprefix("/auth/")):
            self._api(path.removeprefix("/auth/"), body)
        elif path in _ROOM_CALLS:
            self._room_call(_ROOM_CALLS[path], body)
        else:
            self._text(HTTPStatus.NOT_FOUND, f"Cannot POST {path}")

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/health":
            self._json(HTTPStatus.OK, {"status": "ok"})
        elif path == "/":
            self._page("room.html")
        elif path == "/favicon.ico":
            self._answer(HTTPStatus.NO_CONTENT, b"", "image/x-icon")
        elif path in ("/sandbox/room.css", "/sandbox/room.js"):
            self._page(path.rpartition("/")[2])
        elif path.startswith(("/download/recording/", "/download/artifact/")):
            self._download(*path.removeprefix("/download/").split("/", 1))
        else:
            self._text(HTTPStatus.NOT_FOUND, f"Cannot GET {path}")

    do_HEAD = do_GET  # noqa: N815 - named by http.server

    # The API

    def _api(self, path: str, body: bytes) -> None:
        refused = self._unsigned(body)
        if refused:
            message, status_code = refused
            self._json(HTTPStatus.UNAUTHORIZED, {"status": False, "msg": message, "status_code": status_code})
            return
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError):
            answer = {"status": False, "msg": "proto: syntax error", "status_code": "INVALID_PARAMETERS"}
            self._json(HTTPStatus.OK, answer)
            return
        self._json(HTTPStatus.OK, self.server.calls.answer(path, asked))

    def _unsigned(self, body: bytes) -> tuple[str, str] | None:
        """What is wrong with the key and the signature: the message and the status code."""
        key, signature = self.headers.get("API-KEY", ""), self.headers.get("HASH-SIGNATURE", "")
        if not key:
            return "Missing API-KEY header.", "INVALID_API_KEY"
        if not hmac.compare_digest(key.encode(), self.server.key.encode()):
            return "Invalid API key provided.", "INVALID_API_KEY"
        if not signature:
            return "Missing HASH-SIGNATURE header.", "INVALID_TOKEN_OR_SIGNATURE"
        expected = hmac.new(self.server.secret.encode(), body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(signature.encode(), expected.encode()):
            return "Failed to verify provided authentication details.", "INVALID_TOKEN_OR_SIGNATURE"
        return None

    def _claims(self, token: str) -> Mapping[str, Any] | None:
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token,
                self.server.secret,
                algorithms=["HS256"],
                issuer=self.server.key,
                options={"require": ["exp", "iss", "sub"]},
            )
        except jwt.PyJWTError:
            return None
        return claims

    # Downloads

    def _download(self, kind: str, token: str) -> None:
        claims = self._claims(token)
        subject = str(claims["sub"]) if claims else ""
        if not subject.startswith(f"{kind}:"):
            self._text(HTTPStatus.UNAUTHORIZED, "token expired")
            return
        document_id = subject.partition(":")[2]
        found = self.server.sessions.archive.find(RECORDING if kind == "recording" else ARTIFACT, document_id)
        if found is None:
            self._text(HTTPStatus.NOT_FOUND, "file not found")
        elif kind == "recording":
            self._file(wav_file(found["seconds"]), "audio/wav", f"{document_id}.wav")
        else:
            self._file(json.dumps(found["document"]).encode(), "application/json", f"{document_id}.json")

    def _file(self, content: bytes, content_type: str, name: str) -> None:
        """The whole file, or the range that a player asks for."""
        first, last = 0, len(content) - 1
        asked = _RANGE.match(self.headers.get("Range", ""))
        if asked and (asked[1] or asked[2]):
            first = int(asked[1]) if asked[1] else max(0, len(content) - int(asked[2]))
            last = min(int(asked[2]), last) if asked[1] and asked[2] else last
            if first > last:
                self._answer(416, b"", content_type, {"Content-Range": f"bytes */{len(content)}"})
                return
        headers = {"Accept-Ranges": "bytes", "Content-Disposition": f'attachment; filename="{name}"'}
        if asked:
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        self._answer(206 if asked else 200, content[first : last + 1], content_type, headers)

    # The room page

    def _room_call(self, call: "Callable[[_Handler, Mapping[str, Any]], Mapping[str, Any]]", body: bytes) -> None:
        try:
            asked = json.loads(body)
            if not isinstance(asked, dict):
                raise ValueError("an object is asked for")
        except (ValueError, RecursionError):
            self._json(HTTPStatus.BAD_REQUEST, {"error": "Send a JSON object."})
            return
        try:
            self._json(HTTPStatus.OK, call(self, asked))
        except Refused as error:
            self._json(HTTPStatus.FORBIDDEN, {"error": str(error)})

    def enter(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        claims = self._claims(str(asked.get("token", "")))
        if claims is None or "room_id" not in claims or "user_id" not in claims:
            raise Refused("This link has expired. Go back to your course and join again.")
        presence = self.server.sessions.enter(
            room_id=str(claims["room_id"]),
            identity=str(claims["user_id"]),
            name=str(claims.get("name", "")),
            is_admin=claims.get("is_admin") is True,
        )
        session, _ = self.server.sessions.visit(presence.connection)
        return {"connection": presence.connection, **_state(session, presence)}

    def state(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        return _state(*self.server.sessions.visit(str(asked.get("connection", ""))))

    def leave(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        self.server.sessions.leave(str(asked.get("connection", "")))
        return {}

    def record(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        self.server.sessions.record(str(asked.get("connection", "")), on=asked.get("on") is True)
        return {}

    def end(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        self.server.sessions.finish(str(asked.get("connection", "")))
        return {}

    def remove(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        self.server.sessions.remove(str(asked.get("connection", "")), str(asked.get("identity", "")))
        return {}

    # Answers

    def _page(self, name: str) -> None:
        file = PAGES / name
        headers = {"Content-Security-Policy": "default-src 'self'; base-uri 'none'", "Referrer-Policy": "no-referrer"}
        self._answer(200, file.read_bytes(), _TYPES[file.suffix], headers)

    def _json(self, status: int, content: Mapping[str, Any]) -> None:
        self._answer(status, json.dumps(content, ensure_ascii=False).encode(), "application/json")

    def _text(self, status: int, text: str) -> None:
        self._answer(status, text.encode(), "text/plain; charset=utf-8")

    def _answer(self, status: int, content: bytes, content_type: str, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        # Without the query and the token of a download: the address of a room lets people in.
        path = urlsplit(self.path).path
        shown = path.rpartition("/")[0] if path.startswith("/download/") else path
        if path not in ("/sandbox/state", "/health"):
            self.log_message("%s %s %s", self.command, shown, int(code) if isinstance(code, HTTPStatus) else code)


def _state(session: Session, presence: Presence) -> dict[str, Any]:
    present = list(session.people.values())  # in one step: others come and go
    people = sorted(present, key=lambda one: (not one.is_admin, one.name.lower()))
    return {
        "title": session.title,
        "welcome": session.metadata.get("welcome_message", ""),
        "is_admin": presence.is_admin,
        "is_recording": session.recorded_since is not None,
        "may_record": presence.is_admin and session.may_record,
        "people": [
            {"name": one.name, "is_admin": one.is_admin, "is_you": one.identity == presence.identity} for one in people
        ],
    }


_ROOM_CALLS: Mapping[str, Callable[[_Handler, Mapping[str, Any]], Mapping[str, Any]]] = {
    "/sandbox/enter": _Handler.enter,
    "/sandbox/state": _Handler.state,
    "/sandbox/leave": _Handler.leave,
    "/sandbox/record": _Handler.record,
    "/sandbox/end": _Handler.end,
    "/sandbox/remove": _Handler.remove,
}
