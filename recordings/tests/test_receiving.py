"""Webhooks in: checked on their very bytes, kept once, and made into what follows, in whatever order they come."""

import json
import random
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from events.models import Event
from organizations.models import Person
from recordings.attendance import attendance_of
from recordings.meetings import running_meeting
from recordings.models import Attendance, AttendanceInterval, Meeting, MeetingServer, MeetingWebhook, Recording
from recordings.receiving import forget_old, process_webhooks, receive
from recordings.sessions import identity_of, state_of
from recordings.tests.webhooks import event, person, post, signed
from tests.factories import AttendanceFactory, MeetingFactory, PersonFactory, RoomFactory

pytestmark = pytest.mark.django_db

START = timezone.now().replace(microsecond=0) - timedelta(hours=1)


def at(minutes):
    return START + timedelta(minutes=minutes)


@pytest.fixture
def meeting(fake):
    return MeetingFactory(started_at=START)


@pytest.fixture
def ada(meeting):
    return PersonFactory(organization=meeting.room.course.organization, name="Ada Lovelace")


def known(meeting, who):
    """Somebody who asked for the way in."""
    return AttendanceFactory(meeting=meeting, person=who, identity=identity_of(who))


def send(meeting, *messages, **how):
    for message in messages:
        assert post(meeting.server, message, **how) == 200
    process_webhooks()


def seconds(meeting):
    meeting.refresh_from_db()
    return {one.name: one.seconds for one in attendance_of(meeting)}


