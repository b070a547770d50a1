"""How long an answer asks to be left alone (RFC 9110 §10.2.3)."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

LONGEST_SECONDS = 24 * 3600


def retry_after(value: str, now: datetime) -> int | None:
    """``Retry-After`` in seconds, a number or an HTTP date, at most a day."""
    value = value.strip()
    if re.fullmatch(r"[0-9]{1,9}", value):
        return min(int(value), LONGEST_SECONDS)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(min(max(moment - now, timedelta(0)), timedelta(seconds=LONGEST_SECONDS)).total_seconds())
