"""Third-party initiated login: what the LMS sends first, where the browser goes then, and what comes back.

OpenID Connect Core §4 and §3.1.2.1, 1EdTech Security Framework §5.1.1; requirements D5 to D10.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote_plus, urlencode, urlsplit

from lti.errors import LaunchError, LaunchErrorCode
from lti.return_url import safe_http_url
from lti.v1p1.oauth1 import decode_pairs

BODY_LIMIT = 256 * 1024
FIELD_LIMIT = 100
ID_LIMIT = 255
URL_LIMIT = 4096
HINT_LIMIT = 8 * 1024

_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_IDS = ("client_id", "lti_deployment_id", "deployment_id", "lti_storage_target", "canvas_region", "canvas_environment")
_STORAGE_TARGET = re.compile(r"[A-Za-z0-9_.-]{1,100}")

# RFC 6749 §4.1.2.1, OpenID Connect Core §3.1.2.6.
_ERROR_CAUSES = {
    "login_required": "The LMS says that nobody is signed in there, or its session cookie was blocked in the frame.",
    "interaction_required": "The LMS wants to ask the person something first, which it cannot do in a launch.",
    "consent_required": "The LMS wants the person's consent first, which it cannot ask for in a launch.",
    "access_denied": "The LMS refuses this person, or somebody else has signed in there in the meantime.",
    "unauthorized_client": "The LMS does not know this client id, or the tool is switched off there.",
    "invalid_request": "The LMS does not accept the login: its tool settings name another redirect URI, or it is old.",
    "invalid_scope": "The LMS does not accept the scope openid; its tool settings are not those of LTI 1.3.",
    "server_error": "The LMS has a fault of its own. Try again later.",
    "temporarily_unavailable": "The LMS is busy. Try again later.",
}


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """A login as the LMS starts it; nothing of it is verified (D8).

    ``message_hint`` is ``None`` where none came; it goes back as it is. ``storage_target`` names the frame that keeps
    data for the tool (``lti_storage_target``), or is ``""``.
    """

    issuer: str
    login_hint: str
    target_link_uri: str
    message_hint: str | None = None
    client_id: str = ""
    deployment_id: str = ""
    storage_target: str = ""
    canvas_region: str = ""
    canvas_environment: str = ""


@dataclass(frozen=True, slots=True)
class LoginAnswer:
    """What the platform posts to the launch URL: a token that is not verified yet, and our state."""

    id_token: str = field(repr=False)
    state: str = field(repr=False)


def _malformed(check: str, *, received: str = "", status: int | None = None, cause: str = "") -> LaunchError:
    return LaunchError(LaunchErrorCode.MALFORMED, check, received=received, status=status, cause=cause)


def _missing(name: str, cause: str) -> LaunchError:
    return LaunchError(LaunchErrorCode.MISSING_PARAMETER, name, expected=name, cause=cause)


def _form_values(encoded: bytes, where: str) -> dict[str, str]:
    if len(encoded) > BODY_LIMIT:
        raise _malformed(f"size of the {where}", received=f"{len(encoded)} bytes", status=413)
    if encoded.count(b"&") >= FIELD_LIMIT:
        raise _malformed(f"number of parameters in the {where}", received=f"more than {FIELD_LIMIT}")
    try:
        pairs = decode_pairs(encoded)
    except UnicodeDecodeError:
        raise _malformed(f"the {where} is UTF-8") from None
    values = dict(pairs)
    if len(values) != len(pairs):
        raise _malformed(f"each parameter once in the {where}")
    for name, value in pairs:
        if "\x00" in name or "\x00" in value:
            raise _malformed(f"no NUL character in the {where}", received=name)
    return values


def _check_form(content_type: str) -> None:
    if content_type.split(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise _malformed("content type", received=content_type, status=415)


def read_login(*, method: str, query: bytes = b"", body: bytes = b"", content_type: str = "") -> LoginRequest:
    """The login request of a GET's query or a POST's form (D5).

    Raises ``LaunchError`` MALFORMED (400, 405, 413, 415) or MISSING_PARAMETER.
    """
    values = _form_values(query, "query")
    if method.upper() == "POST":
        _check_form(content_type)
        posted = _form_values(body, "body")
        for name in values.keys() & posted.keys():
            if values[name] != posted[name]:
                raise _malformed("one value for each parameter", received=name)
        values |= posted
    elif method.upper() != "GET":
        raise _malformed("request method", received=method, status=405)
    for name in ("iss", "login_hint", "target_link_uri"):
        if not values.get(name):
            raise _missing(name, "What was opened is no LTI 1.3 login, or the LMS left something out of it.")
    _check_login_values(values)
    target = values.get("lti_storage_target", "")
    return LoginRequest(
        issuer=values["iss"],
        login_hint=values["login_hint"],
        target_link_uri=values["target_link_uri"],
        message_hint=values.get("lti_message_hint"),
        client_id=values.get("client_id", ""),
        deployment_id=values.get("lti_deployment_id", "") or values.get("deployment_id", ""),
        storage_target=target if _STORAGE_TARGET.fullmatch(target) else "",
        canvas_region=values.get("canvas_region", ""),
        canvas_environment=values.get("canvas_environment", ""),
    )


def _check_login_values(values: Mapping[str, str]) -> None:
    limits = dict.fromkeys(_IDS, ID_LIMIT)
    limits |= {"iss": URL_LIMIT, "target_link_uri": URL_LIMIT, "login_hint": HINT_LIMIT, "lti_message_hint": HINT_LIMIT}
    for name, limit in limits.items():
        value = values.get(name, "")
        if len(value) > limit:
            raise _malformed("length of a parameter", received=f"{name}: {len(value)} characters")
        # The hint is the platform's own text and goes back as it came, percent-encoded.
        if name != "lti_message_hint" and _CONTROL_CHARACTER.search(value):
            raise _malformed("no control character in a parameter", received=name)
    if not safe_http_url(values["target_link_uri"]):
        raise _malformed("target_link_uri is a URL", received=values["target_link_uri"])


def new_nonce() -> str:
    """A nonce of 192 bits in URL-safe characters, which Moodle's text filter leaves as they are (D7, moodle.md 30)."""
    return secrets.token_urlsafe(24)


