"""Nobody of another organization sees or changes anything: every URL, every admin page, every API operation.

The URLs are walked, not listed: a new one joins by itself, and one whose parameters are not known here fails.
"""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.core.cache import cache
from django.db.models import ForeignKey
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from courses.models import Assignment, Course, CourseAlias, ResourceLink
from grades.feedback import feedback_token
from grades.models import Score
from launches.models import Launch
from organizations.models import Installation, LtiKey, Organization, Person, Registration
from organizations.tenancy import path_of
from recordings.models import Meeting, MeetingServer, Recording, Room
from tests.factories import AssignmentFactory, LtiKeyFactory, UserFactory
from tests.launching import launch, launch_id_of
from tests.tenants import OUR_APPS, Tenant, make_tenant

pytestmark = pytest.mark.django_db

# Open to everybody on purpose. None of them may name a row of a tenant, except where it says so.
PUBLIC = {
    "account_": "signing in, out, and setting one's own password",
    "mfa_": "one's own second factor",
    "health-": "for orchestrators: states, no rows",
    "metrics": "for Prometheus: numbers, no rows",
    "lti-jwks": "an organization's public keys are public (contract §3)",
    "lti-canvas-config": "addresses of the organization's tool; its name is not in it (J15)",
    "lti-xml-config": "the same over LTI 1.1",
    "launch-style": "a style sheet made of the colours in its address",
    "meeting-webhook": "meeting servers' own calls, signed with their key: others get one refusal",
}
# The launch URLs take signed launches only; what a foreign key can do at them is tested below.
SIGNED_ONLY = {
    "lti-launch",
    "lti-resource-selection",
    "lti-editor-button",
    "lti-course-navigation",
    "lti-assignment",
    "lti-constant",
    "lti-enroll",
    "lti-room",
    "lti-1p3-login",
    "lti-1p3-launch",
}
# Walked by operation, with another organization's token, further below.
API = "api/v1/"
UNNAMED = {
    "admin/(?P<url>.*)$": "the admin's catch-all: 404 or sign-in",
}


@dataclass(frozen=True)
class Route:
    """A URL pattern: its text, full name, parameters, and whether they name a row."""

    text: str
    name: str
    parameters: frozenset[str]


def routes() -> list[Route]:
    return list(_walk(get_resolver().url_patterns, "", (), frozenset()))


def _walk(patterns: list[Any], before: str, namespaces: tuple[str, ...], parameters: frozenset[str]) -> Iterator[Route]:
    for entry in patterns:
        text = before + str(entry.pattern)
        known = parameters | frozenset(entry.pattern.regex.groupindex)
        if isinstance(entry, URLPattern):
            yield Route(text, ":".join((*namespaces, entry.name)) if entry.name else "", known)
        elif isinstance(entry, URLResolver):
            inner = (*namespaces, entry.namespace) if entry.namespace else namespaces
            yield from _walk(entry.url_patterns, text, inner, known)


def value_for(parameter: str, route: Route, victim: Tenant) -> Any:
    """The victim's own value for a URL parameter. A parameter that is not known here fails the test."""
    if parameter == "object_id":
        return victim.row(model_of(route)).pk
    if parameter == "app_label":
        return "organizations"
    if parameter == "content_type_id":
        from django.contrib.contenttypes.models import ContentType

        return ContentType.objects.get_for_model(Installation).pk
    known = {
        "launch_id": Launch,
        "assignment_id": Assignment,
        "person_id": Person,
        "course_id": Course,
        "copy_id": Course,
        "installation_id": Installation,
        "link_id": ResourceLink,
        "alias_id": CourseAlias,
        "organization_id": Organization,
        "room_id": Room,
        "meeting_id": Meeting,
        "recording_id": Recording,
        "server_id": MeetingServer,
    }
    if parameter in known:
        return victim.row(known[parameter]).pk
    texts = {
        "constant_key": victim.row(Assignment).constant_key,
        "organization": victim.organization.slug,
        "slug": victim.organization.slug,
        "consumer_key": victim.row(LtiKey).consumer_key,
        "colours": "none-none-none",
        "token": feedback_token(victim.row(Score)),
        "uidb36": "1",
        "key": "x-x",
    }
    if parameter in texts:
        return texts[parameter]
    raise AssertionError(f"{route.text}: tell this test how to fill {parameter!r} with a victim's value")


def model_of(route: Route) -> Any:
    parts = route.text.split("/")
    if route.name == "admin:view_on_site":
        return Installation
    return apps.get_model(parts[1], parts[2])


def address_of(route: Route, victim: Tenant) -> str:
    return reverse(route.name, kwargs={name: value_for(name, route, victim) for name in route.parameters})


