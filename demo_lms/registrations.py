"""Dynamic Registration 1.0 from the LMS's side, as Moodle does it (moodle.md 45 to 48)."""

import hashlib
import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

from demo_lms import storage
from demo_lms.course import Course, RegisteredTool
from demo_lms.environment import own_url
from demo_lms.presets import preset_of
from demo_lms.service_answers import Answered, Asked, as_json
from lti.v1p3 import vocabulary as names
from lti.v1p3.json_text import JsonObject, UnreadableJson, object_in, read_object, text_in, texts_in

TOKEN_LIFETIME = timedelta(hours=1)
PRESET = "moodle"
_LIMIT = 256 * 1024


def configuration() -> dict[str, Any]:
    """This LMS's OpenID configuration."""
    return {
        "issuer": own_url(),
        "token_endpoint": f"{own_url()}/token",
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS256"],
        "jwks_uri": f"{own_url()}/jwks.json",
        "authorization_endpoint": f"{own_url()}/auth",
        "registration_endpoint": f"{own_url()}/registration",
        "scopes_supported": [*names.SERVICE_SCOPES, "openid"],
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public", "pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "claims_supported": ["sub", "iss", "name", "given_name", "family_name", "email"],
        names.PLATFORM_CONFIGURATION: {
            "product_family_code": "moodle",
            "version": "1.0 (demo LMS)",
            "messages_supported": [
                {"type": names.RESOURCE_LINK_REQUEST},
                {"type": names.DEEP_LINKING_REQUEST, "placements": ["ContentArea"]},
                {"type": names.SUBMISSION_REVIEW_REQUEST},
            ],
            "variables": ["Context.id", "Context.title", "Context.id.history", "ResourceLink.id", "User.id"],
        },
    }


