"""The hand-off of a person to the content application of a `link` assignment (contract §5)."""

import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings
from django.urls import reverse

from courses.models import Assignment
from launches.visits import Visit
from lti.return_url import safe_http_url
from organizations.identifiers import random_token
from organizations.tool_keys import sign_jwt

TOKEN_AGE = 5 * 60


@dataclass(frozen=True)
class HandOff:
    """A form to be posted to a content application: its address, the address's origin, and the signed token."""

    content_url: str
    origin: str
    token: str


def origin_of(url: str) -> str:
    """The origin of an http(s) URL as browsers write it (RFC 6454): ASCII host, no default port.

    Raises `UnicodeError` for a host that no name server can be asked for, such as one with too long a label.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").encode("idna").decode() if parts.hostname else ""
    host = f"[{host}]" if ":" in host else host
    is_default = parts.port is None or parts.port == {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" if is_default else f"{parts.scheme}://{host}:{parts.port}"


def hand_off(visit: Visit, assignment: Assignment) -> HandOff | None:
    """A fresh token for this person and assignment; nothing when the assignment has no usable content URL.

    Every call makes a token of its own (`jti`), which the content application accepts once. It goes into a form field
    only: never into an address or a log. A look's token says who looks (`actual_user`) and names no `scores_url`: an
    application that knows nothing of looks finds nowhere to report to, rather than grading somebody else's clicks.
    """
    if not safe_http_url(assignment.content_url):
        return None
    try:
        origin = origin_of(assignment.content_url)
    except UnicodeError:
        return None
    now = int(time.time())
    course = assignment.course
    claims = {
        "iss": settings.BASE_URL,
        "aud": origin,
        "sub": str(visit.person.id),
        "name": visit.person.display_name,
        "email": visit.person.email,
        "role": visit.role,
        "organization": visit.organization.slug,
        "course": {"id": str(course.id), "title": course.name},
        "assignment": {"id": str(assignment.id), "title": assignment.title},
        "launch_id": str(visit.launch.id),
        "return_url": settings.BASE_URL + reverse("launch-return", args=[visit.launch.id]),
        "scores_url": f"{settings.BASE_URL}/api/v1/assignments/{assignment.id}/scores/{visit.person.id}",
        "custom": visit.launch.custom,
        "jti": random_token(16),
        "iat": now,
        "exp": now + TOKEN_AGE,
    }
    if visit.is_look:
        del claims["scores_url"]
        claims["actual_user"] = visit.launch.actual_user
    return HandOff(assignment.content_url, origin, sign_jwt(visit.organization, claims))
