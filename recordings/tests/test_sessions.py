"""Starting, joining and ending a session, and how a room stands."""

from datetime import timedelta

import pytest
from django.utils import timezone

from events.models import Event
from recordings import sessions
from recordings.attendance import recount
from recordings.meeting_server import (
    Difference,
    KeyRefused,
    NotAMeetingServer,
    PersonBlocked,
    ServerTooSlow,
    ServerUnreachable,
)
from recordings.models import Attendance, Meeting, MeetingServer, new_room_id
from recordings.room_settings import RoomSettings, checked_settings
from recordings.sessions import Standing, end, identity_of, join, start, state_of
from tests.factories import MeetingServerFactory, PersonFactory, RoomFactory, UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def room():
    return RoomFactory(title="Office hours")


@pytest.fixture
def teacher(room):
    return PersonFactory(organization=room.course.organization, name="Grace Hopper")


@pytest.fixture
def student(room):
    return PersonFactory(organization=room.course.organization, name="Ada Lovelace")


def events(kind):
    return Event.objects.filter(type=kind)


def with_settings(room, **values):
    room.settings = checked_settings(values)
    room.save()
    return room


# Start


def test_it_starts(room, teacher, fake, settings):
    fake.differences = (Difference("allow_polls", False, True),)
    meeting = start(room, teacher, custom={"custom_allow_polls": "false", "custom_room_duration": "soon"})
    assert (meeting.room, meeting.started_by, meeting.ended_at) == (room, teacher, None)
    asked = fake.requests[0]
    assert (asked.room_id, asked.title, asked.settings.allow_polls) == (room.room_id, "Office hours", False)
    assert asked.webhook_url == f"{settings.BASE_URL}/meetings/webhook/{room.server.pk}"
    meeting.refresh_from_db()
    assert meeting.settings["allow_polls"] is False
    assert [(one["name"], one["given"]) for one in meeting.refused] == [("room_duration", "soon")]
    assert meeting.differences == [{"name": "allow_polls", "asked": False, "applied": True}]
    event = events("meeting.started").get()
    assert event.actor["name"] == "Grace Hopper"
    assert event.data["room"] == str(room.pk)


def test_what_the_organization_forces_wins(room, teacher, fake):
    organization = room.course.organization
    organization.meeting_policy = {"forced": {"allow_recording": False}, "max_duration": 60}
    organization.save()
    start(room, teacher, custom={"custom_allow_recording": "true"})
    assert fake.requests[0].settings.allow_recording is False
    assert fake.requests[0].settings.room_duration == 60


def test_starting_twice_is_one_session(room, teacher, student, fake):
    first, second = start(room, teacher), start(room, student)
    assert first == second
    assert Meeting.objects.count() == events("meeting.started").count() == 1
    assert Meeting.objects.get().started_by == teacher


def test_a_session_that_ended_unseen_is_over_when_the_next_starts(room, teacher, fake):
    first = start(room, teacher)
    fake.finish(room.room_id)
    second = start(room, teacher)
    first.refresh_from_db()
    assert first.ended_at is not None
    assert second.ended_at is None
    assert second.session_id != first.session_id
    assert events("meeting.ended").count() == 1


def test_a_session_that_was_thought_over_goes_on(room, teacher, fake):
    meeting = start(room, teacher)
    Meeting.objects.update(ended_at=meeting.started_at)
    assert start(room, teacher) == meeting
    assert Meeting.objects.get().is_running


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (lambda room: setattr(room, "enabled", False), sessions.RoomOff),
        (lambda room: setattr(room.course, "archived", True), sessions.RoomOff),
        (lambda room: setattr(room, "server", None), sessions.NoMeetingServer),
        (lambda room: MeetingServer.objects.update(enabled=False), sessions.MeetingServerOff),
        (lambda room: with_settings(room, opens_at=timezone.now() + timedelta(hours=1)), sessions.RoomNotOpenYet),
        (lambda room: with_settings(room, closes_at=timezone.now() - timedelta(hours=1)), sessions.RoomClosed),
    ],
)
def test_it_refuses_with_words(room, teacher, fake, change, refusal):
    change(room)
    with pytest.raises(refusal) as caught:
        start(room, teacher)
    assert caught.value.for_teacher
    assert caught.value.for_student
    with pytest.raises(refusal):
        join(room, teacher, is_moderator=True)
    assert state_of(room).standing not in (Standing.WAITING, Standing.RUNNING)
    assert not fake.calls
    assert not Meeting.objects.exists()


def test_the_default_server_is_used(room, teacher, fake):
    room.server = None
    room.save()
    default = MeetingServerFactory(organization=room.course.organization, is_default=True)
    MeetingServerFactory(is_default=True)
    assert start(room, teacher).server == default


def test_a_server_of_another_organization_is_none(room, teacher, fake):
    room.server = MeetingServerFactory()
    with pytest.raises(sessions.NoMeetingServer):
        start(room, teacher)


def test_a_running_session_stays_where_it_is_when_the_room_moves(room, teacher, fake):
    first = start(room, teacher)
    room.server = MeetingServerFactory(organization=room.course.organization)
    room.save()
    assert start(room, teacher) == first
    fake.finish(room.room_id)
    assert start(room, teacher).server == room.server


@pytest.mark.parametrize(
    ("trouble", "temporary"),
    [
        (ServerUnreachable("No connection."), True),
        (ServerTooSlow("No answer."), True),
        (NotAMeetingServer("HTML."), False),
        (KeyRefused("The secret does not fit."), False),
    ],
)
def test_trouble_of_the_server(room, teacher, fake, trouble, temporary):
    fake.trouble = trouble
    with pytest.raises(sessions.MeetingServerTrouble) as caught:
        start(room, teacher)
    assert caught.value.for_teacher == trouble.for_teacher
    assert caught.value.temporary is temporary
    assert trouble.for_owner not in caught.value.for_student
    assert not Meeting.objects.exists()
    assert MeetingServer.objects.get().problem == trouble.for_owner
    fake.trouble = None
    room.server.refresh_from_db()
    start(room, teacher)
    assert MeetingServer.objects.get().problem == ""


