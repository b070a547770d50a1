"""Choosing content over LTI 1.1: Content-Item 1.0, and Canvas's selection launches before it (C1 to C11)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from urllib.parse import quote, urlencode

from lti.errors import LaunchError, LaunchErrorCode
from lti.message import LaunchMessage
from lti.return_url import safe_http_url
from lti.selection import (
    TEXT_LIMIT,
    TITLE_LIMIT,
    LinkItem,
    NotAccepted,
    Selection,
    check_choice,
    json_number,
)
from lti.texts import single_line, truncated
from lti.v1p1.launch import LAUNCH, Form, is_selection_launch, message_of, require_user
from lti.v1p1.oauth1 import Pair, sign_form

CONTENT_ITEM_REQUEST = "ContentItemSelectionRequest"
CONTENT_ITEM_RESPONSE = "ContentItemSelection"
LINK_MEDIA_TYPE = "application/vnd.ims.lti.v1.ltilink"
CONTEXT = "http://purl.imsglobal.org/ctx/lti/v1/ContentItem"
TOTAL_SCORE = "http://purl.imsglobal.org/ctx/lis/v2p1/Result#totalScore"
#: Bytes of the items in an answer.
SIZE_LIMIT = 256 * 1024
DATA_LIMIT = 8 * 1024
_MESSAGE_LIMIT = 500
#: What is left of a URL that browsers, proxies and Canvas all take.
_GET_LIMIT = 8000

Members = dict[str, object]


def is_selection(values: Mapping[str, str]) -> bool:
    """Whether these verified parameters ask to choose content, in either way."""
    if values.get("lti_message_type") == CONTENT_ITEM_REQUEST:
        return True
    return values.get("lti_message_type") == LAUNCH and is_selection_launch(values)


def to_selection_message(form: Form) -> LaunchMessage:
    """The message of a verified form that asks to choose content; its ``selection`` says what is taken.

    Raises ``LaunchError`` MISSING_PARAMETER, MALFORMED or UNSUPPORTED_MESSAGE. Who may choose is the caller's to say
    (C3: nobody but teachers).
    """
    values = form.values
    version = values.get("lti_version", "")
    if version != "LTI-1p0":
        if not version.strip():
            raise _missing("lti_version", "What was posted is no LTI launch.")
        raise LaunchError(LaunchErrorCode.UNSUPPORTED_MESSAGE, "lti_version", expected="LTI-1p0", received=version)
    if not is_selection(values):
        raise LaunchError(
            LaunchErrorCode.UNSUPPORTED_MESSAGE,
            "lti_message_type",
            expected=CONTENT_ITEM_REQUEST,
            received=values.get("lti_message_type", ""),
        )
    require_user(values)
    if values.get("lti_message_type") == CONTENT_ITEM_REQUEST:
        # Nothing is opened, whatever else the LMS puts into the form.
        return replace(message_of(form), resource_link_id="", selection=_content_item_selection(_form_only(form)))
    return replace(message_of(form), selection=_canvas_selection(values))


def _form_only(form: Form) -> dict[str, str]:
    """What the LMS itself said: the query belongs to whoever wrote the link, and is signed unread."""
    in_query = dict(form.query_pairs)
    return {name: value for name, value in form.pairs if name not in in_query}


def _missing(name: str, cause: str) -> LaunchError:
    return LaunchError(LaunchErrorCode.MISSING_PARAMETER, name, expected=name, cause=cause)


def _list(values: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in values.get(name, "").split(",") if part.strip())


def _checked_return_url(values: Mapping[str, str], *names: str) -> str:
    found = next((values[name].strip() for name in names if values.get(name, "").strip()), "")
    if not found:
        raise _missing(names[0], "The LMS asked to choose content, but named no place to send the choice to.")
    if not safe_http_url(found):
        raise LaunchError(LaunchErrorCode.MALFORMED, f"{names[0]} is a URL")
    return found


def _content_item_selection(values: Mapping[str, str]) -> Selection:
    for name in ("accept_media_types", "accept_presentation_document_targets"):
        if not values.get(name, "").strip():
            raise _missing(name, "The LMS asked to choose content, but did not say what it takes.")
    media_types = _list(values, "accept_media_types")
    data = values.get("data")
    if data is not None and len(data) > DATA_LIMIT:
        raise LaunchError(LaunchErrorCode.MALFORMED, "length of data", received=f"{len(data)} characters")
    return Selection(
        kind="content_item",
        return_url=_checked_return_url(values, "content_item_return_url"),
        takes_links=accepts_media_type(media_types, LINK_MEDIA_TYPE),
        accept_media_types=media_types,
        document_targets=_list(values, "accept_presentation_document_targets"),
        # Absent means several by the standard, but Chamilo leaves it out and takes one (C2).
        accept_multiple=_true(values, "accept_multiple"),
        auto_create=_true(values, "auto_create"),
        title=values.get("title", ""),
        text=values.get("text", ""),
        data=data,
    )


def _canvas_selection(values: Mapping[str, str]) -> Selection:
    """C9. ``select_link`` asks for a launch URL; ``embed_content`` for what ``ext_content_return_types`` names."""
    types = _list(values, "ext_content_return_types") or _list(values, "selection_directive")
    return Selection(
        kind="canvas",
        return_url=_checked_return_url(values, "ext_content_return_url", "launch_presentation_return_url"),
        takes_links="lti_launch_url" in types or values.get("selection_directive") == "select_link",
        accept_types=types,
        title=values.get("title", ""),
        text=values.get("text", ""),
    )


def _true(values: Mapping[str, str], name: str) -> bool:
    return values.get(name, "").strip().lower() == "true"


def accepts_media_type(accepted: Sequence[str], media_type: str) -> bool:
    """Whether a media type is among those accepted, wildcards included (C7).

    ``image/*`` takes every image, ``*/*`` everything.
    """
    family = media_type.partition("/")[0]
    return any(one.lower() in {media_type, f"{family}/*", "*/*", "*"} for one in accepted)


def answer_fields(
    selection: Selection,
    items: Sequence[LinkItem],
    *,
    consumer_key: str,
    secret: str,
    message: str = "",
    error_message: str = "",
    log: str = "",
    error_log: str = "",
    signature_method: str = "HMAC-SHA1",
    timestamp: int | None = None,
    nonce: str | None = None,
) -> list[Pair]:
    """The fields of the signed form that the browser posts to the return URL (C4), the signature last.

    Signed whatever ``accept_unsigned`` said, over the return URL's query too. No items are a cancellation. Raises
    ``NotAccepted`` for a choice that the request does not take, or one that is too large (C11).
    """
    check_choice(selection, items)
    fields: list[Pair] = [("lti_message_type", CONTENT_ITEM_RESPONSE), ("lti_version", "LTI-1p0")]
    if items:
        graph = [link_item(item, selection) for item in items]
        content = json.dumps({"@context": CONTEXT, "@graph": graph})
        if len(content) > SIZE_LIMIT:
            raise NotAccepted("The chosen items do not fit into one answer; choose fewer.")
        fields.append(("content_items", content))
    if selection.data is not None:
        fields.append(("data", selection.data))
    texts = {"lti_msg": message, "lti_errormsg": error_message, "lti_log": log, "lti_errorlog": error_log}
    fields += [(name, truncated(single_line(text), _MESSAGE_LIMIT)) for name, text in texts.items() if text.strip()]
    return sign_form(
        selection.return_url,
        fields,
        consumer_key,
        secret,
        signature_method=signature_method,
        timestamp=timestamp,
        nonce=nonce,
    )


def link_item(item: LinkItem, selection: Selection) -> Members:
    """One link as an ``LtiLinkItem`` (C5, C6)."""
    members: Members = {
        "@type": "LtiLinkItem",
        "mediaType": LINK_MEDIA_TYPE,
        "url": item.url,
        "title": truncated(single_line(item.title), TITLE_LIMIT),
    }
    if item.text:
        members["text"] = truncated(item.text, TEXT_LIMIT)
    if item.icon is not None:
        sizes = {"width": item.icon.width, "height": item.icon.height}
        members["icon"] = {"@id": item.icon.url, **{name: size for name, size in sizes.items() if size is not None}}
    if item.custom:
        members["custom"] = dict(item.custom)
    advice = _placement_advice(item, selection)
    if advice:
        members["placementAdvice"] = advice
    if item.line_item is not None:
        offer = item.line_item
        maximum = json_number(offer.score_maximum)
        members["lineItem"] = {
            "@type": "LineItem",
            "label": truncated(single_line(offer.label or item.title), TITLE_LIMIT),
            "reportingMethod": TOTAL_SCORE,
            "assignedActivity": {"activityId": offer.resource_id or item.url},
            # Not in the standard; Moodle keeps it, and others pass it over.
            **({"tag": offer.tag} if offer.tag else {}),
            # Moodle reads totalMaximum first (C6).
            "scoreConstraints": {"@type": "NumericLimits", "normalMaximum": maximum, "totalMaximum": maximum},
        }
    return members


def _placement_advice(item: LinkItem, selection: Selection) -> Members:
    """How to show the link, of the targets that the request offers alone (C5)."""
    if item.iframe is not None and "iframe" in selection.document_targets:
        return {
            "presentationDocumentTarget": "iframe",
            "displayWidth": item.iframe[0],
            "displayHeight": item.iframe[1],
        }
    if item.window is not None and "window" in selection.document_targets:
        advice: Members = {"presentationDocumentTarget": "window"}
        named = {
            "windowTarget": item.window.name or None,
            "displayWidth": item.window.width,
            "displayHeight": item.window.height,
        }
        return advice | {name: value for name, value in named.items() if value is not None}
    return {}


def canvas_selection_url(selection: Selection, item: LinkItem) -> str:
    """Where the browser goes (GET) with the choice of a Canvas selection launch (C10); Canvas takes one.

    Raises ``NotAccepted`` for a choice that the request does not take.
    """
    check_choice(selection, [item])
    if selection.kind != "canvas":
        raise NotAccepted("This request is answered by a form.")
    chosen = [
        ("return_type", "lti_launch_url"),
        ("url", item.url),
        ("title", truncated(single_line(item.title), TITLE_LIMIT)),
        ("text", truncated(single_line(item.text or item.title), TITLE_LIMIT)),
    ]
    base, hash_mark, fragment = selection.return_url.partition("#")
    separator = "" if base.endswith(("?", "&")) else "&" if "?" in base else "?"
    url = f"{base}{separator}{urlencode(chosen, quote_via=quote, safe='')}{hash_mark}{fragment}"
    if len(url) > _GET_LIMIT:
        raise NotAccepted("The link is too long to be given back by its address.")
    return url
