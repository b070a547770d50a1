"""Where in Canvas the tool can be opened (A50, D46): the same places in the LTI 1.1 XML and the LTI 1.3 JSON.

``homework_submission`` is not among them: there students choose, and choosing is for teachers (C3).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CanvasPlacement:
    """A place in Canvas. ``chooses`` where it opens the picker; else it opens the LMS course's own course.

    ``width`` and ``height`` are the picker's, in pixels. ``lti_1p3_only``: Canvas has the place for LTI 1.3 alone.
    """

    name: str
    chooses: bool = True
    width: int = 800
    height: int = 600
    lti_1p3_only: bool = False


CANVAS_PLACEMENTS = (
    CanvasPlacement("resource_selection"),
    CanvasPlacement("assignment_selection"),
    CanvasPlacement("link_selection"),
    CanvasPlacement("module_index_menu_modal", lti_1p3_only=True),
    CanvasPlacement("editor_button"),
    CanvasPlacement("course_navigation", chooses=False),
)
