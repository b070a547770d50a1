"""Secrets at rest: a text field encrypted with MultiFernet, so that keys can be rotated (J14)."""

from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models


@lru_cache(maxsize=8)
def _multi_fernet(keys: tuple[str, ...]) -> MultiFernet:
    if not keys:
        raise ImproperlyConfigured("FIELD_ENCRYPTION_KEYS is empty: secrets cannot be stored.")
    try:
        return MultiFernet([Fernet(key) for key in keys])
    except ValueError as error:
        raise ImproperlyConfigured(
            "FIELD_ENCRYPTION_KEYS must be a comma list of Fernet keys (32 url-safe base64-encoded bytes each)."
        ) from error


def encrypt(plaintext: str) -> str:
    """Encrypts with the first of ``FIELD_ENCRYPTION_KEYS``."""
    return _multi_fernet(tuple(settings.FIELD_ENCRYPTION_KEYS)).encrypt(plaintext.encode()).decode()


@lru_cache(maxsize=1024)
def _decrypt(keys: tuple[str, ...], ciphertext: str) -> str:
    # A launch decrypts the same shared secret again and again; the cache, keyed by ciphertext, is memory only.
    return _multi_fernet(keys).decrypt(ciphertext.encode()).decode()


def decrypt(ciphertext: str) -> str:
    """Decrypts with whichever of ``FIELD_ENCRYPTION_KEYS`` fits.

    Raises ``ImproperlyConfigured`` when none does: the key that wrote the value was removed before
    ``manage.py reencrypt_secrets`` ran.
    """
    try:
        return _decrypt(tuple(settings.FIELD_ENCRYPTION_KEYS), ciphertext)
    except InvalidToken as error:
        raise ImproperlyConfigured(
            "A stored secret was encrypted with a key that is not in FIELD_ENCRYPTION_KEYS: put the old key back "
            "at the end of the list, run `manage.py reencrypt_secrets`, then remove it."
        ) from error


def is_ours(ciphertext: str) -> bool:
    """Whether one of our keys wrote this text: for what comes back from outside."""
    try:
        _multi_fernet(tuple(settings.FIELD_ENCRYPTION_KEYS)).decrypt(ciphertext.encode("utf-8", "replace"))
    except InvalidToken:
        return False
    return True


class EncryptedTextField(models.TextField):
    """Text that is ciphertext in the database and plaintext in Python. It cannot be searched or ordered by."""

    def get_prep_value(self, value: Any) -> Any:
        value = super().get_prep_value(value)
        return value if value in (None, "") else encrypt(value)

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> str | None:
        return value if value in (None, "") else decrypt(value)

    def get_lookup(self, lookup_name: str) -> Any:
        if lookup_name != "isnull":
            raise TypeError(f"An encrypted field cannot be looked up by {lookup_name!r}.")
        return super().get_lookup(lookup_name)
