"""The door's URLs, the new-window ticket, and the way back to the course."""

import re
from uuid import UUID

from django.core.exceptions import RequestDataTooBig
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.request import UnreadablePostError
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.encoding import iri_to_uri
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from launches import lti_1p1, lti_1p3
from launches.browser import browser_of, new_browser, remember_browser, ticket_is_for
from launches.destinations import Resource, ResourceKind
from launches.door import is_from_own_page
from launches.models import Launch
from launches.visits import get_visit, launch_page
from organizations.models import Organization
from organizations.tool_keys import key_set

_LTI_1P3_ANSWER = re.compile(rb"(?:^|&)id_token=")


@csrf_exempt
def any_launch(request: HttpRequest) -> HttpResponse:
    return _receive(request, Resource(ResourceKind.ANY))


@csrf_exempt
def assignment_launch(request: HttpRequest, assignment_id: str) -> HttpResponse:
    return _receive(request, Resource(ResourceKind.ASSIGNMENT, assignment_id))


@csrf_exempt
def constant_launch(request: HttpRequest, constant_key: str) -> HttpResponse:
    return _receive(request, Resource(ResourceKind.CONSTANT, constant_key))


@csrf_exempt
def course_launch(request: HttpRequest) -> HttpResponse:
    return _receive(request, Resource(ResourceKind.COURSE))


@csrf_exempt
def enroll_launch(request: HttpRequest, course_id: str) -> HttpResponse:
    return _receive(request, Resource(ResourceKind.ENROLL, course_id))


@csrf_exempt
def room_launch(request: HttpRequest, room_id: str) -> HttpResponse:
    return _receive(request, Resource(ResourceKind.ROOM, room_id))


def _receive(request: HttpRequest, resource: Resource) -> HttpResponse:
    """One resource URL serves both versions; Chamilo and older Open edX post the id_token right here (D10)."""
    try:
        is_lti_1p3 = request.method == "POST" and bool(_LTI_1P3_ANSWER.search(request.body))
    except (RequestDataTooBig, UnreadablePostError):
        is_lti_1p3 = False
    return lti_1p3.receive(request) if is_lti_1p3 else lti_1p1.receive(request, resource)


@launch_page
def leave(request: HttpRequest, launch_id: UUID) -> HttpResponse:
    """Back to the course, by the return URL of the verified launch and no other (A42, A43)."""
    visit = get_visit(request, launch_id)
    if not visit.launch.return_url:
        raise Http404
    return HttpResponse(status=302, headers={"Location": iri_to_uri(visit.launch.return_url)})


@csrf_exempt
@require_POST
def enter(request: HttpRequest, launch_id: UUID) -> HttpResponse:
    """Opens a launch in a new window with its one-time ticket, and binds it to the browser as it is there (D27)."""
    if not is_from_own_page(request):
        # Somebody else's page would bind its visitor's browser to a launch of its own choice.
        return render(request, "launches/form_refused.html", status=403)
    if not ticket_is_for(request.POST.get("ticket", ""), launch_id):
        return render(request, "launches/ended.html", status=404)
    browser = browser_of(request) or new_browser()
    with transaction.atomic():
        entered = Launch.objects.filter(pk=launch_id, result=Launch.ACCEPTED, ticket_used_at=None).update(
            ticket_used_at=timezone.now(), browser=browser.digest
        )
    if not entered:
        return render(request, "launches/ended.html", status=404)
    response = redirect("launch", launch_id)
    remember_browser(response, browser)
    return response


@require_safe
def public_keys(request: HttpRequest, organization: str) -> HttpResponse:
    """The organization's public key set: content applications and LMSs verify our signatures with it."""
    tenant = get_object_or_404(Organization, slug=organization, enabled=True)
    response = JsonResponse(key_set(tenant))
    response["Cache-Control"] = "public, max-age=300"
    response["Access-Control-Allow-Origin"] = "*"
    return response
