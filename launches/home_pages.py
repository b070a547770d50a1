"""The start page of those who sign in directly: their courses by organization, and for students what is due next."""

from dataclasses import dataclass, replace
from typing import Any, cast
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.core.paginator import Page, Paginator
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from courses.addresses import lms_course_link
from courses.models import Assignment, Course, Enrolment, Submission
from grades.models import Score
from launches.searching import typed_search
from launches.standing import Progress, assignments_of, progress_of, shown, standing_of
from organizations.models import Membership, Organization, User

PAGE_SIZE = 20
# So few courses are overlooked without a search.
SEARCH_FROM = 8
DUE_NEXT = 3


@dataclass(frozen=True)
class Entry:
    """A course of the list: as a member of its organization, a student (`progress`), or a teacher in the LMS only."""

    course: Course
    role: str  # "member", "student" or "teaches"
    lms_link: str
    progress: Progress | None = None


@dataclass(frozen=True)
class Group:
    """An organization's courses on this page of the list."""

    organization: Organization
    membership: Membership | None
    entries: list[Entry]


@never_cache
@login_required
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """The signed-in user's courses."""
    user = cast(User, request.user)
    search = typed_search(request.GET)
    memberships = list(user.memberships.filter(organization__enabled=True).select_related("organization"))
    page: Page[Course] = Paginator(_courses(user, search), PAGE_SIZE).get_page(request.GET.get("page"))
    whole = not search and page.paginator.num_pages == 1
    context: dict[str, Any] = {
        "groups": _groups(memberships, _entries(user, list(page.object_list), memberships), with_empty=whole),
        "due_next": [] if search else list(_due_next(user)),
        "page": page,
        "search": search,
        "has_search": bool(search) or page.paginator.count >= SEARCH_FROM,
        "is_member": bool(memberships),
    }
    return render(request, "home.html", context)


def _courses(user: User, search: str) -> QuerySet[Course]:
    of_member = Membership.objects.filter(user=user, organization=OuterRef("organization"))
    courses = (
        Course.objects.filter(archived=False, organization__enabled=True)
        .filter(Exists(of_member) | Exists(_enrolments(user).filter(course=OuterRef("pk"))))
        .select_related("organization")
        .order_by("organization__name", "organization_id", "name", "id")
    )
    for word in search.split():
        courses = courses.filter(Q(name__icontains=word) | Q(code__icontains=word))
    return courses


def _enrolments(user: User) -> QuerySet[Enrolment]:
    return Enrolment.objects.filter(
        person__user=user, person__organization=F("course__organization"), state=Enrolment.State.ACTIVE
    )


def _entries(user: User, courses: list[Course], memberships: list[Membership]) -> list[Entry]:
    member_of = {membership.organization_id for membership in memberships}
    people: dict[UUID, set[UUID]] = {}
    if any(course.organization_id not in member_of for course in courses):
        students = _enrolments(user).filter(course__in=courses, role=Enrolment.Role.STUDENT)
        for course_id, person_id in students.values_list("course_id", "person_id"):
            people.setdefault(course_id, set()).add(person_id)
    studied = [course for course in courses if course.organization_id not in member_of and course.pk in people]
    progress = _progress(studied, people)
    entries = []
    for course in courses:
        entry = Entry(course, "teaches", lms_course_link(course))
        if course.organization_id in member_of:
            entry = replace(entry, role="member")
        elif course.pk in progress:
            entry = replace(entry, role="student", progress=progress[course.pk])
        entries.append(entry)
    return entries


def _progress(courses: list[Course], people: dict[UUID, set[UUID]]) -> dict[UUID, Progress]:
    """How far the student is in each course: three statements for all of them."""
    if not courses:
        return {}
    assignments = list(assignments_of(courses).defer("body"))
    items = standing_of(assignments, people)
    return {
        course.pk: progress_of(shown([item for item in items if item.assignment.course_id == course.pk], course))
        for course in courses
    }


def _groups(memberships: list[Membership], entries: list[Entry], *, with_empty: bool) -> list[Group]:
    """The entries by organization; `with_empty`: and the organizations of a member that have no course."""
    membership_of = {membership.organization_id: membership for membership in memberships}
    groups: dict[UUID, Group] = {}
    for entry in entries:
        organization = entry.course.organization
        group = Group(organization, membership_of.get(organization.pk), [])
        groups.setdefault(organization.pk, group).entries.append(entry)
    if with_empty:
        for membership in memberships:
            groups.setdefault(membership.organization_id, Group(membership.organization, membership, []))
    return sorted(groups.values(), key=lambda group: (group.organization.name, group.organization.pk))


def _due_next(user: User) -> QuerySet[Assignment]:
    """What the student has to hand in next, in all courses."""
    now = timezone.now()
    enrolled = _enrolments(user).filter(course=OuterRef("course"), role=Enrolment.Role.STUDENT)
    work = Submission.objects.filter(
        assignment=OuterRef("pk"), person__user=user, person__organization=OuterRef("course__organization")
    )
    score = Score.objects.filter(
        assignment=OuterRef("pk"),
        person__user=user,
        person__organization=OuterRef("course__organization"),
        graded=True,
        released=True,
    )
    return (
        Assignment.objects.filter(
            Q(opens_at=None) | Q(opens_at__lte=now),
            Q(closes_at=None) | Q(closes_at__gt=now),
            Q(course__hide_not_started=False) | Exists(work),
            Exists(enrolled),
            ~Exists(work.filter(submitted_at__isnull=False)),
            ~Exists(score),
            course__archived=False,
            course__organization__enabled=True,
            enabled=True,
            due_at__gte=now,
        )
        .select_related("course__organization")
        .defer("body")
        .order_by("due_at", "id")[:DUE_NEXT]
    )
