"""What a tool answers when a teacher chose content: verified, and made into links of the course (Deep Linking 2.0)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from demo_lms import course as courses
from demo_lms import messages, storage
from demo_lms.course import Course, Person, RegisteredTool
from demo_lms.id_tokens import SELECTION_DATA
from demo_lms.tool_keys import NotGenuine, verified
from lti.return_url import safe_http_url
from lti.v1p3 import vocabulary as names
from lti.v1p3.json_text import JsonObject, number_in, object_in, text_in

SECTION = "Added from the platform"


class NotTaken(Exception):
    """An answer that is not believed or not understood; the text says why."""


@dataclass(frozen=True)
class Taken:
    """`titles` of the links that were added; `message` and `error` are what the tool says to the teacher."""

    titles: tuple[str, ...]
    message: str
    error: str


def take(token: str, tool: RegisteredTool, course: Course, person: Person) -> Taken:
    """Add what was chosen to the course. Raises `NotTaken`."""
    try:
        claims = verified(
            token,
            tool,
            audience=tool.preset.issuer,
            issuer=tool.client_id,
            options={"require": ["iss", "aud", "exp", "iat", "nonce"]},
        )
    except NotGenuine as error:
        _remember(person, {}, f"refused: {error}")
        raise NotTaken(f"The tool's answer is not valid: {error}.") from None
    try:
        _check(claims, tool)
        listed = claims.get(names.CONTENT_ITEMS, [])
        if not isinstance(listed, list):
            raise NotTaken("The tool's answer has no list of items.")
        documents = [_link(item) for item in listed]
        if not storage.use_once(f"nonce {tool.client_id} {claims['nonce']}"):
            raise NotTaken("The tool's answer has been used already.")
    except NotTaken as error:
        _remember(person, claims, f"refused: {error}")
        raise
    courses.add_links(tool.client_id, documents)
    _remember(person, claims, f"{len(documents)} links added")
    return Taken(
        tuple(document["title"] for document in documents),
        text_in(claims, f"{names.DEEP_LINKING}msg")[:500],
        text_in(claims, f"{names.DEEP_LINKING}errormsg")[:500],
    )


def _remember(person: Person, claims: Mapping[str, Any], result: str) -> None:
    shown = {name: "[redacted]" if name == "nonce" else value for name, value in claims.items()}
    text = "JWT with the claims\n" + json.dumps(shown, indent=2, ensure_ascii=False) if claims else "(not readable)"
    messages.remember("selection", f"{person.name} chose content", messages.without_secrets(text[:20_000]), "", result)


def _check(claims: JsonObject, tool: RegisteredTool) -> None:
    wanted = {
        names.MESSAGE_TYPE: names.DEEP_LINKING_RESPONSE,
        names.VERSION: names.LTI_VERSION,
        names.DEPLOYMENT_ID: tool.deployment_id,
    }
    for name, value in wanted.items():
        if claims.get(name) != value:
            raise NotTaken(f"The tool's answer has another {name.removeprefix(names.CLAIM)} than {value}.")
    data = None if tool.preset.name == "moodle" else SELECTION_DATA
    if claims.get(f"{names.DEEP_LINKING}data") != data:
        raise NotTaken("The tool did not send the data back as it came.")


def _link(item: object) -> dict[str, Any]:
    """A content item as a link of the course's JSON file."""
    if not isinstance(item, dict) or item.get("type") != "ltiResourceLink":
        raise NotTaken("Only links are taken (ltiResourceLink).")
    members: JsonObject = item
    url = text_in(members, "url")
    if not safe_http_url(url):
        raise NotTaken("A link has no URL.")
    line_item = object_in(members, "lineItem")
    maximum = number_in(line_item, "scoreMaximum")
    if line_item and (maximum is None or maximum <= 0):
        raise NotTaken("A gradebook column needs a scoreMaximum above zero.")
    return {
        "section": SECTION,
        "title": text_in(members, "title")[:255] or "Untitled",
        "description": text_in(members, "text")[:500],
        "url": url,
        "container": "window" if "window" in members and "iframe" not in members else "frame",
        "maximum": maximum,
        "custom": {str(name): str(value) for name, value in object_in(members, "custom").items()},
        "resource_id": text_in(line_item, "resourceId"),
        "tag": text_in(line_item, "tag"),
    }
