"""The door of LTI 1.3: third-party initiated login, and the launch with an id_token (D5 to D21).

The state is bound to registration, nonce and browser. The browser proves itself by its cookie; where that does not come
back, by what the LMS kept for it (platform storage, D25); where the LMS keeps nothing, the login starts anew in a new
window. The state alone is never enough (D27).
"""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import Resolver404, resolve, reverse
from django.views.decorators.csrf import csrf_exempt

from launches.arrival import arrive
from launches.browser import Browser, browser_from, browser_of, new_browser, remember_browser
from launches.credentials import Credential
from launches.destinations import Resource, ResourceKind
from launches.door import framing_origin, let_in, read_body
from launches.refusals import RefusedLaunch, refuse
from launches.visits import apply_frame_policy
from lti.errors import LaunchError, LaunchErrorCode
from lti.message import LaunchMessage
from lti.v1p3.id_token import Expected, verify
from lti.v1p3.key_sets import pem_source
from lti.v1p3.login import LoginRequest, authorization_url, new_nonce, origin_of, read_answer, read_login
from lti.v1p3.login_state import LIFETIME, LoginState, browser_digest, check_browser, read_state, sign_state
from lti.v1p3.message import to_message
from organizations.encryption import decrypt, encrypt, is_ours
from organizations.models import Deployment, Registration
from organizations.shared_cache import key_sets

# An LMS may invent deployment ids; each waits for the owner, and no more than these do.
PENDING_DEPLOYMENTS = 20
# In a login's address: the browser was given its cookie a moment ago, and sent here to bring it back.
_COOKIE_GIVEN = "cookie_given"
_REST = "~"
_RESOURCES = {
    "lti-launch": (ResourceKind.ANY, ""),
    "lti-resource-selection": (ResourceKind.ANY, ""),
    "lti-editor-button": (ResourceKind.ANY, ""),
    "lti-course-navigation": (ResourceKind.COURSE, ""),
    "lti-1p3-launch": (ResourceKind.ANY, ""),
    # Some administrators give the LMS nothing but our address.
    "home": (ResourceKind.ANY, ""),
    "lti-assignment": (ResourceKind.ASSIGNMENT, "assignment_id"),
    "lti-constant": (ResourceKind.CONSTANT, "constant_key"),
    "lti-enroll": (ResourceKind.ENROLL, "course_id"),
    "lti-room": (ResourceKind.ROOM, "room_id"),
}


@dataclass
class _Known:
    """What is known so far of a launch that may yet be refused."""

    credential: Credential | None = None
    message: LaunchMessage | None = None


@csrf_exempt
def login(request: HttpRequest, organization: str) -> HttpResponse:
    """Answers a login initiation by sending the browser to the platform's authorization endpoint (D6)."""
    known = _Known()
    try:
        initiation = read_login(
            method=request.method or "",
            query=request.META.get("QUERY_STRING", "").encode(),
            body=read_body(request) if request.method == "POST" else b"",
            content_type=request.headers.get("Content-Type", ""),
        )
        if not _is_ours(initiation.target_link_uri):
            raise LaunchError(
                LaunchErrorCode.UNKNOWN_DESTINATION,
                "target_link_uri is one of ours",
                expected=f"an address below {settings.BASE_URL}",
                received=initiation.target_link_uri,
            )
        registration = _registration(organization, initiation)
        known.credential = Credential.of_registration(registration)
        _check_registration(registration)
        return _to_platform(request, registration, initiation)
    except LaunchError as error:
        return _refuse(request, error, known)


def _registration(slug: str, initiation: LoginRequest) -> Registration:
    """The registration inside the organization whose URL was called. Without a client id the issuer has to be enough
    (D3). Raises `LaunchError` AUTHENTICATION_FAILED, with one text for all."""
    found = Registration.objects.select_related("organization", "installation__organization").filter(
        organization__slug=slug, issuer=initiation.issuer
    )
    if initiation.client_id:
        found = found.filter(client_id=initiation.client_id)
    registrations = list(found[:2])
    if len(registrations) == 1:
        return registrations[0]
    raise LaunchError(
        LaunchErrorCode.AUTHENTICATION_FAILED,
        "issuer and client id are registered",
        expected="a registration of this organization",
        received=f"{initiation.issuer} {initiation.client_id}",
        cause="The LMS is not registered here, or its issuer is written differently: a slash, http, a port.",
    )


def _check_registration(registration: Registration) -> None:
    if not registration.organization.enabled or not registration.is_usable or not registration.installation.enabled:
        raise LaunchError(
            LaunchErrorCode.INSTALLATION_DISABLED,
            "the registration is active",
            cause="The registration waits for its owner to activate it, or somebody switched it off.",
        )


