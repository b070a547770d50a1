"""A course's LTI/LMS page: its switches, its URLs, where links lead; in the LMS frame and signed in directly."""

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from courses.addresses import assignment_url, constant_url
from courses.course_settings import CourseSettingsForm, state_of
from courses.models import Course, CourseAlias, Enrolment, LmsCourse, ResourceLink
from events.log import SYSTEM
from events.models import Delivery, Event
from grades.models import GradebookCell, Score
from grades.scores import record_score
from launches.models import Launch
from organizations.identifiers import uuid7
from organizations.models import Membership
from tests.factories import (
    AssignmentFactory,
    CourseFactory,
    InstallationFactory,
    LmsCourseFactory,
    LtiKeyFactory,
    MembershipFactory,
    ResourceLinkFactory,
)
from tests.launching import STUDENT, TEACHER, launch
from tests.visiting import Visitor, mentor, student, teacher, text_of

pytestmark = pytest.mark.django_db

ATTACK = "<script>alert(1)</script>"
SWITCHES = (
    "lti_enabled",
    "constant_urls",
    "course_copy",
    "enroll_only",
    "hide_not_started",
    "filter_learners_for_mentors",
    "release_grades_automatically",
    "public_feedback_link",
)


class Member:
    """Somebody who signed in directly: the pages of the course, as `Visitor` has those of a launch."""

    def __init__(self, course, role=Membership.Role.TEACHER):
        self.course = course
        self.user = MembershipFactory(organization=course.organization, role=role).user
        self.client = Client()
        self.client.force_login(self.user, backend="django.contrib.auth.backends.ModelBackend")

    def url(self, name, *args):
        return reverse(f"course-{name}", args=[self.course.pk, *args])

    def get(self, name, *args, **query):
        return self.client.get(self.url(name, *args), query)

    def post(self, name, *args, **data):
        return self.client.post(self.url(name, *args), data)


class InFrame:
    """A visitor, with the same names for the course's pages."""

    def __init__(self, visitor):
        self.visitor = visitor

    def url(self, name, *args):
        return self.visitor.url(f"launch-course-{name}", *args)

    def get(self, name, *args, **query):
        return self.visitor.get(f"launch-course-{name}", *args, **query)

    def post(self, name, *args, **data):
        return self.visitor.post(f"launch-course-{name}", *args, **data)


@pytest.fixture(params=["frame", "direct"])
def person(request, key, assignment):
    """A teacher in the frame, and a member signed in directly: the page is one."""
    if request.param == "frame":
        return InFrame(teacher(key, assignment))
    return Member(assignment.course)


@pytest.fixture
def member(assignment):
    return Member(assignment.course)


def typed(course, **changes):
    """The form as the page shows it, with some of it changed."""
    course.refresh_from_db()
    values = {name: getattr(course, name) for name in CourseSettingsForm.Meta.fields} | changes
    form = {name: "on" if value is True else value for name, value in values.items() if value is not False}
    return {"seen": state_of(course), **form}


def link_to(assignment, installation, *, lms_course=None, **fields):
    lms_course = lms_course or LmsCourseFactory(
        installation=installation, title="Another course", context_id=f"another-{LmsCourse.objects.count()}"
    )
    return ResourceLinkFactory(lms_course=lms_course, assignment=assignment, **fields)


def launched(link, ago, **fields):
    return Launch.objects.create(
        **fields,
        organization=link.lms_course.installation.organization,
        installation=link.lms_course.installation,
        credential=link.pk,
        nonce=str(ago),
        resource_link=link,
        at=timezone.now() - ago,
    )


# ----------------------------------------------------------------------------------------------------- who sees it


def test_it_shows_everything(person, assignment):
    page = person.get("lti")
    text = text_of(page)
    assert page.status_code == 200
    for words in ("LTI/LMS", "Enable LTI", "Course LMS URL", "LTI constant URLs", "Iframe width", "Essay", "Save"):
        assert words in text
    assert f'value="{assignment_url(assignment)}"' in page.content.decode()
    assert "course_target_id" not in page.content.decode().replace("a course_target_id", "")


def test_a_mentor_sees_and_changes_nothing(key, assignment):
    visitor = mentor(key, assignment)
    link = ResourceLink.objects.get()
    page = visitor.get("launch-course-lti")
    assert "You are here as a mentor" in text_of(page)
    body = page.content.decode()
    assert ">Save<" not in body
    assert all(" disabled" in box for box in re.findall(r'<input class="form-check-input"[^>]*>', body))
    assert visitor.url("launch-course-lti-link", link.pk) not in body
    before = state_of(assignment.course)
    alias = CourseAlias.objects.create(
        organization=assignment.course.organization, course=assignment.course, value="autumn"
    )
    assert "Forget" not in text_of(visitor.get("launch-course-lti"))
    changes = typed(assignment.course, hide_not_started=True)
    for name, args, data in (
        ("lti", [], changes),
        ("lti-link", [link.pk], {"do": "unmap", "seen": str(assignment.pk)}),
        ("lti-forget", [alias.pk], {}),
    ):
        assert visitor.post(f"launch-course-{name}", *args, **data).status_code == 404
    assert visitor.get("launch-course-lti-link", link.pk).status_code == 404
    assert state_of(Course.objects.get()) == before
    assert CourseAlias.objects.exists()
    assert ResourceLink.objects.get().assignment == assignment


