"""This room's part of the admin's home page."""

from django.urls import reverse

from courses.models import Assignment, Course
from organizations.overview import Reach, Step, adds_steps
from organizations.tenancy import within


@adds_steps
def first_course(reach: Reach) -> list[Step]:
    return [
        Step(
            40,
            "Describe the first course",
            within(Course.objects.all(), reach).exists(),
            "With its code and name; assignments come into it.",
            reverse("admin:courses_course_add"),
        ),
        Step(
            50,
            "Add an assignment and copy its address into the LMS",
            within(Assignment.objects.all(), reach).exists(),
            "A page with work to hand in, or a link to your content application.",
            reverse("admin:courses_assignment_add"),
        ),
    ]
