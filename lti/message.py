"""The launch message: what a verified launch said, the same for LTI 1.1 and 1.3."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Literal
from urllib.parse import unquote

from lti.products import detect_lms
from lti.roles import Roles
from lti.selection import Selection
from lti.texts import resolved
from lti.v1p3.claims import AgsClaim, MigrationClaim, NrpsClaim

LtiVersion = Literal["1.1", "1.3"]

_EMPTY: Mapping[str, str] = MappingProxyType({})
_NOT_ALPHANUMERIC = re.compile(r"[^a-z0-9]")
_TRUE = frozenset({"true", "1", "yes"})
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_ID_LIMIT = 255
# Canvas sends up to a thousand; who was copied that often is known by the latest.
_HISTORY_LIMIT = 100
# How the variables `Context.id.history` and `ResourceLink.id.history` are called where they arrive (I2), as mapped
# custom names; Brightspace sends them by itself.
CONTEXT_HISTORY = ("context_id_history", "context_history", "ext_d2l_context_id_history")
RESOURCE_LINK_HISTORY = (
    "resourcelink_id_history",
    "resource_link_id_history",
    "resourcelink_history",
    "resource_link_history",
    "ext_d2l_resource_link_id_history",
)


@dataclass(frozen=True, slots=True)
class PlatformInstance:
    """The LMS as it describes itself (A35). ``lms`` is its canonical name, or ``""`` when it is not recognised."""

    guid: str = ""
    name: str = ""
    description: str = ""
    url: str = ""
    contact_email: str = ""
    product_family: str = ""
    product_version: str = ""
    lms: str = ""

    @classmethod
    def from_parameters(cls, values: Mapping[str, str]) -> PlatformInstance:
        """From the parameters of an LTI 1.1 message."""
        return cls(
            guid=values.get("tool_consumer_instance_guid", ""),
            name=values.get("tool_consumer_instance_name", "").strip(),
            description=values.get("tool_consumer_instance_description", "").strip(),
            url=values.get("tool_consumer_instance_url", "").strip(),
            contact_email=values.get("tool_consumer_instance_contact_email", "").strip(),
            product_family=values.get("tool_consumer_info_product_family_code", "").strip(),
            product_version=values.get("tool_consumer_info_version", "").strip(),
            lms=detect_lms(values),
        )


@dataclass(frozen=True, slots=True)
class OutcomeExtensions:
    """What beyond a plain score the LMS takes with a result (B19 to B21)."""

    data_values_accepted: frozenset[str] = frozenset()
    total_score_accepted: bool = False
    submitted_at_accepted: bool = False
    prioritize_non_tool_grade_accepted: bool = False
    needs_additional_review_accepted: bool = False

    @classmethod
    def from_parameters(cls, values: Mapping[str, str]) -> OutcomeExtensions:
        """From the ``ext_outcome_*`` parameters of a launch."""

        def accepted(name: str) -> bool:
            return values.get(f"ext_outcome_{name}_accepted", "").strip().lower() in _TRUE

        data_values = values.get("ext_outcome_data_values_accepted", "").split(",")
        return cls(
            data_values_accepted=frozenset(value.strip() for value in data_values if value.strip()),
            total_score_accepted=accepted("result_total_score"),
            submitted_at_accepted=accepted("submission_submitted_at"),
            prioritize_non_tool_grade_accepted=accepted("submission_prioritize_non_tool_grade"),
            needs_additional_review_accepted=accepted("submission_needs_additional_review"),
        )


@dataclass(frozen=True)
class LaunchMessage:
    """A launch, made of verified fields only. Texts are as sent: pages escape them (A32).

    Absent values are ``""``. ``context_id``, ``user_id`` and ``resource_link_id`` are opaque, case-sensitive and
    unique only within their platform (A22, A31). ``timestamp`` and ``expires_at`` are in seconds since the epoch.

    ``context_history`` and ``resource_link_history`` are the ids that course and link were copied from, newest first
    (I2): hints of the LMS, which prove nothing.

    ``selection`` is there when the LMS asks to choose content, ``for_user_id`` when it asks to review that person's
    work. From ``deployment_id`` to ``migration`` all is LTI 1.3 only.
    """

    lti_version: LtiVersion
    message_type: str
    user_id: str
    roles: Roles
    name: str = ""
    given_name: str = ""
    family_name: str = ""
    email: str = ""
    username: str = ""
    picture_url: str = ""
    person_sourcedid: str = ""
    role_scope_mentor: tuple[str, ...] = ()
    context_id: str = ""
    context_title: str = ""
    context_label: str = ""
    context_type: str = ""
    course_offering_sourcedid: str = ""
    course_section_sourcedid: str = ""
    context_history: tuple[str, ...] = ()
    resource_link_id: str = ""
    resource_link_title: str = ""
    resource_link_description: str = ""
    resource_link_history: tuple[str, ...] = ()
    outcome_service_url: str = ""
    result_sourcedid: str = ""
    outcome_extensions: OutcomeExtensions = field(default_factory=OutcomeExtensions)
    custom: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    return_url: str = ""
    document_target: str = ""
    locale: str = ""
    width: str = ""
    height: str = ""
    platform: PlatformInstance = field(default_factory=PlatformInstance)
    nonce: str = ""
    timestamp: int = 0
    raw: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    selection: Selection | None = None
    deployment_id: str = ""
    issuer: str = ""
    client_id: str = ""
    target_link_uri: str = ""
    for_user_id: str = ""
    ags: AgsClaim | None = None
    nrps: NrpsClaim | None = None
    migration: MigrationClaim | None = None
    expires_at: int = 0

    def custom_value(self, *names: str) -> str:
        """The first custom parameter that is not blank among ``names``, or ``""``.

        Names are compared as LTI 1.1 maps them (A37), with or without a ``custom_`` prefix too many or too few; last
        of all a plain parameter of that very name counts (``?assignment=hello`` in the launch URL).
        """
        custom, candidates, wanted = self.custom, *_spellings(names)
        for candidate in candidates:
            value = custom.get(candidate, "")
            if value.strip():
                return value
        for name, value in self._raw_in_lower_case:
            if name in wanted and (found := resolved(value)):
                return found
        return ""

    @cached_property
    def _raw_in_lower_case(self) -> list[tuple[str, str]]:
        return [(name.lower(), value) for name, value in self.raw.items()]


@lru_cache(maxsize=256)
def _spellings(names: tuple[str, ...]) -> tuple[tuple[str, ...], frozenset[str]]:
    """How custom parameters of these names may be called, and how plain ones; a launch asks for a handful."""
    mapped = [mapped_custom_name(name) for name in names]
    candidates = [candidate for name in mapped for candidate in (name, f"custom_{name}", name.removeprefix("custom_"))]
    return tuple(dict.fromkeys(candidates)), frozenset(name.lower() for name in names)


def mapped_custom_name(name: str) -> str:
    """A custom parameter's name as a 1.1 tool receives it: lower case, everything but letters and digits ``_``."""
    return _NOT_ALPHANUMERIC.sub("_", name.lower())


