"""`Idempotency-Key` on score writes: one effect and one answer, however often and however parallel it is sent."""

import threading
from datetime import timedelta

import pytest
import time_machine
from django.db import connection, connections
from django.utils import timezone

from api import scores
from api.tests.calling import Caller, fields_of, problem_of
from events.models import Event
from grades.models import Score
from launches.personal_data import erase
from launches.retention import purge
from organizations.models import AnsweredRequest
from tests.factories import GradebookCellFactory, OrganizationFactory, PersonFactory, UserFactory

pytestmark = pytest.mark.django_db

KEY = "4f9a7c1e-6c2b-4f0e-9d55-0d6c8f5d2b10"


@pytest.fixture
def cell(api):
    return GradebookCellFactory(assignment__course__organization=api.organization)


def put(caller, cell, key=KEY, person=None, **body):
    path = f"/assignments/{cell.assignment_id}/scores/{(person or cell.person).pk}"
    return caller.send("PUT", path, body or {"points": 5}, headers={} if key is None else {"Idempotency-Key": key})


def test_the_same_request_again_is_answered_the_same_and_changes_nothing(api, cell):
    first = put(api, cell, points=5, comment="Gut gemacht: ä")
    again = put(api, cell, points=5, comment="Gut gemacht: ä")
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.content == first.content
    assert again["Content-Type"] == first["Content-Type"]
    assert first.get("Idempotent-Replayed") is None
    assert again["Idempotent-Replayed"] == "true"
    assert int(again["X-RateLimit-Remaining"]) == int(first["X-RateLimit-Remaining"]) - 1
    assert Score.objects.get().version == 1
    assert Event.objects.filter(type="score.changed").count() == 1


def test_the_answer_is_the_one_without_a_key(api, cell):
    keyed = put(api, cell).json()
    plain = put(api, cell, None).json()
    assert set(keyed) == set(plain)
    assert (plain["version"], plain["points"]) == (2, keyed["points"])


def test_it_is_the_first_answer_even_when_the_score_has_changed_since(api, cell):
    first = put(api, cell, points=1)
    put(api, cell, "another", points=9)
    assert put(api, cell, points=1).content == first.content
    assert Score.objects.get().points == 9


@pytest.mark.parametrize("change", ["body", "person"])
def test_a_key_stands_for_one_request(api, cell, change):
    put(api, cell, points=5)
    other = PersonFactory(organization=api.organization) if change == "person" else None
    refused = put(api, cell, person=other, points=5 if other else 6)
    assert "another request" in fields_of(refused, 422)["Idempotency-Key"]
    assert Score.objects.get().points == 5


def test_quoted_and_bare_keys_are_the_same(api, cell):
    first = put(api, cell, KEY)
    assert put(api, cell, f'"{KEY}"').content == first.content
    assert Score.objects.get().version == 1


def test_keys_of_other_tokens_are_other_keys(api, cell, stranger):
    put(api, cell, points=5)
    colleague = Caller(api.organization, "another")
    assert put(colleague, cell, points=6).json()["version"] == 2
    theirs = GradebookCellFactory(assignment__course__organization=stranger.organization)
    assert put(stranger, theirs, points=7).json()["version"] == 1
    problem_of(put(stranger, cell, "new"), 404)


def test_what_was_refused_is_not_remembered(api, cell):
    assert put(api, cell, points=-1).status_code == 422
    stranger_here = PersonFactory()
    problem_of(put(api, cell, person=stranger_here), 404)
    assert not AnsweredRequest.objects.exists()
    assert put(api, cell, points=1).json()["version"] == 1


def test_a_failure_of_ours_leaves_the_key_free(api, cell, monkeypatch):
    api.client.raise_request_exception = False
    with monkeypatch.context() as broken:
        broken.setattr(scores, "score_out", lambda *arguments: 1 / 0)
        problem_of(put(api, cell), 500)
    assert not Score.objects.exists()
    assert put(api, cell).json()["version"] == 1


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "two words", "käse", "a\tb"])
def test_what_is_no_key_is_refused(api, cell, key):
    assert "Idempotency-Key" in fields_of(put(api, cell, key))
    assert not Score.objects.exists()


def test_a_key_is_forgotten_after_a_day_and_purged(api, cell):
    put(api, cell)
    with time_machine.travel(timezone.now() + timedelta(hours=23), tick=False):
        assert put(api, cell)["Idempotent-Replayed"] == "true"
        assert purge().answers == 0
    with time_machine.travel(timezone.now() + timedelta(hours=24, minutes=1), tick=False):
        assert put(api, cell).json()["version"] == 2
    with time_machine.travel(timezone.now() + timedelta(hours=50), tick=False):
        assert purge().answers == 1
    assert not AnsweredRequest.objects.exists()


def test_what_is_kept_goes_when_the_person_is_erased(api, cell):
    other = PersonFactory(organization=api.organization)
    put(api, cell)
    put(api, cell, "other", person=other)
    erase(cell.person, UserFactory(), keep_scores=True)
    assert AnsweredRequest.objects.get().path.endswith(str(other.pk))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("together", ["one key", "a key each"])
def test_requests_at_the_same_moment(memory_queue, together):
    if connection.vendor == "sqlite":
        pytest.skip("the tests' SQLite is in memory, where writers do not wait for each other")
    organization = OrganizationFactory()
    cell = GradebookCellFactory(assignment__course__organization=organization)
    callers = [Caller(organization, str(number)) for number in range(8)]
    for caller in callers[1:]:
        caller.client = callers[0].client.__class__(headers={"Authorization": f"Bearer {callers[0].token}"})
    start, answers = threading.Barrier(len(callers)), []

    def run(number, caller):
        try:
            start.wait()
            answers.append(put(caller, cell, KEY if together == "one key" else f"key-{number}"))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=item) for item in enumerate(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [200] * 8
    versions = sorted(answer.json()["version"] for answer in answers)
    replayed = sum("Idempotent-Replayed" in answer for answer in answers)
    if together == "one key":
        assert (versions, replayed) == ([1] * 8, 7)
        assert len({answer.content for answer in answers}) == 1
        assert Score.objects.get().version == Event.objects.filter(type="score.changed").count() == 1
    else:
        assert (versions, replayed) == ([*range(1, 9)], 0)
