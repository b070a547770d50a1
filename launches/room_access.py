"""Who stands in front of a room's pages: in the LMS frame (below /launches/<id>/course/rooms/) or signed in directly
(below /courses/<id>/rooms/), as staff of the course or as a student of it. One view serves all of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache

from courses.models import Assignment, Course
from launches.course_access import CourseAccess, member_access
from launches.course_navigation import access_of
from launches.grading_table import from_lms_course
from launches.learner_access import Learner, learner_of
from launches.mentoring import seen_by_mentor
from launches.visits import Visit, get_visit, launch_page
from organizations.models import Organization, Person, User
from recordings.library import Viewer
from recordings.models import Room


@dataclass(frozen=True)
class RoomAccess:
    """Somebody in a room of a course: staff have `access`, a student in the frame `visit`, one who signed in directly
    `learner`."""

    room: Room
    course: Course
    access: CourseAccess | None = None
    visit: Visit | None = None
    learner: Learner | None = None

    @property
    def organization(self) -> Organization:
        return self.course.organization

    @property
    def layout(self) -> str:
        """The template that the page extends."""
        return "frame.html" if self.visit is not None else "site.html"

    @property
    def is_staff(self) -> bool:
        return self.access is not None

    @property
    def may_change(self) -> bool:
        """Whether they start and end sessions, and look after recordings: teachers and members, no mentors."""
        return self.access is not None and self.access.may_change

    @property
    def may_join(self) -> bool:
        """Whether they may enter sessions from here. A student who signed in directly comes from the LMS: only a launch
        says who is in the course now, and where what they attended belongs."""
        return self.learner is None and not (self.visit is not None and self.visit.is_look)

    @property
    def who(self) -> Person | User:
        """As whom they start, enter and end sessions: a member who signed in directly as their user."""
        if self.visit is not None:
            return self.visit.person
        if self.access is not None and self.access.membership is not None:
            return self.access.membership.user
        return self.people[0]

    @property
    def people(self) -> tuple[Person, ...]:
        """The students whose attendance is their own: in the frame one; a student who signed in directly may have come
        from several LMSs."""
        if self.learner is not None:
            return self.learner.people
        return (self.visit.person,) if self.visit is not None else ()

    @property
    def custom(self) -> dict[str, str]:
        """The verified custom parameters of the launch."""
        return dict(self.visit.launch.custom) if self.visit is not None else {}

    @property
    def locale(self) -> str:
        return self.visit.launch.locale if self.visit is not None else ""

    def seen_people(self) -> list[UUID] | None:
        """Of those who attended the room's sessions the ones whom this member of staff may see; None: everybody.

        In the frame those of the launch's own LMS course, as in every table of people, and themselves.
        """
        if self.visit is None:
            return None
        seen = Person.objects.filter(
            from_lms_course(self.visit, "pk"),
            seen_by_mentor(self.visit, self.course, "pk"),
            organization=self.course.organization_id,
            attendances__meeting__room=self.room,
        )
        return [self.visit.person.pk, *seen.values_list("pk", flat=True).distinct()]

    @property
    def viewer(self) -> Viewer:
        """Which recordings they may see: students the published ones."""
        return Viewer(self.course.pk, sees_unpublished=self.is_staff)

    def url(self, page: str = "", **parameters: Any) -> str:
        """The address of a page of the room for the same person: `page` is the part of its route's name behind
        `course-room-` (signed in directly) and `launch-course-room-` (in the frame); "" is the room itself."""
        name = f"course-room-{page}" if page else "course-room"
        parameters["room_id"] = self.room.pk
        if self.visit is not None:
            return reverse(f"launch-{name}", kwargs={"launch_id": self.visit.launch.id, **parameters})
        return reverse(name, kwargs={"course_id": self.course.pk, **parameters})


RoomPage = Callable[..., HttpResponse]
EVERYBODY, STAFF, TEACHERS = "everybody", "staff", "teachers"


def access_in_visit(visit: Visit, room: Room) -> RoomAccess:
    """A visit's access to a room of its course. Raises `Http404` where the visit leads to no course, or to another."""
    if visit.course is None or room.course_id != visit.course.pk:
        raise Http404
    visit.course.organization = visit.organization
    room.course = visit.course
    return RoomAccess(room, visit.course, access=access_of(visit), visit=visit)


def room_of_assignment(assignment: Assignment) -> Room | None:
    """The room of an assignment that is a live session; None where nobody has said which."""
    if assignment.kind != Assignment.Kind.ROOM:
        return None
    room = Room.objects.filter(gradings__assignment=assignment, course=assignment.course_id).first()
    if room is not None:
        room.course = assignment.course
    return room


def room_in_frame(view: RoomPage, who: str = EVERYBODY) -> Callable[..., HttpResponse]:
    """The view as a page of a launch; it is called with (request, RoomAccess, …). For anybody else, and for a room of
    another course, the page does not exist."""

    @launch_page
    def page(request: HttpRequest, launch_id: UUID, room_id: UUID, **parameters: Any) -> HttpResponse:
        visit = get_visit(request, launch_id)
        if visit.course is None:
            raise Http404
        room = _load(visit.course, room_id)
        return _answer(view, who, request, access_in_visit(visit, room), parameters)

    return page


def room_signed_in(view: RoomPage, who: str = EVERYBODY) -> Callable[..., HttpResponse]:
    """The same view for those who signed in directly: members of the organization, and students of the course."""

    @never_cache
    @login_required
    def page(request: HttpRequest, course_id: UUID, room_id: UUID, **parameters: Any) -> HttpResponse:
        user = cast(User, request.user)
        access = member_access(user, course_id)
        if access is not None:
            found = RoomAccess(_load(access.course, room_id), access.course, access=access)
            return _answer(view, who, request, found, parameters)
        learner = learner_of(user, course_id)
        if not learner.people:
            raise Http404
        found = RoomAccess(_load(learner.course, room_id), learner.course, learner=learner)
        return _answer(view, who, request, found, parameters)

    return page


def _load(course: Course, room_id: UUID) -> Room:
    room = Room.objects.select_related("server").filter(course=course, pk=room_id).first()
    if room is None:
        raise Http404
    room.course = course
    return room


def _answer(
    view: RoomPage, who: str, request: HttpRequest, access: RoomAccess, parameters: dict[str, Any]
) -> HttpResponse:
    if (who == STAFF and not access.is_staff) or (who == TEACHERS and not access.may_change):
        raise Http404
    return view(request, access, **parameters)
