"""The People page: who is in the course, the sync button and what it tells, and who may see it."""

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from courses.addresses import assignment_url
from courses.models import Enrolment, LmsCourse, RosterSync
from courses.roster import ask_for_roster, sync_roster
from grades.models import Score
from launches.models import Launch
from lti.v1p3 import vocabulary as names
from organizations.models import LmsAccount
from tests.factories import AssignmentFactory, CourseFactory, EnrolmentFactory, PersonFactory
from tests.launching import launch_id_of
from tests.loopback import Reply
from tests.platform_1p3 import ROLE, platform_of
from tests.roster_lms import member, serve_roster
from tests.visiting import came_from_the_course, mentor, student, teacher, text_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def lms():
    with serve_roster() as served:
        yield served


@pytest.fixture
def visitor(key, assignment):
    return teacher(key, assignment)


@pytest.fixture
def with_roster(lms, key, assignment, visitor):
    """The LMS course that the teacher came from has said where its roster is."""
    elsewhere = lms.opens(assignment.course, key.installation, context_id="of the registration")
    own = LmsCourse.objects.get(context_id="context-1")
    own.deployment, own.memberships_url = elsewhere.deployment, elsewhere.memberships_url
    own.save()
    elsewhere.delete()
    return own


def names_in(response):
    return [name.strip() for name in re.findall(r'<th scope="row">([^<]+)', response.content.decode())]


def synced(lms_course):
    ask_for_roster(lms_course)
    return sync_roster(lms_course.pk)


def test_without_a_roster_the_page_says_what_to_do(visitor):
    text = text_of(visitor.get("launch-people"))
    assert "“Introduction” has not told us where its roster is" in text
    assert "LTI 1.1, which knows no roster" in text
    assert "Sync roster" not in text
    assert "Alan Turing" in text
    assert visitor.post("launch-roster-sync").status_code == 404
    assert not RosterSync.objects.exists()


@pytest.mark.parametrize(
    ("lms_name", "words"),
    [("moodle", "under Services"), ("canvas", "developer key"), ("", "some LMSs tell only teachers")],
)
def test_what_to_do_by_lms(lms, key, assignment, visitor, lms_name, words):
    deployment = lms.opens(assignment.course, key.installation, context_id="other").deployment
    LmsCourse.objects.update(memberships_url="")
    Launch.objects.update(deployment=deployment)
    type(key.installation).objects.update(lms=lms_name)
    assert words in text_of(visitor.get("launch-people"))


def test_links_lead_there_where_there_is_a_roster(visitor, assignment, with_roster, key):
    address = visitor.url("launch-people")

    def links():
        """Beside the one among the course's pages, which is always there."""
        return visitor.get("launch").content.decode().count(f'"{address}"') - 1

    assert links() == 1
    LmsCourse.objects.update(memberships_url="")
    assert links() == 0
    Launch.objects.update(assignment=None)
    assert links() == 0
    LmsCourse.objects.update(memberships_url=with_roster.memberships_url)
    assert links() == 1


def test_sync_with_progress_and_result(visitor, lms, with_roster, key, assignment):
    gone = PersonFactory(organization=key.installation.organization, name="Left Behind")
    LmsAccount.objects.create(installation=key.installation, lms_user_id="left", person=gone)
    EnrolmentFactory(course=assignment.course, person=gone, last_launch_at=timezone.now() - timedelta(days=1))
    came_from_the_course(key, gone)
    lms.members = [member("teacher-1", "Instructor", name="Alan Turing"), member("new", name="Nova <b>Newcomer</b>")]
    assert "has not been read yet" in text_of(visitor.get("launch-people"))
    answer = visitor.post("launch-roster-sync", htmx=True)
    assert "will be read in a moment" in text_of(answer)
    assert visitor.url("launch-roster") in answer.content.decode()
    waiting = visitor.get("launch-roster", htmx=True, asked="3")
    assert "asked=4" in waiting.content.decode()
    assert 'id="people"' not in waiting.content.decode()
    RosterSync.objects.update(state="running", served=1, listed=120)
    assert "120 people so far" in text_of(visitor.get("launch-roster"))
    assert "Look again" in text_of(visitor.get("launch-roster", asked="40"))
    assert "hx-trigger" not in visitor.get("launch-roster", asked="40").content.decode()
    RosterSync.objects.update(state="new", served=0)
    sync_roster(with_roster.pk)
    over = visitor.get("launch-roster", htmx=True, asked="5", filter="not_here_yet")
    text = text_of(over)
    assert "1 added, 1 gone, 0 unchanged, 1 with a new role, name or address" in text
    assert "hx-trigger" not in over.content.decode()
    assert 'id="people" hx-swap-oob="true"' in over.content.decode()
    assert names_in(over) == ["Nova &lt;b&gt;Newcomer&lt;/b&gt;"]
    page = visitor.get("launch-people")
    assert "Left Behind" not in text_of(page)
    assert f"{key.installation.name}: Introduction" in text_of(page)
    assert "not here yet" in text_of(page)
    assert names_in(visitor.get("launch-people", filter="gone")) == ["Left Behind"]
    assert "gone from the LMS course" in text_of(visitor.get("launch-people", filter="gone"))


