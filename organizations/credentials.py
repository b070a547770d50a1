"""What an owner does with the shared secret of an LTI 1.1 key: look at it, and replace it without a gap (A19)."""

from datetime import timedelta

from django.db import transaction

from organizations.identifiers import random_token
from organizations.models import LtiKey, User
from organizations.signals import secret_reset, secret_revealed

LONGEST_OVERLAP = timedelta(days=90)


class ReasonMissing(ValueError):
    """A secret is shown only to somebody who says what for."""


def reveal_secret(key: LtiKey, actor: User, reason: str) -> str:
    """The key's secret, after the reason was written to the audit trail.

    Raises ``ReasonMissing`` for an empty reason.
    """
    reason = " ".join(reason.split())
    if not reason:
        raise ReasonMissing("Say what the secret is needed for.")
    with transaction.atomic():
        secret_revealed.send(LtiKey, key=key, actor=actor, reason=reason[:500])
    return key.secret


def reset_secret(key: LtiKey, overlap: timedelta, actor: User | None) -> str:
    """Makes a new secret and returns it; the old one goes on working for the overlap (zero: it ends at once).

    A secret that was still being rotated out ends now. Raises ``ValueError`` for a negative overlap or one above
    90 days.
    """
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        raise ValueError("The overlap must be between none and 90 days.")
    with transaction.atomic():
        # no_key: launches insert rows that refer to the key, and must not wait for its owner.
        fresh = LtiKey.objects.select_for_update(no_key=True).get(pk=key.pk)
        secret = random_token()
        fresh.replace_secret(secret, overlap)
        fresh.previous_secret_last_used_at = fresh.last_used_at if overlap else None
        fresh.last_used_at = None
        fresh.save(
            update_fields=[
                "secret",
                "last_used_at",
                "previous_secret",
                "previous_secret_expires_at",
                "previous_secret_last_used_at",
            ]
        )
        secret_reset.send(LtiKey, key=fresh, actor=actor, overlap_seconds=int(overlap.total_seconds()))
    return secret


def drop_previous_secret(key: LtiKey) -> bool:
    """Ends the overlap now. Whether there was a previous secret."""
    rows = LtiKey.objects.filter(pk=key.pk, previous_secret_expires_at__isnull=False)
    return bool(rows.update(previous_secret="", previous_secret_expires_at=None, previous_secret_last_used_at=None))
