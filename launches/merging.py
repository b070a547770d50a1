"""Merging two people of one organization: an owner's deed, looked at beforehand, written down, and undone if need be.

What is moved, and how, is joining.py's; the way back is in merge_undoing.py. Nothing merges people by itself (J4).
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.contrib.admin.models import CHANGE, LogEntry
from django.db import transaction
from django.utils import timezone

from courses.models import Assignment, Enrolment, Submission
from grades.models import GradebookCell, Score
from launches.joining import MERGED, Joined, is_later, join, lock_people, send_what_they_hold, work_of
from launches.migration_ledger import Ledger
from launches.models import Launch, Merge
from organizations.models import LmsAccount, Person, User

SHOWN = 50


class CannotMergeError(Exception):
    """Why these two cannot be merged: `str()` says it to the owner."""


@dataclass(frozen=True)
class Enrolled:
    """An enrolment as the preview shows it. `after` is the role that both will have, where the two differ."""

    course: str
    role: str
    last_launch_at: datetime | None
    after: str = ""


@dataclass(frozen=True)
class Side:
    """What one of the two has; of lists at most `SHOWN`, with how many there are in all."""

    person: Person
    accounts: list[LmsAccount]
    account_count: int
    enrolments: list[Enrolled]
    enrolment_count: int
    submissions: int
    scores: int
    launches: int
    cells: int


@dataclass(frozen=True)
class Conflict:
    """An assignment in which both have worked: what stays, and what is set aside."""

    assignment: str
    course: str
    stays: str
    set_aside: str


@dataclass(frozen=True)
class Preview:
    """What merging would do. `trouble` says why it cannot be done, "" if it can."""

    kept: Side
    other: Side
    conflicts: list[Conflict]
    conflict_count: int
    shared_links: int
    trouble: str


def preview_of(kept: Person, other: Person) -> Preview:
    """What the two have, and what would become of it; changes nothing. `kept` is the one who stays.

    Raises ``ValueError`` for one person twice, and for people of two organizations.
    """
    _check_pair(kept, other)
    work = work_of([kept.pk, other.pk])
    both = work.get(kept.pk, set()) & work.get(other.pk, set())
    roles = _roles_afterwards(kept, other)
    of_kept = set(GradebookCell.objects.filter(person=kept).values_list("resource_link_id", flat=True))
    return Preview(
        _side(kept, roles),
        _side(other, roles),
        _conflicts(kept, other, both),
        len(both),
        GradebookCell.objects.filter(person=other, resource_link__in=of_kept).count(),
        _trouble(kept, other),
    )


def merge(kept: Person, other: Person, user: User) -> Merge:
    """Everything that was `other`'s is `kept`'s, all or nothing; the merge is kept so that it can be undone.

    Launches of the two that are under way come first, those that begin meanwhile wait. Raises `CannotMergeError`, and
    ``ValueError`` as `preview_of`; then nothing has changed.
    """
    _check_pair(kept, other)
    ledger, done = Ledger(), Joined(why=MERGED)
    with transaction.atomic():
        there = lock_people([kept.pk, other.pk])
        if len(there) < 2:
            raise CannotMergeError("One of the two is not there any more: somebody else has merged or deleted them.")
        kept, other = there[kept.pk], there[other.pk]
        _check_pair(kept, other)
        trouble = _trouble(kept, other)
        if trouble:
            raise CannotMergeError(trouble)
        other_id, kept_words, other_words = other.pk, words_of(kept), words_of(other)
        join(ledger, done, kept, other)
        send_what_they_hold(done.readdressed, MERGED)
        merged = Merge.objects.create(
            organization_id=kept.organization_id,
            kept_person=kept.pk,
            other_person=other_id,
            kept_words=kept_words,
            other_words=other_words,
            words=done.in_words(),
            applied_by=user,
            applied_at=timezone.now(),
        )
        ledger.save(merged)
        note_in_history(kept, user, f"Merged: {other_words} was taken in ({merged.words}).")
    return merged


def note_in_history(person: Person, user: User, words: str) -> None:
    """Who did what to the person, for the history in the admin. Call it in the transaction of the change."""
    LogEntry.objects.log_actions(user.pk, [person], CHANGE, change_message=words, single_object=True)


def person_now(organization_id: UUID, person_id: UUID) -> UUID:
    """Whom an id means that somebody outside was given: who was taken in is found as the one who stayed.

    A content application that got its person's id before the merge reports the score afterwards, and it must not be
    lost. One statement for whoever was never merged.
    """
    for _ in range(100):
        standing = Merge.objects.filter(organization=organization_id, other_person=person_id, undone_at=None)
        kept = standing.values_list("kept_person", flat=True).first()
        if kept is None:
            break
        person_id = kept
    return person_id


def words_of(person: Person) -> str:
    """Who it is, for the owner: name, address and the LMSs' ids."""
    accounts = person.accounts.select_related("installation").order_by("created_at", "id")[:3]
    ids = [f"{account.installation.name}: {account.lms_user_id[:60]}" for account in accounts]
    return " · ".join(word for word in (person.display_name, person.email, *ids) if word)[:1000]


