from __future__ import annotations

import hashlib
import io
import json
import unicodedata
import zipfile
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lxml import etree

from lti.basic_lti_link import BLTI, CANVAS, LTICM, LTICP, BasicLtiLink, Options, Vendor, clean_title, link_document
from lti.cartridge import (
    MANIFEST,
    Cartridge,
    CartridgeError,
    CartridgeFolder,
    CartridgeLink,
    CartridgeVersion,
    check_manifest,
    write_cartridge,
)
from lti.tests.schemas import FOLDER, LINK_SCHEMAS, MANIFEST_SCHEMAS, complaints

VERSIONS = list(CartridgeVersion)
VENDOR = Vendor("lti-platform", "Acme & Söhne", "https://tool.example")
HOSTILE = 'R&D: 👩🏽‍🔬 "quoted" <b>it\'s</b> ]]> \x08\x00\x1b\ufffe end'
CLEAN = 'R&D: 👩🏽‍🔬 "quoted" <b>it\'s</b> ]]> end'
GRADED = CartridgeLink("a1", HOSTILE, "https://tool.example/lti/assignments/1", Decimal("10.50"))
UNGRADED = CartridgeLink("a2", "Reading", "https://tool.example/lti/assignments/2", Decimal(0))
CONSTANT = CartridgeLink(
    "a3", "Lab", "https://tool.example/lti/constant/k", None, {"course_target_id": 'cs 101 & "x"', "page": "$Page"}
)
COURSE = Cartridge(
    "course-1",
    "Introduction & more",
    VENDOR,
    [CartridgeFolder("m1", "Week 1", [GRADED, UNGRADED]), CartridgeFolder("m2", HOSTILE, [CONSTANT])],
)
EMPTY = Cartridge("course-1", "Empty", VENDOR)


