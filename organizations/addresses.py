"""Absolute URLs of an organization's own that an LMS is given (contract §3)."""

from dataclasses import dataclass

from django.conf import settings

from organizations.models import Organization


@dataclass(frozen=True)
class ToolAddresses:
    """What an LMS administrator fills in for this tool: LTI 1.3 values, and the LTI 1.1 XML configuration."""

    login_url: str
    launch_url: str
    jwks_url: str
    config_url: str
    xml_config_url: str


def tool_addresses(organization: Organization) -> ToolAddresses:
    """The organization's tool values. LTI 1.3 endpoints carry the organization (design §5)."""
    lti_1p3 = f"{settings.BASE_URL}/lti/1p3/{organization.slug}"
    return ToolAddresses(
        login_url=f"{lti_1p3}/login",
        launch_url=f"{lti_1p3}/launch",
        jwks_url=f"{lti_1p3}/jwks.json",
        config_url=f"{lti_1p3}/config.json",
        xml_config_url=f"{settings.BASE_URL}/lti/v1/{organization.slug}/config.xml",
    )
