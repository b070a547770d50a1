"""The LMS's gradebook beside the scores here: read when the teacher asks, over LTI 1.3 (F11)."""

import re
from decimal import Decimal
from types import SimpleNamespace

import pytest
from django.test import Client
from django.urls import reverse

from courses.addresses import assignment_url
from events.deliveries import deliver_due
from events.log import SYSTEM
from grades.scores import record_score
from grades.tests.ags_platform import serve_ags
from launches.models import Launch
from lti.v1p3 import vocabulary as names
from tests.factories import AssignmentFactory, InstallationFactory
from tests.launching import launch_id_of
from tests.loopback import Reply
from tests.platform_1p3 import ROLE, platform_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def lms(loopback):
    """A course whose link has a column, the platform that sends people, and its gradebook."""
    installation = InstallationFactory()
    assignment = AssignmentFactory(course__organization=installation.organization, points_possible=10)
    with platform_of(installation) as platform, serve_ags() as gradebook:
        platform.registration.token_url = gradebook.token_url
        platform.registration.save()
        endpoint = {
            "scope": list(names.AGS_SCOPES),
            "lineitems": gradebook.line_items_url,
            "lineitem": gradebook.line_item_url("4"),
        }

        def launched(user: str, role: str = "Learner", **claims):
            client = Client()
            changes = {"sub": user, "name": user, "roles": [f"{ROLE}{role}"], names.AGS_ENDPOINT: endpoint, **claims}
            response = platform.launch(client, assignment_url(assignment), **changes)
            return client, Launch.objects.get(pk=launch_id_of(response))

        def graded(user: str, points: str):
            _, arrived = launched(user)
            record_score(assignment, arrived.person, points=Decimal(points), actor=SYSTEM)
            gradebook.trust(installation.organization)
            deliver_due()

        yield SimpleNamespace(assignment=assignment, gradebook=gradebook, launched=launched, graded=graded)


def page_of(lms, **teacher):
    client, arrived = lms.launched("teacher-1", "Instructor", **teacher)
    return client.get(reverse("launch-lms-results", args=[arrived.pk, lms.assignment.pk]))


def rows_of(response) -> list[str]:
    """The rows of the table as plain text."""
    body = response.content.decode().partition("<tbody>")[2].partition("</tbody>")[0]
    texts = [re.sub(r"<[^>]+>", " ", row) for row in body.split("</tr>")]
    return [" ".join(text.split()) for text in texts if text.strip()]


def test_where_both_differ_comes_first(lms):
    for user, points in (("Ada", "8.33"), ("Bob", "5"), ("Cleo", "7")):
        lms.graded(user, points)
    posts = lms.gradebook.columns["4"].grades
    posts["Bob"][-1]["scoreGiven"] = 9  # the teacher changed it there
    posts["Cleo"][-1]["scoreGiven"] = None  # and emptied this one
    lms.launched("Dora")
    posts["Dora"] = [{"scoreGiven": 2, "scoreMaximum": 10}]
    posts["Stranger"] = [{"scoreGiven": 1, "scoreMaximum": 10}]
    response = page_of(lms)
    assert rows_of(response) == [
        "Bob 5 of 10 9 of 10 Differs",
        "Cleo 7 of 10 no grade Not in the LMS",
        "Dora no released score 2 of 10 Only in the LMS",
        "Ada 8.33 of 10 8.33 of 10 The same",
    ]
    page = response.content.decode()
    assert "3 of 4 differ" in page
    assert "1 more grade there belongs to people" in page
    assert "Stranger" not in page


def test_an_lms_that_does_not_answer_is_explained(lms):
    lms.graded("Ada", "8")
    lms.gradebook.manners = lambda received: Reply(503) if "results" in received.path else None
    response = page_of(lms)
    assert response.status_code == 200
    assert "The LMS has a fault of its own (HTTP 503)" in response.content.decode()
    assert "Try again" in response.content.decode()


def test_students_and_other_lms_courses_see_nothing_of_it(lms):
    lms.graded("Ada", "8")
    client, arrived = lms.launched("Ada")
    assert client.get(reverse("launch-lms-results", args=[arrived.pk, lms.assignment.pk])).status_code == 404
    elsewhere = page_of(lms, context={"id": "context-2", "title": "Sandbox"}, resource_link={"id": "link-9"})
    assert "Nothing to read yet" in elsewhere.content.decode()


def test_the_table_offers_it_where_a_column_can_be_read(lms):
    client, arrived = lms.launched("teacher-1", "Instructor")
    address = reverse("launch-lms-results", args=[arrived.pk, lms.assignment.pk])
    table = reverse("launch-assignment", args=[arrived.pk, lms.assignment.pk])
    assert address not in client.get(table).content.decode()
    lms.graded("Ada", "8")
    assert address in client.get(table).content.decode()