# Received


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/webhook+json", "application/json; charset=utf-8"]
)
def test_it_is_kept(meeting, content_type, memory_queue, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        assert post(meeting.server, event("room_started", meeting, START), content_type=content_type) == 200
    kept = MeetingWebhook.objects.get()
    assert (kept.type, kept.room_id, kept.processed_at) == ("room_started", meeting.room.room_id, None)
    assert memory_queue() == 1


def test_twice_is_once(meeting, memory_queue, django_capture_on_commit_callbacks):
    message = event("room_started", meeting, START)
    with django_capture_on_commit_callbacks(execute=True):
        assert [post(meeting.server, message) for _ in range(3)] == [200, 200, 200]
    assert MeetingWebhook.objects.count() == 1
    assert memory_queue() == 1


@pytest.mark.parametrize(
    "how",
    [
        {"secret": "another-secret-that-is-long-enough-too"},
        {"key": "another-key"},
        {"age": 3600},
        {"sha256": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},
        {"content_type": "text/plain"},
    ],
)
def test_what_is_not_believed_is_refused_in_one_way(meeting, how):
    assert post(meeting.server, event("room_finished", meeting, at(1)), **how) == 401
    assert not MeetingWebhook.objects.exists()
    meeting.refresh_from_db()
    assert meeting.is_running


def test_one_text_for_all_refusals(meeting):
    texts = set()
    for headers in ({}, {"Hash-Token": "x"}, {"Authorization": signed(b"{}")}, {"Hash-Token": signed(b"[]")}):
        body = b"[]" if headers.get("Hash-Token", "x") != "x" else b'{"event": "room_finished"}'
        answer = Client().post(
            f"/meetings/webhook/{meeting.server.pk}", body, content_type="application/json", headers=headers
        )
        texts.add((answer.status_code, answer.content))
    assert len(texts) == 1


def test_too_much_is_refused(meeting):
    assert post(meeting.server, b" " * (256 * 1024 + 1)) == 413


def test_a_get_is_refused(meeting):
    assert Client().get(f"/meetings/webhook/{meeting.server.pk}").status_code == 405


def test_servers_and_organizations_that_are_off_are_not_there(meeting):
    organization = meeting.room.course.organization
    MeetingServer.objects.update(enabled=False)
    assert post(meeting.server, event("room_started", meeting, START)) == 404
    MeetingServer.objects.update(enabled=True)
    organization.enabled = False
    organization.save()
    assert post(meeting.server, event("room_started", meeting, START)) == 404
    assert Client().post(f"/meetings/webhook/{meeting.pk}", b"{}", content_type="application/json").status_code == 404


def test_unknown_events_are_kept_as_their_type_alone(meeting):
    send(meeting, event("speech_service_used", meeting, START, speech_service={"user_id": "somebody"}))
    kept = MeetingWebhook.objects.get()
    assert (kept.type, kept.payload) == ("speech_service_used", {})
    assert kept.processed_at is not None


def test_nobody_is_named_in_what_was_processed(meeting, ada):
    send(meeting, person("participant_joined", meeting, START, identity_of(ada)))
    assert MeetingWebhook.objects.get().payload == {}


def test_one_that_breaks_holds_up_no_other(meeting, ada, monkeypatch):
    known(meeting, ada)
    assert post(meeting.server, person("participant_joined", meeting, at(0), identity_of(ada))) == 200
    MeetingWebhook.objects.create(
        server=meeting.server,
        event_id="odd",
        type="participant_joined",
        room_id=meeting.room.room_id,
        session_id=meeting.session_id,
        payload={"identity": "x", "joined_at": "not a time"},
    )
    assert post(meeting.server, person("participant_left", meeting, at(10), identity_of(ada))) == 200
    process_webhooks()
    assert seconds(meeting) == {"Ada Lovelace": 600}
    odd = MeetingWebhook.objects.get(event_id="odd")
    assert (odd.processed_at, odd.failures, odd.problem) == (None, 1, "ValueError")
    for _ in range(12):
        process_webhooks()
    odd.refresh_from_db()
    assert odd.failures == 10


def test_old_ones_are_forgotten(meeting):
    send(meeting, event("room_started", meeting, START), event("room_created", meeting, START))
    assert forget_old() == 0
    MeetingWebhook.objects.filter(type="room_created").update(received_at=timezone.now() - timedelta(days=8))
    assert forget_old() == 1


# What follows


def test_who_comes_and_goes(meeting, ada):
    known(meeting, ada)
    send(meeting, person("participant_joined", meeting, at(0), identity_of(ada), joined_at=str(int(at(0).timestamp()))))
    assert [one.name for one in state_of(meeting.room).present] == ["Ada Lovelace"]
    send(meeting, person("participant_left", meeting, at(30), identity_of(ada)))
    assert state_of(meeting.room).count == 0
    assert seconds(meeting) == {"Ada Lovelace": 1800}


def test_in_any_order_and_twice_it_is_the_same(meeting, ada):
    known(meeting, ada)
    me = identity_of(ada)
    messages = [
        event("room_started", meeting, START),
        person("participant_joined", meeting, at(0), me, stay="phone"),
        person("participant_joined", meeting, at(5), me, stay="laptop"),
        person("participant_left", meeting, at(10), me, stay="phone"),
        person("participant_left", meeting, at(20), me, stay="laptop"),
        person("participant_joined", meeting, at(40), me, stay="again"),
        person("participant_left", meeting, at(50), me, stay="again"),
        event("session_ended", meeting, at(60)),
        event("room_finished", meeting, at(60)),
    ]
    shuffler = random.Random(7)
    shuffled = messages * 2
    shuffler.shuffle(shuffled)
    for message in shuffled:
        send(meeting, message)
    assert seconds(meeting) == {"Ada Lovelace": 1800}
    meeting.refresh_from_db()
    assert meeting.ended_at == at(60)
    assert AttendanceInterval.objects.count() == 3
    row = Attendance.objects.get()
    assert (row.seconds, row.joined_at, row.left_at) == (1800, at(0), at(50))
    assert Event.objects.filter(type="meeting.ended").count() == 1


def test_a_leave_whose_join_was_lost_knows_when_it_began(meeting, ada):
    known(meeting, ada)
    send(meeting, person("participant_left", meeting, at(30), identity_of(ada), joined_at=str(int(at(10).timestamp()))))
    assert seconds(meeting) == {"Ada Lovelace": 1200}


def test_whose_leave_was_lost_was_there_to_the_end(meeting, ada):
    known(meeting, ada)
    send(
        meeting,
        person("participant_joined", meeting, at(10), identity_of(ada)),
        event("room_finished", meeting, at(60)),
    )
    assert seconds(meeting) == {"Ada Lovelace": 3000}


def test_programs_are_nobody(meeting):
    send(
        meeting,
        *(
            person("participant_joined", meeting, START, one)
            for one in ("RECORDER_BOT", "RTMP_BOT", "sip_1", "ingres_1")
        ),
    )
    assert not Attendance.objects.exists()


def test_guests_of_the_server_are_named_as_there(meeting):
    send(meeting, person("participant_joined", meeting, START, "somebody"))
    assert [(one.name, one.person) for one in attendance_of(meeting)] == [("Name of somebody", None)]


def test_a_session_that_we_do_not_know_begins_when_somebody_is_in(fake):
    """Whoever started it got no answer, say."""
    room = RoomFactory()
    unknown = Meeting(room=room, server=room.server, session_id="unseen", started_at=at(5))
    send(unknown, event("room_created", unknown, at(5)))
    assert running_meeting(room) is None
    send(unknown, event("room_started", unknown, at(6)))
    meeting = running_meeting(room)
    assert (meeting.session_id, meeting.started_at, meeting.settings) == ("unseen", at(5), {})
    assert Event.objects.filter(type="meeting.started").get().actor["kind"] == "system"


def test_late_words_of_an_earlier_session_do_not_end_the_running_one(meeting):
    earlier = Meeting(room=meeting.room, server=meeting.server, session_id="earlier", started_at=at(-30))
    send(earlier, event("room_started", earlier, at(-30)))
    assert running_meeting(meeting.room) == meeting
    late = Meeting.objects.get(session_id="earlier")
    assert late.ended_at == meeting.started_at
    send(earlier, event("room_finished", earlier, at(-10)))
    assert running_meeting(meeting.room) == meeting


def test_a_later_session_ends_the_one_before(meeting):
    later = Meeting(room=meeting.room, server=meeting.server, session_id="later", started_at=at(30))
    send(later, event("room_started", later, at(30)))
    meeting.refresh_from_db()
    assert meeting.ended_at == at(30)
    assert running_meeting(meeting.room).session_id == "later"


def test_a_recording_is_ready(meeting):
    about = {"record_id": "rec-1", "recorder_id": "node", "file_size": 12.34}
    send(
        meeting,
        event("recording_proceeded", meeting, at(31), recording_info=about),
        event("end_recording", meeting, at(30), recording_info={"record_id": "rec-1"}),
        event("start_recording", meeting, at(5), recording_info={"record_id": "rec-1"}),
        event("recording_proceeded", meeting, at(32), recording_info=about),
    )
    recording = Recording.objects.get()
    assert (recording.record_id, recording.meeting, recording.size) == ("rec-1", meeting, 12_340_000)
    assert (recording.seconds, recording.published, recording.recorded_at) == (1500, False, at(5))
    ready = Event.objects.get(type="recording.ready")
    assert ready.data["meeting"] == str(meeting.pk)


def test_its_length_follows_when_its_end_is_told_last(meeting):
    send(meeting, event("start_recording", meeting, at(5), recording_info={"record_id": "rec-1"}))
    send(meeting, event("recording_proceeded", meeting, at(31), recording_info={"record_id": "rec-1", "file_size": 1}))
    assert Recording.objects.get().seconds is None
    send(meeting, event("end_recording", meeting, at(30), recording_info={"record_id": "rec-1"}))
    assert Recording.objects.get().seconds == 1500


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("artifact_created", {"room_artifact": {"type": "MEETING_ANALYTICS", "artifact_id": "file-1"}}),
        ("analytics_proceeded", {"analytics": {"file_id": "file-1"}}),
    ],
)
def test_where_the_report_is_is_noted(meeting, kind, more):
    send(meeting, event(kind, meeting, at(61), **more))
    meeting.refresh_from_db()
    assert meeting.analytics_id == "file-1"


