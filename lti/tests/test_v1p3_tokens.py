from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lti.outbound import OutboundFailed, OutboundRefused
from lti.retry_after import retry_after
from lti.tests.platform_1p3 import NOW, Clock, MemoryCache, Recorder, answer, key, pem_of, verified
from lti.tests.recorded import load
from lti.v1p1.outcomes import OutcomeVerdict
from lti.v1p3 import vocabulary as names
from lti.v1p3.services import (
    PlatformServices,
    ServiceCall,
    ServiceFailed,
    below,
    judge,
    links,
    next_url,
    with_query,
)
from lti.v1p3.tokens import (
    RegistrationTokens,
    Tokens,
    ToolClient,
    assertion_claims,
    parse_token,
    rs256_signer,
    token_form,
)

CLIENT = ToolClient("client-1", "https://lms.example/token")
SCOPES = (names.SCOPE_SCORE, names.SCOPE_LINE_ITEM)
SIGN = rs256_signer(pem_of(key()), "tool-key")
VERDICT = OutcomeVerdict
RECORDED = load("moodle/token_exchange.json")
GRANT = {"access_token": "tok-1", "token_type": "Bearer", "expires_in": 3600, "scope": " ".join(SCOPES)}


def failure(call, *args, **kwargs):
    with pytest.raises(ServiceFailed) as caught:
        call(*args, **kwargs)
    return caught.value.judgement


# ------------------------------------------------------------------------------------------------------- assertion


def test_the_request_proves_who_we_are_and_verifies_independently():
    assertion = SIGN(assertion_claims(CLIENT, now=NOW, jti="j-1"))
    form = parse_qs(token_form(assertion, SCOPES).decode(), strict_parsing=True)
    assert form["grant_type"] == ["client_credentials"]
    assert form["client_assertion_type"] == ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"]
    assert set(form["scope"][0].split(" ")) == set(SCOPES)
    assert len(form) == 4
    header, claims = verified(form["client_assertion"][0], key().public_key())
    assert (header["alg"], header["kid"], header["typ"]) == ("RS256", "tool-key", "JWT")
    assert (claims["iss"], claims["sub"], claims["aud"]) == ("client-1", "client-1", "https://lms.example/token")
    assert claims["jti"] == "j-1"
    # Moodle refuses what is from ahead of its clock; five minutes are the most that a platform need take.
    assert claims["iat"] == NOW - 30
    assert NOW < claims["exp"] <= claims["iat"] + 300


def test_the_audience_may_be_fixed_and_the_deployment_named():
    client = ToolClient("c", "https://d2l.example/token", "https://api.brightspace.com/auth/token", "d-1")
    claims = assertion_claims(client, now=NOW + 0.7, jti="j")
    assert claims["aud"] == "https://api.brightspace.com/auth/token"
    assert claims[names.DEPLOYMENT_ID] == "d-1"
    assert isinstance(claims["iat"], int)


# --------------------------------------------------------------------------------------------------------- answers


def recorded_answer(name):
    response = RECORDED[name]["response"]
    return answer(response["status"], response["body"], content_type="text/html; charset=utf-8")


def test_moodles_grant_says_what_was_granted():
    token = parse_token(recorded_answer("all scopes"), asked=[], now=NOW)
    assert set(names.SERVICE_SCOPES) < token.scopes
    assert token.good_until == NOW + 3600 - 60
    assert token.value not in repr(token)
    fewer = parse_token(recorded_answer("one known, one unknown scope"), asked=["bogus"], now=NOW)
    assert fewer.scopes == {names.SCOPE_LINE_ITEM}


@pytest.mark.parametrize(
    ("name", "verdict", "reason"),
    [
        ("unknown scope only", VERDICT.REFUSED, "invalid_scope"),
        ("unknown client", VERDICT.UNAUTHORIZED, "invalid_client"),
        ("bad signature", VERDICT.UNAUTHORIZED, "assertion_key"),
        ("expired assertion", VERDICT.UNAUTHORIZED, "assertion_time"),
        ("iat 2 min in the future", VERDICT.UNAUTHORIZED, "assertion_time"),
    ],
)
def test_moodles_refusals_are_explained(name, verdict, reason):
    judgement = failure(parse_token, recorded_answer(name), asked=SCOPES, now=NOW)
    assert (judgement.verdict, judgement.reason_code) == (verdict, reason)
    assert judgement.explanation
    assert judgement.detail


