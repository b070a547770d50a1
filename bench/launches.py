"""A launch beside the bare view: throughput, latency, SQL statements; and how both grow."""

from collections import Counter
from dataclasses import dataclass, replace
from statistics import median
from typing import Any
from urllib.parse import urlencode

from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connection, reset_queries
from django.test import Client

from bench import data, servers
from bench.load import Round, run_round

POPULATION = 300


@dataclass(frozen=True)
class Figures:
    """The medians of some rounds."""

    name: str
    rate: float
    p50_ms: float
    p99_ms: float
    statuses: dict[str, int]
    server_cpu_ms: float
    client_share: float

    def of_launches(self, requests: int) -> "Figures":
        """The same by launches of so many requests each; latencies stay those of one request."""
        return replace(self, rate=self.rate / requests, server_cpu_ms=self.server_cpu_ms * requests)


def figures(name: str, rounds: list[Round]) -> Figures:
    statuses: Counter[str] = Counter()
    for one in rounds:
        statuses.update(one.statuses)
    return Figures(
        name,
        median(one.rate for one in rounds),
        median(one.p50_ms for one in rounds),
        median(one.p99_ms for one in rounds),
        dict(statuses),
        median(one.server_cpu_seconds / len(one.latencies_ms) * 1000 for one in rounds),
        median(one.client_cpu_seconds / one.seconds for one in rounds),
    )


def statements_of(tenant: data.Tenant, user_id: str) -> list[str]:
    """Every statement of one launch, BEGIN, COMMIT and savepoints included, as sent through the whole stack."""
    path = f"/lti/assignments/{tenant.assignment_id}"
    client = Client(SERVER_NAME=data.HOST)
    form = urlencode(data.launch_pairs(tenant, user_id))
    # The test client keeps the connection as it is; in a server each request looks at it first.
    request_started.connect(close_old_connections)
    request_finished.connect(close_old_connections)
    connection.force_debug_cursor = True
    reset_queries()
    try:
        response = client.post(path, form, "application/x-www-form-urlencoded", HTTP_ORIGIN="https://lms.example")
    finally:
        connection.force_debug_cursor = False
    if response.status_code != 302:
        raise SystemExit(f"The launch was refused: {response.status_code} {response.headers.get('X-Launch-Error')}")
    return [query["sql"] for query in connection.queries_log]


