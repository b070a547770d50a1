"""Platforms' public keys: key sets read, cached, and read again when a key is not in them (RFC 7517, D11, D12)."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate

from lti.errors import LaunchError, LaunchErrorCode
from lti.outbound import OutboundFailed, OutboundRefused, OutboundResponse
from lti.v1p3.json_text import JsonObject, UnreadableJson, as_text, read_object, text_in, texts_in
from lti.v1p3.sending import Clock, Sender, SharedCache

SIZE_LIMIT = 256 * 1024
KEY_LIMIT = 500
KEY_ID_LIMIT = 255
SMALLEST_MODULUS, LARGEST_MODULUS = 2048, 8192

_LOCK_SECONDS = 40
_PARSED_LIMIT = 1000

_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")
_ACCEPT = "application/json, application/jwk-set+json"

#: The keys that a token with this key id (``""``: none) may be signed with, most likely one, possibly none.
KeySource = Callable[[str], Sequence[RSAPublicKey]]


class KeySetUnreadable(Exception):
    """What came is no key set; ``reason`` says why in a phrase."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class PlatformKey:
    """An RSA key to verify RS256 signatures with; ``key_id`` is ``""`` where the key set gives none."""

    key_id: str
    public_key: RSAPublicKey


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys of a key set, and why others are none."""

    keys: tuple[PlatformKey, ...]
    ignored: tuple[str, ...] = ()

    def find(self, key_id: str) -> tuple[RSAPublicKey, ...]:
        """The keys for a token's key id; the only key, where token or key has no id (D11)."""
        if not key_id:
            return (self.keys[0].public_key,) if len(self.keys) == 1 else ()
        named = tuple(key.public_key for key in self.keys if key.key_id == key_id)
        if not named and len(self.keys) == 1 and not self.keys[0].key_id:
            return (self.keys[0].public_key,)
        return named


def parse_key_set(body: bytes) -> KeySet:
    """The key set of a JWKS document. Raises ``KeySetUnreadable``.

    Keys of other types and uses are passed over; a key without ``alg`` is taken (moodle.md 6).
    """
    try:
        document = read_object(body, limit=SIZE_LIMIT)
    except UnreadableJson as error:
        raise KeySetUnreadable(error.reason) from None
    entries = document.get("keys")
    if not isinstance(entries, list):
        raise KeySetUnreadable("no list of keys in it")
    if len(entries) > KEY_LIMIT:
        raise KeySetUnreadable(f"more than {KEY_LIMIT} keys in it")
    keys: list[PlatformKey] = []
    ignored: list[str] = []
    for entry in entries:
        try:
            keys.append(_platform_key(entry))
        except KeySetUnreadable as error:
            ignored.append(error.reason)
    return KeySet(tuple(keys), tuple(ignored))


def _platform_key(entry: object) -> PlatformKey:
    if not isinstance(entry, dict):
        raise KeySetUnreadable("a key that is no object")
    jwk: JsonObject = entry
    if text_in(jwk, "kty") != "RSA":
        raise KeySetUnreadable("a key of another type than RSA")
    if text_in(jwk, "alg") not in {"", "RS256"}:
        raise KeySetUnreadable("a key for another algorithm than RS256")
    if text_in(jwk, "use") not in {"", "sig"}:
        raise KeySetUnreadable("a key for another use than signatures")
    operations = texts_in(jwk, "key_ops")
    if operations and "verify" not in operations:
        raise KeySetUnreadable("a key that is not for verifying")
    key_id = as_text(jwk.get("kid"))
    if len(key_id) > KEY_ID_LIMIT:
        raise KeySetUnreadable("a key with too long an id")
    modulus, exponent = _number(jwk, "n"), _number(jwk, "e")
    return PlatformKey(key_id, _checked(modulus, exponent))


def _number(jwk: JsonObject, name: str) -> int:
    text = text_in(jwk, name).rstrip("=")
    if not _BASE64URL.fullmatch(text) or len(text) > LARGEST_MODULUS // 6 + 8 or len(text) % 4 == 1:
        raise KeySetUnreadable("a key whose numbers are not readable")
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")


def _checked(modulus: int, exponent: int) -> RSAPublicKey:
    # Huge numbers would make every verification slow.
    if not SMALLEST_MODULUS <= modulus.bit_length() <= LARGEST_MODULUS:
        raise KeySetUnreadable(f"a key of {modulus.bit_length()} bits")
    if not 3 <= exponent < 2**32 or exponent % 2 == 0 or modulus % 2 == 0:
        raise KeySetUnreadable("a key whose numbers are no RSA key")
    try:
        return RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError:
        raise KeySetUnreadable("a key whose numbers are no RSA key") from None


def parse_pem(pem: str) -> KeySet:
    """The key set of one public key or certificate in PEM, for platforms without a JWKS URL (D1)."""
    text = pem.strip().encode("utf-8", "replace")
    if len(text) > SIZE_LIMIT:
        raise KeySetUnreadable("larger than 256 KiB")
    try:
        if b"BEGIN CERTIFICATE" in text:
            public_key: object = load_pem_x509_certificate(text).public_key()
        else:
            public_key = load_pem_public_key(text)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeySetUnreadable("no public key in PEM") from None
    if not isinstance(public_key, RSAPublicKey):
        raise KeySetUnreadable("a key of another type than RSA")
    numbers = public_key.public_numbers()
    return KeySet((PlatformKey("", _checked(numbers.n, numbers.e)),))