@pytest.mark.parametrize(
    ("response", "verdict", "reason"),
    [
        # Moodle cannot read our key set (moodle.md 5).
        (answer(404, "<!DOCTYPE html><html>Error"), VERDICT.RETRY, "token_endpoint_page"),
        # Broken JSON (moodle.md 34).
        (
            answer(400, '{"error" : ""kid" invalid, unable to lookup correct key"}'),
            VERDICT.UNAUTHORIZED,
            "assertion_key",
        ),
        (answer(401, ""), VERDICT.UNAUTHORIZED, "token_refused"),
        (answer(400, b"\xff\xfe"), VERDICT.UNAUTHORIZED, "token_refused"),
        (answer(500), VERDICT.RETRY, "server_error"),
        (answer(429, Retry_After="7"), VERDICT.RETRY, "rate_limited"),
        (answer(302, Location="https://evil.example"), VERDICT.REFUSED, "redirected"),
        (answer(200, "<html>login</html>"), VERDICT.RETRY, "unreadable_answer"),
        (answer(200, b"x" * (257 * 1024)), VERDICT.RETRY, "unreadable_answer"),
        (answer(200, []), VERDICT.RETRY, "unreadable_answer"),
        (answer(200, {}), VERDICT.REFUSED, "token_unusable"),
        (answer(200, {"error": "invalid_client"}), VERDICT.UNAUTHORIZED, "invalid_client"),
        (answer(200, {**GRANT, "access_token": "a\r\nX: y"}), VERDICT.REFUSED, "token_unusable"),
        (answer(200, {**GRANT, "access_token": "é"}), VERDICT.REFUSED, "token_unusable"),
        (answer(200, {**GRANT, "token_type": "MAC"}), VERDICT.REFUSED, "token_unusable"),
    ],
)
def test_other_answers_are_no_token(response, verdict, reason):
    judgement = failure(parse_token, response, asked=SCOPES, now=NOW)
    assert (judgement.verdict, judgement.reason_code) == (verdict, reason)


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({"expires_in": "120"}, 108),
        ({"expires_in": 0}, 0),
        ({"expires_in": -5}, 0),
        ({"expires_in": None}, 540),
        ({"expires_in": "soon"}, 540),
        ({"expires_in": 10**9}, 24 * 3600 - 60),
    ],
)
def test_tokens_have_their_time(changes, seconds):
    assert parse_token(answer(200, {**GRANT, **changes}), asked=[], now=NOW).good_until == NOW + seconds


def test_without_a_scope_in_the_answer_all_that_was_asked_is_granted():
    body = {name: value for name, value in GRANT.items() if name != "scope"}
    assert parse_token(answer(200, body), asked=SCOPES, now=NOW).scopes == set(SCOPES)
    assert parse_token(answer(200, {**GRANT, "scope": ""}), asked=SCOPES, now=NOW).scopes == frozenset()


@given(st.binary(max_size=80), st.integers(200, 599))
def test_any_answer_is_judged_in_an_orderly_way(body, status):
    failure(parse_token, answer(status, body), asked=SCOPES, now=NOW)


# ----------------------------------------------------------------------------------------------------------- cache


def test_a_token_is_asked_for_once_by_however_many_need_it():
    entered = threading.Barrier(6)
    sender, cache = Recorder(answer(200, GRANT)), MemoryCache()
    got = []

    def work():
        tokens = Tokens(cache, sender, Clock())
        entered.wait()
        got.append(tokens.get(CLIENT, SCOPES, SIGN))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sender.sent) == 1
    assert {token.value for token in got} == {"tok-1"}
    assert len(got) == 6


