"""The types of events, and what each one says: who did it, to what, with which data. docs/events.md is made from this
(`make guides`), and an event that says something else is refused wherever `EVENT_DATA_CHECKED` is on."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any
from uuid import UUID

from events.fan_out import TEST_TYPE


class EventType:
    """The event types of the contract (§4), and a few more of the same kind. Each is described in `EVENTS` below."""

    ENROLMENT_CREATED = "enrolment.created"
    ASSIGNMENT_OPENED = "assignment.opened"
    SUBMISSION_CREATED = "submission.created"
    SCORE_CHANGED = "score.changed"
    GRADE_DELIVERED = "grade.delivered"
    GRADE_FAILED = "grade.failed"
    DELIVERY_RESENT = "delivery.resent"
    DELIVERY_CANCELLED = "delivery.cancelled"
    COURSE_SETTINGS_CHANGED = "course.settings_changed"
    COURSE_COPIED = "course.copied"
    COURSE_COPY_UNDONE = "course.copy_undone"
    LINK_MAPPED = "link.mapped"
    KEY_REVEALED = "key.revealed"
    KEY_ROTATED = "key.rotated"
    REGISTRATION_CREATED = "registration.created"
    MEETING_STARTED = "meeting.started"
    MEETING_ENDED = "meeting.ended"
    RECORDING_READY = "recording.ready"
    RECORDING_DELETED = "recording.deleted"
    WEBHOOK_TEST = TEST_TYPE
    SIGN_IN_ADDED = "person.sign_in_added"
    SIGN_IN_REMOVED = "person.sign_in_removed"


class UndescribedEvent(Exception):
    """An event that says something else than `EVENTS` promises to its readers."""


class Kind(Enum):
    """What a value of an event's data is, as its readers see it in JSON."""

    ID = "id"  # a UUID as text
    TEXT = "text"
    TIME = "time"  # RFC 3339
    WHOLE = "whole number"
    NUMBER = "number"
    BOOLEAN = "true or false"
    TEXTS = "list of texts"
    OBJECT = "object"

    def holds(self, value: Any) -> bool:
        """Whether the value is of this kind."""
        if self is Kind.ID:
            return isinstance(value, str) and _is_uuid(value)
        if self is Kind.TEXTS:
            return isinstance(value, list) and all(isinstance(one, str) for one in value)
        if self is Kind.NUMBER:
            return isinstance(value, (int, float)) and not isinstance(value, bool)
        if self is Kind.WHOLE:
            return isinstance(value, int) and not isinstance(value, bool)
        return isinstance(value, {Kind.BOOLEAN: bool, Kind.OBJECT: dict}.get(self, str))


@dataclass(frozen=True)
class Field:
    """One key of an event's data. `sometimes` says when it is there, if it is not always; `null` what null means."""

    name: str
    kind: Kind
    words: str
    example: Any
    sometimes: str = ""
    null: str = ""


@dataclass(frozen=True)
class Shape:
    """What an event about one kind of subject says."""

    subject: str
    fields: tuple[Field, ...] = ()

    def example(self) -> dict[str, Any]:
        """Data as it may come, with all keys."""
        return {field.name: field.example for field in self.fields}


@dataclass(frozen=True)
class Description:
    """When an event of this type is written, of which kinds its actor can be, and what it says by kind of subject."""

    when: str
    actors: tuple[str, ...]
    shapes: tuple[Shape, ...]


def described(event_type: str, subject_kind: str) -> Shape:
    """What such an event says. Raises UndescribedEvent when no event of this type has such a subject."""
    description = EVENTS.get(event_type)
    if description is None:
        raise UndescribedEvent(f"{event_type} is not described: add it to EVENTS in events/event_types.py")
    for shape in description.shapes:
        if shape.subject == subject_kind:
            return shape
    kinds = " or ".join(shape.subject for shape in description.shapes)
    raise UndescribedEvent(f"{event_type} is about a {kinds}, says EVENTS in events/event_types.py; not {subject_kind}")


