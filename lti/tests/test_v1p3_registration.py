from __future__ import annotations

import dataclasses
import hashlib
import json
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lti.outbound import OutboundFailed, OutboundRefused
from lti.tests.platform_1p3 import Recorder, answer
from lti.tests.recorded import load
from lti.v1p3 import vocabulary as names
from lti.v1p3.canvas_configuration import canvas_configuration
from lti.v1p3.dynamic_registration import (
    RegistrationFailed,
    RegistrationInitiation,
    ToolDescription,
    fetch_configuration,
    fetch_upgrade_proof,
    parse_configuration,
    parse_registration,
    read_initiation,
    register,
    registration_document,
)

MOODLE = load("moodle/dynamic_registration_openid_configuration.json")
MOODLE_URL = "http://127.0.0.1:8081/mod/lti/openid-configuration.php"
REQUEST = load("moodle/dynamic_registration_request.json")
RESPONSE = load("moodle/dynamic_registration_response.json")
CONFIGURATION = {
    "issuer": "https://lms.example",
    "authorization_endpoint": "https://lms.example/auth",
    "token_endpoint": "https://lms.example/token",
    "jwks_uri": "https://lms.example/jwks",
    "registration_endpoint": "https://lms.example/register",
}
URL = "https://lms.example/.well-known/openid-configuration"
TOOL = ToolDescription(
    name="Tool",
    login_url="https://tool.example/lti/1p3/acme/login",
    launch_url="https://tool.example/lti/1p3/acme/launch",
    jwks_url="https://tool.example/lti/1p3/acme/jwks.json",
    target_link_uri="https://tool.example/lti/1p3/acme/launch",
)


def configuration_of(url=URL, allow_http=False, **changes):
    document = {name: value for name, value in {**CONFIGURATION, **changes}.items() if value is not None}
    return parse_configuration(json.dumps(document).encode(), url, allow_http=allow_http)


def refused(call, *args, **kwargs):
    with pytest.raises(RegistrationFailed) as caught:
        call(*args, **kwargs)
    assert caught.value.explanation
    return caught.value


# ------------------------------------------------------------------------------------------------------- opening


def test_what_moodle_adds_to_the_address():
    query = REQUEST["initiation"]["query"]
    initiation = read_initiation(query)
    assert initiation.configuration_url == MOODLE_URL
    assert initiation.registration_token == query["registration_token"]
    assert initiation.registration_token not in repr(initiation)
    assert read_initiation({"openid_configuration": URL}).registration_token == ""


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"openid_configuration": ""},
        {"openid_configuration": "javascript:alert(1)"},
        {"openid_configuration": "https://user:pw@lms.example/"},
        {"openid_configuration": "https://lms.example/" + "a" * 5000},
        {"openid_configuration": URL, "registration_token": "a b"},
        {"openid_configuration": URL, "registration_token": "a\r\nX-Evil: 1"},
        {"openid_configuration": URL, "registration_token": "é"},
        {"openid_configuration": URL, "registration_token": "t" * 20_000},
    ],
)
def test_what_cannot_be_the_lms_is_refused(query):
    refused(read_initiation, query)


# -------------------------------------------------------------------------------------------------- configuration


def test_moodles_configuration_is_read():
    found = parse_configuration(json.dumps(MOODLE).encode(), MOODLE_URL, allow_http=True)
    assert (found.issuer, found.product_family) == ("http://127.0.0.1:8081", "moodle")
    assert found.token_endpoint == "http://127.0.0.1:8081/mod/lti/token.php"
    assert found.messages == ("LtiResourceLinkRequest", "LtiDeepLinkingRequest")
    assert found.placements["LtiDeepLinkingRequest"] == ("ContentArea",)
    assert names.SCOPE_SCORE in found.scopes
    assert "Context.id.history" in found.variables
    assert found.other_hosts == ()
    # The same over plain http, where that is not allowed.
    assert refused(parse_configuration, json.dumps(MOODLE).encode(), MOODLE_URL).check == "issuer"


@pytest.mark.parametrize("name", list(CONFIGURATION))
@pytest.mark.parametrize("value", [None, "", "http://lms.example/x", "https://u@lms.example/x", "ftp://lms.example", 5])
def test_every_address_is_there_and_https(name, value):
    assert refused(configuration_of, **{name: value}).check == name


@pytest.mark.parametrize(
    ("issuer", "url"),
    [
        ("https://victim.example", URL),
        ("https://lms.example:8443", URL),
        ("https://lms.example.evil.example", URL),
        ("https://sub.lms.example", URL),
        ("https://lms.example", URL.replace("https", "http")),
        ("https://lms.example?x=1", URL),
        ("https://lms.example#x", URL),
        ("https://canvas.instructure.com", URL),
        ("https://canvas.instructure.com", "https://instructure.com.evil.example/config"),
        ("https://canvas.instructure.com", "https://evilinstructure.com/config"),
        ("https://canvas.instructure.com/", "https://school.instructure.com/config"),
        ("https://blackboard.com", "https://school.instructure.com/config"),
    ],
)
def test_an_issuer_is_believed_from_its_own_host_alone(issuer, url):
    assert refused(configuration_of, url=url, issuer=issuer).check == "issuer"


