"""Webhooks: where events are told to."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from api.schemas.courses import as_a_change
from events.models import WebhookEndpoint
from organizations.input_types import Input

_WEBHOOK: JsonDict = {
    "id": "0197f3a0-0000-7000-8000-00000000000a",
    "url": "https://hooks.example/in",
    "description": "content application",
    "events": ["score.changed", "grade.failed"],
    "enabled": True,
    "disabled_reason": "",
    "failing_since": None,
    "previous_secret_until": None,
    "created_at": "2030-01-31T18:00:00Z",
}
_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="  # noqa: S105 - an example

Url = Annotated[str, StringConstraints(max_length=2000)]
EventTypes = Annotated[list[Annotated[str, StringConstraints(max_length=64)]], Field(max_length=100)]
Description = Annotated[str, StringConstraints(max_length=255)]
SigningSecret = Annotated[str, StringConstraints(max_length=255)]


class NewWebhook(Input):
    """A webhook to make."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"url": "https://hooks.example/in", "events": ["score.changed", "grade.failed"]}}
    )

    url: Url = Field(description="https, and not in a private network.")
    events: EventTypes = Field(default=["*"], description='Names of event types, or `["*"]` for all.')
    description: Description = ""
    secret: SigningSecret | None = Field(
        default=None, description="`whsec_` and 24 to 64 bytes in base64; made where left out."
    )
    enabled: bool = Field(default=True, strict=True)


class WebhookChange(Input):
    """What to change; what is left out stays."""

    model_config = ConfigDict(json_schema_extra=as_a_change({"events": ["*"], "enabled": True}))

    url: Url = ""
    events: EventTypes = []
    description: Description = ""
    enabled: bool = Field(default=True, strict=True)
    secret: SigningSecret = Field(default="", description="A new signing secret, in place of the present one.")
    overlap_hours: int = Field(
        default=24,
        strict=True,
        ge=0,
        le=2160,
        description="How long the secret before goes on signing as well; 24 where left out.",
    )


class WebhookOut(BaseModel):
    """A webhook; its secret is never in it."""

    model_config = ConfigDict(json_schema_extra={"example": _WEBHOOK})

    id: UUID
    url: str
    description: str
    events: list[str]
    enabled: bool
    disabled_reason: str = Field(description="Why the platform disabled it; empty if it did not.")
    failing_since: datetime | None = Field(description="When the first try failed after the last success.")
    previous_secret_until: datetime | None = Field(description="Until then the secret before signs as well.")
    created_at: datetime


class MadeWebhook(WebhookOut):
    """A webhook that was made now, with its secret: the only time that it is shown."""

    model_config = ConfigDict(json_schema_extra={"example": {**_WEBHOOK, "secret": _SECRET}})

    secret: str = Field(repr=False)


def webhook_out(endpoint: WebhookEndpoint) -> WebhookOut:
    """The webhook without its secrets."""
    return WebhookOut(
        id=endpoint.id,
        url=endpoint.url,
        description=endpoint.description,
        events=endpoint.event_types,
        enabled=endpoint.enabled,
        disabled_reason=endpoint.disabled_reason,
        failing_since=endpoint.failing_since,
        previous_secret_until=endpoint.previous_secret_expires_at if len(endpoint.valid_secrets()) > 1 else None,
        created_at=endpoint.created_at,
    )
