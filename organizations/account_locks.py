"""Who an LMS account is must not change while somebody arrives by it."""

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import QuerySet

from organizations.models import LmsAccount


def hold_accounts(accounts: QuerySet[LmsAccount]) -> None:
    """Until the end of the transaction these accounts stay with their people: whoever merges people waits.

    Those who hold an account do not hinder each other, nor its update (FOR KEY SHARE, which Django has no word for).
    Accounts are locked in one order everywhere: by person, then by id. SQLite has one writer anyway.
    """
    # django.db.connection is a proxy that looks the connection up at every use.
    live = connections[DEFAULT_DB_ALIAS]
    if live.vendor != "postgresql":
        return
    sql, parameters = accounts.order_by("person_id", "id").values("pk").query.sql_with_params()
    with live.cursor() as cursor:
        cursor.execute(f"{sql} FOR KEY SHARE", parameters)
