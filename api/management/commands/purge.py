"""Forgets what is past its age."""

from typing import Any

from django.core.management.base import BaseCommand

from launches.retention import purge


class Command(BaseCommand):
    help = (
        "Deletes launches and their nonces (by the organization's days, else LAUNCH_LOG_DAYS), counts of refusals, "
        "events older than 400 days, expired sessions, answers kept for idempotency keys (24 hours), deliveries that "
        "are over (DELIVERY_LOG_DAYS; the latest of every gradebook cell stays), mails of 30 days ago, and notes of "
        "hosts that were silent (7 days). Beat does the same every hour."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        forgotten = purge()
        self.stdout.write(
            f"Deleted {forgotten.launches} launches, {forgotten.refusal_tallies} counts of refusals, "
            f"{forgotten.events} events, {forgotten.sessions} expired sessions, {forgotten.answers} answers "
            f"kept for idempotency keys, {forgotten.deliveries} deliveries, {forgotten.mails} mails "
            f"and {forgotten.silent_hosts} notes of silent hosts."
        )
