"""What a service of this LMS is asked and answers, and how both are remembered."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from demo_lms import messages
from demo_lms.access_tokens import Grant
from lti.redaction import REDACTED
from lti.v1p3.services import with_query

T = TypeVar("T")


@dataclass(frozen=True)
class Asked:
    """A request to a service."""

    method: str
    url: str
    query: Mapping[str, str]
    accept: str
    content_type: str
    body: bytes
    grant: Grant | None

    @property
    def media_type(self) -> str:
        return self.content_type.partition(";")[0].strip().lower()

    def allows(self, *scopes: str) -> bool:
        return self.grant is not None and any(scope in self.grant.scopes for scope in scopes)


@dataclass(frozen=True)
class Answered:
    """What is answered; `closed`: the connection breaks instead. `title` and `result` say it in a phrase each."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)
    closed: bool = False
    title: str = ""
    result: str = ""


def as_json(value: object, content_type: str, status: int = 200, **more: Any) -> Answered:
    body = json.dumps(value, ensure_ascii=False).encode()
    return Answered(status, body, f"{content_type}; charset=utf-8", **more)


def refused(asked: Asked, status: int, reason: str, **more: Any) -> Answered:
    """A refusal in Moodle's words, which name the request."""
    body = {"status": status, "reason": reason, "request": {"method": asked.method, "url": asked.url}}
    return as_json(body, "application/json", status, result=f"HTTP {status}: {reason}", **more)


def page_of(
    asked: Asked, found: Sequence[T], *, size: int | None = None, is_moodle: bool = False
) -> tuple[Sequence[T], Mapping[str, str]]:
    """The page that is asked for, with its `Link` header to the next: of `limit` items, or of `size` (None: all)."""
    limit, start = asked.query.get("limit", ""), asked.query.get("from", "")
    length = int(limit) if limit.isdecimal() and int(limit) > 0 else size
    first = int(start) if start.isdecimal() else 0
    if length is None or first + length >= len(found):
        return found[first:], {}
    following = with_query(asked.url, [("limit", str(length)), ("from", str(first + length))])
    if is_moodle:
        # Curly quotes and &amp;, as Moodle's line items have them (moodle.md 40); on the line they are Latin-1.
        link = f"<{following.replace('&', '&amp;')}>; rel=“next”".encode().decode("latin-1")
        return found[first : first + length], {"Link": link}
    return found[first : first + length], {"Link": f'<{following}>; rel="next"'}


def remember(kind: str, asked: Asked, answered: Answered) -> None:
    """Keep the exchange as a message, without the token."""
    lines = [f"{asked.method} {asked.url}"]
    headers = {"Accept": asked.accept, "Content-Type": asked.content_type, "Authorization": f"Bearer {REDACTED}"}
    lines += [f"{name}: {value}" for name, value in headers.items() if value]
    sent = "\n".join(lines) + (f"\n\n{readable(asked.body)}" if asked.body else "")
    answer = "(the connection was closed)" if answered.closed else f"HTTP {answered.status}"
    for name, value in answered.headers.items():
        answer += f"\n{name}: {value}"
    if answered.body:
        answer += f"\n\n{readable(answered.body)}"
    messages.remember(kind, answered.title, sent, answer, answered.result or f"HTTP {answered.status}")


def readable(body: bytes) -> str:
    """JSON, indented; anything else as it is."""
    try:
        text = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        text = body.decode("utf-8", "replace")
    return messages.without_secrets(text[:20_000])
