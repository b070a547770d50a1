from __future__ import annotations

import json
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lti.errors import LaunchError, LaunchErrorCode
from lti.tests.platform_1p3 import NOW
from lti.tests.recorded import FORM, load
from lti.v1p3.login import (
    LoginRequest,
    authorization_url,
    new_nonce,
    origin_of,
    read_answer,
    read_login,
)
from lti.v1p3.login_state import LoginState, browser_digest, check_browser, read_state, sign_state

CODE = LaunchErrorCode
REQUIRED = {"iss": "https://lms.example", "login_hint": "5", "target_link_uri": "https://tool.example/lti/x"}
AUTH = "https://lms.example/auth"


def query(**parameters):
    return urlencode(parameters).encode()


def login_refused(**kwargs):
    with pytest.raises(LaunchError) as caught:
        read_login(**kwargs)
    return caught.value


def url_of(login=None, auth=AUTH, **changes):
    values = {"client_id": "c", "redirect_uri": "https://tool.example/l", "state": "s.s", "nonce": "n", **changes}
    return authorization_url(auth, login or LoginRequest(**renamed(REQUIRED)), **values)


def renamed(parameters):
    return {
        "issuer": parameters["iss"],
        "login_hint": parameters["login_hint"],
        "target_link_uri": parameters["target_link_uri"],
    }


def parameters_of(url):
    return parse_qsl(urlsplit(url).query, keep_blank_values=True, strict_parsing=True)


# ------------------------------------------------------------------------------------------------ what comes first


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_login_comes_by_get_or_post(method):
    encoded = query(**REQUIRED, lti_message_hint='{"cmd":1}', lti_deployment_id="3", lti_storage_target="_parent")
    sent = {"query": encoded} if method == "GET" else {"body": encoded, "content_type": f"{FORM}; charset=utf-8"}
    login = read_login(method=method, **sent)
    assert (login.issuer, login.login_hint, login.deployment_id) == ("https://lms.example", "5", "3")
    assert (login.message_hint, login.storage_target, login.client_id) == ('{"cmd":1}', "_parent", "")


def test_moodles_login_is_answered_with_the_parameters_that_moodle_took():
    recorded = load("moodle/login_initiation_1p3.json")
    fields, sent = recorded["login_request"]["fields"], recorded["auth_request_sent_by_tool"]
    login = read_login(method="POST", body=urlencode(fields).encode(), content_type=FORM)
    url = authorization_url(
        "http://127.0.0.1:8081/mod/lti/auth.php",
        login,
        client_id=login.client_id,
        redirect_uri=sent["redirect_uri"],
        state=sent["state"],
        nonce=sent["nonce"],
    )
    assert dict(parameters_of(url)) == sent
    assert len(parameters_of(url)) == len(sent)


@pytest.mark.parametrize("name", list(REQUIRED))
@pytest.mark.parametrize("value", [None, ""])
def test_what_is_required_is_missing(name, value):
    parameters = {**REQUIRED, name: value}
    error = login_refused(method="GET", query=query(**{k: v for k, v in parameters.items() if v is not None}))
    assert (error.code, error.check) == (CODE.MISSING_PARAMETER, name)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"method": "PUT", "query": query(**REQUIRED)}, 405),
        ({"method": "POST", "body": query(**REQUIRED), "content_type": "application/json"}, 415),
        ({"method": "POST", "body": b"a=" + b"x" * 256 * 1024, "content_type": FORM}, 413),
        ({"method": "GET", "query": b"a=1&" * 100}, 400),
        ({"method": "GET", "query": query(**REQUIRED) + b"&iss=https://evil.example"}, 400),
        ({"method": "GET", "query": query(**REQUIRED) + b"&x=%ff"}, 400),
        ({"method": "GET", "query": query(**REQUIRED) + b"&x=%00"}, 400),
        ({"method": "GET", "query": query(**{**REQUIRED, "login_hint": "a\nb"})}, 400),
        ({"method": "GET", "query": query(**REQUIRED, client_id="c" * 256)}, 400),
        ({"method": "GET", "query": query(**{**REQUIRED, "target_link_uri": "javascript:alert(1)"})}, 400),
        ({"method": "POST", "query": b"iss=a", "body": query(**REQUIRED), "content_type": FORM}, 400),
    ],
)
def test_a_malformed_login_is_refused(sent, status):
    error = login_refused(**sent)
    assert (error.code, error.status) == (CODE.MALFORMED, status)


def test_an_odd_storage_target_is_left_aside():
    login = read_login(method="GET", query=query(**REQUIRED, lti_storage_target="a'];alert(1)//"))
    assert login.storage_target == ""


# ------------------------------------------------------------------------------------------- where the browser goes


def test_the_parameters_are_those_of_the_standard_and_no_others():
    assert dict(parameters_of(url_of())) == {
        "scope": "openid",
        "response_type": "id_token",
        "response_mode": "form_post",
        "prompt": "none",
        "client_id": "c",
        "redirect_uri": "https://tool.example/l",
        "login_hint": "5",
        "state": "s.s",
        "nonce": "n",
    }


def test_the_endpoints_own_query_stays_but_none_of_its_parameters_comes_twice():
    url = url_of(auth=f"{AUTH}?tenant=a%20b&scope=evil&sc%6fpe=evil#top")
    assert url.startswith(f"{AUTH}?tenant=a%20b&scope=openid&")
    assert len({name for name, _ in parameters_of(url)}) == len(parameters_of(url))


def test_an_empty_hint_goes_back_as_an_empty_hint():
    with_hint = url_of(LoginRequest(**renamed(REQUIRED), message_hint=""))
    assert ("lti_message_hint", "") in parameters_of(with_hint)


