"""One LMS leaves every call unanswered for half a minute; grades for the others leave at once. With a real worker."""

import json
import os
import threading
import time

import pytest

from tests.loopback import Received, Reply, serve, serve_gradebook
from tests.stack import Stack, running_stack

pytestmark = [pytest.mark.stack, pytest.mark.xdist_group("stack")]

KEY, SECRET = "slow-key", "slow-secret-long-enough"
# Promised are two seconds. A machine that is busy otherwise is given more, but far less than the slow LMS takes.
SECONDS = 12

MAKE = """
import json
from courses.models import Assignment, Course, LmsCourse, ResourceLink
from grades.models import GradebookCell
from organizations.models import Installation, LtiKey, Organization, Person
for slug, lmss in json.loads({tenants!r}).items():
    organization = Organization.objects.create(slug=slug, name=slug)
    course = Course.objects.create(organization=organization, code="cs101", name="Introduction")
    for name, (url, count) in lmss.items():
        installation = Installation.objects.create(organization=organization, name=name, service_hosts=["127.0.0.1"])
        key = LtiKey.objects.create(installation=installation, consumer_key={key!r} + "-" + slug + "-" + name,
            secret={secret!r})
        assignment = Assignment.objects.create(course=course, slug=name, title=name, points_possible=100)
        lms_course = LmsCourse.objects.create(installation=installation, context_id="1", course=course)
        link = ResourceLink.objects.create(lms_course=lms_course, resource_link_id="1", assignment=assignment)
        people = Person.objects.bulk_create(
            Person(organization=organization, name=name + " " + str(n)) for n in range(count))
        GradebookCell.objects.bulk_create(
            GradebookCell(resource_link=link, person=person, assignment=assignment, installation=installation,
                lti_key=key, outcome_service_url=url + "/outcomes", result_sourcedid=slug + " " + person.name)
            for person in people)
"""
# Says at what moment each score was there.
RECORD = """
import json, time
from decimal import Decimal
from courses.models import Assignment
from events.log import SYSTEM
from grades.scores import record_score
from grades.models import GradebookCell
at = {{}}
cells = GradebookCell.objects.filter(assignment__slug__in={names!r}).select_related("person", "assignment__course")
for cell in cells:
    record_score(cell.assignment, cell.person, points=Decimal({points}), actor=SYSTEM)
    at[cell.result_sourcedid] = time.time()
print(json.dumps(at))
"""


def recorded(stack: Stack, names: list[str], points: int) -> dict[str, float]:
    code = RECORD.format(names=names, points=points)
    return json.loads(stack.manage("shell", "--no-imports", "-c", code).strip().splitlines()[-1])


def test_grades_for_others_leave_while_one_lms_hangs(tmp_path):
    released = threading.Event()
    asked: list[float] = []
    arrived: dict[str, float] = {}
    environment = {"REDIS_URL": os.environ["REDIS_URL"]} if os.environ.get("REDIS_URL") else {}

    def hang(received: Received) -> Reply:
        asked.append(time.time())
        released.wait(40)
        return Reply(503)

    def note(received: Received, sourcedid: str, score: object) -> None:
        arrived.setdefault(f"{sourcedid} {score}", time.time())

    secrets = {f"{KEY}-hit-near": SECRET, f"{KEY}-other-far": SECRET}
    with (
        serve(hang) as hanging,
        serve_gradebook(secrets, manners=note) as good,
        running_stack(tmp_path, VAR_DIR=str(tmp_path / "var"), **environment) as stack,
    ):
        try:
            tenants = {
                "hit": {"hangs": [hanging.url, 100], "near": [good.url, 10]},
                "other": {"far": [good.url, 10]},
            }
            stack.manage(
                "shell", "--no-imports", "-c", MAKE.format(tenants=json.dumps(tenants), key=KEY, secret=SECRET)
            )
            recorded(stack, ["hangs"], 10)
            # It finds a hundred grades due, and has all the requests under way to this LMS that it may have.
            stack.start_worker()
            stack.start_beat()
            stack.wait_for(lambda: len(asked) >= 20, 40)
            waits = []
            # Once while the LMS's first calls hang, and once more when the worker has known it for a while.
            for points in (10, 20):
                at = recorded(stack, ["near", "far"], points)
                wanted = {f"{sourcedid} 0.{points // 10}": moment for sourcedid, moment in at.items()}
                assert len(wanted) == 20
                stack.wait_for(lambda wanted=wanted: wanted.keys() <= arrived.keys(), 25)
                waits += [arrived[key] - moment for key, moment in wanted.items()]
            assert not released.is_set()
            assert len(asked) <= 60
        finally:
            released.set()
    print(f"the longest wait of {len(waits)} grades was {max(waits):.2f} s")  # noqa: T201 - the figure, with pytest -rP
    assert max(waits) < SECONDS, f"a grade for another LMS waited {max(waits):.1f} s"
    assert good.refused == []