def test_other_files_are_none_of_ours(meeting):
    more = {"room_artifact": {"type": "SPEECH_TRANSCRIPTION", "artifact_id": "file-2"}}
    send(meeting, event("artifact_created", meeting, at(61), **more))
    meeting.refresh_from_db()
    assert meeting.analytics_id == ""


def test_a_server_speaks_of_rooms_of_its_own_organization_only(meeting, fake):
    """Its key signs whatever it says; of another tenant's room it says nothing that counts."""
    foreign = MeetingFactory(started_at=START)
    for message in (
        event("room_finished", foreign, at(1)),
        person("participant_joined", foreign, at(1), "somebody"),
        event("recording_proceeded", foreign, at(1), recording_info={"record_id": "rec-1", "file_size": 1}),
    ):
        assert post(meeting.server, message) == 200
    process_webhooks()
    foreign.refresh_from_db()
    assert foreign.is_running
    assert not Attendance.objects.exists()
    assert not Recording.objects.exists()


def test_one_server_shared_by_two_organizations(fake):
    """Both have the same server with the same key; it tells each by the address that we gave with the room."""
    meetings = [MeetingFactory(started_at=START) for _ in range(2)]
    for meeting in meetings:
        who = PersonFactory(organization=meeting.room.course.organization, name=meeting.session_id)
        known(meeting, who)
        send(meeting, person("participant_joined", meeting, at(0), identity_of(who)))
    for meeting in meetings:
        assert [one.name for one in attendance_of(meeting)] == [meeting.session_id]


