"""The platform's state before a launch is believed: LTI 1.0.1, 1.1.2 and 1.2.1 security update, §2 (A21)."""

from __future__ import annotations

from urllib.parse import quote

from lti.errors import LaunchError, LaunchErrorCode
from lti.return_url import safe_http_url
from lti.v1p1.launch import Form

_STATE_LIMIT = 2048


def wants_relaunch(form: Form) -> bool:
    """Whether the LMS offers to launch again with our state: it sent ``relaunch_url`` and ``platform_state``,
    and this launch does not carry a ``tool_state`` yet."""
    values = form.values
    return bool(values.get("relaunch_url") and values.get("platform_state") and not values.get("tool_state"))


def relaunch_redirect(relaunch_url: str, platform_state: str, tool_state: str) -> str:
    """Where to send the browser, so that the LMS launches again with both states.

    Raises ``LaunchError`` MALFORMED when the LMS's URL is no absolute http(s) URL or a state is too long. Only call
    it for a launch whose signature was verified: the URL is the LMS's word (J10).
    """
    if not safe_http_url(relaunch_url):
        raise LaunchError(LaunchErrorCode.MALFORMED, "relaunch_url", expected="an absolute http(s) URL")
    if len(platform_state) > _STATE_LIMIT or len(tool_state) > _STATE_LIMIT:
        raise LaunchError(LaunchErrorCode.MALFORMED, "platform_state", expected=f"at most {_STATE_LIMIT} characters")
    base, hash_mark, fragment = relaunch_url.partition("#")
    separator = "?"
    if "?" in base:
        separator = "" if base.endswith(("?", "&")) else "&"
    query = f"tool_state={quote(tool_state, safe='')}&platform_state={quote(platform_state, safe='')}"
    return f"{base}{separator}{query}{hash_mark}{fragment}"
