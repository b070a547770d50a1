"""“Is this a copy?”: a teacher says which course an LMS course is."""

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from django.conf import settings
from django.db import connection, connections
from django.test import Client
from django.urls import reverse

from courses.models import Course, CourseAlias, Enrolment, LmsCourse, Participation, ResourceLink
from events.models import Event
from launches.browser import COOKIE, Browser
from launches.models import Launch
from tests.factories import AssignmentFactory, CourseFactory, LmsCourseFactory, LtiKeyFactory, ResourceLinkFactory
from tests.launching import STUDENT, TEACHER, launch, launch_id_of
from tests.platform_1p3 import ROLE, platform_of
from tests.visiting import Visitor, text_of

pytestmark = pytest.mark.django_db

LAB = "/lti/constant/the-lab"
ATTACK = "<script>alert(1)</script>"
# A new LMS course that was copied from "old".
NEW = {
    "context_id": "new",
    "context_title": "Rhetoric, autumn",
    "context_label": "RHET-27A",
    "custom_context_id_history": "older,old",
    "resource_link_id": "new-lab",
}


@pytest.fixture
def rhetoric(key):
    """A course with constant URLs that last term's LMS course opens."""
    course = CourseFactory(organization=key.installation.organization, code="rhet", name="Rhetoric", constant_urls=True)
    lab = AssignmentFactory(course=course, slug="lab", constant_key="the-lab", title="The lab")
    old = LmsCourseFactory(
        installation=key.installation, context_id="old", course=course, title="Last term", label="RHET-26"
    )
    ResourceLinkFactory(lms_course=old, resource_link_id="old-lab", assignment=lab)
    return course


def arrive(key, path=LAB, **changes):
    return Visitor(key, path, **{**TEACHER, **NEW, **changes})


def answer(visitor, choice, course=None, **data):
    return visitor.post("launch-course-answer", choice=choice, **({"course": str(course.pk)} if course else {}), **data)


def refusal_of(client, key, path=LAB, **changes):
    return launch(client, path, key, {**STUDENT, **NEW, **changes}).headers.get("X-Launch-Error", "")


# A student first, then a teacher


def test_a_student_waits_until_a_teacher_has_had_the_course_copied(client, key, rhetoric):
    assert refusal_of(client, key) == "course_not_ready"
    teacher = arrive(key)
    text = text_of(teacher.get("launch"))
    for words in ("Is this a copy?", "This looks like a copy of “Rhetoric”", "was copied from “Last term”", "rhet"):
        assert words in text
    asked = teacher.client.get(teacher.url("launch"), {"choice": "copy", "course": str(rhetoric.pk)})
    assert 'value="RHET-27A"' in asked.content.decode()
    assert 'value="Rhetoric, autumn"' in asked.content.decode()
    assert refusal_of(client, key) == "course_not_ready", "to look is not to answer"
    response = answer(teacher, "copy", rhetoric, code="rhet-27", name="Rhetoric 27")
    assert response["Location"] == teacher.url("launch-course-answered")
    copy = Course.objects.get(code="rhet-27")
    assert (copy.copied_from, copy.course_copy, copy.name) == (rhetoric, False, "Rhetoric 27")
    assert LmsCourse.objects.get(context_id="new").course == copy
    assert LmsCourse.objects.get(context_id="old").course == rhetoric
    row = teacher.launch
    assert (row.course, row.assignment) == (copy, copy.assignments.get())
    enrolment = Enrolment.objects.get(course=copy)
    assert (enrolment.person, enrolment.role) == (teacher.person, "teacher")
    assert Participation.objects.filter(lms_course__context_id="new", person=teacher.person).exists()
    assert not CourseAlias.objects.exists()
    done = text_of(teacher.get("launch-course-answered"))
    assert "Rhetoric 27” is connected" in done
    assert "can be undone until" in done
    assert "The lab" in text_of(teacher.get("launch"))
    student = Visitor(key, LAB, **{**STUDENT, **NEW})
    assert student.launch.course == copy
    assert Enrolment.objects.get(course=copy, person=student.person).role == "student"
    assert "Undo" not in text_of(teacher.get("launch-course-answered")), "now somebody is in it"
    assert Event.objects.get(type="course.copied").actor["id"] == str(teacher.person.pk)
    mapped = Event.objects.get(type="link.mapped")
    assert (mapped.data["course"], mapped.data["by"]) == (str(copy.pk), "teacher")


