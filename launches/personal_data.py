"""What is held of a person, as JSON for whoever asks for it, and forgetting it (J20).

Both walk the models, so that what another room adds to people is told, and is missed by a test where it is not erased.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models import Field, ForeignKey, Model, Q, QuerySet
from django.db.models.fields.reverse_related import ForeignObjectRel
from django.utils import timezone

from courses.models import Enrolment, Submission
from events.deliveries import cancel_waiting
from events.models import Attempt, Delivery, Event, Mail
from grades.models import GradebookCell, Score
from grades.outbox import KIND
from launches.joining import lock_people
from launches.merging import note_in_history
from launches.models import Launch, LegacyClaim, Merge, MergeChange, Migration, MigrationChange
from organizations.models import AnsweredRequest, LmsAccount, Person, SignInLink, User

ERASED = "Erased person"
# Secrets and addresses that carry somebody's session, in whatever model they are: nobody's data.
_NEVER_TOLD = frozenset(
    {"hash", "browser", "nonce", "return_url", "result_sourcedid", "outcome_service_url", "refusal"}
)


def export_of(person: Person) -> dict[str, Any]:
    """Everything that is held of the person, ready for JSON; rows of each kind, oldest first. Secrets are left out."""
    accounts = list(LmsAccount.objects.filter(person=person))
    told: dict[str, Any] = {
        "exported_at": timezone.now().isoformat(),
        "organization": person.organization.name,
        "person": _told(person),
        "signs_in_as": person.user.email if person.user is not None else None,
    }
    rows: dict[str, list[dict[str, Any]]] = {}
    for kind, of in ((Person, [person.pk]), (LmsAccount, [account.pk for account in accounts])):
        for relation in _relations(kind):
            model, name = relation.related_model, relation.field.name
            found = model._default_manager.filter(**{f"{name}__in": of}).select_related(*_references(model))
            section = rows.setdefault(model._meta.label_lower, [])
            section += [_told(row) for row in found.order_by("pk").iterator(chunk_size=500)]
    told |= dict(sorted(rows.items()))
    told["events.delivery"] = [_told(row) for row in _deliveries(person.pk).order_by("pk")]
    told["events.event"] = [_told(row) for row in _events(person).order_by("pk")]
    told["events.mail"] = [_told(row) for row in _mails(person).order_by("pk")]
    told["launches.merge"] = [_told(row) for row in Merge.objects.filter(pk__in=_past(person)[0]).order_by("pk")]
    return told


def _relations(model: type[Model]) -> Iterator[ForeignObjectRel]:
    for entry in model._meta.get_fields(include_hidden=True):
        if isinstance(entry, ForeignObjectRel):
            yield entry


def _references(model: type[Model]) -> list[str]:
    return [field.name for field in model._meta.concrete_fields if isinstance(field, ForeignKey)]


def _told(row: Model) -> dict[str, Any]:
    fields = [field for field in row._meta.concrete_fields if field.name not in _NEVER_TOLD]
    return {field.name: _told_value(row, field) for field in fields}


def _told_value(row: Model, field: "Field[Any, Any]") -> Any:
    value = getattr(row, field.attname)
    if isinstance(value, dict):
        return {name: part for name, part in value.items() if name not in _NEVER_TOLD}
    if value is None or isinstance(value, bool | int | list):
        return value
    if isinstance(field, ForeignKey) and field.name != "organization" and field.is_cached(row):
        return {"id": str(value), "name": str(getattr(row, field.name))}
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _deliveries(person_id: UUID) -> QuerySet[Delivery]:
    cells = GradebookCell.objects.filter(person=person_id).values("pk")
    scores = Score.objects.filter(person=person_id).values("pk")
    return Delivery.objects.filter(Q(target_id__in=cells) | Q(source_id__in=scores), kind=KIND)


def _events(person: Person) -> QuerySet[Event]:
    key = str(person.pk)
    mine = Q(actor__id=key) | Q(data__person=key) | Q(subject__id=key)
    return Event.objects.filter(mine, organization=person.organization_id)


def _past(person: Person) -> tuple[set[UUID], set[UUID]]:
    """The merges by which somebody became this person, one through another, with all who did; and the merge by which
    this one became somebody else."""
    rows = list(
        Merge.objects.filter(organization=person.organization_id).values_list("pk", "kept_person", "other_person")
    )
    people, found, grown = {person.pk}, {pk for pk, _, other in rows if other == person.pk}, True
    while grown:
        fresh = {(pk, other) for pk, kept, other in rows if kept in people and pk not in found}
        grown = bool(fresh)
        found |= {pk for pk, _ in fresh}
        people |= {other for _, other in fresh}
    return found, people


@dataclass(frozen=True)
class Erased:
    """What was forgotten, counted. `submissions` are those that were opened, whether or not something was handed in."""

    accounts: int
    submissions: int
    scores: int

    def __add__(self, other: "Erased") -> "Erased":
        return Erased(self.accounts + other.accounts, self.submissions + other.submissions, self.scores + other.scores)


class MergedMeanwhileError(Exception):
    """Somebody merged the person with another one at this very moment. Trying again helps."""


def erase(person: Person, user: User, *, keep_scores: bool) -> Erased:
    """Forgets who the person was, for good, in one transaction.

    Name, addresses, the LMS's ids, texts and comments go; the LMS accounts are released, so that the next launch makes
    somebody new. Rows that only count stay under no name: enrolments (as gone), when something was handed in, what was
    delivered; and the scores, if `keep_scores`. Merges and moves that they took part in cannot be undone any more.
    """
    with transaction.atomic():
        merges, people = _past(person)
        there = lock_people(people)
        if person.pk not in there:
            raise Person.DoesNotExist
        if _past(person) != (merges, people):
            raise MergedMeanwhileError
        erased = Erased(0, 0, 0)
        # Whoever was merged into this person is this person, too, with the work that was set aside.
        for row in there.values():
            erased += _erase_one(row, keep_scores)
        MergeChange.objects.filter(merge__in=merges).delete()
        Merge.objects.filter(pk__in=merges).update(kept_words="", other_words="", words="", erased_at=timezone.now())
        _erase_history(people | {person.pk})
        note_in_history(
            Person.objects.get(pk=person.pk),
            user,
            f"Erased, {'scores kept under no name' if keep_scores else 'with all scores'}.",
        )
    return erased


def _erase_one(person: Person, keep_scores: bool) -> Erased:
    accounts = list(LmsAccount.objects.filter(person=person).select_related("installation"))
    _erase_moves(person, accounts)
    _erase_launches(person, accounts)
    erased = Erased(len(accounts), *_erase_work(person, keep_scores))
    _erase_events(person)
    _erase_answers(person)
    _mails(person).delete()
    SignInLink.objects.filter(person=person).delete()
    LmsAccount.objects.filter(person=person).delete()
    Enrolment.objects.filter(person=person).update(state=Enrolment.State.GONE)
    blank = {"given_name": "", "family_name": "", "email": "", "email_verified": False, "picture_url": ""}
    Person.objects.filter(pk=person.pk).update(name=ERASED, user=None, **blank)
    return erased


def _erase_history(people: set[UUID]) -> None:
    """What the admin's history says of them: that something was done, by whom, and no longer what."""
    entries = LogEntry.objects.filter(
        content_type=ContentType.objects.get_for_model(Person), object_id__in=[str(key) for key in people]
    )
    entries.update(object_repr=ERASED, change_message="")


