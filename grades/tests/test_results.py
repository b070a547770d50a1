"""Grades read back from the LMS's gradebook."""

import json
from decimal import Decimal

import pytest

from events.deliveries import deliver_due
from grades.models import GradebookCell
from grades.results import GradeInLms, results_of
from grades.tests.ags_platform import STUDENT, an_ags_place, another_student, link_of
from lti.tests.recorded import load
from lti.v1p3.services import ServiceFailed
from organizations.models import LmsAccount, Registration
from tests.factories import InstallationFactory, PersonFactory
from tests.loopback import Reply

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def place(platform):
    return an_ags_place(platform)


def refusal_of(link) -> str:
    with pytest.raises(ServiceFailed) as caught:
        results_of(link)
    return caught.value.judgement.reason_code


def test_the_teacher_sees_what_the_lms_has(place, platform):
    LmsAccount.objects.create(installation=place.installation, lms_user_id=STUDENT, person=place.person)
    other = another_student(place, "student-2")
    place.score("8.5", comment="Well done")
    other.score(3)
    deliver_due()
    platform.columns["4"].grades["student-2"][-1]["scoreGiven"] = None  # the teacher emptied it there
    platform.columns["4"].grades["somebody"] = [{"scoreGiven": 4, "scoreMaximum": 5}]
    assert sorted(results_of(link_of(place)), key=lambda grade: grade.lms_user_id) == [
        GradeInLms(None, "somebody", Decimal(4), Decimal(5), ""),
        GradeInLms(None, "student-2", None, Decimal(10), ""),
        GradeInLms(place.person, STUDENT, Decimal("8.5"), Decimal(10), "Well done"),
    ]
    asked = platform.received[-1]
    assert asked.path == "/mod/lti/services.php/2/lineitems/4/lineitem/results?type_id=3"


def test_an_id_of_another_lms_is_nobody_here(place, platform):
    LmsAccount.objects.create(installation=InstallationFactory(), lms_user_id=STUDENT, person=PersonFactory())
    place.score()
    deliver_due()
    assert [grade.person for grade in results_of(link_of(place))] == [None]


def test_moodles_recorded_answer_is_read(place, platform):
    recorded = load("moodle/ags_exchanges.json")["results GET"]["response"]
    body = json.dumps(recorded["body"]).encode()
    platform.manners = lambda received: (
        Reply(200, body, {"Content-Type": recorded["headers"]["Content-Type"]}) if "results" in received.path else None
    )
    grades = results_of(link_of(place))
    assert grades[0] == GradeInLms(None, "5", Decimal(72), Decimal(100), grades[0].comment)
    assert len(grades) == len(recorded["body"])


@pytest.mark.parametrize("what", ["column", "cell", "registration"])
def test_where_there_is_nothing_to_read_nothing_is_asked(platform, what):
    place = an_ags_place(platform, column="" if what == "column" else "4")
    if what == "cell":
        GradebookCell.objects.all().delete()
    if what == "registration":
        Registration.objects.update(enabled=False)
    assert refusal_of(link_of(place)) == ("registration_inactive" if what == "registration" else "no_gradebook_column")
    assert platform.received == []


def test_why_the_lms_tells_nothing(place, platform):
    del platform.columns["4"]
    assert refusal_of(link_of(place)) == "not_found"
    place.cell.resource_link.line_item_url = "https://evil.example/lineitem"
    assert refusal_of(place.cell.resource_link) == "host_not_allowed"
