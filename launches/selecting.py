"""Choosing content: what was asked, what would be made in the LMS, and the one answer that each request gets."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

import structlog
from django.db import transaction
from django.utils import timezone
from django.utils.html import strip_tags

from courses.addresses import assignment_url, constant_url
from courses.markdown import render
from courses.models import Assignment, Course, LmsCourse
from grades.line_items import COLUMN_TAG
from launches.handoff import origin_of
from launches.models import Launch
from launches.visits import Visit
from lti.errors import LaunchError, LaunchErrorCode
from lti.return_url import return_url_with_message
from lti.selection import LineItemOffer, LinkItem, NotAccepted, Period, Selection, Window, check_choice
from lti.v1p1 import content_items
from lti.v1p3 import deep_linking
from lti.v1p3.tokens import BACKDATED
from organizations.identifiers import random_token, uuid7
from organizations.tool_keys import sign_jwt
from organizations.upsert import upsert
from recordings.addresses import room_url
from recordings.models import Room

logger = structlog.get_logger(__name__)

# Pixels of a new window: a laptop's screen without the LMS around it. A frame's size is the course's.
SIZE = (1100, 800)
_DESCRIPTION_LIMIT = 500
_PARAGRAPH = re.compile(r"<p>(.*?)</p>", re.DOTALL)
_KINDS = ("deep_linking", "content_item", "canvas")


@dataclass(frozen=True)
class LmsContext:
    """The LMS course in which the picker was opened; empty texts where the LMS does not say."""

    id: str = ""
    title: str = ""
    label: str = ""


_NO_CONTEXT = LmsContext()


def selection_to_json(selection: Selection, context: LmsContext = _NO_CONTEXT) -> dict[str, Any]:
    """What `Launch.selection` keeps: the fields of a `Selection` by name, tuples as lists, and the LMS course."""
    fields = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(selection).items()}
    return fields | {"context": asdict(context)}


def selection_from_json(kept: Mapping[str, Any]) -> Selection:
    """The `Selection` that `selection_to_json` wrote; `ValueError` for anything else."""
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in kept.items() if name != "context"
    }
    try:
        selection = Selection(**fields)
    except TypeError as error:
        raise ValueError("This is no kept selection.") from error
    if selection.kind not in _KINDS:
        raise ValueError("This is no kept selection.")
    return selection


def context_from_json(kept: Mapping[str, Any]) -> LmsContext:
    """The LMS course that `selection_to_json` wrote beside the selection."""
    return LmsContext(**kept.get("context", {}))


def lms_course_of(visit: Visit) -> LmsCourse | None:
    """The LMS course in which the picker was opened, if it has opened something of ours before."""
    context = context_from_json(visit.launch.selection or {})
    if not context.id:
        return None
    return LmsCourse.objects.filter(installation=visit.installation, context_id=context.id).first()


class Display(StrEnum):
    """How the LMS shows a link."""

    AS_LMS = ""
    IFRAME = "iframe"
    WINDOW = "window"


def displays_for(selection: Selection) -> list[Display]:
    """What the teacher can choose: only targets that the request offers (C5, E5), and what the LMS does by itself."""
    offered = [display for display in (Display.IFRAME, Display.WINDOW) if display in selection.document_targets]
    return [Display.AS_LMS, *offered] if offered and selection.kind != "canvas" else []


class Column(StrEnum):
    """Whether a link brings a gradebook column, and if not, why."""

    NEW = "new"
    NO_POINTS = "no_points"
    NO_GRADES = "no_grades"
    NOT_TAKEN = "not_taken"
    ROOM = "room"


def column_for(selection: Selection, chosen: Assignment | Room) -> Column:
    """Whether the answer asks the LMS for a gradebook column.

    A platform that does not say whether it takes them gets them: those that do not know them pass them over (E2).
    """
    if isinstance(chosen, Room):
        return Column.ROOM
    if chosen.course.enroll_only:
        return Column.NO_GRADES
    if chosen.points_possible <= 0:
        return Column.NO_POINTS
    if selection.kind == "canvas" or selection.accepts_line_item is False:
        return Column.NOT_TAKEN
    return Column.NEW


def link_of(chosen: Assignment | Room, selection: Selection, display: Display = Display.AS_LMS) -> LinkItem:
    """The link that the LMS is offered for an assignment or a room.

    It names it twice, by its URL and in `custom`, since an LMS may drop one of them (E7, C8). A room brings no grades,
    and its own id: a copy of the course has other rooms.
    """
    course = chosen.course
    iframe = (course.iframe_width, course.iframe_height) if display is Display.IFRAME else None
    window = Window(width=SIZE[0], height=SIZE[1]) if display is Display.WINDOW else None
    if isinstance(chosen, Room):
        return LinkItem(
            url=room_url(chosen),
            title=chosen.title.strip() or chosen.slug,
            text="",
            custom={"room": str(chosen.pk), "link_uuid": str(uuid7())},
            iframe=iframe,
            window=window,
        )
    assignment = chosen
    has_column = column_for(selection, assignment) is Column.NEW
    return LinkItem(
        url=constant_url(assignment) if course.constant_urls else assignment_url(assignment),
        title=assignment.title.strip() or assignment.slug,
        text=_description(assignment),
        custom={"assignment": str(assignment.pk), "link_uuid": str(uuid7())},
        line_item=LineItemOffer(
            score_maximum=assignment.points_possible,
            label=assignment.title,
            resource_id=str(assignment.pk),
            tag=COLUMN_TAG,
        )
        if has_column
        else None,
        available=Period(assignment.opens_at, assignment.closes_at),
        submission=Period(end=assignment.due_at),
        iframe=iframe,
        window=window,
    )


def _description(assignment: Assignment) -> str:
    """The body's first paragraph in plain text; nothing of what students may not read yet."""
    if not assignment.enabled or (assignment.opens_at is not None and assignment.opens_at > timezone.now()):
        return ""
    paragraph = _PARAGRAPH.search(render(assignment.body))
    text = html.unescape(strip_tags(paragraph[1])) if paragraph else ""
    text = " ".join(text.split())
    return text if len(text) <= _DESCRIPTION_LIMIT else text[: _DESCRIPTION_LIMIT - 1].rstrip() + "…"


