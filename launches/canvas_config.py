"""The JSON that a Canvas administrator pastes the address of, to make a developer key (D46)."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from lti.v1p3.canvas_configuration import canvas_configuration
from organizations.models import Organization
from organizations.tool_description import tool_description


@require_safe
def configuration(request: HttpRequest, organization: str) -> HttpResponse:
    """Public, and without secrets: the addresses and placements of the organization's tool."""
    tenant = get_object_or_404(Organization, slug=organization, enabled=True)
    response = JsonResponse(canvas_configuration(tool_description(tenant, named=False)))
    response["Cache-Control"] = "public, max-age=300"
    response["Access-Control-Allow-Origin"] = "*"
    return response
