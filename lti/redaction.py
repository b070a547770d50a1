"""Taking secrets and personal data out of what is logged or shown to an owner (A20, J14)."""

from __future__ import annotations

import re

REDACTED = "[redacted]"

_JWT = re.compile(r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?")
_SECRET_VALUE = re.compile(
    r"(?i)\b(oauth_signature|id_token|client_assertion|access_token|registration_token|sesskey|secret|password)"
    r"(\"?\s*(?:=|:|%3D)\s*\"?)[^\s&\",;]+"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]+")
# The local part is bounded, so that a long text without an @ costs linear time.
_EMAIL_ADDRESS = re.compile(r"[A-Za-z0-9._%+'-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+")

# The return URL carries Moodle's session key (moodle.md 15).
_PERSONAL_PARAMETERS = frozenset({"user_image", "launch_presentation_return_url", "content_item_return_url"})
_PERSONAL_PARTS = ("lis_person_", "sourcedid", "username", "login_id", "user_login", "email", "secret", "token")


def is_personal(parameter: str) -> bool:
    """Whether the value of this launch parameter names a person, or gives a right to who knows it."""
    name = parameter.lower()
    return name in _PERSONAL_PARAMETERS or any(part in name for part in _PERSONAL_PARTS)


def redact(text: str) -> str:
    """The text with tokens, signatures and e-mail addresses masked."""
    for pattern, replacement in (
        (_JWT, REDACTED),
        (_SECRET_VALUE, rf"\1\2{REDACTED}"),
        (_BEARER, rf"\1 {REDACTED}"),
        (_EMAIL_ADDRESS, "[e-mail]"),
    ):
        text = pattern.sub(replacement, text)
    return text
