"""A student who signed in directly, in one course: the people of the organization that they are in there.

They are theirs by a link that was mailed to the address the LMS gave (organizations/own_sign_in.py). Whoever teaches a
course in the LMS is no teacher here by that: only a launch says so, for as long as its visit lasts (A30).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, cast
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.db.models import F
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache

from courses.addresses import lms_course_link
from courses.models import Course, Enrolment, LmsCourse
from organizations.models import Installation, Organization, Person, User


@dataclass(frozen=True)
class Learner:
    """`people`: those enrolled as students, the one who launched last first. None: they teach it in their LMS."""

    user: User
    course: Course
    people: tuple[Person, ...]

    @property
    def organization(self) -> Organization:
        return self.course.organization

    @property
    def lms_link(self) -> str:
        """Where the course is in the LMS; "" if nobody said so."""
        return lms_course_link(self.course)

    @property
    def may_work_here(self) -> bool:
        """Whether what was started may be gone on with here: not in a course that its owner closed to LMSs, too."""
        return self.course.lti_enabled

    @property
    def may_start_here(self) -> bool:
        """Whether new work may be started here: in a course whose assignments need no start from the LMS, since no
        grade goes back (B25)."""
        return self.course.lti_enabled and self.course.enroll_only

    def places(self) -> list[str]:
        """Where the course is opened, in words: its title in the LMS with the LMS's name, else the LMS's name."""
        everybody = Person.objects.filter(user=self.user, organization=self.course.organization_id)
        found = (
            LmsCourse.objects.filter(course=self.course, participations__person__in=everybody)
            .select_related("installation")
            .distinct()
            .order_by("title", "id")
        )
        places = [
            f"“{title}” in {lms_course.installation.name}"
            if (title := lms_course.title)
            else lms_course.installation.name
            for lms_course in found
        ]
        if not places:
            installations = Installation.objects.filter(accounts__person__in=everybody).distinct()
            places = [installation.name for installation in installations]
        return sorted(set(places))


def learner_of(user: User, course_id: UUID) -> Learner:
    """The user as a student of the course, or as somebody who teaches it in the LMS. Raises `Http404`."""
    enrolments = list(
        Enrolment.objects.filter(
            course=course_id,
            course__archived=False,
            course__organization__enabled=True,
            person__user=user,
            person__organization=F("course__organization"),
            state=Enrolment.State.ACTIVE,
        )
        .select_related("course__organization", "person")
        .order_by(F("last_launch_at").desc(nulls_last=True), "id")
    )
    if not enrolments:
        raise Http404
    students = [enrolment.person for enrolment in enrolments if enrolment.role == Enrolment.Role.STUDENT]
    return Learner(user, enrolments[0].course, tuple(students))


def learner_page(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """The view as a page for students who signed in directly; it is called with (request, learner, …)."""

    @never_cache
    @login_required
    @wraps(view)
    def page(request: HttpRequest, course_id: UUID, **parameters: Any) -> HttpResponse:
        learner = learner_of(cast(User, request.user), course_id)
        if not learner.people:
            raise Http404
        return view(request, learner, **parameters)

    return page
