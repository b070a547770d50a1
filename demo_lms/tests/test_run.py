"""The command behind `make demo`, apart from the processes it starts (tests/browser runs those)."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from demo_lms import furnishing, processes
from demo_lms.course import read_course
from demo_lms.keeping import MAKERS, keep_secrets
from demo_lms.processes import ChildDied, Children
from demo_lms.tests.conftest import ROOT, free_port


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "demo_lms.run", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def test_secrets_are_made_once_and_private(tmp_path: Path) -> None:
    file = tmp_path / "var" / "demo.env"
    kept = keep_secrets(file)
    assert set(kept) == set(MAKERS)
    assert file.stat().st_mode & 0o777 == 0o600
    assert keep_secrets(file) == kept
    file.write_text(file.read_text().replace("DEMO_API_TOKEN=", "GONE="))
    again = keep_secrets(file)
    assert again["DEMO_API_TOKEN"] != kept["DEMO_API_TOKEN"]
    assert again["SECRET_KEY"] == kept["SECRET_KEY"]


def test_busy_port_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("--port", str(free_port()), "--lms-port", str(port), "--var-dir", str(tmp_path))
    assert done.returncode == 1
    assert f"Port {port} on 127.0.0.1 is in use" in done.stdout
    assert "LMS_PORT=" in done.stdout
    assert not list(tmp_path.iterdir())


def test_lost_keys_are_said(tmp_path: Path) -> None:
    (tmp_path / "demo.sqlite3").touch()
    done = run("--port", str(free_port()), "--lms-port", str(free_port()), "--var-dir", str(tmp_path))
    assert done.returncode == 1
    assert "start afresh" in done.stdout


def test_course_of_the_answer(tmp_path: Path) -> None:
    kept = keep_secrets(tmp_path / "demo.env")
    data = furnishing.definition(kept, "http://127.0.0.1:8001")
    answer = {
        "organizations": [
            {
                "login_url": "http://localhost:8000/lti/1p3/demo/login",
                "launch_url": "http://localhost:8000/lti/1p3/demo/launch",
                "jwks_url": "http://localhost:8000/lti/1p3/demo/jwks.json",
                "courses": [
                    {
                        "code": course["code"],
                        "enroll_url": f"http://localhost:8000/lti/courses/{course['code']}/enroll",
                        "rooms": [
                            {"slug": one["slug"], "url": f"http://localhost:8000/lti/rooms/{one['slug']}"}
                            for one in course.get("rooms", [])
                        ],
                        "assignments": [
                            {
                                "slug": one["slug"],
                                "url": f"http://localhost:8000/lti/assignments/{one['slug']}",
                                "constant_url": f"http://localhost:8000/lti/constant/{one['slug']}",
                            }
                            for one in course["assignments"]
                        ],
                    }
                    for course in data["organizations"][0]["courses"]
                ],
            }
        ]
    }
    file = tmp_path / "demo_lms.json"
    file.write_text(json.dumps(furnishing.lms_course(data, answer, kept, "http://localhost:8000")))
    course = read_course(file)
    by_slug = {link.slug: link for link in course.links}
    assert by_slug["notes"].url == "http://localhost:8000/lti/assignments/first-program"
    assert by_slug["notes-new-tab"].url == by_slug["notes"].url
    assert by_slug["notes-new-tab"].container == "window"
    assert by_slug["safety"].url.endswith("/enroll")
    assert by_slug["office-hours"].url == "http://localhost:8000/lti/rooms/office-hours"
    assert by_slug["safety"].maximum is None
    assert by_slug["machines"].url == by_slug["machines-next-term"].url == "http://localhost:8000/lti/constant/machines"
    copy = course.course_of(by_slug["machines-next-term"])
    assert (copy.title, copy.copied_from) == ("History of Computing (demo), next term", ("3",))
    assert course.course_of(by_slug["notes"]).id == course.id
    assert by_slug["not-set-up"].url == "http://localhost:8000/lti/v1"
    assert [tool.preset.name for tool in course.registered_tools] == ["moodle", "canvas", "blackboard", "brightspace"]
    moodle = course.registered_tools[0]
    assert moodle.redirect_uris == ("http://localhost:8000/lti/1p3/demo/launch",)
    assert moodle.is_active
    assert [link.slug for link in course.links if link.client_id] == ["first-bug", "office-hours"]
    assert by_slug["first-bug"].client_id == moodle.client_id
    assert kept["DEMO_API_TOKEN"] not in repr(course)
    assert kept["DEMO_SHARED_SECRET"] not in repr(course)
    summary = furnishing.summary(data, kept, "http://localhost:8000", "http://127.0.0.1:8001")
    assert [one["role"] for one in summary["sign_ins"]] == ["owner", "teacher", "operator"]
    assert summary["keys"] == [{"consumer_key": "demo-lms", "shared_secret": kept["DEMO_SHARED_SECRET"]}]
    with pytest.raises(furnishing.Unfurnished, match="enroll_url"):
        furnishing.lms_course(data, {"organizations": [{"courses": [{"code": "x"}]}]}, kept, "http://localhost:8000")


def test_the_platform_is_told_of_every_lms_that_is_played(tmp_path: Path) -> None:
    data = furnishing.definition(keep_secrets(tmp_path / "demo.env"), "http://127.0.0.1:8001")
    registrations = data["organizations"][0]["installations"][0]["registrations"]
    assert [one["issuer"] for one in registrations] == [
        "http://127.0.0.1:8001",
        "https://canvas.instructure.com",
        "https://blackboard.com",
        "http://127.0.0.1:8001",
    ]
    assert registrations[3]["token_audience"] == "https://api.brightspace.com/auth/token"
    assert all(one["jwks_url"] == "http://127.0.0.1:8001/jwks.json" for one in registrations)
    assert all(one["service_hosts"] == ["127.0.0.1:8001"] for one in registrations)


def test_organization_file_keeps_no_secret() -> None:
    text = furnishing.ORGANIZATION_FILE.read_text()
    assert "password" not in json.dumps(yaml.safe_load(text))
    assert "shared_secret" not in json.dumps(yaml.safe_load(text))


PARENT = """
import signal, sys
from pathlib import Path
from demo_lms.processes import ChildDied, Children
folder, root = Path(sys.argv[1]), Path(sys.argv[2])
class Stop(Exception): pass
def stop(*_): raise Stop
signal.signal(signal.SIGTERM, stop)
try:
    with Children(folder) as children:
        code = "import time; print('up', flush=True); time.sleep(60)"
        for name in ("one", "two"):
            children.start(name, [sys.executable, "-c", code], {}, root)
        print(*[process.pid for process in children.running.values()], flush=True)
        children.watch()
