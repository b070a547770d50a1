"""Common Cartridge 1.3 and 1.1: a course's links as one file that an LMS imports (H1 to H12).

The same course gives the same bytes, wherever and whenever it is written: no time stands in the file, and nothing is
compressed, since what compression makes of it depends on the library at hand.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from urllib.parse import urlsplit

from lxml import etree

from lti.basic_lti_link import CC_1P3, LTI_1P0, BasicLtiLink, Vendor, clean_title, document_bytes, link_document

MANIFEST = "imsmanifest.xml"
# The first moment that a zip file can name.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")

_NO_CUSTOM: Mapping[str, str] = MappingProxyType({})


class CartridgeVersion(StrEnum):
    """The versions that are written: 1.3 for most LMSs, 1.1 for Moodle, which knows no newer one (H10)."""

    V1_3 = "1.3"
    V1_1 = "1.1"

    @property
    def content_type(self) -> str:
        """The registered media type."""
        return f"application/vnd.ims.imsccv{self.value.replace('.', 'p')}"


class CartridgeError(ValueError):
    """A cartridge that no LMS could read: its parts do not fit together. The message says which."""


@dataclass(frozen=True, slots=True)
class CartridgeLink:
    """One link. ``id`` is an XML ID, unique in the cartridge; ``points`` is ``None`` where nothing is graded."""

    id: str
    title: str
    url: str
    points: Decimal | None = None
    custom: Mapping[str, str] = field(default_factory=lambda: _NO_CUSTOM)


@dataclass(frozen=True, slots=True)
class CartridgeFolder:
    """A module: the one level between the course and its links (H5)."""

    id: str
    title: str
    links: Sequence[CartridgeLink]


@dataclass(frozen=True, slots=True)
class Cartridge:
    """A course's links in their order."""

    id: str
    title: str
    vendor: Vendor
    folders: Sequence[CartridgeFolder] = ()


@dataclass(frozen=True, slots=True)
class _Profile:
    """What differs between the versions."""

    schema_version: str
    manifest: str
    lom: str
    link: str
    link_type: str


_PROFILES = {
    CartridgeVersion.V1_3: _Profile(
        "1.3.0",
        "http://www.imsglobal.org/xsd/imsccv1p3/imscp_v1p1",
        "http://ltsc.ieee.org/xsd/imsccv1p3/LOM/manifest",
        CC_1P3,
        "imsbasiclti_xmlv1p3",
    ),
    CartridgeVersion.V1_1: _Profile(
        "1.1.0",
        "http://www.imsglobal.org/xsd/imsccv1p1/imscp_v1p1",
        "http://ltsc.ieee.org/xsd/imsccv1p1/LOM/manifest",
        LTI_1P0,
        "imsbasiclti_xmlv1p0",
    ),
}


def write_cartridge(cartridge: Cartridge, version: CartridgeVersion = CartridgeVersion.V1_3) -> bytes:
    """The cartridge as an ``.imscc`` file: a zip with the manifest first, then a file for each link.

    Raises ``CartridgeError`` for ids that are no XML IDs or not unique, and ``ValueError`` for a link whose URL is no
    absolute http(s) URL or whose custom parameters cannot be written.
    """
    profile = _PROFILES[version]
    manifest = _manifest(cartridge, profile)
    files = {
        _path_of(link): link_document(_document_of(link, cartridge.vendor), profile.link)
        for folder in cartridge.folders
        for link in folder.links
    }
    check_manifest(manifest, set(files))
    return _zipped({MANIFEST: document_bytes(manifest), **dict(sorted(files.items()))})


def _document_of(link: CartridgeLink, vendor: Vendor) -> BasicLtiLink:
    # Canvas makes an external tool of every link and joins those of one domain and privacy level into one; "outcome"
    # makes an assignment of it (H9). Whatever else stands here would keep it from joining them.
    canvas = {"domain": urlsplit(link.url).hostname or "", "privacy_level": "public"}
    if link.points is not None and link.points > 0:
        canvas["outcome"] = f"{link.points.normalize():f}"
    return BasicLtiLink(link.title, link.url, vendor, custom=link.custom, canvas=canvas)


def _path_of(link: CartridgeLink) -> str:
    return f"links/{link.id}.xml"


def _manifest(cartridge: Cartridge, profile: _Profile) -> etree._Element:
    def add(parent: etree._Element, name: str, text: str = "", /, **attributes: str) -> etree._Element:
        element = etree.SubElement(parent, etree.QName(profile.manifest, name), attributes)
        if text:
            element.text = text
        return element

    root = etree.Element(
        etree.QName(profile.manifest, "manifest"),
        {"identifier": _checked(cartridge.id)},
        nsmap={None: profile.manifest, "lomimscc": profile.lom},  # type: ignore[dict-item]  # a default namespace
    )
    metadata = add(root, "metadata")
    add(metadata, "schema", "IMS Common Cartridge")
    add(metadata, "schemaversion", profile.schema_version)
    element = metadata
    for name in ("lom", "general", "title", "string"):
        element = etree.SubElement(element, etree.QName(profile.lom, name))
    element.text = clean_title(cartridge.title)
    organization = add(
        add(root, "organizations"), "organization", identifier="organization", structure="rooted-hierarchy"
    )
    course = add(organization, "item", identifier="course")
    resources = add(root, "resources")
    for folder in cartridge.folders:
        module = add(course, "item", identifier=f"item-{_checked(folder.id)}")
        add(module, "title", clean_title(folder.title))
        for link in folder.links:
            resource = f"resource-{_checked(link.id)}"
            item = add(module, "item", identifier=f"item-{link.id}", identifierref=resource)
            add(item, "title", clean_title(link.title))
            entry = add(resources, "resource", identifier=resource, type=profile.link_type)
            add(entry, "file", href=_path_of(link))
    return root


def _checked(identifier: str) -> str:
    if not _IDENTIFIER.fullmatch(identifier):
        raise CartridgeError(f"{identifier[:100]!r} is no XML ID")
    return identifier


def check_manifest(manifest: etree._Element, files: set[str]) -> None:
    """Checks what no schema does (H4 to H6). Raises ``CartridgeError``.

    Identifiers are unique; what an item refers to exists; an item that refers to something holds no items; below the
    root are folders, in these links, and nothing deeper; and resources and ``files`` (paths) are the same.
    """
    name = f"{{{etree.QName(manifest).namespace}}}"
    identifiers = [element.get("identifier", "") for element in manifest.iter() if "identifier" in element.attrib]
    if len(set(identifiers)) < len(identifiers):
        raise CartridgeError("an identifier stands there twice")
    resources = {resource.get("identifier") for resource in manifest.iter(f"{name}resource")}
    for item in manifest.iter(f"{name}item"):
        reference = item.get("identifierref")
        if reference is not None and reference not in resources:
            raise CartridgeError(f"an item refers to {reference}, which is not there")
        if reference is not None and item.find(f"{name}item") is not None:
            raise CartridgeError("an item that refers to a resource holds items")
        depth = sum(1 for _ in item.iterancestors(f"{name}item"))
        if (depth == 2) != (reference is not None) or depth > 2:
            raise CartridgeError("links are not in folders below the course")
    hrefs = [file.get("href", "") for file in manifest.iter(f"{name}file")]
    if sorted(hrefs) != sorted(files):
        raise CartridgeError("the files are not those that the manifest lists")


def _zipped(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for path, content in files.items():
            entry = zipfile.ZipInfo(path, _EPOCH)
            # Unix, whatever this runs on: readable files.
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content)
    return packed.getvalue()
