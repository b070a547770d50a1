"""Everything goes wrong at once, and nothing is lost: ``python -m tests.chaos [--seed N] [--grades N]``, `make chaos`.

Grades over LTI 1.1 and 1.3 and webhooks go to servers that answer with every fault there is, while workers are killed,
Redis is restarted and database connections are cut. Afterwards everything is counted. PostgreSQL and a Redis of its own
where DATABASE_URL names a PostgreSQL, else SQLite, where only workers can die.
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import random
import secrets
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import jwt
import psycopg2

from tests.faults import Faults, serve_faulty
from tests.loopback import Gradebook, Received, Reply
from tests.own_redis import OwnRedis
from tests.stack import Stack, database

KEY, SECRET = "chaos-key", "chaos-secret-long-enough"
WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"chaos" * 6).decode()
VERSIONS = 3
# Times are scaled down so that days of retries fit into minutes; the same settings are there for everybody.
SCALED = {"DELIVERY_LEASE_SECONDS": "4", "DELIVERY_FIRST_RETRY_SECONDS": "0.2", "WORKER_THREADS": "2"}

MAKE = """
import json
from courses.models import Assignment, Course, LmsCourse, ResourceLink
from events.models import WebhookEndpoint
from grades.models import GradebookCell
from lti.v1p3 import vocabulary as names
from organizations.models import Deployment, Installation, LtiKey, Organization, Person, Registration
from organizations.tool_keys import key_set
urls = json.loads({urls!r})
organization = Organization.objects.create(slug="acme", name="Acme")
course = Course.objects.create(organization=organization, code="cs101", name="Introduction")
assignment = Assignment.objects.create(course=course, slug="hello", title="Hello", points_possible=100)
old = Installation.objects.create(organization=organization, name="1.1", service_hosts=["127.0.0.1"])
key = LtiKey.objects.create(installation=old, consumer_key={key!r}, secret={secret!r})
new = Installation.objects.create(organization=organization, name="1.3", service_hosts=["127.0.0.1"])
registration = Registration.objects.create(organization=organization, installation=new, issuer=urls["ags"],
    client_id="client-1", token_url=urls["ags"] + "/mod/lti/token.php", auth_login_url=urls["ags"] + "/auth",
    jwks_url=urls["ags"] + "/jwks")
deployment = Deployment.objects.create(registration=registration, deployment_id="1", installation=new)
old_course = LmsCourse.objects.create(installation=old, context_id="1", course=course)
new_course = LmsCourse.objects.create(installation=new, context_id="1", course=course)
old_link = ResourceLink.objects.create(lms_course=old_course, resource_link_id="1", assignment=assignment)
lineitems = urls["ags"] + "/mod/lti/services.php/2/lineitems"
new_link = ResourceLink.objects.create(lms_course=new_course, resource_link_id="1", assignment=assignment,
    line_item_url=lineitems + "/4/lineitem?type_id=3")
people = Person.objects.bulk_create(Person(organization=organization, name=str(n)) for n in range({people}))
GradebookCell.objects.bulk_create(
    GradebookCell(resource_link=old_link, person=person, assignment=assignment, installation=old, lti_key=key,
        outcome_service_url=urls["outcomes"] + "/outcomes", result_sourcedid="cell-" + person.name)
    for person in people[::2])
GradebookCell.objects.bulk_create(
    GradebookCell(resource_link=new_link, person=person, assignment=assignment, installation=new,
        deployment=deployment, lms_user_id="cell-" + person.name, line_items_url=lineitems + "?type_id=3",
        scopes=list(names.AGS_SCOPES))
    for person in people[1::2])
WebhookEndpoint.objects.create(organization=organization, url=urls["webhook"] + "/in", event_types=["score.changed"],
    secret={webhook_secret!r})
print(json.dumps(key_set(organization)))
"""

# The content application: a new version for each of the people named, whatever becomes of its database connection.
RECORD = """
import json, sys, time
from decimal import Decimal
from django.db import DatabaseError, InterfaceError, connection
from courses.models import Assignment
from events.log import SYSTEM
from grades.scores import record_score
from organizations.models import Person
cut = 0
for name, points in json.loads(sys.stdin.readline()):
    while True:
        try:
            assignment = Assignment.objects.select_related("course").get()
            record_score(assignment, Person.objects.get(name=name), points=Decimal(points), actor=SYSTEM)
            break
        except (DatabaseError, InterfaceError):
            cut += 1
            connection.close()
            time.sleep(0.1)
