"""Looks whether the platform is set up rightly and all that it needs is there, and says what to do where not."""

import ipaddress
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from urllib.parse import urlsplit

from celery import current_app
from cryptography.fernet import Fernet
from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http.request import validate_host
from django.utils import timezone
from kombu import Connection

from events.models import Delivery
from lti.outbound import OutboundFailed, OutboundRefused
from lti.v1p3.key_sets import KeySetUnreadable, parse_key_set
from organizations.identifiers import random_token
from organizations.models import Registration
from organizations.outbound import outbound_client
from organizations.reencryption import encrypted_fields

PING_SECONDS = 2.0
OVERDUE = timedelta(minutes=5)
# The whole check of an LMS's address; an LMS that takes longer keeps people waiting, too.
LMS_SECONDS = 10.0
MOST_ADDRESSES = 100
CLOCK_NOTED = timedelta(seconds=2)


class Level(StrEnum):
    """How serious a finding is."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Finding:
    """What was found about one thing; `advice` says what to do, where something is to be done."""

    level: Level
    subject: str
    text: str
    advice: str = ""


def check_all() -> Iterator[Finding]:
    """Every check, one finding after the other. What needs the database is left out when it cannot be reached."""
    yield from check_secrets()
    yield from check_addresses()
    reachable = True
    for finding in guarded("database", check_database):
        reachable = reachable and finding.level != Level.FAIL
        yield finding
    yield from guarded("cache", check_cache)
    broker = list(guarded("broker", check_broker))
    yield from broker
    if all(finding.level != Level.FAIL for finding in broker):
        yield from guarded("worker", check_worker)
    if reachable:
        yield from guarded("deliveries", check_deliveries)
        yield from guarded("stored secrets", check_stored_secrets)
        yield from guarded("clock", check_clock)
        yield from guarded("LTI 1.3", check_registrations)
    yield from guarded("public URL", check_public_url)


def guarded(subject: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """The check's findings; a check that breaks is a finding itself, named without details that may hold secrets."""
    try:
        yield from check()
    except Exception as error:  # noqa: BLE001 - whatever is wrong with a dependency is the answer
        yield Finding(Level.FAIL, subject, f"cannot be used ({type(error).__name__})", _ADVICE[subject])


_ADVICE = {
    "database": "check DATABASE_URL and that the database runs",
    "cache": "check REDIS_URL and that Redis runs; launches and grades go on without it",
    "broker": "check CELERY_BROKER_URL or REDIS_URL; grades wait in the database until it is back",
    "worker": "start it: celery -A lti_platform worker",
    "deliveries": "run manage.py migrate",
    "stored secrets": "check FIELD_ENCRYPTION_KEYS",
    "clock": "check that the database answers",
    "LTI 1.3": "run manage.py migrate",
    "public URL": "open BASE_URL/health/live in a browser",
}


def check_secrets() -> Iterator[Finding]:
    """SECRET_KEY, FIELD_ENCRYPTION_KEYS and DEBUG."""
    if settings.DEBUG:
        yield Finding(Level.WARN, "DEBUG", "is on", "leave it out in production: it shows settings and stacks")
    if len(settings.SECRET_KEY) < 32 or "insecure" in settings.SECRET_KEY:
        level = Level.WARN if settings.DEBUG else Level.FAIL
        yield Finding(level, "SECRET_KEY", "is short or a default one", "set at least 32 random characters")
    else:
        yield Finding(Level.OK, "SECRET_KEY", "is set")
    try:
        for key in settings.FIELD_ENCRYPTION_KEYS:
            Fernet(key)
    except ValueError:
        yield Finding(
            Level.FAIL, "FIELD_ENCRYPTION_KEYS", "holds something that is no Fernet key", "see docs/settings.md"
        )
    else:
        count = len(settings.FIELD_ENCRYPTION_KEYS)
        more = "" if count == 1 else f"; the last {count - 1} can go after manage.py reencrypt_secrets"
        yield Finding(Level.OK, "FIELD_ENCRYPTION_KEYS", f"{count} usable{more}")


