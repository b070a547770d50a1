"""Reads request bodies: JSON in UTF-8, and nothing that a strict reader would not take."""

import json
from typing import Any

from django.http import HttpRequest
from ninja.parser import Parser


class StrictParser(Parser):
    """JSON as RFC 8259 has it: UTF-8, no NaN or Infinity, no key twice."""

    def parse_body(self, request: HttpRequest) -> Any:
        """The document. Raises ValueError or RecursionError for what is none."""
        text = request.body.decode("utf-8")
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=without_repetition)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object hook that refuses a key that stands twice. Raises ValueError."""
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key appears twice")
    return document
