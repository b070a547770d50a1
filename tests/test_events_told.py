"""Every event of docs/events.md happens: by what people and LMSs really do, with the data that is documented."""

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from courses.copying import copy_course, undo_copy
from courses.definitions import CourseSettings, change_course
from events.deliveries import cancel, deliver_due, resend
from events.endpoints import make_endpoint, reveal_secret, rotate_secret, send_test_event
from events.event_types import EVENTS, UndescribedEvent, described, example_data
from events.log import Actor, record
from events.models import Delivery, Event
from grades.scores import release_scores
from grades.tests.place import SECRET, a_place
from organizations import credentials
from organizations.key_rotation import rotate_tool_key
from organizations.models import SignInLink
from organizations.own_sign_in import accept_as, end_sign_in
from organizations.registrations import Platform, make_registration
from recordings.library import note_gone, note_recording
from recordings.meetings import note_ended, note_running
from tests.factories import (
    AssignmentFactory,
    InstallationFactory,
    LtiKeyFactory,
    MeetingServerFactory,
    PersonFactory,
    RoomFactory,
    UserFactory,
)
from tests.loopback import Reply, serve_gradebook
from tests.visiting import student

pytestmark = pytest.mark.django_db


def launch_and_work(user):
    key = LtiKeyFactory()
    assignment = AssignmentFactory(course__organization=key.installation.organization)
    visitor = student(key, assignment)
    assert visitor.get("launch").status_code == 200
    visitor.post("launch-submission", assignment.pk, text="The machine weaves.")


def grade(user):
    for status in (None, 403):
        reply = None if status is None else Reply(status, b"")
        with serve_gradebook({}, manners=lambda *call, reply=reply: reply) as gradebook:
            place = a_place(gradebook.url)
            gradebook.secrets[place.key.consumer_key] = SECRET
            place.score(8, released=False)
            assert release_scores(place.assignment, None, Actor.of(user)) == 1
            deliver_due()


def copy_and_undo(user):
    course = AssignmentFactory().course
    undo_copy(copy_course(course, code="copy", name="", actor=Actor.of(user)), Actor.of(user))


def change_settings(user):
    course = AssignmentFactory().course
    change_course(course, CourseSettings(name="Another", constant_urls=True), actor=Actor.of(user))


def send_again_and_take_back(user):
    place = a_place()
    place.score()
    delivery = Delivery.objects.get()
    resend(delivery, Actor.of(user))
    cancel(delivery, Actor.of(user))
    Event.objects.filter(type="score.changed").delete()


def handle_keys(user):
    key = LtiKeyFactory()
    credentials.reveal_secret(key, user, "For the LMS.")
    credentials.reset_secret(key, timedelta(days=1), user)
    rotate_tool_key(key.installation.organization)


def handle_webhooks(user):
    endpoint = make_endpoint(InstallationFactory().organization, url="https://hooks.example/in")
    reveal_secret(endpoint, Actor.of(user), "For the receiver.")
    rotate_secret(endpoint, timedelta(hours=1), Actor.of(user))
    send_test_event(endpoint, Actor.of(user))


def register(user):
    platform = Platform(
        issuer="https://lms.example",
        client_id="42",
        auth_login_url="https://lms.example/auth",
        token_url="https://lms.example/token",
        jwks_url="https://lms.example/jwks",
    )
    make_registration(InstallationFactory(), platform, deployment_ids=["1"], actor=user)


def sign_in_and_out(user):
    person = PersonFactory(email=user.email)
    soon = timezone.now() + timedelta(hours=1)
    accept_as(SignInLink.objects.create(person=person, email=user.email, hash="0" * 64, expires_at=soon), user)
    person.refresh_from_db()
    end_sign_in(person)


def meet_and_record(user):
    room = RoomFactory()
    server = MeetingServerFactory(organization=room.course.organization)
    with transaction.atomic():
        meeting = note_running(room, server, "session-1", started_at=None, actor=Actor.of(user))
        recording = note_recording(room, server, "recording-1", session_id="session-1", title="Week 1")
        assert note_ended(meeting, timezone.now())
    assert note_gone([recording.pk]) == 1


DEEDS = {
    launch_and_work: {"enrolment.created", "link.mapped", "assignment.opened", "submission.created"},
    grade: {"score.changed", "grade.delivered", "grade.failed"},
    copy_and_undo: {"course.copied", "course.copy_undone"},
    change_settings: {"course.settings_changed"},
    send_again_and_take_back: {"delivery.resent", "delivery.cancelled"},
    handle_keys: {"key.revealed", "key.rotated"},
    handle_webhooks: {"key.revealed", "key.rotated", "webhook.test"},
    register: {"registration.created"},
    meet_and_record: {"meeting.started", "meeting.ended", "recording.ready", "recording.deleted"},
    sign_in_and_out: {"person.sign_in_added", "person.sign_in_removed"},
}


@pytest.mark.parametrize("deed", DEEDS)
def test_what_is_done_is_told_as_documented(settings, deed):
    settings.OUTBOUND_ALLOW_HTTP = True
    settings.OUTBOUND_ALLOWED_PRIVATE_HOSTS = ["127.0.0.1"]
    deed(UserFactory())
    events = list(Event.objects.all())
    assert {event.type for event in events} == DEEDS[deed]
    for event in events:
        shape = described(event.type, event.subject["kind"])
        assert set(event.data) <= {field.name for field in shape.fields}
        assert {field.name for field in shape.fields if not field.sometimes} <= set(event.data)
        assert event.actor["kind"] in EVENTS[event.type].actors
        assert event.subject["id"]


def test_no_described_event_is_left_out():
    assert set.union(*DEEDS.values()) == set(EVENTS)


def test_where_the_lms_gets_nothing_the_event_has_the_grade():
    place = a_place(assignment__course__enroll_only=True)
    place.score("8.5")
    event = Event.objects.get(type="score.changed")
    assert not place.percentages()
    assert (event.data["enroll_only"], event.data["percentage"], event.data["released"]) == (True, 85.0, True)


def test_what_is_not_documented_cannot_be_told_here():
    key = LtiKeyFactory()
    with pytest.raises(UndescribedEvent, match="has secret"):
        record(
            key.installation.organization,
            "key.rotated",
            actor=Actor.of(UserFactory()),
            subject_kind="lti_key",
            subject_id=key.pk,
            data=example_data("key.rotated") | {"secret": "x"},
        )
    assert not Event.objects.exists()
