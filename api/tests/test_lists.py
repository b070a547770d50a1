"""Enrolments, events, launches and installations; pages and their cursors."""

import pytest
from django.utils import timezone

from api.tests.calling import fields_of, problem_of
from events.log import SYSTEM, record
from launches.models import Launch
from organizations.identifiers import uuid7
from organizations.models import LmsAccount
from tests.factories import (
    AssignmentFactory,
    CourseFactory,
    DeploymentFactory,
    EnrolmentFactory,
    InstallationFactory,
    LtiKeyFactory,
    RegistrationFactory,
)

pytestmark = pytest.mark.django_db


def test_enrolments_name_people_and_their_accounts(api, stranger):
    enrolment = EnrolmentFactory(course__organization=api.organization)
    installation = InstallationFactory(organization=api.organization)
    LmsAccount.objects.create(installation=installation, person=enrolment.person, lms_user_id="29")
    launched = EnrolmentFactory(
        course=enrolment.course, role="mentor", state="gone", last_launch_at="2030-01-01T10:00:00Z"
    )
    first, second = api.all(f"/courses/{enrolment.course_id}/enrolments", limit=1)
    assert first == {
        "id": str(enrolment.id),
        "role": "student",
        "state": "active",
        "last_launch_at": None,
        "person": {
            "id": str(enrolment.person_id),
            "name": enrolment.person.name,
            "email": enrolment.person.email,
            "lms_accounts": [{"installation": str(installation.id), "lms_user_id": "29"}],
        },
    }
    assert (second["id"], second["role"], second["state"]) == (str(launched.id), "mentor", "gone")
    assert second["last_launch_at"] == "2030-01-01T10:00:00Z"
    problem_of(stranger.get(f"/courses/{enrolment.course_id}/enrolments"), 404)


def _event(organization, number):
    return record(
        organization, "score.changed", actor=SYSTEM, subject_kind="score", subject_id=uuid7(), data={"number": number}
    )


@pytest.mark.usefixtures("events_of_any_kind")
def test_events_are_read_oldest_first_and_after_the_last_seen(api, stranger):
    events = sorted((_event(api.organization, number) for number in range(3)), key=lambda event: event.id)
    _event(stranger.organization, 9)
    items = api.get("/events").json()["items"]
    assert [item["id"] for item in items] == [str(event.id) for event in events]
    assert items[0] == {
        "id": str(events[0].id),
        "type": "score.changed",
        "at": items[0]["at"],
        "actor": {"kind": "system", "id": "", "name": ""},
        "subject": events[0].subject,
        "data": events[0].data,
    }
    after = api.get("/events", after=str(events[0].id), limit=1).json()
    assert [item["id"] for item in after["items"]] == [str(events[1].id)]
    rest = api.get("/events", cursor=after["next"]).json()
    assert [item["id"] for item in rest["items"]] == [str(events[2].id)]
    assert api.get("/events", after=str(events[2].id)).json() == {"items": [], "next": None}
    assert "after" in fields_of(api.get("/events", after="yesterday"))


def _launch(organization, **fields):
    return Launch.objects.create(organization=organization, credential=uuid7(), at=timezone.now(), **fields)


def test_launches_are_read_newest_first_and_by_error(api, stranger):
    key = LtiKeyFactory(installation__organization=api.organization)
    assignment = AssignmentFactory(course__organization=api.organization)
    accepted = _launch(
        api.organization,
        installation=key.installation,
        nonce="1",
        role="student",
        course=assignment.course,
        assignment=assignment,
        return_url="https://lms.example/?sesskey=secret",
    )
    refused = _launch(api.organization, installation=key.installation, result="timestamp_expired")
    _launch(stranger.organization, result="timestamp_expired")
    response = api.get("/launches")
    assert b"sesskey" not in response.content
    first, second = sorted(response.json()["items"], key=lambda item: item["result"])
    assert first == {
        "id": str(accepted.id),
        "at": first["at"],
        "result": "accepted",
        "lti_version": "1.1",
        "installation": str(key.installation_id),
        "person": None,
        "role": "student",
        "course": str(assignment.course_id),
        "assignment": str(assignment.id),
        "room": None,
        "reference": accepted.reference,
    }
    assert (second["id"], second["role"]) == (str(refused.id), None)
    assert [item["id"] for item in api.all("/launches", error="timestamp_expired")] == [str(refused.id)]
    assert api.all("/launches", error="nonce_reused") == []
    assert [item["id"] for item in api.all("/launches", error="accepted")] == [str(accepted.id)]
    assert "error" in fields_of(api.get("/launches", error="mistyped"))