def _to_platform(request: HttpRequest, registration: Registration, initiation: LoginRequest) -> HttpResponse:
    browser = browser_of(request) or new_browser()
    framed = request.headers.get("Sec-Fetch-Dest") in ("iframe", "frame")
    if framed and not browser.returned and not initiation.storage_target:
        return _ask_for_cookie(request, registration, initiation, browser)
    nonce = new_nonce()
    state = sign_state(
        LoginState(
            registration=str(registration.id),
            browser=browser_digest(browser.value),
            nonce=nonce,
            expires_at=int(time.time()) + LIFETIME,
        ),
        settings.SECRET_KEY,
    )
    if not browser.returned:
        # Without a cookie at the launch, a new window begins the login anew, and storage is asked in its frame.
        state += _REST + encrypt(json.dumps(asdict(initiation)))
    location = authorization_url(
        registration.auth_login_url,
        initiation,
        client_id=registration.client_id,
        redirect_uri=settings.BASE_URL + reverse("lti-1p3-launch", args=[registration.organization.slug]),
        state=state,
        nonce=nonce,
    )
    if initiation.storage_target and not browser.returned and request.headers.get("Sec-Fetch-Dest") != "document":
        response = render(
            request,
            "launches/platform_storage_put.html",
            {
                "location": location,
                "storage": {
                    "target": initiation.storage_target,
                    "origin": origin_of(registration.auth_login_url),
                    "key": _storage_key(state),
                    "value": browser.value,
                },
            },
        )
        apply_frame_policy(response, None)
    else:
        response = HttpResponse(status=302, headers={"Location": location})
    response["Cache-Control"] = "no-store"
    remember_browser(response, browser)
    return response


def _ask_for_cookie(
    request: HttpRequest, registration: Registration, initiation: LoginRequest, browser: Browser
) -> HttpResponse:
    """Finds out whether a frame keeps our cookie before the platform is asked: a login hint may work once only, and
    would be used up when a new window has to begin the login anew (D27)."""
    again = _login_url(registration, asdict(initiation))
    response: HttpResponse
    if _COOKIE_GIVEN not in request.GET:
        response = HttpResponse(status=303, headers={"Location": f"{again}&{_COOKIE_GIVEN}=1"})
        remember_browser(response, browser)
    else:
        response = render(
            request,
            "launches/browser_unproved.html",
            {"again": again},
            status=LaunchErrorCode.STATE_MISMATCH.status,
        )
        response["X-Launch-Error"] = LaunchErrorCode.STATE_MISMATCH.value
    response["Cache-Control"] = "no-store"
    apply_frame_policy(response, None)
    return response


_LOGIN_PARAMETERS = {"message_hint": "lti_message_hint", "issuer": "iss", "deployment_id": "lti_deployment_id"}


def _login_url(registration: Registration, initiation: Mapping[str, str | None]) -> str:
    """The address at which the same login begins anew, in a window that needs no storage."""
    parameters = {_LOGIN_PARAMETERS.get(name, name): value for name, value in initiation.items() if value}
    parameters.pop("storage_target", None)
    return f"{reverse('lti-1p3-login', args=[registration.organization.slug])}?{urlencode(parameters)}"


def _storage_key(state: str) -> str:
    """Names what a login keeps in the LMS: the tail of its signature, so that two logins do not meet."""
    return f"lti-browser-{state.partition(_REST)[0][-16:]}"


@csrf_exempt
def launch(request: HttpRequest, organization: str) -> HttpResponse:
    return receive(request, organization)


def receive(request: HttpRequest, organization: str = "") -> HttpResponse:
    """Verifies an id_token and takes its launch in, or refuses it. `organization` is "" at a resource URL, where the
    state alone names it (D10)."""
    known = _Known()
    try:
        body = read_body(request)
        answer = read_answer(
            method=request.method or "", body=body, content_type=request.headers.get("Content-Type", "")
        )
        signed, _, rest = answer.state.partition(_REST)
        now = int(time.time())
        state = read_state(signed, [settings.SECRET_KEY, *map(str, settings.SECRET_KEY_FALLBACKS)], now=now)
        registration = _registration_of(state, organization)
        known.credential = Credential.of_registration(registration)
        _check_registration(registration)
        token = verify(
            answer.id_token,
            Expected(registration.issuer, registration.client_id, state.nonce, _is_ours),
            pem_source(registration.public_key_pem)
            if registration.public_key_pem and not registration.jwks_url
            else key_sets().source(registration.jwks_url),
            now=now,
            window=settings.LTI_TIMESTAMP_WINDOW,
        )
        message = known.message = to_message(token)
        browser = _proved_browser(request, state)
        if browser is None:
            return _ask_for_browser(request, answer.id_token, answer.state, rest, registration)
        deployment = _deployment(registration, message)
        credential = known.credential = Credential.of_registration(registration, deployment)
        credential.check_enabled()
        accepted = arrive(message, credential, _resource(message), browser, framing_origin(request))
    except LaunchError as error:
        return _refuse(request, error, known)
    return let_in(accepted, browser)