def test_a_token_is_asked_for_again_before_it_expires():
    sender, clock = Recorder(answer(200, GRANT), answer(200, {**GRANT, "access_token": "tok-2"})), Clock()
    tokens = Tokens(MemoryCache(), sender, clock)
    assert tokens.get(CLIENT, SCOPES, SIGN).value == "tok-1"
    clock.now += 3500
    assert tokens.get(CLIENT, reversed(SCOPES), SIGN).value == "tok-1"
    clock.now += 41
    assert tokens.get(CLIENT, SCOPES, SIGN).value == "tok-2"


def test_tokens_of_other_scopes_clients_and_audiences_are_others():
    sender = Recorder(by=lambda *_: answer(200, {**GRANT, "access_token": f"tok-{len(sender.sent)}"}))
    tokens = Tokens(MemoryCache(), sender, Clock())
    clients = [CLIENT, ToolClient("client-2", CLIENT.token_url), ToolClient("client-1", CLIENT.token_url, "aud")]
    values = {tokens.get(client, SCOPES, SIGN).value for client in clients}
    values.add(tokens.get(CLIENT, SCOPES[:1], SIGN).value)
    assert len(values) == 4


def test_a_refusal_stands_for_a_moment_for_all_who_wait():
    sender, clock = Recorder(OutboundFailed("timeout", "no answer"), answer(200, GRANT)), Clock()
    tokens = Tokens(MemoryCache(), sender, clock)
    for _ in range(20):
        judgement = failure(tokens.get, CLIENT, SCOPES, SIGN)
        assert (judgement.verdict, judgement.reason_code) == (VERDICT.RETRY, "no_answer")
    assert len(sender.sent) == 1
    clock.now += 6
    assert tokens.get(CLIENT, SCOPES, SIGN)


def test_without_scopes_there_is_no_request():
    sender = Recorder()
    assert failure(Tokens(MemoryCache(), sender, Clock()).get, CLIENT, [], SIGN).verdict is VERDICT.REFUSED
    assert sender.sent == []


def test_a_token_is_forgotten_but_not_its_successor():
    sender = Recorder(answer(200, GRANT), answer(200, {**GRANT, "access_token": "tok-2"}))
    tokens = Tokens(MemoryCache(), sender, Clock())
    first = tokens.get(CLIENT, SCOPES, SIGN)
    tokens.forget(CLIENT, SCOPES, first)
    assert tokens.get(CLIENT, SCOPES, SIGN).value == "tok-2"
    tokens.forget(CLIENT, SCOPES, first)
    assert tokens.get(CLIENT, SCOPES, SIGN).value == "tok-2"
    assert len(sender.sent) == 2


# ----------------------------------------------------------------------------------------------------------- calls

CALL = ServiceCall("POST", "https://lms.example/scores?x=1", (names.SCOPE_SCORE,), content_type="a/b", body=b"{}")


def services(*answers, is_allowed=lambda url: url.startswith("https://lms.example/"), scopes=SCOPES):
    sender = Recorder(*answers)
    tokens = RegistrationTokens(Tokens(MemoryCache(), sender, Clock()), CLIENT, scopes, SIGN)
    return PlatformServices(sender, tokens, is_allowed), sender


def test_a_call_carries_the_token_and_exact_types():
    platform, sender = services(answer(200, GRANT), answer(201))
    assert platform.send(CALL).status == 201
    method, url, headers, body = sender.sent[1]
    assert (method, url, body) == ("POST", "https://lms.example/scores?x=1", b"{}")
    assert headers == {"Authorization": "Bearer tok-1", "Content-Type": "a/b"}


def test_a_token_goes_nowhere_but_to_allowed_hosts():
    platform, sender = services()
    for url in ("https://evil.example/scores", "https://lms.example@evil.example/", "javascript:alert(1)", "//x"):
        judgement = failure(platform.send, ServiceCall("GET", url, ()))
        assert (judgement.verdict, judgement.reason_code) == (VERDICT.REFUSED, "host_not_allowed")
    assert sender.sent == []


