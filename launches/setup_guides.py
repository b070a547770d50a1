"""Set-up guides: what to press and paste in each LMS, filled in with the values of one reader (pages.md).

The steps are data, one file for each LMS in `launches/setup/`; this module reads and fills them. An owner reads keys,
with the shared secret behind its audited page; a teacher reads whom to ask; the pages of docs/setup read examples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from django.conf import settings
from django.urls import reverse

from courses.addresses import enroll_url
from courses.models import Course
from organizations.addresses import tool_addresses
from organizations.models import Installation, LtiKey, Membership, Organization

FOLDER = Path(__file__).resolve().parent / "setup"
# In this order they are offered; a guide is the file of this name.
LMSS = ("canvas", "moodle", "chamilo", "blackboard", "brightspace", "sakai", "schoology", "openedx", "other")
OWNERS_NAMED = 3


class Fill(StrEnum):
    """What goes into a box of an LMS's form."""

    TOOL_NAME = "tool_name"
    DOMAIN = "domain"
    LAUNCH_URL = "launch_url"  # LTI 1.1, without an assignment: opens the picker
    CONSUMER_KEY = "consumer_key"
    SHARED_SECRET = "shared_secret"  # noqa: S105 (the name of a box, no secret)
    PASSPORT = "passport"  # Open edX: id:key:secret
    XML_CONFIG_URL = "xml_config_url"
    LTI_1P3_LAUNCH_URL = "lti_1p3_launch_url"
    LOGIN_URL = "login_url"
    JWKS_URL = "jwks_url"
    CONFIG_URL = "config_url"
    INVITE = "invite"
    REGISTRATION = "registration"
    ACTIVATION = "activation"
    ASSIGNMENT_URL = "assignment_url"
    PARAMETERS = "parameters"


@dataclass(frozen=True)
class Value:
    """One thing to put into a box: a `text` to copy, or a `url` to go to for it, or words that say whom to ask. With a
    text or a `url`, `words` say what it is."""

    text: str = ""
    url: str = ""
    words: str = ""


Values = Mapping[Fill, Sequence[Value]]


@dataclass(frozen=True)
class Box:
    """A box of an LMS's form, by the name it has there: `fill` from here, or what to `choose`; addresses are copied."""

    name: str
    fill: Fill | None = None
    choose: str = ""


@dataclass(frozen=True)
class Step:
    """One thing to do; `text` is Markdown of one paragraph with screen names in bold."""

    text: str
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Way:
    """One way to make the tool known to the LMS (or its assignments to a course). `version`: "1.1", "1.3" or ""."""

    slug: str
    title: str
    who: str
    steps: tuple[Step, ...]
    version: str = ""
    note: str = ""


@dataclass(frozen=True)
class Guide:
    """One LMS: the ways to connect it, then what is done in each course, and what is easily forgotten."""

    lms: str
    title: str
    intro: str
    ways: tuple[Way, ...]
    in_course: tuple[Way, ...]
    privacy: str
    new_window: str
    parameters: str
    copies: str = ""


@dataclass(frozen=True)
class FilledBox:
    name: str
    choose: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class FilledStep:
    text: str
    boxes: tuple[FilledBox, ...]


@dataclass(frozen=True)
class FilledWay:
    """A way as one reader sees it; `is_open` where it is the likeliest."""

    way: Way
    steps: tuple[FilledStep, ...]
    is_open: bool


@dataclass(frozen=True)
class FilledGuide:
    guide: Guide
    ways: tuple[FilledWay, ...]
    in_course: tuple[FilledWay, ...]
    parameters: tuple[Value, ...]


# -------------------------------------------------------------------------------------------------- reading guides


@cache
def guides() -> tuple[Guide, ...]:
    """All guides, in the order in which they are offered."""
    return tuple(_read(lms) for lms in LMSS)


def guide_of(*names: str) -> Guide:
    """The guide of the first of these LMSs that has one; for none of them the one for any LMS."""
    by_name = {guide.lms: guide for guide in guides()}
    return next((by_name[name] for name in names if name in by_name), by_name["other"])