def test_installations_and_keys_are_switched_without_their_secrets(api, stranger):
    key = LtiKeyFactory(installation__organization=api.organization, consumer_key="a:b/c+d=@e")
    response = api.get("/installations")
    (item,) = response.json()["items"]
    assert key.secret.encode() not in response.content
    assert item["id"] == str(key.installation_id)
    assert item["keys"] == [
        {"consumer_key": "a:b/c+d=@e", "installation": item["id"], "enabled": True, "last_used_at": None}
    ]
    for path in (f"/installations/{key.installation_id}", "/keys/a:b/c+d=@e"):
        problem_of(stranger.patch(path, {"enabled": False}), 404)
        assert api.patch(path, {"enabled": False}).json()["enabled"] is False
        assert "enabled" in fields_of(api.patch(path, {"enabled": "no"}))
        assert "enabled" in fields_of(api.patch(path, {}))
        assert "secret" in fields_of(api.patch(path, {"enabled": True, "secret": "x"}))
    key.refresh_from_db()
    key.installation.refresh_from_db()
    assert (key.enabled, key.installation.enabled) == (False, False)
    problem_of(api.patch("/keys/unknown", {"enabled": False}), 404)
    problem_of(api.patch("/keys/a%00b", {"enabled": False}), 404)


def test_registrations_are_listed_and_switched(api, stranger):
    registration = RegistrationFactory(installation__organization=api.organization, configuration_token="kept secret")
    DeploymentFactory(registration=registration, deployment_id="5")
    DeploymentFactory(registration=registration, deployment_id="6", state="pending")
    response = api.get("/installations")
    (item,) = response.json()["items"]
    (shown,) = item["registrations"]
    assert b"kept secret" not in response.content
    assert (shown["id"], shown["issuer"], shown["client_id"]) == (
        str(registration.id),
        registration.issuer,
        registration.client_id,
    )
    assert (shown["state"], shown["enabled"]) == ("active", True)
    assert [(one["deployment_id"], one["state"]) for one in shown["deployments"]] == [
        ("5", "approved"),
        ("6", "pending"),
    ]
    path = f"/registrations/{registration.id}"
    problem_of(stranger.patch(path, {"enabled": False}), 404)
    assert api.patch(path, {"enabled": False}).json() == {**shown, "enabled": False}
    for body in ({"enabled": "no"}, {}, {"enabled": True, "state": "active"}):
        assert fields_of(api.patch(path, body))
    registration.refresh_from_db()
    assert not registration.is_usable


def test_switching_a_pending_registration_on_does_not_activate_it(api):
    registration = RegistrationFactory(installation__organization=api.organization, state="pending")
    assert api.patch(f"/registrations/{registration.id}", {"enabled": True}).json()["state"] == "pending"
    registration.refresh_from_db()
    assert not registration.is_usable


def test_pages_come_in_order_and_once_each_while_rows_are_added(api):
    courses = [CourseFactory(organization=api.organization) for _ in range(5)]
    expected = [str(one.id) for one in sorted(courses, key=lambda course: course.id)]
    page = api.get("/courses", limit=2).json()
    seen = [item["id"] for item in page["items"]]
    late = CourseFactory(organization=api.organization)
    while page["next"]:
        page = api.get("/courses", limit=2, cursor=page["next"]).json()
        seen += [item["id"] for item in page["items"]]
    assert seen == [*expected, str(late.id)]


def test_assignments_come_in_the_order_of_the_course(api):
    course = CourseFactory(organization=api.organization)
    for position in (3, 1, 1, 2, 0):
        AssignmentFactory(course=course, position=position)
    expected = [str(assignment.id) for assignment in course.assignments.order_by("position", "id")]
    assert [item["id"] for item in api.all(f"/courses/{course.id}/assignments", limit=2)] == expected


def test_a_cursor_of_another_list_or_none_at_all_is_refused(api):
    CourseFactory.create_batch(2, organization=api.organization)
    cursor = api.get("/courses", limit=1).json()["next"]
    for wrong in ("x", "\x00", "a:b", cursor + "x", cursor[1:], "é", "W10:abc"):
        assert "cursor" in fields_of(api.get("/courses", cursor=wrong), 400)
    assert "cursor" in fields_of(api.get("/events", cursor=cursor), 400)
    assert "cursor" in fields_of(api.get("/courses", cursor="x" * 1001))


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "1.5", "", "9" * 30, "\x00"])
def test_a_wrong_limit_is_named(api, limit):
    assert "limit" in fields_of(api.get("/courses", limit=limit))


def test_unknown_parameters_are_refused(api):
    assert "stat" in problem_of(api.get("/deliveries", stat="failed"), 422)["detail"]
