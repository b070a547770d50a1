from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from lti.basic_lti_link import BLTI, CANVAS, LTI_1P0, LTICM, LTICP, Vendor
from lti.canvas_placements import CANVAS_PLACEMENTS
from lti.tests.schemas import LINK_SCHEMAS, complaints
from lti.v1p1.xml_configuration import XML_PLACEMENTS, PrivacyLevel, XmlTool, xml_configuration

TOOL = XmlTool(
    name='R&D "tool" 🧪',
    description="Assignments <b>and</b> more & more",
    launch_url="https://tool.example:8443/lti/v1",
    tool_id="acme",
    vendor=Vendor("lti-platform", "LTI platform", "https://tool.example:8443"),
    placement_urls={"course_navigation": "https://tool.example:8443/lti/course_navigation"},
    icon_url="https://tool.example:8443/icon.svg",
    custom={"context_id_history": "$Context.id.history"},
)
VALID = LINK_SCHEMAS["1.1"]


def properties(element):
    return {one.get("name"): one.text for one in element.findall(f"{{{LTICM}}}property")}


def extension_of(document):
    (extension,) = etree.fromstring(document).findall(f"{{{BLTI}}}extensions")
    assert extension.get("platform") == CANVAS
    return extension


def test_without_canvas_options_it_is_valid():
    assert complaints(VALID, xml_configuration(TOOL, placements=())) == []
    assert complaints(VALID, xml_configuration(replace(TOOL, icon_url="", custom={}), placements=())) == []
    # Options are Canvas's own: nothing else in the whole document is against the schema.
    whole = etree.fromstring(xml_configuration(TOOL))
    assert complaints(VALID, etree.tostring(whole)) != []
    for options in whole.findall(f".//{{{LTICM}}}options"):
        options.getparent().remove(options)
    assert complaints(VALID, etree.tostring(whole)) == []


def test_the_elements_and_their_order():
    root = etree.fromstring(xml_configuration(TOOL))
    assert root.tag == f"{{{LTI_1P0}}}cartridge_basiclti_link"
    assert root.nsmap == {None: LTI_1P0, "blti": BLTI, "lticm": LTICM, "lticp": LTICP}
    assert [etree.QName(one).localname for one in root] == [
        "title",
        "description",
        "custom",
        "extensions",
        "launch_url",
        "secure_launch_url",
        "icon",
        "secure_icon",
        "vendor",
    ]
    assert {one.text for one in root if etree.QName(one).localname.endswith("launch_url")} == {TOOL.launch_url}
    assert root.findtext(f"{{{BLTI}}}title") == TOOL.name
    assert root.findtext(f"{{{BLTI}}}description") == TOOL.description
    assert properties(root.find(f"{{{BLTI}}}custom")) == TOOL.custom


def test_what_canvas_reads_of_the_tool():
    assert properties(extension_of(xml_configuration(TOOL))) == {
        "tool_id": "acme",
        "privacy_level": "public",
        "domain": "tool.example",
        "text": TOOL.name,
        "oauth_compliant": "true",
        "selection_width": "800",
        "selection_height": "600",
        "icon_url": TOOL.icon_url,
    }


@pytest.mark.parametrize("level", list(PrivacyLevel))
def test_the_privacy_level_can_be_chosen(level):
    assert properties(extension_of(xml_configuration(TOOL, privacy_level=level)))["privacy_level"] == level.value


def test_every_placement():
    found = {
        options.get("name"): properties(options)
        for options in extension_of(xml_configuration(TOOL)).findall(f"{{{LTICM}}}options")
    }
    picker = {
        "url": TOOL.launch_url,
        "text": TOOL.name,
        "enabled": "true",
        "message_type": "ContentItemSelectionRequest",
        "selection_width": "800",
        "selection_height": "600",
    }
    assert found == {
        "resource_selection": picker,
        "assignment_selection": picker,
        "link_selection": picker,
        "editor_button": picker | {"icon_url": TOOL.icon_url},
        "course_navigation": {
            "url": "https://tool.example:8443/lti/course_navigation",
            "text": TOOL.name,
            "enabled": "true",
            "default": "disabled",
            "visibility": "public",
        },
    }


@pytest.mark.parametrize("chosen", [XML_PLACEMENTS[:1], XML_PLACEMENTS[2:], ()])
def test_any_set_of_placements(chosen):
    options = extension_of(xml_configuration(TOOL, placements=chosen)).findall(f"{{{LTICM}}}options")
    assert [one.get("name") for one in options] == [placement.name for placement in chosen]


def test_what_only_lti_1p3_has_is_not_in_the_xml():
    assert {placement.name for placement in CANVAS_PLACEMENTS} - {placement.name for placement in XML_PLACEMENTS} == {
        "module_index_menu_modal"
    }


def test_ampersands_are_escaped_and_http_has_no_secure_url():
    tool = replace(TOOL, launch_url="http://localhost:8000/lti/v1?a=1&b=2", icon_url="")
    document = xml_configuration(tool)
    assert b"/lti/v1?a=1&amp;b=2" in document
    root = etree.fromstring(document)
    assert root.findtext(f"{{{BLTI}}}launch_url") == tool.launch_url
    assert root.find(f"{{{BLTI}}}secure_launch_url") is None
    assert properties(extension_of(document))["domain"] == "localhost"


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=300))
@settings(max_examples=100, deadline=None)
def test_any_name_is_escaped(name):
    if "\ufffe" in name or "\uffff" in name:
        return
    document = xml_configuration(replace(TOOL, name=name), placements=())
    assert complaints(VALID, document) == []
    assert properties(extension_of(document))["text"] == (name or None)