print(cut)
"""

RESEND = """
from events.deliveries import resend_failed
from events.log import SYSTEM
from events.models import Delivery
print(resend_failed(Delivery.objects.filter(state="failed"), SYSTEM))
"""


def points_of(number: int, version: int) -> int:
    """More with every version, so that a grade tells which version it is of."""
    return number % 30 + 30 * (version - 1) + 1


@dataclass
class Receiver:
    """Takes webhooks: bodies by id, those with a wrong signature apart."""

    bodies: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    requests: int = 0
    refused: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, received: Received) -> Reply:
        headers = {name.lower(): value for name, value in received.headers.items()}
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + received.body
        key = base64.b64decode(WEBHOOK_SECRET.removeprefix("whsec_"))
        wanted = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
        with self._lock:
            if headers["webhook-signature"] != wanted:
                self.refused += 1
                return Reply(400)
            self.bodies[headers["webhook-id"]].append(received.body)
        return Reply(204)


class Look:
    """A look at the stack's database past Django, and the knife for the connections of others."""

    def __init__(self, url: str) -> None:
        self.is_postgresql = url.startswith("postgres")
        self.url = url.replace("postgres://", "postgresql://", 1) if self.is_postgresql else url[len("sqlite:///") :]

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        connection: Any
        if self.is_postgresql:
            connection = psycopg2.connect(self.url)
        else:
            connection = sqlite3.connect(f"file:{self.url}?mode=ro", uri=True, timeout=30)
        try:
            cursor = connection.cursor()
            cursor.execute(sql)
            return list(cursor.fetchall())
        finally:
            connection.close()

    def cut_connections(self) -> int:
        """Ends all sessions in the stack's own database but this one."""
        return sum(
            ended
            for (ended,) in self.rows(
                "SELECT pg_terminate_backend(pid)::int FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )

    def states(self) -> Counter[str]:
        return Counter(dict(self.rows("SELECT state, count(*) FROM events_delivery GROUP BY state")))


@dataclass
class Figures:
    """What a run did and found. `wrong` is empty when every promise was kept."""

    seed: int
    cells: int
    database: str
    seconds: float = 0.0
    kills: int = 0
    cuts: int = 0
    redis_restarts: int = 0
    scores: int = 0
    resent: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    attempts_without_outcome: int = 0
    requests: int = 0
    webhooks: int = 0
    webhooks_twice: int = 0
    grades_twice: int = 0
    wrong: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        happened = {name: count for name, count in sorted(self.faults.items()) if not name.endswith(" none")}
        return [
            f"seed {self.seed}, {self.database}, {self.cells} gradebook cells, {self.scores} scores, "
            f"{self.webhooks} webhooks, {self.seconds:.0f} s",
            f"{self.kills} workers killed, {self.cuts} database connections cut, {self.redis_restarts} Redis restarts",
            f"{self.requests} requests, of which with a fault: {sum(happened.values())} {json.dumps(happened)}",
            f"deliveries {json.dumps(dict(self.states))}; {self.attempts} attempts, "
            f"{self.attempts_without_outcome} of workers that died; {self.resent} sent again by hand",
            f"taken twice: {self.grades_twice} grades, {self.webhooks_twice} webhooks",
            *(f"WRONG: {words}" for words in self.wrong or ["nothing"]),
        ]


class Chaos:
    """One run. `rounds` is how often each thing is broken."""

    def __init__(self, stack: Stack, folder: Path, redis: OwnRedis | None, *, seed: int, cells: int, rounds: int):
        # Django's settings are the tests'; imported here, since the full run configures them first.
        from grades.tests.ags_platform import AgsPlatform

        self.stack, self.redis, self.cells, self.rounds = stack, redis, cells, rounds
        self.random = random.Random(seed)
        self.look = Look(stack.environment["DATABASE_URL"])
        self.faults = Faults(seed)
        self.gradebook = Gradebook({KEY: SECRET})
        self.platform = AgsPlatform()
        self.platform.add_column("4")
        self.receiver = Receiver()
        kind = "PostgreSQL and Redis" if redis else ("PostgreSQL" if self.look.is_postgresql else "SQLite")
        self.figures = Figures(seed, cells, kind)
        self.folder = folder

    # ------------------------------------------------------------------------------------------------ the run

    def run(self, patience: float) -> Figures:
        started = time.monotonic()
        with ExitStack() as servers:
            urls = self._serve(servers)
            self.gradebook.url, self.platform.url = urls["outcomes"], urls["ags"]
            made = self._shell(
                MAKE.format(
                    urls=json.dumps(urls), key=KEY, secret=SECRET, people=self.cells, webhook_secret=WEBHOOK_SECRET
                )
            )
            for key in json.loads(made)["keys"]:
                self.platform.public_keys[key["kid"]] = jwt.PyJWK(dict(key)).key
            self.stack.start_beat()
            for name in ("worker-1", "worker-2"):
                self.stack.start_worker(name)
            teacher = servers.enter_context(ThreadPoolExecutor(1)).submit(self._record_scores, patience)
            self._break_things()
            teacher.result()
            self._settle(started + patience)
            self.figures.seconds = time.monotonic() - started
            self._reconcile()
        return self.figures

    def _serve(self, servers: ExitStack) -> dict[str, str]:
        def sourcedid(received: Received) -> str:
            return received.body.partition(b"<sourcedId>")[2].partition(b"</sourcedId>")[0].decode()

        def user(received: Received) -> str:
            return str(json.loads(received.body)["userId"]) if "/scores" in received.path else ""

        def serve(answer: Any, kind_of: Any, cell_of: Any) -> str:
            return servers.enter_context(serve_faulty(answer, self.faults, kind_of, cell_of))

        return {
            "outcomes": serve(self.gradebook.answer, lambda received: "outcomes", sourcedid),
            "ags": serve(self.platform.answer, lambda received: "token" if "token" in received.path else "ags", user),
            "webhook": serve(self.receiver.answer, lambda received: "webhook", lambda received: ""),
        }

    def _shell(self, code: str, stdin: str = "", seconds: float = 120) -> str:
        said = self.stack.manage("shell", "--no-imports", "-c", code, stdin=stdin, seconds=seconds)
        return said.strip().splitlines()[-1]

    def _record_scores(self, seconds: float) -> None:
        """All versions of everybody, in an order of chance that keeps each one's versions in theirs."""
        turns = [number for number in range(self.cells) for _ in range(VERSIONS)]
        random.Random(self.figures.seed + 1).shuffle(turns)
        seen: Counter[int] = Counter()
        scores = []
        for number in turns:
            seen[number] += 1
            scores.append((str(number), points_of(number, seen[number])))
        self._shell(RECORD, stdin=json.dumps(scores) + "\n", seconds=seconds)

    def _break_things(self) -> None:
        """One thing after the other, each once the deliveries go on again."""
        self._wait_for_requests(10)
        for _ in range(self.rounds):
            things = [self._kill_a_worker]
            if self.look.is_postgresql:
                things.append(self._cut_connections)
            if self.redis is not None:
                things.append(self._restart_redis)
            self.random.shuffle(things)
            for thing in things:
                thing()
                self._wait_for_requests(self.random.randint(5, 40))

    def _wait_for_requests(self, count: int, seconds: float = 20) -> None:
        """Until so many more have come, or all is delivered, or some time has passed."""
        before, deadline = self.faults.counts.total(), time.monotonic() + seconds
        while self.faults.counts.total() < before + count and time.monotonic() < deadline:
            time.sleep(0.05)

    def _kill_a_worker(self) -> None:
        name = self.random.choice(["worker-1", "worker-2"])
        self.stack.kill(name, signal.SIGKILL)
        self.stack.start_worker(name)
        self.figures.kills += 1

    def _cut_connections(self) -> None:
        self.figures.cuts += self.look.cut_connections()

    def _restart_redis(self) -> None:
        if self.redis is not None:
            self.redis.stop()
            time.sleep(self.random.uniform(0.2, 1.5))
            self.redis.start()
            self.figures.redis_restarts += 1

    def _settle(self, deadline: float) -> None:
        """Until nothing waits and nothing has failed. What failed for good is sent again, as a teacher would once the
        LMS's administrator has mended the address that redirects."""
        while time.monotonic() < deadline:
            states = self.look.states()
            if states["pending"]:
                time.sleep(0.5)
            elif states["failed"]:
                self.faults.off.add("redirect")
                self.figures.resent += int(self._shell(RESEND))
            else:
                return
        self.figures.wrong.append(f"not settled in time: {dict(self.look.states())}")

    # ------------------------------------------------------------------------------------------------ the count

    def _reconcile(self) -> None:
        figures, rows, wrong = self.figures, self.look.rows, self.figures.wrong
        figures.faults, figures.requests = self.faults.counts, self.faults.counts.total()
        figures.states = self.look.states()
        taken = {
            **{cell: [int(grade * 100) for grade in grades] for cell, grades in self.gradebook.grades.items()},
            **{
                user: [int(Decimal(str(post["scoreGiven"]))) for post in posts]
                for user, posts in self.platform.columns["4"].grades.items()
            },
        }
        for number in range(self.cells):
            grades = taken.get(f"cell-{number}", [])
            if not grades or grades[-1] != points_of(number, VERSIONS):
                wrong.append(f"cell {number} holds {grades[-1:]}, not {points_of(number, VERSIONS)}")
            if grades != sorted(grades):
                wrong.append(f"cell {number} saw an older score after a newer: {grades}")
            figures.grades_twice += len(grades) - len(set(grades))
        if self.faults.overlaps:
            wrong.append(f"{self.faults.overlaps} requests to a cell overlapped")
        if self.gradebook.refused or self.receiver.refused:
            wrong.append(f"signatures refused: {self.gradebook.refused[:3]} {self.receiver.refused}")
        figures.scores = rows("SELECT sum(version) FROM grades_score")[0][0]
        self._reconcile_webhooks()
        self._reconcile_attempts(taken)

    def _reconcile_webhooks(self) -> None:
        figures, wrong = self.figures, self.figures.wrong
        events = {
            str(row[0]).replace("-", "")
            for row in self.look.rows("SELECT id FROM events_event WHERE type = 'score.changed'")
        }
        told = {name.replace("-", ""): bodies for name, bodies in self.receiver.bodies.items()}
        figures.webhooks = len(events)
        if len(events) != figures.scores:
            wrong.append(f"{len(events)} events of {figures.scores} scores")
        if told.keys() != events:
            wrong.append(f"{len(events - told.keys())} events never arrived, {len(told.keys() - events)} are unknown")
        if any(len(set(bodies)) > 1 for bodies in told.values()):
            wrong.append("an event arrived with two bodies")
        figures.webhooks_twice = sum(len(bodies) - 1 for bodies in told.values())

    def _reconcile_attempts(self, taken: dict[str, list[int]]) -> None:
        figures, rows, wrong = self.figures, self.look.rows, self.figures.wrong
        kinds = Counter(
            {(kind, state): count for kind, state, count in rows(
                "SELECT kind, state, count(*) FROM events_delivery GROUP BY kind, state")}
        )  # fmt: skip
        if kinds.total() != 2 * figures.scores:
            wrong.append(f"{kinds.total()} deliveries of {figures.scores} scores: one grade and one webhook each")
        if kinds["webhook", "delivered"] != figures.webhooks:
            wrong.append(f"{kinds['webhook', 'delivered']} of {figures.webhooks} webhooks delivered")
        delivered = kinds["grade", "delivered"]
        if delivered + kinds["grade", "superseded"] != figures.scores:
            wrong.append(f"grades neither delivered nor superseded: {dict(kinds)}")
        if delivered > sum(len(set(grades)) for grades in taken.values()):
            wrong.append("more grades are called delivered than the LMSs have taken")
        told = rows("SELECT count(*) FROM events_event WHERE type = 'grade.delivered'")[0][0]
        if told != delivered:
            wrong.append(f"{told} events tell of {delivered} delivered grades")
        figures.attempts = rows("SELECT count(*) FROM events_attempt")[0][0]
        figures.attempts_without_outcome = rows("SELECT count(*) FROM events_attempt WHERE outcome = ''")[0][0]
        counted = rows("SELECT sum(attempts) FROM events_delivery")[0][0]
        # A worker that dies between its claim and its attempts has counted tries that have no row.
        if counted < figures.attempts:
            wrong.append(f"{figures.attempts} attempts, but {counted} counted")
        leases = rows("SELECT count(*) FROM events_delivery WHERE claim IS NOT NULL")[0][0]
        if leases:
            wrong.append(f"{leases} claims left behind")


def run_chaos(folder: Path, *, seed: int, cells: int, rounds: int, patience: float) -> Figures:
    """A whole run in `folder`, on databases of its own."""
    with database(folder) as url, ExitStack() as cleanup:
        environment = dict(SCALED, VAR_DIR=str(folder / "var"))
        redis = None
        if url.startswith("postgres") and shutil.which("redis-server"):
            redis = OwnRedis(folder)
            redis.start()
            cleanup.callback(redis.stop)
            environment["REDIS_URL"] = redis.url
        stack = Stack(folder, url, **environment)
        cleanup.callback(stack.stop)
        stack.manage("migrate", "--verbosity", "0")
        return Chaos(stack, folder, redis, seed=seed, cells=cells, rounds=rounds).run(patience)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=int(os.environ.get("CHAOS_SEED") or secrets.randbelow(10**6)))
    parser.add_argument("--grades", type=int, default=2000, help="gradebook cells, half over LTI 1.1, half over 1.3")
    parser.add_argument("--rounds", type=int, default=8, help="how often each thing is broken")
    parser.add_argument("--patience", type=float, default=1800, help="seconds after which it has failed")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)  # noqa: T201 - before anything can go wrong
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "lti_platform.test_settings")
    import django

    django.setup()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        figures = run_chaos(
            Path(folder),
            seed=arguments.seed,
            cells=arguments.grades,
            rounds=arguments.rounds,
            patience=arguments.patience,
        )
        if figures.wrong:
            kept = Path(tempfile.mkdtemp(prefix="chaos-logs-"))
            for log in Path(folder).glob("*.log"):
                with suppress(OSError):
                    shutil.copy(log, kept)
            print(f"logs are kept in {kept}")  # noqa: T201
    print("\n".join(figures.lines()))  # noqa: T201 - what it is run for
    return 1 if figures.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
