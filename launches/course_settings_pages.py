"""A course's LTI/LMS page, in the LMS frame and signed in directly: its switches, its URLs, and where links lead."""

from copy import copy
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core.exceptions import ObjectDoesNotExist
from django.core.paginator import Page, Paginator
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from courses.addresses import enroll_url
from courses.course_settings import (
    ChangedMeanwhileError,
    CourseSettingsForm,
    save_settings,
    state_of,
    switches_to_confirm,
)
from courses.models import Assignment, Course, CourseAlias, LmsCourse, ResourceLink
from grades.models import GradebookCell
from launches.choices import LIMIT, chosen_in, find, names_choice
from launches.course_access import CourseAccess
from launches.link_listing import (
    ListedLink,
    assignments_of,
    changeable_links,
    integration_url,
    link_counts,
    links_to_enroll,
    listed_link,
    listed_modules,
    listed_rooms_of,
    listed_rows,
    lms_courses_of,
    unmapped_links,
)
from launches.mapping import AlreadyMappedError, change_link, shown_room
from launches.searching import typed_search
from recordings.models import Room

ASSIGNMENTS_PER_PAGE = 50
LINKS_PER_PAGE = 50
LMS_COURSES_PER_PAGE = 10
OTHER_LINKS_SHOWN = 20
ALIASES_SHOWN = 100
ROOMS_SHOWN = 50
_CHANGED_MEANWHILE = (
    "Not saved: somebody else changed these settings while this page was open. Below is what you typed; what was "
    "saved meanwhile stands beside it. Save again to put yours over it."
)


# --------------------------------------------------------------------------------------------------- the switches


@require_http_methods(["GET", "HEAD", "POST"])
def settings_page(request: HttpRequest, access: CourseAccess) -> HttpResponse:
    """GET shows everything; POST saves the switches, after asking about those that would break links."""
    if request.method != "POST":
        return _page(request, access, CourseSettingsForm(instance=copy(access.course)))
    if not access.may_change:
        raise Http404
    form = CourseSettingsForm(request.POST, instance=copy(access.course))
    if not form.is_valid():
        return _page(request, access, form, status=422)
    values = form.settings()
    to_confirm = switches_to_confirm(access.course, values)
    if not set(to_confirm) <= set(request.POST.get("confirmed", "").split()):
        return _page(request, access, form, to_confirm=to_confirm)
    try:
        changed = save_settings(access.course, values, seen=request.POST.get("seen", ""), actor=access.actor)
    except ChangedMeanwhileError as error:
        _refresh(access.course, error.course)
        return _page(request, access, form, error=_CHANGED_MEANWHILE, status=409)
    except Course.DoesNotExist as gone:
        raise Http404 from gone
    if access.visit is not None and not access.course.lti_enabled:
        # The visit ends here: its pages answer lti_disabled from now on (J6).
        return render(request, "launches/course_closed.html", {"access": access, "visit": access.visit})
    return redirect(f"{access.url('lti')}?done={'saved' if changed else 'same'}")


def _refresh(course: Course, stored: Course) -> None:
    for name in CourseSettingsForm.Meta.fields:
        setattr(course, name, getattr(stored, name))


@dataclass(frozen=True)
class Stored:
    """A setting that somebody else has saved otherwise than it was typed."""

    label: str
    value: str


def _stored_otherwise(course: Course, form: CourseSettingsForm) -> list[Stored]:
    found = []
    for name, field in form.fields.items():
        stored = getattr(course, name)
        if form.cleaned_data.get(name) != stored:
            words = {True: "on", False: "off"}.get(stored) if isinstance(stored, bool) else str(stored) or "empty"
            if name == "send_grade":
                words = course.get_send_grade_display()
            found.append(Stored(str(field.label), str(words)))
    return found


def _page(
    request: HttpRequest,
    access: CourseAccess,
    form: CourseSettingsForm,
    *,
    to_confirm: list[str] | None = None,
    error: str = "",
    status: int = 200,
) -> HttpResponse:
    course = access.course
    search = typed_search(request.GET)
    found = assignments_of(course, search)
    page: Page[Assignment] = Paginator(found, ASSIGNMENTS_PER_PAGE).get_page(request.GET.get("page"))
    lms_courses: Page[LmsCourse] = Paginator(lms_courses_of(access), LMS_COURSES_PER_PAGE).get_page(
        request.GET.get("lms")
    )
    rooms = list(Room.objects.filter(course=course).order_by("position", "id")[: ROOMS_SHOWN + 1])
    unmapped = _first(access, unmapped_links(course))
    to_enroll = _first(access, links_to_enroll(course))
    aliases = list(course.aliases.order_by("value")[: ALIASES_SHOWN + 1])
    for field in form.fields.values():
        field.disabled = not access.may_change
    context: dict[str, Any] = {
        "access": access,
        "visit": access.visit,
        "course": course,
        "form": form,
        # Typed over what was seen then, until somebody has seen what is stored now.
        "seen": request.POST.get("seen", "") if form.is_bound and not error else state_of(course),
        "to_confirm": to_confirm or [],
        "links": link_counts(course),
        "error": error,
        "stored": _stored_otherwise(course, form) if error else [],
        "is_wrong": form.is_bound and not form.is_valid(),
        "done": request.GET.get("done", ""),
        "enroll_url": enroll_url(course),
        "target_line": f"course_target_id={course.code}",
        "parent_line": f"parent_course_id={course.code}",
        "sizes": [form["iframe_width"], form["iframe_height"]],
        "search": search,
        "page": page,
        "modules": listed_modules(access, list(page.object_list)),
        "rooms": listed_rooms_of(access, rooms[:ROOMS_SHOWN]),
        "more_rooms": len(rooms) > ROOMS_SHOWN,
        "lms_courses": lms_courses,
        "unmapped": unmapped[:OTHER_LINKS_SHOWN],
        "to_enroll": to_enroll[:OTHER_LINKS_SHOWN],
        "more_unmapped": len(unmapped) > OTHER_LINKS_SHOWN,
        "more_to_enroll": len(to_enroll) > OTHER_LINKS_SHOWN,
        "other_links_shown": OTHER_LINKS_SHOWN,
        "aliases": aliases[:ALIASES_SHOWN],
        "more_aliases": len(aliases) > ALIASES_SHOWN,
    }
    return render(request, "launches/course_lti.html", context, status=status)


