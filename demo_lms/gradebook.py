"""The gradebook: every grade that arrived, the last one of each cell being the grade."""

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from demo_lms import storage
from demo_lms.columns import Column, columns_of
from demo_lms.course import PEOPLE, Course, Link, Person


def plain(number: Decimal) -> str:
    """A number without superfluous zeros: 9.5, 100."""
    return f"{number.normalize():f}"


@dataclass(frozen=True)
class Entry:
    """What arrived in a cell: a score from 0 to 1, or None when the grade was taken away.

    `sent_at` is the tool's own time of it, and `submission_url` where the tool shows the work; both by AGS only.
    """

    person_id: str
    column_id: str
    score: Decimal | None
    received_at: datetime
    sent_at: datetime
    comment: str = ""
    submission_url: str = ""

    @property
    def percentage(self) -> Decimal | None:
        return None if self.score is None else (self.score * 100).quantize(Decimal("0.01"))

    def points(self, column: Column) -> Decimal | None:
        """The score in points of the column."""
        return None if self.score is None else (self.score * column.maximum).quantize(Decimal("0.01"))


@dataclass(frozen=True)
class Cell:
    person: Person
    column: Column
    history: tuple[Entry, ...]
    link: Link | None = None
    can_be_reviewed: bool = False

    @property
    def entry(self) -> Entry | None:
        return self.history[-1] if self.history else None

    @property
    def points(self) -> Decimal | None:
        return self.entry.points(self.column) if self.entry else None

    @property
    def words(self) -> str:
        """What the gradebook shows: "9.5 (95 %)"; empty without a grade."""
        return self._words(self.entry) if self.entry else ""

    @property
    def lines(self) -> list[tuple[Entry, str]]:
        """Every entry in words, newest first."""
        return [(entry, self._words(entry)) for entry in reversed(self.history)]

    def _words(self, entry: Entry) -> str:
        points, percentage = entry.points(self.column), entry.percentage
        if points is None or percentage is None:
            return "taken away"
        return f"{plain(points)} ({plain(percentage)} %)"


@dataclass(frozen=True)
class Row:
    person: Person
    cells: tuple[Cell, ...]


_ENTRIES = "SELECT * FROM grade_entry LEFT JOIN ags_score ON entry_id = id"


def _entry(row: sqlite3.Row) -> Entry:
    received_at = datetime.fromisoformat(row["received_at"])
    return Entry(
        person_id=row["person_id"],
        column_id=row["link_id"],
        score=None if row["score"] is None else Decimal(row["score"]),
        received_at=received_at,
        sent_at=datetime.fromisoformat(row["sent_at"]) if row["sent_at"] else received_at,
        comment=row["comment"] or "",
        submission_url=row["submission_url"] or "",
    )


def store(
    person: Person,
    column: Column | Link,
    score: Decimal | None,
    *,
    sent_at: datetime | None = None,
    comment: str = "",
    submission_url: str = "",
) -> None:
    """Remember a grade that arrived, or with None that it was taken away; what follows is said by AGS only."""
    with storage.transaction() as database:
        added = database.execute(
            "INSERT INTO grade_entry (person_id, link_id, score, received_at) VALUES (?, ?, ?, ?)",
            (person.id, column.id, None if score is None else str(score), datetime.now(UTC).isoformat()),
        )
        if sent_at is not None:
            database.execute(
                "INSERT INTO ags_score (entry_id, sent_at, comment, submission_url) VALUES (?, ?, ?, ?)",
                (added.lastrowid, sent_at.isoformat(), comment, submission_url),
            )


def entry_of(person: Person, column: Column | Link) -> Entry | None:
    """The last entry of a cell."""
    with storage.reading() as database:
        row = database.execute(
            _ENTRIES + " WHERE person_id = ? AND link_id = ? ORDER BY id DESC LIMIT 1", (person.id, column.id)
        ).fetchone()
    return _entry(row) if row else None


def score_of(person: Person, column: Column | Link) -> Decimal | None:
    """The grade in a cell, from 0 to 1; None when there is none."""
    entry = entry_of(person, column)
    return entry.score if entry else None


def rows(course: Course, only: Person | None = None) -> list[Row]:
    """The gradebook by person: the students, and a teacher who has got a grade; or `only` one person."""
    with storage.reading() as database:
        entries = [_entry(row) for row in database.execute(_ENTRIES + " ORDER BY id")]
    graded = {entry.person_id for entry in entries}
    people = [only] if only else [one for one in PEOPLE if not one.is_teacher or one.id in graded]
    columns = columns_of(course)

    def cell(one: Person, column: Column) -> Cell:
        link = course.link_by_id(column.link_id)
        tool = course.active_tool(link.client_id) if link else None
        return Cell(
            one,
            column,
            tuple(entry for entry in entries if entry.person_id == one.id and entry.column_id == column.id),
            link,
            can_be_reviewed=tool is not None and tool.reviews_submissions and not one.is_teacher,
        )

    return [Row(one, tuple(cell(one, column) for column in columns)) for one in people]
