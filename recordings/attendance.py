"""Who was in a live session and for how long: written down from webhooks and the server's report, and read for pages.

`Attendance` has one row for each id under which somebody is known to a meeting, `AttendanceInterval` one for each stay.
A person may have several such ids (after a merge of two people, say): readers get one line for each person.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Q
from django.http import StreamingHttpResponse
from django.utils import timezone

from events.csv_export import csv_response
from organizations.models import Person
from recordings.meeting_server import Attended, Participant
from recordings.models import Attendance, AttendanceInterval, Meeting, Room
from recordings.stays import Interval, Presence, presence_of

GUEST = "Guest"
REPORTED = "analytics-"  # what ids of stays begin with that the server's report told of
CSV_COLUMNS = ("name", "email", "person", "joined_at", "left_at", "minutes", "share_percent")
ROOM_CSV_COLUMNS = (
    "name",
    "email",
    "person",
    "sessions",
    "sessions_held",
    "minutes",
    "share_percent",
    "last_joined_at",
)


@dataclass(frozen=True)
class Attendee:
    """Somebody in one meeting, all their devices together.

    `person` is None for a guest whom the server let in by itself. `share` is the part of the meeting's length so far,
    0 to 1. `left_at` is None while they are in (`is_in`).
    """

    person: Person | None
    name: str
    is_moderator: bool
    seconds: int
    share: float
    joined_at: datetime
    left_at: datetime | None

    @property
    def is_in(self) -> bool:
        return self.left_at is None

    @property
    def minutes(self) -> float:
        """With one decimal."""
        return round(self.seconds / 60, 1)


@dataclass(frozen=True)
class RoomAttendee:
    """Somebody in all meetings of a room. `share` is the part of the length of all meetings, 0 to 1."""

    person: Person
    meetings: int
    seconds: int
    share: float
    last_joined_at: datetime

    @property
    def name(self) -> str:
        return self.person.display_name

    @property
    def minutes(self) -> float:
        """With one decimal."""
        return round(self.seconds / 60, 1)


@dataclass(frozen=True)
class RoomAttendance:
    """Who was in a room's meetings, by name; `meetings` of them were held, `seconds` long together."""

    people: tuple[RoomAttendee, ...]
    meetings: int
    seconds: int


@dataclass(frozen=True)
class OwnAttendance:
    """One meeting as the person in front of the page attended it; `attended` is None where they were not in it."""

    meeting: Meeting
    attended: Attendee | None


def attendance_of(
    meeting: Meeting, *, now: datetime | None = None, people: Collection[UUID] | None = None
) -> list[Attendee]:
    """Who was in the meeting, by name; moderators first. `people`: only these, and no guests.

    Whoever only asked for the way in and never arrived is not there.
    """
    rows = Attendance.objects.filter(meeting=meeting)
    if people is not None:
        rows = rows.filter(person__in=people)
    found = _attendees(meeting, rows.select_related("person"), now or timezone.now())
    return sorted(found, key=lambda one: (not one.is_moderator, one.name.casefold(), str(one.joined_at)))


def attendance_in_room(
    room: Room, *, now: datetime | None = None, people: Collection[UUID] | None = None
) -> RoomAttendance:
    """Who was in the room's meetings, the running one included. The same few statements however many there are."""
    now = now or timezone.now()
    meetings = list(Meeting.objects.filter(room=room))
    lengths = {meeting.pk: length_of(meeting, now) for meeting in meetings}
    total = sum(lengths.values())
    rows = Attendance.objects.filter(meeting__room=room)
    if people is not None:
        rows = rows.filter(person__in=people)
    known: dict[UUID, tuple[Person, datetime]] = {}
    by_person: dict[UUID, list[Attendance]] = {}
    for row in rows.filter(person__isnull=False, joined_at__isnull=False).select_related("person"):
        if row.person is not None and row.joined_at is not None:
            last = max(row.joined_at, known[row.person.pk][1]) if row.person.pk in known else row.joined_at
            known[row.person.pk] = (row.person, last)
            by_person.setdefault(row.person.pk, []).append(row)
    seconds = _seconds(meetings, [row for several in by_person.values() for row in several], now)
    found = []
    for person_id, (person, last) in known.items():
        own = seconds[person_id]
        attended = sum(min(count, lengths[meeting_id]) for meeting_id, count in own.items())
        found.append(RoomAttendee(person, len(own), attended, attended / total if total else 0.0, last))
    found.sort(key=lambda one: (one.name.casefold(), str(one.person.pk)))
    return RoomAttendance(tuple(found), len(meetings), total)


