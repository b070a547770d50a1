"""Reading an LMS course's roster (NRPS): who wants it, whose turn it is, how it went (G1 to G7).

A wish is a row before anything is queued, as everything that is to be done: a lost wake-up costs a minute, and a worker
that dies costs `LEASE`. One worker at a time reads a roster, however often it is asked for.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Case, Exists, F, IntegerField, OuterRef, Q, QuerySet, When
from django.utils import timezone

from courses.models import Course, Enrolment, LmsCourse, RosterMember, RosterSync
from courses.roster_members import Tally, batches_of, known_members, mark_gone, take_in
from events.waking import knock
from lti.v1p1.outcomes import Judgement, OutcomeVerdict
from lti.v1p3 import vocabulary as names
from lti.v1p3.nrps import MemberStatus, OnPage, Roster, changes, fetch_differences, fetch_roster
from lti.v1p3.services import PlatformServices, ServiceFailed, refused
from organizations.models import Deployment, Installation
from organizations.platforms import may_call, services_of
from organizations.service_hosts import ask_about_host
from organizations.upsert import upsert

logger = structlog.get_logger(__name__)

SYNC_ROSTER = "courses.sync_roster"

# By itself a roster is read at most so often, and only where somebody has launched lately.
INTERVAL = timedelta(hours=1)
LATELY = timedelta(days=14)
# What the LMS refuses (no permission, a deleted course) is not worth an attempt every hour.
REST_AFTER_REFUSAL = timedelta(days=1)
# Lists of differences are trusted for so long; then the whole roster is read again.
WHOLE_EVERY = timedelta(days=1)
TIME_LIMIT = 600.0  # seconds for all pages
# Longer than any reading takes: whoever has it longer is dead.
LEASE = timedelta(minutes=15)
# Asked for where the whole roster is too much for one answer; otherwise the LMS knows best (G3).
PAGE_OF_MEMBERS = 500
RATE_LIMITED = "rate_limited"
HOST_NOT_ALLOWED = "host_not_allowed"
POLL_SECONDS = 0.1


# ------------------------------------------------------------------------------------------------------- wishes


def readable_lms_courses(course: Course) -> QuerySet[LmsCourse]:
    """The LMS courses of a course that have said where their roster is (G1)."""
    return LmsCourse.objects.filter(course=course, deployment__isnull=False).exclude(memberships_url="")


def has_roster(course: Course) -> bool:
    """Whether a roster can be read for the course at all."""
    return readable_lms_courses(course).exists()


def ask_for_roster(lms_course: LmsCourse) -> None:
    """Notes that somebody wants the roster to be read now, and wakes a worker up after commit. Every wish is followed
    by a reading that begins after it; wishes that come while one waits or runs are served together."""
    with transaction.atomic():
        upsert(RosterSync, {"lms_course_id": lms_course.pk}, {}, update=[])
        RosterSync.objects.filter(lms_course=lms_course).update(asked=F("asked") + 1)
        _wake_up(lms_course.pk)


def syncs_when_settled(lms_course_ids: Sequence[UUID], *, seconds: float) -> list[RosterSync]:
    """How the readings of these LMS courses went, once all are over, or how far they are after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        rows = RosterSync.objects.select_related("lms_course").filter(lms_course__in=lms_course_ids).order_by("pk")
        syncs = list(rows)
        if time.monotonic() >= deadline or not any(sync.is_under_way for sync in syncs):
            return syncs
        time.sleep(POLL_SECONDS)


def _wake_up(lms_course_id: UUID, countdown: float | None = None) -> None:
    transaction.on_commit(lambda: knock(countdown, task=SYNC_ROSTER, arguments=(str(lms_course_id),)))


def _wanted(now: datetime) -> Q:
    """The rows whose roster is to be read now, and is not being read by a living worker."""
    rested = Q(rest_until=None) | Q(rest_until__lte=now)
    # A person's wish goes before our own pauses, but not before one that the LMS asked for.
    asked = Q(asked__gt=F("served")) & (rested | ~Q(reason_code=RATE_LIMITED))
    stale = rested & (Q(started_at=None) | Q(started_at__lte=now - INTERVAL))
    abandoned = Q(state=RosterSync.State.RUNNING, started_at__lte=now - LEASE)
    return abandoned | (~Q(state=RosterSync.State.RUNNING) & (asked | stale))


