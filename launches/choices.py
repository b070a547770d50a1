"""What a teacher may choose from: the organization's assignments, as a tree of courses and modules."""

from dataclasses import dataclass
from uuid import UUID

from django.db.models import F, Q, QuerySet

from courses.models import Assignment, Course
from organizations.models import Organization

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
    """A course with its modules."""

    course: Course
    groups: list[Group]
    is_own: bool  # the course that this LMS course opens already


def choices(organization: Organization) -> QuerySet[Assignment]:
    """What can be chosen: the assignments of the organization's own LTI-enabled, unarchived courses, in their order."""
    return (
        Assignment.objects.filter(course__organization=organization, course__lti_enabled=True, course__archived=False)
        .select_related("course", "module")
        .order_by(*_ORDER)
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


def tree(assignments: list[Assignment], own_course_id: UUID | None) -> list[Branch]:
    """The assignments by course and module, in their order; the LMS course's own course comes first."""
    branches: dict[UUID, Branch] = {}
    for assignment in assignments:
        course = assignment.course
        branch = branches.setdefault(course.pk, Branch(course, [], course.pk == own_course_id))
        name = assignment.module.name if assignment.module else ""
        group = next((group for group in branch.groups if group.name == name), None)
        if group is None:
            group = Group(name, [])
            branch.groups.append(group)
        group.assignments.append(assignment)
    return sorted(branches.values(), key=lambda branch: not branch.is_own)
