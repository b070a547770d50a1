"""A course's exports: the page, its files in the frame and signed in, and that every URL in them launches."""

import csv
import io
import re
import zipfile
from dataclasses import dataclass

import pytest
from django.core.cache import cache
from django.test import Client
from lxml import etree

from courses.cartridge import cartridge_of
from courses.models import Course
from launches.export_notes import Export, notes_for
from launches.models import Launch
from lti.basic_lti_link import BLTI, LTICM
from lti.cartridge import MANIFEST, CartridgeVersion
from lti.tests.schemas import LINK_SCHEMAS, MANIFEST_SCHEMAS, complaints
from lti.v1p3 import vocabulary as names
from organizations.models import Membership
from recordings.exports import export_cartridge
from tests.factories import AssignmentFactory, CourseFactory, LtiKeyFactory, MembershipFactory, RoomFactory
from tests.launching import TEACHER, launch, launch_id_of
from tests.platform_1p3 import platform_of
from tests.visiting import mentor, student, teacher, text_of

pytestmark = pytest.mark.django_db

HOSTILE = 'R&D 👩🏽‍🔬 "quoted" <b> =1+1'
LMSS = ("Canvas", "Moodle", "Chamilo", "Blackboard", "Brightspace", "Sakai")


@pytest.fixture
def course(key):
    course = CourseFactory(organization=key.installation.organization, code="cs 101/é", name=HOSTILE)
    week = course.modules.create(name="Week 1", position=1)
    course.modules.create(name="Empty", position=2)
    AssignmentFactory(course=course, module=week, title="=1+1", position=1, points_possible=10)
    AssignmentFactory(course=course, module=week, title=HOSTILE, position=2, points_possible=0)
    AssignmentFactory(course=course, title="Loose", position=3, points_possible="2.50")
    return course


def signed_in(course, role=Membership.Role.TEACHER):
    client = Client()
    client.force_login(MembershipFactory(organization=course.organization, role=role).user)
    return client


def page_of(course, page="exports"):
    return f"/courses/{course.pk}/{page}"


def table_of(response):
    return list(csv.DictReader(io.StringIO(response.content.decode("utf-8-sig"))))


def files_of(packed):
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@dataclass(frozen=True)
class Link:
    """A link as an LMS reads it from a cartridge."""

    title: str
    url: str
    custom: dict
    points: str | None


def links_of(packed):
    found = []
    for name, content in files_of(packed).items():
        if name == MANIFEST:
            continue
        root = etree.fromstring(content)
        custom = {one.get("name"): one.text for one in root.findall(f"{{{BLTI}}}custom/{{{LTICM}}}property")}
        points = root.findtext(f"{{{BLTI}}}extensions/{{{LTICM}}}property[@name='outcome']")
        found.append(Link(root.findtext(f"{{{BLTI}}}title"), root.findtext(f"{{{BLTI}}}launch_url"), custom, points))
    return found


# ------------------------------------------------------------------------------------------------- the page


@pytest.mark.parametrize("role", list(Membership.Role))
def test_members_find_every_export_with_what_is_left_to_do(course, role):
    response = signed_in(course, role).get(page_of(course))
    html, text = response.content.decode(), text_of(response)
    assert response.status_code == 200
    for version in ("1.3", "1.1"):
        assert f'href="/courses/{course.pk}/cartridge.imscc?version={version}"' in html
    assert f'href="/courses/{course.pk}/assignment-urls.csv"' in html
    slug = course.organization.slug
    assert f'value="http://testserver/lti/v1/{slug}/config.xml"' in html
    assert f'value="http://testserver/lti/1p3/{slug}/config.json"' in html
    assert [len(re.findall(f"<dt>{lms}</dt>", html)) for lms in LMSS] == [len(Export)] * len(LMSS)
    assert ("Keys and registrations" in text) == (role == Membership.Role.OWNER)
    assert "<b>" not in html


def test_nothing_on_it_is_secret(course, key):
    for response in (signed_in(course, Membership.Role.OWNER).get(page_of(course)), in_frame(course, key)):
        assert key.secret not in response.content.decode()
        assert key.consumer_key not in response.content.decode()


def in_frame(course, key, page="launch-course-exports", **query):
    return teacher(key, course.assignments.first()).get(page, **query)


def test_teachers_have_it_in_the_frame_with_their_own_lms_first(course, key):
    response = in_frame(course, key)
    html = response.content.decode()
    assert response.status_code == 200
    assert re.findall(r"<dt>(\w+)</dt>", html)[:2] == ["Moodle", "Canvas"]
    assert "/course/cartridge.imscc?version=1.1" in html
    assert "frame-ancestors" in response["Content-Security-Policy"]


def test_mentors_see_it_and_students_do_not(course, key):
    assignment = course.assignments.first()
    for page in ("launch-course-exports", "launch-course-cartridge", "launch-course-assignment-urls"):
        assert mentor(key, assignment).get(page).status_code == 200
        assert student(key, assignment).get(page).status_code == 404


