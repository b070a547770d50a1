"""A platform of LTI 1.3 for tests: it signs and verifies with cryptography alone, not with what the tool uses."""

from __future__ import annotations

import base64
import json
import threading
from contextlib import contextmanager
from functools import cache
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from requests.structures import CaseInsensitiveDict

from lti.outbound import OutboundResponse
from lti.v1p3 import vocabulary as names
from lti.v1p3.id_token import Expected, verify
from lti.v1p3.key_sets import parse_key_set

NOW = 1_800_000_000
ISSUER, CLIENT_ID, NONCE = "https://lms.example", "client-1", "nonce-of-this-login"
TARGET = "https://tool.example/lti/assignments/7?assignment=hello"


@cache
def key(number: int = 0, bits: int = 2048) -> rsa.RSAPrivateKey:
    """One of a few keys, made once."""
    del number
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def pem_of(private_key: rsa.RSAPrivateKey) -> str:
    return private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def public_pem_of(private_key: rsa.RSAPrivateKey) -> str:
    return (
        private_key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def jwk_of(private_key: rsa.RSAPrivateKey, kid: str | None = "k1", **members: Any) -> dict[str, Any]:
    numbers = private_key.public_key().public_numbers()
    jwk = {
        "kty": "RSA",
        "alg": "RS256",
        "use": "sig",
        "kid": kid,
        "n": b64(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")),
        "e": b64(numbers.e.to_bytes(3, "big")),
        **members,
    }
    return {name: value for name, value in jwk.items() if value is not None}


def jwks(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


def signed(payload: Any, private_key: rsa.RSAPrivateKey | None = None, header: dict[str, Any] | None = None) -> str:
    """A JWS in compact form (RFC 7515 §7.1), made by hand."""
    header = {"typ": "JWT", "alg": "RS256", "kid": "k1", **(header or {})}
    header = {name: value for name, value in header.items() if value is not None}
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    head = f"{b64(json.dumps(header).encode())}.{b64(body)}"
    signature = (private_key or key()).sign(head.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{head}.{b64(signature)}"


def verified(token: str, public_key: rsa.RSAPublicKey) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token whose RS256 signature is right; raises ``InvalidSignature``."""
    head, payload, signature = token.split(".")
    public_key.verify(unb64(signature), f"{head}.{payload}".encode(), padding.PKCS1v15(), hashes.SHA256())
    return json.loads(unb64(head)), json.loads(unb64(payload))


def is_signed_by(token: str, public_key: rsa.RSAPublicKey) -> bool:
    try:
        verified(token, public_key)
    except InvalidSignature:
        return False
    return True


def launch_claims(**changes: Any) -> dict[str, Any]:
    """The claims of a student's launch. Names of LTI claims may be short; ``None`` takes one away."""
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": CLIENT_ID,
        "sub": "u-1",
        "iat": NOW,
        "exp": NOW + 60,
        "nonce": NONCE,
        names.VERSION: "1.3.0",
        names.MESSAGE_TYPE: "LtiResourceLinkRequest",
        names.DEPLOYMENT_ID: "d-1",
        names.TARGET_LINK_URI: TARGET,
        names.RESOURCE_LINK: {"id": "rl-1", "title": "Hello"},
        names.CONTEXT: {"id": "c-1", "title": "Course"},
        names.ROLES: ["http://purl.imsglobal.org/vocab/lis/v2/membership#Learner"],
    }
    plain = {"iss", "aud", "azp", "sub", "iat", "exp", "nonce", "name", "email", "locale", "picture"}
    for name, value in changes.items():
        full = name if name in plain or ":" in name else f"{names.CLAIM}{name}"
        claims[full] = value
    return {name: value for name, value in claims.items() if value is not None}


def expectation(**changes: Any) -> Expected:
    values = {
        "issuer": ISSUER,
        "client_id": CLIENT_ID,
        "nonce": NONCE,
        "is_ours": lambda url: url.startswith("https://tool.example/"),
        **changes,
    }
    return Expected(**values)


def checked(token: str, *, keys: Any = None, now: int = NOW, **changes: Any) -> Any:
    """The token verified as a launch of this platform."""
    source = keys or parse_key_set(jwks(jwk_of(key()))).find
    return verify(token, expectation(**changes), source, now=now)


class MemoryCache:
    """A shared cache within one process."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def get(self, name: str) -> str | None:
        return self.texts.get(name)

    def set(self, name: str, text: str, seconds: int) -> None:
        assert len(name) <= 100
        assert seconds > 0
        self.texts[name] = text

    def delete(self, name: str) -> None:
        self.texts.pop(name, None)

    @contextmanager
    def lock(self, name: str, seconds: int) -> Any:
        with self._guard:
            lock = self._locks.setdefault(name, threading.Lock())
        held = lock.acquire(timeout=seconds)
        try:
            yield
        finally:
            if held:
                lock.release()


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def answer(status: int = 200, body: Any = b"", truncated: bool = False, **headers: str) -> OutboundResponse:
    raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return OutboundResponse(status, CaseInsensitiveDict(named), raw, truncated, 1)


class Recorder:
    """Sends nothing: gives the answers in order, or what a function says, and keeps what was sent."""

    def __init__(self, *answers: Any, by: Any = None) -> None:
        self.answers, self.by = list(answers), by
        self.sent: list[tuple[str, str, dict[str, str], bytes | None]] = []
        self._guard = threading.Lock()

    def request(self, method: str, url: str, *, headers: Any = None, body: bytes | None = None) -> OutboundResponse:
        with self._guard:
            self.sent.append((method, url, dict(headers or {}), body))
            given: Any = self.by(method, url, dict(headers or {}), body) if self.by else self.answers.pop(0)
        if isinstance(given, Exception):
            raise given
        assert isinstance(given, OutboundResponse)
        return given