def _check_pair(kept: Person, other: Person) -> None:
    if kept.pk == other.pk:
        raise ValueError("These are not two people.")
    if kept.organization_id != other.organization_id:
        raise ValueError("The two people belong to different organizations.")


def _trouble(kept: Person, other: Person) -> str:
    if other.user_id is not None and kept.user_id is not None and other.user_id != kept.user_id:
        return "Both sign in directly, as two users. End one of the two sign-ins first."
    standing = Merge.objects.filter(
        organization=kept.organization_id, other_person__in=[kept.pk, other.pk], undone_at=None
    ).first()
    if standing is not None:
        who = kept if standing.other_person == kept.pk else other
        return (
            f"{who.display_name} was taken in by somebody else on {standing.applied_at:%d %b %Y}; only work that was "
            "set aside is left here. Undo that merge first."
        )
    return ""


def _roles_afterwards(kept: Person, other: Person) -> dict[UUID, str]:
    """By course, the role that will count where the two have different ones."""
    of_kept = {row.course_id: row for row in Enrolment.objects.filter(person=kept)}
    shared = Enrolment.objects.filter(person=other, course__in=list(of_kept))
    return {
        row.course_id: Enrolment.Role((row if is_later(row, twin) else twin).role).label
        for row, twin in ((row, of_kept[row.course_id]) for row in shared)
        if row.role != twin.role
    }


def _side(person: Person, roles: dict[UUID, str]) -> Side:
    accounts = LmsAccount.objects.filter(person=person).select_related("installation").order_by("created_at", "id")
    enrolments = Enrolment.objects.filter(person=person).select_related("course").order_by("course__name", "id")
    return Side(
        person,
        list(accounts[:SHOWN]),
        accounts.count(),
        [
            Enrolled(str(row.course), Enrolment.Role(row.role).label, row.last_launch_at, roles.get(row.course_id, ""))
            for row in enrolments[:SHOWN]
        ],
        enrolments.count(),
        Submission.objects.filter(person=person, number__gt=0).count(),
        Score.objects.filter(person=person).count(),
        Launch.objects.filter(person=person, result=Launch.ACCEPTED).count(),
        GradebookCell.objects.filter(person=person).count(),
    )


def _conflicts(kept: Person, other: Person, both: Collection[UUID]) -> list[Conflict]:
    assignments = Assignment.objects.filter(pk__in=both).select_related("course").order_by("course__name", "title")
    shown = list(assignments[:SHOWN])
    scores = {
        (row.assignment_id, row.person_id): row
        for row in Score.objects.filter(assignment__in=shown, person__in=[kept, other])
    }
    work = {
        (row.assignment_id, row.person_id): row
        for row in Submission.objects.filter(assignment__in=shown, person__in=[kept, other])
    }

    def has(assignment: Assignment, person: Person) -> str:
        return _work_words(scores.get((assignment.pk, person.pk)), work.get((assignment.pk, person.pk)))

    return [Conflict(row.title, str(row.course), has(row, kept), has(row, other)) for row in shown]


def _work_words(score: Score | None, work: Submission | None) -> str:
    words = []
    if score is not None:
        words.append(f"{_plain(score.points)} points{'' if score.released else ', not released'}")
    if work is not None and work.number:
        words.append(f"handed in {work.submitted_at:%d %b %Y %H:%M} UTC" if work.submitted_at else "handed in")
    elif work is not None and (work.draft_text or work.draft_url):
        words.append("a draft")
    return ", ".join(words)


def _plain(points: Decimal) -> str:
    return f"{points:f}".rstrip("0").rstrip(".")
