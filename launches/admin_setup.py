"""The owner's set-up guide of an installation: its keys, what to paste where, and the first launch as it arrives."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import render
from django.template.response import TemplateResponse
from django.urls import reverse

from launches.first_launch import FirstLaunch, Watch, look, what_is_missing
from launches.setup_guides import connected_version, fill, guide_of, guides, owner_values, owners_in_words
from organizations.models import Installation
from organizations.tenancy import scope_of

PAGE = "installation-setup"
SAFE_METHODS = ("GET", "HEAD")


def setup_page(request: HttpRequest, object_id: UUID) -> HttpResponse:
    """The guide of `?lms=`, else of the LMS that the installation's launches named."""
    installation = _installation(request, object_id)
    if request.method not in SAFE_METHODS:
        return HttpResponseNotAllowed(SAFE_METHODS)
    guide = guide_of(request.GET.get("lms", ""), installation.lms)
    owns = scope_of(request).owns(installation.organization_id)
    values = owner_values(installation.organization, installation, may_handle_secrets=owns)
    return TemplateResponse(
        request,
        "admin/launches/setup.html",
        {
            **admin.site.each_context(request),
            "title": f"{installation.name}: set-up guide for {guide.title}",
            "opts": Installation._meta,
            "original": installation,
            "has_view_permission": True,
            "filled": fill(guide, values, connected_version(installation)),
            "guides": guides(),
            **_panel(request, installation, guide.lms),
        },
    )


def arrival(request: HttpRequest, object_id: UUID) -> HttpResponse:
    """The panel alone, which asks by itself: 204 while there is nothing new."""
    installation = _installation(request, object_id)
    if request.method not in SAFE_METHODS:
        return HttpResponseNotAllowed(SAFE_METHODS)
    context = _panel(request, installation, request.GET.get("lms", "")[:32])
    first: FirstLaunch = context["first"]
    if first.seen == first.watch.seen:
        return HttpResponse(status=204)
    return render(request, "launches/setup/first_launch.html", context)


def _installation(request: HttpRequest, object_id: UUID) -> Installation:
    installations = scope_of(request).limit(Installation.objects.select_related("organization"))
    installation = installations.filter(pk=object_id).first()
    if installation is None:
        raise Http404
    return installation


def _panel(request: HttpRequest, installation: Installation, lms: str) -> dict[str, Any]:
    first = look(installation, Watch.asked(request), lambda row: True)
    page, panel = (
        reverse(f"admin:{PAGE}", args=[installation.pk]),
        reverse(f"admin:{PAGE}-arrival", args=[installation.pk]),
    )
    return {
        "installation": installation,
        "first": first,
        "sees_log": True,
        "owners": owners_in_words(installation.organization, with_addresses=True),
        "missing": what_is_missing(installation),
        "visit": None,
        "look_url": f"{panel}?{first.watch.query(first.seen, lms=lms)}",
        "again_url": f"{panel}?{first.watch.query_anew(lms=lms)}",
        "next_url": f"{panel}?{first.watch.query_from_now(lms=lms)}",
        "page_url": f"{page}?{first.watch.query_anew(lms=lms)}",
    }


site: Any = admin.site
site.register_page("organizations/installation/<uuid:object_id>/setup/", setup_page, PAGE)
site.register_page("organizations/installation/<uuid:object_id>/setup/arrival/", arrival, f"{PAGE}-arrival")
