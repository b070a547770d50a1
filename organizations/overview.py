"""What the admin's home page shows. Every room adds its part, so that none needs to know the rooms above it."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

from django.db.models import Count, Model, Q, QuerySet
from django.db.models.functions import TruncDate
from django.utils import timezone

# The organizations to look at; None stands for all (an operator's view).
Reach = Collection[UUID] | None

DAYS = 14


@dataclass(frozen=True)
class Step:
    """A line of the set-up checklist; it ticks itself."""

    order: int
    label: str
    done: bool
    text: str
    url: str


@dataclass(frozen=True)
class Attention:
    """Something that waits for the owner, with the link to its cure. `tone` is danger or warning."""

    tone: str
    title: str
    text: str
    url: str
    link: str


@dataclass(frozen=True)
class Series:
    """Counts per day. `tone` is good or bad; `url` leads to the rows."""

    order: int
    chart: str
    name: str
    tone: str
    counts: Mapping[date, int]
    url: str


_steps: list[Callable[[Reach], list[Step]]] = []
_attention: list[Callable[[Reach], list[Attention]]] = []
_series: list[Callable[[Reach], list[Series]]] = []


def adds_steps(provider: Callable[[Reach], list[Step]]) -> Callable[[Reach], list[Step]]:
    _steps.append(provider)
    return provider


def adds_attention(provider: Callable[[Reach], list[Attention]]) -> Callable[[Reach], list[Attention]]:
    _attention.append(provider)
    return provider


def adds_series(provider: Callable[[Reach], list[Series]]) -> Callable[[Reach], list[Series]]:
    _series.append(provider)
    return provider


def checklist(reach: Reach) -> list[Step]:
    return sorted((step for provider in _steps for step in provider(reach)), key=lambda step: step.order)


def attention(reach: Reach) -> list[Attention]:
    found = [entry for provider in _attention for entry in provider(reach)]
    return sorted(found, key=lambda entry: entry.tone != "danger")


@dataclass(frozen=True)
class Bar:
    """A day's column, in units of the chart's view box (height 100)."""

    day: date
    x: float
    good: int
    bad: int
    good_height: float
    bad_height: float

    @property
    def good_y(self) -> float:
        return round(100 - self.good_height, 2)

    @property
    def bad_y(self) -> float:
        return round(100 - self.good_height - self.bad_height, 2)


@dataclass(frozen=True)
class Chart:
    """Two stacked series over the last 14 days."""

    title: str
    good: Series
    bad: Series
    bars: list[Bar]

    @property
    def good_total(self) -> int:
        return sum(bar.good for bar in self.bars)

    @property
    def bad_total(self) -> int:
        return sum(bar.bad for bar in self.bars)


def charts(reach: Reach) -> list[Chart]:
    """One chart per subject."""
    by_title: dict[str, dict[str, Series]] = {}
    for entry in sorted((entry for provider in _series for entry in provider(reach)), key=lambda entry: entry.order):
        by_title.setdefault(entry.chart, {})[entry.tone] = entry
    return [_chart(title, pair["good"], pair["bad"]) for title, pair in by_title.items()]


def _chart(title: str, good: Series, bad: Series) -> Chart:
    days = last_days()
    top = max([good.counts.get(day, 0) + bad.counts.get(day, 0) for day in days] + [1])
    bars = [
        Bar(
            day,
            x=round(index * 20 + 3, 2),
            good=good.counts.get(day, 0),
            bad=bad.counts.get(day, 0),
            good_height=round(100 * good.counts.get(day, 0) / top, 2),
            bad_height=round(100 * bad.counts.get(day, 0) / top, 2),
        )
        for index, day in enumerate(days)
    ]
    return Chart(title, good, bad, bars)


def last_days() -> list[date]:
    """The last 14 days in UTC, today last."""
    today = timezone.now().date()
    return [today - timedelta(days=DAYS - 1 - index) for index in range(DAYS)]


def counts_per_day(rows: QuerySet[Model], field: str, good: Q) -> tuple[dict[date, int], dict[date, int]]:
    """How many rows of each of the last days fulfil the condition, and how many do not, in one query."""
    since = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS - 1)
    found = (
        rows.filter(**{f"{field}__gte": since})
        .order_by()
        .annotate(day=TruncDate(field))
        .values("day")
        .annotate(good=Count("pk", filter=good), total=Count("pk"))
        .values_list("day", "good", "total")
    )
    table = list(found)
    return (
        {day: fulfilled for day, fulfilled, _ in table},
        {day: total - fulfilled for day, fulfilled, total in table},
    )
