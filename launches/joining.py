"""Making two people one, and letting links and their gradebook cells follow, with every change kept in a ledger."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Q
from django.db.models.fields.reverse_related import ForeignObjectRel

from courses.models import Assignment, Enrolment, ResourceLink, Submission
from events.deliveries import cancel_waiting
from events.log import Actor, EventType, record
from events.models import Delivery
from grades.models import GradebookCell, Score
from grades.outbox import KIND, enqueue_scores, lock_passage
from launches.migration_ledger import Ledger, is_unused
from launches.models import Launch
from organizations.models import LmsAccount, Person

HAS_WORK = Q(number__gt=0) | ~Q(draft_text="") | ~Q(draft_url="") | ~Q(text="") | ~Q(url="")
_JOINED_APART = (LmsAccount, Enrolment, Submission, Score, GradebookCell, Launch)


class Why(NamedTuple):
    """Why grades that wait are taken back: their code, and the words for a cell that goes and for one that stays."""

    code: str
    retired: str
    readdressed: str


MOVED = Why(
    "moved_to_lti_1p3",
    "The link in the LMS was moved to LTI 1.3: the grade goes there by the other way.",
    "Not sent: the gradebook's column belongs to somebody else since the move to LTI 1.3.",
)
MERGED = Why(
    "people_merged",
    "Two people were merged who both had this link: the grade goes there once.",
    "Not sent: the gradebook's column belongs to somebody else since two people were merged, or parted again.",
)


@dataclass
class Joined:
    """What was done, counted, and the cells that hold somebody else's grade now."""

    people: int = 0
    courses: int = 0
    links: int = 0
    scores: int = 0
    submissions: int = 0
    cells: int = 0
    set_aside: int = 0
    readdressed: set[UUID] = field(default_factory=set)
    why: Why = MOVED

    def in_words(self) -> str:
        """One line, e.g. "2 people joined, 1 link opens what it did"."""
        counted = [
            (self.people, "person joined", "people joined"),
            (self.courses, "LMS course connected", "LMS courses connected"),
            (self.links, "link connected", "links connected"),
            (self.scores, "score taken along", "scores taken along"),
            (self.submissions, "submission taken along", "submissions taken along"),
            (self.cells, "gradebook cell taken along", "gradebook cells taken along"),
            (self.set_aside, "piece of work set aside", "pieces of work set aside"),
        ]
        words = [f"{count} {one if count == 1 else many}" for count, one, many in counted if count]
        return ", ".join(words) or "nothing to change"


def lock_people(people: Collection[UUID], links: Collection[UUID] = ()) -> dict[UUID, Person]:
    """Until the end of the transaction, nobody arrives as one of these people, and nobody records a score or a cell of
    theirs or of these links. Call it once, before anything of theirs is written. Returns those who are there.

    Everybody takes these locks in this order: accounts (as a launch and a roster do first), then what grades wait for,
    then people, whom inserted rows refer to. Otherwise two could wait for each other.
    """
    accounts = LmsAccount.objects.filter(person__in=people).order_by("person_id", "id")
    list(accounts.select_for_update().values_list("pk"))
    lock_grades(people, links)
    return {row.pk: row for row in Person.objects.select_for_update().filter(pk__in=people).order_by("pk")}


def lock_grades(people: Collection[UUID], links: Collection[UUID] = ()) -> None:
    """Nobody records a score or a cell of these people and links until the end of the transaction. Call it once: two
    calls could wait for each other."""
    cells = GradebookCell.objects.filter(Q(person__in=people) | Q(resource_link__in=links))
    pairs = set(cells.values_list("assignment_id", "person_id"))
    assignments = {assignment_id for assignment_id, _ in pairs}
    assignments |= set(Score.objects.filter(person__in=people).values_list("assignment_id", flat=True))
    lock_passage(pairs | {(assignment_id, person_id) for assignment_id in assignments for person_id in people})


def work_of(people: Collection[UUID]) -> dict[UUID, set[UUID]]:
    """By person, the assignments in which they have a score, a draft or something handed in."""
    found: dict[UUID, set[UUID]] = {}
    for rows in (Score.objects.all(), Submission.objects.filter(HAS_WORK)):
        for person_id, assignment_id in rows.filter(person__in=people).values_list("person_id", "assignment_id"):
            found.setdefault(person_id, set()).add(assignment_id)
    return found


