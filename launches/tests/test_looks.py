"""A teacher opens a student's work: recorded, shown, and nothing is changed or graded (codio.md 1.5, I6)."""

from datetime import timedelta
from decimal import Decimal

import jwt
import pytest
from django.apps import apps
from django.test import Client
from django.utils import timezone

from courses.addresses import assignment_url
from courses.models import Course, Enrolment, Submission
from events.log import SYSTEM
from events.models import Event
from grades.models import GradebookCell
from grades.scores import record_score
from launches.models import Launch
from organizations.models import LmsAccount, LtiKey, Person
from organizations.tests.admin_client import owner_client
from organizations.tests.admin_client import text_of as admin_text_of
from tests.choosing import CONTENT_ITEM
from tests.factories import AssignmentFactory, LtiKeyFactory
from tests.launching import STUDENT, TEACHER, launch, launch_id_of
from tests.visiting import Visitor, path_of, student, teacher, text_of

pytestmark = pytest.mark.django_db

LOOK = {
    "custom_actual_user_id": "teacher-9",
    "custom_actual_user_email": "grace@example.edu",
    "custom_actual_user_role": "Instructor",
    "custom_actual_user_name_given": "Grace",
    "custom_actual_user_name_family": "Hopper",
    "custom_actual_user_name_full": "Grace Hopper",
}
# As `text_of` has it: the name is a piece of its own.
BANNER = "You are looking at the work of Ada Lovelace . Nothing can be handed in or graded here."


def look(key, assignment, **changes):
    return student(key, assignment, **{**LOOK, **changes})


def everything():
    """All rows of ours, but the launch log and when a key was last used."""
    rows = {}
    for label in ("organizations", "events", "courses", "grades", "launches"):
        for model in apps.get_app_config(label).get_models():
            if model not in (Launch, LtiKey):
                rows[model] = sorted(map(repr, model._default_manager.values_list()))
    return rows


@pytest.fixture
def ada(key, assignment):
    """A student who has been here, with a draft."""
    visitor = student(key, assignment)
    visitor.get("launch")
    visitor.post("launch-draft", assignment.id, text="half a thought", url="")
    return visitor


def test_it_is_shown_and_recorded(key, assignment, ada):
    visitor = look(key, assignment)
    text = text_of(visitor.get("launch"))
    assert BANNER in text
    assert "Grace Hopper as Ada Lovelace" in text
    assert visitor.launch.person == ada.person
    assert visitor.launch.actual_user == {
        "id": "teacher-9",
        "email": "grace@example.edu",
        "role": "Instructor",
        "name": "Grace Hopper",
    }
    assert BANNER not in text_of(ada.get("launch"))


def test_the_launch_log_says_who_looked_as_whom(key, assignment, ada):
    visitor = look(key, assignment)
    owner = owner_client(key.installation.organization)
    for query in ({}, {"q": "Hopper"}):
        assert "Grace Hopper as Ada Lovelace" in admin_text_of(owner.get("/admin/launches/launch/", query))
    entry = admin_text_of(owner.get(f"/admin/launches/launch/{visitor.launch_id}/change/"))
    assert "Grace Hopper · grace@example.edu · teacher-9 · Instructor" in entry
    assert "Grace Hopper" not in admin_text_of(owner.get(f"/admin/launches/launch/{ada.launch_id}/change/"))


def test_nothing_but_the_launch_log_changes(key, assignment, ada):
    before = everything()
    visitor = look(
        key,
        assignment,
        lis_person_name_full="Renamed",
        lis_person_contact_email_primary="new@example.edu",
        lis_result_sourcedid="another-sourcedid",
        lis_outcome_service_url="https://other.example/outcomes",
        context_title="Another title",
        resource_link_title="Another link",
        tool_consumer_instance_guid="another-guid",
    )
    visitor.get("launch")
    visitor.get("launch-own-passage", assignment.id)
    assert everything() == before


