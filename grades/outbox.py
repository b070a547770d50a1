"""From scores to deliveries: which cells get which version, decided in the score's own transaction."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection

from courses.models import SendGrade
from events.deliveries import Outgoing, cancel_waiting, enqueue
from events.models import Delivery
from grades.models import GradebookCell, Score
from grades.policies import hindrance, percentage_for_lti_1p1, percentage_of, policy_of
from organizations.service_hosts import host_of

KIND = Delivery.Kind.GRADE.value

_ON_ITS_WAY = (Delivery.State.PENDING, Delivery.State.DELIVERED)


def lock_passage(pairs: Iterable[tuple[UUID, UUID]]) -> None:
    """Until the end of this transaction, nobody else records a score or a new cell for these (assignment, person).

    Otherwise a score and the first cell it could go to, written at the same moment, would not see each other, and the
    grade would never be sent. SQLite has one writer anyway.
    """
    if connection.vendor != "postgresql":
        return
    # In order, so that two that lock several cannot wait for each other.
    keys = sorted({_lock_key(assignment_id, person_id) for assignment_id, person_id in pairs})
    if keys:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(key) FROM unnest(%s) AS key", [keys])


def _lock_key(assignment_id: UUID, person_id: UUID) -> int:
    """A 64-bit signed number; two pairs that share one wait for each other once in a blue moon, which does no harm."""
    mixed = assignment_id.int ^ (person_id.int * 0x9E3779B97F4A7C15F39CC0605CEDC835)
    return ((mixed ^ (mixed >> 64)) & 0xFFFFFFFFFFFFFFFF) - (1 << 63)


def enqueue_scores(scores: Sequence[Score], cells: Sequence[GradebookCell], *, cells_are_new: bool = False) -> None:
    """Puts each score that its cells' policies let go into the outbox, and takes back older ones that must not go now.

    All scores are of one organization, with `assignment.course` loaded; `cells` are those of the scores' people and
    assignments. Three statements for any number, one more where a policy is CHANGED. With `cells_are_new` nobody knows
    what is in the cells, whatever was sent there once.
    """
    by_person = {(score.assignment_id, score.person_id): score for score in scores}
    pairs = [
        (by_person[cell.assignment_id, cell.person_id], cell)
        for cell in cells
        if (cell.assignment_id, cell.person_id) in by_person
    ]
    changed = [(s, cell) for s, cell in pairs if policy_of(cell, s.assignment) == SendGrade.CHANGED]
    last_sent = {} if cells_are_new else _last_percentages(changed)
    outgoing: list[Outgoing] = []
    withheld: list[tuple[Score, GradebookCell]] = []
    for score, cell in pairs:
        policy = policy_of(cell, score.assignment)
        percentage = percentage_for(cell, score)
        if percentage is None or hindrance(score, score.assignment, policy) is not None:
            withheld.append((score, cell))
        elif policy != SendGrade.CHANGED or last_sent.get(cell.pk) != percentage:
            outgoing.append(outgoing_of(score, cell, percentage))
    older = [(score, cell) for score, cell in withheld if score.version > 1]
    if older:
        cancel_waiting(
            KIND,
            target_ids={cell.pk for _, cell in older},
            source_ids={score.pk for score, _ in older},
            code="withdrawn",
            words="Not sent any more: the score was changed before it arrived, and the new one is not to be sent yet.",
        )
    enqueue(KIND, outgoing)


def outgoing_of(score: Score, cell: GradebookCell, percentage: Decimal) -> Outgoing:
    """The delivery of this version of a score to a cell. What it carries is fixed now; extra credit is not in it."""
    payload: dict[str, Any] = {
        "percentage": f"{percentage:f}",
        "points": f"{score.points:f}",
        "points_possible": f"{score.assignment.points_possible:f}",
    }
    return Outgoing(
        organization_id=score.assignment.course.organization_id,
        target_id=cell.pk,
        source_id=score.pk,
        sequence=score.version,
        payload=payload,
        host=host_of(cell.outcome_service_url if cell.deployment_id is None else cell.line_items_url),
    )


def percentage_for(cell: GradebookCell, score: Score) -> Decimal | None:
    """What a cell gets of a score, as a fraction: LTI 1.1 takes at most 1, LTI 1.3 what there is (contract §3)."""
    percent = percentage_for_lti_1p1 if cell.deployment_id is None else percentage_of
    return percent(score.points, score.assignment.points_possible)


def percentage_in(delivery: Delivery) -> Decimal:
    """The percentage that a delivery carries, as a fraction."""
    return Decimal(delivery.payload["percentage"])


def _last_percentages(pairs: Sequence[tuple[Score, GradebookCell]]) -> dict[UUID, Decimal | None]:
    """By cell: the percentage that is there or on its way; None where the last try failed and nobody knows.

    The deliveries know it better than the cell, which learns of success only afterwards.
    """
    if not pairs:
        return {}
    last: dict[UUID, Decimal | None] = {cell.pk: cell.last_percentage for _, cell in pairs}
    deliveries = Delivery.objects.filter(
        kind=KIND, target_id__in=last.keys(), source_id__in={score.pk for score, _ in pairs}
    )
    for delivery in deliveries.order_by("sequence"):
        if delivery.state != Delivery.State.SUPERSEDED:
            last[delivery.target_id] = percentage_in(delivery) if delivery.state in _ON_ITS_WAY else None
    return last
