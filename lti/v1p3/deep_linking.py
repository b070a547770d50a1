"""Deep Linking 2.0: what the LMS asks for, and the answer with what was chosen (E1 to E9)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from lti.errors import LaunchError, LaunchErrorCode
from lti.selection import (
    TEXT_LIMIT,
    TITLE_LIMIT,
    LinkItem,
    NotAccepted,
    Period,
    Selection,
    Window,
    check_choice,
    json_number,
)
from lti.texts import single_line, truncated
from lti.v1p3 import vocabulary as names
from lti.v1p3.claims import usable_url
from lti.v1p3.json_text import JsonObject, object_in, text_in, texts_in

LIFETIME = 300
#: Bytes of a signed answer; the browser posts it in one form.
SIZE_LIMIT = 256 * 1024
LTI_RESOURCE_LINK = "ltiResourceLink"
_LTI_LINK_MEDIA_TYPE = "application/vnd.ims.lti.v1.ltilink"
_MESSAGE_LIMIT = 500

Members = dict[str, object]


def selection_of(claims: JsonObject) -> Selection:
    """What the claims of a deep linking request ask for (E1).

    Raises ``LaunchError`` MISSING_PARAMETER without return URL, accepted types or targets, MALFORMED for a return URL
    that is none.
    """
    settings = object_in(claims, names.DEEP_LINKING_SETTINGS)
    for name in ("deep_link_return_url", "accept_types", "accept_presentation_document_targets"):
        if not (text_in(settings, name) or texts_in(settings, name)):
            raise LaunchError(
                LaunchErrorCode.MISSING_PARAMETER,
                f"deep_linking_settings.{name}",
                expected=name,
                cause="The LMS asked to choose content, but did not say enough about what it takes.",
            )
    return_url = usable_url(text_in(settings, "deep_link_return_url"))
    if not return_url:
        raise LaunchError(LaunchErrorCode.MALFORMED, "deep_link_return_url is a URL")
    line_items = settings.get("accept_lineitem")
    data = settings.get("data")
    types = texts_in(settings, "accept_types")
    return Selection(
        kind="deep_linking",
        return_url=return_url,
        takes_links=LTI_RESOURCE_LINK in types,
        accept_types=types,
        accept_media_types=_listed(settings, "accept_media_types"),
        document_targets=texts_in(settings, "accept_presentation_document_targets"),
        # Absent means one (E2).
        accept_multiple=_true(settings.get("accept_multiple")),
        accepts_line_item=None if line_items is None else _true(line_items),
        auto_create=_true(settings.get("auto_create")),
        title=text_in(settings, "title"),
        text=text_in(settings, "text"),
        data=data if isinstance(data, str) else None,
    )


def _listed(settings: JsonObject, name: str) -> tuple[str, ...]:
    # A comma list by the standard, an array from some.
    return tuple(part.strip() for text in texts_in(settings, name) for part in text.split(",") if part.strip())


def _true(value: object) -> bool:
    return value is True or (isinstance(value, str) and value.strip().lower() == "true")


def response_claims(
    selection: Selection,
    items: Sequence[LinkItem],
    *,
    issuer: str,
    client_id: str,
    deployment_id: str,
    now: int,
    nonce: str,
    message: str = "",
    error_message: str = "",
    log: str = "",
    error_log: str = "",
    line_items_when_unsaid: bool = True,
) -> Members:
    """The claims of the answer, to be signed with the tool's key (E3); no items are a cancellation (E4).

    ``issuer`` is the platform's. ``line_items_when_unsaid``: whether graded links say so to a platform that did not
    say whether it takes line items (E2). Raises ``NotAccepted`` for a choice that the request does not take.
    """
    check_choice(selection, items)
    claims: Members = {
        "iss": client_id,
        "aud": issuer,
        "iat": now,
        "exp": now + LIFETIME,
        "nonce": nonce,
        names.MESSAGE_TYPE: names.DEEP_LINKING_RESPONSE,
        names.VERSION: names.LTI_VERSION,
        names.DEPLOYMENT_ID: deployment_id,
        names.CONTENT_ITEMS: [
            content_item(item, selection, line_items_when_unsaid=line_items_when_unsaid) for item in items
        ],
    }
    if selection.data is not None:
        claims[f"{names.DEEP_LINKING}data"] = selection.data
    texts = {"msg": message, "errormsg": error_message, "log": log, "errorlog": error_log}
    claims |= {
        f"{names.DEEP_LINKING}{name}": truncated(single_line(text), _MESSAGE_LIMIT)
        for name, text in texts.items()
        if text.strip()
    }
    return claims


def answer_fields(claims: Members, sign: Callable[[Members], str]) -> list[tuple[str, str]]:
    """The fields of the form that the browser posts to the return URL (E4). Raises ``NotAccepted`` when too large."""
    token = sign(claims)
    if len(token) > SIZE_LIMIT:
        raise NotAccepted("The chosen items do not fit into one answer; choose fewer.")
    return [("JWT", token)]


def content_item(item: LinkItem, selection: Selection, *, line_items_when_unsaid: bool = True) -> Members:
    """One link as an ``ltiResourceLink`` (E5), with what this request takes."""
    members: Members = {
        "type": LTI_RESOURCE_LINK,
        "url": item.url,
        "title": truncated(single_line(item.title), TITLE_LIMIT),
    }
    if item.text:
        members["text"] = truncated(item.text, TEXT_LIMIT)
    if item.icon is not None:
        members["icon"] = _present({"url": item.icon.url, "width": item.icon.width, "height": item.icon.height})
    if item.custom:
        members["custom"] = dict(item.custom)
    takes_line_items = line_items_when_unsaid if selection.accepts_line_item is None else selection.accepts_line_item
    if item.line_item is not None and takes_line_items:
        offer = item.line_item
        members["lineItem"] = _present(
            {
                "scoreMaximum": json_number(offer.score_maximum),
                "label": truncated(single_line(offer.label), TITLE_LIMIT),
                "resourceId": offer.resource_id,
                "tag": offer.tag,
                "gradesReleased": offer.grades_released,
            }
        )
    for name, period in (("available", item.available), ("submission", item.submission)):
        dates = _period(period)
        if dates:
            members[name] = dates
    # Only targets that the request offers (C5).
    if item.iframe is not None and "iframe" in selection.document_targets:
        members["iframe"] = {"width": item.iframe[0], "height": item.iframe[1]}
    if item.window is not None and "window" in selection.document_targets:
        members["window"] = _window(item.window)
    return members


def _present(members: Members) -> Members:
    return {name: value for name, value in members.items() if value is not None and value != ""}


def _window(window: Window) -> Members:
    return _present({"targetName": window.name, "width": window.width, "height": window.height})


def _period(period: Period | None) -> Members:
    if period is None:
        return {}
    ends = {"startDateTime": period.start, "endDateTime": period.end}
    return {name: zulu(moment) for name, moment in ends.items() if moment is not None}


def zulu(moment: datetime) -> str:
    """An aware moment in ISO 8601, UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
