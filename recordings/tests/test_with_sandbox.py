"""A whole session with a real meeting server beside us: our services, its API, its webhooks, its files."""

from datetime import timedelta

import pytest
import requests
from django.test import Client
from django.utils import timezone

from courses.models import Assignment
from events.log import Actor
from events.models import Event
from grades.models import Score
from recordings import library
from recordings.attendance import attendance_of
from recordings.attendance_grades import grade_what_is_due
from recordings.library import Viewer
from recordings.models import AttendanceGrading, Meeting, MeetingServer, MeetingWebhook, Recording
from recordings.receiving import process_webhooks
from recordings.reconciling import reconcile
from recordings.sessions import MeetingServerTrouble, end, join, start, state_of
from tests.factories import (
    AssignmentFactory,
    CourseFactory,
    EnrolmentFactory,
    MeetingServerFactory,
    PersonFactory,
    RoomFactory,
)
from tests.loopback import Reply, serve
from tests.meetings import KEY, SECRET, Guest, eventually, running_sandbox

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("loopback"), pytest.mark.xdist_group("sandbox")]


@pytest.fixture(scope="module")
def sandbox():
    with running_sandbox() as running:
        yield running


class Post:
    """What the sandbox sends, handed on to the platform by the test's own thread, which has the database."""

    def __init__(self, receiver):
        self.receiver = receiver
        self.taken = 0
        self.answers = []

    def hand_on(self):
        while self.taken < len(self.receiver.received):
            one = self.receiver.received[self.taken]
            self.taken += 1
            headers = {name: value for name, value in one.headers.items() if name in ("Authorization", "Hash-Token")}
            answer = Client().post(one.path, one.body, content_type=one.headers["Content-Type"], headers=headers)
            self.answers.append(answer.status_code)
        process_webhooks()

    def until(self, look):
        def looked():
            self.hand_on()
            return look()

        return eventually(looked)


@pytest.fixture
def post(settings):
    with serve(lambda received: Reply()) as receiver:
        settings.BASE_URL = receiver.url
        yield Post(receiver)


def a_room(sandbox, **more):
    course = CourseFactory(release_grades_automatically=True)
    server = MeetingServerFactory(
        organization=course.organization, kind="sandbox", url=sandbox.url, api_key=KEY, api_secret=SECRET
    )
    return RoomFactory(course=course, server=server, **more)


def somebody(room, name, role="student"):
    person = PersonFactory(organization=room.course.organization, name=name)
    EnrolmentFactory(course=room.course, person=person, role=role)
    return person


def test_a_session_from_start_to_grade(sandbox, post):
    room = a_room(sandbox, title="Office hours")
    teacher, student = somebody(room, "Grace Hopper", "teacher"), somebody(room, "Ada Lovelace")
    assignment = AssignmentFactory(course=room.course, kind=Assignment.Kind.ROOM, points_possible=10)
    AttendanceGrading.objects.create(assignment=assignment, room=room, measure="share", required=1)

    meeting = start(room, teacher, custom={"custom_allow_polls": "false"})
    # What servers since v2.3.0 make of a plain false, for the teacher to see.
    assert meeting.differences == [{"name": "allow_polls", "asked": False, "applied": True}]
    grace = Guest.enter(join(room, teacher, is_moderator=True))
    ada = Guest.enter(join(room, student, is_moderator=False))
    post.until(lambda: state_of(room).count == 2)
    assert [one.name for one in state_of(room).present] == ["Grace Hopper", "Ada Lovelace"]
    assert grace.call("record", on=True).status_code == 200
    grace.call("record", on=False)
    ada.call("leave")
    post.until(lambda: state_of(room).count == 1)
    # Sessions of no length have no share: the meeting began a while ago.
    Meeting.objects.filter(pk=meeting.pk).update(started_at=timezone.now() - timedelta(minutes=1))
    assert end(room, teacher)
    assert post.until(lambda: Recording.objects.filter(room=room).first())
    post.until(lambda: Meeting.objects.get().analytics_id)
    assert set(post.answers) == {200}
    reconcile(timezone.now() + timedelta(minutes=2))

    meeting.refresh_from_db()
    assert meeting.analytics_taken_at is not None
    attended = attendance_of(meeting)
    assert [(one.name, one.is_moderator, one.is_in) for one in attended] == [
        ("Grace Hopper", True, False),
        ("Ada Lovelace", False, False),
    ]
    assert {one.type for one in MeetingWebhook.objects.all()} >= {"room_started", "participant_left", "room_finished"}
    kinds = set(Event.objects.values_list("type", flat=True))
    assert kinds >= {"meeting.started", "meeting.ended", "recording.ready"}
    assert grade_what_is_due() == 1
    assert Score.objects.get().person == student


