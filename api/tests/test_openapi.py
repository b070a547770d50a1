"""The description of the API, and the API against it."""

import contextlib
import json
from collections import Counter

import pytest
import schemathesis
from django.contrib.staticfiles import finders
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import checks
from schemathesis.specs.openapi import checks as openapi_checks

from api.tests.calling import Caller
from courses.models import Assignment, Course
from events.endpoints import make_endpoint
from events.models import Delivery, WebhookEndpoint
from organizations.identifiers import uuid7
from organizations.models import Installation, LtiKey, Person, Registration
from recordings.models import Meeting, Room
from tests.factories import (
    AssignmentFactory,
    AttendanceFactory,
    CourseFactory,
    EnrolmentFactory,
    GradebookCellFactory,
    LtiKeyFactory,
    OrganizationFactory,
    RecordingFactory,
    RegistrationFactory,
)
from tests.tenants import make_tenant

pytestmark = pytest.mark.django_db

OPERATIONS = {
    "get /courses",
    "post /courses",
    "get /courses/{course_id}",
    "patch /courses/{course_id}",
    "post /courses/{course_id}/copy",
    "get /courses/{course_id}/assignments",
    "post /courses/{course_id}/assignments",
    "get /assignments/{assignment_id}",
    "patch /assignments/{assignment_id}",
    "get /courses/{course_id}/assignment-urls",
    "get /courses/{course_id}/assignment-urls.csv",
    "get /courses/{course_id}/cartridge",
    "get /courses/{course_id}/enrolments",
    "post /courses/{course_id}/roster-sync",
    "put /assignments/{assignment_id}/scores/{person_id}",
    "get /assignments/{assignment_id}/scores",
    "get /deliveries",
    "post /deliveries/{delivery_id}/resend",
    "get /events",
    "get /webhooks",
    "post /webhooks",
    "patch /webhooks/{webhook_id}",
    "delete /webhooks/{webhook_id}",
    "post /webhooks/{webhook_id}/test",
    "get /webhooks/{webhook_id}/deliveries",
    "get /rooms",
    "get /rooms/{room_id}/meetings",
    "get /rooms/{room_id}/recordings",
    "get /meetings/{meeting_id}/attendance",
    "get /meetings/{meeting_id}/attendance.csv",
    "get /launches",
    "get /installations",
    "patch /installations/{installation_id}",
    "patch /keys/{consumer_key}",
    "patch /registrations/{registration_id}",
}


def _operations(document):
    return {
        f"{method} {path.removeprefix('/api/v1')}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_every_operation_is_described_with_examples(client):
    document = client.get("/api/v1/openapi.json").json()
    operations = _operations(document)
    assert set(operations) == OPERATIONS
    schemas = document["components"]["schemas"]
    for name, operation in operations.items():
        assert operation["summary"], name
        assert operation["description"], name
        assert operation["security"] == [{"BearerToken": []}], name
        assert len(operation["tags"]) == 1, name
        assert {"401", "429", "500"} <= set(operation["responses"]), name
        for status, media_type, content in [
            (int(status), media_type, content)
            for status, response in operation["responses"].items()
            for media_type, content in response.get("content", {}).items()  # 204 has none
        ]:
            if status >= 400:
                assert media_type == "application/problem+json"
                assert content["example"]["status"] == status
            elif "$ref" in content["schema"]:
                assert "example" in schemas[content["schema"]["$ref"].split("/")[-1]], name
            else:
                assert content["example"], name
        body = operation.get("requestBody")
        if body:
            assert "example" in schemas[body["content"]["application/json"]["schema"]["$ref"].split("/")[-1]], name


def test_a_change_has_no_defaults(client):
    schemas = client.get("/api/v1/openapi.json").json()["components"]["schemas"]
    for name in ("CourseChange", "AssignmentChange", "WebhookChange"):
        assert "required" not in schemas[name]
        assert all("default" not in shown for shown in schemas[name]["properties"].values())


def test_the_docs_come_from_this_host_alone(client):
    response = client.get("/api/v1/docs")
    page = response.content.decode()
    assert "//" not in page.replace("http://www.w3.org", "")
    for name in ("ninja/swagger-ui-bundle.js", "ninja/swagger-ui-init.js", "ninja/swagger-ui.css"):
        assert f"/static/{name}" in page
        assert finders.find(name)
    assert "script-src" not in response["Content-Security-Policy"]  # 'self', as default-src says


def test_examples_are_accepted(api):
    document = api.client.get("/api/v1/openapi.json").json()
    schemas = document["components"]["schemas"]
    course = api.post("/courses", schemas["CourseDefinition"]["example"])
    assert course.status_code == 201
    path = f"/courses/{course.json()['id']}"
    assert api.patch(path, schemas["CourseChange"]["example"]).status_code == 200
    copy = api.post(f"{path}/copy", schemas["CourseCopy"]["example"])
    assert copy.status_code == 201
    assert set(copy.json()) == set(schemas["CourseOut"]["example"])
    assignment = api.post(f"{path}/assignments", schemas["AssignmentDefinition"]["example"])
    assert assignment.status_code == 201
    change = api.patch(f"/assignments/{assignment.json()['id']}", schemas["AssignmentChange"]["example"])
    assert change.status_code == 200
    enrolment = EnrolmentFactory(course_id=course.json()["id"], person__organization=api.organization)
    score = api.put(
        f"/assignments/{assignment.json()['id']}/scores/{enrolment.person_id}", schemas["ScoreIn"]["example"]
    )
    assert score.status_code == 200
    assert set(score.json()) == set(schemas["ScoreOut"]["example"])


def test_another_organizations_token_finds_nothing(client):
    """Every operation that names a row, with a body that is right: 404, as for a row that is not there."""
    document = client.get("/api/v1/openapi.json").json()
    victim, stranger = make_tenant("Victim"), make_tenant("Stranger")
    names = {
        "course_id": Course,
        "assignment_id": Assignment,
        "person_id": Person,
        "delivery_id": Delivery,
        "webhook_id": WebhookEndpoint,
        "installation_id": Installation,
        "registration_id": Registration,
        "room_id": Room,
        "meeting_id": Meeting,
    }
    theirs = {name: victim.row(model).pk for name, model in names.items()}
    theirs["consumer_key"] = victim.row(LtiKey).consumer_key
    missing = dict.fromkeys(theirs, uuid7())
    before = victim.state()
    tried = 0
    for name, operation in _operations(document).items():
        method, path = name.split(" ")
        if "{" not in path:
            continue
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        content = _example_of(document, body)
        answers = [_sent(method, path, values, content, stranger.api_token) for values in (theirs, missing)]
        assert [answer.status_code for answer in answers] == [404, 404], name
        assert answers[0].content == answers[1].content, name
        tried += 1
    assert tried >= 20
    assert victim.state() == before
    # The addresses and bodies are right: the organization's own token finds what they name, until it is deleted.
    for name, operation in sorted(_operations(document).items(), key=lambda one: one[0].startswith("delete")):
        method, path = name.split(" ")
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        answer = _sent(method, path, theirs, _example_of(document, body), victim.api_token)
        assert answer.status_code in (200, 201, 202, 204, 409), (name, answer.content)


def _example_of(document, schema):
    return document["components"]["schemas"][schema["$ref"].split("/")[-1]]["example"] if schema else None


def _sent(method, path, values, body, token):
    for name, value in values.items():
        path = path.replace("{" + name + "}", str(value))
    content = b"" if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}"}
    return Client(headers=headers).generic(method.upper(), f"/api/v1{path}", content, content_type="application/json")


