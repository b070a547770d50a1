"""Accepted launches: who arrives where, and what is remembered."""

import pytest
from django.conf import settings
from django.test import Client

from courses.addresses import assignment_url
from courses.models import Enrolment, LmsCourse, ResourceLink
from events.models import Event
from grades.models import GradebookCell
from launches.models import Launch
from organizations.models import LmsAccount, Person
from tests.factories import AssignmentFactory, CourseFactory, InstallationFactory, LtiKeyFactory
from tests.launching import STUDENT, TEACHER, launch, launch_id_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def key():
    return LtiKeyFactory()


@pytest.fixture
def assignment(key):
    return AssignmentFactory(course__organization=key.installation.organization)


def path_of(assignment):
    return assignment_url(assignment).removeprefix(settings.BASE_URL)


def test_a_student_arrives(client, key, assignment):
    response = launch(client, path_of(assignment), key)
    row = Launch.objects.get(pk=launch_id_of(response))
    assert (row.result, row.role, row.assignment, row.course) == (
        "accepted",
        "student",
        assignment,
        assignment.course,
    )
    assert (row.person.name, row.person.email) == ("Ada Lovelace", "ada@example.edu")
    enrolment = Enrolment.objects.get()
    assert (enrolment.person, enrolment.course, enrolment.role) == (row.person, assignment.course, "student")
    link = ResourceLink.objects.get()
    assert (link.assignment, link.lms_course.course, link.lms_course.title) == (
        assignment,
        assignment.course,
        "Introduction",
    )
    cell = GradebookCell.objects.get()
    assert (cell.person, cell.assignment, cell.result_sourcedid) == (row.person, assignment, "sourcedid-1")
    key.installation.refresh_from_db()
    assert key.installation.service_hosts == ["lms.example"]
    assert (key.installation.lms, key.installation.instance_guid) == ("moodle", "lms.example")
    assert set(Event.objects.values_list("type", flat=True)) == {"enrolment.created", "link.mapped"}


def test_a_launch_url_works_with_a_trailing_slash(client, key, assignment):
    assert launch(client, path_of(assignment) + "/", key).status_code == 302


def test_the_same_person_stays_one_and_is_brought_up_to_date(client, key, assignment):
    launch(client, path_of(assignment), key)
    launch(client, path_of(assignment), key, lis_person_name_full="Ada King", lis_person_contact_email_primary=None)
    person = Person.objects.get()
    assert (person.name, person.email) == ("Ada King", "ada@example.edu")
    assert Enrolment.objects.count() == ResourceLink.objects.count() == LmsCourse.objects.count() == 1


def test_the_same_user_id_under_two_installations_is_two_people(client, key, assignment):
    other = LtiKeyFactory(installation__organization=key.installation.organization)
    launch(client, path_of(assignment), key)
    launch(client, path_of(assignment), other)
    assert Person.objects.count() == 2
    assert LmsCourse.objects.count() == 2


def test_an_email_address_links_nobody_unless_both_lmss_are_vouched_for(client, key, assignment):
    launch(client, path_of(assignment), key)
    vouched = [
        LtiKeyFactory(
            installation=InstallationFactory(organization=key.installation.organization, verified_emails=True)
        )
        for _ in range(2)
    ]
    launch(client, path_of(assignment), vouched[0])
    assert Person.objects.count() == 2, "the first address came from an LMS that nobody vouched for"
    launch(client, path_of(assignment), vouched[1], lis_person_contact_email_primary="ADA@example.edu")
    assert Person.objects.count() == 2
    assert LmsAccount.objects.filter(person__email_verified=True).count() == 2


def test_an_unvouched_lms_does_not_overwrite_a_vouched_address(client, key, assignment):
    key.installation.verified_emails = True
    key.installation.save()
    launch(client, path_of(assignment), key)
    key.installation.verified_emails = False
    key.installation.save()
    launch(client, path_of(assignment), key, lis_person_contact_email_primary="victim@example.edu")
    assert Person.objects.get().email == "ada@example.edu"


