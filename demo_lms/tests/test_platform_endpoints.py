"""Tokens, grades and rosters of the demo LMS, asked for by a tool that is built on PyJWT alone."""

import time
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import rsa

from demo_lms.tests.conftest import DemoLms
from demo_lms.tests.tool import AGS, CLIENTS, LTI, SCOPES, Tool1p3, launched
from lti.v1p3.services import links

ADA, GRACE, ALAN = "4", "5", "2"
ITEM = "application/vnd.ims.lis.v2.lineitem+json"
ITEMS = "application/vnd.ims.lis.v2.lineitemcontainer+json"
SCORE = "application/vnd.ims.lis.v1.score+json"
RESULTS = "application/vnd.ims.lis.v2.resultcontainer+json"
MEMBERS = "application/vnd.ims.lti-nrps.v2.membershipcontainer+json"


class Client:
    """A tool with a token."""

    def __init__(self, lms: DemoLms, tool: Tool1p3, preset: str, *scopes: str) -> None:
        self.lms, self.preset = lms, preset
        self.token = tool.token(lms, preset, *scopes)
        self.query = "?type_id=1" if preset == "moodle" else ""

    def call(self, method: str, url: str, **more: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}", **more.pop("headers", {})}
        return requests.request(method, url, headers=headers, timeout=10, **more)

    def items_url(self) -> str:
        return f"{self.lms.url}/services/2/lineitems{self.query}"

    def item_url(self, item: str = "1") -> str:
        return f"{self.lms.url}/services/2/lineitems/{item}/lineitem{self.query}"

    def below(self, what: str, item: str = "1") -> str:
        return f"{self.lms.url}/services/2/lineitems/{item}/lineitem/{what}{self.query}"

    def score(
        self, given: float | None, person: str = ADA, *, at: datetime | None = None, item: str = "1", **changes: Any
    ) -> requests.Response:
        body = {
            "userId": person,
            "activityProgress": "Completed",
            "gradingProgress": "FullyGraded",
            "scoreGiven": given,
            "scoreMaximum": 10,
            "timestamp": (at or moment()).isoformat(),
            **changes,
        }
        body = {name: value for name, value in body.items() if value is not None}
        return self.call("POST", self.below("scores", item), json=body, headers={"Content-Type": SCORE})


_STEPS = count(1)


def moment() -> datetime:
    """A time later than all before, by more than a second."""
    return datetime.now(UTC) + timedelta(seconds=60 + 2 * next(_STEPS))


def cell(lms: DemoLms, person: str = "ada", link: str = "essay") -> dict[str, Any] | None:
    return next((one for one in lms.grades() if (one["person"], one["link"]) == (person, link)), None)


# ------------------------------------------------------------------------------------------------------- tokens


@pytest.mark.parametrize("preset", CLIENTS)
def test_token(lms: DemoLms, tool_1p3: Tool1p3, preset: str) -> None:
    answer = tool_1p3.ask_token(lms, preset, f"{SCOPES['score']} {SCOPES['members']} https://example.org/unknown")
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.json()
    assert (body["token_type"], body["expires_in"]) == ("Bearer", 3600)
    assert set(body["scope"].split()) == {SCOPES["score"], SCOPES["members"]}
    message = lms.messages("service")[0]
    assert body["access_token"] not in message["answered"]
    assert "client_assertion = [redacted]" in message["sent"]


@pytest.mark.parametrize("preset", ["canvas", "blackboard", "brightspace"])
def test_audience_of_the_assertion(lms: DemoLms, tool_1p3: Tool1p3, preset: str) -> None:
    refused = tool_1p3.ask_token(lms, preset, SCOPES["score"], aud="https://elsewhere.example/token")
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
    if preset == "brightspace":
        assert tool_1p3.ask_token(lms, preset, SCOPES["score"], aud=f"{lms.url}/token").status_code == 401


def test_moodle_does_not_look_at_audience_and_jti(lms: DemoLms, tool_1p3: Tool1p3) -> None:
    claims = tool_1p3.assertion(lms, "moodle", aud="https://elsewhere.example/token")
    signed = tool_1p3.sign(claims)
    for _ in range(2):
        assert tool_1p3.ask_token(lms, "moodle", SCOPES["score"], signed=signed).status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": int(time.time()) - 5},
        {"iat": int(time.time()) + 3000},
        {"exp": int(time.time()) + 100_000},
        {"iss": "another"},
        {"sub": "another", "iss": "another"},
    ],
)
def test_wrong_assertions(lms: DemoLms, tool_1p3: Tool1p3, changes: dict[str, Any]) -> None:
    answer = tool_1p3.ask_token(lms, "canvas", SCOPES["score"], **changes)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


