"""LTI 1.3 launches of the demo LMS, seen from a tool that is built on PyJWT alone."""

import json
from typing import Any

import jwt
import pytest
import requests

from demo_lms.tests.conftest import DemoLms
from demo_lms.tests.tool import AGS, CLIENTS, LTI, NRPS, Tool1p3, ask, authorization, launched, login_of, verified

ADA, GRACE, ALAN = "4", "5", "2"
LEARNER = "http://purl.imsglobal.org/vocab/lis/v2/membership#Learner"


@pytest.mark.parametrize("preset", CLIENTS)
def test_login_initiation(lms: DemoLms, tool_1p3: Tool1p3, preset: str) -> None:
    lms.launch_as(preset)
    login = login_of(lms, lms.be(ADA))
    assert login.url == f"{tool_1p3.url}/login"
    assert login.method == ("GET" if preset == "blackboard" else "POST")
    issuers = {"canvas": "https://canvas.instructure.com", "blackboard": "https://blackboard.com"}
    fields = login.fields
    assert fields["iss"] == issuers.get(preset, lms.url)
    assert (fields["login_hint"], fields["client_id"]) == (ADA, CLIENTS[preset][0])
    assert fields["target_link_uri"] == f"{lms.tool_url}/lti/assignments/1?item=quiz%201"
    assert fields["deployment_id" if preset == "canvas" else "lti_deployment_id"] == CLIENTS[preset][1]
    storage = {"canvas": "post_message_forwarding", "blackboard": "_parent", "brightspace": "_parent"}
    assert fields.get("lti_storage_target") == storage.get(preset)
    if preset == "moodle":
        hint = json.loads(fields["lti_message_hint"])
        assert hint["cmid"] == 1
        assert hint["launchid"].startswith("ltilaunch")
    else:
        assert len(fields["lti_message_hint"].split(".")) == 3


def test_storage_is_offered_in_frames_only_and_can_be_switched_off(lms: DemoLms) -> None:
    lms.launch_as("canvas")
    session = lms.be(ADA)
    assert "lti_storage_target" not in login_of(lms, session, "/links/essay/launch?container=window").fields
    page = session.get(f"{lms.url}/links/essay/", timeout=10).text
    assert '<iframe name="post_message_forwarding"' in page
    lms.behave("off", switch="storage")
    assert "lti_storage_target" not in login_of(lms, session).fields
    lms.launch_as("moodle")
    assert "storage.js" not in session.get(f"{lms.url}/links/essay/", timeout=10).text


@pytest.mark.parametrize("preset", CLIENTS)
def test_a_launch_of_each_lms(lms: DemoLms, tool_1p3: Tool1p3, preset: str) -> None:
    lms.launch_as(preset)
    session = lms.be(ADA)
    login = login_of(lms, session)
    request = authorization(tool_1p3, login)
    url, fields = ask(lms, session, request)
    assert url == f"{tool_1p3.url}/launch"
    assert fields["state"] == "the-state"
    header, claims = verified(lms, fields["id_token"], CLIENTS[preset][0])
    assert header["alg"] == "RS256"
    assert claims["iss"] == login.fields["iss"]
    assert claims["nonce"] == request["nonce"]
    assert (claims["sub"], claims["name"]) == (ADA, "Ada Lovelace")
    assert claims["exp"] - claims["iat"] == (60 if preset == "moodle" else 3600)
    assert claims[f"{LTI}message_type"] == "LtiResourceLinkRequest"
    assert claims[f"{LTI}version"] == "1.3.0"
    assert claims[f"{LTI}deployment_id"] == CLIENTS[preset][1]
    assert claims[f"{LTI}resource_link"]["id"] == "1"
    assert LEARNER in claims[f"{LTI}roles"]
    assert claims[f"{LTI}context"]["id"] == "2"
    assert claims[f"{LTI}custom"]["week"] == "1"
    endpoint = claims[f"{AGS}claim/endpoint"]
    assert len(endpoint["scope"]) == 4
    assert endpoint["lineitem"].endswith("/lineitems/1/lineitem" + ("?type_id=1" if preset == "moodle" else ""))
    assert claims[f"{NRPS}claim/namesroleservice"]["context_memberships_url"].startswith(lms.url)


