"""A demo LMS as a real process on a free port, with a course of its own."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from demo_lms import storage
from demo_lms.tests.tool import CLIENTS, Tool1p3

ROOT = Path(__file__).resolve().parent.parent.parent
TOOL = "http://localhost:9"
CONSUMER_KEY = "demo-key_1"
SHARED_SECRET = "a secret & more ünï"
API_TOKEN = "api-token-of-the-test"


def found(pattern: str, text: str) -> str:
    """The first group of the pattern in the text."""
    match = re.search(pattern, text)
    assert match is not None, f"{pattern} is not in: {text[:2000]}"
    return match.group(1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class DemoLms:
    """A running demo LMS; `tool_url` is what its course takes for the platform."""

    url: str
    tool_url: str

    def behave(self, mode: str, **more: Any) -> None:
        requests.post(f"{self.url}/api/behaviour", json={"mode": mode, **more}, timeout=10).raise_for_status()

    def launch_as(self, way: str, slug: str = "essay") -> None:
        """Launch the link from now on as this LMS does over LTI 1.3, with "" over LTI 1.1."""
        answer = requests.post(f"{self.url}/api/lti-version", json={"link": slug, "as": way}, timeout=10)
        answer.raise_for_status()

    def grades(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = requests.get(f"{self.url}/api/gradebook.json", timeout=10).json()["grades"]
        return found

    def messages(self, kind: str = "") -> list[dict[str, Any]]:
        answer = requests.get(f"{self.url}/api/messages.json", params={"kind": kind}, timeout=10)
        found: list[dict[str, Any]] = answer.json()["messages"]
        return found

    def be(self, person_id: str) -> requests.Session:
        """A browser's session in which a person has been chosen."""
        session = requests.Session()
        session.get(f"{self.url}/people/", timeout=10)
        answer = session.post(
            f"{self.url}/people/",
            data={"person": person_id, "csrfmiddlewaretoken": session.cookies["demo_lms_csrf"]},
            timeout=10,
        )
        assert answer.status_code == 200
        return session


def course_file(tool_url: str, tool_1p3: Tool1p3) -> dict[str, Any]:
    def link(slug: str, path: str, maximum: int | None, container: str = "frame", **custom: str) -> dict[str, Any]:
        return {
            "slug": slug,
            "section": "Week 1",
            "title": f"{slug.title()} “é” & co",
            "description": f"About {slug}",
            "url": f"{tool_url}{path}",
            "container": container,
            "maximum": maximum,
            "custom": custom,
        }

    return {
        "id": "2",
        "code": "DEMO-101",
        "title": "A course <b>of</b> tests",
        "tool": {
            "platform_url": tool_url,
            "organization": "demo",
            "consumer_key": CONSUMER_KEY,
            "shared_secret": SHARED_SECRET,
            "api_token": API_TOKEN,
        },
        "registered_tools": [
            {
                "preset": preset,
                "client_id": client_id,
                "deployment_id": deployment_id,
                "name": "Test tool",
                "login_url": f"{tool_1p3.url}/login",
                "redirect_uris": [f"{tool_1p3.url}/launch"],
                "jwks_url": f"{tool_1p3.url}/jwks.json",
                "target_link_uri": f"{tool_1p3.url}/launch",
            }
            for preset, (client_id, deployment_id) in CLIENTS.items()
        ],
        "links": [
            link("essay", "/lti/assignments/1?item=quiz%201", 10, week="1", starts="$Not.a.variable"),
            link("window", "/lti/assignments/2", 100, "window"),
            link("enroll", "/lti/courses/3/enroll", None),
            {
                **link("copied", "/lti/constant/key", None, history="$Context.id.history", course="$Context.id"),
                "course_id": "8",
            },
        ],
        "other_courses": [
            {"id": "7", "code": "T-7", "title": "Another course"},
            {"id": "8", "code": "T-8", "title": "A copy of it", "copied_from": ["7", "6"]},
        ],
    }


@pytest.fixture(scope="session")
def tool_port() -> int:
    return free_port()


@pytest.fixture(scope="session")
def tool_1p3() -> Iterator[Tool1p3]:
    with Tool1p3() as tool:
        yield tool


@pytest.fixture(scope="session")
def lms_process(tmp_path_factory: pytest.TempPathFactory, tool_port: int, tool_1p3: Tool1p3) -> Iterator[DemoLms]:
    folder = tmp_path_factory.mktemp("demo_lms")
    port = free_port()
    tool_url = f"http://localhost:{tool_port}"
    (folder / "demo_lms.json").write_text(json.dumps(course_file(tool_url, tool_1p3)), encoding="utf-8")
    storage.prepare(folder / "demo_lms.sqlite3")
    url = f"http://127.0.0.1:{port}"
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "demo_lms.settings",
        "DEMO_LMS_SECRET_KEY": "a-key-for-the-tests-of-the-demo-lms",
        "DEMO_LMS_URL": url,
        "VAR_DIR": str(folder),
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--config", "python:demo_lms.server", "--bind", f"127.0.0.1:{port}"],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        end = time.monotonic() + 30
        while True:
            try:
                if requests.get(f"{url}/health", timeout=5).status_code == 200:
                    break
            except requests.ConnectionError:
                pass
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end, (folder / "log").read_text()
            time.sleep(0.1)
        yield DemoLms(url, tool_url)
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def lms(lms_process: DemoLms) -> DemoLms:
    """The demo LMS, behaving well. Its gradebook goes on from test to test."""
    lms_process.behave("normal")
    for switch in ("launches", "keys", "storage", "rosters"):
        lms_process.behave("normal", switch=switch)
    lms_process.launch_as("")
    return lms_process