def authorization_url(
    auth_login_url: str, login: LoginRequest, *, client_id: str, redirect_uri: str, state: str, nonce: str
) -> str:
    """Where the browser goes: the platform's authorization endpoint with these parameters, once each (D6).

    The query that the endpoint has stays as it is, but for parameters of the same names. Raises ``ValueError`` for an
    endpoint that is no http(s) URL.
    """
    if not safe_http_url(auth_login_url):
        msg = "the authorization endpoint is not an absolute http(s) URL"
        raise ValueError(msg)
    parameters = {
        "scope": "openid",
        "response_type": "id_token",
        "response_mode": "form_post",
        "prompt": "none",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "login_hint": login.login_hint,
        "state": state,
        "nonce": nonce,
    }
    if login.message_hint is not None:
        parameters["lti_message_hint"] = login.message_hint
    base, _, query = auth_login_url.partition("#")[0].partition("?")
    kept = [piece for piece in query.split("&") if piece and unquote_plus(piece.partition("=")[0]) not in parameters]
    return f"{base}?{'&'.join([*kept, urlencode(parameters, quote_via=quote, safe='')])}"


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL: where messages to a platform's storage go and come from (D25)."""
    parts = urlsplit(url)
    default = {"https": 443, "http": 80}.get(parts.scheme)
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname or ""
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port and parts.port != default else "")


def read_answer(*, method: str, body: bytes, content_type: str) -> LoginAnswer:
    """What was posted to the launch URL after a login (D9).

    Raises ``LaunchError`` MALFORMED (400, 405, 413, 415), MISSING_PARAMETER, or PLATFORM_ERROR when the platform
    answers with an error; its own words are in ``received``.
    """
    if method.upper() != "POST":
        raise _malformed(
            "request method",
            received=method,
            status=405,
            cause="The launch URL was opened directly; it is for the LMS.",
        )
    _check_form(content_type)
    values = _form_values(body, "body")
    error = values.get("error", "")
    if error:
        said = " ".join(part for part in (error, values.get("error_description", "")) if part)
        cause = _ERROR_CAUSES.get(error, "The LMS refused the login.")
        raise LaunchError(LaunchErrorCode.PLATFORM_ERROR, "the login at the LMS", received=said, cause=cause)
    for name in ("id_token", "state"):
        if not values.get(name):
            raise _missing(name, "What was posted is no answer to an LTI 1.3 login.")
    return LoginAnswer(id_token=values["id_token"], state=values["state"])
