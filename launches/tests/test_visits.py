"""Pages of a launch: the browser, the token, the ticket, the frame, and what is switched off meanwhile."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from courses.addresses import assignment_url
from launches.models import Launch
from tests.factories import AssignmentFactory, LtiKeyFactory
from tests.launching import TEACHER, launch, launch_id_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def key():
    return LtiKeyFactory()


@pytest.fixture
def assignment(key):
    return AssignmentFactory(course__organization=key.installation.organization)


@pytest.fixture
def path(assignment):
    return assignment_url(assignment).removeprefix(settings.BASE_URL)


def page(response):
    return response["Location"].partition("#")[0]


def ticket(response):
    return response["Location"].partition("#")[2]


def test_a_launch_page_opens_in_the_launching_browser_only(client, key, path):
    response = launch(client, path, key)
    assert client.get(page(response)).status_code == 200
    other = Client()
    launch(other, path, key, user_id="student-2")
    assert other.get(page(response)).status_code == 404


def test_two_people_in_one_browser_stay_two(client, key, path):
    student = launch(client, path, key)
    teacher = launch(client, path, key, TEACHER)
    assert "Ada Lovelace" in client.get(page(student)).content.decode()
    assert "Alan Turing" in client.get(page(teacher)).content.decode()
    assert "Alan Turing" not in client.get(page(student)).content.decode()


def test_without_a_cookie_every_id_gets_the_same_answer(client, key, path):
    response = launch(client, path, key)
    stranger = Client()
    known = stranger.get(page(response))
    unknown = stranger.get("/launches/01890000-0000-7000-8000-000000000000/")
    assert known.status_code == unknown.status_code == 404
    strip = str(launch_id_of(response))
    assert known.content.decode().replace(strip, "X") == unknown.content.decode().replace(
        "01890000-0000-7000-8000-000000000000", "X"
    )
    assert "new window" in known.content.decode()


def test_the_ticket_opens_the_launch_in_a_new_window_once(client, key, path):
    response = launch(client, path, key)
    new_window, thief = Client(), Client()
    entered = new_window.post(f"{page(response)}enter", {"ticket": ticket(response)})
    assert entered.status_code == 302
    assert new_window.get(entered["Location"]).status_code == 200
    assert "Ada Lovelace" in new_window.get(entered["Location"]).content.decode()
    assert thief.post(f"{page(response)}enter", {"ticket": ticket(response)}).status_code == 404


def test_a_ticket_is_for_one_launch_and_five_minutes(client, key, path, time_machine):
    time_machine.move_to(timezone.now(), tick=False)
    first, second = launch(client, path, key), launch(Client(), path, key, user_id="student-2")
    assert Client().post(f"{page(first)}enter", {"ticket": ticket(second)}).status_code == 404
    assert Client().post(f"{page(first)}enter", {"ticket": "forged"}).status_code == 404
    time_machine.shift(timedelta(minutes=6))
    assert Client().post(f"{page(first)}enter", {"ticket": ticket(first)}).status_code == 404


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://testserver.evil.example", "http://[", ""])
def test_no_other_page_may_bind_a_browser_to_a_launch(client, key, path, origin):
    response = launch(client, path, key)
    sent = {"ticket": ticket(response)}
    victim = Client()
    assert victim.post(f"{page(response)}enter", sent, headers={"Origin": origin}).status_code == 403
    assert not victim.cookies
    own = settings.BASE_URL
    assert victim.post(f"{page(response)}enter", sent, headers={"Origin": own}).status_code == 302


def test_a_browser_that_returned_its_cookie_needs_no_ticket(client, key, path):
    assert ticket(launch(client, path, key))
    assert not ticket(launch(client, path, key))


@pytest.mark.parametrize("what", ["key", "installation", "organization"])
def test_what_is_switched_off_closes_open_pages(client, key, path, what):
    response = launch(client, path, key)
    row = {"key": key, "installation": key.installation, "organization": key.installation.organization}[what]
    type(row).objects.filter(pk=row.pk).update(enabled=False)
    refused = client.get(page(response))
    assert (refused.status_code, refused["X-Launch-Error"]) == (403, "installation_disabled")


def test_a_course_that_is_switched_off_closes_open_pages(client, key, assignment, path):
    response = launch(client, path, key)
    type(assignment.course).objects.update(lti_enabled=False)
    assert client.get(page(response))["X-Launch-Error"] == "lti_disabled"


def test_a_visit_ends_after_a_day(client, key, path):
    response = launch(client, path, key)
    Launch.objects.update(at=timezone.now() - timedelta(hours=13))
    assert client.get(page(response)).status_code == 410


def test_the_way_back_is_the_verified_return_url(client, key, path):
    response = launch(client, path, key)
    back = client.get(f"{page(response)}return")
    assert (back.status_code, back["Location"]) == (302, "https://lms.example/course?id=1&sesskey=abc")
    without = launch(client, path, key, launch_presentation_return_url="")
    assert client.get(f"{page(without)}return").status_code == 404
    evil = launch(client, path, key, launch_presentation_return_url="javascript:alert(1)")
    assert client.get(f"{page(evil)}return").status_code == 404


def test_only_the_lms_may_frame(client, key, path):
    response = launch(client, path, key, headers={"Origin": "https://vanity.example"})
    policy = client.get(page(response))["Content-Security-Policy"]
    ancestors = next(part for part in policy.split(";") if "frame-ancestors" in part).split()
    assert ancestors == ["frame-ancestors", "'self'", "https://vanity.example", "https://lms.example"]
    assert "X-Frame-Options" not in client.get(page(response))
    key.installation.organization.frame_ancestors = "https://portal.example"
    key.installation.organization.save()
    assert "https://portal.example" in client.get(page(response))["Content-Security-Policy"]


def test_a_return_url_cannot_add_directives(client, key, path):
    response = launch(client, path, key, headers={"Origin": "https://a.example;script-src *"})
    assert "script-src" not in client.get(page(response))["Content-Security-Policy"]


def test_pages_are_not_cached(client, key, path):
    response = launch(client, path, key)
    assert "no-store" in client.get(page(response))["Cache-Control"]


def test_public_keys(client, key):
    import jwt

    organization = key.installation.organization
    keys = client.get(f"/lti/1p3/{organization.slug}/jwks.json").json()["keys"]
    assert len(keys) == 1
    assert set(keys[0]) == {"kty", "n", "e", "kid", "alg", "use"}
    from organizations.tool_keys import sign_jwt

    token = sign_jwt(organization, {"sub": "x"})
    assert jwt.decode(token, jwt.PyJWK(keys[0]), algorithms=["RS256"]) == {"sub": "x"}
    assert client.get("/lti/1p3/nobody/jwks.json").status_code == 404
