"""Dynamic Registration 1.0: the platform's configuration checked, the tool described, the answer read (D40 to D45)."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from lti.outbound import OutboundFailed, OutboundRefused, OutboundResponse
from lti.products import product_of_issuer
from lti.return_url import safe_http_url
from lti.texts import single_line, truncated
from lti.v1p3 import vocabulary as names
from lti.v1p3.json_text import JsonObject, UnreadableJson, object_in, read_object, text_in, texts_in
from lti.v1p3.sending import Sender
from lti.v1p3.services import excerpt

ANSWER_LIMIT = 256 * 1024
TOKEN_LIMIT = 16 * 1024
_ID_LIMIT = 255
_URL_LIMIT = 4096

DEFAULT_CLAIMS = ("iss", "sub", "name", "given_name", "family_name", "email", "locale")

Members = dict[str, object]


class RegistrationFailed(Exception):
    """A registration that cannot go on; nothing is to be stored, and the invite is not used up.

    ``check`` is what failed, ``explanation`` says in plain words what to do, ``detail`` is a redacted excerpt.
    """

    def __init__(self, check: str, explanation: str, detail: str = "") -> None:
        super().__init__(check)
        self.check = check
        self.explanation = explanation
        self.detail = detail


# ------------------------------------------------------------------------------------------ what the LMS opens


@dataclass(frozen=True, slots=True)
class RegistrationInitiation:
    """What the LMS adds to the registration URL that its administrator pasted (D40)."""

    configuration_url: str
    registration_token: str = field(default="", repr=False)


def read_initiation(query: Mapping[str, str]) -> RegistrationInitiation:
    """The platform's configuration URL and its one-time token. Raises ``RegistrationFailed``."""
    url = query.get("openid_configuration", "").strip()
    if not url:
        raise RegistrationFailed(
            "openid_configuration",
            "Open this address from the LMS: its administrator pastes it where tools are registered by URL.",
        )
    token = query.get("registration_token", "").strip()
    if len(url) > _URL_LIMIT or not safe_http_url(url):
        raise RegistrationFailed("openid_configuration", "The LMS named a configuration address that is none.")
    if len(token) > TOKEN_LIMIT or not token.isascii() or not token.isprintable() or " " in token:
        raise RegistrationFailed("registration_token", "The LMS sent a registration token that is none.")
    return RegistrationInitiation(url, token)


# ---------------------------------------------------------------------------------- the platform's configuration


@dataclass(frozen=True, slots=True)
class PlatformConfiguration:
    """A platform as its OpenID configuration describes it, checked.

    ``authorization_server``, where there is one, is the audience of token requests (``ToolClient.audience``).
    ``other_hosts`` are hosts of endpoints that are not the issuer's; the owner sees them before activating.
    """

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    registration_endpoint: str
    authorization_server: str = ""
    product_family: str = ""
    product_version: str = ""
    scopes: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()
    placements: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    variables: tuple[str, ...] = ()
    other_hosts: tuple[str, ...] = ()


def fetch_configuration(
    sender: Sender, initiation: RegistrationInitiation, *, allow_http: bool = False
) -> PlatformConfiguration:
    """The configuration read and checked. Raises ``RegistrationFailed``."""
    headers = {"Accept": "application/json"}
    if initiation.registration_token:
        # Canvas wants the token on this request too (D41).
        headers["Authorization"] = f"Bearer {initiation.registration_token}"
    response = _answer(sender, "GET", initiation.configuration_url, headers, None, "the LMS's configuration")
    return parse_configuration(response.body, initiation.configuration_url, allow_http=allow_http)