def test_it_does_not_exist_for_others(key, assignment, client):
    learner = student(key, assignment)
    assert learner.get("launch-course-lti").status_code == 404
    assert learner.post("launch-course-lti", **typed(assignment.course)).status_code == 404
    stranger = Member(CourseFactory())
    address = reverse("course-lti", args=[assignment.course_id])
    assert stranger.client.get(address).status_code == 404
    assert stranger.client.post(address, typed(assignment.course)).status_code == 404
    assert client.get(address)["Location"].startswith("/accounts/login/")


def test_another_browser_and_a_forged_form_save_nothing(key, assignment):
    visitor = teacher(key, assignment)
    values = typed(assignment.course, hide_not_started=True)
    assert Client().post(visitor.url("launch-course-lti"), values).status_code == 404
    assert visitor.post("launch-course-lti", token="forged", **values).status_code == 403
    assert not Course.objects.get().hide_not_started


# ------------------------------------------------------------------------------------------------------- the switches


@pytest.mark.parametrize("name", [name for name in SWITCHES if name not in ("lti_enabled", "constant_urls")])
def test_each_switch_is_saved(person, assignment, name):
    course = assignment.course
    Course.objects.update(constant_urls=True)
    before = typed(course)
    response = person.post("lti", **typed(course, **{name: True}))
    assert response["Location"] == f"{person.url('lti')}?done=saved"
    course.refresh_from_db()
    assert getattr(course, name) is True
    assert "Saved." in text_of(person.get("lti", done="saved"))
    assert person.post("lti", **typed(course, **{name: False})).status_code == 302
    assert typed(course) == before


def test_values_are_saved(person, assignment):
    values = {
        "lms_course_url": "  https://lms.example/course/view.php?id=5#top ",
        "send_grade": "ALWAYS",
        "iframe_width": "200",
        "iframe_height": "4000",
    }
    assert person.post("lti", **typed(assignment.course, **values)).status_code == 302
    course = Course.objects.get()
    assert course.lms_course_url == "https://lms.example/course/view.php?id=5#top"
    assert (course.send_grade, course.iframe_width, course.iframe_height) == ("ALWAYS", 200, 4000)
    assert course.name == assignment.course.name
    assert person.post("lti", **typed(course)).headers["Location"].endswith("?done=same")


@pytest.mark.parametrize(
    "value",
    [
        "javascript:alert(1)",
        "JAVASCRIPT://lms.example/%0aalert(1)",
        "https://user:word@lms.example/",
        "https://user@lms.example/",
        "ftp://lms.example/",
        "data:text/html,x",
        "lms.example/course",
        "//lms.example/",
        "https://",
        "https://lms example/",
        "https://lms.example:99999/",
        "https://lms.example/\x00",
        "https://lms.example/\nx",
        "https://[lms.example/",
        f"https://{'x' * 70}.example/",
        "https://lms.example/" + "x" * 2000,
    ],
)
def test_a_bad_lms_address_is_named_at_its_field(person, assignment, value):
    response = person.post("lti", **typed(assignment.course, lms_course_url=value, hide_not_started=True))
    assert response.status_code == 422
    assert "Nothing was saved" in text_of(response)
    body = response.content.decode()
    assert 'id="lms_course_url_error"' in body
    assert re.search(r'name="hide_not_started"[^>]* checked', body), "what was typed is not kept"
    course = Course.objects.get()
    assert (course.lms_course_url, course.hide_not_started) == ("", False)


@pytest.mark.parametrize("allowed", [True, False])
def test_http_goes_where_settings_allow_it(member, assignment, settings, allowed):
    settings.OUTBOUND_ALLOW_HTTP = allowed
    response = member.post("lti", **typed(assignment.course, lms_course_url="http://lms.example/"))
    assert response.status_code == (302 if allowed else 422)
    assert Course.objects.get().lms_course_url == ("http://lms.example/" if allowed else "")


@pytest.mark.parametrize("name", ["iframe_width", "iframe_height"])
@pytest.mark.parametrize(
    "value", ["199", "4001", "-800", "", "800.5", "wide", "1e3", "9" * 5000, "8\x000", "\u0668\u0660\u0660x"]
)
def test_a_bad_frame_size_is_named_at_its_field(member, assignment, name, value):
    response = member.post("lti", **typed(assignment.course, **{name: value}))
    assert response.status_code == 422
    assert "Give a whole number of pixels, 200 to 4000." in text_of(response)
    assert f'id="id_{name}_error"' in response.content.decode()
    assert Course.objects.get().iframe_width == 1000


