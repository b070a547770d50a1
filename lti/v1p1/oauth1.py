"""OAuth 1.0a as LTI uses it: HMAC signatures over forms and over bodies, without tokens (RFC 5849 §3.4).

The primitives are oauthlib's; its request validator is left aside, since it refuses usual consumer keys and nonces and
asks for the nonce before it knows the signature.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit

from oauthlib.oauth1.rfc5849 import signature as rfc5849

Pair = tuple[str, str]

#: The accepted methods (A4). PLAINTEXT would show the secret, RSA-SHA1 has no place in LTI 1.1.
SIGNATURE_METHODS = ("HMAC-SHA1", "HMAC-SHA256")

_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]*")
_AUTHORIZATION_ITEM = re.compile(r'([A-Za-z0-9_.~%-]+)\s*=\s*"([^"]*)"')


class SignedBodyRefused(Exception):
    """A signed body did not verify; ``reason`` says why in a phrase, without any secret."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class _Signer:
    """The shape in which oauthlib wants secrets; LTI has no token."""

    client_secret: str = field(repr=False)
    resource_owner_secret: str = ""


def decode_pairs(encoded: bytes) -> list[Pair]:
    """The name and value pairs of an ``application/x-www-form-urlencoded`` text, in order, as they were signed (A12).

    Nothing is trimmed, normalised or merged; ``+`` is a space. Raises ``UnicodeDecodeError`` for what is not UTF-8.
    """
    pairs = []
    for piece in encoded.split(b"&"):
        if piece:
            name, _, value = piece.partition(b"=")
            pairs.append((_decoded(name), _decoded(value)))
    return pairs


def _decoded(encoded: bytes) -> str:
    # Most names and values of a launch hold neither sign.
    spaced = encoded.replace(b"+", b" ") if b"+" in encoded else encoded
    return (unquote_to_bytes(spaced) if b"%" in spaced else spaced).decode("utf-8")


def query_pairs(url: str) -> list[Pair]:
    """The decoded pairs of the URL's query."""
    return decode_pairs(urlsplit(url).query.encode("utf-8"))


def normalised_parameters(pairs: Iterable[Pair]) -> str:
    """The pairs encoded, sorted and joined, duplicates kept (RFC 5849 §3.4.1.3.2, A7).

    ``oauth_signature`` and ``realm`` are left out.
    """
    signed = sorted(
        (_escaped(name), _escaped(value)) for name, value in pairs if name not in {"oauth_signature", "realm"}
    )
    return "&".join([f"{name}={value}" for name, value in signed])


def _escaped(text: str) -> str:
    """RFC 5849 §3.6; most names and values have nothing to escape."""
    return text if _UNRESERVED.fullmatch(text) else quote(text, safe="~")


def base_string_over(method: str, url: str, parameters: str) -> str:
    """The signature base string over normalised parameters (RFC 5849 §3.4.1.1).

    The URL's query is not looked at. Raises ``ValueError`` for a URL without scheme or host.
    """
    uri = rfc5849.base_string_uri(url)
    return "&".join((quote(method.upper(), safe="~"), quote(uri, safe="~"), _escaped_again(parameters)))


def _escaped_again(parameters: str) -> str:
    """What is left to escape in normalised parameters: these three characters (a launch has thousands of others)."""
    return parameters.replace("%", "%25").replace("&", "%26").replace("=", "%3D")


def joined_base_string(method: str, url: str, pairs: Iterable[Pair]) -> str:
    """The signature base string over exactly these pairs; the URL's query is not looked at."""
    return base_string_over(method, url, normalised_parameters(pairs))


def base_string(method: str, url: str, pairs: Iterable[Pair]) -> str:
    """The signature base string over the URL's query and these pairs (RFC 5849 §3.4.1, A7, A8)."""
    return joined_base_string(method, url, [*query_pairs(url), *pairs])


def signature_of(base: str, secret: str, signature_method: str) -> str:
    """The signature of a base string; the key is the encoded secret and ``&`` (RFC 5849 §3.4.2).

    Raises ``ValueError`` for any method but HMAC-SHA1 and HMAC-SHA256.
    """
    if signature_method == "HMAC-SHA1":
        return str(rfc5849.sign_hmac_sha1_with_client(base, _Signer(secret)))
    if signature_method == "HMAC-SHA256":
        return str(rfc5849.sign_hmac_sha256_with_client(base, _Signer(secret)))  # type: ignore[no-untyped-call]
    msg = "only HMAC-SHA1 and HMAC-SHA256 are supported"
    raise ValueError(msg)


