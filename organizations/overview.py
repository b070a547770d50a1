"""What the admin's home page shows. Every room adds its part, so that none needs to know the rooms above it."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Aggregate, QuerySet, Value
from django.utils import timezone

from organizations.identifiers import first_uuid7_of
from organizations.models import Organization
from organizations.time_zones import last_days

# The organizations to look at; None stands for all (an operator's view).
Reach = Collection[UUID] | None

DAYS = 14
# The sums of an operator's home: as many organizations, those with most failures first.
ORGANIZATIONS_SHOWN = 50


@dataclass(frozen=True)
class Day:
    """A day of the organization's calendar: from its first moment to the first one after it."""

    day: date
    begins: datetime
    ends: datetime


@dataclass(frozen=True)
class View:
    """What a home page looks at: these organizations, over the last 14 days (today last) of the time zone.

    `narrowed` is what links to lists add where a list would show more organizations than the page.
    """

    reach: Reach
    zone: ZoneInfo
    days: Sequence[Day]
    narrowed: Mapping[str, str] = field(default_factory=dict)

    @property
    def since(self) -> datetime:
        return self.days[0].begins

    def link(self, url: str, **parameters: str) -> str:
        """The address of a list with these filters, over these days."""
        return f"{url}?{urlencode({**parameters, 'since': 'fortnight', **self.narrowed})}"


def view_of(reach: Reach, organization: Organization | None = None, *, among_others: bool = False) -> View:
    """The view of one organization in its own time zone, or of all in UTC. `among_others`: lists show several."""
    zone = ZoneInfo(organization.time_zone if organization else "UTC")
    days = [Day(*one) for one in last_days(timezone.now(), zone, DAYS)]
    narrowed = {"organization": str(organization.pk)} if organization and among_others else {}
    return View(reach, zone, days, narrowed)


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
    """Counts per day. `tone` is good, waiting or bad; `url` leads to the rows."""

    name: str
    tone: str
    counts: Mapping[date, int]
    url: str

    @property
    def total(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True)
class Rectangle:
    """A part of a column, in units of the chart's view box."""

    tone: str
    y: float
    height: float


@dataclass(frozen=True)
class Bar:
    """A day's column: what it shows, and the counts in the order of the series."""

    day: date
    x: int
    counts: list[int]
    parts: list[Rectangle]
    words: str


WIDTH, HEIGHT = 280, 100


@dataclass(frozen=True)
class Chart:
    """Stacked columns over the days of a view, the first series at the bottom. `empty` says what to do without any."""

    order: int
    title: str
    series: list[Series]
    days: Sequence[Day]
    empty: str

    @property
    def is_empty(self) -> bool:
        return not any(one.total for one in self.series)

    @property
    def words(self) -> str:
        """The chart in one sentence, for who cannot see it."""
        return f"{self.title} per day: " + ", ".join(f"{one.total} {one.name}" for one in self.series)

    @property
    def bars(self) -> list[Bar]:
        counts = [[one.counts.get(day.day, 0) for one in self.series] for day in self.days]
        top = max([sum(column) for column in counts] + [1])
        step = WIDTH // len(self.days)
        return [
            Bar(
                day.day,
                index * step + 3,
                column,
                _stacked(column, [one.tone for one in self.series], top),
                ", ".join(f"{count} {one.name}" for count, one in zip(column, self.series, strict=True)),
            )
            for index, (day, column) in enumerate(zip(self.days, counts, strict=True))
        ]


def _stacked(counts: list[int], tones: list[str], top: int) -> list[Rectangle]:
    parts, y = [], float(HEIGHT)
    for count, tone in zip(counts, tones, strict=True):
        height = round(HEIGHT * count / top, 2)
        y = round(y - height, 2)
        if count:
            parts.append(Rectangle(tone, y, height))
    return parts


@dataclass(frozen=True)
class Reason:
    """Why something failed, how often, and who is affected, in words; `url` leads to the rows."""

    words: str
    count: int
    affected: str
    url: str


@dataclass(frozen=True)
class Reasons:
    """The reasons of one kind of failure, the most frequent first."""

    order: int
    title: str
    rows: list[Reason]


@dataclass(frozen=True)
class Sums:
    """What operators see of each organization: numbers by column."""

    order: int
    columns: list[str]
    failures: str  # the column to sort by
    by_organization: Mapping[UUID, Mapping[str, int]]


_charts: list[Callable[[View], list[Chart]]] = []
_reasons: list[Callable[[View], Reasons]] = []
_sums: list[Callable[[View], Sums]] = []
_steps: list[Callable[[Reach], list[Step]]] = []
_attention: list[Callable[[Reach], list[Attention]]] = []


