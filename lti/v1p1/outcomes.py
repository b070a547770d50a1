"""Basic Outcomes 1.1: a score to the LMS and its answer understood (LTI Basic Outcomes §4, requirements B1 to B22)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring
from lxml import etree

from lti.message import OutcomeExtensions
from lti.redaction import redact
from lti.retry_after import retry_after
from lti.texts import legal_in_xml, single_line, truncated

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

NAMESPACE = "http://www.imsglobal.org/services/ltiv1p1/xsd/imsoms_v1p0"
BODY_LIMIT = 256 * 1024
COMMENT_LIMIT = 1500
_DETAIL_LIMIT = 500

_NONE: Mapping[str, str] = MappingProxyType({})


class UnreadableResponse(Exception):
    """What came is no Basic Outcomes message; ``reason`` says why in a phrase."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


# ---------------------------------------------------------------------------------------------------- requests


def format_score(score: Decimal) -> str:
    """A score as the LMS wants it: plain decimal from 0 to 1, a dot, no exponent, at most ten places (B6).

    Raises ``ValueError`` for NaN and for what is out of range.
    """
    if not score.is_finite() or not 0 <= score <= 1:
        msg = "a score is from 0 to 1"
        raise ValueError(msg)
    return _plain(score)


def _plain(number: Decimal) -> str:
    text = f"{number:.10f}".rstrip("0").rstrip(".")
    return "0" if text in {"", "-0"} else text


def replace_result(
    sourcedid: str,
    score: Decimal,
    *,
    message_id: str,
    total_score: Decimal | None = None,
    text: str = "",
    url: str = "",
    lti_launch_url: str = "",
    submitted_at: datetime | None = None,
    prioritize_non_tool_grade: bool = False,
    needs_additional_review: bool = False,
    extensions: OutcomeExtensions | None = None,
    now: datetime | None = None,
) -> bytes:
    """The message that sets a result (B4 to B7).

    What is no part of the standard is sent only where ``extensions`` says that the LMS takes it (B19 to B21), and of
    ``lti_launch_url``, ``url`` and ``text`` only the first one that it takes. ``total_score`` is in points.
    ``submitted_at`` must be aware and is never sent later than ``now``. Raises ``ValueError`` for a bad score.
    """
    extensions = extensions or OutcomeExtensions()
    envelope, request = _request("replaceResultRequest", message_id)
    _add_submission_details(
        request,
        extensions,
        submitted_at=submitted_at,
        prioritize_non_tool_grade=prioritize_non_tool_grade,
        needs_additional_review=needs_additional_review,
        now=now or datetime.now(UTC),
    )
    record = _add_record(request, sourcedid)
    result = _add(record, "result")
    _add_language_text(result, "resultScore", format_score(score))
    if total_score is not None and extensions.total_score_accepted:
        if not total_score.is_finite() or total_score < 0:
            msg = "a total score is not negative"
            raise ValueError(msg)
        _add_language_text(result, "resultTotalScore", _plain(total_score))
    name, value = _result_data(extensions.data_values_accepted, text=text, url=url, lti_launch_url=lti_launch_url)
    if name:
        _add(_add(result, "resultData"), name, value)
    return _serialised(envelope)


def read_result(sourcedid: str, *, message_id: str) -> bytes:
    """The message that asks for a result (B8)."""
    envelope, request = _request("readResultRequest", message_id)
    _add_record(request, sourcedid)
    return _serialised(envelope)


def delete_result(sourcedid: str, *, message_id: str) -> bytes:
    """The message that takes a result away (B8)."""
    envelope, request = _request("deleteResultRequest", message_id)
    _add_record(request, sourcedid)
    return _serialised(envelope)


