"""joserfc, an independent implementation, signs what we verify and verifies what we sign."""

import json
import time

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from lti.errors import LaunchError
from lti.tests.platform_1p3 import launch_claims
from lti.v1p3.id_token import Expected, verify
from lti.v1p3.key_sets import parse_key_set
from lti.v1p3.tokens import ToolClient, assertion_claims, rs256_signer
from organizations.tool_keys import key_set, sign_jwt, signing_key
from tests.factories import OrganizationFactory

ISSUER, CLIENT_ID, NONCE = "https://lms.example", "client-1", "nonce-of-this-login"


def is_ours(url: str) -> bool:
    return url.startswith("https://tool.example/")


def test_an_id_token_that_joserfc_signed():
    key = RSAKey.generate_key(2048, {"kid": "joserfc-1", "use": "sig", "alg": "RS256"})
    now = int(time.time())
    claims = launch_claims(iat=now, exp=now + 60)
    token = jwt.encode({"alg": "RS256", "kid": "joserfc-1"}, claims, key)
    keys = parse_key_set(json.dumps({"keys": [key.as_dict(private=False)]}).encode())
    verified = verify(token, Expected(ISSUER, CLIENT_ID, NONCE, is_ours), keys.find, now=now)
    assert verified.claims == claims
    other = RSAKey.generate_key(2048, {"kid": "joserfc-1"})
    forged = jwt.encode({"alg": "RS256", "kid": "joserfc-1"}, claims, other)
    with pytest.raises(LaunchError) as refused:
        verify(forged, Expected(ISSUER, CLIENT_ID, NONCE, is_ours), keys.find, now=now)
    assert refused.value.code == "invalid_token"


@pytest.mark.django_db
def test_what_an_organization_signs_is_verified_by_joserfc_with_its_public_keys():
    organization = OrganizationFactory()
    token = sign_jwt(organization, {"sub": "somebody", "aud": "https://content.example"})
    keys = KeySet.import_key_set(key_set(organization))
    decoded = jwt.decode(token, keys, algorithms=["RS256"])
    assert decoded.claims == {"sub": "somebody", "aud": "https://content.example"}


@pytest.mark.django_db
def test_our_client_assertion_is_verified_by_joserfc():
    organization = OrganizationFactory()
    key = signing_key(organization)
    now = time.time()
    client = ToolClient("client-1", "https://lms.example/token")
    assertion = rs256_signer(key.private_key, key.key_id)(assertion_claims(client, now=now, jti="once"))
    decoded = jwt.decode(assertion, KeySet.import_key_set(key_set(organization)), algorithms=["RS256"])
    registry = jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": "client-1"},
        sub={"essential": True, "value": "client-1"},
        aud={"essential": True, "value": "https://lms.example/token"},
    )
    registry.validate(decoded.claims)
    assert decoded.claims["exp"] - decoded.claims["iat"] <= 330
    assert decoded.header["kid"] == key.key_id
