"""Bearer tokens of the REST API: made, found, and their use noted. Only a token's hash is ever stored."""

from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from organizations.identifiers import random_token
from organizations.models import ApiToken, Organization

USE_NOTED_EVERY = timedelta(minutes=1)
# How long the answer to a request with an `Idempotency-Key` is remembered.
ANSWERS_KEPT = timedelta(hours=24)


def make_token(organization: Organization, name: str, token: str | None = None) -> tuple[ApiToken, str]:
    """A new token of the organization, random unless given: the row, and the text that is known only now."""
    api_token = ApiToken(organization=organization, name=name)
    text = token or random_token()
    api_token.set_token(text)
    api_token.save()
    return api_token, text


def replace_token(api_token: ApiToken, token: str) -> None:
    """Gives the row another token; the one it had stops working."""
    api_token.set_token(token)
    api_token.last_used_at = None
    api_token.save(update_fields=["prefix", "hash", "last_used_at"])


def find_api_token(token: str) -> ApiToken | None:
    """The enabled token of an enabled organization. One look-up by hash, whatever was given."""
    return (
        ApiToken.objects.select_related("organization")
        .filter(hash=ApiToken.hash_of(token), enabled=True, organization__enabled=True)
        .first()
    )


def note_use(api_token: ApiToken) -> None:
    """Notes when the token was last used, at most once a minute: a busy client must not write with every call."""
    now = timezone.now()
    if api_token.last_used_at is not None and api_token.last_used_at > now - USE_NOTED_EVERY:
        return
    ApiToken.objects.filter(Q(last_used_at=None) | Q(last_used_at__lte=now - USE_NOTED_EVERY), pk=api_token.pk).update(
        last_used_at=now
    )
    api_token.last_used_at = now
