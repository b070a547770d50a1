"""Small treatments of text that came from outside. Texts stay raw otherwise: pages escape them (A32)."""

from __future__ import annotations

import re

_CONTROL_RUN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_ILLEGAL_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_UNRESOLVED_VARIABLE = re.compile(r"^(?:\$[A-Z]|@X@)")


def without_nul(text: str) -> str:
    """The text without NUL characters, which PostgreSQL cannot store; markup and entities stay as sent (A32)."""
    return text.replace("\x00", "")


def single_line(text: str) -> str:
    """The text on one line: every run of line breaks and control characters becomes one space."""
    return _CONTROL_RUN.sub(" ", text).strip()


def truncated(text: str, limit: int) -> str:
    """At most ``limit`` characters, the last one an ellipsis where something was cut off."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def legal_in_xml(text: str) -> str:
    """The text without the characters that XML 1.0 cannot hold (production 2, Char)."""
    return _ILLEGAL_IN_XML.sub("", text)


def resolved(value: str) -> str:
    """The trimmed value, or ``""`` for a substitution variable that the LMS left as it was (A38)."""
    stripped = value.strip()
    return "" if _UNRESOLVED_VARIABLE.match(stripped) else stripped
