"""``python -m bench.profile``: what dominates a returning person's launch, by cProfile, in this process."""

import cProfile
import logging
import os
import pstats
import secrets
import sys
import time


def main() -> None:
    url = os.environ.get("BENCH_DATABASE_URL", "postgres://postgres@127.0.0.1:5432/lti_platform_bench")
    os.environ.update(
        DATABASE_URL=url,
        SECRET_KEY=secrets.token_urlsafe(50),
        FIELD_ENCRYPTION_KEYS=secrets.token_urlsafe(32) + "=",
        BASE_URL="https://tool.example.org",
        ALLOWED_HOSTS="tool.example.org",
        TRUSTED_PROXIES="127.0.0.1",
        DJANGO_SETTINGS_MODULE="lti_platform.settings",
        DEBUG="false",
    )
    from bench import servers

    servers.recreate_database(url)
    import django

    django.setup()
    logging.getLogger().setLevel(logging.WARNING)
    from urllib.parse import urlencode

    from django.core.handlers.wsgi import WSGIHandler
    from django.test import RequestFactory

    from bench import data
    from organizations.identifiers import random_token

    tenant = data.prepare_database()
    handler = WSGIHandler()
    path = f"/lti/assignments/{tenant.assignment_id}"

    def environs(count: int) -> list[dict[str, object]]:
        factory = RequestFactory(
            SERVER_NAME=data.HOST, HTTP_ORIGIN="https://lms.example", HTTP_X_FORWARDED_PROTO="https"
        )
        made = []
        for _ in range(count):
            body = urlencode(data.launch_pairs(tenant, "ada"))
            request = factory.post(path, body, "application/x-www-form-urlencoded")
            request.environ["HTTP_COOKIE"] = f"__Host-browser={random_token()}"
            made.append(request.environ)
        return made

    def launch(environ: dict[str, object]) -> None:
        statuses: list[str] = []
        handler(environ, lambda status, headers: statuses.append(status)).close()
        if not statuses[0].startswith("302"):
            raise SystemExit(statuses[0])

    for environ in environs(50):
        launch(environ)
    timed = environs(300)
    started, cpu = time.perf_counter(), time.process_time()
    for environ in timed:
        launch(environ)
    wall, used = time.perf_counter() - started, time.process_time() - cpu
    print(f"{wall / 300 * 1000:.2f} ms a launch, {used / 300 * 1000:.2f} ms of them this process's CPU")
    profiler = cProfile.Profile()
    profiled = environs(300)
    profiler.enable()
    for environ in profiled:
        launch(environ)
    profiler.disable()
    order = sys.argv[1] if len(sys.argv) > 1 else "cumulative"
    pstats.Stats(profiler).sort_stats(order).print_stats(60)


if __name__ == "__main__":
    main()
