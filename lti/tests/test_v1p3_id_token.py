from __future__ import annotations

import contextlib
import hashlib
import hmac
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lti.errors import LaunchError, LaunchErrorCode
from lti.tests.platform_1p3 import (
    CLIENT_ID,
    ISSUER,
    NONCE,
    NOW,
    TARGET,
    b64,
    checked,
    jwk_of,
    jwks,
    key,
    launch_claims,
    public_pem_of,
    signed,
)
from lti.tests.recorded import load
from lti.v1p3 import vocabulary as names
from lti.v1p3.id_token import Expected, verify
from lti.v1p3.key_sets import parse_key_set, pem_source

CODE = LaunchErrorCode
NOBODY = object()


def refused(token, code=CODE.INVALID_TOKEN, check="", **kwargs):
    with pytest.raises(LaunchError) as caught:
        checked(token, **kwargs)
    assert caught.value.code is code
    assert check in caught.value.check
    return caught.value


def with_claims(**changes):
    return signed(launch_claims(**changes))


# ------------------------------------------------------------------------------------------------------- accepted


def test_a_genuine_token_is_taken():
    token = checked(with_claims())
    assert (token.issuer, token.client_id, token.nonce) == (ISSUER, CLIENT_ID, NONCE)
    assert (token.issued_at, token.expires_at, token.key_id) == (NOW, NOW + 60, "k1")
    assert token.claims["sub"] == "u-1"


def test_moodles_recorded_token_verifies_with_moodles_key_set():
    recorded = load("moodle/login_initiation_1p3.json")
    claims = load("moodle/id_token_claims_student.json")["claims"]
    platform = load("moodle/tool_1p3_platform_values.json")
    expected = Expected(
        issuer=platform["issuer"],
        client_id=platform["client_id"],
        nonce=recorded["auth_request_sent_by_tool"]["nonce"],
        is_ours=lambda url: url == "http://127.0.0.1:9091/launch",
    )
    keys = parse_key_set(json.dumps(load("moodle/jwks_certs.json")).encode()).find
    token = recorded["form_post"]["fields"]["id_token"]
    assert verify(token, expected, keys, now=claims["iat"] + 2).claims == claims
    with pytest.raises(LaunchError) as caught:
        verify(token[:-6] + "AAAAAA", expected, keys, now=claims["iat"])
    assert caught.value.code is CODE.INVALID_TOKEN


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": [CLIENT_ID]},
        {"aud": [CLIENT_ID, "other"], "azp": CLIENT_ID},
        {"azp": CLIENT_ID},
        {"exp": NOW - 59},
        {"exp": NOW + 0.5, "iat": float(NOW)},
        {"iat": NOW - 300},
        {"iat": NOW + 300},
        {"roles": []},
        {"context": None},
        {names.CONTEXT: "course"},
        {names.CUSTOM: [1, 2]},
        {names.LAUNCH_PRESENTATION: 5, names.TOOL_PLATFORM: "x", names.LIS: [], names.LTI1P1: 7},
        {"deployment_id": "d" * 255, "sub": "s" * 255},
        {"message_type": "LtiSubmissionReviewRequest", "for_user": {"user_id": "5"}},
        {"message_type": "LtiDeepLinkingRequest", "resource_link": None, "roles": None, "target_link_uri": None},
        {"resource_link": {"id": 12}},
    ],
)
def test_what_the_standard_leaves_open_is_taken(changes):
    assert checked(with_claims(**changes))


def test_a_token_without_kid_is_taken_if_there_is_one_key_alone():
    token = signed(launch_claims(), header={"kid": None})
    assert checked(token)
    two = parse_key_set(jwks(jwk_of(key()), jwk_of(key(1), "k2"))).find
    refused(token, keys=two, check="key")


def test_a_registration_may_have_a_pem_instead_of_a_key_set():
    assert checked(with_claims(), keys=pem_source(public_pem_of(key())))
    refused(signed(launch_claims(), key(1)), keys=pem_source(public_pem_of(key())), check="signature")


# ------------------------------------------------------------------------------------------------ header and keys


