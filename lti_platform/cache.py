"""The cache: losing it loses nothing but speed, so a Redis that is away is a miss, not an error."""

from typing import Any

import structlog
from django.core.cache.backends.redis import RedisCache
from redis.exceptions import RedisError

logger = structlog.get_logger(__name__)


class ForgivingRedisCache(RedisCache):
    """Django's Redis cache that answers as an empty cache would while Redis cannot be reached."""

    def _forgive(self, call: Any, otherwise: Any) -> Any:
        try:
            return call()
        except (RedisError, OSError) as error:
            logger.warning("cache_unreachable", reason=type(error).__name__)
            return otherwise

    def add(self, *args: Any, **kwargs: Any) -> bool:
        return self._forgive(lambda: RedisCache.add(self, *args, **kwargs), True)

    def get(self, key: Any, default: Any = None, version: Any = None) -> Any:
        return self._forgive(lambda: RedisCache.get(self, key, default, version), default)

    def set(self, *args: Any, **kwargs: Any) -> None:
        self._forgive(lambda: RedisCache.set(self, *args, **kwargs), None)

    def touch(self, *args: Any, **kwargs: Any) -> bool:
        return self._forgive(lambda: RedisCache.touch(self, *args, **kwargs), False)

    def delete(self, *args: Any, **kwargs: Any) -> bool:
        return self._forgive(lambda: RedisCache.delete(self, *args, **kwargs), False)

    def get_many(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return self._forgive(lambda: RedisCache.get_many(self, *args, **kwargs), {})

    def set_many(self, *args: Any, **kwargs: Any) -> list[Any]:
        return self._forgive(lambda: RedisCache.set_many(self, *args, **kwargs), [])

    def delete_many(self, *args: Any, **kwargs: Any) -> None:
        self._forgive(lambda: RedisCache.delete_many(self, *args, **kwargs), None)

    def has_key(self, *args: Any, **kwargs: Any) -> bool:
        return self._forgive(lambda: RedisCache.has_key(self, *args, **kwargs), False)

    def incr(self, key: Any, delta: int = 1, version: Any = None) -> int:
        # ValueError (no such key) is the caller's to handle, as with every cache.
        return self._forgive(lambda: RedisCache.incr(self, key, delta, version), delta)
