"""The REST API (contract §4). What each address can do stands in the routers, by subject."""

from django.urls import include, path, re_path

from api import gate
from api.assignments import router as assignments
from api.courses import router as courses
from api.deliveries import router as deliveries
from api.enrolments import router as enrolments
from api.events import router as events
from api.installations import router as installations
from api.launches import router as launches
from api.openapi import PlatformApi
from api.rooms import router as rooms
from api.scores import router as scores
from api.webhooks import router as webhooks

api = PlatformApi()
api.add_router("", courses, tags=["Courses"])
api.add_router("", assignments, tags=["Assignments"])
api.add_router("", enrolments, tags=["Enrolments"])
api.add_router("", scores, tags=["Scores"])
api.add_router("", deliveries, tags=["Deliveries"])
api.add_router("", events, tags=["Events"])
api.add_router("", webhooks, tags=["Webhooks"])
api.add_router("", rooms, tags=["Live sessions"])
api.add_router("", launches, tags=["Launches"])
api.add_router("", installations, tags=["Installations"])

_patterns, _app_name, _namespace = api.urls

urlpatterns = [
    path("", gate.not_found),
    path("", include(([gate.guard(pattern) for pattern in _patterns], _app_name), namespace=_namespace)),
    re_path(r"^(?P<rest>.*)$", gate.not_found),
]
