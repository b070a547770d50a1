"""What happens to credentials and sign-ins, as events of the audit trail; written in the transaction of the deed."""

from typing import Any

from django.dispatch import receiver

from events.log import Actor, EventType, record
from organizations.models import LtiKey, Person, Registration, ToolKey, User
from organizations.signals import (
    own_sign_in_changed,
    registration_created,
    secret_reset,
    secret_revealed,
    tool_key_rotated,
)


@receiver(secret_revealed, dispatch_uid="events.key_revealed")
def write_key_revealed(key: LtiKey, actor: User, reason: str, **kwargs: Any) -> None:
    _write(EventType.KEY_REVEALED, key, actor, {"reason": reason})


@receiver(secret_reset, dispatch_uid="events.key_rotated")
def write_key_rotated(key: LtiKey, actor: User | None, overlap_seconds: int, **kwargs: Any) -> None:
    _write(EventType.KEY_ROTATED, key, actor, {"overlap_seconds": overlap_seconds})


@receiver(registration_created, dispatch_uid="events.registration_created")
def write_registration_created(registration: Registration, actor: User | None, **kwargs: Any) -> None:
    record(
        registration.organization_id,
        EventType.REGISTRATION_CREATED,
        actor=Actor.of(actor),
        subject_kind="registration",
        subject_id=registration.pk,
        data={
            "installation": str(registration.installation_id),
            "issuer": registration.issuer,
            "client_id": registration.client_id,
            "deployment_ids": list(registration.deployments.values_list("deployment_id", flat=True)),
            "state": registration.state,
            "upgraded_key": registration.upgraded_key.consumer_key if registration.upgraded_key else None,
        },
    )


@receiver(tool_key_rotated, dispatch_uid="events.tool_key_rotated")
def write_tool_key_rotated(tool_key: ToolKey, **kwargs: Any) -> None:
    record(
        tool_key.organization_id,
        EventType.KEY_ROTATED,
        actor=Actor.of(None),
        subject_kind="tool_key",
        subject_id=tool_key.pk,
        data={"key_id": tool_key.key_id, "signs_from": tool_key.signs_from.isoformat()},
    )


@receiver(own_sign_in_changed, dispatch_uid="events.own_sign_in_changed")
def write_own_sign_in_changed(person: Person, signs_in: bool, **kwargs: Any) -> None:
    # Not with which account: that one may belong to other organizations, too.
    record(
        person.organization_id,
        EventType.SIGN_IN_ADDED if signs_in else EventType.SIGN_IN_REMOVED,
        actor=Actor.of(person),
        subject_kind="person",
        subject_id=person.pk,
    )


def _write(event_type: str, key: LtiKey, actor: User | None, more: dict[str, Any]) -> None:
    installation = key.installation
    record(
        installation.organization_id,
        event_type,
        actor=Actor.of(actor),
        subject_kind="lti_key",
        subject_id=key.pk,
        data={"consumer_key": key.consumer_key, "installation": str(installation.pk), **more},
    )