# Join


def test_it_lets_a_teacher_in(room, teacher, fake):
    start(room, teacher)
    assert join(room, teacher, is_moderator=True, locale="de_DE").startswith("https://meet.example/?access_token=")
    room_id, attendee = fake.joined[0]
    assert room_id == room.room_id
    assert (attendee.name, attendee.is_moderator, attendee.language) == ("Grace Hopper", True, "de-DE")


def test_the_identity_is_stable_and_tells_nothing(room, teacher, student):
    assert identity_of(teacher) == identity_of(teacher)
    assert identity_of(teacher) != identity_of(student)
    assert str(teacher.pk).replace("-", "") not in identity_of(teacher)
    assert len(identity_of(teacher)) == 41


def test_a_student_waits_for_the_teacher(room, student, fake):
    with pytest.raises(sessions.TeacherMustStart):
        join(room, student, is_moderator=False)
    assert not fake.calls


def test_a_student_starts_where_the_room_says_so(room, student, fake):
    with_settings(room, moderator_must_start=False)
    join(room, student, is_moderator=False)
    assert Meeting.objects.get().started_by == student
    assert fake.joined[0][1].is_moderator is False


def test_names_are_never_empty(room, teacher, fake):
    nameless = PersonFactory(organization=room.course.organization, name="")
    start(room, teacher)
    join(room, nameless, is_moderator=False)
    join(room, UserFactory(name=""), is_moderator=True)
    assert [attendee.name for _, attendee in fake.joined] == ["Guest", "Teacher"]


def test_a_member_without_a_person_joins(room, fake):
    user = UserFactory(name="Barbara Liskov")
    join(room, user, is_moderator=True)
    attendance = Attendance.objects.get()
    assert (attendance.person, attendance.name) == (None, "Barbara Liskov")
    assert events("meeting.started").get().actor["kind"] == "user"


def test_a_session_that_ended_unseen_is_started_anew_by_a_teacher(room, teacher, student, fake):
    start(room, teacher)
    fake.finish(room.room_id)
    with pytest.raises(sessions.TeacherMustStart):
        join(room, student, is_moderator=False)
    assert not Meeting.objects.filter(ended_at=None).exists()
    join(room, teacher, is_moderator=True)
    assert Meeting.objects.filter(ended_at=None).count() == 1


def test_who_was_removed_is_told(room, teacher, student, fake, monkeypatch):
    start(room, teacher)

    def blocked(*arguments):
        raise PersonBlocked("blocked")

    monkeypatch.setattr(fake, "join_address", blocked)
    with pytest.raises(sessions.RemovedFromSession):
        join(room, student, is_moderator=False)
    assert MeetingServer.objects.get().problem == ""


def test_the_design_of_the_session_goes_with_the_address(room, teacher, fake, monkeypatch):
    taken = []
    monkeypatch.setattr(fake, "join_address", lambda room_id, attendee, wanted: taken.append(wanted) or "x")
    start(room, teacher, custom={"custom_primary_color": "#004D90"})
    join(room, teacher, is_moderator=True)
    assert taken == [RoomSettings(primary_color="#004D90")]


# End


def test_it_ends(room, teacher, fake):
    meeting = start(room, teacher)
    assert end(room, teacher) is True
    meeting.refresh_from_db()
    assert meeting.ended_at is not None
    assert end(room, teacher) is False
    ended = events("meeting.ended").get()
    assert ended.actor["name"] == "Grace Hopper"
    assert ended.data["participants"] == 0


def test_ending_what_the_server_does_not_know_ends_it_here(room, teacher, fake):
    start(room, teacher)
    fake.finish(room.room_id)
    assert end(room, teacher) is True
    assert state_of(room).standing == Standing.WAITING


def test_when_the_server_is_down_nothing_ends(room, teacher, fake):
    start(room, teacher)
    fake.trouble = ServerUnreachable("No connection.")
    with pytest.raises(sessions.MeetingServerTrouble):
        end(room, teacher)
    assert state_of(room).is_running


# State


def test_how_a_room_stands(room, teacher, student, fake, django_assert_max_num_queries):
    state = state_of(room)
    assert (state.standing, state.may_start, state.may_join, state.count) == (Standing.WAITING, True, False, 0)
    meeting = start(room, teacher)
    join(room, student, is_moderator=False)
    assert state_of(room).count == 0
    row = Attendance.objects.get(person=student)
    row.intervals.create(connection_id="c1", joined_at=meeting.started_at)
    recount(meeting)
    with django_assert_max_num_queries(3):
        state = state_of(room)
    assert state_of(room, with_people=False).count == 1
    assert (state.standing, state.since, [one.name for one in state.present]) == (
        Standing.RUNNING,
        meeting.started_at,
        ["Ada Lovelace"],
    )


def test_two_tenants_on_one_server_have_rooms_of_their_own(fake):
    """The same LMS, the same ids there, one meeting server: what is ours names neither."""
    rooms = [RoomFactory(slug="office-hours", title="Office hours") for _ in range(2)]
    meetings = [start(room, PersonFactory(organization=room.course.organization)) for room in rooms]
    assert len({room.room_id for room in rooms}) == len({meeting.session_id for meeting in meetings}) == 2
    assert len({new_room_id() for _ in range(100)}) == 100
    for room, meeting in zip(rooms, meetings, strict=True):
        assert state_of(room).meeting == meeting
        assert end(room, PersonFactory(organization=room.course.organization))
