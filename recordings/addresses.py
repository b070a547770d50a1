"""Absolute URLs of rooms that an LMS is given (contract §3)."""

from django.conf import settings

from recordings.models import Room


def room_url(room: Room) -> str:
    """A room's LTI integration URL: LTI 1.1 launch URL and LTI 1.3 target_link_uri."""
    return f"{settings.BASE_URL}/lti/rooms/{room.id}"
