"""The public XML configuration (A47 to A53), and what each of its placements opens."""

import pytest
from django.conf import settings
from django.core.cache import cache
from lxml import etree

from courses.models import LmsCourse
from launches.models import Launch
from lti.basic_lti_link import BLTI, LTICM
from lti.tests.schemas import LINK_SCHEMAS, complaints
from lti.v1p3 import vocabulary as names
from organizations.models import LtiKey
from tests.choosing import CONTENT_ITEM
from tests.factories import CourseFactory, InstallationFactory, LtiKeyFactory
from tests.launching import STUDENT, TEACHER, launch, launch_id_of
from tests.platform_1p3 import ROLE, platform_of
from tests.tenants import make_tenant
from tests.visiting import text_of

pytestmark = pytest.mark.django_db

COURSE = "/lti/course_navigation"


def placements_of(content):
    return {
        options.get("name"): {one.get("name"): one.text for one in options.findall(f"{{{LTICM}}}property")}
        for options in etree.fromstring(content).iter(f"{{{LTICM}}}options")
    }


def test_an_lms_reads_everything_it_needs(client):
    tenant = make_tenant("Acme")
    response = client.get("/lti/v1/acme/config.xml")
    assert (response.status_code, response["Content-Type"]) == (200, "application/xml; charset=utf-8")
    assert not response.cookies
    root = etree.fromstring(response.content)
    assert root.findtext(f"{{{BLTI}}}launch_url") == "http://testserver/lti/v1"
    assert "acme" in root.findtext(f"{{{BLTI}}}title")
    found = {name: properties["url"] for name, properties in placements_of(response.content).items()}
    assert found == {
        "resource_selection": "http://testserver/lti/resource_selection",
        "assignment_selection": "http://testserver/lti/resource_selection",
        "link_selection": "http://testserver/lti/resource_selection",
        "editor_button": "http://testserver/lti/editor_button",
        "course_navigation": "http://testserver/lti/course_navigation",
    }
    # Neither whose tool it is (J15), nor a key or secret.
    for trace in [*tenant.traces, tenant.row(LtiKey).consumer_key, "consumer_key", "shared_secret"]:
        assert trace not in response.content.decode()


def test_head_answers_as_get_and_posts_are_refused(client):
    make_tenant("Acme")
    assert client.head("/lti/v1/acme/config.xml").status_code == 200
    assert client.post("/lti/v1/acme/config.xml").status_code == 405


def test_nobody_and_suspended_look_alike(client):
    tenant = make_tenant("Acme")
    tenant.organization.enabled = False
    tenant.organization.save()
    assert client.get("/lti/v1/acme/config.xml").status_code == 404
    assert client.get("/lti/v1/nobody/config.xml").status_code == 404


def test_the_icon_of_the_editor_button_is_there(client):
    make_tenant("Acme")
    icon = placements_of(client.get("/lti/v1/acme/config.xml").content)["editor_button"]["icon_url"]
    assert client.get(icon.removeprefix(settings.BASE_URL)).status_code == 200


def test_placements_and_privacy_can_be_preset(client):
    make_tenant("Acme")
    url = "/lti/v1/acme/config.xml"
    plain = client.get(url, {"placements": ""}).content
    assert complaints(LINK_SCHEMAS["1.1"], plain) == []
    assert set(placements_of(client.get(url, {"placements": "editor_button, course_navigation"}).content)) == {
        "editor_button",
        "course_navigation",
    }
    assert b">anonymous<" in client.get(url, {"privacy_level": "anonymous"}).content
    for query in ({"placements": "homework_submission"}, {"privacy_level": "<all>"}):
        response = client.get(url, query)
        assert response.status_code == 400
        assert "takes: " in response.content.decode()
        assert "<all>" not in response.content.decode()


@pytest.mark.parametrize("path", ["/lti/resource_selection", "/lti/editor_button", "/lti/v1"])
def test_selections_and_the_editor_button_open_the_picker(client, key, assignment, path):
    response = launch(client, path, key, CONTENT_ITEM)
    page = client.get(f"/launches/{launch_id_of(response)}/")
    assert page.status_code == 200
    assert "Essay" in text_of(page)
    refused = launch(client, path, key, CONTENT_ITEM, roles="Learner")
    assert (refused.status_code, refused["X-Launch-Error"]) == (403, "role_not_allowed")