def _first(access: CourseAccess, links: QuerySet[ResourceLink]) -> list[ListedLink]:
    """As many as are shown, and one more where there are more."""
    return [listed_link(link) for link in listed_rows(access, links)[: OTHER_LINKS_SHOWN + 1]]


# ----------------------------------------------------------------------------------------------------- the links


@require_safe
def links_page(request: HttpRequest, access: CourseAccess, assignment_id: UUID) -> HttpResponse:
    """All links that show one assignment, page by page."""
    assignment = Assignment.objects.filter(course=access.course, pk=assignment_id).select_related("module").first()
    if assignment is None:
        raise Http404
    assignment.course = access.course
    rows = listed_rows(access, ResourceLink.objects.filter(assignment=assignment))
    page: Page[ResourceLink] = Paginator(rows, LINKS_PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "access": access,
        "visit": access.visit,
        "course": access.course,
        "assignment": assignment,
        "url": integration_url(assignment),
        "page": page,
        "links": [listed_link(link) for link in page],
    }
    return render(request, "launches/course_links.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def link_page(request: HttpRequest, access: CourseAccess, link_id: UUID) -> HttpResponse:
    """What one link shows: GET offers everything else (with `?assignment=`, asks whether it is this), POST changes it.

    A link that is not this person's to change does not exist.
    """
    link = _load(access, link_id)
    if request.method == "POST":
        return _change(request, access, link)
    return _link_page(request, access, link)


def _load(access: CourseAccess, link_id: UUID) -> ResourceLink:
    rows = changeable_links(access).select_related(
        "lms_course__installation", "assignment__course", "course", "room_link__room__course"
    )
    link = rows.filter(pk=link_id).first()
    if link is None:
        raise Http404
    return link


def _change(request: HttpRequest, access: CourseAccess, link: ResourceLink) -> HttpResponse:
    chosen = None
    if request.POST.get("do") != "unmap":
        chosen = chosen_in(request.POST, access.organization)
        if not is_free(link):
            raise Http404
    visit = access.visit if access.visit and access.visit.launch.resource_link_id == link.pk else None
    try:
        change_link(link, chosen, seen=_uuid(request.POST.get("seen", "")), actor=access.actor, visit=visit)
    except AlreadyMappedError:
        error = "Nothing was changed: somebody else has changed this link meanwhile. It stands here as it is now."
        return _link_page(request, access, _load(access, link.pk), error=error, status=409)
    except ObjectDoesNotExist as gone:
        raise Http404 from gone
    if visit is not None and chosen is not None:
        return redirect("launch", visit.launch.id)
    return redirect(f"{access.url('lti')}?done={'mapped' if chosen else 'unmapped'}#links")


def is_free(link: ResourceLink) -> bool:
    """Whether what the link shows is ours to say: an address that names an assignment wins over that (design §5)."""
    return link.address_kind in ("", ResourceLink.AddressKind.ANY)


def _link_page(
    request: HttpRequest, access: CourseAccess, link: ResourceLink, *, error: str = "", status: int = 200
) -> HttpResponse:
    context: dict[str, Any] = {
        "access": access,
        "visit": access.visit,
        "course": access.course,
        "link": link,
        "is_free": is_free(link),
        "room": shown_room(link),
        "error": error,
        "people": GradebookCell.objects.filter(resource_link=link).count(),
        "chosen": None,
    }
    if is_free(link) and names_choice(request.GET):
        context["chosen"] = chosen_in(request.GET, access.organization)
    elif is_free(link):
        search = typed_search(request.GET)
        found = find(access.organization, search)
        context |= {
            "search": search,
            "branches": found.tree(access.course.pk),
            "is_cut": found.is_cut,
            "limit": LIMIT,
            "anything": found.anything,
        }
    return render(request, "launches/course_link.html", context, status=status)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


# --------------------------------------------------------------------------------------------------- the aliases


@require_POST
def forget_alias(request: HttpRequest, access: CourseAccess, alias_id: UUID) -> HttpResponse:
    """Launches that call the course so do not find it any more; an instructor is asked again."""
    if not access.may_change:
        raise Http404
    with transaction.atomic():
        forgotten, _ = CourseAlias.objects.filter(
            organization=access.organization, course=access.course, pk=alias_id
        ).delete()
    if not forgotten:
        raise Http404
    return redirect(f"{access.url('lti')}?done=forgotten#lms-courses")
