"""Which course a launch opens that means no link but the LMS course itself: Canvas's course navigation (A50)."""

from courses.detection import course_known_as, names_of
from courses.models import Course, ResourceLink
from launches.course_finding import CourseQuestion, find_for_unnamed, remembered_courses
from lti.errors import LaunchError, LaunchErrorCode
from lti.message import LaunchMessage
from lti.roles import CourseRole
from organizations.models import Installation


def find_own_course(
    message: LaunchMessage, installation: Installation, link: ResourceLink | None
) -> Course | CourseQuestion | None:
    """The course that the launch names, else the one that the LMS course opens already (design §5).

    Where there is none, a teacher is asked which one it is, or (None) chooses in the picker. Raises `LaunchError`
    MALFORMED, and COURSE_NOT_READY for anybody else.
    """
    organization = installation.organization
    names = names_of(message)
    for name in names.in_order:
        known = course_known_as(organization, name)
        if known is not None:
            return known
        if name == names.target:
            break
    else:
        remembered = Course.objects.filter(
            organization=organization, pk__in=remembered_courses(message, installation, link)[:1]
        ).first()
        if remembered is not None:
            return remembered
    question = find_for_unnamed(message, installation, link)
    if isinstance(question, CourseQuestion):
        return question
    if message.roles.course_role is CourseRole.TEACHER:
        return None
    raise LaunchError(
        LaunchErrorCode.COURSE_NOT_READY,
        "the LMS course opens a course",
        expected="an LMS course from which a teacher has opened one of this organization's courses",
        received=f"{message.context_title!r} ({message.context_id!r})",
        cause="No teacher has chosen yet what this LMS course opens: a teacher has to open the tool there once.",
    )