def remembered(key, course):
    return LmsCourse.objects.create(installation=key.installation, context_id=STUDENT["context_id"], course=course)


@pytest.mark.parametrize("parameters", [STUDENT, TEACHER], ids=["student", "teacher"])
def test_course_navigation_opens_the_lms_courses_own_course(client, key, assignment, parameters):
    remembered(key, assignment.course)
    row = Launch.objects.get(pk=launch_id_of(launch(client, COURSE, key, parameters, resource_link_id="context-1")))
    assert (row.course, row.assignment) == (assignment.course, None)
    page = text_of(client.get(f"/launches/{row.pk}/"))
    assert "Rhetoric" in page
    assert "Essay" in page


def test_course_navigation_over_lti_1p3(client, settings):
    settings.OUTBOUND_ALLOW_HTTP = True
    settings.OUTBOUND_ALLOWED_PRIVATE_HOSTS = ["127.0.0.1"]
    cache.clear()
    installation = InstallationFactory()
    course = CourseFactory(organization=installation.organization)
    LmsCourse.objects.create(installation=installation, context_id="context-1", course=course)
    configured = client.get(f"/lti/1p3/{installation.organization.slug}/config.json").json()
    (navigation,) = [
        placement
        for placement in configured["extensions"][0]["settings"]["placements"]
        if placement["placement"] == "course_navigation"
    ]
    with platform_of(installation) as platform:
        response = platform.launch(client, navigation["target_link_uri"], **{names.ROLES: [f"{ROLE}Learner"]})
    row = Launch.objects.get(pk=launch_id_of(response))
    assert (row.course, row.assignment, row.lti_version) == (course, None, "1.3")


def test_course_navigation_before_anything_was_chosen(client, key, assignment):
    student = launch(client, COURSE, key, resource_link_id="context-1")
    assert (student.status_code, student["X-Launch-Error"]) == (409, "course_not_ready")
    teacher = launch(client, COURSE, key, TEACHER, resource_link_id="context-1")
    page = client.get(f"/launches/{launch_id_of(teacher)}/")
    assert page.status_code == 200
    assert "Essay" in text_of(page)


def test_course_navigation_obeys_the_target_id(client, key, assignment):
    remembered(key, assignment.course)
    other = CourseFactory(organization=assignment.course.organization, code="cs102")
    row = Launch.objects.get(pk=launch_id_of(launch(client, COURSE, key, custom_course_target_id="cs102")))
    assert row.course == other
    unknown = launch(client, COURSE, key, custom_course_target_id="cs999")
    assert (unknown.status_code, unknown["X-Launch-Error"]) == (409, "course_not_ready")
    asked = launch(client, COURSE, key, TEACHER, custom_course_target_id="cs999")
    page = client.get(f"/launches/{launch_id_of(asked)}/", follow=True)
    assert page.status_code == 200
    assert "cs999" in page.content.decode()


def test_a_link_mapped_to_an_assignment_does_not_change_the_navigation(client, key, assignment):
    """Canvas names the course itself as the link, and sends wrong link ids at times (C8)."""
    launch(client, f"/lti/assignments/{assignment.pk}", key, resource_link_id="context-1")
    row = Launch.objects.get(pk=launch_id_of(launch(client, COURSE, key, resource_link_id="context-1")))
    assert (row.course, row.assignment) == (assignment.course, None)


@pytest.mark.parametrize("change", [{"archived": True}, {"lti_enabled": False}])
def test_course_navigation_into_a_course_that_is_closed(client, key, assignment, change):
    remembered(key, CourseFactory(organization=assignment.course.organization, **change))
    response = launch(client, COURSE, key)
    assert (response.status_code, response["X-Launch-Error"]) == (403, "lti_disabled")


def test_another_organizations_course_is_never_opened(client, key, assignment):
    foreign = LtiKeyFactory()
    remembered(foreign, CourseFactory(organization=foreign.installation.organization, code="theirs"))
    response = launch(client, COURSE, key, custom_course_target_id="theirs")
    assert (response.status_code, response["X-Launch-Error"]) == (409, "course_not_ready")
