"""Forms end at the organization: forged references, hidden organizations, owners of several."""

import pytest

from courses.models import Assignment, Course, LmsCourse, Module
from organizations.models import Installation
from organizations.tests.admin_client import operator_client, owner_client, text_of
from tests.factories import (
    AssignmentFactory,
    CourseFactory,
    InstallationFactory,
    LmsCourseFactory,
    OrganizationFactory,
)

pytestmark = pytest.mark.django_db

COURSE = {
    "name": "Databases",
    "code": "db1",
    "lti_enabled": "on",
    "send_grade": "GRADE_RELEASE",
    "iframe_width": "1000",
    "iframe_height": "800",
}
ASSIGNMENT = {"title": "One", "slug": "one", "kind": "page", "points_possible": "10", "position": "0"}
NO_MODULES = {"modules-TOTAL_FORMS": "0", "modules-INITIAL_FORMS": "0"}


@pytest.fixture
def own(db):
    return OrganizationFactory(name="Own Organization")


@pytest.fixture
def foreign(db):
    return OrganizationFactory(name="Foreign Organization")


def test_the_organization_of_a_new_row_is_set_without_asking(own, foreign):
    client = owner_client(own)
    assert "Own Organization</option>" not in text_of(client.get("/admin/courses/course/add/"))
    client.post("/admin/courses/course/add/", COURSE | {"organization": str(foreign.pk)})
    assert Course.objects.get().organization == own


def test_an_owner_of_two_chooses_and_cannot_choose_a_third(own, foreign):
    second = OrganizationFactory(name="Second Organization")
    client = owner_client(own, second)
    page = text_of(client.get("/admin/courses/course/add/"))
    assert "Second Organization" in page
    assert "Foreign Organization" not in page
    response = client.post("/admin/courses/course/add/", COURSE | {"organization": str(foreign.pk)})
    assert response.status_code == 200
    assert "Select a valid choice" in text_of(response)
    client.post("/admin/courses/course/add/", COURSE | {"organization": str(second.pk)})
    assert Course.objects.get().organization == second


def test_a_row_cannot_move_to_another_organization(own):
    second = OrganizationFactory()
    course = CourseFactory(organization=own)
    form = COURSE | NO_MODULES | {"organization": str(second.pk)}
    assert owner_client(own, second).post(f"/admin/courses/course/{course.pk}/change/", form).status_code == 302
    course.refresh_from_db()
    assert (course.organization, course.name) == (own, "Databases")


def test_a_code_that_is_taken_is_a_form_error(own):
    CourseFactory(organization=own, code="db1")
    response = owner_client(own).post("/admin/courses/course/add/", COURSE)
    assert response.status_code == 200
    assert "already exists" in text_of(response) or "violated" in text_of(response)
    assert Course.objects.count() == 1


def test_the_same_code_in_another_organization_is_no_news(own, foreign):
    CourseFactory(organization=foreign, code="db1")
    owner_client(own).post("/admin/courses/course/add/", COURSE)
    assert Course.objects.filter(organization=own, code="db1").exists()


def test_forged_foreign_keys_are_form_errors(own, foreign):
    theirs = CourseFactory(organization=foreign)
    their_module = Module.objects.create(course=theirs, name="Theirs")
    mine = CourseFactory(organization=own)
    client = owner_client(own)
    for forged in ({"course": theirs.pk}, {"course": mine.pk, "module": their_module.pk}):
        response = client.post("/admin/courses/assignment/add/", ASSIGNMENT | forged)
        assert response.status_code == 200, forged
        assert "Select a valid choice" in text_of(response)
    assert not Assignment.objects.exists()
    lms_course = LmsCourseFactory(installation__organization=own)
    response = client.post(
        f"/admin/courses/lmscourse/{lms_course.pk}/change/",
        {"course": theirs.pk, "resource_links-TOTAL_FORMS": "0", "resource_links-INITIAL_FORMS": "0"},
    )
    assert response.status_code == 200
    assert LmsCourse.objects.get().course is None


