"""The table of contents of the platform's URLs (contract §3)."""

from django.contrib import admin
from django.urls import include, path

from launches.home_pages import home
from lti_platform import health, metrics

urlpatterns = [
    path("", home, name="home"),
    path("", include("launches.urls")),
    path("courses/<uuid:course_id>/", include("launches.course_urls")),
    path("", include("recordings.urls")),
    path("admin/", admin.site.urls),
    path("api/v1/", include("api.urls")),
    path("accounts/", include("allauth.urls")),
    path("health/live", health.live, name="health-live"),
    path("health/ready", health.ready, name="health-ready"),
    path("metrics", metrics.metrics, name="metrics"),
]

handler400 = "lti_platform.errors.bad_request"
handler403 = "lti_platform.errors.forbidden"
handler404 = "lti_platform.errors.not_found"
handler500 = "lti_platform.errors.server_error"
