"""Courses and assignments through the API."""

import csv
import io
import zipfile
from decimal import Decimal

import pytest

from api.tests.calling import fields_of, problem_of
from courses.models import Assignment, Course
from tests.factories import AssignmentFactory, CourseFactory

pytestmark = pytest.mark.django_db


def test_a_course_is_made_with_defaults(api):
    response = api.post("/courses", {"code": "cs101"})
    assert response.status_code == 201
    course = Course.objects.get()
    assert course.organization == api.organization
    assert response.json() == {
        "id": str(course.id),
        "code": "cs101",
        "name": "cs101",
        "lti_enabled": True,
        "constant_urls": False,
        "course_copy": False,
        "enroll_only": False,
        "lms_course_url": None,
        "release_grades_automatically": False,
        "send_grade": "GRADE_RELEASE",
        "hide_not_started": False,
        "filter_learners_for_mentors": False,
        "public_feedback_link": False,
        "iframe_width": 1000,
        "iframe_height": 800,
        "archived": False,
        "modules": [],
        "enroll_url": f"http://testserver/lti/courses/{course.id}/enroll",
    }
    assert api.get(f"/courses/{course.id}").json() == response.json()


def test_a_course_is_made_with_everything(api):
    settings = {
        "code": "cs101",
        "name": "Introduction",
        "lti_enabled": False,
        "constant_urls": True,
        "course_copy": True,
        "enroll_only": True,
        "lms_course_url": "https://lms.example/course/view.php?id=5",
        "release_grades_automatically": True,
        "send_grade": "ALWAYS",
        "hide_not_started": True,
        "filter_learners_for_mentors": True,
        "public_feedback_link": True,
        "iframe_width": 200,
        "iframe_height": 4000,
        "archived": True,
        "modules": [{"name": "Week 1"}, {"name": "Week 2"}],
    }
    answer = api.post("/courses", settings).json()
    assert settings.items() <= answer.items()


def test_a_change_changes_what_it_names_alone(api):
    course = CourseFactory(organization=api.organization, code="cs101", name="Old", constant_urls=True)
    response = api.patch(f"/courses/{course.id}", {"name": "New"})
    assert response.status_code == 200
    course.refresh_from_db()
    assert (course.name, course.code, course.constant_urls) == ("New", "cs101", True)


def test_a_link_to_the_lms_is_taken_away_by_null(api):
    course = CourseFactory(organization=api.organization, lms_course_url="https://lms.example/")
    assert api.patch(f"/courses/{course.id}", {"lms_course_url": None}).json()["lms_course_url"] is None


def test_modules_follow_the_order_of_the_last_change(api):
    course = api.post("/courses", {"code": "c", "modules": [{"name": "A"}, {"name": "B"}]}).json()
    answer = api.patch(f"/courses/{course['id']}", {"modules": [{"name": "B"}, {"name": "C"}, {"name": "A"}]}).json()
    assert answer["modules"] == [{"name": "B"}, {"name": "C"}, {"name": "A"}]
    twice = api.patch(f"/courses/{course['id']}", {"modules": [{"name": "A"}, {"name": "A"}]})
    assert "modules[1].name" in fields_of(twice)


def test_a_code_is_taken_once_in_an_organization(api, stranger):
    assert api.post("/courses", {"code": "cs101"}).status_code == 201
    assert stranger.post("/courses", {"code": "cs101"}).status_code == 201
    assert "code" in fields_of(api.post("/courses", {"code": "cs101"}), 409)
    other = api.post("/courses", {"code": "cs102"}).json()
    assert "code" in fields_of(api.patch(f"/courses/{other['id']}", {"code": "cs101"}), 409)
    assert Course.objects.filter(organization=api.organization).count() == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("code", ""),
        ("code", "a/b"),
        ("code", "x" * 256),
        ("code", "a\x00b"),
        ("code", 7),
        ("code", None),
        ("name", ["x"]),
        ("name", "   "),
        ("name", "line\nbreak"),
        ("name", "\ud800"),
        ("lti_enabled", "yes"),
        ("lti_enabled", 1),
        ("lti_enabled", None),
        ("send_grade", "SOMETIMES"),
        ("lms_course_url", "javascript:alert(1)"),
        ("lms_course_url", "https://"),
        ("lms_course_url", "https://" + "x" * 3000),
        ("lms_course_url", "https://user:word@lms.example/"),
        ("lms_course_url", "ftp://lms.example/"),
        ("lms_course_url", "https://lms.example/\x00"),
        ("iframe_width", 199),
        ("iframe_width", 4001),
        ("iframe_width", None),
        ("iframe_height", "800"),
        ("iframe_height", 800.5),
        ("iframe_height", True),
        ("hide_not_started", "no"),
        ("filter_learners_for_mentors", 1),
        ("public_feedback_link", None),
        ("modules", "Week 1"),
        ("modules", [{"name": "a", "position": 1}]),
        ("rooms", []),
        ("__proto__", {}),
    ],
)
def test_bad_fields_are_named(api, field, value):
    response = api.post("/courses", {"code": "cs101", field: value})
    assert any(name.startswith(field) for name in fields_of(response))
    assert not Course.objects.exists()


