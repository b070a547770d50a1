"""docker-compose.yml and the Dockerfile: what they promise, and their commands and environment as local processes."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PLATFORM_SERVICES = ["migrate", "web", "worker", "beat"]
ENTERED = {
    "SECRET_KEY": "composed-key-that-is-long-enough-for-the-check",
    "FIELD_ENCRYPTION_KEYS": "Y29tcG9zZS1jb21wb3NlLWNvbXBvc2UtMzItYnl0ZXM=",
    "BASE_URL": "https://tool.example.org",
    "POSTGRES_PASSWORD": "composed-password",
}


def interpolated(value: str, variables: dict[str, str]) -> str:
    """What Compose makes of ${NAME:-default} and ${NAME:?message}, nested ones included."""
    pattern = re.compile(r"\$\{([A-Z_]+)(?::([-?])([^${}]*))?\}")

    def replacement(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        if variables.get(name):
            return variables[name]
        if kind == "?":
            raise KeyError(f"{name}: {rest}")
        return rest or ""

    while pattern.search(value):
        value = pattern.sub(replacement, value)
    return value


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


@pytest.fixture(scope="module")
def dockerfile() -> list[tuple[str, str]]:
    """(instruction, arguments) pairs, continued lines joined, comments left out."""
    text = re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", (ROOT / "Dockerfile").read_text()))
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]  # type: ignore[misc]


def environment_of(service: dict[str, Any], variables: dict[str, str]) -> dict[str, str]:
    return {name: interpolated(str(value), variables) for name, value in service["environment"].items()}


def test_migrations_run_once_and_before_everything_else(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert services["migrate"]["command"] == ["python", "manage.py", "migrate", "--noinput"]
    assert services["migrate"]["restart"] == "no"
    assert services["migrate"]["depends_on"]["postgres"] == {"condition": "service_healthy"}
    for name in ("web", "worker", "beat"):
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}, name


def test_every_lasting_service_restarts_and_has_a_healthcheck(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        if name == "migrate":
            continue
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"]["test"][0] == "CMD", name


def test_launches_do_not_wait_for_redis(compose: dict[str, Any]) -> None:
    """Redis is for speed and wake-ups: the platform must start while it is still unhealthy."""
    for name in ("web", "worker", "beat"):
        assert compose["services"][name]["depends_on"]["redis"] == {"condition": "service_started"}


def test_the_commands_are_those_of_the_documentation(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert services["web"]["command"] == ["gunicorn", "lti_platform.wsgi"]
    assert services["worker"]["command"][:4] == ["celery", "-A", "lti_platform", "worker"]
    assert services["beat"]["command"][:4] == ["celery", "-A", "lti_platform", "beat"]


def test_the_processes_have_no_more_rights_than_they_need(compose: dict[str, Any]) -> None:
    for name in PLATFORM_SERVICES:
        service = compose["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
    assert compose["services"]["web"]["ports"] == ["${PUBLISH:-127.0.0.1:8000}:8000"]
    assert "ports" not in compose["services"]["postgres"]
    assert "ports" not in compose["services"]["redis"]


def test_secrets_come_from_the_environment_and_are_demanded(compose: dict[str, Any]) -> None:
    for name in PLATFORM_SERVICES:
        environment = compose["services"][name]["environment"]
        for secret in ("SECRET_KEY", "FIELD_ENCRYPTION_KEYS", "BASE_URL"):
            assert environment[secret].startswith("${" + secret + ":?")
            with pytest.raises(KeyError, match=secret):
                interpolated(environment[secret], {})


def test_every_setting_of_the_contract_reaches_every_process(compose: dict[str, Any]) -> None:
    documented = set(re.findall(r"(?m)^\| `([A-Z_]+)` \|", (ROOT / "docs/settings.md").read_text()))
    assert len(documented) > 15
    local_only = {"BIND", "PORT", "VAR_DIR", "PROMETHEUS_MULTIPROC_DIR", "WEB_CONCURRENCY", "WEB_THREADS"}
    optional = {"WORKER_THREADS", "CELERY_BROKER_URL", "DATABASE_CONN_MAX_AGE"}
    for name in PLATFORM_SERVICES:
        assert documented - local_only - optional <= set(compose["services"][name]["environment"])


def test_the_example_environment_names_what_compose_asks_for(compose: dict[str, Any]) -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    asked = set(re.findall(r"\$\{([A-Z_]+):\?", text))
    example = dict(
        line.split("=", 1) for line in (ROOT / ".env.example").read_text().splitlines() if re.match(r"[A-Z_]+=", line)
    )
    assert asked <= set(example)
    assert set(example) <= set(re.findall(r"\$\{([A-Z_]+)", text))
    assert example["SECRET_KEY"] == example["POSTGRES_PASSWORD"] == example["FIELD_ENCRYPTION_KEYS"] == ""


def test_the_image_is_locked_unprivileged_and_without_secrets(dockerfile: list[tuple[str, str]]) -> None:
    instructions = [instruction for instruction, _ in dockerfile]
    bases = [arguments for instruction, arguments in dockerfile if instruction == "FROM"]
    assert len(bases) == 2
    assert all(base.startswith("python:3.11-slim") for base in bases)
    (user,) = [arguments for instruction, arguments in dockerfile if instruction == "USER"]
    assert user == "platform"
    assert instructions.index("USER") > max(index for index, name in enumerate(instructions) if name == "RUN")
    installs = [
        arguments for instruction, arguments in dockerfile if instruction == "RUN" and "pip install" in arguments
    ]
    assert installs
    assert all("--require-hashes" in install for install in installs)
    assert "HEALTHCHECK" in instructions
    settings = " ".join(arguments for instruction, arguments in dockerfile if instruction in ("ENV", "ARG"))
    assert not re.search(r"SECRET|KEY|PASSWORD|TOKEN", settings)
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {".env", ".git", "var", ".venv"} <= set(ignored)


def test_everything_the_image_copies_and_runs_exists(
    compose: dict[str, Any], dockerfile: list[tuple[str, str]]
) -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    commands = [compose["services"][name]["healthcheck"].get("test", []) for name in PLATFORM_SERVICES]
    scripts = {word for command in commands for word in command if word.endswith(".py")}
    assert len(scripts) == 2
    for script in scripts:
        assert (ROOT / script).is_file()
        assert script.split("/")[0] not in ignored
    for copied in ("requirements/base.txt", "manage.py", "gunicorn.conf.py"):
        assert (ROOT / copied).is_file()


# The same commands as local processes.


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def services() -> tuple[str, str]:
    """URLs of a database and a Redis database of this test's own, beside those the suite was given."""
    database, redis = os.environ.get("DATABASE_URL", ""), os.environ.get("REDIS_URL", "")
    if not database.startswith("postgres") or not redis:
        if os.environ.get("REQUIRE_SERVICES") == "1":
            pytest.fail("DATABASE_URL and REDIS_URL must name PostgreSQL and Redis here.")
        pytest.skip("runs where DATABASE_URL and REDIS_URL name PostgreSQL and Redis")
    return database.rsplit("/", 1)[0] + "/lti_platform_compose", redis.rsplit("/", 1)[0] + "/13"