def test_assertion_is_used_once(lms: DemoLms, tool_1p3: Tool1p3) -> None:
    signed = tool_1p3.sign(tool_1p3.assertion(lms, "canvas"))
    assert tool_1p3.ask_token(lms, "canvas", SCOPES["score"], signed=signed).status_code == 200
    assert tool_1p3.ask_token(lms, "canvas", SCOPES["score"], signed=signed).status_code == 401


def test_token_needs_a_scope_of_the_tool(lms: DemoLms, tool_1p3: Tool1p3) -> None:
    answer = tool_1p3.ask_token(lms, "canvas", "https://example.org/unknown")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")


def test_keys_of_the_tool(lms: DemoLms, tool_1p3: Tool1p3) -> None:
    claims = tool_1p3.assertion(lms, "moodle")
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    forged = tool_1p3.sign(claims, key=stranger)
    assert tool_1p3.ask_token(lms, "moodle", SCOPES["score"], signed=forged).status_code == 401
    unsigned = forged.rsplit(".", 1)[0] + "."
    assert tool_1p3.ask_token(lms, "moodle", SCOPES["score"], signed=unsigned).status_code == 401
    # A key that is new is looked for (moodle.md 6).
    tool_1p3.keys["k2"] = stranger
    try:
        rotated = tool_1p3.sign(claims, "k2")
        assert tool_1p3.ask_token(lms, "moodle", SCOPES["score"], signed=rotated).status_code == 200
        reads = tool_1p3.reads
        assert tool_1p3.ask_token(lms, "moodle", SCOPES["score"], signed=rotated).status_code == 200
        assert tool_1p3.reads == reads
    finally:
        del tool_1p3.keys["k2"]


def test_services_need_a_token_with_the_scope(lms: DemoLms, tool_1p3: Tool1p3) -> None:
    client = Client(lms, tool_1p3, "canvas", SCOPES["item_readonly"])
    assert client.call("GET", client.items_url(), headers={"Accept": ITEMS}).status_code == 200
    assert client.score(5).status_code == 403
    assert client.call("POST", client.items_url(), json={"label": "x", "scoreMaximum": 1}).status_code == 403
    assert client.call("DELETE", client.item_url()).status_code == 403
    assert client.call("GET", client.below("results")).status_code == 403
    assert client.call("GET", f"{lms.url}/services/2/memberships").status_code == 403
    client.token = client.token[:-3] + "abc"
    assert client.call("GET", client.items_url(), headers={"Accept": ITEMS}).status_code == 401
    assert requests.get(client.items_url(), timeout=10).status_code == 401


# ------------------------------------------------------------------------------------------------------- scores


def test_a_score_arrives(lms: DemoLms, tool_1p3: Tool1p3) -> None:
    client = Client(lms, tool_1p3, "moodle")
    answer = client.score(8.5, comment="Well <b>done</b>")
    assert (answer.status_code, answer.content) == (200, b"")
    found = cell(lms)
    assert found is not None
    assert (found["score"], found["points"], found["comment"]) == (0.85, 8.5, "Well <b>done</b>")
    page = lms.be(ALAN).get(f"{lms.url}/gradebook/", timeout=10).text
    assert "8.5 (85 %)" in page
    assert "Well &lt;b&gt;done&lt;/b&gt;" in page
    message = lms.messages("outcome")[0]
    assert message["title"].startswith("score: Ada Lovelace")
    assert message["result"] == "success: 0.85"
    assert client.token not in message["sent"]


def test_moodle_refuses_a_second_score_within_the_second(lms: DemoLms, tool_1p3: Tool1p3) -> None:
    client = Client(lms, tool_1p3, "moodle")
    at = moment().replace(microsecond=100_000)
    assert client.score(5, at=at).status_code == 200
    again = client.score(6, at=at.replace(microsecond=900_000))
    assert (again.status_code, again.content) == (409, b"[]")
    assert client.score(6, at=at - timedelta(hours=1)).status_code == 409
    found = cell(lms)
    assert found is not None
    assert found["score"] == 0.5
    assert client.score(6, at=at + timedelta(seconds=1)).status_code == 200


def test_what_wipes_a_grade(lms: DemoLms, tool_1p3: Tool1p3) -> None:
    for preset, survives in (("moodle", False), ("canvas", True)):
        client = Client(lms, tool_1p3, preset)
        for changes in ({"gradingProgress": "Pending"}, {"scoreGiven": None}):
            assert client.score(7).status_code == 200
            assert client.score(5, **changes).status_code == 200
            found = cell(lms)
            assert found is not None
            assert found["score"] == (0.7 if survives else None), (preset, changes)


def test_more_than_the_maximum(lms: DemoLms, tool_1p3: Tool1p3) -> None:
    for preset, score in (("moodle", 1.0), ("canvas", 1.2)):
        assert Client(lms, tool_1p3, preset).score(12).status_code == 200
        found = cell(lms)
        assert found is not None
        assert found["score"] == score