def test_an_assignment_is_made_listed_and_shown(api):
    course = CourseFactory(organization=api.organization)
    response = api.post(
        f"/courses/{course.id}/assignments",
        {
            "slug": "hello",
            "module": "Week 1",
            "title": "Hello",
            "points_possible": 10.5,
            "body": "# Hi\n\n*there*",
            "send_grade": "ALWAYS",
            "opens_at": "2030-01-31T18:00:00+01:00",
            "closes_at": "2030-02-01T00:00:00Z",
        },
    )
    assert response.status_code == 201
    assignment = Assignment.objects.get()
    answer = response.json()
    assert answer == {
        "id": str(assignment.id),
        "course": str(course.id),
        "slug": "hello",
        "title": "Hello",
        "module": "Week 1",
        "kind": "page",
        "points_possible": 10.5,
        "body": "# Hi\n\n*there*",
        "content_url": None,
        "room": None,
        "attendance": None,
        "send_grade": "ALWAYS",
        "enabled": True,
        "opens_at": "2030-01-31T17:00:00Z",
        "due_at": None,
        "closes_at": "2030-02-01T00:00:00Z",
        "constant_key": assignment.constant_key,
        "url": f"http://testserver/lti/assignments/{assignment.id}",
        "constant_url": f"http://testserver/lti/constant/{assignment.constant_key}",
    }
    assert api.get(f"/assignments/{assignment.id}").json() == answer
    assert api.get(f"/courses/{course.id}/assignments").json() == {"items": [answer], "next": None}


def test_a_link_assignment_hands_off_to_its_content(api):
    course = CourseFactory(organization=api.organization)
    path = f"/courses/{course.id}/assignments"
    assert "content_url" in fields_of(api.post(path, {"slug": "lab", "kind": "link"}))
    url = "https://content.example/lab"
    made = api.post(path, {"slug": "lab", "kind": "link", "content_url": url}).json()
    assert made["content_url"] == url
    assert "content_url" in fields_of(api.post(path, {"slug": "page", "kind": "page", "content_url": url}))
    page = api.patch(f"/assignments/{made['id']}", {"kind": "page"}).json()
    assert (page["kind"], page["content_url"]) == ("page", None)


def test_plain_http_content_needs_the_setting(api, settings):
    course = CourseFactory(organization=api.organization)
    body = {"slug": "lab", "kind": "link", "content_url": "http://content.example/lab"}
    assert "content_url" in fields_of(api.post(f"/courses/{course.id}/assignments", body))
    settings.OUTBOUND_ALLOW_HTTP = True
    assert api.post(f"/courses/{course.id}/assignments", body).status_code == 201


def test_a_change_is_checked_against_what_is_stored(api):
    assignment = AssignmentFactory(course__organization=api.organization, opens_at="2030-01-02T00:00:00Z")
    path = f"/assignments/{assignment.id}"
    assert "closes_at" in fields_of(api.patch(path, {"closes_at": "2030-01-01T00:00:00Z"}))
    assert "closes_at" in fields_of(api.patch(path, {"closes_at": "2030-01-02T01:00:00+01:00"}))
    assert api.patch(path, {"closes_at": "2030-01-03T00:00:00Z"}).status_code == 200
    assert api.patch(path, {"opens_at": None}).json()["opens_at"] is None


def test_a_slug_is_taken_once_in_a_course(api):
    assignment = AssignmentFactory(course__organization=api.organization, slug="one")
    other = AssignmentFactory(course=assignment.course, slug="two")
    path = f"/courses/{assignment.course_id}/assignments"
    assert "slug" in fields_of(api.post(path, {"slug": "one"}), 409)
    assert "slug" in fields_of(api.patch(f"/assignments/{other.id}", {"slug": "one"}), 409)
    assert api.patch(f"/assignments/{other.id}", {"slug": "three"}).json()["slug"] == "three"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("slug", "a b"),
        ("slug", "-a"),
        ("slug", "x" * 101),
        ("slug", "ok\n"),
        ("kind", "quiz"),
        ("points_possible", -1),
        ("points_possible", "10"),
        ("points_possible", True),
        ("points_possible", None),
        ("points_possible", 10.001),
        ("points_possible", 10_000_000),
        ("points_possible", 10**400),
        ("points_possible", [1]),
        ("body", "a\x00b"),
        ("body", "x" * 500_001),
        ("opens_at", "2030-01-01T00:00:00"),
        ("opens_at", "2030-01-01"),
        ("opens_at", "2030-13-01T00:00:00Z"),
        ("opens_at", "0001-01-01T00:00:00+14:00"),
        ("opens_at", 1893456000),
        ("opens_at", "tomorrow"),
        ("content_url", "https://user:x y@content.example"),
        ("room", "office-hours"),
    ],
)
def test_bad_assignment_fields_are_named(api, field, value):
    course = CourseFactory(organization=api.organization)
    response = api.post(f"/courses/{course.id}/assignments", {"slug": "hello", field: value})
    assert field in fields_of(response)
    assert not Assignment.objects.exists()


