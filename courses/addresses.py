"""Absolute URLs that an LMS is given (contract §3)."""

from uuid import UUID

from django.conf import settings

from courses.models import Assignment, Course
from lti.return_url import safe_http_url

# The query parameter of a launch URL that names whose work to open.
PERSON = "person"


def assignment_url(assignment: Assignment) -> str:
    """An assignment's LTI integration URL: LTI 1.1 launch URL and LTI 1.3 target_link_uri."""
    return f"{settings.BASE_URL}/lti/assignments/{assignment.id}"


def work_url(assignment: Assignment, person_id: UUID) -> str:
    """The same URL for one person's work: a teacher sees that work, a student their own page (F12)."""
    return f"{assignment_url(assignment)}?{PERSON}={person_id}"


def constant_url(assignment: Assignment) -> str:
    """The URL that every copy of the course shares."""
    return f"{settings.BASE_URL}/lti/constant/{assignment.constant_key}"


def enroll_url(course: Course) -> str:
    """Enrols in the course and opens its dashboard."""
    return f"{settings.BASE_URL}/lti/courses/{course.id}/enroll"


def lms_course_link(course: Course) -> str:
    """The Course LMS URL, where people may be sent who come from our own pages (K3); "" without a safe one.

    https only, http where settings allow; looked at again here, since settings and checks change after it was stored.
    """
    url = course.lms_course_url
    allowed = ("https://", "http://") if settings.OUTBOUND_ALLOW_HTTP else ("https://",)
    return url if url.lower().startswith(allowed) and safe_http_url(url) else ""