def test_roles_are_evaluated_at_every_launch(client, key, assignment):
    teacher = launch_id_of(launch(client, path_of(assignment), key, TEACHER))
    demoted = launch_id_of(launch(client, path_of(assignment), key, TEACHER, roles="Learner"))
    assert Launch.objects.get(pk=teacher).role == "teacher"
    assert Launch.objects.get(pk=demoted).role == "student"
    assert Enrolment.objects.get().role == "student"


def test_an_institution_role_grants_nothing_in_the_course(client, key, assignment):
    response = launch(client, path_of(assignment), key, roles="urn:lti:instrole:ims/lis/Instructor")
    assert Launch.objects.get(pk=launch_id_of(response)).role == "student"


def test_a_teacher_gets_no_cell_and_does_not_take_a_students(client, key, assignment):
    launch(client, path_of(assignment), key)
    launch(client, path_of(assignment), key, TEACHER, lis_result_sourcedid="teacher's")
    assert GradebookCell.objects.get().result_sourcedid == "sourcedid-1"


def test_the_latest_sourcedid_is_kept(client, key, assignment):
    launch(client, path_of(assignment), key)
    launch(client, path_of(assignment), key, lis_result_sourcedid='{"data": "new"}')
    assert GradebookCell.objects.get().result_sourcedid == '{"data": "new"}'


def test_a_second_service_host_waits_for_the_owner(client, key, assignment):
    launch(client, path_of(assignment), key)
    launch(client, path_of(assignment), key, lis_outcome_service_url="https://evil.example/outcomes")
    key.installation.refresh_from_db()
    assert key.installation.service_hosts == ["lms.example"]
    assert key.installation.pending_service_hosts == ["evil.example"]


def test_a_second_instance_under_one_key_is_noted(client, key, assignment):
    launch(client, path_of(assignment), key)
    launch(client, path_of(assignment), key, tool_consumer_instance_guid="other.example")
    key.installation.refresh_from_db()
    assert key.installation.instance_guid == "lms.example"
    assert key.installation.other_instance_guids == ["other.example"]


def test_overlong_texts_are_cut_not_refused(client, key, assignment):
    long = "x" * 3000
    response = launch(
        client, path_of(assignment), key, lis_person_name_full=long, context_title=long, context_label=long,
        resource_link_title=long, lis_person_sourcedid=long, ext_user_username=long,
        tool_consumer_info_version=long, tool_consumer_instance_name=long, launch_presentation_locale=long,
    )  # fmt: skip
    assert response.status_code == 302
    assert len(Person.objects.get().name) == 255


def test_a_remembered_link_leads_to_its_assignment(client, key, assignment):
    launch(client, path_of(assignment), key)
    response = launch(client, "/lti/v1", key)
    assert Launch.objects.get(pk=launch_id_of(response)).assignment == assignment


def test_a_url_that_names_an_assignment_wins_over_the_mapping_and_keeps_it(client, key, assignment):
    other = AssignmentFactory(course=assignment.course)
    launch(client, path_of(assignment), key)
    response = launch(client, path_of(other), key)
    assert Launch.objects.get(pk=launch_id_of(response)).assignment == other
    assert ResourceLink.objects.get().assignment == assignment


@pytest.mark.parametrize("name", ["custom_assignment", "custom_custom_assignment", "custom_Assignment"])
def test_a_custom_parameter_names_the_assignment(client, key, assignment, name):
    response = launch(client, "/lti/v1", key, **{name: str(assignment.id)})
    assert Launch.objects.get(pk=launch_id_of(response)).assignment == assignment


def test_a_custom_parameter_may_name_the_assignment_by_slug(client, key, assignment):
    response = launch(client, "/lti/v1", key, custom_assignment=assignment.slug)
    assert Launch.objects.get(pk=launch_id_of(response)).assignment == assignment


def test_a_teacher_of_an_unmapped_link_gets_the_picker(client, key, assignment):
    response = launch(client, "/lti/v1", key, TEACHER)
    row = Launch.objects.get(pk=launch_id_of(response))
    assert (row.assignment, row.course) == (None, None)