# With commits of its own: two thousand savepoints in one transaction are slow on PostgreSQL.
@pytest.mark.django_db(transaction=True)
def test_five_hundred_come_and_go_at_once(meeting):
    """A burst of 2,000 webhooks, every tenth over HTTP: nothing is lost, and everybody's time is exact."""
    organization = meeting.room.course.organization
    people = Person.objects.bulk_create(PersonFactory.build_batch(500, organization=organization))
    Attendance.objects.bulk_create(Attendance(meeting=meeting, person=one, identity=identity_of(one)) for one in people)
    messages, expected = [], {}
    for number, one in enumerate(people):
        first, second = number % 20, 25 + number % 20
        me = identity_of(one)
        messages += [
            person("participant_joined", meeting, at(first), me, stay=f"{number}-a"),
            person("participant_left", meeting, at(first + 3), me, stay=f"{number}-a"),
            person("participant_joined", meeting, at(second), me, stay=f"{number}-b"),
            person("participant_left", meeting, at(second + number % 7), me, stay=f"{number}-b"),
        ]
        expected[one.pk] = (3 + number % 7) * 60
    random.Random(1).shuffle(messages)
    client = Client()
    for number, message in enumerate(messages):
        if number % 10 == 0:
            assert post(meeting.server, message, client=client) == 200
        else:
            body = json.dumps(message).encode()
            headers = {"Content-Type": "application/json", "Hash-Token": signed(body)}
            assert receive(meeting.server, headers, body) is True
        if number % 400 == 0:
            process_webhooks()
    process_webhooks()
    assert MeetingWebhook.objects.filter(processed_at=None).count() == 0
    assert MeetingWebhook.objects.count() == 2000
    assert {one.person.pk: one.seconds for one in attendance_of(meeting)} == expected
    stored = dict(Attendance.objects.values_list("person_id", "seconds"))
    assert stored == expected


def test_bodies_may_hold_what_no_database_takes(meeting):
    body = json.dumps(person("participant_joined", meeting, START, "some\u0000body")).encode()
    assert post(meeting.server, body) == 200
    process_webhooks()
    assert Attendance.objects.get().identity == "somebody"
