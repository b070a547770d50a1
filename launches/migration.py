"""The owner's move of an installation from LTI 1.1 to 1.3: what would match, trying it, applying it, undoing it.

An old link, course or account is LTI 1.1's, a new one LTI 1.3's. What the LMS said is in `LegacyClaim`s; equal e-mail
addresses are a hint, and never chosen by themselves.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Count
from django.db.models.functions import Lower
from django.utils import timezone

from courses.models import Assignment, LmsCourse, ResourceLink
from events.log import Actor
from grades.models import GradebookCell
from launches.joining import Joined, follow_link, join, lock_people, open_as, send_what_they_hold, work_of
from launches.legacy_claims import course_row, is_unmapped, link_row, open_course_as
from launches.migration_ledger import Ledger
from launches.models import LegacyClaim, Migration
from organizations.models import Deployment, Installation, LmsAccount, LtiKey, Person, User
from organizations.upsert import upsert

Kind, Proof = LegacyClaim.Kind, LegacyClaim.Proof
HINTS = 200

_REASONS = {
    Proof.NONE: "The LMS says so in its launches, without a signature.",
    Proof.SIGNED: "The LMS says so in its launches, signed with the key's secret.",
    Proof.WRONG: "The LMS says so in its launches, but not signed with the secret of an enabled key of yours.",
}


class SomebodyArrivedError(Exception):
    """A launch of one of these people came in between. Trying again helps."""


@dataclass(frozen=True)
class Match:
    """What is one and the same, as far as is known. `key` names it in forms. `trouble` says what stands against it: if
    `is_possible`, the owner may choose it all the same. `is_suggested` ones are chosen unless the owner says no."""

    key: str
    kind: LegacyClaim.Kind
    new: str
    old: str
    reason: str
    trouble: str = ""
    is_possible: bool = True
    is_suggested: bool = True


@dataclass(frozen=True)
class Plan:
    """All that could be matched in an installation. `settled` claims lead to the same already; `unknown` ones name what
    nobody has launched over LTI 1.1."""

    people: tuple[Match, ...]
    courses: tuple[Match, ...]
    links: tuple[Match, ...]
    settled: int
    unknown: int

    @property
    def matches(self) -> tuple[Match, ...]:
        return (*self.people, *self.courses, *self.links)


class _Sides(NamedTuple):
    """A match with its rows. `new_ids` are installation, context id and id of the new side, whose row may not be."""

    match: Match
    old: LmsAccount | LmsCourse | ResourceLink
    new: LmsAccount | LmsCourse | ResourceLink | None
    new_ids: tuple[UUID, str, str]
    claim: LegacyClaim | None


@dataclass
class _Found:
    sides: list[_Sides]
    settled: int = 0
    unknown: int = 0


def plan_of(installation: Installation) -> Plan:
    """What would match in the installation's LTI 1.3 deployments, and why."""
    found = _find(installation)
    by_kind = {kind: tuple(side.match for side in found.sides if side.match.kind == kind) for kind in Kind}
    return Plan(by_kind[Kind.PERSON], by_kind[Kind.COURSE], by_kind[Kind.LINK], found.settled, found.unknown)


def _find(installation: Installation) -> _Found:
    found = _Found([])
    claims = list(LegacyClaim.objects.filter(deployment__installation=installation).order_by("id"))
    homes = _homes(installation, claims)
    finders = {Kind.PERSON: _find_people, Kind.COURSE: _find_courses, Kind.LINK: _find_links}
    for kind, find in finders.items():
        find(found, installation, [claim for claim in claims if claim.kind == kind], homes)
    found.sides += _hints(installation, found.sides)
    found.sides[:] = _with_trouble_in_work(found.sides)
    return found


def _homes(installation: Installation, claims: Iterable[LegacyClaim]) -> dict[str, UUID]:
    """By consumer key, the installation whose ids it speaks of; keys of other organizations speak of none."""
    named = {claim.consumer_key for claim in claims if claim.consumer_key}
    keys = LtiKey.objects.filter(consumer_key__in=named, installation__organization=installation.organization_id)
    return {"": installation.pk, **dict(keys.values_list("consumer_key", "installation_id"))}


def _match(claim: LegacyClaim, new: str, old: str, trouble: str, *, is_possible: bool) -> Match:
    is_suggested = is_possible and not trouble and not claim.declined and claim.proof != Proof.WRONG
    if claim.declined and not trouble:
        trouble = "You undid this before."
    return Match(f"claim:{claim.pk}", Kind(claim.kind), new, old, _reason(claim), trouble, is_possible, is_suggested)


