"""Tables for spreadsheets, which take a cell that begins with = or + for a formula of whoever wrote it."""

import csv
import re
from collections.abc import Iterable, Iterator
from typing import Any

from django.http import StreamingHttpResponse

# What a spreadsheet takes for the beginning of a formula, in the wide letters of East Asian keyboards too, and what it
# skips before it looks (OWASP, CSV injection). A spreadsheet that splits at semicolons or tabs begins a cell in the
# middle of ours, and one that has lost count of the quotes begins a row after a line break.
_DANGEROUS = re.compile(r"(?:\A(?=[\t\r\n])|(?:\A|(?<=[;|\t\r\n]))(?=[ \u00a0\u3000]*[=+\-@\uff1d\uff0b\uff0d\uff20]))")


def formula_safe(value: Any) -> str:
    """The cell's text, with an apostrophe in front of whatever a spreadsheet would run; None is an empty cell."""
    return "" if value is None else _DANGEROUS.sub("'", str(value))


class _Echo:
    def write(self, line: str) -> str:
        return line


def csv_lines(header: Iterable[Any], rows: Iterable[Iterable[Any]]) -> Iterator[str]:
    """The lines of a CSV file (RFC 4180), whose cells no spreadsheet runs; the header's neither."""
    writer = csv.writer(_Echo())
    # A byte order mark: Excel takes the file for Latin-1 without it.
    yield "\ufeff" + writer.writerow([formula_safe(value) for value in header])
    for row in rows:
        yield writer.writerow([formula_safe(value) for value in row])


def csv_response(filename: str, header: Iterable[Any], rows: Iterable[Iterable[Any]]) -> StreamingHttpResponse:
    """A download that is written while it is read, whatever its length."""
    response = StreamingHttpResponse(csv_lines(header, rows), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{filename}"'
    return response
