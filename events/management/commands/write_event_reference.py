"""Writes docs/events.md from the descriptions of the event types."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from events.event_docs import document


class Command(BaseCommand):
    help = "Writes docs/events.md anew from events/event_types.py. For those who work on the platform."

    def handle(self, *args: Any, **options: Any) -> None:
        (settings.BASE_DIR / "docs" / "events.md").write_text(document(), encoding="utf-8")
        self.stdout.write("docs/events.md")