@contextlib.contextmanager
def _kept_connection():
    """The server would close the connection that holds this test's transaction; Django's own test client, which is not
    used here, keeps it the same way."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield
    for signal in signals:
        signal.connect(close_old_connections)


@pytest.fixture
def described(db):
    organization = OrganizationFactory(slug="fuzzed")
    caller = Caller(organization)
    course = CourseFactory(organization=organization)
    assignment = AssignmentFactory(course=course)
    enrolment = EnrolmentFactory(course=course)
    key = LtiKeyFactory(installation__organization=organization)
    GradebookCellFactory(assignment=assignment, person=enrolment.person)
    meeting = AttendanceFactory(meeting__room__course=course, joined_at=timezone.now()).meeting
    RecordingFactory(room=meeting.room)
    recorded = caller.put(f"/assignments/{assignment.id}/scores/{enrolment.person_id}", {"points": 5}).json()
    known = {
        "course_id": str(course.id),
        "assignment_id": str(assignment.id),
        "person_id": str(enrolment.person_id),
        "delivery_id": recorded["deliveries"][0]["id"],
        "installation_id": str(key.installation_id),
        "consumer_key": key.consumer_key,
        "webhook_id": str(make_endpoint(organization, url="https://hooks.example/in").id),
        "registration_id": str(RegistrationFactory(installation=key.installation).id),
        "room_id": str(meeting.room_id),
        "meeting_id": str(meeting.id),
    }
    schema = schemathesis.openapi.from_dict(json.loads(caller.client.get("/api/v1/openapi.json").content))
    schema.app = WSGIHandler()
    with _kept_connection():
        yield caller, known, schema


def test_whatever_is_sent_the_answer_is_as_described(described):
    caller, known, schema = described
    expected = [
        checks.not_a_server_error,
        openapi_checks.status_code_conformance,
        openapi_checks.content_type_conformance,
        openapi_checks.response_schema_conformance,
    ]
    tried: Counter[int] = Counter()

    def send(case):
        # Most calls reach a row that exists; the others end at "not found".
        if tried.total() % 4:
            case.path_parameters = {name: known[name] for name in case.path_parameters}
        response = case.call_and_validate(headers={"Authorization": f"Bearer {caller.token}"}, checks=expected)
        tried[response.status_code] += 1

    for result in schema.get_all_operations():
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
            _try_out(send, result.ok().as_strategy(generation_mode=mode))
    assert {200, 201, 404, 422} <= set(tried)


def _try_out(send, cases):
    """Deterministic: the same calls in every run."""
    with contextlib.suppress(Unsatisfiable):  # nothing that is wrong can be sent where nothing is taken in
        settings(
            max_examples=12,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )(given(cases)(send))()
