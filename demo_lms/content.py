"""A content application for `link` assignments, as small as one can be: it takes the hand-off token, shows who came,
and reports a score by the API. It knows the platform only by its documented addresses."""

import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import jwt
import requests

from demo_lms import storage
from demo_lms.course import Tool
from demo_lms.environment import own_url

TIMEOUT_SECONDS = 10
USER_AGENT = "demo-content-application/1.0"


class TokenRefused(Exception):
    """A hand-off token that is not believed; the text says why."""


class ScoreNotTaken(Exception):
    """The platform did not take the score; the text says what it answered."""


@dataclass(frozen=True)
class ContentVisit:
    """Somebody who was handed over. `id` is opaque: who knows it may finish this visit."""

    id: str
    person_id: str
    name: str
    role: str
    organization: str
    course_title: str
    assignment_title: str
    scores_url: str
    return_url: str
    custom: dict[str, str]
    finished: bool

    @property
    def is_student(self) -> bool:
        return self.role == "student"


def _visit(visit_id: str, claims: dict[str, Any], finished: bool) -> ContentVisit:
    return ContentVisit(
        id=visit_id,
        person_id=claims["sub"],
        name=claims.get("name") or "Guest",
        role=claims["role"],
        organization=claims["organization"],
        course_title=claims["course"]["title"],
        assignment_title=claims["assignment"]["title"],
        scores_url=claims["scores_url"],
        return_url=claims["return_url"],
        custom=claims.get("custom") or {},
        finished=finished,
    )


def _public_key(token: str, tool: Tool) -> jwt.PyJWK:
    url = f"{tool.platform_url}/lti/1p3/{tool.organization}/jwks.json"
    try:
        wanted = jwt.get_unverified_header(token).get("kid")
        answer = requests.get(url, timeout=TIMEOUT_SECONDS, headers={"User-Agent": USER_AGENT})
        answer.raise_for_status()
        keys = jwt.PyJWKSet.from_dict(answer.json()).keys
    except jwt.PyJWTError as error:
        raise TokenRefused(f"The token cannot be read ({type(error).__name__}).") from None
    except (requests.RequestException, ValueError) as error:
        raise TokenRefused(f"The platform's keys cannot be read ({type(error).__name__}).") from None
    for key in keys:
        if key.key_id == wanted:
            return key
    raise TokenRefused("The token is signed with a key that the platform does not publish.")


def welcome(token: str, tool: Tool) -> ContentVisit:
    """Believe a token once, and only ours: signature, issuer, audience, age. Raises `TokenRefused`."""
    own = urlsplit(own_url())
    try:
        claims = jwt.decode(
            token,
            _public_key(token, tool),
            algorithms=["RS256"],
            audience=f"{own.scheme}://{own.netloc}",
            issuer=tool.platform_url,
            leeway=5,
            options={"require": ["iss", "aud", "sub", "exp", "iat", "jti", "role", "scores_url", "return_url"]},
        )
    except jwt.PyJWTError as error:
        raise TokenRefused(f"The token is not valid: {error}.") from None
    for name in ("scores_url", "return_url"):
        if not str(claims[name]).startswith(f"{tool.platform_url}/"):
            raise TokenRefused(f"The token's {name} is not the platform's.")
    visit_id = secrets.token_urlsafe(24)
    with storage.transaction() as database:
        added = database.execute(
            "INSERT INTO content_visit (id, token_id, arrived_at, claims) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (token_id) DO NOTHING",
            (visit_id, claims["jti"], datetime.now(UTC).isoformat(), json.dumps(claims)),
        )
        if added.rowcount == 0:
            raise TokenRefused("The token has been used already. Open the assignment again from your course.")
    return _visit(visit_id, claims, finished=False)


def get_visit(visit_id: str) -> ContentVisit | None:
    with storage.transaction() as database:
        row = database.execute("SELECT * FROM content_visit WHERE id = ?", (visit_id,)).fetchone()
    return _visit(row["id"], json.loads(row["claims"]), row["finished_at"] is not None) if row else None


def finish(visit: ContentVisit, points: int, tool: Tool) -> None:
    """Report the visit's score by the API. Raises `ScoreNotTaken`."""
    try:
        answer = requests.put(
            visit.scores_url,
            json={"points": points, "comment": "From the demo content application"},
            headers={"Authorization": f"Bearer {tool.api_token}", "User-Agent": USER_AGENT},
            timeout=TIMEOUT_SECONDS,
            allow_redirects=False,
        )
    except requests.RequestException as error:
        raise ScoreNotTaken(f"The platform did not answer ({type(error).__name__}).") from None
    if answer.status_code != 200:
        raise ScoreNotTaken(f"The platform answered HTTP {answer.status_code}: {answer.text[:300]}")
    with storage.transaction() as database:
        database.execute(
            "UPDATE content_visit SET finished_at = ? WHERE id = ?", (datetime.now(UTC).isoformat(), visit.id)
        )