def test_other_bad_values(member, assignment):
    assert member.post("lti", **typed(assignment.course, send_grade="SOMETIMES")).status_code == 422
    missing = typed(assignment.course, send_grade="")
    assert member.post("lti", **missing).status_code == 422
    response = member.post("lti", **typed(assignment.course, course_copy=True))
    assert response.status_code == 422
    assert "Course copy needs constant URLs" in text_of(response)
    assert 'id="id_course_copy_error"' in response.content.decode()
    course = Course.objects.get()
    assert (course.send_grade, course.course_copy) == ("GRADE_RELEASE", False)


def test_what_was_typed_comes_back_escaped(member, assignment):
    response = member.post("lti", **typed(assignment.course, lms_course_url=f'"{ATTACK}'))
    assert ATTACK not in response.content.decode()
    assert "&quot;&lt;script&gt;" in response.content.decode()


def test_nobody_overwrites_unseen(person, assignment):
    course = assignment.course
    mine = typed(course, iframe_width="1200")
    Course.objects.update(lms_course_url="https://lms.example/theirs", send_grade="ALWAYS")
    response = person.post("lti", **mine)
    assert response.status_code == 409
    text = text_of(response)
    assert "somebody else changed these settings" in text
    assert "Course LMS URL : saved as https://lms.example/theirs" in text.replace("URL:", "URL :")
    assert "At every change of the score" in text
    body = response.content.decode()
    assert 'value="1200"' in body, "what was typed is lost"
    assert Course.objects.get().iframe_width == 1000
    course.refresh_from_db()
    seen = re.search(r'name="seen" value="(\w+)"', body)[1]
    assert seen == state_of(course)
    assert person.post("lti", **mine | {"seen": seen}).status_code == 302
    course.refresh_from_db()
    assert (course.iframe_width, course.lms_course_url, course.send_grade) == (1200, "", "GRADE_RELEASE")


def test_a_form_that_does_not_say_what_it_saw_saves_nothing(member, assignment):
    for seen in ("", "nonsense", "\x00"):
        response = member.post("lti", **typed(assignment.course, hide_not_started=True) | {"seen": seen})
        assert response.status_code == 409
    assert member.client.post(member.url("lti"), {}).status_code == 422
    assert not Course.objects.get().hide_not_started


def test_a_course_that_is_gone(member, assignment, monkeypatch):
    from launches import course_settings_pages

    def gone(*args, **kwargs):
        raise Course.DoesNotExist

    monkeypatch.setattr(course_settings_pages, "save_settings", gone)
    assert member.post("lti", **typed(assignment.course, hide_not_started=True)).status_code == 404


# ------------------------------------------------------------------------------------------------ what would break


def test_constant_urls_off_asks_and_counts(person, key, assignment):
    course = assignment.course
    Course.objects.update(constant_urls=True)
    installation = key.installation
    elsewhere = LmsCourseFactory(installation=installation, context_id="elsewhere")
    for kind, count in (("constant", 3), ("assignment", 2), ("any", 1)):
        for _ in range(count):
            link_to(assignment, installation, lms_course=elsewhere, address_kind=kind)
    other = AssignmentFactory(course__organization=course.organization)
    link_to(other, installation, address_kind="constant")
    link_to(AssignmentFactory(), InstallationFactory(), address_kind="constant")
    values = typed(course, constant_urls=False, hide_not_started=True)
    asked = person.post("lti", **values)
    assert asked.status_code == 200
    text = text_of(asked)
    assert "Switch constant URLs off? 3 LMS links of this course break: they use a constant URL" in text
    course.refresh_from_db()
    assert (course.constant_urls, course.hide_not_started) == (True, False)
    body = asked.content.decode()
    assert re.search(r'name="hide_not_started"[^>]* checked', body)
    assert 'name="confirmed" value="constant_urls"' in body
    assert person.post("lti", **values, confirmed="lti_enabled").status_code == 200
    assert Course.objects.get(pk=course.pk).constant_urls
    assert person.post("lti", **values, confirmed="constant_urls").status_code == 302
    course.refresh_from_db()
    assert (course.constant_urls, course.hide_not_started) == (False, True)


def test_links_of_unknown_address_may_break(member, key, assignment):
    Course.objects.update(constant_urls=True)
    link_to(assignment, key.installation, address_kind="constant")
    link_to(assignment, key.installation)
    text = text_of(member.post("lti", **typed(assignment.course, constant_urls=False)))
    assert "2 LMS links of this course break: 1 known to use a constant URL, 1 not opened since" in text


def test_what_is_said_to_break_breaks_and_nothing_else(member, key, assignment, client):
    Course.objects.update(constant_urls=True)
    constant = constant_url(assignment).removeprefix("http://testserver")
    plain = assignment_url(assignment).removeprefix("http://testserver")
    target = {"custom_course_target_id": assignment.course.code}
    assert launch(client, constant, key, STUDENT | target).status_code == 302
    assert launch(client, plain, key, STUDENT, resource_link_id="link-2").status_code == 302
    assert "1 LMS link of this course breaks: " in text_of(
        member.post("lti", **typed(assignment.course, constant_urls=False))
    )
    member.post("lti", **typed(assignment.course, constant_urls=False), confirmed="constant_urls")
    assert launch(client, constant, key, STUDENT | target)["X-Launch-Error"] == "unknown_destination"
    assert launch(client, plain, key, STUDENT, resource_link_id="link-2").status_code == 302


