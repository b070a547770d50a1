"""What a roster says, taken into the course: people, their accounts and enrolments, batch by batch (G2, G6, G7).

Each batch is one transaction of a fixed number of statements, so that ten thousand members neither fill the memory nor
hold locks for long. People are locked in the order of their ids: two rosters with the same people do not wait for each
other crosswise, and a launch waits for one batch at most.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, FilteredRelation, OuterRef, Q
from django.db.models.functions import Lower

from courses.models import Course, Enrolment, LmsCourse, RosterMember
from events.log import SYSTEM, EventType, event_of, record_many
from lti.v1p3.nrps import KnownMember, Member
from organizations.models import Installation, LmsAccount, Person

BATCH = 500
_PERSON_FIELDS = ["name", "given_name", "family_name", "email", "email_verified", "picture_url"]
_ACCOUNT_FIELDS = ["username", "sourcedid", "is_test_user"]
_RANK = {Enrolment.Role.STUDENT: 0, Enrolment.Role.MENTOR: 1, Enrolment.Role.TEACHER: 2}

Item = TypeVar("Item")


@dataclass(frozen=True)
class Tally:
    """What a roster changed, in people. `updated`: another role, name or address than before."""

    added: int = 0
    returned: int = 0
    updated: int = 0
    unchanged: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


def batches_of(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def known_members(lms_course: LmsCourse, course: Course) -> dict[str, KnownMember]:
    """Who is known to be in the LMS course, by LMS user id: whom an earlier roster named, and whoever of its LMS has
    launched. The LMS's test people are in no roster, and are not missed there (I7)."""
    listed = RosterMember.objects.filter(lms_course=lms_course, account__is_test_user=False)
    active: dict[str, bool] = dict(listed.values_list("account__lms_user_id", "is_active"))
    enrolled = (
        Enrolment.objects.filter(course=course)
        .alias(
            account=FilteredRelation(
                "person__accounts",
                condition=Q(
                    person__accounts__installation=lms_course.installation_id, person__accounts__is_test_user=False
                ),
            )
        )
        .filter(account__isnull=False)
        .values_list("account__lms_user_id", "state")
    )
    for user_id, state in enrolled.iterator():
        active[user_id] = active.get(user_id, False) or state == Enrolment.State.ACTIVE
    return {user_id: KnownMember(user_id, "", is_active) for user_id, is_active in active.items()}


# ------------------------------------------------------------------------------------------------- who is in it


def take_in(lms_course: LmsCourse, course: Course, members: Sequence[Member]) -> Tally:
    """Enrols active members of the roster, and takes over what the LMS says of them now; a batch in one transaction.

    Who has never launched becomes person, account and enrolment, with the event `enrolment.created`. Members are
    matched by their user id in this installation, and by their address only where the owner vouched for this LMS's
    addresses, as in launches (G6, J4).
    """
    installation = lms_course.installation
    with transaction.atomic():
        accounts = _accounts(installation, members)
        new = [member for member in members if member.user_id not in accounts]
        renewed = _bring_up_to_date(installation, accounts, [m for m in members if m.user_id in accounts])
        accounts |= _make_accounts(installation, new)
        entries = {
            entry.account_id: entry
            for entry in RosterMember.objects.filter(lms_course=lms_course, account__in=list(accounts.values()))
        }
        wishes = _wishes(members, accounts, entries)
        tally = _enrol(course, wishes, renewed, is_moodle=installation.lms == "moodle")
        _remember(lms_course, members, accounts, entries)
    return tally


def _accounts(installation: Installation, members: Sequence[Member]) -> dict[str, LmsAccount]:
    """The known accounts by LMS user id; they and their people are locked, in the order in which a launch does."""
    rows = (
        LmsAccount.objects.select_related("person")
        .filter(installation=installation, lms_user_id__in=[member.user_id for member in members])
        .order_by("person_id", "id")
        .select_for_update(of=("self", "person"), no_key=True)
    )
    return {account.lms_user_id: account for account in rows}


def _bring_up_to_date(
    installation: Installation, accounts: dict[str, LmsAccount], members: Sequence[Member]
) -> set[UUID]:
    """Takes over names, addresses and account data. Returns the ids of the people that changed."""
    people: dict[UUID, Person] = {}
    changed_accounts = []
    for member in members:
        account = accounts[member.user_id]
        if _set(account, _told_of_account(account, member)):
            changed_accounts.append(account)
        if _set(account.person, _told_of_person(account.person, member, installation.verified_emails)):
            people[account.person_id] = account.person
    if changed_accounts:
        LmsAccount.objects.bulk_update(changed_accounts, _ACCOUNT_FIELDS)
    if people:
        Person.objects.bulk_update(people.values(), _PERSON_FIELDS)
    return set(people)


