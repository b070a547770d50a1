"""Promises under real parallel requests, on the stack that DATABASE_URL names."""

import http.client
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode, urlsplit

import pytest

from lti.v1p1.oauth1 import sign_form
from tests.launching import STUDENT
from tests.stack import Stack, running_stack

pytestmark = [pytest.mark.stack, pytest.mark.xdist_group("parallel")]

KEY, SECRET = "parallel-key", "parallel-secret-long-enough"
DOCUMENT = {
    "organizations": [
        {
            "slug": "acme",
            "installations": [{"name": "Moodle", "keys": [{"consumer_key": KEY, "shared_secret": SECRET}]}],
            "api_tokens": [{"name": "checks", "token": "a-token-for-checks-only-0123456789"}],
            "courses": [
                {
                    "code": "cs101",
                    "name": "Introduction",
                    "assignments": [{"slug": "hello", "title": "Hello", "kind": "page"}],
                }
            ],
        }
    ]
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with running_stack(tmp_path_factory.mktemp("parallel"), REFUSED_LAUNCHES_PER_MINUTE="10000") as running:
        running.answer = running.provision(DOCUMENT)
        running.start_web()
        yield running


def post(stack: Stack, url: str, pairs: list[tuple[str, str]]) -> tuple[int, str]:
    """(status, error code) of one launch over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=60)
    try:
        connection.request(
            "POST", urlsplit(url).path, urlencode(pairs), {"Content-Type": "application/x-www-form-urlencoded"}
        )
        response = connection.getresponse()
        response.read()
        return response.status, response.headers.get("X-Launch-Error", "")
    finally:
        connection.close()


def count(stack: Stack, expression: str) -> int:
    """What a query of the platform's models counts, asked in a process of its own."""
    return int(
        stack.manage(
            "shell", "--verbosity", "0", "-c",
            "from courses.models import *; from organizations.models import *; from launches.models import *; "
            f"print({expression})",
        ).strip().splitlines()[-1]
    )  # fmt: skip


def assignment_of(stack: Stack) -> str:
    return stack.answer["organizations"][0]["courses"][0]["assignments"][0]["url"]


def test_a_launch_posted_fifty_times_at_once_is_accepted_once(stack):
    url = assignment_of(stack)
    pairs = sign_form(url, STUDENT | {"context_id": "replay"}, KEY, SECRET)
    with ThreadPoolExecutor(50) as pool:
        answers = Counter(pool.map(lambda _: post(stack, url, pairs), range(50)))
    assert answers == {(302, ""): 1, (401, "nonce_reused"): 49}
    assert (
        count(stack, "Launch.objects.filter(result='accepted', resource_link__lms_course__context_id='replay').count()")
        == 1
    )


def test_two_hundred_students_arrive_at_once_in_a_new_course(stack):
    url = assignment_of(stack)
    launches = [
        sign_form(
            url,
            STUDENT | {"context_id": "crowd", "resource_link_id": "crowd-link", "user_id": f"crowd-{number}"},
            KEY,
            SECRET,
        )
        for number in range(200)
    ]
    with ThreadPoolExecutor(50) as pool:
        answers = Counter(pool.map(lambda pairs: post(stack, url, pairs), launches))
    assert answers == {(302, ""): 200}
    assert count(stack, "LmsAccount.objects.filter(lms_user_id__startswith='crowd-').count()") == 200
    assert count(stack, "Person.objects.filter(accounts__lms_user_id__startswith='crowd-').distinct().count()") == 200
    assert count(stack, "Enrolment.objects.filter(person__accounts__lms_user_id__startswith='crowd-').count()") == 200
    assert count(stack, "LmsCourse.objects.filter(context_id='crowd', course__code='cs101').count()") == 1
    assert count(stack, "ResourceLink.objects.filter(resource_link_id='crowd-link').count()") == 1


def test_one_student_arriving_twenty_times_at_once_is_one_person(stack):
    url = assignment_of(stack)
    launches = [sign_form(url, STUDENT | {"context_id": "twins", "user_id": "twin"}, KEY, SECRET) for _ in range(20)]
    with ThreadPoolExecutor(20) as pool:
        answers = Counter(pool.map(lambda pairs: post(stack, url, pairs), launches))
    assert answers == {(302, ""): 20}
    assert count(stack, "LmsAccount.objects.filter(lms_user_id='twin').count()") == 1
    assert count(stack, "Person.objects.filter(enrolments__isnull=True).count()") == 0, "no orphans"
    assert "Traceback" not in stack.log("web")