def pem_source(pem: str) -> KeySource:
    """The key of a registration that has a PEM instead of a JWKS URL. Raises ``KeySetUnreadable``."""
    return parse_pem(pem).find


@dataclass(frozen=True, slots=True)
class _Stored:
    """A key set as cached: its text, when it was read, when it was last tried, and why that failed (``""``: not)."""

    text: str
    read_at: float
    tried_at: float
    failure: str

    def written(self) -> str:
        return json.dumps([self.text, self.read_at, self.tried_at, self.failure])

    @classmethod
    def read(cls, written: str | None) -> _Stored:
        if written is None:
            return cls("", 0, 0, "")
        text, read_at, tried_at, failure = json.loads(written)
        return cls(str(text), float(read_at), float(tried_at), str(failure))


class KeySets:
    """Key sets by URL, cached in all processes together.

    A key set is read again after ``time_to_live``, and for a key that is not in it, but never twice within
    ``minimum_interval`` (D12: a flood of unknown key ids costs few requests). While the platform does not answer, the
    keys read last serve for ``keep`` longer. Times in seconds.
    """

    def __init__(
        self,
        cache: SharedCache,
        sender: Sender,
        clock: Clock,
        *,
        time_to_live: int = 3600,
        minimum_interval: int = 30,
        keep: int = 24 * 3600,
    ) -> None:
        self._cache, self._sender, self._clock = cache, sender, clock
        self._time_to_live, self._minimum_interval, self._keep = time_to_live, minimum_interval, keep
        # Reading a key set costs more than verifying with it; the text decides, whatever its age.
        self._parsed: dict[str, tuple[str, KeySet]] = {}

    def source(self, url: str) -> KeySource:
        """The keys of the registration with this JWKS URL; calling it raises ``LaunchError`` PLATFORM_UNREACHABLE."""
        return lambda key_id: self.find(url, key_id)

    def find(self, url: str, key_id: str) -> tuple[RSAPublicKey, ...]:
        """The keys with this id, read anew if need be. Raises ``LaunchError`` PLATFORM_UNREACHABLE."""
        name = f"lti-keys:{hashlib.sha256(url.encode('utf-8', 'surrogatepass')).hexdigest()}"
        stored = _Stored.read(self._cache.get(name))
        found = self._find_in(url, stored, key_id)
        if found and self._clock() - stored.read_at < self._time_to_live:
            return found
        stored = self._read_again(name, url, stored, in_use=bool(found))
        found = self._find_in(url, stored, key_id)
        if not found and stored.failure:
            raise LaunchError(
                LaunchErrorCode.PLATFORM_UNREACHABLE,
                "key set",
                expected=f"a JSON Web Key Set at {url}",
                received=stored.failure,
                cause="The LMS's public keys could not be read, so that its message cannot be verified.",
            )
        return found

    def _find_in(self, url: str, stored: _Stored, key_id: str) -> tuple[RSAPublicKey, ...]:
        if not stored.text:
            return ()
        known = self._parsed.get(url)
        if known is None or known[0] != stored.text:
            known = (stored.text, parse_key_set(stored.text.encode()))
            if len(self._parsed) >= _PARSED_LIMIT:
                self._parsed.clear()
            self._parsed[url] = known
        return known[1].find(key_id)

    def _read_again(self, name: str, url: str, before: _Stored, *, in_use: bool) -> _Stored:
        if not in_use:
            with self._cache.lock(f"{name}:lock", _LOCK_SECONDS):
                stored = _Stored.read(self._cache.get(name))
                return stored if self._was_tried(stored, before) else self._read_now(name, url, stored)
        # The keys at hand serve everybody else while one asks a platform that may be slow.
        with self._cache.lock(f"{name}:lock", _LOCK_SECONDS):
            stored = _Stored.read(self._cache.get(name))
            if self._was_tried(stored, before):
                return stored
            self._keep_stored(name, replace(stored, tried_at=self._clock()))
        return self._read_now(name, url, stored)

    def _was_tried(self, stored: _Stored, before: _Stored) -> bool:
        """Whether another process has just read it, or tried to."""
        return stored.tried_at > before.tried_at or self._clock() - stored.tried_at < self._minimum_interval

    def _read_now(self, name: str, url: str, stored: _Stored) -> _Stored:
        try:
            text, failure = _key_set_text(self._fetched(url)), ""
        except KeySetUnreadable as error:
            text, failure = "", error.reason
        # The interval counts from the end of a try, however long the platform hung.
        now = self._clock()
        if failure:
            kept = stored.text if now - stored.read_at < self._time_to_live + self._keep else ""
            stored = _Stored(kept, stored.read_at, now, failure)
        else:
            stored = _Stored(text, now, now, "")
        self._keep_stored(name, stored)
        return stored

    def _keep_stored(self, name: str, stored: _Stored) -> None:
        self._cache.set(name, stored.written(), self._time_to_live + self._keep)

    def _fetched(self, url: str) -> OutboundResponse:
        try:
            return self._sender.request("GET", url, headers={"Accept": _ACCEPT})
        except (OutboundFailed, OutboundRefused) as error:
            raise KeySetUnreadable(error.reason) from None


def _key_set_text(response: OutboundResponse) -> str:
    if response.status != 200:
        raise KeySetUnreadable(f"HTTP {response.status}")
    if response.truncated:
        raise KeySetUnreadable("larger than 256 KiB")
    key_set = parse_key_set(response.body)
    if not key_set.keys:
        raise KeySetUnreadable("no usable key in it" + (f": {key_set.ignored[0]}" if key_set.ignored else ""))
    return response.body.decode("utf-8-sig")