def test_the_export_has_every_assignment_and_no_formula(api):
    course = CourseFactory(organization=api.organization, name="=HYPERLINK(1)")
    first = AssignmentFactory(course=course, title="+1", position=0, points_possible=Decimal("2.50"))
    second = AssignmentFactory(course=course, title='Comma, "quote" & ümlaut', position=1, points_possible=100)
    rows = api.all(f"/courses/{course.id}/assignment-urls", limit=1)
    assert [row["assignment"] for row in rows] == ["+1", 'Comma, "quote" & ümlaut']
    assert rows[0]["points"] == 2.5
    response = api.get(f"/courses/{course.id}/assignment-urls.csv")
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert "attachment" in response["Content-Disposition"]
    assert response.content.startswith(b"\xef\xbb\xbf")
    table = list(csv.reader(io.StringIO(response.content.decode("utf-8-sig"))))
    assert table == [
        ["course", "module", "assignment", "points", "url", "constant_url"],
        ["'=HYPERLINK(1)", "", "'+1", "2.5", rows[0]["url"], rows[0]["constant_url"]],
        ["'=HYPERLINK(1)", "", second.title, "100", rows[1]["url"], rows[1]["constant_url"]],
    ]
    assert rows[0]["url"].endswith(str(first.id))


@pytest.mark.parametrize(("query", "version"), [("", "1.3"), ("?version=1.3", "1.3"), ("?version=1.1", "1.1")])
def test_a_course_is_exported_as_a_cartridge(api, query, version):
    course = CourseFactory(organization=api.organization, code="cs101", name="R&D 🧪")
    assignment = AssignmentFactory(course=course, title='"Hello" & more')
    response = api.get(f"/courses/{course.id}/cartridge{query}")
    assert response["Content-Type"] == f"application/vnd.ims.imsccv{version.replace('.', 'p')}"
    assert response["Content-Disposition"] == f'attachment; filename="cs101-{version}.imscc"'
    assert api.get(f"/courses/{course.id}/cartridge{query}").content == response.content
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        manifest = archive.read("imsmanifest.xml").decode()
        link = archive.read(f"links/assignment-{assignment.id}.xml").decode()
    assert f"<schemaversion>{version}.0</schemaversion>" in manifest
    assert "R&amp;D 🧪" in manifest
    assert f"/lti/assignments/{assignment.id}<" in link


@pytest.mark.parametrize("version", ["1.2", "", "1.30", "1.3%00"])
def test_an_unknown_cartridge_version_is_named(api, version):
    course = CourseFactory(organization=api.organization)
    response = api.get(f"/courses/{course.id}/cartridge?version={version}")
    assert "version" in fields_of(response)


def test_listing_courses_costs_the_same_for_many(api, django_assert_max_num_queries):
    for course in CourseFactory.create_batch(5, organization=api.organization):
        course.modules.create(name="Week 1")
    with django_assert_max_num_queries(4):
        assert len(api.get("/courses").json()["items"]) == 5


def test_another_organization_finds_nothing(api, stranger):
    assignment = AssignmentFactory(course__organization=api.organization)
    course = assignment.course
    for path in (
        f"/courses/{course.id}",
        f"/courses/{course.id}/assignments",
        f"/courses/{course.id}/assignment-urls",
        f"/courses/{course.id}/assignment-urls.csv",
        f"/courses/{course.id}/cartridge",
        f"/assignments/{assignment.id}",
    ):
        assert api.get(path).status_code == 200
        problem_of(stranger.get(path), 404)
    problem_of(stranger.patch(f"/courses/{course.id}", {"name": "x"}), 404)
    problem_of(stranger.post(f"/courses/{course.id}/assignments", {"slug": "x"}), 404)
    problem_of(stranger.patch(f"/assignments/{assignment.id}", {"title": "x"}), 404)
    assert stranger.get("/courses").json() == {"items": [], "next": None}
