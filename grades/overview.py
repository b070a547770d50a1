"""This room's part of the admin's home page."""

from django.urls import reverse

from events.models import Delivery
from organizations.overview import Reach, Step, adds_steps
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
