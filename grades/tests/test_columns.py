"""Grades by LTI 1.3: the column of a link, the cells of its students, and Canvas's submissions."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.db import transaction

from courses.addresses import assignment_url
from courses.models import Submission
from events.deliveries import deliver_due, resend
from events.log import SYSTEM
from grades.cells import remember_cell
from grades.models import GradebookCell
from grades.tests.ags_platform import (
    an_ags_place,
    another_student,
    delivery_of,
    due_again,
    launch,
    link_of,
)
from grades.tests.place import SECRET
from lti.v1p3 import vocabulary as names
from lti.v1p3.claims import AgsClaim
from organizations.models import Installation, Registration
from tests.factories import AssignmentFactory, LtiKeyFactory, ResourceLinkFactory
from tests.loopback import Reply, serve_gradebook

CANVAS = "https://canvas.instructure.com/lti/submission"

# What a try has learned is written down after the commit.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def place(platform):
    return an_ags_place(platform)


# --------------------------------------------------------------------------------------------------------- columns


def test_a_column_is_made_once_and_remembered(platform):
    place = an_ags_place(platform, column="", assignment__title="Hello", assignment__points_possible=20)
    del platform.columns["4"]
    place.score(5)
    assert deliver_due().delivered == 1
    (number,) = platform.columns
    members = platform.columns[number].members
    link_id = place.cell.resource_link.resource_link_id
    assert {name: members[name] for name in ("label", "scoreMaximum", "resourceId", "tag", "resourceLinkId")} == {
        "label": "Hello",
        "scoreMaximum": 20,
        "resourceId": str(place.assignment.pk),
        "tag": "grade",
        "resourceLinkId": link_id,
    }
    assert link_of(place).line_item_url == platform.line_item_url(number)
    asked = len(platform.received)
    place.score(6)
    deliver_due()
    assert len(platform.received) == asked + 1
    assert platform.last(number) == 30


def test_a_class_of_first_grades_makes_one_column(platform):
    platform.delay = 0.02
    del platform.columns["4"]
    place = an_ags_place(platform, column="")
    for student in [place, *(another_student(place, f"student-{number}") for number in range(14))]:
        student.score()
    assert deliver_due().delivered == 15
    assert len(platform.columns) == 1
    assert platform.asked("POST", "/lineitems") == 1
    assert len(platform.assertions) == 1  # and one token
    (column,) = platform.columns.values()
    assert len(column.grades) == 15


def test_a_column_that_is_there_is_found(platform):
    place = an_ags_place(platform, column="")
    ours = {"resourceId": str(place.assignment.pk), "tag": "grade"}
    platform.add_column("7", **ours, resourceLinkId="another link")
    platform.add_column("8", **ours, resourceLinkId=place.cell.resource_link.resource_link_id)
    place.score()
    deliver_due()
    assert platform.last("8") == 85
    assert link_of(place).line_item_url == platform.line_item_url("8")
    assert (platform.asked("POST", "/lineitems"), platform.columns["7"].grades) == (0, {})


def test_another_links_column_is_never_written_to(platform):
    """A copied course keeps resource ids; its links are others (J9, moodle.md 43)."""
    place = an_ags_place(platform, column="")
    platform.add_column("7", resourceId=str(place.assignment.pk), tag="grade", resourceLinkId="another link")
    platform.add_column("9", resourceId="something else", tag="grade")
    place.score()
    deliver_due()
    assert platform.columns["7"].grades == platform.columns["9"].grades == platform.columns["4"].grades == {}
    assert platform.asked("POST", "/lineitems") == 1


@pytest.mark.parametrize(
    "scopes", [[names.SCOPE_SCORE, names.SCOPE_LINE_ITEM_READONLY], [names.SCOPE_SCORE]], ids=["readonly", "score"]
)
def test_without_the_right_to_make_columns_none_is_made(platform, scopes):
    place = an_ags_place(platform, column="", scopes=scopes)
    place.score()
    deliver_due()
    delivery = delivery_of(place)
    assert (delivery.state, delivery.last_error_code) == ("failed", "no_gradebook_column")
    assert "teacher can make the link graded" in delivery.last_error
    assert platform.asked("POST", "/lineitems") == 0
    # The teacher did, and the student came again.
    launch(place, line_item=platform.line_item_url("4"), ags=AgsClaim(tuple(scopes), "", platform.line_item_url("4")))
    resend(delivery, SYSTEM)
    deliver_due()
    assert platform.last() == 85


def test_a_column_that_the_launch_names_comes_first(platform):
    place = an_ags_place(platform, column="")
    launch(place, line_item=platform.line_item_url("4"))
    place.score()
    deliver_due()
    assert platform.last() == 85
    assert platform.asked("GET") == 0


def test_the_rights_to_send_scores_are_asked_for_in_vain(platform):
    place = an_ags_place(platform, scopes=[names.SCOPE_LINE_ITEM])
    place.score()
    deliver_due()
    delivery = delivery_of(place)
    assert (delivery.state, delivery.last_error_code, platform.received) == ("failed", "scope_not_granted", [])
    assert "administrator" in delivery.last_error


def test_a_token_without_the_right_to_send_scores(place, platform):
    platform.granted = [names.SCOPE_LINE_ITEM]
    place.score()
    deliver_due()
    assert (delivery_of(place).state, delivery_of(place).last_error_code) == ("failed", "scope_not_granted")
    assert platform.asked("POST", "scores") == 0


@pytest.mark.parametrize("again", [True, False])
def test_a_deleted_column_is_found_again_or_not_made_again(place, platform, again):
    del platform.columns["4"]
    if again:
        platform.add_column(
            "5",
            resourceId=str(place.assignment.pk),
            tag="grade",
            resourceLinkId=place.cell.resource_link.resource_link_id,
        )
    place.score()
    deliver_due()
    delivery = delivery_of(place)
    if again:
        assert platform.last("5") == 85
        assert link_of(place).line_item_url == platform.line_item_url("5")
        return
    for _ in range(2):
        assert (delivery.state, delivery.last_error_code) == ("failed", "line_item_gone")
        assert "deleted" in delivery.last_error
        assert platform.columns == {}
        assert platform.asked("POST", "/lineitems") == 0
        place.score(3)
        deliver_due()
        delivery = delivery_of(place)
    # The teacher makes the link graded again, a student comes, and the grade can be sent again.
    platform.add_column("6")
    launch(place, line_item=platform.line_item_url("6"))
    resend(delivery, SYSTEM)
    deliver_due()
    assert platform.last("6") == 30


def test_a_platform_that_fails_while_the_column_is_looked_for_is_asked_again(place, platform):
    del platform.columns["4"]
    platform.manners = lambda received: Reply(503) if received.method == "GET" else None
    place.score()
    deliver_due()
    assert (delivery_of(place).state, delivery_of(place).last_error_code) == ("pending", "server_error")


def test_a_second_link_to_the_same_assignment_gets_the_grade_in_its_own_column(place, platform):
    """J9: each link's grades go to that very link's column."""
    platform.add_column("5")
    link = ResourceLinkFactory(
        lms_course=place.cell.resource_link.lms_course,
        assignment=place.assignment,
        line_item_url=platform.line_item_url("5"),
    )
    launch(place, resource_link=link, line_item=link.line_item_url)
    place.score()
    assert deliver_due().delivered == 2
    assert (platform.last("4"), platform.last("5")) == (85, 85)


# ----------------------------------------------------------------------------------------------------------- cells


def test_nobody_without_an_id_has_a_cell(place):
    GradebookCell.objects.all().delete()
    launch(place, lms_user_id="")
    assert not GradebookCell.objects.exists()


def test_a_launch_of_the_same_assignment_is_one_statement(place, platform, django_assert_num_queries):
    link = link_of(place)
    with transaction.atomic(), django_assert_num_queries(1):
        launch(place, resource_link=link, line_item=link.line_item_url)
    with transaction.atomic(), django_assert_num_queries(2):
        launch(place, resource_link=link, line_item=platform.line_item_url("9"))
    assert link_of(place).line_item_url == platform.line_item_url("9")
    launch(place)  # several columns now: the launch names none
    assert link_of(place).line_item_url == platform.line_item_url("9")


def test_a_link_that_opens_another_assignment_gets_a_column_of_that(platform):
    place = an_ags_place(platform, column="")
    place.score()
    deliver_due()
    first = link_of(place).line_item_url
    other = AssignmentFactory(course=place.course)
    launch(place, assignment=other)
    assert link_of(place).line_item_url == ""
    place.assignment = other
    place.score(2)
    deliver_due()
    assert link_of(place).line_item_url not in ("", first)
    assert [members["scoreGiven"] for _, members in platform.scores] == [8.5, 2]


def test_a_cell_of_lti_1p1_goes_on_by_lti_1p3_and_back(platform):
    place = an_ags_place(platform)
    deployment = place.cell.deployment
    key = LtiKeyFactory(installation=place.installation, secret=SECRET)
    with serve_gradebook({key.consumer_key: SECRET}) as gradebook:
        Installation.objects.update(service_hosts=["127.0.0.1"])
        GradebookCell.objects.all().delete()

        def launch_1p1():
            with transaction.atomic():
                remember_cell(
                    resource_link_id=place.cell.resource_link_id,
                    person_id=place.person.pk,
                    assignment=place.assignment,
                    installation_id=place.installation.pk,
                    lti_key_id=key.pk,
                    outcome_service_url=f"{gradebook.url}/outcomes",
                    result_sourcedid="sourcedid-1",
                    outcome_extensions={},
                    send_grade="",
                )

        launch_1p1()
        place.score("12")
        deliver_due()
        assert (gradebook.last(), platform.scores) == ({"sourcedid-1": Decimal(1)}, [])
        place.score("11")  # still waits when the LMS is moved to LTI 1.3
        launch(place, deployment_id=deployment.pk)
        deliver_due()
        assert [members["scoreGiven"] for _, members in platform.scores] == [11]
        place.score("13")
        deliver_due()
        assert [members["scoreGiven"] for _, members in platform.scores] == [11, 13]
        assert len(gradebook.bodies) == 1
        assert GradebookCell.objects.count() == 1
        place.score("14")
        launch_1p1()
        deliver_due()
        assert (gradebook.last(), len(gradebook.bodies), len(platform.scores)) == ({"sourcedid-1": Decimal(1)}, 2, 2)


# ---------------------------------------------------------------------------------------------------------- Canvas


@pytest.fixture
def canvas_place(place):
    Installation.objects.update(lms="canvas")
    return place


def submit(place, number):
    Submission.objects.update_or_create(
        assignment=place.assignment,
        person=place.person,
        defaults={"number": number, "submitted_at": datetime(2026, 11, 20, 12, number, tzinfo=UTC)},
    )


def test_canvas_gets_each_handed_in_work_once_and_regrades_without_a_new_attempt(canvas_place, platform):
    place = canvas_place
    for number, points in ((1, 5), (1, 6), (2, 7), (2, 8)):
        submit(place, number)
        place.score(points)
        assert deliver_due().delivered == 1
    told = [members[CANVAS] for _, members in platform.scores]
    assert [submission["new_submission"] for submission in told] == [True, False, True, False]
    assert told[0]["submission_type"] == "basic_lti_launch"
    assert told[0]["submission_data"] == f"{assignment_url(place.assignment)}?person={place.person.pk}"
    assert told[2]["submitted_at"] == "2026-11-20T12:02:00.000Z"
    assert told[1] == {"new_submission": False}


def test_a_post_that_canvas_did_not_take_is_repeated_with_its_work(canvas_place, platform):
    platform.manners = lambda received: (
        Reply(503) if "scores" in received.path and platform.asked("POST", "scores") == 1 else None
    )
    submit(canvas_place, 1)
    canvas_place.score()
    deliver_due()
    due_again()
    deliver_due()
    assert [members[CANVAS]["new_submission"] for _, members in platform.scores] == [True]


def test_canvas_clouds_shared_issuer_is_canvas_too(place, platform):
    Registration.objects.update(issuer="https://canvas.instructure.com")
    place.score()
    deliver_due()
    assert platform.scores[0][1][CANVAS]["new_submission"] is True


def test_other_platforms_get_no_extension(place, platform):
    submit(place, 1)
    place.score()
    deliver_due()
    assert not [name for name in platform.scores[0][1] if name.startswith("https://canvas")]
