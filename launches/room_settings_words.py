"""A room's settings as pages say them: names, values and where they come from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from recordings.room_settings import NAMES, SOURCES, Resolved


@dataclass(frozen=True)
class Wording:
    """What a setting is called, and what it does in one line; `unit` of a number."""

    label: str
    text: str
    unit: str = ""


WORDINGS: Mapping[str, Wording] = MappingProxyType(
    {
        "opens_at": Wording("Opens", "Before that nobody starts or enters a session. Empty: always open."),
        "closes_at": Wording("Closes", "From then on nobody starts or enters a session. Empty: never."),
        "moderator_must_start": Wording(
            "A teacher starts the session",
            "On: students wait until a teacher is there. Off: whoever comes first starts it.",
        ),
        "waiting_room": Wording("Waiting room", "On: a teacher lets everybody in, one by one or all at once."),
        "welcome_message": Wording("Welcome text", "Shown to everybody who enters the session."),
        "room_duration": Wording("Longest session", "The session ends by itself then. 0 is no limit.", "minutes"),
        "max_participants": Wording(
            "Most participants", "Whoever comes after them is not let in. 0 is no limit.", "people"
        ),
        "mute_on_start": Wording("Microphones off at first", "On: everybody enters muted."),
        "allow_recording": Wording("Recording", "On: teachers may record the session."),
        "auto_recording": Wording("Record by itself", "On: recording begins with the session."),
        "allow_polls": Wording("Polls", "On: teachers may ask the participants."),
        "allow_shared_note_pad": Wording("Shared notes", "On: participants may write notes together."),
        "allow_breakout_room": Wording("Breakout rooms", "On: teachers may split the participants into groups."),
        "allow_rtmp": Wording("Broadcasting", "On: teachers may send the session to a streaming service."),
        "allow_view_other_webcams": Wording(
            "Students see each other's cameras", "Off: they see teachers' cameras only."
        ),
        "allow_view_other_users_list": Wording(
            "Students see who is there", "Off: the list of participants is for teachers."
        ),
        "primary_color": Wording("Primary colour", "Such as #004D90. Empty: the server's own."),
        "secondary_color": Wording("Secondary colour", "Such as #004D90. Empty: the server's own."),
        "background_color": Wording("Background colour", "Such as #004D90. Empty: the server's own."),
        "custom_logo": Wording("Logo", "The https address of a picture. Empty: the server's own."),
    }
)
_OTHER_LIMITS = {"max_duration": "Longest session"}


@dataclass(frozen=True)
class ShownSetting:
    """A setting in words; `at` where it is a time. `source` says where it comes from, "" where nobody needs to know."""

    label: str
    value: str
    source: str = ""
    at: datetime | None = None


@dataclass(frozen=True)
class ShownRefusal:
    """A value that was asked for in vain."""

    label: str
    given: str
    reason: str


@dataclass(frozen=True)
class ShownDifference:
    """A setting that the meeting server applied otherwise."""

    label: str
    asked: str
    applied: str


def label_of(name: str) -> str:
    """A setting's label; a name that is none of ours as it is."""
    known = WORDINGS.get(name)
    return known.label if known else _OTHER_LIMITS.get(name, name)


def in_words(name: str, value: Any) -> str:
    """The value as a reader says it: on, off, 30 minutes, no limit; times are left to the page."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None or value == "":
        return "none" if name == "welcome_message" else "not set" if name.endswith("_at") else "the server's own"
    unit = WORDINGS[name].unit if name in WORDINGS else ""
    if unit:
        return f"{value} {unit}" if value else "no limit"
    return str(value)


def settings_shown(resolved: Resolved, *, with_sources: bool = True) -> list[ShownSetting]:
    """All settings in the order of the settings page, with where each comes from unless that is not known any more."""
    shown = []
    for name in WORDINGS:
        value = getattr(resolved.settings, name)
        named = with_sources and resolved.sources[name] != "default"
        source = SOURCES[resolved.sources[name]] if named else ""
        at = value if isinstance(value, datetime) else None
        shown.append(ShownSetting(label_of(name), in_words(name, value), source, at))
    return shown


def refusals_shown(refused: Iterable[Mapping[str, Any]]) -> list[ShownRefusal]:
    """What a meeting or a launch lists as refused ({name, given, reason})."""
    return [
        ShownRefusal(label_of(str(one.get("name", ""))), str(one.get("given", "")), str(one.get("reason", "")))
        for one in refused
    ]


def differences_shown(differences: Iterable[Mapping[str, Any]]) -> list[ShownDifference]:
    """What a meeting lists as applied otherwise ({name, asked, applied})."""
    shown = []
    for one in differences:
        name = str(one.get("name", ""))
        shown.append(
            ShownDifference(label_of(name), in_words(name, one.get("asked")), in_words(name, one.get("applied")))
        )
    return shown


if set(WORDINGS) != set(NAMES):
    raise TypeError("Every setting of a room has words here, and nothing else has.")
