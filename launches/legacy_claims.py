"""What an LTI 1.3 launch says of its LTI 1.1 past (D37 to D39): followed when it is signed, else remembered.

Nothing here costs a launch without such a claim a statement.
"""

import hashlib
import json
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q

from courses.models import LmsCourse, Participation, ResourceLink
from events.log import Actor
from grades.models import GradebookCell
from launches.joining import Joined, follow_link, lock_grades, open_as, send_what_they_hold
from launches.migration_ledger import Ledger
from launches.models import LegacyClaim, Migration
from lti.message import LaunchMessage
from lti.v1p3.claims import MigrationClaim
from lti.v1p3.migration import is_genuine
from organizations.account_locks import hold_accounts
from organizations.models import Deployment, Installation, LmsAccount, LtiKey
from organizations.upsert import upsert

Kind, Proof = LegacyClaim.Kind, LegacyClaim.Proof


@dataclass(frozen=True)
class _Past:
    """The claim of one launch; ids that it leaves out are the launch's own. `installation_id` is where the old ids are
    from: None for a key that is none of the organization's."""

    installation_id: UUID | None
    proof: LegacyClaim.Proof
    claim: MigrationClaim
    user_id: str
    context_id: str
    link_id: str


def follow_claim(message: LaunchMessage, deployment: Deployment) -> None:
    """Connects the launch's new ids with what the old ones led to, as far as a signed claim says so (D38).

    The account, the LMS course and the link that are new lead where the old ones do, and the person's gradebook cell
    follows; what leads somewhere already is left alone. Call it in the launch's transaction, before anything is looked
    up. A claim that is not signed, or not with the secret of an enabled key of this organization, is remembered only.
    """
    claim = message.migration
    if claim is None:
        return
    key = _key(claim, deployment)
    past = _past(message, claim, deployment, key)
    known = _remember(message, past, deployment)
    if past.proof != Proof.SIGNED or key is None:
        return
    # Before anything of theirs is written, as in every launch: see launches/joining.lock_people.
    before = Q(installation=past.installation_id, lms_user_id=past.user_id)
    now = Q(installation=deployment.installation_id, lms_user_id=message.user_id)
    hold_accounts(LmsAccount.objects.filter(before | now))
    _follow(message, past, deployment.installation, {Kind(row.kind): row for row in known if not row.declined})


def remember_claim(message: LaunchMessage, deployment: Deployment) -> None:
    """Remembers the claim of a launch that was refused: a link that only its past could explain leads nowhere until the
    owner says so."""
    if message.migration is not None:
        key = _key(message.migration, deployment)
        _remember(message, _past(message, message.migration, deployment, key), deployment)


def _key(claim: MigrationClaim, deployment: Deployment) -> LtiKey | None:
    if not claim.consumer_key:
        return None
    organization_id = deployment.installation.organization_id
    return (
        LtiKey.objects.select_related("installation")
        .filter(consumer_key=claim.consumer_key, installation__organization=organization_id)
        .first()
    )


def _past(message: LaunchMessage, claim: MigrationClaim, deployment: Deployment, key: LtiKey | None) -> _Past:
    installation_id: UUID | None = key.installation_id if key else None
    if not claim.consumer_key:
        installation_id = deployment.installation_id
    return _Past(
        installation_id,
        _proof(message, claim, key),
        claim,
        claim.user_id or message.user_id,
        claim.context_id or message.context_id,
        claim.resource_link_id or message.resource_link_id,
    )


def _proof(message: LaunchMessage, claim: MigrationClaim, key: LtiKey | None) -> LegacyClaim.Proof:
    if not claim.consumer_key_sign:
        return Proof.NONE
    # A key that somebody switched off proves nothing: its secret may be the reason.
    if key is None or not key.enabled or not key.installation.enabled:
        return Proof.WRONG
    secrets = [key.secret, key.valid_previous_secret()]
    return Proof.SIGNED if is_genuine(message, [secret for secret in secrets if secret]) else Proof.WRONG