def test_a_new_link_an_assignment_never_opened_and_another_course_change_nothing_either(key, assignment, ada):
    other = AssignmentFactory(course__organization=key.installation.organization, title="Other")
    before = everything()
    visitor = look(key, other, resource_link_id="link-2", context_id="context-2")
    assert "Ada Lovelace has not opened this assignment yet." in text_of(visitor.get("launch"))
    visitor.get("launch-own-passage", other.id)
    assert everything() == before
    assert not Enrolment.objects.filter(course=other.course).exists()


def test_no_grade_is_sent_where_only_a_look_said(key, assignment, ada):
    GradebookCell.objects.all().delete()
    look(key, assignment).get("launch")
    record_score(assignment, ada.person, points=Decimal(8), actor=SYSTEM)
    assert not GradebookCell.objects.exists()
    assert not Event.objects.filter(type="assignment.opened").exclude(actor__id=str(ada.person.id)).exists()


def test_the_form_is_not_there_and_drafts_stay_their_writers(key, assignment, ada):
    page = look(key, assignment).get("launch")
    html = page.content.decode()
    assert "<textarea" not in html
    assert "<form" not in html
    assert "half a thought" not in html
    assert "Drafts are shown to nobody but their writer." in text_of(page)


@pytest.mark.parametrize("htmx", [False, True])
@pytest.mark.parametrize("page", ["launch-draft", "launch-submission"])
def test_saving_and_submitting_are_refused(key, assignment, ada, page, htmx):
    visitor = look(key, assignment)
    before = everything()
    response = visitor.post(page, assignment.id, htmx=htmx, text="mine now", url="")
    assert response.status_code == 403
    assert "You are looking at somebody else's work" in text_of(response)
    assert everything() == before


def test_what_was_handed_in_and_graded_is_seen(key, assignment, ada):
    ada.post("launch-submission", assignment.id, text="My essay", url="")
    record_score(assignment, ada.person, points=Decimal(9), comment="Fine", actor=SYSTEM)
    assignment.closes_at = timezone.now() - timedelta(hours=1)
    assignment.save()
    text = text_of(look(key, assignment).get("launch"))
    for words in (BANNER, "My essay", "9 of 10 points", "Fine"):
        assert words in text


def test_the_dashboard_of_an_enroll_link(key, assignment, ada):
    Course.objects.update(enroll_only=True)
    before = everything()
    visitor = Visitor(key, f"/lti/courses/{assignment.course_id}/enroll", **{**STUDENT, **LOOK})
    assert BANNER in text_of(visitor.get("launch"))
    assert everything() == before


# ------------------------------------------------------------------------------------------------------ hand-off


def claims_in(response):
    token = response.context["hand_off"].token
    return jwt.decode(token, options={"verify_signature": False})


def test_the_hand_off_says_who_looks_and_names_nowhere_to_report_scores(key, link_assignment):
    ada = student(key, link_assignment)
    assert claims_in(ada.get("launch")).keys() >= {"scores_url"}
    link_assignment.closes_at = timezone.now() - timedelta(hours=1)
    link_assignment.save()
    submissions = Submission.objects.count()
    page = look(key, link_assignment).get("launch")
    claims = claims_in(page)
    assert "scores_url" not in claims
    assert claims["sub"] == str(ada.person.id)
    assert claims["actual_user"]["name"] == "Grace Hopper"
    assert "to look at the work of Ada Lovelace" in text_of(page)
    assert Submission.objects.count() == submissions
    assert "actual_user" not in claims_in(teacher(key, link_assignment).get("launch-content", link_assignment.id))


# ----------------------------------------------------------------------------------------- what makes a launch a look


@pytest.mark.parametrize(
    "changes",
    [
        {"custom_actual_user_id": "x", "custom_actual_user_name_given": "Grace", "custom_actual_user_name_family": "H"},
        {"custom_codio_actual_user_id": "x", "custom_codio_actual_user_name_full": "Grace H"},
        {"custom_custom_actual_user_id": "x", "custom_custom_actual_user_full_name": "Grace H"},
        {"custom_Actual_User_Id": "x", "custom_Actual_User_Name_Full": "Grace H"},
        {"actual_user_id": "x", "actual_user_full_name": "Grace H"},
        {"custom_actual_user_email": "grace@example.edu", "custom_actual_user_name_full": "Grace H"},
        {"custom_canvas_masquerading_user_id": "17", "custom_actual_user_name_full": "Grace H"},
    ],
)
def test_spellings_over_lti_1p1(key, assignment, ada, changes):
    launch = student(key, assignment, **changes).launch
    assert launch.actual_user["name"] == "Grace H"


