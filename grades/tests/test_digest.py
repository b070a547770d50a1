"""The daily digest: who is told of which failures, once, and when."""

import threading
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfoNotFoundError

import pytest
import time_machine
from django.core import mail
from django.db import connection

from courses.models import Enrolment
from events.log import EventType
from events.mails import send_due_mails
from events.models import Delivery, Event, Mail
from grades.digest import write_digest, write_due_digests
from grades.digest_switch import DigestSwitch, switch_of, switch_token
from grades.models import GradeDigest
from grades.tasks import write_digests
from lti_platform.celery import app
from organizations.models import LmsAccount, Membership
from tests.factories import (
    CourseFactory,
    EnrolmentFactory,
    GradebookCellFactory,
    InstallationFactory,
    MembershipFactory,
    OrganizationFactory,
    PersonFactory,
    UserFactory,
)

pytestmark = pytest.mark.django_db

NOON = datetime(2030, 3, 4, 12, tzinfo=UTC)
NOT_ENROLLED = "The student is not enrolled there any more."


@pytest.fixture
def organization() -> Any:
    organization: Any = OrganizationFactory(name="Acme", slug="acme")
    MembershipFactory(organization=organization, user__email="owner@acme.example")
    return organization


@pytest.fixture
def course(organization: Any) -> Any:
    return CourseFactory(organization=organization, name="Introduction", lms_course_url="https://lms.example/course/5")


def fails(course: Any, at: datetime, words: str = NOT_ENROLLED, **values: Any) -> Delivery:
    """A grade of a new student that failed at this time."""
    cell: Any = GradebookCellFactory(assignment__course=course)
    with time_machine.travel(at, tick=False):
        delivery = Delivery.objects.create(
            organization=course.organization,
            kind=Delivery.Kind.GRADE,
            target_id=cell.pk,
            source_id=cell.pk,
            sequence=1,
            give_up_at=at,
            due_at=None,
            **{"state": "failed", "last_error_code": "user_unknown", "last_error": words, **values},
        )
        tell(delivery)
    return delivery


def tell(delivery: Delivery) -> None:
    Event.objects.create(
        organization=delivery.organization,
        type=EventType.GRADE_FAILED,
        subject={"kind": "delivery", "id": str(delivery.pk)},
    )


def teaches(course: Any, **values: Any) -> Any:
    return EnrolmentFactory(course=course, role=Enrolment.Role.TEACHER, **values)


def at(moment: datetime) -> int:
    """A run of beat at this moment, and the mails that it wrote leave."""
    with time_machine.travel(moment, tick=False):
        written = write_due_digests()
        send_due_mails()
    return written


def receivers() -> list[str]:
    return sorted(message.to[0] for message in mail.outbox)


def test_owners_are_told_how_many_where_and_why(organization, course):
    other = CourseFactory(organization=organization, name="Advanced")
    failed = [fails(course, NOON - timedelta(hours=2)) for _ in range(3)]
    failed.append(fails(other, NOON - timedelta(hours=1), 'The LMS refused it. It says "Ada Lovelace is unknown".'))
    assert at(NOON) == 1
    (message,) = mail.outbox
    assert (message.to, message.subject) == (["owner@acme.example"], "Acme: 4 grades did not arrive")
    assert f"3 x {NOT_ENROLLED}" in message.body
    assert "1 x The LMS refused it.\n" in message.body
    assert "Introduction: 3 grades, 3 people" in message.body
    assert f"http://testserver/courses/{course.pk}/gradebook/?filter=failed" in message.body
    assert "/admin/events/delivery/?kind__exact=grade&state__exact=failed&since=fortnight" in message.body
    assert "http://testserver/digest/" in message.body
    assert "Ada Lovelace" not in message.body
    people = {str(name) for name in course.organization.people.values_list("name", flat=True)}
    assert not {name for name in people if name in message.body}
    digest = GradeDigest.objects.get()
    assert (digest.failures, digest.mails, digest.day) == (4, 1, date(2030, 3, 4))