def _remember(message: LaunchMessage, past: _Past, deployment: Deployment) -> list[LegacyClaim]:
    """The rows of what the claim says; one statement when all of it was said before."""
    moved = past.installation_id != deployment.installation_id
    said: list[tuple[LegacyClaim.Kind, str, str, str, str]] = []
    if message.user_id and (moved or past.user_id != message.user_id):
        said.append((Kind.PERSON, message.user_id, "", past.user_id, ""))
    if message.context_id and (moved or past.context_id != message.context_id):
        said.append((Kind.COURSE, message.context_id, "", past.context_id, ""))
    link = (message.context_id, message.resource_link_id)
    opened = bool(message.resource_link_id) and message.selection is None
    if opened and (moved or (past.context_id, past.link_id) != link):
        said.append((Kind.LINK, message.resource_link_id, message.context_id, past.link_id, past.context_id))
    if not said:
        return []
    rows = [
        LegacyClaim(
            deployment=deployment,
            kind=kind,
            lms_id=lms_id,
            context_id=context_id,
            old_id=old_id,
            old_context_id=old_context_id,
            consumer_key=past.claim.consumer_key,
            proof=past.proof,
            digest=_digest(kind, lms_id, context_id, old_id, old_context_id, past.claim.consumer_key),
        )
        for kind, lms_id, context_id, old_id, old_context_id in said
    ]
    known = {row.digest: row for row in _known(deployment, rows)}
    fresh = [row for row in rows if row.digest not in known or known[row.digest].proof != row.proof]
    if fresh:
        LegacyClaim.objects.bulk_create(
            fresh, update_conflicts=True, unique_fields=["deployment", "digest"], update_fields=["proof"]
        )
        return _known(deployment, rows)
    return list(known.values())


def _known(deployment: Deployment, rows: list[LegacyClaim]) -> list[LegacyClaim]:
    return list(LegacyClaim.objects.filter(deployment=deployment, digest__in=[row.digest for row in rows]))


def _digest(*said: str) -> str:
    return hashlib.sha256(json.dumps([str(part) for part in said]).encode()).hexdigest()


def _follow(
    message: LaunchMessage, past: _Past, installation: Installation, believed: dict[LegacyClaim.Kind, LegacyClaim]
) -> None:
    """What the person alone is concerned with is kept apart from what all who open the link are: to be undone apart."""
    own, shared = Ledger(), Ledger()
    own_done, shared_done = Joined(), Joined()
    if Kind.PERSON in believed:
        _follow_person(own, own_done, message, past, installation)
    if Kind.COURSE in believed:
        _follow_course(shared, shared_done, message, past, installation)
    if Kind.LINK in believed:
        account = LmsAccount.objects.filter(installation=installation, lms_user_id=message.user_id).first()
        link = _follow_link(shared, shared_done, message, past, installation, account)
        if link is not None and account is not None:
            _follow_cell(own, own_done, *link, account.person_id)
    name = message.name or message.user_id
    place = " / ".join(title for title in (message.context_title, message.resource_link_title) if title)
    _save(shared, shared_done, installation, place, [believed[kind] for kind in believed if kind != Kind.PERSON])
    _save(own, own_done, installation, name, [believed[kind] for kind in believed if kind == Kind.PERSON])


def _save(ledger: Ledger, done: Joined, installation: Installation, name: str, claims: list[LegacyClaim]) -> None:
    if not ledger:
        return
    send_what_they_hold(done.readdressed)
    migration = Migration.objects.create(
        installation=installation,
        origin=Migration.Origin.CLAIM,
        words=f"{name}: {done.in_words()}" if name else done.in_words(),
        claims=[str(claim.pk) for claim in claims],
    )
    ledger.save(migration)


def _follow_person(
    ledger: Ledger, done: Joined, message: LaunchMessage, past: _Past, installation: Installation
) -> None:
    old = LmsAccount.objects.filter(installation=past.installation_id, lms_user_id=past.user_id).first()
    if old is None:
        return
    # One that is somebody else's already stays so: two people with work of their own are for the owner to join.
    account_id, inserted = upsert(
        LmsAccount,
        {"installation_id": installation.id, "lms_user_id": message.user_id},
        {"person_id": old.person_id, "username": old.username, "sourcedid": old.sourcedid},
        update=[],
    )
    if inserted:
        ledger.note_created(LmsAccount.objects.get(pk=account_id))
        done.people += 1


