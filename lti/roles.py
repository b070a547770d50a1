"""Roles of LTI 1.0 to 1.3 by their whole vocabulary (A25 to A30; LTI 1.1.1 appendix A.2, LTI 1.3 appendix A).

What a person may do in a course follows from the roles of the context scope alone; institution and system roles
are kept for the log and never grant anything (A28).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Scope = Literal["context", "institution", "system", "unknown"]


class CourseRole(StrEnum):
    """What somebody is in one course."""

    TEACHER = "teacher"
    MENTOR = "mentor"
    STUDENT = "student"


@dataclass(frozen=True, slots=True)
class Role:
    """One role: its scope, its name in the standard's spelling, a sub-role or ``""``, and what was sent."""

    scope: Scope
    name: str
    sub_role: str
    raw: str


_CONTEXT_NAMES = (
    "Administrator",
    "ContentDeveloper",
    "Instructor",
    "Learner",
    "Manager",
    "Member",
    "Mentor",
    "Officer",
    "TeachingAssistant",
)
_PERSON_NAMES = (
    "AccountAdmin",
    "Administrator",
    "Alumni",
    "Creator",
    "Faculty",
    "Guest",
    "Instructor",
    "Learner",
    "Member",
    "Mentor",
    "None",
    "Observer",
    "Other",
    "ProspectiveStudent",
    "Staff",
    "Student",
    "SysAdmin",
    "SysSupport",
    "TestUser",
    "User",
)
# Learners are called Student by Open edX and Brightspace (A27); LIS v2 has Person#Student of its own scope.
_CONTEXT_SYNONYMS = {"student": "Learner"}

_TEACHING = frozenset({"Instructor", "ContentDeveloper", "TeachingAssistant", "Administrator", "Manager"})

_PREFIXES: tuple[tuple[str, Scope], ...] = (
    ("urn:lti:role:ims/lis/", "context"),
    ("urn:lti:instrole:ims/lis/", "institution"),
    ("urn:lti:sysrole:ims/lis/", "system"),
    ("http://purl.imsglobal.org/vocab/lis/v2/membership", "context"),
    ("http://purl.imsglobal.org/vocab/lis/v2/institution/person", "institution"),
    ("http://purl.imsglobal.org/vocab/lis/v2/system/person", "system"),
    # The 1.3 test user is neither a person of the LIS vocabulary nor a role in the course.
    ("http://purl.imsglobal.org/vocab/lti/system/person", "system"),
)
_SIMPLE_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9]*(?:/[A-Za-z0-9]+)?$")


def _canonical(name: str, scope: Scope) -> str:
    if scope == "context":
        synonym = _CONTEXT_SYNONYMS.get(name.lower())
        if synonym:
            return synonym
    known = _CONTEXT_NAMES if scope == "context" else _PERSON_NAMES
    for candidate in known:
        if candidate.lower() == name.lower():
            return candidate
    return name


def _role_in(scope: Scope, name: str, sub_role: str, raw: str) -> Role:
    name = _canonical(name, scope)
    if scope == "context":
        sub_role = _canonical(sub_role, scope) if sub_role else ""
    return Role(scope=scope, name=name, sub_role=sub_role, raw=raw)


def parse_role(raw: str) -> Role:
    """One role as sent: a short name, a URN of LTI 1.1 or a URI of LIS v2, with or without a sub-role."""
    text = raw.strip()
    lowered = text.lower()
    for prefix, scope in _PREFIXES:
        if not lowered.startswith(prefix):
            continue
        rest = text[len(prefix) :]
        if not prefix.endswith("/"):
            if rest[:1] not in {"#", "/"}:
                continue
            # membership#Name, membership/Name#SubRole, and Sakai's membership#Name#SubRole (A26).
            rest = rest[1:].replace("#", "/")
        parts = [part for part in rest.split("/") if part]
        if not parts or len(parts) > 2:
            break
        return _role_in(scope, parts[0], parts[1] if len(parts) == 2 else "", text)
    else:
        if _SIMPLE_NAME.match(text):
            name, _, sub_role = text.partition("/")
            return _role_in("context", name, sub_role, text)
    return Role(scope="unknown", name=text, sub_role="", raw=text)


@dataclass(frozen=True, slots=True)
class Roles:
    """All roles of one launch; evaluated for that launch only, never kept upward (A30)."""

    items: tuple[Role, ...]
    raw: str

    @classmethod
    def from_list(cls, values: Iterable[str]) -> Roles:
        """The roles of an LTI 1.3 claim."""
        kept = [value.strip() for value in values if value.strip()]
        return cls(items=tuple(parse_role(value) for value in kept), raw=",".join(kept))

    @property
    def course_role(self) -> CourseRole:
        """The most privileged role in the course; a student when none is known (A28).

        A sub-role says what somebody does within a role (``Instructor/Grader``, ``Learner/Instructor``) and raises
        nobody above it.
        """
        names = {role.name for role in self.items if role.scope == "context"}
        if names & _TEACHING:
            return CourseRole.TEACHER
        return CourseRole.MENTOR if "Mentor" in names else CourseRole.STUDENT

    @property
    def is_test_user(self) -> bool:
        """Whether this is a test person of the LMS, such as a student view (I7)."""
        return any(role.name == "TestUser" for role in self.items if role.scope in {"system", "institution"})


def parse_roles(raw: str) -> Roles:
    """The roles of a comma list (LTI 1.1 §3, ``roles``); empty items are ignored (A25)."""
    return Roles(items=tuple(parse_role(part) for part in raw.split(",") if part.strip()), raw=raw)
