"""Attendance becomes scores: of assignments of kind `room`, as their `AttendanceGrading` says.

Asked for by a mark on the meeting (`grading_due_at`) that is written with whatever changed; a worker counts again as
often as it likes, and a score is only written where it differs. Whom a teacher graded by hand is left alone.
"""

from collections.abc import Collection, Mapping
from decimal import ROUND_HALF_UP, Decimal
from uuid import UUID

import structlog
from django.db import transaction
from django.utils import timezone

from courses.models import Assignment, Enrolment
from events.log import SYSTEM
from grades.models import Score
from grades.outbox import lock_passage
from grades.scores import record_score
from organizations.models import Person
from recordings.attendance import length_of, seconds_by_meeting
from recordings.meetings import GRADE_ATTENDANCE, wake
from recordings.models import AttendanceGrading, AttendanceScore, Meeting, Room

logger = structlog.get_logger(__name__)

_CENT = Decimal("0.01")


def grade_what_is_due(*, limit: int = 100) -> int:
    """Grades the rooms of meetings whose attendance has changed; returns how many scores were written.

    A room that breaks must not keep the others' grades; it is tried again, since its mark stays.
    """
    written = 0
    due = Meeting.objects.filter(grading_due_at__isnull=False).order_by("grading_due_at")
    rooms: dict[UUID, list[Meeting]] = {}
    for meeting in due[:limit]:
        rooms.setdefault(meeting.room_id, []).append(meeting)
    for room_id, meetings in rooms.items():
        try:
            written += grade_room(Room.objects.get(pk=room_id))
        except Exception as error:
            logger.error("attendance_grading_failed", room=str(room_id), exc_info=error)
            continue
        for meeting in meetings:
            # What changed while we counted has another mark, and is counted again.
            Meeting.objects.filter(pk=meeting.pk, grading_due_at=meeting.grading_due_at).update(grading_due_at=None)
    return written


def grade_again(grading: AttendanceGrading) -> None:
    """Has a room's attendance counted again, soon: after the way it is graded was changed."""
    with transaction.atomic():
        latest = Meeting.objects.filter(room=grading.room_id, ended_at__isnull=False).first()
        if latest is not None:
            Meeting.objects.filter(pk=latest.pk).update(grading_due_at=timezone.now())
            wake(GRADE_ATTENDANCE)


def grade_room(room: Room) -> int:
    """Writes the scores that follow from the attendance in the room's meetings that are over; returns how many."""
    gradings = AttendanceGrading.objects.filter(room=room, assignment__course=room.course_id, assignment__enabled=True)
    gradings = gradings.exclude(measure=AttendanceGrading.Measure.NONE)
    meetings = list(Meeting.objects.filter(room=room, ended_at__isnull=False))
    if not meetings:
        return 0
    now = timezone.now()
    lengths = {meeting.pk: length_of(meeting, now) for meeting in meetings}
    attended = seconds_by_meeting(meetings, now)
    students = Person.objects.filter(
        enrolments__course=room.course_id,
        enrolments__role=Enrolment.Role.STUDENT,
        enrolments__state=Enrolment.State.ACTIVE,
        pk__in=attended,
    )
    people = list(students)
    written = 0
    for grading in gradings.select_related("assignment__course"):
        points = {one.pk: points_for(grading, attended[one.pk], lengths) for one in people}
        written += _write(grading.assignment, people, points)
    return written


def points_for(grading: AttendanceGrading, attended: Mapping[UUID, int], lengths: Mapping[UUID, int]) -> Decimal:
    """The points of somebody who was in these meetings for so many seconds; `lengths` (seconds) of all meetings."""
    if grading.span == AttendanceGrading.Span.ALL:
        reached = _reached(grading, sum(attended.values()), sum(lengths.values()))
    else:
        reached = max((_reached(grading, count, lengths[pk]) for pk, count in attended.items()), default=Decimal(0))
    if reached < 1 and not grading.proportional:
        return Decimal("0.00")
    return (min(reached, Decimal(1)) * grading.assignment.points_possible).quantize(_CENT, rounding=ROUND_HALF_UP)


def _reached(grading: AttendanceGrading, seconds: int, length: int) -> Decimal:
    """Which part of what is required was reached; more than 1 where it was more."""
    if grading.measure == AttendanceGrading.Measure.MINUTES:
        return Decimal(seconds) / 60 / grading.required
    if not length:
        return Decimal(0)
    return Decimal(min(seconds, length)) * 100 / length / grading.required


def _write(assignment: Assignment, people: Collection[Person], points: Mapping[UUID, Decimal]) -> int:
    scores = {
        score.person_id: score
        for score in Score.objects.filter(assignment=assignment, person__in=people).select_related("attendance_score")
    }
    changed = [person for person in people if _is_to_be_written(scores.get(person.pk), points[person.pk])]
    return sum(_write_one(assignment, person, points[person.pk]) for person in changed)


def _write_one(assignment: Assignment, person: Person, points: Decimal) -> bool:
    with transaction.atomic():
        # Nobody grades by hand between our look and our writing.
        lock_passage([(assignment.pk, person.pk)])
        rows = Score.objects.filter(assignment=assignment, person=person).select_related("attendance_score")
        score = rows.first()
        if not _is_to_be_written(score, points):
            return False
        # What the course says of releasing counts, and what a teacher has said beside the points stays.
        comment = score.comment if score is not None else ""
        written = record_score(assignment, person, points=points, comment=comment, released=None, actor=SYSTEM)
        AttendanceScore.objects.update_or_create(score=written, defaults={"points": written.points})
    return True


def _is_to_be_written(score: Score | None, points: Decimal) -> bool:
    if score is None or not score.version:
        return True
    given = getattr(score, "attendance_score", None)
    return given is not None and given.points == score.points and score.points != points