def sign(method: str, url: str, pairs: Iterable[Pair], secret: str, signature_method: str = "HMAC-SHA1") -> str:
    """The signature of a request with these form or OAuth pairs (RFC 5849 §3.4)."""
    return signature_of(base_string(method, url, pairs), secret, signature_method)


def equal_in_constant_time(one: str, other: str) -> bool:
    """Whether two signatures are equal, in a time that says nothing about where they differ (A18)."""
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))


def _protocol_pairs(
    consumer_key: str, signature_method: str, timestamp: int | str | None, nonce: str | None
) -> list[Pair]:
    return [
        ("oauth_version", "1.0"),
        ("oauth_nonce", secrets.token_hex(16) if nonce is None else nonce),
        ("oauth_timestamp", str(int(time.time()) if timestamp is None else timestamp)),
        ("oauth_consumer_key", consumer_key),
        ("oauth_signature_method", signature_method),
    ]


def sign_form(
    url: str,
    params: Mapping[str, str] | Sequence[Pair],
    consumer_key: str,
    secret: str,
    *,
    signature_method: str = "HMAC-SHA1",
    timestamp: int | str | None = None,
    nonce: str | None = None,
) -> list[Pair]:
    """The fields of a signed form, as an LMS posts a launch: ``params``, then ``oauth_*``, the signature last."""
    pairs = list(params.items()) if isinstance(params, Mapping) else list(params)
    pairs += [*_protocol_pairs(consumer_key, signature_method, timestamp, nonce), ("oauth_callback", "about:blank")]
    return [*pairs, ("oauth_signature", sign("POST", url, pairs, secret, signature_method))]


def body_hash(body: bytes, signature_method: str = "HMAC-SHA1") -> str:
    """The ``oauth_body_hash`` of the very bytes that are sent (OAuth Request Body Hash §3.2, B3)."""
    if signature_method == "HMAC-SHA256":
        digest = hashlib.sha256(body).digest()
    else:
        digest = hashlib.sha1(body, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode("ascii")


def signed_body_headers(
    url: str,
    body: bytes,
    consumer_key: str,
    secret: str,
    signature_method: str = "HMAC-SHA1",
    content_type: str = "application/xml",
    *,
    timestamp: int | str | None = None,
    nonce: str | None = None,
    method: str = "POST",
) -> dict[str, str]:
    """The headers of a request whose body is signed by its hash (B1 to B3); sign anew for every try (B14)."""
    pairs = [
        *_protocol_pairs(consumer_key, signature_method, timestamp, nonce),
        ("oauth_body_hash", body_hash(body, signature_method)),
    ]
    pairs.append(("oauth_signature", sign(method, url, pairs, secret, signature_method)))
    items = ", ".join(f'{quote(name, safe="~")}="{quote(value, safe="~")}"' for name, value in pairs)
    return {"Authorization": f"OAuth {items}", "Content-Type": content_type}


def verify_signed_body(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    secret_for: Callable[[str], str | None],
    now: int,
    window: int = 300,
) -> str:
    """Check a request signed over its body's hash; the consumer key that signed it (the LMS's side of B2 and B3).

    Raises ``SignedBodyRefused`` for a missing or wrong hash or signature, then for a timestamp outside the window.
    """
    authorization = next((value for name, value in headers.items() if name.lower() == "authorization"), "")
    scheme, _, items = authorization.partition(" ")
    if scheme.lower() != "oauth":
        raise SignedBodyRefused("no OAuth authorization header")
    pairs = [(unquote(name), unquote(value)) for name, value in _AUTHORIZATION_ITEM.findall(items)]
    values = dict(pairs)
    signature_method = values.get("oauth_signature_method", "")
    if len(values) != len(pairs):
        raise SignedBodyRefused("a repeated authorization parameter")
    if signature_method not in SIGNATURE_METHODS:
        raise SignedBodyRefused("a signature method that is not accepted")
    consumer_key = values.get("oauth_consumer_key", "")
    secret = secret_for(consumer_key)
    try:
        expected = sign(method, url, pairs, secret or secrets.token_hex(16), signature_method)
    except (ValueError, UnicodeError):
        raise SignedBodyRefused("a URL that cannot be signed") from None
    genuine = equal_in_constant_time(expected, values.get("oauth_signature", ""))
    if not genuine or secret is None:
        raise SignedBodyRefused("the signature does not match")
    if not equal_in_constant_time(body_hash(body, signature_method), values.get("oauth_body_hash", "")):
        raise SignedBodyRefused("the body hash does not match the body")
    timestamp = values.get("oauth_timestamp", "")
    if not re.fullmatch(r"[0-9]{1,15}", timestamp) or abs(now - int(timestamp)) > window:
        raise SignedBodyRefused("the timestamp is outside the window")
    return consumer_key
