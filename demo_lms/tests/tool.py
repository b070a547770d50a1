"""A tool of LTI 1.3 for tests, on PyJWT alone: a key set on loopback, and what a browser and a tool do."""

import json
import re
import threading
import time
from dataclasses import dataclass
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

if TYPE_CHECKING:
    from demo_lms.tests.conftest import DemoLms

CLIENTS = {
    "moodle": ("client-as-moodle", "1"),
    "canvas": ("10000000000042", "7:8865aa05"),
    "blackboard": ("3f1c6f0e-0000-4000-8000-000000000001", "b-deployment"),
    "brightspace": ("d2l-client", "d-deployment"),
}
LTI = "https://purl.imsglobal.org/spec/lti/claim/"
AGS = "https://purl.imsglobal.org/spec/lti-ags/"
DL = "https://purl.imsglobal.org/spec/lti-dl/claim/"
NRPS = "https://purl.imsglobal.org/spec/lti-nrps/"
SCOPES = {
    "item": f"{AGS}scope/lineitem",
    "item_readonly": f"{AGS}scope/lineitem.readonly",
    "result": f"{AGS}scope/result.readonly",
    "score": f"{AGS}scope/score",
    "members": f"{NRPS}scope/contextmembership.readonly",
}
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Tool1p3:
    """Publishes the public halves of `keys`."""

    def __init__(self) -> None:
        self.keys = {"k1": rsa.generate_private_key(public_exponent=65537, key_size=2048)}
        self.reads = 0
        tool = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                tool.reads += 1
                keys = [
                    {**json.loads(RSAAlgorithm.to_jwk(key.public_key())), "kid": kid, "alg": "RS256", "use": "sig"}
                    for kid, key in tool.keys.items()
                ]
                body = json.dumps({"keys": keys}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://localhost:{self.server.server_port}"

    def __enter__(self) -> "Tool1p3":
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.server.shutdown()
        self.server.server_close()

    def sign(self, claims: dict[str, Any], kid: str = "k1", key: Any = None) -> str:
        return jwt.encode(claims, key or self.keys[kid], "RS256", headers={"kid": kid})

    def assertion(self, lms: "DemoLms", preset: str, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        client_id = CLIENTS[preset][0]
        return {
            "iss": client_id,
            "sub": client_id,
            "aud": f"{lms.url}/token",
            "iat": now - 30,
            "exp": now + 240,
            "jti": f"jti-{time.time_ns()}",
            **changes,
        }

    def ask_token(
        self, lms: "DemoLms", preset: str, scopes: str, *, signed: str = "", **changes: Any
    ) -> requests.Response:
        if preset == "brightspace":
            changes = {"aud": "https://api.brightspace.com/auth/token", **changes}
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": signed or self.sign(self.assertion(lms, preset, **changes)),
            "scope": scopes,
        }
        return requests.post(f"{lms.url}/token", data=form, timeout=10)

    def token(self, lms: "DemoLms", preset: str, *scopes: str) -> str:
        answer = self.ask_token(lms, preset, " ".join(scopes or SCOPES.values()))
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])


@dataclass(frozen=True)
class Login:
    """What a login's start brought to the tool."""

    method: str
    url: str
    fields: dict[str, str]


def form_in(page: str) -> tuple[str, dict[str, str]]:
    """Where a page's form posts itself, and its fields."""
    action = re.search(r'<form id="launch" action="([^"]*)"', page)
    assert action is not None, page[:2000]
    fields = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', page)
    return unescape(action.group(1)), {unescape(name): unescape(value) for name, value in fields}


def login_of(lms: "DemoLms", session: requests.Session, path: str = "/links/essay/launch?container=frame") -> Login:
    answer = session.get(lms.url + path, timeout=10, allow_redirects=False)
    if answer.status_code == 302:
        parts = urlsplit(answer.headers["Location"])
        return Login("GET", parts._replace(query="").geturl(), dict(parse_qsl(parts.query, keep_blank_values=True)))
    url, fields = form_in(answer.text)
    return Login("POST", url, fields)


def authorization(tool: Tool1p3, login: Login, **changes: str | None) -> dict[str, str]:
    """The tool's authorization request to a login."""
    parameters: dict[str, str | None] = {
        "scope": "openid",
        "response_type": "id_token",
        "response_mode": "form_post",
        "prompt": "none",
        "client_id": login.fields["client_id"],
        "redirect_uri": f"{tool.url}/launch",
        "login_hint": login.fields["login_hint"],
        "lti_message_hint": login.fields["lti_message_hint"],
        "state": "the-state",
        "nonce": f"n-{time.time_ns()}",
        **changes,
    }
    return {name: value for name, value in parameters.items() if value is not None}


def ask(lms: "DemoLms", session: requests.Session, parameters: dict[str, str]) -> tuple[str, dict[str, str]]:
    """What the browser posts to the tool."""
    answer = session.get(f"{lms.url}/auth", params=parameters, timeout=10)
    assert answer.status_code == 200, answer.text[:2000]
    return form_in(answer.text)


def verified(lms: "DemoLms", id_token: str, client_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of an id_token whose signature is that of a key in the LMS's key set."""
    header = jwt.get_unverified_header(id_token)
    keys = jwt.PyJWKSet.from_dict(requests.get(f"{lms.url}/jwks.json", timeout=10).json())
    return header, jwt.decode(id_token, keys[header["kid"]], algorithms=["RS256"], audience=client_id)


def launched(
    lms: "DemoLms", tool: Tool1p3, session: requests.Session, path: str = "/links/essay/launch?container=frame"
) -> dict[str, Any]:
    """The claims of a whole launch."""
    login = login_of(lms, session, path)
    _, fields = ask(lms, session, authorization(tool, login))
    return verified(lms, fields["id_token"], login.fields["client_id"])[1]
