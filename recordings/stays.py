"""How long somebody was in a meeting, from joins and leaves that may overlap, be lost, or come twice. Pure functions.

Two sources tell of them: webhooks as they happen, and the server's own report afterwards. What both know is counted
once, and what one of them lost is taken from the other.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

# How far the two sources may be apart about one and the same moment.
TOLERANCE = timedelta(seconds=30)


@dataclass(frozen=True)
class Interval:
    """One stay of one device as a source tells of it; one of the two times may be unknown."""

    joined_at: datetime | None
    left_at: datetime | None
    is_reported: bool = False


@dataclass(frozen=True)
class Presence:
    """When somebody was in: spans in their order, which do not overlap; the end of the last is None for who is in."""

    spans: tuple[tuple[datetime, datetime | None], ...] = ()

    @property
    def joined_at(self) -> datetime | None:
        return self.spans[0][0] if self.spans else None

    @property
    def left_at(self) -> datetime | None:
        return self.spans[-1][1] if self.spans else None

    @property
    def is_in(self) -> bool:
        return bool(self.spans) and self.spans[-1][1] is None

    def seconds(self, now: datetime) -> int:
        """How long in all; who is in counts until now."""
        total = sum(((max(left or now, joined) - joined) for joined, left in self.spans), timedelta())
        return round(total.total_seconds())


def presence_of(intervals: Iterable[Interval], ended_at: datetime | None) -> Presence:
    """The spans of these intervals of one person in one meeting, which ended then or (None) still runs.

    A leave that nobody told of is the next join of the same person, or the meeting's end; in a running meeting who was
    not seen leaving is in. A leave without a join is a moment.
    """
    known = list(intervals)
    whole = [
        (one, one.joined_at, one.left_at) for one in known if one.joined_at is not None and one.left_at is not None
    ]
    spans: list[tuple[datetime, datetime | None]] = [(joined, max(joined, left)) for _, joined, left in whole]
    joins = sorted(one.joined_at for one in known if one.joined_at is not None)
    for one in known:
        told_by_other = [(joined, left) for twin, joined, left in whole if twin.is_reported != one.is_reported]
        if one.joined_at is not None and one.left_at is None:
            if any(joined - TOLERANCE <= one.joined_at < left for joined, left in told_by_other):
                continue
            spans.append((one.joined_at, _end_of(one.joined_at, joins, ended_at)))
        elif (
            one.joined_at is None
            and one.left_at is not None
            and not any(joined < one.left_at <= left + TOLERANCE for joined, left in told_by_other)
        ):
            spans.append((one.left_at, one.left_at))
    return Presence(_merged(spans))


def _end_of(joined_at: datetime, joins: Sequence[datetime], ended_at: datetime | None) -> datetime | None:
    if ended_at is None:
        return None
    following = next((at for at in joins if at > joined_at), None)
    return max(joined_at, ended_at if following is None else min(following, ended_at))


def _merged(spans: list[tuple[datetime, datetime | None]]) -> tuple[tuple[datetime, datetime | None], ...]:
    merged: list[tuple[datetime, datetime | None]] = []
    for joined, left in sorted(spans, key=lambda span: span[0]):
        if merged:
            before, end = merged[-1]
            if end is None or joined <= end:
                merged[-1] = (before, None if end is None or left is None else max(end, left))
                continue
        merged.append((joined, left))
    return tuple(merged)
