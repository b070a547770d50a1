"""The JSON with which a Canvas administrator makes a developer key for the tool (D46)."""

from __future__ import annotations

from collections.abc import Sequence

from lti.canvas_placements import CANVAS_PLACEMENTS, CanvasPlacement
from lti.v1p3 import vocabulary as names
from lti.v1p3.dynamic_registration import ToolDescription


def canvas_configuration(
    tool: ToolDescription, placements: Sequence[CanvasPlacement] = CANVAS_PLACEMENTS
) -> dict[str, object]:
    """The document that Canvas reads by URL (developerdocs.instructure.com, manually configuring LTI tools)."""
    return {
        "title": tool.name,
        "description": tool.description or tool.name,
        "oidc_initiation_url": tool.login_url,
        "target_link_uri": tool.target_link_uri,
        "redirect_uris": [tool.launch_url],
        "public_jwk_url": tool.jwks_url,
        "scopes": list(tool.scopes),
        "custom_fields": dict(tool.custom_parameters),
        "extensions": [
            {
                "platform": "canvas.instructure.com",
                "domain": tool.domain,
                "tool_id": tool.tool_id or tool.domain,
                "privacy_level": "public",
                "settings": {
                    "text": tool.name,
                    **({"icon_url": _icon(tool)} if _icon(tool) else {}),
                    "placements": [_canvas_placement(tool, placement) for placement in placements],
                },
            }
        ],
    }


def _icon(tool: ToolDescription) -> str:
    return tool.logo_url or tool.icon_url


def _canvas_placement(tool: ToolDescription, placement: CanvasPlacement) -> dict[str, object]:
    members: dict[str, object] = {
        "placement": placement.name,
        "enabled": True,
        "text": tool.name,
        "message_type": names.DEEP_LINKING_REQUEST if placement.chooses else names.RESOURCE_LINK_REQUEST,
        "target_link_uri": tool.target_link_uri if placement.chooses else tool.course_url or tool.target_link_uri,
    }
    if placement.chooses:
        members |= {"selection_width": placement.width, "selection_height": placement.height}
    if placement.name == "editor_button" and _icon(tool):
        members["icon_url"] = _icon(tool)
    if placement.name == "course_navigation":
        # In the navigation of a course once its teacher puts it there, not in all courses of the account.
        members |= {"default": "disabled", "visibility": "public"}
    return members
