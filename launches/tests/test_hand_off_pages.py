"""The hand-off to a content application (contract §5)."""

import re
import time
from datetime import timedelta
from decimal import Decimal

import jwt
import pytest
from django.conf import settings
from django.utils import timezone

from courses.models import Submission
from events.log import SYSTEM
from events.models import Event
from grades.scores import record_score
from launches.handoff import origin_of
from organizations.tool_keys import key_set
from tests.visiting import mentor, student, teacher, text_of

pytestmark = pytest.mark.django_db


def token_in(response):
    return re.search(r'name="token" value="([^"]+)"', response.content.decode())[1]


def claims_of(response, organization, audience="https://content.example"):
    token = token_in(response)
    header = jwt.get_unverified_header(token)
    [key] = [key for key in key_set(organization)["keys"] if key["kid"] == header["kid"]]
    assert header["alg"] == "RS256"
    return jwt.decode(
        token, jwt.PyJWK(key).key, algorithms=["RS256"], audience=audience, issuer=settings.BASE_URL,
        options={"require": ["jti", "iat", "exp", "sub"]},
    )  # fmt: skip


def test_the_claims(key, link_assignment):
    visitor = student(key, link_assignment, custom_section="B")
    response = visitor.get("launch")
    organization = key.installation.organization
    claims = claims_of(response, organization)
    course = link_assignment.course
    now = time.time()
    assert abs(claims.pop("iat") - now) < 5
    assert abs(claims.pop("exp") - now - 300) < 5
    assert len(claims.pop("jti")) >= 16
    assert claims == {
        "iss": settings.BASE_URL,
        "aud": "https://content.example",
        "sub": str(visitor.person.id),
        "name": "Ada Lovelace",
        "email": "ada@example.edu",
        "role": "student",
        "organization": organization.slug,
        "course": {"id": str(course.id), "title": course.name},
        "assignment": {"id": str(link_assignment.id), "title": "Lab"},
        "launch_id": str(visitor.launch_id),
        "return_url": f"{settings.BASE_URL}/launches/{visitor.launch_id}/return",
        "scores_url": f"{settings.BASE_URL}/api/v1/assignments/{link_assignment.id}/scores/{visitor.person.id}",
        "custom": {"section": "B"},
    }


def test_the_form_goes_to_the_content_and_nowhere_else(key, link_assignment):
    response = student(key, link_assignment).get("launch")
    html = response.content.decode()
    assert 'action="https://content.example/lab?x=1"' in html
    assert "Open Lab" in text_of(response)
    assert "js/hand_off.js" in html
    [policy] = re.findall(r"form-action ([^;]+)", response["Content-Security-Policy"])
    assert policy.split() == ["'self'", "https://content.example"]
    assert "no-store" in response["Cache-Control"]


def test_every_token_is_another(key, link_assignment):
    visitor = student(key, link_assignment)
    organization = key.installation.organization
    ids = {claims_of(visitor.get("launch"), organization)["jti"] for _ in range(3)}
    assert len(ids) == 3


def test_opening_is_an_event_for_students_only(key, link_assignment):
    teacher(key, link_assignment).get("launch-content", link_assignment.id)
    assert not Submission.objects.exists()
    student(key, link_assignment).get("launch")
    assert Event.objects.filter(type="assignment.opened").count() == 1


@pytest.mark.parametrize(("who", "role"), [(teacher, "teacher"), (mentor, "mentor")])
def test_staff_see_the_table_and_may_open_the_content(key, link_assignment, who, role):
    visitor = who(key, link_assignment)
    table = visitor.get("launch")
    assert "Open the content" in text_of(table)
    assert 'name="token"' not in table.content.decode()
    response = visitor.get("launch-content", link_assignment.id)
    assert claims_of(response, key.installation.organization)["role"] == role


@pytest.mark.parametrize(
    "fields",
    [
        {"enabled": False},
        {"opens_at": timezone.now() + timedelta(hours=1)},
        {"closes_at": timezone.now() - timedelta(hours=1)},
        {"content_url": ""},
    ],
)
def test_no_token_while_there_is_nothing_to_open(key, link_assignment, fields):
    for name, value in fields.items():
        setattr(link_assignment, name, value)
    link_assignment.save()
    visitor = student(key, link_assignment)
    for response in (visitor.get("launch"), visitor.get("launch-content", link_assignment.id)):
        assert response.status_code == 200
        assert 'name="token"' not in response.content.decode()


def test_the_result_stands_below(key, link_assignment):
    visitor = student(key, link_assignment)
    assert "No result yet" in text_of(visitor.get("launch"))
    record_score(link_assignment, visitor.person, points=Decimal(8), comment="Fast", actor=SYSTEM)
    assert "8 of 10 points" in text_of(visitor.get("launch"))


def test_the_token_stands_in_no_address(key, link_assignment):
    visitor = student(key, link_assignment)
    response = visitor.get("launch")
    token = token_in(response)
    addresses = re.findall(r'(?:href|src|action|hx-get)="([^"]*)"', response.content.decode())
    assert addresses
    assert not [address for address in addresses if token in address]


def test_work_is_not_handed_in_here(key, link_assignment):
    visitor = student(key, link_assignment)
    assert visitor.post("launch-submission", link_assignment.id, text="x", url="").status_code == 404


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Content.Example/a?b#c", "https://content.example"),
        ("https://a.example:443/", "https://a.example"),
        ("https://a.example:8443/", "https://a.example:8443"),
        ("http://127.0.0.1:8121/x", "http://127.0.0.1:8121"),
        ("http://[::1]:80/x", "http://[::1]"),
        ("https://bücher.example/", "https://xn--bcher-kva.example"),
    ],
)
def test_origins(url, origin):
    assert origin_of(url) == origin