def _erase_work(person: Person, keep_scores: bool) -> tuple[int, int]:
    """How many submissions and scores were forgotten."""
    deliveries = _deliveries(person.pk)
    words = "Not sent: the person was erased."
    cells = list(GradebookCell.objects.filter(person=person).values_list("pk", flat=True))
    cancel_waiting(KIND, target_ids=cells, code="person_erased", words=words)
    # What was sent may name the person in the LMS's way.
    Attempt.objects.filter(delivery__in=deliveries.values("pk")).update(request="", response="", error="")
    deliveries.update(last_error="")
    submissions = Submission.objects.filter(person=person).update(
        text="", url="", draft_text="", draft_url="", draft_saved_at=None
    )
    scores = Score.objects.filter(person=person)
    count = 0
    if keep_scores:
        scores.update(comment="")
    else:
        count = scores.count()
        scores.delete()
        # A percentage is a score.
        for delivery in deliveries:
            Delivery.objects.filter(pk=delivery.pk).update(payload={})
    GradebookCell.objects.filter(person=person).update(
        result_sourcedid="",
        lms_user_id="",
        outcome_extensions={},
        **({} if keep_scores else {"last_percentage": None}),
    )
    return submissions, count


def _erase_launches(person: Person, accounts: list[LmsAccount]) -> None:
    Launch.objects.filter(person=person).update(
        custom={}, mentor_for=[], return_url="", locale="", actual_user={}, selection=None, browser="", roles=""
    )
    # Others' launches name people by the LMS's ids: whose work a teacher looked at, and whose mentor somebody is.
    ids = {(account.installation_id, account.lms_user_id) for account in accounts}
    installations = {installation_id for installation_id, _ in ids}
    others = Launch.objects.filter(organization=person.organization_id, installation__in=installations)
    named = others.exclude(actual_user={}, mentor_for=[]).only("installation", "actual_user", "mentor_for", "custom")
    for launch in named.iterator(chunk_size=500):
        who = {user_id for installation_id, user_id in ids if installation_id == launch.installation_id}
        who |= {person.email} - {""}
        actual = {} if set(map(str, launch.actual_user.values())) & who else launch.actual_user
        mentees = [user_id for user_id in launch.mentor_for if user_id not in who]
        if actual != launch.actual_user or mentees != launch.mentor_for:
            Launch.objects.filter(pk=launch.pk).update(actual_user=actual, mentor_for=mentees, custom={})


