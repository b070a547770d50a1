"""The pages of live sessions, in the frame and signed in directly: states, roles, recordings, attendance, settings."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from courses.models import Participation
from launches.models import Launch
from organizations.models import Membership
from recordings.addresses import room_url
from recordings.meeting_server import KeyRefused, ServerFailing, ServerTooSlow
from recordings.models import AttendanceGrading, Meeting, MeetingServer, Recording, Room
from recordings.tests.fake_server import FakeServer, use
from tests.factories import (
    AssignmentFactory,
    AttendanceFactory,
    EnrolmentFactory,
    MeetingFactory,
    MembershipFactory,
    PersonFactory,
    RecordingFactory,
    RoomFactory,
    UserFactory,
)
from tests.launching import STUDENT, TEACHER
from tests.loopback import Reply, serve
from tests.visiting import Visitor, text_of

pytestmark = pytest.mark.django_db
OTHER_STUDENT = {**STUDENT, "user_id": "student-2", "lis_person_name_full": "Grace Hopper"}
MENTOR = {**TEACHER, "user_id": "mentor-1", "roles": "Mentor"}


@pytest.fixture
def room(key):
    return RoomFactory(
        course__organization=key.installation.organization, course__name="Rhetoric", title="Office hours"
    )


def enter(key, room, parameters=STUDENT, **custom):
    path = room_url(room).partition("/lti/")[2]
    return Visitor(key, f"/lti/{path}", **{**parameters, **custom})


def signed_in(user):
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def member(room):
    return signed_in(
        MembershipFactory(
            organization=room.course.organization, user=UserFactory(name="Mary Member"), role=Membership.Role.TEACHER
        ).user
    )


def page_of(room, page="", **parameters):
    name = f"course-room-{page}" if page else "course-room"
    return reverse(name, kwargs={"course_id": room.course_id, "room_id": room.pk, **parameters})


def attended(meeting, person, minutes=30, **fields):
    joined = meeting.started_at
    left = fields.pop("left_at", joined + timedelta(minutes=minutes))
    row = AttendanceFactory(
        meeting=meeting, person=person, joined_at=joined, left_at=left, seconds=minutes * 60, **fields
    )
    row.intervals.create(connection_id=f"c-{row.pk}", joined_at=joined, left_at=left)
    return row


def past_meeting(room, **fields):
    began = timezone.now() - timedelta(hours=3)
    return MeetingFactory(room=room, started_at=began, ended_at=began + timedelta(hours=1), **fields)


# How a room stands


def test_a_student_waits_for_the_teacher(key, room):
    page = enter(key, room).get("launch")
    assert page.status_code == 200
    text = text_of(page)
    assert "Office hours" in text
    assert "Starts when your teacher arrives" in text
    assert "Waiting for your teacher" in text
    assert "data-meeting>" not in page.content.decode()


def test_a_teacher_can_start(key, room):
    page = enter(key, room, TEACHER).get("launch")
    assert "Start the session" in text_of(page)
    assert "Settings of the session" in text_of(page)
    assert "No recordings yet" in text_of(page)


def test_a_student_may_start_where_the_room_says_so(key, room):
    room.settings = {"moderator_must_start": False}
    room.save()
    assert "Start and join" in text_of(enter(key, room).get("launch"))


def test_a_running_session_can_be_entered(key, room):
    student, teacher = enter(key, room), enter(key, room, TEACHER)
    meeting = MeetingFactory(room=room)
    attended(meeting, student.person, left_at=None)
    assert "Join now" in text_of(student.get("launch"))
    assert "1 person in the session" in text_of(student.get("launch"))
    assert "in the session: Ada" not in text_of(student.get("launch")), "students hear how many are in, not who"
    text = text_of(teacher.get("launch"))
    assert "1 person in the session: Ada Lovelace" in text
    assert "End for everybody" in text
    assert "End the session" not in text_of(student.get("launch"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"opens_at": "2999-01-01T10:00:00Z"}, "Opens 1 Jan 2999, 10:00 UTC"),
        ({"closes_at": "2001-01-01T10:00:00Z"}, "The session's time is over"),
    ],
)
def test_a_room_has_its_time(key, room, settings, words):
    room.settings = settings
    room.save()
    for parameters in (STUDENT, TEACHER):
        page = enter(key, room, parameters).get("launch")
        assert words in text_of(page)
        assert 'id="enter"' not in page.content.decode()


def test_a_room_that_is_off_or_without_a_server_says_so(key, room):
    student, teacher = enter(key, room), enter(key, room, TEACHER)
    MeetingServer.objects.update(enabled=False)
    assert "not available now" in text_of(student.get("launch"))
    assert "The meeting server is switched off" in text_of(teacher.get("launch"))
    Room.objects.update(server=None)
    assert "No meeting server is set up" in text_of(teacher.get("launch"))
    Room.objects.update(enabled=False)
    assert "This live session is switched off. Ask your teacher." in text_of(student.get("launch"))


def test_the_page_notices_by_itself(key, room):
    student = enter(key, room)
    page = student.get("launch").content.decode()
    asked = page.partition("/live?")[2].partition('"')[0].replace("&amp;", "&")
    seen = asked.partition("seen=")[2].partition("&")[0]
    listed = asked.partition("listed=")[2]
    url = student.url("launch-course-room-live", room.pk)
    asked = {"seen": seen, "listed": listed}
    assert student.client.get(url, asked).status_code == 204
    MeetingFactory(room=room)
    answer = student.client.get(url, asked)
    assert answer.status_code == 200
    assert "Join now" in text_of(answer)
    assert answer.content.decode().lstrip().startswith("<section")
    assert "something new" not in text_of(answer)
    RecordingFactory(room=room)
    assert "something new" not in text_of(student.client.get(url, asked))
    Recording.objects.update(published=True)
    assert "There is something new below" in text_of(student.client.get(url, asked))


# The way in


def test_what_is_wrong_with_the_server_is_said_and_nothing_is_half_made(key, room, loopback):
    teacher = enter(key, room, TEACHER)
    cases = {
        "does not answer": "http://127.0.0.1:9",
        "not set up correctly": None,
    }
    with serve(lambda request: Reply(200, body=b"<html>Welcome</html>", headers={"Content-Type": "text/html"})) as web:
        for words, url in cases.items():
            MeetingServer.objects.update(url=url or web.url)
            answer = teacher.post("launch-course-room-join", room.pk)
            assert answer.status_code == 502
            assert words in text_of(answer)
            assert "Try again" in text_of(answer)
            address = teacher.url("launch-course-room-join", room.pk)
            asked = teacher.client.post(
                address, {"launch_token": teacher.token}, headers={"Accept": "application/json"}
            )
            assert asked.status_code == 502
            assert words in asked.json()["problem"]
    assert not Meeting.objects.exists()


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (ServerTooSlow("No answer within 10 seconds."), "takes too long to answer"),
        (KeyRefused("The server refused the API key."), "not set up correctly"),
        (ServerFailing("HTTP 503"), "has a problem of its own"),
    ],
    ids=["slow", "wrong-key", "failing"],
)
def test_a_slow_server_and_a_wrong_key_are_said_and_a_second_try_works(key, room, monkeypatch, trouble, words):
    server = FakeServer(trouble=trouble)
    use(monkeypatch, lambda row: server)
    teacher = enter(key, room, TEACHER)
    answer = teacher.post("launch-course-room-join", room.pk)
    assert answer.status_code == 502
    assert words in text_of(answer)
    assert "Try again" in text_of(answer)
    assert not Meeting.objects.exists()
    server.trouble = None
    assert teacher.post("launch-course-room-join", room.pk).status_code == 200
    assert Meeting.objects.get().is_running


def test_a_student_cannot_start_or_end(key, room):
    student = enter(key, room)
    answer = student.post("launch-course-room-join", room.pk)
    assert answer.status_code == 409
    assert "starts when your teacher arrives" in text_of(answer)
    MeetingFactory(room=room)
    assert student.post("launch-course-room-end", room.pk).status_code == 404
    assert enter(key, room, MENTOR).post("launch-course-room-end", room.pk).status_code == 404
    assert Meeting.objects.get().is_running


def test_forms_carry_the_launch_token(key, room):
    for page in ("join", "end"):
        answer = enter(key, room, TEACHER).post(f"launch-course-room-{page}", room.pk, token="x")
        assert answer.status_code == 403


def test_a_look_joins_nothing(key, room):
    enter(key, room)
    look = enter(key, room, STUDENT, custom_actual_user_id="7", custom_actual_user_role="Instructor")
    page = look.get("launch")
    assert page.status_code == 200
    assert 'id="enter"' not in page.content.decode()
    assert look.post("launch-course-room-join", room.pk).status_code == 403


# Recordings


@pytest.fixture
def recordings(room):
    meeting = past_meeting(room)
    return {
        "hidden": RecordingFactory(room=room, meeting=meeting, title="Hidden one", seconds=754, size=12_500_000),
        "published": RecordingFactory(room=room, meeting=meeting, title="Published one", published=True),
        "deleted": RecordingFactory(
            room=room, title="Deleted one", state=Recording.State.DELETED, deleted_at=timezone.now()
        ),
        "gone": RecordingFactory(room=room, title="Gone one", state=Recording.State.GONE),
    }


def test_students_see_what_is_published_and_teachers_the_rest(key, room, recordings):
    text = text_of(enter(key, room).get("launch"))
    assert "Published one" in text
    for title in ("Hidden one", "Deleted one", "Gone one"):
        assert title not in text
    text = text_of(enter(key, room, TEACHER).get("launch"))
    for words in ("Published one", "Hidden one", "13 min", "12.5 MB", "Not on the server any more"):
        assert words in text
    assert "Deleted one" not in text


def test_nobody_reaches_a_recording_by_guessing(key, room, recordings):
    own = AssignmentFactory(course=room.course)
    student, teacher = enter(key, room), enter(key, room, TEACHER)
    elsewhere = RecordingFactory(room__course__organization=room.course.organization, published=True)
    beside = RecordingFactory(room=RoomFactory(course=room.course), published=True)
    foreign = RecordingFactory(published=True)
    guesses = [recordings["hidden"].pk, recordings["deleted"].pk, recordings["gone"].pk]
    for pk in [*guesses, elsewhere.pk, beside.pk, foreign.pk, own.pk, uuid4()]:
        assert student.get("launch-course-room-file", room.pk, pk).status_code == 404
        for action in ("rename", "publish", "hide", "delete", "again"):
            assert student.post(f"launch-course-room-{action}", room.pk, pk, title="x").status_code == 404
    for pk in (elsewhere.pk, beside.pk, foreign.pk):
        assert teacher.get("launch-course-room-file", room.pk, pk).status_code == 404
        assert teacher.post("launch-course-room-delete", room.pk, pk).status_code == 404
    for other in (elsewhere.room, foreign.room):
        assert student.get("launch-course-room", other.pk).status_code == 404
        assert student.get("launch-course-room-file", other.pk, elsewhere.pk).status_code == 404
    assert Recording.objects.filter(state=Recording.State.DELETING).count() == 0


def test_a_mentor_changes_nothing(key, room, recordings):
    mentor = enter(key, room, MENTOR)
    page = mentor.get("launch")
    assert "Hidden one" in text_of(page)
    for word in ("Rename…", ">Publish<", "Delete…", "Change settings"):
        assert word not in page.content.decode()
    for action in ("rename", "publish", "hide", "delete", "again"):
        answer = mentor.post(f"launch-course-room-{action}", room.pk, recordings["hidden"].pk, title="x")
        assert answer.status_code == 404
    assert mentor.get("launch-course-room-settings", room.pk).status_code == 404


def test_a_teacher_publishes_hides_renames_and_deletes(key, room, recordings):
    teacher, recording = enter(key, room, TEACHER), recordings["hidden"]

    def does(action, **data):
        answer = teacher.post(f"launch-course-room-{action}", room.pk, recording.pk, **data)
        recording.refresh_from_db()
        return answer

    assert does("publish").status_code == 302
    assert recording.published
    assert does("hide").status_code == 302
    assert not recording.published
    answer = does("rename", title="  Week 1,\u00a0 the start ")
    assert (answer.status_code, recording.title) == (302, "Week 1, the start")
    answer = does("rename", title="   ")
    assert (answer.status_code, recording.title) == (422, "Week 1, the start")
    assert "Give it a title of 1 to 255 characters." in text_of(answer)
    answer = does("delete")
    assert (answer.status_code, recording.state) == (302, "deleting")
    page = text_of(teacher.client.get(answer["Location"].partition("#")[0]))
    assert "Being deleted" in page
    assert "Deleted here" in page
    again = does("publish")
    assert again["Location"].endswith("?done=not_there#recordings")


def test_a_recording_is_played_from_its_server(key, room, recordings, loopback):
    student = enter(key, room)
    play = recordings["published"]

    def answers(request):
        if request.path.endswith("/getDownloadToken"):
            body = b'{"status": true, "msg": "success", "token": "one-time"}'
            return Reply(200, body=body, headers={"Content-Type": "application/json"})
        return Reply(404)

    with serve(answers) as server:
        MeetingServer.objects.update(url=server.url)
        page = student.get("launch")
        assert server.url in page["Content-Security-Policy"]
        assert "one-time" not in page.content.decode()
        assert server.received == []
        answer = student.get("launch-course-room-file", room.pk, play.pk)
        assert answer.status_code == 302
        assert answer["Location"] == f"{server.url}/download/recording/one-time"
        assert "no-store" in answer["Cache-Control"]
    MeetingServer.objects.update(url="http://127.0.0.1:9")
    answer = student.get("launch-course-room-file", room.pk, play.pk)
    assert answer.status_code == 502
    assert "Try again" in text_of(answer)


# Attendance


def test_attendance_of_one_and_of_all_sessions(key, room):
    student, other = enter(key, room), enter(key, room, OTHER_STUDENT)
    teacher = enter(key, room, TEACHER)
    first, second = past_meeting(room), past_meeting(room)
    attended(first, student.person, 30)
    attended(first, other.person, 60)
    attended(second, student.person, 15)
    text = text_of(teacher.get("launch-course-room-meeting", room.pk, first.pk))
    assert "Ada Lovelace" in text
    assert "50 %" in text
    assert "100 %" in text
    text = text_of(teacher.get("launch-course-room-attendance", room.pk))
    assert "2 sessions, 2 h" in text
    assert "2 of 2 45 min 38 %" in text
    assert "Nobody found" in text_of(teacher.get("launch-course-room-attendance", room.pk, q="nobody"))
    csv = b"".join(teacher.get("launch-course-room-attendance-csv", room.pk).streaming_content).decode()
    assert "Grace Hopper" in csv
    csv = b"".join(teacher.get("launch-course-room-meeting-csv", room.pk, second.pk).streaming_content).decode()
    assert "Ada Lovelace" in csv
    assert "Grace Hopper" not in csv
    page = text_of(student.get("launch"))
    assert "2 of 2 sessions attended" in page
    assert "30 min · 50 %" in page
    for name in ("attendance", "attendance-csv"):
        assert student.get(f"launch-course-room-{name}", room.pk).status_code == 404
    assert student.get("launch-course-room-meeting", room.pk, first.pk).status_code == 404
    elsewhere = past_meeting(RoomFactory(course=room.course))
    assert teacher.get("launch-course-room-meeting", room.pk, elsewhere.pk).status_code == 404


def test_a_teacher_sees_whom_their_own_lms_course_sent(key, room):
    teacher = enter(key, room, TEACHER)
    student = enter(key, room, OTHER_STUDENT, context_id="context-2", resource_link_id="link-2")
    meeting = MeetingFactory(room=room)
    attended(meeting, student.person, left_at=None)
    text = text_of(teacher.get("launch"))
    assert "1 person in the session" in text
    assert "Grace Hopper" not in text
    assert "Grace Hopper" not in text_of(teacher.get("launch-course-room-meeting", room.pk, meeting.pk))
    csv = b"".join(teacher.get("launch-course-room-meeting-csv", room.pk, meeting.pk).streaming_content).decode()
    assert "Grace Hopper" not in csv
    assert Participation.objects.filter(person=student.person).exists()


# Settings


def test_settings_in_force_and_those_refused(key, room):
    organization = room.course.organization
    organization.meeting_policy = {"forced": {"allow_recording": False}, "max_duration": 60}
    organization.save()
    teacher = enter(
        key, room, TEACHER, custom_allow_recording="true", custom_primary_color="red", custom_allow_polls="0"
    )
    text = text_of(teacher.get("launch"))
    assert "Recording ( true ): your organization has fixed this setting" in text
    assert "Primary colour ( red ): must be a colour" in text
    assert "Polls off (set by your LMS)" in text
    assert "Longest session 60 minutes (fixed by your organization)" in text


def test_what_the_server_did_otherwise_is_shown(key, room):
    teacher = enter(key, room, TEACHER)
    MeetingFactory(room=room, differences=[{"name": "allow_polls", "asked": False, "applied": True}])
    text = text_of(teacher.get("launch"))
    assert "Polls: asked for off, it is on" in text
    assert "Settings of the next session" in text
    # A session keeps what it was started with.
    Meeting.objects.update(settings={"room_duration": 75})
    room.settings = {"room_duration": 30}
    room.save()
    text = text_of(teacher.get("launch"))
    assert "Settings of this session" in text
    assert "75 minutes" in text
    assert "30 minutes" not in text


def test_a_teacher_sets_what_the_organization_leaves_open(key, room):
    organization = room.course.organization
    organization.meeting_policy = {
        "forced": {"allow_polls": False},
        "defaults": {"mute_on_start": True},
        "max_duration": 90,
    }
    organization.save()
    teacher = enter(key, room, TEACHER)
    page = teacher.get("launch-course-room-settings", room.pk)
    assert "off fixed by your organization" in text_of(page)
    assert "As your organization has it (on)" in text_of(page)
    assert "Your organization allows 90 minutes at most." in text_of(page)
    seen = page.content.decode().partition('name="seen" value="')[2].partition('"')[0]
    typed = {
        "seen": seen,
        "moderator_must_start": "off",
        "room_duration": "45",
        "opens_at": "2030-01-31T18:00",
        "closes_at": "2030-01-31T20:00:00.000Z",
        "welcome_message": "Hello\r\neverybody",
        "primary_color": "#004D90",
        "allow_polls": "on",
    }
    answer = teacher.post("launch-course-room-settings", room.pk, **typed)
    assert answer.status_code == 302
    room.refresh_from_db()
    assert room.settings == {
        "opens_at": "2030-01-31T18:00:00Z",
        "closes_at": "2030-01-31T20:00:00Z",
        "moderator_must_start": False,
        "welcome_message": "Hello\neverybody",
        "room_duration": 45,
        "primary_color": "#004D90",
    }
    answer = teacher.post("launch-course-room-settings", room.pk, **typed)
    assert answer.status_code == 409
    assert "somebody else changed these settings" in text_of(answer)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({"room_duration": "long"}, "It must be a whole number"),
        ({"primary_color": "blue"}, "It must be a colour"),
        ({"custom_logo": "http://example.org/logo.png"}, "https address of a picture"),
        ({"opens_at": "soon"}, "must be a time"),
        (
            {"opens_at": "2030-01-02T10:00", "closes_at": "2030-01-01T10:00"},
            "later than the time at which the room opens",
        ),
        ({"waiting_room": "maybe"}, "must be on or off"),
    ],
)
def test_wrong_settings_come_back_as_typed(key, room, typed, words):
    teacher = enter(key, room, TEACHER)
    page = teacher.get("launch-course-room-settings", room.pk).content.decode()
    seen = page.partition('name="seen" value="')[2].partition('"')[0]
    answer = teacher.post("launch-course-room-settings", room.pk, seen=seen, welcome_message="Kept", **typed)
    assert answer.status_code == 422
    assert words in text_of(answer)
    assert "Kept" in answer.content.decode()
    room.refresh_from_db()
    assert room.settings == {}


# Other ways to the same pages


def test_an_assignment_that_is_a_live_session(key, room):
    assignment = AssignmentFactory(course=room.course, kind="room", title="Take part", points_possible=5)
    path = f"/lti/assignments/{assignment.pk}"
    assert "not set up yet" in text_of(Visitor(key, path, **STUDENT).get("launch"))
    assert "has no room for its live session yet" in text_of(Visitor(key, path, **TEACHER).get("launch"))
    AttendanceGrading.objects.create(assignment=assignment, room=room, measure="minutes", required=20)
    student, teacher = Visitor(key, path, **STUDENT), Visitor(key, path, **TEACHER)
    text = text_of(student.get("launch"))
    assert "Starts when your teacher arrives" in text
    assert "5 points · Take part" in text
    assert assignment.submissions.get().person == student.person
    text = text_of(teacher.get("launch"))
    assert "Start the session" in text
    assert "20 minutes for all points" in text
    assert "Open the live session" in text_of(teacher.get("launch-assignment", assignment.pk))


def test_dashboards_list_rooms(key, room, member):
    student, teacher = enter(key, room), enter(key, room, TEACHER)
    off = RoomFactory(course=room.course, title="Old room", enabled=False)
    MeetingFactory(room=room)
    RecordingFactory(room=room)
    url = student.url("launch-course-room", room.pk)
    Launch.objects.filter(pk=student.launch_id).update(room=None)
    page = student.get("launch")
    assert f'href="{url}"' in page.content.decode()
    assert "Live since" in text_of(page)
    assert "1 recording" not in text_of(page)
    assert off.title not in text_of(page)
    page = text_of(teacher.get("launch-course-dashboard"))
    assert "1 recording" in page
    assert off.title in page
    rooms = teacher.get("launch-course-rooms").content.decode()
    assert room_url(room) in rooms
    assert "Switched off" in rooms
    assert student.get("launch-course-rooms").status_code == 404
    assert off.title in text_of(member.get(reverse("course-rooms", args=[room.course_id])))
    Room.objects.all().delete()
    assert "No live sessions yet" in text_of(member.get(reverse("course-rooms", args=[room.course_id])))


def test_members_use_the_same_pages(room, member, recordings):
    page = member.get(page_of(room))
    assert "Start the session" in text_of(page)
    assert "Hidden one" in text_of(page)
    recording = recordings["hidden"]
    assert member.post(page_of(room, "publish", recording_id=recording.pk)).status_code == 302
    recording.refresh_from_db()
    assert recording.published
    assert member.get(page_of(room, "settings")).status_code == 200
    assert member.get(page_of(room, "attendance")).status_code == 200
    MeetingFactory(room=room)
    MeetingServer.objects.update(url="http://127.0.0.1:9")
    assert member.post(page_of(room, "end")).status_code == 502


def test_a_student_who_signed_in_directly_watches_and_joins_from_the_lms(key, room, recordings):
    user = UserFactory()
    person = PersonFactory(organization=room.course.organization, user=user)
    client = signed_in(user)
    assert client.get(page_of(room)).status_code == 404
    EnrolmentFactory(course=room.course, person=person)
    attended(past_meeting(room), person)
    MeetingFactory(room=room)
    page = client.get(page_of(room))
    text = text_of(page)
    assert "Published one" in text
    assert "Hidden one" not in text
    assert "1 of 3 sessions attended" in text
    assert "Live sessions are joined from your LMS." in text
    assert "data-meeting>" not in page.content.decode()
    assert client.post(page_of(room, "join")).status_code == 404
    assert client.get(page_of(room, "settings")).status_code == 404
    assert client.get(page_of(room, "file", recording_id=recordings["hidden"].pk)).status_code == 404
    assert room.title in text_of(client.get(reverse("course-dashboard", args=[room.course_id])))


@pytest.mark.parametrize("number", [2, 15])
def test_statements_do_not_grow(key, room, number, django_assert_max_num_queries):
    student, teacher = enter(key, room), enter(key, room, TEACHER)
    people = [PersonFactory(organization=room.course.organization) for _ in range(number)]
    for person in people:
        Participation.objects.create(lms_course=teacher.launch.resource_link.lms_course, person=person)
    for _ in range(number):
        meeting = past_meeting(room)
        RecordingFactory(room=room, meeting=meeting, published=True)
        for person in people:
            attended(meeting, person)
    running = MeetingFactory(room=room)
    for person in people:
        attended(running, person, left_at=None)
    with django_assert_max_num_queries(16):
        teacher.get("launch")
    with django_assert_max_num_queries(12):
        student.get("launch")
    with django_assert_max_num_queries(8):
        student.get("launch-course-room-live", room.pk)
    with django_assert_max_num_queries(8):
        teacher.get("launch-course-room-attendance", room.pk)
    with django_assert_max_num_queries(8):
        teacher.get("launch-course-room-meeting", room.pk, running.pk)
