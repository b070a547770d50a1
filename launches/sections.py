"""The section of a page that a launch asks for: custom parameter `page` (codio.md 1.5)."""

from dataclasses import dataclass

from courses.markdown import Section, section_of
from courses.models import Assignment
from launches.visits import Visit

PAGE = ("page", "codio_page")


@dataclass(frozen=True)
class AskedSection:
    """What the link in the LMS asks for by name, and the section that is meant; None where the body has none such."""

    name: str
    section: Section | None


def asked_section(visit: Visit, assignment: Assignment) -> AskedSection | None:
    """The section that this launch opens; None where it asks for none. A `link` assignment's content gets the parameter
    in its hand-off."""
    name = str(visit.launch.custom.get("page", "")).strip()
    if not name or assignment.kind != Assignment.Kind.PAGE or visit.launch.assignment_id != assignment.pk:
        return None
    return AskedSection(name, section_of(assignment.body, name))
