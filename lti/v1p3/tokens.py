"""Access tokens, asked for with an assertion that the tool's key signs (RFC 7523, Security Framework §4.1).

Requirements D34 to D36; how a real platform refuses is moodle.md 5 and 34.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from urllib.parse import urlencode

import jwt

from lti.outbound import OutboundResponse
from lti.v1p1.outcomes import Judgement, OutcomeVerdict
from lti.v1p3.json_text import UnreadableJson, number_in, read_object, text_in
from lti.v1p3.sending import Clock, Sender, SharedCache
from lti.v1p3.services import ServiceFailed, excerpt, judge, refused, send, unreadable

#: Signs claims as an RS256 JWT whose header names the key.
Signer = Callable[[dict[str, object]], str]

#: Seconds. Moodle refuses an assertion from ahead of its clock without leeway (moodle.md 34).
BACKDATED = 30
LIFETIME = 240
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ANSWER_LIMIT = 256 * 1024
_LONGEST, _UNSAID = 24 * 3600, 600
_MARGIN = 60
#: How long a refusal stands for all who wait: a burst of grades is one failed request, not hundreds.
_REFUSAL_SECONDS = 5
_LOCK_SECONDS = 40

_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")
_CLOCK = re.compile(r"expired|\biat\b|\bexp\b|clock|not yet valid|prior to", re.IGNORECASE)
_KEY = re.compile(r"\bkid\b|signature|public key|jwks|key ?set", re.IGNORECASE)


def rs256_signer(private_key_pem: str, key_id: str) -> Signer:
    """A signer with one RSA key."""
    return lambda claims: jwt.encode(claims, private_key_pem, algorithm="RS256", headers={"kid": key_id})


@dataclass(frozen=True, slots=True)
class ToolClient:
    """The tool as the platform's token endpoint knows it; ``audience`` is ``""`` where it is the token URL (D34)."""

    client_id: str
    token_url: str
    audience: str = ""
    deployment_id: str = ""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token and what it allows; ``good_until`` is in seconds since the epoch, some time before it expires."""

    value: str = field(repr=False)
    scopes: frozenset[str]
    good_until: float


def assertion_claims(client: ToolClient, *, now: float, jti: str) -> dict[str, object]:
    """The claims that identify the tool at the token endpoint (D34)."""
    claims: dict[str, object] = {
        "iss": client.client_id,
        "sub": client.client_id,
        "aud": client.audience or client.token_url,
        "iat": int(now) - BACKDATED,
        "exp": int(now) + LIFETIME,
        "jti": jti,
    }
    if client.deployment_id:
        claims["https://purl.imsglobal.org/spec/lti/claim/deployment_id"] = client.deployment_id
    return claims


def token_form(assertion: str, scopes: Iterable[str]) -> bytes:
    """The body of a token request."""
    return urlencode(
        {
            "grant_type": "client_credentials",
            "client_assertion_type": _ASSERTION_TYPE,
            "client_assertion": assertion,
            "scope": " ".join(sorted(set(scopes))),
        }
    ).encode("ascii")


def parse_token(response: OutboundResponse, *, asked: Iterable[str], now: float) -> AccessToken:
    """The token of an answer; ``asked`` counts where the answer names no scope (RFC 6749 §5.1).

    Raises ``ServiceFailed`` for anything else than a bearer token, with what to do about it.
    """
    if response.status != 200 and response.status != 201:
        raise ServiceFailed(_judged(response))
    try:
        answer = read_object(response.body, limit=_ANSWER_LIMIT)
    except UnreadableJson as error:
        raise unreadable("an access token", response, error.reason) from None
    if text_in(answer, "error"):
        raise ServiceFailed(_judged(response))
    value = text_in(answer, "access_token")
    if not _TOKEN.fullmatch(value) or text_in(answer, "token_type").lower() not in {"bearer", ""}:
        raise refused("token_unusable", "The LMS answered with a token that cannot be used.")
    granted = text_in(answer, "scope").split() if "scope" in answer else list(asked)
    lifetime = min(max(_seconds(text_in(answer, "expires_in")), 0), _LONGEST)
    return AccessToken(value, frozenset(granted), now + lifetime - min(_MARGIN, lifetime / 10))


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return _UNSAID


def _judged(response: OutboundResponse) -> Judgement:
    """What a refused token request means. Error bodies may be broken JSON, plain text or HTML (moodle.md 34)."""
    detail = excerpt(response.body)
    general = judge(response.status, response.headers, response.body)
    if general.verdict is OutcomeVerdict.RETRY or general.reason_code == "redirected":
        return general
    text = response.body[:4096].decode("utf-8", "replace")
    if response.status == 404 and "<html" in text.lower():
        # Moodle's way of saying that it could not read our key set (moodle.md 5).
        explanation = "The LMS gives no access token. Most likely its server cannot read this tool's public keys: its "
        explanation += "administrator should allow this tool's host and port in the LMS's outgoing-connection settings."
        return Judgement(OutcomeVerdict.RETRY, "token_endpoint_page", explanation, None, detail)
    known = (
        ("invalid_scope", OutcomeVerdict.REFUSED, "The LMS allows this tool none of the services asked for."),
        ("invalid_client", OutcomeVerdict.UNAUTHORIZED, "The LMS does not know this client id, or refuses our key."),
        ("unauthorized_client", OutcomeVerdict.UNAUTHORIZED, "The LMS does not allow this client id access tokens."),
    )
    for code, verdict, explanation in known:
        if code in text:
            return Judgement(verdict, code, explanation, None, detail)
    if _KEY.search(text):
        explanation = "The LMS did not accept our signature: it may not have read this tool's public keys yet."
        return Judgement(OutcomeVerdict.UNAUTHORIZED, "assertion_key", explanation, None, detail)
    if _CLOCK.search(text):
        explanation = "The LMS did not accept the time of our request: its clock and ours differ."
        return Judgement(OutcomeVerdict.UNAUTHORIZED, "assertion_time", explanation, None, detail)
    explanation = f"The LMS gave no access token (HTTP {response.status})."
    return Judgement(OutcomeVerdict.UNAUTHORIZED, "token_refused", explanation, None, detail)


class Tokens:
    """Access tokens, cached in all processes together, each asked for by one at a time."""

    def __init__(self, cache: SharedCache, sender: Sender, clock: Clock) -> None:
        self._cache, self._sender, self._clock = cache, sender, clock

    def get(self, client: ToolClient, scopes: Iterable[str], sign: Signer) -> AccessToken:
        """A token of this client for these scopes, of which the platform may have granted fewer.

        Raises ``ServiceFailed``; without any scope to ask for there is no call (D36).
        """
        asked = sorted(set(scopes))
        if not asked:
            raise refused("no_scope", "The LMS offers this tool none of its services.")
        name = _cache_name(client, asked)
        token = self._cached(name)
        if token is not None:
            return token
        with self._cache.lock(f"{name}:lock", _LOCK_SECONDS):
            token = self._cached(name)
            if token is not None:
                return token
            return self._fetched(name, client, asked, sign)

    def forget(self, client: ToolClient, scopes: Iterable[str], token: AccessToken) -> None:
        """Forget a token that was not accepted, but not one that another process has got since."""
        name = _cache_name(client, sorted(set(scopes)))
        with self._cache.lock(f"{name}:lock", _LOCK_SECONDS):
            kept = self._cache.get(name)
            if kept is not None and text_in(_object(kept), "value") == token.value:
                self._cache.delete(name)

    def _cached(self, name: str) -> AccessToken | None:
        kept = self._cache.get(name)
        if kept is None:
            return None
        values = _object(kept)
        good_until = number_in(values, "good_until") or 0
        if good_until <= self._clock():
            return None
        if "refusal" in values:
            raise ServiceFailed(_read_judgement(text_in(values, "refusal")))
        return AccessToken(text_in(values, "value"), frozenset(text_in(values, "scopes").split()), good_until)

    def _fetched(self, name: str, client: ToolClient, asked: list[str], sign: Signer) -> AccessToken:
        now = self._clock()
        try:
            body = token_form(sign(assertion_claims(client, now=now, jti=secrets.token_urlsafe(24))), asked)
            headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
            response = send(self._sender, "POST", client.token_url, headers=headers, body=body)
            token = parse_token(response, asked=asked, now=now)
        except ServiceFailed as failure:
            refusal = {"refusal": _written_judgement(failure.judgement), "good_until": self._clock() + _REFUSAL_SECONDS}
            self._cache.set(name, json.dumps(refusal), _REFUSAL_SECONDS)
            raise
        seconds = int(token.good_until - now)
        if seconds > 0:
            kept = {"value": token.value, "scopes": " ".join(sorted(token.scopes)), "good_until": token.good_until}
            self._cache.set(name, json.dumps(kept), seconds)
        return token


@dataclass(frozen=True)
class RegistrationTokens:
    """The tokens of one registration, for ``services.PlatformServices``."""

    tokens: Tokens
    client: ToolClient
    scopes: tuple[str, ...]
    sign: Signer = field(repr=False)

    def get(self) -> AccessToken:
        """A token that is good now. Raises ``ServiceFailed``."""
        return self.tokens.get(self.client, self.scopes, self.sign)

    def forget(self, token: AccessToken) -> None:
        """This token was not accepted."""
        self.tokens.forget(self.client, self.scopes, token)


def _cache_name(client: ToolClient, scopes: list[str]) -> str:
    parts = json.dumps([client.token_url, client.client_id, client.audience, client.deployment_id, scopes])
    return f"lti-token:{hashlib.sha256(parts.encode()).hexdigest()}"


def _object(text: str) -> dict[str, object]:
    found = json.loads(text)
    return found if isinstance(found, dict) else {}


def _written_judgement(judgement: Judgement) -> str:
    return json.dumps(
        [judgement.verdict, judgement.reason_code, judgement.explanation, judgement.retry_after, judgement.detail]
    )


def _read_judgement(text: str) -> Judgement:
    verdict, reason_code, explanation, wait, detail = json.loads(text)
    return Judgement(OutcomeVerdict(verdict), reason_code, explanation, wait, detail)
