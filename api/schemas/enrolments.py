"""Who takes part in a course."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from courses.models import Enrolment, RosterSync


class LmsAccountOut(BaseModel):
    """Who a person is in one LMS."""

    installation: UUID
    lms_user_id: str


class PersonOut(BaseModel):
    """Somebody known to the organization."""

    id: UUID
    name: str
    email: str
    lms_accounts: list[LmsAccountOut]


class EnrolmentOut(BaseModel):
    """A person in a course, with the role that the LMS gave in the latest launch."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "0197f3a0-0000-7000-8000-000000000006",
                "role": "student",
                "state": "active",
                "last_launch_at": "2030-01-31T18:00:00Z",
                "person": {
                    "id": "0197f3a0-0000-7000-8000-000000000004",
                    "name": "Sam Student",
                    "email": "sam@students.example",
                    "lms_accounts": [
                        {"installation": "0197f3a0-0000-7000-8000-000000000007", "lms_user_id": "29"},
                    ],
                },
            }
        }
    )

    id: UUID
    role: str = Field(description="`teacher`, `mentor` or `student`.")
    state: str = Field(description="`active`, or `gone` from the LMS course.")
    last_launch_at: datetime | None = Field(description="Null for people known from the roster alone.")
    person: PersonOut


def enrolment_out(enrolment: Enrolment) -> EnrolmentOut:
    """The enrolment; its person and their accounts should be loaded with it."""
    person = enrolment.person
    return EnrolmentOut(
        id=enrolment.id,
        role=enrolment.role,
        state=enrolment.state,
        last_launch_at=enrolment.last_launch_at,
        person=PersonOut(
            id=person.id,
            name=person.name,
            email=person.email,
            lms_accounts=[
                LmsAccountOut(installation=account.installation_id, lms_user_id=account.lms_user_id)
                for account in person.accounts.all()
            ],
        ),
    )


class RosterSyncOut(BaseModel):
    """How the latest reading of an LMS course's roster went."""

    lms_course: UUID
    title: str = Field(description="As the LMS calls the course.")
    installation: UUID
    state: Literal["waiting", "running", "done", "failed"]
    finished_at: datetime | None = Field(description="When the latest reading ended.")
    roster_synced_at: datetime | None = Field(description="When the roster was last read without a failure.")
    added: int
    returned: int = Field(description="Had been gone, and are back.")
    updated: int = Field(description="Another role, name or address than before.")
    unchanged: int
    gone: int
    error: str = Field(description="A code, if it failed.")
    explanation: str = Field(description="The same in words, and who can do something about it.")


class RosterSyncsOut(BaseModel):
    """The rosters of a course: one for each LMS course that opens it and says where its roster is."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "items": [
                    {
                        "lms_course": "0197f3a0-0000-7000-8000-000000000008",
                        "title": "Introduction",
                        "installation": "0197f3a0-0000-7000-8000-000000000007",
                        "state": "done",
                        "finished_at": "2030-01-31T18:00:02Z",
                        "roster_synced_at": "2030-01-31T18:00:00Z",
                        "added": 3,
                        "returned": 0,
                        "updated": 1,
                        "unchanged": 24,
                        "gone": 2,
                        "error": "",
                        "explanation": "",
                    }
                ]
            }
        }
    )

    items: list[RosterSyncOut]


def roster_sync_out(sync: RosterSync) -> RosterSyncOut:
    """The reading; its LMS course should be loaded with it."""
    lms_course = sync.lms_course
    state: Literal["waiting", "running", "done", "failed"] = "done"
    if sync.state == RosterSync.State.RUNNING:
        state = "running"
    elif sync.is_under_way or sync.state == RosterSync.State.NEW:
        state = "waiting"
    elif sync.state == RosterSync.State.FAILED:
        state = "failed"
    return RosterSyncOut(
        lms_course=lms_course.pk,
        title=lms_course.title,
        installation=lms_course.installation_id,
        state=state,
        finished_at=sync.finished_at,
        roster_synced_at=lms_course.roster_synced_at,
        added=sync.added,
        returned=sync.returned,
        updated=sync.updated,
        unchanged=sync.unchanged,
        gone=sync.gone,
        error=sync.reason_code,
        explanation=sync.explanation,
    )
