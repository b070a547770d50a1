"""Organizations' RSA keys: made on first use, published as a key set, used to sign JWTs."""

import json
from datetime import timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from organizations.models import Organization, ToolKey

# How long a key stays published after it stopped signing: longer than any token it signed, and any LMS's key cache.
PUBLISHED_AFTER_RETIREMENT = timedelta(days=7)


def make_tool_key(organization: Organization, **fields: Any) -> ToolKey:
    """A new 2048-bit RSA key, stored encrypted."""
    private_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    public_jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(private_key.public_key()))
    tool_key = ToolKey(organization=organization, private_key=pem, **fields)
    tool_key.public_jwk = {
        "kty": public_jwk["kty"],
        "n": public_jwk["n"],
        "e": public_jwk["e"],
        "kid": tool_key.key_id,
        "alg": "RS256",
        "use": "sig",
    }
    tool_key.save()
    return tool_key


def signing_key(organization: Organization) -> ToolKey:
    """The key that signs now: the newest whose time has come. Made when the organization has none."""
    current = _current_key(organization)
    if current:
        return current
    with transaction.atomic():
        # Two first uses at once must not make two keys.
        Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        return _current_key(organization) or make_tool_key(organization)


def _current_key(organization: Organization) -> ToolKey | None:
    # A rotation says beforehand when one key ends and the next begins (key_rotation.py).
    now = timezone.now()
    keys = organization.tool_keys.filter(Q(retired_at=None) | Q(retired_at__gt=now), signs_from__lte=now)
    return keys.order_by("-signs_from").first()


def key_set(organization: Organization) -> dict[str, list[dict[str, str]]]:
    """The public key set (JWKS, RFC 7517 §5): keys that sign, will sign, or signed lately."""
    signing_key(organization)
    horizon = timezone.now() - PUBLISHED_AFTER_RETIREMENT
    keys = organization.tool_keys.order_by("signs_from")
    return {"keys": [key.public_jwk for key in keys if key.retired_at is None or key.retired_at > horizon]}


def sign_jwt(organization: Organization, claims: dict[str, Any]) -> str:
    """An RS256 JWT of the claims, its header naming the key."""
    key = signing_key(organization)
    return jwt.encode(claims, key.private_key, algorithm="RS256", headers={"kid": key.key_id})
