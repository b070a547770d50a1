"""Writes every stored secret anew with the first of FIELD_ENCRYPTION_KEYS, so that an old key can be taken away."""

from collections.abc import Iterator
from dataclasses import dataclass

from cryptography.fernet import Fernet, InvalidToken
from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.db.models.functions import Cast

from organizations.encryption import EncryptedTextField, decrypt


@dataclass(frozen=True)
class FieldTally:
    """What was done to one field: `unreadable` secrets fit none of the keys and were left as they are."""

    field: str
    rewritten: int
    up_to_date: int
    unreadable: int


def encrypted_fields() -> Iterator[EncryptedTextField]:
    """Every encrypted field of every model."""
    for model in apps.get_models():
        for field in model._meta.concrete_fields:
            if isinstance(field, EncryptedTextField):
                yield field


def reencrypt(field: EncryptedTextField, *, batch_size: int = 500) -> FieldTally:
    """Rewrites what another key than the first encrypted.

    A row is written only if it still holds what was read, so launches, resets and a second run may go on meanwhile;
    what they write is encrypted with the first key already.
    """
    first_key = Fernet(settings.FIELD_ENCRYPTION_KEYS[0])
    rows = field.model._base_manager.annotate(stored=Cast(field.attname, models.TextField())).exclude(stored="")
    rewritten = up_to_date = unreadable = 0
    last = None
    while True:
        waiting = rows.filter(pk__gt=last) if last is not None else rows
        batch = list(waiting.order_by("pk").values_list("pk", "stored")[:batch_size])
        for primary_key, stored in batch:
            if stored is None or _is_encrypted_with(first_key, stored):
                up_to_date += 1
                continue
            try:
                plaintext = decrypt(stored)
            except ImproperlyConfigured:
                unreadable += 1
                continue
            rewritten += rows.filter(pk=primary_key, stored=stored).update(**{field.attname: plaintext})
        if len(batch) < batch_size:
            break
        last = batch[-1][0]
    return FieldTally(f"{field.model._meta.label}.{field.name}", rewritten, up_to_date, unreadable)


def _is_encrypted_with(key: Fernet, ciphertext: str) -> bool:
    try:
        key.decrypt(ciphertext.encode())
    except InvalidToken:
        return False
    return True