def check_event(event_type: str, actor_kind: str, subject_kind: str, data: Mapping[str, Any]) -> None:
    """Raises UndescribedEvent unless actor and subject are of kinds that are described for the type, and the data has
    exactly the keys that are described, with values of their kinds."""
    fields = {field.name: field for field in described(event_type, subject_kind).fields}
    if actor_kind not in EVENTS[event_type].actors:
        raise UndescribedEvent(f"{event_type} is not done by a {actor_kind}, says EVENTS in events/event_types.py")
    missing = {name for name, field in fields.items() if not field.sometimes} - set(data)
    wrong = {
        name
        for name, value in data.items()
        if name in fields and not (fields[name].null if value is None else fields[name].kind.holds(value))
    }
    for words, names in (("lacks", missing), ("has", set(data) - set(fields)), ("has another kind of", wrong)):
        if names:
            raise UndescribedEvent(
                f"The data of {event_type} ({subject_kind}) {words} {', '.join(sorted(names))}: EVENTS in "
                "events/event_types.py says otherwise"
            )


def example_data(event_type: str, subject_kind: str = "") -> dict[str, Any]:
    """The example of the type about such a subject (default: the first that is described)."""
    return described(event_type, subject_kind or EVENTS[event_type].shapes[0].subject).example()


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def example_id(number: int) -> str:
    """An id for examples."""
    return f"0197f3a0-0000-7000-8000-{number:012x}"


_COURSE = Field("course", Kind.ID, "the course", example_id(1))
_ASSIGNMENT = Field("assignment", Kind.ID, "the assignment", example_id(2))
_PERSON = Field("person", Kind.ID, "whose it is", example_id(4))
_ROOM = Field("room", Kind.ID, "the live session's room", example_id(14))
_MEETING = (_COURSE, _ROOM, Field("started_at", Kind.TIME, "when it began", "2030-02-01T18:00:00+00:00"))
_RECORDING = (
    _COURSE,
    _ROOM,
    Field("meeting", Kind.ID, "the session that was recorded", example_id(15), null="it is not known"),
    Field("record_id", Kind.TEXT, "the meeting server's id of it", "0c5e4f0a-1700000000000"),
    Field("title", Kind.TEXT, "as a teacher named it; may be empty", "Week 1"),
)
_INSTALLATION = Field("installation", Kind.ID, "the LMS installation", example_id(7))
_POINTS_POSSIBLE = Field("points_possible", Kind.NUMBER, "the assignment's points", 10.0)
_VERSION = Field("version", Kind.WHOLE, "counts the changes of the score", 3)
_CONSUMER_KEY = Field("consumer_key", Kind.TEXT, "the key's public half", "acme-moodle")
_HOST = Field("host", Kind.TEXT, "the host of the webhook's URL", "hooks.example")
_REASON = Field("reason", Kind.TEXT, "why, in the words of who did it", "The LMS's administrator lost it.")
_OVERLAP = Field("overlap_seconds", Kind.WHOLE, "how long the secret before goes on", 86400)

_CELL_IS_THERE = "unless the gradebook cell is gone"
_GRADE = (
    Field("score", Kind.ID, "the score that was sent", example_id(3)),
    _VERSION,
    Field("percentage", Kind.NUMBER, "what was sent, 0 to 100; more with more than the assignment's points", 85.0),
    Field("attempts", Kind.WHOLE, "how often it was tried", 1),
    Field("assignment", Kind.ID, "the assignment", example_id(2), sometimes=_CELL_IS_THERE),
    Field("person", Kind.ID, "whose grade it is", example_id(4), sometimes=_CELL_IS_THERE),
    Field("course", Kind.ID, "the course", example_id(1), sometimes=_CELL_IS_THERE),
    Field("installation", Kind.ID, "the LMS installation", example_id(7), sometimes=_CELL_IS_THERE),
)
_DELIVERY_KIND = Field("kind", Kind.TEXT, "`grade` or `webhook`", "grade")
_COPY = (
    Field("course", Kind.ID, "the copy", example_id(1)),
    Field("code", Kind.TEXT, "the copy's code", "cs101-copy"),
    Field("name", Kind.TEXT, "the copy's name", "Introduction"),
    Field(
        "copied_from", Kind.ID, "the course that was copied", example_id(12), null="that course has been deleted since"
    ),
)

