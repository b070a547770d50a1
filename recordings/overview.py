"""This room's part of the admin's home page: meeting servers that do not answer as they should."""

from django.urls import reverse

from organizations.overview import Attention, Reach, adds_attention
from organizations.tenancy import within
from recordings.models import MeetingServer

MOST = 5


@adds_attention
def servers_with_a_problem(reach: Reach) -> list[Attention]:
    rows = within(MeetingServer.objects.filter(enabled=True).exclude(problem=""), reach)
    return [
        Attention(
            "danger",
            f"The meeting server “{server.name}” does not work",
            server.problem,
            reverse("admin:recordings_meetingserver_change", args=[server.pk]),
            "Test the connection",
        )
        for server in rows.only("name", "problem").order_by("name")[:MOST]
    ]