def print_statements(tenant: data.Tenant) -> None:
    statements_of(tenant, "warm-up")
    for kind, user in (("first-time", data.new_users(1)[0]), ("returning", "warm-up")):
        statements = statements_of(tenant, user)
        control = [
            sql for sql in statements if sql.split()[0] in {"BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "ROLLBACK"}
        ]
        print(f"  {kind} person: {len(statements)} statements, {len(control)} of them transaction control")
        for sql in statements:
            print(f"      {sql[:110]}")


def warm_up(port: int, requests: list[bytes]) -> None:
    result = run_round(port, requests)
    if set(result.statuses) != {"302"}:
        raise SystemExit(f"Launches do not arrive: {result.statuses}")


def compare(database_url: str, environment: dict[str, str], tenant: data.Tenant, count: int, rounds: int) -> None:
    """Prints launches beside the bare view, in alternating rounds against one PostgreSQL."""
    print("Launches: 8 connections, gunicorn with 2 workers of 4 threads")
    print_statements(tenant)
    population = data.new_users(POPULATION)
    measured: dict[str, list[Round]] = {"bare view": [], "returning person": [], "first-time person": []}
    with (
        servers.gunicorn("bench.bare:application", "bench.bare_settings", **environment) as bare,
        servers.gunicorn("lti_platform.wsgi", "lti_platform.settings", **environment) as platform,
    ):
        warm_up(bare, data.bare_launches(tenant, population))
        warm_up(platform, data.launches(tenant, population, browser_known=False))
        for number in range(rounds):
            users = [population[index % POPULATION] for index in range(count)]
            rotated = [
                ("bare view", lambda users=users: (bare, data.bare_launches(tenant, users))),
                ("returning person", lambda users=users: (platform, data.launches(tenant, users, browser_known=True))),
                (
                    "first-time person",
                    lambda: (platform, data.launches(tenant, data.new_users(count), browser_known=False)),
                ),
            ]
            for name, make in rotated[number % 3 :] + rotated[: number % 3]:
                measured[name].append(run_round(*make()))
    print_table([figures(name, results) for name, results in measured.items()])


def print_table(rows: list[Figures]) -> None:
    floor = rows[0]
    print(
        f"  {'':24}{'launches/s':>12}{'of the first':>14}{'p50 ms':>9}{'p99 ms':>9}{'server CPU ms':>15}"
        f"{'client CPU':>12}  answers"
    )
    for row in rows:
        print(
            f"  {row.name:24}{row.rate:12.0f}{row.rate / floor.rate:14.2f}{row.p50_ms:9.1f}{row.p99_ms:9.1f}"
            f"{row.server_cpu_ms:15.2f}{row.client_share:12.0%}  {row.statuses}"
        )


GROW_KEYS = """
    INSERT INTO organizations_ltikey
        (id, installation_id, consumer_key, secret, previous_secret, enabled, created_at)
    SELECT gen_random_uuid(), installation_id, 'grown-' || n, secret, '', true, now()
    FROM organizations_ltikey, generate_series(1, {count}) AS n WHERE consumer_key = 'bench-key'
"""
# As stored by launches: ids rise with time, and each launch belongs to one of the people.
GROW_LAUNCHES = """
    INSERT INTO launches_launch
        (id, organization_id, installation_id, lti_key_id, credential, nonce, at, result, lti_version, message_type,
         person_id, role, roles, course_id, assignment_id, resource_link_id, custom, mentor_for, return_url,
         document_target, locale, frame_origins, browser, refusal, actual_user)
    SELECT encode(decode(lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint - {count} + n), 12, '0'), 'hex')
                  || '\\x7000'::bytea || substr(uuid_send(gen_random_uuid()), 9, 8), 'hex')::uuid,
        one.organization_id, one.installation_id, one.lti_key_id, one.credential, md5(n::text), now(), one.result,
        one.lti_version, one.message_type, one.person_id, one.role, one.roles, one.course_id, one.assignment_id,
        one.resource_link_id, one.custom, one.mentor_for, one.return_url, one.document_target, one.locale,
        one.frame_origins, one.browser, one.refusal, one.actual_user
    FROM generate_series(1, {count}) AS n, (SELECT * FROM launches_launch ORDER BY id DESC LIMIT 1) AS one
"""


def grow(
    small_url: str, environment: dict[str, str], tenant: data.Tenant, count: int, rounds: int, keys: int, launches: int
) -> None:
    """Prints a returning person's launch in a small database beside the same one with many keys and stored launches."""
    names = [small_url.rsplit("/", 1)[1]]
    grown_url = small_url + "_grown"
    population = data.new_users(POPULATION)
    with servers.gunicorn("lti_platform.wsgi", "lti_platform.settings", **environment) as platform:
        warm_up(platform, data.launches(tenant, population, browser_known=False))
    connection.close()
    servers.run_sql(small_url, "TRUNCATE launches_launch", GROW_KEYS.format(count=100))
    servers.recreate_database(grown_url, template=names[0])
    # One launch to copy, in both.
    grown_environment = {**environment, "DATABASE_URL": grown_url}
    for settings in (environment, grown_environment):
        with servers.gunicorn("lti_platform.wsgi", "lti_platform.settings", **settings) as platform:
            warm_up(platform, data.launches(tenant, population, browser_known=True))
    servers.run_sql(
        grown_url, "DELETE FROM organizations_ltikey WHERE consumer_key LIKE 'grown-%'", GROW_KEYS.format(count=keys)
    )
    servers.run_sql(grown_url, GROW_LAUNCHES.format(count=launches))
    for url in (small_url, grown_url):
        servers.run_sql(url, "VACUUM ANALYZE", "CHECKPOINT")
    print(f"Growth: 100 keys and no stored launches, beside {keys:,} keys and {launches:,} stored launches")
    measured: dict[str, list[Round]] = {"small": [], "grown": []}
    with (
        servers.gunicorn("lti_platform.wsgi", "lti_platform.settings", **environment) as small,
        servers.gunicorn("lti_platform.wsgi", "lti_platform.settings", **grown_environment) as grown,
    ):
        ports: list[tuple[str, Any]] = [("small", small), ("grown", grown)]
        for _, port in ports:
            warm_up(port, data.launches(tenant, population, browser_known=True))
        for number in range(rounds):
            users = [population[index % POPULATION] for index in range(count)]
            for name, port in ports if number % 2 else reversed(ports):
                measured[name].append(run_round(port, data.launches(tenant, users, browser_known=True)))
    print_table([figures(name, results) for name, results in measured.items()])