def test_nothing_is_told_twice(organization, course):
    fails(course, NOON - timedelta(hours=2))
    assert at(NOON) == 1
    assert at(NOON + timedelta(hours=3)) == 0
    assert at(NOON + timedelta(days=1)) == 1
    assert len(mail.outbox) == 1
    fails(course, NOON + timedelta(days=1, hours=1))
    at(NOON + timedelta(days=2))
    assert [message.subject for message in mail.outbox[1:]] == ["Acme: 1 grade did not arrive"]


def test_what_failed_again_is_counted_once_and_what_arrived_not_at_all(organization, course):
    again = fails(course, NOON - timedelta(hours=3))
    with time_machine.travel(NOON - timedelta(hours=1), tick=False):
        tell(again)
    fails(course, NOON - timedelta(hours=2), state="delivered", delivered_at=NOON)
    at(NOON)
    assert [message.subject for message in mail.outbox] == ["Acme: 1 grade did not arrive"]


def test_a_failure_of_the_last_minutes_waits_for_the_next_day(organization, course):
    fails(course, NOON - timedelta(minutes=1))
    at(NOON)
    assert mail.outbox == []
    at(NOON + timedelta(days=1))
    assert len(mail.outbox) == 1


def test_the_first_digest_looks_back_a_day_and_a_late_one_two_weeks(organization, course):
    fails(course, NOON - timedelta(days=2))
    at(NOON)
    assert mail.outbox == []
    fails(course, NOON + timedelta(days=1))
    fails(course, NOON + timedelta(days=30))
    at(NOON + timedelta(days=31))
    assert [message.subject for message in mail.outbox] == ["Acme: 1 grade did not arrive"]


@pytest.mark.parametrize(
    ("zone", "too_early", "in_time", "day"),
    [
        ("UTC", "2030-03-04T06:59Z", "2030-03-04T07:00Z", date(2030, 3, 4)),
        ("Pacific/Auckland", "2030-03-03T17:59Z", "2030-03-03T18:00Z", date(2030, 3, 4)),
        ("America/Los_Angeles", "2030-03-04T14:59Z", "2030-03-04T15:00Z", date(2030, 3, 4)),
    ],
)
def test_it_is_morning_in_the_organizations_time_zone(organization, course, zone, too_early, in_time, day):
    organization.time_zone = zone
    organization.save()
    first, second = (datetime.fromisoformat(moment.replace("Z", "+00:00")) for moment in (too_early, in_time))
    # Yesterday's digest was written there.
    GradeDigest.objects.create(
        organization=organization,
        day=day - timedelta(days=1),
        since=first - timedelta(days=2),
        through=first - timedelta(days=1),
    )
    assert at(first) == 0
    assert at(second) == 1
    assert GradeDigest.objects.latest("day").day == day


@pytest.mark.parametrize("switch", ["grade_digest", "enabled"])
def test_the_organizations_switch(organization, course, switch):
    fails(course, NOON - timedelta(hours=1))
    setattr(organization, switch, False)
    organization.save()
    assert at(NOON) == 0
    assert not GradeDigest.objects.exists()
    assert mail.outbox == []


def test_a_member_who_wants_none_gets_none(organization, course):
    Membership.objects.update(grade_digest=False)
    MembershipFactory(organization=organization, user__email="other@acme.example")
    MembershipFactory(organization=organization, user__email="left@acme.example", user__is_active=False)
    fails(course, NOON - timedelta(hours=1))
    at(NOON)
    assert receivers() == ["other@acme.example"]


def test_teachers_are_told_of_their_own_courses(organization, course):
    other = CourseFactory(organization=organization, name="Advanced")
    user: Any = UserFactory(email="teacher@acme.example")
    MembershipFactory(organization=organization, user=user, role=Membership.Role.TEACHER)
    person = PersonFactory(organization=organization, user=user)
    teaches(course, person=person)
    EnrolmentFactory(course=other, person=person)  # a student there
    MembershipFactory(organization=organization, role=Membership.Role.TEACHER)  # of no course
    teaches(course, state="gone", person__user=UserFactory())
    for one in (course, other):
        fails(one, NOON - timedelta(hours=1))
    at(NOON)
    assert receivers() == ["owner@acme.example", "teacher@acme.example"]
    (message,) = [one for one in mail.outbox if one.to == ["teacher@acme.example"]]
    assert message.subject == "Acme: 1 grade did not arrive"
    assert "Introduction" in message.body
    assert "Advanced" not in message.body
    assert f"http://testserver/courses/{course.pk}/gradebook/?filter=failed" in message.body
    assert "/admin/" not in message.body