@given(st.text(max_size=60), st.text(st.characters(codec="utf-8"), max_size=60))
def test_hints_go_back_as_they_came(hint, login_hint):
    login = LoginRequest("https://lms.example", login_hint, "https://tool.example/", message_hint=hint)
    try:
        hint.encode()
    except UnicodeEncodeError:
        return
    values = dict(parameters_of(url_of(login)))
    assert (values["lti_message_hint"], values["login_hint"]) == (hint, login_hint)


@pytest.mark.parametrize("auth", ["javascript:alert(1)", "https://user@lms.example/", "lms.example/auth", ""])
def test_an_endpoint_that_is_none_is_refused(auth):
    with pytest.raises(ValueError):
        url_of(auth=auth)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://lms.example/auth?x=1", "https://lms.example"),
        ("https://LMS.example:443/auth", "https://lms.example"),
        ("http://127.0.0.1:8081/a", "http://127.0.0.1:8081"),
        ("https://[::1]:8443/a", "https://[::1]:8443"),
    ],
)
def test_messages_to_the_platforms_storage_go_to_its_origin(url, origin):
    assert origin_of(url) == origin


def test_nonces_are_long_different_and_of_safe_characters():
    nonces = {new_nonce() for _ in range(100)}
    assert len(nonces) == 100
    assert all(len(nonce) >= 32 and nonce.replace("-", "").replace("_", "").isalnum() for nonce in nonces)


# --------------------------------------------------------------------------------------------------- what comes back


def answered(method="POST", content_type=FORM, **fields):
    return read_answer(method=method, body=urlencode(fields).encode(), content_type=content_type)


def test_the_answer_is_a_token_and_our_state():
    read = answered(id_token="a.b.c", state="s")
    assert (read.id_token, read.state) == ("a.b.c", "s")
    assert "a.b.c" not in repr(read)


@pytest.mark.parametrize(("fields", "name"), [({"state": "s"}, "id_token"), ({"id_token": "t", "state": ""}, "state")])
def test_half_an_answer_is_refused(fields, name):
    with pytest.raises(LaunchError) as caught:
        answered(**fields)
    assert (caught.value.code, caught.value.check) == (CODE.MISSING_PARAMETER, name)


@pytest.mark.parametrize("name", ["wrong login_hint", "wrong client_id", "no response_mode", "prompt=login"])
def test_an_error_of_moodle_is_told_in_its_own_words(name):
    posted = load("moodle/auth_1p3_variants.json")[name]["posted_back"]
    with pytest.raises(LaunchError) as caught:
        answered(**posted)
    assert caught.value.code is CODE.PLATFORM_ERROR
    assert posted["error"] in caught.value.received
    assert posted.get("error_description", "") in caught.value.received
    assert caught.value.cause


def test_an_error_needs_no_state():
    with pytest.raises(LaunchError) as caught:
        answered(error="login_required", id_token="t")
    assert (caught.value.code, caught.value.status) == (CODE.PLATFORM_ERROR, 400)


@pytest.mark.parametrize(
    ("change", "status"), [({"method": "GET"}, 405), ({"content_type": "multipart/form-data"}, 415)]
)
def test_an_answer_is_a_posted_form(change, status):
    with pytest.raises(LaunchError) as caught:
        answered(id_token="t", state="s", **change)
    assert (caught.value.code, caught.value.status) == (CODE.MALFORMED, status)


# ------------------------------------------------------------------------------------------------------------ state

STATE = LoginState("registration-1", browser_digest("browser-1"), "nonce-1", NOW + 600)


def state_refused(token, secrets=("secret",), now=NOW):
    with pytest.raises(LaunchError) as caught:
        read_state(token, secrets, now=now)
    assert caught.value.code is CODE.STATE_MISMATCH
    return caught.value


def test_a_state_comes_back_as_it_went():
    token = sign_state(STATE, "secret")
    assert read_state(token, ["newer", "secret"], now=NOW) == STATE
    assert all(character.isalnum() or character in "-_." for character in token)
    assert "browser-1" not in json.dumps(token)


def test_a_state_is_only_good_in_its_browser():
    check_browser(STATE, "browser-1")
    for other in ("browser-2", ""):
        with pytest.raises(LaunchError) as caught:
            check_browser(STATE, other)
        assert caught.value.code is CODE.STATE_MISMATCH


def test_a_state_of_no_browser_is_good_in_none():
    with pytest.raises(LaunchError):
        check_browser(LoginState("r", browser_digest(""), "n", NOW), "")


def test_a_state_has_its_time():
    token = sign_state(STATE, "secret")
    assert read_state(token, ["secret"], now=NOW + 599)
    assert "age" in state_refused(token, now=NOW + 600).check


@pytest.mark.parametrize("token", ["", ".", "a.b", "é.b", "a" * 3000])
def test_what_we_did_not_give_is_no_state(token):
    state_refused(token)


def test_another_secret_or_a_changed_state_is_refused():
    token = sign_state(STATE, "secret")
    state_refused(token, secrets=["other"])
    state_refused(token, secrets=[])
    other = sign_state(LoginState("registration-2", STATE.browser, STATE.nonce, STATE.expires_at), "other")
    state_refused(f"{other.split('.')[0]}.{token.split('.')[1]}")


@given(st.integers(0, 200), st.characters(codec="ascii"))
def test_no_letter_of_a_state_can_be_changed(position, letter):
    token = sign_state(STATE, "secret")
    position %= len(token)
    changed = token[:position] + letter + token[position + 1 :]
    if changed != token:
        state_refused(changed)
