"""The owner's page of an installation's move from LTI 1.1 to 1.3: what would match, try, apply, undo."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse

from launches.joining import Joined
from launches.migration import Match, Plan, SomebodyArrivedError, apply, plan_of, try_out
from launches.migration_undoing import CannotUndoError, undo
from launches.models import Migration
from organizations.models import Installation
from organizations.tenancy import scope_of

SHOWN = 200  # of each kind; a form has at most a thousand fields
STEPS = 50
PAGE = "installation-migration"


@dataclass(frozen=True)
class _Table:
    """One kind of match as the page shows it; `more` are suggested ones beyond the rows shown."""

    title: str
    rows: list[tuple[Match, bool]]
    more: int
    total: int


def migration_page(request: HttpRequest, object_id: UUID) -> HttpResponse:
    """GET shows what would match; POST `try` says what applying the ticked would do, POST `apply` does it."""
    installation = _installation(request, object_id)
    plan = plan_of(installation)
    chosen = {match.key for match in plan.matches if match.is_suggested}
    tried: Joined | None = None
    if request.method == "POST":
        chosen = _chosen(request, plan)
        try:
            if "apply" in request.POST:
                return _apply(request, installation, chosen)
            tried = try_out(installation, chosen)
        except SomebodyArrivedError:
            messages.warning(
                request, "One of these people arrived at this very moment. Nothing has changed: try again."
            )
    steps = Migration.objects.filter(installation=installation).select_related("applied_by", "undone_by")
    return TemplateResponse(
        request,
        "admin/launches/migration.html",
        {
            **_frame(request, f"{installation.name}: move to LTI 1.3", installation),
            "plan": plan,
            "tables": [
                _table("People", plan.people, chosen),
                _table("LMS courses", plan.courses, chosen),
                _table("Links", plan.links, chosen),
            ],
            "tried": tried,
            "deployments": installation.deployments.count(),
            "keys": installation.keys.count(),
            "steps": steps[:STEPS],
            "step_count": steps.count(),
        },
    )


def undo_page(request: HttpRequest, object_id: UUID) -> HttpResponse:
    """GET asks, POST takes a step of the move back."""
    migration = scope_of(request).limit(Migration.objects.select_related("installation")).filter(pk=object_id).first()
    if migration is None:
        raise Http404
    installation = migration.installation
    reasons: list[str] = []
    if request.method == "POST":
        try:
            undo(migration, scope_of(request).actor)
        except CannotUndoError as error:
            reasons = error.reasons
        else:
            messages.success(request, "Undone: people, links and grades are as they were before this step.")
            return redirect(f"admin:{PAGE}", installation.pk)
    return TemplateResponse(
        request,
        "admin/launches/migration_undo.html",
        {
            **_frame(request, "Undo this step of the move?", installation),
            "migration": migration,
            "reasons": reasons,
            "back": reverse(f"admin:{PAGE}", args=[installation.pk]),
        },
        status=409 if reasons else 200,
    )


def _installation(request: HttpRequest, object_id: UUID) -> Installation:
    installation = scope_of(request).limit(Installation.objects.all()).filter(pk=object_id).first()
    if installation is None:
        raise Http404
    return installation


def _frame(request: HttpRequest, title: str, installation: Installation) -> dict[str, Any]:
    return {
        **admin.site.each_context(request),
        "title": title,
        "opts": Installation._meta,
        "original": installation,
        "installation": installation,
        "has_view_permission": True,
    }


def _chosen(request: HttpRequest, plan: Plan) -> set[str]:
    """What is ticked; and of what the page had no room for, what is suggested, if that is ticked."""
    ticked = set(request.POST.getlist("match"))
    if "rest" in request.POST:
        for matches in (plan.people, plan.courses, plan.links):
            ticked |= {match.key for match in matches[SHOWN:] if match.is_suggested}
    return ticked


def _table(title: str, matches: tuple[Match, ...], chosen: Collection[str]) -> _Table:
    rows = [(match, match.key in chosen) for match in matches[:SHOWN]]
    return _Table(title, rows, sum(match.is_suggested for match in matches[SHOWN:]), len(matches))


def _apply(request: HttpRequest, installation: Installation, chosen: Collection[str]) -> HttpResponse:
    migration = apply(installation, chosen, scope_of(request).actor)
    if migration is None:
        messages.warning(request, "Nothing was chosen that is still to be done.")
    else:
        messages.success(request, f"Applied: {migration.words}. It can be undone below.")
    return redirect(f"admin:{PAGE}", installation.pk)


site: Any = admin.site
site.register_page("organizations/installation/<uuid:object_id>/migration/", migration_page, PAGE)
site.register_page("launches/migration/<uuid:object_id>/undo/", undo_page, "migration-undo")