except Stop:
    sys.exit(0)
except ChildDied as died:
    print(died)
    sys.exit(1)
"""


def is_alive(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and ") Z " not in state.read_text()


def parent(folder: Path) -> tuple[subprocess.Popen[str], list[int]]:
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(folder), str(ROOT)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    pids = [int(word) for word in process.stdout.readline().split()]
    end = time.monotonic() + 20
    while not all((folder / f"{name}.log").read_text() == "up\n" for name in ("one", "two")):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert all(is_alive(pid) for pid in pids)
    return process, pids


def test_stopping_stops_all(tmp_path: Path) -> None:
    process, pids = parent(tmp_path)
    process.terminate()
    assert process.wait(20) == 0
    assert not any(is_alive(pid) for pid in pids)


def test_a_child_that_dies_ends_the_others(tmp_path: Path) -> None:
    process, pids = parent(tmp_path)
    os.kill(pids[1], signal.SIGKILL)
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "two ended by itself (exit code -9)" in said
    assert "up" in said
    assert not any(is_alive(pid) for pid in pids)


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_killed_parent_leaves_nobody_behind(tmp_path: Path) -> None:
    process, pids = parent(tmp_path)
    process.kill()
    process.wait(10)
    end = time.monotonic() + 10
    while any(is_alive(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(is_alive(pid) for pid in pids)


def test_waiting_notices_a_dead_child(tmp_path: Path) -> None:
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        with Children(tmp_path) as children:
            children.start("crash", [sys.executable, "-c", "print('why'); raise SystemExit(3)"], {}, ROOT)
            with pytest.raises(ChildDied, match=r"crash ended by itself \(exit code 3\)(.|\n)*why"):
                children.wait_for("crash", f"http://127.0.0.1:{free_port()}/", 20)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def test_tail_of_a_log_that_is_not_there(tmp_path: Path) -> None:
    assert processes.tail(tmp_path / "no.log") == "(no log)"