def test_canvas_speaks_of_timestamps_in_words(lms: DemoLms, tool_1p3: Tool1p3) -> None:
    client = Client(lms, tool_1p3, "canvas")
    at = moment().replace(microsecond=100_000)
    assert "resultUrl" in client.score(5, at=at).json()
    # Fractions of a second count there.
    assert client.score(6, at=at.replace(microsecond=200_000)).status_code == 200
    stale = client.score(7, at=at)
    assert stale.status_code == 400
    assert "before last updated timestamp" in stale.json()["errors"]["message"]


@pytest.mark.parametrize(
    "changes",
    [
        {"userId": ALAN},
        {"userId": "99999"},
        {"timestamp": "yesterday"},
        {"timestamp": "2026-11-21T03:00:00"},
        {"gradingProgress": "Graded"},
        {"activityProgress": None},
        {"scoreMaximum": None},
        {"scoreMaximum": 0},
        {"scoreGiven": -1},
    ],
)
def test_wrong_scores(lms: DemoLms, tool_1p3: Tool1p3, changes: dict[str, Any]) -> None:
    before = lms.grades()
    assert Client(lms, tool_1p3, "moodle").score(5, **changes).status_code == 400
    assert lms.grades() == before


def test_moodle_is_particular_about_addresses_and_types(lms: DemoLms, tool_1p3: Tool1p3) -> None:
    client = Client(lms, tool_1p3, "moodle")
    body = {"userId": ADA}
    assert client.call("POST", f"{client.item_url()}/scores", json=body).status_code == 400
    assert client.call("POST", client.below("scores"), json=body).status_code == 400
    for accept in ("*/*", "application/json", f"{ITEMS}, application/json"):
        assert client.call("GET", client.items_url(), headers={"Accept": accept}).status_code == 400
    assert client.call("GET", client.items_url(), headers={"Accept": ITEMS}).status_code == 200
    with_charset = {"Content-Type": f"{ITEM}; charset=utf-8"}
    made = client.call("POST", client.items_url(), json={"label": "c", "scoreMaximum": 3}, headers=with_charset)
    assert made.status_code == 201
    assert client.call("DELETE", made.json()["id"]).status_code == 204


@pytest.mark.parametrize(
    ("mode", "status"), [("failing", 500), ("busy", 429), ("refuses", 403), ("unauthorized", 401), ("malformed", 200)]
)
def test_faults_of_scores(lms: DemoLms, tool_1p3: Tool1p3, mode: str, status: int) -> None:
    client = Client(lms, tool_1p3, "moodle")
    before = lms.grades()
    lms.behave(mode, times=1, seconds=9)
    answer = client.score(3)
    assert answer.status_code == status
    assert mode != "busy" or answer.headers["Retry-After"] == "9"
    assert lms.grades() == before
    lms.behave("down", times=1)
    with pytest.raises(requests.ConnectionError):
        client.score(3)
    assert client.score(3).status_code == 200


# ----------------------------------------------------------------------------------------- line items and results


def test_line_items(lms: DemoLms, tool_1p3: Tool1p3) -> None:
    client = Client(lms, tool_1p3, "moodle")
    lms.launch_as("moodle")
    session = lms.be(ADA)

    def listed(**filters: str) -> list[dict[str, Any]]:
        answer = client.call("GET", client.items_url(), params=filters, headers={"Accept": ITEMS})
        assert answer.headers["Content-Type"].startswith(ITEMS)
        return answer.json()  # type: ignore[no-any-return]

    own = listed()
    assert [one["resourceLinkId"] for one in own] == ["1", "2"]
    wanted = {"label": "Extra é", "scoreMaximum": 20, "resourceId": "res-x", "tag": "extra", "resourceLinkId": "1"}
    made = client.call("POST", client.items_url(), json=wanted, headers={"Content-Type": ITEM})
    assert made.status_code == 201
    item = made.json()
    assert {**wanted, "id": item["id"]} == item
    assert [one["id"] for one in listed(resource_id="res-x", tag="extra")] == [item["id"]]
    assert len(listed(resource_link_id="1")) == 2
    # The claim names no column while the link has two (moodle.md 41).
    assert "lineitem" not in launched(lms, tool_1p3, session)[f"{AGS}claim/endpoint"]

    number = item["id"].split("/")[-2]
    assert client.score(5, item=number).status_code == 200
    assert client.call("GET", item["id"], headers={"Accept": ITEM}).json()["label"] == "Extra é"
    changed = {**item, "label": "Renamed", "gradesReleased": False}
    del changed["resourceLinkId"]
    put = client.call("PUT", item["id"], json=changed, headers={"Content-Type": ITEM})
    assert put.status_code == 200
    assert put.json()["gradesReleased"] is False
    assert len(listed(resource_link_id="1")) == 1
    assert "lineitem" in launched(lms, tool_1p3, session)[f"{AGS}claim/endpoint"]
    page = lms.be(ALAN).get(f"{lms.url}/gradebook/", timeout=10).text
    assert "Renamed" in page
    assert "10 (50 %)" in page

    first = client.call("GET", client.items_url(), params={"limit": "2"}, headers={"Accept": ITEMS})
    assert len(first.json()) == 2
    following = links(first.headers["Link"])["next"]
    assert [one["label"] for one in client.call("GET", following, headers={"Accept": ITEMS}).json()] == ["Renamed"]

    assert client.call("DELETE", item["id"]).status_code == 204
    assert client.call("GET", item["id"], headers={"Accept": ITEM}).status_code == 404
    assert client.score(5, item=number).status_code == 404
    for wrong in ({"label": "x"}, {"label": "x", "scoreMaximum": 0}, {"scoreMaximum": 3}):
        answer = client.call("POST", client.items_url(), json=wrong, headers={"Content-Type": ITEM})
        assert answer.status_code == 400


