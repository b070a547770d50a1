"""A live session with web and worker as processes of their own, and a meeting server that calls them."""

import json

import pytest

from tests.meetings import KEY, SECRET, Guest, running_sandbox
from tests.stack import running_stack

pytestmark = [pytest.mark.stack, pytest.mark.xdist_group("stack")]

BEGIN = """
import json
from organizations.models import Organization, Person
from recordings.models import MeetingServer, Room
from recordings.sessions import join
organization = Organization.objects.create(slug="acme", name="Acme")
MeetingServer.objects.create(organization=organization, name="main", kind="sandbox", url={url!r}, api_key={key!r},
    api_secret={secret!r}, is_default=True)
course = organization.courses.create(code="live", name="Live")
room = Room.objects.create(course=course, slug="live", title="Live")
people = [Person.objects.create(organization=organization, name=f"Person {{n}}") for n in range(8)]
print(json.dumps([join(room, one, is_moderator=one is people[0]) for one in people]))
"""
LOOK = """
import json
from recordings.attendance import attendance_of
from recordings.models import Meeting, MeetingWebhook, Recording
meeting = Meeting.objects.get()
attended = attendance_of(meeting)
print(json.dumps({
    "ended": meeting.ended_at is not None, "present": sum(one.is_in for one in attended), "attended": len(attended),
    "recordings": Recording.objects.count(), "waiting": MeetingWebhook.objects.filter(processed_at=None).count(),
    "kept": MeetingWebhook.objects.count()}))
"""
END = """
from organizations.models import Person
from recordings.models import Room
from recordings.sessions import end
print(end(Room.objects.get(), Person.objects.order_by("name").first()))
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with running_stack(tmp_path_factory.mktemp("live")) as running:
        running.start_web()
        yield running


def shell(stack, code):
    return stack.manage("shell", "--verbosity", "0", "-c", code).strip().splitlines()[-1]


def test_a_worker_that_dies_loses_nothing_of_a_session(stack):
    """Everybody enters; the worker is killed; while there is none everybody leaves and the session ends."""

    def look():
        return json.loads(shell(stack, LOOK))

    with running_sandbox() as sandbox:
        addresses = json.loads(shell(stack, BEGIN.format(url=sandbox.url, key=KEY, secret=SECRET)))
        stack.start_worker()
        guests = [Guest.enter(address) for address in addresses]
        stack.wait_for(lambda: look()["present"] == 8, seconds=120)
        stack.kill("worker")
        assert guests[0].call("record", on=True).status_code == 200
        for guest in guests[1:]:
            guest.call("leave")
        assert shell(stack, END) == "True"
        # Eight joins, seven leaves and one by the end, the session's begin and end, the recording, and the report.
        stack.wait_for(lambda: look()["kept"] >= 24, seconds=120)
        left = look()
        assert left["waiting"] > 0
        assert left["recordings"] == 0
        stack.start_worker("second worker")
        stack.wait_for(lambda: look()["waiting"] == 0, seconds=120)
        assert {name: value for name, value in look().items() if name != "kept"} == {
            "ended": True, "present": 0, "attended": 8, "recordings": 1, "waiting": 0,
        }  # fmt: skip
