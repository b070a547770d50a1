"""What courses do when something changes in a room below."""

from typing import Any

from django.dispatch import receiver

from courses.roster import read_what_waited
from organizations.models import Installation
from organizations.signals import service_host_allowed


@receiver(service_host_allowed, dispatch_uid="courses.read_rosters_of_allowed_host")
def read_rosters_of_allowed_host(installation: Installation, **kwargs: Any) -> None:
    read_what_waited(installation)
