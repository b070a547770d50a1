"""When a score is sent, and as what."""

from decimal import Decimal
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courses.models import Assignment, Course, SendGrade
from grades.models import GradebookCell, Score
from grades.policies import Hindrance, hindrance, percentage_for_lti_1p1, percentage_of, policy_of
from lti.v1p1.outcomes import format_score

POINTS = st.decimals(min_value=0, max_value=Decimal("9999999.99"), places=2)


@given(POINTS, st.decimals(min_value=Decimal("0.01"), max_value=Decimal("9999999.99"), places=2))
def test_any_percentage_can_be_sent(points, possible):
    percentage = percentage_for_lti_1p1(points, possible)
    assert percentage is not None
    assert 0 <= percentage <= 1
    assert abs(percentage - min(points / possible, Decimal(1))) <= Decimal("0.00000000005")
    assert Decimal(format_score(percentage)) == percentage


@given(POINTS)
def test_all_of_the_points_are_all_of_the_percentage(points):
    assert percentage_of(points, points) == (None if points == 0 else 1)


@pytest.mark.parametrize(
    ("points", "possible", "exact", "sent"),
    [
        ("8.5", "10", "0.85", "0.85"),
        ("1", "3", "0.3333333333", "0.3333333333"),
        ("2", "3", "0.6666666667", "0.6666666667"),
        ("0", "10", "0", "0"),
        ("12", "10", "1.2", "1"),
        ("0.01", "9999999.99", "0.000000001", "0.000000001"),
        ("5", "0", None, None),
    ],
)
def test_percentages(points, possible, exact, sent):
    assert percentage_of(Decimal(points), Decimal(possible)) == (None if exact is None else Decimal(exact))
    assert percentage_for_lti_1p1(Decimal(points), Decimal(possible)) == (None if sent is None else Decimal(sent))


@pytest.mark.parametrize(
    ("launch", "assignment", "course", "in_force"),
    [
        ("", "", "GRADE_RELEASE", "GRADE_RELEASE"),
        ("", "", "ALWAYS", "ALWAYS"),
        ("", "CHANGED", "ALWAYS", "CHANGED"),
        ("ALWAYS", "CHANGED", "GRADE_RELEASE", "ALWAYS"),
        ("GRADE_RELEASE", "ALWAYS", "ALWAYS", "GRADE_RELEASE"),
        ("SOMETIMES", "CHANGED", "ALWAYS", "CHANGED"),
    ],
)
def test_the_launch_outranks_the_assignment_and_that_the_course(launch, assignment, course, in_force):
    part = Assignment(send_grade=assignment, course=Course(send_grade=course))
    assert policy_of(GradebookCell(send_grade=launch), part) == in_force


@pytest.mark.parametrize(("completed", "graded", "released"), list(product([True, False], repeat=3)))
@pytest.mark.parametrize("policy", list(SendGrade))
def test_every_policy_in_every_state(policy, completed, graded, released):
    score = Score(points=5, completed=completed, graded=graded, released=released)
    found = hindrance(score, Assignment(points_possible=10, course=Course()), policy)
    if policy != SendGrade.GRADE_RELEASE or (completed and graded and released):
        assert found is None
    elif not completed:
        assert found == Hindrance.NOT_COMPLETED
    elif not graded:
        assert found == Hindrance.NOT_GRADED
    else:
        assert found == Hindrance.NOT_RELEASED


@pytest.mark.parametrize("policy", list(SendGrade))
@pytest.mark.parametrize(
    ("enroll_only", "points_possible", "expected"),
    [(True, 10, Hindrance.ENROLL_ONLY), (False, 0, Hindrance.NO_POINTS), (True, 0, Hindrance.ENROLL_ONLY)],
)
def test_no_policy_sends_from_enroll_only_courses_or_without_points(policy, enroll_only, points_possible, expected):
    part = Assignment(points_possible=points_possible, course=Course(enroll_only=enroll_only))
    assert hindrance(Score(points=5), part, policy) == expected
