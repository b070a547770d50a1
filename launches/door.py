"""What the doors of LTI 1.1 and 1.3 share: reading the request, and the way on for an accepted launch."""

import structlog
from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.request import UnreadablePostError
from django.urls import reverse

from launches.browser import Browser, make_ticket, remember_browser
from launches.models import Launch
from lti.errors import LaunchError, LaunchErrorCode
from lti.v1p1.launch import BODY_LIMIT


def read_body(request: HttpRequest) -> bytes:
    """The body of a launch request. Raises `LaunchError` MALFORMED (413 over 256 KiB)."""
    try:
        length = int(request.headers.get("Content-Length") or 0)
        body = request.body if length <= BODY_LIMIT else b""
    except (RequestDataTooBig, ValueError):
        length, body = BODY_LIMIT + 1, b""
    except UnreadablePostError as error:
        raise LaunchError(LaunchErrorCode.MALFORMED, "the whole body arrived") from error
    if length > BODY_LIMIT:
        raise LaunchError(LaunchErrorCode.MALFORMED, "size of the body", received=f"{length} bytes", status=413)
    return body


def framing_origin(request: HttpRequest) -> str:
    """The Origin of the page that posted the launch; "" where the browser hides it."""
    origin = request.headers.get("Origin", "")
    return "" if origin == "null" else origin


def is_from_own_page(request: HttpRequest) -> bool:
    """Whether a form comes from a page of ours, by the Origin that browsers add to every post to another site. Pages
    that hide theirs ("null") are not ours; who is no browser sends none."""
    origin = request.headers.get("Origin")
    return origin is None or origin == settings.BASE_URL or origin.partition("://")[2] == request.get_host()


def let_in(launch: Launch, browser: Browser) -> HttpResponse:
    """Redirects to the launch's page, and names the browser."""
    structlog.contextvars.bind_contextvars(launch=str(launch.id), organization=str(launch.organization_id))
    location = reverse("launch", args=[launch.id])
    if not browser.returned:
        # Whether the cookie will come back is not known yet. The ticket for a new window travels in the fragment, which
        # is sent to no server and stands in no log.
        location += f"#{make_ticket(launch.id)}"
    response = HttpResponseRedirect(location)
    remember_browser(response, browser)
    return response
