"""What happened."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from events.models import Event


class EventOut(BaseModel):
    """An event of the log."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "0197f3a0-0000-7000-8000-000000000008",
                "type": "score.changed",
                "at": "2030-01-31T18:00:00Z",
                "actor": {"kind": "api_token", "id": "0197f3a0-0000-7000-8000-000000000009", "name": "grader"},
                "subject": {"kind": "score", "id": "0197f3a0-0000-7000-8000-000000000003"},
                "data": {"points": "8.50"},
            }
        }
    )

    id: UUID
    type: str
    at: datetime
    actor: dict[str, Any] = Field(description="Who did it: `kind` (person, user, api_token, system), `id`, `name`.")
    subject: dict[str, Any] = Field(description="What it happened to: `kind`, `id`.")
    data: dict[str, Any]


def event_out(event: Event) -> EventOut:
    """The event as it was written."""
    return EventOut(
        id=event.id, type=event.type, at=event.at, actor=event.actor, subject=event.subject, data=event.data
    )