def test_results(lms: DemoLms, tool_1p3: Tool1p3) -> None:
    moodle, blackboard = Client(lms, tool_1p3, "moodle"), Client(lms, tool_1p3, "blackboard")
    assert moodle.score(4, GRACE, item="2", comment="Half").status_code == 200
    accept = {"Accept": RESULTS}
    result = moodle.call("GET", moodle.below("results", "2"), params={"user_id": GRACE}, headers=accept).json()[0]
    assert (result["userId"], result["resultScore"], result["resultMaximum"]) == (GRACE, 40, 100)
    assert result["comment"] == "Half"
    assert result["scoreOf"] == moodle.item_url("2")
    answer = moodle.call("GET", moodle.below("results", "2"), params={"limit": "1"}, headers=accept)
    assert answer.status_code == 404
    assert answer.headers["Content-Type"].startswith("text/html")
    url = blackboard.below("results", "2")
    assert "comment" not in blackboard.call("GET", url, params={"user_id": GRACE}).json()[0]
    assert any("comment" in one for one in blackboard.call("GET", url).json())


# ------------------------------------------------------------------------------------------------------ rosters


def test_moodles_roster(lms: DemoLms, tool_1p3: Tool1p3) -> None:
    client = Client(lms, tool_1p3, "moodle")
    url = f"{lms.url}/services/2/memberships"
    answer = client.call("GET", url, headers={"Accept": MEMBERS})
    assert answer.headers["Content-Type"].startswith(MEMBERS)
    assert "Link" not in answer.headers
    members = {one["user_id"]: one for one in answer.json()["members"]}
    assert set(members) == {ADA, GRACE, ALAN}
    assert (members[ADA]["roles"], members[ALAN]["roles"]) == (["Learner"], ["Instructor"])
    assert members[ADA]["name"] == "Ada Lovelace"
    linked = client.call("GET", url, params={"rlid": "1"}, headers={"Accept": MEMBERS}).json()["members"][0]
    assert linked["message"][0][f"{LTI}message_type"] == "LtiResourceLinkRequest"
    assert client.call("GET", url, headers={"Accept": "*/*"}).status_code == 400


def test_rosters_in_pages(lms: DemoLms, tool_1p3: Tool1p3) -> None:
    client = Client(lms, tool_1p3, "canvas")
    url, found = f"{lms.url}/services/2/memberships", []
    for _ in range(2):
        answer = client.call("GET", url, headers={"Accept": MEMBERS})
        found += answer.json()["members"]
        url = answer.links.get("next", {}).get("url", "")
    assert url == ""
    assert [one["user_id"] for one in found] == [ADA, GRACE, ALAN]
    assert found[0]["roles"] == ["http://purl.imsglobal.org/vocab/lis/v2/membership#Learner"]
    learners = client.call("GET", f"{lms.url}/services/2/memberships", params={"role": "Learner"}).json()["members"]
    assert [one["user_id"] for one in learners] == [ADA, GRACE]


def test_manners_of_rosters(lms: DemoLms, tool_1p3: Tool1p3) -> None:
    client = Client(lms, tool_1p3, "moodle")

    def members() -> list[dict[str, Any]]:
        url = f"{lms.url}/services/2/memberships"
        return client.call("GET", url, headers={"Accept": MEMBERS}).json()["members"]  # type: ignore[no-any-return]

    lms.behave("without_grace", switch="rosters")
    assert [one["user_id"] for one in members()] == [ADA, ALAN]
    lms.behave("private", switch="rosters")
    assert all(set(one) == {"user_id", "roles", "status"} for one in members())
