"""Whom a mentor sees: role_scope_mentor, mentor_for, and the course's switch (A29, codio.md 1.4 and 1.5)."""

import pytest
from django.test import Client

from courses.addresses import assignment_url
from courses.models import Course
from launches.mentoring import named_in
from launches.models import Launch
from organizations.identifiers import uuid7
from tests.factories import LtiKeyFactory
from tests.launching import launch_id_of
from tests.platform_1p3 import ROLE
from tests.visiting import came_from_the_course, student, teacher, text_of

pytestmark = pytest.mark.django_db

PEOPLE = {
    "u1": ("Ada Lovelace", "ada@example.edu"),
    "u2": ("Grace Hopper", "Grace@Example.edu"),
    "u3": ("Mary Somerville", "märy@example.edu"),
}


@pytest.fixture
def course(key, assignment):
    """Three students have been here; the course filters learners for mentors."""
    for user_id, (name, email) in PEOPLE.items():
        fields = {"lis_person_name_full": name, "lis_person_contact_email_primary": email}
        student(key, assignment, user_id=user_id, **fields)
    Course.objects.update(filter_learners_for_mentors=True)
    return assignment.course


def mentor(key, assignment, **changes):
    return teacher(
        key, assignment, **{"user_id": "m", "roles": "Mentor", "lis_person_name_full": "Mina Mentor", **changes}
    )


def seen(visitor):
    """The user ids of the students in the table; the other pages have to agree."""
    table = text_of(visitor.get("launch"))
    found = {user_id for user_id, (name, _) in PEOPLE.items() if name in table}
    people = text_of(visitor.get("launch-people"))
    assert {user_id for user_id, (name, _) in PEOPLE.items() if name in people} == found
    csv = visitor.get("launch-table-csv", visitor.launch.assignment_id).content.decode()
    assert {user_id for user_id, (name, _) in PEOPLE.items() if name in csv} == found
    return found


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"custom_mentor_for": "u1"}, {"u1"}),
        ({"custom_codio_mentor_for": "u1,u2"}, {"u1", "u2"}),
        ({"custom_codio_custom_mentor_for": "ADA@example.EDU"}, {"u1"}),
        ({"codio_custom_mentor_for": "ada@example.edu,grace@example.edu"}, {"u1", "u2"}),
        ({"custom_custom_mentor_for": ' "ada@example.edu" , "grace@example.edu" '}, {"u1", "u2"}),
        ({"custom_Codio_Mentor_For": '"ada@example.edu,u2"'}, {"u1", "u2"}),
        ({"custom_mentor_for": "\u2018ada@example.edu\u2019; “u3”"}, {"u1", "u3"}),
        ({"custom_mentor_for": "märy@example.edu"}, {"u3"}),
        ({"custom_mentor_for": "U1"}, set()),
        ({"custom_mentor_for": "nobody@example.edu,,u9"}, set()),
        ({"custom_mentor_for": "u1", "role_scope_mentor": "u2"}, {"u1", "u2"}),
        ({"role_scope_mentor": "u3"}, {"u3"}),
        ({"custom_mentor_for": "u1%"}, set()),
        ({"custom_mentor_for": "%"}, set()),
        ({}, set()),
    ],
)
def test_with_the_switch_on_only_those_named(key, assignment, course, changes, expected):
    assert seen(mentor(key, assignment, **changes)) == expected


@pytest.mark.parametrize("value", ["", " ", "$User.scope.mentor", "@X@user.mentor@X@", '""', " , ,, "])
def test_none_named_is_nobody_and_the_page_says_why(key, assignment, course, value):
    visitor = mentor(key, assignment, custom_mentor_for=value)
    assert seen(visitor) == set()
    text = text_of(visitor.get("launch"))
    assert "You see no learners here" in text
    assert "mentors see only the learners whom their LMS names for them" in text
    assert "You see no learners here" in text_of(visitor.get("launch-people"))


def test_the_dashboard_says_why_too(key, assignment, course):
    visitor = mentor(key, assignment)
    Launch.objects.filter(pk=visitor.launch_id).update(assignment=None)
    assert "it named none for you" in text_of(visitor.get("launch"))


