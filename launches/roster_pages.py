"""The people of a course, as its teachers see them in the LMS: who, from where, and how current the roster is."""

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.core.paginator import Page, Paginator
from django.db.models import Count, Q, QuerySet, Value
from django.db.models.functions import Coalesce, Lower, NullIf
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from courses.models import Course, Enrolment, LmsCourse, RosterMember, RosterSync
from courses.roster import ask_for_roster, readable_lms_courses
from launches.grading_table import PAGE_SIZE, from_lms_course
from launches.mentoring import seen_by_mentor
from launches.searching import typed_search
from launches.student_pages import WATCH_LIMIT, asked
from launches.visits import Visit, get_visit_for_staff, get_visit_for_teacher, launch_page
from organizations.models import LmsAccount

OTHERS_SHOWN = 10


class Filter(StrEnum):
    """Whom a teacher looks for."""

    ALL = "all"
    STUDENTS = "students"
    STAFF = "staff"
    NOT_HERE_YET = "not_here_yet"
    GONE = "gone"

    @property
    def label(self) -> str:
        return _LABELS[self]


_LABELS = {
    Filter.ALL: "Everybody",
    Filter.STUDENTS: "Students",
    Filter.STAFF: "Teachers and mentors",
    Filter.NOT_HERE_YET: "Not here yet",
    Filter.GONE: "Gone",
}
_IS_ACTIVE = Q(state=Enrolment.State.ACTIVE)
_IS_STUDENT = Q(role=Enrolment.Role.STUDENT)
_CONDITIONS = {
    Filter.ALL: _IS_ACTIVE,
    Filter.STUDENTS: _IS_ACTIVE & _IS_STUDENT,
    Filter.STAFF: _IS_ACTIVE & ~_IS_STUDENT,
    Filter.NOT_HERE_YET: _IS_ACTIVE & Q(last_launch_at=None),
    Filter.GONE: Q(state=Enrolment.State.GONE),
}


@dataclass(frozen=True)
class Listed:
    """Somebody in the list; `origins` are the LMSs, and the LMS courses whose roster names them."""

    enrolment: Enrolment
    origins: tuple[str, ...]
    is_test_user: bool


@dataclass(frozen=True)
class RosterState:
    """An LMS course's roster: `sync` is None while nobody has ever asked for it."""

    lms_course: LmsCourse
    sync: RosterSync | None

    @classmethod
    def of(cls, lms_course: LmsCourse) -> "RosterState":
        return cls(lms_course, RosterSync.objects.filter(lms_course=lms_course).first())

    @property
    def is_under_way(self) -> bool:
        return self.sync is not None and self.sync.is_under_way


# ----------------------------------------------------------------------------------------------------- the list


def _course(visit: Visit) -> Course:
    if visit.course is None:
        raise Http404
    return visit.course


def _enrolments(visit: Visit, course: Course) -> QuerySet[Enrolment]:
    """Whom the visitor may see: those of their own LMS course, a mentor whom the launch named (A29)."""
    return Enrolment.objects.filter(
        from_lms_course(visit, "person"), seen_by_mentor(visit, course, "person"), course=course
    )


def _people(request: HttpRequest, visit: Visit, course: Course) -> dict[str, Any]:
    """The list as the address asks for it."""
    everybody = _enrolments(visit, course)
    value = request.GET.get("filter", "")
    chosen = next((known for known in Filter if known.value == value), Filter.ALL)
    search = typed_search(request.GET)
    rows = everybody.filter(_CONDITIONS[chosen]).select_related("person")
    for word in search.split():
        rows = rows.filter(Q(person__name__icontains=word) | Q(person__email__icontains=word))
    rows = rows.order_by(
        Lower(Coalesce(NullIf("person__family_name", Value("")), "person__name")), Lower("person__name"), "id"
    )
    page: Page[Enrolment] = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    counts = {known.value: Count("pk", filter=condition) for known, condition in _CONDITIONS.items()}
    return {
        "page": page,
        "listed": _listed(list(page.object_list), course),
        "counts": everybody.aggregate(**counts),
        "filters": list(Filter),
        "filter": chosen,
        "search": search,
    }