def _reason(claim: LegacyClaim) -> str:
    words = _REASONS[Proof(claim.proof)]
    return f"{words} Key: {claim.consumer_key}" if claim.consumer_key else words


def _find_people(
    found: _Found, installation: Installation, claims: Sequence[LegacyClaim], homes: dict[str, UUID]
) -> None:
    ids = {claim.lms_id for claim in claims} | {claim.old_id for claim in claims}
    accounts = {
        (row.installation_id, row.lms_user_id): row
        for row in LmsAccount.objects.select_related("person").filter(
            installation__in={installation.pk, *homes.values()}, lms_user_id__in=ids
        )
    }
    rivals = _Rivals(claims)
    for claim in claims:
        home = homes.get(claim.consumer_key)
        old = accounts.get((home, claim.old_id)) if home else None
        new = accounts.get((installation.pk, claim.lms_id))
        if old is None:
            found.unknown += 1
            continue
        if new is not None and new.person_id == old.person_id:
            found.settled += 1
            continue
        trouble, is_possible = rivals(claim), True
        if trouble:
            is_possible = False
        elif new is not None and new.person.user_id and old.person.user_id not in (None, new.person.user_id):
            trouble, is_possible = "The two sign in directly, as two users.", False
        match = _match(claim, account_words(new, claim.lms_id), account_words(old), trouble, is_possible=is_possible)
        found.sides.append(_Sides(match, old, new, (installation.pk, "", claim.lms_id), claim))


class _Rivals:
    """Claims that cannot all be true: one new id that was several, or several that were one."""

    def __init__(self, claims: Sequence[LegacyClaim]) -> None:
        self._pasts: dict[tuple[str, str], set[tuple[str, str, str]]] = {}
        self._futures: dict[tuple[str, str, str], set[tuple[str, str]]] = {}
        for claim in claims:
            new, old = (claim.context_id, claim.lms_id), (claim.consumer_key, claim.old_context_id, claim.old_id)
            self._pasts.setdefault(new, set()).add(old)
            self._futures.setdefault(old, set()).add(new)

    def __call__(self, claim: LegacyClaim) -> str:
        old = (claim.consumer_key, claim.old_context_id, claim.old_id)
        if len(self._pasts[claim.context_id, claim.lms_id]) > 1:
            return "The LMS has named different ids of the past for this one."
        if len(self._futures[old]) > 1:
            return "The LMS has named this id of the past for several others, too."
        return ""


def account_words(account: LmsAccount | None, lms_user_id: str = "") -> str:
    """Who it is, for the owner: name, address and the LMS's id."""
    if account is None:
        return f"id {lms_user_id}, who has not arrived yet"
    person = account.person
    return " · ".join(word for word in (person.display_name, person.email, f"id {account.lms_user_id}") if word)


def _find_courses(
    found: _Found, installation: Installation, claims: Sequence[LegacyClaim], homes: dict[str, UUID]
) -> None:
    ids = {claim.lms_id for claim in claims} | {claim.old_id for claim in claims}
    rows = {
        (row.installation_id, row.context_id): row
        for row in LmsCourse.objects.select_related("course").filter(
            installation__in={installation.pk, *homes.values()}, context_id__in=ids
        )
    }
    rivals = _Rivals(claims)
    for claim in claims:
        home = homes.get(claim.consumer_key)
        old = rows.get((home, claim.old_id)) if home and claim.old_id else None
        new = rows.get((installation.pk, claim.lms_id))
        if old is None or old.course is None:
            found.unknown += 1
            continue
        if new is not None and new.course_id == old.course_id:
            found.settled += 1
            continue
        trouble = rivals(claim)
        if new is not None and new.course is not None:
            trouble = f"It leads to “{new.course}” already."
        match = _match(
            claim,
            f"{new or old} · id {claim.lms_id}",
            f"{old} · id {claim.old_id}, leads to “{old.course}”",
            trouble,
            is_possible=not trouble,
        )
        found.sides.append(_Sides(match, old, new, (installation.pk, "", claim.lms_id), claim))


