"""A grade as a signed message of LTI 1.1 Basic Outcomes (checklist B)."""

from dataclasses import fields, replace
from decimal import Decimal, InvalidOperation
from html import escape
from uuid import uuid4

from courses.models import Submission
from events.models import Delivery
from events.senders import WAITS_FOR_HOST, WAITS_FOR_KEY, Prepared, Result, Verdict
from grades.feedback import feedback_url
from grades.models import GradebookCell, Score
from grades.under_way import GradeContext, context_of, result_of
from lti.message import OutcomeExtensions
from lti.outbound import OutboundFailed, OutboundRefused, OutboundResponse
from lti.products import Blackboard, Canvas
from lti.redaction import REDACTED
from lti.v1p1.oauth1 import signed_body_headers
from lti.v1p1.outcomes import format_score, judge, replace_result
from organizations.service_hosts import is_allowed, shown_address


def hindered(delivery: Delivery, cell: GradebookCell) -> Result | None:
    """What about key and address keeps this grade from leaving now; needs `cell.installation.organization`."""
    installation = cell.installation
    organization = installation.organization
    key = cell.lti_key
    if not cell.outcome_service_url and cell.lms_user_id:
        words = (
            "The LTI 1.3 deployment that the student came in with was deleted. When the student opens the link again, "
            "the grade can be sent again."
        )
        return Result(Verdict.REFUSED, "deployment_deleted", words)
    if key is None:
        words = (
            "The LTI key that the student came in with was deleted. When the student opens the link again with a key "
            "that is valid, the grade can be sent again."
        )
        return Result(Verdict.REFUSED, "key_deleted", words)
    if not key.enabled:
        words = f"The LTI key {key.consumer_key} is disabled; grades wait until the owner enables it again."
        return Result(Verdict.POSTPONED, WAITS_FOR_KEY, words)
    if not delivery.host:
        words = "The LMS named no valid address for grades. Its administrator should correct its public URL."
        return Result(Verdict.REFUSED, "bad_address", words)
    if not is_allowed(installation, cell.outcome_service_url):
        words = (
            f"Waits for the owner of {organization.name}: “{installation.name}” wants its grades sent to "
            f"{delivery.host}, which is not one of its allowed hosts. The owner can allow it in the LMS installation."
        )
        return Result(Verdict.HELD, WAITS_FOR_HOST, words)
    return None


def takes_comment(cell: GradebookCell) -> bool:
    """Whether the LMS takes a comment as the result's text (B19). To Canvas that would be what the student wrote."""
    return "text" in extensions_of(cell).data_values_accepted and cell.installation.lms != Canvas.name


def takes_link(cell: GradebookCell) -> bool:
    """Whether a grade for this cell carries a link to its public feedback. Needs `assignment.course`."""
    return cell.assignment.course.public_feedback_link and "url" in extensions_of(cell).data_values_accepted


def request(delivery: Delivery, cell: GradebookCell, score: Score, submission: Submission | None) -> Prepared:
    """A fresh message with a fresh nonce, timestamp and signature, for this very try (B14).

    The link is told once for each work handed in: Canvas takes every one for a new attempt.
    """
    submitted_at = submission.submitted_at if submission is not None else None
    number = submission.number if submission is not None else 0
    is_news = cell.submission_sent is None or number > cell.submission_sent
    score.assignment = cell.assignment
    link = feedback_url(score) if is_news and takes_link(cell) else ""
    context = context_of(
        delivery,
        cell,
        message_id=uuid4().hex,
        sourcedid=cell.result_sourcedid,
        submission=number if link else None,
    )
    # A score that LTI 1.3 was to carry may be more than the maximum.
    percentage = min(context.percentage, Decimal(1))
    extensions = extensions_of(cell)
    body = replace_result(
        cell.result_sourcedid,
        percentage,
        message_id=context.message_id,
        total_score=_total_score(delivery, cell, percentage) if extensions.total_score_accepted else None,
        text=_comment_for(cell, score) if takes_comment(cell) else "",
        url=link,
        submitted_at=submitted_at or score.updated_at,
        extensions=extensions,
    )
    key = cell.lti_key
    if key is None:
        raise ValueError("A grade is signed with the key of the launch.")
    secrets = key.secrets_by_use()
    secret = secrets[delivery.refused_signatures % len(secrets)]
    headers = signed_body_headers(cell.outcome_service_url, body, key.consumer_key, secret)
    return Prepared(
        delivery_id=delivery.pk,
        method="POST",
        url=cell.outcome_service_url,
        headers=headers,
        body=body,
        description=f"POST {shown_address(cell.outcome_service_url)}\n"
        f"replaceResult, score {format_score(percentage)}, signed with key {key.consumer_key}",
        context=context,
    )


def judged(context: GradeContext, answer: OutboundResponse | OutboundFailed | OutboundRefused) -> Result:
    """What the answer to a request means."""
    if isinstance(answer, OutboundRefused):
        words = f"The LMS's address for grades may not be called from here: {answer.reason}."
        return Result(Verdict.REFUSED, "address_refused", words)
    if isinstance(answer, OutboundFailed):
        return Result(Verdict.RETRY, f"no_answer_{answer.kind}", f"The LMS did not answer: {answer.reason}.")
    judgement = judge(answer.status, answer.headers, answer.body, message_id=context.message_id)
    result = result_of(judgement)
    return replace(
        result,
        words=_without_sourcedid(result.words, context.sourcedid),
        excerpt=_without_sourcedid(result.excerpt, context.sourcedid),
    )


_EXTENSIONS = {field.name for field in fields(OutcomeExtensions)}


def extensions_of(cell: GradebookCell) -> OutcomeExtensions:
    """What the latest launch advertised (B19 to B21), as `dataclasses.asdict` wrote it into the cell."""
    known = {name: value for name, value in cell.outcome_extensions.items() if name in _EXTENSIONS}
    known["data_values_accepted"] = frozenset(known.get("data_values_accepted") or ())
    return OutcomeExtensions(**known)


def _comment_for(cell: GradebookCell, score: Score) -> str:
    """The comment, once the student may read it; Blackboard shows it as HTML (B19)."""
    comment = score.comment if score.released else ""
    return escape(comment).replace("\n", "<br/>") if cell.installation.lms == Blackboard.name else comment


def _total_score(delivery: Delivery, cell: GradebookCell, percentage: Decimal) -> Decimal:
    """The grade in points (B20). It overrides the percentage, so it is in the LMS's points wherever these are known."""
    try:
        lms_points = Decimal(str(cell.outcome_extensions.get("points_possible", "")))
    except InvalidOperation:
        lms_points = Decimal("NaN")
    if not lms_points.is_finite() or lms_points <= 0:
        return min(Decimal(delivery.payload["points"]), Decimal(delivery.payload["points_possible"]))
    return percentage * lms_points


def _without_sourcedid(text: str, sourcedid: str) -> str:
    for form in (sourcedid, escape(sourcedid), escape(sourcedid, quote=False)):
        if len(form) > 3:
            text = text.replace(form, REDACTED)
    return text
