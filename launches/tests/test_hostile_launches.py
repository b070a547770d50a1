"""Launches whose signed fields hold what nobody expects there."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from courses.models import Assignment
from launches.models import Launch, RefusalTally
from organizations.models import LmsAccount, Person
from tests.factories import AssignmentFactory, LtiKeyFactory
from tests.launching import STUDENT, TEACHER, launch, launch_id_of
from tests.visiting import Visitor, mentor, path_of, student, text_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def key():
    return LtiKeyFactory()


@pytest.fixture
def assignment(key):
    return AssignmentFactory(course__organization=key.installation.organization)


def test_a_mentors_list_with_a_nul_shows_nobody_more(key, assignment):
    listed, unlisted = student(key, assignment), student(key, assignment, user_id="student-2")
    visitor = mentor(key, assignment, "%00", "student-1")
    assert visitor.launch.mentor_for == ["%00", "student-1"]
    assert visitor.get("launch-person", assignment.id, listed.person.id).status_code == 200
    assert visitor.get("launch-person", assignment.id, unlisted.person.id).status_code == 404
    nobodys = mentor(key, assignment, "%00")
    assert nobodys.get("launch-person", assignment.id, listed.person.id).status_code == 404


def test_the_way_back_to_an_address_beyond_ascii(key, assignment):
    visitor = student(key, assignment, launch_presentation_return_url="https://lms.example/kurs/日本?x=ü&y=%20")
    location = visitor.get("launch-return")["Location"]
    assert location == "https://lms.example/kurs/%E6%97%A5%E6%9C%AC?x=%C3%BC&y=%20"


def test_a_relaunch_is_bound_to_both_states(client, key, assignment):
    offer = {"relaunch_url": "https://lms.example/wieder/ü", "platform_state": "one"}
    location = launch(client, path_of(assignment), key, **offer)["Location"]
    assert location.startswith("https://lms.example/wieder/%C3%BC?tool_state=")
    state = parse_qs(urlsplit(location).query)["tool_state"][0]
    swapped = launch(client, path_of(assignment), key, **(offer | {"platform_state": "other"}), tool_state=state)
    assert swapped["X-Launch-Error"] == "state_mismatch"
    assert launch_id_of(launch(client, path_of(assignment), key, **offer, tool_state=state))


def test_an_address_that_only_looks_alike_leads_to_nobody_else(client, key, assignment):
    key.installation.verified_emails = True
    key.installation.save()
    victim = student(key, assignment, lis_person_contact_email_primary="mark@example.edu").person
    student(key, assignment, user_id="evil", lis_person_contact_email_primary="mar\N{KELVIN SIGN}@example.edu")
    assert LmsAccount.objects.get(lms_user_id="evil").person_id != victim.pk
    student(key, assignment, user_id="same", lis_person_contact_email_primary="MARK@example.edu")
    assert LmsAccount.objects.get(lms_user_id="same").person_id == victim.pk
    umlaut = student(key, assignment, user_id="u1", lis_person_contact_email_primary="jörg@example.edu").person
    student(key, assignment, user_id="u2", lis_person_contact_email_primary="jörg@example.edu")
    assert LmsAccount.objects.get(lms_user_id="u2").person_id == umlaut.pk
    assert Person.objects.count() == 3


# Parallel launches wait for each other for ever unless all of them write in one order.
WRITTEN_IN_ORDER = ["courses_lmscourse", "courses_resourcelink", "grades_gradebookcell", "organizations_installation"]


def written(queries: CaptureQueriesContext) -> list[str]:
    """The tables of `WRITTEN_IN_ORDER` as rows of them were written or locked."""
    found = []
    for query in queries.captured_queries:
        written_to = re.match(r'(?:INSERT INTO|UPDATE) "(\w+)"', query["sql"])
        match = written_to or re.search(r'FROM "(\w+)".* FOR (?:NO KEY )?UPDATE', query["sql"])
        if match and match[1] in WRITTEN_IN_ORDER:
            found.append(match[1])
    return found


def in_order(tables: list[str]) -> bool:
    """Whether no table's first write comes after that of one which is later in the order."""
    firsts = [WRITTEN_IN_ORDER.index(table) for table in dict.fromkeys(tables)]
    return firsts == sorted(firsts)


