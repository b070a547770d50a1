"""Everything together over real HTTP on loopback, with a platform that is as particular as Moodle."""

from __future__ import annotations

import json
import threading
from collections import Counter
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from lti.errors import LaunchError, LaunchErrorCode
from lti.outbound import OutboundClient, OutboundPolicy
from lti.tests.platform_1p3 import (
    CLIENT_ID,
    NOW,
    Clock,
    MemoryCache,
    checked,
    jwk_of,
    jwks,
    key,
    launch_claims,
    pem_of,
    signed,
    verified,
)
from lti.v1p1.outcomes import OutcomeVerdict
from lti.v1p3 import ags, nrps
from lti.v1p3 import vocabulary as names
from lti.v1p3.claims import AgsClaim
from lti.v1p3.key_sets import KeySets
from lti.v1p3.services import PlatformServices, ServiceFailed
from lti.v1p3.tokens import RegistrationTokens, Tokens, ToolClient, rs256_signer


class Platform:
    """A platform behind a real socket. ``faults`` are answers to give first, by path."""

    def __init__(self):
        platform = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                status, kind, body, more = platform.answer(
                    self.command, self.path, self.headers, self.rfile.read(length)
                )
                self.send_response(status)
                for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **more}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = answer  # noqa: N815 (http.server's names)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.keys, self.tool_key = [jwk_of(key(), "k1")], key(2)
        self.calls, self.faults, self.tokens = Counter(), {}, {}
        self.items, self.scores, self.members = [], {}, [str(number) for number in range(1, 8)]
        self.scopes = set(names.SERVICE_SCOPES)

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def answer(self, method, target, headers, body):
        parts = urlsplit(target)
        self.calls[f"{method} {parts.path}"] += 1
        if self.faults.get(parts.path):
            return self.faults[parts.path].pop(0)
        if parts.path == "/jwks":
            return 200, "application/json", jwks(*self.keys), {}
        if parts.path == "/token":
            return self.token(parse_qs(body.decode()))
        granted = self.tokens.get((headers.get("Authorization") or "").removeprefix("Bearer "))
        if granted is None:
            return 401, "application/json", b'{"status": 401}', {}
        return self.service(method, parts, headers, body, granted)

    def token(self, form):
        header, claims = verified(form["client_assertion"][0], self.tool_key.public_key())
        now = NOW
        assert header["kid"] == "tool-key"
        assert claims["iss"] == claims["sub"] == CLIENT_ID
        if claims["iat"] > now or claims["exp"] <= now:
            return 400, "text/html", b'{"error": "Expired token"}', {}
        granted = self.scopes & set(form["scope"][0].split())
        value = f"token-{len(self.tokens)}"
        self.tokens[value] = granted
        grant = {"access_token": value, "token_type": "Bearer", "expires_in": 3600, "scope": " ".join(granted)}
        return 200, "text/html; charset=utf-8", json.dumps(grant).encode(), {}

    def service(self, method, parts, headers, body, granted):
        query, accept, kind = parse_qs(parts.query), headers.get("Accept"), headers.get("Content-Type")
        if query.get("type_id") != ["3"]:
            return 400, "application/json", b"{}", {}
        if parts.path == "/lineitems" and method == "GET" and accept == names.LINE_ITEMS_TYPE:
            wanted = {"resourceId": query.get("resource_id"), "tag": query.get("tag")}
            found = [item for item in self.items if all(v is None or [item.get(k)] == v for k, v in wanted.items())]
            return 200, names.LINE_ITEMS_TYPE, json.dumps(found).encode(), {}
        if parts.path == "/lineitems" and method == "POST" and kind == names.LINE_ITEM_TYPE:
            item = {**json.loads(body), "id": f"{self.url}/lineitems/{len(self.items)}/lineitem?type_id=3"}
            self.items.append(item)
            return 201, names.LINE_ITEM_TYPE, json.dumps(item).encode(), {}
        if parts.path.endswith("/lineitem/scores") and kind == names.SCORE_TYPE and names.SCOPE_SCORE in granted:
            return self.score(parts.path, json.loads(body))
        if parts.path.endswith("/lineitem/results") and accept == names.RESULTS_TYPE:
            found = [
                {"userId": user, "resultScore": score["scoreGiven"], "resultMaximum": score["scoreMaximum"]}
                for (path, user), score in self.scores.items()
                if path == parts.path.replace("results", "scores")
            ]
            return 200, names.RESULTS_TYPE, json.dumps(found).encode(), {}
        if parts.path == "/members" and accept == names.MEMBERSHIPS_TYPE:
            start = int(query.get("from", ["0"])[0])
            listed = [{"user_id": user, "roles": ["Learner"]} for user in self.members[start : start + 3]]
            more = start + 3 < len(self.members)
            link = {"Link": f'<{self.url}/members?type_id=3&amp;from={start + 3}>; rel="next"'} if more else {}
            return 200, names.MEMBERSHIPS_TYPE, json.dumps({"context": {"id": "2"}, "members": listed}).encode(), link
        return 400, "application/json", b'{"reason": "No handler found"}', {}

    def score(self, path, score):
        if score["userId"] not in self.members:
            return 400, names.SCORE_TYPE, b"[]", {}
        before = self.scores.get((path, score["userId"]))
        # Moodle compares whole seconds.
        if before and score["timestamp"][:19] <= before["timestamp"][:19]:
            return 409, names.SCORE_TYPE, b"[]", {}
        self.scores[path, score["userId"]] = score
        return 200, names.SCORE_TYPE, b"", {}


