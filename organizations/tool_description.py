"""How an organization's tool presents itself to an LMS that registers it (D42, D46)."""

from django.conf import settings

from lti.return_url import safe_http_url
from lti.v1p3.dynamic_registration import ToolDescription
from organizations.addresses import tool_addresses
from organizations.models import Organization

_DESCRIPTION = "Assignments and live sessions, opened from the course; grades come back to its gradebook."

# From which course and link the LMS copied its own (I2): with it, a teacher is shown what the copy is a copy of.
HISTORY = {"context_id_history": "$Context.id.history", "resource_link_id_history": "$ResourceLink.id.history"}


def tool_description(organization: Organization, *, named: bool) -> ToolDescription:
    """The tool's addresses, and the organization's name and logo.

    `named=False` is for documents that everybody can read: they repeat the slug that stands in their own address, and
    say nothing else about whose tool it is (J15).
    """
    addresses = tool_addresses(organization)
    logo = organization.branding.get("logo_url")
    return ToolDescription(
        name=organization.name if named else f"LTI platform ({organization.slug})",
        login_url=addresses.login_url,
        launch_url=addresses.launch_url,
        jwks_url=addresses.jwks_url,
        target_link_uri=addresses.launch_url,
        description=_DESCRIPTION,
        logo_url=logo if named and isinstance(logo, str) and safe_http_url(logo) else "",
        home_url=settings.BASE_URL,
        tool_id=f"{organization.slug}-lti-platform",
        custom_parameters=HISTORY,
        course_url=f"{settings.BASE_URL}/lti/course_navigation",
        # An LMS keeps this address: not the one that changes with the picture.
        icon_url=f"{settings.BASE_URL}{settings.STATIC_URL}img/mark.svg",
    )
