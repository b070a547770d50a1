"""Statements that a session of PostgreSQL keeps."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from organizations.kept_statements import execute_kept
from organizations.models import Organization
from organizations.upsert import insert

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has nothing to keep"),
]


@pytest.fixture(autouse=True)
def _another_session():
    """As a session that has just begun; what was kept before goes on being called by its names."""
    kept = connection.kept_statements
    kept_before = dict(kept._names)
    kept._names.clear()
    yield
    kept._names.update(kept_before)


def ask(sql, *parameters):
    with CaptureQueriesContext(connection) as queries, connection.cursor() as cursor:
        execute_kept(connection, cursor, sql, parameters)
        return cursor.fetchall(), [query["sql"] for query in queries]


def test_a_text_is_planned_once():
    sql = "SELECT slug FROM organizations_organization WHERE slug = %s OR name = %s"
    Organization.objects.create(slug="one", name="One")
    first, (prepared,) = ask(sql, "one", "")
    second, (executed,) = ask(sql, "none", "One")
    assert first == second == [("one",)]
    assert prepared.startswith("PREPARE ")
    assert executed.startswith("EXECUTE ")
    assert ask(sql, "' OR true --", "%s $1")[0] == []


def test_a_statement_that_fails_at_first_works_later():
    Organization.objects.create(slug="one", name="One")
    with pytest.raises(IntegrityError), transaction.atomic():
        insert(Organization(slug="one", name="Another"))
    insert(Organization(slug="two", name="Two"))
    insert(Organization(slug="three", name="Three"))
    assert set(Organization.objects.values_list("slug", flat=True)) >= {"one", "two", "three"}


def test_behind_a_pooler_nothing_is_kept():
    own = connection.copy()
    own.settings_dict = {**own.settings_dict, "OPTIONS": {"kept_statements": "false"}}
    try:
        own.ensure_connection()
        assert own.kept_statements is None
        with own.cursor() as cursor:
            execute_kept(own, cursor, "SELECT %s::text", ["plain"])
            assert cursor.fetchone() == ("plain",)
    finally:
        own.close()


def test_a_word_that_is_neither_is_refused():
    own = connection.copy()
    own.settings_dict = {**own.settings_dict, "OPTIONS": {"kept_statements": "perhaps"}}
    with pytest.raises(ImproperlyConfigured, match="kept_statements"):
        own.ensure_connection()