def parse_configuration(body: bytes, configuration_url: str, *, allow_http: bool = False) -> PlatformConfiguration:
    """The platform's configuration (D41). Raises ``RegistrationFailed``.

    An issuer is only believed from its own host, or, for those that all customers of a cloud share, from a host of
    that cloud. ``allow_http``: whether plain http is allowed at all.
    """
    try:
        document = read_object(body, limit=ANSWER_LIMIT)
    except UnreadableJson as error:
        raise RegistrationFailed(
            "the LMS's configuration", "The LMS's configuration cannot be read.", f"{error.reason}: {excerpt(body)}"
        ) from None
    _endpoint(document, "issuer", allow_http=allow_http)
    issuer = text_in(document, "issuer")
    _check_issuer(issuer, configuration_url)
    endpoints = {
        name: _endpoint(document, name, allow_http=allow_http)
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", "registration_endpoint")
    }
    _check_methods(document)
    platform = object_in(document, names.PLATFORM_CONFIGURATION)
    listed = platform.get("messages_supported")
    messages: list[JsonObject] = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    other_hosts = {_authority(url) for url in endpoints.values()} - {_authority(issuer)}
    return PlatformConfiguration(
        issuer=issuer,
        authorization_endpoint=endpoints["authorization_endpoint"],
        token_endpoint=endpoints["token_endpoint"],
        jwks_uri=endpoints["jwks_uri"],
        registration_endpoint=endpoints["registration_endpoint"],
        authorization_server=text_in(document, "authorization_server"),
        product_family=text_in(platform, "product_family_code"),
        product_version=text_in(platform, "version"),
        scopes=texts_in(document, "scopes_supported"),
        claims=texts_in(document, "claims_supported"),
        messages=tuple(dict.fromkeys(text_in(message, "type") for message in messages if text_in(message, "type"))),
        placements={text_in(message, "type"): texts_in(message, "placements") for message in messages},
        variables=texts_in(platform, "variables"),
        other_hosts=tuple(sorted(other_hosts)),
    )


def _authority(url: str) -> str:
    parts = urlsplit(url)
    port = parts.port if parts.port != {"https": 443, "http": 80}.get(parts.scheme) else None
    return f"{(parts.hostname or '').lower()}{f':{port}' if port else ''}"


def _endpoint(document: JsonObject, name: str, *, allow_http: bool) -> str:
    url = text_in(document, name).strip()
    if not url:
        raise RegistrationFailed(name, f"The LMS's configuration lacks {name}.")
    if len(url) > _URL_LIMIT or not safe_http_url(url) or not (allow_http or url.startswith("https://")):
        raise RegistrationFailed(
            name, f"The LMS's configuration has no https address for {name}.", truncated(single_line(url), 200)
        )
    return url


def _check_issuer(issuer: str, configuration_url: str) -> None:
    if "?" in issuer or "#" in issuer:
        raise RegistrationFailed("issuer", "The LMS's issuer is an address with a query, which the standard forbids.")
    issuer_host, host = _authority(issuer), _authority(configuration_url)
    if issuer_host == host and urlsplit(issuer).scheme == urlsplit(configuration_url).scheme:
        return
    # One issuer for all customers of a cloud: its host says nothing, but the configuration is of that cloud (D41).
    product = product_of_issuer(issuer)
    if issuer in product.shared_issuers and urlsplit(configuration_url).scheme == "https":
        domains = {pattern.removeprefix("*.") for pattern in product.service_hosts}
        if any(host == domain or host.endswith(f".{domain}") for domain in domains):
            return
    raise RegistrationFailed(
        "issuer",
        "The LMS says that it is another one than the one it was asked at. Its administrator should correct its public "
        "URL.",
        truncated(single_line(f"issuer {issuer}, asked at {host}"), 300),
    )


def _check_methods(document: JsonObject) -> None:
    for name, wanted in (
        ("token_endpoint_auth_methods_supported", "private_key_jwt"),
        ("id_token_signing_alg_values_supported", "RS256"),
        ("token_endpoint_auth_signing_alg_values_supported", "RS256"),
    ):
        offered = texts_in(document, name)
        if offered and wanted not in offered:
            raise RegistrationFailed(name, f"The LMS does not offer {wanted}, which LTI 1.3 needs.", ", ".join(offered))


# --------------------------------------------------------------------------------------------- our side of it


