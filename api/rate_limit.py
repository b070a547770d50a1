"""How many requests a token has in a minute. Counted in the cache: without the cache there is no limit."""

import time
from dataclasses import dataclass

from django.conf import settings
from django.core.cache import cache

from organizations.models import ApiToken

WINDOW = 60  # seconds


@dataclass(frozen=True)
class Share:
    """A token's share of the current minute: `limit` requests, `remaining` of them left, for `reset` more seconds."""

    limit: int
    remaining: int
    reset: int
    exceeded: bool


def take(api_token: ApiToken) -> Share:
    """Counts one request, and says what is left."""
    limit = settings.API_REQUESTS_PER_MINUTE
    now = time.time()
    window, passed = divmod(int(now), WINDOW)
    reset = WINDOW - passed
    key = f"api-requests:{api_token.pk}:{window}"
    cache.add(key, 0, 2 * WINDOW)
    try:
        count = cache.incr(key)
    except ValueError:
        # The cache lost the counter between the two calls.
        count = 1
    return Share(limit, max(limit - count, 0), reset, count > limit)
