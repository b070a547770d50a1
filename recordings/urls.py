"""What meeting servers call (contract §3)."""

from django.urls import path

from recordings import views

urlpatterns = [
    path("meetings/webhook/<uuid:server_id>", views.webhook, name="meeting-webhook"),
]