def test_launches_write_in_one_order(client, key, assignment):
    first = {**STUDENT, "tool_consumer_info_version": "1"}
    with CaptureQueriesContext(
        connection,
    ) as queries:
        launch(client, path_of(assignment), key, first)
    assert written(queries)[0] == "courses_lmscourse"
    assert set(written(queries)) == set(WRITTEN_IN_ORDER)
    assert in_order(written(queries)), written(queries)
    renamed = {
        "resource_link_title": "Renamed",
        "context_title": "Renamed, too",
        "lis_outcome_service_url": "https://other.example/outcomes",
        "tool_consumer_info_version": "2",
        "user_id": "student-2",
    }
    with CaptureQueriesContext(connection) as queries:
        launch(client, path_of(assignment), key, first, **renamed)
    assert set(written(queries)) == set(WRITTEN_IN_ORDER)
    assert in_order(written(queries)), written(queries)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer and locks no rows")
def test_choosing_locks_as_launches_do(key, assignment):
    visitor = Visitor(key, "/lti/v1", **TEACHER)
    with CaptureQueriesContext(connection) as queries:
        assert visitor.post("launch-choose", assignment=str(assignment.pk)).status_code == 302
    assert written(queries)[:2] == ["courses_lmscourse", "courses_resourcelink"]


def test_content_at_a_host_that_cannot_be_is_no_failure(key):
    there = AssignmentFactory(
        course__organization=key.installation.organization,
        kind=Assignment.Kind.LINK,
        content_url=f"https://{'ü' * 62}.example/",
    )
    response = student(key, there).get("launch")
    assert response.status_code == 200
    assert "no address for its content" in text_of(response)


def test_an_unknown_key_costs_the_work_of_a_known_one(client, key, assignment):
    wrong, unknown = LtiKeyFactory.build(installation=None), LtiKeyFactory.build(installation=None)
    wrong.consumer_key = key.consumer_key
    statements = []
    for other in (wrong, unknown):
        launch(client, path_of(assignment), other)  # what is done only once has been done
        with CaptureQueriesContext(connection) as queries:
            assert launch(client, path_of(assignment), other)["X-Launch-Error"] == "authentication_failed"
        statements.append([re.sub(r"[ (].*", "", query["sql"]) for query in queries.captured_queries])
    insert = statements[0].index("INSERT")
    assert statements[0][: insert + 1] == statements[1][: insert + 1]
    assert set(Launch.objects.values_list("lti_key", flat=True)) == {key.pk}


def test_a_flood_of_refusals_is_counted(key, assignment, settings):
    settings.REFUSED_LAUNCHES_PER_MINUTE = 1
    wrong = LtiKeyFactory.build(installation=None)
    wrong.consumer_key = key.consumer_key
    client = Client(REMOTE_ADDR="203.0.113.77")  # nobody else's count
    statuses = {launch(client, path_of(assignment), wrong).status_code for _ in range(30)}
    assert statuses == {401, 429}
    # More than one where a new minute began meanwhile.
    assert set(RefusalTally.objects.values_list("credential", flat=True)) == {key.pk}


@pytest.mark.parametrize("path", ["v1/%00/config.xml", "1p3/%00/config.json", "1p3/%00/jwks.json", "1p3/%00/register"])
def test_an_address_with_a_nul_leads_nowhere(path):
    assert Client(raise_request_exception=False).get(f"/lti/{path}").status_code == 404


@pytest.mark.parametrize("path", ["constant/%00", "assignments/%00", "courses/%00/enroll"])
def test_a_signed_launch_of_an_address_with_a_nul_leads_nowhere(key, path):
    assert launch(Client(raise_request_exception=False), f"/lti/{path}", key).status_code == 404
