"""Choosing content and registering tools at the demo LMS, by a tool that is built on PyJWT alone."""

import hashlib
import re
import time
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from demo_lms.tests.conftest import CONSUMER_KEY, SHARED_SECRET, DemoLms
from demo_lms.tests.tool import AGS, CLIENTS, DL, LTI, SCOPES, Tool1p3, ask, authorization, launched, login_of

ADA, ALAN = "4", "2"
ITEMS = [
    {
        "type": "ltiResourceLink",
        "url": "http://localhost:9/lti/assignments/7",
        "title": "Seventh <i>assignment</i>",
        "text": "About it",
        "custom": {"uuid": "u-7"},
        "lineItem": {"scoreMaximum": 25, "label": "Seven", "resourceId": "a-7", "tag": "grade"},
        "iframe": {"width": 800, "height": 600},
        "window": {"targetName": "w"},
    },
    {
        "type": "ltiResourceLink",
        "url": "http://localhost:9/lti/assignments/8",
        "title": "Eighth",
        "window": {"targetName": "w"},
    },
]


def chosen(
    lms: DemoLms, tool: Tool1p3, preset: str, items: Any, *, kid: str = "k1", **changes: Any
) -> tuple[str, dict[str, str]]:
    """Where the tool's answer goes, and its form: the picker opened, these items chosen."""
    session = lms.be(ALAN)
    claims = launched(lms, tool, session, f"/picker/launch?tool={CLIENTS[preset][0]}")
    settings = claims[f"{DL}deep_linking_settings"]
    assert claims[f"{LTI}message_type"] == "LtiDeepLinkingRequest"
    assert f"{LTI}resource_link" not in claims
    answer = {
        "iss": CLIENTS[preset][0],
        "aud": claims["iss"],
        "iat": int(time.time()),
        "exp": int(time.time()) + 300,
        "nonce": f"dl-{time.time_ns()}",
        f"{LTI}message_type": "LtiDeepLinkingResponse",
        f"{LTI}version": "1.3.0",
        f"{LTI}deployment_id": claims[f"{LTI}deployment_id"],
        f"{DL}content_items": items,
        **({f"{DL}data": settings["data"]} if "data" in settings else {}),
        **changes,
    }
    answer = {name: value for name, value in answer.items() if value is not None}
    return settings["deep_link_return_url"], {"JWT": tool.sign(answer, kid)}


def links_of(lms: DemoLms) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = requests.get(f"{lms.url}/api/gradebook.json", timeout=10).json()["links"]
    return found


@pytest.mark.parametrize("preset", CLIENTS)
def test_two_links_are_added(lms: DemoLms, tool_1p3: Tool1p3, preset: str) -> None:
    before = len(links_of(lms))
    url, form = chosen(lms, tool_1p3, preset, ITEMS, **{f"{DL}msg": "Two <b>links</b>"})
    page = requests.post(url, data=form, timeout=10)
    assert page.status_code == 200
    assert "Two &lt;b&gt;links&lt;/b&gt;" in page.text
    first, second = links_of(lms)[before:]
    assert (first["title"], first["maximum"], first["client_id"]) == (ITEMS[0]["title"], 25, CLIENTS[preset][0])
    assert (second["maximum"], second["lti_version"]) == (None, "1.3")
    course = lms.be(ADA).get(f"{lms.url}/course/", timeout=10).text
    assert "Seventh &lt;i&gt;assignment&lt;/i&gt;" in course
    assert f"/links/{second['slug']}/launch?container=window" in course
    claims = launched(lms, tool_1p3, lms.be(ADA), f"/links/{first['slug']}/launch")
    assert claims[f"{LTI}target_link_uri"] == ITEMS[0]["url"]
    assert claims[f"{LTI}custom"]["uuid"] == "u-7"
    item = claims[f"{AGS}claim/endpoint"]["lineitem"]
    token = tool_1p3.token(lms, preset, SCOPES["item_readonly"])
    accept = "application/vnd.ims.lis.v2.lineitem+json"
    column = requests.get(item, headers={"Authorization": f"Bearer {token}", "Accept": accept}, timeout=10).json()
    assert (column["resourceId"], column["tag"], column["scoreMaximum"]) == ("a-7", "grade", 25)

    # Once only, and removable.
    again = requests.post(url, data=form, timeout=10)
    assert again.status_code == 400
    assert "used already" in again.text
    alan = lms.be(ALAN)
    token = alan.cookies["demo_lms_csrf"]
    for link in (first, second):
        alan.post(
            f"{lms.url}/tools/links/{link['slug']}",
            data={"do": "remove", "csrfmiddlewaretoken": token},
            timeout=10,
        )
    assert len(links_of(lms)) == before