def test_enroll_to_course_only(client, key):
    course = CourseFactory(organization=key.installation.organization, enroll_only=True)
    response = launch(client, f"/lti/courses/{course.id}/enroll", key)
    row = Launch.objects.get(pk=launch_id_of(response))
    assert (row.course, row.assignment) == (course, None)
    assert Enrolment.objects.get().course == course
    assert not GradebookCell.objects.exists()


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"custom_course_target_id": "autumn"}, "autumn"),
        ({"custom_codio_class_target_id": "autumn", "lis_course_offering_sourcedid": "spring"}, "autumn"),
        ({"lis_course_offering_sourcedid": "spring"}, "spring"),
        ({"lis_course_section_sourcedid": "spring"}, "spring"),
        (
            {"custom_course_target_id": "$Canvas.course.sisSourceId", "lis_course_offering_sourcedid": "spring"},
            "spring",
        ),
    ],
)
def test_a_constant_url_finds_its_course(client, key, parameters, expected):
    organization = key.installation.organization
    for code in ("autumn", "spring"):
        course = CourseFactory(organization=organization, code=code, constant_urls=True)
        AssignmentFactory(course=course, slug="lab", constant_key="the-lab")
    response = launch(client, "/lti/constant/the-lab", key, **parameters)
    assert Launch.objects.get(pk=launch_id_of(response)).course.code == expected


def test_a_constant_url_without_a_course_is_not_ready(client, key):
    for code in ("autumn", "spring"):
        course = CourseFactory(organization=key.installation.organization, code=code, constant_urls=True)
        AssignmentFactory(course=course, slug="lab", constant_key="the-lab")
    response = launch(client, "/lti/constant/the-lab", key)
    assert (response.status_code, response["X-Launch-Error"]) == (409, "course_not_ready")
    response = launch(client, "/lti/constant/the-lab", key, custom_course_target_id="winter")
    assert (response.status_code, response["X-Launch-Error"]) == (409, "course_not_ready")


def test_both_secrets_work_during_a_rotation_and_each_use_is_noted(client, key, assignment):
    from datetime import timedelta

    from django.utils import timezone

    launch(client, path_of(assignment), key)
    old = key.secret
    key.previous_secret, key.secret = old, "new-secret"
    key.previous_secret_expires_at = timezone.now() + timedelta(hours=1)
    key.save()
    assert launch(client, path_of(assignment), key).status_code == 302
    key.secret = old
    assert launch(client, path_of(assignment), key).status_code == 302
    key.refresh_from_db()
    assert key.last_used_at is not None
    assert key.previous_secret_last_used_at is not None
    key.previous_secret_expires_at = timezone.now() - timedelta(seconds=1)
    key.save()
    key.secret = old
    assert launch(client, path_of(assignment), key)["X-Launch-Error"] == "authentication_failed"


def test_statements_of_a_returning_persons_launch(client, key, assignment, django_assert_max_num_queries):
    launch(client, path_of(assignment), key)
    launch(client, path_of(assignment), key)
    with django_assert_max_num_queries(10):
        assert launch(client, path_of(assignment), key, lis_result_sourcedid="changed").status_code == 302


def test_launches_write_no_session(client: Client, key, assignment):
    from django.contrib.sessions.models import Session

    launch(client, path_of(assignment), key)
    assert not Session.objects.exists()
    assert settings.SESSION_COOKIE_NAME not in client.cookies


def test_the_browser_cookie(client, key, assignment):
    response = launch(client, path_of(assignment), key)
    header = response.cookies["__Host-browser"].OutputString()
    for attribute in ("Secure", "HttpOnly", "SameSite=None", "Path=/", "Partitioned"):
        assert attribute in header
    assert "Domain" not in header
    first = Launch.objects.get(pk=launch_id_of(response))
    second = Launch.objects.get(pk=launch_id_of(launch(client, path_of(assignment), key)))
    assert first.browser == second.browser, "the browser keeps its name"
    assert STUDENT["user_id"] not in header
