"""What a page of the gradebook shows of grades under way, short enough to stand in the address that asks for changes.

The page says of each of its rows with something under way how far every cell is; the answer is the cells that have gone
on since, and nothing of the rest.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from courses.models import Assignment
from launches.gradebook import ASSIGNMENTS_A_PART, PEOPLE_A_PAGE, Cell, Row

_ID = 16  # bytes
_CELLS_A_BYTE = 4


@dataclass(frozen=True)
class Seen:
    """A row as the page shows it: `Cell.progress` of each of its cells."""

    person_id: UUID
    progress: Sequence[int]


def as_text(rows: Iterable[Row]) -> str:
    """The rows that have something under way: a person's id and two bits for each cell, in base64, between dots."""
    return ".".join(_row_as_text(row) for row in rows if row.is_under_way)


def _row_as_text(row: Row) -> str:
    packed = bytearray(row.person.pk.bytes)
    for start in range(0, len(row.cells), _CELLS_A_BYTE):
        four = row.cells[start : start + _CELLS_A_BYTE]
        packed.append(sum(cell.progress << 2 * place for place, cell in enumerate(four)))
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def rows_in(text: str) -> list[Seen]:
    """What `as_text` wrote. Raises ``ValueError`` for anything else, and for more rows than a page has."""
    words = text.split(".") if text else []
    if len(words) > PEOPLE_A_PAGE:
        raise ValueError("more rows than a page has")
    return [_row_in(word) for word in words]


def _row_in(word: str) -> Seen:
    try:
        packed = base64.b64decode(word + "=" * (-len(word) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("no base64") from error
    progress = [byte >> 2 * place & 3 for byte in packed[_ID:] for place in range(_CELLS_A_BYTE)]
    return Seen(UUID(bytes=packed[:_ID]), progress)


def columns_as_text(everything: Sequence[Assignment], shown: Sequence[Assignment]) -> str:
    """Which of the course's columns are shown: their numbers, behind a digest of all, which is another one as soon as
    a number means another assignment."""
    numbers = {assignment.pk: number for number, assignment in enumerate(everything)}
    return ".".join([_digest(everything), *(str(numbers[assignment.pk]) for assignment in shown)])


def columns_in(text: str, everything: Sequence[Assignment]) -> list[Assignment] | None:
    """What `columns_as_text` wrote; None where the course has other columns by now. Raises ``ValueError`` for anything
    else."""
    digest, *numbers = text.split(".")
    if digest != _digest(everything):
        return None
    if len(numbers) > ASSIGNMENTS_A_PART or not all(number.isascii() and number.isdigit() for number in numbers):
        raise ValueError("no numbers of columns")
    try:
        return [everything[int(number[:9])] for number in numbers]
    except IndexError as error:
        raise ValueError("no such column") from error


def _digest(columns: Sequence[Assignment]) -> str:
    return hashlib.sha256(b"".join(assignment.pk.bytes for assignment in columns)).hexdigest()[:12]


def changed_cells(seen: Iterable[Seen], rows: Iterable[Row]) -> list[tuple[Row, Cell]]:
    """The cells that are further than the page shows, with their rows."""
    known = {one.person_id: one.progress for one in seen}
    return [
        (row, cell)
        for row in rows
        for was, cell in zip(known[row.person.pk], row.cells, strict=False)
        if was != cell.progress
    ]
