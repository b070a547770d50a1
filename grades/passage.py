"""Where each grade stands on its way to the LMS, in plain words."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db.models import F, OuterRef, QuerySet
from django.utils import timezone

from events.models import Delivery
from grades.models import GradebookCell, Score
from grades.outbox import KIND
from grades.policies import Hindrance, hindrance, policy_of


@dataclass(frozen=True, slots=True)
class Passage:
    """One grade's way into one gradebook column.

    `state` is delivered, waiting, sending, held, failed, cancelled, withheld or no_cell. `words` are whole sentences;
    where `at` is set, the last of them ends where the time follows ("In the LMS since", "Next try"), and the page says
    it relative to now. `code` is for programs. `lms_course` is the title of the LMS's course, and may be empty.
    `attempts` is how often it was tried.
    """

    delivery_id: UUID | None
    state: str
    words: str
    can_resend: bool
    at: datetime | None
    lms_course: str
    code: str = ""
    attempts: int = 0

    @property
    def needs_attention(self) -> bool:
        """Whether somebody has to do something about it."""
        return self.state in ("failed", "held")

    @property
    def is_under_way(self) -> bool:
        """Whether it changes by itself, without anybody doing anything."""
        return self.state in ("waiting", "sending")


def newest_deliveries(state: str, score: str = "pk", version: str = "version") -> QuerySet[Delivery]:
    """The deliveries of a score's newest version in this state, for a subquery: `score` and `version` are the outer
    query's fields with the score's id and version."""
    # Not asked for their kind, which the score's id decides: a PostgreSQL that knows nothing of the table yet would
    # take the index that begins with it, and read the whole of it for each score.
    return Delivery.objects.filter(source_id=OuterRef(score), sequence=OuterRef(version), state=state)


def passage_of(scores: Iterable[Score]) -> dict[UUID, list[Passage]]:
    """The passages of each score, by the score's id, one for each gradebook column; never an empty list.

    Two statements for any number of scores (`assignment.course` is best loaded with them).
    """
    scores = list(scores)
    if not scores:
        return {}
    cells: dict[tuple[UUID, UUID], list[GradebookCell]] = defaultdict(list)
    for cell in (
        GradebookCell.objects.filter(
            assignment__in={score.assignment_id for score in scores}, person__in={score.person_id for score in scores}
        )
        # A gradebook has thousands of cells, and its LMS course a few links.
        .only("assignment", "person", "deployment", "send_grade")
        .annotate(
            lms_title=F("resource_link__lms_course__title"),
            lms_label=F("resource_link__lms_course__label"),
        )
    ):
        cells[cell.assignment_id, cell.person_id].append(cell)
    newest: dict[tuple[UUID, UUID], Delivery] = {}
    for delivery in (
        Delivery.objects.filter(kind=KIND, source_id__in=[score.pk for score in scores])
        .defer("organization", "kind", "endpoint", "host", "claimed_until", "created_at", "give_up_at")
        .order_by("sequence")
    ):
        newest[delivery.target_id, delivery.source_id] = delivery
    return {
        score.pk: _passages(score, cells.get((score.assignment_id, score.person_id), []), newest) for score in scores
    }


def _passages(score: Score, cells: Sequence[GradebookCell], newest: dict[tuple[UUID, UUID], Delivery]) -> list[Passage]:
    if not cells:
        code, words = (
            (Hindrance.ENROLL_ONLY.code, Hindrance.ENROLL_ONLY.words)
            if score.assignment.course.enroll_only
            else (
                "no_cell",
                "No gradebook column: this person has not opened the assignment from an LMS that takes grades for it.",
            )
        )
        return [Passage(None, "no_cell", words, can_resend=False, at=None, lms_course="", code=code)]
    return [_passage(score, cell, newest.get((cell.pk, score.pk))) for cell in cells]


def _passage(score: Score, cell: GradebookCell, delivery: Delivery | None) -> Passage:
    title = str(cell.lms_title or cell.lms_label)  # type: ignore[attr-defined] # annotated by passage_of
    hindered = hindrance(score, score.assignment, policy_of(cell, score.assignment))
    if delivery is None or (hindered is not None and delivery.state in _OVER_UNSENT):
        code, words = (
            (hindered.code, hindered.words)
            if hindered is not None
            else ("not_sent", "Not sent yet: it goes to the LMS with the next change of the score.")
        )
        return Passage(None, "withheld", words, can_resend=False, at=None, lms_course=title, code=code)
    state, words, at = way_of(delivery)
    if hindered is not None and state == "delivered" and delivery.sequence < score.version:
        state, words, at = "withheld", f"An earlier grade is in the LMS. {hindered.words}", None
    if state == "delivered" and cell.deployment_id is not None:
        words = f"{_of_more_than_all(delivery)}{words}"
    return Passage(
        delivery.pk,
        state,
        words,
        can_resend=delivery.claim is None and hindered is None,
        at=at,
        lms_course=title,
        code=delivery.last_error_code,
        attempts=delivery.attempts,
    )


def _of_more_than_all(delivery: Delivery) -> str:
    """A word of warning where more than the maximum was sent: some LMSs cut it off (F10)."""
    points, maximum = Decimal(delivery.payload["points"]), Decimal(delivery.payload["points_possible"])
    if points <= maximum:
        return ""
    return (
        f"Sent as {points.normalize():f} of {maximum.normalize():f} points; some LMSs keep no more than the maximum. "
    )


_OVER_UNSENT = (Delivery.State.CANCELLED, Delivery.State.SUPERSEDED)


def way_of(delivery: Delivery) -> tuple[str, str, datetime | None]:
    """State, words and time of a delivery, as a `Passage` has them."""
    if delivery.state == Delivery.State.DELIVERED:
        return "delivered", "In the LMS since", delivery.delivered_at
    if delivery.state == Delivery.State.FAILED:
        return "failed", f"Not in the LMS: {delivery.last_error}", None
    if delivery.state != Delivery.State.PENDING:
        return "cancelled", delivery.last_error or "Not sent.", None
    if delivery.claim is not None:
        return "sending", "On its way to the LMS now.", None
    if delivery.due_at is None:
        return "held", delivery.last_error or "Waits for the organization's owner.", None
    if not delivery.last_error:
        return "waiting", "On its way to the LMS.", None
    if delivery.due_at <= timezone.now():
        return "waiting", f"Waits: {delivery.last_error} The next try is due now.", None
    return "waiting", f"Waits: {delivery.last_error} Next try", delivery.due_at
