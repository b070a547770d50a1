"""The house keeps its rules: imports go down, names say what things are, and nothing of one machine is in it."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# From the top down: a room imports itself and what stands below it.
ROOMS = [
    "lti_platform",
    "demo_lms",
    "api",
    "launches",
    "recordings",
    "grades",
    "courses",
    "events",
    "organizations",
    "lti",
]


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def modules(room: str) -> list[Path]:
    return [path for path in tracked(f"{room}/*.py") if "tests" not in path.relative_to(ROOT).parts]


def imported_rooms(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.split(".")[0], node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0], node.lineno


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_down(room: str) -> None:
    allowed = {"lti", "demo_lms"} if room == "demo_lms" else set(ROOMS[ROOMS.index(room) :])
    upwards = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in modules(room)
        for name, line in imported_rooms(path)
        if name in ROOMS and name not in allowed
    ]
    assert upwards == []


def test_the_protocols_know_no_framework() -> None:
    foreign = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in modules("lti")
        for name, line in imported_rooms(path)
        if name in {"django", "celery", "redis", "structlog", "psycopg2"}
    ]
    assert foreign == []


def test_modules_are_named_after_what_they_do() -> None:
    vague = re.compile(r"(^|_)(utils?|helpers?|services?|common|misc|managers?|core|base)$")
    # Django finds a database backend by the name base.py, and LTI calls what a platform offers its services.
    right = {"lti_platform/postgresql/base.py", "lti/v1p3/services.py", "organizations/platform_services.py"}
    names = {path.relative_to(ROOT).as_posix() for path in tracked("*.py") if vague.search(path.stem)}
    assert names - right == set()


def test_nothing_is_left_for_later() -> None:
    later = re.compile(r"\b(TODO|FIXME|XXX|HACK|NotImplementedError)\b")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked("*.py", "*.html", "*.js", "*.css", "*.yml")
        if "vendor" not in path.parts and path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if later.search(line)
    ]
    assert found == []


def test_no_run_time_assertions() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for room in ROOMS
        for path in modules(room)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assert)
    ]
    assert found == []


def test_locks_have_hashes_and_no_addresses() -> None:
    for name in ("base.txt", "dev.txt"):
        text = (ROOT / "requirements" / name).read_text()
        assert not re.search(
            r"(?m)^\s*(--(extra-)?index-url|--find-links|--trusted-host|-i |-f )|https?://|file:/", text
        ), name
        pinned = re.findall(r"(?m)^([A-Za-z0-9._-]+)==[^\s\\]+ \\\n    --hash=sha256:", text)
        assert len(pinned) == len(re.findall(r"(?m)^[A-Za-z0-9._-]+==", text)) > 30, name


def test_every_dependency_is_locked_and_argued_for() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = {
        name.lower() for name in re.findall(r"(?m)^([A-Za-z0-9._-]+)==", (ROOT / "requirements/base.txt").read_text())
    }
    decisions = (ROOT / "docs/decisions.md").read_text().lower()
    for requirement in project["dependencies"]:
        name = re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower()  # type: ignore[index]
        assert name in locked
        assert name in decisions, f"docs/decisions.md does not say why {name}"


def test_no_paths_of_one_machine() -> None:
    machine = re.compile(r"/(root|home|Users)/[A-Za-z.]|/work/|/opt/(wheels|pypi)|\.pyenv")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked()
        if path != Path(__file__) and "vendor" not in path.parts and path.suffix not in {".png", ".ico", ".woff2"}
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if machine.search(line)
    ]
    assert found == []


def test_every_file_is_of_a_size_that_can_be_read() -> None:
    long = {
        str(path.relative_to(ROOT)): length
        for path in tracked("*.py")
        if "tests" not in path.relative_to(ROOT).parts and (length := len(path.read_text().splitlines())) > 650
    }
    assert long == {}


def test_links_in_the_documentation_lead_somewhere() -> None:
    broken = []
    for page in tracked("*.md"):
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            if not re.match(r"[a-z]+:", target) and not (page.parent / target).exists():
                broken += [f"{page.relative_to(ROOT)}: {target}"]
    assert broken == []