@pytest.fixture
def platform():
    running = Platform()
    yield running
    running.close()


@pytest.fixture
def client():
    policy = OutboundPolicy(allow_http=True, allowed_private_hosts=("127.0.0.1",), read_timeout=2, total_timeout=3)
    opened = OutboundClient(policy)
    yield opened
    opened.close()


def services_of(platform, client, scopes=names.SERVICE_SCOPES, cache=None):
    tool = ToolClient(CLIENT_ID, f"{platform.url}/token")
    tokens = Tokens(cache or MemoryCache(), client, Clock())
    sign = rs256_signer(pem_of(platform.tool_key), "tool-key")
    registration = RegistrationTokens(tokens, tool, tuple(scopes), sign)
    return PlatformServices(client, registration, lambda url: url.startswith(f"{platform.url}/"))


def wanted(**changes):
    values = {"label": "Hello", "score_maximum": Decimal(10), "resource_id": "r", "tag": "t", "resource_link_id": "4"}
    return ags.LineItem(**{**values, **changes})


def test_a_grade_from_no_column_to_the_gradebook_and_back(platform, client):
    services = services_of(platform, client)
    claim = AgsClaim(line_items=f"{platform.url}/lineitems?type_id=3")
    item = ags.find_or_create_line_item(services, claim, wanted(), lock=nullcontext())
    assert ags.find_or_create_line_item(services, claim, wanted(), lock=nullcontext()) == item
    assert len(platform.items) == 1
    now = datetime.fromtimestamp(NOW, UTC)

    def sent(points, stamp, user="5"):
        response = services.send(ags.score_call(item.url, ags.Score(user, Decimal(points), Decimal(10), stamp)))
        return ags.judge(response.status, response.headers, response.body)

    first = ags.next_timestamp(now, None)
    assert sent(7, first).verdict is OutcomeVerdict.DELIVERED
    stale = sent(8, first + timedelta(milliseconds=900))
    assert (stale.verdict, stale.reason_code) == (OutcomeVerdict.RETRY, ags.STALE_TIMESTAMP)
    assert sent(8, ags.next_timestamp(now, first)).verdict is OutcomeVerdict.DELIVERED
    assert sent(8, first, user="nobody").verdict is OutcomeVerdict.REFUSED
    assert [(result.user_id, result.score) for result in ags.read_results(services, item.url)] == [("5", Decimal(8))]
    assert platform.calls["POST /token"] == 1


def test_a_token_that_the_platform_forgot_is_replaced_at_once(platform, client):
    services = services_of(platform, client)
    assert nrps.fetch_roster(services, f"{platform.url}/members?type_id=3")
    platform.tokens.clear()
    platform.tokens["other"] = set()
    assert nrps.fetch_roster(services, f"{platform.url}/members?type_id=3")
    assert platform.calls["POST /token"] == 2


