"""JSON that came from outside: read with bounds, looked into without trusting its shape."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Never

_SURROGATE = re.compile("[\ud800-\udfff]")

JsonObject = Mapping[str, object]


class UnreadableJson(Exception):
    """What came is no JSON that can be used; ``reason`` says why in a phrase."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _not_a_number(name: str) -> Never:
    raise UnreadableJson(f"{name} is no JSON")


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise UnreadableJson("a member is repeated")
    return found


def read_json(text: bytes, *, limit: int) -> object:
    """The value of a JSON text of at most ``limit`` bytes. Raises ``UnreadableJson``.

    Refused beside what is no JSON: repeated members, of which two readers may take different ones (RFC 8259 §4), and
    NUL characters and lone surrogates, which no database stores.
    """
    if len(text) > limit:
        raise UnreadableJson(f"larger than {limit // 1024} KiB")
    try:
        value: object = json.loads(
            text.decode("utf-8-sig"), object_pairs_hook=_without_repetition, parse_constant=_not_a_number
        )
    except (ValueError, RecursionError):
        raise UnreadableJson("no JSON") from None
    _check_texts(value)
    return value


def read_object(text: bytes, *, limit: int) -> JsonObject:
    """The same for a text that must be an object."""
    value = read_json(text, limit=limit)
    if not isinstance(value, dict):
        raise UnreadableJson("no JSON object")
    return value


def _check_texts(value: object) -> None:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            if "\x00" in item or _SURROGATE.search(item):
                raise UnreadableJson("a text with NUL or half a character in it")
        elif isinstance(item, dict):
            waiting.extend(item)
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, float) and not math.isfinite(item):
            raise UnreadableJson("a number that is too large")


def text_in(holder: JsonObject, *names: str) -> str:
    """The first member among ``names`` that is a text or a number, as text; else ``""``."""
    for name in names:
        text = as_text(holder.get(name))
        if text:
            return text
    return ""


def as_text(value: object) -> str:
    """A scalar as text: numbers as written (Canvas sends ids as numbers), ``true`` and ``false``; else ``""``."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else str(value)
    return ""


def object_in(holder: JsonObject, name: str) -> JsonObject:
    """The member that is an object; else an empty one."""
    value = holder.get(name)
    return value if isinstance(value, dict) else {}


def texts_in(holder: JsonObject, name: str) -> tuple[str, ...]:
    """The texts of the member that is a list, or the one text that stands in its place."""
    value = holder.get(name)
    if isinstance(value, str):
        return (value,) if value else ()
    return tuple(item for item in value if isinstance(item, str) and item) if isinstance(value, list) else ()


def number_in(holder: JsonObject, name: str) -> int | float | None:
    """The member that is a number; ``true`` is none."""
    value = holder.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
