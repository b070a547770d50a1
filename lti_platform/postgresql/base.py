"""Django's PostgreSQL backend with a health check that costs no round trip, and with statements that are kept."""

import select
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.backends.postgresql import base


class KeptStatements:
    """The names of the statements that one session of the server has prepared."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._made = 0

    def name_of(self, sql: str) -> str | None:
        return self._names.get(sql)

    def new_name(self) -> str:
        """A name that this session has never had."""
        self._made += 1
        return f"kept_{self._made}"

    def add(self, sql: str, name: str) -> None:
        self._names[sql] = name


class DatabaseWrapper(base.DatabaseWrapper):  # type: ignore[misc]
    """Before a kept connection is used again, Django asks it `SELECT 1`, in every request. Here the socket is looked at
    instead: a server that restarted or ended the session has closed it, and a closed socket is readable at once.

    `kept_statements` are those of the session, for `organizations/kept_statements.py`; None where it must have none:
    a pooler that gives each transaction another session (the option `kept_statements=false` of DATABASE_URL).
    """

    kept_statements: KeptStatements | None = None

    def get_connection_params(self) -> dict[str, Any]:
        parameters: dict[str, Any] = super().get_connection_params()
        asked = str(parameters.pop("kept_statements", "true")).lower()
        if asked not in ("true", "false"):
            raise ImproperlyConfigured("kept_statements in DATABASE_URL is true or false.")
        self._keeps_statements = asked == "true"
        return parameters

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection(conn_params)
        self.kept_statements = KeptStatements() if self._keeps_statements else None
        return connection

    def is_usable(self) -> bool:
        connection: Any = self.connection
        if connection is not None and not connection.closed:
            poll = select.poll()
            poll.register(connection.fileno(), select.POLLIN)
            if not poll.poll(0):
                return True
        return bool(super().is_usable())
