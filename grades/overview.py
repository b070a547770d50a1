"""This room's part of the admin's home page."""

from django.db.models import Count, Min, OuterRef, Subquery
from django.urls import reverse

from events.models import Delivery
from events.overview import REASONS_SHOWN, reason_in
from grades.models import GradebookCell
from organizations.identifiers import first_uuid7_of
from organizations.overview import (
    Reach,
    Reason,
    Reasons,
    Step,
    View,
    adds_reasons,
    adds_steps,
    affected_words,
)
from organizations.tenancy import within


@adds_steps
def first_grade(reach: Reach) -> list[Step]:
    delivered = Delivery.objects.filter(kind=Delivery.Kind.GRADE, state=Delivery.State.DELIVERED)
    return [
        Step(
            70,
            "See the first grade arrive",
            within(delivered, reach).exists(),
            "Grade a student in the assignment, release it, and look into the LMS gradebook.",
            reverse("admin:events_delivery_changelist"),
        )
    ]


@adds_reasons
def reasons_of_grades(view: View) -> Reasons:
    """Why grades failed that have not arrived since, and whose they are."""
    cell = GradebookCell.objects.filter(pk=OuterRef("target_id"))
    rows = within(Delivery.objects.filter(kind=Delivery.Kind.GRADE, state=Delivery.State.FAILED), view.reach)
    found = (
        rows.filter(id__gte=first_uuid7_of(view.since))
        .annotate(
            whose=Subquery(cell.values("person")[:1]),
            where=Subquery(cell.values("assignment__course")[:1]),
        )
        .order_by()
        .values("last_error_code")
        .annotate(
            total=Count("pk"),
            words=Min("last_error"),
            people=Count("whose", distinct=True),
            courses=Count("where", distinct=True),
        )
        .order_by("-total", "last_error_code")
    )
    url = reverse("admin:events_delivery_changelist")
    failed = {"kind__exact": "grade", "state__exact": "failed"}
    return Reasons(
        20,
        "Why grades failed",
        [
            Reason(
                reason_in(one["words"]) or one["last_error_code"],
                one["total"],
                affected_words(one["people"], one["courses"]),
                view.link(url, **failed, reason=one["last_error_code"]),
            )
            for one in found[:REASONS_SHOWN]
        ],
    )