@dataclass(frozen=True, slots=True)
class ToolDescription:
    """The tool as it presents itself to LMSs; URLs are absolute.

    ``target_link_uri`` is where a link without a URL of its own opens; ``course_url`` opens the LMS course's own
    course. ``icon_url`` is a small picture for a button, ``logo_url`` the organization's. ``custom_parameters`` may
    hold variables.
    """

    name: str
    login_url: str
    launch_url: str
    jwks_url: str
    target_link_uri: str
    description: str = ""
    logo_url: str = ""
    contacts: tuple[str, ...] = ()
    home_url: str = ""
    terms_url: str = ""
    policy_url: str = ""
    custom_parameters: Mapping[str, str] = field(default_factory=dict)
    claims: tuple[str, ...] = DEFAULT_CLAIMS
    scopes: tuple[str, ...] = names.SERVICE_SCOPES
    picker_label: str = "Choose content"
    review_label: str = "Review submission"
    tool_id: str = ""
    course_url: str = ""
    icon_url: str = ""

    @property
    def domain(self) -> str:
        """Host and port: Moodle refuses one that is not exactly that of ``target_link_uri`` (moodle.md 45)."""
        return _authority(self.target_link_uri)


def registration_document(tool: ToolDescription, platform: PlatformConfiguration) -> Members:
    """What the tool asks to be registered as: no message or scope that the platform does not offer (D42)."""
    claims = [claim for claim in tool.claims if not platform.claims or claim in platform.claims or claim == "iss"]
    configuration: Members = {
        "domain": tool.domain,
        "target_link_uri": tool.target_link_uri,
        "claims": claims,
        "messages": _messages(tool, platform),
    }
    if tool.description:
        configuration["description"] = tool.description
    if tool.custom_parameters:
        configuration["custom_parameters"] = dict(tool.custom_parameters)
    if platform.product_family.lower() == "canvas":
        configuration[f"{names.CANVAS}privacy_level"] = "public"
        if tool.tool_id:
            configuration[f"{names.CANVAS}tool_id"] = tool.tool_id
    scopes = [scope for scope in tool.scopes if not platform.scopes or scope in platform.scopes]
    document: Members = {
        "application_type": "web",
        "response_types": ["id_token"],
        "grant_types": ["implicit", "client_credentials"],
        "initiate_login_uri": tool.login_url,
        "redirect_uris": [tool.launch_url],
        "client_name": tool.name,
        "jwks_uri": tool.jwks_url,
        "token_endpoint_auth_method": "private_key_jwt",
        "scope": " ".join(scopes),
        names.TOOL_CONFIGURATION: configuration,
    }
    optional = {
        "logo_uri": tool.logo_url,
        "client_uri": tool.home_url,
        "tos_uri": tool.terms_url,
        "policy_uri": tool.policy_url,
    }
    document |= {name: url for name, url in optional.items() if url}
    if tool.contacts:
        document["contacts"] = list(tool.contacts)
    return document


def _messages(tool: ToolDescription, platform: PlatformConfiguration) -> list[Members]:
    labels = {names.DEEP_LINKING_REQUEST: tool.picker_label, names.SUBMISSION_REVIEW_REQUEST: tool.review_label}
    messages: list[Members] = []
    for message_type in names.SUPPORTED_MESSAGES:
        if platform.messages and message_type not in platform.messages:
            continue
        message: Members = {"type": message_type}
        if message_type in labels:
            message |= {"target_link_uri": tool.target_link_uri, "label": labels[message_type]}
        placements = platform.placements.get(message_type, ())
        if message_type == names.DEEP_LINKING_REQUEST and placements:
            message["placements"] = list(placements)
        messages.append(message)
    return messages


@dataclass(frozen=True, slots=True)
class UpgradeProof:
    """Moodle's proof that a tool which is registered anew is the one it knew over LTI 1.1 (D44, moodle.md 47)."""

    consumer_key: str
    nonce: str = field(repr=False)
    sign: str = field(repr=False)

    def is_genuine(self, secret: str) -> bool:
        """Whether it was made with the key's secret: SHA-256 in hex of key, secret and nonce."""
        digest = hashlib.sha256(f"{self.consumer_key}{secret}{self.nonce}".encode("utf-8", "surrogatepass")).hexdigest()
        return hmac.compare_digest(digest.encode(), self.sign.encode("utf-8", "surrogatepass"))


