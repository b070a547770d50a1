"""The launch log."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from launches.models import Launch


class LaunchOut(BaseModel):
    """One arrival, or one refusal."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "0197f3a0-0000-7000-8000-00000000000a",
                "at": "2030-01-31T18:00:00Z",
                "result": "accepted",
                "lti_version": "1.1",
                "installation": "0197f3a0-0000-7000-8000-000000000007",
                "person": "0197f3a0-0000-7000-8000-000000000004",
                "role": "student",
                "course": "0197f3a0-0000-7000-8000-000000000001",
                "assignment": "0197f3a0-0000-7000-8000-000000000002",
                "room": None,
                "reference": "ABCD-EFGH",
            }
        }
    )

    id: UUID
    at: datetime
    result: str = Field(description="`accepted`, or the code of the refusal.")
    lti_version: str
    installation: UUID | None
    person: UUID | None
    role: str | None = Field(description="`teacher`, `mentor` or `student`; null if it was not found out.")
    course: UUID | None
    assignment: UUID | None
    room: UUID | None
    reference: str = Field(description="What a refused person was told to quote.")


def launch_out(launch: Launch) -> LaunchOut:
    """The launch, without anything that the LMS sent."""
    return LaunchOut(
        id=launch.id,
        at=launch.at,
        result=launch.result,
        lti_version=launch.lti_version,
        installation=launch.installation_id,
        person=launch.person_id,
        role=launch.role or None,
        course=launch.course_id,
        assignment=launch.assignment_id,
        room=launch.room_id,
        reference=launch.reference,
    )
