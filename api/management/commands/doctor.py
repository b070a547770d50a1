"""Says whether the platform is set up rightly, and what to do where it is not."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.core.management.color import no_style

from api.checkup import Level, check_all


class Command(BaseCommand):
    help = (
        "Checks settings, database, cache, broker, worker, deliveries, stored secrets, clock, LMSs' LTI 1.3 "
        "addresses and public URL; one line each: OK, WARN or FAIL with what to do. Exit status 1 if anything fails."
    )
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        style = no_style() if options["no_color"] else self.style
        paint = {Level.OK: style.SUCCESS, Level.WARN: style.WARNING, Level.FAIL: style.ERROR}
        failures = 0
        for finding in check_all():
            failures += finding.level == Level.FAIL
            advice = f" — {finding.advice}" if finding.advice else ""
            self.stdout.write(
                f"{paint[finding.level](f'{finding.level:<4}')} {finding.subject}: {finding.text}{advice}"
            )
        if failures:
            raise CommandError(f"{failures} checks failed.")
