"""The demo content application, handed people by a stand-in for the platform that speaks only the contract."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from demo_lms.tests.conftest import API_TOKEN, DemoLms, found


class Platform:
    """Publishes a key set and takes scores."""

    def __init__(self, port: int) -> None:
        self.url = f"http://localhost:{port}"
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.scores: list[tuple[str, str, dict[str, Any]]] = []
        self.score_status = 200
        platform = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                jwk = json.loads(RSAAlgorithm.to_jwk(platform.key.public_key()))
                known = self.path == "/lti/1p3/demo/jwks.json"
                self.answer(200 if known else 404, {"keys": [{**jwk, "kid": "one", "alg": "RS256", "use": "sig"}]})

            def do_PUT(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                platform.scores.append((self.path, self.headers["Authorization"], body))
                self.answer(platform.score_status, {"detail": "as the test wants it"})

            def answer(self, status: int, content: dict[str, Any]) -> None:
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def token(self, audience: str, *, kid: str = "one", key: Any = None, **changes: Any) -> str:
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": audience,
            "sub": "0190-person",
            "name": "Ada <b>Lovelace</b>",
            "email": "ada@demo-lms.example",
            "role": "student",
            "organization": "demo",
            "course": {"id": "c", "title": "Computing"},
            "assignment": {"id": "a", "title": "Puzzle"},
            "launch_id": "l",
            "return_url": f"{self.url}/launches/l/return",
            "scores_url": f"{self.url}/api/v1/assignments/a/scores/0190-person",
            "custom": {"difficulty": "easy"},
            "jti": f"{time.time_ns()}",
            "iat": now,
            "exp": now + 300,
            **changes,
        }
        return jwt.encode(claims, key or self.key, "RS256", headers={"kid": kid})


@pytest.fixture(scope="module")
def running_platform(tool_port: int) -> Iterator[Platform]:
    platform = Platform(tool_port)
    yield platform
    platform.server.shutdown()
    platform.server.server_close()


@pytest.fixture
def platform(running_platform: Platform) -> Platform:
    running_platform.scores.clear()
    running_platform.score_status = 200
    return running_platform


def hand_over(lms: DemoLms, token: str) -> requests.Response:
    return requests.post(f"{lms.url}/content/", data={"token": token}, timeout=10)


def finish_url(lms: DemoLms, page: str) -> str:
    return lms.url + found(r'action="(/content/visits/[^"]+/finish)"', page)


def test_student_finishes(lms: DemoLms, platform: Platform) -> None:
    page = hand_over(lms, platform.token(lms.url))
    assert page.status_code == 200
    assert "Ada &lt;b&gt;Lovelace&lt;/b&gt; (student)" in page.text
    assert "difficulty" in page.text
    done = requests.post(finish_url(lms, page.text), data={"points": "8"}, timeout=10, allow_redirects=False)
    assert (done.status_code, done.headers["Location"]) == (302, f"{platform.url}/launches/l/return")
    path, authorization, body = platform.scores[0]
    assert path == "/api/v1/assignments/a/scores/0190-person"
    assert authorization == f"Bearer {API_TOKEN}"
    assert body["points"] == 8


def test_token_is_taken_once(lms: DemoLms, platform: Platform) -> None:
    token = platform.token(lms.url)
    assert hand_over(lms, token).status_code == 200
    again = hand_over(lms, token)
    assert again.status_code == 403
    assert "used already" in again.text


def test_tokens_that_are_not_believed(lms: DemoLms, platform: Platform) -> None:
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    now = int(time.time())
    for token in (
        "",
        "no.token.atall",
        platform.token(lms.url, key=stranger),
        platform.token(lms.url, kid="another"),
        platform.token("http://127.0.0.1:1"),
        platform.token(lms.url, iss="http://evil.example"),
        platform.token(lms.url, exp=now - 60),
        platform.token(lms.url, scores_url="http://evil.example/steal"),
        platform.token(lms.url, return_url="javascript:alert(1)"),
        jwt.encode({"sub": "x"}, "a shared secret that is long enough 123", "HS256", headers={"kid": "one"}),
    ):
        assert hand_over(lms, token).status_code == 403


def test_teacher_has_nothing_to_hand_in(lms: DemoLms, platform: Platform) -> None:
    page = hand_over(lms, platform.token(lms.url, role="teacher"))
    assert page.status_code == 200
    assert "finish" not in page.text.split("Go back")[0].split("Students finish")[0]


def test_score_that_is_not_taken_is_said(lms: DemoLms, platform: Platform) -> None:
    platform.score_status = 403
    page = hand_over(lms, platform.token(lms.url))
    answer = requests.post(finish_url(lms, page.text), data={"points": "8"}, timeout=10)
    assert answer.status_code == 502
    assert "HTTP 403" in answer.text
    assert requests.post(finish_url(lms, page.text), data={"points": "11"}, timeout=10).status_code == 400
    assert requests.post(f"{lms.url}/content/visits/unknown/finish", timeout=10).status_code == 404