def test_peculiarities(lms: DemoLms, tool_1p3: Tool1p3) -> None:
    session = lms.be(ADA)
    lms.launch_as("canvas")
    claims = launched(lms, tool_1p3, session)
    assert claims[f"{LTI}custom"]["canvas_course_id"] == 2
    assert claims["azp"] == claims["aud"]
    lms.launch_as("brightspace")
    claims = launched(lms, tool_1p3, session)
    assert claims["aud"] == [claims["azp"]]
    lms.launch_as("moodle")
    claims = launched(lms, tool_1p3, session)
    assert claims[f"{LTI}context"]["type"] == ["CourseSection"]
    assert "azp" not in claims
    assert claims[f"{LTI}ext"]["user_username"] == "ada"


def test_ids_are_those_of_lti_1p1(lms: DemoLms, tool_1p3: Tool1p3) -> None:
    lms.launch_as("")
    session = lms.be(GRACE)
    page = session.get(f"{lms.url}/links/essay/launch", timeout=10).text
    lms.launch_as("moodle")
    claims = launched(lms, tool_1p3, session)
    for name, value in {
        "user_id": claims["sub"],
        "context_id": claims[f"{LTI}context"]["id"],
        "resource_link_id": claims[f"{LTI}resource_link"]["id"],
    }.items():
        assert f'name="{name}" value="{value}"' in page
    lms.launch_as("")
    assert "oauth_signature" in session.get(f"{lms.url}/links/essay/launch", timeout=10).text


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"scope": "openid profile"}, "invalid_scope"),
        ({"response_type": "code"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"response_mode": None}, "invalid_request"),
        ({"prompt": "login"}, "invalid_request"),
        ({"nonce": None}, "invalid_request"),
        ({"nonce": ""}, "invalid_request"),
        ({"login_hint": GRACE}, "invalid_request"),
    ],
)
def test_wrong_requests_are_answered_with_an_error(
    lms: DemoLms, tool_1p3: Tool1p3, changes: dict[str, Any], error: str
) -> None:
    lms.launch_as("moodle")
    session = lms.be(ADA)
    url, fields = ask(lms, session, authorization(tool_1p3, login_of(lms, session), **changes))
    assert url == f"{tool_1p3.url}/launch"
    assert (fields["error"], fields["state"]) == (error, "the-state")
    assert "id_token" not in fields


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "another"},
        {"client_id": CLIENTS["canvas"][0]},
        {"redirect_uri": "http://localhost:1/launch"},
        {"lti_message_hint": '{"cmid":1,"launchid":"ltilaunch_guessed"}'},
        {"lti_message_hint": jwt.encode({"launch": "x"}, "a wrong key, of sufficient length indeed", "HS256")},
        {"lti_message_hint": None},
    ],
)
def test_whoever_is_not_the_tool_is_not_answered(lms: DemoLms, tool_1p3: Tool1p3, changes: dict[str, Any]) -> None:
    lms.launch_as("moodle")
    session = lms.be(ADA)
    parameters = authorization(tool_1p3, login_of(lms, session), **changes)
    answer = session.get(f"{lms.url}/auth", params=parameters, timeout=10)
    assert answer.status_code == 404
    assert "<form" not in answer.text


def test_redirect_uri_is_compared_exactly(lms: DemoLms, tool_1p3: Tool1p3) -> None:
    lms.launch_as("canvas")
    session = lms.be(ADA)
    for uri in (f"{tool_1p3.url}/launch?x=1", f"{tool_1p3.url}/launch/", f"{tool_1p3.url}/Launch"):
        parameters = authorization(tool_1p3, login_of(lms, session), redirect_uri=uri)
        assert session.get(f"{lms.url}/auth", params=parameters, timeout=10).status_code == 404


def test_moodles_hint_is_used_once(lms: DemoLms, tool_1p3: Tool1p3) -> None:
    session = lms.be(ADA)
    for preset, status in (("moodle", 404), ("canvas", 200)):
        lms.launch_as(preset)
        parameters = authorization(tool_1p3, login_of(lms, session))
        ask(lms, session, parameters)
        assert session.get(f"{lms.url}/auth", params=parameters, timeout=10).status_code == status


def test_login_is_for_the_person_who_is_there(lms: DemoLms, tool_1p3: Tool1p3) -> None:
    lms.launch_as("canvas")
    login = login_of(lms, lms.be(ADA))
    _, fields = ask(lms, lms.be(GRACE), authorization(tool_1p3, login))
    assert fields["error"] == "login_required"
    # In a frame of the tool's the cookie may stay away; the launch's secret id stands for the session.
    _, fields = ask(lms, requests.Session(), authorization(tool_1p3, login))
    assert verified(lms, fields["id_token"], CLIENTS["canvas"][0])[1]["sub"] == ADA


