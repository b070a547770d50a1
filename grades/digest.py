"""The daily digest of grades that did not arrive, to owners and to the teachers of the courses; it names nobody.

What failed is read from the event log, so that nothing is told twice; what has arrived since is left out. Whoever
inserts the day's row writes the mails, in one transaction; sending them is the business of events/mails.py.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Exists, Max, OuterRef, Subquery, UUIDField
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone

from courses.models import Course, Enrolment
from events.log import EventType
from events.mails import Letter, write_mails
from events.models import Delivery, Event, Mail
from events.overview import reason_in
from grades.digest_switch import DigestSwitch, switch_url
from grades.models import GradebookCell, GradeDigest
from organizations.identifiers import first_uuid7_of
from organizations.models import LmsAccount, Membership, Organization
from organizations.overview import affected_words
from organizations.own_sign_in import mail_address_of

logger = structlog.get_logger(__name__)

# From this hour of the organization's day on; a worker that was away at seven writes it later on the same day.
HOUR = 7
# An event's id is older than its commit: what may still be on its way to the log is left to the next day.
MARGIN = timedelta(minutes=5)
# The first digest tells of a day, and one after a long pause of no more than this.
FIRST_LOOKS_BACK = timedelta(days=1)
LOOKS_BACK = timedelta(days=14)
COURSES_NAMED = 30
_BATCH = 1000


@dataclass(frozen=True)
class Failure:
    """A grade that has failed and has not arrived since. Course and person are those of its gradebook cell."""

    reason: str
    course_id: UUID | None
    person_id: UUID | None


@dataclass
class Receiver:
    """Who gets a mail, and of which courses (None: of all). Only members open the courses' pages without the LMS."""

    address: str
    switch: DigestSwitch
    is_member: bool
    course_ids: set[UUID] | None = field(default_factory=set)


def write_due_digests() -> int:
    """Writes the digest of every organization whose day has come to it. Returns how many were written.

    What goes wrong for one keeps no other from its own: it is raised when all have had their turn.
    """
    now = timezone.now()
    rows = Organization.objects.filter(enabled=True, grade_digest=True).annotate(last_day=Max("grade_digests__day"))
    written = 0
    errors: list[Exception] = []
    for organization in rows.iterator(chunk_size=500):
        try:
            local = now.astimezone(ZoneInfo(organization.time_zone))
            if local.hour >= HOUR and (organization.last_day is None or organization.last_day < local.date()):
                written += write_digest(organization, local.date(), now) is not None
        except Exception as error:
            logger.exception("digest_not_written", organization_id=str(organization.pk))
            errors.append(error)
    if errors:
        raise errors[0]
    return written


def write_digest(organization: Organization, day: date, now: datetime) -> GradeDigest | None:
    """Writes the day's row and the mails of it, where something new has failed. None: somebody else wrote the row.

    One row a day and organization: who comes second finds it there, and writes nothing.
    """
    last = GradeDigest.objects.filter(organization=organization).order_by("-through").first()
    through = now - MARGIN
    since = max(last.through if last else through - FIRST_LOOKS_BACK, through - LOOKS_BACK)
    failures = list(_failures(organization, since, through)) if since < through else []
    digest = GradeDigest(
        organization=organization, day=day, since=since, through=max(since, through), failures=len(failures)
    )
    letters = list(_letters(digest, failures)) if failures else []
    digest.mails = len(letters)
    try:
        with transaction.atomic():
            digest.save(force_insert=True)
            write_mails(organization, letters)
    except IntegrityError:
        if not GradeDigest.objects.filter(organization=organization, day=day).exists():
            raise
        return None
    if letters:
        logger.info("digest_written", organization_id=str(organization.pk), failures=len(failures), mails=len(letters))
    return digest


def _failures(organization: Organization, since: datetime, through: datetime) -> Iterator[Failure]:
    """What failed in this time and is still failed; each grade once."""
    events = Event.objects.filter(
        organization=organization,
        type=EventType.GRADE_FAILED,
        id__gte=first_uuid7_of(since),
        id__lt=first_uuid7_of(through),
    )
    failed = {UUID(subject["id"]) for subject in events.values_list("subject", flat=True).iterator(chunk_size=2000)}
    ordered = sorted(failed)
    cell = GradebookCell.objects.filter(pk=OuterRef("target_id"))
    for start in range(0, len(ordered), _BATCH):
        rows = Delivery.objects.filter(
            pk__in=ordered[start : start + _BATCH],
            organization=organization,
            kind=Delivery.Kind.GRADE,
            state=Delivery.State.FAILED,
        ).annotate(
            course_id=Subquery(cell.values("assignment__course")[:1], output_field=UUIDField()),
            person_id=Subquery(cell.values("person")[:1], output_field=UUIDField()),
        )
        for words, course_id, person_id in rows.values_list("last_error", "course_id", "person_id"):
            yield Failure(reason_in(words) or "No reason was noted.", course_id, person_id)


