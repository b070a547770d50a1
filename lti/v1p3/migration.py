"""Believing an LTI 1.3 launch about its LTI 1.1 past (LTI 1.3 migration §3.2, D37 to D39)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable

from lti.message import LaunchMessage
from lti.v1p1.oauth1 import equal_in_constant_time


def consumer_key_sign(
    secret: str, *, consumer_key: str, deployment_id: str, issuer: str, client_id: str, expires_at: int, nonce: str
) -> str:
    """The signature that proves that who sends the claim knows the key's secret (D38)."""
    base = "&".join((consumer_key, deployment_id, issuer, client_id, str(expires_at), nonce))
    digest = hmac.new(secret.encode(), base.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
    return base64.b64encode(digest).decode("ascii")


def is_genuine(message: LaunchMessage, secrets: Iterable[str]) -> bool:
    """Whether the launch's migration claim is signed with one of the secrets of the key that it names.

    That key must be of the same organization, which is the caller's to see to. A claim without a signature is never
    genuine; then the owner decides (D39).
    """
    claim = message.migration
    if claim is None or not claim.consumer_key or not claim.consumer_key_sign:
        return False
    genuine = False
    for secret in secrets:
        expected = consumer_key_sign(
            secret,
            consumer_key=claim.consumer_key,
            deployment_id=message.deployment_id,
            issuer=message.issuer,
            client_id=message.client_id,
            expires_at=message.expires_at,
            nonce=message.nonce,
        )
        genuine |= equal_in_constant_time(expected, claim.consumer_key_sign)
    return genuine
