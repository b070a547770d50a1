"""Names and Role Provisioning Services 2.0: a course's roster, and how it differs from the one known (G1 to G7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from lti.message import displayed_name, present_name
from lti.outbound import OutboundResponse
from lti.roles import Roles
from lti.texts import resolved
from lti.v1p3 import services
from lti.v1p3 import vocabulary as names
from lti.v1p3.claims import usable_url
from lti.v1p3.json_text import JsonObject, object_in, text_in, texts_in
from lti.v1p3.services import PlatformServices, ServiceCall, json_of, linked_url, refused, unreadable

MEMBER_LIMIT = 50_000
_ID_LIMIT = 255

#: Told after each page how many members have been read; may raise ``ServiceFailed`` to stop the reading.
OnPage = Callable[[int], None]


class MemberStatus(StrEnum):
    """Whether a member takes part; ``DELETED`` comes in lists of differences only (G2, G5)."""

    ACTIVE = "Active"
    INACTIVE = "Inactive"
    DELETED = "Deleted"


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody in a roster; ``user_id`` is the ``sub`` of that person's launches, and what they are matched by (G6).

    Absent names and addresses are ``""`` and mean privacy, not that they were taken away (G2). ``legacy_user_id`` is
    their id over LTI 1.1, to be believed as ``MigrationClaim`` is (D39).
    """

    user_id: str
    roles: Roles
    status: MemberStatus = MemberStatus.ACTIVE
    name: str = ""
    given_name: str = ""
    family_name: str = ""
    email: str = ""
    picture_url: str = ""
    person_sourcedid: str = ""
    username: str = ""
    legacy_user_id: str = ""


@dataclass(frozen=True, slots=True)
class MembershipPage:
    """One page of a roster; ``skipped`` members had no usable id."""

    context_id: str
    members: tuple[Member, ...]
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Roster:
    """A roster read to its end. ``is_whole`` is not so for a list of differences. ``differences_url`` is where to ask
    for what changes from now on, or ``""`` (G5)."""

    context_id: str
    members: tuple[Member, ...]
    is_whole: bool
    differences_url: str = ""
    skipped: int = 0


def memberships_call(
    memberships_url: str, *, resource_link_id: str = "", role: str = "", limit: int | None = None
) -> ServiceCall:
    """The call that reads a roster: of the course, or of who may open one link (``rlid``, G4).

    ``limit`` is a hint; Moodle sends everybody without it (moodle.md 40).
    """
    filters = [("rlid", resource_link_id), ("role", role), ("limit", str(limit) if limit else "")]
    url = services.with_query(memberships_url, [(name, value) for name, value in filters if value])
    return ServiceCall("GET", url, (names.SCOPE_MEMBERSHIP,), accept=names.MEMBERSHIPS_TYPE)


def parse_memberships(response: OutboundResponse) -> MembershipPage:
    """One page of a roster. Raises ``ServiceFailed`` for what is none."""
    document = json_of(response, "a roster")
    if not isinstance(document, dict) or not isinstance(document.get("members"), list):
        raise unreadable("a roster", response, "no list of members")
    container: JsonObject = document
    listed: list[object] = document["members"]
    members = [_member(item) for item in listed]
    found = tuple(member for member in members if member is not None)
    return MembershipPage(text_in(object_in(container, "context"), "id"), found, len(members) - len(found))


def _member(value: object) -> Member | None:
    if not isinstance(value, dict):
        return None
    members: JsonObject = value
    user_id = text_in(members, "user_id")
    if not user_id.strip() or len(user_id) > _ID_LIMIT or not user_id.isprintable():
        return None
    status = text_in(members, "status")
    username = resolved(text_in(members, "ext_user_username"))
    given, family = text_in(members, "given_name"), text_in(members, "family_name")
    return Member(
        user_id=user_id,
        roles=Roles.from_list(texts_in(members, "roles")),
        status=next((known for known in MemberStatus if known.lower() == status.lower()), MemberStatus.ACTIVE),
        name=displayed_name(full=text_in(members, "name"), given=given, family=family, username=username),
        given_name=present_name(given),
        family_name=present_name(family),
        email=resolved(text_in(members, "email")),
        picture_url=usable_url(text_in(members, "picture")),
        person_sourcedid=resolved(text_in(members, "lis_person_sourcedid")),
        username=username,
        legacy_user_id=text_in(members, "lti11_legacy_user_id")[:_ID_LIMIT],
    )