def test_a_teacher_of_a_course_where_nothing_failed_gets_no_mail(organization, course):
    teaches(CourseFactory(organization=organization), person__user=UserFactory(email="idle@acme.example"))
    fails(course, NOON - timedelta(hours=1))
    at(NOON)
    assert receivers() == ["owner@acme.example"]


@pytest.mark.parametrize(
    "address", ["a@lms.example, victim@other.example", "a@lms.example\nBcc: victim@other.example", "ä@é..x", "nobody"]
)
def test_what_an_lms_calls_an_address_must_be_one(organization, course, address):
    person: Any = PersonFactory(organization=organization, email=address, email_verified=True)
    installation: Any = InstallationFactory(organization=organization, verified_emails=True)
    LmsAccount.objects.create(installation=installation, person=person, lms_user_id="t")
    teaches(course, person=person)
    fails(course, NOON - timedelta(hours=2))
    at(NOON)
    assert receivers() == ["owner@acme.example"]


def test_a_teacher_from_the_lms_needs_an_address_that_is_vouched_for(organization, course):
    fails(course, NOON - timedelta(hours=1))
    people = {}
    for name, verified in (("yes", True), ("no", False), ("past", True)):
        person: Any = PersonFactory(organization=organization, email=f"{name}@lms.example", email_verified=verified)
        teaches(course, person=person)
        people[name] = person
    installation: Any = course.assignments.get().cells.get().installation
    installation.verified_emails = True
    installation.save()
    for name in ("yes", "no"):
        LmsAccount.objects.create(installation=installation, person=people[name], lms_user_id=name)
    at(NOON)
    assert receivers() == ["owner@acme.example", "yes@lms.example"]
    (message,) = [one for one in mail.outbox if one.to == ["yes@lms.example"]]
    assert "https://lms.example/course/5" in message.body
    assert "http://testserver/courses/" not in message.body
    # With a sign-in of one's own, and without a membership, a course is taught in the LMS all the same.
    people["no"].user = UserFactory(email="no@own.example")
    people["no"].save()
    fails(course, NOON + timedelta(minutes=30))
    at(NOON + timedelta(days=1))
    (message,) = [one for one in mail.outbox if one.to == ["no@own.example"]]
    assert "http://testserver/courses/" not in message.body
    people["no"].enrolments.all().delete()
    people["yes"].refresh_from_db()
    people["yes"].grade_digest = False
    people["yes"].save()
    before = len(mail.outbox)
    fails(course, NOON + timedelta(days=1))
    at(NOON + timedelta(days=2))
    assert [message.to for message in mail.outbox[before:]] == [["owner@acme.example"]]


def test_an_owner_who_teaches_gets_one_mail_or_none(organization, course):
    owner = Membership.objects.get().user
    teaches(course, person=PersonFactory(organization=organization, user=owner))
    fails(course, NOON - timedelta(hours=1))
    at(NOON)
    assert receivers() == ["owner@acme.example"]
    Membership.objects.update(grade_digest=False)
    fails(course, NOON + timedelta(hours=1))
    at(NOON + timedelta(days=1))
    assert receivers() == ["owner@acme.example"]


def test_nobody_is_told_of_another_organization(organization, course):
    foreign: Any = CourseFactory(name="Foreign course")
    MembershipFactory(organization=foreign.organization, user__email="foreign@other.example")
    teaches(course, person__user=UserFactory(email="teacher@acme.example"))
    fails(course, NOON - timedelta(hours=1))
    fails(foreign, NOON - timedelta(hours=1))
    # An event that names a delivery of somebody else's is not believed.
    stray = fails(foreign, NOON - timedelta(hours=1))
    Event.objects.filter(subject__id=str(stray.pk)).update(organization=organization)
    at(NOON)
    assert receivers() == ["foreign@other.example", "owner@acme.example", "teacher@acme.example"]
    for message in mail.outbox:
        assert ("Foreign course" in message.body) == (message.to == ["foreign@other.example"])
        assert "1 grade" in message.subject


