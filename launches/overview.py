"""This room's part of the admin's home page."""

from datetime import timedelta

from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from launches.models import Launch, RefusalTally
from organizations.models import Installation
from organizations.overview import (
    Attention,
    Reach,
    Series,
    Step,
    adds_attention,
    adds_series,
    adds_steps,
    counts_per_day,
)
from organizations.tenancy import within


@adds_steps
def first_launch(reach: Reach) -> list[Step]:
    installation = within(Installation.objects.order_by("created_at"), reach).first()
    return [
        Step(
            60,
            "Open a link in the LMS",
            within(Launch.objects.filter(result=Launch.ACCEPTED), reach).exists(),
            "The set-up guide waits for the first launch with you, and says why one was refused.",
            reverse("admin:installation-setup", args=[installation.pk])
            if installation
            else reverse("admin:launches_launch_changelist"),
        )
    ]


@adds_series
def launches(reach: Reach) -> list[Series]:
    accepted, refused = counts_per_day(within(Launch.objects.all(), reach), "at", Q(result=Launch.ACCEPTED))
    url = reverse("admin:launches_launch_changelist")
    return [
        Series(10, "Launches", "accepted", "good", accepted, f"{url}?result=accepted"),
        Series(10, "Launches", "refused", "bad", refused, f"{url}?result=refused"),
    ]


@adds_attention
def refused_launches(reach: Reach) -> list[Attention]:
    since = timezone.now() - timedelta(days=1)
    count = within(Launch.objects.filter(at__gte=since).exclude(result=Launch.ACCEPTED), reach).count()
    count += sum(within(RefusalTally.objects.filter(minute__gte=since), reach).values_list("count", flat=True)[:5000])
    if not count:
        return []
    return [
        Attention(
            "warning",
            "1 launch was refused" if count == 1 else f"{count} launches were refused",
            "In the last 24 hours. Each says what to correct, and where.",
            f"{reverse('admin:launches_launch_changelist')}?result=refused&since=day",
            "See why",
        )
    ]
