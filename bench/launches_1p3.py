"""The LTI 1.3 launch, login and id_token, beside a bare view that verifies one RS256 signature."""

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.db import connection
from jwt.algorithms import RSAAlgorithm

from bench import data, servers
from bench.bare import CLIENT_ID
from bench.launches import POPULATION, figures, print_table, warm_up
from bench.load import Round, get_request, post_request, run_round
from lti.v1p3 import vocabulary as names
from lti.v1p3.login import new_nonce
from lti.v1p3.login_state import LIFETIME, LoginState, browser_digest, sign_state
from organizations.identifiers import random_token
from organizations.models import Deployment, Organization, Registration
from tests.loopback import Received, Reply, serve


class Platform:
    """A registered platform: its key, and launches made beforehand, states included (the secret key is ours)."""

    def __init__(self, tenant: data.Tenant, secret_key: str, jwks_url: str, key: rsa.RSAPrivateKey) -> None:
        organization = Organization.objects.get(slug="bench")
        installation = organization.installations.get()
        self.key, self.secret_key = key, secret_key
        self.target = f"https://{data.HOST}/lti/assignments/{tenant.assignment_id}"
        self.registration = Registration.objects.create(
            organization=organization,
            installation=installation,
            issuer="https://lms.example",
            client_id=CLIENT_ID,
            auth_login_url="https://lms.example/auth",
            token_url="https://lms.example/token",
            jwks_url=jwks_url,
        )
        Deployment.objects.create(registration=self.registration, deployment_id="1", installation=installation)
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO bare_key (consumer_key, secret) VALUES (%s, %s)", [CLIENT_ID, ""])

    def id_token(self, user: str, nonce: str) -> str:
        now = int(time.time())
        claims = {
            "iss": "https://lms.example",
            "aud": CLIENT_ID,
            "sub": user,
            "iat": now,
            "exp": now + 3600,
            "nonce": nonce,
            "name": f"Ada Number {user}",
            "given_name": "Ada",
            "family_name": f"Number {user}",
            "email": f"ada.{user}@lms.example",
            names.VERSION: "1.3.0",
            names.MESSAGE_TYPE: "LtiResourceLinkRequest",
            names.DEPLOYMENT_ID: "1",
            names.TARGET_LINK_URI: self.target,
            names.RESOURCE_LINK: {"id": "23", "title": "Weekly exercise"},
            names.CONTEXT: {"id": "5", "title": "Introduction to benchmarks", "label": "BENCH1"},
            names.ROLES: ["http://purl.imsglobal.org/vocab/lis/v2/membership#Learner"],
            names.AGS_ENDPOINT: {
                "scope": list(names.AGS_SCOPES),
                "lineitems": "https://lms.example/lineitems?type_id=3",
                "lineitem": "https://lms.example/lineitems/4/lineitem?type_id=3",
            },
        }
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": "k1"})

    def launches(self, users: list[str]) -> list[bytes]:
        """Login and launch of each user, in a browser that keeps its cookie."""
        requests = []
        for user in users:
            browser, nonce = random_token(), new_nonce()
            cookie = f"__Host-browser={browser}"
            login = {
                "iss": "https://lms.example",
                "client_id": CLIENT_ID,
                "login_hint": user,
                "lti_message_hint": json.dumps({"cmid": 5, "launchid": user}),
                "target_link_uri": self.target,
            }
            state = sign_state(
                LoginState(
                    registration=str(self.registration.id),
                    browser=browser_digest(browser),
                    nonce=nonce,
                    expires_at=int(time.time()) + LIFETIME,
                ),
                self.secret_key,
            )
            answer = [("id_token", self.id_token(user, nonce)), ("state", state)]
            requests += [
                get_request(f"/lti/1p3/bench/login?{urlencode(login)}", data.HOST, cookie),
                post_request("/lti/1p3/bench/launch", data.HOST, answer, cookie),
            ]
        return requests

    def bare_launches(self, users: list[str]) -> list[bytes]:
        """The same id_tokens for the bare view."""
        return [
            post_request("/lti/1p3", data.HOST, [("id_token", self.id_token(user, new_nonce())), ("state", "")])
            for user in users
        ]


@contextmanager
def _published(key: rsa.RSAPrivateKey) -> Iterator[tuple[str, str]]:
    """(URL of the key set on loopback, path of the public key as PEM) while the block lasts."""
    jwk = json.loads(RSAAlgorithm.to_jwk(key.public_key()))
    document = {
        "keys": [{**{name: jwk[name] for name in ("kty", "n", "e")}, "kid": "k1", "alg": "RS256", "use": "sig"}]
    }

    def answer(received: Received) -> Reply:
        return Reply(200, json.dumps(document).encode(), {"Content-Type": "application/json"})

    with tempfile.TemporaryDirectory() as folder, serve(answer) as server:
        path = Path(folder) / "key.pem"
        path.write_bytes(
            key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
        yield f"{server.url}/jwks", str(path)


def compare(environment: dict[str, str], tenant: data.Tenant, count: int, rounds: int) -> None:
    """Prints login and launch together beside one request of the bare view, in alternating rounds."""
    print("LTI 1.3 launches, two requests each (login, id_token), beside one bare request with one RS256 verification")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    with _published(key) as (jwks_url, public_key):
        settings = {
            **environment,
            "BARE_PUBLIC_KEY": public_key,
            "OUTBOUND_ALLOW_HTTP": "true",
            "OUTBOUND_ALLOWED_PRIVATE_HOSTS": "127.0.0.1",
        }
        platform = Platform(tenant, environment["SECRET_KEY"], jwks_url, key)
        population = data.new_users(POPULATION)
        measured: dict[str, list[Round]] = {"bare view, RS256": [], "returning person": []}
        with (
            servers.gunicorn("bench.bare:application", "bench.bare_settings", **settings) as bare,
            servers.gunicorn("lti_platform.wsgi", "lti_platform.settings", **settings) as ours,
        ):
            warm_up(bare, platform.bare_launches(population))
            warm_up(ours, platform.launches(population))
            for number in range(rounds):
                users = [population[index % POPULATION] for index in range(count)]
                order = [("bare view, RS256", bare), ("returning person", ours)]
                for name, port in order if number % 2 else reversed(order):
                    make = platform.bare_launches if port == bare else platform.launches
                    measured[name].append(run_round(port, make(users)))
    rows = [figures(name, results) for name, results in measured.items()]
    # Two requests are one launch.
    rows[1] = rows[1].of_launches(2)
    print_table(rows)