def _find_links(
    found: _Found, installation: Installation, claims: Sequence[LegacyClaim], homes: dict[str, UUID]
) -> None:
    ids = {claim.lms_id for claim in claims} | {claim.old_id for claim in claims}
    rows = {
        (row.lms_course.installation_id, row.lms_course.context_id, row.resource_link_id): row
        for row in ResourceLink.objects.select_related("lms_course", "assignment__course", "course").filter(
            lms_course__installation__in={installation.pk, *homes.values()}, resource_link_id__in=ids
        )
    }
    cells = dict(
        GradebookCell.objects.filter(resource_link__in=[row.pk for row in rows.values()])
        .order_by()
        .values_list("resource_link_id")
        .annotate(found=Count("pk"))
    )
    rivals = _Rivals(claims)
    for claim in claims:
        home = homes.get(claim.consumer_key)
        old = rows.get((home, claim.old_context_id, claim.old_id)) if home else None
        new = rows.get((installation.pk, claim.context_id, claim.lms_id))
        if old is None or is_unmapped(old):
            found.unknown += 1
            continue
        opens = old.assignment or old.course
        is_same = new is not None and (new.assignment_id, new.course_id) == (old.assignment_id, old.course_id)
        if is_same and not cells.get(old.pk):
            found.settled += 1
            continue
        trouble = rivals(claim)
        if new is not None and not is_same and not is_unmapped(new):
            trouble = f"It opens “{new.assignment or new.course}” already."
        match = _match(
            claim,
            f"{new or old} · id {claim.lms_id}",
            f"{old} · id {claim.old_id}, opens “{opens}”",
            trouble,
            is_possible=not trouble,
        )
        found.sides.append(_Sides(match, old, new, (installation.pk, claim.context_id, claim.lms_id), claim))


def _hints(installation: Installation, sides: Sequence[_Sides]) -> list[_Sides]:
    """Pairs of people of this installation with one address, the newer of whom came after the first deployment."""
    first = Deployment.objects.filter(installation=installation).order_by("created_at").first()
    if first is None:
        return []
    matched = {row.pk for side in sides for row in (side.old, side.new) if isinstance(row, LmsAccount)}
    accounts = LmsAccount.objects.filter(installation=installation).exclude(person__email="")
    shared = (
        accounts.annotate(address=Lower("person__email"))
        .order_by()
        .values("address")
        .annotate(people=Count("person", distinct=True))
        .filter(people__gt=1)
        .values_list("address", flat=True)[:HINTS]
    )
    by_address: dict[str, list[LmsAccount]] = {}
    rows = accounts.annotate(address=Lower("person__email")).filter(address__in=list(shared))
    for account in rows.select_related("person").order_by("id"):
        by_address.setdefault(account.person.email.lower(), []).append(account)
    return [
        _hint(installation, address, old, new)
        for address, (old, new) in ((address, row) for address, row in by_address.items() if len(row) == 2)
        if new.created_at >= first.created_at > old.created_at and not matched & {old.pk, new.pk}
    ]


def _hint(installation: Installation, address: str, old: LmsAccount, new: LmsAccount) -> _Sides:
    both_sign_in = bool(new.person.user_id) and old.person.user_id not in (None, new.person.user_id)
    match = Match(
        f"email:{new.pk}:{old.pk}",
        Kind.PERSON,
        account_words(new),
        account_words(old),
        f"Only a hint: both have the address {address}.",
        "The two sign in directly, as two users." if both_sign_in else "",
        is_possible=not both_sign_in,
        is_suggested=False,
    )
    return _Sides(match, old, new, (installation.pk, "", new.lms_user_id), None)


def _with_trouble_in_work(sides: list[_Sides]) -> list[_Sides]:
    """Two people who have both worked in one assignment are not joined unless the owner says so."""
    people = {
        row.person_id for side in sides for row in (side.old, side.new) if isinstance(row, LmsAccount) and side.new
    }
    work = work_of(people)
    titles = dict(Assignment.objects.filter(pk__in=set().union(*work.values())).values_list("pk", "title"))
    return [_with_trouble(side, work, titles) for side in sides]


def _with_trouble(side: _Sides, work: dict[UUID, set[UUID]], titles: dict[UUID, str]) -> _Sides:
    if not isinstance(side.old, LmsAccount) or not isinstance(side.new, LmsAccount) or not side.match.is_possible:
        return side
    both = work.get(side.old.person_id, set()) & work.get(side.new.person_id, set())
    if not both:
        return side
    named = ", ".join(sorted(f"“{titles[key]}”" for key in both))
    trouble = f"Both have worked in {named}: the work by LTI 1.1 would count, the other be set aside until you undo."
    return side._replace(match=replace(side.match, trouble=trouble, is_suggested=False))


