"""Which links of which LMS courses lead into a course: the tables of its LTI/LMS page.

A page of each costs the same number of statements however many links there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import (
    BooleanField,
    Case,
    Count,
    Exists,
    F,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
    Window,
)
from django.db.models.functions import Coalesce, RowNumber

from courses.addresses import assignment_url, constant_url
from courses.models import Assignment, Course, LmsCourse, Participation, ResourceLink
from launches.course_access import CourseAccess
from launches.models import Launch
from recordings.addresses import room_url
from recordings.models import Room

# More links of one assignment stand on a page of their own.
LINKS_SHOWN = 4


@dataclass(frozen=True)
class ListedLink:
    """A link of an LMS course; `may_change`: by this person, and only then."""

    link: ResourceLink
    last_launch: datetime | None
    may_change: bool


@dataclass(frozen=True)
class ListedAssignment:
    """An assignment with its LTI integration URL and the first of its links, out of `link_count`."""

    assignment: Assignment
    url: str
    links: list[ListedLink]
    link_count: int

    @property
    def more(self) -> int:
        return self.link_count - len(self.links)


@dataclass(frozen=True)
class LinkedRoom:
    """A room with its LTI integration URL and the latest of its links, out of `link_count`."""

    room: Room
    url: str
    links: list[ListedLink]
    link_count: int

    @property
    def more(self) -> int:
        return self.link_count - len(self.links)


@dataclass(frozen=True)
class ListedModule:
    """A module's assignments; those of no module come under no name."""

    name: str
    assignments: list[ListedAssignment]


def _opens(course: Course) -> Q:
    """Of links: whether they open the course. A link to enroll says so by its address, as its launches show."""
    launched = Launch.objects.filter(resource_link=OuterRef("pk"), course=course)
    to_enroll = Q(address_kind=ResourceLink.AddressKind.ENROLL) & Q(Exists(launched))
    return (
        Q(assignment__course=course) | Q(course=course) | _OPENS_A_ROOM & Q(room_link__room__course=course) | to_enroll
    )


# What a link showed before it got an assignment or a course.
_OPENS_A_ROOM = Q(assignment=None, course=None)


def _links_of(course: Course) -> QuerySet[ResourceLink]:
    return ResourceLink.objects.filter(lms_course__installation__organization=course.organization_id)


def unmapped_links(course: Course) -> QuerySet[ResourceLink]:
    """The links that show nothing yet, in the LMS courses that open the course."""
    found = _links_of(course).filter(assignment=None, course=None, room_link=None, lms_course__course=course)
    return found.exclude(address_kind=ResourceLink.AddressKind.ENROLL)


def links_to_enroll(course: Course) -> QuerySet[ResourceLink]:
    """The links that open the course itself."""
    return _links_of(course).filter(_opens(course), assignment=None, room_link=None)


@dataclass(frozen=True)
class LinkCounts:
    """How many links of LMSs that have been opened lead to the course, by what their address names.

    `unknown`: by links that were opened before that was noted.
    """

    all: int
    constant: int
    assignment: int
    unknown: int

    @property
    def break_without_constant_urls(self) -> int:
        return self.constant + self.unknown


def link_counts(course: Course) -> LinkCounts:
    """The links that open the course, counted in one statement."""
    kind = ResourceLink.AddressKind
    counted = (
        _links_of(course)
        .filter(_opens(course))
        .aggregate(
            all=Count("pk"),
            constant=Count("pk", filter=Q(address_kind=kind.CONSTANT)),
            assignment=Count("pk", filter=Q(address_kind=kind.ASSIGNMENT)),
            unknown=Count("pk", filter=Q(address_kind="")),
        )
    )
    return LinkCounts(**counted)


def changeable_links(access: CourseAccess) -> QuerySet[ResourceLink]:
    """Of the links into the course those that this person may map anew: a teacher in the frame those of their own LMS
    course, members all. A launch without a course of the LMS is of nobody else's: its own link, then."""
    course = access.course
    unmapped = Q(assignment=None, course=None, room_link=None, lms_course__course=course)
    links = (
        _links_of(course)
        .filter(
            Q(assignment__course=course)
            | Q(course=course)
            | _OPENS_A_ROOM & Q(room_link__room__course=course)
            | unmapped
        )
        .exclude(address_kind=ResourceLink.AddressKind.ENROLL, assignment=None, course=None, room_link=None)
    )
    if not access.may_change:
        return links.none()
    if access.visit is None:
        return links
    own = access.visit.launch.resource_link
    if own is None:
        return links.none()
    return links.filter(Q(pk=own.pk) | (Q(lms_course=own.lms_course_id) & ~Q(lms_course__context_id="")))


def assignments_of(course: Course, search: str) -> QuerySet[Assignment]:
    """The course's assignments in their order, of those whose title or module holds every word."""
    found = Assignment.objects.filter(course=course).select_related("module")
    for word in search.split():
        found = found.filter(Q(title__icontains=word) | Q(module__name__icontains=word))
    return found.order_by(F("module__position").asc(nulls_first=True), "module_id", "position", "id")