def test_constant_urls_on_breaks_nothing_and_says_so(person, key, assignment, client):
    plain = assignment_url(assignment).removeprefix("http://testserver")
    assert launch(client, plain, key, STUDENT).status_code == 302
    asked = person.post("lti", **typed(assignment.course, constant_urls=True))
    assert "Switch constant URLs on? No LMS link breaks: 1 of this course goes on" in text_of(asked)
    assert not Course.objects.get().constant_urls
    person.post("lti", **typed(assignment.course, constant_urls=True), confirmed="constant_urls")
    assert launch(client, plain, key, STUDENT).status_code == 302
    page = person.get("lti").content.decode()
    assert f'value="{constant_url(assignment)}"' in page
    assert f'value="course_target_id={assignment.course.code}"' in page
    assert "parent_course_id=" not in page


def test_the_lines_and_the_link_to_copy(person, assignment):
    Course.objects.update(constant_urls=True, course_copy=True, enroll_only=True, code="cs & 101")
    page = person.get("lti").content.decode()
    for value in ("course_target_id=cs &amp; 101", "parent_course_id=cs &amp; 101"):
        assert f'value="{value}"' in page
    assert f'value="http://testserver/lti/courses/{assignment.course_id}/enroll"' in page
    assert "Grades are not passed back to the LMS." in page


def test_lti_off_in_the_frame_ends_the_visit(key, assignment, client):
    visitor = teacher(key, assignment)
    values = typed(assignment.course, lti_enabled=False)
    asked = visitor.post("launch-course-lti", **values)
    assert "Switch LTI off? 1 LMS link of this course stops working" in text_of(asked)
    assert "You too come in through your LMS" in text_of(asked)
    assert Course.objects.get().lti_enabled
    done = visitor.post("launch-course-lti", **values, confirmed="lti_enabled")
    assert done.status_code == 200
    assert "LTI is off" in text_of(done)
    assert not Course.objects.get().lti_enabled
    refused = visitor.get("launch-course-lti")
    assert (refused.status_code, refused["X-Launch-Error"]) == (403, "lti_disabled")
    assert "A member of the organization who signs in directly can switch it on again" in text_of(refused)
    path = assignment_url(assignment).removeprefix("http://testserver")
    for parameters, words in ((STUDENT, "Ask your teacher"), (TEACHER, "LTI/LMS page")):
        answer = launch(client, path, key, parameters)
        assert answer["X-Launch-Error"] == "lti_disabled"
        assert words in text_of(answer)


def test_a_member_switches_lti_off_and_on(member, assignment):
    values = typed(assignment.course, lti_enabled=False)
    asked = text_of(member.post("lti", **values))
    assert "Switch LTI off? 0 LMS links" in asked
    assert "You too" not in asked
    assert member.post("lti", **values, confirmed="lti_enabled")["Location"].endswith("?done=saved")
    assert member.post("lti", **typed(assignment.course, lti_enabled=True)).status_code == 302
    assert Course.objects.get().lti_enabled


def test_both_are_confirmed_at_once(member, assignment):
    values = typed(assignment.course, lti_enabled=False, constant_urls=True)
    assert 'value="lti_enabled constant_urls"' in member.post("lti", **values).content.decode()
    assert member.post("lti", **values, confirmed="lti_enabled constant_urls").status_code == 302
    course = Course.objects.get()
    assert (course.lti_enabled, course.constant_urls) == (False, True)


# ----------------------------------------------------------------------------------------------- where links lead


def test_links_are_listed_with_course_title_and_last_launch(member, key, assignment):
    link = link_to(assignment, key.installation, title="Week 1 work")
    first, second = sorted([uuid7(), uuid7()])
    latest = launched(link, timedelta(hours=1), pk=second)
    launched(link, timedelta(days=2), pk=first)
    text = text_of(member.get("lti"))
    assert "Week 1 work" in text
    assert "Another course" in text
    assert key.installation.name in text
    assert f'datetime="{latest.at:%Y-%m-%dT%H:%M:%SZ}"' in member.get("lti").content.decode()
    row = re.search(r"LMS courses that open this course.*", text)[0]
    assert "Another course" in row


def test_titles_from_the_lms_are_escaped(person, key, assignment):
    link_to(assignment, key.installation, title=ATTACK)
    CourseAlias.objects.create(organization=assignment.course.organization, course=assignment.course, value=ATTACK)
    assert ATTACK not in person.get("lti").content.decode()


def test_only_what_leads_here_is_listed(member, key, assignment):
    organization = assignment.course.organization
    other = AssignmentFactory(course__organization=organization, title="Elsewhere")
    link_to(other, key.installation, title="To elsewhere")
    foreign = AssignmentFactory()
    link_to(foreign, InstallationFactory(organization=foreign.course.organization), title="Foreign")
    text = text_of(member.get("lti"))
    for words in ("Elsewhere", "To elsewhere", "Foreign"):
        assert words not in text
    assert "None yet: paste a URL" in text


