"""docs/events.md from the descriptions of the event types. `make guides` writes it, and a test fails when it is out of
date."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from events.event_types import EVENTS, Description, Field, Shape, example_id
from events.fan_out import AUDIT_TYPES
from events.log import SYSTEM, Actor

_HEAD = """\
<!-- Written by `make guides` from events/event_types.py: change it there. -->
# Events

Whatever is worth telling is written once, in the transaction of the change itself: an event that is there is true,
and a change that was taken back has none. The same events are read in three ways: [webhooks](webhooks.md) tell them
within seconds, [`GET /events`](api.md#follow-the-events) lists them, and owners see them in the admin. They are kept
for 400 days.

| key | what |
| --- | --- |
| `id` | the event's id for good; ids sort by time |
| `type` | one of those below |
| `at` | when it happened |
| `actor` | who did it: `kind` (`person` by an LMS, `user` signed in directly, `api_token`, `system`), `id`, `name` |
| `subject` | what it happened to: `kind`, `id` |
| `data` | what belongs to the type. All keys are always there unless the table says otherwise |

`data` is kept small, and names people by their ids only: read the rest from the [API](api.md). Keys may be added to a
type; none is taken away or changes its meaning. In a webhook's request, `data` of the event is `data.data`.

## Types
"""


def document() -> str:
    """The text of docs/events.md."""
    lines = [_HEAD, *(f"- [`{name}`](#{_anchor(name)}): {_first_sentence(one.when)}" for name, one in EVENTS.items())]
    for name, description in EVENTS.items():
        lines += _section(name, description)
    return "\n".join(lines) + "\n"


def _anchor(event_type: str) -> str:
    # As GitHub makes it of a heading: without the dot.
    return event_type.replace(".", "")


def _first_sentence(text: str) -> str:
    return text.split(". ")[0].split(": ")[0].rstrip(".")


def _section(name: str, description: Description) -> Iterator[str]:
    yield from ("", f"## `{name}`", "", description.when, "", f"Actor: {_or(description.actors)}.")
    if name in AUDIT_TYPES:
        yield from ("", "It is for the audit trail and for those who poll; webhooks are not told.")
    for shape in description.shapes:
        yield from ("", f"Subject: `{shape.subject}`.")
        if shape.fields:
            yield from ("", "| data | | what |", "| --- | --- | --- |", *map(_row, shape.fields))
        else:
            yield from ("", "No data.")
    example = json.dumps(_example(name, description.shapes[0]), indent=2, ensure_ascii=False)
    yield from ("", "```json", *example.splitlines(), "```")


def _row(field: Field) -> str:
    words = field.words
    if field.null:
        words += f"; null: {field.null}"
    if field.sometimes:
        words += f" (only {field.sometimes})" if not field.sometimes.startswith("unless") else f" ({field.sometimes})"
    return f"| `{field.name}` | {field.kind.value} | {words} |"


def _or(kinds: Sequence[str]) -> str:
    quoted = [f"`{kind}`" for kind in kinds]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


_ACTORS = {
    "person": Actor("person", example_id(4), "Ada Lovelace"),
    "user": Actor("user", example_id(11), "Grace Hopper"),
    "api_token": Actor("api_token", example_id(9), "grader"),
    "system": SYSTEM,
}


def _example(name: str, shape: Shape) -> dict[str, Any]:
    return {
        "id": example_id(8),
        "type": name,
        "at": "2030-01-31T18:00:00Z",
        "actor": _ACTORS[EVENTS[name].actors[0]].as_json(),
        "subject": {"kind": shape.subject, "id": example_id(14)},
        "data": shape.example(),
    }
