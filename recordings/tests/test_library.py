"""Recordings: who sees which, links of minutes, and what is carried out on the server until it is done."""

from datetime import timedelta

import pytest
from django.utils import timezone

from events.log import Actor
from events.models import Event
from recordings import library
from recordings.library import Viewer, carry_out, delete, delete_old, hide, publish, rename
from recordings.meeting_server import ServerUnreachable
from recordings.models import MeetingServer, Recording
from recordings.sessions import MeetingServerTrouble
from recordings.tests.fake_server import FakeServer, use
from tests.factories import CourseFactory, MeetingServerFactory, PersonFactory, RecordingFactory, RoomFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def recording(fake):
    room = RoomFactory()
    fake.record(room.room_id, "rec-1")
    return RecordingFactory(room=room, record_id="rec-1", title="Week 1")


def teacher_of(recording):
    return Viewer(recording.room.course_id, sees_unpublished=True)


def student_of(recording):
    return Viewer(recording.room.course_id, sees_unpublished=False)


def again(recording):
    return Recording.objects.get(pk=recording.pk)


def test_a_student_sees_what_is_published(recording):
    student = student_of(recording)
    assert not library.recordings_of(recording.room, student)
    with pytest.raises(Recording.DoesNotExist):
        library.address_to_play(recording, student)
    assert publish(recording)
    assert list(library.recordings_of(recording.room, student)) == [recording]
    assert library.address_to_play(recording, student).endswith("/token-of-rec-1")
    assert hide(recording)
    with pytest.raises(Recording.DoesNotExist):
        library.address_to_download(recording, student)


def test_another_courses_recording_is_not_there(recording):
    publish(recording)
    for course in (CourseFactory(organization=recording.room.course.organization), CourseFactory()):
        for sees_unpublished in (True, False):
            with pytest.raises(Recording.DoesNotExist):
                library.address_to_play(recording, Viewer(course.pk, sees_unpublished))
            assert not library.recordings_of(recording.room, Viewer(course.pk, sees_unpublished))


def test_a_server_that_is_down_says_so(recording, fake):
    fake.trouble = ServerUnreachable("No connection.")
    with pytest.raises(MeetingServerTrouble) as caught:
        library.address_to_play(recording, teacher_of(recording))
    assert caught.value.temporary
    assert MeetingServer.objects.get().problem == "No connection."
    assert again(recording).state == "available"


def test_what_is_gone_from_the_server_is_gone(recording, fake):
    publish(recording)
    fake.files.clear()
    with pytest.raises(library.RecordingGone):
        library.address_to_play(recording, student_of(recording))
    assert (again(recording).state, again(recording).published) == ("gone", False)
    assert Event.objects.get(type="recording.deleted").data["reason"] == "gone"
    assert not publish(recording)


def test_it_is_renamed_on_both_sides(recording, fake):
    assert rename(recording, "  The first\n week ")
    assert (again(recording).title, again(recording).title_is_sent) == ("The first week", False)
    assert carry_out() == 1
    assert fake.files["rec-1"].title == "The first week"
    assert (again(recording).title_is_sent, again(recording).due_at) == (True, None)


@pytest.mark.parametrize("title", ["", "  ", "x" * 256])
def test_a_title_that_cannot_be(recording, title):
    with pytest.raises(library.TitleError):
        rename(recording, title)
    assert again(recording).title == "Week 1"


def test_it_is_deleted_on_both_sides(recording, fake):
    publish(recording)
    teacher = PersonFactory(organization=recording.room.course.organization, name="Grace Hopper")
    assert delete(recording, Actor.of(teacher))
    assert not library.recordings_of(recording.room, student_of(recording))
    assert not Event.objects.filter(type="recording.deleted").exists()
    assert carry_out() == 1
    assert not fake.files
    row = again(recording)
    assert (row.state, row.published, row.due_at, row.deletion) == ("deleted", False, None, {})
    event = Event.objects.get(type="recording.deleted")
    assert (event.actor["name"], event.data["reason"], event.data["record_id"]) == ("Grace Hopper", "asked", "rec-1")
    assert not delete(recording, Actor.of(teacher))
    assert carry_out() == 0


def test_what_the_server_will_not_do_is_tried_again(recording, fake):
    fake.trouble = ServerUnreachable("No connection.")
    delete(recording, Actor.of(None))
    for failures in (1, 2, 3):
        before = timezone.now()
        assert carry_out(timezone.now() + timedelta(days=1)) == 0
        row = again(recording)
        assert (row.state, row.failures) == ("deleting", failures)
        assert row.problem == fake.trouble.for_teacher
        assert row.due_at >= before + timedelta(seconds=30 * 2 ** (failures - 1))
    assert not Event.objects.filter(type="recording.deleted").exists()
    fake.trouble = None
    library.retry(recording)
    assert carry_out() == 1
    assert again(recording).state == "deleted"


def test_deleting_what_is_renamed_and_not_sent_yet(recording, fake):
    rename(recording, "Another")
    delete(recording, Actor.of(None))
    assert carry_out() == 1
    assert again(recording).state == "deleted"
    assert "rename_recording" not in fake.calls


def test_renamed_again_while_the_server_is_told(recording, fake):
    rename(recording, "Second")
    fake.before = lambda name: rename(recording, "Third") if name == "rename_recording" and fake.calls == [name] else 0
    carry_out()
    assert not again(recording).title_is_sent
    carry_out()
    assert fake.files["rec-1"].title == again(recording).title == "Third"


def test_a_server_that_is_removed_here(recording):
    delete(recording, Actor.of(None))
    MeetingServer.objects.all().delete()
    assert carry_out() == 1
    assert again(recording).state == "gone"


def test_a_server_that_is_silent_keeps_nobody_elses_waiting(recording, monkeypatch, fake):
    silent = FakeServer(trouble=ServerUnreachable("No connection."))
    rooms = [recording.room, RoomFactory()]
    use(monkeypatch, lambda server: silent if server.pk == rooms[0].server_id else fake)
    others = [RecordingFactory(room=rooms[0], record_id=f"silent-{number}") for number in range(20)]
    well = RecordingFactory(room=rooms[1], record_id="well")
    fake.record(rooms[1].room_id, "well")
    # They are due before the other's.
    for one in (*others, well):
        delete(one, Actor.of(None))
    assert carry_out() == 1
    assert again(well).state == "deleted"
    assert silent.calls == ["delete_recording"]


def test_past_its_days_it_is_deleted(recording, fake):
    organization = recording.room.course.organization
    organization.meeting_policy = {"recording_days": 30}
    organization.save()
    Recording.objects.update(recorded_at=timezone.now() - timedelta(days=31))
    elsewhere = RecordingFactory(recorded_at=timezone.now() - timedelta(days=500))
    young = RecordingFactory(room=recording.room, recorded_at=timezone.now() - timedelta(days=29))
    assert delete_old() == 1
    assert carry_out() == 1
    assert Event.objects.get(type="recording.deleted").data["reason"] == "retention"
    assert again(elsewhere).state == again(young).state == "available"


@pytest.mark.parametrize("days", [None, 0, -1, "30", True])
def test_without_a_number_of_days_they_stay(recording, days):
    organization = recording.room.course.organization
    organization.meeting_policy = {"recording_days": days}
    organization.save()
    Recording.objects.update(recorded_at=timezone.now() - timedelta(days=5000))
    assert delete_old() == 0


def test_where_media_come_from(fake):
    assert (
        library.media_origin(MeetingServerFactory(url="https://meet.example:8443/sub")) == "https://meet.example:8443"
    )
