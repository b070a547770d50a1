"""What it costs to claim twenty due deliveries when a thousand wait, and when a hundred thousand do."""

import statistics
import time
from collections.abc import Callable

from django.db import connection, transaction

from bench import servers
from events.claiming import claim_due
from organizations.models import Organization

FEW, MANY = 1_000, 100_000
LIMIT = 20
RECEIVERS = 100
CLAIMS = 40  # in a round

# What waits, as SQL: when it is due, and for which of the organizations. Twenty are always due now.
SITUATIONS = {
    "all wait for a later try": ("now() + interval '1 hour' * (1 + random())", "n % {receivers}"),
    "all are due": ("now() - interval '1 hour' * random()", "n % {receivers}"),
    "all are due, for one LMS": ("now() - interval '1 hour' * random()", "0"),
}
_FILL = """
INSERT INTO events_delivery (id, organization_id, kind, target_id, source_id, sequence, payload, host, state, due_at,
    attempts, failures, refused_signatures, last_error_code, last_error, created_at, give_up_at)
SELECT gen_random_uuid(), organization.id, 'grade', gen_random_uuid(), gen_random_uuid(), 1,
    '{{"percentage": "0.5", "points": "5", "points_possible": "10"}}', 'lms' || organization.number || '.example',
    'pending', {due_at}, 1, 1, 0, 'server_error', 'The LMS has a fault of its own (HTTP 503).', now(),
    now() + interval '3 days'
FROM generate_series(1, {count}) AS n
JOIN (
    SELECT id, row_number() OVER (ORDER BY id) - 1 AS number FROM organizations_organization WHERE slug LIKE 'claims-%'
) AS organization ON organization.number = {which}
"""


def compare(database_url: str, rounds: int) -> None:
    """Prints, for each situation, the median claim among few and among many, and their ratio, in alternating rounds."""
    template = database_url.rsplit("/", 1)[1]
    print(
        f"Claims: {LIMIT} deliveries at a time, {RECEIVERS} organizations with an LMS each; medians of {rounds} rounds"
    )
    for situation, (due_at, which) in SITUATIONS.items():
        names = {}
        for count in (FEW, MANY):
            names[count] = f"{template}_claims_{count}"
            connection.close()
            servers.recreate_database(f"{database_url.rsplit('/', 1)[0]}/{names[count]}", template)
            with _database(names[count]):
                _fill(due_at, which.format(receivers=RECEIVERS), count)
        times: dict[int, list[float]] = {FEW: [], MANY: []}
        for _ in range(rounds):
            for count, name in names.items():
                with _database(name):
                    times[count] += _timed()
        medians = {count: statistics.median(some) * 1000 for count, some in times.items()}
        ratio = medians[MANY] / medians[FEW]
        print(f"  {situation}: {medians[FEW]:.2f} ms of {FEW}, {medians[MANY]:.2f} ms of {MANY}: {ratio:.2f}")


class _database:  # noqa: N801 - used as a function
    """Django's connection goes to another database for a while."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        connection.close()
        self.before, connection.settings_dict["NAME"] = connection.settings_dict["NAME"], self.name

    def __exit__(self, *_: object) -> None:
        connection.close()
        connection.settings_dict["NAME"] = self.before


def _fill(due_at: str, which: str, count: int) -> None:
    Organization.objects.bulk_create(
        Organization(slug=f"claims-{number}", name=f"Claims {number}") for number in range(RECEIVERS)
    )
    with connection.cursor() as cursor:
        cursor.execute(_FILL.format(due_at=due_at, which=which, count=count))
        cursor.execute(_FILL.format(due_at="now() - interval '1 second'", which=f"n % {RECEIVERS}", count=20))
        cursor.execute("VACUUM ANALYZE events_delivery")


def _timed() -> list[float]:
    """Seconds of each claim of a round; every one is taken back."""
    return [_seconds(_claim_and_take_back) for _ in range(CLAIMS + 5)][5:]


def _claim_and_take_back() -> None:
    with transaction.atomic():
        claimed = claim_due(LIMIT)
        if len(claimed.deliveries) < LIMIT // 2:
            raise SystemExit(f"Only {len(claimed.deliveries)} claimed, where there is enough for {LIMIT}.")
        transaction.set_rollback(True)


def _seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
