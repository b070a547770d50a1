"""Taking a migration back: everything is as it was, or nothing is done and the owner is told what stands against it."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Model, Q, QuerySet
from django.utils import timezone

from courses.models import LmsCourse, ResourceLink, Submission
from events.deliveries import cancel_waiting
from grades.models import GradebookCell, Score
from grades.outbox import KIND
from launches.joining import HAS_WORK, lock_people, send_what_they_hold
from launches.migration_ledger import (
    ChangedSinceError,
    is_unused,
    rows_of,
    take_back_deletion,
    take_back_update,
)
from launches.models import Launch, LedgerChange, LegacyClaim, Merge, MergeChange, Migration, MigrationChange
from organizations.models import Installation, LmsAccount, Person, User

Kind = LedgerChange.Kind
_SHOWN = 10


class CannotUndoError(Exception):
    """Why a migration or a merge cannot be taken back any more: `reasons`, in words for the owner."""

    def __init__(self, reasons: Iterable[str]) -> None:
        self.reasons = list(reasons)
        super().__init__("; ".join(self.reasons))


def undo(migration: Migration, user: User) -> None:
    """Restores what the migration changed. What was moved goes back as it is now, with what was added to it since.

    A signed claim that is undone is not followed again. Raises `CannotUndoError`, and then nothing has changed: when
    it was undone already, when somebody it joined has worked since in what was not moved (nobody knows which of the
    two it would belong to), or when what it connected was connected to something else since.
    """
    with told_why(), transaction.atomic():
        _undo(migration, user)


@contextmanager
def told_why() -> Iterator[None]:
    """Turns what stands against taking changes back into a `CannotUndoError`."""
    try:
        yield
    except ChangedSinceError as error:
        raise CannotUndoError([_changed_words(error.row)]) from error
    except IntegrityError as error:
        words = "Somebody has opened links by both ways since, so that what was one cannot be parted."
        raise CannotUndoError([words]) from error


def _undo(migration: Migration, user: User) -> None:
    Installation.objects.select_for_update(no_key=True).get(pk=migration.installation_id)
    migration = Migration.objects.select_for_update().get(pk=migration.pk)
    if migration.undone_at is not None:
        raise CannotUndoError(["It was undone already."])
    changes = list(migration.changes.order_by("-position"))
    if not changes:
        raise CannotUndoError(["Somebody it was about was erased since, and with them what they were before."])
    people = _people(changes)
    # People that come back are locked by nobody yet.
    lock_people(people)
    check_nothing_stands_against(changes, migration, migration.installation.organization_id, people)
    send_what_they_hold(take_back(changes))
    Migration.objects.filter(pk=migration.pk).update(undone_at=timezone.now(), undone_by=user)
    if migration.origin == Migration.Origin.CLAIM:
        LegacyClaim.objects.filter(pk__in=migration.claims).update(declined=True)


def _people(changes: Iterable[LedgerChange]) -> set[UUID]:
    """Those who were kept, and have got more accounts or work."""
    return {UUID(change.after["person_id"]) for change in changes if change.after.get("person_id")}


def check_nothing_stands_against(
    changes: Collection[LedgerChange], step: Migration | Merge, organization_id: UUID, people: Collection[UUID]
) -> None:
    """Raises `CannotUndoError` where the changes of a step cannot be taken back, as far as that shows before trying."""
    _check_order(changes, step, organization_id)
    reasons = _work_since(people, changes, step.applied_at)
    if reasons:
        more = len(reasons) - _SHOWN
        raise CannotUndoError(reasons[:_SHOWN] + ([f"And {more} more like this."] if more > 0 else []))


def take_back(changes: Iterable[LedgerChange]) -> set[UUID]:
    """Takes back changes, given in reverse order; the gradebook cells that may hold another grade now."""
    cells: set[UUID] = set()
    for change in changes:
        cells |= _take_back(change)
    return cells


def _check_order(changes: Iterable[LedgerChange], step: Migration | Merge, organization_id: UUID) -> None:
    """What a later migration or merge has changed again is taken back first."""
    touched = {key for change in changes for key in change.rows}
    moves = Migration.objects.filter(installation__organization=organization_id, undone_at=None, id__gt=step.pk)
    merges = Merge.objects.filter(organization=organization_id, undone_at=None, id__gt=step.pk)
    newer: list[tuple[QuerySet[Any], str]] = [
        (MigrationChange.objects.filter(migration__in=moves).select_related("migration"), "migration"),
        (MergeChange.objects.filter(merge__in=merges).select_related("merge"), "merge"),
    ]
    for later, name in newer:
        for change in later.exclude(kind=Kind.CREATED).iterator():
            # Accounts and the like are changed once; a launch row is only carried along.
            if change.model != Launch._meta.label_lower and touched & set(change.rows):
                at = getattr(change, name).applied_at
                what = "the merge" if name == "merge" else "what was done"
                raise CannotUndoError([f"Undo first {what} on {at:%d %b %Y %H:%M} UTC."])


def _work_since(people: Iterable[UUID], changes: Iterable[LedgerChange], since: datetime) -> list[str]:
    moved = {UUID(key) for change in changes if change.kind == Kind.UPDATED for key in change.rows}
    names = Person.objects.in_bulk(list(people))
    scores = Score.objects.filter(person__in=names, updated_at__gt=since)
    work = Submission.objects.filter(HAS_WORK, person__in=names).filter(
        Q(submitted_at__gt=since) | Q(draft_saved_at__gt=since)
    )
    found = [(row.person_id, f"has worked in “{row.assignment}” since") for row in _unmoved(work, moved)]
    found += [(row.person_id, f"has been graded in “{row.assignment}” since") for row in _unmoved(scores, moved)]
    return [f"{names[person_id].display_name} {words}." for person_id, words in found]


def _unmoved(rows: QuerySet[Any], moved: set[UUID]) -> list[Any]:
    return [row for row in rows.select_related("assignment").order_by("person__name", "id") if row.pk not in moved]


def _take_back(change: LedgerChange) -> set[UUID]:
    """Takes back one change; the gradebook cells that may hold another grade now."""
    if change.kind == Kind.UPDATED:
        take_back_update(change)
        return {row.pk for row in rows_of(change) if isinstance(row, GradebookCell)}
    if change.kind == Kind.DELETED:
        row = take_back_deletion(change)
        return {row.pk} if isinstance(row, GradebookCell) else set()
    for row in rows_of(change):
        _take_back_created(row)
    return set()


def _take_back_created(row: Model) -> None:
    if isinstance(row, LmsAccount):
        _part_cells(row)
        row.delete()
    elif is_unused(row):
        row.delete()


def _part_cells(account: LmsAccount) -> None:
    """What LTI 1.3 launches of this account made of the person's cells: those known from LTI 1.1 are so again."""
    cells = GradebookCell.objects.filter(
        person=account.person_id, installation=account.installation_id, lms_user_id=account.lms_user_id
    )
    cells.exclude(result_sourcedid="").update(deployment=None, lms_user_id="", line_items_url="", scopes=[])
    fresh = list(cells.filter(result_sourcedid="").values_list("pk", flat=True))
    cancel_waiting(KIND, target_ids=fresh, code="migration_undone", words="Not sent: the move to LTI 1.3 was undone.")
    GradebookCell.objects.filter(pk__in=fresh).delete()


def _changed_words(row: Model) -> str:
    if isinstance(row, ResourceLink | LmsCourse):
        return f"“{row}” was connected to something else since."
    if isinstance(row, GradebookCell):
        return f"The gradebook cell of {row.person} belongs to another link or person since."
    if isinstance(row, LmsAccount):
        return f"The account {row.lms_user_id} belongs to somebody else since."
    return f"“{row}” was changed since."
