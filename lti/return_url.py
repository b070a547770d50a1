"""Going back to the LMS with a message (A42, A43), and which URLs are safe to send somebody to (J10)."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import quote, urlsplit

from lti.texts import single_line

TEXT_LIMIT = 500
URL_LIMIT = 2000

_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\x9f\\<>\"\u2028\u2029]")
_HOST_NAME = re.compile(r"^[^\s/?#@:\[\]]+$")


def safe_http_url(url: str) -> bool:
    """Whether this is an absolute http(s) URL without user info, backslashes, spaces or control characters."""
    if not url or _FORBIDDEN.search(url):
        return False
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    if parts.scheme not in {"http", "https"} or "@" in parts.netloc or not parts.hostname or port == 0:
        return False
    if parts.netloc.startswith("["):
        try:
            ipaddress.IPv6Address(parts.hostname)
        except ValueError:
            return False
        return True
    return bool(_HOST_NAME.match(parts.hostname)) and not parts.netloc.endswith(":")


def return_url_with_message(
    return_url: str, *, message: str = "", error_message: str = "", log: str = "", error_log: str = ""
) -> str:
    """The return URL with ``lti_msg``, ``lti_errormsg``, ``lti_log`` and ``lti_errorlog`` appended (LTI 1.1 §3).

    The query that the URL has stays as it is (Moodle's holds its session key). Texts are put on one line and cut to
    500 characters each, and further until the whole URL has at most 2000; a text for which no room is left is left
    out, texts for the person before texts for the log. Raises ``ValueError`` for a URL that is not safe.
    """
    if not safe_http_url(return_url):
        msg = "the return URL is not an absolute http(s) URL"
        raise ValueError(msg)
    base, hash_mark, fragment = return_url.partition("#")
    room = URL_LIMIT - len(return_url)
    for name, text in (
        ("lti_errormsg", error_message),
        ("lti_msg", message),
        ("lti_errorlog", error_log),
        ("lti_log", log),
    ):
        text = single_line(text)[:TEXT_LIMIT]
        if not text:
            continue
        separator = _separator(base)
        prefix = f"{separator}{name}="
        encoded = _quoted_within(text, room - len(prefix))
        if encoded:
            base += prefix + encoded
            room -= len(prefix) + len(encoded)
    return base + hash_mark + fragment


def _separator(base: str) -> str:
    if "?" not in base:
        return "?"
    return "" if base.endswith(("?", "&")) else "&"


def _quoted_within(text: str, room: int) -> str:
    """The longest beginning of the text whose percent-encoded form fits into ``room`` characters."""
    encoded: list[str] = []
    for character in text:
        piece = quote(character, safe="", errors="replace")
        room -= len(piece)
        if room < 0:
            break
        encoded.append(piece)
    return "".join(encoded)
