"""Attendance becomes scores, and those grades that leave by the outbox."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from courses.models import Assignment, Enrolment
from events.log import SYSTEM
from events.models import Delivery, Event
from grades.models import Score
from grades.scores import record_score
from recordings.attendance import attendance_in_room, meeting_csv, own_attendance, room_csv
from recordings.attendance_grades import grade_again, grade_what_is_due
from recordings.models import Attendance, AttendanceGrading, Meeting
from recordings.receiving import process_webhooks
from recordings.sessions import end, identity_of
from recordings.tests.webhooks import event, person, post
from tests.factories import (
    AssignmentFactory,
    AttendanceFactory,
    CourseFactory,
    EnrolmentFactory,
    GradebookCellFactory,
    MeetingFactory,
    PersonFactory,
    RoomFactory,
)

pytestmark = pytest.mark.django_db

START = timezone.now().replace(microsecond=0) - timedelta(days=1)


def at(minutes):
    return START + timedelta(minutes=minutes)


@pytest.fixture
def room():
    return RoomFactory(course=CourseFactory(release_grades_automatically=True), slug="office-hours")


@pytest.fixture
def student(room):
    return enrolled(room, "Ada Lovelace")


def enrolled(room, name, **more):
    person = PersonFactory(organization=room.course.organization, name=name, **more)
    EnrolmentFactory(course=room.course, person=person)
    return person


def graded(room, measure="minutes", required=30, **more):
    assignment = AssignmentFactory(course=room.course, kind=Assignment.Kind.ROOM, points_possible=10)
    return AttendanceGrading.objects.create(
        assignment=assignment, room=room, measure=measure, required=Decimal(required), **more
    )


def held(room, *stays, start=0, minutes=60, session=None):
    """A meeting that is over; stays are (person, first minute, last minute)."""
    meeting = MeetingFactory(room=room, started_at=at(start), **({"session_id": session} if session else {}))
    for who, first, last in stays:
        assert post(meeting.server, joined(meeting, who, start + first)) == 200
        assert post(meeting.server, left(meeting, who, start + last)) == 200
    assert post(meeting.server, event("room_finished", meeting, at(start + minutes))) == 200
    process_webhooks()
    return meeting


def joined(meeting, who, minute, stay="c1"):
    Attendance.objects.get_or_create(meeting=meeting, identity=identity_of(who), defaults={"person": who})
    return person("participant_joined", meeting, at(minute), identity_of(who), stay=stay)


def left(meeting, who, minute, stay="c1"):
    return person("participant_left", meeting, at(minute), identity_of(who), stay=stay)


def points(grading):
    return dict(Score.objects.filter(assignment=grading.assignment).values_list("person__name", "points"))


@pytest.mark.parametrize(
    ("measure", "required", "proportional", "attended", "expected"),
    [
        ("minutes", 30, False, 30, 10),
        ("minutes", 30, False, 29, 0),
        ("minutes", 30, True, 15, 5),
        ("minutes", 30, True, 59, 10),
        ("share", 50, False, 30, 10),
        ("share", 50, False, 20, 0),
        ("share", 80, True, 24, 5),
        ("share", 100, True, 60, 10),
    ],
)
def test_points_follow_attendance(room, student, fake, measure, required, proportional, attended, expected):
    grading = graded(room, measure, required, proportional=proportional)
    held(room, (student, 0, attended))
    assert grade_what_is_due() == 1
    assert points(grading) == {"Ada Lovelace": expected}


@pytest.mark.parametrize(("span", "expected"), [("best", Decimal("6.67")), ("all", Decimal("10.00"))])
def test_the_best_meeting_or_all_together(room, student, fake, span, expected):
    grading = graded(room, "minutes", 30, proportional=True, span=span)
    held(room, (student, 0, 20))
    held(room, (student, 0, 15), start=120)
    grade_what_is_due()
    assert points(grading) == {"Ada Lovelace": expected}


def test_the_share_of_all_meetings(room, student, fake):
    grading = graded(room, "share", 100, proportional=True, span="all")
    held(room, (student, 0, 60))
    held(room, start=120)
    grade_what_is_due()
    assert points(grading) == {"Ada Lovelace": 5}


def test_counting_again_writes_nothing(room, student, fake):
    grading = graded(room)
    held(room, (student, 0, 60))
    assert grade_what_is_due() == 1
    assert grade_what_is_due() == 0
    grade_again(grading)
    assert grade_what_is_due() == 0
    assert Score.objects.get().version == 1
    assert not Meeting.objects.exclude(grading_due_at=None).exists()


def test_what_comes_later_changes_the_score(room, student, fake):
    grading = graded(room, proportional=True)
    meeting = held(room, (student, 0, 15))
    grade_what_is_due()
    for message in (joined(meeting, student, 20, "c2"), left(meeting, student, 26, "c2")):
        assert post(meeting.server, message) == 200
    process_webhooks()
    assert grade_what_is_due() == 1
    assert points(grading) == {"Ada Lovelace": 7}


def test_whom_a_teacher_graded_by_hand_is_left_alone(room, student, fake):
    grading = graded(room)
    record_score(grading.assignment, student, points=Decimal(3), comment="Excused.", actor=SYSTEM)
    held(room, (student, 0, 60))
    assert grade_what_is_due() == 0
    assert points(grading) == {"Ada Lovelace": 3}


def test_a_teachers_correction_of_attendance_stays(room, student, fake):
    grading = graded(room, proportional=True)
    held(room, (student, 0, 15))
    grade_what_is_due()
    record_score(grading.assignment, student, points=Decimal(9), actor=SYSTEM)
    held(room, (student, 0, 60), start=120)
    assert grade_what_is_due() == 0
    assert points(grading) == {"Ada Lovelace": 9}


def test_only_students_of_the_course_are_graded(room, student, fake):
    grading = graded(room)
    teacher, gone = enrolled(room, "Grace Hopper"), enrolled(room, "Gone")
    Enrolment.objects.filter(person=teacher).update(role="teacher")
    Enrolment.objects.filter(person=gone).update(state="gone")
    held(room, *((who, 0, 60) for who in (student, teacher, gone)))
    grade_what_is_due()
    assert points(grading) == {"Ada Lovelace": 10}


def test_what_is_not_graded_is_not_marked(room, student, fake):
    graded(room, "none")
    meeting = held(room, (student, 0, 60))
    meeting.refresh_from_db()
    assert meeting.grading_due_at is None


def test_the_grade_goes_into_the_outbox(room, student, fake):
    grading = graded(room)
    cell = GradebookCellFactory(assignment=grading.assignment, person=student)
    held(room, (student, 0, 60))
    grade_what_is_due()
    delivery = Delivery.objects.get(kind="grade")
    assert (delivery.target_id, delivery.state) == (cell.pk, "pending")
    assert Event.objects.get(type="score.changed").actor["kind"] == "system"


def test_a_room_that_breaks_keeps_no_other_from_its_grades(room, student, fake, monkeypatch):
    from recordings import attendance_grades

    graded(room)
    held(room, (student, 0, 60))
    other = RoomFactory()
    grading = graded(other)
    somebody = enrolled(other, "Somebody")
    held(other, (somebody, 0, 60))
    count = attendance_grades.grade_room
    monkeypatch.setattr(attendance_grades, "grade_room", lambda one: count(one) if one != room else 1 // 0)
    assert grade_what_is_due() == 1
    assert points(grading) == {"Somebody": 10}
    assert Meeting.objects.exclude(grading_due_at=None).get().room == room


def test_ending_by_hand_grades_those_who_are_in(room, student, fake):
    from recordings.sessions import start

    grading = graded(room, "share", 50)
    meeting = start(room, enrolled(room, "Grace Hopper"))
    Meeting.objects.filter(pk=meeting.pk).update(started_at=timezone.now() - timedelta(minutes=30))
    AttendanceFactory(meeting=meeting, person=student).intervals.create(
        connection_id="c1", joined_at=timezone.now() - timedelta(minutes=20)
    )
    end(room, student)
    grade_what_is_due()
    assert points(grading) == {"Ada Lovelace": 10}


# Read


def test_attendance_in_a_room(room, student, fake, django_assert_num_queries):
    other = enrolled(room, "Zuse")
    held(room, (student, 0, 60), (other, 0, 30))
    held(room, (student, 0, 15), start=120)
    with django_assert_num_queries(2):
        attendance = attendance_in_room(room)
    assert (attendance.meetings, attendance.seconds) == (2, 7200)
    assert [(one.name, one.meetings, one.minutes, one.share) for one in attendance.people] == [
        ("Ada Lovelace", 2, 75.0, 0.625),
        ("Zuse", 1, 30.0, 0.25),
    ]


def test_a_person_with_two_ids_in_one_meeting_counts_once(room, student, fake):
    meeting = held(room, (student, 0, 30))
    twin = AttendanceFactory(meeting=meeting, person=student, identity="other", joined_at=at(10), left_at=at(40))
    twin.intervals.create(connection_id="x", joined_at=at(10), left_at=at(40))
    assert [(one.name, one.seconds) for one in attendance_in_room(room).people] == [("Ada Lovelace", 2400)]


def test_own_attendance(room, student, fake):
    first, second = held(room, (student, 0, 60)), held(room, start=120)
    own = own_attendance(room, student)
    assert [(one.meeting, one.attended and one.attended.seconds) for one in own] == [(second, None), (first, 3600)]


def text_of(response):
    return b"".join(response.streaming_content).decode().splitlines()


def test_csv_of_a_meeting_runs_no_formula(room, fake):
    who = enrolled(room, "=cmd|'/c calc'!A0", email="ada@example.org")
    meeting = held(room, (who, 0, 30))
    meeting.refresh_from_db()
    lines = text_of(meeting_csv(meeting))
    assert lines[0].lstrip("\ufeff") == "name,email,person,joined_at,left_at,minutes,share_percent"
    assert lines[1].startswith("'=cmd")
    assert lines[1].endswith(f",{at(0).isoformat()},{at(30).isoformat()},30.0,50.0")


def test_csv_of_a_room(room, student, fake):
    held(room, (student, 0, 30))
    lines = text_of(room_csv(room))
    assert lines[1].startswith("Ada Lovelace,")
    assert ",1,1,30.0,50.0," in lines[1]