def test_what_moodle_asks_for(lms: DemoLms, tool_1p3: Tool1p3) -> None:
    session = lms.be(ALAN)
    moodle, canvas = (
        launched(lms, tool_1p3, session, f"/picker/launch?tool={CLIENTS[preset][0]}")[f"{DL}deep_linking_settings"]
        for preset in ("moodle", "canvas")
    )
    assert moodle["accept_types"] == ["ltiResourceLink"]
    assert moodle["accept_multiple"] is True
    assert "data" not in moodle
    assert canvas["accept_lineitem"] is True
    assert canvas["data"]


def test_nothing_chosen(lms: DemoLms, tool_1p3: Tool1p3) -> None:
    before = links_of(lms)
    url, form = chosen(lms, tool_1p3, "moodle", [])
    page = requests.post(url, data=form, timeout=10)
    assert page.status_code == 200
    assert "data-go" in page.text
    url, form = chosen(lms, tool_1p3, "moodle", [], **{f"{DL}errormsg": "It did not work"})
    assert "It did not work" in requests.post(url, data=form, timeout=10).text
    assert links_of(lms) == before


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "https://elsewhere.example"},
        {"iss": "another"},
        {"exp": int(time.time()) - 400},
        {"nonce": None},
        {f"{LTI}deployment_id": "another"},
        {f"{LTI}message_type": "LtiResourceLinkRequest"},
        {f"{LTI}version": "1.2"},
        {f"{DL}data": "another"},
        {f"{DL}data": None},
        {f"{DL}content_items": [{"type": "html", "html": "<p>"}]},
        {f"{DL}content_items": [{"type": "ltiResourceLink", "url": "javascript:alert(1)", "title": "x"}]},
        {f"{DL}content_items": [{**ITEMS[0], "lineItem": {"scoreMaximum": 0}}]},
    ],
)
def test_answers_that_are_not_believed(lms: DemoLms, tool_1p3: Tool1p3, changes: dict[str, Any]) -> None:
    before = links_of(lms)
    url, form = chosen(lms, tool_1p3, "canvas", ITEMS, **changes)
    assert requests.post(url, data=form, timeout=10).status_code == 400
    assert links_of(lms) == before
    assert lms.messages("selection")[0]["result"].startswith("refused")


def test_the_way_back_is_the_teachers(lms: DemoLms, tool_1p3: Tool1p3) -> None:
    url, form = chosen(lms, tool_1p3, "canvas", ITEMS)
    assert requests.post(url.replace("sesskey=", "sesskey=x"), data=form, timeout=10).status_code == 403
    student = lms.be(ADA)
    for path in ("/tools/", f"/picker/?tool={CLIENTS['canvas'][0]}", f"/picker/launch?tool={CLIENTS['canvas'][0]}"):
        answer = student.get(lms.url + path, timeout=10, allow_redirects=False)
        assert (answer.status_code, answer.headers["Location"]) == (302, "/people/")
    assert "Add from the platform" not in student.get(f"{lms.url}/course/", timeout=10).text
    teacher = lms.be(ALAN)
    assert "Add from the platform" in teacher.get(f"{lms.url}/course/", timeout=10).text
    page = teacher.get(f"{lms.url}/picker/?tool={CLIENTS['canvas'][0]}", timeout=10).text
    assert f"/picker/launch?tool={CLIENTS['canvas'][0]}" in page


# ------------------------------------------------------------------------------------------- dynamic registration