def test_without_scripts_the_button_leads_back(visitor, with_roster):
    response = visitor.post("launch-roster-sync")
    assert (response.status_code, response["Location"]) == (302, visitor.url("launch-people"))
    assert RosterSync.objects.get().is_under_way


def test_errors_are_explained(visitor, lms, with_roster):
    lms.manners = lambda received: Reply(403, b"secret inside")
    synced(with_roster)
    text = text_of(visitor.get("launch-people"))
    assert "The LMS forbids this. An administrator of the LMS can allow it" in text
    assert "Nobody was marked as gone" in text
    assert "secret inside" not in text
    lms.manners = lambda received: Reply(429, b"", {"Retry-After": "600"})
    synced(with_roster)
    assert "too many requests" in text_of(visitor.get("launch-people"))
    assert "Next try after" in text_of(visitor.get("launch-people"))


def test_a_doubtful_list_is_named(visitor, lms, with_roster):
    synced(with_roster)
    assert "The LMS's list was empty, so nobody was marked as gone." in text_of(visitor.get("launch-people"))
    lms.members = [member("a"), {"roles": []}]
    synced(with_roster)
    assert "1 entry of the LMS's list could not be read" in text_of(visitor.get("launch-people"))


def test_filters_search_and_pages(visitor, lms, with_roster):
    lms.members = [member(f"s{number}", name=f"Student {number:02}") for number in range(53)]
    lms.members += [member("m", "Mentor", name="Mina Mentor"), member("teacher-1", "Instructor", name="Alan Turing")]
    synced(with_roster)
    assert len(names_in(visitor.get("launch-people"))) == 50
    assert len(names_in(visitor.get("launch-people", page="2"))) == 5
    assert names_in(visitor.get("launch-people", filter="staff")) == ["Alan Turing", "Mina Mentor"]
    assert len(names_in(visitor.get("launch-people", filter="students", page="2"))) == 3
    assert names_in(visitor.get("launch-people", q="student 07")) == ["Student 07"]
    assert names_in(visitor.get("launch-people", q="S07@lms")) == []
    assert names_in(visitor.get("launch-people", q="s7@lms")) == ["Student 07"]
    assert "Nobody found for “zzz”" in text_of(visitor.get("launch-people", q="zzz\x00"))
    assert "Nobody is gone" in text_of(visitor.get("launch-people", filter="gone"))
    assert len(names_in(visitor.get("launch-people", filter="nonsense", page="99"))) == 5


def test_nobody_yet(visitor):
    Enrolment.objects.all().delete()
    assert "Nobody yet" in text_of(visitor.get("launch-people"))


def test_statements_do_not_grow_with_people(visitor, lms, with_roster, django_assert_max_num_queries):
    lms.members = [member(str(number)) for number in range(49)]
    synced(with_roster)
    with django_assert_max_num_queries(12):
        visitor.get("launch-people")


def test_other_lms_courses_are_listed(visitor, lms, assignment):
    other = lms.opens(assignment.course, title="Rhetoric elsewhere")
    text = text_of(visitor.get("launch-people"))
    assert "Other LMS courses that open this course (1)" in text
    assert "Rhetoric elsewhere" in text
    assert "not read yet" in text
    assert visitor.post("launch-roster-sync").status_code == 404
    synced(other)
    assert "not read yet" not in text_of(visitor.get("launch-people"))