def _read(lms: str) -> Guide:
    """A guide's file. Raises ``TypeError`` for a name that no guide has, ``ValueError`` for an unknown fill."""
    document = yaml.safe_load((FOLDER / f"{lms}.yaml").read_text(encoding="utf-8"))
    ways, in_course = (tuple(_way(entry) for entry in document.pop(part)) for part in ("ways", "in_course"))
    return Guide(lms=lms, ways=ways, in_course=in_course, **document)


def _way(entry: dict[str, Any]) -> Way:
    steps = tuple(Step(step["text"], tuple(map(_box, step.get("boxes", ())))) for step in entry.pop("steps"))
    return Way(steps=steps, **entry)


def _box(entry: dict[str, Any]) -> Box:
    return Box(entry["name"], Fill(entry["fill"]) if "fill" in entry else None, entry.get("choose", ""))


# ------------------------------------------------------------------------------------------------------ filling in


def fill(guide: Guide, values: Values, version: str = "") -> FilledGuide:
    """The guide with these values; the first way of this LTI version is open, else the first of all."""
    likeliest = next((way for way in guide.ways if way.version == version), guide.ways[0])
    return FilledGuide(
        guide,
        tuple(_filled(way, values, is_open=way is likeliest) for way in guide.ways),
        tuple(_filled(way, values, is_open=position == 0) for position, way in enumerate(guide.in_course)),
        tuple(values.get(Fill.PARAMETERS, ())),
    )


def _filled(way: Way, values: Values, *, is_open: bool) -> FilledWay:
    steps = tuple(
        FilledStep(step.text, tuple(filled for box in step.boxes if (filled := _filled_box(box, values)) is not None))
        for step in way.steps
    )
    return FilledWay(way, steps, is_open)


def _filled_box(box: Box, values: Values) -> FilledBox | None:
    """None where there is nothing to put in: a course without constant URLs has no parameters."""
    if box.fill is not None:
        found = tuple(values.get(box.fill, ()))
        return FilledBox(box.name, "", found) if found else None
    if box.choose.startswith("https://"):
        return FilledBox(box.name, "", (Value(box.choose),))
    return FilledBox(box.name, box.choose, ())


# ------------------------------------------------------------------------------------------------------ the values


def tool_values(organization: Organization) -> dict[Fill, Sequence[Value]]:
    """What is no secret: the tool's name and addresses. Good for every reader."""
    tool = tool_addresses(organization)
    return {
        Fill.TOOL_NAME: (Value(organization.name),),
        Fill.DOMAIN: (Value(urlsplit(settings.BASE_URL).netloc),),
        Fill.LAUNCH_URL: (Value(f"{settings.BASE_URL}/lti/v1"),),
        Fill.XML_CONFIG_URL: (Value(tool.xml_config_url),),
        Fill.LTI_1P3_LAUNCH_URL: (Value(tool.launch_url),),
        Fill.LOGIN_URL: (Value(tool.login_url),),
        Fill.JWKS_URL: (Value(tool.jwks_url),),
        Fill.CONFIG_URL: (Value(tool.config_url),),
    }