def test_a_roster_over_pages(platform, client):
    roster = nrps.fetch_roster(services_of(platform, client), f"{platform.url}/members?type_id=3")
    assert [member.user_id for member in roster.members] == platform.members
    assert platform.calls["GET /members"] == 3
    platform.faults["/members"] = [(503, "text/html", b"<html>maintenance", {})]
    with pytest.raises(ServiceFailed) as caught:
        nrps.fetch_roster(services_of(platform, client), f"{platform.url}/members?type_id=3")
    assert caught.value.judgement.verdict is OutcomeVerdict.RETRY


def test_workers_at_once_ask_for_one_token(platform, client):
    cache, start, verdicts = MemoryCache(), threading.Barrier(5), []

    def work():
        services = services_of(platform, client, cache=cache)
        start.wait()
        verdicts.append(nrps.fetch_roster(services, f"{platform.url}/members?type_id=3").is_whole)

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts == [True] * 5
    assert platform.calls["POST /token"] == 1


def test_fewer_scopes_than_asked_switch_a_service_off_with_a_reason(platform, client):
    platform.scopes = {names.SCOPE_LINE_ITEM}
    services = services_of(platform, client)
    call = ags.score_call(
        f"{platform.url}/lineitems/0/lineitem?type_id=3", ags.Score("5", Decimal(1), Decimal(1), datetime.now(UTC))
    )
    with pytest.raises(ServiceFailed) as caught:
        services.send(call)
    assert caught.value.judgement.reason_code == "scope_not_granted"
    assert platform.calls["POST /lineitems/0/lineitem/scores"] == 0


def test_a_token_follows_no_redirect(platform, client):
    target = f"{platform.url}/members?type_id=3&from=3"
    platform.faults["/members"] = [(302, "text/html", b"", {"Location": target})]
    with pytest.raises(ServiceFailed) as caught:
        nrps.fetch_roster(services_of(platform, client), f"{platform.url}/members?type_id=3")
    assert caught.value.judgement.reason_code == "redirected"
    assert platform.calls["GET /members"] == 1


def test_keys_change_during_a_stream_of_launches_without_a_failure(platform, client):
    clock, signers = Clock(), [(key(), "k1"), (key(1), "k2")]
    sets = KeySets(MemoryCache(), client, clock)
    platform.keys = [jwk_of(key(), "k1")]
    for number in range(60):
        clock.now += 5
        if number == 20:
            platform.keys = [jwk_of(private, kid) for private, kid in signers]
        if number == 40:
            platform.keys = [jwk_of(key(1), "k2")]
        private, kid = signers[number >= 30]
        token = signed(launch_claims(), private, {"kid": kid})
        assert checked(token, keys=sets.source(f"{platform.url}/jwks")).key_id == kid
    assert platform.calls["GET /jwks"] == 2


@pytest.mark.parametrize(
    "fault",
    [
        (200, "application/json", b" " * 300 * 1024, {}),
        (200, "text/html", b"<html>log in</html>", {}),
        (500, "text/html", b"", {}),
        (302, "text/html", b"", {"Location": "/jwks"}),
    ],
)
def test_a_key_set_that_is_none_is_explained(platform, client, fault):
    platform.faults["/jwks"] = [fault]
    sets = KeySets(MemoryCache(), client, Clock())
    with pytest.raises(LaunchError) as caught:
        checked(signed(launch_claims()), keys=sets.source(f"{platform.url}/jwks"))
    assert caught.value.code is LaunchErrorCode.PLATFORM_UNREACHABLE
    assert caught.value.received


def test_a_key_set_at_a_private_address_is_not_read(platform):
    guarded = OutboundClient(OutboundPolicy(allow_http=True))
    sets = KeySets(MemoryCache(), guarded, Clock())
    with pytest.raises(LaunchError) as caught:
        sets.find(f"{platform.url}/jwks", "k1")
    assert caught.value.code is LaunchErrorCode.PLATFORM_UNREACHABLE
    assert platform.calls["GET /jwks"] == 0
    guarded.close()