def listed_modules(access: CourseAccess, assignments: Sequence[Assignment]) -> list[ListedModule]:
    """The assignments by module, each with its first links: the person's own, then the latest launched."""
    links: dict[UUID | None, list[ResourceLink]] = {}
    numbered = listed_rows(access, ResourceLink.objects.filter(assignment__in=assignments)).annotate(
        number=Window(RowNumber(), partition_by=F("assignment_id"), order_by=_ORDER),
        link_count=Window(Count("pk"), partition_by=F("assignment_id")),
    )
    for link in numbered.filter(number__lte=LINKS_SHOWN).order_by("assignment_id", "number"):
        links.setdefault(link.assignment_id, []).append(link)
    modules: list[ListedModule] = []
    for assignment in assignments:
        assignment.course = access.course
        own = links.get(assignment.pk, [])
        name = assignment.module.name if assignment.module else ""
        if not modules or modules[-1].name != name:
            modules.append(ListedModule(name, []))
        modules[-1].assignments.append(
            ListedAssignment(
                assignment,
                integration_url(assignment),
                [listed_link(link) for link in own],
                getattr(own[0], "link_count", 0) if own else 0,
            )
        )
    return modules


def listed_rooms_of(access: CourseAccess, rooms: Sequence[Room]) -> list[LinkedRoom]:
    """These rooms of the course, each with its first links, in the same order as those of assignments."""
    links: dict[UUID, list[ResourceLink]] = {}
    numbered = listed_rows(access, ResourceLink.objects.filter(_OPENS_A_ROOM, room_link__room__in=rooms)).annotate(
        shown_room=F("room_link__room"),
        number=Window(RowNumber(), partition_by=F("room_link__room"), order_by=_ORDER),
        link_count=Window(Count("pk"), partition_by=F("room_link__room")),
    )
    for link in numbered.filter(number__lte=LINKS_SHOWN).order_by("shown_room", "number") if rooms else ():
        links.setdefault(link.shown_room, []).append(link)
    found = []
    for room in rooms:
        own = links.get(room.pk, [])
        count = getattr(own[0], "link_count", 0) if own else 0
        found.append(LinkedRoom(room, room_url(room), [listed_link(link) for link in own], count))
    return found


def integration_url(assignment: Assignment) -> str:
    """The URL that the LMS is given: the constant one when the course has those."""
    return constant_url(assignment) if assignment.course.constant_urls else assignment_url(assignment)


_LATEST = Launch.objects.filter(resource_link=OuterRef("pk"), result=Launch.ACCEPTED).order_by("-id").values("at")[:1]
_ORDER = [F("is_changeable").desc(), F("last_launch").desc(nulls_last=True), F("pk").desc()]


def listed_rows(access: CourseAccess, links: QuerySet[ResourceLink]) -> QuerySet[ResourceLink]:
    """The links with `last_launch` and `is_changeable`, those first that the person may change: for `listed_link`."""
    changeable = changeable_links(access).filter(pk=OuterRef("pk"))
    return (
        links.select_related("lms_course__installation")
        .annotate(
            last_launch=Subquery(_LATEST),
            is_changeable=Case(When(Exists(changeable), then=Value(True)), default=False, output_field=BooleanField()),
        )
        .order_by(*_ORDER)
    )


def listed_link(link: ResourceLink) -> ListedLink:
    """A row of `listed_rows`."""
    return ListedLink(link, getattr(link, "last_launch", None), bool(getattr(link, "is_changeable", False)))


def lms_courses_of(access: CourseAccess) -> QuerySet[LmsCourse]:
    """The LMS courses that open the course, or one of its assignments: with `people`, `links`, `last_launch` and
    `is_own` (the one that the teacher in the frame came from)."""
    course = access.course
    into = ResourceLink.objects.filter(_opens(course), lms_course=OuterRef("pk"))
    people = Participation.objects.filter(lms_course=OuterRef("pk")).order_by().values("lms_course")
    links = into.order_by().values("lms_course")
    latest = (
        ResourceLink.objects.filter(lms_course=OuterRef("pk"))
        .annotate(at=Subquery(_LATEST))
        .order_by(F("at").desc(nulls_last=True))
        .values("at")[:1]
    )
    own = (
        access.visit.launch.resource_link.lms_course_id if access.visit and access.visit.launch.resource_link else None
    )
    return (
        LmsCourse.objects.filter(Q(course=course) | Exists(into), installation__organization=course.organization_id)
        .select_related("installation")
        .annotate(
            people=Coalesce(_count_of(people), 0),
            links=Coalesce(_count_of(links), 0),
            last_launch=Subquery(latest),
            is_own=Case(When(pk=own, then=Value(True)), default=False, output_field=BooleanField()),
        )
        .order_by("-is_own", F("last_launch").desc(nulls_last=True), "id")
    )


def _count_of(rows: QuerySet[Any, Any]) -> Subquery:
    return Subquery(rows.annotate(found=Count("pk")).values("found"), output_field=IntegerField())
