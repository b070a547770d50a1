"""Gradebook columns: those of links, and those that tools made (line items of AGS 2.0)."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from demo_lms import storage
from demo_lms.course import Course, Link, RegisteredTool
from demo_lms.environment import own_url


@dataclass(frozen=True)
class Column:
    """A column; `link_id` is "" for one that is bound to no link, `others` are members that only tools understand."""

    id: str
    slug: str
    title: str
    maximum: Decimal
    link_id: str = ""
    resource_id: str = ""
    tag: str = ""
    others: Mapping[str, Any] = field(default_factory=dict)

    @property
    def maximum_text(self) -> str:
        return f"{self.maximum.normalize():f}"


def _stored(row: sqlite3.Row, slug: str) -> Column:
    return Column(
        id=row["id"],
        slug=slug,
        title=row["label"],
        maximum=Decimal(row["maximum"]),
        link_id=row["link_id"],
        resource_id=row["resource_id"],
        tag=row["tag"],
        others=json.loads(row["others"]),
    )


def columns_of(course: Course) -> list[Column]:
    """All columns, those of the links first."""
    with storage.reading() as database:
        rows = {row["id"]: row for row in database.execute("SELECT * FROM line_item ORDER BY number")}
    found: list[Column] = []
    for link in course.graded_links:
        row = rows.pop(link.id, None)
        if row is None:
            found.append(_of_link(link))
        elif not row["is_deleted"]:
            found.append(_stored(row, link.slug))
    found += [_stored(row, f"column-{row['id']}") for row in rows.values() if not row["is_deleted"]]
    return found


def _of_link(link: Link) -> Column:
    return Column(
        id=link.id,
        slug=link.slug,
        title=link.title,
        maximum=link.maximum or Decimal(1),
        link_id=link.id,
        resource_id=link.resource_id,
        tag=link.tag,
    )


def column_of(course: Course, column_id: str) -> Column | None:
    return next((column for column in columns_of(course) if column.id == column_id), None)


def make(column: Column) -> str:
    """Add a column; its id."""
    with storage.transaction() as database:
        number = database.execute("SELECT coalesce(max(number), 5000) + 1 FROM line_item").fetchone()[0]
        _write(database, str(number), column, number)
    return str(number)


def change(column: Column) -> None:
    """Keep the column as it is now."""
    with storage.transaction() as database:
        _write(database, column.id, column, None)


def delete(column: Column) -> None:
    """Take the column away; that of a link, too (moodle.md 41)."""
    with storage.transaction() as database:
        _write(database, column.id, column, None)
        database.execute("UPDATE line_item SET is_deleted = 1 WHERE id = ?", (column.id,))


def _write(database: sqlite3.Connection, column_id: str, column: Column, number: int | None) -> None:
    database.execute(
        "INSERT INTO line_item (number, id, link_id, label, maximum, resource_id, tag, others)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET link_id = excluded.link_id,"
        " label = excluded.label, maximum = excluded.maximum, resource_id = excluded.resource_id,"
        " tag = excluded.tag, others = excluded.others",
        (
            number,
            column_id,
            column.link_id,
            column.title,
            str(column.maximum),
            column.resource_id,
            column.tag,
            json.dumps(dict(column.others)),
        ),
    )


def list_url(tool: RegisteredTool, course: Course) -> str:
    """Where the tool lists the columns."""
    return f"{own_url()}/services/{course.id}/lineitems{_query(tool)}"


def url_of(tool: RegisteredTool, course: Course, column: Column) -> str:
    """The column's URL for this tool; Moodle's has a query (moodle.md 35)."""
    return f"{own_url()}/services/{course.id}/lineitems/{column.id}/lineitem{_query(tool)}"


def _query(tool: RegisteredTool) -> str:
    return f"?type_id={tool.deployment_id}" if tool.preset.has_query_in_line_items else ""
