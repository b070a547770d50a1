"""An organization's rules for live sessions, set by its owner."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from organizations.models import Organization
from organizations.tests.admin_client import operator_client, owner_client, text_of
from tests.factories import OrganizationFactory, RecordingFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def organization():
    return OrganizationFactory()


@pytest.fixture
def owner(organization):
    return owner_client(organization)


def address(organization):
    return f"/admin/organizations/organization/{organization.pk}/live-sessions/"


def save(client, organization, **values):
    seen = re.search(r'name="seen" value="(\w+)"', text_of(client.get(address(organization))))[1]
    return client.post(address(organization), {"seen": seen, **values})


def stored(organization):
    return Organization.objects.get(pk=organization.pk).meeting_policy


def test_an_owner_sets_everything_by_name(organization, owner):
    response = save(
        owner,
        organization,
        limit_max_duration="180",
        limit_max_participants="100",
        limit_recording_days="365",
        allow_polls="on",
        allow_recording="always-off",
        room_duration="60",
        welcome_message="Hello\r\nall",
        primary_color="#004D90",
        fixed_primary_color="on",
    )
    assert response.status_code == 302, text_of(response)
    assert stored(organization) == {
        "defaults": {"allow_polls": True, "room_duration": 60, "welcome_message": "Hello\nall"},
        "forced": {"allow_recording": False, "primary_color": "#004D90"},
        "max_duration": 180,
        "max_participants": 100,
        "recording_days": 365,
    }


def test_what_is_stored_is_shown_and_saved_as_it_is(organization, owner):
    policy = {
        "defaults": {"mute_on_start": True, "room_duration": 0, "opens_at": "2030-01-01T00:00:00Z"},
        "forced": {"allow_rtmp": False, "max_participants": 20, "custom_logo": "https://x.example/l.png"},
        "max_duration": 90,
    }
    Organization.objects.filter(pk=organization.pk).update(meeting_policy=policy)
    page = text_of(owner.get(address(organization)))
    assert '<option value="always-off" selected>' in page
    assert 'value="https://x.example/l.png"' in page
    same = {
        "mute_on_start": "on",
        "room_duration": "0",
        "allow_rtmp": "always-off",
        "max_participants": "20",
        "fixed_max_participants": "on",
        "custom_logo": "https://x.example/l.png",
        "fixed_custom_logo": "on",
        "limit_max_duration": "90",
    }
    assert save(owner, organization, **same).status_code == 302
    assert stored(organization) == policy
    assert save(owner, organization).status_code == 302
    assert stored(organization) == {"defaults": {"opens_at": "2030-01-01T00:00:00Z"}}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"limit_max_duration": "0"}, "greater than or equal to 1"),
        ({"limit_recording_days": "soon"}, "whole number"),
        ({"room_duration": "100001"}, "must be 0 (no limit) to 100000"),
        ({"primary_color": "blue"}, "must be a colour"),
        ({"custom_logo": "http://x.example"}, "https address of a picture"),
        ({"fixed_primary_color": "on"}, "Say what is fixed"),
        ({"allow_polls": "perhaps"}, "not one of the available choices"),
    ],
)
def test_what_cannot_be_is_said_and_not_saved(organization, owner, values, words):
    response = save(owner, organization, **values)
    assert response.status_code == 422
    assert words in text_of(response)
    assert stored(organization) == {}


def test_stored_values_that_cannot_be_are_told_and_go(organization, owner):
    Organization.objects.filter(pk=organization.pk).update(meeting_policy={"forced": {"allow_poll": True}})
    assert "allow_poll = “true” is no setting of a room" in text_of(owner.get(address(organization)))
    assert save(owner, organization).status_code == 302
    assert stored(organization) == {}


def test_nobody_overwrites_unseen(organization, owner):
    Organization.objects.filter(pk=organization.pk).update(meeting_policy={"max_duration": 30})
    response = owner.post(address(organization), {"seen": "0" * 16, "limit_max_duration": "60"})
    assert response.status_code == 409
    assert "somebody else changed these rules" in text_of(response)
    assert stored(organization) == {"max_duration": 30}


def test_deleting_recordings_is_asked_about(organization, owner):
    old = timezone.now() - timedelta(days=40)
    RecordingFactory(room__course__organization=organization, recorded_at=old)
    RecordingFactory(recorded_at=old)
    asked = save(owner, organization, limit_recording_days="30")
    assert asked.status_code == 422
    assert "1 recording is older than 30 days" in text_of(asked)
    assert stored(organization) == {}
    assert save(owner, organization, limit_recording_days="30", confirmed="30").status_code == 302
    assert stored(organization) == {"recording_days": 30}
    assert save(owner, organization, limit_recording_days="60").status_code == 302


def test_others_have_no_such_page(organization):
    assert owner_client(OrganizationFactory()).get(address(organization)).status_code == 404
    assert operator_client().get(address(organization)).status_code == 200


def test_the_way_there(organization, owner):
    assert address(organization) in text_of(owner.get("/admin/"))
    several = owner_client(organization, OrganizationFactory())
    change = f"/admin/organizations/organization/{organization.pk}/change/"
    assert address(organization) in text_of(several.get(change))
