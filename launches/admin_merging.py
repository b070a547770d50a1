"""Merging two people in the admin: looking for the other one, the preview, the deed, the list of merges, undoing."""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.html import format_html
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display

from launches.merge_undoing import undo_merge
from launches.merging import CannotMergeError, merge, preview_of
from launches.migration_undoing import CannotUndoError
from launches.models import Merge
from lti.texts import without_nul
from organizations.duplicates import likely_twins
from organizations.models import LmsAccount, Person
from organizations.tenancy import scope_of
from organizations.tenant_admin import READ, TenantAdmin, moment_column

FOUND = 20
PAGE, UNDO_PAGE = "person-merge", "merge-undo"
STANDING, UNDONE, FOR_GOOD = "Stands", "Undone", "Cannot be undone"


def merge_page(request: HttpRequest, object_id: UUID) -> HttpResponse:
    """GET looks for the other person (`q`), or shows what merging with one (`with`) would do; POST does it."""
    person = _person(request, object_id)
    wanted = (request.POST if request.method == "POST" else request.GET).get("with", "")
    if wanted:
        return _preview_page(request, person, _other(person, wanted))
    if request.method == "POST":
        messages.warning(request, "Choose the other person first.")
        return redirect(f"admin:{PAGE}", person.pk)
    term = without_nul(request.GET.get("q", "")).strip()[:200]
    rows = list(_search(person, term)[: FOUND + 1]) if term else likely_twins(person, FOUND)
    return TemplateResponse(
        request,
        "admin/launches/merge_search.html",
        {
            **_frame(request, f"Merge {person} with…", person),
            "person": person,
            "term": term,
            "rows": rows[:FOUND],
            "has_more": len(rows) > FOUND,
        },
    )


def _preview_page(request: HttpRequest, person: Person, other: Person) -> HttpResponse:
    trouble = ""
    if request.method == "POST":
        try:
            merged = merge(person, other, scope_of(request).actor)
        except CannotMergeError as error:
            trouble = str(error)
            # Whoever was merged or deleted in between has no preview any more.
            if Person.objects.filter(pk__in=[person.pk, other.pk]).count() < 2:
                messages.error(request, trouble)
                return redirect("admin:organizations_person_changelist")
        else:
            messages.success(request, f"Merged: {merged.words}. It can be undone here.")
            return redirect("admin:launches_merge_change", merged.pk)
    preview = preview_of(person, other)
    return TemplateResponse(
        request,
        "admin/launches/merge_preview.html",
        {
            **_frame(request, "Merge these two people?", person),
            "person": person,
            "other": other,
            "preview": preview,
            "sides": [("Stays", preview.kept), ("Is taken in", preview.other)],
            "trouble": trouble or preview.trouble,
        },
        status=409 if trouble else 200,
    )


def undo_page(request: HttpRequest, object_id: UUID) -> HttpResponse:
    """GET asks, POST parts the two again; 409 with the reasons where that cannot be."""
    row = scope_of(request).limit(Merge.objects.all()).filter(pk=object_id).first()
    if row is None:
        raise Http404
    reasons: list[str] = []
    if request.method == "POST":
        try:
            parted = undo_merge(row, scope_of(request).actor)
        except CannotUndoError as error:
            reasons = error.reasons
        else:
            messages.success(request, "Undone: the two are two people again.")
            if parted.forgotten:
                messages.warning(
                    request,
                    "Both come from one LMS, and what they opened there since the merge could not be told apart. Their "
                    "next launches tell; until then those courses and gradebook columns are not connected.",
                )
            return redirect("admin:launches_merge_change", row.pk)
    return TemplateResponse(
        request,
        "admin/launches/merge_undo.html",
        {
            **admin.site.each_context(request),
            "title": "Undo this merge?",
            "opts": Merge._meta,
            "original": row,
            "has_view_permission": True,
            "merge": row,
            "reasons": reasons,
        },
        status=409 if reasons else 200,
    )


def _person(request: HttpRequest, object_id: UUID) -> Person:
    person = scope_of(request).limit(Person.objects.select_related("organization")).filter(pk=object_id).first()
    if person is None:
        raise Http404
    found: Person = person
    return found


