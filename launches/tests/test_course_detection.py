"""Which course a launch means (design §5, I1 to I3): found, copied, or left to a teacher."""

import pytest
from django.conf import settings
from django.test import Client

from courses.models import Assignment, Course, CourseAlias, Enrolment, LmsCourse
from events.models import Event
from launches.models import Launch
from lti.v1p1.oauth1 import sign_form
from organizations.models import LmsAccount, Person
from tests.factories import AssignmentFactory, CourseFactory, LmsCourseFactory, LtiKeyFactory, ResourceLinkFactory
from tests.launching import STUDENT, TEACHER, launch, launch_id_of, post
from tests.platform_1p3 import ROLE, platform_of

pytestmark = pytest.mark.django_db

LAB = "/lti/constant/the-lab"
MENTOR = TEACHER | {"user_id": "mentor-1", "roles": "Mentor"}


def course_of(key, code, **settings):
    """A course with constant URLs that has the lab."""
    course = CourseFactory(organization=key.installation.organization, code=code, constant_urls=True, **settings)
    AssignmentFactory(course=course, slug="lab", constant_key="the-lab", title="Lab")
    return course


def row_of(response) -> Launch:
    return Launch.objects.get(pk=launch_id_of(response))


def opened(key, path=LAB, parameters=STUDENT, **changes) -> Course | None:
    return row_of(launch(Client(), path, key, parameters, **changes)).course


def refused(key, path=LAB, parameters=STUDENT, **changes) -> tuple[int, str]:
    response = launch(Client(), path, key, parameters, **changes)
    return response.status_code, response.headers.get("X-Launch-Error", "")


NOT_READY = (409, "course_not_ready")


# The order


def test_the_same_constant_url_from_two_lms_courses_opens_two_courses(key):
    spring, autumn = course_of(key, "spring"), course_of(key, "autumn")
    assert opened(key, context_id="1", custom_course_target_id="spring") == spring
    assert opened(key, context_id="2", custom_course_target_id="autumn") == autumn
    assert LmsCourse.objects.get(context_id="1").course == spring
    assert LmsCourse.objects.get(context_id="2").course == autumn


def test_target_over_offering_over_section_over_remembered(key):
    for code in ("target", "offering", "section", "remembered"):
        course_of(key, code)
    said = {
        "custom_codio_course_target_id": "target",
        "lis_course_offering_sourcedid": "offering",
        "lis_course_section_sourcedid": "section",
    }
    assert opened(key, custom_course_target_id="remembered").code == "remembered"
    for expected in ("target", "offering", "section", "remembered"):
        assert opened(key, **said).code == expected
        if said:
            said.pop(next(iter(said)))


def test_names_that_a_course_has_learned_count_as_its_code(key):
    spring, autumn = course_of(key, "spring"), course_of(key, "autumn")
    for course, value in ((spring, "s-27"), (autumn, "SIS:autumn/1")):
        CourseAlias.objects.create(organization=course.organization, course=course, value=value)
    assert opened(key, custom_course_target_id="s-27", lis_course_offering_sourcedid="autumn") == spring
    assert opened(key, lis_course_offering_sourcedid="SIS:autumn/1", lis_course_section_sourcedid="spring") == autumn


def test_another_organizations_names_name_nothing(key):
    theirs = course_of(LtiKeyFactory(), "spring")
    CourseAlias.objects.create(organization=theirs.organization, course=theirs, value="s-27")
    course_of(key, "autumn")
    for name in ("spring", "s-27"):
        assert refused(key, custom_course_target_id=name) == NOT_READY


@pytest.mark.parametrize("names", [{"custom_course_target_id": "winter"}, {"custom_codio_class_target_id": "winter"}])
def test_an_explicit_target_id_is_never_overruled_by_a_guess(key, names):
    course_of(key, "spring")
    assert opened(key, custom_course_target_id="spring").code == "spring"
    assert refused(key, **names, lis_course_offering_sourcedid="spring") == NOT_READY
    assert refused(key, "/lti/v1", resource_link_id="new", custom_assignment="lab", **names) == NOT_READY


