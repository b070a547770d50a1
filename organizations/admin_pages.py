"""The admin site's own class: who gets in, how they sign in, and what the browser may load."""

from collections.abc import Callable
from functools import update_wrapper
from typing import Any
from uuid import UUID

from django.contrib.auth import logout
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, resolve_url
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.cache import add_never_cache_headers
from django.views.decorators.csrf import csrf_protect
from unfold.sites import UnfoldAdminSite

from organizations import overview
from organizations.models import Organization
from organizations.tenancy import scope_of
from organizations.tenant_admin import TenantRows

# Unfold's pages are driven by Alpine, which evaluates the expressions in attributes, and carry their theme in a
# <style> element. Nothing else is loosened; frames stay forbidden.
CSP = {"script-src": ["'self'", "'unsafe-eval'"], "style-src": ["'self'", "'unsafe-inline'"]}

View = Callable[..., HttpResponse]


class PlatformAdminSite(UnfoldAdminSite):
    """Opens for operators and for owners of an enabled organization; each admin limits its rows to theirs."""

    site_title = "LTI platform"
    site_header = "LTI platform"
    index_title = "Home"
    enable_nav_sidebar = True

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        self._pages: list[tuple[str, View, str]] = []

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """Takes admins that keep tenants apart. Those that packages bring along show every row, and stay out."""
        if admin_class is not None and issubclass(admin_class, TenantRows):
            super().register(model_or_iterable, admin_class, **options)

    def register_page(self, route: str, view: View, name: str) -> None:
        """Adds a page outside of any model's admin, e.g. an operator's."""
        self._pages.append((route, view, name))

    def extra_urls(self) -> list[URLPattern]:
        return [path(route, self.admin_view(view), name=name) for route, view, name in self._pages]

    def has_permission(self, request: HttpRequest) -> bool:
        return scope_of(request).opens_admin

    def admin_view(self, view: View, cacheable: bool = False) -> View:
        """Sign-in for strangers, 404 for everybody who has no right: not allowed looks like not there."""

        def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not self.has_permission(request):
                if request.user.is_authenticated:
                    raise Http404
                return redirect_to_login(request.get_full_path(), resolve_url("account_login"))
            try:
                response = view(request, *args, **kwargs)
            except PermissionDenied as error:
                raise Http404 from error
            if response.status_code == 403:
                raise Http404  # Django's own refusals that are answers, not exceptions
            response._csp_update = CSP  # type: ignore[attr-defined]
            if not cacheable:
                add_never_cache_headers(response)
                response["Cache-Control"] = "no-store"
            return response

        return csrf_protect(update_wrapper(inner, view))

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The one sign-in page of the platform, with its lockout and second factor."""
        if self.has_permission(request):
            return redirect("admin:index")
        if request.user.is_authenticated:
            raise Http404
        return redirect_to_login(resolve_url("admin:index"), resolve_url("account_login"))

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if request.method == "POST":
            logout(request)
            return redirect("account_login")
        return redirect("admin:index")

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return redirect("account_change_password")

    def password_change_done(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return redirect("admin:index")

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """Home: what is set up, how it goes, and what waits for somebody."""
        scope = scope_of(request)
        organizations = list(scope.limit(Organization.objects.all())) if not scope.is_operator else []
        chosen = _chosen(request, organizations)
        reach = scope.reach if chosen is None else [chosen.pk]
        view = overview.view_of(reach, chosen, among_others=len(organizations) > 1)
        steps = overview.checklist(reach) if not scope.is_operator else []
        context = {
            **self.each_context(request),
            "title": "Home",
            "index": True,
            "organizations": organizations,
            "chosen": chosen,
            "steps": steps,
            "steps_done": sum(step.done for step in steps),
            "next_step": next((step for step in steps if not step.done), None),
            "attention": overview.attention(reach),
            "zone": str(view.zone),
            "charts": overview.charts(view),
            # Words of a tenant's LMS, and who is affected, are its owners' to see.
            "reasons": overview.reasons(view) if not scope.is_operator else [],
            "sums": overview.sums(view) if scope.is_operator else None,
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/index.html", context)


def _chosen(request: HttpRequest, organizations: list[Organization]) -> Organization | None:
    """The organization whose home is shown: the one named, else the first."""
    try:
        wanted = UUID(request.GET.get("organization", ""))
    except ValueError:
        wanted = None
    return next((row for row in organizations if row.pk == wanted), organizations[0] if organizations else None)
