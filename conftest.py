"""What tests of every room may ask for."""

import pytest
from django.core.cache import cache

import tests.emptying  # noqa: F401 - quicker than Django's
from organizations.shared_cache import key_sets, platform_tokens
from tests.queue import memory_queue

__all__ = ["memory_queue"]


@pytest.fixture
def loopback(settings):
    """Platforms on loopback may be called, and nothing is remembered of those of other tests."""
    settings.OUTBOUND_ALLOW_HTTP = True
    settings.OUTBOUND_ALLOWED_PRIVATE_HOSTS = ["127.0.0.1"]
    cache.clear()
    for made_once in (key_sets, platform_tokens):
        made_once.cache_clear()
    yield
    for made_once in (key_sets, platform_tokens):
        made_once.cache_clear()


@pytest.fixture
def events_of_any_kind(settings):
    """For tests of how events travel, whatever they say."""
    settings.EVENT_DATA_CHECKED = False
