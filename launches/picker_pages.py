"""The picker: a teacher opens a link that leads nowhere yet, and chooses what it shows."""

from typing import Any
from uuid import UUID

from django.core.exceptions import ObjectDoesNotExist
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from launches.choices import LIMIT, chosen_in, find, names_choice
from launches.mapping import AlreadyMappedError, map_link
from launches.searching import typed_search
from launches.visits import Visit, get_visit_for_teacher, launch_page


def picker_page(request: HttpRequest, visit: Visit, *, error: str = "", status: int = 200) -> HttpResponse:
    """The tree of what can be chosen, or, with `?assignment=` or `?room=`, the question whether this is the one."""
    chosen = None
    if names_choice(request.GET):
        chosen = chosen_in(request.GET, visit.organization)
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
        found = find(visit.organization, search)
        own = link.lms_course.course_id if link else None
        context |= {"branches": found.tree(own), "is_cut": found.is_cut, "limit": LIMIT, "anything": found.anything}
    return render(request, "launches/picker.html", context, status=status)


@launch_page
@require_POST
def choose(request: HttpRequest, launch_id: UUID) -> HttpResponse:
    """Connects the link to the chosen assignment or room."""
    visit = get_visit_for_teacher(request, launch_id)
    if visit.launch.resource_link is None:
        raise Http404
    chosen = chosen_in(request.POST, visit.organization)
    stands_in = visit.assignment or visit.launch.room
    if stands_in is not None and stands_in.pk != chosen.pk:
        return picker_page(request, visit, error=_TAKEN, status=409)
    try:
        map_link(visit, chosen)
    except AlreadyMappedError:
        return picker_page(request, visit, error=_TAKEN, status=409)
    except ObjectDoesNotExist as gone:
        raise Http404 from gone
    return redirect("launch", visit.launch.id)


_TAKEN = "This link has been connected to something else meanwhile. Open it again from your course to see it."
