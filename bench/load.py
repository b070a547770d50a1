"""A closed-loop client: so many connections, each sending its next request when the answer to the last one is complete.

One process, one thread, non-blocking sockets and requests made beforehand, so that the client takes as little of the
machine as it can. Run as ``python -m bench.load PORT CONNECTIONS``: requests come on standard input, each after its
length (four bytes, big-endian); one JSON document with the figures goes to standard output.
"""

import json
import selectors
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import quantiles
from urllib.parse import urlencode

from bench.servers import cpu_seconds


@dataclass(frozen=True)
class Round:
    """What one round of requests took."""

    seconds: float
    latencies_ms: list[float]
    statuses: dict[str, int]
    client_cpu_seconds: float
    server_cpu_seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.latencies_ms) / self.seconds

    @property
    def p50_ms(self) -> float:
        return quantiles(self.latencies_ms, n=100)[49]

    @property
    def p99_ms(self) -> float:
        return quantiles(self.latencies_ms, n=100)[98]


def post_request(path: str, host: str, pairs: Iterable[tuple[str, str]], cookie: str = "") -> bytes:
    """The bytes of a form post over a kept connection, as a reverse proxy with TLS passes it on."""
    body = urlencode(list(pairs)).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(body)}\r\nUser-Agent: Mozilla/5.0 (bench)\r\nAccept: text/html\r\n"
        "Origin: https://lms.example\r\nX-Forwarded-Proto: https\r\n"
    )
    if cookie:
        head += f"Cookie: {cookie}\r\n"
    return head.encode() + b"\r\n" + body


def get_request(path: str, host: str, cookie: str = "") -> bytes:
    """The bytes of a page asked for over a kept connection, as a reverse proxy with TLS passes it on."""
    head = (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Mozilla/5.0 (bench)\r\nAccept: text/html\r\n"
        "X-Forwarded-Proto: https\r\n"
    )
    if cookie:
        head += f"Cookie: {cookie}\r\n"
    return head.encode() + b"\r\n"


def run_round(port: int, requests: list[bytes], connections: int = 8) -> Round:
    """Sends the requests from a process of its own and waits for the last answer."""
    framed = b"".join(struct.pack(">I", len(request)) + request for request in requests)
    cpu = cpu_seconds(port)
    done = subprocess.run(
        [sys.executable, "-m", "bench.load", str(port), str(connections)], input=framed, capture_output=True, check=True
    )
    return Round(**json.loads(done.stdout), server_cpu_seconds=cpu_seconds(port) - cpu)


def _unframed(framed: bytes) -> list[bytes]:
    requests, position = [], 0
    while position < len(framed):
        (length,) = struct.unpack_from(">I", framed, position)
        requests.append(framed[position + 4 : position + 4 + length])
        position += 4 + length
    return requests


def _complete(answer: bytes) -> bool:
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = answer[:end].lower()
    start = head.find(b"content-length:")
    if start < 0:
        raise SystemExit("An answer without Content-Length.")
    length = int(head[start + 15 :].split(b"\r\n", 1)[0])
    return len(answer) >= end + 4 + length


def _main(port: int, connections: int) -> None:
    waiting = iter(_unframed(sys.stdin.buffer.read()))
    selector = selectors.DefaultSelector()
    latencies, statuses = [], {}
    for _ in range(connections):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection, selectors.EVENT_READ, [0.0, b""])
    started, cpu = time.perf_counter(), time.process_time()
    for key in list(selector.get_map().values()):
        key.data[0] = time.perf_counter()
        key.fileobj.sendall(next(waiting))
    open_requests = connections
    while open_requests:
        for key, _ in selector.select():
            received = key.fileobj.recv(65536)
            if not received:
                raise SystemExit("The server closed a connection.")
            key.data[1] += received
            if not _complete(key.data[1]):
                continue
            now = time.perf_counter()
            latencies.append((now - key.data[0]) * 1000)
            status = key.data[1][9:12].decode()
            statuses[status] = statuses.get(status, 0) + 1
            request = next(waiting, None)
            if request is None:
                open_requests -= 1
                continue
            key.data[0], key.data[1] = now, b""
            key.fileobj.sendall(request)
    seconds = time.perf_counter() - started
    json.dump(
        {
            "seconds": seconds,
            "latencies_ms": latencies,
            "statuses": statuses,
            "client_cpu_seconds": time.process_time() - cpu,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]))