def _set(row: Person | LmsAccount, values: dict[str, Any]) -> bool:
    changed = {name: value for name, value in values.items() if getattr(row, name) != value}
    for name, value in changed.items():
        setattr(row, name, value)
    return bool(changed)


def _told_of_account(account: LmsAccount, member: Member) -> dict[str, Any]:
    return {
        "username": member.username[:255] or account.username,
        "sourcedid": member.person_sourcedid[:255] or account.sourcedid,
        "is_test_user": account.is_test_user or member.roles.is_test_user,
    }


def _told_of_person(person: Person, member: Member, verified_emails: bool) -> dict[str, Any]:
    """What the LMS says now; what it does not say stays: that is privacy, and takes nothing away (G2)."""
    told: dict[str, Any] = {}
    if member.name:
        told["name"] = member.name[:255]
        if member.given_name or member.family_name or told["name"] != person.name:
            told |= {"given_name": member.given_name[:255], "family_name": member.family_name[:255]}
    if member.picture_url:
        told["picture_url"] = member.picture_url[:2000]
    # An address that was vouched for is not overwritten by one that was not.
    if member.email and (verified_emails or not person.email_verified):
        told |= {"email": member.email[:320], "email_verified": verified_emails}
    return told


def _make_accounts(installation: Installation, members: Sequence[Member]) -> dict[str, LmsAccount]:
    """Accounts, and people where there are none, for members that are new here."""
    if not members:
        return {}
    by_email = _people_of_verified_emails(installation, members)
    people, accounts = [], []
    for member in members:
        email = member.email.lower() if installation.verified_emails else ""
        person = by_email.get(email) if email else None
        if person is None:
            person = Person(organization_id=installation.organization_id)
            _set(person, _told_of_person(person, member, installation.verified_emails))
            people.append(person)
            if email:
                by_email[email] = person
        account = LmsAccount(installation=installation, lms_user_id=member.user_id, person=person)
        _set(account, _told_of_account(account, member))
        accounts.append(account)
    Person.objects.bulk_create(people)
    LmsAccount.objects.bulk_create(accounts, ignore_conflicts=True)
    # A launch may have made one of them in the meantime: theirs is the one.
    found = LmsAccount.objects.select_related("person").filter(
        installation=installation, lms_user_id__in=[member.user_id for member in members]
    )
    kept = {account.lms_user_id: account for account in found}
    in_use = {account.person_id for account in kept.values()}
    needless = [person.pk for person in people if person.pk not in in_use]
    if needless:
        Person.objects.filter(pk__in=needless).delete()
    return kept


def _people_of_verified_emails(installation: Installation, members: Sequence[Member]) -> dict[str, Person]:
    """Whoever has these addresses already, where the owner vouched for them; the oldest of several (J4)."""
    emails = {member.email.lower() for member in members if member.email}
    if not installation.verified_emails or not emails:
        return {}
    people = (
        Person.objects.annotate(lower_email=Lower("email"))
        .filter(
            # As in launches: the owner vouches now for an LMS that they come from.
            Exists(LmsAccount.objects.filter(person=OuterRef("pk"), installation__verified_emails=True)),
            organization=installation.organization_id,
            email_verified=True,
            lower_email__in=emails,
        )
        .order_by("-id")
    )
    return {person.lower_email: person for person in people}


@dataclass(frozen=True)
class _Wish:
    """What the roster says of one person: the role, whether it names any, and whether it said so before."""

    role: Enrolment.Role
    names_role: bool
    is_news: bool
    is_first: bool


def _wishes(
    members: Sequence[Member], accounts: dict[str, LmsAccount], entries: dict[UUID, RosterMember]
) -> dict[UUID, _Wish]:
    """By person. Somebody with two accounts in the roster is what the higher of them says."""
    wishes: dict[UUID, _Wish] = {}
    for member in members:
        account = accounts[member.user_id]
        entry = entries.get(account.pk)
        wish = _Wish(
            role=Enrolment.Role(member.roles.course_role.value),
            names_role=any(role.scope == "context" for role in member.roles.items),
            is_news=entry is None or not entry.is_active or entry.roles != _raw_roles(member),
            is_first=entry is None,
        )
        before = wishes.get(account.person_id)
        if before is None or _RANK[wish.role] > _RANK[before.role]:
            wishes[account.person_id] = wish
    return wishes


