"""Launches of live sessions: by address, by what a link has opened before, by parameter, and by an assignment."""

from uuid import uuid4

import pytest
from django.conf import settings
from django.urls import reverse

from courses.models import Enrolment, ResourceLink
from events.models import Event
from grades.models import GradebookCell
from launches.models import Launch
from recordings.addresses import room_url
from recordings.models import AttendanceGrading, RoomLink
from tests.factories import AssignmentFactory, MembershipFactory, RoomFactory
from tests.launching import STUDENT, TEACHER, launch, launch_id_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def room(key):
    return RoomFactory(course__organization=key.installation.organization, course__code="rhetoric", slug="office")


def path_of(room):
    return room_url(room).removeprefix(settings.BASE_URL)


def launched(response):
    assert response.status_code == 302, response.content.decode()[:2000]
    return Launch.objects.get(pk=launch_id_of(response))


def test_a_student_arrives_in_the_room_and_in_its_course(client, key, room):
    row = launched(launch(client, path_of(room), key))
    assert (row.room, row.course, row.assignment, row.role) == (room, room.course, None, "student")
    assert Enrolment.objects.get().course == room.course
    link = ResourceLink.objects.get()
    assert (link.assignment, link.course, link.room_link.room) == (None, None, room)
    assert link.lms_course.course == room.course
    assert not GradebookCell.objects.exists()
    mapped = Event.objects.get(type="link.mapped")
    assert mapped.data == {"assignment": None, "course": str(room.course_id), "room": str(room.pk), "by": "launch"}


def test_the_address_works_with_a_trailing_slash_and_tells_once_what_the_link_opens(client, key, room):
    for _ in range(2):
        assert launched(launch(client, f"{path_of(room)}/", key)).room == room
    assert RoomLink.objects.count() == Event.objects.filter(type="link.mapped").count() == 1


def test_lti_1p3_opens_the_same_room(client, lti_1p3, room):
    row = launched(lti_1p3.launch(client, room_url(room)))
    assert (row.room, row.course, row.lti_version) == (room, room.course, "1.3")


def test_a_link_opens_the_room_again_that_it_has_opened_before(client, key, room):
    launch(client, path_of(room), key, TEACHER)
    row = launched(launch(client, "/lti/v1", key))
    assert row.room == room


def test_an_address_wins_over_what_the_link_has_opened_before_and_keeps_it(client, key, room):
    launch(client, path_of(room), key)
    other = RoomFactory(course=room.course)
    assert launched(launch(client, path_of(other), key)).room == other
    assert RoomLink.objects.get().room == room


@pytest.mark.parametrize("name", ["custom_room", "room"])
def test_a_custom_parameter_names_the_room(client, key, room, name):
    assert launched(launch(client, "/lti/v1", key, **{name: str(room.pk)})).room == room


def test_a_slug_names_the_room_of_the_course_that_the_launch_names(client, key, room):
    other = RoomFactory(course__organization=room.course.organization, course__code="logic", slug="office")
    named = {"custom_room": "office", "custom_course_target_id": "logic"}
    assert launched(launch(client, "/lti/v1", key, **named)).room == other


def test_a_slug_names_the_room_of_the_course_that_the_lms_course_opens(client, key, room):
    launch(client, path_of(room), key)
    row = launched(launch(client, "/lti/v1", key, resource_link_id="another", custom_room="office"))
    assert row.room == room


@pytest.mark.parametrize(
    "named",
    [
        {"custom_room": "office"},
        {"custom_room": "office", "custom_course_target_id": "unheard-of"},
        {"custom_room": "nothing", "custom_course_target_id": "rhetoric"},
        {"custom_room": str(uuid4())},
    ],
)
def test_a_room_that_nobody_finds_is_refused(client, key, room, named):
    response = launch(client, "/lti/v1", key, **named)
    assert (response.status_code, response["X-Launch-Error"]) == (404, "unknown_destination")
    assert not RoomLink.objects.exists()


@pytest.mark.parametrize("name", ["0197f3a0-0000-7000-8000-00000000dead", "not-an-id"])
def test_an_unknown_address_is_refused(client, key, room, name):
    response = launch(client, f"/lti/rooms/{name}", key)
    assert (response.status_code, response["X-Launch-Error"]) == (404, "unknown_destination")


def test_another_organizations_room_does_not_exist(client, key):
    foreign = RoomFactory()
    for path, custom in ((path_of(foreign), {}), ("/lti/v1", {"custom_room": str(foreign.pk)})):
        response = launch(client, path, key, **custom)
        assert (response.status_code, response["X-Launch-Error"]) == (404, "unknown_destination")
    assert not Launch.objects.filter(room=foreign).exists()


@pytest.mark.parametrize("field", [{"lti_enabled": False}, {"archived": True}])
def test_a_closed_course_refuses(client, key, room, field):
    for name, value in field.items():
        setattr(room.course, name, value)
    room.course.save()
    response = launch(client, path_of(room), key)
    assert (response.status_code, response["X-Launch-Error"]) == (403, "lti_disabled")


def test_an_address_is_for_posting(client, room):
    response = client.get(path_of(room))
    assert (response.status_code, response["X-Launch-Error"]) == (405, "malformed")


def test_an_assignment_that_is_a_live_session_opens_its_room_and_keeps_its_cell(client, key, room):
    assignment = AssignmentFactory(course=room.course, kind="room")
    AttendanceGrading.objects.create(assignment=assignment, room=room)
    row = launched(launch(client, f"/lti/assignments/{assignment.pk}", key))
    assert (row.room, row.assignment) == (room, assignment)
    cell = GradebookCell.objects.get()
    assert (cell.assignment, cell.person) == (assignment, row.person)
    assert ResourceLink.objects.get().assignment == assignment
    assert not RoomLink.objects.exists()


def test_statements_of_a_returning_persons_launch_of_a_room(client, key, room, django_assert_max_num_queries):
    for _ in range(2):
        launch(client, path_of(room), key, STUDENT)
    with django_assert_max_num_queries(10):
        assert launch(client, path_of(room), key, STUDENT).status_code == 302


def test_the_launch_log_names_the_room(client, key, room):
    row = launched(launch(client, path_of(room), key))
    owner = MembershipFactory(organization=room.course.organization).user
    client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    page = client.get(reverse("admin:launches_launch_change", args=[row.pk])).content.decode()
    assert room.title in page
