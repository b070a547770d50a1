"""Time zones by their names (IANA): which there are, and where a day of one begins."""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from django.core.exceptions import ValidationError


@lru_cache(maxsize=1)
def time_zone_names() -> list[str]:
    """The names to choose from: those with a place in them, and UTC."""
    places = ("Africa/", "America/", "Antarctica/", "Arctic/", "Asia/", "Atlantic/", "Australia/", "Europe/", "Indian/")
    named = (name for name in available_timezones() if name.startswith((*places, "Pacific/")))
    return ["UTC", *sorted(named)]


def time_zone_validator(name: str) -> None:
    """Raises ValidationError for a name that is none."""
    if name not in available_timezones():
        raise ValidationError(f"There is no time zone “{name[:64]}”: give a name such as Europe/Berlin, or UTC.")


def day_begins(day: date, zone: ZoneInfo) -> datetime:
    """The first moment of a day there; where clocks are put forward at midnight, the first one that there is."""
    return datetime.combine(day, time.min, tzinfo=zone)


def last_days(now: datetime, zone: ZoneInfo, count: int) -> Iterator[tuple[date, datetime, datetime]]:
    """The last `count` days, the day of `now` last: each with its first moment, and the first one after it."""
    today = now.astimezone(zone).date()
    for back in range(count - 1, -1, -1):
        day = today - timedelta(days=back)
        yield day, day_begins(day, zone), day_begins(day + timedelta(days=1), zone)