@pytest.mark.parametrize("who", ["owner of both", "operator"])
def test_whoever_sees_two_organizations_cannot_mix_them(who, own, foreign):
    client = operator_client() if who == "operator" else owner_client(own, foreign)
    lms_course = LmsCourseFactory(installation__organization=own)
    theirs = CourseFactory(organization=foreign)
    response = client.post(
        f"/admin/courses/lmscourse/{lms_course.pk}/change/",
        {"course": theirs.pk, "resource_links-TOTAL_FORMS": "0", "resource_links-INITIAL_FORMS": "0"},
    )
    assert response.status_code == 200
    lms_course.refresh_from_db()
    assert lms_course.course is None
    module = Module.objects.create(course=CourseFactory(organization=own), name="Mine")
    response = client.post("/admin/courses/assignment/add/", ASSIGNMENT | {"course": theirs.pk, "module": module.pk})
    assert response.status_code == 200
    assert "another" in text_of(response)
    assert not Assignment.objects.exists()


def test_forged_inline_rows_are_refused(own, foreign):
    mine = CourseFactory(organization=own)
    theirs = Module.objects.create(course=CourseFactory(organization=foreign), name="Theirs")
    form = COURSE | {
        "modules-TOTAL_FORMS": "1",
        "modules-INITIAL_FORMS": "1",
        "modules-0-id": str(theirs.pk),
        "modules-0-course": str(mine.pk),
        "modules-0-name": "Stolen",
        "modules-0-position": "0",
        "modules-0-DELETE": "on",
    }
    owner_client(own).post(f"/admin/courses/course/{mine.pk}/change/", form)
    theirs.refresh_from_db()
    assert (theirs.name, theirs.course.organization) == ("Theirs", foreign)


def test_choices_and_filters_name_own_rows_only(own, foreign):
    InstallationFactory(organization=own, name="My Moodle")
    InstallationFactory(organization=foreign, name="Their Moodle")
    text = text_of(owner_client(own).get("/admin/launches/launch/"))
    assert "My Moodle" in text
    assert "Their Moodle" not in text


def test_operators_see_every_organization_with_its_name(own, foreign):
    CourseFactory(organization=own, name="Botany")
    CourseFactory(organization=foreign, name="Zoology")
    text = text_of(operator_client().get("/admin/courses/course/"))
    for name in ("Botany", "Zoology", "Own Organization", "Foreign Organization"):
        assert name in text
    only = text_of(operator_client().get(f"/admin/courses/course/?organization={own.pk}"))
    assert "Botany" in only
    assert "Zoology" not in only


def test_what_is_in_use_is_not_deleted(own):
    from tests.factories import EnrolmentFactory

    course = EnrolmentFactory(course__organization=own).course
    empty = CourseFactory(organization=own)
    client = owner_client(own)
    assert client.post(f"/admin/courses/course/{course.pk}/delete/", {"post": "yes"}).status_code == 404
    assert client.post(f"/admin/courses/course/{empty.pk}/delete/", {"post": "yes"}).status_code == 302
    assert list(Course.objects.all()) == [course]


def test_nothing_is_deleted_in_bulk(own):
    rows = [InstallationFactory(organization=own) for _ in range(2)]
    form = {"action": "delete_selected", "_selected_action": [str(row.pk) for row in rows], "post": "yes"}
    owner_client(own).post("/admin/organizations/installation/", form)
    assert Installation.objects.count() == 2


def test_an_assignment_takes_modules_of_its_own_course(own):
    assignment = AssignmentFactory(course__organization=own)
    other = Module.objects.create(course=CourseFactory(organization=own), name="Other course's")
    client = owner_client(own)
    path = f"/admin/courses/assignment/{assignment.pk}/change/"
    assert "Other course" not in text_of(client.get(path))
    response = client.post(path, ASSIGNMENT | {"module": other.pk})
    assert response.status_code == 200
    assignment.refresh_from_db()
    assert assignment.module is None
