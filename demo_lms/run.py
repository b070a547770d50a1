"""`make demo`: the platform with its worker, the demo LMS and a sandbox for meetings, on this machine until Ctrl-C.

    python -m demo_lms.run [--port 8000] [--lms-port 8001] [--var-dir var]

Everything that is kept lies in the folder `var`; a second run finds it again.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from demo_lms import furnishing, storage
from demo_lms.keeping import keep_secrets, write_private
from demo_lms.processes import ChildDied, Children, NotReady, is_free, listening_socket, loopback_addresses

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 90

# What would make the demo something else than the embedded default on these ports.
_NOT_INHERITED = frozenset(
    {
        "ALLOWED_HOSTS",
        "BASE_URL",
        "BIND",
        "CELERY_BROKER_URL",
        "DATABASE_URL",
        "DEBUG",
        "DJANGO_SETTINGS_MODULE",
        "FIELD_ENCRYPTION_KEYS",
        "GUNICORN_CMD_ARGS",
        "PORT",
        "REDIS_URL",
        "SECRET_KEY",
        "SENTRY_DSN",
        "TRUSTED_PROXIES",
        "VAR_DIR",
    }
)


class CannotStart(Exception):
    """The text says why, and what to do."""


class Stopped(Exception):
    """Somebody pressed Ctrl-C, or asked the process to end."""


@dataclass(frozen=True)
class Place:
    """Where the demo runs and what it uses; empty URLs mean the embedded default."""

    port: int
    lms_port: int
    var_dir: Path
    database_url: str = ""
    redis_url: str = ""
    meetings_port: int = 0  # as it turned out; 0 before

    @property
    def platform_url(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def lms_url(self) -> str:
        # Another site than localhost, so that frames and cookies behave as in real life.
        return f"http://127.0.0.1:{self.lms_port}"

    @property
    def meetings_url(self) -> str:
        return f"http://127.0.0.1:{self.meetings_port}"

    @property
    def database_file(self) -> Path:
        return self.var_dir / "demo.sqlite3"


def say(text: str = "") -> None:
    print(text, flush=True)  # noqa: T201 - this is what the command is for


def read_arguments(arguments: Sequence[str] | None = None) -> Place:
    parser = argparse.ArgumentParser(prog="demo_lms.run", description="The platform and a demo LMS, until Ctrl-C.")
    parser.add_argument("--port", type=int, default=8000, help="of the platform, on localhost")
    parser.add_argument("--lms-port", type=int, default=8001, help="of the demo LMS, on 127.0.0.1")
    parser.add_argument("--var-dir", type=Path, default=ROOT / "var", help="where everything is kept")
    parser.add_argument("--database-url", default="", help="instead of an SQLite file")
    parser.add_argument("--redis-url", default="", help="instead of files as queue and memory as cache")
    given = parser.parse_args(arguments)
    return Place(given.port, given.lms_port, given.var_dir.resolve(), given.database_url, given.redis_url)


def check_ports(place: Place) -> None:
    """Raises `CannotStart` when somebody else listens there."""
    if place.port == place.lms_port:
        raise CannotStart("The platform and the demo LMS need two different ports.")
    wanted = [(address, place.port, "PORT") for address in loopback_addresses()]
    wanted.append(("127.0.0.1", place.lms_port, "LMS_PORT"))
    for address, port, name in wanted:
        if not is_free(address, port):
            raise CannotStart(
                f"Port {port} on {address} is in use, perhaps by another `make demo`. Stop what runs there, or choose "
                f"another port: make demo {name}={port + 10}"
            )


def platform_environment(place: Place, kept: Mapping[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    environment = {
        "LOG_FORMAT": "console",
        "DELIVERY_FIRST_RETRY_SECONDS": "3",
        **inherited,
        "PYTHONUNBUFFERED": "1",
        "SECRET_KEY": kept["SECRET_KEY"],
        "FIELD_ENCRYPTION_KEYS": kept["FIELD_ENCRYPTION_KEYS"],
        "BASE_URL": place.platform_url,
        "VAR_DIR": str(place.var_dir),
        "DATABASE_URL": place.database_url or f"sqlite:///{place.database_file}",
        "OUTBOUND_ALLOW_HTTP": "true",
        "OUTBOUND_ALLOWED_PRIVATE_HOSTS": "127.0.0.1,localhost",
        "WEB_CONCURRENCY": "1",
        "WEB_THREADS": "8",
    }
    if place.redis_url:
        environment["REDIS_URL"] = place.redis_url
    return environment


def lms_environment(place: Place, kept: Mapping[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    return {
        **inherited,
        "PYTHONUNBUFFERED": "1",
        "DJANGO_SETTINGS_MODULE": "demo_lms.settings",
        "DEMO_LMS_SECRET_KEY": kept["DEMO_LMS_SECRET_KEY"],
        "DEMO_LMS_URL": place.lms_url,
        "VAR_DIR": str(place.var_dir),
    }


def meetings_environment(kept: Mapping[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    return {
        **inherited,
        "PYTHONUNBUFFERED": "1",
        "SANDBOX_MEETINGS_KEY": furnishing.MEETINGS_KEY,
        "SANDBOX_MEETINGS_SECRET": kept["DEMO_MEETINGS_SECRET"],
    }


def manage(environment: Mapping[str, str], *arguments: str, given: str = "") -> str:
    """Run a management command of the platform; what it printed. Raises `CannotStart` when it fails."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=dict(environment),
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise CannotStart(f"`manage.py {' '.join(arguments)}` failed:\n\n{done.stderr[-3000:] or done.stdout[-3000:]}")
    return done.stdout