@pytest.fixture(scope="module")
def stack(
    services: tuple[str, str], compose: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator["Stack"]:
    stack = Stack(compose["services"], *services, tmp_path_factory.mktemp("compose"))
    try:
        stack.make_database()
        yield stack
    finally:
        stack.stop()
        stack.drop_database()
        stack.empty_redis()


class Stack:
    """The services of docker-compose.yml as processes: same commands, same environment but for hosts and ports."""

    def __init__(self, services: dict[str, Any], database_url: str, redis_url: str, folder: Path) -> None:
        self.services, self.database_url, self.redis_url, self.folder = services, database_url, redis_url, folder
        self.port = free_port()
        self.variables = {**ENTERED, "DATABASE_URL": database_url, "REDIS_URL": redis_url}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def environment(self, name: str) -> dict[str, str]:
        """Only what Compose gives, where to listen, and where this machine keeps its commands."""
        return {
            **environment_of(self.services[name], self.variables),
            "PORT": str(self.port),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
            "VAR_DIR": str(self.folder / "var"),
        }

    def local(self, command: list[str]) -> list[str]:
        """The command with the container's /tmp as the folder it is here."""
        return [word.replace("/tmp/", f"{self.folder}/") for word in command]

    def run(self, name: str, command: list[str], **options: Any) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.local(command),
            cwd=ROOT,
            env=self.environment(name),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            **options,
        )

    def start(self, name: str) -> None:
        with self.log(name).open("wb") as output:
            self.processes[name] = subprocess.Popen(
                self.local(self.services[name]["command"]),
                cwd=ROOT,
                env=self.environment(name),
                stdout=output,
                stderr=output,
            )

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def wait_until_healthy(self, name: str, seconds: float = 60) -> None:
        """Until the service's own healthcheck command succeeds."""
        deadline = time.monotonic() + seconds
        while True:
            assert self.processes[name].poll() is None, self.log(name).read_text()[-3000:]
            check = self.run(name, self.services[name]["healthcheck"]["test"][1:])
            if check.returncode == 0:
                return
            assert time.monotonic() < deadline, check.stdout + check.stderr + self.log(name).read_text()[-3000:]
            time.sleep(0.5)

    def get(self, path: str) -> tuple[int, bytes]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers={"Host": "tool.example.org"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()

    def _admin_sql(self, statement: str) -> None:
        import psycopg2

        connection = psycopg2.connect(self.database_url.rsplit("/", 1)[0] + "/postgres")
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
        connection.close()

    def make_database(self) -> None:
        self.drop_database()
        self._admin_sql(f"CREATE DATABASE {urlsplit(self.database_url).path.lstrip('/')}")

    def drop_database(self) -> None:
        self._admin_sql(f"DROP DATABASE IF EXISTS {urlsplit(self.database_url).path.lstrip('/')} WITH (FORCE)")

    def empty_redis(self) -> None:
        import redis

        with redis.Redis.from_url(self.redis_url) as connection:
            connection.flushdb()  # the numbered database of this test alone

    def stop(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.mark.stack
@pytest.mark.xdist_group("compose")
def test_the_image_collects_static_files(
    services: tuple[str, str], dockerfile: list[tuple[str, str]], tmp_path: Path, compose: dict[str, Any]
) -> None:
    (build,) = [
        arguments for instruction, arguments in dockerfile if instruction == "RUN" and "collectstatic" in arguments
    ]
    command = build[: build.index("&&")]
    assert shlex.split(command)[-5:] == ["python", "manage.py", "collectstatic", "--noinput", "--verbosity", "0"][-5:]
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "VAR_DIR": str(tmp_path / "var"),
    }
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "var/static/staticfiles.json").read_text())
    assert any(name.startswith("vendor/bootstrap/") for name in manifest["paths"])