def _result_data(accepted: frozenset[str], *, text: str, url: str, lti_launch_url: str) -> tuple[str, str]:
    # Canvas advertises "url,text" and takes ltiLaunchUrl along with url.
    if lti_launch_url and accepted & {"url", "ltiLaunchUrl", "lti_launch_url"}:
        return "ltiLaunchUrl", lti_launch_url
    if url and "url" in accepted:
        return "url", url
    if text and "text" in accepted:
        return "text", truncated(text, COMMENT_LIMIT)
    return "", ""


def _add_submission_details(
    request: etree._Element,
    extensions: OutcomeExtensions,
    *,
    submitted_at: datetime | None,
    prioritize_non_tool_grade: bool,
    needs_additional_review: bool,
    now: datetime,
) -> None:
    wanted: list[tuple[str, str]] = []
    if submitted_at is not None and extensions.submitted_at_accepted:
        if submitted_at.tzinfo is None:
            msg = "submitted_at needs a time zone"
            raise ValueError(msg)
        # Canvas refuses a time more than a minute ahead (timestamp_in_future).
        moment = min(submitted_at, now).astimezone(UTC).isoformat(timespec="milliseconds")
        wanted.append(("submittedAt", moment.replace("+00:00", "Z")))
    if prioritize_non_tool_grade and extensions.prioritize_non_tool_grade_accepted:
        wanted.append(("prioritizeNonToolGrade", "true"))
    if needs_additional_review and extensions.needs_additional_review_accepted:
        wanted.append(("needsAdditionalReview", "true"))
    if wanted:
        details = _add(request, "submissionDetails")
        for name, value in wanted:
            _add(details, name, value)


def _add(parent: etree._Element, name: str, text: str | None = None) -> etree._Element:
    element = etree.SubElement(parent, f"{{{NAMESPACE}}}{name}")
    if text is not None:
        element.text = legal_in_xml(text)
    return element


def _add_language_text(parent: etree._Element, name: str, text: str) -> None:
    element = _add(parent, name)
    _add(element, "language", "en")
    _add(element, "textString", text)


def _add_record(request: etree._Element, sourcedid: str) -> etree._Element:
    record = _add(request, "resultRecord")
    _add(_add(record, "sourcedGUID"), "sourcedId", sourcedid)
    return record


def _request(operation: str, message_id: str) -> tuple[etree._Element, etree._Element]:
    envelope = etree.Element(f"{{{NAMESPACE}}}imsx_POXEnvelopeRequest", nsmap={None: NAMESPACE})  # type: ignore[dict-item]  # the stubs forget None
    info = _add(_add(envelope, "imsx_POXHeader"), "imsx_POXRequestHeaderInfo")
    _add(info, "imsx_version", "V1.0")
    _add(info, "imsx_messageIdentifier", message_id)
    return envelope, _add(_add(envelope, "imsx_POXBody"), operation)


def _serialised(envelope: etree._Element) -> bytes:
    return etree.tostring(envelope, xml_declaration=True, encoding="UTF-8")


# --------------------------------------------------------------------------------------------- the LMS's side


@dataclass(frozen=True)
class OutcomeRequest:
    """A request as an LMS reads it; ``operation`` such as ``replaceResult``; ``score`` ``None`` when there is none
    or it is no number, ``score_text`` as sent."""

    operation: str
    message_id: str
    sourcedid: str
    score: Decimal | None
    score_text: str = ""


def parse_request(body: bytes) -> OutcomeRequest:
    """Read a request (for an LMS, such as the demo). Raises ``UnreadableResponse``."""
    root = _parsed(body)
    holder = _first(root, "imsx_POXBody")
    if holder is None or len(holder) == 0:
        raise UnreadableResponse("no operation in the body")
    operation = _local_name(holder[0]).removesuffix("Request")
    score = _first(holder, "resultScore")
    score_text = "" if score is None else _text(score, "textString")
    return OutcomeRequest(
        operation=operation,
        message_id=_text(root, "imsx_messageIdentifier"),
        sourcedid=_text(holder, "sourcedId", keep=True),
        score=_number(score_text),
        score_text=score_text,
    )


