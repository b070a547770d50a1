"""The dashboard of a course: what there is to do, and how far one is (for a teacher: how far the students are)."""

from dataclasses import dataclass
from typing import cast
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.db.models import Count, Exists, F, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from courses.addresses import lms_course_link
from courses.models import Assignment, Course, Enrolment, Submission
from courses.roster import has_roster
from events.log import Actor
from events.models import Delivery
from grades.models import Score
from grades.passage import newest_deliveries
from launches import learner_pages
from launches.course_access import CourseAccess, member_access
from launches.gradebook import columns_of
from launches.grading_table import students_of, visible_students
from launches.learner_access import learner_of
from launches.room_listing import rooms_on_dashboard
from launches.standing import progress_of, sections_of, shown, standing_of
from launches.visits import Visit
from organizations.models import Person, User


@dataclass(frozen=True)
class Overview:
    """An assignment as its teacher sees it from afar: how many students are how far."""

    assignment: Assignment
    opened: int
    submitted: int
    to_grade: int
    released: int
    failed: int


def dashboard_page(request: HttpRequest, visit: Visit, course: Course) -> HttpResponse:
    """The dashboard of a visit, by role."""
    if visit.is_staff:
        course.organization = visit.organization
        access = CourseAccess(course, Actor.of(visit.person), visit.is_teacher, visit=visit)
        return _overview_page(request, access, visible_students(visit, course))
    assignments = [assignment for assignment in columns_of(course) if assignment.enabled]
    everything = standing_of(assignments, {course.pk: {visit.person.pk}})
    items = shown(everything, course)
    course.organization = visit.organization
    context = {
        "visit": visit,
        "rooms": rooms_on_dashboard(course, launch_id=visit.launch.id),
        "sections": sections_of(items),
        "progress": progress_of(items),
        "hidden": len(everything) - len(items),
    }
    return render(request, "launches/dashboard.html", context)


@never_cache
@login_required
@require_safe
def course_dashboard(request: HttpRequest, course_id: UUID) -> HttpResponse:
    """The dashboard for those who signed in directly: of everybody for the organization's members, else of one's own
    work for a student."""
    user = cast(User, request.user)
    access = member_access(user, course_id)
    if access is not None:
        return _overview_page(request, access, students_of(access.course))
    return learner_pages.dashboard(request, learner_of(user, course_id))


def _overview_page(request: HttpRequest, access: CourseAccess, students: QuerySet[Person]) -> HttpResponse:
    course = access.course
    overviews = _overviews(columns_of(course), students)
    context = {
        "access": access,
        "visit": access.visit,
        "course": course,
        "sections": sections_of(overviews),
        "rooms": rooms_on_dashboard(course, access=access),
        "students": students.filter(Q(enrolment_state=Enrolment.State.ACTIVE)).count(),
        "has_roster": has_roster(course),
        "lms_link": "" if access.visit else lms_course_link(course),
    }
    return render(request, "launches/teacher_dashboard.html", context)


def _overviews(assignments: list[Assignment], students: QuerySet[Person]) -> list[Overview]:
    seen = students.values("pk")
    work = Submission.objects.filter(assignment__in=assignments, person__in=seen).order_by()
    scores = Score.objects.filter(assignment__in=assignments, person__in=seen).order_by()
    opened = _by_assignment(work)
    submitted = _by_assignment(work.filter(submitted_at__isnull=False))
    graded_since = _by_assignment(
        work.filter(
            submitted_at__isnull=False,
            person__scores__assignment=F("assignment"),
            person__scores__graded=True,
            person__scores__updated_at__gte=F("submitted_at"),
        )
    )
    released = _by_assignment(scores.filter(graded=True, released=True))
    failed = _by_assignment(scores.filter(Exists(newest_deliveries(Delivery.State.FAILED))))
    return [
        Overview(
            assignment,
            opened=opened.get(assignment.pk, 0),
            submitted=submitted.get(assignment.pk, 0),
            to_grade=submitted.get(assignment.pk, 0) - graded_since.get(assignment.pk, 0),
            released=released.get(assignment.pk, 0),
            failed=failed.get(assignment.pk, 0),
        )
        for assignment in assignments
    ]


def _by_assignment(found: "QuerySet[Submission] | QuerySet[Score]") -> dict[UUID, int]:
    return dict(found.values_list("assignment").annotate(Count("pk")))