def test_an_undone_copy_is_asked_for_again(key, rhetoric):
    teacher = arrive(key)
    answer(teacher, "copy", rhetoric, code="rhet-27", name="Rhetoric 27")
    copy = Course.objects.get(code="rhet-27")
    response = teacher.post("launch-course-copied", copy.pk)
    assert response.status_code == 302
    assert not Course.objects.filter(code="rhet-27").exists()
    assert "Is this a copy?" in text_of(teacher.get("launch"))
    answer(teacher, "copy", rhetoric, code="rhet-27", name="Rhetoric 27")
    assert teacher.launch.course.code == "rhet-27"


def test_opening_the_very_course(client, key, rhetoric):
    teacher = arrive(key, custom_course_target_id="R/27")
    asked = teacher.client.get(teacher.url("launch"), {"choice": "link", "course": str(rhetoric.pk)})
    assert "those scores go to this course's gradebook too" in text_of(asked).replace("&#x27;", "'")
    answer(teacher, "link", rhetoric)
    assert Course.objects.count() == 1
    assert LmsCourse.objects.get(context_id="new").course == rhetoric
    alias = CourseAlias.objects.get()
    assert (alias.course, alias.value) == (rhetoric, "R/27")
    assert not refusal_of(client, key, custom_course_target_id="R/27", context_id="third")
    assert refusal_of(client, key, custom_course_target_id="R/28", context_id="third") == "course_not_ready"
    done = text_of(teacher.get("launch-course-answered"))
    assert "R/27" in done
    assert "undone" not in done


def test_the_sourcedid_is_learned_where_there_is_no_target_id(client, key, rhetoric):
    answer(arrive(key, lis_course_offering_sourcedid="SIS-27"), "link", rhetoric)
    assert CourseAlias.objects.get().value == "SIS-27"
    assert not refusal_of(client, key, context_id="third", lis_course_offering_sourcedid="SIS-27")


def test_a_target_id_becomes_the_code_and_no_alias(key, rhetoric):
    teacher = arrive(key, custom_course_target_id="rhet-27")
    asked = teacher.client.get(teacher.url("launch"), {"choice": "copy", "course": str(rhetoric.pk)})
    assert 'value="rhet-27"' in asked.content.decode()
    answer(teacher, "copy", rhetoric, code="rhet-27", name="Rhetoric 27")
    assert not CourseAlias.objects.exists()
    other = arrive(key, context_id="third", custom_course_target_id="rhet-28")
    answer(other, "copy", rhetoric, code="another", name="Another")
    assert CourseAlias.objects.get().value == "rhet-28"


# A link that names nothing


def test_starting_empty(client, key, rhetoric):
    teacher = arrive(key, "/lti/v1")
    text = text_of(teacher.get("launch"))
    assert "None of these: start empty" in text
    asked = teacher.client.get(teacher.url("launch"), {"choice": "empty"})
    assert "Nobody&#x27;s work is touched" in text_of(asked) or "Nobody's work is touched" in text_of(asked)
    answer(teacher, "empty", code="fresh", name="Fresh")
    fresh = Course.objects.get(code="fresh")
    assert (fresh.assignments.count(), fresh.organization) == (0, key.installation.organization)
    assert LmsCourse.objects.get(context_id="new").course == fresh
    assert teacher.launch.course == fresh
    assert "Go on to the course" in text_of(teacher.get("launch-course-answered"))
    assert teacher.get("launch").status_code == 200


def test_an_empty_course_is_no_answer_for_a_link_that_names_an_assignment(key, rhetoric):
    teacher = arrive(key)
    assert "start empty" not in text_of(teacher.get("launch"))
    assert teacher.client.get(teacher.url("launch"), {"choice": "empty"}).status_code == 404
    assert answer(teacher, "empty", code="fresh", name="Fresh").status_code == 404
    assert Course.objects.count() == 1


def test_after_the_copy_a_link_without_history_is_picked(key, rhetoric):
    teacher = arrive(key, "/lti/v1")
    answer(teacher, "copy", rhetoric, code="rhet-27", name="Rhetoric 27")
    copy = Course.objects.get(code="rhet-27")
    assert "Choose what this link shows" in text_of(teacher.get("launch-course-answered"))
    assert "Choose what this link shows" in text_of(teacher.get("launch"))
    teacher.post("launch-choose", assignment=str(copy.assignments.get().pk))
    assert ResourceLink.objects.get(resource_link_id="new-lab").assignment == copy.assignments.get()
    assert teacher.launch.assignment == copy.assignments.get()


