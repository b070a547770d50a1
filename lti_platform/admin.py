"""The operators' page of the admin: how the system is."""

from datetime import timedelta
from typing import Any

import django
from django.conf import settings
from django.contrib import admin
from django.db.models import Count, Min, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from events.models import Delivery
from launches.models import Launch
from lti_platform.health import CHECKS, state_of
from organizations.admin_pages import PlatformAdminSite
from organizations.tenancy import scope_of


def system_health(request: HttpRequest) -> HttpResponse:
    """Each dependency's state, what waits in the outbox and for how long; counts only, nothing of a tenant."""
    if not scope_of(request).is_operator:
        raise Http404
    now = timezone.now()
    pending = Q(state=Delivery.State.PENDING)
    waiting: dict[str, Any] = Delivery.objects.filter(pending).aggregate(
        due=Count("pk", filter=Q(due_at__lte=now, claim__isnull=True)),
        later=Count("pk", filter=Q(due_at__gt=now, claim__isnull=True)),
        held=Count("pk", filter=Q(due_at__isnull=True, claim__isnull=True)),
        under_way=Count("pk", filter=Q(claim__isnull=False)),
        stale=Count("pk", filter=Q(claim__isnull=False, claimed_until__lt=now)),
        oldest=Min("created_at"),
        longest_due=Min("due_at", filter=Q(due_at__lte=now, claim__isnull=True)),
    )
    day = now - timedelta(days=1)
    context = {
        **admin.site.each_context(request),
        "title": "System health",
        "states": [(name, state_of(check)) for name, check in CHECKS.items()],
        "waiting": waiting,
        "overdue": waiting["longest_due"] is not None and waiting["longest_due"] < now - timedelta(minutes=2),
        "failed": Delivery.objects.filter(created_at__gte=day, state=Delivery.State.FAILED).count(),
        "delivered": Delivery.objects.filter(delivered_at__gte=day).count(),
        "last_launch": Launch.objects.order_by("-id").values_list("at", flat=True).first(),
        "now": now,
        "facts": [
            ("Public address", settings.BASE_URL),
            ("Database", settings.DATABASES["default"]["ENGINE"].rsplit(".", 1)[-1]),
            ("Queue", "Redis" if settings.REDIS_URL else "embedded"),
            ("Django", django.get_version()),
        ],
    }
    return TemplateResponse(request, "admin/system_health.html", context)


site: PlatformAdminSite = admin.site  # type: ignore[assignment]
site.register_page("health/", system_health, "health")