def test_links_that_show_nothing_are_offered(person, key, assignment):
    lms_course = LmsCourse.objects.filter(context_id="context-1").first() or LmsCourseFactory(
        installation=key.installation, context_id="context-1"
    )
    LmsCourse.objects.filter(pk=lms_course.pk).update(course=assignment.course)
    link = ResourceLinkFactory(lms_course=lms_course, title="Not set up", address_kind="any")
    ResourceLinkFactory(lms_course=lms_course, title="Enroll here", address_kind="enroll")
    text = text_of(person.get("lti"))
    assert "Links that show nothing yet" in text
    assert "Enroll here" not in text
    assert person.url("lti-link", link.pk) in person.get("lti").content.decode()
    response = person.post("lti-link", link.pk, assignment=str(assignment.pk), seen="")
    assert response.status_code == 302
    link.refresh_from_db()
    assert link.assignment == assignment


def test_a_link_to_enroll_is_listed(person, key, assignment, client):
    Course.objects.update(enroll_only=True)
    path = f"/lti/courses/{assignment.course_id}/enroll"
    before = ResourceLink.objects.filter(assignment=assignment).count()
    launch(client, path, key, STUDENT, resource_link_id="link-e", resource_link_title="Come in")
    link = ResourceLink.objects.get(resource_link_id="link-e")
    assert (link.course, link.assignment) == (None, None)
    page = person.get("lti")
    assert "Links that open the course itself Come in" in text_of(page)
    assert person.url("lti-link", link.pk) not in page.content.decode()
    assert person.get("lti-link", link.pk).status_code == 404
    asked = text_of(person.post("lti", **typed(assignment.course, lti_enabled=False)))
    assert f"Switch LTI off? {before + 1} LMS link" in asked


def test_many_links_fold_and_have_a_page(person, key, assignment):
    for number in range(60):
        launched(link_to(assignment, key.installation, title=f"Link {number}."), timedelta(minutes=number + 1))
    total = ResourceLink.objects.count()
    text = text_of(person.get("lti"))
    assert f"All {total} links" in text
    assert "Link 1." in text
    assert "Link 30." not in text
    first = text_of(person.get("lti-links", assignment.pk))
    assert "Link 30." in first
    assert "Link 59." not in first
    assert "Link 59." in text_of(person.get("lti-links", assignment.pk, page="2"))
    assert person.get("lti-links", assignment.pk, page="\x00").status_code == 200
    not_here = AssignmentFactory(course__organization=assignment.course.organization)
    for one in (not_here, AssignmentFactory()):
        assert person.get("lti-links", one.pk).status_code == 404


def test_many_assignments_are_paged_and_searched(member, assignment):
    for number in range(60):
        AssignmentFactory(course=assignment.course, title=f"Task {number}.", position=number + 1)
    text = text_of(member.get("lti"))
    assert "1\u201350 of 61" in text
    assert "Task 55." not in text
    assert "Task 55." in text_of(member.get("lti", page="2"))
    found = text_of(member.get("lti", q="task 55"))
    assert "Task 55." in found
    assert "Task 54." not in found
    assert "Nothing found for “zzz”" in text_of(member.get("lti", q="zzz\x00"))


def test_an_empty_course(member, assignment):
    assignment.delete()
    assert "No assignments yet" in text_of(member.get("lti"))


def test_many_lms_courses_are_paged(member, key, assignment):
    for number in range(12):
        LmsCourseFactory(installation=key.installation, title=f"Section {number:02}.", course=assignment.course)
    page = member.get("lti")
    assert "12 LMS courses open this course" in text_of(page)
    assert "1\u201310 of 12" in text_of(page)
    assert "11\u201312 of 12" in text_of(member.get("lti", lms="2"))


def test_statements_do_not_grow(person, key, assignment, django_assert_num_queries):
    link_to(assignment, key.installation)
    CourseAlias.objects.create(organization=assignment.course.organization, course=assignment.course, value="a")
    with CaptureQueriesContext(connection) as few:
        person.get("lti")
    for number in range(30):
        more = AssignmentFactory(course=assignment.course)
        for _ in range(3):
            launched(link_to(more, key.installation), timedelta(minutes=number))
        LmsCourseFactory(installation=key.installation, course=assignment.course)
        CourseAlias.objects.create(
            organization=assignment.course.organization, course=assignment.course, value=f"a{number}"
        )
    with django_assert_num_queries(len(few)):
        person.get("lti")


# ------------------------------------------------------------------------------------------------- mapping anew


@pytest.fixture
def generic(key, assignment):
    """A teacher's visit of a generic link that shows the assignment, which the picker connected."""
    visitor = Visitor(key, "/lti/v1", **TEACHER)
    visitor.post("launch-choose", assignment=str(assignment.pk))
    return visitor


