"""A visit: one browser in the pages of one launch. Every page under /launches/<id>/ starts by loading it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import Any, Concatenate, ParamSpec
from uuid import UUID

import structlog
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.cache import add_never_cache_headers
from django.views.decorators.csrf import csrf_exempt

from courses.models import Assignment, Course
from launches.browser import browser_of
from launches.models import Launch
from launches.refusals import refusal_page
from lti.errors import LaunchError, LaunchErrorCode
from organizations.models import Installation, Organization, Person

# A visit lasts a working day; then the course has to open it again, which also asks the LMS for the role again (A30).
VISIT_LENGTH = timedelta(hours=12)
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

PageParameters = ParamSpec("PageParameters")


@dataclass(frozen=True)
class Visit:
    """Who is in front of a page of this launch, with which role, and where."""

    launch: Launch
    organization: Organization
    installation: Installation
    person: Person
    role: str
    course: Course | None
    assignment: Assignment | None
    token: str

    @property
    def is_look(self) -> bool:
        """Whether somebody else than `person` is in front of the page: they see what the person sees, and change
        nothing (launches/looking.py). Every unsafe request of such a visit is refused."""
        return bool(self.launch.actual_user)

    @property
    def looker(self) -> str:
        """The name of who looks; "" in a visit of one's own."""
        return str(self.launch.actual_user.get("name", ""))

    @property
    def is_teacher(self) -> bool:
        return self.role == "teacher"

    @property
    def is_staff(self) -> bool:
        """Teachers, and mentors, who see and change nothing."""
        return self.role in ("teacher", "mentor")


class BrowserUnknown(Exception):
    """The browser sent no cookie: it blocks it, or it never launched anything."""


class VisitEnded(Exception):
    """The launch is too old for its pages."""


class OnlyLooking(Exception):
    """Who looks at another's work wanted to change something."""


def get_visit(request: HttpRequest, launch_id: UUID) -> Visit:
    """The visit of this browser. Checks the token of unsafe requests.

    Raises `BrowserUnknown`, `Http404` (no such launch, or another browser's), `VisitEnded`, `PermissionDenied` (forged
    form), `OnlyLooking` and `LaunchError` (switched off meanwhile, J6); `launch_page` turns each into its page.
    """
    browser = browser_of(request)
    if browser is None:
        raise BrowserUnknown
    launch = (
        Launch.objects.select_related(
            "organization",
            "installation",
            "lti_key",
            "deployment__registration",
            "person",
            "for_person",
            "course",
            "assignment__course",
            "room",
            "resource_link",
        )
        .filter(pk=launch_id, result=Launch.ACCEPTED)
        .first()
    )
    if launch is None or launch.browser != browser.digest or launch.person is None or launch.installation is None:
        raise Http404
    structlog.contextvars.bind_contextvars(launch=str(launch.id), organization=str(launch.organization_id))
    request.launch = launch  # type: ignore[attr-defined] # for launch_page's frame policy
    if timezone.now() - launch.at > VISIT_LENGTH:
        raise VisitEnded
    _check_enabled(launch)
    if request.method not in SAFE_METHODS:
        token = request.headers.get("X-Launch-Token") or request.POST.get("launch_token", "")
        if not browser.token_matches(launch.id, token):
            raise PermissionDenied
        if launch.actual_user:
            raise OnlyLooking
    # Who acts as a teacher sees what teachers see, and as little as mentors has anything to press.
    role = "mentor" if launch.actual_user and launch.role == "teacher" else launch.role
    return Visit(
        launch=launch,
        organization=launch.organization,
        installation=launch.installation,
        person=launch.person,
        role=role,
        course=launch.course,
        assignment=launch.assignment,
        token=browser.token(launch.id),
    )


def get_visit_for_staff(request: HttpRequest, launch_id: UUID) -> Visit:
    """A visit of a teacher or mentor; for anybody else the page does not exist."""
    visit = get_visit(request, launch_id)
    if not visit.is_staff:
        raise Http404
    return visit


def get_visit_for_teacher(request: HttpRequest, launch_id: UUID) -> Visit:
    """A visit of a teacher; for anybody else the page does not exist."""
    visit = get_visit(request, launch_id)
    if not visit.is_teacher:
        raise Http404
    return visit


def _check_enabled(launch: Launch) -> None:
    if not (
        launch.organization.enabled
        and launch.installation is not None
        and launch.installation.enabled
        and _credential_is_enabled(launch)
    ):
        raise LaunchError(LaunchErrorCode.INSTALLATION_DISABLED, "still enabled")
    if launch.course is not None and (not launch.course.lti_enabled or launch.course.archived):
        raise LaunchError(LaunchErrorCode.LTI_DISABLED, "LTI is still enabled in the course")


def _credential_is_enabled(launch: Launch) -> bool:
    if launch.deployment is not None:
        return launch.deployment.registration.is_usable
    return launch.lti_key is not None and launch.lti_key.enabled


def launch_page(
    view: Callable[Concatenate[HttpRequest, UUID, PageParameters], HttpResponse],
) -> Callable[..., HttpResponse]:
    """Makes a view a page of a launch: framed by its LMS only, never cached, guarded by the launch's own token instead
    of Django's cookie (which third-party cookie blocking would eat), and with the door's pages for what goes wrong."""

    @csrf_exempt
    @wraps(view)
    def page(request: HttpRequest, launch_id: UUID, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            response = view(request, launch_id, *args, **kwargs)
        except BrowserUnknown:
            # The same answer for every id: whether it exists is nobody's business. A ticket, if there is one, is in the
            # fragment of the address, which the page's script reads.
            response = render(request, "launches/new_window.html", {"launch_id": launch_id}, status=404)
        except VisitEnded:
            response = render(request, "launches/ended.html", status=410)
        except PermissionDenied:
            response = render(request, "launches/form_refused.html", status=403)
        except OnlyLooking:
            response = render(request, "launches/look_refused.html", status=403)
        except LaunchError as error:
            launch = getattr(request, "launch", None)
            response = refusal_page(
                request,
                error,
                launch.reference if launch else "",
                is_staff=bool(launch and launch.role in ("teacher", "mentor")),
            )
        apply_frame_policy(response, getattr(request, "launch", None))
        add_never_cache_headers(response)
        return response

    return page


def apply_frame_policy(response: HttpResponse, launch: Launch | None) -> None:
    """`frame-ancestors` from the verified launch and the organization's own list (D29).

    Where neither names an origin (an Open edX without return URL in a frame that hides its origin), any https page may
    frame: the launch's id and cookie still open it in the launching browser only.
    """
    origins: list[str] = []
    if launch is not None:
        origins = [*launch.frame_origins, *launch.organization.frame_ancestors.split()]
    response.xframe_options_exempt = True  # type: ignore[attr-defined]
    response._csp_replace = {  # type: ignore[attr-defined]
        **getattr(response, "_csp_replace", {}),
        "frame-ancestors": ["'self'", *origins] if origins else ["'self'", "https:", "http:"],
    }
