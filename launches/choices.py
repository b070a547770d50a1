"""What a teacher may choose from: the organization's assignments and rooms, as a tree of courses and modules."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from django.db.models import F, Q, QuerySet
from django.http import Http404, QueryDict

from courses.models import Assignment, Course
from organizations.models import Organization
from recordings.models import Room

# More than anybody reads; the search narrows it down.
LIMIT = 300
_ORDER = ("course__name", "course_id", F("module__position").asc(nulls_first=True), "module_id", "position", "id")


@dataclass(frozen=True)
class Group:
    """The assignments of one module; those of no module have no name."""

    name: str
    assignments: list[Assignment]


@dataclass(frozen=True)
class Branch:
    """A course with its modules, and the rooms of its live sessions."""

    course: Course
    groups: list[Group]
    is_own: bool  # the course that this LMS course opens already
    rooms: list[Room] = field(default_factory=list)


@dataclass(frozen=True)
class Found:
    """What a search finds: the first assignments and rooms. `anything`: whether there is something without it."""

    assignments: list[Assignment]
    rooms: list[Room]
    is_cut: bool
    anything: bool

    def tree(self, own_course_id: UUID | None) -> list[Branch]:
        """By course; see `tree`."""
        return tree(self.assignments, own_course_id, self.rooms)


def choices(organization: Organization) -> QuerySet[Assignment]:
    """What can be chosen: the assignments of the organization's own LTI-enabled, unarchived courses, in their order."""
    return (
        Assignment.objects.filter(course__organization=organization, course__lti_enabled=True, course__archived=False)
        .select_related("course", "module")
        .order_by(*_ORDER)
    )


def room_choices(organization: Organization) -> QuerySet[Room]:
    """The rooms of the same courses, in their order."""
    return (
        Room.objects.filter(course__organization=organization, course__lti_enabled=True, course__archived=False)
        .select_related("course")
        .order_by("course__name", "course_id", "position", "id")
    )


def names_choice(data: QueryDict) -> bool:
    """Whether an address or a form names something that was chosen."""
    return bool(data.get("assignment") or data.get("room"))


def chosen_in(data: QueryDict, organization: Organization) -> Assignment | Room:
    """What an address or a form names as `assignment` or as `room`. Raises `Http404` for what may not be chosen."""
    chosen: Assignment | Room | None = None
    try:
        if named := data.get("room"):
            chosen = room_choices(organization).filter(pk=UUID(named)).first()
        else:
            chosen = choices(organization).filter(pk=UUID(data.get("assignment", ""))).first()
    except ValueError:
        chosen = None
    if chosen is None:
        raise Http404
    return chosen


def find(organization: Organization, search: str) -> Found:
    """The assignments whose title, module or course holds every word, and the rooms whose title or course does."""
    assignments, rooms = choices(organization), room_choices(organization)
    found = list(searched(assignments, search)[: LIMIT + 1])
    found_rooms = list(_searched_rooms(rooms, search)[: LIMIT + 1])
    return Found(
        found[:LIMIT],
        found_rooms[:LIMIT],
        len(found) > LIMIT or len(found_rooms) > LIMIT,
        bool(found or found_rooms) or (bool(search) and (assignments.exists() or rooms.exists())),
    )


def searched(assignments: QuerySet[Assignment], search: str) -> QuerySet[Assignment]:
    """Those whose title, module or course holds every word."""
    for word in search.split():
        assignments = assignments.filter(
            Q(title__icontains=word)
            | Q(course__name__icontains=word)
            | Q(course__code__icontains=word)
            | Q(module__name__icontains=word)
        )
    return assignments


def _searched_rooms(rooms: QuerySet[Room], search: str) -> QuerySet[Room]:
    for word in search.split():
        rooms = rooms.filter(
            Q(title__icontains=word) | Q(course__name__icontains=word) | Q(course__code__icontains=word)
        )
    return rooms


def tree(assignments: Sequence[Assignment], own_course_id: UUID | None, rooms: Sequence[Room] = ()) -> list[Branch]:
    """The assignments by course and module, then the course's rooms; the LMS course's own course comes first."""
    branches: dict[UUID, Branch] = {}
    for course in _courses(assignments, rooms):
        branches[course.pk] = Branch(course, [], course.pk == own_course_id)
    for assignment in assignments:
        branch = branches[assignment.course_id]
        name = assignment.module.name if assignment.module else ""
        group = next((group for group in branch.groups if group.name == name), None)
        if group is None:
            group = Group(name, [])
            branch.groups.append(group)
        group.assignments.append(assignment)
    for room in rooms:
        branches[room.course_id].rooms.append(room)
    return sorted(branches.values(), key=lambda branch: not branch.is_own)


def _courses(assignments: Sequence[Assignment], rooms: Sequence[Room]) -> list[Course]:
    """The courses of both lists, which the database has ordered by name; those with rooms alone put in between."""
    found = list(dict.fromkeys(one.course for one in assignments))
    for course in dict.fromkeys(one.course for one in rooms):
        if course not in found:
            place = next((place for place, other in enumerate(found) if other.name > course.name), len(found))
            found.insert(place, course)
    return found
