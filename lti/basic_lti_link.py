"""The ``cartridge_basiclti_link`` document: one LTI 1.1 link, in a Common Cartridge or as a tool's configuration.

1EdTech's schemas fix the order of the elements and the names of the properties (H7, A48). lxml escapes what is in them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from lxml import etree

from lti.return_url import safe_http_url
from lti.texts import legal_in_xml, single_line, truncated

#: The namespaces of the document itself: of LTI 1.x and Common Cartridge 1.1, and of Common Cartridge 1.3.
LTI_1P0 = "http://www.imsglobal.org/xsd/imslticc_v1p0"
CC_1P3 = "http://www.imsglobal.org/xsd/imslticc_v1p3"
BLTI = "http://www.imsglobal.org/xsd/imsbasiclti_v1p0"
LTICM = "http://www.imsglobal.org/xsd/imslticm_v1p0"
LTICP = "http://www.imsglobal.org/xsd/imslticp_v1p0"
CANVAS = "canvas.instructure.com"
TITLE_LIMIT = 255
URL_LIMIT = 4096
_DESCRIPTION_LIMIT = 2000
# An XML Name (H7), and narrower: a colon would be a prefix.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_RUN_OF_SPACE = re.compile(r"\s+")

_NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Vendor:
    """Who makes the tool; ``code`` is an XML Name."""

    code: str
    name: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Options:
    """A named group of Canvas properties: a placement, with the custom parameters that it alone sends (A50)."""

    name: str
    properties: Mapping[str, str]
    custom: Mapping[str, str] = field(default_factory=lambda: _NONE)


@dataclass(frozen=True, slots=True)
class BasicLtiLink:
    """What the document says. ``canvas`` are properties of the Canvas extension, ``options`` its groups.

    Neither key nor secret has a place in it: the file leaves the house (A49, H8).
    """

    title: str
    launch_url: str
    vendor: Vendor
    description: str = ""
    custom: Mapping[str, str] = field(default_factory=lambda: _NONE)
    canvas: Mapping[str, str] = field(default_factory=lambda: _NONE)
    options: Sequence[Options] = ()
    icon_url: str = ""


def clean_title(text: str, fallback: str = "Untitled") -> str:
    """A title that every LMS stores: on one line, of XML's characters only, at most 255 of them, never empty (H12)."""
    return truncated(clean_text(text), TITLE_LIMIT) or fallback


def clean_text(text: str) -> str:
    """A text on one line, without the characters that XML cannot hold."""
    return _RUN_OF_SPACE.sub(" ", legal_in_xml(single_line(text))).strip()


def link_document(link: BasicLtiLink, namespace: str = LTI_1P0) -> bytes:
    """The link as UTF-8 XML, with ``namespace`` as the document's own.

    Raises ``ValueError`` for a URL that is not absolute http(s) or too long, for a property whose name is no XML Name,
    and for a value that XML cannot hold.
    """
    root = etree.Element(
        etree.QName(namespace, "cartridge_basiclti_link"),
        nsmap={None: namespace, "blti": BLTI, "lticm": LTICM, "lticp": LTICP},  # type: ignore[dict-item]  # a default namespace
    )
    _add(root, BLTI, "title", clean_title(link.title))
    description = truncated(clean_text(link.description), _DESCRIPTION_LIMIT)
    if description:
        _add(root, BLTI, "description", description)
    if link.custom:
        _add_properties(_add(root, BLTI, "custom"), link.custom)
    if link.canvas or link.options:
        extensions = _add(root, BLTI, "extensions", platform=CANVAS)
        _add_properties(extensions, link.canvas)
        for group in link.options:
            _add_options(extensions, group)
    # Canvas prefers the secure URL, Moodle reads the plain one: both name the same (A52).
    _add_url(root, "launch_url", link.launch_url)
    if link.launch_url.startswith("https:"):
        _add_url(root, "secure_launch_url", link.launch_url)
    if link.icon_url:
        _add_url(root, "icon", link.icon_url)
        if link.icon_url.startswith("https:"):
            _add_url(root, "secure_icon", link.icon_url)
    vendor = _add(root, BLTI, "vendor")
    _add(vendor, LTICP, "code", _checked_name(link.vendor.code))
    _add(vendor, LTICP, "name", clean_title(link.vendor.name))
    if link.vendor.url:
        _add(vendor, LTICP, "url", _checked_url(link.vendor.url))
    return document_bytes(root)


def document_bytes(root: etree._Element) -> bytes:
    """The document as UTF-8 without a byte order mark, indented, with its declaration."""
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)


def _add(parent: etree._Element, namespace: str, name: str, text: str = "", /, **attributes: str) -> etree._Element:
    element = etree.SubElement(parent, etree.QName(namespace, name), attributes)
    if text:
        element.text = text
    return element


def _add_properties(parent: etree._Element, properties: Mapping[str, str]) -> None:
    for name, value in properties.items():
        if legal_in_xml(value) != value:
            raise ValueError(f"XML cannot hold the value of {name}")
        _add(parent, LTICM, "property", value, name=_checked_name(name))


def _add_options(parent: etree._Element, group: Options) -> None:
    element = _add(parent, LTICM, "options", name=_checked_name(group.name))
    _add_properties(element, group.properties)
    if group.custom:
        _add_properties(_add(element, LTICM, "options", name="custom_fields"), group.custom)


def _add_url(parent: etree._Element, name: str, url: str) -> None:
    _add(parent, BLTI, name, _checked_url(url))


def _checked_url(url: str) -> str:
    if not safe_http_url(url) or len(url) > URL_LIMIT or legal_in_xml(url) != url:
        raise ValueError(f"{url[:100]!r} is not an absolute http(s) URL, or too long")
    return url


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:100]!r} is no name in XML")
    return name
