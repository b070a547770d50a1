"""Real HTTP servers on loopback, for tests at the network edge."""

import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lti.v1p1.oauth1 import SignedBodyRefused, verify_signed_body
from lti.v1p1.outcomes import parse_request
from lti.v1p1.outcomes import response as outcome_response


@dataclass(frozen=True)
class Received:
    """A request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that are killed, or have waited long enough, are part of the tests; all else is told."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@dataclass
class Loopback:
    """A running server: `url` without a path, and everything it received, in order."""

    url: str
    port: int
    received: list[Received] = field(default_factory=list)


@contextmanager
def serve(answer: Callable[[Received], Reply], *, port: int = 0) -> Iterator[Loopback]:
    """Runs a server on 127.0.0.1 that answers every request with what `answer` says; connections are kept."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body of an answer leave in one packet: Nagle's algorithm and delayed ACKs would add 40 ms.
        wbufsize = -1
        disable_nagle_algorithm = True

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            received = Received(self.command, self.path, dict(self.headers.items()), body)
            running.received.append(received)
            reply = answer(received)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        do_GET = do_POST = do_PUT = _handle  # noqa: N815 - named by http.server

        def log_message(self, *args: Any) -> None:
            pass

    server = Server(("127.0.0.1", port), Handler)
    running = Loopback(f"http://127.0.0.1:{server.server_port}", server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Gradebook:
    """The LMS's side of Basic Outcomes: verifies signatures, keeps each sourcedid's grades in the order they came.

    `overlaps` counts requests for a sourcedid that came while another one for it was still being answered.
    `manners` may answer before the gradebook does (None: it does not), and may sleep.
    """

    secrets: dict[str, str]
    delay: float = 0.0
    manners: Callable[[Received, str, Decimal | None], Reply | None] = lambda received, sourcedid, score: None
    url: str = ""
    grades: dict[str, list[Decimal]] = field(default_factory=lambda: defaultdict(list))
    refused: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    nonces: set[str] = field(default_factory=set)
    overlaps: int = 0
    _busy: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, received: Received) -> Reply:
        request = parse_request(received.body)
        with self._lock:
            self.overlaps += request.sourcedid in self._busy
            self._busy.add(request.sourcedid)
            self.bodies.append(received.body)
        try:
            if self.delay:
                time.sleep(self.delay)
            mannered = self.manners(received, request.sourcedid, request.score)
            if mannered is not None:
                return mannered
            try:
                verify_signed_body(
                    received.method,
                    self.url + received.path,
                    received.headers,
                    received.body,
                    self.secrets.get,
                    int(time.time()),
                )
            except SignedBodyRefused as error:
                self.refused.append(error.reason)
                return Reply(401, b"Invalid signature")
            with self._lock:
                authorization = received.headers["Authorization"]
                if authorization in self.nonces:
                    self.refused.append("a nonce came twice")
                    return Reply(401, b"Nonce reused")
                self.nonces.add(authorization)
                if request.score is not None:
                    self.grades[request.sourcedid].append(request.score)
            return Reply(200, self.success(request.operation, request.message_id), {"Content-Type": "application/xml"})
        finally:
            with self._lock:
                self._busy.discard(request.sourcedid)

    @staticmethod
    def success(operation: str, message_ref: str) -> bytes:
        return outcome_response(operation, message_id="answer", message_ref=message_ref)

    def last(self) -> dict[str, Decimal]:
        """The grade that the gradebook shows, by sourcedid."""
        return {sourcedid: scores[-1] for sourcedid, scores in self.grades.items()}


@contextmanager
def serve_gradebook(secrets: dict[str, str], *, delay: float = 0.0, **manners: Any) -> Iterator[Gradebook]:
    """A gradebook on loopback that knows these consumer keys' secrets; its `url` is the outcome service's host."""
    gradebook = Gradebook(secrets, delay, **manners)
    with serve(gradebook.answer) as server:
        gradebook.url = server.url
        yield gradebook


@contextmanager
def answering(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The URL of a server whose requests are handled so."""
    server = Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def trickling(seconds: float = 0.1) -> Iterator[str]:
    """The URL of a server that answers 200 to whatever comes, and then one byte every so many seconds without end."""
    stopped = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.close_connection = True
            try:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                while not stopped.wait(seconds):
                    self.wfile.write(b".")
            except OSError:
                return  # the client has had enough

        def log_message(self, *args: Any) -> None:
            pass

    with answering(Handler) as url:
        try:
            yield url
        finally:
            stopped.set()