def unpacked(packed: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert archive.testzip() is None
        return {entry.filename: archive.read(entry) for entry in archive.infolist()}


def manifest_of(packed: bytes) -> etree._Element:
    return etree.fromstring(unpacked(packed)[MANIFEST])


def local(element: etree._Element) -> str:
    return str(etree.QName(element).localname)


def children(element: etree._Element, name: str) -> list[etree._Element]:
    return [child for child in element if local(child) == name]


def tree_of(packed: bytes) -> list[tuple[str, list[str]]]:
    """Titles of folders, with the titles of what is in them."""
    (root,) = [item for item in manifest_of(packed).iter("{*}item") if item.get("identifier") == "course"]
    return [
        (folder.findtext("{*}title") or "", [item.findtext("{*}title") or "" for item in children(folder, "item")])
        for folder in children(root, "item")
    ]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("course", [COURSE, EMPTY], ids=["course", "empty"])
def test_every_document_is_valid(version, course):
    files = unpacked(write_cartridge(course, version))
    assert complaints(MANIFEST_SCHEMAS[version], files.pop(MANIFEST)) == []
    assert len(files) == sum(len(folder.links) for folder in course.folders)
    for path, content in files.items():
        assert complaints(LINK_SCHEMAS[version], content) == [], path


def test_the_schemas_are_unchanged_and_tell_good_from_bad():
    catalog = {row["file"]: row for row in json.loads((FOLDER / "catalog.json").read_text())}
    copied = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.xsd"))
    assert len(copied) == 20
    for name in copied:
        content = (FOLDER / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == catalog[name]["sha256"], name
        assert name.endswith("/xml.xsd") or b"Copyright" in content, name
    written = unpacked(write_cartridge(COURSE))
    manifest = written[MANIFEST]
    for sound, broken in [
        (b"1.3.0", b"1.3"),
        (b'identifier="course-1"', b'identifier="1r"'),
        (b'identifier="course">', b'identifier="course"><title>T</title>'),
        (b"lomimscc:lom", b"lomimscc:lon"),
    ]:
        assert sound in manifest
        assert complaints(MANIFEST_SCHEMAS["1.3"], manifest.replace(sound, broken)) != [], broken
    link = written["links/a3.xml"]
    for sound, broken in [
        (b'name="page"', b'name="my page"'),
        (b'name="page"', b'name="1p"'),
        (b"lticp:code", b"lticp:kode"),
    ]:
        assert sound in link
        assert complaints(LINK_SCHEMAS["1.3"], link.replace(sound, broken)) != [], broken


@pytest.mark.parametrize("version", VERSIONS)
def test_the_same_course_gives_the_same_bytes(version):
    packed = write_cartridge(COURSE, version)
    assert packed == write_cartridge(COURSE, version)
    # The whole file, as it was when this test was written: no clock, no machine, no library shows in it.
    golden = {
        "1.3": "de5e52733d3c9f8ad72e4a4eaf300fdb8aebbd8cf5b4fad39f117764dc5706d6",
        "1.1": "bc2f0dd920fe63f414507a353e99371438d23367132edbcdf56b297abc802674",
    }
    assert hashlib.sha256(packed).hexdigest() == golden[version]


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_in_the_zip(version):
    packed = write_cartridge(COURSE, version)
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        entries = archive.infolist()
    names = [entry.filename for entry in entries]
    assert names == [MANIFEST, "links/a1.xml", "links/a2.xml", "links/a3.xml"]
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert not [name for name in names if name.startswith("/") or ".." in name or "\\" in name]
    # Moodle looks for the namespace near the start of the manifest (H10), and nothing may stand before it (H1).
    manifest = unpacked(packed)[MANIFEST]
    assert manifest.startswith(b"<?xml version='1.0' encoding='UTF-8'?>\n<manifest")
    assert f"http://www.imsglobal.org/xsd/imsccv{version.replace('.', 'p')}/imscp_v1p1".encode() in manifest[:1024]


@pytest.mark.parametrize(
    ("version", "kind", "schema_version"),
    [("1.3", "imsbasiclti_xmlv1p3", "1.3.0"), ("1.1", "imsbasiclti_xmlv1p0", "1.1.0")],
)
def test_the_manifest_lists_what_is_there(version, kind, schema_version):
    packed = write_cartridge(COURSE, CartridgeVersion(version))
    manifest, files = manifest_of(packed), unpacked(packed)
    assert manifest.findtext("{*}metadata/{*}schemaversion") == schema_version
    assert manifest.findtext(".//{*}general/{*}title/{*}string") == "Introduction & more"
    resources = list(manifest.iter("{*}resource"))
    assert {resource.get("type") for resource in resources} == {kind}
    assert sorted(file.get("href") for file in manifest.iter("{*}file")) == sorted(set(files) - {MANIFEST})
    references = {item.get("identifierref") for item in manifest.iter("{*}item")} - {None}
    assert references == {resource.get("identifier") for resource in resources}


@pytest.mark.parametrize("version", VERSIONS)
def test_modules_are_folders_and_titles_survive(version):
    packed = write_cartridge(COURSE, version)
    assert tree_of(packed) == [("Week 1", [CLEAN, "Reading"]), (CLEAN, ["Lab"])]
    link = etree.fromstring(unpacked(packed)["links/a1.xml"])
    assert link.findtext(f"{{{BLTI}}}title") == CLEAN


@pytest.mark.parametrize("version", VERSIONS)
def test_graded_links_carry_their_points_for_canvas(version):
    files = unpacked(write_cartridge(COURSE, version))
    found = {}
    for name in ("a1", "a2", "a3"):
        (extension,) = etree.fromstring(files[f"links/{name}.xml"]).iter(f"{{{BLTI}}}extensions")
        assert extension.get("platform") == CANVAS
        found[name] = {one.get("name"): one.text for one in extension.iter(f"{{{LTICM}}}property")}
    shared = {"domain": "tool.example", "privacy_level": "public"}
    assert found == {"a1": shared | {"outcome": "10.5"}, "a2": shared, "a3": shared}


@pytest.mark.parametrize("points", ["100", "1E+2", "0.25", "9999999.99"])
def test_points_are_plain_numbers(points):
    course = replace(COURSE, folders=[CartridgeFolder("m", "M", [replace(GRADED, points=Decimal(points))])])
    written = unpacked(write_cartridge(course))["links/a1.xml"].decode()
    assert f'name="outcome">{Decimal(points):f}<' in written


@pytest.mark.parametrize("version", VERSIONS)
def test_custom_parameters_are_kept_to_the_letter(version):
    link = etree.fromstring(unpacked(write_cartridge(COURSE, version))["links/a3.xml"])
    custom = link.find(f"{{{BLTI}}}custom")
    assert {one.get("name"): one.text for one in custom} == CONSTANT.custom


@pytest.mark.parametrize(("scheme", "secure"), [("https", 1), ("http", 0)])
def test_the_secure_url_is_there_only_where_it_is_one(scheme, secure):
    url = f"{scheme}://tool.example/lti/x?a=1&b=2"
    icon = f"{scheme}://tool.example/icon.svg"
    document = link_document(BasicLtiLink("T", url, VENDOR, icon_url=icon))
    link = etree.fromstring(document)
    assert link.findtext(f"{{{BLTI}}}launch_url") == url
    assert [one.text for one in link.iter(f"{{{BLTI}}}secure_launch_url")] == [url] * secure
    assert [one.text for one in link.iter(f"{{{BLTI}}}icon", f"{{{BLTI}}}secure_icon")] == [icon] * (1 + secure)
    assert b"?a=1&amp;b=2" in document
    assert complaints(LINK_SCHEMAS["1.1"], document) == []


def test_the_vendor_is_named():
    link = etree.fromstring(unpacked(write_cartridge(COURSE))["links/a1.xml"])
    vendor = link.find(f"{{{BLTI}}}vendor")
    assert [(local(one), one.text) for one in vendor] == [
        ("code", "lti-platform"),
        ("name", "Acme & Söhne"),
        ("url", "https://tool.example"),
    ]
    assert {str(etree.QName(one).namespace) for one in vendor} == {LTICP}


@pytest.mark.parametrize(
    "link",
    [
        replace(GRADED, url="/lti/assignments/1"),
        replace(GRADED, url="javascript:alert(1)"),
        replace(GRADED, url="https://user:secret@tool.example/"),
        replace(GRADED, url="https://tool.example/" + "x" * 4096),
        replace(GRADED, custom={"my param": "x"}),
        replace(GRADED, custom={"p": "a\x08b"}),
        replace(GRADED, id="1r"),
        replace(GRADED, id="a b"),
        replace(GRADED, id="../../etc"),
        replace(GRADED, id=UNGRADED.id),
    ],
)
def test_what_no_lms_could_read_is_not_written(link):
    course = replace(COURSE, folders=[CartridgeFolder("m", "M", [link, UNGRADED])])
    with pytest.raises(ValueError, match=r"URL|XML|twice"):
        write_cartridge(course)


def broken(change):
    manifest = manifest_of(write_cartridge(COURSE))
    items = {item.get("identifier"): item for item in manifest.iter("{*}item")}
    change(manifest, items)
    return manifest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _, items: items["item-a1"].set("identifierref", "resource-gone"), "which is not there"),
        (lambda _, items: items["item-a1"].append(items["item-a2"]), "holds items"),
        (lambda _, items: items["course"].append(items["item-a1"]), "not in folders"),
        (lambda _, items: items["item-m1"].append(items["item-m2"]), "not in folders"),
        (lambda _, items: items["item-a1"].attrib.pop("identifierref"), "not in folders"),
        (lambda _, items: items["item-a1"].set("identifier", "item-a2"), "twice"),
        (lambda manifest, _: next(manifest.iter("{*}file")).set("href", "links/a2.xml"), "not those"),
        (lambda manifest, _: next(manifest.iter("{*}file")).set("href", "links/gone.xml"), "not those"),
    ],
)
def test_what_the_schemas_do_not_see_is_checked_here(change, message):
    files = {"links/a1.xml", "links/a2.xml", "links/a3.xml"}
    check_manifest(broken(lambda *_: None), files)
    with pytest.raises(CartridgeError, match=message):
        check_manifest(broken(change), files)