def owner_values(
    organization: Organization, installation: Installation | None, *, may_handle_secrets: bool
) -> dict[Fill, Sequence[Value]]:
    """What an owner fills in for this installation. Secrets are never part of a guide: they are a page away, which
    asks for the reason and writes it down. An operator sees keys and no way to their secrets."""
    values = tool_values(organization)
    assignments = Value(
        url=reverse("admin:courses_assignment_changelist"), words="The assignment's own URL, from its page"
    )
    values[Fill.ASSIGNMENT_URL] = (assignments,)
    if installation is None:
        add = Value(url=reverse("admin:organizations_installation_add"), words="Add the LMS first")
        return values | dict.fromkeys(_OF_AN_INSTALLATION, (add,))
    if not may_handle_secrets:
        asked = Value(words="An owner of the organization has it")
        values |= dict.fromkeys(_OF_AN_INSTALLATION, (asked,))
        values[Fill.CONSUMER_KEY] = tuple(Value(key.consumer_key) for key in _usable_keys(installation)) or (asked,)
        return values
    keys = _usable_keys(installation)
    make = (Value(url=reverse("admin:organizations_ltikey_make", args=[installation.pk]), words="Make a key first"),)
    return values | {
        Fill.CONSUMER_KEY: tuple(Value(key.consumer_key) for key in keys) or make,
        Fill.SHARED_SECRET: tuple(Value(url=_reveal(key), words=_secret_of(key, keys)) for key in keys) or make,
        Fill.PASSPORT: tuple(
            Value(url=_reveal(key), words=f"lti-platform:{key.consumer_key}:… and the secret, which is revealed here")
            for key in keys
        )
        or make,
        Fill.INVITE: (
            Value(
                url=f"{reverse('admin:organizations_registrationinvite_add')}?installation={installation.pk}",
                words="Make an invite link",
            ),
        ),
        Fill.REGISTRATION: (
            Value(
                url=f"{reverse('admin:organizations_registration_add')}?installation={installation.pk}",
                words="Enter the registration here",
            ),
        ),
        Fill.ACTIVATION: (
            Value(
                url=f"{reverse('admin:organizations_installation_change', args=[installation.pk])}#registrations",
                words="See what waits",
            ),
        ),
    }


def teacher_values(organization: Organization, *, with_addresses: bool) -> dict[Fill, Sequence[Value]]:
    """What a teacher fills in: no keys, but whom to ask for them.

    `with_addresses`: an owner without a name is called by the e-mail address, which only fellow members are told.
    """
    asked = Value(words=f"Ask {owners_in_words(organization, with_addresses=with_addresses)}")
    return tool_values(organization) | dict.fromkeys(_OF_AN_INSTALLATION, (asked,))


def course_values(course: Course, lms_page: str = "") -> dict[Fill, Sequence[Value]]:
    """What belongs to one course: its parameters where constant URLs are on, and where its assignments' URLs stand
    (`lms_page`, the address of its LTI/LMS page)."""
    parameters: tuple[Value, ...] = ()
    if course.constant_urls:
        parameters = (Value(f"course_target_id={course.code}"),)
        if course.course_copy:
            parameters += (Value(f"parent_course_id={course.code}"),)
    urls = Value(url=lms_page, words="The assignment's LTI integration URL, from this course's LTI/LMS page")
    enroll = (Value(enroll_url(course), words="To enroll only"),) if course.enroll_only else ()
    return {Fill.PARAMETERS: parameters, Fill.ASSIGNMENT_URL: (urls, *enroll)}


def owners_in_words(organization: Organization, *, with_addresses: bool) -> str:
    """ "Ada or Grace", the owners who can hand out keys; "an owner of X" where nobody may be named."""
    owners = (
        organization.memberships.filter(role=Membership.Role.OWNER, user__is_active=True)
        .select_related("user")
        .order_by("created_at")
    )
    # Of somebody who has not come yet the organization knows the address alone.
    names = [
        owner.user.name if owner.is_accepted and owner.user.name else owner.user.email if with_addresses else ""
        for owner in owners
    ]
    named = [name for name in names if name][:OWNERS_NAMED]
    if not named:
        return f"an owner of {organization.name}"
    return " or ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)


def connected_version(installation: Installation | None) -> str:
    """The LTI version that this installation was given credentials for: "1.3" before "1.1", "" for none."""
    if installation is None:
        return ""
    if installation.registrations.exists() or installation.deployments.exists():
        return "1.3"
    return "1.1" if installation.keys.exists() else ""


_OF_AN_INSTALLATION = (
    Fill.CONSUMER_KEY,
    Fill.SHARED_SECRET,
    Fill.PASSPORT,
    Fill.INVITE,
    Fill.REGISTRATION,
    Fill.ACTIVATION,
)


def _usable_keys(installation: Installation) -> list[LtiKey]:
    return [key for key in installation.keys.all() if key.enabled]


def _secret_of(key: LtiKey, keys: Sequence[LtiKey]) -> str:
    return f"Reveal the secret of {key.consumer_key}" if len(keys) > 1 else "Reveal the secret"


def _reveal(key: LtiKey) -> str:
    return reverse("admin:organizations_ltikey_reveal", args=[key.pk])
