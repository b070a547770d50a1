"""The services of an LTI 1.3 platform (grades, rosters), reached as one deployment's tool."""

from collections.abc import Iterable

from lti.v1p3.services import ANSWER_LIMIT, PlatformServices
from lti.v1p3.tokens import RegistrationTokens, ToolClient, rs256_signer
from organizations.models import Deployment
from organizations.outbound import outbound_client
from organizations.service_hosts import host_of, is_allowed
from organizations.shared_cache import platform_tokens
from organizations.tool_keys import signing_key


def may_call(deployment: Deployment, url: str) -> bool:
    """Whether tokens, grades and roster requests may go to this URL's host: one of the registration's endpoints' or of
    the installation's service hosts (design §5, J9)."""
    registration = deployment.registration
    endpoints = (registration.token_url, registration.auth_login_url, registration.jwks_url)
    host = host_of(url)
    own = {host_of(endpoint) for endpoint in endpoints if endpoint}
    return bool(host) and (host in own or is_allowed(deployment.installation, url))


def services_of(deployment: Deployment, scopes: Iterable[str]) -> PlatformServices:
    """The platform's services with a token for these scopes. Needs `deployment.registration.organization` and
    `deployment.installation`; reads the organization's signing key (one statement). Calls are HTTP: not in a
    transaction."""
    registration = deployment.registration
    key = signing_key(registration.organization)
    tokens = RegistrationTokens(
        platform_tokens(),
        ToolClient(registration.client_id, registration.token_url, registration.token_audience),
        tuple(scopes),
        rs256_signer(key.private_key, key.key_id),
    )
    # A Moodle names a whole course of thousands in one answer (moodle.md 40).
    client = outbound_client(max_response_bytes=ANSWER_LIMIT)
    return PlatformServices(client, tokens, lambda url: may_call(deployment, url))
