"""Where the demo LMS keeps what happens: one SQLite file, plain SQL."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from demo_lms.environment import database_file

SCHEMA = """
CREATE TABLE IF NOT EXISTS grade_entry (
    id INTEGER PRIMARY KEY,
    person_id TEXT NOT NULL,
    link_id TEXT NOT NULL,
    score TEXT,
    received_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS grade_entry_cell ON grade_entry (person_id, link_id, id);
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    title TEXT NOT NULL,
    sent TEXT NOT NULL,
    answered TEXT NOT NULL,
    result TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS switch (
    name TEXT PRIMARY KEY,
    mode TEXT NOT NULL,
    seconds INTEGER NOT NULL,
    remaining INTEGER
);
CREATE TABLE IF NOT EXISTS content_visit (
    id TEXT PRIMARY KEY,
    token_id TEXT NOT NULL UNIQUE,
    arrived_at TEXT NOT NULL,
    claims TEXT NOT NULL,
    finished_at TEXT
);
CREATE TABLE IF NOT EXISTS ags_score (
    entry_id INTEGER PRIMARY KEY,
    sent_at TEXT NOT NULL,
    comment TEXT NOT NULL,
    submission_url TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS line_item (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    link_id TEXT NOT NULL,
    label TEXT NOT NULL,
    maximum TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    tag TEXT NOT NULL,
    others TEXT NOT NULL,
    is_deleted INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS signing_key (
    name TEXT PRIMARY KEY,
    key_id TEXT NOT NULL,
    private_pem TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS registered_tool (
    client_id TEXT PRIMARY KEY,
    deployment_id TEXT NOT NULL,
    state TEXT NOT NULL,
    document TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS registration_token (
    token TEXT PRIMARY KEY,
    client_id TEXT NOT NULL,
    upgrades INTEGER NOT NULL,
    nonce TEXT NOT NULL,
    made_at TEXT NOT NULL,
    used_at TEXT
);
CREATE TABLE IF NOT EXISTS link_choice (
    link_id TEXT PRIMARY KEY,
    client_id TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS added_link (
    number INTEGER PRIMARY KEY,
    client_id TEXT NOT NULL,
    document TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS pending_launch (
    id TEXT PRIMARY KEY,
    made_at TEXT NOT NULL,
    document TEXT NOT NULL,
    used_at TEXT
);
CREATE TABLE IF NOT EXISTS used_once (
    name TEXT PRIMARY KEY,
    at TEXT NOT NULL
);
"""


def prepare(path: Path) -> None:
    """Make the file and its tables where they are missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=30)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(SCHEMA)
    finally:
        connection.close()
    # Signing keys are in it.
    path.chmod(0o600)


def use_once(name: str) -> bool:
    """Whether this name (of a token, a nonce) is used for the first time."""
    with transaction() as database:
        added = database.execute(
            "INSERT INTO used_once (name, at) VALUES (?, ?) ON CONFLICT (name) DO NOTHING",
            (name, datetime.now(UTC).isoformat()),
        )
        return added.rowcount == 1


@contextmanager
def transaction() -> Iterator[sqlite3.Connection]:
    """A connection with an open write transaction: committed at the end, rolled back by an exception."""
    with _connected() as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


@contextmanager
def reading() -> Iterator[sqlite3.Connection]:
    """A connection that waits for no writer."""
    with _connected() as connection:
        yield connection


@contextmanager
def _connected() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(database_file(), timeout=30, isolation_level=None)
    connection.row_factory = sqlite3.Row
    try:
        yield connection
    finally:
        connection.close()