@pytest.mark.stack
@pytest.mark.xdist_group("compose")
def test_the_stack_runs_as_local_processes(stack: Stack) -> None:
    migrated = stack.run("migrate", stack.services["migrate"]["command"])
    assert migrated.returncode == 0, migrated.stderr
    again = stack.run("migrate", stack.services["migrate"]["command"])
    assert "No migrations to apply" in again.stdout

    for name in ("web", "worker", "beat"):
        stack.start(name)
    for name in ("web", "worker", "beat"):
        stack.wait_until_healthy(name)

    status, body = stack.get("/health/ready")
    assert (status, json.loads(body)) == (200, {"status": "ok", "database": "ok", "cache": "ok", "broker": "ok"})
    status, body = stack.get("/metrics")
    assert status == 200
    assert b'lti_platform_deliveries_pending{kind="grade"} 0.0' in body

    document = json.dumps({"organizations": [{"slug": "composed", "owners": [{"email": "owner@composed.example"}]}]})
    provisioned = stack.run("web", ["python", "manage.py", "provision", "-"], input=document)
    assert provisioned.returncode == 0, provisioned.stderr
    assert json.loads(provisioned.stdout)["organizations"][0]["slug"] == "composed"

    # Beat's wake-up reaches the worker, and the worker says so with the task's id.
    deadline = time.monotonic() + 40
    while not (lines := task_lines(stack.log("worker"), "events.deliver_due")):
        assert time.monotonic() < deadline, stack.log("worker").read_text()[-3000:]
        time.sleep(0.5)
    assert re.fullmatch(r"[0-9a-f-]{36}", lines[0]["task_id"])

    stack.stop()
    for name, process in stack.processes.items():
        assert process.returncode in (0, -signal.SIGTERM), (name, stack.log(name).read_text()[-2000:])
        text = stack.log(name).read_text()
        for secret in (ENTERED["SECRET_KEY"], ENTERED["FIELD_ENCRYPTION_KEYS"], "owner@composed.example"):
            assert secret not in text
    for line in stack.log("web").read_text().splitlines():
        assert json.loads(line)["event"]


def task_lines(log: Path, task: str) -> list[dict[str, Any]]:
    """The log lines that were written while the task ran, or about it."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("task_id") and task in json.dumps(line)]
