"""This room's part of the admin's home page."""

from collections import Counter, defaultdict
from datetime import timedelta
from uuid import UUID

from django.db.models import Count, Q, Sum
from django.urls import reverse
from django.utils import timezone

from launches.models import Launch, RefusalTally
from lti.errors import LaunchErrorCode
from organizations.identifiers import first_uuid7_of
from organizations.models import Installation
from organizations.overview import (
    Attention,
    Chart,
    Reach,
    Reason,
    Reasons,
    Series,
    Step,
    Sums,
    View,
    adds_attention,
    adds_charts,
    adds_reasons,
    adds_steps,
    adds_sums,
    affected_words,
    counted_by_day,
    since_days,
)
from organizations.tenancy import within

# By their names, since an index finds what is in a list, and not what differs from one.
REFUSED = [code.value for code in LaunchErrorCode]


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


@adds_charts
def launches(view: View) -> list[Chart]:
    is_accepted = Q(result=Launch.ACCEPTED)
    counts = counted_by_day(
        within(Launch.objects.all(), view.reach),
        view,
        accepted=Count("pk", filter=is_accepted),
        refused=Count("pk", filter=~is_accepted),
    )
    # Refusals beyond what is kept of each credential and minute are counted only.
    tallies = within(RefusalTally.objects.all(), view.reach)
    refused = Counter(counts["refused"])
    refused.update(counted_by_day(tallies, view, moment="minute", total=Sum("count"))["total"])
    url = reverse("admin:launches_launch_changelist")
    return [
        Chart(
            10,
            "Launches",
            [
                Series("accepted", "good", counts["accepted"], view.link(url, result=Launch.ACCEPTED)),
                Series("refused", "bad", refused, view.link(url, result="refused")),
            ],
            view.days,
            "Nobody has come from an LMS. Open a link there: the set-up guide of your LMS says how.",
        )
    ]


@adds_reasons
def reasons_of_refusals(view: View) -> Reasons:
    rows = within(Launch.objects.all(), view.reach).filter(id__gte=first_uuid7_of(view.since))
    found = (
        rows.filter(result__in=REFUSED)
        .order_by()
        .values("result")
        .annotate(total=Count("pk"), people=Count("person", distinct=True), courses=Count("course", distinct=True))
        .order_by("-total", "result")
    )
    url = reverse("admin:launches_launch_changelist")
    return Reasons(
        10,
        "Why launches were refused",
        [
            Reason(
                one["result"].replace("_", " ").capitalize(),
                one["total"],
                affected_words(one["people"], one["courses"]),
                view.link(url, result=one["result"]),
            )
            for one in found
        ],
    )


@adds_sums
def sums_of_launches(view: View) -> Sums:
    rows = within(Launch.objects.all(), view.reach).filter(id__gte=first_uuid7_of(view.since))
    found: dict[UUID, dict[str, int]] = defaultdict(dict)
    counted = rows.order_by().values_list("organization", "result").annotate(total=Count("pk"))
    for organization_id, result, total in counted:
        column = "launches accepted" if result == Launch.ACCEPTED else "launches refused"
        found[organization_id][column] = found[organization_id].get(column, 0) + total
    return Sums(10, ["launches accepted", "launches refused"], "launches refused", found)


@adds_attention
def refused_launches(reach: Reach) -> list[Attention]:
    since = timezone.now() - timedelta(days=1)
    count = since_days(within(Launch.objects.filter(result__in=REFUSED), reach), 1).count()
    tallied = within(RefusalTally.objects.filter(minute__gte=since), reach).aggregate(total=Sum("count"))
    count += tallied["total"] or 0
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