def test_no_algorithm_is_no_signature():
    unsigned = f"{b64(json.dumps({'alg': 'none', 'kid': 'k1'}).encode())}.{b64(json.dumps(launch_claims()).encode())}."
    refused(unsigned, check="algorithm")


def test_the_public_key_is_no_hmac_secret():
    head = {"alg": "HS256", "kid": "k1", "typ": "JWT"}
    start = f"{b64(json.dumps(head).encode())}.{b64(json.dumps(launch_claims()).encode())}"
    mac = hmac.new(public_pem_of(key()).encode(), start.encode(), hashlib.sha256).digest()
    refused(f"{start}.{b64(mac)}", check="algorithm")


@pytest.mark.parametrize("algorithm", ["RS512", "PS256", "ES256", "rs256", "", 256, None, ["RS256"]])
def test_other_algorithms_are_refused(algorithm):
    header = {"kid": "k1", "alg": algorithm}
    token = f"{b64(json.dumps(header).encode())}.{signed(launch_claims()).split('.', 1)[1]}"
    refused(token, check="algorithm")


@pytest.mark.parametrize(
    "header",
    [
        {"jwk": jwk_of(key(1), "k1")},
        {"jku": "https://evil.example/jwks.json"},
        {"x5u": "https://evil.example/cert.pem"},
        {"x5c": ["MIIB"]},
        {"kid": "k2", "jwk": jwk_of(key(1), "k2")},
    ],
)
def test_keys_that_a_token_brings_along_count_for_nothing(header):
    refused(signed(launch_claims(), key(1), header))
    if "kid" not in header:
        assert checked(signed(launch_claims(), header=header))


@pytest.mark.parametrize("header", [{"crit": ["b64"], "b64": False}, {"crit": ["exp"]}, {"crit": []}, {"b64": True}])
def test_extensions_that_are_critical_are_refused(header):
    refused(signed(launch_claims(), header=header), check="header")


def test_another_kind_of_token_is_refused():
    refused(signed(launch_claims(), header={"typ": "at+jwt"}), check="type")


def test_an_unknown_key_is_refused():
    error = refused(signed(launch_claims(), header={"kid": "k9"}), check="key")
    assert "k9" in error.received


def test_another_key_of_the_same_name_is_refused():
    refused(signed(launch_claims(), key(1)), check="signature")


def test_changed_claims_are_refused():
    head, _, signature = with_claims().split(".")
    changed = b64(json.dumps(launch_claims(sub="teacher")).encode())
    refused(f"{head}.{changed}.{signature}", check="signature")
    refused(f"{head}.{changed}.", check="signature")


def test_of_several_keys_of_one_name_any_may_have_signed():
    both = parse_key_set(jwks(jwk_of(key(1)), jwk_of(key()))).find
    assert checked(with_claims(), keys=both)


def test_the_key_set_is_asked_once_and_only_for_a_token_of_the_right_kind():
    asked = []

    def keys(key_id):
        asked.append(key_id)
        return [key().public_key()]

    with pytest.raises(LaunchError):
        checked(signed(launch_claims(), header={"alg": "HS256"}), keys=keys)
    assert asked == []
    checked(with_claims(), keys=keys)
    assert asked == ["k1"]


# ------------------------------------------------------------------------------------------------- size and shape


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a",
        "a.b",
        "a.b.c.d",
        "..",
        ".e30.",
        "e30..",
        "é.e30.x",
        "e30=.e30.x",
        "e3+0.e30.x",
        "!!!.e30.x",
        f"{b64(b'[]')}.e30.x",
        f"{b64(b'nonsense')}.e30.x",
        f"{b64(b'[' * 40000)}.e30.x",
        f"{b64(bytes([255, 254]))}.e30.x",
        # Two readers could each take another one.
        b64(b'{"alg":"none","alg":"RS256"}') + ".e30.x",
        "a" * (64 * 1024 + 1),
    ],
)
def test_what_is_no_token_is_malformed(token):
    refused(token, CODE.MALFORMED)


def test_a_token_has_at_most_64_kib():
    filler = "x" * 40_000
    assert len(signed(launch_claims(name=filler))) < 64 * 1024
    assert checked(signed(launch_claims(name=filler)))
    refused(signed(launch_claims(name=filler + filler)), CODE.MALFORMED, "size")


