"""A sandbox meeting server as a real process, and somebody in one of its rooms without a browser."""

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import requests

from recordings.plugnmeet import PlugNmeetClient

Found = TypeVar("Found")
ROOT = Path(__file__).resolve().parent.parent
KEY = "sandbox-key"
SECRET = "sandbox-secret-for-the-tests-of-this-house"


@dataclass(frozen=True)
class Sandbox:
    """A running sandbox server."""

    url: str

    @property
    def client(self) -> PlugNmeetClient:
        return PlugNmeetClient(self.url, KEY, SECRET)


@contextmanager
def running_sandbox(*arguments: str) -> Iterator[Sandbox]:
    """A sandbox on a free port, with files ready almost at once; `arguments` are those of `demo_lms.meetings`."""
    environment = {**os.environ, "SANDBOX_MEETINGS_KEY": KEY, "SANDBOX_MEETINGS_SECRET": SECRET}
    quick = ["--recording-delay", "0", "--analytics-delay", "0.3"]
    process = subprocess.Popen(
        [sys.executable, "-m", "demo_lms.meetings", "--port", "0", *quick, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        if process.stdout is None or not select.select([process.stdout], [], [], 60)[0]:
            raise TimeoutError("The sandbox did not say where it is within 60 seconds.")
        url = process.stdout.readline().strip()
        if not url:
            raise RuntimeError("The sandbox ended at once.")
        yield Sandbox(url)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


@dataclass
class Guest:
    """Somebody in a room of the sandbox, by a join address, without a browser."""

    url: str
    connection: str
    seen: dict[str, Any]

    @classmethod
    def enter(cls, join_address: str) -> "Guest":
        parts = urlsplit(join_address)
        url = f"{parts.scheme}://{parts.netloc}"
        answer = requests.post(
            f"{url}/sandbox/enter", json={"token": parse_qs(parts.query)["access_token"][0]}, timeout=20
        )
        seen = answer.json()
        if answer.status_code != 200:
            raise PermissionError(seen["error"])
        return cls(url, seen["connection"], seen)

    def call(self, name: str, **more: Any) -> requests.Response:
        return requests.post(f"{self.url}/sandbox/{name}", json={"connection": self.connection, **more}, timeout=20)

    def names(self) -> list[str]:
        return [one["name"] for one in self.call("state").json()["people"]]


def eventually(look: Callable[[], Found | None], seconds: float = 30) -> Found:
    """What `look` finds, as soon as it finds something."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            raise TimeoutError(f"Not within {seconds} seconds.")
        time.sleep(0.05)
