"""The example content application as a process of its own: hand-off, score, webhook, LMS gradebook."""

import http.cookiejar
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from urllib.parse import urlencode, urljoin

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import rsa

from examples.content_application.platform_side import HandOffRefused, HandOffs, ScoreNotTaken, Scores
from tests.browser.stack import ROOT, Stack, own_database, own_redis, running_stack
from tests.loopback import Received, Reply, serve

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="


@contextmanager
def running_application(folder: Path, **environment: str) -> Iterator[str]:
    """The example application; its address."""
    log = folder / "application.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "examples.content_application"],
            cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, "PORT": "0", **environment},
        )  # fmt: skip
    try:
        end = time.monotonic() + 60
        while (said := re.search(r"Listening on (\S+)", log.read_text())) is None:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        yield said[1]
        assert process.poll() is None, log.read_text()
        assert "Traceback" not in log.read_text(), log.read_text()
    finally:
        process.terminate()
        process.wait(30)


@dataclass(frozen=True)
class Page:
    """An answer as a browser shows it."""

    url: str
    status: int
    text: str

    def form(self, mark: str) -> tuple[str, dict[str, str]]:
        """Address and fields of the form in whose tag the mark stands."""
        found = re.search(rf"(?s)<form([^>]*{mark}[^>]*)>(.*?)</form>", self.text)
        assert found is not None, f"{self.status} {self.url}: {self.text}"
        tag, inside = found.groups()
        action = unescape(re.findall(r'action="([^"]*)"', tag)[0])
        inputs = [dict(re.findall(r'(\w+)="([^"]*)"', one)) for one in re.findall(r"<input([^>]*)>", inside)]
        fields = {one["name"]: unescape(one.get("value", "")) for one in inputs if "name" in one}
        return urljoin(self.url, action), fields


class Browser:
    """What a browser does with forms. Like browsers it keeps Secure cookies of localhost without TLS."""

    def __init__(self) -> None:
        policy = http.cookiejar.DefaultCookiePolicy(secure_protocols=("https", "http"))
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar(policy))
        self._opener = urllib.request.build_opener(cookies)

    def get(self, url: str, data: bytes | None = None) -> Page:
        try:
            answer = self._opener.open(url, data, timeout=60)
        except urllib.error.HTTPError as refused:
            answer = refused
        with answer:
            return Page(answer.url, answer.status, answer.read().decode())

    def submit(self, page: Page, mark: str, **changes: str) -> Page:
        """Sends the page's form with the mark in its tag."""
        address, fields = page.form(mark)
        return self.get(address, urlencode(fields | changes).encode())


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with ExitStack() as held:
        server, redis_url = os.environ.get("DATABASE_URL", ""), os.environ.get("REDIS_URL", "")
        database_url = held.enter_context(own_database(server)) if server.startswith("postgres") else ""
        redis_url = held.enter_context(own_redis(redis_url)) if redis_url else ""
        yield held.enter_context(running_stack(tmp_path / "stack", database_url, redis_url))


@pytest.mark.stack
@pytest.mark.xdist_group("stack")
def test_from_the_hand_off_to_the_gradebook(stack: Stack, tmp_path: Path) -> None:
    environment = {
        "PLATFORM_URL": stack.platform_url,
        "ORGANIZATION": "demo",
        "API_TOKEN": stack.api_token,
        "WEBHOOK_SECRET": SECRET,
    }
    headers = {"Authorization": f"Bearer {stack.api_token}"}
    with running_application(tmp_path, **environment) as application:
        courses = stack.api("/courses?limit=200")["items"]
        course = next(one for one in courses if one["code"] == "cs101")
        puzzle = next(
            one for one in stack.api(f"/courses/{course['id']}/assignments")["items"] if one["slug"] == "puzzle"
        )
        path = f"{stack.platform_url}/api/v1/assignments/{puzzle['id']}"
        changed = requests.patch(path, json={"content_url": f"{application}/"}, headers=headers, timeout=30)
        assert changed.status_code == 200, changed.text
        webhook = {"url": f"{application}/webhook", "events": ["grade.delivered"], "secret": SECRET}
        made = requests.post(f"{stack.platform_url}/api/v1/webhooks", json=webhook, headers=headers, timeout=30)
        assert made.status_code == 201, made.text

        browser = Browser()
        browser.submit(browser.get(f"{stack.lms_url}/people/"), 'action="/people/"', person="4")
        launch = browser.get(f"{stack.lms_url}/links/puzzle/launch")
        handed_over = browser.submit(launch, 'id="launch"')
        token = handed_over.form('id="hand-off"')[1]["token"]
        page = browser.submit(handed_over, 'id="hand-off"')
        assert (page.status, "Hello, <strong>Ada Lovelace</strong>" in page.text) == (200, True)
        assert "The nanosecond puzzle" in page.text

        again = requests.post(f"{application}/", data={"token": token}, timeout=30)
        assert (again.status_code, "used already" in again.text) == (403, True)

        finished = browser.submit(page, 'action="/finish"', points="7")
        assert (finished.status, "on its way" in finished.text) == (200, True), finished.text
        assert browser.submit(finished, 'action="/finish"', points="7").status == 200
        assert stack.wait_for_grade("ada", "puzzle", 0.7, seconds=90)["points"] == 7
        (score,) = stack.api(f"/assignments/{puzzle['id']}/scores")["items"]
        assert (score["points"], score["version"]) == (7, 1)  # finishing twice was one request

        # The signed webhook has told the application.
        end = time.monotonic() + 90
        while "is in the gradebook" not in browser.submit(finished, 'action="/look"').text:
            assert time.monotonic() < end, stack.api("/deliveries?kind=webhook")
            time.sleep(0.3)
        forged = requests.post(
            f"{application}/webhook",
            data=b'{"type": "grade.delivered"}',
            headers={"webhook-id": "1", "webhook-timestamp": str(int(time.time())), "webhook-signature": "v1,AAAA"},
            timeout=30,
        )
        assert forged.status_code == 401
        for delivery in stack.api("/deliveries?kind=webhook")["items"]:
            assert delivery["last_error"] == ""

        assert requests.post(f"{application}/finish", data={"work": "guessed"}, timeout=30).status_code == 404
        assert requests.post(f"{application}/", data={"token": "no token"}, timeout=30).status_code == 403