def test_a_recording_from_the_list_to_its_end(sandbox, post):
    room = a_room(sandbox)
    teacher = somebody(room, "Grace Hopper", "teacher")
    meeting = start(room, teacher, custom={})
    grace = Guest.enter(join(room, teacher, is_moderator=True))
    grace.call("record", on=True)
    end(room, teacher)
    # Not one webhook arrives: the reconciler finds what is there.
    eventually(lambda: sandbox.client.recordings([room.room_id]).items)
    reconcile(timezone.now() + timedelta(minutes=2))
    recording = Recording.objects.get(room=room)
    assert (recording.meeting, recording.published) == (meeting, False)
    viewer = Viewer(room.course_id, sees_unpublished=False)
    with pytest.raises(Recording.DoesNotExist):
        library.address_to_play(recording, viewer)
    library.publish(recording)
    part = requests.get(library.address_to_play(recording, viewer), headers={"Range": "bytes=0-3"}, timeout=20)
    assert (part.status_code, part.content) == (206, b"RIFF")
    library.rename(recording, "Week 1")
    assert library.carry_out() == 1
    assert sandbox.client.recording(recording.record_id).title == "Week 1"
    library.delete(recording, Actor.of(teacher))
    assert library.carry_out() == 1
    assert sandbox.client.recording(recording.record_id) is None
    assert Event.objects.filter(type="recording.deleted").count() == 1


def test_two_organizations_on_one_server(sandbox, post):
    """The same server, the same key, the same names in both LMSs: two sessions, and neither knows of the other."""
    rooms = [a_room(sandbox, slug="office-hours", title="Office hours") for _ in range(2)]
    meetings, teachers = [], []
    for room in rooms:
        teacher = somebody(room, "Grace Hopper", "teacher")
        teachers.append(teacher)
        meetings.append(start(room, teacher))
        guest = Guest.enter(join(room, teacher, is_moderator=True))
        guest.call("record", on=True)
    assert meetings[0].session_id != meetings[1].session_id
    for room in rooms:
        post.until(lambda room=room: state_of(room).count == 1)
    end(rooms[0], teachers[0])
    assert state_of(rooms[1]).is_running
    post.until(lambda: Recording.objects.filter(room=rooms[0]).first())
    recording = Recording.objects.get()
    foreign = Viewer(rooms[1].course_id, sees_unpublished=True)
    assert not library.recordings_of(rooms[0], foreign)
    with pytest.raises(Recording.DoesNotExist):
        library.address_to_play(recording, foreign)
    for attended, teacher in zip(map(attendance_of, meetings), teachers, strict=True):
        assert [one.person for one in attended] == [teacher]
    end(rooms[1], teachers[1])


def test_a_wrong_key_is_told_and_leaves_nothing(sandbox):
    room = a_room(sandbox)
    MeetingServer.objects.filter(pk=room.server_id).update(api_key="another")
    room.refresh_from_db()
    with pytest.raises(MeetingServerTrouble) as caught:
        start(room, somebody(room, "Grace Hopper", "teacher"))
    assert caught.value.code == "meeting_server_key_refused"
    assert "does not know this API key" in MeetingServer.objects.get().problem
    assert not Meeting.objects.exists()


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(200, b"<html>Welcome</html>", {"Content-Type": "text/html"}), "meeting_server_not_a_meeting_server"),
        (Reply(503, b""), "meeting_server_failing"),
        (Reply(302, b"", {"Location": "https://elsewhere.example"}), "meeting_server_not_a_meeting_server"),
    ],
)
def test_what_is_no_meeting_server_is_told(reply, code):
    with serve(lambda received: reply) as other:
        server = MeetingServerFactory(url=other.url)
        room = RoomFactory(course=CourseFactory(organization=server.organization), server=server)
        with pytest.raises(MeetingServerTrouble) as caught:
            start(room, somebody(room, "Grace Hopper", "teacher"))
    assert caught.value.code == code
    assert not Meeting.objects.exists()