def seconds_by_meeting(meetings: Collection[Meeting], now: datetime) -> dict[UUID, dict[UUID, int]]:
    """By person, by meeting, how long they were in these meetings."""
    rows = Attendance.objects.filter(meeting__in=meetings, person__isnull=False, joined_at__isnull=False)
    return _seconds(meetings, list(rows), now)


def _seconds(meetings: Collection[Meeting], rows: Sequence[Attendance], now: datetime) -> dict[UUID, dict[UUID, int]]:
    ended_at = {meeting.pk: meeting.ended_at for meeting in meetings}
    several: dict[tuple[UUID, UUID], list[Attendance]] = {}
    for row in rows:
        if row.person_id is not None:
            several.setdefault((row.person_id, row.meeting_id), []).append(row)
    exact = _intervals_where_sums_do_not_do(several)
    found: dict[UUID, dict[UUID, int]] = {}
    for (person_id, meeting_id), same in several.items():
        if same[0].pk in exact:
            stays = [one for row in same for one in exact[row.pk]]
            count = presence_of(stays, ended_at[meeting_id]).seconds(now)
        else:
            count = same[0].seconds
        found.setdefault(person_id, {})[meeting_id] = count
    return found


def own_attendance(room: Room, person: Person, *, now: datetime | None = None) -> list[OwnAttendance]:
    """The room's meetings, newest first, with this person's part in each."""
    now = now or timezone.now()
    rows: dict[UUID, list[Attendance]] = {}
    mine = Attendance.objects.filter(meeting__room=room, person=person).select_related("person")
    for row in mine.prefetch_related("intervals"):
        rows.setdefault(row.meeting_id, []).append(row)
    found = []
    for meeting in Meeting.objects.filter(room=room):
        attended = _one_attendee(meeting, rows.get(meeting.pk, []), now)
        found.append(OwnAttendance(meeting, attended))
    return found


def length_of(meeting: Meeting, now: datetime) -> int:
    """How long the meeting was, or is by now, in seconds."""
    return max(0, round(((meeting.ended_at or now) - meeting.started_at).total_seconds()))


def meeting_csv(meeting: Meeting, *, people: Collection[UUID] | None = None) -> StreamingHttpResponse:
    """The attendance of a meeting as a download; times in RFC 3339, UTC."""
    rows = (
        (
            one.name,
            one.person.email if one.person else "",
            one.person.pk if one.person else "",
            one.joined_at.isoformat(timespec="seconds"),
            one.left_at.isoformat(timespec="seconds") if one.left_at else "",
            one.minutes,
            round(one.share * 100, 1),
        )
        for one in attendance_of(meeting, people=people)
    )
    return csv_response(f"attendance-{meeting.started_at:%Y-%m-%d-%H%M}.csv", CSV_COLUMNS, rows)


def room_csv(room: Room, *, people: Collection[UUID] | None = None) -> StreamingHttpResponse:
    """The attendance in all meetings of a room as a download."""
    attendance = attendance_in_room(room, people=people)
    rows = (
        (
            one.name,
            one.person.email,
            one.person.pk,
            one.meetings,
            attendance.meetings,
            one.minutes,
            round(one.share * 100, 1),
            one.last_joined_at.isoformat(timespec="seconds"),
        )
        for one in attendance.people
    )
    return csv_response(f"attendance-{room.slug}.csv", ROOM_CSV_COLUMNS, rows)