EVENTS: dict[str, Description] = {
    EventType.ENROLMENT_CREATED: Description(
        "Somebody takes part in a course for the first time: by a launch, by a teacher's choice of a course, or "
        "because the LMS's roster names them.",
        ("person", "system"),
        (
            Shape(
                "enrolment",
                (
                    _COURSE,
                    Field("person", Kind.ID, "who takes part", example_id(4)),
                    Field("role", Kind.TEXT, "`teacher`, `mentor` or `student`", "student"),
                    Field("by", Kind.TEXT, "`roster`", "roster", sometimes="where the roster brought them"),
                ),
            ),
        ),
    ),
    EventType.ASSIGNMENT_OPENED: Description(
        "A person opens an assignment for the first time.",
        ("person",),
        (Shape("assignment", (Field("person", Kind.ID, "who opened it", example_id(4)), _COURSE)),),
    ),
    EventType.SUBMISSION_CREATED: Description(
        "Work is handed in, for the first time or again.",
        ("person",),
        (
            Shape(
                "submission",
                (
                    _PERSON,
                    _ASSIGNMENT,
                    _COURSE,
                    Field("number", Kind.WHOLE, "how often this person has handed in here", 1),
                ),
            ),
        ),
    ),
    EventType.SCORE_CHANGED: Description(
        "A score is recorded or released, whether or not it is sent to an LMS. Where `enroll_only` is true nothing is "
        "sent, and this event is how somebody else gets the grade: `percentage` is what the LMS would have got.",
        ("person", "user", "api_token", "system"),
        (
            Shape(
                "score",
                (
                    _ASSIGNMENT,
                    _PERSON,
                    _COURSE,
                    Field("points", Kind.NUMBER, "without extra credit, late penalties taken off", 8.5),
                    _POINTS_POSSIBLE,
                    Field(
                        "percentage",
                        Kind.NUMBER,
                        "0 to 100; more with more than the assignment's points",
                        85.0,
                        null="the assignment has no points",
                    ),
                    _VERSION,
                    Field("completed", Kind.BOOLEAN, "the work is done", True),
                    Field("graded", Kind.BOOLEAN, "the grading is done", True),
                    Field("released", Kind.BOOLEAN, "the person may see it", True),
                    Field("enroll_only", Kind.BOOLEAN, "the course sends no grades to the LMS", False),
                ),
            ),
        ),
    ),
    EventType.GRADE_DELIVERED: Description("An LMS has taken a grade.", ("system",), (Shape("delivery", _GRADE),)),
    EventType.GRADE_FAILED: Description(
        "A grade could not be taken to the LMS and is not tried any more: refused for good, or too old.",
        ("system",),
        (
            Shape(
                "delivery",
                (
                    *_GRADE,
                    Field("code", Kind.TEXT, "the kind of failure", "user_unknown"),
                    Field("reason", Kind.TEXT, "why, and who can fix it", "The student is not enrolled there."),
                ),
            ),
        ),
    ),
    EventType.DELIVERY_RESENT: Description(
        "Somebody has a grade or a webhook sent again. Webhooks are not told.",
        ("person", "user", "api_token"),
        (Shape("delivery", (_DELIVERY_KIND,)),),
    ),
    EventType.DELIVERY_CANCELLED: Description(
        "Somebody takes back a grade or a webhook that waits. Webhooks are not told.",
        ("person", "user", "api_token"),
        (Shape("delivery", (_DELIVERY_KIND,)),),
    ),
    EventType.COURSE_SETTINGS_CHANGED: Description(
        "Settings of a course are changed: on its LTI/LMS page, in the admin, by the API or by `provision`.",
        ("person", "user", "api_token", "system"),
        (
            Shape(
                "course",
                (Field("settings", Kind.TEXTS, "the names of those that differ now, in order", ["constant_urls"]),),
            ),
        ),
    ),
    EventType.COURSE_COPIED: Description(
        "A copy of a course is made.",
        ("person", "user", "api_token", "system"),
        (
            Shape(
                "course",
                (
                    *_COPY,
                    Field("by", Kind.TEXT, "`launch` (by itself or confirmed by a teacher) or `request`", "launch"),
                ),
            ),
        ),
    ),
    EventType.COURSE_COPY_UNDONE: Description(
        "A copy of a course is taken back, and gone.", ("person", "user"), (Shape("course", _COPY),)
    ),
    EventType.LINK_MAPPED: Description(
        "A link in an LMS opens an assignment or a room from now on, or nothing any more.",
        ("person", "user", "system"),
        (
            Shape(
                "resource_link",
                (
                    Field(
                        "assignment",
                        Kind.ID,
                        "what it opens",
                        example_id(2),
                        null="it opens a live session's room, or nothing any more",
                    ),
                    Field("course", Kind.ID, "its course", example_id(1), null="it opens nothing any more"),
                    Field("by", Kind.TEXT, "`launch` (its URL or parameters), `teacher` or `migration`", "teacher"),
                    Field("room", Kind.ID, "the room that it opens", example_id(14), sometimes="where it opens a room"),
                    Field(
                        "was",
                        Kind.ID,
                        "the assignment or room that it opened before",
                        example_id(13),
                        sometimes="where it opened another",
                    ),
                ),
            ),
        ),
    ),
    EventType.KEY_REVEALED: Description(
        "Somebody looked at a secret.",
        ("user",),
        (
            Shape("lti_key", (_CONSUMER_KEY, _INSTALLATION, _REASON)),
            Shape("webhook", (_HOST, _REASON)),
        ),
    ),
    EventType.KEY_ROTATED: Description(
        "A secret or key is replaced by a new one; `tool_key` is the organization's own for LTI 1.3.",
        ("user", "api_token", "system"),
        (
            Shape("lti_key", (_CONSUMER_KEY, _INSTALLATION, _OVERLAP)),
            Shape("webhook", (_HOST, _OVERLAP)),
            Shape(
                "tool_key",
                (
                    Field("key_id", Kind.TEXT, "the new key's `kid`", "Jx3cVRuqkVQ"),
                    Field("signs_from", Kind.TIME, "when it begins to sign", "2030-02-01T18:00:00+00:00"),
                ),
            ),
        ),
    ),
    EventType.REGISTRATION_CREATED: Description(
        "An LMS is registered for LTI 1.3: by an owner, or by itself with an invite.",
        ("user", "system"),
        (
            Shape(
                "registration",
                (
                    _INSTALLATION,
                    Field("issuer", Kind.TEXT, "the LMS's issuer", "https://lms.example"),
                    Field("client_id", Kind.TEXT, "what the LMS calls the platform", "10000000000042"),
                    Field("deployment_ids", Kind.TEXTS, "the deployments known by now", ["1"]),
                    Field("state", Kind.TEXT, "`pending` until an owner activates it, or `active`", "pending"),
                    Field(
                        "upgraded_key",
                        Kind.TEXT,
                        "the LTI 1.1 consumer key whose installation moves to LTI 1.3",
                        "acme-moodle",
                        null="none moves",
                    ),
                ),
            ),
        ),
    ),
    EventType.MEETING_STARTED: Description(
        "A live session begins in a room.",
        ("person", "user", "system"),
        (Shape("meeting", _MEETING),),
    ),
    EventType.MEETING_ENDED: Description(
        "A live session is over: somebody ended it, or everybody left.",
        ("person", "user", "system"),
        (
            Shape(
                "meeting",
                (
                    *_MEETING,
                    Field("ended_at", Kind.TIME, "when it ended", "2030-02-01T19:00:00+00:00"),
                    Field("seconds", Kind.WHOLE, "its length", 3600),
                    Field("participants", Kind.WHOLE, "how many people had been in, as far as known by then", 24),
                ),
            ),
        ),
    ),
    EventType.RECORDING_READY: Description(
        "A live session's recording can be looked at by teachers. Students see it once it is published.",
        ("system",),
        (Shape("recording", _RECORDING),),
    ),
    EventType.RECORDING_DELETED: Description(
        "A recording is gone from its meeting server for good.",
        ("person", "user", "api_token", "system"),
        (
            Shape(
                "recording",
                (
                    *_RECORDING,
                    Field(
                        "reason",
                        Kind.TEXT,
                        "`asked` (somebody deleted it here), `retention` (it was past its days) or `gone` (it was no "
                        "longer on its server)",
                        "asked",
                    ),
                ),
            ),
        ),
    ),
    EventType.SIGN_IN_ADDED: Description(
        "A person who came by an LMS can also sign in directly from now on.", ("person",), (Shape("person"),)
    ),
    EventType.SIGN_IN_REMOVED: Description("A person can no longer sign in directly.", ("person",), (Shape("person"),)),
    EventType.WEBHOOK_TEST: Description(
        "Somebody tries a webhook out. It goes to that webhook alone, whatever its events are.",
        ("user", "api_token"),
        (Shape("webhook", (_HOST, Field("message", Kind.TEXT, "a sentence", "It works when you can read this."))),),
    ),
}