def _registration_of(state: LoginState, organization: str) -> Registration:
    found = Registration.objects.select_related("organization", "installation__organization").filter(
        pk=state.registration
    )
    if organization:
        found = found.filter(organization__slug=organization)
    registration = found.first()
    if registration is None:
        raise LaunchError(
            LaunchErrorCode.STATE_MISMATCH,
            "the state belongs to this organization",
            cause="The login began at another organization's address, or its registration was removed meanwhile.",
        )
    return registration


def _proved_browser(request: HttpRequest, state: LoginState) -> Browser | None:
    """The browser in which the login began: by its cookie, or by what the LMS kept for it. None: nothing came.

    Raises `LaunchError` STATE_MISMATCH for another browser's.
    """
    by_cookie = browser_of(request)
    if by_cookie is not None:
        check_browser(state, by_cookie.value)
        return by_cookie
    by_storage = browser_from(request.POST.get("browser", ""))
    if by_storage is not None:
        check_browser(state, by_storage.value)
    return by_storage


def _ask_for_browser(
    request: HttpRequest, id_token: str, state: str, rest: str, registration: Registration
) -> HttpResponse:
    """The page that asks the LMS for what it kept, and otherwise offers to start the login anew in a new window."""
    initiation = _initiation(rest)
    again = _login_url(registration, initiation) if initiation is not None else ""
    response = render(
        request,
        "launches/browser_unproved.html",
        {
            "again": again,
            "id_token": id_token,
            "state": state,
            "storage": {
                "target": (initiation or {}).get("storage_target", ""),
                "origin": origin_of(registration.auth_login_url),
                "key": _storage_key(state),
            },
        },
        status=LaunchErrorCode.STATE_MISMATCH.status,
    )
    response["X-Launch-Error"] = LaunchErrorCode.STATE_MISMATCH.value
    response["Cache-Control"] = "no-store"
    apply_frame_policy(response, None)
    return response


def _initiation(rest: str) -> dict[str, str] | None:
    if not rest or not is_ours(rest):
        return None
    kept = json.loads(decrypt(rest))
    return kept if isinstance(kept, dict) else None


def _deployment(registration: Registration, message: LaunchMessage) -> Deployment:
    """The approved deployment. One that nobody knows is noted for the owner (design §5).

    Raises `LaunchError` DEPLOYMENT_PENDING.
    """
    deployments = Deployment.objects.filter(registration=registration)
    deployment = (
        deployments.select_related("registration__organization", "installation__organization")
        .filter(deployment_id=message.deployment_id)
        .first()
    )
    if deployment is None:
        with transaction.atomic():
            if deployments.filter(state=Deployment.State.PENDING).count() < PENDING_DEPLOYMENTS:
                Deployment.objects.bulk_create(
                    [
                        Deployment(
                            registration=registration,
                            deployment_id=message.deployment_id,
                            installation=registration.installation,
                            state=Deployment.State.PENDING,
                        )
                    ],
                    ignore_conflicts=True,
                )
    if deployment is None or deployment.state != Deployment.State.APPROVED:
        raise LaunchError(
            LaunchErrorCode.DEPLOYMENT_PENDING,
            "the deployment is approved",
            expected="a deployment that the owner approved",
            received=message.deployment_id,
            cause="The tool was added to the LMS a second time, or for the first: approve the deployment under "
            "LMS installations, and the next launch goes through.",
        )
    return deployment


def _is_ours(url: str) -> bool:
    """Whether a URL is a launch URL of this platform (D8, D18)."""
    return _resource_kind(url) is not None


def _resource_kind(url: str) -> tuple[ResourceKind, str] | None:
    parts = urlsplit(url)
    if f"{parts.scheme}://{parts.netloc}".lower() != settings.BASE_URL.lower():
        return None
    try:
        match = resolve(parts.path or "/")
    except Resolver404:
        return None
    kind = _RESOURCES.get(match.url_name or "")
    return None if kind is None else (kind[0], match.kwargs.get(kind[1], ""))


def _resource(message: LaunchMessage) -> Resource:
    found = _resource_kind(message.target_link_uri) if message.target_link_uri else None
    return Resource(*found) if found else Resource(ResourceKind.ANY)


def _refuse(request: HttpRequest, error: LaunchError, known: _Known) -> HttpResponse:
    message = known.message
    response = refuse(
        request,
        RefusedLaunch(
            error,
            settings.BASE_URL + request.path,
            lti_version="1.3",
            credential=known.credential,
            roles=message.roles.raw if message else "",
            message_type=message.message_type if message else "",
            document_target=message.document_target if message else "",
            lms=message.platform.lms if message else "",
            return_url=message.return_url if message else "",
        ),
    )
    apply_frame_policy(response, None)
    return response