@pytest.mark.parametrize(
    ("issuer", "url"),
    [
        ("https://LMS.example/moodle", "https://lms.example:443/moodle/config"),
        ("https://canvas.instructure.com", "https://school.instructure.com/api/lti/security/openid-configuration"),
        ("https://blackboard.com", "https://developer.blackboard.com/config"),
    ],
)
def test_clouds_share_an_issuer(issuer, url):
    assert configuration_of(url=url, issuer=issuer).issuer == issuer


def test_endpoints_on_other_hosts_are_shown_to_the_owner():
    assert configuration_of(jwks_uri="https://keys.example/jwks").other_hosts == ("keys.example",)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("token_endpoint_auth_methods_supported", ["client_secret_basic"]),
        ("id_token_signing_alg_values_supported", ["HS256"]),
        ("token_endpoint_auth_signing_alg_values_supported", ["ES256"]),
    ],
)
def test_a_platform_without_the_methods_of_lti_is_refused(name, value):
    assert refused(configuration_of, **{name: value}).check == name


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{" + b" " * (257 * 1024), b'{"issuer": "a", "issuer": "b"}'])
def test_what_is_no_configuration_is_refused(body):
    assert refused(parse_configuration, body, URL)


@given(st.binary(max_size=60))
def test_any_bytes_are_refused_in_an_orderly_way(body):
    refused(parse_configuration, body, URL)


def test_the_token_goes_along_since_canvas_wants_it():
    sender = Recorder(answer(200, CONFIGURATION))
    fetch_configuration(sender, RegistrationInitiation(URL, "reg-token"))
    method, url, headers, _ = sender.sent[0]
    assert (method, url, headers["Authorization"]) == ("GET", URL, "Bearer reg-token")


@pytest.mark.parametrize(
    "given_answer",
    [
        answer(404, "<html>"),
        answer(302, Location="https://evil.example"),
        answer(200, CONFIGURATION, truncated=True),
        OutboundFailed("timeout", "no answer in time"),
        OutboundRefused("the address leads inside"),
    ],
)
def test_a_configuration_that_does_not_come_is_explained(given_answer):
    refused(fetch_configuration, Recorder(given_answer), RegistrationInitiation(URL))


# ------------------------------------------------------------------------------------------------------- the tool


def moodle():
    return parse_configuration(json.dumps(MOODLE).encode(), MOODLE_URL, allow_http=True)


def test_the_document_is_like_the_one_that_moodle_took():
    sent = REQUEST["registration_request"]
    theirs = sent[names.TOOL_CONFIGURATION]
    tool = ToolDescription(
        name=sent["client_name"],
        login_url=sent["initiate_login_uri"],
        launch_url=sent["redirect_uris"][0],
        jwks_url=sent["jwks_uri"],
        target_link_uri=theirs["target_link_uri"],
        description=theirs["description"],
        logo_url=sent["logo_uri"],
        contacts=tuple(sent["contacts"]),
        custom_parameters=theirs["custom_parameters"],
        picker_label="Pick",
    )
    made = registration_document(tool, moodle())
    ours = made[names.TOOL_CONFIGURATION]
    assert set(made["scope"].split()) == set(names.SERVICE_SCOPES)
    for name in sent.keys() - {"scope", names.TOOL_CONFIGURATION}:
        assert made[name] == sent[name]
    assert made.keys() == sent.keys()
    for name in theirs:
        assert ours[name] == theirs[name]
    assert ours.keys() == theirs.keys()


def test_nothing_is_asked_for_that_the_platform_does_not_offer():
    platform = dataclasses.replace(
        configuration_of(), scopes=(names.SCOPE_SCORE,), messages=("LtiResourceLinkRequest",)
    )
    made = registration_document(TOOL, platform)
    assert made["scope"] == names.SCOPE_SCORE
    assert [one["type"] for one in made[names.TOOL_CONFIGURATION]["messages"]] == ["LtiResourceLinkRequest"]


def test_a_platform_that_lists_nothing_is_asked_for_all():
    made = registration_document(TOOL, configuration_of())
    assert set(made["scope"].split()) == set(names.SERVICE_SCOPES)
    types = [one["type"] for one in made[names.TOOL_CONFIGURATION]["messages"]]
    assert types == list(names.SUPPORTED_MESSAGES)


def test_the_domain_is_host_and_port_of_the_target():
    assert TOOL.domain == "tool.example"
    ported = dataclasses.replace(TOOL, target_link_uri="http://127.0.0.1:9091/launch")
    assert registration_document(ported, moodle())[names.TOOL_CONFIGURATION]["domain"] == "127.0.0.1:9091"


def test_canvas_is_told_what_only_canvas_asks():
    platform = dataclasses.replace(configuration_of(), product_family="canvas")
    made = registration_document(dataclasses.replace(TOOL, tool_id="acme"), platform)[names.TOOL_CONFIGURATION]
    assert made["https://canvas.instructure.com/lti/privacy_level"] == "public"
    assert made["https://canvas.instructure.com/lti/tool_id"] == "acme"


def test_canvas_configuration_by_json():
    made = canvas_configuration(dataclasses.replace(TOOL, logo_url="https://tool.example/logo.png"))
    assert (made["oidc_initiation_url"], made["public_jwk_url"]) == (TOOL.login_url, TOOL.jwks_url)
    assert made["scopes"] == list(names.SERVICE_SCOPES)
    (extension,) = made["extensions"]
    assert (extension["platform"], extension["domain"]) == ("canvas.instructure.com", "tool.example")
    placements = {one["placement"]: one for one in extension["settings"]["placements"]}
    assert placements["assignment_selection"]["message_type"] == "LtiDeepLinkingRequest"
    assert placements["editor_button"]["icon_url"] == "https://tool.example/logo.png"
    assert placements["course_navigation"]["message_type"] == "LtiResourceLinkRequest"
    assert placements["course_navigation"]["default"] == "disabled"
    assert all(urlsplit(one["target_link_uri"]).scheme == "https" for one in placements.values())
    assert json.loads(json.dumps(made)) == made


# --------------------------------------------------------------------------------------------------------- answer


def test_moodles_answer_is_read():
    for body in (RESPONSE, load("moodle/dynamic_registration_update.json")["response"]):
        found = parse_registration(json.dumps(body).encode())
        assert (found.client_id, found.deployment_id) == ("b9v7LGkbHL07B9u", "5")
        assert found.upgrade is None


def test_the_registration_is_posted_with_its_token():
    sender = Recorder(answer(200, RESPONSE))
    assert register(sender, TOOL, configuration_of(), "reg-token").client_id == "b9v7LGkbHL07B9u"
    method, url, headers, body = sender.sent[0]
    assert (method, url) == ("POST", "https://lms.example/register")
    assert (headers["Authorization"], headers["Content-Type"]) == ("Bearer reg-token", "application/json")
    assert json.loads(body) == registration_document(TOOL, configuration_of())
    sender = Recorder(answer(201, RESPONSE))
    register(sender, TOOL, configuration_of(), "")
    assert "Authorization" not in sender.sent[0][2]


def test_a_deployment_may_come_later():
    found = parse_registration(b'{"client_id": 170000000000001, "registration_client_uri": "javascript:x"}')
    assert (found.client_id, found.deployment_id, found.configuration_url) == ("170000000000001", "", "")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"client_id": ""},
        {"client_id": "c" * 256},
        {"client_id": "a\nb"},
        {"client_id": "c", names.TOOL_CONFIGURATION: {"deployment_id": "d" * 256}},
        {"client_id": "c", names.TOOL_CONFIGURATION: {"deployment_id": "a\tb"}},
        [],
    ],
)
def test_an_answer_of_no_use_is_refused(body):
    refused(parse_registration, json.dumps(body).encode())