def _attendees(meeting: Meeting, rows: Iterable[Attendance], now: datetime) -> list[Attendee]:
    by_person: dict[UUID, list[Attendance]] = {}
    rows = list(rows)
    intervals = _intervals_of([row.pk for row in rows])
    for row in rows:
        by_person.setdefault(row.person_id or row.pk, []).append(row)
    found = (_attendee(meeting, same, intervals, now) for same in by_person.values())
    return [one for one in found if one is not None]


def _one_attendee(meeting: Meeting, rows: Sequence[Attendance], now: datetime) -> Attendee | None:
    intervals = {row.pk: [_interval(one) for one in row.intervals.all()] for row in rows}
    return _attendee(meeting, rows, intervals, now) if rows else None


def _attendee(
    meeting: Meeting, rows: Sequence[Attendance], intervals: Mapping[UUID, Sequence[Interval]], now: datetime
) -> Attendee | None:
    presence = presence_of([one for row in rows for one in intervals.get(row.pk, ())], meeting.ended_at)
    if presence.joined_at is None:
        return None
    length = length_of(meeting, now)
    seconds = presence.seconds(now)
    person = rows[0].person
    return Attendee(
        person=person,
        name=person.display_name if person is not None else rows[0].name or GUEST,
        is_moderator=any(row.is_moderator for row in rows),
        seconds=seconds,
        share=min(1.0, seconds / length) if length else 0.0,
        joined_at=presence.joined_at,
        left_at=presence.left_at,
    )


def _intervals_of(attendances: Collection[UUID]) -> dict[UUID, list[Interval]]:
    found: dict[UUID, list[Interval]] = {}
    for one in AttendanceInterval.objects.filter(attendance__in=attendances):
        found.setdefault(one.attendance_id, []).append(_interval(one))
    return found


def _intervals_where_sums_do_not_do(
    several: Mapping[tuple[UUID, UUID], Sequence[Attendance]],
) -> dict[UUID, list[Interval]]:
    """The stays of those who are in now, and of people with two ids in one meeting; for others the sum is kept."""
    asked = [row.pk for same in several.values() for row in same if len(same) > 1 or row.left_at is None]
    found = _intervals_of(asked) if asked else {}
    return {pk: found.get(pk, []) for pk in asked}


def _interval(row: AttendanceInterval) -> Interval:
    return Interval(row.joined_at, row.left_at, row.connection_id.startswith(REPORTED))


# Writing. Each of these is called in a transaction that holds the meeting's room (recordings/meetings.py).


@dataclass(frozen=True)
class Step:
    """A join or a leave: exactly one of the two times is the event's own; a leave may also know when its stay began."""

    participant: Participant
    joined_at: datetime | None = None
    left_at: datetime | None = None


def note_steps(meeting: Meeting, steps: Sequence[Step]) -> bool:
    """Writes joins and leaves down, in whatever order and however often they come. Returns whether anything changed."""
    people = [step for step in steps if not step.participant.is_bot]
    if not people:
        return False
    rows = _rows_for(meeting, [step.participant for step in people])
    stays = {
        (one.attendance_id, one.connection_id): one
        for one in AttendanceInterval.objects.filter(attendance__in=[row.pk for row in rows.values()])
    }
    fresh: dict[tuple[UUID, str], AttendanceInterval] = {}
    changed: dict[UUID, AttendanceInterval] = {}
    touched: set[UUID] = set()
    for step in people:
        row = rows[step.participant.identity]
        # A server that names no connections has one stay at a time.
        key = (row.pk, step.participant.connection_id or "only")
        stay = stays.get(key) or fresh.get(key)
        if stay is None:
            fresh[key] = AttendanceInterval(
                attendance=row, connection_id=key[1], joined_at=step.joined_at, left_at=step.left_at
            )
            touched.add(row.pk)
            continue
        # The earlier word counts: a reconciler that missed somebody only knows that they have gone by now.
        joined, left = _earlier(stay.joined_at, step.joined_at), _earlier(stay.left_at, step.left_at)
        if (joined, left) != (stay.joined_at, stay.left_at):
            stay.joined_at, stay.left_at = joined, left
            touched.add(row.pk)
            if key not in fresh:
                changed[stay.pk] = stay
    AttendanceInterval.objects.bulk_create(fresh.values(), batch_size=500)
    AttendanceInterval.objects.bulk_update(changed.values(), ["joined_at", "left_at"], batch_size=200)
    recount(meeting, touched)
    return bool(touched)