def _follow_course(
    ledger: Ledger, done: Joined, message: LaunchMessage, past: _Past, installation: Installation
) -> None:
    old = LmsCourse.objects.filter(installation=past.installation_id, context_id=past.context_id).first()
    if old is None or old.course_id is None or not past.context_id:
        return
    open_course_as(ledger, done, course_row(ledger, installation.id, message.context_id, old), old)


def open_course_as(ledger: Ledger, done: Joined, lms_course: LmsCourse, old: LmsCourse) -> None:
    """An LMS course that leads to no course yet leads where the old one does."""
    if lms_course.course_id is None:
        lms_course = LmsCourse.objects.select_for_update(no_key=True).get(pk=lms_course.pk)
    if lms_course.course_id is None:
        ledger.update(lms_course, course_id=old.course_id)
        # Its teachers see whom it sent under its old id, too.
        there = Participation.objects.filter(lms_course=lms_course).values("person_id")
        missing = Participation.objects.filter(lms_course=old).exclude(person_id__in=there)
        for person_id in list(missing.values_list("person_id", flat=True)):
            person = {"lms_course_id": lms_course.pk, "person_id": person_id}
            row_id, inserted = upsert(Participation, person, {}, update=[])
            if inserted:
                ledger.note_created(Participation(pk=row_id, **person))
        done.courses += 1


def course_row(ledger: Ledger, installation_id: UUID, context_id: str, old: LmsCourse) -> LmsCourse:
    """The LMS course's row, made with the old one's title where it is new. One that is there is not locked: everybody
    of the course would queue up for it."""
    unique = {"installation_id": installation_id, "context_id": context_id}
    lms_course = LmsCourse.objects.filter(**unique).first()
    if lms_course is not None:
        return lms_course
    row_id, inserted = upsert(LmsCourse, unique, {"title": old.title, "label": old.label}, update=[])
    lms_course = LmsCourse.objects.get(pk=row_id)
    if inserted:
        ledger.note_created(lms_course)
    return lms_course


def link_row(ledger: Ledger, installation_id: UUID, context_id: str, link_id: str, old: ResourceLink) -> ResourceLink:
    """The link's row, made with the old one's title where it is new; locked where it opens nothing yet."""
    lms_course = course_row(ledger, installation_id, context_id, old.lms_course)
    unique = {"lms_course_id": lms_course.pk, "resource_link_id": link_id}
    link = ResourceLink.objects.filter(**unique).first()
    if link is not None and not is_unmapped(link):
        return link
    row_id, inserted = upsert(ResourceLink, unique, {"title": old.title}, update=[])
    link = ResourceLink.objects.select_for_update(no_key=True).get(pk=row_id)
    if inserted:
        ledger.note_created(link)
    return link


def is_unmapped(link: ResourceLink) -> bool:
    return link.assignment_id is None and link.course_id is None


def old_link_of(installation_id: UUID | None, context_id: str, link_id: str) -> ResourceLink | None:
    return (
        ResourceLink.objects.select_related("lms_course", "assignment__course")
        .filter(lms_course__installation=installation_id, lms_course__context_id=context_id, resource_link_id=link_id)
        .first()
    )


def _follow_link(
    ledger: Ledger,
    done: Joined,
    message: LaunchMessage,
    past: _Past,
    installation: Installation,
    account: LmsAccount | None,
) -> tuple[ResourceLink, ResourceLink] | None:
    """The old link and the new one, where both open the same."""
    old = old_link_of(past.installation_id, past.context_id, past.link_id)
    if old is None or is_unmapped(old):
        return None
    new = link_row(ledger, installation.id, message.context_id, message.resource_link_id, old)
    if is_unmapped(new):
        open_as(ledger, done, new, old, Actor.of(account.person if account else None))
    return (old, new) if (new.assignment_id, new.course_id) == (old.assignment_id, old.course_id) else None


def _follow_cell(ledger: Ledger, done: Joined, old: ResourceLink, new: ResourceLink, person_id: UUID) -> None:
    if GradebookCell.objects.filter(resource_link=old, person=person_id).exists():
        lock_grades([person_id])
        follow_link(ledger, done, old, new, [person_id])
