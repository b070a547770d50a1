"""The XML that an LMS's administrator or teacher adds the tool with, by URL or paste, over LTI 1.1 (A47 to A53)."""

from collections.abc import Iterable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_safe

from lti.basic_lti_link import Vendor
from lti.v1p1.xml_configuration import XML_PLACEMENTS, PrivacyLevel, XmlTool, xml_configuration
from organizations.models import Organization
from organizations.tool_description import tool_description


@require_safe
def configuration(request: HttpRequest, organization: str) -> HttpResponse:
    """Public, and without secrets. `?privacy_level=` is one of Canvas's, `?placements=` a comma list of Canvas's places
    (empty: none, for LMSs that read the schema to the letter)."""
    tenant = get_object_or_404(Organization, slug=organization, enabled=True)
    levels = {level.value: level for level in PrivacyLevel}
    privacy_level = levels.get(request.GET.get("privacy_level", PrivacyLevel.PUBLIC))
    if privacy_level is None:
        return _refused("privacy_level", levels)
    known = {placement.name: placement for placement in XML_PLACEMENTS}
    named = request.GET.get("placements")
    names = list(known) if named is None else [name.strip() for name in named.split(",") if name.strip()]
    if not set(names) <= set(known):
        return _refused("placements", known)
    document = xml_configuration(
        _tool(tenant), privacy_level=privacy_level, placements=[known[name] for name in known if name in names]
    )
    response = HttpResponse(document, content_type="application/xml; charset=utf-8")
    response["Cache-Control"] = "public, max-age=300"
    response["Access-Control-Allow-Origin"] = "*"
    return response


def _tool(organization: Organization) -> XmlTool:
    described = tool_description(organization, named=False)
    return XmlTool(
        name=described.name,
        description=described.description,
        launch_url=f"{settings.BASE_URL}/lti/v1",
        tool_id=described.tool_id,
        placement_urls={
            placement.name: described.course_url if not placement.chooses else _picker_url(placement.name)
            for placement in XML_PLACEMENTS
        },
        vendor=Vendor("lti-platform", "LTI platform", settings.BASE_URL),
        icon_url=described.icon_url,
        custom=described.custom_parameters,
    )


def _picker_url(placement: str) -> str:
    """The picker at an address that says where it was opened from, as Codio has them (A50)."""
    name = "lti-editor-button" if placement == "editor_button" else "lti-resource-selection"
    return settings.BASE_URL + reverse(name)


def _refused(parameter: str, known: Iterable[str]) -> HttpResponse:
    return HttpResponseBadRequest(f"{parameter} takes: {', '.join(known)}\n", content_type="text/plain; charset=utf-8")