def test_a_mail_server_that_is_away_loses_no_digest(organization, course, monkeypatch):
    fails(course, NOON - timedelta(hours=1))

    def refused(self: Any, messages: Any) -> int:
        raise ConnectionRefusedError

    with monkeypatch.context() as patched:
        patched.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", refused)
        assert at(NOON) == 1
    assert Mail.objects.get().last_error == "ConnectionRefusedError"
    assert at(NOON + timedelta(minutes=10)) == 0
    assert receivers() == ["owner@acme.example"]


def test_what_cannot_be_written_leaves_no_row_behind(organization, course, monkeypatch):
    fails(course, NOON - timedelta(hours=1))

    def broken(*args: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched, time_machine.travel(NOON, tick=False):
        patched.setattr("grades.digest.write_mails", broken)
        with pytest.raises(ZeroDivisionError):
            write_digests()
    assert not GradeDigest.objects.exists()
    assert at(NOON) == 1
    assert receivers() == ["owner@acme.example"]


def test_what_goes_wrong_for_one_organization_keeps_no_other_waiting(organization, course):
    fails(course, NOON - timedelta(hours=1))
    for name in ("First", "Last"):
        OrganizationFactory(name=name, time_zone="No/Where")
    with pytest.raises(ZoneInfoNotFoundError):
        at(NOON)
    with time_machine.travel(NOON, tick=False):
        send_due_mails()
    assert receivers() == ["owner@acme.example"]


def test_one_that_has_not_left_when_it_is_switched_off_does_not_leave(organization, course):
    fails(course, NOON - timedelta(hours=1))
    other: Any = MembershipFactory(organization=organization, user__email="other@acme.example")
    with time_machine.travel(NOON, tick=False):
        write_due_digests()
        found = switch_of(switch_token(DigestSwitch("member", other.pk)))
        assert found is not None
        found.turn(False)
        send_due_mails()
    assert receivers() == ["owner@acme.example"]
    fails(course, NOON + timedelta(hours=1))
    with time_machine.travel(NOON + timedelta(days=1), tick=False):
        write_due_digests()
        organization.grade_digest = False
        organization.save()
        assert send_due_mails().unneeded == 1
    assert receivers() == ["owner@acme.example"]


def test_who_comes_second_writes_nothing(organization, course):
    fails(course, NOON - timedelta(hours=1))
    day = NOON.date()
    assert write_digest(organization, day, NOON) is not None
    assert write_digest(organization, day, NOON + timedelta(minutes=1)) is None
    assert (GradeDigest.objects.count(), Mail.objects.count()) == (1, 1)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
def test_two_beats_at_once_write_one_digest(organization, course):
    fails(course, NOON - timedelta(hours=1))
    barrier = threading.Barrier(4)
    written: list[UUID] = []

    def beat() -> None:
        barrier.wait()
        try:
            digest = write_digest(organization, NOON.date(), NOON)
            if digest is not None:
                written.append(digest.pk)
        finally:
            connection.close()

    threads = [threading.Thread(target=beat) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(written) == 1
    assert Mail.objects.count() == 1


def test_beat_asks_for_tasks_that_there_are(settings):
    app.loader.import_default_modules()
    asked = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    assert {"grades.write_digests", "events.send_mails"} <= asked <= set(app.tasks)


def test_the_statements_do_not_grow_with_the_failures(organization, course):
    def statements(count: int, day: int) -> int:
        for _ in range(count):
            fails(course, NOON + timedelta(days=day, hours=-1))
        moment = NOON + timedelta(days=day)
        with time_machine.travel(moment, tick=False), _Counted() as counted:
            assert write_digest(organization, moment.date(), moment) is not None
        return counted.count

    assert statements(1, 0) == statements(12, 1)


class _Counted:
    """Counts the statements of a block."""

    count = 0

    def __enter__(self) -> "_Counted":
        self._wrapper = connection.execute_wrapper(self._note)
        self._wrapper.__enter__()
        return self

    def __exit__(self, *args: object) -> None:
        self._wrapper.__exit__(*args)  # type: ignore[arg-type]

    def _note(self, execute: Any, *args: Any) -> Any:
        self.count += 1
        return execute(*args)