def fetch_roster(
    platform: PlatformServices,
    memberships_url: str,
    *,
    resource_link_id: str = "",
    limit: int | None = None,
    member_limit: int = MEMBER_LIMIT,
    on_page: OnPage = lambda count: None,
) -> Roster:
    """The whole roster, all pages. Raises ``ServiceFailed`` when any page fails: then nobody is to be removed (G3)."""
    call = memberships_call(memberships_url, resource_link_id=resource_link_id, limit=limit)
    return _read(platform, call, member_limit, on_page, is_whole=True)


def fetch_differences(
    platform: PlatformServices,
    differences_url: str,
    *,
    member_limit: int = MEMBER_LIMIT,
    on_page: OnPage = lambda count: None,
) -> Roster:
    """What changed since the roster that named this URL. Raises ``ServiceFailed``.

    With ``reason_code`` ``not_found`` the URL has served its time: read the whole roster (G5).
    """
    call = ServiceCall("GET", differences_url, (names.SCOPE_MEMBERSHIP,), accept=names.MEMBERSHIPS_TYPE)
    return _read(platform, call, member_limit, on_page, is_whole=False)


def _read(
    platform: PlatformServices, call: ServiceCall, member_limit: int, on_page: OnPage, *, is_whole: bool
) -> Roster:
    by_id: dict[str, Member] = {}
    context_id = differences_url = ""
    skipped = 0
    for response in platform.pages(call):
        page = parse_memberships(response)
        context_id = context_id or page.context_id
        skipped += page.skipped
        by_id |= {member.user_id: member for member in page.members}
        differences_url = linked_url(response, call.url, "differences") or differences_url
        if len(by_id) > member_limit:
            raise refused("roster_too_large", f"The roster has more than {member_limit} members, and was not read.")
        on_page(len(by_id))
    return Roster(context_id, tuple(by_id.values()), is_whole, differences_url, skipped)


@dataclass(frozen=True, slots=True)
class KnownMember:
    """A member as remembered; texts may be ``""`` where the LMS never told them."""

    user_id: str
    raw_roles: str
    is_active: bool
    name: str = ""
    email: str = ""


Change = Literal["added", "changed", "returned"]


@dataclass(frozen=True, slots=True)
class RosterChanges:
    """What to do to the roster known: ``gone`` are user ids to mark as gone, never to delete (G7)."""

    added: tuple[Member, ...] = ()
    changed: tuple[Member, ...] = ()
    returned: tuple[Member, ...] = ()
    gone: tuple[str, ...] = ()


def changes(known: Mapping[str, KnownMember], roster: Roster) -> RosterChanges:
    """How a fetched roster differs from the one known by user id.

    Who is absent from a whole roster is gone; but a roster that holds nobody at all, or members that could not be
    read, removes nobody: the LMS is then more likely wrong than the course empty. A name or address that is missing
    changes nothing.
    """
    sorted_out: dict[Change, list[Member]] = {"added": [], "changed": [], "returned": []}
    gone: list[str] = []
    for member in roster.members:
        before = known.get(member.user_id)
        if member.status is not MemberStatus.ACTIVE:
            if before is not None and before.is_active:
                gone.append(member.user_id)
        elif before is None:
            sorted_out["added"].append(member)
        elif not before.is_active:
            sorted_out["returned"].append(member)
        elif _differs(before, member):
            sorted_out["changed"].append(member)
    if roster.is_whole and roster.members and not roster.skipped:
        present = {member.user_id for member in roster.members}
        gone += [user_id for user_id, before in known.items() if before.is_active and user_id not in present]
    return RosterChanges(
        tuple(sorted_out["added"]), tuple(sorted_out["changed"]), tuple(sorted_out["returned"]), tuple(gone)
    )


def _differs(before: KnownMember, member: Member) -> bool:
    return (
        before.raw_roles != member.roles.raw
        or bool(member.name and member.name != before.name)
        or bool(member.email and member.email != before.email)
    )
