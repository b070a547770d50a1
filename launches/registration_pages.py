"""Dynamic registration (D40 to D45): what the LMS opens in a frame, and the one button that registers the tool.

No cookie is needed: the invite opens the page, and the form that it shows is signed.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import wraps
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import add_never_cache_headers
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from lti.products import STANDARD
from lti.texts import single_line, truncated
from lti.v1p3 import vocabulary as names
from lti.v1p3.dynamic_registration import (
    PlatformConfiguration,
    RegistrationFailed,
    fetch_configuration,
    read_initiation,
    registration_document,
)
from organizations.models import Organization, RegistrationInvite
from organizations.outbound import outbound_client
from organizations.registration_invites import InviteNotUsable, find_invite, invite_of_form, register_by_invite
from organizations.registrations import Platform, lms_of, title_of
from organizations.tool_description import tool_description

logger = structlog.get_logger(__name__)

# As long as an LMS's registration token lasts (moodle.md 48).
FORM_AGE = 60 * 60
_SALT = "launches.registration"
_SHOWN = 200

_MESSAGES = {
    names.RESOURCE_LINK_REQUEST: "Links in courses open assignments here",
    names.DEEP_LINKING_REQUEST: "Teachers choose content while they add it to a course",
    names.SUBMISSION_REVIEW_REQUEST: "Teachers open a student's work from the gradebook",
}


@dataclass(frozen=True)
class _Form:
    """What our signed form carries from the page to the button."""

    invite_id: UUID
    platform: PlatformConfiguration
    registration_token: str

    def signed(self) -> str:
        content = [str(self.invite_id), asdict(self.platform), self.registration_token]
        return signing.dumps(content, salt=_SALT, compress=True)

    @classmethod
    def read(cls, text: str) -> "_Form":
        """Raises `BadSignature` for what we did not sign, or not within the hour."""
        invite_id, platform, registration_token = signing.loads(text, salt=_SALT, max_age=FORM_AGE)
        # JSON has no tuples.
        members: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in platform.items()
        }
        members["placements"] = {name: tuple(values) for name, values in platform["placements"].items()}
        return cls(UUID(invite_id), PlatformConfiguration(**members), registration_token)


def _framed_by_any_lms(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """A page that any LMS may frame: which one it is comes out in it. It never stands in a cache or a Referer."""

    @wraps(view)
    def page(request: HttpRequest, organization: str) -> HttpResponse:
        response = view(request, organization)
        schemes = ["https:", "http:"] if settings.OUTBOUND_ALLOW_HTTP else ["https:"]
        response.xframe_options_exempt = True  # type: ignore[attr-defined]
        response._csp_replace = {"frame-ancestors": ["'self'", *schemes]}  # type: ignore[attr-defined]
        add_never_cache_headers(response)
        response["Cache-Control"] = "no-store"
        response["Referrer-Policy"] = "no-referrer"
        return response

    return page


@csrf_exempt
@_framed_by_any_lms
@require_http_methods(["GET", "POST"])
def register(request: HttpRequest, organization: str) -> HttpResponse:
    """GET by the LMS: what is going to be registered. POST of that page's form: registers it."""
    try:
        if request.method == "POST":
            return _register(request, organization)
        return _ask(request, organization)
    except InviteNotUsable:
        return render(request, "launches/registration_not_invited.html", status=404)
    except RegistrationFailed as error:
        logger.info("registration_failed", organization=organization, check=error.check, detail=error.detail)
        return render(
            request,
            "launches/registration_failed.html",
            {
                "explanation": error.explanation,
                "check": error.check,
                "detail": truncated(single_line(error.detail), 500),
            },
            status=400,
        )


def _ask(request: HttpRequest, organization: str) -> HttpResponse:
    invite = find_invite(organization, request.GET.get("invite", ""))
    initiation = read_initiation(request.GET.dict())
    platform = fetch_configuration(outbound_client(), initiation, allow_http=settings.OUTBOUND_ALLOW_HTTP)
    form = _Form(invite.pk, platform, initiation.registration_token)
    return render(
        request,
        "launches/registration_ask.html",
        {"form": form.signed(), **_described(invite.organization, platform)},
    )


def _register(request: HttpRequest, organization: str) -> HttpResponse:
    try:
        form = _Form.read(request.POST.get("form", ""))
    except signing.BadSignature:
        raise InviteNotUsable from None
    invite: RegistrationInvite = invite_of_form(organization, form.invite_id)
    registration = register_by_invite(invite, form.platform, form.registration_token)
    return render(
        request,
        "launches/registration_done.html",
        {
            "organization": invite.organization,
            "lms": _lms_title(form.platform),
            "upgraded": registration.upgraded_key is not None,
            "is_moodle": registration.installation.lms == "moodle" or "moodle" in form.platform.product_family.lower(),
        },
    )


def _described(organization: Organization, platform: PlatformConfiguration) -> dict[str, Any]:
    """What the page says of both sides."""
    tool = tool_description(organization, named=True)
    document = registration_document(tool, platform)
    scopes = str(document["scope"]).split()
    configuration: Any = document[names.TOOL_CONFIGURATION]
    offered = {message["type"] for message in configuration["messages"]}
    uses = [words for message, words in _MESSAGES.items() if message in offered]
    if names.SCOPE_SCORE in scopes:
        uses.append("Grades come back to the gradebook")
    if names.SCOPE_MEMBERSHIP in scopes:
        uses.append("The list of a course's members can be read")
    named = {"name", "given_name", "family_name"} & set(configuration["claims"])
    return {
        "organization": organization,
        "lms": _lms_title(platform),
        "version": truncated(single_line(platform.product_version), _SHOWN),
        "issuer": truncated(platform.issuer, _SHOWN),
        "other_hosts": [truncated(host, _SHOWN) for host in platform.other_hosts[:5]],
        "domain": tool.domain,
        "uses": uses,
        "personal_data": " and ".join(
            words
            for words, given in (("name", bool(named)), ("e-mail address", "email" in configuration["claims"]))
            if given
        ),
    }


def _lms_title(platform: PlatformConfiguration) -> str:
    """The LMS by its product's own name, else by what it calls itself, else "the LMS"."""
    described = Platform(platform.issuer, "", platform.authorization_endpoint, platform.token_endpoint)
    lms = lms_of(platform.product_family, described)
    if lms != STANDARD.name:
        return title_of(lms)
    return truncated(single_line(platform.product_family), 60) or "the LMS"