@pytest.mark.parametrize("page", ["exports", "assignment-urls.csv", "cartridge.imscc"])
def test_strangers_find_nothing(course, page):
    stranger = signed_in(CourseFactory())
    assert stranger.get(page_of(course, page)).status_code == 404
    assert Client().get(page_of(course, page)).status_code == 302
    assert signed_in(course).post(page_of(course, page)).status_code == 405


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"constant_urls": True}, "course_target_id=cs 101/é"),
        ({"lti_enabled": False}, "LTI is off in this course"),
        ({"archived": True}, "This course is archived"),
        ({"enroll_only": True}, "no grades are passed back"),
    ],
)
def test_the_page_says_how_the_course_is_set(course, changes, words):
    client = signed_in(course)
    assert words not in client.get(page_of(course)).content.decode()
    Course.objects.filter(pk=course.pk).update(**changes)
    assert words in client.get(page_of(course)).content.decode()


def test_an_empty_course_says_so(key):
    empty = CourseFactory(organization=key.installation.organization)
    assert "no assignments yet" in text_of(signed_in(empty).get(page_of(empty)))


def test_every_export_says_what_is_left_in_every_lms():
    for export in Export:
        notes = notes_for(export, "sakai")
        assert sorted(note.title for note in notes) == sorted(LMSS)
        assert notes[0].title == "Sakai"
        assert all(len(note.text) > 20 for note in notes)


# ------------------------------------------------------------------------------------------------ the files


def test_the_table_opens_with_titles_as_text(course):
    response = signed_in(course).get(page_of(course, "assignment-urls.csv"))
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"] == 'attachment; filename="cs-101-assignment-urls.csv"'
    assert response.content.startswith(b"\xef\xbb\xbfcourse,module,assignment,points,url,constant_url\r\n")
    rows = table_of(response)
    assert [(row["module"], row["assignment"], row["points"]) for row in rows] == [
        ("Week 1", "'=1+1", "10"),
        ("Week 1", HOSTILE, "0"),
        ("", "Loose", "2.5"),
    ]
    # What a spreadsheet would not open is not handed out.
    assert {row["constant_url"] for row in rows} == {""}
    Course.objects.filter(pk=course.pk).update(constant_urls=True)
    rows = table_of(signed_in(course).get(page_of(course, "assignment-urls.csv")))
    assert all(row["constant_url"].startswith("http://testserver/lti/constant/") for row in rows)


@pytest.mark.parametrize(("query", "version"), [({}, "1.3"), ({"version": "1.3"}, "1.3"), ({"version": "1.1"}, "1.1")])
def test_cartridges_are_valid_and_the_same_each_time(course, key, query, version):
    first = signed_in(course).get(page_of(course, "cartridge.imscc"), query)
    assert first.status_code == 200
    assert first["Content-Disposition"] == f'attachment; filename="cs-101-{version}.imscc"'
    assert first["Content-Type"] == f"application/vnd.ims.imsccv{version.replace('.', 'p')}"
    second = in_frame(course, key, "launch-course-cartridge", **query)
    assert second.content == first.content
    files = files_of(first.content)
    assert complaints(MANIFEST_SCHEMAS[version], files.pop(MANIFEST)) == []
    assert [complaints(LINK_SCHEMAS[version], content) for content in files.values()] == [[]] * 3


def test_modules_are_folders_and_loose_assignments_have_one_too(course):
    folders = [(folder.title, [link.title for link in folder.links]) for folder in cartridge_of(course).folders]
    assert folders == [(HOSTILE, ["Loose"]), ("Week 1", ["=1+1", HOSTILE])]


@pytest.mark.parametrize("version", list(CartridgeVersion))
def test_an_empty_course_exports(key, version):
    empty = CourseFactory(organization=key.installation.organization)
    files = files_of(export_cartridge(empty, version))
    assert list(files) == [MANIFEST]
    assert complaints(MANIFEST_SCHEMAS[version], files[MANIFEST]) == []


def test_graded_links_carry_points_unless_the_course_passes_none_back(course):
    assert {link.title: link.points for link in links_of(export_cartridge(course, CartridgeVersion.V1_3))} == {
        "=1+1": "10",
        HOSTILE: None,
        "Loose": "2.5",
    }
    course.enroll_only = True
    assert {link.points for link in links_of(export_cartridge(course, CartridgeVersion.V1_3))} == {None}


def test_no_key_and_no_secret_in_a_cartridge(course, key):
    course.constant_urls = True
    for content in files_of(export_cartridge(course, CartridgeVersion.V1_3)).values():
        for secret in (key.secret, key.consumer_key, "shared_secret", "consumer_key"):
            assert secret.encode() not in content


@pytest.mark.parametrize("version", ["1.2", "2", "", "1.3 ", "<b>", "\x00"])
def test_an_unknown_version_says_which_there_are(course, key, version):
    for response in (
        signed_in(course).get(page_of(course, "cartridge.imscc"), {"version": version}),
        in_frame(course, key, "launch-course-cartridge", version=version),
    ):
        assert response.status_code == 422
        assert "version 1.3 or 1.1" in text_of(response)


