from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lti.roles import CourseRole
from lti.tests.platform_1p3 import Recorder, answer
from lti.tests.recorded import load
from lti.v1p1.outcomes import OutcomeVerdict
from lti.v1p3 import vocabulary as names
from lti.v1p3.nrps import (
    KnownMember,
    MemberStatus,
    Roster,
    changes,
    fetch_differences,
    fetch_roster,
    memberships_call,
    parse_memberships,
)
from lti.v1p3.services import PlatformServices, ServiceFailed
from lti.v1p3.tokens import AccessToken

VERDICT = OutcomeVerdict
MOODLE = load("moodle/nrps_response.json")
URL = "http://127.0.0.1:8081/mod/lti/services.php/CourseSection/2/bindings/3/memberships"


class RosterScope:
    def get(self):
        return AccessToken("tok", frozenset({names.SCOPE_MEMBERSHIP}), 0)

    def forget(self, token):
        raise AssertionError(token)


def platform(*answers, by=None):
    sender = Recorder(*answers, by=by)
    return PlatformServices(sender, RosterScope(), lambda _: True), sender


def recorded(name):
    response = MOODLE[name]["response"]
    headers = {key.replace("-", "_"): value for key, value in response["headers"].items()}
    return answer(response["status"], response["body"], **headers)


def failure(call, *args, **kwargs):
    with pytest.raises(ServiceFailed) as caught:
        call(*args, **kwargs)
    return caught.value.judgement


def page(*members, link=""):
    headers = {"Link": link} if link else {}
    return answer(200, {"id": URL, "context": {"id": "2"}, "members": list(members)}, **headers)


def member(user_id="5", **changes):
    return {"user_id": user_id, "roles": ["Learner"], **changes}


# ------------------------------------------------------------------------------------------------------ one page


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({}, "members"),
        ({"resource_link_id": "4"}, "with rlid"),
        ({"limit": 2}, "limit=2"),
        ({"role": "Learner"}, "role=Learner (short)"),
        ({"role": "http://purl.imsglobal.org/vocab/lis/v2/membership#Instructor"}, "role full URI"),
    ],
)
def test_requests_are_those_that_moodle_answered(arguments, name):
    call, request = memberships_call(URL, **arguments), MOODLE[name]["request"]
    assert (call.method, call.url, call.accept) == ("GET", request["url"], request["headers"]["Accept"])
    assert call.scopes == (names.SCOPE_MEMBERSHIP,)


def test_a_query_that_the_url_has_stays():
    assert memberships_call(f"{URL}?p=1", resource_link_id="a b").url == f"{URL}?p=1&rlid=a%20b"


def test_moodles_roster_is_read():
    found = parse_memberships(recorded("members"))
    people = {one.user_id: one for one in found.members}
    assert (found.context_id, found.skipped, set(people)) == ("2", 0, {"3", "4", "5", "6", "7"})
    assert (people["7"].name, people["6"].name) == ("太郎 山田", "Zoë Núñez-O'Hara")
    assert (people["5"].email, people["5"].username) == ("student1@example.invalid", "student1")
    assert people["5"].person_sourcedid == "SIS-STUDENT1"
    assert people["3"].roles.course_role is CourseRole.TEACHER
    # Moodle calls a non-editing teacher a learner here (moodle.md 42).
    assert people["4"].roles.course_role is CourseRole.STUDENT
    assert {one.user_id for one in parse_memberships(recorded("with rlid")).members} == set(people)


def test_the_least_that_a_member_has():
    (found,) = parse_memberships(page({"user_id": 5})).members
    assert (found.user_id, found.status, found.name, found.roles.items) == ("5", MemberStatus.ACTIVE, "", ())


@pytest.mark.parametrize(
    ("sent", "read"),
    [("Active", "Active"), ("inactive", "Inactive"), ("Deleted", "Deleted"), ("odd", "Active"), (None, "Active")],
)
def test_states_of_members(sent, read):
    assert parse_memberships(page(member(status=sent))).members[0].status == MemberStatus(read)


@pytest.mark.parametrize(
    "bad", [None, 5, [], {}, {"user_id": ""}, {"user_id": "u" * 256}, {"user_id": "a\nb"}, {"user_id": None}]
)
def test_members_without_a_usable_id_are_counted(bad):
    found = parse_memberships(page(bad, member()))
    assert ([one.user_id for one in found.members], found.skipped) == (["5"], 1)


@pytest.mark.parametrize(
    "response",
    [
        answer(200, "<html>"),
        answer(200, []),
        answer(200, {"members": {}}),
        answer(200, b""),
        answer(200, {}, truncated=True),
    ],
)
def test_what_is_no_roster_is_worth_another_try(response):
    assert failure(parse_memberships, response).verdict is VERDICT.RETRY


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=4), children, max_size=3),
    max_leaves=6,
)
fields = st.sampled_from(
    ["user_id", "roles", "status", "name", "email", "picture", "given_name", "lis_person_sourcedid"]
)


@given(st.lists(st.dictionaries(fields, json_values, max_size=5) | json_values, max_size=4))
def test_members_of_any_shape_are_read_or_counted(listed):
    try:
        found = parse_memberships(page(*listed))
    except ServiceFailed as error:
        nul = error.judgement
        assert nul.reason_code == "unreadable_answer"
        return
    assert len(found.members) + found.skipped == len(listed)


