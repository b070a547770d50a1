"""What a session is like: the custom parameters of a launch, what the teacher set on the room, and the organization's
policy, which wins (A40, A41). Pure functions; nothing here is read from or written to a database.

From the weakest to the strongest: our defaults, the organization's defaults, the room's settings, the custom
parameters of the launch that starts the session, what the organization forces, and its two maxima.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from lti.message import mapped_custom_name
from lti.return_url import safe_http_url
from lti.texts import resolved, single_line, truncated

LONGEST_DURATION = 100_000  # minutes; what is longer is a slip of the keyboard
MOST_PARTICIPANTS = 100_000
LONGEST_WELCOME = 2000

_BOOLEANS = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}
_COLOUR = re.compile(r"#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6}|[0-9a-fA-F]{8})")
_NOT_IN_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")

Value = bool | int | str | datetime | None


@dataclass(frozen=True)
class RoomSettings:
    """The settings of a session, by the names of the custom parameters, with their defaults.

    `room_duration` in minutes and `max_participants` in people: 0 is no limit. Colours are `#` and 3, 6 or 8
    hexadecimal digits, `custom_logo` an https URL: empty is the server's own look.
    """

    room_duration: int = 0
    allow_polls: bool = True
    allow_shared_note_pad: bool = True
    allow_breakout_room: bool = True
    allow_recording: bool = True
    allow_rtmp: bool = True
    allow_view_other_webcams: bool = True
    allow_view_other_users_list: bool = True
    mute_on_start: bool = False
    primary_color: str = ""
    secondary_color: str = ""
    background_color: str = ""
    custom_logo: str = ""
    moderator_must_start: bool = True
    opens_at: datetime | None = None
    closes_at: datetime | None = None
    welcome_message: str = ""
    waiting_room: bool = False
    auto_recording: bool = False
    max_participants: int = 0

    def is_open(self, now: datetime) -> bool:
        """Whether a session may start, or be joined, at this time."""
        return (self.opens_at is None or self.opens_at <= now) and (self.closes_at is None or now < self.closes_at)

    def as_json(self) -> dict[str, Any]:
        """All settings, times as RFC 3339 in UTC."""
        return {name: _stored(value) for name, value in asdict(self).items()}

    @property
    def design(self) -> dict[str, str]:
        """The colours and the logo that are set, for the server's custom design."""
        return {name: getattr(self, name) for name in _DESIGN if getattr(self, name)}


NAMES = tuple(field.name for field in fields(RoomSettings))
_DESIGN = ("primary_color", "secondary_color", "background_color", "custom_logo")
# What a launch may set: the table of the reference system, and the two names that it reads but does not list.
CUSTOM_PARAMETERS = NAMES[: NAMES.index("custom_logo") + 1]
# Where each value comes from, as a teacher reads it.
SOURCES = MappingProxyType(
    {
        "default": "the default",
        "organization": "your organization's default",
        "room": "set on this room",
        "launch": "set by your LMS",
        "forced": "fixed by your organization",
    }
)


class SettingsError(ValueError):
    """A setting that cannot be: `field` names it, `message` says how to correct it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field} {message}")
        self.field = field
        self.message = message


@dataclass(frozen=True)
class Refused:
    """A value that was not taken: what was given (one line, cut; it came from outside) and why, in words."""

    name: str
    given: str
    reason: str

    def as_json(self) -> dict[str, str]:
        return {"name": self.name, "given": self.given, "reason": self.reason}


@dataclass(frozen=True)
class Resolved:
    """The settings in force, where each comes from (a key of `SOURCES`), what a launch asked for in vain, and what of
    the organization's policy cannot be, for its owner."""

    settings: RoomSettings
    sources: Mapping[str, str]
    refused: tuple[Refused, ...] = ()
    policy_problems: tuple[Refused, ...] = ()


def resolve(
    *, policy: Mapping[str, Any], room: Mapping[str, Any], custom: Mapping[str, str] = MappingProxyType({})
) -> Resolved:
    """The settings of a session of this room, started by a launch with these custom parameters.

    `policy` is the organization's `meeting_policy`, `room` the room's settings, `custom` the launch's verified custom
    parameters (with or without their prefix). What is wrong in the first two is left out as in the last.
    """
    values: dict[str, Value] = {name: getattr(RoomSettings(), name) for name in NAMES}
    sources = dict.fromkeys(NAMES, "default")
    problems: list[Refused] = []
    refused: list[Refused] = []

    def take(found: Mapping[str, Value], source: str) -> None:
        for name, value in found.items():
            values[name] = value
            sources[name] = source

    forced, wrong = _stored_values(policy.get("forced"))
    problems += wrong
    defaults, wrong = _stored_values(policy.get("defaults"))
    problems += wrong
    take(defaults, "organization")
    take(_stored_values(room)[0], "room")
    asked, refused_here = custom_settings(custom)
    refused += refused_here
    for name, value in list(asked.items()):
        if name in forced and forced[name] != value:
            refused.append(Refused(name, _shown(value), "your organization has fixed this setting"))
            del asked[name]
    take(asked, "launch")
    take(forced, "forced")
    settings = RoomSettings(**values)  # type: ignore[arg-type]
    for name, limit_name in (("room_duration", "max_duration"), ("max_participants", "max_participants")):
        limit, problem = _limit(policy, limit_name)
        problems += problem
        wanted = getattr(settings, name)
        if limit and not 0 < wanted <= limit:
            if sources[name] == "launch":
                refused.append(Refused(name, _shown(wanted), f"your organization allows {limit} at most"))
            settings = replace(settings, **{name: limit})  # type: ignore[arg-type]
            sources[name] = "forced"
    if settings.auto_recording and not settings.allow_recording:
        # What may not be recorded is not recorded by itself either.
        settings = replace(settings, auto_recording=False)
        sources["auto_recording"] = sources["allow_recording"]
    return Resolved(settings, MappingProxyType(sources), tuple(refused), tuple(problems))


