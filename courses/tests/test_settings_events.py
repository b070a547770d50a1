"""Whoever changes a course's settings stands in the audit trail: which ones, and not what they were."""

from typing import Any

import pytest

from api.provisioning import provision
from api.schemas.provision import ProvisionFile
from courses.course_settings import ChangedMeanwhileError, CourseSettingsForm, save_settings, state_of
from courses.models import Course
from events.log import SYSTEM, Actor
from events.models import Event
from organizations.api_tokens import make_token
from organizations.tests.admin_client import client_of, owner_client
from tests.factories import CourseFactory, MembershipFactory, UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def course() -> Any:
    return CourseFactory(code="cs101", name="Introduction")


def told() -> list[tuple[str, str, list[str]]]:
    """(kind of actor, course, settings) of each event."""
    events = Event.objects.filter(type="course.settings_changed").order_by("id")
    return [(event.actor["kind"], event.subject["id"], event.data["settings"]) for event in events]


def typed(course: Course, **values: Any) -> dict[str, Any]:
    return {name: getattr(course, name) for name in CourseSettingsForm.Meta.fields} | values


def test_the_page(course):
    user: Any = UserFactory()
    MembershipFactory(organization=course.organization, user=user)
    url = f"/courses/{course.pk}/lti/"
    form = {
        "seen": state_of(course),
        "lti_enabled": "on",
        "enroll_only": "on",
        "send_grade": "ALWAYS",
        "lms_course_url": "https://lms.example/course?wstoken=private",
        "iframe_width": "1000",
        "iframe_height": "800",
    }
    assert client_of(user).post(url, form).status_code == 302
    assert told() == [("user", str(course.pk), ["enroll_only", "lms_course_url", "send_grade"])]
    assert "private" not in str(Event.objects.values_list("data", "actor", "subject"))
    # The same again changes nothing, and tells nothing.
    course.refresh_from_db()
    assert client_of(user).post(url, form | {"seen": state_of(course)}).status_code == 302
    assert len(told()) == 1


def test_what_is_not_saved_is_not_told(course):
    with pytest.raises(ChangedMeanwhileError):
        save_settings(course, typed(course, enroll_only=True), seen="another", actor=SYSTEM)
    assert told() == []


def test_the_admin(course):
    form = {
        "name": "Another",
        "code": "cs101",
        "lti_enabled": "on",
        "constant_urls": "on",
        "iframe_width": "1000",
        "iframe_height": "800",
        "send_grade": "GRADE_RELEASE",
        "modules-TOTAL_FORMS": "0",
        "modules-INITIAL_FORMS": "0",
    }
    response = owner_client(course.organization).post(f"/admin/courses/course/{course.pk}/change/", form)
    assert response.status_code == 302
    assert told() == [("user", str(course.pk), ["constant_urls", "name"])]


def test_the_api(course, client):
    _, token = make_token(course.organization, "checks")
    headers = {"Authorization": f"Bearer {token}"}
    url = f"/api/v1/courses/{course.pk}"
    change = {"send_grade": "CHANGED", "code": "cs102", "name": "Introduction"}
    for _ in range(2):
        assert client.patch(url, change, content_type="application/json", headers=headers).status_code == 200
    assert told() == [("api_token", str(course.pk), ["code", "send_grade"])]


def test_provision(course):
    entry = {"code": "cs101", "name": "Introduction", "hide_not_started": True}
    document = ProvisionFile.model_validate(
        {"organizations": [{"slug": course.organization.slug, "courses": [entry, {"code": "new"}]}]}
    )
    for _ in range(2):
        provision(document)
    # What is made new has no settings that were otherwise before.
    assert told() == [("system", str(course.pk), ["hide_not_started"])]


def test_the_actor_is_named(course):
    save_settings(course, typed(course, enroll_only=True), seen=state_of(course), actor=Actor("person", "7", "Ada"))
    assert Event.objects.get().actor == {"kind": "person", "id": "7", "name": "Ada"}