def _other(person: Person, wanted: str) -> Person:
    """The one to merge with: of the same organization, whatever else the owner may see. Raises Http404."""
    try:
        key = UUID(wanted)
    except ValueError as error:
        raise Http404 from error
    other = Person.objects.filter(organization=person.organization_id, pk=key).exclude(pk=person.pk).first()
    if other is None:
        raise Http404
    return other


def _search(person: Person, term: str) -> QuerySet[Person]:
    """People of the same organization, by name, address, or what an LMS calls them."""
    accounts = LmsAccount.objects.filter(installation__organization=person.organization_id).filter(
        Q(lms_user_id__iexact=term) | Q(username__icontains=term) | Q(sourcedid__iexact=term)
    )
    people = Person.objects.filter(organization=person.organization_id).exclude(pk=person.pk)
    condition = Q(name__icontains=term) | Q(email__icontains=term) | Q(pk__in=accounts.values("person_id"))
    return people.filter(condition).prefetch_related("accounts__installation").order_by("name", "id")


def _frame(request: HttpRequest, title: str, person: Person) -> dict[str, Any]:
    return {
        **admin.site.each_context(request),
        "title": title,
        "opts": Person._meta,
        "original": person,
        "has_view_permission": True,
    }


def state_of(row: Merge) -> str:
    if row.undone_at is not None:
        return UNDONE
    return FOR_GOOD if row.erased_at is not None else STANDING


class StateFilter(DropdownFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("standing", STANDING), ("undone", UNDONE)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Merge]) -> QuerySet[Merge]:
        if self.value() in ("standing", "undone"):
            return queryset.filter(undone_at__isnull=self.value() == "standing")
        return queryset


@admin.register(Merge)
class MergeAdmin(TenantAdmin):
    """Who was merged with whom, when and by whom; nothing here changes but by undoing."""

    owners_may = READ
    list_display = ["applied_column", "other_column", "kept_column", "by_column", "state_column"]
    list_display_links = ["applied_column"]
    list_filter = [StateFilter]
    list_select_related = ["applied_by", "undone_by"]
    search_fields = ["kept_words", "other_words"]
    search_help_text = "Name, address or LMS id of either"
    fields = [
        "applied_column",
        "by_column",
        "other_column",
        "kept_column",
        "did_column",
        "state_column",
        "undone_column",
    ]
    change_form_outer_before_template = "admin/launches/merge_before.html"
    applied_column = moment_column("applied_at", "Merged")

    @display(description="Was taken in")
    def other_column(self, obj: Merge) -> str:
        return format_html('<span class="p-break">{}</span>', obj.other_words or "erased")

    @display(description="Stayed")
    def kept_column(self, obj: Merge) -> str:
        return format_html('<span class="p-break">{}</span>', obj.kept_words or "erased")

    @display(description="What it did")
    def did_column(self, obj: Merge) -> str:
        return obj.words

    @display(description="By", empty_value="—")
    def by_column(self, obj: Merge) -> str | None:
        return str(obj.applied_by) if obj.applied_by else None

    @display(description="State", label={STANDING: "success", UNDONE: "warning", FOR_GOOD: "info"})
    def state_column(self, obj: Merge) -> str:
        return state_of(obj)

    @display(description="Undone", empty_value="—")
    def undone_column(self, obj: Merge) -> str | None:
        if obj.undone_at is None:
            return None
        return f"{obj.undone_at:%d %b %Y, %H:%M} UTC by {obj.undone_by or 'somebody who is no user any more'}"

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        row: Merge = self.load(request, object_id)
        kept = Person.objects.filter(pk=row.kept_person, organization=row.organization_id).first()
        context = {"merge": row, "is_standing": state_of(row) == STANDING, "kept": kept, **(extra_context or {})}
        return super().change_view(request, object_id, form_url, context)


site: Any = admin.site
site.register_page("organizations/person/<uuid:object_id>/merge/", merge_page, PAGE)
site.register_page("launches/merge/<uuid:object_id>/undo/", undo_page, UNDO_PAGE)