@pytest.mark.parametrize("status", [400, 401, 404, 500, 302])
def test_a_refusal_is_told_in_the_lmss_own_words(status):
    error = refused(register, Recorder(answer(status, "domain_targetlinkuri_mismatch")), TOOL, configuration_of(), "t")
    assert error.detail == "domain_targetlinkuri_mismatch"
    assert str(status) in error.explanation


# ----------------------------------------------------------------------------------------- the upgrade from 1.1


def consumer(key="old-key", nonce="n-1"):
    sign = hashlib.sha256((key + "s3cret" + nonce).encode()).hexdigest()
    return {"oauth_consumer": {"key": key, "nonce": nonce, "sign": sign}}


@pytest.mark.parametrize("inside", [True, False])
def test_moodles_proof_of_an_old_key(inside):
    body = {"client_id": "c", **({names.TOOL_CONFIGURATION: consumer()} if inside else consumer())}
    proof = fetch_upgrade_proof(Recorder(answer(200, body)), configuration_of(), "reg-token")
    assert proof.consumer_key == "old-key"
    assert proof.is_genuine("s3cret")
    assert not proof.is_genuine("other")
    assert proof.sign not in repr(proof)
    assert parse_registration(json.dumps(body).encode()).upgrade == proof


@pytest.mark.parametrize("change", [{"sign": "0" * 64}, {"sign": "é"}, {"key": "other"}, {"nonce": "other"}])
def test_a_wrong_proof_is_none(change):
    body = {names.TOOL_CONFIGURATION: {"oauth_consumer": {**consumer()["oauth_consumer"], **change}}}
    assert not fetch_upgrade_proof(Recorder(answer(200, body)), configuration_of(), "t").is_genuine("s3cret")


@pytest.mark.parametrize(
    "given_answer",
    [
        answer(404),
        answer(401, "x"),
        answer(200, "<html>"),
        answer(200, {}),
        OutboundFailed("dns", "x"),
        OutboundRefused("x"),
    ],
)
def test_no_registration_fails_for_want_of_a_proof(given_answer):
    assert fetch_upgrade_proof(Recorder(given_answer), configuration_of(), "t") is None


def test_without_a_token_nothing_is_asked():
    sender = Recorder()
    assert fetch_upgrade_proof(sender, configuration_of(), "") is None
    assert sender.sent == []