def test_after_the_copy_a_link_with_history_opens_what_its_ancestor_did(client, key, rhetoric):
    history = {"ext_d2l_resource_link_id_history": "nobody,old-lab"}
    assert refusal_of(client, key, "/lti/v1", **history) == "course_not_ready"
    teacher = arrive(key, "/lti/v1", **history)
    assert "the link was copied from one that opens it" in text_of(teacher.get("launch"))
    answer(teacher, "copy", rhetoric, code="rhet-27", name="Rhetoric 27")
    lab = Course.objects.get(code="rhet-27").assignments.get()
    assert teacher.launch.assignment == lab
    assert not refusal_of(client, key, "/lti/v1", **history)
    assert not refusal_of(client, key, "/lti/v1", **history, resource_link_id="second")
    assert ResourceLink.objects.get(resource_link_id="second").assignment == lab


def test_a_slug(client, key, rhetoric):
    said = {"custom_assignment": "lab"}
    assert refusal_of(client, key, "/lti/v1", **said) == "course_not_ready"
    teacher = arrive(key, "/lti/v1", **said)
    answer(teacher, "copy", rhetoric, code="rhet-27", name="Rhetoric 27")
    assert teacher.launch.assignment.course.code == "rhet-27"
    assert not refusal_of(client, key, "/lti/v1", **said, resource_link_id="second")
    assert ResourceLink.objects.get(resource_link_id="second").assignment.course.code == "rhet-27"


def test_without_a_context_the_link_itself_remembers(client, key, rhetoric):
    said = {"context_id": "", "custom_context_id_history": ""}
    teacher = arrive(key, **said)
    answer(teacher, "link", rhetoric)
    assert LmsCourse.objects.get(context_id="").course is None
    assert not refusal_of(client, key, **said)
    assert refusal_of(client, key, **said, resource_link_id="other") == "course_not_ready"


def test_an_lms_course_that_the_owner_took_the_course_from_asks_again(client, key, rhetoric):
    answer(arrive(key), "link", rhetoric)
    assert not refusal_of(client, key)
    LmsCourse.objects.filter(context_id="new").update(course=None)
    assert refusal_of(client, key) == "course_not_ready"
    teacher = arrive(key)
    answer(teacher, "copy", rhetoric, code="rhet-27", name="Rhetoric 27")
    assert teacher.launch.course.code == "rhet-27"
    assert Visitor(key, LAB, **{**STUDENT, **NEW}).launch.course.code == "rhet-27"


# Candidates


def test_candidates_are_ranked_by_what_speaks_for_them(key, rhetoric):
    organization = key.installation.organization

    def fitting(code, name, **settings):
        course = CourseFactory(organization=organization, code=code, name=name, constant_urls=True, **settings)
        AssignmentFactory(course=course, slug="lab", constant_key="the-lab")
        return course

    fitting("zzz", "Merely fits")
    fitting("geo-26", "Geometry")
    fitting("parent", "The parent")
    CourseFactory(organization=organization, code="rhet-x", name="Lacks it", constant_urls=True)
    fitting("off", "LTI is off", lti_enabled=False)
    fitting("gone", "Archived and unnamed", archived=True)
    teacher = arrive(key, custom_parent_course_id="parent", lis_course_offering_sourcedid="SIS-geo-27")
    text = text_of(teacher.get("launch"))
    order = [
        text.index(name) for name in ("copy of “Rhetoric”", "Or of “The parent”", "Or of “Geometry”", "Merely fits")
    ]
    assert order == sorted(order)
    assert "the link names it as the course to copy" in text
    assert "its code is like “SIS-geo-27”" in text
    for name in ("Lacks it", "LTI is off", "Archived and unnamed"):
        assert name not in text
    searched = text_of(teacher.get("launch", q="merely"))
    assert "Merely fits" in searched
    assert "Geometry" not in searched
    assert "Nothing found for" in text_of(teacher.get("launch", q="nonsense"))


def test_last_terms_archived_course_can_be_copied_and_not_opened(key, rhetoric):
    Course.objects.update(archived=True)
    teacher = arrive(key)
    text = text_of(teacher.get("launch"))
    assert "copy of “Rhetoric”" in text
    assert "Open this very course" not in text
    assert answer(teacher, "link", rhetoric).status_code == 404
    assert answer(teacher, "copy", rhetoric, code="rhet-27", name="R").status_code == 302
    assert not teacher.launch.course.archived
    forged = arrive(key, context_id="x", custom_context_id_history="")
    assert answer(forged, "copy", rhetoric, code="rhet-28", name="R").status_code == 404


