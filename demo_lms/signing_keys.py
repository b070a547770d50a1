"""This LMS's own keys: two of them, so that a rotation can be seen (D12)."""

import json
import secrets
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from demo_lms import manners, storage
from lti.v1p3.tokens import rs256_signer

FIRST, SECOND = "first", "second"
#: Signs for somebody who is not this LMS; never published.
FOREIGN = "foreign"


def _key(name: str) -> tuple[str, str]:
    """Key id and private PEM of the key, made when it is asked for first."""
    with storage.reading() as database:
        row = database.execute("SELECT * FROM signing_key WHERE name = ?", (name,)).fetchone()
    if row:
        return row["key_id"], row["private_pem"]
    pem = (
        rsa.generate_private_key(public_exponent=65537, key_size=2048)
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )
    with storage.transaction() as database:
        database.execute(
            "INSERT INTO signing_key (name, key_id, private_pem) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING",
            (name, secrets.token_hex(10), pem),
        )
    return _key(name)


def _current() -> str:
    return SECOND if manners.current(manners.KEYS).mode == "rotated" else FIRST


def sign(claims: dict[str, object], *, as_somebody_else: bool = False) -> str:
    """A JWT signed with the current key, or by `as_somebody_else` with one that this LMS does not publish."""
    key_id, pem = _key(FOREIGN if as_somebody_else else _current())
    return rs256_signer(pem, key_id)(claims)


def key_set() -> dict[str, Any]:
    """The JWKS document: the first key, and after the rotation the second beside it."""
    return {"keys": [_public(name) for name in ([FIRST] if _current() == FIRST else [SECOND, FIRST])]}


def _public(name: str) -> dict[str, Any]:
    key_id, pem = _key(name)
    private = serialization.load_pem_private_key(pem.encode(), None)
    if not isinstance(private, rsa.RSAPrivateKey):
        raise TypeError("a signing key is no RSA key")
    numbers: dict[str, Any] = json.loads(RSAAlgorithm.to_jwk(private.public_key()))
    return {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": key_id, "n": numbers["n"], "e": numbers["e"]}
