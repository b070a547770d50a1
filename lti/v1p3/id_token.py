"""The id_token of a launch, verified wholly (Security Framework §5.1.3, OpenID Connect Core §3.2.2.11, D11 to D19).

The order is fixed: size and shape, algorithm, key, signature; then who it is from and for, its time and nonce; then
what LTI asks of its claims. Nothing is looked at in the claims before the signature.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from lti.errors import LaunchError, LaunchErrorCode
from lti.v1p3.json_text import JsonObject, UnreadableJson, number_in, read_object, text_in
from lti.v1p3.key_sets import KEY_ID_LIMIT, KeySource
from lti.v1p3.launch_claims import check_launch_claims

SIZE_LIMIT = 64 * 1024
ALGORITHM = "RS256"
_NONCE_LIMIT = 255

_JWS = jwt.PyJWS(algorithms=[ALGORITHM])


@dataclass(frozen=True, slots=True)
class Expected:
    """What a login began with, and what the token must therefore say.

    ``is_ours`` says whether a URL is one of the organization's own (D18).
    """

    issuer: str
    client_id: str
    nonce: str = field(repr=False)
    is_ours: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """The claims of a token that is genuine, ours and in time, and whose LTI claims are those of a launch."""

    claims: JsonObject
    issuer: str
    client_id: str
    nonce: str = field(repr=False)
    issued_at: int
    expires_at: int
    key_id: str


def verify(
    token: str, expected: Expected, keys: KeySource, *, now: int, window: int = 300, leeway: int = 60
) -> VerifiedToken:
    """The verified token. ``window`` is how far ``iat`` may be from our clock, ``leeway`` how long ``exp`` is past.

    Raises ``LaunchError`` MALFORMED, INVALID_TOKEN, TIMESTAMP_EXPIRED, MISSING_PARAMETER, UNSUPPORTED_MESSAGE,
    UNKNOWN_DESTINATION, and what ``keys`` raises (PLATFORM_UNREACHABLE). That the nonce is used once is for whoever
    stores the launch; so is whether the deployment is known.
    """
    header, payload = _parts(token)
    key_id = _checked_header(header)
    _check_signature(token, keys(key_id), key_id)
    claims = _claims(payload)
    _check_parties(claims, expected)
    issued_at, expires_at = _check_time(claims, now=now, window=window, leeway=leeway)
    _check_nonce(claims, expected)
    check_launch_claims(claims, is_ours=expected.is_ours)
    return VerifiedToken(
        claims=claims,
        issuer=expected.issuer,
        client_id=expected.client_id,
        nonce=expected.nonce,
        issued_at=issued_at,
        expires_at=expires_at,
        key_id=key_id,
    )


def _malformed(check: str, received: str = "") -> LaunchError:
    return LaunchError(LaunchErrorCode.MALFORMED, check, received=received)


def _invalid(check: str, *, expected: str = "", received: str = "", cause: str = "") -> LaunchError:
    return LaunchError(LaunchErrorCode.INVALID_TOKEN, check, expected=expected, received=received, cause=cause)


def _parts(token: str) -> tuple[bytes, bytes]:
    """The decoded header and payload of a signed token in compact form (RFC 7515 §3.1)."""
    if len(token) > SIZE_LIMIT:
        raise _malformed("size of the id_token", f"{len(token)} characters")
    parts = token.split(".")
    if len(parts) != 3 or not all(parts[:2]):
        raise _malformed("the id_token is a signed token of three parts", f"{len(parts)} parts")
    try:
        header, payload, _ = (_decoded(part) for part in parts)
    except (binascii.Error, ValueError):
        raise _malformed("the id_token is in base64url") from None
    return header, payload


def _decoded(part: str) -> bytes:
    if part.rstrip("=") != part or "+" in part or "/" in part:
        msg = "padding, or base64 of another alphabet"
        raise ValueError(msg)
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)


def _checked_header(raw: bytes) -> str:
    """The key id of a header that is acceptable; ``jku``, ``x5u``, ``jwk`` and ``x5c`` are never looked at (D11)."""
    try:
        header = read_object(raw, limit=SIZE_LIMIT)
    except UnreadableJson as error:
        raise _malformed("header of the id_token", error.reason) from None
    algorithm = header.get("alg")
    if algorithm != ALGORITHM:
        # Never none, never HMAC with a public key for a secret (J3).
        raise _invalid("algorithm of the id_token", expected=ALGORITHM, received=repr(algorithm)[:60])
    if "crit" in header or "b64" in header:
        raise _invalid("header of the id_token", received="crit", cause="It asks for an extension that is not known.")
    if text_in(header, "typ").upper() not in {"", "JWT", "APPLICATION/JWT"}:
        raise _invalid("type of the id_token", expected="JWT", received=text_in(header, "typ"))
    key_id = text_in(header, "kid")
    if len(key_id) > KEY_ID_LIMIT:
        raise _malformed("length of the key id", f"{len(key_id)} characters")
    return key_id


def _check_signature(token: str, candidates: Sequence[RSAPublicKey], key_id: str) -> None:

    if not candidates:
        raise _invalid(
            "key of the id_token",
            expected="a key of the platform's key set",
            received=f"kid {key_id}" if key_id else "no kid",
            cause="The LMS signed with a key that is not in its key set; is the JWKS URL that of this LMS?",
        )
    for key in candidates:
        try:
            _JWS.decode_complete(token, key=key, algorithms=[ALGORITHM])
        except jwt.InvalidTokenError:
            continue
        return
    raise _invalid("signature of the id_token", received=f"kid {key_id}", cause="It was not signed by this platform.")


def _claims(payload: bytes) -> JsonObject:
    try:
        return read_object(payload, limit=SIZE_LIMIT)
    except UnreadableJson as error:
        raise _malformed("claims of the id_token", error.reason) from None


def _required_text(claims: JsonObject, name: str) -> str:
    value = claims.get(name)
    if value is None or value == "":
        raise LaunchError(LaunchErrorCode.MISSING_PARAMETER, name, expected=name, cause="The id_token lacks a claim.")
    if not isinstance(value, str):
        raise _malformed(f"{name} is a text", repr(value)[:100])
    return value


def _check_parties(claims: JsonObject, expected: Expected) -> None:
    issuer = _required_text(claims, "iss")
    if issuer != expected.issuer:
        raise _invalid(
            "iss",
            expected=expected.issuer,
            received=issuer,
            cause="Compared letter by letter: a slash at the end, the scheme and the port count (D4).",
        )
    audience = claims.get("aud")
    if audience is None or audience in ("", []):
        raise LaunchError(LaunchErrorCode.MISSING_PARAMETER, "aud", expected="aud", cause="The id_token lacks a claim.")
    listed = audience if isinstance(audience, list) else [audience]
    audiences = [item for item in listed if isinstance(item, str)]
    if len(audiences) != len(listed):
        raise _malformed("aud is a text or a list of texts", repr(audience)[:100])
    if expected.client_id not in audiences:
        raise _invalid("aud", expected=expected.client_id, received=", ".join(audiences))
    party = claims.get("azp")
    if party is None and len(audiences) > 1:
        raise _invalid("azp", expected=expected.client_id, received="no azp, though it is for several")
    if party is not None and party != expected.client_id:
        raise _invalid("azp", expected=expected.client_id, received=repr(party)[:100])


def _moment(claims: JsonObject, name: str) -> int:
    value = claims.get(name)
    if value is None or value == "":
        raise LaunchError(LaunchErrorCode.MISSING_PARAMETER, name, expected=name, cause="The id_token lacks a claim.")
    number = number_in(claims, name)
    if number is None or abs(number) > 1e12:
        raise _malformed(f"{name} is a number of seconds", repr(value)[:100])
    return int(number)


def _check_time(claims: JsonObject, *, now: int, window: int, leeway: int) -> tuple[int, int]:
    expires_at, issued_at = _moment(claims, "exp"), _moment(claims, "iat")
    cause = "The clock of the LMS is wrong (or ours is), or an old launch was sent again, by the browser's Back."
    if expires_at + leeway <= now:
        raise LaunchError(
            LaunchErrorCode.TIMESTAMP_EXPIRED,
            "exp",
            expected=f"not more than {leeway} seconds past",
            received=f"{now - expires_at} seconds past",
            cause=cause,
        )
    skew = issued_at - now
    if abs(skew) > window:
        direction = "ahead of" if skew > 0 else "behind"
        raise LaunchError(
            LaunchErrorCode.TIMESTAMP_EXPIRED,
            "iat",
            expected=f"within {window} seconds of our clock",
            received=f"{abs(skew)} seconds {direction} our clock",
            cause=cause,
        )
    return issued_at, expires_at


def _check_nonce(claims: JsonObject, expected: Expected) -> None:
    nonce = _required_text(claims, "nonce")
    ours = expected.nonce.encode("utf-8", "surrogatepass")
    if len(nonce) > _NONCE_LIMIT or not hmac.compare_digest(nonce.encode(), ours):
        raise _invalid(
            "nonce", expected="the nonce of this login", received="another", cause="A token of another login."
        )
