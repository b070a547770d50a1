"""What is left to do in each LMS once an export is there (H11, codio.md 1.11). The texts are Markdown of one line.

Menus are called as in the set-up guides (`launches/setup/`), which say the same step by step.
"""

from dataclasses import dataclass
from enum import StrEnum


class Export(StrEnum):
    """What a course's Exports page offers."""

    CARTRIDGE_1P3 = "cartridge_1p3"
    CARTRIDGE_1P1 = "cartridge_1p1"
    CSV = "csv"
    XML = "xml"
    JSON = "json"


@dataclass(frozen=True)
class Note:
    """What is left to do in one LMS; `lms` is its canonical name (lti/products.py)."""

    lms: str
    title: str
    text: str


_TITLES = {
    "canvas": "Canvas",
    "moodle": "Moodle",
    "chamilo": "Chamilo",
    "blackboard": "Blackboard",
    "brightspace": "Brightspace",
    "sakai": "Sakai",
}
_TEXTS: dict[Export, dict[str, str]] = {
    Export.CARTRIDGE_1P3: {
        "canvas": "**Settings → Import Course Content → Common Cartridge 1.x Package**. Graded assignments arrive as "
        "external tool assignments with their points. Then open each one, **Edit → Find**, choose the tool once more, "
        "and publish.",
        "moodle": "Does not read version 1.3: take 1.1.",
        "chamilo": "Imports the cartridge's structure, but not its tool links: add each link by hand, from the CSV.",
        "blackboard": "The tool's domain has to be registered first. **Packages and Utilities → Import Package**, then "
        "switch **Enable Evaluation** on in each link whose grade is to arrive.",
        "brightspace": "The tool's domain has to be registered first. **Course Admin → Import / Export / Copy "
        "Components**, then add the links to the content by **Existing Activities** and give each its grade item.",
        "sakai": "The tool has to be installed first. **Lessons → More Tools → Import from Common Cartridge**, then "
        "tie each link to a gradebook item.",
    },
    Export.CARTRIDGE_1P1: {
        "canvas": "Takes it as it takes 1.3, with the same steps afterwards.",
        "moodle": "**More → Course reuse → Restore** (not **Import**), and merge into this course. The tool has to be "
        "set up first; then open each activity's settings, and check its tool, **Accept grades** and the maximum. "
        "Moodle leaves custom parameters out.",
        "chamilo": "Imports no tool links from it: add each link by hand, from the CSV.",
        "blackboard": "Takes it as it takes 1.3, with the same steps afterwards.",
        "brightspace": "Takes it as it takes 1.3, with the same steps afterwards.",
        "sakai": "Takes it as it takes 1.3, with the same steps afterwards.",
    },
    Export.CSV: {
        "canvas": "LTI 1.1: paste each URL as **External Tool URL** of an assignment. LTI 1.3: use **Find**, and the "
        "picker, in place of URLs.",
        "moodle": "Add an activity of the tool for each row, with the URL as **Tool URL**, and tick **Accept grades**.",
        "chamilo": "Add an external tool for each row under **Configure external tools**, with the URL as launch URL.",
        "blackboard": "**Build Content → Web Link** for each row, tick **This link is to a tool provider**, and switch "
        "**Enable Evaluation** on.",
        "brightspace": "Make a link for each row under **External Learning Tools**, then add it by **Existing "
        "Activities** and tie it to a grade item.",
        "sakai": "**Lessons → Add Content → Add External Tool** for each row, with the URL as its launch URL.",
    },
    Export.XML: {
        "canvas": "**Settings → Apps → View App Configurations → + App → By URL**, with key and secret from an owner. "
        "The entry in the course navigation is hidden until a teacher moves it up under **Settings → Navigation**.",
        "moodle": "Paste it as **Tool URL** of a new external tool, then add key and secret. Canvas's buttons mean "
        "nothing there.",
        "chamilo": "Does not read it: add the tool in the **IMS/LTI** plugin with launch URL, key and secret.",
        "blackboard": "Does not read it: an administrator registers the domain under **LTI Tool Providers**.",
        "brightspace": "Does not read it: register the tool under **External Learning Tools**.",
        "sakai": "Does not read it: install the tool under **External Tools** in the administration workspace.",
    },
    Export.JSON: {
        "canvas": "An administrator: **Developer Keys → + LTI Key → Enter URL**, then switch the key on and install "
        "the app by its client id.",
        "moodle": "Does not read it: use dynamic registration, for which an owner makes the URL.",
        "chamilo": "Does not read it: an administrator of both enters the LTI 1.3 values by hand.",
        "blackboard": "Does not read it: an owner registers an application with Blackboard, whose administrators then "
        "add its client id.",
        "brightspace": "Does not read it: register the tool under **LTI Advantage**, by itself or by hand.",
        "sakai": "Does not read it: use dynamic registration, or enter the values under **External Tools**.",
    },
}


def notes_for(export: Export, own_lms: str = "") -> list[Note]:
    """What is left to do, the LMS that one came from first."""
    texts = _TEXTS[export]
    ordered = sorted(_TITLES, key=lambda lms: lms != own_lms)
    return [Note(lms, _TITLES[lms], texts[lms]) for lms in ordered]
