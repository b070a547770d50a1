"""Custom parameter `page`: the launch opens a section of a page, and hands it on to content applications (A37)."""

import jwt
import pytest
from django.test import Client

from courses.addresses import assignment_url
from launches.models import Launch
from tests.launching import STUDENT, launch_id_of
from tests.platform_1p3 import ROLE
from tests.visiting import Visitor, mentor, path_of, student, teacher, text_of

pytestmark = pytest.mark.django_db

BODY = 'Begin here.\n\n# First steps\n\nx\n\n# <b>Odd</b> & "end"\n\ny\n\n# Last words\n\nz'
# Raw and as LTI 1.1 maps them, with and without either prefix.
SPELLINGS = [
    "custom_page",
    "custom_codio_page",
    "custom_custom_page",
    "custom_custom_codio_page",
    "custom_Page",
    "CUSTOM_CODIO_PAGE",
    "custom_codio-page",
    "custom_Codio:Page",
    "page",
    "codio_page",
]


@pytest.fixture(autouse=True)
def _with_headings(assignment):
    assignment.body = BODY
    assignment.save()


def opened(response):
    """The anchor that the page says it opens; "" where none."""
    asked = response.context.get("asked_for")
    html = response.content.decode()
    if asked is None or asked.section is None:
        assert "data-opens-section" not in html
        return ""
    assert f'href="#{asked.section.anchor}" data-opens-section' in html
    assert f'id="{asked.section.anchor}"' in html
    return asked.section.anchor


@pytest.mark.parametrize("name", SPELLINGS)
def test_spellings_over_lti_1p1(key, assignment, name):
    assert opened(student(key, assignment, **{name: "Last words"}).get("launch")) == "section-last-words"


@pytest.mark.parametrize("query", ["page=last-words", "codio_page=Last%20words", "custom_codio_page=Last+words"])
def test_in_the_query_of_the_launch_url(key, lti_1p3, assignment, query):
    assert opened(Visitor(key, f"{path_of(assignment)}?{query}", **STUDENT).get("launch")) == "section-last-words"
    client = Client()
    response = lti_1p3.launch(client, f"{assignment_url(assignment)}?{query}")
    assert opened(client.get(response["Location"])) == "section-last-words"


@pytest.mark.parametrize("name", ["page", "codio_page", "custom_page", "custom_codio_page", "Codio_Page", "codio-page"])
def test_spellings_over_lti_1p3(lti_1p3, assignment, name):
    client = Client()
    response = lti_1p3.launch(client, assignment_url(assignment), custom={name: "LAST WORDS"})
    assert opened(client.get(response["Location"])) == "section-last-words"


@pytest.mark.parametrize("value", ["", "  ", "$Context.page", "@X@page@X@"])
def test_no_page_asked_for(key, assignment, value):
    for who in (student, teacher):
        page = who(key, assignment, custom_page=value).get("launch")
        assert page.context["asked_for"] is None
        assert opened(page) == ""


def test_a_name_that_no_heading_has_opens_the_top_and_tells_teachers(key, assignment):
    name = "<script>alert(1)</script> nowhere"
    page = student(key, assignment, custom_page=name).get("launch")
    assert opened(page) == ""
    assert "nowhere" not in page.content.decode()
    for page in (
        teacher(key, assignment, custom_page=name).get("launch"),
        teacher(key, assignment, custom_page=name, roles="Mentor").get("launch"),
    ):
        assert opened(page) == ""
        assert "no heading of this assignment is called so" in text_of(page)
        assert "&lt;script&gt;alert(1)&lt;/script&gt; nowhere" in page.content.decode()


def test_a_name_without_end_is_no_500(key, assignment):
    page = teacher(key, assignment, custom_page="long " * 2000).get("launch")
    assert page.status_code == 200
    assert "long " * 100 not in text_of(page)


def test_teachers_see_the_section_among_what_students_see(key, assignment):
    page = teacher(key, assignment, custom_page="First steps").get("launch")
    assert opened(page) == "section-first-steps"
    assert '<details class="fold" open>' in page.content.decode()
    assert '<details class="fold" open>' not in mentor(key, assignment).get("launch").content.decode()


def test_a_heading_with_markup_is_escaped_once(key, assignment):
    page = student(key, assignment, custom_page='<b>Odd</b> & "end"').get("launch")
    assert opened(page) == "section-b-odd-b-end"
    assert "&lt;b&gt;Odd&lt;/b&gt; &amp; &quot;end&quot;</a>" in page.content.decode()


def test_other_pages_of_the_visit_stay_at_their_top(key, assignment, link_assignment):
    visitor = student(key, assignment, custom_page="First steps")
    assert visitor.get("launch-assignment", assignment.id).context["asked_for"] is None
    other = student(key, link_assignment, custom_page="First steps")
    assert other.get("launch-assignment", assignment.id).context["asked_for"] is None


@pytest.mark.parametrize("name", ["custom_page", "custom_custom_codio_page", "codio_page"])
def test_content_applications_get_it_without_prefix(key, link_assignment, name):
    page = student(key, link_assignment, **{name: "Chapter 2"}).get("launch")
    claims = jwt.decode(page.context["hand_off"].token, options={"verify_signature": False})
    assert claims["custom"]["page"] == "Chapter 2"


def test_content_applications_get_it_over_lti_1p3_and_teachers_take_it_along(lti_1p3, link_assignment):
    client = Client()
    response = lti_1p3.launch(
        client, assignment_url(link_assignment), custom={"codio_page": "Chapter 2"}, roles=[f"{ROLE}Instructor"]
    )
    launch_id = launch_id_of(response)
    page = client.get(f"/launches/{launch_id}/assignments/{link_assignment.id}/content")
    claims = jwt.decode(page.context["hand_off"].token, options={"verify_signature": False})
    assert claims["custom"] == {"codio_page": "Chapter 2", "page": "Chapter 2"}
    assert Launch.objects.get(pk=launch_id).custom == claims["custom"]