def test_a_sourcedid_of_a_course_without_the_assignment_is_no_answer(key):
    CourseFactory(organization=key.installation.organization, code="other", constant_urls=True)
    course_of(key, "spring")
    said = {"lis_course_offering_sourcedid": "other", "lis_course_section_sourcedid": "spring"}
    assert opened(key, **said).code == "spring"


def test_a_target_id_of_a_course_without_the_assignment_leads_nowhere(key):
    CourseFactory(organization=key.installation.organization, code="other", constant_urls=True)
    course_of(key, "spring")
    for parameters in (STUDENT, TEACHER):
        assert refused(key, LAB, parameters, custom_course_target_id="other") == (404, "unknown_destination")


@pytest.mark.parametrize("missing", ["", "  ", "$Canvas.course.sisSourceId", "@X@course.id@X@", "$CourseSection.x "])
def test_a_blank_or_unresolved_name_is_missing_and_makes_no_copy(key, missing):
    parent = course_of(key, "spring", course_copy=True)
    said = {
        "custom_course_target_id": missing,
        "custom_codio_course_target_id": missing,
        "lis_course_offering_sourcedid": missing,
        "custom_codio_course_offering_sourcedid": missing,
        "lis_course_section_sourcedid": missing,
    }
    assert refused(key, **said, custom_parent_course_id="spring") == NOT_READY
    row = row_of(launch(Client(), LAB, key, TEACHER, **said, custom_parent_course_id="spring"))
    assert row.course is None
    assert [row.course_question[name] for name in ("target", "offering", "section")] == ["", "", ""]
    assert opened(key, **(said | {"lis_course_section_sourcedid": "spring"})) == parent
    assert Course.objects.count() == 1


def test_a_variable_that_is_left_in_one_spelling_does_not_hide_the_other(key):
    course_of(key, "spring")
    course_of(key, "autumn")
    said = {"custom_course_target_id": " ", "custom_codio_course_target_id": "autumn"}
    assert opened(key, **said).code == "autumn"


# Copies at launch


@pytest.mark.parametrize("named_by", ["id", "code", "alias"])
@pytest.mark.parametrize("parameter", ["parent_course_id", "codio_parent_course_id", "codio_parent_class_id"])
def test_an_unknown_target_id_and_a_parent_make_a_copy(key, named_by, parameter):
    parent = course_of(key, "master", course_copy=True)
    CourseAlias.objects.create(organization=parent.organization, course=parent, value="the-master")
    name = {"id": str(parent.pk), "code": "master", "alias": "the-master"}[named_by]
    said = {"custom_course_target_id": "2027-spring", f"custom_{parameter}": name}
    row = row_of(launch(Client(), LAB, key, **said))
    copy = Course.objects.get(code="2027-spring")
    assert (row.course, row.assignment.course, row.assignment.title) == (copy, copy, "Lab")
    assert (copy.copied_from, copy.course_copy, copy.name) == (parent, False, STUDENT["context_title"])
    assert LmsCourse.objects.get().course == copy
    assert Enrolment.objects.get().role == "student"
    event = Event.objects.get(type="course.copied")
    assert event.actor["id"] == str(row.person.pk)
    assert opened(key, parameters=TEACHER, **said) == copy
    assert Course.objects.count() == 2


def test_a_copy_by_slug_and_by_the_id_of_the_parents_assignment(key):
    parent = course_of(key, "master", course_copy=True)
    lab = parent.assignments.get()
    said = {"custom_course_target_id": "new", "custom_parent_course_id": "master"}
    first = row_of(launch(Client(), "/lti/v1", key, **said, custom_assignment="lab"))
    second = row_of(launch(Client(), "/lti/v1", key, **said, custom_assignment=str(lab.pk), resource_link_id="2"))
    assert first.course.code == "new"
    assert first.assignment == second.assignment != lab
    assert row_of(launch(Client(), "/lti/v1", key, custom_assignment=str(lab.pk), context_id="")).assignment == lab


