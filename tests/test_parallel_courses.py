"""A new term: everybody arrives at once at a course that is not there yet, on the stack that DATABASE_URL names."""

import http.client
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import urlencode, urlsplit

import lxml.html
import pytest

from launches.browser import COOKIE
from lti.v1p1.oauth1 import sign_form
from tests.launching import STUDENT, TEACHER
from tests.stack import Stack, running_stack

pytestmark = [pytest.mark.stack, pytest.mark.xdist_group("parallel")]

KEY, SECRET = "courses-key", "courses-secret-long-enough"
DOCUMENT = {
    "organizations": [
        {
            "slug": "acme",
            "installations": [{"name": "Moodle", "keys": [{"consumer_key": KEY, "shared_secret": SECRET}]}],
            "api_tokens": [{"name": "checks", "token": "a-token-for-checks-only-0123456789"}],
            "courses": [
                {
                    "code": "master",
                    "name": "Introduction",
                    "constant_urls": True,
                    "course_copy": True,
                    "modules": [{"name": "Week 1"}],
                    "assignments": [
                        {"slug": f"task-{number}", "module": "Week 1", "title": f"Task {number}", "kind": "page"}
                        for number in range(20)
                    ],
                }
            ],
        }
    ]
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with running_stack(tmp_path_factory.mktemp("courses"), REFUSED_LAUNCHES_PER_MINUTE="10000") as running:
        running.answer = running.provision(DOCUMENT)
        running.start_web()
        yield running


@dataclass(frozen=True)
class Answered:
    status: int
    headers: Message
    body: str

    @property
    def outcome(self) -> tuple[int, str]:
        return self.status, self.headers.get("X-Launch-Error", "")


def ask(stack: Stack, method: str, path: str, pairs: list[tuple[str, str]], cookie: str = "") -> Answered:
    """One request over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=60)
    headers = {"Content-Type": "application/x-www-form-urlencoded"} | ({"Cookie": cookie} if cookie else {})
    try:
        connection.request(method, path, urlencode(pairs), headers)
        response = connection.getresponse()
        return Answered(response.status, response.headers, response.read().decode())
    finally:
        connection.close()


def launch(stack: Stack, parameters: dict[str, str]) -> Answered:
    url = stack.answer["organizations"][0]["courses"][0]["assignments"][7]["constant_url"]
    return ask(stack, "POST", urlsplit(url).path, sign_form(url, parameters, KEY, SECRET))


def known(stack: Stack, expression: str) -> Any:
    """What an expression over the platform's models is, as JSON, asked in a process of its own."""
    imports = "import json; from courses.models import *; from events.models import *; from launches.models import *"
    said = stack.manage("shell", "--verbosity", "0", "-c", f"{imports}; print(json.dumps({expression}))")
    return json.loads(said.strip().splitlines()[-1])


def test_a_hundred_students_and_no_teacher_at_an_unknown_target_id(stack):
    """Exactly one copy, everybody in it, and nobody a teacher."""
    said = {"context_id": "new", "custom_course_target_id": "2027-spring", "custom_parent_course_id": "master"}
    students = [STUDENT | said | {"user_id": f"new-{number}", "resource_link_id": "new"} for number in range(100)]
    with ThreadPoolExecutor(50) as pool:
        outcomes = Counter(pool.map(lambda parameters: launch(stack, parameters).outcome, students))
    assert outcomes == {(302, ""): 100}
    found = known(
        stack,
        """{
            "copies": list(Course.objects.exclude(copied_from=None).values_list("code", "course_copy")),
            "events": Event.objects.filter(type="course.copied").count(),
            "roles": sorted(Enrolment.objects.values_list("role", flat=True)),
            "assignments": Assignment.objects.filter(course__code="2027-spring").count(),
            "modules": Module.objects.filter(course__code="2027-spring").count(),
            "mapped": LmsCourse.objects.get(context_id="new").course.code,
            "opened": sorted(set(Launch.objects.values_list("course__code", "assignment__slug"))),
        }""",
    )
    assert found == {
        "copies": [["2027-spring", False]],
        "events": 1,
        "roles": ["student"] * 100,
        "assignments": 20,
        "modules": 1,
        "mapped": "2027-spring",
        "opened": [["2027-spring", "task-7"]],
    }
    assert "Traceback" not in stack.log("web")


def test_many_new_courses_at_once(stack):
    """Five target ids of one parent, of which one can be no code, mixed: five copies, and nobody waits in vain."""
    targets = ["mixed-0", "mixed-1", "mixed-2", "mixed-3", "mixed/4"]
    students = [
        STUDENT
        | {
            "context_id": targets[number % 5],
            "custom_course_target_id": targets[number % 5],
            "custom_parent_course_id": "master",
            "user_id": f"mixed-{number}",
        }
        for number in range(50)
    ]
    with ThreadPoolExecutor(50) as pool:
        outcomes = Counter(pool.map(lambda parameters: launch(stack, parameters).outcome, students))
    assert outcomes == {(302, ""): 50}
    found = known(
        stack,
        """{
            "copies": Course.objects.filter(code__startswith="mixed-").count(),
            "aliases": list(CourseAlias.objects.values_list("value", flat=True)),
            "assignments": Assignment.objects.filter(course__code__startswith="mixed-").count(),
            "people": [course.enrolments.count() for course in Course.objects.filter(code__startswith="mixed-")],
        }""",
    )
    assert found == {"copies": 5, "aliases": ["mixed/4"], "assignments": 100, "people": [10] * 5}


def test_teachers_who_answer_at_once_are_one_answer_and_students_meanwhile_wait(stack):
    said = {"context_id": "asked", "resource_link_id": "asked"}
    waiting = []
    for number in range(6):
        opened = launch(stack, TEACHER | said | {"user_id": f"asked-teacher-{number}"})
        assert opened.status == 302
        page = opened.headers["Location"].partition("#")[0]
        cookie = next(one for one in opened.headers.get_all("Set-Cookie", []) if one.startswith(COOKIE)).split(";")[0]
        course = stack.answer["organizations"][0]["courses"][0]["id"]
        form: Any = lxml.html.fromstring(ask(stack, "GET", f"{page}?choice=copy&course={course}", [], cookie).body)
        fields = dict(form.forms[0].fields)
        fields |= {"code": f"asked-{number % 2}", "name": "Asked"}
        waiting.append((f"{page}which-course", list(fields.items()), cookie))

    def answer(number: int) -> tuple[int, str]:
        path, fields, cookie = waiting[number]
        return ask(stack, "POST", path, fields, cookie).outcome

    def study(number: int) -> tuple[int, str]:
        return launch(stack, STUDENT | said | {"user_id": f"asked-student-{number}"}).outcome

    assert study(0) == (409, "course_not_ready")
    with ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(answer, number) for number in range(6)]
        students = [pool.submit(study, number) for number in range(1, 15)]
        assert Counter(one.result() for one in answers) == {(302, ""): 1, (409, ""): 5}
        assert {one.result() for one in students} <= {(302, ""), (409, "course_not_ready")}
    assert study(0) == (302, "")
    enrolled = known(stack, "list(Enrolment.objects.filter(course__name='Asked').values_list('course__code', 'role'))")
    assert len({code for code, _ in enrolled}) == 1
    assert Counter(role for _, role in enrolled)["teacher"] == 1
    assert "Traceback" not in stack.log("web")
