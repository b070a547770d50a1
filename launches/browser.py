"""The cookie that names the browser, and what is derived from it (design §5, D24, D28).

A launch writes no session row: its row remembers the browser it was bound to, a page under /launches/<id>/ checks the
pair, and two launches in one browser stay two.
"""

import hashlib
import re
from dataclasses import dataclass
from uuid import UUID

from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare, salted_hmac

from organizations.identifiers import random_token

COOKIE = "__Host-browser"
COOKIE_AGE = 30 * 24 * 3600
TICKET_AGE = 5 * 60
_WELL_FORMED = re.compile(r"[A-Za-z0-9_-]{43}")
_TICKET_SALT = "launches.ticket"


@dataclass(frozen=True)
class Browser:
    """The browser in front of us. `returned` says whether its cookie came with this request."""

    value: str
    returned: bool

    @property
    def digest(self) -> str:
        """What is stored: SHA-256, hexadecimal."""
        return hashlib.sha256(self.value.encode()).hexdigest()

    def token(self, launch_id: UUID) -> str:
        """The token that every form of a launch's pages carries: nobody else's page can know it (J13)."""
        return salted_hmac("launches.token", f"{launch_id}:{self.value}", algorithm="sha256").hexdigest()

    def token_matches(self, launch_id: UUID, token: str) -> bool:
        return constant_time_compare(self.token(launch_id), token)


def browser_of(request: HttpRequest) -> Browser | None:
    """The browser by its cookie, if it sent one."""
    value = request.COOKIES.get(COOKIE, "")
    return Browser(value, returned=True) if _WELL_FORMED.fullmatch(value) else None


def browser_from(value: str) -> Browser | None:
    """The browser by what the LMS kept for it; its cookie did not come back."""
    return Browser(value, returned=False) if _WELL_FORMED.fullmatch(value) else None


def new_browser() -> Browser:
    return Browser(random_token(), returned=False)


def remember_browser(response: HttpResponse, browser: Browser) -> None:
    """Sets the cookie. `Secure` also on http://localhost, which browsers count as secure; `Partitioned` is added by the
    middleware."""
    response.set_cookie(
        COOKIE, browser.value, max_age=COOKIE_AGE, path="/", secure=True, httponly=True, samesite="None"
    )


def make_ticket(launch_id: UUID) -> str:
    """A ticket that opens the launch in a new window: once, within five minutes."""
    return signing.dumps(str(launch_id), salt=_TICKET_SALT)


def ticket_is_for(ticket: str, launch_id: UUID) -> bool:
    try:
        return bool(signing.loads(ticket, salt=_TICKET_SALT, max_age=TICKET_AGE) == str(launch_id))
    except signing.BadSignature:
        return False
