"""Access tokens for tools that prove who they are (Security Framework §4.1), and what tokens allow."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from django.core import signing

from demo_lms import storage
from demo_lms.course import Course, RegisteredTool
from demo_lms.tool_keys import NotGenuine, verified

LIFETIME = 3600
_SALT = "demo_lms.access_token"
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LONGEST_ASSERTION = 3600


class TokenRefused(Exception):
    """No token; `error` is OAuth's code (RFC 6749 §5.2), `status` that of the answer."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(error)
        self.error, self.description, self.status = error, description, status


@dataclass(frozen=True)
class Grant:
    """What a token allows."""

    tool: RegisteredTool
    scopes: tuple[str, ...]


def issue(form: Mapping[str, str], course: Course) -> tuple[str, Grant]:
    """A token for the scopes asked for, as far as the tool may have them. Raises `TokenRefused`."""
    if form.get("grant_type") != "client_credentials":
        raise TokenRefused("unsupported_grant_type", "grant_type must be client_credentials")
    if form.get("client_assertion_type") != _ASSERTION_TYPE:
        raise TokenRefused("invalid_request", f"client_assertion_type must be {_ASSERTION_TYPE}")
    tool = _client(form.get("client_assertion", ""), course)
    # Unknown scopes are dropped silently (moodle.md 34).
    scopes = tuple(scope for scope in form.get("scope", "").split() if scope in tool.scopes)
    if not scopes:
        raise TokenRefused("invalid_scope", "none of these scopes is the tool's")
    grant = Grant(tool, scopes)
    return signing.dumps({"client": tool.client_id, "scopes": scopes}, salt=_SALT), grant


def _client(assertion: str, course: Course) -> RegisteredTool:
    claims = _unverified(assertion)
    tool = course.active_tool(str(claims.get("sub", "")))
    if tool is None or claims.get("iss") != tool.client_id:
        raise TokenRefused("invalid_client", "no active tool has this client id", 401)
    audience = tool.preset.token_audience
    options = {"require": ["iss", "sub", "aud", "iat", "exp", "jti"], "verify_aud": bool(audience)}
    try:
        claims = verified(assertion, tool, audience=audience or None, options=options)
    except NotGenuine as error:
        raise TokenRefused("invalid_client", f"the assertion is not valid: {error}", 401) from None
    now = time.time()
    # No leeway for an assertion from ahead of our clock (moodle.md 34).
    if claims["iat"] > now or claims["exp"] > now + _LONGEST_ASSERTION:
        raise TokenRefused("invalid_client", "iat is in the future, or exp too far in it", 401)
    if tool.preset.name != "moodle" and not storage.use_once(f"jti {tool.client_id} {claims['jti']}"):
        raise TokenRefused("invalid_client", "the assertion has been used already", 401)
    return tool


def _unverified(assertion: str) -> Mapping[str, Any]:
    """The claims, to find out whose key they must be signed with."""
    try:
        claims: Mapping[str, Any] = jwt.decode(assertion, options={"verify_signature": False})
    except jwt.PyJWTError:
        raise TokenRefused("invalid_client", "the client assertion is no JWT", 401) from None
    return claims


def grant_of(authorization: str, course: Course) -> Grant | None:
    """What the bearer token of this header allows; None for one that is none of ours, too old or of a tool that is
    switched off."""
    kind, _, token = authorization.partition(" ")
    if kind.lower() != "bearer":
        return None
    try:
        kept = signing.loads(token, salt=_SALT, max_age=LIFETIME)
    except signing.BadSignature:
        return None
    tool = course.active_tool(kept["client"])
    return Grant(tool, tuple(kept["scopes"])) if tool else None
