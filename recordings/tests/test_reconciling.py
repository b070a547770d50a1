"""What webhooks missed is asked for: ends, who is in, reports, recordings; and no server holds up another."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from events.models import Event
from recordings.attendance import attendance_of
from recordings.meeting_server import (
    AttendanceReport,
    Attended,
    LiveSession,
    Participant,
    PastSession,
    ServerUnreachable,
    Session,
    Stay,
)
from recordings.meetings import running_meeting
from recordings.models import Meeting, MeetingServer, Recording
from recordings.reconciling import reconcile
from recordings.tests.fake_server import FakeServer, use
from tests.factories import AttendanceFactory, MeetingFactory, RecordingFactory, RoomFactory

pytestmark = pytest.mark.django_db

START = timezone.now().replace(microsecond=0) - timedelta(hours=1)


def at(minutes):
    return START + timedelta(minutes=minutes)


@pytest.fixture
def meeting(fake):
    meeting = MeetingFactory(started_at=START, created_at=START)
    runs(fake, meeting)
    return meeting


def runs(fake, meeting):
    fake.sessions[meeting.room.room_id] = Session(meeting.room.room_id, meeting.session_id, START, 0, False)


def again(row):
    row.refresh_from_db()
    return row


def later(minutes):
    return timezone.now() + timedelta(minutes=minutes)


def test_what_runs_runs_on(meeting, fake):
    assert reconcile() == 1
    assert again(meeting).is_running
    assert meeting.reconciled_at is not None


def test_a_server_is_asked_once_a_minute(meeting, fake):
    assert [reconcile(), reconcile(), reconcile(later(1))] == [1, 0, 1]


def test_a_missed_end(meeting, fake):
    fake.finish(meeting.room.room_id, minutes=40)
    fake.past[0] = replace(fake.past[0], ended_at=at(40))
    reconcile()
    assert again(meeting).ended_at == at(40)
    assert Event.objects.filter(type="meeting.ended").count() == 1


def test_a_meeting_that_just_started_is_left_to_settle(fake):
    meeting = MeetingFactory()
    reconcile()
    assert again(meeting).is_running


def test_another_session_runs_now(meeting, fake):
    fake.finish(meeting.room.room_id)
    fake.sessions[meeting.room.room_id] = Session(meeting.room.room_id, "next", at(50), 0, False)
    reconcile()
    assert not again(meeting).is_running
    assert running_meeting(meeting.room).session_id == "next"


def test_who_is_in_and_who_has_gone(meeting, fake):
    gone = AttendanceFactory(meeting=meeting)
    gone.intervals.create(connection_id="lost", joined_at=at(5))
    came = AttendanceFactory(meeting=meeting)
    fake.people[meeting.room.room_id] = [
        Participant(came.identity, "c9", "x", at(10)),
        Participant("RECORDER_BOT", "c8", "x", at(10), is_bot=True),
    ]
    reconcile()
    found = {one.person: one.is_in for one in attendance_of(meeting)}
    assert found == {gone.person: False, came.person: True}
    assert came.intervals.get().joined_at == at(10)


def test_the_report_completes_attendance(meeting, fake):
    room_id = meeting.room.room_id
    ada, guest = AttendanceFactory(meeting=meeting), AttendanceFactory(meeting=meeting)
    ada.intervals.create(connection_id="c1", joined_at=at(0))
    fake.finish(room_id, analytics_id="file-1")
    fake.reports["file-1"] = AttendanceReport(
        room_id,
        START,
        at(60),
        (
            Attended(ada.identity, "x", False, (Stay(at(0), at(25)),)),
            Attended(guest.identity, "x", False, (Stay(at(10), at(20)), Stay(at(30), at(40)))),
        ),
    )
    reconcile()
    reconcile(later(1))
    meeting.refresh_from_db()
    assert meeting.analytics_taken_at is not None
    assert {one.person: one.seconds for one in attendance_of(meeting)} == {ada.person: 1500, guest.person: 1200}
    reconcile(later(20))
    assert fake.calls.count("attendance_report") == 1


def test_a_report_of_another_room_is_not_believed(meeting, fake):
    Meeting.objects.update(ended_at=at(60), analytics_id="file-1")
    somebody = Attended("x", "x", False, (Stay(at(0), at(1)),))
    fake.reports["file-1"] = AttendanceReport("another", START, at(60), (somebody,))
    reconcile()
    assert not attendance_of(again(meeting))


def test_a_report_that_is_not_there_yet_is_asked_for_again(meeting, fake):
    Meeting.objects.update(ended_at=timezone.now(), analytics_id="file-1")
    reconcile()
    assert again(meeting).analytics_taken_at is None
    fake.reports["file-1"] = AttendanceReport(meeting.room.room_id, START, at(60), ())
    reconcile(later(1))
    assert again(meeting).analytics_taken_at is not None


def test_a_report_is_not_awaited_for_ever(meeting, fake):
    over = timezone.now() - timedelta(days=2)
    Meeting.objects.update(started_at=over, ended_at=over)
    reconcile()
    assert "past_sessions" not in fake.calls


def test_recordings_are_kept_in_step(meeting, fake):
    room = meeting.room
    fake.record(room.room_id, "new", session_id=meeting.session_id, title="Week 1")
    fake.record("another-tools-room", "foreign")
    RecordingFactory(room=room, record_id="gone", created_at=START)
    reconcile()
    new = Recording.objects.get(record_id="new")
    assert (new.meeting, new.title, new.size, new.state) == (meeting, "Week 1", 1_500_000, "available")
    assert Recording.objects.get(record_id="gone").state == "gone"
    assert not Recording.objects.filter(record_id="foreign").exists()
    assert again(room.server).listed_at is not None
    reconcile(later(10))
    assert Event.objects.filter(type="recording.ready").count() == 1
    assert Event.objects.filter(type="recording.deleted").count() == 1


def test_what_was_deleted_here_is_not_taken_over_again(meeting, fake):
    fake.record(meeting.room.room_id, "rec-1")
    row = RecordingFactory(room=meeting.room, record_id="rec-1", state="deleting", published=False)
    reconcile()
    assert again(row).state == "deleting"


def test_a_list_that_is_cut_off_makes_nothing_gone(meeting, fake, monkeypatch):
    RecordingFactory(room=meeting.room, record_id="unseen", created_at=START)
    fake.record(meeting.room.room_id, "seen")
    whole = fake.recordings
    monkeypatch.setattr(
        fake, "recordings", lambda *arguments, **more: replace(whole(*arguments, **more), items=(), total=2)
    )
    reconcile()
    assert Recording.objects.get(record_id="unseen").state == "available"


def test_many_recordings_are_read_page_by_page(meeting, fake):
    for number in range(250):
        fake.record(meeting.room.room_id, f"rec-{number}")
    reconcile()
    assert Recording.objects.count() == 250
    assert fake.calls.count("recordings") == 3


def test_a_session_that_nobody_told_us_of(meeting, fake):
    Meeting.objects.update(ended_at=timezone.now())
    fake.past = [
        PastSession(meeting.room.room_id, "unseen", "", 3, at(-120), at(-60)),
        PastSession(meeting.room.room_id, "empty", "", 0, at(-50), at(-40)),
        PastSession("another-tools-room", "foreign", "", 3, at(-120), at(-60)),
    ]
    reconcile()
    unseen = Meeting.objects.exclude(pk=meeting.pk).get()
    assert (unseen.session_id, unseen.started_at, unseen.ended_at) == ("unseen", at(-120), at(-60))


def test_meetings_of_a_removed_server_end(meeting):
    MeetingServer.objects.all().delete()
    reconcile()
    assert not again(meeting).is_running


def test_trouble_is_shown_to_the_owner(meeting, fake):
    fake.trouble = ServerUnreachable("No connection.")
    reconcile()
    assert again(meeting).is_running
    assert again(meeting.room.server).problem == "No connection."
    fake.trouble = None
    reconcile(later(1))
    assert again(meeting.room.server).problem == ""


def test_a_server_that_hangs_holds_up_no_other(monkeypatch):
    answered, released = FakeServer(), threading.Event()
    hanging = FakeServer(before=lambda name: released.wait(60))
    meetings = [MeetingFactory(started_at=START, created_at=START) for _ in range(2)]
    fakes = {meetings[0].server.pk: hanging, meetings[1].server.pk: answered}
    use(monkeypatch, lambda server: fakes[server.pk])
    try:
        assert reconcile(seconds=5) == 1
    finally:
        released.set()
    assert again(meetings[0]).is_running
    assert not again(meetings[1]).is_running


def test_answers_that_break_keep_no_others_from_being_written(meeting, fake, monkeypatch):
    broken = FakeServer()
    other = MeetingFactory(room=RoomFactory(), started_at=START, created_at=START)
    fake.finish(meeting.room.room_id)
    use(monkeypatch, lambda server: broken if server.pk == other.server.pk else fake)
    monkeypatch.setattr(broken, "live_session", lambda room_id: LiveSession(None, None))
    assert reconcile() == 1
    assert not again(meeting).is_running


def test_servers_that_are_off_are_not_asked(meeting, fake):
    MeetingServer.objects.update(enabled=False)
    assert reconcile() == 0
    assert not fake.calls
