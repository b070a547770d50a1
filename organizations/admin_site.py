"""The admin site: for operators everything, for owners their own organizations, for nobody else."""

from django.contrib.admin.apps import AdminConfig


class PlatformAdminConfig(AdminConfig):
    default_site = "organizations.admin_site.PlatformAdminSite"


def __getattr__(name: str) -> object:
    # The site class needs models, which are not loaded when Django reads the app configuration above.
    if name == "PlatformAdminSite":
        from organizations.admin_pages import PlatformAdminSite

        return PlatformAdminSite
    raise AttributeError(name)