def note_report(meeting: Meeting, people: Sequence[Attended]) -> bool:
    """Takes the server's report on the meeting in, instead of an earlier one. Returns whether anything changed."""
    known = [
        Participant(one.identity, "", one.name, None, is_moderator=one.is_moderator) for one in people if one.stays
    ]
    rows = _rows_for(meeting, known)
    before = {
        (one.attendance_id, one.connection_id): (one.joined_at, one.left_at)
        for one in AttendanceInterval.objects.filter(attendance__meeting=meeting, connection_id__startswith=REPORTED)
    }
    now = {
        (rows[one.identity].pk, f"{REPORTED}{number}"): (stay.joined_at, stay.left_at)
        for one in people
        for number, stay in enumerate(one.stays)
    }
    if now == before:
        return False
    AttendanceInterval.objects.filter(attendance__meeting=meeting, connection_id__startswith=REPORTED).delete()
    AttendanceInterval.objects.bulk_create(
        (
            AttendanceInterval(attendance_id=attendance_id, connection_id=number, joined_at=joined, left_at=left)
            for (attendance_id, number), (joined, left) in now.items()
        ),
        batch_size=500,
    )
    recount(meeting)
    return True


def recount(meeting: Meeting, attendances: Collection[UUID] | None = None) -> None:
    """Sums up the stays in the rows that lists are read from; None: of everybody in the meeting."""
    rows = Attendance.objects.filter(meeting=meeting)
    if attendances is not None:
        if not attendances:
            return
        rows = rows.filter(pk__in=attendances)
    rows = rows.filter(Q(intervals__isnull=False)).distinct()
    found = list(rows)
    intervals = _intervals_of([row.pk for row in found])
    changed = []
    for row in found:
        presence = presence_of(intervals.get(row.pk, ()), meeting.ended_at)
        summed = (_closed_seconds(presence), presence.joined_at, presence.left_at)
        if summed != (row.seconds, row.joined_at, row.left_at):
            row.seconds, row.joined_at, row.left_at = summed
            changed.append(row)
    Attendance.objects.bulk_update(changed, ["seconds", "joined_at", "left_at"], batch_size=200)


def _closed_seconds(presence: Presence) -> int:
    """Without the stay that is under way, which grows by itself."""
    return Presence(tuple(span for span in presence.spans if span[1] is not None)).seconds(timezone.now())


def _rows_for(meeting: Meeting, participants: Sequence[Participant]) -> dict[str, Attendance]:
    """By identity, everybody's row; whoever has none came past us, and is a guest."""
    by_identity = {one.identity: one for one in participants}
    rows = {row.identity: row for row in Attendance.objects.filter(meeting=meeting, identity__in=by_identity)}
    missing = [one for identity, one in by_identity.items() if identity not in rows]
    if missing:
        Attendance.objects.bulk_create(
            (
                Attendance(
                    meeting=meeting, identity=one.identity, name=one.name.strip()[:255], is_moderator=one.is_moderator
                )
                for one in missing
            ),
            ignore_conflicts=True,
            batch_size=500,
        )
        rows = {row.identity: row for row in Attendance.objects.filter(meeting=meeting, identity__in=by_identity)}
    return rows


def _earlier(known: datetime | None, told: datetime | None) -> datetime | None:
    if known is None or told is None:
        return known or told
    return min(known, told)
