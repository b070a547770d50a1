"""The processes of the demo: started, watched, and stopped together."""

import ctypes
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO

import requests

STOP_SECONDS = 10


class ChildDied(Exception):
    """A process ended by itself; the text says which, and the end of its log."""


class NotReady(Exception):
    """Something did not answer in time; the text says what."""


def loopback_addresses() -> list[str]:
    """What `localhost` may mean here: 127.0.0.1, and ::1 where this machine has it."""
    addresses = ["127.0.0.1"]
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return addresses
    return [*addresses, "::1"]


def is_free(address: str, port: int) -> bool:
    """Whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def listening_socket(address: str, port: int) -> socket.socket:
    """A socket that listens there, or on any free port of the address where that one is taken; for a child to use."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address, port))
    except (OSError, OverflowError):
        listening.bind((address, 0))
    listening.listen(256)
    return listening


def tail(path: Path, lines: int = 25) -> str:
    """The last lines of a log."""
    if not path.exists():
        return "(no log)"
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]) or "(its log is empty)"


def _die_with_parent() -> None:
    # PR_SET_PDEATHSIG: even a parent that is killed leaves nobody behind. Where there is no prctl, it goes without.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


@dataclass
class Children:
    """A context whose processes all end with it. Each writes to `<folder>/<name>.log`."""

    folder: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    logs: list[IO[bytes]] = field(default_factory=list)

    def __enter__(self) -> "Children":
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def start(
        self,
        name: str,
        command: list[str],
        environment: Mapping[str, str],
        cwd: Path,
        *,
        sockets: Sequence[socket.socket] = (),
    ) -> None:
        """Starts a process, which inherits the sockets under the numbers that they have here."""
        log = self.log_of(name).open("wb")
        self.logs.append(log)
        # A session of its own: Ctrl-C reaches only us, and we stop the others in order.
        self.running[name] = subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[one.fileno() for one in sockets],
            preexec_fn=_die_with_parent,
        )

    def log_of(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def check(self) -> None:
        """Raises `ChildDied` when a process has ended."""
        for name, process in self.running.items():
            code = process.poll()
            if code is not None:
                raise ChildDied(
                    f"{name} ended by itself (exit code {code}). The end of {self.log_of(name)}:\n\n"
                    f"{tail(self.log_of(name))}"
                )

    def wait_for(self, name: str, url: str, seconds: float) -> None:
        """Until the URL answers 200. Raises `NotReady` or `ChildDied`."""
        end = time.monotonic() + seconds
        said = "nothing"
        while time.monotonic() < end:
            self.check()
            try:
                answer = requests.get(url, timeout=5)
            except requests.RequestException as error:
                said = type(error).__name__
            else:
                if answer.status_code == 200:
                    return
                said = f"HTTP {answer.status_code}: {answer.text[:300]}"
            time.sleep(0.2)
        raise NotReady(
            f"{name} did not answer at {url} within {seconds:.0f} seconds ({said}). The end of {self.log_of(name)}:"
            f"\n\n{tail(self.log_of(name))}"
        )

    def watch(self) -> None:
        """Until a signal stops us. Raises `ChildDied`."""
        while True:
            self.check()
            time.sleep(0.5)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for process in reversed(self.running.values()):
            if process.poll() is None:
                process.terminate()
        end = time.monotonic() + STOP_SECONDS
        for process in self.running.values():
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for log in self.logs:
            log.close()
