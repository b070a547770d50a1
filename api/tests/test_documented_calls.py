"""The examples of docs/api.md are run: what it tells people to type gives what it says."""

import re
import shlex
from dataclasses import dataclass

import pytest
import requests
from django.conf import settings as django_settings
from django.core.cache import cache

from api.tests.calling import Caller
from events.log import SYSTEM, record
from events.models import Delivery
from organizations.identifiers import uuid7
from tests.factories import (
    AssignmentFactory,
    CourseFactory,
    EnrolmentFactory,
    GradebookCellFactory,
    OrganizationFactory,
    PersonFactory,
    RoomFactory,
)

PAGE = django_settings.BASE_DIR / "docs" / "api.md"
OPTIONS = {"-X": "method", "-H": "header", "-d": "body"}


@dataclass(frozen=True)
class Example:
    """A command as it stands in the page, and the answer below it."""

    line: int
    command: str
    answer: str


def examples(text: str) -> list[Example]:
    """Commands of all console blocks, in order. A line that ends in a backslash goes on."""
    found: list[Example] = []
    for block in re.finditer(r"(?ms)^```console\n(.*?)^```", text):
        line = text[: block.start(1)].count("\n") + 1
        for command, answer in re.findall(r"(?ms)^\$ (.*?[^\\])\n(.*?)(?=^\$ |\Z)", block[1]):
            found.append(Example(line, command.replace("\\\n", " "), answer.strip()))
    return found


def sent(words: list[str]) -> requests.Response:
    """What curl would send; an option that is not known here fails."""
    assert words.pop(0) == "curl", words
    method, headers, body, url = "", {}, None, ""
    while words:
        word = words.pop(0)
        if not word.startswith("-"):
            assert not url, word
            url = word
            continue
        value = words.pop(0)
        if OPTIONS[word] == "method":
            method = value
        elif OPTIONS[word] == "header":
            name, _, text = value.partition(": ")
            headers[name] = text
        else:
            body = value.encode()
    method = method or ("GET" if body is None else "POST")
    return requests.request(method, url, headers=headers, data=body, timeout=30)


def filled(text: str, names: dict[str, str]) -> str:
    return re.sub(r"\$([A-Z]+)", lambda found: names[found[1]], text)


def is_like(answer: str, expected: str) -> bool:
    """Whether the answer is the expected one, where … stands for anything."""
    pattern = re.escape(" ".join(expected.split())).replace("…", ".*?")
    return re.fullmatch(pattern, " ".join(answer.split()), re.DOTALL) is not None


@pytest.mark.django_db(transaction=True)
def test_every_call_answers_what_the_page_says(live_server, settings, memory_queue):
    settings.BASE_URL = live_server.url
    settings.EVENT_DATA_CHECKED = False
    cache.clear()
    organization = OrganizationFactory()
    course = CourseFactory(organization=organization, code="cs101", name="Introduction")
    person = PersonFactory(organization=organization, name="Ada Lovelace")
    room = RoomFactory(course=course, slug="office-hours", title="Office hours")
    EnrolmentFactory(course=course, person=person)
    EnrolmentFactory(course=course)
    assignment = AssignmentFactory(course=course, points_possible=10)
    GradebookCellFactory(assignment=assignment, person=person)
    event = record(organization, "course.copied", actor=SYSTEM, subject_kind="course", subject_id=uuid7())
    names = {
        "TOOL": live_server.url,
        "TOKEN": Caller(organization).token,
        "COURSE": str(course.pk),
        "ASSIGNMENT": str(assignment.pk),
        "ROOM": str(room.pk),
        "PERSON": str(person.pk),
        "EVENT": str(event.pk),
    }
    found = examples(PAGE.read_text(encoding="utf-8"))
    assert len(found) > 12
    for example in found:
        if "DELIVERY" not in names and (delivery := Delivery.objects.first()):
            names["DELIVERY"] = str(delivery.pk)
        response = sent(shlex.split(filled(example.command, names)))
        expected = filled(example.answer, names)
        answer = response.content.decode("utf-8-sig")
        assert is_like(answer, expected), f"docs/api.md:{example.line}\n{example.command}\n{answer}\nis not\n{expected}"
        is_refused = response.headers["Content-Type"] == "application/problem+json"
        assert is_refused == ("about:blank" in expected) == (response.status_code >= 400)


def test_what_is_compared_can_differ():
    (example,) = examples('```console\n$ curl -X GET \\\n    /a\n{"a": 1, …}\n```\n')
    assert example.command.split() == ["curl", "-X", "GET", "/a"]
    assert is_like('{"a": 1, "b": 2}', example.answer)
    assert not is_like('{"a": 2, "b": 2}', example.answer)
    assert not is_like('{"a": 1, "b": 2} and more', example.answer)
