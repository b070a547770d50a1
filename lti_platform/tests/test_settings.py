"""Settings as a process reads them: each case is a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GOOD = {
    "SECRET_KEY": "a-key-of-this-test-that-is-long-enough",
    "FIELD_ENCRYPTION_KEYS": "dGVzdC1vbmx5LWtleS0zMi1ieXRlcy1sb25nLTAxMjM=",
    "BASE_URL": "https://tool.example.org",
}


def start(tmp_path: Path, code: str = "pass", **environment: str) -> "subprocess.CompletedProcess[str]":
    """Runs `code` with Django set up and with these variables only."""
    return subprocess.run(
        [sys.executable, "-c", f"import django; django.setup()\nfrom django.conf import settings\n{code}"],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "DJANGO_SETTINGS_MODULE": "lti_platform.settings",
            "VAR_DIR": str(tmp_path),
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def without(name: str) -> dict[str, str]:
    return {key: value for key, value in GOOD.items() if key != name}


def test_a_production_environment_starts(tmp_path: Path) -> None:
    assert start(tmp_path, **GOOD).returncode == 0


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        (without("SECRET_KEY"), "SECRET_KEY"),
        ({**GOOD, "SECRET_KEY": "hunter2"}, "SECRET_KEY"),
        ({**GOOD, "SECRET_KEY": "insecure-key-for-debugging-only-and-longer"}, "SECRET_KEY"),
        (without("FIELD_ENCRYPTION_KEYS"), "FIELD_ENCRYPTION_KEYS"),
        ({**GOOD, "BASE_URL": "tool.example.org"}, "BASE_URL"),
        ({**GOOD, "BASE_URL": "https://tool.example.org/lti"}, "BASE_URL"),
        ({**GOOD, "LTI_TIMESTAMP_WINDOW": "86400"}, "LTI_TIMESTAMP_WINDOW"),
    ],
)
def test_it_refuses_to_start(tmp_path: Path, environment: dict[str, str], named: str) -> None:
    started = start(tmp_path, **environment)

    assert started.returncode != 0
    assert "ImproperlyConfigured" in started.stderr
    assert named in started.stderr.splitlines()[-1]
    assert environment.get("SECRET_KEY", "?") not in started.stderr.splitlines()[-1]


def test_debugging_needs_no_keys(tmp_path: Path) -> None:
    assert start(tmp_path, DEBUG="true").returncode == 0


def test_empty_counts_as_left_out(tmp_path: Path) -> None:
    code = "print(settings.ALLOWED_HOSTS, settings.DEFAULT_FROM_EMAIL, settings.TRUSTED_PROXIES)"
    empty = dict.fromkeys(
        [
            "ALLOWED_HOSTS",
            "DEFAULT_FROM_EMAIL",
            "TRUSTED_PROXIES",
            "REDIS_URL",
            "LOG_LEVEL",
            "DATABASE_URL",
            "CELERY_BROKER_URL",
            "LOG_FORMAT",
        ],
        "",
    )

    started = start(tmp_path, code, **GOOD, **empty)

    assert started.stdout.strip() == "['tool.example.org', 'localhost', '127.0.0.1'] no-reply@tool.example.org []"


def test_cookies_are_secure_behind_https(tmp_path: Path) -> None:
    code = "print(settings.SESSION_COOKIE_SECURE, settings.CSRF_COOKIE_SECURE, settings.SECURE_HSTS_SECONDS > 0)"

    assert start(tmp_path, code, **GOOD).stdout.split() == ["True", "True", "True"]


def test_redis_and_postgresql_are_used_where_named(tmp_path: Path) -> None:
    code = (
        "print(settings.DATABASES['default']['ENGINE'], settings.CACHES['default']['BACKEND'],"
        " settings.CELERY_BROKER_URL)"
    )
    urls = {"DATABASE_URL": "postgres://u:p@db.example/x", "REDIS_URL": "redis://cache.example/0"}

    assert start(tmp_path, code, **GOOD, **urls).stdout.split() == [
        "lti_platform.postgresql",
        "lti_platform.cache.ForgivingRedisCache",
        "redis://cache.example/0",
    ]
    assert start(tmp_path, code, **GOOD).stdout.split()[0] == "django.db.backends.sqlite3"


def test_gunicorns_access_log_has_no_query_referrer_or_headers() -> None:
    code = "import runpy; print(runpy.run_path('gunicorn.conf.py')['access_log_format'])"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert "%(U)s" in shown
    for leaky in ("%(r)s", "%(q)s", "%(f)s", "%(a)s", "}i"):
        assert leaky not in shown
