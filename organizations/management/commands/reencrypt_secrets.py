"""Encrypts every stored secret with the first of FIELD_ENCRYPTION_KEYS."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from organizations.reencryption import encrypted_fields, reencrypt


class Command(BaseCommand):
    help = (
        "Encrypts every stored secret with the first key of FIELD_ENCRYPTION_KEYS. To change keys: put the new one in "
        "front everywhere and restart, run this, then remove the old one. Launches go on meanwhile; may be run again."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        rewritten = unreadable = 0
        for field in encrypted_fields():
            tally = reencrypt(field)
            rewritten += tally.rewritten
            unreadable += tally.unreadable
            self.stdout.write(f"{tally.field}: {tally.rewritten} rewritten, {tally.up_to_date} up to date")
        self.stdout.write(f"{rewritten} secrets rewritten with the first key.")
        if unreadable:
            raise CommandError(
                f"{unreadable} secrets fit none of FIELD_ENCRYPTION_KEYS and were left as they are: put the key that "
                "wrote them back at the end of the list and run this again."
            )