@pytest.fixture
def other(assignment):
    return AssignmentFactory(course=assignment.course, title="Second essay", points_possible=20)


def test_a_link_remembers_what_its_address_names(key, assignment, client):
    Course.objects.update(constant_urls=True, enroll_only=True)
    target = {"custom_course_target_id": assignment.course.code}
    for number, (path, kind) in enumerate(
        [
            (assignment_url(assignment), "assignment"),
            (constant_url(assignment), "constant"),
            (f"http://testserver/lti/courses/{assignment.course_id}/enroll", "enroll"),
        ]
    ):
        name = f"link-{number}"
        launch(client, path.removeprefix("http://testserver"), key, STUDENT | target, resource_link_id=name)
        assert ResourceLink.objects.get(resource_link_id=name).address_kind == kind
    visitor = Visitor(key, "/lti/v1", **{**TEACHER, "resource_link_id": "link-9"})
    assert visitor.launch.resource_link.address_kind == "any"
    launch(
        client, assignment_url(assignment).removeprefix("http://testserver"), key, STUDENT, resource_link_id="link-9"
    )
    assert ResourceLink.objects.get(resource_link_id="link-9").address_kind == "assignment"


def test_the_assignment_page_leads_to_the_change(generic, key, assignment):
    link = generic.launch.resource_link
    address = generic.url("launch-course-lti-link", link.pk)
    page = generic.get("launch")
    assert "This link of your LMS shows “Essay” · change" in text_of(page)
    assert address in page.content.decode()
    by_address = teacher(key, assignment, resource_link_id="link-2")
    assert "This link of your LMS shows" not in text_of(by_address.get("launch"))
    observer = Visitor(key, "/lti/v1", **{**TEACHER, "user_id": "mentor-1", "roles": "Mentor"})
    assert "This link of your LMS shows" not in text_of(observer.get("launch"))


def test_changing_the_own_link_goes_there(generic, assignment, other, key, client):
    link = generic.launch.resource_link
    listed = generic.get("launch-course-lti-link", link.pk)
    assert "shown now" in text_of(listed)
    asked = text_of(generic.get("launch-course-lti-link", link.pk, assignment=str(other.pk)))
    assert "Everybody who opens the link from now on comes to “Second essay”." in asked
    assert "stays there, with its scores" in asked
    assert "“Essay” has 10 points, “Second essay” 20" in asked
    assert ResourceLink.objects.get().assignment == assignment
    changed = generic.post("launch-course-lti-link", link.pk, assignment=str(other.pk), seen=str(assignment.pk))
    assert changed["Location"] == generic.url("launch")
    assert "Second essay" in text_of(generic.get("launch"))
    assert ResourceLink.objects.get().assignment == other
    event = Event.objects.filter(type="link.mapped").latest("id")
    assert event.data == {
        "assignment": str(other.pk),
        "course": str(other.course_id),
        "by": "teacher",
        "was": str(assignment.pk),
    }
    assert event.actor["id"] == str(generic.person.pk)
    assert "Second essay" in text_of(Visitor(key, "/lti/v1", **STUDENT).get("launch"))


def test_another_course_of_the_organization(generic, assignment):
    elsewhere = AssignmentFactory(course__organization=assignment.course.organization, title="Far away")
    link = generic.launch.resource_link
    generic.post("launch-course-lti-link", link.pk, assignment=str(elsewhere.pk), seen=str(assignment.pk))
    row = generic.launch
    assert (row.course, row.assignment) == (elsewhere.course, elsewhere)
    assert Enrolment.objects.filter(course=elsewhere.course, person=generic.person, role="teacher").exists()
    assert LmsCourse.objects.get().course == assignment.course
    assert "Far away" in text_of(generic.get("launch"))


def test_grades_follow_the_link_and_scores_stay(generic, key, assignment, other, member, client):
    Visitor(key, "/lti/v1", **STUDENT)
    cell = GradebookCell.objects.get()
    score = record_score(assignment, cell.person, points=Decimal(7), released=True, actor=SYSTEM)
    assert Delivery.objects.get().state == "pending"
    Score.objects.create(assignment=other, person=cell.person, points=15)
    link = cell.resource_link
    asked = text_of(member.get("lti-link", link.pk, assignment=str(other.pk)))
    assert "1 student has a place in this link's gradebook column" in asked
    response = member.post("lti-link", link.pk, assignment=str(other.pk), seen=str(assignment.pk))
    assert response["Location"] == f"{member.url('lti')}?done=mapped#links"
    cell.refresh_from_db()
    assert cell.assignment == other
    old = Delivery.objects.get(source_id=score.pk)
    assert (old.state, old.last_error_code) == ("cancelled", "link_opens_another_assignment")
    new = Delivery.objects.get(state="pending")
    assert Decimal(new.payload["percentage"]) == Decimal("0.75")
    score.refresh_from_db()
    assert (score.points, score.version) == (Decimal(7), 1)
    record_score(assignment, cell.person, points=Decimal(9), released=True, actor=SYSTEM)
    assert Delivery.objects.filter(source_id=score.pk, state="pending").count() == 0
    member.post("lti-link", link.pk, assignment=str(assignment.pk), seen=str(other.pk))
    back = Delivery.objects.get(source_id=score.pk, state="pending")
    assert Decimal(back.payload["percentage"]) == Decimal("0.9")
    before = GradebookCell.objects.count()
    Visitor(key, "/lti/v1", **STUDENT)
    assert GradebookCell.objects.count() == before


