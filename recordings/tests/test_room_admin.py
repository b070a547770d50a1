"""Owners make rooms in the admin: in their own courses, on their own servers, with what attendance is worth."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from recordings.addresses import room_url
from recordings.models import AttendanceGrading, Room
from tests.factories import (
    AssignmentFactory,
    CourseFactory,
    MeetingFactory,
    MeetingServerFactory,
    MembershipFactory,
    RoomFactory,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def room():
    return RoomFactory(title="Office hours")


@pytest.fixture
def owner(room):
    client = Client()
    membership = MembershipFactory(organization=room.course.organization)
    client.force_login(membership.user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def form(course, **fields):
    inline = {
        "gradings-TOTAL_FORMS": "0",
        "gradings-INITIAL_FORMS": "0",
    }
    return {
        "course": str(course.pk), "title": "Labs", "slug": "labs", "server": "", "enabled": "on", "position": "0",
    } | inline | fields  # fmt: skip


def test_an_owner_adds_a_room(owner, room):
    address = reverse("admin:recordings_room_add")
    assert owner.get(address).status_code == 200
    assert owner.post(address, form(room.course, server=str(room.server.pk))).status_code == 302
    made = Room.objects.get(slug="labs")
    assert (made.course, made.server, made.enabled) == (room.course, room.server, True)
    again = owner.post(address, form(room.course))
    assert again.status_code == 200
    assert "already exists" in again.content.decode()


def test_courses_and_servers_of_others_are_no_choice(owner, room):
    address = reverse("admin:recordings_room_add")
    foreign = MeetingServerFactory(name="Somebody else's")
    assert foreign.name not in owner.get(address).content.decode()
    for fields in ({"server": str(foreign.pk)}, {"course": str(CourseFactory().pk)}):
        answer = owner.post(address, form(room.course) | fields)
        assert answer.status_code == 200
        assert "Select a valid choice" in answer.content.decode()
    assert Room.objects.count() == 1


def test_a_room_shows_its_address_and_keeps_its_course(owner, room):
    address = reverse("admin:recordings_room_change", args=[room.pk])
    page = owner.get(address).content.decode()
    assert room_url(room) in page
    assert reverse("course-room-settings", args=[room.course_id, room.pk]) in page
    other = CourseFactory(organization=room.course.organization)
    assert owner.post(address, form(other, title="Renamed")).status_code == 302
    room.refresh_from_db()
    assert (room.title, room.course == other) == ("Renamed", False)
    assert "Renamed" in owner.get(reverse("admin:recordings_room_changelist")).content.decode()


def test_attendance_is_graded_in_an_assignment_of_the_same_course(owner, room, django_capture_on_commit_callbacks):
    assignment = AssignmentFactory(course=room.course, kind="room", title="Take part")
    page = AssignmentFactory(course=room.course, title="An essay")
    elsewhere = AssignmentFactory(course__organization=room.course.organization, kind="room", title="Another course's")
    began = timezone.now() - timedelta(hours=1)
    meeting = MeetingFactory(room=room, started_at=began, ended_at=timezone.now())
    address = reverse("admin:recordings_room_change", args=[room.pk])
    text = owner.get(address).content.decode()
    assert assignment.title in text
    assert page.title not in text
    assert elsewhere.title not in text

    def graded(chosen):
        fields = {"assignment": str(chosen.pk), "measure": "minutes", "required": "20", "span": "best"}
        rows = {f"gradings-0-{name}": value for name, value in fields.items()}
        return owner.post(address, form(room.course, **rows, **{"gradings-TOTAL_FORMS": "1"}))

    assert graded(elsewhere).status_code == 200
    assert not AttendanceGrading.objects.exists()
    assert graded(assignment).status_code == 302
    grading = AttendanceGrading.objects.get()
    assert (grading.room, grading.assignment, grading.measure) == (room, assignment, "minutes")
    meeting.refresh_from_db()
    assert meeting.grading_due_at is not None, "what was attended before counts, too"


def test_a_room_in_which_there_was_a_session_is_not_deleted(owner, room):
    address = reverse("admin:recordings_room_delete", args=[room.pk])
    MeetingFactory(room=room)
    assert owner.post(address, {"post": "yes"}).status_code in (403, 404)
    room.meetings.all().delete()
    assert owner.post(address, {"post": "yes"}).status_code == 302
    assert not Room.objects.exists()
