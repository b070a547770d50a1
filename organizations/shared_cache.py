"""What the LTI 1.3 core keeps between requests: key sets and access tokens, in the cache that all processes share."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from django.core.cache import cache

from lti.v1p3.key_sets import KeySets
from lti.v1p3.tokens import Tokens
from organizations.identifiers import random_token
from organizations.outbound import outbound_client

_POLL_SECONDS = 0.05


class DjangoSharedCache:
    """`lti.v1p3.sending.SharedCache` over Django's cache. Without Redis each process has its own."""

    def get(self, name: str) -> str | None:
        kept = cache.get(name)
        return kept if isinstance(kept, str) else None

    def set(self, name: str, text: str, seconds: int) -> None:
        cache.set(name, text, seconds)

    def delete(self, name: str) -> None:
        cache.delete(name)

    @contextmanager
    def lock(self, name: str, seconds: int) -> Iterator[None]:
        """Held by one at a time; who has waited `seconds` goes on without it (a cache that is away never blocks)."""
        holder = random_token(9)
        deadline = time.monotonic() + seconds
        while not cache.add(name, holder, seconds) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        try:
            yield
        finally:
            # Who was overtaken (the lock ran out) must not free the next holder's.
            if cache.get(name) == holder:
                cache.delete(name)


@lru_cache(maxsize=1)
def key_sets() -> KeySets:
    """The platforms' public key sets, as this process reads them."""
    return KeySets(DjangoSharedCache(), outbound_client(total_timeout=10), time.time)


@lru_cache(maxsize=1)
def platform_tokens() -> Tokens:
    """Access tokens at the platforms, as this process asks for them."""
    return Tokens(DjangoSharedCache(), outbound_client(total_timeout=15), time.time)
