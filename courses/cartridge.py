"""A course as a Common Cartridge: its modules as folders, its assignments as LTI links (codio.md 1.11, H1 to H12)."""

from django.conf import settings
from django.db.models import F

from courses.addresses import assignment_url, constant_url
from courses.models import Assignment, Course
from lti.basic_lti_link import Vendor
from lti.cartridge import Cartridge, CartridgeFolder, CartridgeLink
from lti.texts import legal_in_xml


def cartridge_of(course: Course) -> Cartridge:
    """What the course's cartridge holds: every assignment, in the order of the course's dashboard.

    Modules without assignments are left out: an LMS would make empty ones. Assignments without a module come first, in
    a folder that is named after the course, since links outside folders are refused by some LMSs (H5).
    """
    assignments = (
        Assignment.objects.filter(course=course)
        .select_related("module")
        .order_by(F("module__position").asc(nulls_first=True), "module_id", "position", "id")
    )
    folders: dict[str, tuple[str, list[CartridgeLink]]] = {}
    for assignment in assignments:
        module = assignment.module
        folder, title = (f"module-{module.pk}", module.name) if module else (f"course-{course.pk}", course.name)
        folders.setdefault(folder, (title, []))[1].append(_link(assignment, course))
    return Cartridge(
        id=f"course-{course.pk}",
        title=course.name,
        vendor=Vendor("lti-platform", course.organization.name, settings.BASE_URL),
        folders=[CartridgeFolder(folder, title, links) for folder, (title, links) in folders.items()],
    )


def _link(assignment: Assignment, course: Course) -> CartridgeLink:
    # The target id says which course a constant URL means; a code that XML cannot hold is left to the LMS course.
    has_target = course.constant_urls and legal_in_xml(course.code) == course.code
    return CartridgeLink(
        id=f"assignment-{assignment.pk}",
        title=assignment.title.strip() or assignment.slug,
        url=constant_url(assignment) if course.constant_urls else assignment_url(assignment),
        points=None if course.enroll_only else assignment.points_possible,
        custom={"course_target_id": course.code} if has_target else {},
    )