def due_lms_courses(now: datetime, limit: int) -> list[LmsCourse]:
    """LMS courses whose roster is to be read, with their deployment: those that somebody waits for, then by age."""
    syncs = RosterSync.objects.filter(lms_course=OuterRef("pk"))
    launched = Enrolment.objects.filter(course=OuterRef("course"), last_launch_at__gt=now - LATELY)
    in_use = Q(
        course__archived=False,
        course__lti_enabled=True,
        installation__enabled=True,
        installation__organization__enabled=True,
        deployment__state=Deployment.State.APPROVED,
        deployment__registration__enabled=True,
    )
    return list(
        LmsCourse.objects.filter(course__isnull=False, deployment__isnull=False)
        .exclude(memberships_url="")
        .filter(Q(roster_sync__asked__gt=F("roster_sync__served")) | (in_use & Exists(launched)))
        .filter(~Exists(syncs) | Exists(syncs.filter(_wanted(now))))
        .select_related("deployment")
        .annotate(
            turn=Case(
                When(roster_sync__asked__gt=F("roster_sync__served"), then=0), default=1, output_field=IntegerField()
            )
        )
        .order_by("turn", F("roster_sync__started_at").asc(nulls_first=True), "pk")[:limit]
    )


# ------------------------------------------------------------------------------------------------------ reading


def sync_roster(lms_course_id: UUID) -> RosterSync | None:
    """Reads the roster if it is wanted and nobody is at it, and takes it in. Returns how that went, or None.

    HTTP, so never in a transaction. What is known of a roster that could not be read to its end changes nothing (G3).
    """
    claim = _claim(lms_course_id)
    if claim is None:
        return None
    sync, somebody_waits = claim
    lms_course = LmsCourse.objects.select_related(
        "course", "installation", "deployment__installation", "deployment__registration__organization"
    ).get(pk=lms_course_id)
    log = logger.bind(lms_course=str(lms_course_id), organization=str(lms_course.installation.organization_id))
    try:
        course, roster = _read(lms_course, sync, somebody_waits)
        _apply(lms_course, course, sync, roster)
    except ServiceFailed as failure:
        if failure.judgement.reason_code == HOST_NOT_ALLOWED and not may_call_memberships(lms_course):
            ask_about_host(lms_course.installation, lms_course.memberships_url)
        _settle_failure(sync, failure.judgement)
        log.info("roster_not_read", reason=failure.judgement.reason_code)
    except Exception:
        explanation = "Something went wrong on our side. Nobody was marked as gone; it is tried again."
        _settle_failure(sync, Judgement(OutcomeVerdict.RETRY, "internal", explanation))
        raise
    sync.refresh_from_db()
    if sync.asked > sync.served:
        _wake_up(lms_course_id)
    return sync


def may_call_memberships(lms_course: LmsCourse) -> bool:
    """Whether our token may go to the host where the LMS says the roster is (J9)."""
    return lms_course.deployment is None or may_call(lms_course.deployment, lms_course.memberships_url)


def read_what_waited(installation: Installation) -> None:
    """The owner allowed a host: rosters that were not read for want of that are asked for anew."""
    waiting = LmsCourse.objects.filter(installation=installation, roster_sync__reason_code=HOST_NOT_ALLOWED)
    for lms_course in waiting.select_related("deployment__registration", "deployment__installation"):
        if may_call_memberships(lms_course):
            ask_for_roster(lms_course)


def _claim(lms_course_id: UUID) -> tuple[RosterSync, bool] | None:
    """The row, and whether somebody waits for it, when this worker is the one to read: a conditional update, which one
    of several wins."""
    now = timezone.now()
    upsert(RosterSync, {"lms_course_id": lms_course_id}, {}, update=[])
    before = RosterSync.objects.get(lms_course=lms_course_id)
    taken = RosterSync.objects.filter(_wanted(now), pk=before.pk).update(
        state=RosterSync.State.RUNNING, started_at=now, finished_at=None, listed=0, served=F("asked")
    )
    if not taken:
        return None
    return RosterSync.objects.get(pk=before.pk), before.asked > before.served