# ------------------------------------------------------------------------------------------------------ all pages


def test_pages_are_joined():
    pages = {
        f"{URL}?limit=2": recorded("limit=2"),
        f"{URL}?limit=2&from=2": recorded("limit=2 page 2"),
        f"{URL}?limit=2&from=4": page(member("7")),
    }
    services, sender = platform(by=lambda method, url, *_: pages[url])
    roster = fetch_roster(services, URL, limit=2)
    assert (roster.is_whole, roster.context_id) == (True, "2")
    assert {one.user_id for one in roster.members} == {"3", "4", "5", "6", "7"}
    assert len(sender.sent) == 3


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (answer(500), "server_error"),
        (answer(200, "<html>"), "unreadable_answer"),
        (page(member("6"), link=f"<{URL}>; rel=next"), "endless_pages"),
        (page(member("6"), link="<https://evil.example/>; rel=next"), "foreign_page"),
    ],
)
def test_a_page_that_fails_fails_the_whole_roster(second, reason):
    services, _ = platform(page(member(), link="<?p=2>; rel=next"), second)
    assert failure(fetch_roster, services, URL).reason_code == reason


def test_a_roster_has_its_limit():
    services, _ = platform(page(*[member(str(number)) for number in range(11)]))
    assert failure(fetch_roster, services, URL, member_limit=10).reason_code == "roster_too_large"


def test_somebody_on_two_pages_is_one_member():
    services, _ = platform(page(member(), link="<?p=2>; rel=next"), page(member(name="Ada")))
    assert [one.name for one in fetch_roster(services, URL).members] == ["Ada"]


def test_differences_are_asked_for_where_the_roster_said():
    services, _ = platform(page(member(), link=f'<{URL}?since=9>; rel="differences"'), page(member(status="Deleted")))
    roster = fetch_roster(services, URL)
    assert roster.differences_url == f"{URL}?since=9"
    delta = fetch_differences(services, roster.differences_url)
    assert not delta.is_whole
    assert changes({"5": KnownMember("5", "Learner", True)}, delta).gone == ("5",)
    services, _ = platform(answer(404))
    assert failure(fetch_differences, services, f"{URL}?since=9").reason_code == "not_found"


# ------------------------------------------------------------------------------------------------------ differences


def roster_of(*listed, is_whole=True, skipped=0):
    return Roster("2", parse_memberships(page(*listed)).members, is_whole, skipped=skipped)


KNOWN = {
    "5": KnownMember("5", "Learner", True, "Ada", "a@x.example"),
    "6": KnownMember("6", "Learner", True),
    "7": KnownMember("7", "Learner", False),
}


def ids(members):
    return [one.user_id for one in members]


def test_how_a_roster_differs_from_the_one_known():
    found = changes(KNOWN, roster_of(member(name="Ada", email="a@x.example"), member("7"), member("8")))
    assert (ids(found.added), found.changed, ids(found.returned), found.gone) == (["8"], (), ["7"], ("6",))


@pytest.mark.parametrize(
    ("now", "changed"),
    [
        ({"roles": ["Instructor"]}, True),
        ({"name": "Ada L"}, True),
        ({"email": "b@x.example"}, True),
        # Absent names are privacy, and take nothing away (G2).
        ({}, False),
        ({"name": ""}, False),
    ],
)
def test_what_counts_as_a_change(now, changed):
    found = changes({"5": KNOWN["5"]}, roster_of(member(**now)))
    assert ids(found.changed) == (["5"] if changed else [])


def test_the_inactive_and_the_deleted_are_gone_once():
    listed = [
        member(status="Inactive"),
        member("6", status="Deleted"),
        member("7", status="Inactive"),
        member("9", status="Deleted"),
    ]
    found = changes(KNOWN, roster_of(*listed))
    assert (found.gone, found.added, found.returned) == (("5", "6"), (), ())


def test_nobody_is_removed_by_half_a_roster_or_none():
    for roster in (
        roster_of(member("8"), is_whole=False),
        roster_of(),
        roster_of(member("8"), skipped=1),
    ):
        assert changes(KNOWN, roster).gone == ()


def test_the_same_address_makes_no_two_people_one():
    found = changes(KNOWN, roster_of(member("8", email="a@x.example"), member(), member("6")))
    assert (ids(found.added), found.gone) == (["8"], ())


@given(
    st.dictionaries(st.sampled_from("abcdefg"), st.booleans()),
    st.dictionaries(st.sampled_from("abcdefg"), st.sampled_from(["Active", "Inactive", "Deleted"])),
)
def test_applying_the_changes_gives_the_roster(known, fetched):
    before = {user_id: KnownMember(user_id, "Learner", active) for user_id, active in known.items()}
    found = changes(before, roster_of(*[member(user_id, status=status) for user_id, status in fetched.items()]))
    active = {user_id for user_id, was_active in known.items() if was_active}
    active = (active | {*ids(found.added), *ids(found.returned)}) - set(found.gone)
    if fetched:
        assert active == {user_id for user_id, status in fetched.items() if status == "Active"}
