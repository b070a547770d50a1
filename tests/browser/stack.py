"""The real stack, as `make demo` runs it, on free ports: for browser tests and for pictures."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests

ROOT = Path(__file__).resolve().parent.parent.parent
START_SECONDS = 180


@dataclass(frozen=True)
class Stack:
    """Where everything is, and how to ask the demo LMS."""

    platform_url: str
    lms_url: str
    sign_ins: dict[str, tuple[str, str]]
    api_token: str
    var_dir: Path

    def behave(self, mode: str, **more: Any) -> None:
        """Switch a fault of the demo LMS on (or `normal`)."""
        requests.post(f"{self.lms_url}/api/behaviour", json={"mode": mode, **more}, timeout=10).raise_for_status()

    def launch_as(self, link: str, way: str) -> None:
        """Launch the link from now on over LTI 1.3 as that LMS does (`moodle`, `canvas`…), with "" over LTI 1.1."""
        answer = requests.post(f"{self.lms_url}/api/lti-version", json={"link": link, "as": way}, timeout=10)
        answer.raise_for_status()

    def links(self) -> list[dict[str, Any]]:
        """The links of the demo LMS's course."""
        found: list[dict[str, Any]] = requests.get(f"{self.lms_url}/api/gradebook.json", timeout=10).json()["links"]
        return found

    def grade(self, person: str, link: str) -> dict[str, Any] | None:
        """What the demo LMS's gradebook has in that cell."""
        grades = requests.get(f"{self.lms_url}/api/gradebook.json", timeout=10).json()["grades"]
        return next((one for one in grades if (one["person"], one["link"]) == (person, link)), None)

    def wait_for_grade(self, person: str, link: str, score: float, seconds: float = 40) -> dict[str, Any]:
        """Until the gradebook has this score (0 to 1) there."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            grade = self.grade(person, link)
            if grade is not None and grade["score"] == score:
                return grade
            time.sleep(0.2)
        raise AssertionError(
            f"no grade {score} for {person} in {link} after {seconds} s, but {self.grade(person, link)}; "
            f"the LMS's last messages: {[message['result'] for message in self.messages('outcome')][:10]}"
        )

    def messages(self, kind: str) -> list[dict[str, Any]]:
        """What the demo LMS sent (launch) or received (outcome, service, selection), newest first."""
        answer = requests.get(f"{self.lms_url}/api/messages.json", params={"kind": kind}, timeout=10)
        found: list[dict[str, Any]] = answer.json()["messages"]
        return found

    def api(self, path: str) -> Any:
        """An answer of the platform's API."""
        answer = requests.get(
            f"{self.platform_url}/api/v1{path}", headers={"Authorization": f"Bearer {self.api_token}"}, timeout=10
        )
        answer.raise_for_status()
        return answer.json()


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


@contextmanager
def own_database(base_url: str) -> Iterator[str]:
    """A database of its own on the PostgreSQL server of this URL, dropped at the end."""
    import psycopg2

    name = f"browser_{secrets.token_hex(6)}"

    def execute(statement: str) -> None:
        connection = psycopg2.connect(urlunsplit(urlsplit(base_url)._replace(path="/postgres")))
        try:
            connection.autocommit = True
            connection.cursor().execute(statement)
        finally:
            connection.close()

    execute(f"CREATE DATABASE {name}")
    try:
        yield urlunsplit(urlsplit(base_url)._replace(path=f"/{name}"))
    finally:
        execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@contextmanager
def own_redis(base_url: str) -> Iterator[str]:
    """An empty Redis database of its own on the server of this URL, emptied again at the end."""
    import redis

    parts = urlsplit(base_url)
    for number in range(15, 0, -1):
        url = urlunsplit(parts._replace(path=f"/{number}"))
        client = redis.Redis.from_url(url)
        if url != base_url and client.dbsize() == 0 and client.set("browser-tests", os.getpid(), nx=True):
            break
    else:
        raise RuntimeError("no Redis database is empty")
    try:
        yield url
    finally:
        client.flushdb()
        client.close()


@contextmanager
def running_stack(var_dir: Path, database_url: str = "", redis_url: str = "") -> Iterator[Stack]:
    """Platform, worker, beat and demo LMS until the end of the block."""
    port, lms_port = free_ports(2)
    command = [sys.executable, "-m", "demo_lms.run", "--port", str(port), "--lms-port", str(lms_port)]
    command += ["--var-dir", str(var_dir), "--database-url", database_url, "--redis-url", redis_url]
    output = var_dir / "run.log"
    var_dir.mkdir(parents=True, exist_ok=True)
    with output.open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ, stdout=log, stderr=subprocess.STDOUT)
    try:
        summary = var_dir / "demo.json"
        end = time.monotonic() + START_SECONDS
        while not summary.exists():
            if process.poll() is not None:
                raise RuntimeError(f"the stack did not start:\n{output.read_text()}")
            if time.monotonic() > end:
                raise RuntimeError(f"the stack did not start in {START_SECONDS} s:\n{output.read_text()}")
            time.sleep(0.2)
        data = json.loads(summary.read_text())
        yield Stack(
            platform_url=data["platform_url"],
            lms_url=data["lms_url"],
            sign_ins={one["role"]: (one["email"], one["password"]) for one in data["sign_ins"]},
            api_token=data["api_token"],
            var_dir=var_dir,
        )
        if process.poll() is not None:
            raise RuntimeError(f"the stack ended by itself:\n{output.read_text()}")
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