ORIGIN = "https://content.example"


@pytest.fixture
def signed():
    """A platform's key set on loopback, and tokens signed with its key: `(HandOffs, token of changed claims)`."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    document = {"keys": [{**public, "kid": "1", "alg": "RS256", "use": "sig"}]}

    def answer(received: Received) -> Reply:
        assert received.path == "/lti/1p3/acme/jwks.json"
        return Reply(200, jwt.api_jws.json.dumps(document).encode(), {"Content-Type": "application/json"})

    with serve(answer) as platform:
        now = int(time.time())
        claims = {
            "iss": platform.url, "aud": ORIGIN, "sub": "1", "name": "Ada", "role": "student", "jti": "a", "iat": now,
            "exp": now + 300, "course": {"id": "c", "title": "C"}, "assignment": {"id": "a", "title": "A"},
            "return_url": f"{platform.url}/launches/1/return", "scores_url": f"{platform.url}/api/v1/scores",
        }  # fmt: skip

        def token(signing_key=key, algorithm="RS256", without="", **changes):
            payload = {name: value for name, value in {**claims, **changes}.items() if name != without}
            return jwt.encode(payload, signing_key, algorithm=algorithm, headers={"kid": "1"})

        yield HandOffs(platform.url, "acme", ORIGIN), token


def test_a_hand_off_is_believed_once(signed):
    hand_offs, token = signed
    assert hand_offs.take(token()).name == "Ada"
    with pytest.raises(HandOffRefused, match="used already"):
        hand_offs.take(token())
    assert hand_offs.take(token(jti="b", without="scores_url")).scores_url == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "https://other.example"},
        {"iss": "https://other.example"},
        {"exp": 1},
        {"without": "jti"},
        {"without": "return_url"},
        {"scores_url": "https://thief.example/scores"},
        {"return_url": "javascript:alert(1)"},
        {"signing_key": "a shared secret that is long enough for HS256", "algorithm": "HS256"},
        {"signing_key": rsa.generate_private_key(public_exponent=65537, key_size=2048)},
    ],
    ids=[
        "audience",
        "issuer",
        "expired",
        "no-id",
        "no-return-url",
        "foreign-scores-url",
        "script-url",
        "shared-secret",
        "foreign-key",
    ],
)
def test_other_hand_offs_are_refused(signed, changes):
    hand_offs, token = signed
    with pytest.raises(HandOffRefused):
        hand_offs.take(token(**changes))


def test_a_report_without_an_answer_is_sent_again_as_the_same_request():
    answers = iter([Reply(503, b""), Reply(429, b'{"detail": "later"}'), Reply(200, b'{"version": 1}')])
    with serve(lambda received: next(answers)) as platform:
        assert Scores("token", seconds_between_tries=0.01).report(f"{platform.url}/scores", 5, "key") == {"version": 1}
    assert {one.headers["Idempotency-Key"] for one in platform.received} == {"key"}
    assert len({one.body for one in platform.received}) == 1


def test_a_refused_report_is_not_sent_again_and_says_why():
    with (
        serve(lambda received: Reply(422, b'{"detail": "points: must be a number"}')) as platform,
        pytest.raises(ScoreNotTaken, match="points: must be a number"),
    ):
        Scores("token", seconds_between_tries=0.01).report(f"{platform.url}/scores", 5, "key")
    assert len(platform.received) == 1