def _read(lms_course: LmsCourse, sync: RosterSync, somebody_waits: bool) -> tuple[Course, Roster]:
    course, deployment = lms_course.course, lms_course.deployment
    if course is None or deployment is None or not lms_course.memberships_url:
        raise refused("no_roster", "The LMS has not said where the roster of this course is.")
    registration = deployment.registration
    if not (
        registration.is_usable
        and deployment.state == Deployment.State.APPROVED
        and lms_course.installation.enabled
        # A deployment that was moved to another installation names other people by the same ids.
        and deployment.installation_id == lms_course.installation_id
    ):
        raise refused("switched_off", "The connection to this LMS is switched off. The owner can switch it on again.")
    platform = services_of(deployment, (names.SCOPE_MEMBERSHIP,))
    on_page = _progress(sync)
    whole_at = sync.whole_at
    # Who asks for it misses somebody: then the whole is read.
    if sync.differences_url and whole_at and not somebody_waits and timezone.now() - whole_at < WHOLE_EVERY:
        try:
            return course, fetch_differences(platform, sync.differences_url, on_page=on_page)
        except ServiceFailed as failure:
            if failure.judgement.reason_code != "not_found":
                raise
    return course, _read_whole(platform, lms_course.memberships_url, on_page)


def _read_whole(platform: PlatformServices, url: str, on_page: OnPage) -> Roster:
    try:
        return fetch_roster(platform, url, on_page=on_page)
    except ServiceFailed as failure:
        if failure.judgement.reason_code != "answer_too_large":
            raise
    return fetch_roster(platform, url, limit=PAGE_OF_MEMBERS, on_page=on_page)


def _progress(sync: RosterSync) -> Callable[[int], None]:
    deadline = time.monotonic() + TIME_LIMIT

    def on_page(count: int) -> None:
        RosterSync.objects.filter(pk=sync.pk, started_at=sync.started_at).update(listed=count)
        if time.monotonic() > deadline:
            explanation = "The LMS took too long to tell who is in the course; it is tried again later."
            raise ServiceFailed(Judgement(OutcomeVerdict.RETRY, "too_slow", explanation))

    return on_page


# ----------------------------------------------------------------------------------------------------- settling


def _apply(lms_course: LmsCourse, course: Course, sync: RosterSync, roster: Roster) -> None:
    """Takes the roster in; who is gone comes last, so that nobody is before everybody else has been seen."""
    started_at = sync.started_at or timezone.now()
    gone_ids = changes(known_members(lms_course, course), roster).gone
    members = sorted(
        (member for member in roster.members if member.status is MemberStatus.ACTIVE),
        key=lambda member: member.user_id,
    )
    tally = sum((take_in(lms_course, course, batch) for batch in batches_of(members)), Tally())
    present = frozenset(member.user_id for member in members)
    gone = sum(
        mark_gone(lms_course, course, batch, present=present, since=started_at) for batch in batches_of(gone_ids)
    )
    counted = asdict(tally)
    if not roster.is_whole:
        active = RosterMember.objects.filter(lms_course=lms_course, is_active=True).count()
        counted["unchanged"] = max(active - tally.added - tally.returned - tally.updated, 0)
    with transaction.atomic():
        RosterSync.objects.filter(pk=sync.pk, started_at=sync.started_at).update(
            state=RosterSync.State.DONE,
            finished_at=timezone.now(),
            whole_at=started_at if roster.is_whole else sync.whole_at,
            listed=len(roster.members),
            skipped=roster.skipped,
            gone=gone,
            reason_code="",
            explanation="",
            rest_until=None,
            differences_url=roster.differences_url,
            **counted,
        )
        LmsCourse.objects.filter(pk=lms_course.pk).update(roster_synced_at=started_at)
    logger.info("roster_read", lms_course=str(lms_course.pk), whole=roster.is_whole, gone=gone, **counted)


def _settle_failure(sync: RosterSync, judgement: Judgement) -> None:
    now = timezone.now()
    rest: timedelta | None = None
    if judgement.retry_after:
        rest = timedelta(seconds=judgement.retry_after)
    elif judgement.verdict is not OutcomeVerdict.RETRY:
        rest = REST_AFTER_REFUSAL
    RosterSync.objects.filter(pk=sync.pk, started_at=sync.started_at).update(
        state=RosterSync.State.FAILED,
        finished_at=now,
        reason_code=judgement.reason_code[:64],
        explanation=judgement.explanation,
        rest_until=now + rest if rest else None,
    )