def try_out(installation: Installation, chosen: Collection[str]) -> Joined:
    """What `apply` would do, done and rolled back. Raises `SomebodyArrivedError`."""
    with _arrivals_told(), transaction.atomic():
        done, _, _ = _apply(installation, chosen, Actor("system"))
        transaction.set_rollback(True)
    return done


def apply(installation: Installation, chosen: Collection[str], user: User) -> Migration | None:
    """Applies the chosen matches that are possible now, all or none. Returns None where nothing was left to do.

    Raises `SomebodyArrivedError`, and then nothing has changed.
    """
    with _arrivals_told(), transaction.atomic():
        done, ledger, claims = _apply(installation, chosen, Actor.of(user))
        if not ledger:
            return None
        migration = Migration.objects.create(
            installation=installation,
            origin=Migration.Origin.OWNER,
            words=done.in_words(),
            claims=claims,
            applied_by=user,
            applied_at=timezone.now(),
        )
        ledger.save(migration)
    return migration


@contextmanager
def _arrivals_told() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        raise SomebodyArrivedError from error


def _apply(installation: Installation, chosen: Collection[str], actor: Actor) -> tuple[Joined, Ledger, list[str]]:
    Installation.objects.select_for_update(no_key=True).get(pk=installation.pk)  # one move at a time
    wanted = set(chosen)
    sides = [side for side in _find(installation).sides if side.match.key in wanted and side.match.is_possible]
    ledger, done = Ledger(), Joined()
    people = {row.person_id for side in sides for row in (side.old, side.new) if isinstance(row, LmsAccount)}
    links = {row.pk for side in sides for row in (side.old, side.new) if isinstance(row, ResourceLink)}
    lock_people(people, links)
    accounts = [row.pk for side in sides for row in (side.old, side.new) if isinstance(row, LmsAccount)]
    if set(LmsAccount.objects.filter(pk__in=accounts).values_list("person_id", flat=True)) != people:
        raise SomebodyArrivedError  # or was merged with somebody
    kept = _Kept()
    for side in sides:
        if isinstance(side.old, LmsAccount):
            _apply_person(ledger, done, side, side.old, kept)
        elif isinstance(side.old, LmsCourse):
            open_course_as(ledger, done, course_row(ledger, installation.pk, side.new_ids[2], side.old), side.old)
        else:
            _apply_link(ledger, done, side, side.old, actor)
    send_what_they_hold(done.readdressed)
    return done, ledger, [str(side.claim.pk) for side in sides if side.claim is not None]


class _Kept:
    """Who is who by now: somebody who was joined is found as the one that was kept."""

    def __init__(self) -> None:
        self._into: dict[UUID, UUID] = {}

    def joined(self, other: UUID, kept: UUID) -> None:
        self._into[other] = kept

    def of(self, person_id: UUID) -> UUID:
        while person_id in self._into:
            person_id = self._into[person_id]
        return person_id


def _apply_person(ledger: Ledger, done: Joined, side: _Sides, old: LmsAccount, kept: _Kept) -> None:
    kept_id = kept.of(old.person_id)
    if side.new is None:
        installation_id, _, lms_user_id = side.new_ids
        row_id, inserted = upsert(
            LmsAccount,
            {"installation_id": installation_id, "lms_user_id": lms_user_id},
            {"person_id": kept_id, "username": old.username, "sourcedid": old.sourcedid},
            update=[],
        )
        if inserted:
            ledger.note_created(LmsAccount.objects.get(pk=row_id))
            done.people += 1
        return
    if isinstance(side.new, LmsAccount):
        other_id = kept.of(side.new.person_id)
        if other_id != kept_id:
            join(ledger, done, Person.objects.get(pk=kept_id), Person.objects.get(pk=other_id))
            kept.joined(other_id, kept_id)


def _apply_link(ledger: Ledger, done: Joined, side: _Sides, old: LmsCourse | ResourceLink, actor: Actor) -> None:
    if not isinstance(old, ResourceLink):
        return
    installation_id, context_id, link_id = side.new_ids
    new = link_row(ledger, installation_id, context_id, link_id, old)
    if is_unmapped(new):
        open_as(ledger, done, new, old, actor)
    if (new.assignment_id, new.course_id) == (old.assignment_id, old.course_id):
        follow_link(ledger, done, old, new)
