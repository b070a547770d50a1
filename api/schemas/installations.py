"""LMS installations, their LTI 1.1 keys and LTI 1.3 registrations; secrets never leave by the API."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from organizations.input_types import Input
from organizations.models import Deployment, Installation, LtiKey, Registration

_KEY: JsonDict = {
    "consumer_key": "acme-moodle",
    "installation": "0197f3a0-0000-7000-8000-000000000007",
    "enabled": True,
    "last_used_at": "2030-01-31T18:00:00Z",
}
_DEPLOYMENT: JsonDict = {
    "deployment_id": "5",
    "installation": "0197f3a0-0000-7000-8000-000000000007",
    "state": "approved",
}
_REGISTRATION: JsonDict = {
    "id": "0197f3a0-0000-7000-8000-000000000008",
    "installation": "0197f3a0-0000-7000-8000-000000000007",
    "issuer": "https://lms.example",
    "client_id": "b9v7LGkbHL07B9u",
    "state": "active",
    "enabled": True,
    "last_used_at": "2030-01-31T18:00:00Z",
    "deployments": [_DEPLOYMENT],
}


class Switch(Input):
    """On or off."""

    model_config = ConfigDict(json_schema_extra={"example": {"enabled": False}})

    enabled: bool = Field(strict=True)


class KeyOut(BaseModel):
    """An LTI 1.1 key."""

    model_config = ConfigDict(json_schema_extra={"example": _KEY})

    consumer_key: str
    installation: UUID
    enabled: bool
    last_used_at: datetime | None


class DeploymentOut(BaseModel):
    """A deployment of an LTI 1.3 registration."""

    model_config = ConfigDict(json_schema_extra={"example": _DEPLOYMENT})

    deployment_id: str
    installation: UUID = Field(description="That its people, courses and links belong to.")
    state: Literal["pending", "approved"] = Field(description="The owner approves one that nobody announced.")


class RegistrationOut(BaseModel):
    """An LTI 1.3 registration."""

    model_config = ConfigDict(json_schema_extra={"example": _REGISTRATION})

    id: UUID
    installation: UUID
    issuer: str
    client_id: str
    state: Literal["pending", "active"] = Field(description="The owner activates one that the LMS made by an invite.")
    enabled: bool
    last_used_at: datetime | None
    deployments: list[DeploymentOut]


class InstallationOut(BaseModel):
    """One LMS connected to the organization."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "0197f3a0-0000-7000-8000-000000000007",
                "name": "Moodle",
                "enabled": True,
                "verified_emails": False,
                "lms": "moodle",
                "lms_version": "5.0",
                "service_hosts": ["lms.example"],
                "pending_service_hosts": [],
                "keys": [_KEY],
                "registrations": [_REGISTRATION],
            }
        }
    )

    id: UUID
    name: str
    enabled: bool
    verified_emails: bool
    lms: str = Field(description="What its launches say it is; empty before the first.")
    lms_version: str
    service_hosts: list[str] = Field(description="Hosts that grades may be sent to.")
    pending_service_hosts: list[str] = Field(description="Hosts that launches named and the owner has not allowed.")
    keys: list[KeyOut]
    registrations: list[RegistrationOut]


def key_out(key: LtiKey) -> KeyOut:
    """The key without its secrets."""
    return KeyOut(
        consumer_key=key.consumer_key,
        installation=key.installation_id,
        enabled=key.enabled,
        last_used_at=key.last_used_at,
    )


def _deployment_out(deployment: Deployment) -> DeploymentOut:
    return DeploymentOut(
        deployment_id=deployment.deployment_id,
        installation=deployment.installation_id,
        state="approved" if deployment.state == Deployment.State.APPROVED else "pending",
    )


def registration_out(registration: Registration) -> RegistrationOut:
    """The registration; its deployments should be loaded with it."""
    return RegistrationOut(
        id=registration.id,
        installation=registration.installation_id,
        issuer=registration.issuer,
        client_id=registration.client_id,
        state="active" if registration.state == Registration.State.ACTIVE else "pending",
        enabled=registration.enabled,
        last_used_at=registration.last_used_at,
        deployments=[_deployment_out(deployment) for deployment in registration.deployments.all()],
    )


def installation_out(installation: Installation) -> InstallationOut:
    """The installation; its keys and registrations should be loaded with it."""
    return InstallationOut(
        id=installation.id,
        name=installation.name,
        enabled=installation.enabled,
        verified_emails=installation.verified_emails,
        lms=installation.lms,
        lms_version=installation.lms_version,
        service_hosts=installation.service_hosts,
        pending_service_hosts=installation.pending_service_hosts,
        keys=[key_out(key) for key in installation.keys.all()],
        registrations=[registration_out(registration) for registration in installation.registrations.all()],
    )
