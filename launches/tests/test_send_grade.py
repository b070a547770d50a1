"""Custom parameter `send_grade`: when a link's grades go to the LMS, in every spelling (A37, codio.md 1.8)."""

import pytest
from django.test import Client

from courses.addresses import assignment_url
from grades.models import GradebookCell
from tests.launching import launch
from tests.visiting import path_of

pytestmark = pytest.mark.django_db

AGS = {
    "scope": ["https://purl.imsglobal.org/spec/lti-ags/scope/score"],
    "lineitem": "https://lms.example/lineitems/1",
    "lineitems": "https://lms.example/lineitems",
}
ENDPOINT = "https://purl.imsglobal.org/spec/lti-ags/claim/endpoint"


def kept():
    return GradebookCell.objects.get().send_grade


@pytest.mark.parametrize(
    "name",
    [
        "custom_send_grade",
        "custom_codio_send_grade",
        "CUSTOM_CODIO_SEND_GRADE",
        "Custom_Send_Grade",
        "custom_CODIO_SEND_GRADE",
        "custom_send-grade",
        "custom_custom_send_grade",
        "custom_custom_codio_send_grade",
        "send_grade",
        "codio_send_grade",
        "CODIO_SEND_GRADE",
    ],
)
def test_spellings_over_lti_1p1(client, key, assignment, name):
    launch(client, path_of(assignment), key, **{name: "always"})
    assert kept() == "ALWAYS"


@pytest.mark.parametrize(
    "name",
    [
        "send_grade",
        "codio_send_grade",
        "CUSTOM_CODIO_SEND_GRADE",
        "custom_send_grade",
        "Send_Grade",
        "codio-send-grade",
    ],
)
def test_spellings_over_lti_1p3(lti_1p3, assignment, name):
    lti_1p3.launch(Client(), assignment_url(assignment), **{ENDPOINT: AGS, "custom": {name: "Changed"}})
    assert kept() == "CHANGED"


@pytest.mark.parametrize(
    ("value", "policy"),
    [
        ("GRADE_RELEASE", "GRADE_RELEASE"),
        ("grade_release", "GRADE_RELEASE"),
        ("Always", "ALWAYS"),
        (" changed ", "CHANGED"),
        ("", ""),
        (" ", ""),
        ("never", ""),
        ("GRADE RELEASE", ""),
        ("$Codio.sendGrade", ""),
        ("@X@grade@X@", ""),
        ("ALWAYS,CHANGED", ""),
        ("A" * 4000, ""),
    ],
)
def test_values_that_are_none_are_passed_over(client, key, lti_1p3, assignment, value, policy):
    launch(client, path_of(assignment), key, custom_send_grade=value)
    assert kept() == policy
    GradebookCell.objects.all().delete()
    lti_1p3.launch(Client(), assignment_url(assignment), **{ENDPOINT: AGS, "custom": {"send_grade": value}})
    assert kept() == policy


@pytest.mark.parametrize("value", [None, 5, True, ["ALWAYS"], {"a": 1}])
def test_values_of_other_kinds_over_lti_1p3(lti_1p3, assignment, value):
    lti_1p3.launch(Client(), assignment_url(assignment), **{ENDPOINT: AGS, "custom": {"send_grade": value}})
    assert kept() == ""


def test_the_latest_launch_counts(client, key, assignment):
    launch(client, path_of(assignment), key, custom_send_grade="ALWAYS")
    launch(client, path_of(assignment), key)
    assert kept() == ""
