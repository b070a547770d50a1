"""Identifiers and generated credentials."""

import secrets
import time
import uuid
from datetime import datetime


def uuid7() -> uuid.UUID:
    """A time-ordered UUID (RFC 9562 §5.7): new rows land at the end of every index, and 74 bits stay random."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | (0x7 << 76) | (secrets.randbits(12) << 64) | (0b10 << 62) | secrets.randbits(62)
    return uuid.UUID(int=value)


def first_uuid7_of(moment: datetime) -> uuid.UUID:
    """The smallest id that `uuid7` can give at this moment: what is older has a smaller one."""
    milliseconds = int(moment.timestamp() * 1000)
    return uuid.UUID(int=(milliseconds << 80) | (0x7 << 76) | (0b10 << 62))


def random_token(bytes_of_entropy: int = 32) -> str:
    """A random string of ``[A-Za-z0-9_-]``; 43 characters by default (Moodle breaks on ``&`` and ``<``)."""
    return secrets.token_urlsafe(bytes_of_entropy)
