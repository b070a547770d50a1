"""A server on loopback with all the faults that receivers of grades and events have, by a seed."""

import random
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from lti.v1p1.outcomes import response as outcome_response
from tests.loopback import Received, Reply, answering

LARGE = 10 * 1024 * 1024
LONGEST_HANG = 30.0
# A client that has given up is followed by whoever sends the same again, but the LMS may still be at work.
LATE_SECONDS = 0.5

# How often of a hundred requests, by what the receiver is. In "after" the receiver has taken it before it fails.
EVERYWHERE = {
    "500": 4, "500 after": 2, "429": 4, "401": 2, "reset": 3, "reset after": 2, "hang": 1, "hang after": 1,
    "redirect": 1, "large": 1,
}  # fmt: skip
FAULTS: dict[str, Mapping[str, int]] = {
    "outcomes": {**EVERYWHERE, "late": 1, "malformed": 2, "malformed after": 1, "processing": 2, "empty": 2},
    "ags": {**EVERYWHERE, "empty": 2},
    "token": {"500": 2, "reset": 2, "401": 1},
    "webhook": {**EVERYWHERE, "empty": 2, "malformed": 2},
}


@dataclass
class Faults:
    """What goes wrong, drawn from a seed; `counts` are those that happened, "none" among them.

    `overlaps` counts requests for one cell that came while another one for it was still being worked on for a client
    that waited.
    """

    seed: int
    off: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    overlaps: int = 0
    delay: float = 0.02
    _busy: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def draw(self, receiver: str) -> str:
        with self._lock:
            number = self._random.random() * 100
            drawn = "none"
            for name, share in FAULTS[receiver].items():
                number -= share
                if number < 0:
                    drawn = name
                    break
            drawn = "none" if drawn in self.off else drawn
            self.counts[f"{receiver} {drawn}"] += 1
            return drawn

    def enter(self, key: str) -> None:
        with self._lock:
            self.overlaps += self._busy[key] > 0
            self._busy[key] += 1

    def leave(self, key: str) -> None:
        with self._lock:
            self._busy[key] -= 1


@contextmanager
def serve_faulty(
    answer: Callable[[Received], Reply],
    faults: Faults,
    kind_of: Callable[[Received], str],
    cell_of: Callable[[Received], str],
) -> Iterator[str]:
    """The URL of a server that answers as `answer` does, but for its faults. `cell_of` names what must not overlap
    ("": nothing), `kind_of` the row of FAULTS."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True

        def _handle(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            if len(body) < length:
                self.close_connection = True  # its worker was killed in the middle of it
                return
            received = Received(self.command, self.path, dict(self.headers.items()), body)
            kind, cell = kind_of(received), cell_of(received)
            if cell:
                faults.enter(cell)
            try:
                time.sleep(faults.delay)
                late = self._answer(received, faults.draw(kind), kind)
            finally:
                if cell:
                    faults.leave(cell)
            if late:
                time.sleep(LATE_SECONDS)
                answer(received)

        def _answer(self, received: Received, fault: str, kind: str) -> bool:
            """Whether the receiver takes it only after its client has gone."""
            name, _, when = fault.partition(" ")
            # Whoever looks at the status alone takes any 2xx for a success: then it is one.
            by_status = kind in ("ags", "webhook") and name in ("empty", "large", "malformed")
            taken = answer(received) if name == "none" or when == "after" or by_status else None
            if name in ("hang", "late"):
                self._wait_for_the_client_to_go()
                return name == "late"
            if name == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True
                return False
            if by_status and taken is not None and taken.status >= 300:
                self._send(taken)  # refused for a reason of its own
            else:
                self._send(taken if name == "none" and taken is not None else self._faulty(name, received))
            return False

        def _faulty(self, name: str, received: Received) -> Reply:
            xml = {"Content-Type": "application/xml"}
            match name:
                case "429":
                    return Reply(429, b"slow down", {"Retry-After": "1"})
                case "redirect":
                    return Reply(302, b"", {"Location": "http://127.0.0.1:9/elsewhere"})
                case "malformed":
                    return Reply(200, b'<?xml version="1.0"?><imsx_POXEnvelopeResponse><imsx_POXHeader>', xml)
                case "processing":
                    answer = outcome_response(
                        "replaceResult", message_id="later", message_ref="", code_major="processing"
                    )
                    return Reply(200, answer, xml)
                case "empty":
                    return Reply(200)
                case "large":
                    return Reply(200, b"x" * LARGE)
                case _:
                    return Reply(int(name), b"a fault")

        def _send(self, reply: Reply) -> None:
            try:
                self.send_response(reply.status)
                for header, value in reply.headers.items():
                    self.send_header(header, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)
                self.wfile.flush()
            except OSError:
                self.close_connection = True  # a worker that was killed, or has read enough

        def _wait_for_the_client_to_go(self) -> None:
            self.close_connection = True
            select.select([self.connection], [], [], LONGEST_HANG)

        def finish(self) -> None:
            try:
                super().finish()
            except (OSError, ValueError):
                self.close_connection = True  # cut by us, or gone

        do_GET = do_POST = do_PUT = _handle  # noqa: N815 - named by http.server

        def log_message(self, *args: Any) -> None:
            pass

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except OSError:
                self.close_connection = True  # the client is gone

    with answering(Handler) as url:
        yield url