def response(
    operation: str,
    *,
    message_id: str,
    message_ref: str,
    code_major: str = "success",
    severity: str = "status",
    description: str = "",
    score: Decimal | None = None,
    code_minor: Mapping[str, str] = _NONE,
) -> bytes:
    """An answer (for an LMS, such as the demo) to ``operation``, such as ``readResult``.

    For a successful ``readResult``, ``score`` ``None`` says that there is no grade (B12).
    """
    envelope = etree.Element(f"{{{NAMESPACE}}}imsx_POXEnvelopeResponse", nsmap={None: NAMESPACE})  # type: ignore[dict-item]  # the stubs forget None
    info = _add(_add(envelope, "imsx_POXHeader"), "imsx_POXResponseHeaderInfo")
    _add(info, "imsx_version", "V1.0")
    _add(info, "imsx_messageIdentifier", message_id)
    status = _add(info, "imsx_statusInfo")
    _add(status, "imsx_codeMajor", code_major)
    _add(status, "imsx_severity", severity)
    if description:
        _add(status, "imsx_description", description)
    _add(status, "imsx_messageRefIdentifier", message_ref)
    _add(status, "imsx_operationRefIdentifier", operation)
    if code_minor:
        minor = _add(status, "imsx_codeMinor")
        for name, value in code_minor.items():
            one = _add(minor, "imsx_codeMinorField")
            _add(one, "imsx_codeMinorFieldName", name)
            _add(one, "imsx_codeMinorFieldValue", value)
    body = _add(envelope, "imsx_POXBody")
    if code_major != "unsupported":
        answer = _add(body, f"{operation}Response")
        if operation == "readResult" and code_major == "success":
            _add_language_text(_add(answer, "result"), "resultScore", "" if score is None else format_score(score))
    return _serialised(envelope)


# -------------------------------------------------------------------------------------------------- responses


@dataclass(frozen=True)
class OutcomeResponse:
    """An answer of the LMS; codes in lower case, ``score`` ``None`` where there is no grade (B12)."""

    code_major: str
    severity: str
    description: str
    message_ref: str
    operation_ref: str
    code_minor: Mapping[str, str] = field(default_factory=dict)
    score: Decimal | None = None
    canvas_error_code: str = ""


def parse_response(status: int, content_type: str, body: bytes) -> OutcomeResponse:
    """Read an answer, whatever its status, type, prefixes and namespaces (B9, B10); raises ``UnreadableResponse``."""
    del status, content_type  # Moodle says 200 and text/html whatever it means.
    root = _parsed(body)
    code_major = _text(root, "imsx_codeMajor").lower()
    if not code_major:
        raise UnreadableResponse("no imsx_codeMajor")
    minor = {
        _text(element, "imsx_codeMinorFieldName"): _text(element, "imsx_codeMinorFieldValue").lower()
        for element in root.iter()
        if _local_name(element) == "imsx_codeMinorField"
    }
    result = _first(root, "resultScore")
    return OutcomeResponse(
        code_major=code_major,
        severity=_text(root, "imsx_severity").lower(),
        description=_text(root, "imsx_description"),
        message_ref=_text(root, "imsx_messageRefIdentifier"),
        operation_ref=_text(root, "imsx_operationRefIdentifier"),
        code_minor=MappingProxyType(minor),
        score=None if result is None else _number(_text(result, "textString")),
        canvas_error_code=_text(root, "ext_canvas_error_code"),
    )


# PHP notices before the answer and backtraces after it (Moodle in developer mode, B16).
_ENVELOPE = re.compile(rb"<\?xml[^>]{0,200}\?>\s*<(?:[\w.-]{1,40}:)?imsx_|<(?:[\w.-]{1,40}:)?imsx_POXEnvelope")


