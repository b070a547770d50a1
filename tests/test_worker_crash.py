"""Promise 2 with real processes: workers that are killed and a Redis that goes away lose no grade and mix up none."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest
import requests

from lti.v1p1.oauth1 import sign_form
from tests.launching import STUDENT
from tests.loopback import serve_gradebook
from tests.own_redis import OwnRedis
from tests.stack import Stack, database, running_stack

pytestmark = [pytest.mark.stack, pytest.mark.xdist_group("crash")]

PEOPLE = 500
KEY, SECRET = "crash-key", "crash-secret-long-enough"

# Run by manage.py shell in a process of its own, on the stack's database. The first makes a course with so many people
# and their cells; the second records a score for each of them.
MAKE = """
from courses.models import Assignment, Course, LmsCourse, ResourceLink
from grades.models import GradebookCell
from organizations.models import Installation, LtiKey, Organization, Person
organization = Organization.objects.create(slug="acme", name="Acme")
installation = Installation.objects.create(organization=organization, name="LMS", service_hosts=["127.0.0.1"])
key = LtiKey.objects.create(installation=installation, consumer_key="{key}", secret="{secret}")
course = Course.objects.create(organization=organization, code="cs101", name="Introduction")
assignment = Assignment.objects.create(course=course, slug="hello", title="Hello", points_possible=100)
lms_course = LmsCourse.objects.create(installation=installation, context_id="1", course=course)
link = ResourceLink.objects.create(lms_course=lms_course, resource_link_id="1", assignment=assignment)
people = Person.objects.bulk_create(Person(organization=organization, name=str(n)) for n in range({people}))
GradebookCell.objects.bulk_create(
    GradebookCell(resource_link=link, person=person, assignment=assignment, installation=installation, lti_key=key,
        outcome_service_url="{url}/outcomes", result_sourcedid="sourcedid-" + person.name)
    for person in people
)
"""
RECORD = """
from decimal import Decimal
from courses.models import Assignment
from events.log import SYSTEM
from grades.scores import record_score
from organizations.models import Person
assignment = Assignment.objects.select_related("course").get()
for person in Person.objects.all():
    record_score(assignment, person, points=Decimal(int(person.name) % 50 + {add}), actor=SYSTEM)
