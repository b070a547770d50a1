"""Types of what comes in from outside as JSON or YAML: strict, so that a wrong value is named and never stored."""

import re
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Annotated, Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import EmailValidator, URLValidator
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from lti.return_url import safe_http_url

MAX_BODY = 500_000
MAX_POINTS = Decimal("9999999.99")
_HUNDREDTH = Decimal("0.01")
# Control characters (PostgreSQL stores no NUL) and halves of surrogate pairs (which are no text at all).
_NOT_IN_A_LINE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NOT_IN_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:[Zz]|[+-]\d\d:?\d\d)?\Z")


class Input(BaseModel):
    """The base of everything read from outside: unknown keys are an error, and nothing changes it afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _without(refused: re.Pattern[str], text: str) -> str:
    found = refused.search(text)
    if found:
        raise ValueError(f"contains a character that is not allowed (U+{ord(found[0]):04X})")
    return text


def _line(text: str) -> str:
    return _without(_NOT_IN_A_LINE, text)


def _text(text: str) -> str:
    return _without(_NOT_IN_TEXT, text)


def _moment(value: Any) -> datetime:
    if isinstance(value, str):
        if not _MOMENT.match(value):
            raise ValueError("use ISO 8601 with a time zone, such as 2030-01-31T18:00:00Z")
        try:
            value = datetime.fromisoformat(value.upper().replace(",", "."))
        except ValueError as error:
            raise ValueError("there is no such date or time") from error
    if not isinstance(value, datetime):
        raise ValueError("use ISO 8601 with a time zone, such as 2030-01-31T18:00:00Z")
    if value.tzinfo is None:
        raise ValueError("the time zone is missing: write 2030-01-31T18:00:00Z or 2030-01-31T18:00:00+01:00")
    if not 1900 <= value.year <= 9000:
        raise ValueError("the year must be 1900 to 9000")
    return value.astimezone(UTC)


def _number(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError("must be a number")
    try:
        number = Decimal(str(value)) if isinstance(value, float) else Decimal(value)
    except (InvalidOperation, ValueError) as error:
        raise ValueError("must be a number") from error
    if not number.is_finite() or not 0 <= number <= MAX_POINTS:
        raise ValueError(f"must be 0 to {MAX_POINTS}")
    return number


def _points(value: Any) -> Decimal:
    number = _number(value)
    if number != number.quantize(_HUNDREDTH):
        raise ValueError("must have at most two decimal places")
    return number.quantize(_HUNDREDTH)


def _scored_points(value: Any) -> Decimal:
    return _number(value).quantize(_HUNDREDTH, ROUND_HALF_UP)


def _address(schemes: list[str], url: str) -> str:
    try:
        URLValidator(schemes=schemes)(url)
    except ValidationError as error:
        raise ValueError(
            f"must be a web address that begins with {' or '.join(f'{name}://' for name in schemes)}"
        ) from error
    if not safe_http_url(url) or not _has_name(url):
        raise ValueError("must be a web address without a user name, and with a host and port that can be")
    return url


def _has_name(url: str) -> bool:
    """Whether a name server can be asked for the URL's host: no label is too long once it is written in ASCII."""
    try:
        (urlsplit(url).hostname or "").encode("idna")
    except UnicodeError:
        return False
    return True


def _web_address(url: str) -> str:
    return _address(["https", "http"], url)


def _guarded_address(url: str) -> str:
    return _address(["https", "http"] if settings.OUTBOUND_ALLOW_HTTP else ["https"], url)


def _secure_address(url: str) -> str:
    return _address(["https"], url)


def _email(address: str) -> str:
    try:
        EmailValidator()(address)
    except ValidationError as error:
        raise ValueError("must be an e-mail address") from error
    return address


def _empty_is_none(value: Any) -> Any:
    return None if value == "" else value


_POINTS_SCHEMA = WithJsonSchema({"type": "number", "minimum": 0, "maximum": float(MAX_POINTS)})

# A line of 1 to 255 characters without control characters.
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255), AfterValidator(_line)]
# Text of many lines.
Text = Annotated[str, StringConstraints(max_length=MAX_BODY), AfterValidator(_text)]
# A point in time, with its zone; kept in UTC.
Moment = Annotated[datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
# An amount of points: at most two decimal places.
Points = Annotated[Decimal, BeforeValidator(_points), _POINTS_SCHEMA]
# Points that a program computed: rounded half up to two decimal places.
ScoredPoints = Annotated[Decimal, BeforeValidator(_scored_points), _POINTS_SCHEMA]
# A link that people follow.
WebAddress = Annotated[str, StringConstraints(max_length=2000), AfterValidator(_line), AfterValidator(_web_address)]
# An address that secrets or personal data are sent to: https, or http where OUTBOUND_ALLOW_HTTP is on.
GuardedAddress = Annotated[
    str, StringConstraints(max_length=2000), AfterValidator(_line), AfterValidator(_guarded_address)
]
SecureAddress = Annotated[
    str, StringConstraints(max_length=2000), AfterValidator(_line), AfterValidator(_secure_address)
]
EmptyIsNone = BeforeValidator(_empty_is_none)
EmailAddress = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=254), AfterValidator(_line), AfterValidator(_email)
]
# Text that somebody else chose as a secret: anything but control characters.
Secret = Annotated[str, StringConstraints(min_length=1, max_length=255), AfterValidator(_line)]
Colour = Annotated[str, Field(pattern=r"^#(?:[0-9A-Fa-f]{3}|[0-9A-Fa-f]{6})$")]
