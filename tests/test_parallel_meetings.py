"""Live sessions with many at once: real commits, a sandbox meeting server, on the database that DATABASE_URL names."""

import json

import pytest

from tests.meetings import KEY, SECRET, running_sandbox
from tests.stack import running_stack

pytestmark = [pytest.mark.stack, pytest.mark.xdist_group("stack")]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """What each scene of tests/meetings_at_once.py came to."""
    with running_stack(tmp_path_factory.mktemp("meetings")) as stack, running_sandbox() as sandbox:
        code = (
            "import json; from tests.meetings_at_once import scenes; "
            f"print(json.dumps(scenes({sandbox.url!r}, {KEY!r}, {SECRET!r})))"
        )
        yield json.loads(stack.manage("shell", "--verbosity", "0", "-c", code).strip().splitlines()[-1])


def test_twelve_teachers_start_one_session(scenes):
    assert scenes["starts"] == {
        "errors": [], "meetings": 1, "started": 1, "addresses": 12,
        "events": {"meeting.started": 1, "meeting.ended": 1}, "asked_in": 12, "running": 0,
    }  # fmt: skip


def test_six_workers_lose_no_webhook(scenes):
    assert scenes["webhooks"] == {"errors": [], "waiting": 0, "processed": 600, "wrong": 0, "stored": True}


def test_one_webhook_received_twelve_times_at_once_is_kept_once(scenes):
    assert scenes["same_webhook"] == {"errors": [], "new": 1, "kept": 1}


def test_six_workers_delete_each_recording_once(scenes):
    assert scenes["deletions"] == {"errors": [], "done": 10, "deleted": 10, "events": 10}


def test_six_workers_ask_a_server_once(scenes):
    assert scenes["reconciling"] == {"errors": [], "asked": [0, 0, 0, 0, 0, 1]}
