"""The ways between a course's own pages, in the LMS frame and signed in directly."""

from dataclasses import dataclass

from django.urls import NoReverseMatch, reverse

from events.log import Actor
from launches.course_access import CourseAccess
from launches.visits import Visit


@dataclass(frozen=True)
class Entry:
    """One page of the course: `page` as in `CourseAccess.url`."""

    page: str
    label: str
    url: str


# For teachers and members only: a mentor changes nothing, and a copy is a change.
_FOR_CHANGES = {"copy"}
_LABELS = {
    "dashboard": "Assignments",
    "gradebook": "Gradebook",
    "rooms": "Live sessions",
    "lti": "LTI/LMS",
    "exports": "Exports",
    "setup": "Set-up guide",
    "copy": "Copy",
    "people": "People",
}


def access_of(visit: Visit) -> CourseAccess | None:
    """A visit's access to its course, for staff; nobody else has one."""
    if visit.course is None or not visit.is_staff:
        return None
    visit.course.organization = visit.organization
    return CourseAccess(visit.course, Actor.of(visit.person), visit.is_teacher, visit=visit)


def entries(access: CourseAccess) -> list[Entry]:
    """The pages that this person has of the course."""
    found = []
    for page, label in _LABELS.items():
        if page in _FOR_CHANGES and not access.may_change:
            continue
        url = _url(access, page)
        if url:
            found.append(Entry(page, label, url))
    return found


def _url(access: CourseAccess, page: str) -> str:
    # The people of a visit are older than the course's own pages, and have their address beside them.
    if page == "people" and access.visit is not None:
        return reverse("launch-people", args=[access.visit.launch.id])
    try:
        return access.url(page)
    except NoReverseMatch:
        return ""