def check_addresses() -> Iterator[Finding]:
    """BASE_URL, ALLOWED_HOSTS and TRUSTED_PROXIES."""
    base = urlsplit(settings.BASE_URL)
    host = base.hostname or ""
    if base.scheme == "https":
        yield Finding(Level.OK, "BASE_URL", settings.BASE_URL)
    else:
        local = host in ("localhost", "127.0.0.1", "::1")
        yield Finding(
            Level.WARN if local or settings.DEBUG else Level.FAIL,
            "BASE_URL",
            f"{settings.BASE_URL} is not https",
            "browsers keep no cookie in an LMS's frame without https; on localhost they do",
        )
    if validate_host(host, settings.ALLOWED_HOSTS):
        everybody = "*" in settings.ALLOWED_HOSTS
        yield Finding(
            Level.WARN if everybody else Level.OK,
            "ALLOWED_HOSTS",
            "allows every host" if everybody else f"allows {host}",
            "name the hosts" if everybody else "",
        )
    else:
        yield Finding(Level.FAIL, "ALLOWED_HOSTS", f"does not allow {host}, the host of BASE_URL", f"add {host}")
    try:
        for entry in settings.TRUSTED_PROXIES:
            ipaddress.ip_network(entry, strict=False)
    except ValueError:
        yield Finding(Level.FAIL, "TRUSTED_PROXIES", "holds something that is no address", "name addresses or networks")
        return
    if base.scheme == "https" and not settings.TRUSTED_PROXIES:
        yield Finding(
            Level.WARN,
            "TRUSTED_PROXIES",
            "is empty though BASE_URL is https",
            "name the proxy that ends TLS, or every visitor seems to come from its address",
        )
    else:
        yield Finding(Level.OK, "TRUSTED_PROXIES", ", ".join(settings.TRUSTED_PROXIES) or "none")


def check_database() -> Iterator[Finding]:
    """Reachable, migrated; SQLite in WAL mode."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()
    yield Finding(Level.OK, "database", f"{connection.display_name} answers")
    executor = MigrationExecutor(connection)
    waiting = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if waiting:
        yield Finding(Level.FAIL, "migrations", f"{len(waiting)} are not applied", "run manage.py migrate")
    else:
        yield Finding(Level.OK, "migrations", "all applied")
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA journal_mode")
            mode = str(cursor.fetchone()[0]).lower()
        if mode == "wal":
            yield Finding(Level.OK, "SQLite", "writes ahead (WAL): readers do not wait for the writer")
        else:
            yield Finding(
                Level.WARN, "SQLite", f"journal mode is {mode}", "put the file on a local disk, which WAL needs"
            )


def check_cache() -> Iterator[Finding]:
    """Keeps what it is given."""
    key = f"checkup:{random_token(8)}"
    cache.set(key, "kept", 10)
    if cache.get(key) == "kept":
        cache.delete(key)
        yield Finding(Level.OK, "cache", "keeps what it is given" if settings.REDIS_URL else "in each process's memory")
    else:
        yield Finding(Level.FAIL, "cache", "does not keep what it is given", _ADVICE["cache"])


def check_broker() -> Iterator[Finding]:
    """Can be connected to."""
    with Connection(
        settings.CELERY_BROKER_URL, connect_timeout=2, transport_options=settings.CELERY_BROKER_TRANSPORT_OPTIONS
    ) as broker:
        broker.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=2)
        yield Finding(Level.OK, "broker", f"{broker.transport.driver_type} answers")


def check_worker() -> Iterator[Finding]:
    """Some worker answers a ping."""
    answers = current_app.control.ping(timeout=PING_SECONDS)
    if answers:
        yield Finding(Level.OK, "worker", f"{len(answers)} running")
    else:
        yield Finding(Level.WARN, "worker", f"none answered within {PING_SECONDS:g} seconds", _ADVICE["worker"])


def check_deliveries() -> Iterator[Finding]:
    """Nothing has been due for long."""
    oldest = (
        Delivery.objects.filter(state=Delivery.State.PENDING, due_at__isnull=False)
        .order_by("due_at")
        .values_list("due_at", flat=True)
        .first()
    )
    late = timezone.now() - oldest if oldest else timedelta(0)
    if late > OVERDUE:
        yield Finding(
            Level.FAIL,
            "deliveries",
            f"one has been due for {late.total_seconds() // 60:.0f} minutes",
            "start a worker and beat: celery -A lti_platform worker, celery -A lti_platform beat",
        )
    else:
        yield Finding(Level.OK, "deliveries", "none is overdue")


def check_stored_secrets() -> Iterator[Finding]:
    """One secret of each kind can be read with FIELD_ENCRYPTION_KEYS."""
    for field in encrypted_fields():
        rows = field.model._base_manager.exclude(**{f"{field.attname}__isnull": True})
        try:
            rows.values_list(field.attname, flat=True).first()
        except ImproperlyConfigured:
            yield Finding(
                Level.FAIL,
                "stored secrets",
                "were encrypted with a key that is not in FIELD_ENCRYPTION_KEYS",
                "put the old key back at the end of the list and run manage.py reencrypt_secrets",
            )
            return
    yield Finding(Level.OK, "stored secrets", "can be read")


def check_clock() -> Iterator[Finding]:
    """This machine's clock against the database's."""
    if connection.vendor != "postgresql":
        yield Finding(Level.OK, "clock", f"{timezone.now():%Y-%m-%d %H:%M:%S} UTC, the database's is the same")
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        their_time: datetime = cursor.fetchone()[0]
    yield _compare_clock("the database's", their_time)


def _compare_clock(whose: str, their_time: datetime) -> Finding:
    apart = abs(timezone.now() - their_time)
    if apart <= CLOCK_NOTED:
        return Finding(Level.OK, "clock", f"agrees with {whose}")
    # LMSs' timestamps are believed within LTI_TIMESTAMP_WINDOW: half of it spent here leaves too little for theirs.
    level = Level.FAIL if apart.total_seconds() > settings.LTI_TIMESTAMP_WINDOW / 2 else Level.WARN
    text = f"is {apart.total_seconds():.0f} seconds apart from {whose}"
    return Finding(level, "clock", text, "let NTP set both: launches with a wrong time are refused")


def check_registrations() -> Iterator[Finding]:
    """The LMSs' key sets can be read, and their other LTI 1.3 endpoints answer, whatever it is, to a plain GET."""
    usable = Registration.objects.filter(
        state=Registration.State.ACTIVE, enabled=True, installation__enabled=True, organization__enabled=True
    )
    owners: dict[tuple[str, bool], str] = {}
    for registration in usable.select_related("organization").order_by("-last_used_at", "id"):
        for url, is_key_set in (
            (registration.jwks_url, True),
            (registration.token_url, False),
            (registration.auth_login_url, False),
        ):
            if url:
                owners.setdefault((url, is_key_set), registration.organization.slug)
    asked = list(owners)[:MOST_ADDRESSES]
    failing = [finding for url, is_key_set in asked for finding in _check_lms(url, is_key_set, owners[url, is_key_set])]
    yield from failing
    if not failing:
        more = f" (of {len(owners)}, the others were not asked)" if len(owners) > len(asked) else ""
        text = f"{len(asked)} addresses of LMSs answer{more}" if asked else "no LMS is registered"
        yield Finding(Level.OK, "LTI 1.3", text)


