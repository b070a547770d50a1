"""Secrets that are replaced without a gap: the one before stays valid for an overlap."""

from datetime import timedelta

from django.db import models
from django.utils import timezone

from organizations.encryption import EncryptedTextField
from organizations.identifiers import random_token


class RotatingSecret(models.Model):
    """A row with a secret, and with a second one while it is being replaced."""

    secret = EncryptedTextField(default=random_token)
    previous_secret = EncryptedTextField(blank=True, default="", editable=False)
    previous_secret_expires_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        abstract = True

    def valid_previous_secret(self) -> str | None:
        """The secret being rotated out, while its overlap lasts."""
        if not self.previous_secret or self.previous_secret_expires_at is None:
            return None
        return self.previous_secret if self.previous_secret_expires_at > timezone.now() else None

    def replace_secret(self, secret: str, overlap: timedelta) -> None:
        """Takes this secret; the present one stays valid for the overlap (zero: it ends at once), and one that was
        still being rotated out ends. The caller holds the row's lock, and saves the three fields."""
        self.previous_secret = self.secret if overlap else ""
        self.previous_secret_expires_at = timezone.now() + overlap if overlap else None
        self.secret = secret
