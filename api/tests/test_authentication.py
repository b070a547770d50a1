"""Who is let in, and how often."""

import pytest
import time_machine
from django.conf import settings
from django.test import Client

from api.tests.calling import problem_of
from organizations.models import ApiToken

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Basic dXNlcjpwYXNz",
        "bearer\tx",
        "Bearer " + "x" * 9000,
        "Bearer ü",
        "Token {token}",
        "{token}",
        "Bearer {token}x",
    ],
)
def test_without_a_valid_token_nobody_is_let_in(api, header):
    client = Client(headers={} if header is None else {"Authorization": header.replace("{token}", api.token)})
    response = client.get("/api/v1/courses")
    problem_of(response, 401)
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_the_scheme_is_read_in_any_case(api):
    assert Client(headers={"Authorization": f"bEARER {api.token}"}).get("/api/v1/courses").status_code == 200


def test_a_disabled_token_is_refused(api):
    ApiToken.objects.update(enabled=False)
    problem_of(api.get("/courses"), 401)


def test_a_suspended_organization_is_refused(api):
    api.organization.enabled = False
    api.organization.save()
    problem_of(api.get("/courses"), 401)


def test_a_session_alone_does_not_let_in(api, admin_client):
    problem_of(admin_client.get("/api/v1/courses"), 401)


def test_last_use_is_noted_once_a_minute(api, django_assert_num_queries):
    with time_machine.travel("2030-01-01T10:00:00Z", tick=False) as clock:
        api.get("/courses")
        api.api_token.refresh_from_db()
        first = api.api_token.last_used_at
        assert first.isoformat() == "2030-01-01T10:00:00+00:00"
        clock.shift(59)
        with django_assert_num_queries(2):  # the token, the courses
            api.get("/courses")
        clock.shift(2)
        api.get("/courses")
        api.api_token.refresh_from_db()
        assert (api.api_token.last_used_at - first).total_seconds() == 61


def test_the_rate_is_limited_for_each_token(api, stranger, settings):
    settings.API_REQUESTS_PER_MINUTE = 2
    with time_machine.travel("2030-01-01T10:00:18Z", tick=False) as clock:
        first = api.get("/courses")
        assert (first["X-RateLimit-Limit"], first["X-RateLimit-Remaining"], first["X-RateLimit-Reset"]) == (
            "2",
            "1",
            "42",
        )
        assert api.get("/courses").status_code == 200
        refused = api.get("/courses")
        problem_of(refused, 429)
        assert refused["Retry-After"] == "42"
        assert refused["X-RateLimit-Remaining"] == "0"
        assert stranger.get("/courses").status_code == 200
        clock.shift(42)
        assert api.get("/courses").status_code == 200


def test_without_the_cache_there_is_no_limit(api, settings):
    settings.API_REQUESTS_PER_MINUTE = 1
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    assert [api.get("/courses").status_code for _ in range(3)] == [200, 200, 200]


def test_the_token_is_never_logged(api, capfd, caplog):
    caplog.set_level("DEBUG")
    api.get("/courses")
    Client(headers={"Authorization": "Bearer leaked-token-of-somebody"}).get("/api/v1/courses")
    Client(headers={"Authorization": "Wrong leaked-token-of-somebody"}).get("/api/v1/courses")
    output = "".join(capfd.readouterr()) + caplog.text
    assert api.token not in output
    assert "leaked-token" not in output


def test_the_default_limit_leaves_room_for_a_class(api):
    assert settings.API_REQUESTS_PER_MINUTE >= 600