def test_nobody_elses_history_and_courses(key, rhetoric):
    """A forged history of another tenant's ids says nothing, and a foreign course cannot be chosen (I3)."""
    theirs = LtiKeyFactory()
    foreign = CourseFactory(
        organization=theirs.installation.organization, code="foreign", name="Foreign", constant_urls=True
    )
    AssignmentFactory(course=foreign, slug="lab", constant_key="the-lab")
    LmsCourseFactory(installation=theirs.installation, context_id="their-context", course=foreign, title="Theirs")
    teacher = arrive(
        key,
        custom_context_id_history="their-context",
        custom_parent_course_id=str(foreign.pk),
        custom_course_target_id="x",
    )
    text = text_of(teacher.get("launch"))
    assert "Foreign" not in text
    assert "Theirs" not in text
    assert "which does not exist here" in text
    for choice in ("copy", "link"):
        assert answer(teacher, choice, foreign, code="x", name="x").status_code == 404
        assert teacher.client.get(teacher.url("launch"), {"choice": choice, "course": foreign.pk}).status_code == 404
    for nonsense in ("", "nonsense", "\x00"):
        response = teacher.post("launch-course-answer", choice="copy", course=nonsense, code="x", name="x")
        assert response.status_code == 404
    assert Course.objects.count() == 2


def test_no_candidates_say_what_to_do(key, rhetoric):
    teacher = arrive(key)
    Course.objects.update(lti_enabled=False)
    text = text_of(teacher.get("launch"))
    assert "No course can be meant" in text
    assert "switch on “enable LTI”" in text


def test_statements_do_not_grow(key, rhetoric, django_assert_max_num_queries):
    for number in range(30):
        course = CourseFactory(organization=key.installation.organization, name=f"C{number:02}", constant_urls=True)
        AssignmentFactory(course=course, slug="lab", constant_key="the-lab")
    teacher = arrive(key)
    with django_assert_max_num_queries(14):
        text = text_of(teacher.get("launch"))
    assert "There are more. Search to find them." in text


# Who may answer, and what


def test_only_teachers_are_asked(client, key, rhetoric):
    teacher = arrive(key)
    for parameters in (STUDENT, TEACHER | {"roles": "Mentor", "user_id": "mentor"}):
        response = launch(client, LAB, key, {**parameters, **NEW})
        assert response["X-Launch-Error"] == "course_not_ready"
    Launch.objects.filter(pk=teacher.launch_id).update(role="student")
    assert answer(teacher, "copy", rhetoric, code="x", name="x").status_code == 404
    assert teacher.get("launch-course-answered").status_code == 404
    assert teacher.post("launch-course-continue").status_code == 404
    assert "Is this a copy?" not in text_of(teacher.get("launch"))
    assert Course.objects.count() == 1


def test_a_launch_that_asked_nothing_answers_nothing(key, rhetoric):
    teacher = Visitor(key, LAB, **{**TEACHER, "custom_course_target_id": "rhet"})
    for response in (
        answer(teacher, "copy", rhetoric, code="x", name="x"),
        teacher.post("launch-course-continue"),
        teacher.get("launch-course-answered"),
    ):
        assert response.status_code == 404


def test_a_forged_form_answers_nothing(key, rhetoric):
    teacher = arrive(key)
    assert answer(teacher, "link", rhetoric, token="forged").status_code == 403
    assert LmsCourse.objects.get(context_id="new").course is None


@pytest.mark.parametrize(
    ("code", "name", "message"),
    [
        ("rhet", "Name", "exists already"),
        ("learned", "Name", "by this name"),
        ("", "Name", "Give the copy a code"),
        ("a/b", "Name", "without slashes"),
        ("x" * 256, "Name", "255 characters"),
        ("nul\x00", "Name", "ull characters"),
        ("fine", "", "Give the copy a name"),
        ("fine", "n" * 256, "255 characters"),
    ],
)
def test_what_is_wrong_with_code_or_name_stands_at_the_field(key, rhetoric, code, name, message):
    CourseAlias.objects.create(organization=rhetoric.organization, course=rhetoric, value="learned")
    teacher = arrive(key)
    response = answer(teacher, "copy", rhetoric, code=code, name=name)
    assert response.status_code == 422
    assert message in text_of(response)
    assert Course.objects.count() == 1
    assert LmsCourse.objects.get(context_id="new").course is None
    generic = arrive(key, "/lti/v1")
    response = answer(generic, "empty", code=code, name=name)
    assert response.status_code == 422
    assert message.replace("the copy", "the course") in text_of(response)
    assert Course.objects.count() == 1


def test_a_double_click_makes_one_copy(key, rhetoric):
    teacher = arrive(key)
    for _ in range(2):
        response = answer(teacher, "copy", rhetoric, code="rhet-27", name="Rhetoric 27")
        assert response["Location"] == teacher.url("launch-course-answered")
    assert Course.objects.count() == 2


# Two teachers