"""
STATES = """
from collections import Counter
from events.models import Delivery
import json
print(json.dumps(Counter(Delivery.objects.values_list("state", flat=True))))
"""


def shell(stack: Stack, code: str) -> str:
    return stack.manage("shell", "--no-imports", "-c", code)


def grade(sourcedid: str, add: int) -> Decimal:
    return Decimal(int(sourcedid.rpartition("-")[2]) % 50 + add) / 100


def expected(add: int, people: int = PEOPLE) -> dict[str, Decimal]:
    return {f"sourcedid-{n}": grade(f"sourcedid-{n}", add) for n in range(people)}


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path, monkeypatch) -> Iterator[str]:
    """A database of its own: an SQLite file, and where DATABASE_URL names a PostgreSQL, one there as well."""
    if request.param == "postgresql":
        if not os.environ.get("DATABASE_URL", "").startswith("postgres"):
            pytest.skip("DATABASE_URL names no PostgreSQL")
    else:
        monkeypatch.delenv("DATABASE_URL", raising=False)
    with database(tmp_path) as url:
        yield url


@contextmanager
def stack_on(database_url: str, tmp_path: Path, **environment: str) -> Iterator[Stack]:
    stack = Stack(tmp_path, database_url, VAR_DIR=str(tmp_path / "var"), **environment)
    try:
        stack.manage("migrate", "--verbosity", "0")
        yield stack
    finally:
        stack.stop()


def test_a_worker_killed_several_times_loses_no_grade_and_turns_none_back(database_url, tmp_path):
    with (
        serve_gradebook({KEY: SECRET}, delay=0.05) as gradebook,
        stack_on(database_url, tmp_path, DELIVERY_LEASE_SECONDS="2", DELIVERY_FIRST_RETRY_SECONDS="0.5") as stack,
    ):
        shell(stack, MAKE.format(key=KEY, secret=SECRET, url=gradebook.url, people=PEOPLE))
        shell(stack, RECORD.format(add=1))
        stack.start_beat()
        kills = 0
        for arrived in (40, 150, 300):
            stack.start_worker()
            stack.wait_for(lambda arrived=arrived: len(gradebook.bodies) >= arrived, 30)
            if kills == 1:
                # In the middle of it everybody gets another grade: what waited is overtaken.
                shell(stack, RECORD.format(add=50))
            stack.kill("worker", signal.SIGKILL)
            kills += 1
        stack.start_worker()
        stack.wait_for(lambda: gradebook.last() == expected(50), 60)
        stack.wait_for(lambda: '"pending"' not in shell(stack, STATES), 20)
        assert kills == 3
        assert gradebook.last() == expected(50)
        for sourcedid, grades in gradebook.grades.items():
            # Older ones, maybe twice (a worker died before it wrote down the answer), then the newer, maybe twice.
            assert grades == sorted(grades), sourcedid
            assert set(grades) <= {grade(sourcedid, 1), grade(sourcedid, 50)}
        assert gradebook.refused == []
        assert gradebook.overlaps == 0
        assert '"failed"' not in shell(stack, STATES)


@pytest.fixture
def redis(tmp_path) -> Iterator[OwnRedis]:
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server")
    running = OwnRedis(tmp_path)
    running.start()
    yield running
    running.stop()


def test_scores_saved_while_redis_is_away_arrive_afterwards(redis, tmp_path):
    people = 60
    with (
        serve_gradebook({KEY: SECRET}) as gradebook,
        running_stack(tmp_path, REDIS_URL=redis.url, VAR_DIR=str(tmp_path / "var")) as stack,
    ):
        shell(stack, MAKE.format(key=KEY, secret=SECRET, url=gradebook.url, people=people))
        stack.start_worker()
        stack.start_beat()
        shell(stack, RECORD.format(add=1))
        stack.wait_for(lambda: gradebook.last() == expected(1, people), 120)
        redis.stop()
        started = time.monotonic()
        shell(stack, RECORD.format(add=25))
        assert time.monotonic() - started < 15  # sixty scores, and nobody waited for Redis each time
        shell(stack, RECORD.format(add=50))
        redis.start()
        stack.wait_for(lambda: gradebook.last() == expected(50, people), 60)
        assert gradebook.refused == []
        assert all(grades == sorted(grades) for grades in gradebook.grades.values())


def test_launches_and_grading_go_on_while_redis_is_away(redis, tmp_path):
    """Students launch and a content application reports, before, while and after Redis is away: nobody is refused,
    nobody waits, and every grade arrives."""
    token = "a-token-for-checks-only-0123456789"
    document = {
        "organizations": [
            {
                "slug": "acme",
                "installations": [{"name": "LMS", "keys": [{"consumer_key": KEY, "shared_secret": SECRET}]}],
                "api_tokens": [{"name": "checks", "token": token}],
                "courses": [
                    {
                        "code": "cs101",
                        "name": "Introduction",
                        "assignments": [{"slug": "hello", "title": "Hello", "kind": "page", "points_possible": 100}],
                    }
                ],
            }
        ]
    }
    redis_url = redis.url
    with (
        serve_gradebook({KEY: SECRET}) as gradebook,
        running_stack(tmp_path, REDIS_URL=redis_url, VAR_DIR=str(tmp_path / "var")) as stack,
    ):
        assignment = stack.provision(document)["organizations"][0]["courses"][0]["assignments"][0]
        stack.start_web()
        stack.start_worker()
        stack.start_beat()
        wanted: dict[str, Decimal] = {}
        durations: list[float] = []

        def work(first: int, points: int) -> None:
            for number in range(first, first + 10):
                parameters = STUDENT | {
                    "user_id": f"student-{number}",
                    "lis_outcome_service_url": f"{gradebook.url}/outcomes",
                    "lis_result_sourcedid": f"sourcedid-{number}",
                }
                started = time.monotonic()
                answer = requests.post(
                    assignment["url"],
                    data=sign_form(assignment["url"], parameters, KEY, SECRET),
                    allow_redirects=False,
                    timeout=30,
                )
                durations.append(time.monotonic() - started)
                assert answer.status_code == 302, answer.text[:500]
            api = {"Authorization": f"Bearer {token}"}
            course = requests.get(f"{stack.url}/api/v1/courses", headers=api, timeout=30).json()["items"][0]["id"]
            enrolled = requests.get(
                f"{stack.url}/api/v1/courses/{course}/enrolments?limit=200", headers=api, timeout=30
            ).json()["items"]
            for enrolment in enrolled:
                account = enrolment["person"]["lms_accounts"][0]["lms_user_id"]
                answer = requests.put(
                    f"{stack.url}/api/v1/assignments/{assignment['id']}/scores/{enrolment['person']['id']}",
                    json={"points": points},
                    headers=api,
                    timeout=30,
                )
                assert answer.status_code == 200, answer.text[:500]
                wanted[f"sourcedid-{account.rpartition('-')[2]}"] = Decimal(points) / 100

        work(0, 10)
        redis.stop()
        work(10, 20)
        redis.start()
        work(20, 30)
        stack.wait_for(lambda: gradebook.last() == wanted, 60)
        assert len(wanted) == 30
        assert gradebook.refused == []
        assert max(durations) < 5, "a launch waited for Redis"
        assert "Traceback" not in stack.log("web")