def make_operator(environment: Mapping[str, str], kept: Mapping[str, str]) -> None:
    """A superuser, if there is none of this name yet."""
    try:
        manage(
            {**environment, "DJANGO_SUPERUSER_PASSWORD": kept["DEMO_OPERATOR_PASSWORD"]},
            "createsuperuser",
            "--noinput",
            "--email",
            furnishing.OPERATOR_EMAIL,
        )
    except CannotStart as failure:
        if "already taken" not in str(failure):
            raise


def prepare(place: Place) -> tuple[dict[str, str], dict[str, str]]:
    """Secrets, database, organization, course: what is missing is made. Answers both environments."""
    place.var_dir.mkdir(parents=True, exist_ok=True)
    secrets_file = place.var_dir / "demo.env"
    if not secrets_file.exists() and not place.database_url and place.database_file.exists():
        raise CannotStart(
            f"{place.database_file} is there, but {secrets_file}, which has its encryption key, is gone. "
            f"Remove {place.database_file} to start afresh."
        )
    kept = keep_secrets(secrets_file)
    environment = platform_environment(place, kept)
    say("Preparing the database…")
    manage(environment, "migrate", "--noinput", "--verbosity", "0")
    say("Furnishing the demo organization…")
    data = furnishing.definition(kept, place.lms_url, place.meetings_url)
    answer = json.loads(
        manage(environment, "provision", "-", given=json.dumps({"organizations": data["organizations"]}))
    )
    make_operator(environment, kept)
    course = furnishing.lms_course(data, answer, kept, place.platform_url)
    write_private(place.var_dir / "demo_lms.json", json.dumps(course, indent=2) + "\n")
    storage.prepare(place.var_dir / "demo_lms.sqlite3")
    return environment, lms_environment(place, kept)


def start_meetings(place: Place, children: Children, kept: Mapping[str, str], listening: socket.socket) -> None:
    """Start the sandbox meeting server on the socket and wait until it answers. Raises `ChildDied` or `NotReady`."""
    command = [sys.executable, "-m", "demo_lms.meetings", "--socket", str(listening.fileno())]
    command += ["--keep", str(place.var_dir / "meetings.sqlite3")]
    children.start("meetings", command, meetings_environment(kept), ROOT, sockets=[listening])
    children.wait_for("meetings", f"{place.meetings_url}/health", READY_SECONDS)