def custom_parameters(parameters: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """Custom parameters by mapped name (A37), without the variables that the LMS did not resolve (A38).

    ``parameters`` come without their ``custom_`` prefix. Where two names map to one (Moodle sends both spellings over
    LTI 1.3), the first that is not empty counts.
    """
    found: dict[str, str] = {}
    for name, value in parameters:
        mapped = mapped_custom_name(name)
        if value and not resolved(value) and value.strip():
            continue
        if not found.get(mapped):
            found[mapped] = value
    return MappingProxyType(found)


def copied_from(
    names: Iterable[str], custom: Mapping[str, str], parameters: Mapping[str, str] = _EMPTY
) -> tuple[str, ...]:
    """The ids of a history (I2): a comma list of percent-encoded ids, trimmed, newest first.

    The first of ``names`` that holds any counts, among the custom parameters, then among ``parameters``, which are the
    LMS's own. What can be nobody's id (too long, control characters) is left out, as is what is repeated.
    """
    own = {mapped_custom_name(name): value for name, value in parameters.items() if "history" in name}
    for name in names:
        for raw in (custom.get(name, ""), custom.get(f"custom_{name}", ""), own.get(name, "")):
            items = (unquote(item.strip()).strip() for item in resolved(raw).split(","))
            ids = [item for item in items if item and len(item) <= _ID_LIMIT and not _CONTROL_CHARACTER.search(item)]
            if ids:
                return tuple(dict.fromkeys(ids))[:_HISTORY_LIMIT]
    return ()


def present_name(value: str) -> str:
    """A name, trimmed; ``""`` for what stands for no name: ILIAS's dash, an unresolved variable (A23)."""
    trimmed = resolved(value)
    return "" if not trimmed.strip("- ") else trimmed


def displayed_name(*, full: str = "", given: str = "", family: str = "", username: str = "") -> str:
    """The name to call a person by: full, given and family, either of them, username, else ``""`` (A23).

    The e-mail address is no fallback: who sees a name need not see an address.
    """
    full, given, family = present_name(full), present_name(given), present_name(family)
    return full or " ".join(part for part in (given, family) if part) or present_name(username)


def mentored_user_ids(raw: str) -> tuple[str, ...]:
    """The user ids of ``role_scope_mentor``: a comma list of percent-encoded items (A29).

    No id holds a NUL, which no database stores: such an item stays encoded. It then names nobody, but the list still
    says that nobody else may be seen.
    """
    items = ((item.strip(), unquote(item.strip())) for item in raw.split(",") if item.strip())
    return tuple(encoded if "\x00" in decoded else decoded for encoded, decoded in items)