def missing_address_of(route: Route, victim: Tenant) -> str:
    values = {name: value_for(name, route, victim) for name in route.parameters}
    return reverse(
        route.name, kwargs={name: uuid.uuid4() if isinstance(v, uuid.UUID) else v for name, v in values.items()}
    )


def names_a_row(route: Route) -> bool:
    return bool(route.parameters - {"app_label", "colours"})


@pytest.fixture
def victim(db) -> Tenant:
    cache.clear()
    return make_tenant("Zyxquirk")


@pytest.fixture
def stranger(db) -> Tenant:
    return make_tenant("Bystander")


def signed_in(user: Any) -> Client:
    client = Client(raise_request_exception=True)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def strangers(stranger, victim) -> dict[str, Client]:
    """Everybody else: nobody, and the owner, a teacher and a student of another organization, and one of its students
    who signed in directly, with the same address in the victim's organization."""
    key: Any = LtiKeyFactory(installation__organization=stranger.organization)
    student = Client()
    assignment: Any = AssignmentFactory(course=stranger.row(Course))
    launch_id_of(launch(student, f"/lti/assignments/{assignment.pk}", key))
    learner: Any = UserFactory(email=victim.row(Person).email)
    Person.objects.filter(pk=stranger.row(Person).pk).update(user=learner)
    return {
        "anonymous": Client(),
        "owner": signed_in(stranger.owner),
        "teacher": signed_in(stranger.teacher),
        "student": student,
        "learner": signed_in(learner),
    }


def is_sign_in(response: Any) -> bool:
    return response.status_code == 302 and response["Location"].split("?")[0] == reverse("account_login")


def body_of(response: Any) -> str:
    content = b"".join(response.streaming_content) if response.streaming else response.content
    return content.decode(errors="replace")


def assert_tells_nothing(response: Any, victim: Tenant, where: str) -> None:
    text = body_of(response) + str(response.headers)
    for trace in victim.traces:
        assert trace not in text, f"{where} shows {trace}"


def forged(victim: Tenant) -> dict[str, Any]:
    """A form that names the victim's rows in every way a page may read."""
    own = {field: row.pk for field, row in _references(victim)}
    return {
        **own,
        "_selected_action": [str(row.pk) for row in victim.rows.values()],
        "action": "send_again",
        "select_across": "1",
        "confirmed": "1",
        "post": "yes",
        "host": victim.row(Installation).pending_service_hosts[0],
        "reason": "curiosity",
        "overlap": "0",
        "enabled": "",
        "role": "owner",
        "name": "Mine now",
        "email": victim.teacher.email,
    }


def _references(victim: Tenant) -> list[tuple[str, Any]]:
    """Every name that a reference to another row has in some model, with the victim's row that it could lead to."""
    found = [
        (field.name, victim.rows[field.related_model])
        for model in victim.rows
        for field in model._meta.concrete_fields
        if isinstance(field, ForeignKey) and field.related_model in victim.rows
    ]
    return list(dict.fromkeys(found))


def test_every_url_is_known():
    for route in routes():
        if not route.name and not route.text.startswith(API):
            assert route.text in UNNAMED, f"{route.text}: give it a name, or say here why it needs none"


def test_every_model_has_a_tenant_and_a_row_here(victim):
    for label in OUR_APPS:
        for model in apps.get_app_config(label).get_models() if apps.is_installed(label) else []:
            assert victim.row(model)
            assert path_of(model) is not None or model._meta.label == "organizations.User", model


def test_every_admin_of_ours_is_limited():
    from organizations.tenant_admin import TenantAdmin

    for model, model_admin in admin.site._registry.items():
        assert isinstance(model_admin, TenantAdmin), f"{model.__name__}: its admin shows every tenant's rows"


