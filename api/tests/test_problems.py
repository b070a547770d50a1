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


@pytest.mark.parametrize("accept", ["application/json", "*/*", "text/html", "application/xml;q=1.0", "nonsense", ""])
def test_answers_are_json_whatever_is_accepted(api, accept):
    # RFC 9110 §12.4.1: a client that says nothing useful is better served than refused.
    answer = api.send("GET", "/courses", headers={"Accept": accept})
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json; charset=utf-8")
    problem_of(api.send("GET", "/courses/1", headers={"Accept": accept}), 404)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE"])
@pytest.mark.parametrize("path", ["/courses", "/nothing", "/assignments/1/scores/2"])
def test_every_method_without_a_token_is_answered_by_a_problem(method, path):
    response = Client().generic(method, f"/api/v1{path}", b"{}", content_type="application/json")
    assert response.status_code in (401, 404, 405)
    assert response["Content-Type"] == "application/problem+json"
    if method != "HEAD":
        problem_of(response, response.status_code)


def test_too_large_and_other_types_without_a_token():
    client = Client()
    large = json.dumps({"code": "x" * 3_000_000})
    problem_of(client.post("/api/v1/courses", large, "application/json"), 401)
    problem_of(client.post("/api/v1/courses", "code=x", "text/plain"), 415)


def test_requests_that_reach_no_view_are_problems_too(client):
    document = problem_of(client.get("/api/v1/courses", headers={"Host": "evil.example"}), 400)
    assert document["title"] == "Bad Request"
    assert problem_of(client.get("/api/v2/courses"), 404)["title"] == "Not Found"


@pytest.mark.parametrize("path", ["/courses", "/courses/1", "/courses?limit=x", "/deliveries"])
def test_every_answer_to_a_token_says_its_rate(api, path):
    response = api.client.get(f"/api/v1{path}")
    limit, left, reset = (int(response[f"X-RateLimit-{name}"]) for name in ("Limit", "Remaining", "Reset"))
    assert 0 < left < limit
    assert 0 < reset <= 60
