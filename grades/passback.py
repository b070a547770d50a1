"""The way of a grade to the LMS: what may leave, by which version of LTI, and what is noted when it has arrived."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction

from courses.models import Submission
from events.log import SYSTEM, EventType, event_of, record_many
from events.models import Delivery
from events.senders import (
    WAITS_FOR_INSTALLATION,
    WAITS_FOR_ORGANIZATION,
    Errand,
    Prepared,
    Result,
    Settled,
    Verdict,
)
from events.settling import update_rows
from grades import basic_outcomes, line_items
from grades.models import GradebookCell, Score
from grades.outbox import percentage_in
from grades.policies import hindrance, policy_of
from grades.under_way import GradeContext, context_of
from lti.outbound import OutboundFailed, OutboundRefused, OutboundResponse
from organizations.service_hosts import host_of


class GradeSender:
    """Sends the deliveries of kind "grade": by LTI 1.3 to cells that have a deployment, else by LTI 1.1."""

    def prepare(self, deliveries: Sequence[Delivery]) -> Mapping[UUID, Prepared | Errand | Result]:
        cells = (
            GradebookCell.objects.filter(pk__in={delivery.target_id for delivery in deliveries})
            .select_related("installation__organization", "lti_key", "assignment__course")
            .in_bulk()
        )
        is_any_1p3 = line_items.load_services(cells.values())
        # Comments may be long, and most LMSs have no place for them in LTI 1.1.
        with_comments = is_any_1p3 or any(basic_outcomes.takes_comment(cell) for cell in cells.values())
        scores = (Score.objects.all() if with_comments else Score.objects.defer("comment")).in_bulk(
            {delivery.source_id for delivery in deliveries}
        )
        submissions = _submissions(cells.values())
        prepared: dict[UUID, Prepared | Errand | Result] = {}
        by_lti_1p3: list[line_items.Grade] = []
        for delivery in deliveries:
            cell, score = cells.get(delivery.target_id), scores.get(delivery.source_id)
            # A cell without any id of the LMS was somebody's who was erased.
            if cell is None or score is None or not (cell.result_sourcedid or cell.lms_user_id):
                words = "Not sent: the link, the person or the score is not there any more."
                prepared[delivery.pk] = Result(Verdict.CANCELLED, "gone", words)
                continue
            is_1p3 = cell.deployment_id is not None
            delivery.host = host_of(line_items.service_url(cell) if is_1p3 else cell.outcome_service_url)[:255]
            submission = submissions.get((cell.assignment_id, cell.person_id))
            hindered = _hindered(delivery, cell, score) or (
                line_items.hindered(delivery, cell) if is_1p3 else basic_outcomes.hindered(delivery, cell)
            )
            if hindered is not None:
                prepared[delivery.pk] = hindered
            elif is_1p3:
                by_lti_1p3.append(line_items.Grade(delivery, cell, score, submission))
            else:
                prepared[delivery.pk] = basic_outcomes.request(delivery, cell, score, submission)
        prepared.update(line_items.errands(by_lti_1p3))
        return prepared

    def judge(self, prepared: Prepared, answer: OutboundResponse | OutboundFailed | OutboundRefused) -> Result:
        return basic_outcomes.judged(prepared.context, answer)

    def settled(self, ends: Sequence[Settled]) -> None:
        """The event of each grade that arrived or failed; and what is in the cell now, which CHANGED looks at."""
        record_many(
            event_of(
                end.delivery.organization_id,
                EventType.GRADE_DELIVERED if end.state == Delivery.State.DELIVERED else EventType.GRADE_FAILED,
                actor=SYSTEM,
                subject_kind="delivery",
                subject_id=end.delivery.pk,
                data=_event_data(end),
            )
            for end in ends
        )
        # After the transaction: a launch that points a cell elsewhere locks the cell first and its deliveries then.
        transaction.on_commit(lambda: _note(ends))


def _note(ends: Sequence[Settled]) -> None:
    arrived = [end for end in ends if end.state == Delivery.State.DELIVERED]
    if arrived:
        percentages = [(end.delivery.target_id, percentage_in(end.delivery)) for end in arrived]
        update_rows(GradebookCell, ("id",), ("last_percentage",), percentages)
    told = [(end.delivery.target_id, _submission_in(end)) for end in arrived if _submission_in(end) is not None]
    if told:
        update_rows(GradebookCell, ("id",), ("submission_sent",), told)
    line_items.note_columns(end.learned for end in ends if end.learned is not None)


def _submission_in(end: Settled) -> int | None:
    context: GradeContext | None = end.prepared.context if end.prepared is not None else None
    return None if context is None else context.submission


def _event_data(end: Settled) -> dict[str, Any]:
    delivery = end.delivery
    data: dict[str, Any] = {
        "score": str(delivery.source_id),
        "version": delivery.sequence,
        "percentage": float(percentage_in(delivery) * 100),
        "attempts": delivery.attempts,
    }
    ids = end.prepared.context if end.prepared is not None else _context_of(delivery)
    if ids is not None:
        data |= {
            "assignment": str(ids.assignment_id),
            "person": str(ids.person_id),
            "course": str(ids.course_id),
            "installation": str(ids.installation_id),
        }
    if end.state != Delivery.State.DELIVERED:
        data |= {"code": end.code, "reason": end.words}
    return data


def _context_of(delivery: Delivery) -> GradeContext | None:
    """For the few that failed without being prepared."""
    cell = GradebookCell.objects.select_related("assignment").filter(pk=delivery.target_id).first()
    return None if cell is None else context_of(delivery, cell)


def _hindered(delivery: Delivery, cell: GradebookCell, score: Score) -> Result | None:
    """Why this grade may not leave now, looked at again before every try."""
    assignment, installation = cell.assignment, cell.installation
    organization = installation.organization
    if cell.assignment_id != score.assignment_id:
        words = "Not sent: the link in the LMS opens another assignment now."
        return Result(Verdict.CANCELLED, "link_opens_another_assignment", words)
    if score.version > delivery.sequence or assignment.course.enroll_only:
        hindered = hindrance(score, assignment, policy_of(cell, assignment))
        if hindered is not None:
            return Result(Verdict.CANCELLED, hindered.code, hindered.words)
    if not organization.enabled:
        words = f"{organization.name} is suspended; grades wait until it is enabled again."
        return Result(Verdict.POSTPONED, WAITS_FOR_ORGANIZATION, words)
    if not installation.enabled:
        words = f"The LMS installation “{installation.name}” is disabled; grades wait until its owner enables it again."
        return Result(Verdict.POSTPONED, WAITS_FOR_INSTALLATION, words)
    return None


def _submissions(cells: Iterable[GradebookCell]) -> dict[tuple[UUID, UUID], Submission]:
    """The works by assignment and person, for the cells whose LMS wants to know of them (B19, B21, F6)."""
    asking = [
        cell
        for cell in cells
        if cell.deployment_id is not None
        or cell.outcome_extensions.get("submitted_at_accepted")
        or basic_outcomes.takes_link(cell)
    ]
    if not asking:
        return {}
    submissions = Submission.objects.filter(
        assignment__in={cell.assignment_id for cell in asking}, person__in={cell.person_id for cell in asking}
    )
    return {
        (submission.assignment_id, submission.person_id): submission
        for submission in submissions.only("assignment_id", "person_id", "submitted_at", "number")
    }
