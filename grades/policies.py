"""When a score goes to the LMS, and as what (design §5, codio.md 1.8)."""

from decimal import ROUND_HALF_UP, Decimal
from enum import Enum

from courses.models import Assignment, SendGrade
from grades.models import GradebookCell, Score

PLACES = Decimal("0.0000000001")


class Hindrance(Enum):
    """Why a score does not go to the LMS: a code, and words for the teacher."""

    ENROLL_ONLY = ("enroll_only", "Not sent: this course only enrolls, grades are not passed back to the LMS.")
    NO_POINTS = ("no_points", "Nothing to send: the assignment has no points to take a percentage of.")
    NOT_COMPLETED = ("not_completed", "Waits until the work is completed.")
    NOT_GRADED = ("not_graded", "Waits until it is graded.")
    NOT_RELEASED = ("not_released", "Waits until it is released.")

    @property
    def code(self) -> str:
        return self.value[0]

    @property
    def words(self) -> str:
        return self.value[1]


def percentage_of(points: Decimal, points_possible: Decimal) -> Decimal | None:
    """Points as a fraction of those possible, ten decimal places: 1 is all of them, and there may be more.

    None where nothing can be had. Extra credit is no part of it.
    """
    if points_possible <= 0:
        return None
    return (points / points_possible).quantize(PLACES, rounding=ROUND_HALF_UP)


def percentage_for_lti_1p1(points: Decimal, points_possible: Decimal) -> Decimal | None:
    """The same as LTI 1.1 takes it: at most 1 (contract §3)."""
    percentage = percentage_of(points, points_possible)
    return None if percentage is None else min(percentage, Decimal(1))


def policy_of(cell: GradebookCell, assignment: Assignment) -> SendGrade:
    """The policy in force: the launch's custom parameter, else the assignment's, else the course's."""
    if cell.send_grade in SendGrade.values:
        return SendGrade(cell.send_grade)
    return SendGrade(assignment.effective_send_grade)


def hindrance(score: Score, assignment: Assignment, policy: SendGrade) -> Hindrance | None:
    """Why this score is not to be sent under this policy; None when it is.

    CHANGED asks besides whether the percentage differs from the last one: its caller knows what was sent.
    """
    if assignment.course.enroll_only:
        return Hindrance.ENROLL_ONLY
    if assignment.points_possible <= 0:
        return Hindrance.NO_POINTS
    if policy != SendGrade.GRADE_RELEASE:
        return None
    if not score.completed:
        return Hindrance.NOT_COMPLETED
    if not score.graded:
        return Hindrance.NOT_GRADED
    if not score.released:
        return Hindrance.NOT_RELEASED
    return None