@dataclass(frozen=True)
class Answer:
    """What the browser brings back to the LMS: a form to post to `url`, or, without fields, the address to go to."""

    url: str
    fields: tuple[tuple[str, str], ...] = ()

    @property
    def origin(self) -> str:
        return origin_of(self.url)

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""


def answer_with(visit: Visit, chosen: Sequence[Assignment | Room], display: Display = Display.AS_LMS) -> Answer:
    """Answers the visit's request with these assignments and rooms, once (E8). They come from `launches.choices`.

    With constant URLs the LMS course has to know which course it opens: it remembers the chosen one, if it opens none
    yet. Raises `NotAccepted` for a choice that the request does not take, and `LaunchError` ALREADY_ANSWERED.
    """
    if any(one.course.organization_id != visit.organization.pk for one in chosen):
        raise ValueError("The assignment belongs to another organization.")
    selection = selection_from_json(visit.launch.selection or {})
    if not chosen:
        raise NotAccepted("Nothing is chosen yet.")
    items = [link_of(one, selection, display) for one in chosen]
    check_choice(selection, items)
    answer = _answer(visit, selection, items, "")
    with transaction.atomic():
        _use_up(visit)
        _remember_course(visit, {one.course for one in chosen if one.course.constant_urls})
    logger.info("selection_answered", kind=selection.kind, items=len(items))
    return answer


def answer_with_nothing(visit: Visit) -> Answer:
    """Cancels: the LMS gets an empty list (E4, C4), and a reason where its request takes no links at all.

    Raises `LaunchError` ALREADY_ANSWERED.
    """
    selection = selection_from_json(visit.launch.selection or {})
    answer = _answer(visit, selection, [], "" if selection.takes_links else "This tool offers links only.")
    _use_up(visit)
    logger.info("selection_cancelled", kind=selection.kind)
    return answer


def _answer(visit: Visit, selection: Selection, items: Sequence[LinkItem], error_message: str) -> Answer:
    if selection.kind == "canvas":
        if items:
            return Answer(content_items.canvas_selection_url(selection, items[0]))
        return Answer(return_url_with_message(selection.return_url, error_message=error_message))
    if selection.kind == "content_item":
        key = visit.launch.lti_key
        if key is None:
            raise _credential_gone()
        fields = content_items.answer_fields(
            selection,
            items,
            consumer_key=key.consumer_key,
            # While a secret is being replaced: the one that the LMS used last is the one that it knows (A19).
            secret=key.secrets_by_use()[0],
            error_message=error_message,
        )
        return Answer(selection.return_url, tuple(fields))
    deployment = visit.launch.deployment
    if deployment is None:
        raise _credential_gone()
    claims = deep_linking.response_claims(
        selection,
        items,
        issuer=deployment.registration.issuer,
        client_id=deployment.registration.client_id,
        deployment_id=deployment.deployment_id,
        # A platform whose clock is behind ours refuses what was signed in its future.
        now=int(time.time()) - BACKDATED,
        nonce=random_token(),
        error_message=error_message,
    )
    fields = deep_linking.answer_fields(claims, lambda signed: sign_jwt(visit.organization, signed))
    return Answer(selection.return_url, tuple(fields))


def _credential_gone() -> LaunchError:
    return LaunchError(LaunchErrorCode.INSTALLATION_DISABLED, "what the launch was signed with still exists")


def check_unanswered(launch: Launch) -> None:
    """Raises `LaunchError` ALREADY_ANSWERED when the request had its answer (E8)."""
    if launch.answered_at is not None:
        raise _already_answered()


def _already_answered() -> LaunchError:
    return LaunchError(
        LaunchErrorCode.ALREADY_ANSWERED,
        "the request is not answered yet",
        cause="The choice was sent twice: a double click, a reload, or two windows with the same picker.",
    )


def _use_up(visit: Visit) -> None:
    unanswered = Launch.objects.filter(pk=visit.launch.pk, answered_at=None)
    if not unanswered.update(answered_at=timezone.now()):
        raise _already_answered()


def _remember_course(visit: Visit, courses: Iterable[Course]) -> None:
    context = context_from_json(visit.launch.selection or {})
    only = list(courses)
    if len(only) != 1 or not context.id:
        return
    lms_course_id, _ = upsert(
        LmsCourse,
        {"installation_id": visit.installation.pk, "context_id": context.id},
        {"title": context.title[:1000], "label": context.label[:255]},
        update=[],
    )
    LmsCourse.objects.filter(pk=lms_course_id, course=None).update(course=only[0])
