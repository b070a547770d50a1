"""Every refusal is a problem document."""

import json

import pytest
from django.test import Client

from api import courses
from api.tests.calling import problem_of
from courses.models import Course

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/",
        "/courses/",
        "/courses/1",
        "/courses/0197f3a0-0000-7000-8000-000000000001",
        "/courses/%00",
        "/deliveries/x/resend",
    ],
)
def test_unknown_addresses(api, path):
    problem_of(api.get(path), 405 if path.endswith("resend") else 404)


def test_addresses_outside_of_the_version(client):
    for path in ("/api/", "/api/v2/courses", "/api/v1"):
        response = client.get(path)
        assert response.status_code == 404
        assert response["Content-Type"] == "application/problem+json"


def test_posting_to_an_unknown_address_needs_no_csrf_token():
    problem_of(Client(enforce_csrf_checks=True).post("/api/v1/nothing"), 404)
    problem_of(Client(enforce_csrf_checks=True).post("/api/v1/courses", "{}", "application/json"), 401)


def test_methods_that_are_not_possible(api):
    response = api.send("DELETE", "/courses")
    problem_of(response, 405)
    assert response["Allow"] == "GET, HEAD, POST"


def test_head_is_get_without_a_body(api):
    response = api.client.head("/api/v1/courses")
    assert response.status_code == 200
    assert response.content == b""
    assert int(response["Content-Length"]) > 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"code=cs101",
        b"\xff\xfe",
        b'{"code": "\xe4"}',
        '{"code": "cs101"}'.encode("utf-16"),
        b"[" * 100_000,
        b"1" * 5000,
        b'{"code": "a", "code": "b"}',
        b"\xef\xbb\xbf{}",
    ],
)
def test_bodies_that_are_not_json(api, body):
    response = api.send("POST", "/courses", body)
    assert response.status_code in (400, 422)
    problem_of(response, response.status_code)
    assert not Course.objects.exists()


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"cs101"', b"true"])
def test_bodies_of_the_wrong_type(api, body):
    problem_of(api.send("POST", "/courses", body), 422)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_other_media_types(api, content_type):
    problem_of(api.send("POST", "/courses", b'{"code": "cs101"}', content_type), 415)


def test_media_types_with_parameters(api):
    assert api.send("POST", "/courses", b'{"code": "a"}', "application/json; charset=utf-8").status_code == 201
    assert api.send("POST", "/courses", b'{"code": "b"}', "application/vnd.acme+json").status_code == 201


def test_bodies_that_are_too_large(api):
    problem_of(api.send("POST", "/courses", json.dumps({"code": "x" * 3_000_000}).encode()), 413)


def test_a_failure_of_ours_tells_nothing_of_its_cause(api, monkeypatch, caplog):
    def broken(*args, **kwargs):
        raise RuntimeError("connection string with secret=hunter2")

    monkeypatch.setattr(courses, "make_course", broken)
    api.client.raise_request_exception = False
    response = api.post("/courses", {"code": "cs101"})
    document = problem_of(response, 500)
    assert "hunter2" not in response.content.decode()
    assert document["reference"]
    assert "api_request_failed" in caplog.text


def test_answers_are_not_cached(api):
    assert api.get("/courses")["Cache-Control"] == "no-store"