def test_a_401_is_tried_once_more_with_a_fresh_token():
    fresh = answer(200, {**GRANT, "access_token": "tok-2"})
    platform, sender = services(answer(200, GRANT), answer(401), fresh, answer(200))
    assert platform.send(CALL).status == 200
    assert [headers.get("Authorization") for _, _, headers, _ in sender.sent] == [
        None,
        "Bearer tok-1",
        None,
        "Bearer tok-2",
    ]
    platform, sender = services(answer(200, GRANT), answer(401), fresh, answer(401))
    assert platform.send(CALL).status == 401
    assert len(sender.sent) == 4


def test_who_counts_tries_itself_gets_the_401_and_a_fresh_token_the_next_time():
    platform, unused = services(answer(200, GRANT), answer(200, {**GRANT, "access_token": "tok-2"}))
    sender = Recorder(answer(401), answer(200))
    one_try = platform.for_one_try(sender)
    assert one_try.send(CALL).status == 401
    assert one_try.send(CALL).status == 200
    assert [headers["Authorization"] for _, _, headers, _ in sender.sent] == ["Bearer tok-1", "Bearer tok-2"]
    assert len(unused.sent) == 2  # the token requests
    assert failure(one_try.send, ServiceCall("GET", "https://evil.example/", ())).reason_code == "host_not_allowed"


def test_what_was_not_granted_is_not_called():
    platform, sender = services(answer(200, {**GRANT, "scope": names.SCOPE_LINE_ITEM}))
    judgement = failure(platform.send, CALL)
    assert (judgement.verdict, judgement.reason_code) == (VERDICT.REFUSED, "scope_not_granted")
    assert len(sender.sent) == 1


@pytest.mark.parametrize(
    ("error", "verdict"),
    [(OutboundFailed("dns", "no such host"), VERDICT.RETRY), (OutboundRefused("it leads inside"), VERDICT.REFUSED)],
)
def test_no_answer_is_a_judgement_too(error, verdict):
    platform, _ = services(answer(200, GRANT), error)
    assert failure(platform.send, CALL).verdict is verdict


@pytest.mark.parametrize(
    ("response", "verdict", "reason"),
    [
        (answer(204), VERDICT.DELIVERED, "success"),
        (answer(401), VERDICT.UNAUTHORIZED, "unauthorized"),
        (answer(403), VERDICT.REFUSED, "forbidden"),
        (answer(403, "403 Forbidden (Rate Limit Exceeded)"), VERDICT.RETRY, "rate_limited"),
        (answer(403, Retry_After="3"), VERDICT.RETRY, "rate_limited"),
        (answer(404), VERDICT.REFUSED, "not_found"),
        (answer(408), VERDICT.RETRY, "server_error"),
        (answer(422), VERDICT.REFUSED, "refused"),
        (answer(503), VERDICT.RETRY, "server_error"),
        (answer(301), VERDICT.REFUSED, "redirected"),
    ],
)
def test_statuses_are_judged(response, verdict, reason):
    judgement = judge(response.status, response.headers, response.body)
    assert (judgement.verdict, judgement.reason_code) == (verdict, reason)


def test_retry_after_is_a_number_or_a_date():
    now = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
    assert retry_after("120", now) == 120
    assert retry_after("Fri, 20 Nov 2026 12:01:00 GMT", now) == 60
    assert retry_after("Fri, 20 Nov 2026 11:00:00 GMT", now) == 0
    assert retry_after("9999999", now) == 24 * 3600
    assert retry_after("soon", now) is None


def test_details_hold_no_token():
    detail = judge(400, {}, b'{"access_token": "abcdef", "mail": "ada@example.org"}').detail
    assert "abcdef" not in detail
    assert "ada@" not in detail


