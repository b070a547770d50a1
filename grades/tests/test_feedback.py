"""What else a grade carries: the link to its public feedback, and the comment (B19, F12)."""

from datetime import UTC, datetime

import pytest
from defusedxml.ElementTree import fromstring

from courses.models import Course, Submission
from events.deliveries import deliver_due
from grades.feedback import feedback_url
from grades.models import GradebookCell
from grades.tests.ags_platform import an_ags_place
from grades.tests.place import SECRET, a_place
from organizations.models import Installation
from tests.loopback import serve_gradebook

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("loopback")]

CANVAS = "https://canvas.instructure.com/lti/submission"


def accepts(*values):
    GradebookCell.objects.update(outcome_extensions={"data_values_accepted": list(values)})


@pytest.fixture
def graded():
    """Sends a score by LTI 1.1 and returns the result data of the message, as [(name, text)]."""
    secrets = {}
    with serve_gradebook(secrets) as gradebook:
        place = a_place(gradebook.url)
        secrets[place.key.consumer_key] = SECRET
        Course.objects.update(public_feedback_link=True)
        place.assignment.refresh_from_db()

        def send(points=8, **changes):
            place.last = place.score(points, **changes)
            assert deliver_due().delivered == 1
            result = fromstring(gradebook.bodies[-1]).find(".//{*}result")
            names = [child.tag.rpartition("}")[2] for child in result]
            assert names in (["resultScore"], ["resultScore", "resultData"])
            return [(child.tag.rpartition("}")[2], child.text) for child in result.findall("{*}resultData/*")]

        send.place = place
        yield send


def submit(place, number):
    Submission.objects.update_or_create(
        assignment=place.assignment,
        person=place.person,
        defaults={"number": number, "submitted_at": datetime(2026, 11, 20, 12, number, tzinfo=UTC)},
    )


# ----------------------------------------------------------------------------------------------------------- LTI 1.1


def test_the_link_goes_where_the_lms_takes_links(graded):
    accepts("url", "text")
    ((name, text),) = graded(comment="Fine")
    assert (name, text) == ("url", feedback_url(graded.place.last))


@pytest.mark.parametrize("values", [(), ("downloadUrl",), ("ltiLaunchUrl",)])
def test_no_link_unasked(graded, values):
    accepts(*values)
    assert graded(comment="Fine") == []


def test_no_link_while_the_switch_is_off(graded):
    accepts("url")
    Course.objects.update(public_feedback_link=False)
    assert graded(comment="Fine") == []


def test_the_link_is_told_once_for_each_work_handed_in(graded):
    """Canvas takes every link for a new attempt."""
    accepts("url", "text")
    Installation.objects.update(lms="canvas")
    told = []
    for number, points in ((0, 4), (1, 5), (1, 6), (2, 7), (2, 8)):
        if number:
            submit(graded.place, number)
        told.append([name for name, _ in graded(points, comment="Fine")])
    assert told == [["url"], ["url"], [], ["url"], []]


def test_before_the_release_there_is_neither_link_nor_comment(graded):
    accepts("url", "text")
    GradebookCell.objects.update(send_grade="ALWAYS")
    assert graded(5, comment="Secret", released=False) == []
    ((name, _),) = graded(5, comment="Secret")
    assert name == "url"


@pytest.mark.parametrize(
    ("lms", "text"),
    [
        ("sakai", "Fine < & é\nbut short"),
        ("", "Fine < & é\nbut short"),
        ("blackboard", "Fine &lt; &amp; é<br/>but short"),
    ],
)
def test_a_comment_goes_where_the_lms_takes_text(graded, lms, text):
    accepts("text")
    Installation.objects.update(lms=lms)
    assert graded(comment="Fine < & é\nbut short") == [("text", text)]
    assert graded(3) == []


def test_a_comment_is_cut_to_what_lmss_take(graded):
    accepts("text")
    ((_, text),) = graded(comment="x" * 5000)
    assert len(text) == 1500


def test_canvas_gets_no_comment_as_the_students_own_words(graded):
    accepts("url", "text")
    Installation.objects.update(lms="canvas")
    Course.objects.update(public_feedback_link=False)
    assert graded(comment="Fine") == []


# ----------------------------------------------------------------------------------------------------------- LTI 1.3


def test_canvas_by_lti_1p3_gets_the_link_as_the_work(platform):
    place = an_ags_place(platform)
    Installation.objects.update(lms="canvas")
    Course.objects.update(public_feedback_link=True)
    place.assignment.refresh_from_db()
    submit(place, 1)
    score = place.score(5)
    assert deliver_due().delivered == 1
    place.score(6)
    assert deliver_due().delivered == 1
    told = [members[CANVAS] for _, members in platform.scores]
    assert (told[0]["submission_type"], told[0]["submission_data"]) == ("online_url", feedback_url(score))
    assert told[1] == {"new_submission": False}