def test_authorization_by_post(lms: DemoLms, tool_1p3: Tool1p3) -> None:
    lms.launch_as("brightspace")
    session = lms.be(ADA)
    parameters = authorization(tool_1p3, login_of(lms, session))
    answer = requests.post(f"{lms.url}/auth", data=parameters, timeout=10)
    assert answer.status_code == 200
    assert 'name="id_token"' in answer.text


def test_keys_rotate(lms: DemoLms, tool_1p3: Tool1p3) -> None:
    lms.launch_as("moodle")
    session = lms.be(ADA)

    def kids() -> set[str]:
        keys = requests.get(f"{lms.url}/jwks.json", timeout=10).json()["keys"]
        assert all(set(key) == {"kty", "alg", "use", "kid", "n", "e"} for key in keys)
        return {key["kid"] for key in keys}

    def kid() -> str:
        _, fields = ask(lms, session, authorization(tool_1p3, login_of(lms, session)))
        return str(verified(lms, fields["id_token"], CLIENTS["moodle"][0])[0]["kid"])

    first = kid()
    assert kids() == {first}
    lms.behave("rotated", switch="keys")
    second = kid()
    assert second != first
    assert kids() == {first, second}
    lms.behave("normal", switch="keys")
    assert kid() == first


def test_faults_of_lti_1p3_launches(lms: DemoLms, tool_1p3: Tool1p3) -> None:
    lms.launch_as("moodle")
    session = lms.be(ADA)

    def answered(mode: str) -> tuple[dict[str, str], dict[str, str]]:
        parameters = authorization(tool_1p3, login_of(lms, session))
        lms.behave(mode, switch="launches", times=1)
        return parameters, ask(lms, session, parameters)[1]

    with pytest.raises(KeyError):
        verified(lms, answered("wrong_secret")[1]["id_token"], CLIENTS["moodle"][0])
    with pytest.raises(jwt.ExpiredSignatureError):
        verified(lms, answered("clock_behind")[1]["id_token"], CLIENTS["moodle"][0])
    parameters, fields = answered("replayed")
    assert verified(lms, fields["id_token"], CLIENTS["moodle"][0])[1]["nonce"] != parameters["nonce"]
    private = verified(lms, answered("private")[1]["id_token"], CLIENTS["moodle"][0])[1]
    assert not {"name", "given_name", "family_name", "email"} & set(private)
    assert answered("denied")[1]["error"] == "access_denied"
    assert launched(lms, tool_1p3, session)["name"] == "Ada Lovelace"


def test_submission_review(lms: DemoLms, tool_1p3: Tool1p3) -> None:
    lms.launch_as("moodle")
    session = lms.be(ALAN)
    claims = launched(lms, tool_1p3, session, f"/links/essay/review/{ADA}/launch")
    assert claims[f"{LTI}message_type"] == "LtiSubmissionReviewRequest"
    assert claims[f"{LTI}for_user"] == {"user_id": ADA}
    assert claims[f"{LTI}resource_link"]["id"] == "1"
    assert claims["sub"] == ALAN
    assert f"/links/essay/review/{ADA}/" in session.get(f"{lms.url}/gradebook/", timeout=10).text
    student = lms.be(ADA)
    path = f"{lms.url}/links/essay/review/{GRACE}/launch"
    assert student.get(path, timeout=10, allow_redirects=False).headers["Location"] == "/people/"
    lms.launch_as("")
    assert session.get(path, timeout=10).status_code == 404


def test_messages_hold_no_token(lms: DemoLms, tool_1p3: Tool1p3) -> None:
    lms.launch_as("moodle")
    session = lms.be(ADA)
    login = login_of(lms, session)
    parameters = authorization(tool_1p3, login)
    _, fields = ask(lms, session, parameters)
    sent = "".join(message["sent"] for message in lms.messages("launch")[:2])
    assert "LtiResourceLinkRequest" in sent
    assert '"name": "Ada Lovelace"' in sent
    launch_id = json.loads(login.fields["lti_message_hint"])["launchid"]
    for secret in (launch_id, parameters["nonce"], fields["id_token"].rsplit(".", 1)[1], "sesskey=ey"):
        assert secret not in sent


def test_a_link_of_another_course_says_so_over_lti_1p3(lms: DemoLms, tool_1p3: Tool1p3) -> None:
    lms.launch_as("moodle", "copied")
    claims = launched(lms, tool_1p3, lms.be(ADA), "/links/copied/launch")
    assert claims[f"{LTI}context"]["id"] == "8"
    assert claims[f"{LTI}custom"] == {"history": "7,6", "course": "8"}
    # Gradebook and roster are those of the one course that is shown as a whole.
    assert not [name for name in claims if name.startswith((AGS, NRPS))]
