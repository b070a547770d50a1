"""What the platform sends, believed only once it is verified, and what it is told."""

import http.client
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import jwt
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

TIMEOUT_SECONDS = 10
USER_AGENT = "example-content-application/1.0"
TRIES = 4
# Claims that every hand-off has; `scores_url` is missing where somebody only looks at another person's work.
CLAIMS = ["iss", "aud", "sub", "exp", "iat", "jti", "name", "role", "course", "assignment", "return_url"]


class HandOffRefused(Exception):
    """A hand-off that is not believed; the text says why, and what helps."""


class ScoreNotTaken(Exception):
    """The platform did not take the score; the text says what it answered."""


class WebhookRefused(Exception):
    """A webhook that is not the platform's; the text says why."""


@dataclass(frozen=True)
class HandOff:
    """Who came, to do what; every value is verified. `scores_url` is empty for a look at another person's work."""

    person_id: str
    name: str
    role: str
    course_title: str
    assignment_id: str
    assignment_title: str
    return_url: str
    scores_url: str


class HandOffs:
    """Verifies the hand-off tokens of one organization. Each is believed once."""

    def __init__(self, platform_url: str, organization: str, own_origin: str) -> None:
        self.platform_url = platform_url
        self.own_origin = own_origin
        # Keeps the keys for five minutes, and asks again when a token names one that it does not know.
        self._keys = jwt.PyJWKClient(
            f"{platform_url}/lti/1p3/{organization}/jwks.json",
            headers={"User-Agent": USER_AGENT},
            timeout=TIMEOUT_SECONDS,
        )
        self._used: dict[str, float] = {}
        self._lock = threading.Lock()

    def take(self, token: str) -> HandOff:
        """Who is handed over. Raises HandOffRefused."""
        try:
            claims = jwt.decode(
                token,
                self._keys.get_signing_key_from_jwt(token),
                algorithms=["RS256"],  # never what the token itself asks for
                audience=self.own_origin,
                issuer=self.platform_url,
                leeway=5,
                options={"require": CLAIMS},
            )
        except jwt.PyJWTError as error:
            raise HandOffRefused(f"The hand-off is not valid ({error}). Open it again from your course.") from error
        return_url, scores_url = str(claims["return_url"]), str(claims.get("scores_url", ""))
        # Our API token goes to the scores URL: to the platform, and to nobody else.
        for url in (return_url, scores_url):
            if url and not url.startswith(f"{self.platform_url}/"):
                raise HandOffRefused("The hand-off names an address that is not the platform's.")
        self._use_up(str(claims["jti"]), float(claims["exp"]))
        return HandOff(
            person_id=str(claims["sub"]),
            name=str(claims["name"]),
            role=str(claims["role"]),
            course_title=str(claims["course"]["title"]),
            assignment_id=str(claims["assignment"]["id"]),
            assignment_title=str(claims["assignment"]["title"]),
            return_url=return_url,
            scores_url=scores_url,
        )

    def _use_up(self, token_id: str, expires_at: float) -> None:
        """Several processes would keep this in their database, under a unique constraint."""
        now = time.time()
        with self._lock:
            self._used = {one: until for one, until in self._used.items() if until > now - 60}
            if token_id in self._used:
                raise HandOffRefused("The hand-off was used already. Open it again from your course.")
            self._used[token_id] = expires_at


class Scores:
    """Reports scores with the organization's API token."""

    def __init__(self, api_token: str, seconds_between_tries: float = 1.0) -> None:
        self._api_token = api_token
        self._pause = seconds_between_tries

    def report(self, scores_url: str, points: float, key: str) -> dict[str, Any]:
        """The platform's answer (ScoreOut of its API). Raises ScoreNotTaken.

        Nobody knows whether a request without an answer arrived. It is sent again with the same key, and the platform
        takes it once.
        """
        body = json.dumps({"points": points, "comment": "From the example content application"}).encode()
        headers = {
            "Authorization": f"Bearer {self._api_token}",
            "Content-Type": "application/json",
            "Idempotency-Key": key,
            "User-Agent": USER_AGENT,
        }
        said = ""
        for number in range(TRIES):
            if number:
                time.sleep(self._pause * 2**number)
            try:
                status, answer = _put(scores_url, body, headers)
            except (OSError, http.client.HTTPException) as error:
                said = f"The platform did not answer ({type(error).__name__})."
                continue
            if status == 200:
                document: dict[str, Any] = json.loads(answer)
                return document
            said = f"The platform answered {status}: {_detail(answer)}"
            if status != 429 and status < 500:
                break  # it will say the same again
        raise ScoreNotTaken(said)


def _put(url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
    """Status and body. Redirects are not followed: the token in the headers is for this address."""
    parts = urlsplit(url)
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = connect(parts.netloc, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("PUT", parts.path, body, dict(headers))
        response = connection.getresponse()
        return response.status, response.read(1_000_000)
    finally:
        connection.close()


def _detail(answer: bytes) -> str:
    """What a problem document says."""
    try:
        return str(json.loads(answer)["detail"])
    except (ValueError, KeyError, TypeError):
        return "nothing that can be read"


class Webhooks:
    """Verifies what the platform tells (Standard Webhooks 1.0). An event may come more than once."""

    def __init__(self, secret: str) -> None:
        self._webhook = Webhook(secret)
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def take(self, body: bytes, headers: Mapping[str, str]) -> dict[str, Any] | None:
        """The event `{type, timestamp, data}`, or None for one that came before. Raises WebhookRefused."""
        lower = {name.lower(): value for name, value in headers.items()}
        try:
            event: dict[str, Any] = self._webhook.verify(body.decode(), lower)
        except (WebhookVerificationError, UnicodeDecodeError, ValueError) as error:
            raise WebhookRefused(f"This is not signed by the platform ({error}).") from error
        with self._lock:
            is_new = lower["webhook-id"] not in self._seen
            self._seen.add(lower["webhook-id"])
        return event if is_new else None
