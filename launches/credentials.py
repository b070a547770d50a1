"""What a launch proves itself with: an LTI 1.1 key, or a deployment of an LTI 1.3 registration."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from lti.errors import LaunchError, LaunchErrorCode
from organizations.models import Deployment, Installation, LtiKey, Registration

# How exact "last used" is: a write for every launch would make all launches of a key queue up for one row.
LAST_USED_EXACT_TO = timedelta(minutes=1)


@dataclass(frozen=True)
class Credential:
    """A recognised credential; `id` is the key's or the registration's, which nonces are unique in."""

    id: UUID
    installation: Installation
    key: LtiKey | None = None
    deployment: Deployment | None = None
    used_current_secret: bool = True

    @classmethod
    def of_key(cls, key: LtiKey, *, used_current_secret: bool = True) -> Credential:
        return cls(key.id, key.installation, key=key, used_current_secret=used_current_secret)

    @classmethod
    def of_registration(cls, registration: Registration, deployment: Deployment | None = None) -> Credential:
        """Without a deployment (it is not known yet) the registration's own installation stands for it."""
        installation = deployment.installation if deployment else registration.installation
        return cls(registration.id, installation, deployment=deployment)

    def check_enabled(self) -> None:
        """Raises `LaunchError` INSTALLATION_DISABLED when somebody switched any part of it off (J6)."""
        parts = [(self.installation.organization.enabled, "the organization")]
        if self.key is not None:
            parts.append((self.key.enabled, "the key"))
        if self.deployment is not None:
            parts.append((self.deployment.registration.is_usable, "the registration"))
        parts.append((self.installation.enabled, "the LMS installation"))
        for enabled, what in parts:
            if not enabled:
                raise LaunchError(
                    LaunchErrorCode.INSTALLATION_DISABLED,
                    f"{what} is enabled",
                    cause=f"Somebody switched {what} off; switching it on again lets launches in at once.",
                )

    def note_use(self) -> None:
        """Keeps when the credential was last used, to the minute. No statement when it was just noted."""
        row: LtiKey | Registration
        if self.key is not None:
            row = self.key
        elif self.deployment is not None:
            row = self.deployment.registration
        else:
            return
        field = "last_used_at" if self.used_current_secret else "previous_secret_last_used_at"
        last_used = getattr(row, field)
        now = timezone.now()
        if last_used is None or now - last_used > LAST_USED_EXACT_TO:
            stale = Q(**{f"{field}__isnull": True}) | Q(**{f"{field}__lt": now - LAST_USED_EXACT_TO})
            type(row)._default_manager.filter(stale, pk=row.pk).update(**{field: now})