def custom_settings(custom: Mapping[str, str]) -> tuple[dict[str, Value], list[Refused]]:
    """What a launch's custom parameters set, and what of them cannot be.

    Names count with or without `custom_`; blank values and variables that the LMS left as they were count as missing.
    """
    by_name = {mapped_custom_name(name): value for name, value in reversed(list(custom.items()))}
    found: dict[str, Value] = {}
    refused = []
    for name in CUSTOM_PARAMETERS:
        for candidate in (name, f"custom_{name}", name.removeprefix("custom_")):
            text = resolved(by_name.get(candidate, ""))
            if text:
                try:
                    found[name] = _FROM_TEXT[type(getattr(RoomSettings(), name))](name, text)
                except SettingsError as error:
                    refused.append(Refused(name, _shown(text), error.message))
                break
    return found, refused


def checked_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """A room's settings as they are stored: what the API, `provision` and forms give, of the right types.

    Raises `SettingsError` for an unknown name and for a value that cannot be. None stands for "not set here".
    """
    found = {}
    for name, value in values.items():
        if name not in NAMES:
            raise SettingsError(name, f"is no setting of a room: there are {', '.join(NAMES)}")
        if value is not None:
            found[name] = _checked(name, value)
    opens_at, closes_at = found.get("opens_at"), found.get("closes_at")
    if isinstance(opens_at, datetime) and isinstance(closes_at, datetime) and closes_at <= opens_at:
        raise SettingsError("closes_at", "must be after opens_at")
    return {name: _stored(value) for name, value in found.items()}


def policy_problems(policy: Mapping[str, Any]) -> tuple[Refused, ...]:
    """What of an organization's `meeting_policy` cannot be and is left out."""
    return resolve(policy=policy, room={}).policy_problems


def _stored_values(stored: Any) -> tuple[dict[str, Value], list[Refused]]:
    """The values that can be among stored ones, and those that cannot."""
    found: dict[str, Value] = {}
    wrong = []
    for name, value in stored.items() if isinstance(stored, Mapping) else ():
        try:
            if name not in NAMES:
                raise SettingsError(name, "is no setting of a room")
            if value is not None:
                found[name] = _checked(name, value)
        except SettingsError as error:
            wrong.append(Refused(_shown(name), _shown(value), error.message))
    return found, wrong


def _limit(policy: Mapping[str, Any], name: str) -> tuple[int, list[Refused]]:
    limit = policy.get(name)
    if limit is None:
        return 0, []
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        return 0, [Refused(name, _shown(limit), "must be a whole number of at least 1")]
    return limit, []


def _checked(name: str, value: Any) -> Value:
    """A typed value: JSON's own types, times as text or as they are."""
    default = getattr(RoomSettings(), name)
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise SettingsError(name, "must be true or false")
        return value
    if isinstance(default, int):
        if isinstance(value, bool) or not isinstance(value, int):
            raise SettingsError(name, "must be a whole number, 0 for no limit")
        return _within(name, value)
    if default is None:
        return _moment(name, value)
    if not isinstance(value, str):
        raise SettingsError(name, "must be text")
    return _text(name, value.strip()) if value.strip() else ""


def _within(name: str, number: int) -> int:
    most = MOST_PARTICIPANTS if name == "max_participants" else LONGEST_DURATION
    if not 0 <= number <= most:
        raise SettingsError(name, f"must be 0 (no limit) to {most}")
    return number


def _number(name: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise SettingsError(name, "must be a whole number of minutes, 0 for no limit")
    return _within(name, int(text))


def _boolean(name: str, text: str) -> bool:
    # The reference system knows t and f as well, and takes true only as TRUE, True or true.
    if text.lower() not in _BOOLEANS:
        raise SettingsError(name, "must be true or false")
    return _BOOLEANS[text.lower()]


def _text(name: str, text: str) -> str:
    if name == "custom_logo":
        if len(text) > 2000 or not text.lower().startswith("https://") or not safe_http_url(text):
            raise SettingsError(name, "must be the https address of a picture, such as https://example.org/logo.png")
        return text
    if name == "welcome_message":
        if len(text) > LONGEST_WELCOME or _NOT_IN_TEXT.search(text):
            raise SettingsError(name, f"must have at most {LONGEST_WELCOME} characters, without control characters")
        return text
    if not _COLOUR.fullmatch(text):
        raise SettingsError(name, "must be a colour: # and 3, 6 or 8 hexadecimal digits, such as #004D90")
    return text


def _moment(name: str, value: Any) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip().upper())
        except ValueError:
            value = None
    if not isinstance(value, datetime) or value.tzinfo is None or not 1900 <= value.year <= 9000:
        raise SettingsError(name, "must be a time with its zone, such as 2030-01-31T18:00:00Z")
    return value.astimezone(UTC)


def _stored(value: Any) -> Any:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value


def _shown(value: Any) -> str:
    text = {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
    return truncated(single_line(text), 80)


_FROM_TEXT: Mapping[type, Callable[[str, str], Value]] = {bool: _boolean, int: _number, str: _text}