@pytest.mark.parametrize(
    ("custom", "name"),
    [
        (
            {"actual_user_id": "x", "actual_user_given_name": "Grace", "actual_user_family_name": "H"},
            "Grace H",
        ),
        ({"custom_actual_user_id": 17, "actual_user_full_name": "Grace H"}, "Grace H"),
        ({"codio_actual_user_id": "x", "codio_actual_user_name_full": "Grace H"}, "Grace H"),
        ({"canvas_masquerading_user_id": 17, "actual_user_role": "$Canvas.role"}, "LMS user 17"),
        ({"actual_user_email": "g@example.edu"}, "g@example.edu"),
    ],
)
def test_spellings_over_lti_1p3(lti_1p3, assignment, custom, name):
    client, target = Client(), assignment_url(assignment)
    lti_1p3.launch(client, target)
    before = everything()
    response = lti_1p3.launch(client, target, custom=custom, name="Renamed", email="new@example.edu")
    launch = Launch.objects.get(pk=launch_id_of(response))
    assert launch.actual_user["name"] == name
    assert everything() == before
    assert "You are looking at the work of" in text_of(client.get(response["Location"]))


@pytest.mark.parametrize(
    "changes",
    [
        {name: f"$Actual.{name}" for name in LOOK},
        dict.fromkeys(LOOK, "@X@user.actual@X@"),
        dict.fromkeys(LOOK, ""),
        dict.fromkeys(LOOK, " "),
        {"custom_actual_user_id": STUDENT["user_id"], "custom_actual_user_role": "Learner"},
        {"custom_actual_user_id": "", "custom_actual_user_email": STUDENT["lis_person_contact_email_primary"].upper()},
        {"custom_canvas_masquerading_user_id": "$Canvas.masqueradingUser.id"},
        {"custom_actual_user_role": "Instructor", "custom_actual_user_name_full": "Grace Hopper"},
    ],
)
def test_normal_launches(key, assignment, changes):
    visitor = student(key, assignment, **changes)
    assert visitor.launch.actual_user == {}
    assert "looking at the work" not in text_of(visitor.get("launch"))
    assert visitor.post("launch-submission", assignment.id, text="mine", url="").status_code == 302
    assert GradebookCell.objects.count() == 1


def test_a_test_person_is_nobodys_work(key, assignment):
    """Canvas's student view is a masquerade to Canvas."""
    roles = "Learner,urn:lti:sysrole:ims/lis/TestUser"
    visitor = student(key, assignment, roles=roles, custom_canvas_masquerading_user_id="17")
    assert visitor.launch.actual_user == {}


def test_statements_of_a_returning_persons_launch_stay(client, key, assignment, django_assert_max_num_queries):
    fields = {name: f"$Actual.{name}" for name in LOOK}
    launch(client, path_of(assignment), key, **fields)
    launch(client, path_of(assignment), key, **fields)
    with django_assert_max_num_queries(10):
        assert launch(client, path_of(assignment), key, **fields, lis_result_sourcedid="x").status_code == 302


# ------------------------------------------------------------------------------------------------- who may, and whom


@pytest.mark.parametrize(
    "role",
    [
        "Learner",
        "student",
        "urn:lti:role:ims/lis/Learner/GuestLearner",
        "http://purl.imsglobal.org/vocab/lis/v2/membership#Learner,"
        "http://purl.imsglobal.org/vocab/lis/v2/institution/person#Student",
        "urn:lti:sysrole:ims/lis/User,Learner",
    ],
)
def test_a_students_role_may_not_look(client, key, assignment, ada, role):
    before = everything()
    response = launch(client, path_of(assignment), key, **LOOK | {"custom_actual_user_role": role})
    assert (response.status_code, response["X-Launch-Error"]) == (403, "role_not_allowed")
    assert "work is looked at by teachers" in text_of(response)
    assert everything() == before


