"""A grade under way to the LMS: what its sender remembers of it, whichever version of LTI carries it."""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from events.models import Delivery
from events.senders import Result, Verdict
from grades.models import GradebookCell
from grades.outbox import percentage_in
from lti.v1p1.outcomes import Judgement


@dataclass(frozen=True, slots=True)
class GradeContext:
    """Whose grade it is, and for what. `message_id` and `sourcedid` are of LTI 1.1; `submission` is the number of the
    work's hand-in that Canvas is told about, None where it is told nothing."""

    percentage: Decimal
    cell_id: UUID
    score_id: UUID
    assignment_id: UUID
    course_id: UUID
    person_id: UUID
    installation_id: UUID
    message_id: str = ""
    sourcedid: str = ""
    submission: int | None = None


def context_of(
    delivery: Delivery,
    cell: GradebookCell,
    *,
    message_id: str = "",
    sourcedid: str = "",
    submission: int | None = None,
) -> GradeContext:
    """The context of a delivery to this cell; needs `cell.assignment`."""
    return GradeContext(
        percentage=percentage_in(delivery),
        cell_id=cell.pk,
        score_id=delivery.source_id,
        assignment_id=cell.assignment_id,
        course_id=cell.assignment.course_id,
        person_id=cell.person_id,
        installation_id=cell.installation_id,
        message_id=message_id,
        sourcedid=sourcedid,
        submission=submission,
    )


_VERDICTS = {
    "delivered": Verdict.DELIVERED,
    "retry": Verdict.RETRY,
    "refused": Verdict.REFUSED,
    "unauthorized": Verdict.UNAUTHORIZED,
}
# The longer ones first: they begin with the shorter ones.
_PROMISES = (
    "; the grade is sent again later",
    "; it is sent again with a newer time",
    "; it is tried again later",
    "; it is tried again",
)


def result_of(judgement: Judgement) -> Result:
    """What the outbox is told of a protocol's judgement.

    When the next try is, the delivery itself knows, and after the last one there is none: words promise nothing.
    """
    words = judgement.explanation
    for promise in _PROMISES:
        words = words.replace(promise, "")
    return Result(
        _VERDICTS[judgement.verdict.value], judgement.reason_code, words, judgement.retry_after, judgement.detail
    )
