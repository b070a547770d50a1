"""Tables for spreadsheets, which take a cell that begins with = or + for a formula of whoever wrote it."""

import csv
from collections.abc import Iterable, Iterator
from typing import Any

from django.http import StreamingHttpResponse

_STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def formula_safe(value: Any) -> str:
    """The cell's text; one that a spreadsheet would run gets an apostrophe in front (OWASP, CSV injection)."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_STARTS_A_FORMULA) else text


class _Echo:
    def write(self, line: str) -> str:
        return line


def csv_lines(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> Iterator[str]:
    writer = csv.writer(_Echo())
    # A byte order mark: Excel takes the file for Latin-1 without it.
    yield "\ufeff" + writer.writerow(list(header))
    for row in rows:
        yield writer.writerow([formula_safe(value) for value in row])


def csv_response(filename: str, header: Iterable[str], rows: Iterable[Iterable[Any]]) -> StreamingHttpResponse:
    """A download that is written while it is read, whatever its length."""
    response = StreamingHttpResponse(csv_lines(header, rows), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{filename}"'
    return response