def test_named_but_not_here_yet_is_another_sentence(key, assignment, course):
    text = text_of(mentor(key, assignment, custom_mentor_for="u9").get("launch"))
    assert "None of your learners has been here yet" in text
    assert "You see no learners here" not in text


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"u1", "u2", "u3"}),
        ({"custom_mentor_for": "u1"}, {"u1", "u2", "u3"}),
        ({"role_scope_mentor": "u2"}, {"u2"}),
        ({"role_scope_mentor": "u2", "custom_mentor_for": "u1"}, {"u2"}),
    ],
)
def test_with_the_switch_off_role_scope_mentor_alone_limits(key, assignment, course, changes, expected):
    Course.objects.update(filter_learners_for_mentors=False)
    assert seen(mentor(key, assignment, **changes)) == expected


def test_the_switch_counts_at_once(key, assignment, course):
    visitor = mentor(key, assignment)
    assert seen(visitor) == set()
    Course.objects.update(filter_learners_for_mentors=False)
    assert seen(visitor) == set(PEOPLE)


def test_teachers_are_not_limited(key, assignment, course):
    assert seen(teacher(key, assignment, custom_mentor_for="u1", role_scope_mentor="u1")) == set(PEOPLE)


def test_a_student_with_the_parameter_sees_no_table(key, assignment, course):
    visitor = student(key, assignment, user_id="u1", custom_mentor_for="u2")
    assert visitor.get("launch-person", assignment.id, visitor.person.id).status_code == 404


def test_another_learner_is_not_found(key, assignment, course):
    visitor = mentor(key, assignment, custom_mentor_for="u1")
    ada, grace = (student(key, assignment, user_id=user_id).person for user_id in ("u1", "u2"))
    assert visitor.get("launch-person", assignment.id, ada.id).status_code == 200
    assert visitor.get("launch-person", assignment.id, grace.id).status_code == 404
    assert visitor.post("launch-score", assignment.id, ada.id, points="1").status_code == 404


def test_names_are_those_of_the_mentors_own_lms(key, assignment, course):
    """The same id and the same address at another installation of the organization is somebody else."""
    other = LtiKeyFactory(installation__organization=key.installation.organization)
    stranger = student(other, assignment, user_id="u7", lis_person_contact_email_primary="u7@example.edu").person
    came_from_the_course(key, stranger)
    visitor = mentor(key, assignment, custom_mentor_for="u7,u7@example.edu")
    assert visitor.get("launch-person", assignment.id, stranger.id).status_code == 404
    account = stranger.accounts.get()
    account.pk, account.installation, account.lms_user_id = uuid7(), key.installation, "here-too"
    account.save(force_insert=True)
    assert visitor.get("launch-person", assignment.id, stranger.id).status_code == 200


@pytest.mark.parametrize(
    ("custom", "scope", "expected"),
    [
        ({"mentor_for": "ada@example.edu"}, None, {"u1"}),
        ({"custom_mentor_for": "u1,u2"}, ["u3"], {"u1", "u2", "u3"}),
        ({"codio_custom_mentor_for": '"grace@example.edu"'}, None, {"u2"}),
        ({"Codio_Mentor_For": "u2"}, None, {"u2"}),
        ({"mentor_for": "$User.scope.mentor"}, None, set()),
        ({"mentor_for": 5}, None, set()),
    ],
)
def test_over_lti_1p3(key, lti_1p3, assignment, course, custom, scope, expected):
    claims = {"custom": custom, "roles": [f"{ROLE}Mentor"], "role_scope_mentor": scope, "sub": "m", "name": "Mina"}
    client = Client()
    response = lti_1p3.launch(client, assignment_url(assignment), **claims)
    assert launch_id_of(response)
    page = text_of(client.get(response["Location"]))
    assert {user_id for user_id, (name, _) in PEOPLE.items() if name in page} == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("a@x, b@x", ["a@x", "b@x"]),
        ("'a@x','a@x'", ["a@x"]),
        ('"a@x, b@x"', ["a@x", "b@x"]),
        ('  "  " ;;\'', []),
        ("o'neill@x", ["o'neill@x"]),
    ],
)
def test_what_a_parameter_names(text, expected):
    assert named_in(text) == expected


def test_a_list_without_end_is_cut(key, assignment, course):
    assert len(named_in(",".join(str(number) for number in range(5000)))) == 1000
    endless = ",".join(f"{number}@example.edu" for number in range(1500))
    assert seen(mentor(key, assignment, custom_mentor_for=f"u1,{endless}")) == {"u1"}
