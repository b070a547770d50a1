"""Writes docs/setup from the set-up guides."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from launches.setup_docs import documents


class Command(BaseCommand):
    help = "Writes docs/setup anew from launches/setup/*.yaml. For those who work on the platform."

    def handle(self, *args: Any, **options: Any) -> None:
        folder = settings.BASE_DIR / "docs" / "setup"
        folder.mkdir(exist_ok=True)
        for name, text in documents().items():
            (folder / name).write_text(text, encoding="utf-8")
            self.stdout.write(f"docs/setup/{name}")