@pytest.mark.parametrize("who", ["anonymous", "owner", "teacher", "student", "learner"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_no_url_opens_to_a_stranger(who, method, victim, strangers):
    client, before = strangers[who], victim.state()
    walked = 0
    for route in routes():
        if not route.name or route.text.startswith(API) or route.name in SIGNED_ONLY:
            continue
        if method == "post" and route.name in ("admin:logout", "account_logout"):
            continue
        address = address_of(route, victim)
        response = client.get(address) if method == "get" else client.post(address, forged(victim))
        where = f"{method.upper()} {address} as {who}"
        walked += 1
        if route.name.startswith(tuple(PUBLIC)):
            if route.name != "lti-jwks":
                assert_tells_nothing(response, victim, where)
            continue
        if names_a_row(route) or (route.name.startswith("admin:") and who != "owner"):
            if response.status_code == 405:
                # The method is refused before anything is looked up: the same for a row that is not there.
                response = client.generic(method.upper(), missing_address_of(route, victim))
                assert response.status_code == 405, where
            else:
                assert response.status_code == 404 or is_sign_in(response), f"{where}: {response.status_code}"
        else:
            assert response.status_code < 500, where
        # An invitation may repeat the address it was given, and nothing else of whom it belongs to.
        repeated = [victim.teacher.email] if method == "post" else []
        assert_tells_nothing(_without_echo(response, [*address.split("/"), *repeated]), victim, where)
    assert walked > 100
    assert victim.state() == before


def _without_echo(response: Any, asked: list[str]) -> Any:
    """An address that names the victim's row may be repeated (`next=`, a form's own action); its ids are no news."""
    if response.streaming:
        return response
    repeated = [part for part in asked if len(part) > 20]
    text = response.content.decode(errors="replace")
    for part in repeated:
        text = text.replace(part, "")
    response.content = text.encode()
    if is_sign_in(response):
        del response["Location"]
    return response


def test_missing_and_foreign_answer_alike(victim, strangers):
    """What is not there and what is somebody else's cannot be told apart."""
    for route in routes():
        if "object_id" not in route.parameters or not route.name or route.name == "admin:view_on_site":
            continue
        for method in ("get", "post"):
            call = getattr(strangers["owner"], method)
            foreign = call(address_of(route, victim))
            missing = call(reverse(route.name, kwargs={"object_id": uuid.uuid4()}))
            assert (foreign.status_code, missing.status_code) == (404, 404), route.text


def test_filters_searches_and_lookups_find_nothing_foreign(victim, stranger, strangers):
    client = strangers["owner"]
    for model, model_admin in admin.site._registry.items():
        if not model_admin.has_view_permission(_request_of(stranger)):
            continue
        address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        queries: list[dict[str, Any]] = [{"q": victim.marker}, {"organization": str(victim.organization.pk)}]
        for name, row in _references(victim):
            queries += [{f"{name}__id__exact": str(row.pk)}, {f"{name}": str(row.pk)}]
        queries += [
            {"assignment__course__id__exact": str(victim.row(Course).pk)},
            {"credential": str(victim.row(LtiKey).pk)},
            {"user__email__startswith": "zyx"},
            {"secret__startswith": "Z"},
            {"hash__startswith": "a"},
            {"id__exact": str(victim.row(model).pk) if model in victim.rows else "x"},
        ]
        for query in queries:
            response = client.get(address, query)
            if response.status_code in (302, 400):
                continue
            assert response.status_code == 200, (address, query)
            names = [trace for trace in victim.traces if not _is_id(trace)]
            text = body_of(response)
            assert not [name for name in names if name in text], (address, query)


def _is_id(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def _request_of(tenant: Tenant) -> Any:
    from django.test import RequestFactory

    request = RequestFactory().get("/")
    request.user = tenant.owner
    return request


def test_autocompletes_offer_nothing_foreign(victim, strangers):
    asked = 0
    for model in admin.site._registry:
        for field in model._meta.concrete_fields:
            if not isinstance(field, ForeignKey):
                continue
            for who, client in strangers.items():
                query = {"app_label": model._meta.app_label, "model_name": model._meta.model_name}
                response = client.get(reverse("admin:autocomplete"), query | {"field_name": field.name, "term": ""})
                asked += 1
                assert response.status_code in (200, 404) or is_sign_in(response)
                assert_tells_nothing(response, victim, f"autocomplete of {model.__name__}.{field.name} as {who}")
    assert asked > 40


def test_history_shows_own_changes_only(victim, stranger, strangers):
    for tenant in (victim, stranger):
        LogEntry.objects.log_actions(
            tenant.owner.pk, [tenant.row(Course)], 2, change_message=f"{tenant.marker} Course changed"
        )
    course = stranger.row(Course)
    response = strangers["owner"].get(reverse("admin:courses_course_history", args=[course.pk]))
    assert f"{stranger.marker} Course changed" in body_of(response)
    assert_tells_nothing(response, victim, "history")
    assert_tells_nothing(strangers["owner"].get(reverse("admin:index")), victim, "home")


def test_forms_refuse_foreign_references(victim, strangers):
    """Every add page, with the victim's rows in every reference."""
    before = {model: model._default_manager.count() for model in admin.site._registry}
    for model in admin.site._registry:
        address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add")
        form = forged(victim) | {"title": "t", "code": "c", "slug": "s", "kind": "page", "points_possible": "1"}
        form |= {"position": "0", "send_grade": "GRADE_RELEASE", "email": "", "name": "" if model is Course else "x"}
        response = strangers["owner"].post(address, form)
        assert response.status_code in (200, 302, 404), address
        for row in model._default_manager.filter():
            path = path_of(model)
            if path is None or row == victim.rows.get(model):
                continue
    for model in victim.rows:
        path = path_of(model)
        if not path:
            continue
        grown = model._default_manager.filter(**{path: victim.organization}).count()
        assert grown <= before.get(model, grown), model
    assert victim.row(Course).assignments.count() == 1
    assert victim.row(Course).modules.count() == 1


@pytest.mark.parametrize("name", ["assignment", "constant", "enroll"])
def test_a_foreign_key_launches_nothing(name, victim, stranger):
    key: Any = LtiKeyFactory(installation__organization=stranger.organization)
    assignment, course = victim.row(Assignment), victim.row(Course)
    paths = {
        "assignment": f"/lti/assignments/{assignment.pk}",
        "constant": f"/lti/constant/{assignment.constant_key}",
        "enroll": f"/lti/courses/{course.pk}/enroll",
    }
    response = launch(
        Client(), paths[name], key, custom_assignment=str(assignment.pk), custom_course_target_id=course.code
    )
    assert response.status_code in (404, 409)
    assert_tells_nothing(response, victim, paths[name])
    assert not Launch.objects.filter(lti_key=key, assignment=assignment).exists()


# The API


def operations() -> list[tuple[str, str]]:
    from api.urls import api

    return [
        (method, path)
        for path, methods in api.get_openapi_schema()["paths"].items()
        for method in methods
        if method in ("get", "post", "put", "patch", "delete")
    ]


def api_address(path: str, values: dict[str, Any]) -> str:
    for name in [part[1:-1] for part in path.split("/") if part.startswith("{")]:
        if name not in values:
            raise AssertionError(f"{path}: tell this test how to fill {name!r}")
        path = path.replace("{" + name + "}", str(values[name]))
    return path


def test_no_api_operation_reaches_another_tenant(victim, stranger):
    from events.models import Delivery, WebhookEndpoint

    client = Client(headers={"Authorization": f"Bearer {stranger.api_token}"})
    theirs = {
        "course_id": victim.row(Course).pk,
        "assignment_id": victim.row(Assignment).pk,
        "person_id": victim.row(Person).pk,
        "delivery_id": victim.row(Delivery).pk,
        "webhook_id": victim.row(WebhookEndpoint).pk,
        "installation_id": victim.row(Installation).pk,
        "registration_id": victim.row(Registration).pk,
        "consumer_key": victim.row(LtiKey).consumer_key,
        "room_id": victim.row(Room).pk,
        "meeting_id": victim.row(Meeting).pk,
    }
    missing = {name: uuid.uuid4() for name in theirs}
    bodies: list[Any] = [{}, {"enabled": False}, {"name": "Mine now"}, {"points": 3}, {"code": "x", "name": "x"}]
    before = victim.state()
    assert len(operations()) > 10
    for method, path in operations():
        for body in bodies:
            answers = []
            for values in (theirs, missing):
                address = api_address(path, values)
                content = b"" if method in ("get", "delete") else json.dumps(body).encode()
                response = client.generic(method.upper(), address, content, content_type="application/json")
                text = response.content.decode()
                for value in values.values():
                    text = text.replace(str(value), "")
                answers.append((response.status_code, text))
                response.content = text.encode()
                assert_tells_nothing(response, victim, f"{method} {address}")
            if "{" in path:
                assert answers[0][0] in (404, 422), (method, path, answers[0])
                assert answers[0][0] == answers[1][0], (method, path)
    assert victim.state() == before


def test_no_api_operation_answers_without_a_token(victim):
    for method, path in operations():
        values = {name: uuid.uuid4() for name in ("course_id", "assignment_id", "person_id", "delivery_id")}
        values["webhook_id"] = uuid.uuid4()
        values |= {"installation_id": uuid.uuid4(), "registration_id": uuid.uuid4(), "consumer_key": "x"}
        values |= {"room_id": uuid.uuid4(), "meeting_id": uuid.uuid4()}
        response = Client().generic(method.upper(), api_address(path, values), b"{}", content_type="application/json")
        assert response.status_code == 401, (method, path)


def test_every_api_url_is_an_operation():
    described = {path.removeprefix("/").replace("{", "<").replace("}", ">") for _, path in operations()}
    open_to_all = {API, f"{API}openapi.json", f"{API}docs", f"{API}^(?P<rest>.*)$"}
    for route in routes():
        if route.text.startswith(API) and route.text not in open_to_all:
            assert route.text.replace("<path:", "<") in described, (
                f"{route.text} is in no schema: it is walked by nobody"
            )
