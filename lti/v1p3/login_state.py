"""The ``state`` of a login: a signed, short-lived token bound to registration, browser and nonce (D7, D15).

Its single use is the launch row's, by the nonce. It holds nothing about the person.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from lti.errors import LaunchError, LaunchErrorCode
from lti.v1p3.json_text import UnreadableJson, number_in, read_object, text_in

LIFETIME = 600
_LENGTH_LIMIT = 2048


@dataclass(frozen=True, slots=True)
class LoginState:
    """What a login remembers until its answer; ``browser`` is the digest of the browser's secret, see
    ``browser_digest``. ``expires_at`` is in seconds since the epoch."""

    registration: str
    browser: str
    nonce: str = field(repr=False)
    expires_at: int


def browser_digest(browser_secret: str) -> str:
    """The browser's secret (its cookie, or what its platform storage keeps) as a state holds it."""
    return _encoded(hashlib.sha256(browser_secret.encode("utf-8", "surrogatepass")).digest())


def sign_state(state: LoginState, secret: str) -> str:
    """The state as a token of URL-safe characters (moodle.md 30)."""
    payload = _encoded(
        json.dumps(
            {"r": state.registration, "b": state.browser, "n": state.nonce, "e": state.expires_at},
            separators=(",", ":"),
        ).encode()
    )
    return f"{payload}.{_signature(payload, secret)}"


def read_state(token: str, secrets: Sequence[str], *, now: int) -> LoginState:
    """The state that we signed with one of the secrets.

    Raises ``LaunchError`` STATE_MISMATCH for what we did not sign, or what is older than its lifetime: both begin the
    login anew. Whether the browser is the same is for ``check_browser``.
    """
    payload, _, signature = token.partition(".")
    genuine = False
    if len(token) <= _LENGTH_LIMIT and token.isascii():
        for secret in secrets:
            genuine |= hmac.compare_digest(_signature(payload, secret), signature)
    if not genuine:
        raise _mismatch("state", "The state is not one that we gave: a forged answer, or the login began elsewhere.")
    try:
        values = read_object(_decoded(payload), limit=_LENGTH_LIMIT)
    except (UnreadableJson, binascii.Error):
        raise _mismatch("state", "The state is not one that we gave.") from None
    state = LoginState(
        registration=text_in(values, "r"),
        browser=text_in(values, "b"),
        nonce=text_in(values, "n"),
        expires_at=int(number_in(values, "e") or 0),
    )
    if state.expires_at <= now:
        raise _mismatch("age of the state", "The login took too long, or an old one was sent again.")
    return state


def check_browser(state: LoginState, browser_secret: str) -> None:
    """Raise ``LaunchError`` STATE_MISMATCH unless the login began in this very browser (D15, D27)."""
    if not browser_secret or not hmac.compare_digest(state.browser, browser_digest(browser_secret)):
        raise _mismatch("browser", "The login began in another browser, or this one blocks cookies and storage here.")


def _mismatch(check: str, cause: str) -> LaunchError:
    return LaunchError(LaunchErrorCode.STATE_MISMATCH, check, cause=cause)


def _signature(payload: str, secret: str) -> str:
    return _encoded(hmac.new(secret.encode(), b"lti-login-state:" + payload.encode(), hashlib.sha256).digest())


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