def test_the_second_teacher_is_told_and_goes_on(key, rhetoric):
    first, second, third = arrive(key), arrive(key, user_id="teacher-2"), arrive(key, user_id="teacher-3")
    answer(first, "copy", rhetoric, code="rhet-27", name="Rhetoric 27")
    copy = Course.objects.get(code="rhet-27")
    for response in (
        answer(second, "copy", rhetoric, code="rhet-28", name="Rhetoric 28"),
        answer(second, "copy", rhetoric, code="rhet-27", name="Rhetoric 27"),
        answer(second, "link", rhetoric),
    ):
        assert response.status_code == 409
        assert "Somebody else has answered already" in text_of(response)
        assert "Rhetoric 27" in text_of(response)
    assert Course.objects.count() == 2
    assert "Somebody else has answered already" in text_of(second.get("launch"))
    assert not Enrolment.objects.filter(person=second.person).exists()
    second.post("launch-course-continue")
    assert second.launch.assignment == copy.assignments.get()
    assert Enrolment.objects.get(person=second.person).role == "teacher"
    assert answer(third, "link", copy).status_code == 302, "the same answer is no contradiction"


def test_a_target_id_that_was_learned_meanwhile(key, rhetoric):
    said = {"custom_course_target_id": "T-27"}
    first, second = arrive(key, **said), arrive(key, context_id="another", user_id="teacher-2", **said)
    answer(first, "link", rhetoric)
    assert answer(second, "copy", rhetoric, code="rhet-28", name="Rhetoric 28").status_code == 409
    assert Course.objects.count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="an in-memory database has one connection")
def test_five_teachers_at_once(key, rhetoric):
    teachers = [arrive(key, user_id=f"teacher-{number}") for number in range(5)]

    def one(number):
        try:
            return answer(teachers[number], "copy", rhetoric, code=f"copy-{number % 3}", name="Copy").status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(5) as pool:
        answers = sorted(pool.map(one, range(5)))
    assert answers == [302, 409, 409, 409, 409]
    assert Course.objects.count() == 2
    assert Event.objects.filter(type="course.copied").count() == 1
    assert connection.vendor == "postgresql"


# Over LTI 1.3


@pytest.mark.usefixtures("loopback")
def test_a_student_first_and_a_teacher_over_lti_1p3(client, key, rhetoric):
    with platform_of(key.installation) as platform:

        def at(browser, **claims):
            target = settings.BASE_URL + LAB
            named = {"context": {"id": "new", "title": "Rhetoric, autumn"}, "custom": {"Context.id.history": "old"}}
            return platform.launch(browser, target, **{**named, **claims})

        assert at(client)["X-Launch-Error"] == "course_not_ready"
        teacher = Client()
        launch_id = launch_id_of(at(teacher, sub="teacher-1", roles=[f"{ROLE}Instructor"]))
        assert "This looks like a copy of “Rhetoric”" in text_of(teacher.get(f"/launches/{launch_id}/"))
        token = Browser(teacher.cookies[COOKIE].value, returned=True).token(UUID(launch_id))
        chosen = {"choice": "copy", "course": str(rhetoric.pk), "code": "rhet-27", "name": "Rhetoric 27"}
        teacher.post(reverse("launch-course-answer", args=[launch_id]), {**chosen, "launch_token": token})
        copy = Course.objects.get(code="rhet-27")
        assert Launch.objects.get(pk=launch_id).assignment == copy.assignments.get()
        opened = Launch.objects.get(pk=launch_id_of(at(client)))
        assert (opened.course, opened.role, opened.lti_version) == (copy, "student", "1.3")


# Texts


def test_texts_from_outside_are_escaped_once(key, rhetoric):
    Course.objects.update(name=ATTACK)
    LmsCourse.objects.update(title=ATTACK)
    teacher = arrive(
        key,
        context_title=ATTACK,
        resource_link_title=ATTACK,
        custom_course_target_id=ATTACK,
        custom_parent_course_id=ATTACK,
    )
    pages = [
        teacher.get("launch"),
        teacher.client.get(teacher.url("launch"), {"choice": "copy", "course": str(rhetoric.pk)}),
        teacher.client.get(teacher.url("launch"), {"choice": "link", "course": str(rhetoric.pk)}),
        teacher.get("launch", q=ATTACK),
    ]
    answer(teacher, "copy", rhetoric, code="c", name=ATTACK)
    pages += [teacher.get("launch-course-answered"), arrive(key, user_id="t2").get("launch")]
    for page in pages:
        html = page.content.decode()
        assert page.status_code == 200
        assert ATTACK not in html
        assert "&amp;lt;script" not in html
