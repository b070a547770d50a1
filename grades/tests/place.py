"""One student in one assignment with a gradebook column, in a whole tenant."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from events.log import SYSTEM
from events.models import Delivery
from grades.models import Score
from grades.scores import record_score
from organizations.service_hosts import host_of
from tests.factories import GradebookCellFactory

SECRET = "the-shared-secret-of-the-key"


@dataclass
class Place:
    """`cell`, `assignment`, `person`, `course`, `key` and the rest of one tenant."""

    cell: Any

    def __post_init__(self) -> None:
        self.assignment = self.cell.assignment
        self.course = self.assignment.course
        self.organization = self.course.organization
        self.person = self.cell.person
        self.installation = self.cell.installation
        self.key = self.cell.lti_key

    def score(self, points: str | int = "8.5", **changes: Any) -> Score:
        return record_score(self.assignment, self.person, points=Decimal(points), actor=SYSTEM, **changes)

    def another_cell(self, **changes: Any) -> Any:
        """A second link to the same assignment."""
        cell: Any = GradebookCellFactory(
            assignment=self.assignment, person=self.person, installation=self.installation, lti_key=self.key, **changes
        )
        return cell

    def percentages(self) -> list[str]:
        """What waits to be sent, oldest first."""
        waiting = Delivery.objects.filter(state="pending").order_by("sequence")
        return [delivery.payload["percentage"].rstrip("0").rstrip(".") for delivery in waiting]


def a_place(url: str = "https://lms.example", **changes: Any) -> Place:
    """A place whose LMS's outcome service is at `url`, an allowed host of the installation."""
    cell: Any = GradebookCellFactory(
        **{
            "outcome_service_url": f"{url}/outcomes?course=5",
            "installation__service_hosts": [host_of(url)],
            "lti_key__secret": SECRET,
            **changes,
        }
    )
    return Place(cell)
