"""The launch log of the admin."""

from datetime import timedelta

import pytest
from django.utils import timezone

from launches.admin import base_string_pieces, ids_by_reference
from launches.models import Launch, RefusalTally
from organizations.identifiers import random_token
from organizations.tests.admin_client import owner_client, text_of
from tests.factories import CourseFactory, LtiKeyFactory, PersonFactory

pytestmark = pytest.mark.django_db

BASE = (
    "POST&http%3A%2F%2Ftool.example%2Flti%2Fv1&context_id%3D42%26item%3D7%26oauth_consumer_key%3Dk"
    "%26user_id%3D%5Bredacted%5D"
)


@pytest.fixture
def key(db):
    return LtiKeyFactory()


@pytest.fixture
def owner(key):
    return owner_client(key.installation.organization)


def made(key, **values):
    accepted = values.setdefault("result", Launch.ACCEPTED) == Launch.ACCEPTED
    return Launch.objects.create(
        **{
            "organization": key.installation.organization,
            "installation": key.installation,
            "lti_key": key,
            "credential": key.pk,
            "nonce": random_token() if accepted else None,
            **values,
        }
    )


def refused(key, **values):
    return made(key, result="authentication_failed", **values)


def listed(client, **query):
    return text_of(client.get("/admin/launches/launch/", query))


def test_a_reference_finds_its_launch(key, owner):
    launch, other = made(key), made(key)
    for written in (launch.reference, launch.reference.lower(), launch.reference.replace("-", "")):
        text = listed(owner, q=written)
        assert f"/admin/launches/launch/{launch.pk}/change/" in text
        assert f"/admin/launches/launch/{other.pk}/change/" not in text


@pytest.mark.parametrize("text", ["", "1111-1111", "AAAA", "AAAA-AAAA-AAAA", "ÄÄÄÄ-ÄÄÄÄ", "A" * 400])
def test_what_is_no_reference_finds_nothing(key, text):
    made(key)
    assert not ids_by_reference(Launch.objects.all(), text).exists()


def test_people_and_courses_are_found(key, owner):
    organization = key.installation.organization
    ada = made(key, person=PersonFactory(organization=organization, name="Ada Lovelace"))
    botany = made(key, course=CourseFactory(organization=organization, name="Botany", code="bot-1"))
    for term, expected in (("lovelace", ada), ("botany", botany), ("BOT-1", botany)):
        text = listed(owner, q=term)
        assert str(expected.pk) in text
        assert str(({ada, botany} - {expected}).pop().pk) not in text


def test_filters(key, owner):
    accepted, failed = made(key, role="teacher"), refused(key, role="student")
    old = made(key, at=timezone.now() - timedelta(days=3))
    assert str(failed.pk) not in listed(owner, result="accepted")
    assert str(accepted.pk) not in listed(owner, result="refused")
    assert str(failed.pk) in listed(owner, result="authentication_failed")
    assert str(accepted.pk) not in listed(owner, role="student")
    assert str(old.pk) not in listed(owner, since="day")
    assert str(old.pk) in listed(owner, since="week")
    assert str(accepted.pk) in listed(owner, installation__id__exact=str(key.installation.pk))
    assert str(accepted.pk) not in listed(owner, credential="nonsense")


def test_a_refused_launch_opens_to_its_reason(key, owner):
    launch = refused(
        key,
        refusal={
            "check": "the signature",
            "expected": "what we signed",
            "received": "what came",
            "cause": "The LMS signed another address.",
            "explanation": "It signed https://, and called http://.",
            "hint": "In Moodle: Manage tools, Tool URL.",
            "variant": "scheme",
            "base_string": BASE,
            "url": "http://tool.example/lti/v1",
        },
    )
    refused(key)
    refused(key, at=timezone.now() - timedelta(hours=3))
    RefusalTally.objects.create(
        organization=launch.organization,
        credential=key.pk,
        minute=launch.at.replace(second=0, microsecond=0),
        count=1234,
    )
    text = text_of(owner.get(f"/admin/launches/launch/{launch.pk}/change/"))
    for words in launch.refusal:
        if words not in ("variant", "base_string"):
            assert launch.refusal[words].replace("'", "&#x27;") in text
    assert "<mark>http://tool.example/lti/v1\n</mark>" in text
    assert "1,234 more refused ones were counted but not kept" in text
    assert launch.reference in text


def test_similar_failures_are_counted_and_linked(key, owner):
    for _ in range(3):
        refused(key)
    refused(LtiKeyFactory(installation=key.installation))
    launch = refused(key)
    text = text_of(owner.get(f"/admin/launches/launch/{launch.pk}/change/"))
    assert "3 more like this" in text
    assert f"credential={key.pk}" in text
    assert listed(owner, credential=str(key.pk), result="authentication_failed").count("/change/") >= 4


def test_what_an_lms_sent_is_escaped(key, owner):
    launch = refused(key, roles="<script>alert(1)</script>", refusal={"received": "<img src=x onerror=alert(1)>"})
    text = text_of(owner.get(f"/admin/launches/launch/{launch.pk}/change/"))
    assert "<script>alert" not in text
    assert "<img src=x" not in text


def test_the_return_address_and_the_nonce_are_not_shown(key, owner):
    launch = made(key, nonce="nonce-of-this-launch", return_url="https://lms.example/?sesskey=abcdef")
    text = text_of(owner.get(f"/admin/launches/launch/{launch.pk}/change/")) + listed(owner)
    assert "sesskey" not in text
    assert "nonce-of-this-launch" not in text


def test_nothing_in_the_log_can_be_changed(key, owner):
    launch = made(key, role="student")
    owner.post(f"/admin/launches/launch/{launch.pk}/change/", {"role": "teacher"})
    assert owner.post(f"/admin/launches/launch/{launch.pk}/delete/", {"post": "yes"}).status_code == 404
    assert owner.get("/admin/launches/launch/add/").status_code == 404
    launch.refresh_from_db()
    assert launch.role == "student"


def test_the_live_panel_shows_one_installation(key, owner):
    launch = made(key, person=PersonFactory(organization=key.installation.organization, name="Ada"))
    other = made(LtiKeyFactory(installation__organization=key.installation.organization))
    text = text_of(owner.get("/admin/launches/launch/live/", {"installation": str(key.installation.pk)}))
    assert launch.reference in text
    assert "Ada" in text
    assert other.reference not in text
    foreign = LtiKeyFactory().installation
    assert owner.get("/admin/launches/launch/live/", {"installation": str(foreign.pk)}).status_code == 404
    assert owner.get("/admin/launches/launch/live/", {"installation": "x"}).status_code == 400


def test_the_suspect_part_of_a_base_string_is_marked():
    def marked(variant):
        return [piece.text.strip() for piece in base_string_pieces(BASE, variant) if piece.marked]

    assert marked("host") == ["http://tool.example/lti/v1"]
    assert marked("query_left_out") == ["item=7"]
    assert marked("secret_differs") == []
    assert "".join(piece.text for piece in base_string_pieces(BASE, "")).splitlines()[0] == "POST"


def test_the_home_page_counts_launches_and_points_at_refusals(key, owner):
    made(key)
    made(key)
    refused(key)
    text = text_of(owner.get("/admin/"))
    assert "Launches per day: 2 accepted, 1 refused" in text
    assert "1 launch was refused" in text
    assert "Open a link in the LMS" in text