def adds_steps(provider: Callable[[Reach], list[Step]]) -> Callable[[Reach], list[Step]]:
    _steps.append(provider)
    return provider


def adds_attention(provider: Callable[[Reach], list[Attention]]) -> Callable[[Reach], list[Attention]]:
    _attention.append(provider)
    return provider


def adds_charts(provider: Callable[[View], list[Chart]]) -> Callable[[View], list[Chart]]:
    _charts.append(provider)
    return provider


def adds_reasons(provider: Callable[[View], Reasons]) -> Callable[[View], Reasons]:
    _reasons.append(provider)
    return provider


def adds_sums(provider: Callable[[View], Sums]) -> Callable[[View], Sums]:
    _sums.append(provider)
    return provider


def checklist(reach: Reach) -> list[Step]:
    return sorted((step for provider in _steps for step in provider(reach)), key=lambda step: step.order)


def attention(reach: Reach) -> list[Attention]:
    found = [entry for provider in _attention for entry in provider(reach)]
    return sorted(found, key=lambda entry: entry.tone != "danger")


def charts(view: View) -> list[Chart]:
    return sorted((chart for provider in _charts for chart in provider(view)), key=lambda chart: chart.order)


def reasons(view: View) -> list[Reasons]:
    """Those of which there are any."""
    found = [provider(view) for provider in _reasons]
    return sorted((one for one in found if one.rows), key=lambda one: one.order)


@dataclass(frozen=True)
class OrganizationSums:
    """A row of an operator's table: the counts in the order of the columns."""

    organization: Organization
    counts: list[int]
    failures: int


@dataclass(frozen=True)
class SumsTable:
    """What happened in each organization: those with most failures first; `more` are not shown."""

    columns: list[str]
    rows: list[OrganizationSums]
    more: int


def sums(view: View) -> SumsTable:
    """The numbers of every organization in the view that had any: no names of people, no words of theirs."""
    found = sorted((provider(view) for provider in _sums), key=lambda one: one.order)
    failures: dict[UUID, int] = defaultdict(int)
    totals: dict[UUID, int] = defaultdict(int)
    for one in found:
        for organization_id, counts in one.by_organization.items():
            failures[organization_id] += counts.get(one.failures, 0)
            totals[organization_id] += sum(counts.values())
    first = sorted(totals, key=lambda pk: (-failures[pk], -totals[pk], pk))
    organizations = Organization.objects.in_bulk(first[:ORGANIZATIONS_SHOWN])
    rows = [
        OrganizationSums(
            organizations[pk],
            [one.by_organization.get(pk, {}).get(column, 0) for one in found for column in one.columns],
            failures[pk],
        )
        for pk in first[:ORGANIZATIONS_SHOWN]
        if pk in organizations
    ]
    return SumsTable([column for one in found for column in one.columns], rows, max(len(first) - len(rows), 0))


def counted_by_day(
    rows: QuerySet[Any, Any], view: View, *, moment: str = "id", **totals: Aggregate
) -> dict[str, dict[date, int]]:
    """What these totals are on each day of the view, by their names, in one statement; days without any are left out.

    Each day is a range of `moment`: of ids, which rise with time, or of a column of times. So an index is read from
    one end to the other, however long the table is. Nothing is grouped: SQLite would take an index that spares it the
    sorting, and read all of it for each day.
    """
    of_ids = moment == "id"
    parts = []
    for number, day in enumerate(view.days):
        ends = (first_uuid7_of(day.begins), first_uuid7_of(day.ends)) if of_ids else (day.begins, day.ends)
        part = rows.filter(**{f"{moment}__gte": ends[0], f"{moment}__lt": ends[1]}).order_by()
        counted = part.annotate(number=Value(number)).values("number").annotate(**totals)
        parts.append(counted.values_list("number", *totals))
    united: QuerySet[Any, Any] = parts[0].union(*parts[1:], all=True)
    found: dict[str, dict[date, int]] = {name: {} for name in totals}
    for number, *counts in united:
        for name, count in zip(totals, counts, strict=True):
            if count:
                found[name][view.days[number].day] = count
    return found


def since_days(rows: QuerySet[Any, Any], days: int = DAYS) -> QuerySet[Any, Any]:
    """The rows of the last so many times 24 hours, by their ids."""
    return rows.filter(id__gte=first_uuid7_of(timezone.now() - timedelta(days=days)))


def counted(count: int, one: str, many: str) -> str:
    """“1 person”, “3 people”."""
    return f"{count} {one if count == 1 else many}"


def affected_words(people: int, courses: int) -> str:
    """“3 people in 2 courses”; empty where nobody is known."""
    if not people:
        return counted(courses, "course", "courses") if courses else ""
    words = counted(people, "person", "people")
    return f"{words} in {counted(courses, 'course', 'courses')}" if courses else words
