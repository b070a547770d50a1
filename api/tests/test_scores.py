"""Scores and deliveries through the API."""

import pytest

from api.tests.calling import Caller, fields_of, problem_of
from events.models import Delivery, Event
from grades.models import Score
from tests.factories import AssignmentFactory, GradebookCellFactory, PersonFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def cell(api):
    return GradebookCellFactory(
        assignment__course__organization=api.organization,
        installation__service_hosts=["lms.example"],
    )


def _put(api: Caller, cell, **score):
    return api.put(f"/assignments/{cell.assignment_id}/scores/{cell.person_id}", score)


def test_a_score_is_recorded_and_on_its_way(api, cell):
    response = _put(api, cell, points=8.5, comment="Well done.")
    assert response.status_code == 200
    answer = response.json()
    delivery = Delivery.objects.get()
    assert answer == {
        "person": str(cell.person_id),
        "points": 8.5,
        "points_possible": 10,
        "extra_credit": 0,
        "comment": "Well done.",
        "completed": True,
        "graded": True,
        "released": True,
        "version": 1,
        "updated_at": answer["updated_at"],
        "deliveries": [
            {"id": str(delivery.id), "state": "pending", "attempts": 0, "last_error": "", "delivered_at": None}
        ],
    }
    assert answer["updated_at"].endswith("Z")
    listed = api.get(f"/assignments/{cell.assignment_id}/scores").json()
    assert listed == {"items": [answer], "next": None}
    event = Event.objects.get(type="score.changed")
    assert event.actor["kind"] == "api_token"
    assert event.actor["id"] == str(api.api_token.id)


def test_a_newer_score_shows_its_own_delivery(api, cell):
    _put(api, cell, points=1)
    answer = _put(api, cell, points=2, extra_credit=1).json()
    assert (answer["version"], answer["points"], answer["extra_credit"]) == (2, 2, 1)
    assert [one["state"] for one in answer["deliveries"]] == ["pending"]
    assert len(api.all("/deliveries", state="superseded")) == 1


def test_an_unreleased_score_waits(api, cell):
    cell.assignment.course.release_grades_automatically = True
    cell.assignment.course.save()
    answer = _put(api, cell, points=5, released=False).json()
    assert (answer["released"], answer["deliveries"]) == (False, [])


def test_a_score_without_a_cell_is_kept(api):
    assignment = AssignmentFactory(course__organization=api.organization)
    person = PersonFactory(organization=api.organization)
    answer = api.put(f"/assignments/{assignment.id}/scores/{person.id}", {"points": 12}).json()
    assert (answer["points"], answer["points_possible"], answer["deliveries"]) == (12, 10, [])


@pytest.mark.parametrize(
    ("points", "kept"), [(200 / 3, 66.67), (0, 0), (1e-9, 0), (9999999.99, 9999999.99), (0.005, 0.01)]
)
def test_computed_points_are_rounded(api, cell, points, kept):
    assert _put(api, cell, points=points).json()["points"] == kept


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("points", -0.01),
        ("points", "8"),
        ("points", None),
        ("points", True),
        ("points", 10_000_000),
        ("points", 10**300),
        ("points", {}),
        ("extra_credit", -1),
        ("comment", None),
        ("comment", "a\x00"),
        ("comment", "\ud83d"),
        ("released", "false"),
        ("graded", 1),
        ("completed", None),
        ("score", 5),
    ],
)
def test_bad_score_fields_are_named(api, cell, field, value):
    assert field in fields_of(_put(api, cell, **{"points": 5, field: value}))
    assert not Score.objects.exists()


@pytest.mark.parametrize("body", [b'{"points": NaN}', b'{"points": Infinity}', b'{"points": 1, "points": 2}'])
def test_what_is_not_json_is_refused(api, cell, body):
    response = api.send("PUT", f"/assignments/{cell.assignment_id}/scores/{cell.person_id}", body)
    problem_of(response, 400)
    assert not Score.objects.exists()


def test_scores_of_strangers_and_for_strangers_are_not_found(api, stranger, cell):
    foreign = PersonFactory(organization=stranger.organization)
    problem_of(api.put(f"/assignments/{cell.assignment_id}/scores/{foreign.id}", {"points": 1}), 404)
    problem_of(_put(stranger, cell, points=1), 404)
    problem_of(stranger.get(f"/assignments/{cell.assignment_id}/scores"), 404)
    foreign_assignment = AssignmentFactory(course__organization=stranger.organization)
    problem_of(api.put(f"/assignments/{foreign_assignment.id}/scores/{cell.person_id}", {"points": 1}), 404)
    assert not Score.objects.exists()


def test_deliveries_are_listed_by_kind_and_state(api, stranger, cell):
    _put(api, cell, points=1)
    (delivery,) = api.all("/deliveries", kind="grade", state="pending")
    assert delivery["kind"] == "grade"
    assert delivery["assignment"] == str(cell.assignment_id)
    assert delivery["person"] == str(cell.person_id)
    assert delivery["due_at"] is not None
    assert api.all("/deliveries", state="failed") == []
    assert api.all("/deliveries", kind="webhook") == []
    assert stranger.all("/deliveries") == []
    assert "state" in fields_of(api.get("/deliveries", state="lost"))
    assert "kind" in fields_of(api.get("/deliveries", kind="letter"))


def test_a_failed_delivery_is_sent_again(api, stranger, cell):
    _put(api, cell, points=1)
    delivery = Delivery.objects.get()
    Delivery.objects.update(state="failed", due_at=None, attempts=3, last_error="The LMS refused it.")
    failed = api.get(f"/assignments/{cell.assignment_id}/scores").json()["items"][0]["deliveries"][0]
    assert (failed["state"], failed["attempts"], failed["last_error"]) == ("failed", 3, "The LMS refused it.")
    problem_of(stranger.post(f"/deliveries/{delivery.id}/resend"), 404)
    delivery.refresh_from_db()
    assert delivery.state == "failed"
    response = api.post(f"/deliveries/{delivery.id}/resend")
    assert response.status_code == 200
    assert (response.json()["id"], response.json()["state"]) == (str(delivery.id), "pending")


def test_resending_an_older_version_sends_the_newest(api, cell):
    _put(api, cell, points=1)
    old = Delivery.objects.get()
    _put(api, cell, points=2)
    assert api.post(f"/deliveries/{old.id}/resend").json()["version"] == 2


def test_listing_scores_costs_the_same_for_many(api, cell, django_assert_max_num_queries):
    for person in PersonFactory.create_batch(5, organization=api.organization):
        api.put(f"/assignments/{cell.assignment_id}/scores/{person.id}", {"points": 1})
    with django_assert_max_num_queries(5):
        assert len(api.get(f"/assignments/{cell.assignment_id}/scores").json()["items"]) == 5
