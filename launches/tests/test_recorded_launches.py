"""Launches as eight LMSs send them, and as a real Moodle sent them, end where they should."""

import json
from pathlib import Path

import pytest
from django.conf import settings
from django.core.cache import cache

from courses.addresses import assignment_url
from courses.models import LmsCourse, ResourceLink
from launches.models import Launch
from lti.v1p1.oauth1 import sign_form
from tests.factories import AssignmentFactory, LtiKeyFactory
from tests.launching import launch_id_of, post

pytestmark = pytest.mark.django_db

DATA = Path(settings.BASE_DIR) / "lti" / "tests" / "data"
_SAMPLES = json.loads((DATA / "lms-launch-samples.json").read_text())
SAMPLES = _SAMPLES if isinstance(_SAMPLES, list) else _SAMPLES["samples"]
UNSIGNED = 10
SELECTIONS = {5, 6, 9, 12}
TEACHERS = {0, 4, 8, 11, 15, 17}
MENTORS = {14}
NAMELESS = {2, 20}


@pytest.fixture(autouse=True)
def _fresh_counts():
    cache.clear()


@pytest.fixture
def key():
    return LtiKeyFactory(consumer_key="tenant-key-1")


@pytest.fixture
def assignment(key):
    return AssignmentFactory(course__organization=key.installation.organization)


@pytest.mark.parametrize("number", range(21))
def test_a_launch_of_every_lms(client, key, assignment, number):
    parameters = {name: value for name, value in SAMPLES[number]["params"].items() if not name.startswith("oauth_")}
    path = assignment_url(assignment).removeprefix(settings.BASE_URL)
    if "launch URL with query" in SAMPLES[number]["scenario"]:
        path += "?custom_next=%2Fhub%2Fpull%3Frepo%3Dhttps%3A%2F%2Fgit.example%2Fx%26path%3Da%20b.ipynb"
        # Canvas signs a query parameter once although it stands in URL and form (A10): it signs the bare URL's form.
        pairs = sign_form(settings.BASE_URL + path.partition("?")[0], parameters, key.consumer_key, key.secret)
    elif number == UNSIGNED:
        pairs = list(parameters.items())
    else:
        pairs = sign_form(settings.BASE_URL + path, parameters, key.consumer_key, key.secret)
    response = post(client, path, pairs)
    if number == UNSIGNED:
        assert (response.status_code, response["X-Launch-Error"]) == (401, "authentication_failed")
        return
    if number in SELECTIONS:
        row = Launch.objects.get(pk=launch_id_of(response))
        assert (row.assignment, row.resource_link, row.role) == (None, None, "teacher")
        assert row.selection["kind"] == ("canvas" if number == 5 else "content_item")
        return
    row = Launch.objects.get(pk=launch_id_of(response))
    assert row.assignment == assignment
    assert row.role == ("teacher" if number in TEACHERS else "mentor" if number in MENTORS else "student")
    assert row.person.accounts.get().lms_user_id == parameters["user_id"]
    assert row.resource_link.resource_link_id == parameters["resource_link_id"]
    assert row.resource_link.lms_course.context_id == parameters["context_id"]
    assert bool(row.person.name) != (number in NAMELESS)
    expected_name = parameters.get("lis_person_name_full", "").strip()
    if number not in NAMELESS:
        assert row.person.name == expected_name
    assert row.person.cells.count() == (1 if "lis_result_sourcedid" in parameters and row.role == "student" else 0)
    assert client.get(response["Location"].partition("#")[0]).status_code == 200


@pytest.mark.parametrize(
    ("who", "role", "name"),
    [
        ("student", "student", "Ada Lovelace"),
        ("teacher", "teacher", ""),
        ("nonediting_teacher", "teacher", ""),
        ("admin", "teacher", ""),
    ],
)
def test_moodles_recorded_launches(client, key, assignment, who, role, name):
    recorded = json.loads((DATA / "moodle" / f"launch_1p1_{who}.json").read_text())
    fields = [(field, value) for field, value in recorded["fields_in_order"] if not field.startswith("oauth_")]
    path = assignment_url(assignment).removeprefix(settings.BASE_URL)
    response = post(client, path, sign_form(settings.BASE_URL + path, fields, key.consumer_key, key.secret))
    row = Launch.objects.get(pk=launch_id_of(response))
    assert row.role == role
    assert row.person.name == (name or recorded["fields"]["lis_person_name_full"])
    assert row.person.accounts.get().lms_user_id == recorded["fields"]["user_id"]
    assert LmsCourse.objects.get().context_id == "2"
    assert ResourceLink.objects.get().resource_link_id == "1"
    assert row.installation.__class__.objects.get(pk=row.installation_id).lms == "moodle"
    assert row.custom["mixedcase"] == "Value With Case"
    assert "unknown" not in row.custom or not row.custom["unknown"].startswith("$")
