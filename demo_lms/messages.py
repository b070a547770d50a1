"""The last messages: launches sent and outcome requests received, readable and without secrets."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from lxml import etree

from demo_lms import storage
from lti.redaction import REDACTED

KEPT = 50

_HASH = re.compile(r'("hash":\s*")[0-9a-f]+')
_SESSION_KEY = re.compile(r"(sesskey=)[^&\s]+")
_SIGNATURE = re.compile(r'(oauth_signature=")[^"]*')


@dataclass(frozen=True)
class Message:
    """`kind` is "launch" (sent by the LMS) or "outcome" (received); `result` one word or phrase for lists."""

    id: int
    at: datetime
    kind: str
    title: str
    sent: str
    answered: str
    result: str


def without_secrets(text: str) -> str:
    """The text without signature, session key and the part of a sourcedid that gives the right to grade."""
    for pattern in (_HASH, _SESSION_KEY, _SIGNATURE):
        text = pattern.sub(rf"\g<1>{REDACTED}", text)
    return text


def readable_form(url: str, pairs: Iterable[tuple[str, str]]) -> str:
    """A form as lines, as they were signed but for the secrets."""
    lines = [f"POST {url}", ""]
    for name, value in pairs:
        lines.append(f"{name} = {REDACTED if name == 'oauth_signature' else value}")
    return without_secrets("\n".join(lines))


def readable_xml(body: bytes) -> str:
    """XML, indented; anything else as it is."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_blank_text=True)
    try:
        text = etree.tostring(etree.fromstring(body, parser), pretty_print=True, encoding="unicode")
    except (etree.XMLSyntaxError, ValueError):
        text = body.decode("utf-8", "replace")
    return without_secrets(text.replace("&quot;", '"'))


def remember(kind: str, title: str, sent: str, answered: str, result: str) -> None:
    """Keep a message and forget those that are older than the last fifty."""
    with storage.transaction() as database:
        database.execute(
            "INSERT INTO message (at, kind, title, sent, answered, result) VALUES (?, ?, ?, ?, ?, ?)",
            (datetime.now(UTC).isoformat(), kind, title, sent, answered, result),
        )
        database.execute(
            "DELETE FROM message WHERE id <= (SELECT id FROM message ORDER BY id DESC LIMIT 1 OFFSET ?)", (KEPT,)
        )


def latest(kind: str = "") -> list[Message]:
    """The last messages, newest first; of one kind when named."""
    query = "SELECT * FROM message WHERE ? IN ('', kind) ORDER BY id DESC LIMIT ?"
    with storage.transaction() as database:
        found = database.execute(query, (kind, KEPT)).fetchall()
    return [
        Message(
            id=row["id"],
            at=datetime.fromisoformat(row["at"]),
            kind=row["kind"],
            title=row["title"],
            sent=row["sent"],
            answered=row["answered"],
            result=row["result"],
        )
        for row in found
    ]