def start(place: Place, children: Children, environment: Mapping[str, str], lms: Mapping[str, str]) -> None:
    """Start everything and wait until it answers. Raises `ChildDied` or `NotReady`."""
    python = sys.executable
    binds: list[str] = []
    for address in loopback_addresses():
        binds += ["--bind", f"[{address}]:{place.port}" if ":" in address else f"{address}:{place.port}"]
    celery = [python, "-m", "celery", "-A", "lti_platform"]
    children.start("platform", [python, "-m", "gunicorn", "lti_platform.wsgi", *binds], environment, ROOT)
    children.start("worker", [*celery, "worker", "--loglevel", "INFO"], environment, ROOT)
    children.start("beat", [*celery, "beat", "--loglevel", "INFO"], environment, ROOT)
    children.start(
        "demo-lms",
        [python, "-m", "gunicorn", "--config", "python:demo_lms.server", "--bind", f"127.0.0.1:{place.lms_port}"],
        lms,
        ROOT,
    )
    children.wait_for("platform", f"{place.platform_url}/health/ready", READY_SECONDS)
    children.wait_for("demo-lms", f"{place.lms_url}/health", READY_SECONDS)


def greet(place: Place, summary: Mapping[str, object]) -> None:
    sign_ins = summary["sign_ins"]
    summary_file, log_folder = place.var_dir / "demo.json", place.var_dir / "log"
    lines = [f"    {one['role']:<9} {one['email']:<24} {one['password']}" for one in sign_ins]  # type: ignore[attr-defined]
    say(
        f"""
Everything runs. Open the demo LMS and be a student:

    {place.lms_url}

  1. Continue as Ada, open “Notes on the Analytical Engine”, write something and submit it.
  2. In a second tab be Alan, the teacher: open the same link, grade Ada's work and release it.
  3. See the grade arrive in the demo LMS's gradebook. “Manners and faults” makes it slow, broken or rude.
  4. “The first bug” opens over LTI 1.3. Under “Tools” the teacher chooses how each link is launched, as Moodle, Canvas,
     Blackboard or Brightspace do it; “Add from the platform” adds more links.

The organization's owner works in {place.platform_url}/admin/ . Signing in directly:

{chr(10).join(lines)}

The API is described at {place.platform_url}/api/v1/docs . Keys and a token are in {_shown(summary_file)}, logs in
{_shown(log_folder)}. Ctrl-C stops everything; what you did is kept for the next time.
"""
    )


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    place = read_arguments(arguments)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    summary_file = place.var_dir / "demo.json"
    try:
        check_ports(place)
        # Whoever waits for the file must not find the one of the last run.
        summary_file.unlink(missing_ok=True)
        with (
            listening_socket("127.0.0.1", place.lms_port + 1) as listening,
            Children(place.var_dir / "log") as children,
        ):
            place = replace(place, meetings_port=listening.getsockname()[1])
            environment, lms = prepare(place)
            kept = keep_secrets(place.var_dir / "demo.env")
            say("Starting the platform, its worker, the demo LMS and a sandbox for meetings…")
            start_meetings(place, children, kept, listening)
            start(place, children, environment, lms)
            data = furnishing.definition(kept, place.lms_url, place.meetings_url)
            summary = furnishing.summary(data, kept, place.platform_url, place.lms_url)
            write_private(summary_file, json.dumps(summary, indent=2) + "\n")
            greet(place, summary)
            children.watch()
    except Stopped:
        say("\nStopped. `make demo` starts it again where you left it.")
        return 0
    except (CannotStart, ChildDied, NotReady, furnishing.Unfurnished) as failure:
        say(f"\n{failure}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
