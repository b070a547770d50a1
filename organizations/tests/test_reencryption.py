"""Keys for secrets at rest are changed without a gap."""

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import connection

from organizations import reencryption
from organizations.models import LtiKey
from organizations.reencryption import encrypted_fields, reencrypt
from organizations.tool_keys import make_tool_key
from tests.factories import LtiKeyFactory, OrganizationFactory

pytestmark = pytest.mark.django_db

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def _stored() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT secret FROM organizations_ltikey ORDER BY id")
        return [row[0] for row in cursor.fetchall()]


def _field(name: str):
    return next(field for field in encrypted_fields() if field.name == name)


def test_every_secret_is_written_with_the_first_key(settings, capsys):
    settings.FIELD_ENCRYPTION_KEYS = [OLD]
    keys = [LtiKeyFactory(secret=f"secret {number}", previous_secret="before") for number in range(5)]
    tool_key = make_tool_key(OrganizationFactory())
    settings.FIELD_ENCRYPTION_KEYS = [NEW, OLD]
    written_meanwhile = LtiKeyFactory(secret="new")
    call_command("reencrypt_secrets")
    assert "11 secrets rewritten" in capsys.readouterr().out
    settings.FIELD_ENCRYPTION_KEYS = [NEW]
    for number, key in enumerate(keys):
        key.refresh_from_db()
        assert (key.secret, key.previous_secret) == (f"secret {number}", "before")
    private_key = tool_key.private_key
    tool_key.refresh_from_db()
    assert tool_key.private_key == private_key
    written_meanwhile.refresh_from_db()
    assert written_meanwhile.secret == "new"


def test_a_second_run_writes_nothing(settings, capsys):
    LtiKeyFactory()
    before = _stored()
    call_command("reencrypt_secrets")
    assert _stored() == before
    assert "0 secrets rewritten" in capsys.readouterr().out


def test_batches_reach_every_row(settings):
    settings.FIELD_ENCRYPTION_KEYS = [OLD]
    LtiKeyFactory.create_batch(5)
    settings.FIELD_ENCRYPTION_KEYS = [NEW, OLD]
    tally = reencrypt(_field("secret"), batch_size=2)
    assert (tally.rewritten, tally.up_to_date, tally.unreadable) == (5, 0, 0)


def test_a_secret_that_changes_meanwhile_is_left_alone(settings, monkeypatch):
    settings.FIELD_ENCRYPTION_KEYS = [OLD]
    key = LtiKeyFactory(secret="old")
    settings.FIELD_ENCRYPTION_KEYS = [NEW, OLD]

    def reset_first(ciphertext):
        LtiKey.objects.filter(pk=key.pk).update(secret="reset by the owner")
        return "old"

    monkeypatch.setattr(reencryption, "decrypt", reset_first)
    assert reencrypt(_field("secret")).rewritten == 0
    key.refresh_from_db()
    assert key.secret == "reset by the owner"


def test_a_secret_that_no_key_opens_is_left_and_told(settings, capsys):
    settings.FIELD_ENCRYPTION_KEYS = [OLD]
    LtiKeyFactory()
    lost = _stored()
    settings.FIELD_ENCRYPTION_KEYS = [NEW]
    LtiKeyFactory()
    with pytest.raises(CommandError, match="1 secrets fit none"):
        call_command("reencrypt_secrets")
    assert lost[0] in _stored()
