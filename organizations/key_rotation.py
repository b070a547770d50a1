"""Rotation of the organizations' RSA keys: published before use, and after it (D32, D33)."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from organizations.models import Organization, ToolKey
from organizations.signals import tool_key_rotated
from organizations.tool_keys import PUBLISHED_AFTER_RETIREMENT, make_tool_key

PUBLISHED_BEFORE_USE = timedelta(hours=24)


@dataclass(frozen=True)
class Rotation:
    """What was done for one organization: a new key (or the one that waits already), and when it signs."""

    organization: Organization
    key_id: str
    signs_from: datetime
    made: bool
    dropped: int


def rotate_tool_key(organization: Organization, published_before: timedelta = PUBLISHED_BEFORE_USE) -> Rotation:
    """Makes and publishes the organization's next key, which signs once it was published for so long.

    Until then the key before it signs, and stays published for seven days more. Nothing is made while a new key waits
    for its time, so that this may run again. Keys that nobody can need any more are deleted. An organization without
    any key gets one that signs at once.
    """
    now = timezone.now()
    with transaction.atomic():
        # Two rotations, or a rotation and a first use, must not make two keys.
        Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        long_ago = ToolKey.objects.filter(organization=organization, retired_at__lt=now - PUBLISHED_AFTER_RETIREMENT)
        dropped = long_ago.count()
        long_ago.delete()
        newest = organization.tool_keys.filter(retired_at=None).order_by("-signs_from").first()
        if newest is not None and newest.signs_from > now:
            return Rotation(organization, newest.key_id, newest.signs_from, made=False, dropped=dropped)
        signs_from = now if newest is None else now + published_before
        made = make_tool_key(organization, signs_from=signs_from)
        organization.tool_keys.filter(retired_at=None).exclude(pk=made.pk).update(retired_at=signs_from)
        tool_key_rotated.send(ToolKey, tool_key=made)
    return Rotation(organization, made.key_id, signs_from, made=True, dropped=dropped)