def _parsed(body: bytes) -> Element:
    if len(body) > BODY_LIMIT:
        raise UnreadableResponse("larger than 256 KiB")
    trimmed = body.strip()
    try:
        return _parsed_strictly(trimmed)
    except UnreadableResponse:
        start = _ENVELOPE.search(trimmed)
        # The answer may be cut out of what surrounds it, never out of a document type declaration.
        if start is None or b"<!DOCTYPE im" in trimmed or b"<!ENTITY" in trimmed:
            raise
        cut = trimmed[start.start() :]
        end = cut.rfind(b"imsx_POXEnvelopeResponse>")
        if end < 0 or (start.start() == 0 and end + 25 == len(cut)):
            raise
        return _parsed_strictly(cut[: end + 25])


def _parsed_strictly(body: bytes) -> Element:
    if not body:
        raise UnreadableResponse("empty")
    try:
        # No document type at all: entities, external files and bombs all need one (B17, J7).
        root: Element = fromstring(body, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        raise UnreadableResponse("no well-formed XML") from None
    return root


def _local_name(element: Element) -> str:
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def _first(root: Element, name: str) -> Element | None:
    return next((element for element in root.iter() if _local_name(element) == name), None)


def _text(root: Element, name: str, *, keep: bool = False) -> str:
    element = _first(root, name)
    text = "" if element is None else element.text or ""
    return text if keep else text.strip()


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


# ---------------------------------------------------------------------------------------------------- judgement


class OutcomeVerdict(StrEnum):
    """What to do after an answer."""

    DELIVERED = "delivered"
    RETRY = "retry"
    REFUSED = "refused"
    UNAUTHORIZED = "unauthorized"


@dataclass(frozen=True)
class Judgement:
    """What an answer means.

    ``reason_code`` is for programs and logs, ``explanation`` says in plain words what happened and who can fix it,
    ``retry_after`` is in seconds, ``detail`` a redacted one-line excerpt, ``warning`` something odd that changes
    nothing (B11).
    """

    verdict: OutcomeVerdict
    reason_code: str
    explanation: str
    retry_after: int | None = None
    detail: str = ""
    warning: str = ""


@dataclass(frozen=True)
class _Known:
    """A refusal known from an LMS, by a pattern in its description or error codes."""

    pattern: re.Pattern[str]
    verdict: OutcomeVerdict
    reason_code: str
    explanation: str


def _known(pattern: str, verdict: OutcomeVerdict, reason_code: str, explanation: str) -> _Known:
    return _Known(re.compile(pattern, re.IGNORECASE), verdict, reason_code, explanation)


_REFUSED, _RETRY, _UNAUTHORIZED = OutcomeVerdict.REFUSED, OutcomeVerdict.RETRY, OutcomeVerdict.UNAUTHORIZED

# B22, B13: Canvas (app/models/lti, BasicOutcomes), Moodle (mod/lti/servicelib.php, measured), Open edX, Blackboard.
_KNOWN_REFUSALS = (
    _known(
        r"signature not valid|invalid signature|oauth verification error|invalid oauth|body hash",
        _UNAUTHORIZED,
        "signature_refused",
        "The LMS did not accept our signature: the shared secret there was changed, or one of the clocks is wrong.",
    ),
    _known(
        r"sourcedid hash not valid",
        _REFUSED,
        "sourcedid_refused",
        "Moodle does not know this gradebook entry any more. The student should open the link in the course again.",
    ),
    _known(
        r"does not accept grades",
        _REFUSED,
        "grades_not_accepted",
        "The activity in Moodle was deleted or does not accept grades. The teacher can allow it in the activity's "
        "settings (Privacy → Accept grades from the tool).",
    ),
    _known(
        r"past due",
        _REFUSED,
        "past_due",
        "Open edX takes no grades after the due date. The course's author can allow them in the LTI block (Accept "
        "grades past deadline).",
    ),
    _known(
        r"incorrect sourced_?id|user not found",
        _REFUSED,
        "not_enrolled",
        "The student is not enrolled in this course of the LMS any more, or never opened this link there.",
    ),
    _known(
        r"invalid[_ ]?source_?d?_?id",
        _REFUSED,
        "sourcedid_refused",
        "Canvas does not know this gradebook entry: the assignment or the enrolment was deleted, or belongs to "
        "another tool.",
    ),
    _known(
        r"course_not_available|course not available",
        _REFUSED,
        "course_not_available",
        "The course in Canvas is unpublished or concluded. The teacher can publish it or extend its dates.",
    ),
    _known(
        r"no_points_possible|no points possible",
        _REFUSED,
        "no_points_possible",
        "The assignment in Canvas has no points. The teacher can set Points to more than zero and resend.",
    ),
    _known(
        r"bad_score|score not between|score must be numeric|not a valid score|invalid score",
        _REFUSED,
        "score_refused",
        "The LMS does not accept this score.",
    ),
    _known(r"no_score\b|no score", _REFUSED, "score_refused", "The LMS found no score in what was sent."),
    _known(
        r"no_submission_created",
        _REFUSED,
        "no_submission",
        "Canvas could not create a submission: the assignment is locked, unpublished or not given to this student.",
    ),
    _known(
        r"timestamp_in_future|timestamp_unparsable|submittedat",
        _REFUSED,
        "time_refused",
        "Canvas did not accept the time of submission; our clock may be ahead of its own.",
    ),
    _known(
        r"\block(?:ed)?\b",
        _REFUSED,
        "column_locked",
        "The grade is locked in the gradebook of the LMS. The teacher can unlock it and resend.",
    ),
    _known(r"targetisbusy", _RETRY, "busy", "The LMS is busy; the grade is sent again later."),
    _known(
        r"unauthorizedresultreplace|resultalreadyposted",
        _REFUSED,
        "grade_protected",
        "The LMS does not let a tool replace this grade, since somebody entered one by hand.",
    ),
    _known(
        r"gradingnotpermitted|unauthorizedrequest",
        _REFUSED,
        "grading_not_permitted",
        "The LMS does not let this tool grade. An administrator of the LMS can allow it in the tool's settings.",
    ),
    _known(
        r"unknownobject|invaliddata|incompletedata|invalidresult|invalidtargetdatafail|unknowntarget",
        _REFUSED,
        "not_found",
        "The LMS does not know the gradebook entry. The student should open the link in the course again.",
    ),
)

_RATE_LIMIT = re.compile(r"rate.?limit|too many requests|throttl", re.IGNORECASE)

_FAILED = "The LMS refused the grade."


def judge(
    status: int | None,
    headers: Mapping[str, str],
    body: bytes,
    *,
    message_id: str,
    now: datetime | None = None,
) -> Judgement:
    """What an answer to an outcome request means (B9, B11 to B15, B22); ``status`` ``None`` when none came.

    The code in the XML counts, not the HTTP status, wherever there is XML; ``now`` is for a dated ``Retry-After``.
    """
    if status is None:
        return Judgement(_RETRY, "no_answer", "The LMS did not answer; the grade is sent again later.")
    lowered = {name.lower(): value for name, value in headers.items()}
    wait = retry_after(lowered.get("retry-after", ""), now or datetime.now(UTC))
    detail = _excerpt(body)
    if status == 429 or (status == 403 and (wait is not None or _RATE_LIMIT.search(_decoded(body)))):
        explanation = "The LMS gets too many requests at the moment; the grade is sent again later."
        return Judgement(_RETRY, "rate_limited", explanation, wait, detail)
    if status >= 500 or status == 408:
        explanation = f"The LMS has a fault of its own (HTTP {status}); the grade is sent again later."
        return Judgement(_RETRY, "server_error", explanation, wait, detail)
    if 300 <= status < 400:
        explanation = (
            "The address for grades redirects elsewhere, and signed grades are not redirected. The LMS's "
            "administrator should correct its public URL (wwwroot); then the student opens the link again."
        )
        return Judgement(_REFUSED, "redirected", explanation, None, detail)
    try:
        answer: OutcomeResponse | None = parse_response(status, lowered.get("content-type", ""), body)
    except UnreadableResponse as unreadable:
        answer, reason = None, unreadable.reason
    if status == 401:
        explanation = "The LMS did not accept our signature: the shared secret or a clock differs."
        return Judgement(_UNAUTHORIZED, "unauthorized", explanation, None, _described(answer) or detail)
    if answer is not None and answer.code_major in {"success", "processing", "failure", "unsupported"}:
        return _judge_answer(answer, message_id, wait)
    if status >= 400:
        return _judge_refusal(status, _decoded(body), detail)
    if not body.strip() and status == 200:
        # Chamilo answers so to a wrong signature (B9).
        explanation = "The LMS answered nothing, as Chamilo does when the shared secret differs."
        return Judgement(_UNAUTHORIZED, "empty_answer", explanation, None, "")
    what = f"an unknown code {answer.code_major!r}" if answer is not None else reason
    explanation = "The LMS answered with something else than a result (a login or error page); it is tried again."
    return Judgement(_RETRY, "unreadable_answer", explanation, wait, truncated(f"{what}: {detail}", _DETAIL_LIMIT))


def _judge_answer(answer: OutcomeResponse, message_id: str, wait: int | None) -> Judgement:
    detail, warning = _described(answer), ""
    if answer.message_ref and message_id and answer.message_ref != message_id:
        warning = "The answer refers to another message than the one sent."
    if answer.code_major == "success":
        return Judgement(OutcomeVerdict.DELIVERED, "success", "The LMS took the grade.", None, detail, warning)
    if answer.code_major == "processing":
        explanation = "The LMS is still working on it; the grade is sent again later."
        return Judgement(_RETRY, "processing", explanation, wait, detail, warning)
    codes = " ".join((answer.canvas_error_code, answer.description, *answer.code_minor.values()))
    for known in _KNOWN_REFUSALS:
        if known.pattern.search(codes):
            return Judgement(known.verdict, known.reason_code, known.explanation, None, detail, warning)
    if answer.code_major == "unsupported":
        explanation = "The LMS does not support this operation. Open edX, for one, can only replace results."
        return Judgement(_REFUSED, "unsupported", explanation, None, detail, warning)
    said = single_line(redact(answer.description))
    explanation = f'{_FAILED} It says "{truncated(said, 200)}".' if said else _FAILED
    return Judgement(_REFUSED, "failure", explanation, None, detail, warning)


def _judge_refusal(status: int, text: str, detail: str) -> Judgement:
    """An answer of 4xx without readable XML; ILIAS and Blackboard say why in plain text."""
    for known in _KNOWN_REFUSALS:
        if known.pattern.search(text):
            return Judgement(known.verdict, known.reason_code, known.explanation, None, detail)
    reason, explanation = {
        403: ("forbidden", "The LMS forbids this tool to send grades. An administrator of the LMS can allow it."),
        404: ("not_found", "The address for grades no longer exists: the link or course was deleted in the LMS."),
        410: ("not_found", "The address for grades no longer exists: the link or course was deleted in the LMS."),
        415: ("content_type", "The LMS does not take the format of the message."),
    }.get(status, ("refused", f"The LMS refused the grade (HTTP {status})."))
    return Judgement(_REFUSED, reason, explanation, None, detail)


def _described(answer: OutcomeResponse | None) -> str:
    if answer is None:
        return ""
    parts = (answer.code_major, answer.canvas_error_code, *answer.code_minor.values(), answer.description)
    return truncated(single_line(redact(" | ".join(part for part in parts if part))), _DETAIL_LIMIT)


def _decoded(body: bytes) -> str:
    return body[:4096].decode("utf-8", "replace")


def _excerpt(body: bytes) -> str:
    return truncated(single_line(redact(_decoded(body))), _DETAIL_LIMIT)