def invited(lms: DemoLms, registration_url: str, **more: str) -> tuple[requests.Session, str, dict[str, str]]:
    """The administrator pastes a registration URL: what the frame opens, apart and with its query."""
    session = lms.be(ALAN)
    data = {"registration_url": registration_url, "csrfmiddlewaretoken": session.cookies["demo_lms_csrf"], **more}
    page = session.post(f"{lms.url}/tools/", data=data, timeout=10)
    assert page.status_code == 200, page.text
    match = re.search(r'<iframe[^>]* src="([^"]*)"', page.text)
    assert match is not None
    url = unescape(match.group(1))
    return session, url, {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def document_of(tool: Tool1p3, **changes: Any) -> dict[str, Any]:
    domain = urlsplit(tool.url).netloc
    return {
        "application_type": "web",
        "response_types": ["id_token"],
        "grant_types": ["implicit", "client_credentials"],
        "initiate_login_uri": f"{tool.url}/login",
        "redirect_uris": [f"{tool.url}/launch"],
        "client_name": "Registered by itself",
        "jwks_uri": f"{tool.url}/jwks.json",
        "token_endpoint_auth_method": "private_key_jwt",
        "scope": " ".join([SCOPES["score"], SCOPES["item"], "https://example.org/unknown"]),
        "https://purl.imsglobal.org/spec/lti-tool-configuration": {
            "domain": domain,
            "target_link_uri": f"{tool.url}/launch",
            "claims": ["iss", "sub"],
            "messages": [{"type": "LtiDeepLinkingRequest"}],
        },
        **changes,
    }


def test_registration_until_a_launch(lms: DemoLms, tool_1p3: Tool1p3) -> None:
    session, url, query = invited(lms, f"{tool_1p3.url}/register?invite=abc")
    assert url.startswith(f"{tool_1p3.url}/register?invite=abc&openid_configuration=")
    configuration = requests.get(query["openid_configuration"], timeout=10).json()
    assert configuration["issuer"] == lms.url
    assert configuration["jwks_uri"] == f"{lms.url}/jwks.json"
    assert set(SCOPES.values()) < set(configuration["scopes_supported"])
    bearer = {"Authorization": f"Bearer {query['registration_token']}"}
    endpoint = configuration["registration_endpoint"]
    assert requests.post(endpoint, json=document_of(tool_1p3), timeout=10).status_code == 401
    known = requests.get(endpoint, headers=bearer, timeout=10).json()
    assert "oauth_consumer" not in known["https://purl.imsglobal.org/spec/lti-tool-configuration"]
    answer = requests.post(endpoint, json=document_of(tool_1p3), headers=bearer, timeout=10)
    assert answer.status_code == 200, answer.text
    registered = answer.json()
    client_id = registered["client_id"]
    deployment_id = registered["https://purl.imsglobal.org/spec/lti-tool-configuration"]["deployment_id"]
    assert set(registered["scope"].split()) == {SCOPES["score"], SCOPES["item"]}
    assert requests.post(endpoint, json=document_of(tool_1p3), headers=bearer, timeout=10).status_code == 401

    # Pending: neither launches nor tokens.
    page = session.get(f"{lms.url}/tools/", timeout=10).text
    assert "pending" in page
    choice = {"link": "essay", "as": client_id}
    assert requests.post(f"{lms.url}/api/lti-version", json=choice, timeout=10).status_code == 404
    assert session.get(f"{lms.url}/picker/?tool={client_id}", timeout=10).status_code == 404
    csrf = {"csrfmiddlewaretoken": session.cookies["demo_lms_csrf"]}
    session.post(f"{lms.url}/tools/{client_id}", data={"do": "activate", **csrf}, timeout=10)
    lms.launch_as(client_id)
    claims = launched(lms, tool_1p3, lms.be(ADA))
    assert (claims["aud"], claims[f"{LTI}deployment_id"]) == (client_id, deployment_id)
    assert set(claims[f"{AGS}claim/endpoint"]["scope"]) == {SCOPES["score"], SCOPES["item"]}

    session.post(f"{lms.url}/tools/{client_id}", data={"do": "remove", **csrf}, timeout=10)
    assert "oauth_signature" in lms.be(ADA).get(f"{lms.url}/links/essay/launch", timeout=10).text


def test_upgrade_of_the_1p1_tool(lms: DemoLms, tool_1p3: Tool1p3) -> None:
    lms.launch_as("")
    # Other tests may have left links that were added from a platform: those are not the old tool's.
    old = {link["slug"] for link in links_of(lms) if link["lti_version"] == "1.1"}
    session, _, query = invited(lms, f"{tool_1p3.url}/register", upgrades="true")
    bearer = {"Authorization": f"Bearer {query['registration_token']}"}
    name = "https://purl.imsglobal.org/spec/lti-tool-configuration"
    before = requests.get(f"{lms.url}/registration", headers=bearer, timeout=10).json()[name]["oauth_consumer"]
    expected = hashlib.sha256(f"{CONSUMER_KEY}{SHARED_SECRET}{before['nonce']}".encode()).hexdigest()
    assert (before["key"], before["sign"]) == (CONSUMER_KEY, expected)
    registered = requests.post(f"{lms.url}/registration", json=document_of(tool_1p3), headers=bearer, timeout=10).json()
    assert registered[name]["oauth_consumer"] == before
    csrf = {"csrfmiddlewaretoken": session.cookies["demo_lms_csrf"]}
    path = f"{lms.url}/tools/{registered['client_id']}"
    session.post(path, data={"do": "activate", **csrf}, timeout=10)
    assert old
    assert all(link["client_id"] == registered["client_id"] for link in links_of(lms) if link["slug"] in old)
    assert launched(lms, tool_1p3, lms.be(ADA))[f"{LTI}resource_link"]["id"] == "1"
    session.post(path, data={"do": "remove", **csrf}, timeout=10)
    assert all(link["lti_version"] == "1.1" for link in links_of(lms) if link["slug"] in old)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"client_name": ""}, "missing_client_name"),
        ({"jwks_uri": None}, "missing_jwks_uri"),
        ({"redirect_uris": []}, "missing_redirect_uris"),
        ({"token_endpoint_auth_method": "client_secret_basic"}, "invalid_token_endpoint_auth_method"),
        (
            {
                "https://purl.imsglobal.org/spec/lti-tool-configuration": {
                    "domain": "localhost",
                    "target_link_uri": "http://localhost:9/launch",
                }
            },
            "domain_targetlinkuri_mismatch",
        ),
    ],
)
def test_registrations_that_moodle_refuses(lms: DemoLms, tool_1p3: Tool1p3, changes: dict[str, Any], text: str) -> None:
    _, _, query = invited(lms, f"{tool_1p3.url}/register")
    bearer = {"Authorization": f"Bearer {query['registration_token']}"}
    document = document_of(tool_1p3, **changes)
    answer = requests.post(f"{lms.url}/registration", json=document, headers=bearer, timeout=10)
    assert (answer.status_code, answer.text) == (400, text)
    # A failure does not use the token up.
    assert requests.get(f"{lms.url}/registration", headers=bearer, timeout=10).status_code == 200


def test_what_is_no_url_is_not_opened(lms: DemoLms) -> None:
    session = lms.be(ALAN)
    for url in ("", "register", "javascript:alert(1)"):
        data = {"registration_url": url, "csrfmiddlewaretoken": session.cookies["demo_lms_csrf"]}
        page = session.post(f"{lms.url}/tools/", data=data, timeout=10)
        assert page.status_code == 400
        assert "<iframe" not in page.text


def test_an_inactive_client_is_not_answered(lms: DemoLms, tool_1p3: Tool1p3) -> None:
    session = lms.be(ALAN)
    login = login_of(lms, session, f"/picker/launch?tool={CLIENTS['canvas'][0]}")
    _, fields = ask(lms, session, authorization(tool_1p3, login))
    assert "id_token" in fields
    assert session.get(f"{lms.url}/picker/launch?tool=unknown", timeout=10).status_code == 404