@pytest.mark.parametrize("target", ["2027/spring", "a/b", "zero\u200bwidth"])
def test_a_target_id_that_is_no_code_becomes_an_alias(key, target):
    course_of(key, "master", course_copy=True)
    said = {"custom_course_target_id": target, "custom_parent_course_id": "master"}
    first = opened(key, **said)
    assert first.code != target
    assert CourseAlias.objects.get().value == target
    assert opened(key, **said) == first
    assert Course.objects.count() == 2


def test_the_copy_goes_with_a_launch_that_is_refused(key):
    """The nonce is the last thing to be checked: by then the copy is made, and goes with all else."""
    course_of(key, "master", course_copy=True)
    opened(key, custom_course_target_id="master")
    used = Launch.objects.get().nonce
    said = {"custom_course_target_id": "new", "custom_parent_course_id": "master"}
    again = sign_form(settings.BASE_URL + LAB, STUDENT | said, key.consumer_key, key.secret, nonce=used)
    assert post(Client(), LAB, again)["X-Launch-Error"] == "nonce_reused"
    assert not Course.objects.filter(code="new").exists()
    assert not Event.objects.filter(type="course.copied").exists()


def parents_that_are_not_copied(key):
    organization = key.installation.organization
    course_of(key, "no-copy")
    course_of(key, "archived", course_copy=True, archived=True)
    course_of(key, "lti-off", course_copy=True, lti_enabled=False)
    CourseFactory(organization=organization, code="lacks-it", constant_urls=True, course_copy=True)
    no_constant = course_of(key, "no-constant", course_copy=True)
    Course.objects.filter(pk=no_constant.pk).update(constant_urls=False)
    foreign = course_of(LtiKeyFactory(), "foreign", course_copy=True)
    names = ["no-copy", "archived", "lti-off", "lacks-it", "no-constant", "foreign", str(foreign.pk), "nobody", ""]
    return [*names, "$Canvas.course.id"]


def test_who_may_not_be_copied_is_not(key):
    reasons = set()
    names = parents_that_are_not_copied(key)
    before = set(Course.objects.all())
    for name in names:
        said = {"custom_course_target_id": "new", "custom_parent_course_id": name}
        for parameters in (STUDENT, MENTOR):
            assert refused(key, LAB, parameters, **said) == NOT_READY
        refusal = Launch.objects.filter(result="course_not_ready").first().refusal
        assert "course_target_id 'new'" in refusal["received"]
        assert refusal["cause"]
        row = row_of(launch(Client(), LAB, key, TEACHER, **said))
        assert (row.course, row.assignment, row.course_question["target"]) == (None, None, "new")
        reasons.add(row.course_question["reason"])
    assert set(Course.objects.all()) == before
    assert not Enrolment.objects.exists()
    assert reasons == {"parent_not_copied", "parent_closed", "parent_lacks_it", "parent_unknown", "unknown_target"}


@pytest.mark.parametrize(
    "said",
    [
        {"custom_course_target_id": "x" * 256},
        {"custom_course_target_id": "x" * 1000},
        {"custom_codio_class_target_id": "tab\there"},
        {"custom_course_target_id": "line\nbreak"},
        {"custom_course_target_id": "\x85next"},
        {"custom_course_target_id": "new", "custom_parent_course_id": "bell\x07"},
        {"custom_course_target_id": "new", "custom_codio_parent_course_id": "p" * 256},
        {"custom_codio_course_offering_sourcedid": "o" * 9000},
    ],
)
def test_names_that_are_no_ids_are_malformed_and_write_nothing(key, said):
    course_of(key, "master", course_copy=True)
    for path, more in ((LAB, {}), ("/lti/v1", {"custom_assignment": "lab"}), ("/lti/v1", {})):
        for parameters in (STUDENT, TEACHER):
            response = launch(Client(), path, key, parameters, **(said | more))
            assert (response.status_code, response["X-Launch-Error"]) == (400, "malformed")
    assert not Launch.objects.filter(result="accepted").exists()
    assert not Person.objects.exists()
    assert not LmsAccount.objects.exists()
    assert not LmsCourse.objects.exists()
    assert Course.objects.count() == 1
    assert "custom parameter" in Launch.objects.first().refusal["cause"]


