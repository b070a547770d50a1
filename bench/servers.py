"""Databases and server processes of the benchmarks: gunicorn as in production, on a free port."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2

ROOT = Path(__file__).resolve().parent.parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def recreate_database(url: str, template: str = "") -> None:
    """Drops and creates the database of the URL, as a copy of `template` if one is named."""
    name = urlsplit(url).path.lstrip("/")
    connection = psycopg2.connect(url.rsplit("/", 1)[0] + "/postgres")
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        cursor.execute(f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{template}"' if template else ""))
    connection.close()


def run_sql(url: str, *statements: str) -> None:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    connection.close()


def cpu_seconds(port: int) -> float:
    """CPU time used so far by the gunicorn listening on the port, its workers included (Linux)."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if f"127.0.0.1:{port}\0".encode() in (stat.parent / "environ").read_bytes():
                fields = stat.read_text().rsplit(")", 1)[1].split()
                ticks += int(fields[11]) + int(fields[12])
        except OSError:
            continue
    return ticks / os.sysconf("SC_CLK_TCK")


def answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def gunicorn(application: str, settings_module: str, **environment: str) -> Iterator[int]:
    """The port of a running gunicorn: two workers of four threads, as gunicorn.conf.py says, logging to a file."""
    port = free_port()
    variables = {**os.environ, **environment, "DJANGO_SETTINGS_MODULE": settings_module, "BIND": f"127.0.0.1:{port}"}
    variables |= {"WEB_CONCURRENCY": "2", "WEB_THREADS": "4"}
    with process([sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", application], variables) as (
        running,
        log,
    ):
        deadline = time.monotonic() + 30
        while not answers(port):
            if running.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{application} does not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.1)
        yield port


@contextmanager
def process(command: list[str], variables: dict[str, str]) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    """A running process and the file with its output; stopped in the end."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as output:
            running = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=output, stderr=output)
        try:
            yield running, log
        finally:
            running.send_signal(signal.SIGTERM)
            try:
                running.wait(20)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()
