"""One score reported many times at the same moment, to several processes: an `Idempotency-Key` counts once."""

import threading
from collections import Counter
from pathlib import Path

import pytest
import requests

from tests.stack import Stack, running_stack

pytestmark = [pytest.mark.stack, pytest.mark.xdist_group("stack")]

TOKEN = "parallel-scores-token-that-is-long-enough"
KEYS, TIMES = 4, 6
MAKE = """
from organizations.models import Organization, Person
print(Person.objects.create(organization=Organization.objects.get(slug="acme"), name="Ada").pk)
"""


def make_place(stack: Stack) -> str:
    """The address of a score."""
    assignment = {"slug": "lab", "title": "Lab", "kind": "page", "points_possible": 100}
    answer = stack.provision(
        {
            "organizations": [
                {
                    "slug": "acme",
                    "name": "Acme",
                    "api_tokens": [{"name": "checks", "token": TOKEN}],
                    "courses": [{"code": "cs101", "name": "Introduction", "assignments": [assignment]}],
                }
            ]
        }
    )
    assignment_id = answer["organizations"][0]["courses"][0]["assignments"][0]["id"]
    person_id = stack.manage("shell", "--no-imports", "-c", MAKE).strip()
    return f"{stack.url}/api/v1/assignments/{assignment_id}/scores/{person_id}"


def test_requests_with_one_key_are_one_request(tmp_path: Path) -> None:
    with running_stack(tmp_path) as stack:
        address = make_place(stack)
        stack.start_web(workers=2, threads=8)
        start = threading.Barrier(KEYS * TIMES)
        answers: list[tuple[int, requests.Response]] = []

        def report(number: int) -> None:
            headers = {"Authorization": f"Bearer {TOKEN}", "Idempotency-Key": f"key-{number}"}
            start.wait()
            answers.append((number, requests.put(address, json={"points": number}, headers=headers, timeout=60)))

        threads = [threading.Thread(target=report, args=[number]) for number in range(KEYS) for _ in range(TIMES)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert Counter(answer.status_code for _, answer in answers) == {200: KEYS * TIMES}
        for number in range(KEYS):
            same = [answer for key, answer in answers if key == number]
            assert len({answer.content for answer in same}) == 1
            assert sum("Idempotent-Replayed" in answer.headers for answer in same) == TIMES - 1
        assert {answer.json()["version"] for _, answer in answers} == set(range(1, KEYS + 1))
        events = requests.get(
            f"{stack.url}/api/v1/events", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60
        ).json()["items"]
        assert [event["type"] for event in events].count("score.changed") == KEYS
