"""Identifiers and generated credentials."""

import os
import secrets
import threading
import time
import uuid
from datetime import datetime

_RANDOM_BITS = 74
_STEP_BITS = 60
_lock = threading.Lock()
_latest = 0
# A child never starts with the lock held by a thread that it does not have.
os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


def uuid7() -> uuid.UUID:
    """A time-ordered UUID (RFC 9562 §5.7), so that new rows land at the end of every index.

    Within one process each is larger than those before it, of the same millisecond as well (§6.2, method 2): what was
    written in order is read in order. The first of a millisecond has 73 random bits, the others a random step of 60.
    A clock that is set back is followed, since the time in an id is what rows are found by.
    """
    global _latest
    milliseconds = time.time_ns() // 1_000_000
    with _lock:
        if _latest >> _RANDOM_BITS == milliseconds:
            _latest += 1 + secrets.randbits(_STEP_BITS)
        else:
            # The highest bit stays free for the steps.
            _latest = (milliseconds << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS - 1)
        latest = _latest
    high, low = latest >> 62, latest & ((1 << 62) - 1)
    return uuid.UUID(int=((high >> 12) << 80) | (0x7 << 76) | ((high & 0xFFF) << 64) | (0b10 << 62) | low)


def first_uuid7_of(moment: datetime) -> uuid.UUID:
    """The smallest id that `uuid7` can give at this moment: what is older has a smaller one."""
    milliseconds = int(moment.timestamp() * 1000)
    return uuid.UUID(int=(milliseconds << 80) | (0x7 << 76) | (0b10 << 62))


def random_token(bytes_of_entropy: int = 32) -> str:
    """A random string of ``[A-Za-z0-9_-]``; 43 characters by default (Moodle breaks on ``&`` and ``<``)."""
    return secrets.token_urlsafe(bytes_of_entropy)