def test_a_code_that_xml_cannot_hold_is_left_out(key):
    course = CourseFactory(organization=key.installation.organization, code="a\ufffeb", constant_urls=True)
    AssignmentFactory(course=course)
    (link,) = links_of(export_cartridge(course, CartridgeVersion.V1_3))
    assert link.custom == {}


@pytest.mark.parametrize("code", ["///", "日本", "-", ".." * 3])
def test_a_code_without_letters_still_names_a_file(key, code):
    course = CourseFactory(organization=key.installation.organization, code=code)
    response = signed_in(course).get(page_of(course, "assignment-urls.csv"))
    assert response["Content-Disposition"] == 'attachment; filename="course-assignment-urls.csv"'


# --------------------------------------------------------------------------------- every URL in them launches


def exported_links(course):
    """Every URL that a teacher can take out of the course, with what goes with it: (url, custom parameters)."""
    found = []
    target = {"course_target_id": course.code}
    for row in table_of(signed_in(course).get(page_of(course, "assignment-urls.csv"))):
        found.append((row["url"], {}))
        if row["constant_url"]:
            found.append((row["constant_url"], target))
    for version in CartridgeVersion:
        packed = signed_in(course).get(page_of(course, "cartridge.imscc"), {"version": version.value}).content
        found += [(link.url, link.custom) for link in links_of(packed)]
    return found


@pytest.mark.parametrize("constant_urls", [False, True])
def test_every_exported_url_launches_by_lti_1p1_and_1p3(course, key, settings, constant_urls):
    settings.OUTBOUND_ALLOW_HTTP = True
    settings.OUTBOUND_ALLOWED_PRIVATE_HOSTS = ["127.0.0.1"]
    cache.clear()
    # A copy has the same constant keys: the target id alone says which of the two is meant.
    Course.objects.filter(pk=course.pk).update(constant_urls=constant_urls)
    copy = CourseFactory(organization=course.organization, code="copy", constant_urls=constant_urls)
    for assignment in course.assignments.all():
        AssignmentFactory(course=copy, constant_key=assignment.constant_key)
    links = exported_links(course)
    assert len(links) == (4 if constant_urls else 3) * 3
    opened = []
    with platform_of(key.installation) as platform:
        for number, (url, custom) in enumerate(links):
            path = url.removeprefix("http://testserver")
            by_1p1 = launch(
                Client(),
                path,
                key,
                resource_link_id=f"one-{number}",
                **{f"custom_{name}": value for name, value in custom.items()},
            )
            by_1p3 = platform.launch(
                Client(),
                url,
                **{names.RESOURCE_LINK: {"id": f"three-{number}"}, names.CUSTOM: custom},
            )
            for response in (by_1p1, by_1p3):
                row = Launch.objects.get(pk=launch_id_of(response))
                assert row.course == course
                opened.append(row.assignment)
    assert len(opened) == 2 * len(links)
    assert set(opened) == set(course.assignments.all())


def test_another_organizations_key_opens_none_of_them(course):
    foreign = LtiKeyFactory()
    for url, custom in exported_links(course):
        response = launch(Client(), url.removeprefix("http://testserver"), foreign, **custom)
        assert response.status_code == 404


# ------------------------------------------------------------------------------------------------------- the rooms


@pytest.mark.parametrize("version", list(CartridgeVersion))
def test_rooms_are_in_the_cartridge_and_open(course, key, client, version):
    room = RoomFactory(course=course, title=HOSTILE, slug="hours", position=1)
    RoomFactory(course=course, title="First", position=0)
    packed = export_cartridge(course, version)
    assert packed == export_cartridge(course, version)
    by_url = {link.url: link for link in links_of(packed)}
    link = by_url[f"http://testserver/lti/rooms/{room.pk}"]
    assert (link.title, link.points) == (HOSTILE, None)
    for name, content in files_of(packed).items():
        schemas = MANIFEST_SCHEMAS if name == MANIFEST else LINK_SCHEMAS
        assert complaints(schemas[version], content) == []
    opened = launch(client, link.url.removeprefix("http://testserver"), key, TEACHER)
    assert Launch.objects.get(pk=launch_id_of(opened)).room == room


def test_rooms_stand_in_the_table_after_the_assignments(course):
    room = RoomFactory(course=course, title="=Hours")
    rows = table_of(signed_in(course).get(page_of(course, "assignment-urls.csv")))
    assert len(rows) == 4
    assert rows[-1] == {
        "course": rows[0]["course"],
        "module": "Live sessions",
        "assignment": "'=Hours",
        "points": "",
        "url": f"http://testserver/lti/rooms/{room.pk}",
        "constant_url": "",
    }
    assert "1 room of live sessions" in text_of(signed_in(course).get(page_of(course)))