def test_a_target_id_of_255_characters_is_one(key):
    course_of(key, "master", course_copy=True)
    target = "é" * 255
    assert opened(key, custom_course_target_id=target, custom_parent_course_id="master").code == target


def test_a_sourcedid_of_thousands_of_characters_names_nothing(key):
    course_of(key, "spring")
    said = {"lis_course_offering_sourcedid": "s" * 3000}
    assert refused(key, **said) == NOT_READY
    assert opened(key, **said, lis_course_section_sourcedid="spring").code == "spring"


# What a teacher is asked


def test_what_is_kept_of_a_launch_that_decides_nothing(key):
    course_of(key, "spring")
    response = launch(
        Client(),
        LAB,
        key,
        TEACHER,
        lis_course_offering_sourcedid="SIS-1",
        custom_parent_course_id="spring",
        custom_context_id_history="9, 8",
        ext_d2l_resource_link_id_history="l-1",
    )
    row = row_of(response)
    assert (row.result, row.course, row.assignment) == ("accepted", None, None)
    assert row.resource_link.lms_course.context_id == STUDENT["context_id"]
    assert row.course_question == {
        "named_by": "constant",
        "name": "the-lab",
        "reason": "not_named",
        "target": "",
        "offering": "SIS-1",
        "section": "",
        "parent": "spring",
        "context_history": ["9", "8"],
        "link_history": ["l-1"],
    }
    assert not Enrolment.objects.exists()


def test_a_slug_of_two_courses_is_a_question_and_of_one_is_none(key):
    spring = course_of(key, "spring")
    assert opened(key, "/lti/v1", custom_assignment="lab", context_id="1") == spring
    course_of(key, "autumn")
    said = {"custom_assignment": "lab", "context_id": "2"}
    assert refused(key, "/lti/v1", **said) == NOT_READY
    assert row_of(launch(Client(), "/lti/v1", key, TEACHER, **said)).course_question["named_by"] == "slug"
    assert opened(key, "/lti/v1", custom_assignment="lab", context_id="1", resource_link_id="2") == spring


def test_a_copied_lms_course_is_a_question_whatever_the_link_names(key):
    spring = course_of(key, "spring")
    LmsCourseFactory(installation=key.installation, context_id="old", course=spring)
    said = {"context_id": "new", "custom_context_history": "older,old"}
    for path, more in (("/lti/v1", {}), ("/lti/v1", {"custom_assignment": "lab"}), (LAB, {})):
        assert refused(key, path, **said, **more) == NOT_READY
        row = row_of(launch(Client(), path, key, TEACHER, **said, **more))
        assert (row.course, row.course_question["reason"]) == (None, "copied")
    assert Course.objects.count() == 1


@pytest.mark.parametrize("history", ["unknown", "elsewhere", "new", "", "$Context.id.history"])
def test_a_history_of_nothing_we_know_is_ignored(key, history):
    """Unknown ids, another tenant's or another installation's LMS course, and the course itself (I2, I3)."""
    spring = course_of(key, "spring")
    theirs = LtiKeyFactory()
    LmsCourseFactory(installation=theirs.installation, context_id="elsewhere", course=course_of(theirs, "t"))
    sister = LtiKeyFactory(installation__organization=key.installation.organization)
    LmsCourseFactory(installation=sister.installation, context_id="elsewhere", course=spring)
    said = {"context_id": "new", "custom_context_history": history}
    assert refused(key, "/lti/v1", **said) == (409, "link_not_set_up")
    row = row_of(launch(Client(), "/lti/v1", key, TEACHER, **said))
    assert row.course_question is None
    assert opened(key, "/lti/v1", custom_assignment="lab", **said) == spring