@dataclass(frozen=True, slots=True)
class Registered:
    """The platform's answer (D43); ``deployment_id`` is ``""`` where it comes with the first launch (Canvas).

    The granted scopes are those of the token endpoint, not these: Moodle's answer can say too much (moodle.md 46).
    """

    client_id: str
    deployment_id: str = ""
    configuration_url: str = ""
    access_token: str = field(default="", repr=False)
    upgrade: UpgradeProof | None = None


def register(
    sender: Sender, tool: ToolDescription, platform: PlatformConfiguration, registration_token: str
) -> Registered:
    """Register the tool at the platform (D42). Raises ``RegistrationFailed``."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if registration_token:
        headers["Authorization"] = f"Bearer {registration_token}"
    body = json.dumps(registration_document(tool, platform)).encode()
    response = _answer(sender, "POST", platform.registration_endpoint, headers, body, "the registration")
    return parse_registration(response.body)


def fetch_upgrade_proof(
    sender: Sender, platform: PlatformConfiguration, registration_token: str
) -> UpgradeProof | None:
    """What the platform already knows of the tool, asked for before it is registered (moodle.md 47).

    ``None`` where it knows nothing, or does not tell; no registration fails for that.
    """
    if not registration_token:
        return None
    headers = {"Authorization": f"Bearer {registration_token}", "Accept": "application/json"}
    try:
        response = sender.request("GET", platform.registration_endpoint, headers=headers)
        return upgrade_proof_of(read_object(response.body, limit=ANSWER_LIMIT)) if response.status == 200 else None
    except (OutboundFailed, OutboundRefused, UnreadableJson):
        return None


def parse_registration(body: bytes) -> Registered:
    """The platform's answer to a registration (D43). Raises ``RegistrationFailed``."""
    try:
        document = read_object(body, limit=ANSWER_LIMIT)
    except UnreadableJson as error:
        raise RegistrationFailed(
            "the answer to the registration",
            "The LMS's answer to the registration cannot be read.",
            f"{error.reason}: {excerpt(body)}",
        ) from None
    configuration = object_in(document, names.TOOL_CONFIGURATION)
    client_id, deployment_id = text_in(document, "client_id"), text_in(configuration, "deployment_id")
    if not client_id.strip() or len(client_id) > _ID_LIMIT or not client_id.isprintable():
        raise RegistrationFailed("client_id", "The LMS registered the tool without a usable client id.")
    if len(deployment_id) > _ID_LIMIT or not deployment_id.isascii() or not (deployment_id or " ").isprintable():
        raise RegistrationFailed("deployment_id", "The LMS registered the tool with an unusable deployment id.")
    configuration_url = text_in(document, "registration_client_uri")
    return Registered(
        client_id=client_id,
        deployment_id=deployment_id,
        configuration_url=configuration_url if safe_http_url(configuration_url) else "",
        access_token=text_in(document, "registration_access_token"),
        upgrade=upgrade_proof_of(document),
    )


def upgrade_proof_of(document: JsonObject) -> UpgradeProof | None:
    """The ``oauth_consumer`` of a registration, whether inside the tool configuration or beside it."""
    for holder in (object_in(document, names.TOOL_CONFIGURATION), document):
        consumer = object_in(holder, "oauth_consumer")
        proof = UpgradeProof(text_in(consumer, "key"), text_in(consumer, "nonce"), text_in(consumer, "sign"))
        if proof.consumer_key and proof.nonce and proof.sign:
            return proof
    return None


def _answer(
    sender: Sender, method: str, url: str, headers: Mapping[str, str], body: bytes | None, what: str
) -> OutboundResponse:
    try:
        response = sender.request(method, url, headers=headers, body=body)
    except (OutboundFailed, OutboundRefused) as error:
        raise RegistrationFailed(what, f"The LMS could not be asked for {what}: {error.reason}.") from None
    if response.truncated:
        raise RegistrationFailed(what, "The LMS answered with more than is read.")
    if not 200 <= response.status < 300:
        # Moodle answers in plain text, or with a page for a token that has served its time (moodle.md 45, 48).
        explanation = f"The LMS refused {what} (HTTP {response.status}). A registration address of the LMS serves once "
        explanation += "and for a short time: its administrator should begin again."
        raise RegistrationFailed(what, explanation, excerpt(response.body))
    return response
