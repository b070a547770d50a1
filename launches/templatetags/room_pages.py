"""What the templates of live sessions need: the addresses of a room's pages, lengths and sizes."""

from typing import Any

from django import template
from django.utils import timezone

from recordings import attendance
from recordings.models import MEGABYTE, Meeting

register = template.Library()


@register.simple_tag(takes_context=True)
def room_url(context: template.Context, page: str = "", **parameters: Any) -> str:
    """A page of the context's `room_access`, as `RoomAccess.url` names it."""
    return str(context["room_access"].url(page, **parameters))


@register.filter
def length_of(meeting: Meeting) -> int:
    """How long the meeting was, or is by now, in seconds."""
    return attendance.length_of(meeting, timezone.now())


@register.filter
def duration(seconds: int | None) -> str:
    """A length as people say it: 50 s, 12 min, 1 h 5 min; nothing where it is not known."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


@register.filter
def size(in_bytes: int | None) -> str:
    """A file's size: 820 kB, 12.5 MB, 1.2 GB (of 10^3, 10^6, 10^9 bytes); nothing where it is not known."""
    if in_bytes is None:
        return ""
    if in_bytes < MEGABYTE:
        return f"{max(1, round(in_bytes / 1000))} kB"
    if in_bytes < 1000 * MEGABYTE:
        return f"{in_bytes / MEGABYTE:.1f} MB"
    return f"{in_bytes / (1000 * MEGABYTE):.1f} GB"


@register.filter
def percent(share: float) -> str:
    """A part of a whole, 0 to 1."""
    return f"{round(share * 100)} %"