def _check_lms(url: str, is_key_set: bool, organization: str) -> Iterator[Finding]:
    """A finding where something is wrong. A warning, for the LMS is not ours."""
    shown = url.partition("?")[0]
    advice = f"ask the LMS's administrator, or correct the registration of {organization}"
    try:
        response = outbound_client(total_timeout=LMS_SECONDS).request("GET", url)
        if is_key_set:
            if response.status != 200:
                raise KeySetUnreadable(f"HTTP {response.status}")
            if not parse_key_set(response.body).keys:
                raise KeySetUnreadable("no usable key in it")
        elif response.status >= 500:
            yield Finding(Level.WARN, "LTI 1.3", f"{shown} answered {response.status}", advice)
    except (OutboundRefused, OutboundFailed) as error:
        yield Finding(Level.WARN, "LTI 1.3", f"{shown} was not reached: {error.reason}", advice)
    except KeySetUnreadable as error:
        yield Finding(
            Level.WARN, "LTI 1.3", f"the key set {shown} cannot be read: {error.reason}; no launch gets in", advice
        )


def check_public_url() -> Iterator[Finding]:
    """BASE_URL leads here, as an outsider sees it."""
    url = f"{settings.BASE_URL}/health/live"
    advice = f"open {url} from outside; from here it may be unreachable for good reasons (firewall, private address)"
    try:
        response = outbound_client().request("GET", url)
    except (OutboundRefused, OutboundFailed) as error:
        yield Finding(Level.WARN, "public URL", f"{url} was not reached: {error.reason}", advice)
        return
    if response.status != 200 or b'"ok"' not in response.body:
        yield Finding(Level.WARN, "public URL", f"{url} answered {response.status}, not as this platform does", advice)
        return
    yield Finding(Level.OK, "public URL", f"{url} answers")
    try:
        their_time = parsedate_to_datetime(response.headers.get("Date", ""))
    except ValueError:
        return
    if their_time.tzinfo is not None and abs(timezone.now() - their_time) > timedelta(seconds=5):
        yield _compare_clock("the public server's", their_time)
