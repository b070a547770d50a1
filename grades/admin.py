"""Scores and the gradebook cells they go to; both are written elsewhere and only read here."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from unfold.decorators import display

from courses.models import Assignment
from events import delivery_subjects
from events.delivery_subjects import DeliverySubject, SubjectReader
from events.models import Delivery
from grades import overview  # noqa: F401 - this room's part of the home page
from grades.models import GradebookCell, Score
from grades.passage import passage_of
from organizations.tenant_admin import READ, TenantAdmin, TenantRelatedFilter, moment_column


@admin.register(Score)
class ScoreAdmin(TenantAdmin):
    owners_may = READ
    list_display = ["person", "assignment", "course_column", "points_column", "released", "version", "updated_column"]
    updated_column = moment_column("updated_at", "Changed")
    list_select_related = ["person", "assignment__course"]
    list_filter = [("assignment__course", TenantRelatedFilter), "released", "graded", "completed"]
    search_fields = ["person__name", "person__email", "assignment__title"]
    ordering = ["-updated_at"]
    fields = [
        "person",
        "assignment",
        "points_column",
        "extra_credit",
        "comment",
        "completed",
        "graded",
        "released",
        "released_at",
        "version",
        "updated_at",
    ]
    change_form_outer_after_template = "admin/grades/score_after.html"

    @display(description="Course", ordering="assignment__course__name")
    def course_column(self, obj: Score) -> str:
        return obj.assignment.course.name

    @display(description="Points", ordering="points")
    def points_column(self, obj: Score) -> str:
        return f"{_plain(obj.points)} of {_plain(obj.assignment.points_possible)}"

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> Any:
        score = self.load(request, object_id)
        rows = list(Delivery.objects.filter(kind=Delivery.Kind.GRADE, source_id=score.pk).order_by("-id")[:20])
        context = {
            "score": score,
            "passages": passage_of([score])[score.pk],
            "score_deliveries": rows,
            **(extra_context or {}),
        }
        return super().change_view(request, object_id, form_url, context)


@admin.register(GradebookCell)
class GradebookCellAdmin(TenantAdmin):
    """Where the LMS wants a grade. The sourcedid is as good as a password for one grade, and is not shown."""

    owners_may = READ
    list_display = ["person", "assignment", "installation", "resource_link", "updated_column"]
    updated_column = moment_column("updated_at", "Last launch")
    list_select_related = ["person", "assignment", "installation", "resource_link"]
    list_filter = [("installation", TenantRelatedFilter), ("assignment__course", TenantRelatedFilter)]
    search_fields = ["person__name", "assignment__title"]
    ordering = ["-id"]
    fields = ["person", "assignment", "installation", "resource_link", "outcome_service_url", "deployment"]
    fields += ["line_items_url", "send_grade", "last_percentage", "updated_at"]


def _plain(points: Any) -> str:
    return f"{points:f}".rstrip("0").rstrip(".") if "." in f"{points:f}" else f"{points:f}"


def _describe(deliveries: Sequence[Delivery]) -> dict[UUID, DeliverySubject]:
    cells: QuerySet[GradebookCell] = GradebookCell.objects.select_related("person", "assignment", "installation")
    by_id = cells.in_bulk({delivery.target_id for delivery in deliveries})
    found = {}
    for delivery in deliveries:
        cell = by_id.get(delivery.target_id)
        # Belt and braces: a row names a cell by its bare id, and only one of the same tenant is shown.
        if cell is None or cell.installation.organization_id != delivery.organization_id:
            continue
        found[delivery.pk] = DeliverySubject(
            what=cell.assignment.title,
            whom=str(cell.person),
            where=str(cell.installation),
            url=reverse("admin:grades_score_change", args=[delivery.source_id]),
        )
    return found


def _search(term: str) -> Q:
    by_person = GradebookCell.objects.filter(person__name__icontains=term).values("pk")
    assignments = Assignment.objects.filter(title__icontains=term).values("pk")
    by_assignment = GradebookCell.objects.filter(assignment__in=assignments).values("pk")
    return Q(target_id__in=by_person) | Q(target_id__in=by_assignment)


delivery_subjects.register(Delivery.Kind.GRADE, SubjectReader(_describe, _search))
