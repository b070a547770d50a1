"""The LMS's side of Names and Role Provisioning, for tests: tokens and pages of members, on loopback."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.core.cache import cache
from django.test import override_settings

from courses.models import Course, LmsCourse
from lti.v1p3 import vocabulary as names
from organizations.models import Installation
from organizations.shared_cache import platform_tokens
from tests.factories import DeploymentFactory, RegistrationFactory
from tests.loopback import Loopback, Received, Reply, serve

CONTAINER = {"Content-Type": names.MEMBERSHIPS_TYPE}


def member(user_id: str, role: str = "Learner", **changes: Any) -> dict[str, Any]:
    """A member as an LMS lists them; a change to None leaves the field out."""
    listed = {
        "user_id": user_id,
        "roles": [role] if role else [],
        "status": "Active",
        "name": f"Name of {user_id}",
        "email": f"{user_id}@lms.example",
        **changes,
    }
    return {name: value for name, value in listed.items() if value is not None}


def members_page(members: list[dict[str, Any]], link: str = "") -> Reply:
    body = json.dumps({"id": "http://lms/memberships", "context": {"id": "2"}, "members": members}).encode()
    return Reply(200, body, CONTAINER | ({"Link": link} if link else {}))


@dataclass
class RosterLms:
    """`members` is the roster now; `page_size` how many it names in one answer (0: all of them).

    `manners` may answer a membership request before the roster does (None: it does not). `roster_requests` are the
    membership requests that came, `token_requests` how often a token was asked for.
    """

    members: list[dict[str, Any]] = field(default_factory=list)
    page_size: int = 0
    manners: Callable[[Received], Reply | None] = lambda received: None
    scopes: str = names.SCOPE_MEMBERSHIP
    differences: list[dict[str, Any]] | None = None
    roster_requests: list[Received] = field(default_factory=list)
    token_requests: int = 0
    server: Loopback | None = None

    @property
    def url(self) -> str:
        if self.server is None:
            raise RuntimeError("The LMS does not run.")
        return self.server.url

    @property
    def memberships_url(self) -> str:
        return f"{self.url}/memberships?course=2"

    def answer(self, received: Received) -> Reply:
        if received.path.startswith("/token"):
            self.token_requests += 1
            token = {"access_token": "tok", "token_type": "Bearer", "expires_in": 3600, "scope": self.scopes}
            return Reply(200, json.dumps(token).encode(), {"Content-Type": "application/json"})
        self.roster_requests.append(received)
        mannered = self.manners(received)
        if mannered is not None:
            return mannered
        query = {name: values[0] for name, values in parse_qs(urlsplit(received.path).query).items()}
        if (
            received.headers.get("Accept") != names.MEMBERSHIPS_TYPE
            or received.headers["Authorization"] != "Bearer tok"
        ):
            return Reply(400, b"No handler found")
        if "since" in query:
            return members_page(self.differences or [], self._differences_link())
        size, start = self.page_size or int(query.get("limit", "0")), int(query.get("from", "0"))
        if not size:
            return members_page(self.members, self._differences_link())
        limit = f"&limit={query['limit']}" if "limit" in query else ""
        following = f'<{self.memberships_url}{limit}&from={start + size}>; rel="next"'
        more = start + size < len(self.members)
        return members_page(self.members[start : start + size], following if more else self._differences_link())

    def _differences_link(self) -> str:
        return "" if self.differences is None else f'<{self.memberships_url}&since=9>; rel="differences"'

    def opens(self, course: Course, installation: Installation | None = None, **fields: Any) -> LmsCourse:
        """An LMS course of this LMS that opens the course, and has said where its roster is."""
        if installation is None:
            registration: Any = RegistrationFactory(
                installation__organization=course.organization, token_url=f"{self.url}/token", jwks_url=""
            )
        else:
            registration = RegistrationFactory(
                installation=installation, organization=installation.organization, token_url=f"{self.url}/token"
            )
        deployment: Any = DeploymentFactory(registration=registration)
        values = {"context_id": "2", "title": "Rhetoric at the LMS", **fields}
        return LmsCourse.objects.create(
            installation=registration.installation,
            deployment=deployment,
            course=course,
            memberships_url=self.memberships_url,
            **values,
        )


@contextmanager
def serve_roster(*members: dict[str, Any], **fields: Any) -> Iterator[RosterLms]:
    """An LMS with this roster on loopback, which may be called while the block lasts."""
    lms = RosterLms(list(members), **fields)
    with (
        override_settings(OUTBOUND_ALLOW_HTTP=True, OUTBOUND_ALLOWED_PRIVATE_HOSTS=["127.0.0.1"]),
        serve(lms.answer) as server,
    ):
        lms.server = server
        _forget_tokens()
        yield lms
    _forget_tokens()


def _forget_tokens() -> None:
    """Tokens that were got, and the client that got them, which keeps the settings of its time."""
    cache.clear()
    platform_tokens.cache_clear()