@pytest.mark.parametrize(
    "role",
    [
        "Instructor",
        "TeachingAssistant",
        "Mentor",
        "urn:lti:sysrole:ims/lis/SysAdmin",
        "urn:lti:sysrole:ims/lis/User,Instructor",
        "editingteacher",
        "",
        "$User.role",
    ],
)
def test_other_roles_may(key, assignment, ada, role):
    assert look(key, assignment, custom_actual_user_role=role).launch.actual_user["id"] == "teacher-9"


def test_nothing_is_made_for_a_student_who_has_never_been_here(client, key, assignment):
    before = everything()
    response = launch(client, path_of(assignment), key, **LOOK)
    assert (response.status_code, response["X-Launch-Error"]) == (404, "unknown_destination")
    assert "There is no work to look at yet" in text_of(response)
    assert everything() == before
    assert not Person.objects.exists()


def test_a_student_of_another_installation_is_nobody(client, key, assignment, ada):
    other = LtiKeyFactory(installation__organization=key.installation.organization)
    assert launch(client, path_of(assignment), other, **LOOK)["X-Launch-Error"] == "unknown_destination"
    assert LmsAccount.objects.count() == 1


def test_a_link_that_leads_nowhere_is_not_set_up_by_a_look(client, key, ada):
    before = everything()
    response = launch(client, "/lti/v1", key, **LOOK, resource_link_id="fresh")
    assert response["X-Launch-Error"] == "link_not_set_up"
    assert everything() == before


def test_acting_as_a_teacher_sees_and_changes_nothing(key, assignment, ada):
    alan = teacher(key, assignment)
    before = everything()
    visitor = teacher(key, assignment, custom_canvas_masquerading_user_id="1")
    page = visitor.get("launch")
    assert "You are looking at the work of Alan Turing ." in text_of(page)
    assert "Ada Lovelace" in text_of(page)
    assert 'name="points"' not in page.content.decode()
    for name, arguments in (("launch-score", [assignment.id, ada.person.id]), ("launch-release", [assignment.id])):
        assert visitor.post(name, *arguments, points="10", everyone="1").status_code == 403
    assert everything() == before
    assert alan.launch.role == visitor.launch.role == "teacher"


@pytest.mark.parametrize("parameters", [TEACHER, TEACHER | CONTENT_ITEM])
def test_acting_as_a_teacher_opens_no_picker(client, key, assignment, parameters):
    teacher(key, assignment)
    before = everything()
    response = launch(client, "/lti/v1", key, parameters, **LOOK, user_id=TEACHER["user_id"], resource_link_id="fresh")
    assert response.status_code in (403, 409)
    assert everything() == before


def test_a_migration_claim_is_not_followed(key, lti_1p3, assignment):
    client, target = Client(), assignment_url(assignment)
    lti_1p3.launch(client, target)
    before = everything()
    claim = {"oauth_consumer_key": key.consumer_key, "user_id": "old-7", "context_id": "old-c"}
    for sub, status in (("user-1", 302), ("user-unknown", 404)):
        response = lti_1p3.launch(client, target, custom={"actual_user_id": "x"}, lti1p1=claim, sub=sub)
        assert response.status_code == status
    assert everything() == before


@pytest.mark.parametrize("text", ["é" * 5000, "<script>alert(1)</script>", "a\tb", "\u202e\U0001f600"])
def test_odd_texts_of_the_looker(key, assignment, ada, text):
    visitor = look(key, assignment, custom_actual_user_name_full=text, custom_actual_user_id=f"x{text}")
    page = visitor.get("launch")
    assert BANNER in text_of(page)
    assert "<script>alert" not in page.content.decode()
    assert len(visitor.launch.actual_user["name"]) <= 255
