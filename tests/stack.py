"""The real thing for tests: gunicorn, worker and beat as processes on a database of their own.

On SQLite by default; on PostgreSQL and Redis when DATABASE_URL and REDIS_URL name them.
"""

import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg2

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def database(tmp_path: Path) -> Iterator[str]:
    """The URL of a fresh database: a PostgreSQL one where DATABASE_URL names a PostgreSQL, else an SQLite file."""
    configured = os.environ.get("DATABASE_URL", "")
    if not configured.startswith("postgres"):
        yield f"sqlite:///{tmp_path / 'stack.sqlite3'}"
        return
    name = f"stack_{os.getpid()}_{time.time_ns()}"
    parts = urlsplit(configured)
    admin = psycopg2.connect(urlunsplit(parts._replace(scheme="postgresql", path="/postgres", query="")))
    admin.autocommit = True
    try:
        admin.cursor().execute(f'CREATE DATABASE "{name}"')
        yield urlunsplit(parts._replace(path=f"/{name}"))
    finally:
        admin.cursor().execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        admin.close()


class Stack:
    """Processes with one environment, logs below `folder`."""

    def __init__(self, folder: Path, database_url: str, **environment: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = {
            **{
                name: value for name, value in os.environ.items() if name not in ("DJANGO_SETTINGS_MODULE", "REDIS_URL")
            },
            "SECRET_KEY": "stack-only-key-that-is-long-enough-for-the-start-up-check",
            "FIELD_ENCRYPTION_KEYS": "dGVzdC1vbmx5LWtleS0zMi1ieXRlcy1sb25nLTAxMjM=",
            "BASE_URL": self.url,
            "ALLOWED_HOSTS": "127.0.0.1,localhost",
            "DATABASE_URL": database_url,
            "OUTBOUND_ALLOW_HTTP": "true",
            "OUTBOUND_ALLOWED_PRIVATE_HOSTS": "127.0.0.1",
            "LOG_LEVEL": "INFO",
            "DJANGO_SETTINGS_MODULE": "lti_platform.settings",
            "PYTHONPATH": str(ROOT),
            **environment,
        }

    def manage(self, *arguments: str, stdin: str = "", seconds: float = 120) -> str:
        """Runs manage.py, for so long at most; returns its standard output."""
        done = subprocess.run(
            [str(BIN / "python"), str(ROOT / "manage.py"), *arguments],
            env=self.environment, cwd=ROOT, input=stdin, capture_output=True, text=True, timeout=seconds, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"manage.py {arguments[0]} failed: {done.stderr[-3000:]}")
        return done.stdout

    def provision(self, document: dict[str, Any]) -> dict[str, Any]:
        return json.loads(self.manage("provision", "-", stdin=json.dumps(document)))

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        """Starts a process in a group of its own, so that a kill reaches its children."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [str(BIN / command[0]), *command[1:]],
                env=self.environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.processes[name] = process
        return process

    def start_web(self, workers: int = 2, threads: int = 8) -> None:
        self.start(
            "web", "gunicorn", "lti_platform.wsgi", "--bind", f"127.0.0.1:{self.port}",
            "--workers", str(workers), "--threads", str(threads), "--worker-class", "gthread", "--timeout", "120",
        )  # fmt: skip
        self.wait_for(lambda: urllib.request.urlopen(f"{self.url}/health/live", timeout=2).status == 200)

    def start_worker(self, name: str = "worker") -> None:
        self.start(name, "celery", "-A", "lti_platform", "worker", "-l", "INFO")

    def start_beat(self) -> None:
        self.start("beat", "celery", "-A", "lti_platform", "beat", "-s", str(self.folder / "beat-schedule"))

    def kill(self, name: str, how: signal.Signals = signal.SIGKILL) -> None:
        process = self.processes.pop(name)
        try:
            os.killpg(process.pid, how)
        except ProcessLookupError:
            return
        process.wait(timeout=30)

    def stop(self) -> None:
        for name in list(self.processes):
            self.kill(name)

    def log(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def wait_for(self, condition: Any, seconds: float = 60) -> None:
        """Waits until the condition is true; an OSError counts as not yet. Fails with the ends of all logs."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if condition():
                    return
            except OSError:
                pass
            time.sleep(0.1)
        ends = "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-2000:]}" for path in self.folder.glob("*.log")
        )
        raise TimeoutError(f"Not within {seconds} seconds.\n{ends}")


@cache
def _migrated_file() -> Path:
    """Where this test process keeps a migrated SQLite file; it is made by the first stack that needs one."""
    folder = Path(tempfile.mkdtemp(prefix="stack-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder / "migrated.sqlite3"


@cache
def _migrated_template(server: str) -> str:
    """The name of a database that this test process keeps migrated on that PostgreSQL server, for others to be copies
    of; migrated by the first stack that needs one."""
    name = f"stack_template_{os.getpid()}_{time.time_ns()}"

    def drop() -> None:
        _execute(server, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    _execute(server, f'CREATE DATABASE "{name}"')
    atexit.register(drop)
    stack = Stack(Path(tempfile.gettempdir()), urlunsplit(urlsplit(server)._replace(path=f"/{name}")))
    stack.manage("migrate", "--verbosity", "0")
    return name


def _execute(server: str, *statements: str) -> None:
    """Runs statements, each by itself, in the server's own database."""
    admin = psycopg2.connect(urlunsplit(urlsplit(server)._replace(scheme="postgresql", path="/postgres", query="")))
    try:
        admin.autocommit = True
        for statement in statements:
            admin.cursor().execute(statement)
    finally:
        admin.close()


def migrate(stack: Stack, url: str) -> None:
    """Makes the tables of an empty database that nobody uses yet: once in this test process, then by copying."""
    if not url.startswith("sqlite:///"):
        template = _migrated_template(urlunsplit(urlsplit(url)._replace(path="")))
        name = urlsplit(url).path[1:]
        _execute(url, f'DROP DATABASE "{name}" WITH (FORCE)', f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return
    own, kept = Path(url.removeprefix("sqlite:///")), _migrated_file()
    if kept.exists():
        shutil.copyfile(kept, own)
        return
    stack.manage("migrate", "--verbosity", "0")
    shutil.copyfile(own, kept)


@contextmanager
def running_stack(tmp_path: Path, **environment: str) -> Iterator[Stack]:
    """A stack with a migrated database of its own; everything is stopped at the end."""
    with database(tmp_path) as url:
        stack = Stack(tmp_path, url, **environment)
        try:
            migrate(stack, url)
            yield stack
        finally:
            stack.stop()
