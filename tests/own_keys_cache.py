"""The Redis cache of one test process: what it clears is its own, though the processes share a server."""

from lti_platform.cache import ForgivingRedisCache


class OwnKeysRedisCache(ForgivingRedisCache):
    """`clear()` empties the whole database elsewhere; here it takes the keys of this cache's prefix alone."""

    def clear(self) -> bool:
        redis = self._cache.get_client(write=True)
        for key in redis.scan_iter(match=f"{self.key_prefix}:*", count=1000):
            redis.delete(key)
        return True
