"""1EdTech's schemas of Common Cartridge and its LTI links, for tests: from the files here, never from the network."""

from __future__ import annotations

from functools import cache
from typing import Any

from lxml import etree

from lti.tests.recorded import DATA

FOLDER = DATA / "xsd"
MANIFEST_SCHEMAS = {"1.3": "cc13/ccv1p3_imscp_v1p2_v1p0.xsd", "1.1": "cc11/ccv1p1_imscp_v1p2_v1p0.xsd"}
LINK_SCHEMAS = {"1.3": "cc13/imslticc_v1p3.xsd", "1.1": "cc11/imslticc_v1p0p1.xsd"}


class _Local(etree.Resolver):
    """Finds what a schema imports by the last part of its address, among the files of the same version."""

    def __init__(self, version: str) -> None:
        self.files = {path.name: path for path in (FOLDER / version).rglob("*.xsd")}

    def resolve(self, system_url: str, public_id: str, context: Any) -> Any:  # type: ignore[override]
        path = str(self.files[system_url.rsplit("/", 1)[-1]])
        return self.resolve_filename(path, context)  # type: ignore[attr-defined]  # the stubs forget it


@cache
def schema(path: str) -> etree.XMLSchema:
    """The compiled schema. The files of the two versions have equal namespaces and are never mixed."""
    parser = etree.XMLParser(no_network=True)
    parser.resolvers.add(_Local(path.split("/")[0]))
    return etree.XMLSchema(etree.parse(FOLDER / path, parser))


def complaints(path: str, document: bytes) -> list[str]:
    """What the schema says against the document; empty for a valid one."""
    checked = schema(path)
    checked.validate(etree.fromstring(document))
    return [error.message for error in checked.error_log]  # type: ignore[attr-defined]  # the stubs forget __iter__
