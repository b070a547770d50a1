"""A course's own pages, in the LMS frame (below /launches/<id>/course/) and for members who signed in directly (below
/courses/<id>/): one view serves both, and this says who stands in front of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache

from courses.models import Course
from events.log import Actor
from launches.visits import Visit, get_visit_for_staff, launch_page
from organizations.models import Membership, Organization, Person, User


@dataclass(frozen=True)
class CourseAccess:
    """Somebody who teaches or looks after a course.

    `visit` in the LMS frame, `membership` for those who signed in directly: one of the two is there. `may_change` is
    False for a mentor, who sees and changes nothing.
    """

    course: Course
    actor: Actor
    may_change: bool
    visit: Visit | None = None
    membership: Membership | None = None

    @property
    def organization(self) -> Organization:
        return self.course.organization

    @property
    def layout(self) -> str:
        """The template that the page extends: `{% extends access.layout %}`."""
        return "frame.html" if self.visit else "site.html"

    @property
    def is_owner(self) -> bool:
        """An owner of the organization, signed in directly: the only one who may see keys."""
        return self.membership is not None and self.membership.role == Membership.Role.OWNER

    def url(self, page: str, **parameters: Any) -> str:
        """The address of another page of this course for the same person: `page` is the part of its route's name
        behind `course-` (signed in directly) and `launch-course-` (in the frame)."""
        if self.visit is not None:
            return reverse(f"launch-course-{page}", kwargs={"launch_id": self.visit.launch.id, **parameters})
        return reverse(f"course-{page}", kwargs={"course_id": self.course.pk, **parameters})

    def grading_url(self, page: str, assignment_id: UUID, **parameters: Any) -> str:
        """The address of a page on which an assignment is graded: `page` is the part of its route's name behind
        `launch-` (in the frame) and `course-grading-` (signed in directly)."""
        parameters["assignment_id"] = assignment_id
        if self.visit is not None:
            return reverse(f"launch-{page}", kwargs={"launch_id": self.visit.launch.id, **parameters})
        return reverse(f"course-grading-{page}", kwargs={"course_id": self.course.pk, **parameters})

    def is_own(self, person: Person) -> bool:
        """Whether this person is the one in front of the page."""
        if self.visit is not None:
            return person.pk == self.visit.person.pk
        return self.membership is not None and person.user_id == self.membership.user_id


CoursePage = Callable[..., HttpResponse]


def in_frame(view: CoursePage, *, changes: bool = False) -> Callable[..., HttpResponse]:
    """The view as a page of a launch, for the staff of the launch's course (`changes`: for its teachers only).

    The view is called with (request, access, …). For anybody else, and where the launch leads to no course, the page
    does not exist.
    """

    @launch_page
    def page(request: HttpRequest, launch_id: UUID, **parameters: Any) -> HttpResponse:
        visit = get_visit_for_staff(request, launch_id)
        if visit.course is None or (changes and not visit.is_teacher):
            raise Http404
        course = visit.course
        course.organization = visit.organization
        access = CourseAccess(course, Actor.of(visit.person), visit.is_teacher, visit=visit)
        return view(request, access, **parameters)

    return page


def signed_in(view: CoursePage, *, owners_only: bool = False) -> Callable[..., HttpResponse]:
    """The view as a page for members of the course's organization who signed in directly (pages.md)."""

    @never_cache
    @login_required
    def page(request: HttpRequest, course_id: UUID, **parameters: Any) -> HttpResponse:
        access = member_access(cast(User, request.user), course_id)
        if access is None or (owners_only and not access.is_owner):
            raise Http404
        return view(request, access, **parameters)

    return page


def member_access(user: User, course_id: UUID) -> CourseAccess | None:
    """The user's access to a course of an organization that they are a member of."""
    membership = (
        user.memberships.select_related("organization")
        .filter(organization__courses=course_id, organization__enabled=True)
        .first()
    )
    if membership is None:
        return None
    course = Course.objects.get(pk=course_id)
    course.organization = membership.organization
    return CourseAccess(course, Actor.of(user), True, membership=membership)
