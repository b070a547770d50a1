"""The launch log: who arrived, who was refused, why, and which screen of the LMS corrects it."""

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import unquote
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import BadRequest
from django.db.models import CharField, Q, QuerySet, Sum
from django.db.models.functions import Cast
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path
from django.utils.html import format_html
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display

from events.admin import SinceFilter

# This room's pages, and its part of the home page.
from launches import (  # noqa: F401
    admin_copying,
    admin_meeting_policy,
    admin_merging,
    admin_migration,
    admin_personal_data,
    admin_setup,
    overview,
)
from launches.models import Launch, RefusalTally
from lti.errors import LaunchErrorCode
from organizations.models import Installation
from organizations.tenancy import scope_of
from organizations.tenant_admin import READ, TenantAdmin, TenantRelatedFilter, moment_column

_REFERENCE = re.compile(r"[A-Za-z2-7]{4}[-\s]?[A-Za-z2-7]{4}\Z")
LIVE_ROWS = 8


def words_of(result: str) -> str:
    return result.replace("_", " ").capitalize()


RESULT_TONES = {words_of(Launch.ACCEPTED): "success"} | {words_of(code): "danger" for code in LaunchErrorCode}

# Which part of the base string (method & URL & parameters) a cause is about (lti.v1p1.diagnosis).
_URL_VARIANTS = {"scheme", "host", "port", "path", "trailing_slash"}
_QUERY_VARIANTS = {"query_left_out", "query_added", "query"}


class ResultFilter(DropdownFilter):
    title = "result"
    parameter_name = "result"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        codes = [(code.value, words_of(code)) for code in LaunchErrorCode]
        return [(Launch.ACCEPTED, "Accepted"), ("refused", "Refused, for any reason"), *codes]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Launch]) -> QuerySet[Launch]:
        if self.value() == "refused":
            return queryset.exclude(result=Launch.ACCEPTED)
        return queryset.filter(result=self.value()) if self.value() else queryset


class RoleFilter(DropdownFilter):
    title = "role"
    parameter_name = "role"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("teacher", "Teacher"), ("mentor", "Mentor"), ("student", "Student")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Launch]) -> QuerySet[Launch]:
        return queryset.filter(role=self.value()) if self.value() else queryset


class SameFailureFilter(DropdownFilter):
    """Reached from a refused launch: its credential, and the hour before it."""

    title = "key"
    parameter_name = "credential"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        wanted = request.GET.get(self.parameter_name, "")
        return [(wanted, "The key of that launch")] if wanted else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Launch]) -> QuerySet[Launch]:
        if not self.value():
            return queryset
        try:
            return queryset.filter(credential=UUID(self.value()))
        except ValueError:
            return queryset.none()


def ids_by_reference(launches: QuerySet[Launch], reference: str) -> QuerySet[Launch]:
    """The launches whose id ends with the five bytes that a reference (XXXX-XXXX) spells out; none for other text.

    Works on the id's text: PostgreSQL writes it with hyphens, SQLite stores it without, and the last twelve digits
    are the same in both.
    """
    text = re.sub(r"[-\s]", "", reference).upper()
    try:
        tail = base64.b32decode(text).hex()
    except (binascii.Error, ValueError):
        return launches.none()
    if len(tail) != 10:
        return launches.none()
    return launches.annotate(id_text=Cast("id", CharField())).filter(id_text__endswith=tail)


@dataclass(frozen=True)
class Piece:
    """A part of the base string; marked where the LMS most likely signed something else."""

    text: str
    marked: bool


def base_string_pieces(base_string: str, variant: str) -> list[Piece]:
    """The base string, readable: its three parts one below the other, parameters one a line, the suspect marked."""
    method, _, rest = base_string.partition("&")
    url, _, parameters = rest.partition("&")
    return [
        Piece(f"{method}\n", False),
        Piece(f"{unquote(url)}\n", variant in _URL_VARIANTS),
        *_parameter_pieces(parameters, variant),
    ]


def _parameter_pieces(parameters: str, variant: str) -> Iterator[Piece]:
    known = _URL_VARIANTS | _QUERY_VARIANTS
    name = variant.partition(":")[2] or variant
    for pair in unquote(parameters).split("&"):
        # A variant may name a parameter; one about the query marks what is none of the standard's own names.
        parameter = pair.partition("=")[0]
        about_query = variant in _QUERY_VARIANTS and not re.match(
            r"(oauth_|lti_|lis_|context_|resource_link_|tool_consumer_|launch_presentation_|user_|roles|custom_|ext_)",
            parameter,
        )
        yield Piece(f"{pair}\n", about_query or (variant not in known and name == parameter))


