"""Choosing content: what a picker may answer with, and what was chosen.

The same for Deep Linking (LTI 1.3), ContentItemSelectionRequest (LTI 1.1) and Canvas's older selection launches;
``lti.v1p3.deep_linking`` and ``lti.v1p1.content_items`` read the one and write the other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Literal

from lti.return_url import safe_http_url

SelectionKind = Literal["deep_linking", "content_item", "canvas"]

ITEM_LIMIT = 100
TEXT_LIMIT = 2000
TITLE_LIMIT = 255
URL_LIMIT = 4096

_NO_CUSTOM: Mapping[str, str] = MappingProxyType({})
# Moodle joins custom values as lines, and Schoology lower-cases names (E7).
_CUSTOM_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")


@dataclass(frozen=True, slots=True)
class Selection:
    """What the LMS asked for when it opened the picker.

    ``takes_links``: whether a link to one of our pages is accepted at all (E2, C7). ``accepts_line_item``: ``None``
    where the LMS did not say. ``document_targets``: such as ``iframe`` and ``window``. ``data`` goes back as it is,
    and only if it came: ``None`` is not ``""`` (E3, C4).
    """

    kind: SelectionKind
    return_url: str
    takes_links: bool
    accept_types: tuple[str, ...] = ()
    accept_media_types: tuple[str, ...] = ()
    document_targets: tuple[str, ...] = ()
    accept_multiple: bool = False
    accepts_line_item: bool | None = None
    auto_create: bool = False
    title: str = ""
    text: str = ""
    data: str | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """An icon or thumbnail; sizes in pixels."""

    url: str
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True)
class LineItemOffer:
    """The gradebook column that belongs to a link; ``grades_released`` is ``None`` to leave it to the LMS."""

    score_maximum: Decimal
    label: str = ""
    resource_id: str = ""
    tag: str = ""
    grades_released: bool | None = None


@dataclass(frozen=True, slots=True)
class Period:
    """From when to when, either end open; moments are aware."""

    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """A new window; sizes in pixels. Links of the same name share one."""

    name: str = ""
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True)
class LinkItem:
    """One chosen link. ``iframe`` is (width, height) in pixels; ``line_item`` only where it is graded.

    The constructor raises ``ValueError`` for what an LMS would refuse or misread (E5, E9, C11).
    """

    url: str
    title: str
    text: str = ""
    icon: Image | None = None
    custom: Mapping[str, str] = field(default_factory=lambda: _NO_CUSTOM)
    line_item: LineItemOffer | None = None
    available: Period | None = None
    submission: Period | None = None
    iframe: tuple[int, int] | None = None
    window: Window | None = None

    def __post_init__(self) -> None:
        if not safe_http_url(self.url) or len(self.url) > URL_LIMIT:
            raise ValueError("the link's URL is not an absolute http(s) URL, or too long")
        if not self.title.strip():
            raise ValueError("the link needs a title")
        if self.icon is not None and not safe_http_url(self.icon.url):
            raise ValueError("the icon's URL is not an absolute http(s) URL")
        for name, value in self.custom.items():
            if not _CUSTOM_NAME.fullmatch(name) or len(value) > TEXT_LIMIT or "\n" in value or "\r" in value:
                raise ValueError(f"the custom parameter {name[:40]!r} is not one that every LMS keeps")
        if self.line_item is not None:
            maximum = self.line_item.score_maximum
            if not maximum.is_finite() or maximum <= 0:
                raise ValueError("the maximum score must be more than zero")
        for period in (self.available, self.submission):
            for moment in (period.start, period.end) if period is not None else ():
                if moment is not None and moment.tzinfo is None:
                    raise ValueError("a date needs a time zone")


class NotAccepted(ValueError):
    """What was chosen is not what the LMS asked for; the text says what."""


def check_choice(selection: Selection, items: Sequence[LinkItem]) -> None:
    """Raise ``NotAccepted`` for a choice that this request does not take (E2, E9, C2, C7, C11)."""
    if items and not selection.takes_links:
        raise NotAccepted("The LMS did not ask for a link here.")
    if len(items) > 1 and not selection.accept_multiple:
        raise NotAccepted("The LMS takes only one item here.")
    if len(items) > ITEM_LIMIT:
        raise NotAccepted(f"At most {ITEM_LIMIT} items fit into one answer.")


def json_number(number: Decimal) -> int | float:
    """A decimal as a JSON number: whole where it is whole, else with at most ten places."""
    return int(number) if number == number.to_integral_value() else float(round(number, 10))