def join(ledger: Ledger, done: Joined, kept: Person, other: Person) -> None:
    """Everything that was `other`'s is `kept`'s. Call it after `lock_people`.

    In an assignment where both have worked, `kept`'s work stays, and `other`'s is set aside: it stays with `other`,
    who has no account any more. Otherwise `other` is deleted, and comes back by undoing.
    """
    done.people += 1
    ledger.keep(kept)
    _all_of(ledger, LmsAccount, "person_id", kept, other)
    _join_enrolments(ledger, kept, other)
    _join_work(ledger, done, kept, other)
    _join_cells(ledger, done, kept, other)
    for column in ("person_id", "for_person_id"):
        _all_of(ledger, Launch, column, kept, other)
    _join_the_rest(ledger, kept, other)
    if other.user_id is not None and kept.user_id is None:
        user_id = other.user_id
        ledger.update(other, user_id=None)
        ledger.update(kept, user_id=user_id)
    if is_unused(other):
        ledger.delete(other)


def _all_of(ledger: Ledger, model: type[Any], column: str, kept: Person, other: Person) -> None:
    ids = list(model.objects.filter(**{column: other.pk}).order_by().values_list("pk", flat=True))
    ledger.update_all(model, ids, column, other.pk, kept.pk)


def _join_the_rest(ledger: Ledger, kept: Person, other: Person) -> None:
    """What else refers to people, whichever room it is of: one row of each where there may be only one."""
    for relation in Person._meta.get_fields(include_hidden=True):
        if not isinstance(relation, ForeignObjectRel) or relation.related_model in _JOINED_APART:
            continue
        model, name = relation.related_model, relation.field.name
        uniques = [set(one.fields) - {name} for one in model._meta.total_unique_constraints if name in one.fields]
        for row in model._default_manager.filter(**{name: other}):
            twins = model._default_manager.filter(**{name: kept})
            beside = [{field: getattr(row, field) for field in unique} for unique in uniques]
            if any(twins.filter(**same).exists() for same in beside):
                ledger.delete(row)
            else:
                ledger.update(row, **{relation.field.attname: kept.pk})


def _join_enrolments(ledger: Ledger, kept: Person, other: Person) -> None:
    of_kept = {row.course_id: row for row in Enrolment.objects.filter(person=kept)}
    for row in Enrolment.objects.filter(person=other):
        twin = of_kept.get(row.course_id)
        if twin is None:
            ledger.update(row, person_id=kept.pk)
        elif is_later(row, twin):
            # The role that the LMS gave last is the one that counts (A30).
            ledger.delete(twin)
            ledger.keep(row)
            ledger.update(row, person_id=kept.pk)
        else:
            ledger.keep(twin)
            ledger.delete(row)


def is_later(row: Enrolment, twin: Enrolment) -> bool:
    """Whether the LMS said the role of `row` after that of `twin`."""
    if row.last_launch_at is None or twin.last_launch_at is None:
        return row.last_launch_at is not None
    return row.last_launch_at > twin.last_launch_at


def _join_work(ledger: Ledger, done: Joined, kept: Person, other: Person) -> None:
    work = work_of([kept.pk, other.pk])
    both = work.get(kept.pk, set()) & work.get(other.pk, set())
    done.set_aside += len(both)
    opened = {row.assignment_id: row for row in Submission.objects.filter(person=kept)}
    for row in Submission.objects.filter(person=other).exclude(assignment__in=both):
        twin = opened.get(row.assignment_id)
        if twin is not None and row.assignment_id not in work.get(other.pk, set()):
            ledger.delete(row)
            continue
        if twin is not None:
            ledger.delete(twin)
        ledger.update(row, person_id=kept.pk)
        done.submissions += row.number > 0
    scores = list(Score.objects.filter(person=other).exclude(assignment__in=both).values_list("pk", flat=True))
    ledger.update_all(Score, scores, "person_id", other.pk, kept.pk)
    done.scores += len(scores)


