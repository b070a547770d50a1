"""An LTI 1.3 platform for tests: registered rows, a key set on loopback, and launches through login and id_token."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from django.conf import settings
from django.test import Client
from jwt.algorithms import RSAAlgorithm

from lti.tests.platform_1p3 import key as private_key
from lti.v1p3 import vocabulary as names
from organizations.models import Deployment, Installation, Registration

ROLE = "http://purl.imsglobal.org/vocab/lis/v2/membership#"


class Platform:
    """A registered platform. `requests` counts reads of its key set."""

    def __init__(self, installation: Installation, url: str, deployment_id: str = "1") -> None:
        self.url = url
        self.requests = 0
        self.keys = {"k1": private_key()}
        self.registration = Registration.objects.create(
            organization=installation.organization,
            installation=installation,
            issuer=url,
            client_id="client-1",
            auth_login_url=f"{url}/auth?tenant=7",
            token_url=f"{url}/token",
            jwks_url=f"{url}/jwks",
        )
        self.deployment = Deployment.objects.create(
            registration=self.registration, deployment_id=deployment_id, installation=installation
        )
        self.slug = installation.organization.slug

    def key_set(self) -> bytes:
        self.requests += 1
        keys = []
        for kid, one in self.keys.items():
            jwk = json.loads(RSAAlgorithm.to_jwk(one.public_key()))
            keys.append({**{name: jwk[name] for name in ("kty", "n", "e")}, "kid": kid, "alg": "RS256", "use": "sig"})
        return json.dumps({"keys": keys}).encode()

    def login(self, client: Client, target: str = "", **changes: str) -> Any:
        """The answer to a login initiation; a change to "" leaves the parameter out."""
        parameters = {
            "iss": self.registration.issuer,
            "login_hint": "hint",
            "target_link_uri": target or f"{settings.BASE_URL}/lti/v1",
            "client_id": self.registration.client_id,
            "lti_message_hint": '{"cmid":5,"launchid":"a+b="}',
            **changes,
        }
        kept = {name: value for name, value in parameters.items() if value}
        return client.get(f"/lti/1p3/{self.slug}/login?{urlencode(kept)}")

    def claims(self, nonce: str, target: str, /, **changes: Any) -> dict[str, Any]:
        """A student's claims; LTI claims may be named shortly, and a change to None takes one away."""
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self.registration.issuer,
            "aud": self.registration.client_id,
            "sub": "user-1",
            "iat": now,
            "exp": now + 60,
            "nonce": nonce,
            "name": "Ada Lovelace",
            "email": "ada@example.edu",
            names.VERSION: "1.3.0",
            names.MESSAGE_TYPE: "LtiResourceLinkRequest",
            names.DEPLOYMENT_ID: self.deployment.deployment_id,
            names.TARGET_LINK_URI: target,
            names.RESOURCE_LINK: {"id": "link-1", "title": "Week 1"},
            names.CONTEXT: {"id": "context-1", "title": "Introduction"},
            names.ROLES: [f"{ROLE}Learner"],
        }
        plain = set(claims) | {"azp", "given_name", "family_name", "locale", "picture"}
        for name, value in changes.items():
            claims[name if name in plain or ":" in name else f"{names.CLAIM}{name}"] = value
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, claims: dict[str, Any], kid: str = "k1") -> str:
        return jwt.encode(claims, self.keys[kid], algorithm="RS256", headers={"kid": kid})

    def begin(self, client: Client, target: str = "", **login: str) -> tuple[str, str]:
        """(state, nonce) of a login that was sent on to us."""
        response = self.login(client, target, **login)
        assert response.status_code == 302, (response.status_code, response.headers.get("X-Launch-Error"))
        query = parse_qs(urlsplit(response["Location"]).query)
        return query["state"][0], query["nonce"][0]

    def launch(self, client: Client, target: str = "", /, **changes: Any) -> Any:
        """A whole launch: login, and the id_token posted in the same browser."""
        target = target or f"{settings.BASE_URL}/lti/v1"
        state, nonce = self.begin(client, target)
        return self.post(client, self.token(self.claims(nonce, target, **changes)), state)

    def post(self, client: Client, id_token: str, state: str, **fields: str) -> Any:
        return client.post(
            f"/lti/1p3/{self.slug}/launch",
            urlencode({"id_token": id_token, "state": state, **fields}),
            content_type="application/x-www-form-urlencoded",
        )


@contextmanager
def platform_of(installation: Installation, deployment_id: str = "1") -> Iterator[Platform]:
    """A platform of this installation whose key set is served on loopback while the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = platform.key_set() if self.path == "/jwks" else b""
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    platform = Platform(installation, f"http://127.0.0.1:{server.server_address[1]}", deployment_id)
    try:
        yield platform
    finally:
        server.shutdown()
        server.server_close()
