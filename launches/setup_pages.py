"""A course's set-up guide: how to connect it in each LMS, with its own values, and whether the first launch arrived.

In the LMS frame it is about the LMS that one came from; who signed in directly chooses among the organization's.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import NoReverseMatch
from django.views.decorators.http import require_safe

from courses.models import LmsCourse
from launches.course_access import CourseAccess
from launches.first_launch import FirstLaunch, MayName, Watch, look, what_is_missing
from launches.models import Launch
from launches.setup_guides import (
    connected_version,
    course_values,
    fill,
    guide_of,
    guides,
    owner_values,
    owners_in_words,
    teacher_values,
)
from organizations.models import Installation

INSTALLATIONS_OFFERED = 20


@require_safe
def setup(request: HttpRequest, access: CourseAccess) -> HttpResponse:
    """The guide of `?lms=`, else of the installation's own LMS; `?installation=` for those who signed in directly."""
    installations = _installations(access)
    installation = _chosen(request, access, installations)
    guide = guide_of(request.GET.get("lms", ""), installation.lms if installation else "")
    if access.is_owner:
        values = owner_values(access.organization, installation, may_handle_secrets=True)
    else:
        values = teacher_values(access.organization, with_addresses=access.visit is None)
    values = {**values, **course_values(access.course, _lms_page(access))}
    return render(
        request,
        "launches/setup.html",
        {
            "access": access,
            "visit": access.visit,
            "filled": fill(guide, values, connected_version(installation)),
            "guides": guides(),
            "installations": installations,
            **_panel(request, access, installation, guide.lms),
        },
    )


@require_safe
def arrival(request: HttpRequest, access: CourseAccess) -> HttpResponse:
    """The panel alone, which asks by itself: 204 while there is nothing new."""
    installation = _chosen(request, access, _installations(access))
    if installation is None:
        raise Http404
    context = _panel(request, access, installation, request.GET.get("lms", "")[:32])
    first: FirstLaunch = context["first"]
    if first.seen == first.watch.seen:
        return HttpResponse(status=204)
    context |= {"access": access, "visit": access.visit}
    return render(request, "launches/setup/first_launch.html", context)


def _installations(access: CourseAccess) -> list[Installation]:
    if access.visit is not None:
        return [access.visit.installation]
    return list(access.organization.installations.order_by("name")[:INSTALLATIONS_OFFERED])


def _chosen(request: HttpRequest, access: CourseAccess, installations: list[Installation]) -> Installation | None:
    """The installation named, else the one that opened this course last, else the first."""
    wanted = request.GET.get("installation", "") if access.visit is None else ""
    if wanted:
        try:
            return next(row for row in installations if row.pk == UUID(wanted))
        except (ValueError, StopIteration) as error:
            raise Http404 from error
    if len(installations) > 1:
        opens = LmsCourse.objects.filter(course=access.course, installation__in=installations)
        latest = opens.order_by("-pk").values_list("installation", flat=True).first()
        return next((row for row in installations if row.pk == latest), installations[0])
    return installations[0] if installations else None


def _panel(request: HttpRequest, access: CourseAccess, installation: Installation | None, lms: str) -> dict[str, Any]:
    """The panel's part of the context; `first` is None where no LMS is connected."""
    context: dict[str, Any] = {
        "installation": installation,
        "first": None,
        "sees_log": access.is_owner,
        "owners": owners_in_words(access.organization, with_addresses=access.visit is None),
    }
    if installation is None:
        return context
    visit = access.visit
    # In the frame a launch of this minute has shown that the connection works: what is awaited there is a new link's.
    watch = Watch.asked(request, timedelta(0)) if visit else Watch.asked(request)
    first = look(installation, watch, _may_name(access), own=visit.launch.pk if visit else None)
    more = {"lms": lms} | ({"installation": str(installation.pk)} if visit is None else {})
    return context | {
        "first": first,
        "missing": what_is_missing(installation) if visit is None else "",
        "look_url": f"{access.url('setup-arrival')}?{first.watch.query(first.seen, **more)}",
        "again_url": f"{access.url('setup-arrival')}?{first.watch.query_anew(**more)}",
        "next_url": f"{access.url('setup-arrival')}?{first.watch.query_from_now(**more)}",
        "page_url": f"{access.url('setup')}?{first.watch.query_anew(**more)}",
    }


def _may_name(access: CourseAccess) -> MayName:
    """Owners know everybody; teachers the people of this course, and in the frame those of their own LMS course only
    (docs/decisions.md); a mentor is told nobody's name."""
    if access.is_owner:
        return lambda row: True
    course, visit = access.course.pk, access.visit
    if not access.may_change:
        return lambda row: False
    if visit is None:
        return lambda row: row.course_id == course
    own_link = visit.launch.resource_link
    own = own_link.lms_course_id if own_link is not None else None

    def in_own_course(row: Launch) -> bool:
        link = row.resource_link
        return row.course_id == course and link is not None and link.lms_course_id == own

    return in_own_course


def _lms_page(access: CourseAccess) -> str:
    try:
        return access.url("lti")
    except NoReverseMatch:
        return ""