def receivers(organization: Organization, course_ids: Sequence[UUID]) -> list[Receiver]:
    """Who is told of failures in these courses: the owners of all, and the teachers of each, once for each address.

    A teacher is somebody with that role in the course, from the LMS. The address is that of their own sign-in; who has
    none is written to only where an LMS gave the address whose addresses the owner vouched for.
    """
    members = list(organization.memberships.filter(user__is_active=True).select_related("user"))
    found = {
        member.user.email.lower(): Receiver(member.user.email, DigestSwitch("member", member.pk), True, None)
        for member in members
        if member.role == Membership.Role.OWNER and member.grade_digest
    }
    # An owner who wants no digest gets none as a teacher either.
    without = {
        member.user.email.lower()
        for member in members
        if not member.grade_digest or member.role == Membership.Role.OWNER
    }
    membership_of = {member.user_id: member for member in members}
    for enrolment in _teachers(organization, course_ids):
        person, user = enrolment.person, enrolment.person.user
        member = membership_of.get(user.pk) if user is not None else None
        if user is not None and user.is_active:
            address = user.email
        elif person.email_verified and enrolment.is_vouched_for:  # type: ignore[attr-defined]
            address = mail_address_of(person)
        else:
            continue
        if not address or address.lower() in without or (member is None and not person.grade_digest):
            continue
        switch = DigestSwitch("member", member.pk) if member else DigestSwitch("person", person.pk)
        receiver = found.setdefault(address.lower(), Receiver(address, switch, member is not None))
        if receiver.course_ids is not None:
            receiver.course_ids.add(enrolment.course_id)
    return list(found.values())


def _teachers(organization: Organization, course_ids: Sequence[UUID]) -> list[Enrolment]:
    vouched_for = LmsAccount.objects.filter(
        person=OuterRef("person"), installation__verified_emails=True, installation__enabled=True
    )
    return list(
        Enrolment.objects.filter(
            course__in=course_ids,
            course__organization=organization,
            role=Enrolment.Role.TEACHER,
            state=Enrolment.State.ACTIVE,
        )
        .annotate(is_vouched_for=Exists(vouched_for))
        .select_related("person__user")
        .order_by("pk")
    )


def _letters(digest: GradeDigest, failures: Sequence[Failure]) -> Iterator[Letter]:
    by_course: dict[UUID | None, list[Failure]] = defaultdict(list)
    for failure in failures:
        by_course[failure.course_id].append(failure)
    courses = Course.objects.filter(organization=digest.organization_id).in_bulk([pk for pk in by_course if pk])
    for receiver in receivers(digest.organization, list(courses)):
        theirs = [
            failure
            for course_id, some in by_course.items()
            if receiver.course_ids is None or course_id in receiver.course_ids
            for failure in some
        ]
        if theirs:
            yield _letter(digest, receiver, theirs, courses)


@dataclass(frozen=True)
class Line:
    """A course with what failed in it, and where it is looked after."""

    name: str
    words: str
    url: str


def _letter(
    digest: GradeDigest, receiver: Receiver, failures: Sequence[Failure], courses: dict[UUID, Course]
) -> Letter:
    organization = digest.organization
    zone = ZoneInfo(organization.time_zone)
    counts = Counter(failure.course_id for failure in failures)
    lines = [
        _line(courses[pk], [one for one in failures if one.course_id == pk], receiver)
        for pk, _ in counts.most_common()
        if pk in courses
    ]
    total = len(failures)
    words = "1 grade" if total == 1 else f"{total} grades"
    stop_url = switch_url(receiver.switch)
    context = {
        "organization": organization,
        "words": words,
        "one": total == 1,
        "since": f"{digest.since.astimezone(zone):%d %B %Y, %H:%M} ({organization.time_zone})",
        "lines": lines[:COURSES_NAMED],
        "more": max(len(lines) - COURSES_NAMED, 0),
        "reasons": [(count, reason) for reason, count in Counter(one.reason for one in failures).most_common(10)],
        "is_owner": receiver.course_ids is None,
        "is_member": receiver.is_member,
        "deliveries_url": f"{settings.BASE_URL}{reverse('admin:events_delivery_changelist')}"
        "?kind__exact=grade&state__exact=failed&since=fortnight",
        "stop_url": stop_url,
    }
    return Letter(
        Mail.Kind.GRADE_DIGEST,
        digest.pk,
        digest.day.isoformat(),
        receiver.address,
        f"{organization.name}: {words} did not arrive",
        render_to_string("grades/digest.txt", context),
        stop_url,
    )


def _line(course: Course, failures: Sequence[Failure], receiver: Receiver) -> Line:
    people = len({failure.person_id for failure in failures if failure.person_id})
    count = "1 grade" if len(failures) == 1 else f"{len(failures)} grades"
    words = f"{count}, {affected_words(people, 0)}" if people else count
    gradebook = f"{settings.BASE_URL}{reverse('course-gradebook', args=[course.pk])}?filter=failed"
    url = gradebook if receiver.is_member else course.lms_course_url
    return Line(" ".join(course.name.split()), words, url)
