"""Gives organizations new RSA keys, published before they sign."""

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from organizations.key_rotation import rotate_tool_key
from organizations.models import Organization

LONGEST_HOURS = 24 * 30


class Command(BaseCommand):
    help = (
        "Makes the next RSA key of every organization (or of one). It is in jwks.json at once and signs after "
        "--publish-hours, so that every LMS has read it by then; the key before it stays published for seven days "
        "more. Does nothing where a new key waits already: may be run again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--organization", metavar="SLUG", help="Only this one.")
        parser.add_argument(
            "--publish-hours",
            type=float,
            default=24,
            help="How long it is published before it signs (default 24). 0 is for a key that leaked: launches of LMSs "
            "that still have the old key set in their cache may fail for a while.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        hours: float = options["publish_hours"]
        if not 0 <= hours <= LONGEST_HOURS:
            raise CommandError(f"--publish-hours must be 0 to {LONGEST_HOURS}.")
        organizations = Organization.objects.order_by("slug")
        if options["organization"]:
            organizations = organizations.filter(slug=options["organization"])
            if not organizations:
                raise CommandError(f"There is no organization {options['organization']}.")
        for organization in organizations:
            rotation = rotate_tool_key(organization, timedelta(hours=hours))
            what = "new key" if rotation.made else "the key that waits:"
            dropped = f"; {rotation.dropped} old deleted" if rotation.dropped else ""
            self.stdout.write(
                f"{organization.slug}: {what} {rotation.key_id}, signs from "
                f"{rotation.signs_from:%Y-%m-%d %H:%M} UTC{dropped}"
            )
