"""The door of LTI 1.1: a signed form."""

import hashlib
import time
from collections.abc import Mapping
from functools import partial
from urllib.parse import parse_qsl

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port, validate_host
from django.utils.encoding import iri_to_uri

from launches.arrival import arrive
from launches.browser import Browser, browser_of, new_browser, remember_browser
from launches.credentials import Credential
from launches.destinations import Resource
from launches.door import framing_origin, let_in, read_body
from launches.refusals import RefusedLaunch, refuse
from launches.visits import apply_frame_policy
from lti.errors import LaunchError, LaunchErrorCode
from lti.message import LaunchMessage
from lti.products import detect_lms
from lti.return_url import safe_http_url
from lti.v1p1.content_items import is_selection, to_selection_message
from lti.v1p1.diagnosis import explain_signature
from lti.v1p1.launch import BODY_LIMIT, Form, LaunchRequest, Secrets, read_form, to_message, verify
from lti.v1p1.relaunch import relaunch_redirect, wants_relaunch
from organizations.identifiers import random_token
from organizations.models import LtiKey
from organizations.prepared_query import PreparedQuery

TOOL_STATE_AGE = 10 * 60
_TOOL_STATE_SALT = "launches.tool_state"

_KEY = PreparedQuery(
    lambda consumer_key: LtiKey.objects.select_related("installation__organization").filter(consumer_key=consumer_key),
    consumer_key=str,
)


def receive(request: HttpRequest, resource: Resource) -> HttpResponse:
    """Verifies, takes in and redirects a launch, or refuses it. In this order: form, signature, time, nonce."""
    form: Form | None = None
    key: LtiKey | None = None
    verified = False
    url = settings.BASE_URL + request.get_full_path()
    launch_request = _launch_request(request, url, b"")
    try:
        launch_request = _launch_request(request, url, read_body(request))
        try:
            form = read_form(launch_request)
        except LaunchError:
            key = _key(_claimed_key(launch_request.body))
            raise
        key = _key(form.consumer_key)
        used = verify(launch_request, form, _secrets(key), now=int(time.time()), window=settings.LTI_TIMESTAMP_WINDOW)
        if key is None:  # verify refuses an unknown key; this tells the type checker
            raise LaunchError(LaunchErrorCode.AUTHENTICATION_FAILED, "consumer key")
        verified = True
        credential = Credential.of_key(key, used_current_secret=used.secret_used != "previous")  # noqa: S105 - a name
        credential.check_enabled()
        message = _message(form)
        browser = browser_of(request) or new_browser()
        if wants_relaunch(form):
            return _relaunch(form, key, browser)
        _check_tool_state(form, key, browser)
        launch = arrive(message, credential, resource, browser, framing_origin(request))
    except LaunchError as error:
        response = refuse(request, _refused(error, launch_request, form, key, verified=verified))
        apply_frame_policy(response, None)
        return response
    return let_in(launch, browser)


def _launch_request(request: HttpRequest, url: str, body: bytes) -> LaunchRequest:
    return LaunchRequest(
        url=url,
        body=body,
        content_type=request.headers.get("Content-Type", ""),
        method=request.method or "",
        alternative_urls=_alternative_urls(request),
    )


def _alternative_urls(request: HttpRequest) -> tuple[str, ...]:
    """The same address under the host the request came to, if it is one of ours (A9)."""
    host = request.META.get("HTTP_HOST", "")
    domain, _ = split_domain_port(host)
    if not domain or not validate_host(domain, settings.ALLOWED_HOSTS):
        return ()
    alternative = f"{request.scheme}://{host}"
    return () if alternative == settings.BASE_URL else (alternative + request.get_full_path(),)


def _key(consumer_key: str) -> LtiKey | None:
    if not consumer_key or len(consumer_key) > 255:
        return None
    return _KEY.first(consumer_key=consumer_key)


def _claimed_key(body: bytes) -> str:
    """The key that a malformed form names, so that its owner's launch log can show what went wrong."""
    pairs = parse_qsl(body[:BODY_LIMIT].decode("utf-8", "replace"), keep_blank_values=True)
    claimed = next((value for name, value in pairs if name == "oauth_consumer_key"), "")
    return "" if "\x00" in claimed else claimed


def _secrets(key: LtiKey | None) -> Secrets | None:
    return Secrets(key.secret, key.valid_previous_secret()) if key else None


def _message(form: Form) -> LaunchMessage:
    return to_selection_message(form) if is_selection(form.values) else to_message(form)


def _relaunch(form: Form, key: LtiKey, browser: Browser) -> HttpResponse:
    """Asks the LMS to launch again with a state that only this browser can bring back (A21)."""
    platform_state = form.values["platform_state"]
    tool_state = signing.dumps(_state_of(key, browser, platform_state), salt=_TOOL_STATE_SALT)
    location = relaunch_redirect(form.values["relaunch_url"], platform_state, tool_state)
    response = HttpResponse(status=302, headers={"Location": iri_to_uri(location)})
    remember_browser(response, browser)
    return response


def _state_of(key: LtiKey, browser: Browser, platform_state: str) -> list[str]:
    return [str(key.id), browser.digest, hashlib.sha256(platform_state.encode()).hexdigest()]


def _check_tool_state(form: Form, key: LtiKey, browser: Browser) -> None:
    tool_state = form.values.get("tool_state", "")
    if not tool_state:
        return
    try:
        expected = signing.loads(tool_state, salt=_TOOL_STATE_SALT, max_age=TOOL_STATE_AGE)
    except signing.BadSignature:
        expected = None
    if expected != _state_of(key, browser, form.values.get("platform_state", "")):
        raise LaunchError(
            LaunchErrorCode.STATE_MISMATCH,
            "tool_state and platform_state belong to this browser",
            expected="the pair of states that this browser was given",
            received="another browser's state, an expired one, or no cookie",
            cause="The launch was started in another browser, or the browser blocks cookies.",
        )


def _refused(
    error: LaunchError, request: LaunchRequest, form: Form | None, key: LtiKey | None, *, verified: bool
) -> RefusedLaunch:
    values: Mapping[str, str] = form.values if form else {}
    return_url = values.get("launch_presentation_return_url", "").strip() if verified else ""
    diagnose = None
    if form is not None and error.code is LaunchErrorCode.AUTHENTICATION_FAILED:
        diagnose = partial(_diagnosis, request, form, key)
    return RefusedLaunch(
        error,
        request.url,
        credential=Credential.of_key(key) if key else None,
        roles=values.get("roles", ""),
        message_type=values.get("lti_message_type", ""),
        document_target=values.get("launch_presentation_document_target", ""),
        lms=detect_lms(values),
        return_url=return_url if safe_http_url(return_url) else "",
        diagnose=diagnose,
    )


def _diagnosis(request: LaunchRequest, form: Form, key: LtiKey | None) -> Mapping[str, str]:
    hosts = tuple(host for host in settings.ALLOWED_HOSTS if not host.startswith((".", "*")))
    # For a key that is not known, a secret that nobody has: the same is tried (A18).
    secrets = _secrets(key) or Secrets(random_token())
    found = explain_signature(request, form, secrets, alternative_hosts=hosts)
    return {
        "base_string": found.base_string[:20_000],
        "explanation": found.explanation,
        "variant": found.variant,
    }
