"""Assignment and Grade Services 2.0 as the LMS that is played offers them (moodle.md 35 to 41)."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from demo_lms import columns, gradebook, manners
from demo_lms import course as courses
from demo_lms.columns import Column
from demo_lms.course import Course, Person, RegisteredTool
from demo_lms.gradebook import plain
from demo_lms.manners import Manner
from demo_lms.service_answers import Answered, Asked, as_json, page_of, refused
from lti.v1p3 import vocabulary as names
from lti.v1p3.json_text import JsonObject, UnreadableJson, number_in, object_in, read_object, text_in

_LIMIT = 256 * 1024
_OWN_MEMBERS = {"id", "label", "scoreMaximum", "resourceId", "tag", "resourceLinkId"}
_READING = (names.SCOPE_LINE_ITEM_READONLY, names.SCOPE_LINE_ITEM)
_PROGRESS = {"FullyGraded", "Pending", "PendingManual", "Failed", "NotReady"}
_ACTIVITY = {"Initialized", "Started", "InProgress", "Submitted", "Completed"}


class _Bad(Exception):
    """The request is wrong; the text says how."""


def members_of(column: Column, tool: RegisteredTool, course: Course) -> dict[str, Any]:
    """A column as a line item."""
    members = {
        **column.others,
        "id": columns.url_of(tool, course, column),
        "label": column.title,
        "scoreMaximum": float(column.maximum),
        "resourceId": column.resource_id,
        "tag": column.tag,
    }
    if column.link_id:
        members["resourceLinkId"] = column.link_id
    return members


def _column_from(asked: Asked, course: Course, before: Column | None = None) -> Column:
    try:
        members = read_object(asked.body, limit=_LIMIT)
    except UnreadableJson as error:
        raise _Bad(f"No line item: {error.reason}") from None
    maximum, label = number_in(members, "scoreMaximum"), text_in(members, "label")
    if maximum is None or maximum <= 0 or not label.strip():
        raise _Bad("Label and a scoreMaximum above zero are needed")
    link_id = text_in(members, "resourceLinkId")
    if link_id and course.link_by_id(link_id) is None:
        raise _Bad("There is no such resource link")
    return Column(
        id=before.id if before else "",
        slug=before.slug if before else "",
        title=label,
        maximum=Decimal(str(maximum)),
        # Without resourceLinkId, a replacement unbinds (moodle.md 41).
        link_id=link_id,
        resource_id=text_in(members, "resourceId"),
        tag=text_in(members, "tag"),
        others={name: value for name, value in members.items() if name not in _OWN_MEMBERS},
    )


def line_items(asked: Asked, tool: RegisteredTool, course: Course) -> Answered:
    """List the columns (GET), or make one (POST)."""
    if asked.method == "POST":
        return _make(asked, tool, course)
    if asked.method != "GET":
        return refused(asked, 405, "Method not allowed")
    if not asked.allows(*_READING):
        return refused(asked, 403, "Insufficient scope")
    if tool.preset.needs_exact_types and asked.accept != names.LINE_ITEMS_TYPE:
        return refused(asked, 400, f"No handler found for /{course.id}/lineitems {asked.accept}")
    wanted = {name: asked.query.get(name, "") for name in ("resource_link_id", "resource_id", "tag")}
    found = [
        column
        for column in columns.columns_of(course)
        if wanted["resource_link_id"] in ("", column.link_id)
        and wanted["resource_id"] in ("", column.resource_id)
        and wanted["tag"] in ("", column.tag)
    ]
    page, headers = page_of(asked, found, is_moodle=tool.preset.needs_exact_types)
    return as_json(
        [members_of(column, tool, course) for column in page],
        names.LINE_ITEMS_TYPE,
        headers=headers,
        result=f"{len(page)} columns",
    )


def _make(asked: Asked, tool: RegisteredTool, course: Course) -> Answered:
    if not asked.allows(names.SCOPE_LINE_ITEM):
        return refused(asked, 403, "Insufficient scope")
    if asked.media_type != names.LINE_ITEM_TYPE:
        return refused(asked, 400, "No context or unsupported content type")
    try:
        column = _column_from(asked, course)
    except _Bad as bad:
        return refused(asked, 400, str(bad))
    made = replace(column, id=columns.make(column))
    return as_json(members_of(made, tool, course), names.LINE_ITEM_TYPE, 201, result=f"column “{made.title}” made")


def line_item(asked: Asked, tool: RegisteredTool, course: Course, column: Column) -> Answered:
    """Read (GET), replace (PUT) or delete (DELETE) a column."""
    if asked.method == "GET":
        if not asked.allows(*_READING):
            return refused(asked, 403, "Insufficient scope")
        if tool.preset.needs_exact_types and asked.accept != names.LINE_ITEM_TYPE:
            return refused(asked, 400, "No handler found")
        return as_json(members_of(column, tool, course), names.LINE_ITEM_TYPE, result=f"column “{column.title}”")
    if asked.method not in ("PUT", "DELETE"):
        return refused(asked, 400 if tool.preset.needs_exact_types else 405, "No handler found")
    if not asked.allows(names.SCOPE_LINE_ITEM):
        return refused(asked, 403, "Insufficient scope")
    if asked.method == "DELETE":
        columns.delete(column)
        return Answered(204, result=f"column “{column.title}” deleted")
    if asked.media_type != names.LINE_ITEM_TYPE:
        return refused(asked, 400, "No context or unsupported content type")
    try:
        changed = _column_from(asked, course, column)
    except _Bad as bad:
        return refused(asked, 400, str(bad))
    columns.change(changed)
    return as_json(members_of(changed, tool, course), names.LINE_ITEM_TYPE, result=f"column “{changed.title}” changed")


# ------------------------------------------------------------------------------------------------------- scores


def faulty(manner: Manner) -> Answered | None:
    """What the switch for grades makes of a score; None when it takes its course."""
    match manner.mode:
        case "slow":
            time.sleep(manner.seconds)
        case "failing":
            return Answered(500, b"<h1>Internal Server Error</h1>", "text/html", result="HTTP 500, on purpose")
        case "busy":
            wait = {"Retry-After": str(manner.seconds)}
            return Answered(429, b"Too Many Requests", "text/plain", wait, result="HTTP 429, on purpose")
        case "malformed":
            return Answered(200, b"<html><h1>Maintenance</h1></html>", "text/html", result="a web page, on purpose")
        case "refuses":
            return Answered(403, b'{"reason": "The column is locked"}', result="HTTP 403, on purpose")
        case "unauthorized":
            return Answered(401, b'{"reason": "Unauthorized"}', result="HTTP 401, on purpose")
        case "down":
            return Answered(closed=True, result="connection closed, on purpose")
    return None


def scores(asked: Asked, tool: RegisteredTool, course: Course, column: Column) -> Answered:
    """Take a score (POST)."""
    if asked.method != "POST":
        return refused(asked, 405, "Method not allowed")
    if not asked.allows(names.SCOPE_SCORE):
        return refused(asked, 403, "Insufficient scope")
    if asked.media_type != names.SCORE_TYPE:
        return refused(asked, 400, "No handler found: unsupported content type")
    fault = faulty(manners.take(manners.OUTCOMES))
    if fault is not None:
        return fault
    try:
        members = read_object(asked.body, limit=_LIMIT)
        person, sent_at = _person(members), _sent_at(members)
        given = _given(members)
    except UnreadableJson as error:
        return refused(asked, 400, f"No score: {error.reason}")
    except _Bad as bad:
        return refused(asked, 400, str(bad))
    title = f"score: {person.name}, “{column.title}”"
    if person.is_teacher:
        return refused(asked, 400, "Invalid user: not gradable", title=title)
    before = gradebook.entry_of(person, column)
    if before is not None and _is_stale(tool, before.sent_at, sent_at):
        return _stale(asked, tool, before.sent_at, sent_at, title)
    final = given is not None and text_in(members, "gradingProgress") == "FullyGraded"
    if not final and not tool.preset.is_moodle_grading:
        return Answered(200, b"{}", title=title, result="not final: left as it was")
    fraction = given if final else None
    if fraction is not None and tool.preset.is_moodle_grading:
        fraction = min(fraction, Decimal(1))
    if fraction is not None or (before is not None and before.score is not None):
        gradebook.store(
            person,
            column,
            fraction,
            sent_at=sent_at,
            comment=text_in(members, "comment")[:4000],
            submission_url=text_in(object_in(members, f"{names.CANVAS}submission"), "submission_data")[:2000],
        )
    result = "grade wiped" if fraction is None else f"success: {plain(fraction)}"
    if tool.preset.is_moodle_grading:
        return Answered(200, title=title, result=result)
    url = columns.url_of(tool, course, column)
    return as_json({"resultUrl": _result_url(url, person)}, "application/json", title=title, result=result)


def _person(members: JsonObject) -> Person:
    person = courses.person(text_in(members, "userId"))
    if person is None:
        raise _Bad("Incorrect score received: user could not be found")
    return person


def _sent_at(members: JsonObject) -> datetime:
    try:
        moment = datetime.fromisoformat(text_in(members, "timestamp"))
    except ValueError:
        raise _Bad("Incorrect score received: timestamp") from None
    if moment.tzinfo is None:
        raise _Bad("Incorrect score received: the timestamp has no zone")
    return moment.astimezone(UTC)


def _given(members: JsonObject) -> Decimal | None:
    """The score from 0 to 1, or more; None when there is none."""
    if text_in(members, "gradingProgress") not in _PROGRESS or text_in(members, "activityProgress") not in _ACTIVITY:
        raise _Bad("Incorrect score received: gradingProgress or activityProgress")
    given, maximum = number_in(members, "scoreGiven"), number_in(members, "scoreMaximum")
    if given is None:
        return None
    if maximum is None or maximum <= 0 or given < 0:
        raise _Bad("Incorrect score received: scoreGiven needs a scoreMaximum above zero")
    return Decimal(str(given)) / Decimal(str(maximum))


def _is_stale(tool: RegisteredTool, last: datetime, sent_at: datetime) -> bool:
    if tool.preset.is_moodle_grading:
        # Whole seconds, and an equal one is refused (moodle.md 37).
        return int(sent_at.timestamp()) <= int(last.timestamp())
    return sent_at <= last


def _stale(asked: Asked, tool: RegisteredTool, last: datetime, sent_at: datetime, title: str) -> Answered:
    if tool.preset.name == "canvas":
        text = f"Provided timestamp of {sent_at.isoformat()} before last updated timestamp of {last.isoformat()}"
        error = {"errors": {"type": "bad_request", "message": text}}
        return as_json(error, "application/json", 400, title=title, result=f"HTTP 400: {text}")
    return Answered(409, b"[]", title=title, result="HTTP 409: not newer than the grade")


# ------------------------------------------------------------------------------------------------------ results


def results(asked: Asked, tool: RegisteredTool, course: Course, column: Column) -> Answered:
    """The grades of a column (GET), of one person with `user_id`."""
    if asked.method != "GET":
        return refused(asked, 405, "Method not allowed")
    if not asked.allows(names.SCOPE_RESULT_READONLY):
        return refused(asked, 403, "Insufficient scope")
    if tool.preset.needs_exact_types and asked.accept != names.RESULTS_TYPE:
        return refused(asked, 400, "No handler found")
    if "limit" in asked.query and tool.preset.is_moodle_grading:
        # A bug of Moodle's (moodle.md 40).
        return Answered(404, b"<!DOCTYPE html><title>Error</title>", "text/html", result="HTTP 404: limit")
    url = columns.url_of(tool, course, column)
    only = asked.query.get("user_id", "")
    found: list[dict[str, Any]] = []
    for person in courses.PEOPLE:
        entry = gradebook.entry_of(person, column)
        points = entry.points(column) if entry else None
        if entry is None or points is None or only not in ("", person.id):
            continue
        members: dict[str, Any] = {
            "id": _result_url(url, person),
            "userId": person.id,
            "resultScore": float(points),
            "resultMaximum": float(column.maximum),
            "scoreOf": url,
        }
        # Blackboard's filter drops comments (F11).
        if entry.comment and not (only and tool.preset.name == "blackboard"):
            members["comment"] = entry.comment
        found.append(members)
    return as_json(found, names.RESULTS_TYPE, title=f"results: “{column.title}”", result=f"{len(found)} grades")


def _result_url(line_item_url: str, person: Person) -> str:
    base, mark, query = line_item_url.partition("?")
    return f"{base}/results{mark}{query}{'&' if mark else '?'}{urlencode({'user_id': person.id})}"
