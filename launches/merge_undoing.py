"""Parting two people whom a merge had made one: what was moved goes back, what either brought since is sorted out."""

from collections.abc import Collection
from dataclasses import dataclass, field
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from courses.models import Enrolment, Participation
from events.deliveries import cancel_waiting
from grades.models import GradebookCell
from grades.outbox import KIND
from launches.joining import MERGED, lock_people, send_what_they_hold
from launches.merging import note_in_history
from launches.migration_undoing import CannotUndoError, check_nothing_stands_against, take_back, told_why
from launches.models import Launch, Merge
from organizations.models import LmsAccount, Person, User


@dataclass
class Parted:
    """How what came since was sorted: `moved` is the one's who is back, `forgotten` is learnt anew when they launch."""

    moved: int = 0
    forgotten: int = 0
    readdressed: set[UUID] = field(default_factory=set)


def undo_merge(merge: Merge, user: User) -> Parted:
    """Makes the two people again what they were. Work that was moved goes back with what was added to it since.

    Of what launches have brought since, each gets what came from an LMS that only they come from. Where both come from
    one LMS nobody knows whose it is: open pages are closed, and enrolments and gradebook cells go until the next launch
    tells. Raises `CannotUndoError`, and then nothing has changed: when it was undone already, when one of the two was
    erased, deleted or merged again since, or when the one who stayed has worked since in what had not been moved.
    """
    with told_why(), transaction.atomic():
        there = lock_people([merge.kept_person, merge.other_person])
        merge = Merge.objects.select_for_update().get(pk=merge.pk)
        if merge.undone_at is not None:
            raise CannotUndoError(["It was undone already."])
        if merge.erased_at is not None:
            raise CannotUndoError(["One of the two was erased since, and with them what they were before."])
        changes = list(merge.changes.order_by("-position"))
        check_nothing_stands_against(changes, merge, merge.organization_id, list(there))
        if merge.kept_person not in there:
            raise CannotUndoError([f"{merge.kept_words} is not there any more."])
        cells = take_back(changes)
        kept, other = _both(merge)
        parted = _part(merge, kept, other)
        send_what_they_hold(cells | parted.readdressed, MERGED)
        Merge.objects.filter(pk=merge.pk).update(undone_at=timezone.now(), undone_by=user)
        note_in_history(kept, user, f"Merge undone: {merge.other_words} is somebody else again.")
        note_in_history(other, user, f"Merge undone: somebody else than {merge.kept_words} again.")
    return parted


def _both(merge: Merge) -> tuple[Person, Person]:
    there = Person.objects.in_bulk([merge.kept_person, merge.other_person])
    if len(there) < 2:
        raise CannotUndoError(["The organization of the two is not there any more."])
    return there[merge.kept_person], there[merge.other_person]


def _part(merge: Merge, kept: Person, other: Person) -> Parted:
    """Sorts out what has come to `kept` since. Ids grow with time, and the merge had its own when nobody else could
    write for the two."""
    parted = Parted()
    of_kept, of_other = _lms_ids(kept), _lms_ids(other)
    theirs, unclear = of_other.keys() - of_kept.keys(), of_other.keys() & of_kept.keys()
    came_from: dict[UUID | None, set[UUID | None]] = {}
    launches = Launch.objects.filter(person=kept, pk__gt=merge.pk)
    for course_id, installation_id in launches.order_by().values_list("course", "installation").distinct():
        came_from.setdefault(course_id, set()).add(installation_id)
    _part_enrolments(parted, merge, kept, other, came_from, theirs, unclear)
    _part_participations(parted, merge, kept, other, theirs, unclear)
    _part_cells(parted, merge, kept, other, (of_kept, of_other))
    launches.filter(installation__in=unclear).update(browser="", ticket_used_at=timezone.now())
    launches.filter(installation__in=theirs).update(person=other)
    return parted


def _lms_ids(person: Person) -> dict[UUID, set[str]]:
    """By installation, who the person is there."""
    found: dict[UUID, set[str]] = {}
    for installation_id, user_id in LmsAccount.objects.filter(person=person).values_list("installation", "lms_user_id"):
        found.setdefault(installation_id, set()).add(user_id)
    return found


def _part_enrolments(
    parted: Parted,
    merge: Merge,
    kept: Person,
    other: Person,
    came_from: dict[UUID | None, set[UUID | None]],
    theirs: Collection[UUID],
    unclear: Collection[UUID],
) -> None:
    has = set(Enrolment.objects.filter(person=other).values_list("course", flat=True))
    for row in Enrolment.objects.filter(person=kept, pk__gt=merge.pk):
        sources = came_from.get(row.course_id, set())
        if sources and sources <= set(theirs) and row.course_id not in has:
            row.person = other
            row.save(update_fields=["person"])
            parted.moved += 1
        elif sources & set(unclear):
            # A role stays with nobody who may not have it (design §2 promise 4).
            row.delete()
            parted.forgotten += 1


def _part_participations(
    parted: Parted, merge: Merge, kept: Person, other: Person, theirs: Collection[UUID], unclear: Collection[UUID]
) -> None:
    since = Participation.objects.filter(person=kept, pk__gt=merge.pk)
    has = Participation.objects.filter(person=other).values("lms_course")
    since.filter(lms_course__installation__in=unclear).delete()
    moving = since.filter(lms_course__installation__in=theirs).exclude(lms_course__in=has)
    Participation.objects.filter(pk__in=list(moving.values_list("pk", flat=True))).update(person=other)


def _part_cells(
    parted: Parted, merge: Merge, kept: Person, other: Person, ids: tuple[dict[UUID, set[str]], dict[UUID, set[str]]]
) -> None:
    of_kept, of_other = ids
    taken = set(GradebookCell.objects.filter(person=other).values_list("resource_link", flat=True))
    for cell in GradebookCell.objects.filter(person=kept, pk__gt=merge.pk):
        mine, theirs = of_kept.get(cell.installation_id, set()), of_other.get(cell.installation_id, set())
        if cell.lms_user_id:
            is_other, is_clear = cell.lms_user_id in theirs, cell.lms_user_id in mine | theirs
        else:
            # LTI 1.1 does not say whose the sourcedid is.
            is_other, is_clear = bool(theirs), not (mine and theirs)
        if is_clear and not is_other:
            continue
        if is_clear and cell.resource_link_id not in taken:
            cell.person = other
            cell.save(update_fields=["person"])
            parted.readdressed.add(cell.pk)
            parted.moved += 1
            continue
        words = "Not sent: two people were parted again who both come from this LMS; the next launch tells whose it is."
        cancel_waiting(KIND, target_ids=[cell.pk], code="merge_undone", words=words)
        cell.delete()
        parted.forgotten += 1
