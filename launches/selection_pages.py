"""The picker that an LMS opens to choose content: the tree, what would be made in the LMS, and the answer."""

from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.encoding import iri_to_uri
from django.views.decorators.http import require_POST

from courses.models import Assignment
from launches.choices import LIMIT, choices, find, room_choices
from launches.handoff import origin_of
from launches.searching import SEARCH_LIMIT, typed_search
from launches.selecting import (
    Answer,
    Display,
    answer_with,
    answer_with_nothing,
    check_unanswered,
    column_for,
    context_from_json,
    displays_for,
    lms_course_of,
    selection_from_json,
)
from launches.visits import Visit, get_visit_for_teacher, launch_page
from lti.selection import ITEM_LIMIT, NotAccepted, Selection
from recordings.models import Room


def selection(request: HttpRequest, visit: Visit) -> HttpResponse:
    """The page of a launch that asks to choose content: the tree, with nothing chosen yet."""
    return _tree_page(request, visit, _open_request(visit), [])


@launch_page
@require_POST
def select(request: HttpRequest, launch_id: UUID) -> HttpResponse:
    """The tree, searched, with what is chosen so far; with `do=preview` what would be made of it in the LMS."""
    visit = get_visit_for_teacher(request, launch_id)
    asked = _open_request(visit)
    chosen = _chosen(request, visit)
    if request.POST.get("do") != "preview":
        return _tree_page(request, visit, asked, chosen)
    if error := _wrong_number(asked, chosen):
        return _tree_page(request, visit, asked, chosen, error=error)
    return _preview_page(request, visit, asked, chosen)


@launch_page
@require_POST
def insert(request: HttpRequest, launch_id: UUID) -> HttpResponse:
    """Answers the LMS with what was chosen."""
    visit = get_visit_for_teacher(request, launch_id)
    asked = _open_request(visit)
    chosen = _chosen(request, visit)
    try:
        answer = answer_with(visit, chosen, _display(request, asked))
    except NotAccepted as refused:
        return _tree_page(request, visit, asked, chosen, error=str(refused))
    return _answer_page(request, visit, answer, len(chosen))


@launch_page
@require_POST
def cancel(request: HttpRequest, launch_id: UUID) -> HttpResponse:
    """Answers the LMS that nothing was chosen."""
    visit = get_visit_for_teacher(request, launch_id)
    _open_request(visit)
    return _answer_page(request, visit, answer_with_nothing(visit), 0)


def _open_request(visit: Visit) -> Selection:
    """What the LMS asked for; not found for a launch that asked for nothing, refused once it had its answer."""
    if visit.launch.selection is None or not visit.is_teacher:
        raise Http404
    check_unanswered(visit.launch)
    return selection_from_json(visit.launch.selection)


def _chosen(request: HttpRequest, visit: Visit) -> list[Assignment | Room]:
    """The assignments and then the rooms that the form names, in the order of the tree. One that may not be chosen is
    not found."""
    try:
        named = {UUID(text) for text in request.POST.getlist("item")}
    except ValueError as error:
        raise Http404 from error
    found: list[Assignment | Room] = []
    if named:
        found += choices(visit.organization).filter(pk__in=named)
    if len(found) < len(named):
        found += room_choices(visit.organization).filter(pk__in=named)
    if len(found) != len(named):
        raise Http404
    return found


def _wrong_number(asked: Selection, chosen: list[Assignment | Room]) -> str:
    if not chosen:
        return "Nothing is chosen yet. Choose what should be in your course."
    if len(chosen) > ITEM_LIMIT:
        return f"At most {ITEM_LIMIT} fit into one go, and {len(chosen)} are chosen. Insert the others afterwards."
    if len(chosen) > 1 and not asked.accept_multiple:
        return "Your LMS takes only one here."
    return ""


def _display(request: HttpRequest, asked: Selection) -> Display:
    named = request.POST.get("display", "")
    return next((display for display in displays_for(asked) if display == named), Display.AS_LMS)


def _tree_page(
    request: HttpRequest, visit: Visit, asked: Selection, chosen: list[Assignment | Room], *, error: str = ""
) -> HttpResponse:
    search = typed_search(request.POST)
    found = find(visit.organization, search)
    lms_course = lms_course_of(visit)
    chosen_ids = {one.pk for one in chosen}
    shown_ids = {one.pk for one in [*found.assignments, *found.rooms]}
    context: dict[str, Any] = {
        "visit": visit,
        "asked": asked,
        "lms": context_from_json(visit.launch.selection or {}),
        "search": search,
        "error": error,
        "branches": found.tree(lms_course.course_id if lms_course else None),
        "open_courses": {one.course_id for one in chosen},
        "chosen_ids": chosen_ids,
        "not_shown": [one for one in chosen if one.pk not in shown_ids],
        "is_cut": found.is_cut,
        "limit": LIMIT,
        "item_limit": ITEM_LIMIT,
        "anything": found.anything or bool(chosen),
    }
    response = render(request, "launches/selection.html", context, status=422 if error else 200)
    return _may_lead_to_the_lms(response, asked)


def _preview_page(
    request: HttpRequest, visit: Visit, asked: Selection, chosen: list[Assignment | Room]
) -> HttpResponse:
    context: dict[str, Any] = {
        "visit": visit,
        "asked": asked,
        "lms": context_from_json(visit.launch.selection or {}),
        "search": request.POST.get("q", "")[:SEARCH_LIMIT],
        "planned": [(one, column_for(asked, one)) for one in chosen],
        "displays": displays_for(asked),
    }
    return _may_lead_to_the_lms(render(request, "launches/selection_preview.html", context), asked)


def _may_lead_to_the_lms(response: HttpResponse, asked: Selection) -> HttpResponse:
    """Canvas's older way is answered by a redirect, and browsers hold forms to their policy through redirects too."""
    if asked.kind == "canvas":
        response._csp_update = {"form-action": [origin_of(asked.return_url)]}  # type: ignore[attr-defined]
    return response


def _answer_page(request: HttpRequest, visit: Visit, answer: Answer, count: int) -> HttpResponse:
    if not answer.fields:
        return HttpResponse(status=302, headers={"Location": iri_to_uri(answer.url)})
    response = render(request, "launches/selection_answer.html", {"visit": visit, "answer": answer, "count": count})
    response._csp_replace = {"form-action": [answer.origin]}  # type: ignore[attr-defined]
    return response
