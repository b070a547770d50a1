"""What tests ask the demo LMS, in JSON."""

import json
from decimal import Decimal
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from demo_lms import gradebook, manners, messages
from demo_lms.course import PEOPLE, choose_lti, the_course
from demo_lms.gradebook import Entry
from demo_lms.manners import Manner


@require_GET
def health(request: HttpRequest) -> JsonResponse:
    """Answers when the course can be read and the file be written."""
    manners.current(manners.OUTCOMES)
    return JsonResponse({"status": "ok", "course": the_course().code})


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


@require_GET
def gradebook_json(request: HttpRequest) -> JsonResponse:
    """People, links, and for each cell with a grade its value, percentage, points and history (oldest first)."""
    course = the_course()

    def entry_of(entry: Entry, points: Decimal | None) -> dict[str, Any]:
        return {
            "score": _number(entry.score),
            "percentage": _number(entry.percentage),
            "points": _number(points),
            "received_at": entry.received_at.isoformat(),
            "comment": entry.comment,
            "submission_url": entry.submission_url,
        }

    grades = [
        {
            "person": cell.person.username,
            "link": cell.column.slug,
            "maximum": _number(cell.column.maximum),
            **entry_of(cell.history[-1], cell.points),
            "history": [entry_of(entry, entry.points(cell.column)) for entry in cell.history],
        }
        for row in gradebook.rows(course)
        for cell in row.cells
        if cell.history
    ]
    people = [{"id": one.id, "username": one.username, "name": one.name, "roles": one.roles} for one in PEOPLE]
    links = [
        {
            "id": one.id,
            "slug": one.slug,
            "title": one.title,
            "url": one.url,
            "maximum": _number(one.maximum),
            "lti_version": "1.3" if one.client_id else "1.1",
            "client_id": one.client_id,
        }
        for one in course.links
    ]
    return JsonResponse({"people": people, "links": links, "grades": grades})


# Other sites' pages cannot post JSON here without asking first, which nobody answers.
@csrf_exempt
@require_http_methods(["GET", "POST"])
def behaviour(request: HttpRequest) -> JsonResponse:
    """How a switch stands; a POST of `{"switch": "outcomes", "mode": …, "seconds": …, "times": …}` sets it."""
    name = manners.OUTCOMES
    if request.method == "POST":
        if request.content_type != "application/json":
            return JsonResponse({"error": "send application/json"}, status=415)
        try:
            wanted = json.loads(request.body)
            name = wanted.get("switch", name)
            manners.switch(name, Manner(wanted["mode"], int(wanted.get("seconds", 5)), wanted.get("times")))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return JsonResponse({"error": f"{type(error).__name__}: {error}"}, status=400)
    manner = manners.current(name)
    return JsonResponse({"switch": name, "mode": manner.mode, "seconds": manner.seconds, "times": manner.remaining})


# The same holds here.
@csrf_exempt
@require_POST
def lti_version(request: HttpRequest) -> JsonResponse:
    """A POST of `{"link": slug, "as": "moodle"}` launches the link over LTI 1.3 as that LMS does it; "as" may also be a
    client id, and "" is LTI 1.1."""
    if request.content_type != "application/json":
        return JsonResponse({"error": "send application/json"}, status=415)
    course = the_course()
    try:
        wanted = json.loads(request.body)
        link, way = course.link(wanted["link"]), str(wanted["as"])
    except (ValueError, KeyError, TypeError) as error:
        return JsonResponse({"error": f"{type(error).__name__}: {error}"}, status=400)
    tool = next((one for one in course.active_tools if way in (one.client_id, one.preset.name)), None)
    if link is None or (way and tool is None):
        return JsonResponse({"error": "no such link, or no such active tool"}, status=404)
    choose_lti(link, tool.client_id if tool else "")
    return JsonResponse({"link": link.slug, "client_id": tool.client_id if tool else ""})


@require_GET
def messages_json(request: HttpRequest) -> JsonResponse:
    """The last messages, newest first; `?kind=launch`, `outcome` (grades), `service` or `selection`."""
    found = [
        {
            "id": message.id,
            "at": message.at.isoformat(),
            "kind": message.kind,
            "title": message.title,
            "sent": message.sent,
            "answered": message.answered,
            "result": message.result,
        }
        for message in messages.latest(request.GET.get("kind", ""))
    ]
    return JsonResponse({"messages": found})