@admin.register(Launch)
class LaunchAdmin(TenantAdmin):
    owners_may = READ
    time_field = "at"
    list_display = [
        "at_column",
        "result_column",
        "person_column",
        "role",
        "where_column",
        "lms_column",
        "reference_column",
    ]
    list_display_links = ["at_column", "reference_column"]
    list_select_related = ["person", "course", "assignment", "resource_link", "installation"]
    list_filter = [
        ResultFilter,
        ("installation", TenantRelatedFilter),
        RoleFilter,
        SinceFilter,
        SameFailureFilter,
    ]
    search_fields = ["person__name", "course__name"]
    search_help_text = "Reference (XXXX-XXXX), person or course"
    fieldsets = (
        (None, {"fields": ["at_column", "result_column", "reference_column", "message_type", "version_column"]}),
        ("Who", {"fields": ["person", "looker_column", "role", "roles"]}),
        (
            "Where",
            {
                "fields": [
                    "installation",
                    "key_column",
                    "course",
                    "assignment",
                    "room",
                    "resource_link",
                    "document_target",
                ]
            },
        ),
        ("Custom parameters", {"fields": ["custom_column"], "classes": ["collapse"]}),
    )
    change_form_outer_before_template = "admin/launches/launch_before.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Launch]:
        # Neither the nonce nor the return URL (which may carry a session key of the LMS) is read for any page.
        return super().get_queryset(request).defer("nonce", "return_url", "browser")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Launch], search_term: str
    ) -> tuple[QuerySet[Launch], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        condition = Q(person__name__icontains=term) | Q(actual_user__name__icontains=term)
        condition |= Q(course__name__icontains=term) | Q(course__code__iexact=term)
        if _REFERENCE.match(term):
            condition |= Q(pk__in=ids_by_reference(self.get_queryset(request), term).values("pk"))
        return queryset.filter(condition), False

    # Columns

    at_column = moment_column("at", "Time")

    @display(description="LTI version")
    def version_column(self, obj: Launch) -> str:
        return obj.lti_version

    @display(description="LTI key", empty_value="—")
    def key_column(self, obj: Launch) -> str | None:
        return obj.lti_key.consumer_key if obj.lti_key else None

    @display(description="Result", ordering="result", label=RESULT_TONES)
    def result_column(self, obj: Launch) -> str:
        return words_of(obj.result)

    @display(description="Person", ordering="person__name", empty_value="—")
    def person_column(self, obj: Launch) -> str | None:
        if not obj.person:
            return None
        looker = obj.actual_user.get("name", "")
        return f"{looker} as {obj.person}" if looker else str(obj.person)

    @display(description="Really in front of the page", empty_value="—")
    def looker_column(self, obj: Launch) -> str | None:
        """Who looked at the person's work, as the LMS said it (I6)."""
        told = [obj.actual_user.get(name, "") for name in ("name", "email", "id", "role")]
        return " · ".join(dict.fromkeys(text for text in told if text)) or None

    @display(description="Link and course", ordering="course__name", empty_value="—")
    def where_column(self, obj: Launch) -> str | None:
        link = obj.assignment or obj.resource_link
        if link is None:
            return str(obj.course) if obj.course else None
        return format_html('{}<div class="p-muted">{}</div>', link, obj.course or "")

    @display(description="LMS", ordering="installation__name", empty_value="—")
    def lms_column(self, obj: Launch) -> str | None:
        return str(obj.installation) if obj.installation else None

    @display(description="Reference")
    def reference_column(self, obj: Launch) -> str:
        return format_html('<span class="p-nowrap">{}</span>', obj.reference)

    @display(description="As sent")
    def custom_column(self, obj: Launch) -> str:
        return "\n".join(f"{name} = {value}" for name, value in obj.custom.items()) or "none"

    # Pages

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        launch = self.load(request, object_id)
        context: dict[str, Any] = {"launch": launch, **(extra_context or {})}
        if launch.result != Launch.ACCEPTED:
            context |= self._refusal_context(request, launch)
        return super().change_view(request, object_id, form_url, context)

    def _refusal_context(self, request: HttpRequest, launch: Launch) -> dict[str, Any]:
        refusal = launch.refusal if isinstance(launch.refusal, dict) else {}
        hour_before = launch.at - timedelta(hours=1)
        same_key = Launch.objects.filter(
            organization=launch.organization_id, credential=launch.credential, at__gt=hour_before, at__lte=launch.at
        )
        tallies = RefusalTally.objects.filter(
            organization=launch.organization_id,
            credential=launch.credential,
            minute__gte=hour_before.replace(second=0, microsecond=0),
            minute__lte=launch.at,
        )
        base_string = str(refusal.get("base_string", ""))
        pieces = base_string_pieces(base_string, str(refusal.get("variant", ""))) if base_string else []
        return {
            "refusal": refusal,
            "result_words": words_of(launch.result),
            "pieces": pieces,
            "similar": same_key.filter(result=launch.result).exclude(pk=launch.pk).count(),
            "arrived": same_key.filter(result=Launch.ACCEPTED).count(),
            "not_kept": tallies.aggregate(total=Sum("count"))["total"] or 0,
            "is_marked": any(piece.marked for piece in pieces),
            "correct_at": INSTALLATION_LINK,
        }

    def get_urls(self) -> list[URLPattern]:
        live = path("live/", self.admin_site.admin_view(self.live), name="launches_launch_live")
        return [live, *super().get_urls()]

    def live(self, request: HttpRequest) -> HttpResponse:
        """The last launches of one installation (`?installation=<id>`), as a fragment that a page refreshes."""
        try:
            wanted = UUID(request.GET.get("installation", ""))
        except ValueError as error:
            raise BadRequest("installation is no id") from error
        installation = scope_of(request).limit(Installation.objects.all()).filter(pk=wanted).first()
        if installation is None:
            raise Http404
        rows = self.get_queryset(request).filter(organization=installation.organization_id, installation=installation)
        rows = rows.select_related("person", "course", "assignment").order_by("-id")[:LIVE_ROWS]
        table = [(row, words_of(row.result), row.result == Launch.ACCEPTED) for row in rows]
        return render(request, "admin/launches/live.html", {"table": table, "installation": installation})


INSTALLATION_LINK = "admin:organizations_installation_change"


@admin.register(RefusalTally)
class RefusalTallyAdmin(TenantAdmin):
    """Refusals beyond the limit of a minute, which were counted and not kept."""

    owners_may = READ
    time_field = "minute"
    list_display = ["minute_column", "count"]
    list_filter = [SinceFilter]
    ordering = ["-minute"]
    fields = ["minute", "count"]
    minute_column = moment_column("minute", "Minute")