def test_links_of_a_confirmed_copy_follow_those_that_they_were_copied_from(key):
    """Once a teacher has said which course it is, its links need no picking one by one."""
    spring, autumn = course_of(key, "spring"), course_of(key, "autumn")
    old = LmsCourseFactory(installation=key.installation, context_id="old", course=spring)
    ResourceLinkFactory(lms_course=old, resource_link_id="old-lab", assignment=spring.assignments.get())
    LmsCourseFactory(installation=key.installation, context_id="new", course=autumn)
    said = {"context_id": "new", "resource_link_id": "new-lab"}
    assert refused(key, "/lti/v1", **said, custom_resource_link_id_history="nobody") == (409, "link_not_set_up")
    row = row_of(launch(Client(), "/lti/v1", key, **said, custom_resource_link_id_history="nobody,old-lab"))
    assert row.assignment == autumn.assignments.get()


def test_an_unknown_constant_key_leads_nowhere(key):
    course_of(key, "master", course_copy=True)
    said = {"custom_course_target_id": "new", "custom_parent_course_id": "master"}
    for parameters in (STUDENT, TEACHER):
        assert refused(key, "/lti/constant/nothing", parameters, **said) == (404, "unknown_destination")
    assert Course.objects.count() == 1


def test_a_course_that_is_closed_says_so(key):
    course_of(key, "archived", archived=True)
    assert refused(key, custom_course_target_id="archived") == (403, "lti_disabled")


def test_statements_of_a_returning_persons_launch(key, django_assert_max_num_queries):
    spring = course_of(key, "spring")
    for number in range(5):
        course_of(key, f"other-{number}")
    CourseAlias.objects.create(organization=spring.organization, course=spring, value="SIS-1")
    cases = [{"custom_course_target_id": "spring"}, {"lis_course_offering_sourcedid": "SIS-1"}, {}]
    for said in cases:
        opened(key, **said)
        opened(key, **said)
        with django_assert_max_num_queries(11):
            assert opened_once(key, **said) == 302


def opened_once(key, **said):
    return launch(Client(), LAB, key, lis_result_sourcedid="changed", **said).status_code


# Over LTI 1.3


@pytest.mark.usefixtures("loopback")
def test_lti_1p3(key):
    parent = course_of(key, "master", course_copy=True)
    target = settings.BASE_URL + LAB
    teacher = {"sub": "teacher-1", "roles": [f"{ROLE}Instructor"]}
    with platform_of(key.installation) as platform:

        def at(**changes):
            return platform.launch(Client(), target, **changes)

        copied = row_of(at(custom={"course_target_id": "new", "parent_course_id": "master"}))
        assert (copied.course.code, copied.course.copied_from, copied.role) == ("new", parent, "student")
        assert row_of(at(lis={"course_offering_sourcedid": "new"})).course == copied.course
        for missing in ("$CourseOffering.sourcedId", None, ""):
            response = at(context={"id": "c-2"}, custom={"course_target_id": missing, "parent_course_id": "master"})
            assert (response.status_code, response["X-Launch-Error"]) == NOT_READY
        for unfit in ("x" * 1000, "a\u0001b"):
            response = at(context={"id": "c-2"}, custom={"course_target_id": unfit, "parent_course_id": "master"})
            assert (response.status_code, response["X-Launch-Error"]) == (400, "malformed")
        asked = row_of(
            at(context={"id": "c-2"}, custom={"Context.id.history": "context-1", "course_target_id": "x"}, **teacher)
        )
        assert (asked.course, asked.course_question["context_history"]) == (None, ["context-1"])
        response = platform.launch(Client(), context={"id": "c-3"}, custom={"context_id_history": "context-1"})
        assert (response.status_code, response["X-Launch-Error"]) == NOT_READY
    assert Course.objects.count() == 2
    assert Assignment.objects.count() == 2