# ---------------------------------------------------------------------------------------------------- URLs, paging


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://x/lineitem?type_id=1", "https://x/lineitem/scores?type_id=1"),
        ("https://x/lineitem", "https://x/lineitem/scores"),
        ("https://x/lineitem/", "https://x/lineitem/scores"),
        ("https://x/lineitem?", "https://x/lineitem/scores?"),
        ("https://x/a?b=/c?d#e", "https://x/a/scores?b=/c?d"),
    ],
)
def test_segments_go_before_the_query(url, expected):
    assert below(url, "scores") == expected


@pytest.mark.parametrize(
    ("url", "parameters", "expected"),
    [
        ("https://x/a?type_id=1", [("tag", "a b&c")], "https://x/a?type_id=1&tag=a%20b%26c"),
        ("https://x/a", [("limit", "5")], "https://x/a?limit=5"),
        ("https://x/a?limit=1&b=%2F", [("limit", "5")], "https://x/a?b=%2F&limit=5"),
        ("https://x/a?b", [], "https://x/a?b"),
        ("https://x/a", [("b", "")], "https://x/a"),
    ],
)
def test_queries_are_kept_and_added_to(url, parameters, expected):
    assert with_query(url, parameters) == expected


def test_moodles_curly_links_are_read():
    header = load("moodle/ags_exchanges.json")["lineitems GET limit=1"]["response"]["headers"]["Link"]
    found = links(header)
    assert found["next"] == "http://127.0.0.1:8081/mod/lti/services.php/2/lineitems?type_id=3&limit=1&from=1"
    assert set(found) == {"first", "canonical", "next", "last"}
    # The same bytes, decoded as they should be.
    assert links(header.encode("latin-1").decode("utf-8")) == found


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('<https://x/2>; rel="next"', {"next": "https://x/2"}),
        ("<https://x/2>;rel=next", {"next": "https://x/2"}),
        (
            '<https://x/2>; title="a, b"; REL="next last", </3>; rel=prev',
            {"next": "https://x/2", "last": "https://x/2", "prev": "/3"},
        ),
        ("nonsense", {}),
        ("<https://x/2>", {}),
        ("<" * 70_000, {}),
    ],
)
def test_links_are_read(header, expected):
    assert links(header) == expected


def test_the_next_page_lies_on_the_same_host():
    assert next_url(answer(Link="</b?c=1>; rel=next"), "https://x/a") == "https://x/b?c=1"
    assert next_url(answer(), "https://x/a") == ""
    for foreign in ("https://y/a", "http://x/a", "https://x:444/a", "//y/a", "https://[/"):
        with pytest.raises(ServiceFailed):
            next_url(answer(Link=f"<{foreign}>; rel=next"), "https://x/a")


def test_pages_are_read_to_the_end_and_no_further():
    page = lambda link="": answer(200, [], **({"Link": f"<{link}>; rel=next"} if link else {}))  # noqa: E731
    call = ServiceCall("GET", "https://lms.example/1", ())
    platform, sender = services(
        answer(200, GRANT), page("https://lms.example/2"), page("https://lms.example/3"), page()
    )
    assert len(list(platform.pages(call))) == 3
    assert len(sender.sent) == 4
    for circle in ("https://lms.example/1", "https://lms.example/2"):
        platform, _ = services(answer(200, GRANT), page("https://lms.example/2"), page(circle))
        assert failure(list, platform.pages(call)).reason_code == "endless_pages"
    platform, _ = services(answer(200, GRANT), *[page(f"https://lms.example/{n}") for n in range(2, 9)])
    assert failure(list, platform.pages(call, page_limit=5)).reason_code == "endless_pages"


def test_a_page_that_fails_fails_the_whole():
    platform, _ = services(answer(200, GRANT), answer(200, [], Link="</2>; rel=next"), answer(503))
    call = ServiceCall("GET", "https://lms.example/1", ())
    assert failure(list, platform.pages(call)).verdict is VERDICT.RETRY


def test_the_cache_holds_json():
    cache = MemoryCache()
    Tokens(cache, Recorder(answer(200, GRANT)), Clock()).get(CLIENT, SCOPES, SIGN)
    assert all(json.loads(text) for text in cache.texts.values())