def _erase_answers(person: Person) -> None:
    """What content applications were answered of the person's scores, kept for a day under their idempotency keys."""
    answers = AnsweredRequest.objects.filter(api_token__organization=person.organization_id)
    answers.filter(path__contains=str(person.pk)).delete()


def _mails(person: Person) -> QuerySet[Mail]:
    """Mails to the address that the LMS gave."""
    mails = Mail.objects.filter(organization=person.organization_id)
    return mails.filter(address__iexact=person.email) if person.email else mails.none()


def _erase_events(person: Person) -> None:
    """The log says that somebody did it, and no longer who: the one change that it ever takes."""
    for event in Event.objects.filter(organization=person.organization_id, actor__id=str(person.pk)):
        Event.objects.filter(pk=event.pk).update(actor={**event.actor, "name": ERASED})


def _erase_moves(person: Person, accounts: list[LmsAccount]) -> None:
    """Moves from LTI 1.1 keep what was before, which is what is to be forgotten."""
    LegacyClaim.objects.filter(_claims_of(accounts)).delete()
    touched = {str(person.pk)} | {str(account.pk) for account in accounts}
    moves = Migration.objects.filter(installation__organization=person.organization_id)
    for move in moves.iterator(chunk_size=500):
        changes = list(MigrationChange.objects.filter(migration=move))
        if any(touched & (set(change.rows) | _people_in(change)) for change in changes):
            MigrationChange.objects.filter(migration=move).delete()
            Migration.objects.filter(pk=move.pk).update(words=f"{ERASED}; cannot be undone any more", claims=[])


def _claims_of(accounts: list[LmsAccount]) -> Q:
    condition = Q(pk__in=[])
    for account in accounts:
        named = Q(lms_id=account.lms_user_id) | Q(old_id=account.lms_user_id)
        organization_id = account.installation.organization_id
        condition |= Q(named, kind=LegacyClaim.Kind.PERSON, deployment__installation__organization=organization_id)
    return condition


def _people_in(change: MigrationChange) -> set[str]:
    return {str(values["person_id"]) for values in (change.before, change.after) if "person_id" in values}
