"""Creates or updates organizations with all that they need, from a file."""

import json
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from api.provision_document import DocumentError, read_document
from api.provisioning import ProvisionError, provision, weak_points


class Command(BaseCommand):
    help = (
        "Creates or updates organizations, members, LMS installations, keys, registrations, invites, API tokens, "
        "courses and assignments from a JSON or YAML file, all or nothing, and prints one JSON document with their "
        "ids, keys and URLs. May be run again. See docs/provision.md."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="The file, or - for standard input.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            document = read_document(_content_of(options["file"]))
            answer = provision(document)
        except (DocumentError, ProvisionError) as error:
            raise CommandError(f"Nothing was written.\n{error}") from error
        for warning in weak_points(document):
            self.stderr.write(f"Warning: {warning}")
        text = json.dumps(answer.model_dump(mode="json", exclude_unset=True), ensure_ascii=False, indent=2)
        reconfigure = getattr(sys.stdout, "reconfigure", None)
        if reconfigure:
            reconfigure(encoding="utf-8")  # whatever the locale
        self.stdout.write(text)


def _content_of(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise CommandError(f"{name} cannot be read: {error.strerror}") from error
