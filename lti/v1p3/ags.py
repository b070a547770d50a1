"""Assignment and Grade Services 2.0: line items, scores, results (F1 to F16; Moodle's manners: moodle.md 35 to 41)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType

from lti.outbound import OutboundResponse
from lti.selection import TITLE_LIMIT, json_number
from lti.texts import single_line, truncated
from lti.v1p1.outcomes import COMMENT_LIMIT, Judgement, OutcomeVerdict
from lti.v1p3 import services
from lti.v1p3 import vocabulary as names
from lti.v1p3.claims import AgsClaim, usable_url
from lti.v1p3.deep_linking import zulu
from lti.v1p3.json_text import JsonObject, number_in, text_in
from lti.v1p3.services import PlatformServices, ServiceCall, json_of, unreadable

#: Reason codes that ask something of the caller, see ``judge``.
STALE_TIMESTAMP = "stale_timestamp"
LINE_ITEM_GONE = "line_item_gone"

_NO_MEMBERS: JsonObject = MappingProxyType({})
_READING = (names.SCOPE_LINE_ITEM_READONLY, names.SCOPE_LINE_ITEM)
_WRITING = (names.SCOPE_LINE_ITEM,)


def _json(members: Mapping[str, object]) -> bytes:
    return json.dumps(members, ensure_ascii=False).encode("utf-8", "replace")


# --------------------------------------------------------------------------------------------------- line items


@dataclass(frozen=True, slots=True)
class LineItem:
    """A gradebook column; ``url`` is ``""`` for one that is still to be made (F5).

    ``other`` holds the members that only the LMS knows; a replacement sends them back.
    """

    label: str
    score_maximum: Decimal
    url: str = ""
    resource_id: str = ""
    tag: str = ""
    resource_link_id: str = ""
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    grades_released: bool | None = None
    other: JsonObject = field(default_factory=lambda: _NO_MEMBERS)


_KNOWN_MEMBERS = frozenset({"id", "label", "scoreMaximum", "resourceId", "tag", "resourceLinkId", "gradesReleased"})


def line_items_call(
    line_items_url: str, *, resource_link_id: str = "", resource_id: str = "", tag: str = ""
) -> ServiceCall:
    """The call that lists the columns of a course, filtered (F4)."""
    filters = (("resource_link_id", resource_link_id), ("resource_id", resource_id), ("tag", tag))
    url = services.with_query(line_items_url, [(name, value) for name, value in filters if value])
    return ServiceCall("GET", url, _READING, accept=names.LINE_ITEMS_TYPE)


def line_item_call(line_item_url: str) -> ServiceCall:
    """The call that reads one column."""
    return ServiceCall("GET", line_item_url, _READING, accept=names.LINE_ITEM_TYPE)


def create_call(line_items_url: str, item: LineItem) -> ServiceCall:
    """The call that makes a column (F5)."""
    body = _json(line_item_members(item))
    return ServiceCall("POST", line_items_url, _WRITING, names.LINE_ITEM_TYPE, names.LINE_ITEM_TYPE, body)


def replace_call(item: LineItem) -> ServiceCall:
    """The call that replaces a column wholly: what is not sent, such as ``resourceLinkId``, is gone (moodle.md 41)."""
    body = _json(line_item_members(item))
    return ServiceCall("PUT", item.url, _WRITING, names.LINE_ITEM_TYPE, names.LINE_ITEM_TYPE, body)


def delete_call(line_item_url: str) -> ServiceCall:
    """The call that deletes a column."""
    return ServiceCall("DELETE", line_item_url, _WRITING)


def line_item_members(item: LineItem) -> dict[str, object]:
    """A column as JSON members. Raises ``ValueError`` for a maximum that is not more than zero."""
    if not item.score_maximum.is_finite() or item.score_maximum <= 0:
        msg = "the maximum score must be more than zero"
        raise ValueError(msg)
    members: dict[str, object] = {**item.other}
    if item.url:
        members["id"] = item.url
    members |= {
        "scoreMaximum": json_number(item.score_maximum),
        "label": truncated(single_line(item.label), TITLE_LIMIT) or "Grade",
    }
    texts = {"resourceId": item.resource_id, "tag": item.tag, "resourceLinkId": item.resource_link_id}
    members |= {name: text for name, text in texts.items() if text}
    dates = {"startDateTime": item.starts_at, "endDateTime": item.ends_at}
    members |= {name: zulu(moment) for name, moment in dates.items() if moment is not None}
    if item.grades_released is not None:
        members["gradesReleased"] = item.grades_released
    return members


def parse_line_item(response: OutboundResponse) -> LineItem:
    """The column of an answer. Raises ``ServiceFailed``."""
    item = _line_item(json_of(response, "a gradebook column"))
    if item is None:
        raise unreadable("a gradebook column", response, "no column")
    return item


def parse_line_items(response: OutboundResponse) -> tuple[LineItem, ...]:
    """The columns of an answer, without those that have no URL. Raises ``ServiceFailed``."""
    listed = json_of(response, "a list of gradebook columns")
    if not isinstance(listed, list):
        raise unreadable("a list of gradebook columns", response, "no list")
    return tuple(item for item in map(_line_item, listed) if item is not None)


def _line_item(value: object) -> LineItem | None:
    if not isinstance(value, dict):
        return None
    members: JsonObject = value
    url, maximum = usable_url(text_in(members, "id")), number_in(members, "scoreMaximum")
    if not url:
        return None
    released = members.get("gradesReleased")
    return LineItem(
        label=text_in(members, "label"),
        score_maximum=_decimal(maximum) if maximum is not None and maximum > 0 else Decimal(1),
        url=url,
        resource_id=text_in(members, "resourceId"),
        tag=text_in(members, "tag"),
        resource_link_id=text_in(members, "resourceLinkId"),
        grades_released=released if isinstance(released, bool) else None,
        other=MappingProxyType({name: kept for name, kept in members.items() if name not in _KNOWN_MEMBERS}),
    )


def _decimal(number: int | float) -> Decimal:
    return Decimal(str(number))


def list_line_items(
    platform: PlatformServices, line_items_url: str, *, resource_link_id: str = "", resource_id: str = "", tag: str = ""
) -> tuple[LineItem, ...]:
    """All columns that pass the filters, whether or not the LMS heeds them. Raises ``ServiceFailed``."""
    call = line_items_call(line_items_url, resource_link_id=resource_link_id, resource_id=resource_id, tag=tag)
    found: list[LineItem] = []
    for page in platform.pages(call):
        found += parse_line_items(page)
    return tuple(
        item
        for item in found
        if (not resource_id or item.resource_id == resource_id)
        and (not tag or item.tag == tag)
        and (not resource_link_id or item.resource_link_id in {resource_link_id, ""})
    )


def matching_line_item(items: Iterable[LineItem], wanted: LineItem) -> LineItem | None:
    """The column for this resource, tag and link (F5, J9); of several always the same one.

    One that is bound to the link comes before one that is bound to none. One bound to another link never counts: its
    grades are another's.
    """
    candidates = [
        item
        for item in items
        if item.resource_id == wanted.resource_id
        and item.tag == wanted.tag
        and item.resource_link_id in {wanted.resource_link_id, ""}
    ]
    return min(candidates, key=lambda item: (not item.resource_link_id, len(item.url), item.url), default=None)


def find_line_item(platform: PlatformServices, claim: AgsClaim, wanted: LineItem) -> LineItem | None:
    """The column of a link: the one the launch names, else the one found by resource, tag and link (F15).

    To look for a column whose URL is gone (F13), leave the launch's ``line_item`` out of the claim. Raises
    ``ServiceFailed``.
    """
    if claim.line_item:
        return replace(wanted, url=claim.line_item)
    if not claim.line_items:
        return None
    items = list_line_items(
        platform,
        claim.line_items,
        resource_link_id=wanted.resource_link_id,
        resource_id=wanted.resource_id,
        tag=wanted.tag,
    )
    return matching_line_item(items, wanted)


def find_or_create_line_item(
    platform: PlatformServices, claim: AgsClaim, wanted: LineItem, *, lock: AbstractContextManager[object]
) -> LineItem:
    """The column of a link, made when there is none; ``lock`` is held by one at a time for this link (F5).

    An answer that got lost does not make a second column: the next try finds the first. Raises ``ServiceFailed``,
    also when the LMS lets columns only be read (F15).
    """
    found = find_line_item(platform, claim, wanted)
    if found is not None:
        return found
    if not claim.line_items or (claim.scopes and names.SCOPE_LINE_ITEM not in claim.scopes):
        raise services.refused(
            "no_gradebook_column",
            "This link has no gradebook column in the LMS, and the LMS does not let this tool make one. The "
            "teacher can make the link graded there.",
        )
    with lock:
        found = find_line_item(platform, claim, wanted)
        if found is not None:
            return found
        return parse_line_item(platform.read(create_call(claim.line_items, wanted)))


# ------------------------------------------------------------------------------------------------------- scores


@dataclass(frozen=True, slots=True)
class CanvasSubmission:
    """Canvas's extension of a score (F12): the student's work, with a link that SpeedGrader opens.

    ``is_new`` makes an attempt; a later grade of the same work must not. ``kind`` such as ``basic_lti_launch``, whose
    ``data`` is the URL to launch.
    """

    is_new: bool
    kind: str = ""
    data: str = ""
    submitted_at: datetime | None = None
    prioritize_non_tool_grade: bool = False


@dataclass(frozen=True, slots=True)
class Score:
    """A final grade: points of a maximum. There is no other kind, since Moodle empties a grade for anything but
    FullyGraded (moodle.md 38).

    ``timestamp`` from ``next_timestamp``. Points above the maximum are sent as they are (F10).
    """

    user_id: str
    given: Decimal
    maximum: Decimal
    timestamp: datetime
    comment: str = ""
    scoring_user_id: str = ""
    started_at: datetime | None = None
    submitted_at: datetime | None = None
    canvas_submission: CanvasSubmission | None = None


def next_timestamp(now: datetime, last: datetime | None) -> datetime:
    """The timestamp of the next score of a cell: now in whole seconds, but later than the last one (F8).

    Moodle compares whole seconds and refuses an equal one (moodle.md 37).
    """
    moment = now.astimezone(UTC).replace(microsecond=0)
    if last is None:
        return moment
    return max(moment, last.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1))


def score_call(line_item_url: str, score: Score) -> ServiceCall:
    """The call that sends a score. Raises ``ValueError`` for numbers that are no score, or times without a zone."""
    members = score_members(score)
    return _score_post(line_item_url, members)


def clear_call(line_item_url: str, user_id: str, timestamp: datetime) -> ServiceCall:
    """The call that empties a cell (F9): a score without points, which is not the same as 0."""
    progress = {"activityProgress": "Initialized", "gradingProgress": "NotReady"}
    return _score_post(line_item_url, {"userId": user_id, **progress, "timestamp": _stamp(timestamp)})


def _score_post(line_item_url: str, members: Mapping[str, object]) -> ServiceCall:
    url = services.below(line_item_url, "scores")
    return ServiceCall("POST", url, (names.SCOPE_SCORE,), content_type=names.SCORE_TYPE, body=_json(members))


def score_members(score: Score) -> dict[str, object]:
    """A score as JSON members (F6, F7)."""
    if not (score.given.is_finite() and score.maximum.is_finite()) or score.given < 0 or score.maximum <= 0:
        msg = "a score is not negative, of a maximum that is more than zero"
        raise ValueError(msg)
    if not score.user_id:
        msg = "a score is for somebody"
        raise ValueError(msg)
    members: dict[str, object] = {
        "userId": score.user_id,
        "activityProgress": "Completed",
        "gradingProgress": "FullyGraded",
        "scoreGiven": json_number(score.given),
        "scoreMaximum": json_number(score.maximum),
        "timestamp": _stamp(score.timestamp),
    }
    if score.comment:
        members["comment"] = truncated(score.comment, COMMENT_LIMIT)
    if score.scoring_user_id:
        members["scoringUserId"] = score.scoring_user_id
    dates = {"startedAt": score.started_at, "submittedAt": score.submitted_at}
    submission = {name: _stamp(moment) for name, moment in dates.items() if moment is not None}
    if submission:
        members["submission"] = submission
    if score.canvas_submission is not None:
        members[f"{names.CANVAS}submission"] = _canvas_members(score.canvas_submission, score.timestamp)
    return members


def _canvas_members(submission: CanvasSubmission, timestamp: datetime) -> dict[str, object]:
    members: dict[str, object] = {"new_submission": submission.is_new}
    if submission.kind:
        members["submission_type"] = submission.kind
    if submission.data:
        members["submission_data"] = submission.data
    if submission.submitted_at is not None:
        # Canvas refuses a time more than a minute ahead of its own.
        members["submitted_at"] = _stamp(min(submission.submitted_at, timestamp))
    if submission.prioritize_non_tool_grade:
        members["prioritize_non_tool_grade"] = True
    return members


def _stamp(moment: datetime) -> str:
    """ISO 8601 with zone and fraction, as the standard asks (F8)."""
    if moment.tzinfo is None:
        msg = "a time needs a zone"
        raise ValueError(msg)
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# ------------------------------------------------------------------------------------------------------ results


@dataclass(frozen=True, slots=True)
class Result:
    """A grade as the LMS has it; ``score`` is ``None`` where there is none (F11)."""

    user_id: str
    score: Decimal | None
    maximum: Decimal
    comment: str = ""
    scoring_user_id: str = ""
    url: str = ""


def results_call(line_item_url: str, *, user_id: str = "") -> ServiceCall:
    """The call that reads grades. Never with ``limit``, to which Moodle answers 404 (moodle.md 40)."""
    url = services.with_query(services.below(line_item_url, "results"), [("user_id", user_id)] if user_id else [])
    return ServiceCall("GET", url, (names.SCOPE_RESULT_READONLY,), accept=names.RESULTS_TYPE)


def parse_results(response: OutboundResponse) -> tuple[Result, ...]:
    """The grades of an answer, without those of nobody. Raises ``ServiceFailed``."""
    listed = json_of(response, "a list of grades")
    if not isinstance(listed, list):
        raise unreadable("a list of grades", response, "no list")
    return tuple(_result(item) for item in listed if isinstance(item, dict) and text_in(item, "userId"))


def _result(members: JsonObject) -> Result:
    score, maximum = number_in(members, "resultScore"), number_in(members, "resultMaximum")
    return Result(
        user_id=text_in(members, "userId"),
        score=None if score is None else _decimal(score),
        maximum=_decimal(maximum) if maximum is not None and maximum > 0 else Decimal(1),
        comment=text_in(members, "comment"),
        scoring_user_id=text_in(members, "scoringUserId"),
        url=text_in(members, "id"),
    )


def read_results(platform: PlatformServices, line_item_url: str) -> tuple[Result, ...]:
    """All grades of a column; filtering is the caller's, since Blackboard drops comments when asked to (F11).

    Raises ``ServiceFailed``.
    """
    found: list[Result] = []
    for page in platform.pages(results_call(line_item_url)):
        found += parse_results(page)
    return tuple(found)


# ---------------------------------------------------------------------------------------------------- judgement


@dataclass(frozen=True, slots=True)
class _Known:
    pattern: re.Pattern[str]
    verdict: OutcomeVerdict
    reason_code: str
    explanation: str


def _known(pattern: str, verdict: OutcomeVerdict, reason_code: str, explanation: str) -> _Known:
    return _Known(re.compile(pattern, re.IGNORECASE), verdict, reason_code, explanation)


_STALE = "The LMS has a later grade for this student, or one of the same second; it is sent again with a newer time."

# F13: Canvas (app/controllers/lti/ims/scores_controller.rb), Blackboard, Brightspace, Moodle (measured).
_KNOWN_REFUSALS = (
    _known(r"before last updated timestamp", OutcomeVerdict.RETRY, STALE_TIMESTAMP, _STALE),
    _known(
        r"user could not be found|user not found|not enrolled|not a student",
        OutcomeVerdict.REFUSED,
        "not_enrolled",
        "This person is not a student of the course in the LMS, so that there is no cell to put the grade into.",
    ),
    _known(
        r"concluded|course.{0,20}(?:closed|not available|unpublished)",
        OutcomeVerdict.REFUSED,
        "course_not_available",
        "The course in the LMS is unpublished or concluded. The teacher can publish it or extend its dates.",
    ),
    _known(
        r"insufficient[_ ]scope|invalid[_ ]scope|missing.{0,20}scope",
        OutcomeVerdict.REFUSED,
        "scope_not_granted",
        "The LMS does not allow this tool to send grades. Its administrator can allow it in the tool's settings.",
    ),
    _known(
        r"no handler found|unsupported content type",
        OutcomeVerdict.REFUSED,
        "address_wrong",
        "Moodle does not know this address for grades: the tool's services were switched off there, or it was moved.",
    ),
)


def judge(status: int | None, headers: Mapping[str, str], body: bytes, *, now: datetime | None = None) -> Judgement:
    """What the answer to a score means, and what to do (F13); ``status`` is ``None`` when no answer came.

    Of RETRY, ``STALE_TIMESTAMP`` asks for a newer ``next_timestamp``, if the score is still the current one. Of
    REFUSED, ``LINE_ITEM_GONE`` asks to look once for the column by its resource id.
    """
    if status is None:
        explanation = "The LMS did not answer; the grade is sent again later."
        return Judgement(OutcomeVerdict.RETRY, "no_answer", explanation)
    general = services.judge(status, headers, body, now=now)
    if general.verdict is OutcomeVerdict.DELIVERED:
        return _delivered(headers, body, general)
    if general.verdict is not OutcomeVerdict.REFUSED or general.reason_code == "redirected":
        return general
    if status == 409:
        return Judgement(OutcomeVerdict.RETRY, STALE_TIMESTAMP, _STALE, general.retry_after, general.detail)
    text = body[:4096].decode("utf-8", "replace")
    for known in _KNOWN_REFUSALS:
        if known.pattern.search(text):
            return Judgement(known.verdict, known.reason_code, known.explanation, None, general.detail)
    if status in {404, 410}:
        explanation = "The gradebook column was deleted in the LMS. The teacher can make the link graded again there."
        return Judgement(OutcomeVerdict.REFUSED, LINE_ITEM_GONE, explanation, None, general.detail)
    if status == 403:
        explanation = "The LMS forbids this grade: the person is not enrolled as a student, the course is closed, or "
        explanation += "the tool may not send grades."
        return Judgement(OutcomeVerdict.REFUSED, "forbidden", explanation, None, general.detail)
    if status == 412:
        return Judgement(OutcomeVerdict.RETRY, STALE_TIMESTAMP, _STALE, general.retry_after, general.detail)
    explanation = "The LMS does not take this grade (HTTP " + str(status) + "). Most often the person has no cell in "
    explanation += "its gradebook: teachers, and those who have left the course, have none."
    return Judgement(OutcomeVerdict.REFUSED, "score_refused", explanation, None, general.detail)


def _delivered(headers: Mapping[str, str], body: bytes, general: Judgement) -> Judgement:
    content_type = next((value for name, value in headers.items() if name.lower() == "content-type"), "")
    if "html" in content_type.lower() and body.strip():
        explanation = "The LMS answered with a web page (a login or maintenance page); the grade is sent again later."
        return Judgement(OutcomeVerdict.RETRY, "unreadable_answer", explanation, None, general.detail)
    return Judgement(OutcomeVerdict.DELIVERED, "success", "The LMS took the grade.", None, general.detail)
