"""record_score and release_scores: versions, events, and what goes into the outbox."""

import threading
from decimal import Decimal

import pytest
from django.db import connection, transaction

from events.log import SYSTEM, Actor
from events.models import Delivery, Event
from grades.cells import remember_cell
from grades.models import GradebookCell, Score
from grades.scores import record_score, release_scores
from grades.tests.place import a_place
from tests.factories import (
    AssignmentFactory,
    EnrolmentFactory,
    GradebookCellFactory,
    PersonFactory,
    ResourceLinkFactory,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def place():
    return a_place()


def test_every_write_is_a_new_version(place):
    assert [place.score(points).version for points in ("1", "2", "2")] == [1, 2, 3]
    score = Score.objects.get()
    assert (score.points, score.version) == (2, 3)
    assert list(Delivery.objects.order_by("sequence").values_list("sequence", "state")) == [
        (1, "superseded"),
        (2, "superseded"),
        (3, "pending"),
    ]


def test_the_delivery_says_what_is_sent_and_where(place):
    score = place.score("8.5", extra_credit=Decimal(5), comment="Well done")
    delivery = Delivery.objects.get()
    assert (delivery.kind, delivery.target_id, delivery.source_id) == ("grade", place.cell.id, score.id)
    assert (delivery.host, delivery.organization) == ("lms.example", place.organization)
    assert Decimal(delivery.payload["percentage"]) == Decimal("0.85")  # extra credit is never sent
    assert delivery.payload["points"] == "8.50"
    assert Score.objects.get().comment == "Well done"


def test_the_event_tells_of_the_score(place):
    actor = Actor("api_token", "1", "checks")
    score = record_score(place.assignment, place.person, points=Decimal("12.345"), actor=actor)
    event = Event.objects.get(type="score.changed")
    assert event.actor == {"kind": "api_token", "id": "1", "name": "checks"}
    assert event.subject == {"kind": "score", "id": str(score.id)}
    assert event.data == {
        "assignment": str(place.assignment.id),
        "person": str(place.person.id),
        "course": str(place.course.id),
        "points": 12.35,
        "points_possible": 10.0,
        "percentage": 123.5,
        "version": 1,
        "completed": True,
        "graded": True,
        "released": True,
        "enroll_only": False,
    }


@pytest.mark.parametrize("points", ["-0.01", "NaN", "Infinity", "-Infinity", "10000000", "sNaN"])
@pytest.mark.parametrize("what", ["points", "extra_credit"])
def test_impossible_amounts_are_refused_and_nothing_is_written(place, points, what):
    with pytest.raises(ValueError):
        record_score(place.assignment, place.person, **{"points": Decimal(1), what: Decimal(points)}, actor=SYSTEM)
    assert not Score.objects.exists()
    assert not Event.objects.exists()


def test_a_person_of_another_organization_gets_no_score(place):
    with pytest.raises(ValueError, match="different organizations"):
        record_score(place.assignment, PersonFactory(), points=Decimal(1), actor=SYSTEM)


def test_nul_characters_do_not_reach_the_database(place):
    assert place.score(comment="a\x00b").comment == "ab"


def test_what_is_rolled_back_leaves_nothing(place):
    with transaction.atomic():
        place.score()
        transaction.set_rollback(True)
    assert not Score.objects.exists()
    assert not Delivery.objects.exists()
    assert not Event.objects.exists()


def test_a_score_costs_few_statements(place, django_assert_max_num_queries):
    place.score()
    # Lock (PostgreSQL), score locked and saved, event, webhooks that may want it, cells, delivery, older ones looked at
    # (for unanswered tries) and superseded; the test's savepoint.
    with django_assert_max_num_queries(11):
        place.score()


# -------------------------------------------------------------------------------------------------------- release


@pytest.mark.parametrize(
    ("automatically", "before", "given", "after"),
    [
        (False, None, None, False),
        (True, None, None, True),
        (True, None, False, False),  # an explicit no wins over automatic release
        (False, None, True, True),
        (False, True, None, True),  # never un-released by itself
        (True, False, None, True),
        (False, True, False, False),
    ],
)
def test_what_released_means(place, automatically, before, given, after):
    place.course.release_grades_automatically = automatically
    place.course.save()
    if before is not None:
        place.score(released=before)
    score = place.score(released=given)
    assert score.released == after
    assert (score.released_at is not None) == after


def test_released_scores_are_sent_and_others_wait(place):
    place.score("5", released=False)
    assert place.percentages() == []
    assert release_scores(place.assignment, None, SYSTEM) == 1
    assert place.percentages() == ["0.5"]
    score = Score.objects.get()
    assert (score.released, score.version) == (True, 2)
    assert [event.data["released"] for event in Event.objects.filter(type="score.changed").order_by("id")] == [
        False,
        True,
    ]


def test_release_only_some_and_each_once(place, django_assert_max_num_queries):
    others = [GradebookCellFactory(assignment=place.assignment) for _ in range(5)]
    for person in [place.person, *(cell.person for cell in others)]:
        person.organization = place.organization
        person.save()
        record_score(place.assignment, person, points=Decimal(4), released=False, actor=SYSTEM)
    assert release_scores(place.assignment, [place.person.id], SYSTEM) == 1
    with django_assert_max_num_queries(14):
        assert release_scores(place.assignment, None, SYSTEM) == 5
    assert release_scores(place.assignment, None, SYSTEM) == 0
    assert Delivery.objects.filter(state="pending").count() == 6
    assert set(Score.objects.values_list("version", flat=True)) == {2}


def test_a_score_withdrawn_before_it_arrived_is_not_sent(place):
    place.score("9")
    place.score("9", released=False)
    assert list(Delivery.objects.values_list("state", "last_error_code")) == [("cancelled", "withdrawn")]


# ------------------------------------------------------------------------------------------------------- policies


@pytest.mark.parametrize(
    ("policy", "sent"),
    [("GRADE_RELEASE", []), ("ALWAYS", ["0.1", "0.1", "0.2"]), ("CHANGED", ["0.1", "0.2"])],
)
def test_policies_for_scores_that_are_not_released(place, policy, sent):
    place.course.send_grade = policy
    place.course.save()
    found = []
    for points in (1, 1, 2):
        place.score(points, completed=False, graded=False, released=False)
        found += place.percentages()
        Delivery.objects.filter(state="pending").update(state="delivered")
    assert found == sent


@pytest.mark.parametrize(
    ("state", "again"),
    [("pending", False), ("delivered", False), ("failed", True), ("cancelled", True)],
)
def test_changed_compares_with_what_is_there_or_on_its_way(place, state, again):
    place.assignment.send_grade = "CHANGED"
    place.assignment.save()
    place.score(5)
    Delivery.objects.update(state=state)
    place.score(5)
    assert Delivery.objects.filter(sequence=2).exists() == again


def test_changed_sends_the_old_percentage_again_after_another_one(place):
    place.assignment.send_grade = "CHANGED"
    place.assignment.save()
    for points in (5, 7, 5):
        place.score(points)
    assert place.percentages() == ["0.5"]
    assert Delivery.objects.get(state="pending").sequence == 3


def test_each_cell_has_its_own_policy(place):
    always = place.another_cell(send_grade="ALWAYS")
    place.score(released=False)
    assert Delivery.objects.get().target_id == always.id


def test_every_cell_of_the_person_gets_the_grade(place):
    place.another_cell()
    GradebookCellFactory(assignment=place.assignment)  # somebody else's
    GradebookCellFactory(person=place.person, assignment__course=place.course)  # another assignment
    place.score()
    assert Delivery.objects.count() == 2


def test_enroll_only_courses_send_nothing_but_tell(place):
    place.course.enroll_only = True
    place.course.save()
    place.score()
    assert not Delivery.objects.exists()
    assert Event.objects.get(type="score.changed").data["enroll_only"] is True


def test_without_points_possible_there_is_nothing_to_send(place):
    place.assignment.points_possible = 0
    place.assignment.save()
    place.score()
    assert not Delivery.objects.exists()
    assert Event.objects.get(type="score.changed").data["percentage"] is None


# ---------------------------------------------------------------------------------------------------------- cells


def launch(place, link, assignment, **changes):
    with transaction.atomic(savepoint=False):
        remember_cell(
            **{
                "resource_link_id": link.id,
                "person_id": place.person.id,
                "assignment": assignment,
                "installation_id": place.installation.id,
                "lti_key_id": place.key.id,
                "outcome_service_url": "https://lms.example/outcomes",
                "result_sourcedid": "the-sourcedid",
                "outcome_extensions": {},
                "send_grade": "",
                **changes,
            }
        )


def test_a_known_cell_costs_one_statement_and_learns_the_latest(place, django_assert_num_queries):
    place.score()
    before = list(Delivery.objects.values())
    with django_assert_num_queries(1):
        launch(place, place.cell.resource_link, place.assignment, result_sourcedid="newer", send_grade="ALWAYS")
    cell = GradebookCell.objects.get()
    assert (cell.id, cell.result_sourcedid, cell.send_grade) == (place.cell.id, "newer", "ALWAYS")
    assert cell.outcome_service_url == "https://lms.example/outcomes"
    assert list(Delivery.objects.values()) == before


@pytest.mark.parametrize("missing", ["outcome_service_url", "result_sourcedid"])
def test_without_a_column_there_is_no_cell_and_a_known_one_stays(place, missing):
    launch(place, ResourceLinkFactory(), place.assignment, **{missing: ""})
    launch(place, place.cell.resource_link, place.assignment, **{missing: ""})
    cell = GradebookCell.objects.get()
    assert cell.result_sourcedid == place.cell.result_sourcedid


@pytest.mark.parametrize(("released", "waiting"), [(True, ["0.85"]), (False, [])])
def test_a_new_cell_gets_the_score_that_is_there(place, released, waiting):
    GradebookCell.objects.all().delete()
    place.score(released=released)
    assert not Delivery.objects.exists()
    launch(place, place.cell.resource_link, place.assignment)
    assert place.percentages() == waiting


def test_a_cell_that_opens_another_assignment_takes_back_the_old_ones_grade(place):
    other = AssignmentFactory(course=place.course, points_possible=100)
    record_score(other, place.person, points=Decimal(30), actor=SYSTEM)
    place.score()
    GradebookCell.objects.update(last_percentage=Decimal("0.7"))
    launch(place, place.cell.resource_link, other)
    cell = GradebookCell.objects.get()
    assert (cell.id, cell.assignment, cell.last_percentage) == (place.cell.id, other, None)
    assert sorted(Delivery.objects.values_list("state", "last_error_code")) == [
        ("cancelled", "link_opens_another_assignment"),
        ("pending", ""),
    ]
    assert place.percentages() == ["0.3"]


@pytest.mark.parametrize("policy", ["GRADE_RELEASE", "CHANGED"])
def test_a_cell_that_comes_back_gets_the_same_version_again(place, policy):
    """Meanwhile the column may have held the other assignment's grade."""
    place.course.send_grade = policy
    place.course.save()
    place.score()
    Delivery.objects.update(state="delivered")
    other = AssignmentFactory(course=place.course)
    launch(place, place.cell.resource_link, other)
    launch(place, place.cell.resource_link, place.assignment)
    assert place.percentages() == ["0.85"]


# -------------------------------------------------------------------------------------------------- at the same time


def in_parallel(*works):
    failed: list[BaseException] = []
    start = threading.Barrier(len(works))

    def guarded(work):
        try:
            start.wait()
            work()
        except BaseException as error:  # noqa: BLE001 - shown by the test
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=guarded, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


@pytest.fixture
def parallel_writers(transactional_db):
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer")


def test_a_score_and_its_first_cell_at_the_same_moment_find_each_other(parallel_writers):
    for _ in range(15):
        place = a_place()
        GradebookCell.objects.all().delete()
        in_parallel(place.score, lambda place=place: launch(place, place.cell.resource_link, place.assignment))
        cell = GradebookCell.objects.get()
        assert Delivery.objects.get(state="pending", target_id=cell.id).sequence == 1


def test_many_writers_of_one_score_make_one_line_of_versions(parallel_writers):
    place = a_place()
    in_parallel(*[lambda n=n: place.score(n) for n in range(8)])
    score = Score.objects.get()
    assert score.version == 8
    newest = Delivery.objects.get(state="pending")
    assert newest.sequence == 8
    assert Decimal(newest.payload["points"]) == score.points
    assert Delivery.objects.filter(state="superseded").count() == 7


def test_many_students_are_graded_at_once(parallel_writers):
    place = a_place()
    people = [EnrolmentFactory(course=place.course).person for _ in range(10)]
    in_parallel(
        *[
            lambda person=person: record_score(
                place.assignment, person, points=Decimal(1), released=False, actor=SYSTEM
            )
            for person in people
        ],
        lambda: release_scores(place.assignment, None, SYSTEM),
    )
    release_scores(place.assignment, None, SYSTEM)
    assert Score.objects.filter(released=True).count() == 10