def _listed(enrolments: list[Enrolment], course: Course) -> list[Listed]:
    people = [enrolment.person_id for enrolment in enrolments]
    places: dict[UUID, dict[str, list[str]]] = defaultdict(dict)
    test_users = set()
    for account in LmsAccount.objects.filter(person__in=people).select_related("installation").order_by("id"):
        places[account.person_id].setdefault(account.installation.name, [])
        if account.is_test_user:
            test_users.add(account.person_id)
    rosters = RosterMember.objects.filter(lms_course__course=course, account__person__in=people, is_active=True)
    for member in rosters.select_related("account", "lms_course__installation").order_by("id"):
        titles = places[member.account.person_id].setdefault(member.lms_course.installation.name, [])
        titles.append(str(member.lms_course))
    return [
        Listed(
            enrolment=enrolment,
            origins=tuple(
                f"{installation}: {', '.join(dict.fromkeys(titles))}" if titles else installation
                for installation, titles in places[enrolment.person_id].items()
            ),
            is_test_user=enrolment.person_id in test_users,
        )
        for enrolment in enrolments
    ]


# --------------------------------------------------------------------------------------------------- the roster


def _own_lms_course(visit: Visit) -> LmsCourse | None:
    """The LMS course that the visitor came from."""
    link = visit.launch.resource_link
    return link.lms_course if link is not None else None


def _readable(visit: Visit, course: Course) -> LmsCourse | None:
    """The same, if its roster can be read."""
    own = _own_lms_course(visit)
    return readable_lms_courses(course).filter(pk=own.pk).first() if own is not None else None


def _rosters(request: HttpRequest, visit: Visit, course: Course) -> dict[str, Any]:
    own = _readable(visit, course)
    others = readable_lms_courses(course).select_related("installation", "roster_sync").order_by("title", "id")
    if own is not None:
        others = others.exclude(pk=own.pk)
    return {
        "roster": RosterState.of(own) if own is not None else None,
        "lms_course": _own_lms_course(visit),
        "others": [RosterState(one, getattr(one, "roster_sync", None)) for one in others[:OTHERS_SHOWN]],
        "others_count": others.count(),
        "asked": asked(request),
        "watch_limit": WATCH_LIMIT,
    }


# ----------------------------------------------------------------------------------------------------- the views


@launch_page
@require_safe
def people(request: HttpRequest, launch_id: UUID) -> HttpResponse:
    """Everybody in the course, page by page, and how current that is."""
    visit = get_visit_for_staff(request, launch_id)
    course = _course(visit)
    context = {"visit": visit} | _people(request, visit, course) | _rosters(request, visit, course)
    return render(request, "launches/roster.html", context)


@launch_page
@require_POST
def sync(request: HttpRequest, launch_id: UUID) -> HttpResponse:
    """Asks for the roster of the LMS course that the teacher came from."""
    visit = get_visit_for_teacher(request, launch_id)
    course = _course(visit)
    lms_course = _readable(visit, course)
    if lms_course is None:
        raise Http404
    ask_for_roster(lms_course)
    if request.headers.get("HX-Request") == "true":
        return render(request, "launches/roster_sync.html", {"visit": visit} | _rosters(request, visit, course))
    return redirect("launch-people", visit.launch.id)


@launch_page
@require_safe
def progress(request: HttpRequest, launch_id: UUID) -> HttpResponse:
    """How far the reading is; the page asks this by itself. Once it is over, the list comes with it."""
    visit = get_visit_for_staff(request, launch_id)
    course = _course(visit)
    context = {"visit": visit} | _rosters(request, visit, course)
    roster: RosterState | None = context["roster"]
    if roster is not None and not roster.is_under_way:
        context |= _people(request, visit, course)
    return render(request, "launches/roster_progress.html", context)