def test_a_key_id_has_its_limit():
    refused(signed(launch_claims(), header={"kid": "k" * 256}), CODE.MALFORMED)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"{",
        b'{"exp": NaN}',
        b'{"exp": Infinity}',
        b'{"exp": 1e999}',
        b'{"sub": "a", "sub": "b"}',
        b'{"sub": "\\u0000"}',
        b'{"sub": "\\ud800"}',
        b'{"a": {"b": ["\\u0000"]}}',
        b'{"exp": ' + b"9" * 5000 + b"}",
        b"[" * 30_000,
    ],
)
def test_claims_that_are_no_claims_are_malformed(payload):
    token = signed(payload) if payload else f"{signed({}).split('.')[0]}..x"
    refused(token, CODE.MALFORMED)


@settings(max_examples=200)
@given(st.text(max_size=200))
def test_any_text_is_refused_in_an_orderly_way(token):
    with pytest.raises(LaunchError):
        checked(token)


@settings(max_examples=100)
@given(st.binary(max_size=60), st.integers(0, 2))
def test_any_bytes_in_place_of_a_part_are_refused_in_an_orderly_way(raw, which):
    parts = with_claims().split(".")
    if parts[which] == b64(raw):
        return
    parts[which] = b64(raw)
    with pytest.raises(LaunchError):
        checked(".".join(parts))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=5,
)
ALL_CLAIMS = [*launch_claims(azp=CLIENT_ID, for_user={}, custom={}, lis={}, tool_platform={}, lti1p1={})]


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(ALL_CLAIMS), json_values, max_size=3))
def test_claims_of_any_shape_are_taken_or_refused_in_an_orderly_way(changes):
    claims = {**launch_claims(), **changes}
    try:
        token = signed(claims)
    except UnicodeEncodeError:
        return
    with contextlib.suppress(LaunchError):
        taken = checked(token)
        assert (taken.claims["iss"], taken.claims["nonce"]) == (ISSUER, NONCE)
        assert isinstance(taken.claims["sub"], str)
        assert isinstance(taken.claims[names.DEPLOYMENT_ID], str)


# --------------------------------------------------------------------------------------- from whom, for whom, when


@pytest.mark.parametrize(
    "issuer", [f"{ISSUER}/", "http://lms.example", "https://lms.example:443", "https://other.example"]
)
def test_the_issuer_is_compared_letter_by_letter(issuer):
    error = refused(with_claims(iss=issuer), check="iss")
    assert (error.expected, error.received) == (ISSUER, issuer)


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"aud": "other"}, "aud"),
        ({"aud": ["other", "another"]}, "aud"),
        ({"aud": f"{CLIENT_ID} "}, "aud"),
        ({"aud": [CLIENT_ID, "other"]}, "azp"),
        ({"aud": [CLIENT_ID, "other"], "azp": "other"}, "azp"),
        ({"azp": "other"}, "azp"),
        ({"azp": 5}, "azp"),
        ({"nonce": "of another login"}, "nonce"),
        ({"nonce": NONCE * 20}, "nonce"),
    ],
)
def test_a_token_for_somebody_else_or_of_another_login_is_refused(changes, check):
    refused(with_claims(**changes), check=check)


def test_without_a_nonce_of_ours_none_is_right():
    refused(with_claims(nonce="x"), nonce="")


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"exp": NOW - 60}, "exp"),
        ({"exp": NOW - 4000}, "exp"),
        ({"iat": NOW - 301}, "iat"),
        ({"iat": NOW + 301}, "iat"),
        ({"exp": -1}, "exp"),
    ],
)
def test_a_token_has_its_time(changes, check):
    error = refused(with_claims(**changes), CODE.TIMESTAMP_EXPIRED, check)
    assert "seconds" in error.received


@pytest.mark.parametrize("name", ["exp", "iat"])
@pytest.mark.parametrize("value", ["1800000000", True, [NOW], {}, 1e13])
def test_times_are_numbers(name, value):
    refused(with_claims(**{name: value}), CODE.MALFORMED, name)


def test_texts_are_texts():
    for changes in ({"iss": 5}, {"nonce": 5}, {"sub": 5}, {"aud": 5}, {"aud": [CLIENT_ID, 5]}):
        refused(with_claims(**changes), CODE.MALFORMED)