def test_a_teacher_syncs_their_own_lms_course_only(visitor, lms, with_roster, assignment):
    lms.opens(assignment.course, title="Rhetoric elsewhere")
    visitor.post("launch-roster-sync")
    assert RosterSync.objects.get().lms_course == with_roster


def test_students_have_no_such_page(key, assignment, with_roster):
    visitor = student(key, assignment)
    for name in ("launch-people", "launch-roster"):
        assert visitor.get(name).status_code == 404
    assert visitor.post("launch-roster-sync").status_code == 404


def test_mentors_see_their_learners_and_change_nothing(key, assignment, lms, with_roster):
    lms.members = [member("mine", name="My Learner"), member("other", name="Other Learner")]
    synced(with_roster)
    visitor = mentor(key, assignment, "mine")
    page = visitor.get("launch-people")
    assert names_in(page) == ["My Learner"]
    assert "Sync roster" not in text_of(page)
    assert visitor.post("launch-roster-sync").status_code == 404


def test_a_forged_form_asks_for_nothing(visitor, with_roster):
    assert visitor.post("launch-roster-sync", token="forged").status_code == 403
    assert not RosterSync.objects.exists()


def test_another_courses_people_are_not_shown(visitor, key):
    EnrolmentFactory(
        course=CourseFactory(organization=key.installation.organization), person__name="Somebody Elsewhere"
    )
    assert "Somebody Elsewhere" not in text_of(visitor.get("launch-people"))


def test_who_never_launched_can_be_graded(visitor, lms, with_roster, assignment):
    """The teacher's table lists the roster: a score can be there before the student is."""
    lms.members = [member("new", name="Nova Newcomer")]
    synced(with_roster)
    response = visitor.get("launch")
    assert "Nova Newcomer" in text_of(response)
    person = LmsAccount.objects.get(lms_user_id="new").person
    saved = visitor.post("launch-score", assignment.id, person.id, htmx=True, points="7", comment="", version="0")
    assert saved.status_code == 200
    assert Score.objects.get(person=person).points == 7
    late = student(visitor.launch.lti_key, assignment, user_id="new", lis_person_name_full="Nova Newcomer")
    assert late.person == person
    assert Enrolment.objects.get(person=person).last_launch_at is not None


def test_who_was_gone_and_launches_is_back(visitor, lms, with_roster, key, assignment):
    lms.members = [member("a"), member("student-1")]
    synced(with_roster)
    lms.members = [member("a")]
    synced(with_roster)
    row = Enrolment.objects.get(person__accounts__lms_user_id="student-1")
    assert row.state == "gone"
    student(key, assignment)
    row.refresh_from_db()
    assert row.state == "active"


def test_the_dashboards_count_includes_the_roster(key, lms, visitor, with_roster, assignment):
    AssignmentFactory(course=assignment.course)
    lms.members = [member("a"), member("b")]
    synced(with_roster)
    Launch.objects.update(assignment=None)
    assert "2 students" in text_of(visitor.get("launch"))


def test_from_a_launch_over_lti_1p3_to_the_roster(lms, key, assignment):
    """The launch says where the roster is; the teacher reads it there, and is in it as the same person."""
    installation = key.installation
    with platform_of(installation) as platform:
        platform.registration.token_url = f"{lms.url}/token"
        platform.registration.save()
        client = Client()
        response = platform.launch(
            client,
            assignment_url(assignment),
            sub="t-1",
            roles=[f"{ROLE}Instructor"],
            **{names.NRPS_SERVICE: {"context_memberships_url": lms.memberships_url, "service_versions": ["2.0"]}},
        )
        people = reverse("launch-people", args=[launch_id_of(response)])
        assert "Sync roster" in text_of(client.get(people))
        lms.members = [member("t-1", "Instructor", name="Ada Lovelace"), member("s-1", name="Nova Newcomer")]
        sync = synced(LmsCourse.objects.get(context_id="context-1"))
    assert (sync.state, sync.added, sync.gone) == ("done", 1, 0)
    assert names_in(client.get(people)) == ["Ada Lovelace", "Nova Newcomer"]
    assert set(Enrolment.objects.values_list("role", flat=True)) == {"teacher", "student"}
