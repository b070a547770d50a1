"""The picker: a teacher opens a link that leads nowhere yet, and chooses what it shows."""

from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from courses.models import Assignment
from launches.choices import LIMIT, choices, searched, tree
from launches.mapping import AlreadyMappedError, map_link
from launches.searching import typed_search
from launches.visits import Visit, get_visit_for_teacher, launch_page


def picker_page(request: HttpRequest, visit: Visit, *, error: str = "", status: int = 200) -> HttpResponse:
    """The tree of what can be chosen, or, with `?assignment=`, the question whether this is the one."""
    chosen = None
    if named := request.GET.get("assignment"):
        chosen = _choice(visit, named)
    search = typed_search(request.GET)
    link = visit.launch.resource_link
    context: dict[str, Any] = {
        "visit": visit,
        "link": link,
        "lms_course": link.lms_course if link else None,
        "chosen": chosen,
        "search": search,
        "error": error,
    }
    if chosen is None:
        everything = choices(visit.organization)
        found = list(searched(everything, search)[: LIMIT + 1])
        own = link.lms_course.course_id if link else None
        context |= {"branches": tree(found[:LIMIT], own), "is_cut": len(found) > LIMIT, "limit": LIMIT}
        context["anything"] = bool(found) or (bool(search) and everything.exists())
    return render(request, "launches/picker.html", context, status=status)


@launch_page
@require_POST
def choose(request: HttpRequest, launch_id: UUID) -> HttpResponse:
    """Connects the link to the chosen assignment."""
    visit = get_visit_for_teacher(request, launch_id)
    if visit.launch.resource_link is None:
        raise Http404
    assignment = _choice(visit, request.POST.get("assignment", ""))
    if visit.assignment is not None and visit.assignment.pk != assignment.pk:
        return picker_page(request, visit, error=_TAKEN, status=409)
    try:
        map_link(visit, assignment)
    except AlreadyMappedError:
        return picker_page(request, visit, error=_TAKEN, status=409)
    except Assignment.DoesNotExist as gone:
        raise Http404 from gone
    return redirect("launch", visit.launch.id)


_TAKEN = "This link has been connected to something else meanwhile. Open it again from your course to see it."


def _choice(visit: Visit, named: str) -> Assignment:
    try:
        assignment = choices(visit.organization).filter(pk=UUID(named)).first()
    except ValueError:
        assignment = None
    if assignment is None:
        raise Http404
    return assignment