def test_canvas_options_are_groups_of_the_extension():
    group = Options("course_navigation", {"text": "A & B"}, {"page": "x"})
    link = etree.fromstring(link_document(BasicLtiLink("T", "https://tool.example/", VENDOR, options=[group])))
    (options,) = link.findall(f"{{{BLTI}}}extensions/{{{LTICM}}}options")
    assert options.get("name") == "course_navigation"
    assert options.find(f"{{{LTICM}}}property").text == "A & B"
    (inner,) = options.findall(f"{{{LTICM}}}options[@name='custom_fields']")
    assert [(one.get("name"), one.text) for one in inner] == [("page", "x")]


@given(st.text(max_size=400))
@example("")
@example("\x00\x01")
@example("\ud800")
@example("=1+1")
@example("a\u2028b\tc")
@example("é" * 300)
@settings(max_examples=150, deadline=None)
def test_any_title_becomes_one_that_every_lms_stores(title):
    cleaned = clean_title(title)
    assert 1 <= len(cleaned) <= 255
    assert cleaned == cleaned.strip()
    assert not [letter for letter in cleaned if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")]
    course = replace(COURSE, title=title, folders=[CartridgeFolder("m", title, [replace(GRADED, title=title)])])
    for version in VERSIONS:
        packed = write_cartridge(course, version)
        assert tree_of(packed) == [(cleaned, [cleaned])]
        files = unpacked(packed)
        assert complaints(MANIFEST_SCHEMAS[version], files[MANIFEST]) == []
        assert complaints(LINK_SCHEMAS[version], files["links/a1.xml"]) == []
        link = etree.fromstring(files["links/a1.xml"])
        assert link.findtext(f"{{{BLTI}}}title") == cleaned
