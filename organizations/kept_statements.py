"""Statements that PostgreSQL parses and plans once for a connection, instead of in every launch.

Parsing and planning the join that finds a link takes several times as long as running it (docs/performance.md).
psycopg2 has no word for this, SQL has: PREPARE and EXECUTE.
"""

from collections.abc import Sequence
from typing import Any


def execute_kept(connection: Any, cursor: Any, sql: str, parameters: Sequence[Any]) -> None:
    """As `cursor.execute(sql, parameters)`, for a text that comes again and again.

    `connection` is the connection of the cursor. The text has a `%s` for each parameter and no other percent sign.
    """
    kept = getattr(connection, "kept_statements", None)
    if kept is None:
        cursor.execute(sql, parameters)
        return
    slots = ", ".join(["%s"] * len(parameters))
    name = kept.name_of(sql)
    if name is not None:
        cursor.execute(f"EXECUTE {name} ({slots})", parameters)
        return
    name = kept.new_name()
    numbered = "".join(
        f"{part}${number}" if number <= len(parameters) else part for number, part in enumerate(sql.split("%s"), 1)
    )
    # One round trip: the statement is kept even if what it does this time fails, but by a name that nobody asks for.
    cursor.execute(f"PREPARE {name} AS {numbered}; EXECUTE {name} ({slots})", parameters)
    kept.add(sql, name)