def _enrol(course: Course, wishes: dict[UUID, _Wish], renewed: set[UUID], *, is_moodle: bool) -> Tally:
    enrolled = {row.person_id: row for row in Enrolment.objects.filter(course=course, person__in=list(wishes))}
    new = [
        Enrolment(course=course, person_id=person_id, role=wish.role)
        for person_id, wish in wishes.items()
        if person_id not in enrolled
    ]
    added = _add(course, new)
    returned = updated = 0
    to_change: dict[Enrolment.Role, list[UUID]] = {}
    for person_id, row in enrolled.items():
        role = wishes[person_id].role if _takes_role(row, wishes[person_id], is_moodle) else Enrolment.Role(row.role)
        is_back = row.state == Enrolment.State.GONE
        if is_back or role != row.role:
            to_change.setdefault(role, []).append(row.pk)
        returned += is_back
        updated += not is_back and (role != row.role or person_id in renewed)
    for role, ids in to_change.items():
        Enrolment.objects.filter(pk__in=ids).update(role=role, state=Enrolment.State.ACTIVE)
    return Tally(added, returned, updated, len(wishes) - added - returned - updated)


def _takes_role(row: Enrolment, wish: _Wish, is_moodle: bool) -> bool:
    """The latest word counts, a launch's or the roster's: the roster's is news when it is new or says something else
    than before. Moodle's roster calls a non-editing teacher a learner (moodle.md 42), and a launch knew better."""
    if not wish.names_role or not (wish.is_news or row.last_launch_at is None):
        return False
    knows_better = is_moodle and wish.is_first and row.last_launch_at is not None
    return not (knows_better and wish.role is Enrolment.Role.STUDENT)


def _add(course: Course, rows: list[Enrolment]) -> int:
    """Inserts enrolments with their events. Who has launched meanwhile is enrolled already."""
    if not rows:
        return 0
    Enrolment.objects.bulk_create(rows, ignore_conflicts=True)
    made = set(Enrolment.objects.filter(pk__in=[row.pk for row in rows]).values_list("pk", flat=True))
    record_many(
        event_of(
            course.organization_id,
            EventType.ENROLMENT_CREATED,
            actor=SYSTEM,
            subject_kind="enrolment",
            subject_id=row.pk,
            data={"course": str(course.pk), "person": str(row.person_id), "role": row.role, "by": "roster"},
        )
        for row in rows
        if row.pk in made
    )
    return len(made)


def _remember(
    lms_course: LmsCourse,
    members: Sequence[Member],
    accounts: dict[str, LmsAccount],
    entries: dict[UUID, RosterMember],
) -> None:
    rows = []
    for member in members:
        account, roles = accounts[member.user_id], _raw_roles(member)
        entry = entries.get(account.pk)
        if entry is None or not entry.is_active or entry.roles != roles:
            rows.append(RosterMember(lms_course=lms_course, account=account, roles=roles, is_active=True))
    RosterMember.objects.bulk_create(
        rows,
        update_conflicts=True,
        update_fields=["roles", "is_active"],
        unique_fields=["lms_course", "account"],
    )


def _raw_roles(member: Member) -> str:
    return member.roles.raw[:2000]


# --------------------------------------------------------------------------------------------- who is no longer


def mark_gone(
    lms_course: LmsCourse, course: Course, user_ids: Sequence[str], *, present: Iterable[str], since: datetime
) -> int:
    """Marks the enrolments of a batch of user ids as gone, in one transaction; how many were active until then.

    Nothing is deleted (G7). Left as they are: who has launched since the reading began, who is in the roster by another
    account (`present` are its user ids), or in that of another LMS course of this course, and who may come from another
    LMS course whose roster has never been read.
    """
    in_roster = set(present)
    with transaction.atomic():
        accounts = LmsAccount.objects.filter(installation=lms_course.installation_id, lms_user_id__in=list(user_ids))
        people = set(accounts.values_list("person_id", flat=True))
        RosterMember.objects.filter(lms_course=lms_course, account__in=accounts.values("pk")).update(is_active=False)
        others = LmsAccount.objects.filter(installation=lms_course.installation_id, person__in=people)
        people -= {person for person, user_id in others.values_list("person_id", "lms_user_id") if user_id in in_roster}
        elsewhere = RosterMember.objects.filter(
            account__person=OuterRef("person"), lms_course__course=course, is_active=True
        ).exclude(lms_course=lms_course)
        unread = LmsCourse.objects.filter(
            course=course, roster_sync__whole_at=None, installation__accounts__person=OuterRef("person")
        ).exclude(pk=lms_course.pk)
        return (
            Enrolment.objects.filter(course=course, person__in=people, state=Enrolment.State.ACTIVE)
            .filter(Q(last_launch_at=None) | Q(last_launch_at__lt=since))
            .exclude(Exists(elsewhere))
            .exclude(Q(last_launch_at__isnull=False) & Exists(unread))
            .update(state=Enrolment.State.GONE)
        )