# ----------------------------------------------------------------------------------------------- claims of LTI 1.3

REQUIRED = ["iss", "aud", "exp", "iat", "nonce", "sub", "version", "message_type", "deployment_id", "target_link_uri"]


@pytest.mark.parametrize("name", [*REQUIRED, "resource_link", "roles"])
def test_a_required_claim_is_absent(name):
    error = refused(with_claims(**{name: None}), CODE.MISSING_PARAMETER)
    assert error.check.startswith(name)
    assert error.cause


@pytest.mark.parametrize("name", [*REQUIRED, "resource_link"])
def test_a_required_claim_is_empty(name):
    empty = {"id": ""} if name == "resource_link" else ""
    refused(with_claims(**{name: empty}), CODE.MISSING_PARAMETER, name)


@pytest.mark.parametrize("version", ["1.3", "1.3.1", "LTI-1p0", "2.0"])
def test_another_version_is_unsupported(version):
    refused(with_claims(version=version), CODE.UNSUPPORTED_MESSAGE, "version")


@pytest.mark.parametrize(
    "kind", ["LtiStartProctoring", "DataPrivacyLaunchRequest", "ltiresourcelinkrequest", "x" * 900]
)
def test_another_message_is_unsupported_and_named(kind):
    error = refused(with_claims(message_type=kind), CODE.UNSUPPORTED_MESSAGE, "message_type")
    assert error.received.startswith(kind[:100])
    assert error.cause


@pytest.mark.parametrize(
    "changes",
    [
        {"deployment_id": "d" * 256},
        {"deployment_id": "dé"},
        {"deployment_id": 5},
        {"deployment_id": "a\nb"},
        {"sub": "s" * 256},
        {"sub": "a\x7fb"},
        {"resource_link": {"id": "r" * 256}},
        {"resource_link": {"id": "a\tb"}},
        {"resource_link": "rl-1"},
        {"context": {"id": "c" * 256}},
        {"tool_platform": {"guid": "g" * 256}},
        {"lti1p1": {"user_id": "u" * 256}},
        {"lti11_legacy_user_id": "u" * 256},
        {"lis": {"person_sourcedid": "p" * 8193}},
        {"roles": "Learner"},
        {"roles": {}},
        {"target_link_uri": "javascript:alert(1)"},
        {"target_link_uri": "https://tool.example/" + "a" * 4096},
        {"target_link_uri": 5},
        {"version": 1.3},
        {"message_type": ["LtiResourceLinkRequest"]},
        {"custom": {f"c{number}": "" for number in range(501)}},
    ],
)
def test_claims_that_no_lms_should_send_are_malformed(changes):
    refused(with_claims(**changes), CODE.MALFORMED)


@pytest.mark.parametrize(
    "target", ["https://other.example/lti/assignments/7", "https://tool.example.evil/", "http://tool.example/"]
)
def test_a_target_of_another_tool_is_refused(target):
    error = refused(with_claims(target_link_uri=target), CODE.UNKNOWN_DESTINATION, "target_link_uri")
    assert error.status == 404


def test_a_review_is_of_somebodys_submission():
    review = {"message_type": "LtiSubmissionReviewRequest"}
    for for_user in (None, {}, {"user_id": ""}):
        refused(with_claims(**review, for_user=for_user), CODE.MISSING_PARAMETER, "for_user.user_id")
    refused(with_claims(**review, for_user=["5"]), CODE.MALFORMED)
    refused(with_claims(**review, for_user={"user_id": "5"}, resource_link=None), CODE.MISSING_PARAMETER)


def test_what_is_wrong_first_is_told_first():
    """A token that is not genuine is not looked into: no claim of it reaches a log as if the LMS had said it."""
    forged = signed(launch_claims(iss="https://evil.example", exp=1, version="9"), key(1))
    assert refused(forged, check="signature").received == "kid k1"


def test_no_refusal_holds_the_token_or_an_address():
    error = refused(with_claims(iss="https://x.example/?e=ada@example.org&id_token=abc"), check="iss")
    assert "ada@" not in error.received
    assert "abc" not in error.received
    assert TARGET not in str(error)
