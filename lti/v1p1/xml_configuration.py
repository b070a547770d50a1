"""The XML with which an LMS adds the tool over LTI 1.1 by URL or paste (A47 to A53)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from urllib.parse import urlsplit

from lti.basic_lti_link import LTI_1P0, BasicLtiLink, Options, Vendor, link_document
from lti.canvas_placements import CANVAS_PLACEMENTS, CanvasPlacement
from lti.v1p1.content_items import CONTENT_ITEM_REQUEST

_NONE: Mapping[str, str] = MappingProxyType({})
XML_PLACEMENTS = tuple(placement for placement in CANVAS_PLACEMENTS if not placement.lti_1p3_only)


class PrivacyLevel(StrEnum):
    """What Canvas says of people in a launch (A49)."""

    PUBLIC = "public"
    NAME_ONLY = "name_only"
    EMAIL_ONLY = "email_only"
    ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class XmlTool:
    """The tool as the XML describes it; URLs are absolute, and best without a query: Canvas refuses some (A51).

    ``launch_url`` opens what the launch says, else the picker; ``placement_urls`` are the URLs of placements that have
    one of their own, by name.
    """

    name: str
    description: str
    launch_url: str
    tool_id: str
    vendor: Vendor
    placement_urls: Mapping[str, str] = field(default_factory=lambda: _NONE)
    icon_url: str = ""
    custom: Mapping[str, str] = field(default_factory=lambda: _NONE)


def xml_configuration(
    tool: XmlTool,
    *,
    privacy_level: PrivacyLevel = PrivacyLevel.PUBLIC,
    placements: Sequence[CanvasPlacement] = XML_PLACEMENTS,
) -> bytes:
    """The document. Without placements it is valid by 1EdTech's schema; Canvas's groups are no part of that (A48)."""
    picker = next((placement for placement in placements if placement.chooses), XML_PLACEMENTS[0])
    canvas = {
        "tool_id": tool.tool_id,
        "privacy_level": privacy_level.value,
        "domain": urlsplit(tool.launch_url).hostname or "",
        "text": tool.name,
        # A launch URL's query is signed with the rest and not repeated in the body.
        "oauth_compliant": "true",
        "selection_width": str(picker.width),
        "selection_height": str(picker.height),
    }
    if tool.icon_url:
        canvas["icon_url"] = tool.icon_url
    link = BasicLtiLink(
        title=tool.name,
        launch_url=tool.launch_url,
        vendor=tool.vendor,
        description=tool.description,
        custom=tool.custom,
        canvas=canvas,
        options=[_options(tool, placement) for placement in placements],
        icon_url=tool.icon_url,
    )
    return link_document(link, LTI_1P0)


def _options(tool: XmlTool, placement: CanvasPlacement) -> Options:
    properties = {
        "url": tool.placement_urls.get(placement.name, tool.launch_url),
        "text": tool.name,
        "enabled": "true",
    }
    if placement.chooses:
        properties |= {
            "message_type": CONTENT_ITEM_REQUEST,
            "selection_width": str(placement.width),
            "selection_height": str(placement.height),
        }
    if placement.name == "editor_button" and tool.icon_url:
        properties["icon_url"] = tool.icon_url
    if placement.name == "course_navigation":
        # In the navigation of a course once its teacher puts it there, not in all courses of the account.
        properties |= {"default": "disabled", "visibility": "public"}
    return Options(placement.name, properties)