def _join_cells(ledger: Ledger, done: Joined, kept: Person, other: Person) -> None:
    of_kept = {row.resource_link_id: row for row in GradebookCell.objects.filter(person=kept)}
    for row in GradebookCell.objects.filter(person=other):
        twin = of_kept.get(row.resource_link_id)
        if twin is not None and twin.updated_at > row.updated_at:
            ledger.keep(twin)
            _retire(ledger, row, done.why)
            done.readdressed.add(twin.pk)
            continue
        if twin is not None:
            _retire(ledger, twin, done.why)
        ledger.update(row, person_id=kept.pk)
        done.readdressed.add(row.pk)
        done.cells += 1


def _retire(ledger: Ledger, cell: GradebookCell, why: Why) -> None:
    """One column of the LMS, one cell: otherwise each grade would arrive there twice."""
    cancel_waiting(KIND, target_ids=[cell.pk], code=why.code, words=why.retired)
    ledger.delete(cell)


def follow_link(
    ledger: Ledger, done: Joined, old: ResourceLink, new: ResourceLink, people: Iterable[UUID] | None = None
) -> None:
    """The cells of the old link (of these people only) are the new link's: the LMS says that both are one.

    A cell goes as it is, and with it what waits to be sent there. Where the person has a cell of the new link for the
    same assignment already, the old one is retired.
    """
    cells = GradebookCell.objects.filter(resource_link=old)
    if people is not None:
        cells = cells.filter(person__in=list(people))
    moving = list(cells)
    taken = {
        row.person_id: row
        for row in GradebookCell.objects.filter(resource_link=new, person__in=[cell.person_id for cell in moving])
    }
    for cell in moving:
        twin = taken.get(cell.person_id)
        if twin is None:
            ledger.update(cell, resource_link_id=new.pk)
            done.cells += 1
        elif twin.assignment_id == cell.assignment_id:
            _retire(ledger, cell, done.why)
            done.readdressed.add(twin.pk)


def open_as(ledger: Ledger, done: Joined, link: ResourceLink, old: ResourceLink, actor: Actor) -> None:
    """An unmapped link opens what the old one opens. Event `link.mapped` where that is an assignment."""
    ledger.update(link, assignment_id=old.assignment_id, course_id=old.course_id)
    done.links += 1
    assignment = old.assignment
    if assignment is not None:
        link.assignment = assignment
        record(
            assignment.course.organization_id,
            EventType.LINK_MAPPED,
            actor=actor,
            subject_kind="resource_link",
            subject_id=link.pk,
            data={"assignment": str(assignment.pk), "course": str(assignment.course_id), "by": "migration"},
        )


def send_what_they_hold(cell_ids: Collection[UUID], why: Why = MOVED) -> None:
    """Each cell is to hold the score of its person: what else waits for it is taken back, and the score is sent unless
    it is there or on its way."""
    cells = list(GradebookCell.objects.filter(pk__in=cell_ids))
    assignments = Assignment.objects.select_related("course").in_bulk({cell.assignment_id for cell in cells})
    scores = {
        (row.assignment_id, row.person_id): row
        for row in Score.objects.filter(assignment__in=assignments, person__in={cell.person_id for cell in cells})
    }
    for cell in cells:
        score = scores.get((cell.assignment_id, cell.person_id))
        cancel_waiting(
            KIND,
            target_ids=[cell.pk],
            except_source_ids=[score.pk] if score else [],
            code=why.code,
            words=why.readdressed,
        )
    there = _latest(cells)
    missing = []
    for cell in cells:
        score = scores.get((cell.assignment_id, cell.person_id))
        if score is not None and there.get(cell.pk) != (score.pk, score.version):
            score.assignment = assignments[score.assignment_id]
            missing.append((score, cell))
    enqueue_scores([score for score, _ in missing], [cell for _, cell in missing], cells_are_new=True)


def _latest(cells: Sequence[GradebookCell]) -> dict[UUID, tuple[UUID, int]]:
    """By cell, the score and version that is on its way, else the one that arrived last."""
    deliveries = Delivery.objects.filter(
        kind=KIND, target_id__in=[cell.pk for cell in cells], state__in=["pending", "delivered"]
    )
    ordered = sorted(deliveries, key=lambda row: (row.delivered_at is None, row.delivered_at or row.created_at))
    return {row.target_id: (row.source_id, row.sequence) for row in ordered}
