"""Settings of the test run: the embedded default, unless DATABASE_URL and REDIS_URL name real services."""

import os

os.environ.setdefault("SECRET_KEY", "test-only-key-that-is-long-enough-for-the-start-up-check")
os.environ.setdefault("FIELD_ENCRYPTION_KEYS", "dGVzdC1vbmx5LWtleS0zMi1ieXRlcy1sb25nLTAxMjM=")
os.environ.setdefault("BASE_URL", "http://testserver")
os.environ.setdefault("ALLOWED_HOSTS", "testserver,localhost,127.0.0.1,tool.example.org")
os.environ.setdefault("LOG_LEVEL", "WARNING")
os.environ.setdefault("EMAIL_URL", "memorymail://")

from lti_platform.settings import *  # noqa: F403

EVENT_DATA_CHECKED = True

# A slow password hash is for production.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# Files are looked up when asked for: else every test client looks at every static file of the house and its admin.
WHITENOISE_AUTOREFRESH = True

if REDIS_URL:  # noqa: F405
    # Side by side, test processes must not clear each other's counts and locks.
    CACHES["default"]["BACKEND"] = "tests.own_keys_cache.OwnKeysRedisCache"  # noqa: F405
    CACHES["default"]["KEY_PREFIX"] = f"{os.getpid()}-{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}"  # noqa: F405
