"""``python -m bench [launches] [launches-1.3] [growth] [deliveries] [claims] [--full] [--rounds N] [--launches N]``

Needs PostgreSQL: BENCH_DATABASE_URL (default postgres://postgres@127.0.0.1:5432/lti_platform_bench; that database and
the one named like it with `_grown` are dropped and made anew). With REDIS_URL, cache and broker are Redis.
"""

import argparse
import logging
import os
import secrets


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Ratios within one run; docs/performance.md.")
    parser.add_argument(
        "parts",
        nargs="*",
        choices=["launches", "launches-1.3", "growth", "deliveries", "claims", []],
        metavar="PART",
        default=[],
    )
    parser.add_argument("--full", action="store_true", help="grow to 100,000 keys and 1,000,000 launches")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--launches", type=int, default=1500, help="launches in a round")
    parser.add_argument("--grades", type=int, default=2000, help="grades to deliver")
    arguments = parser.parse_args()
    parts = arguments.parts or ["launches", "launches-1.3", "growth", "deliveries", "claims"]

    database_url = os.environ.get("BENCH_DATABASE_URL", "postgres://postgres@127.0.0.1:5432/lti_platform_bench")
    environment = {
        "DATABASE_URL": database_url,
        "SECRET_KEY": secrets.token_urlsafe(50),
        "FIELD_ENCRYPTION_KEYS": secrets.token_urlsafe(32) + "=",
        "BASE_URL": "https://tool.example.org",
        "ALLOWED_HOSTS": "tool.example.org,127.0.0.1",
        "TRUSTED_PROXIES": "127.0.0.1",
        "DEBUG": "false",
        "LOG_FORMAT": "json",
        "LOG_LEVEL": "INFO",
        "DJANGO_SETTINGS_MODULE": "lti_platform.settings",
    }
    os.environ.update(environment)

    from bench import servers

    servers.recreate_database(database_url)

    import django

    django.setup()
    # The servers log as in production; this process prints figures only.
    logging.getLogger().setLevel(logging.WARNING)

    from bench import claims, conditions, data, deliveries, launches, launches_1p3

    conditions.print_conditions()
    tenant = data.prepare_database()
    if "launches" in parts:
        launches.compare(database_url, environment, tenant, arguments.launches, arguments.rounds)
    if "launches-1.3" in parts:
        launches_1p3.compare(environment, tenant, arguments.launches, arguments.rounds)
    if "growth" in parts:
        size = (100_000, 1_000_000) if arguments.full else (10_000, 100_000)
        launches.grow(database_url, environment, tenant, arguments.launches, arguments.rounds, *size)
    if "deliveries" in parts:
        deliveries.measure(environment, tenant, arguments.grades)
    if "claims" in parts:
        claims.compare(database_url, arguments.rounds)


if __name__ == "__main__":
    main()