def start(registration_url: str, *, upgrades: bool) -> str:
    """The URL to open in the frame: the one pasted, with our configuration and a one-use token added.

    `upgrades`: the tool takes the place of the LTI 1.1 tool that this LMS has. Raises `ValueError` for what is no URL.
    """
    parts = urlsplit(registration_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("Paste the whole registration URL, with http:// or https://.")
    token = secrets.token_urlsafe(32)
    with storage.transaction() as database:
        database.execute(
            "INSERT INTO registration_token (token, client_id, upgrades, nonce, made_at) VALUES (?, ?, ?, ?, ?)",
            (
                hashlib.sha256(token.encode()).hexdigest(),
                secrets.token_urlsafe(12),
                upgrades,
                secrets.token_hex(12),
                datetime.now(UTC).isoformat(),
            ),
        )
    added = {"openid_configuration": f"{own_url()}/.well-known/openid-configuration", "registration_token": token}
    return f"{registration_url}{'&' if parts.query else '?'}{urlencode(added)}"


@dataclass(frozen=True)
class _Token:
    hash: str
    client_id: str
    upgrades: bool
    nonce: str


class _Refused(Exception):
    """The text is answered as it is."""


def answer(asked: Asked, bearer: str, course: Course) -> Answered:
    """Register a tool as pending (POST), or tell what is known of it (GET)."""
    token = _token(bearer)
    title = "registration"
    if token is None:
        return Answered(401, b"Invalid or used token", "text/plain", title=title, result="HTTP 401: token")
    if asked.method == "GET":
        known = {names.TOOL_CONFIGURATION: _proof(token, course)}
        return as_json(known, "application/json", title=title, result="what is known of the tool")
    if asked.method != "POST":
        return Answered(405, title=title, result="HTTP 405")
    try:
        document = read_object(asked.body, limit=_LIMIT)
        tool = _tool(document, token.client_id)
    except UnreadableJson as error:
        return Answered(400, error.reason.encode(), "text/plain", title=title, result=f"HTTP 400: {error.reason}")
    except _Refused as refused:
        return Answered(400, str(refused).encode(), "text/plain", title=title, result=f"HTTP 400: {refused}")
    deployment_id = _store(token, tool)
    if deployment_id is None:
        return Answered(401, b"Invalid or used token", "text/plain", title=title, result="HTTP 401: token")
    granted = {
        **document,
        "client_id": token.client_id,
        "scope": " ".join(tool.scopes),
        names.TOOL_CONFIGURATION: {
            **object_in(document, names.TOOL_CONFIGURATION),
            **_proof(token, course),
            "version": names.LTI_VERSION,
            "deployment_id": deployment_id,
        },
    }
    return as_json(granted, "application/json", title=f"{title}: {tool.name}", result="registered, pending")


def _token(bearer: str) -> _Token | None:
    digest = hashlib.sha256(bearer.encode()).hexdigest()
    with storage.reading() as database:
        row = database.execute("SELECT * FROM registration_token WHERE token = ?", (digest,)).fetchone()
    if row is None or row["used_at"] or datetime.now(UTC) - datetime.fromisoformat(row["made_at"]) > TOKEN_LIFETIME:
        return None
    return _Token(digest, row["client_id"], bool(row["upgrades"]), row["nonce"])


def _proof(token: _Token, course: Course) -> dict[str, object]:
    """That this LMS knows the tool over LTI 1.1, and its secret (D44)."""
    if not token.upgrades:
        return {}
    key, secret = course.tool.consumer_key, course.tool.shared_secret
    sign = hashlib.sha256(f"{key}{secret}{token.nonce}".encode()).hexdigest()
    return {"oauth_consumer": {"key": key, "nonce": token.nonce, "sign": sign}}


def _tool(document: JsonObject, client_id: str) -> RegisteredTool:
    configuration = object_in(document, names.TOOL_CONFIGURATION)
    target, domain = text_in(configuration, "target_link_uri"), text_in(configuration, "domain")
    required = {
        "client_name": text_in(document, "client_name"),
        "initiate_login_uri": text_in(document, "initiate_login_uri"),
        "jwks_uri": text_in(document, "jwks_uri"),
        "redirect_uris": texts_in(document, "redirect_uris"),
        "target_link_uri": target,
    }
    missing = [name for name, value in required.items() if not value]
    if missing:
        raise _Refused(f"missing_{missing[0]}")
    if text_in(document, "token_endpoint_auth_method") != "private_key_jwt":
        raise _Refused("invalid_token_endpoint_auth_method")
    # Host and port, exactly (moodle.md 45).
    if domain != urlsplit(target).netloc:
        raise _Refused("domain_targetlinkuri_mismatch")
    listed = configuration.get("messages")
    messages = [text_in(one, "type") for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return RegisteredTool(
        client_id=client_id,
        deployment_id="",
        preset=preset_of(PRESET),
        name=text_in(document, "client_name"),
        login_url=text_in(document, "initiate_login_uri"),
        redirect_uris=texts_in(document, "redirect_uris"),
        jwks_url=text_in(document, "jwks_uri"),
        target_link_uri=target,
        # Without a scope there are no services (moodle.md 46).
        scopes=tuple(scope for scope in text_in(document, "scope").split() if scope in names.SERVICE_SCOPES),
        messages=tuple(dict.fromkeys([names.RESOURCE_LINK_REQUEST, *messages])),
    )


def _store(token: _Token, tool: RegisteredTool) -> str | None:
    """Keep the tool as pending; its deployment id, or None when the token has been used meanwhile."""
    kept = {
        "preset": tool.preset.name,
        "name": tool.name,
        "login_url": tool.login_url,
        "redirect_uris": tool.redirect_uris,
        "jwks_url": tool.jwks_url,
        "target_link_uri": tool.target_link_uri,
        "scopes": tool.scopes,
        "messages": tool.messages,
    }
    document = json.dumps({"client_id": tool.client_id, "deployment_id": "", **kept})
    with storage.transaction() as database:
        used = database.execute(
            "UPDATE registration_token SET used_at = ? WHERE token = ? AND used_at IS NULL",
            (datetime.now(UTC).isoformat(), token.hash),
        )
        if used.rowcount == 0:
            return None
        number = database.execute("SELECT coalesce(max(rowid), 0) + 101 FROM registered_tool").fetchone()[0]
        database.execute(
            "INSERT INTO registered_tool (client_id, deployment_id, state, document) VALUES (?, ?, 'pending', ?)",
            (tool.client_id, str(number), document),
        )
    return str(number)


def activate(tool: RegisteredTool, course: Course) -> None:
    """The administrator lets a pending tool work; one that upgrades the LTI 1.1 tool gets its links (moodle.md 47)."""
    with storage.transaction() as database:
        upgrades = database.execute(
            "SELECT 1 FROM registration_token WHERE client_id = ? AND upgrades", (tool.client_id,)
        ).fetchone()
        for link in course.links if upgrades else ():
            if not link.client_id:
                database.execute(
                    "INSERT INTO link_choice (link_id, client_id) VALUES (?, ?)"
                    " ON CONFLICT (link_id) DO UPDATE SET client_id = excluded.client_id",
                    (link.id, tool.client_id),
                )
        database.execute("UPDATE registered_tool SET state = 'active' WHERE client_id = ?", (tool.client_id,))


def remove(tool: RegisteredTool) -> None:
    """Take a registered tool away; its links are launched over LTI 1.1 from now on."""
    with storage.transaction() as database:
        database.execute("DELETE FROM registered_tool WHERE client_id = ?", (tool.client_id,))
        database.execute("DELETE FROM link_choice WHERE client_id = ?", (tool.client_id,))
        database.execute("UPDATE added_link SET client_id = '' WHERE client_id = ?", (tool.client_id,))