@pytest.mark.parametrize("is_found", [True, False])
def test_a_column_that_we_made_is_not_the_new_assignments(member, key, assignment, other, is_found):
    link = link_to(
        assignment,
        key.installation,
        address_kind="any",
        line_item_url="https://lms.example/columns/1",
        line_item_found=is_found,
    )
    member.post("lti-link", link.pk, assignment=str(other.pk), seen=str(assignment.pk))
    link.refresh_from_db()
    assert link.line_item_url == ("" if is_found else "https://lms.example/columns/1")


def test_unmapping(member, generic, key, assignment, client):
    Visitor(key, "/lti/v1", **STUDENT)
    cell = GradebookCell.objects.get()
    score = record_score(assignment, cell.person, points=Decimal(7), released=True, actor=SYSTEM)
    link = generic.launch.resource_link
    page = text_of(member.get("lti-link", link.pk))
    assert "grades of “Essay” still go to the place that 1 student has" in page
    response = member.post("lti-link", link.pk, do="unmap", seen=str(assignment.pk))
    assert response["Location"] == f"{member.url('lti')}?done=unmapped#links"
    link.refresh_from_db()
    assert link.assignment is None
    event = Event.objects.filter(type="link.mapped").latest("id")
    assert event.data == {"assignment": None, "course": None, "by": "teacher", "was": str(assignment.pk)}
    assert event.actor == {"kind": "user", "id": str(member.user.pk), "name": member.user.name}
    assert Delivery.objects.get(source_id=score.pk).state == "pending"
    assert launch(client, "/lti/v1", key, STUDENT)["X-Launch-Error"] == "link_not_set_up"
    assert "Choose what this link shows" in text_of(Visitor(key, "/lti/v1", **TEACHER).get("launch"))
    assert "Links that show nothing yet" in text_of(member.get("lti"))
    member.post("lti-link", link.pk, do="unmap", seen="")
    assert Event.objects.filter(type="link.mapped", data__assignment=None).count() == 1


def test_an_address_that_names_the_assignment_is_not_changed_here(person, key, assignment, other, client):
    path = assignment_url(assignment).removeprefix("http://testserver")
    launch(client, path, key, STUDENT)
    link = ResourceLink.objects.get()
    page = text_of(person.get("lti-link", link.pk))
    assert "This link's address in the LMS names the assignment" in page
    assert "Second essay" not in page
    refused = person.post("lti-link", link.pk, assignment=str(other.pk), seen=str(assignment.pk))
    assert refused.status_code == 404
    assert ResourceLink.objects.get().assignment == assignment
    assert person.post("lti-link", link.pk, do="unmap", seen=str(assignment.pk)).status_code == 302
    assert ResourceLink.objects.get().assignment is None
    assert launch(client, path, key, STUDENT).status_code == 302
    assert ResourceLink.objects.get().assignment == assignment


def test_two_change_a_link_at_once(member, generic, assignment, other):
    third = AssignmentFactory(course=assignment.course, title="Third")
    link = generic.launch.resource_link
    member.post("lti-link", link.pk, assignment=str(other.pk), seen=str(assignment.pk))
    late = generic.post("launch-course-lti-link", link.pk, assignment=str(third.pk), seen=str(assignment.pk))
    assert late.status_code == 409
    assert "somebody else has changed this link meanwhile" in text_of(late)
    assert "shows Second essay" in text_of(late)
    assert member.post("lti-link", link.pk, do="unmap", seen=str(assignment.pk)).status_code == 409
    assert ResourceLink.objects.get().assignment == other


def test_a_teacher_in_the_frame_changes_links_of_their_own_lms_course_only(generic, key, assignment, other):
    own = generic.launch.resource_link
    sibling = link_to(assignment, key.installation, lms_course=own.lms_course, title="Sibling", address_kind="any")
    theirs = link_to(assignment, key.installation, title="Theirs", address_kind="any")
    body = generic.get("launch-course-lti").content.decode()
    assert "Theirs" in body
    for link, may in ((own, True), (sibling, True), (theirs, False)):
        assert (generic.url("launch-course-lti-link", link.pk) in body) is may
        assert (generic.get("launch-course-lti-link", link.pk).status_code == 200) is may
    data = {"seen": str(assignment.pk)}
    for post in ({"assignment": str(other.pk)}, {"do": "unmap"}):
        assert generic.post("launch-course-lti-link", theirs.pk, **data, **post).status_code == 404
    theirs.refresh_from_db()
    assert theirs.assignment == assignment
    response = generic.post("launch-course-lti-link", sibling.pk, assignment=str(other.pk), **data)
    assert response["Location"] == f"{generic.url('launch-course-lti')}?done=mapped#links"
    assert generic.launch.assignment == assignment


