"""What the sandbox keeps of sessions that have ended, their recordings and files: one SQLite table of documents."""

import json
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS document (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    room_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (kind, id)
);
"""
SESSION, RECORDING, ARTIFACT = "session", "recording", "artifact"

Document = dict[str, Any]


class Archive:
    """Documents by kind and id, in the order they came. `path` None: in memory."""

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None)
        self._database.executescript(_SCHEMA)
        if path is not None:
            path.chmod(0o600)  # names of people are in it

    def keep(self, kind: str, document_id: str, room_id: str, session_id: str, body: Document) -> None:
        """Writes the document, or over the one that was there."""
        with self._lock:
            self._database.execute(
                "INSERT INTO document (kind, id, room_id, session_id, body) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body",
                (kind, document_id, room_id, session_id, json.dumps(body)),
            )

    def find(self, kind: str, document_id: str) -> Document | None:
        with self._lock:
            row = self._database.execute(
                "SELECT body FROM document WHERE kind = ? AND id = ?", (kind, document_id)
            ).fetchone()
        return json.loads(row[0]) if row else None

    def remove(self, kind: str, document_id: str) -> bool:
        """Whether it was there."""
        with self._lock:
            done = self._database.execute("DELETE FROM document WHERE kind = ? AND id = ?", (kind, document_id))
        return done.rowcount == 1

    def listed(
        self, kind: str, *, room_ids: Sequence[str], session_id: str, offset: int, limit: int, ascending: bool
    ) -> tuple[list[Document], int]:
        """(the page, how many in all). A session replaces the rooms; neither is everything."""
        where, values = "kind = ?", [kind]
        if session_id:
            where += " AND session_id = ?"
            values.append(session_id)
        elif room_ids:
            where += f" AND room_id IN ({', '.join('?' for _ in room_ids)})"
            values += room_ids
        order = "ASC" if ascending else "DESC"
        with self._lock:
            total = self._database.execute(f"SELECT count(*) FROM document WHERE {where}", values).fetchone()[0]  # noqa: S608
            rows = self._database.execute(
                f"SELECT body FROM document WHERE {where} ORDER BY number {order} LIMIT ? OFFSET ?",  # noqa: S608
                [*values, limit, offset],
            ).fetchall()
        return [json.loads(row[0]) for row in rows], total