def test_links_without_a_course_of_the_lms_are_nobody_elses(key, assignment):
    first, second = (
        Visitor(key, "/lti/v1", **{**TEACHER, "context_id": "", "resource_link_id": name, "user_id": name})
        for name in ("link-1", "link-2")
    )
    for visitor in (first, second):
        visitor.post("launch-choose", assignment=str(assignment.pk))
    assert first.get("launch-course-lti-link", first.launch.resource_link_id).status_code == 200
    assert first.get("launch-course-lti-link", second.launch.resource_link_id).status_code == 404


def test_foreign_and_missing_links_are_not_found(person, key, assignment, other):
    elsewhere = AssignmentFactory(course__organization=assignment.course.organization)
    not_here = link_to(elsewhere, key.installation, address_kind="any")
    foreign_key = LtiKeyFactory()
    foreign = link_to(
        AssignmentFactory(course__organization=foreign_key.installation.organization),
        foreign_key.installation,
        address_kind="any",
    )
    # A link of a foreign LMS that (wrongly) shows our assignment is still not ours.
    strayed = link_to(assignment, foreign_key.installation, address_kind="any")
    for link_id in (not_here.pk, foreign.pk, strayed.pk, assignment.pk):
        assert person.get("lti-link", link_id).status_code == 404
        for data in ({"assignment": str(other.pk)}, {"do": "unmap"}):
            assert person.post("lti-link", link_id, seen=str(assignment.pk), **data).status_code == 404
    for link in (not_here, foreign, strayed):
        was = link.assignment_id
        link.refresh_from_db()
        assert link.assignment_id == was


def test_what_cannot_be_chosen(member, key, assignment):
    link = link_to(assignment, key.installation, address_kind="any")
    organization = assignment.course.organization
    for named in (
        str(AssignmentFactory().pk),
        str(AssignmentFactory(course__organization=organization, course__lti_enabled=False).pk),
        str(AssignmentFactory(course__organization=organization, course__archived=True).pk),
        "nonsense",
        "\x00",
        "",
    ):
        assert member.post("lti-link", link.pk, assignment=named, seen=str(assignment.pk)).status_code == 404
        if named:
            assert member.get("lti-link", link.pk, assignment=named).status_code == 404
    link.refresh_from_db()
    assert link.assignment == assignment


def test_searching_what_a_link_could_show(member, key, assignment, other):
    link = link_to(assignment, key.installation, address_kind="any")
    found = text_of(member.get("lti-link", link.pk, q="second"))
    assert "Second essay" in found
    assert "Nothing found for “zzz”" in text_of(member.get("lti-link", link.pk, q="zzz"))


# ------------------------------------------------------------------------------------------------------- the names


def test_a_name_is_forgotten(person, assignment):
    course = assignment.course
    alias = CourseAlias.objects.create(organization=course.organization, course=course, value="autumn-2031")
    kept = CourseAlias.objects.create(
        organization=course.organization, course=CourseFactory(organization=course.organization), value="kept"
    )
    foreign = CourseAlias.objects.create(organization=(c := CourseFactory()).organization, course=c, value="foreign")
    text = text_of(person.get("lti"))
    assert "autumn-2031" in text
    assert "kept" not in text.replace("is kept", "")
    for one in (kept.pk, foreign.pk, assignment.pk):
        assert person.post("lti-forget", one).status_code == 404
    assert CourseAlias.objects.count() == 3
    assert person.post("lti-forget", alias.pk)["Location"] == f"{person.url('lti')}?done=forgotten#lms-courses"
    assert not CourseAlias.objects.filter(pk=alias.pk).exists()
    assert person.post("lti-forget", alias.pk).status_code == 404
    assert person.get("lti-forget", alias.pk).status_code == 405


# -------------------------------------------------------------------------------------------------- the navigation


def test_the_pages_lead_to_each_other(key, assignment):
    visitor = teacher(key, assignment)
    for name in ("launch", "launch-course-dashboard", "launch-course-lti"):
        body = visitor.get(name).content.decode()
        for address in ("launch-course-dashboard", "launch-course-lti", "launch-course-copy", "launch-people"):
            assert f'href="{visitor.url(address)}"' in body, (name, address)
    assert "Essay" in text_of(visitor.get("launch-course-dashboard"))
    observer = mentor(key, assignment)
    body = observer.get("launch-course-lti").content.decode()
    assert observer.url("launch-course-copy") not in body
    learner = student(key, assignment)
    assert "course-nav" not in learner.get("launch").content.decode()
    assert learner.get("launch-course-dashboard").status_code == 404


def test_an_entry_without_a_page_is_left_out(key, assignment, monkeypatch):
    from launches import course_navigation

    monkeypatch.setitem(course_navigation._LABELS, "nowhere", "Nowhere")
    text = text_of(teacher(key, assignment).get("launch-course-lti"))
    assert "LTI/LMS" in text
    assert "Nowhere" not in text
