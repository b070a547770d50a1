"""What becomes of a delivery after a try: delivered, tried again, held, or failed with words."""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection, models, transaction
from django.db.models import Q
from django.utils import timezone

from events.claiming import newer_version, wait_for_unanswered
from events.models import Attempt, Delivery
from events.senders import Errand, HearsOfRepeats, Prepared, Result, Settled, Verdict, sender_of

logger = structlog.get_logger(__name__)

LONGEST_RETRY = timedelta(hours=6)
POSTPONED_FOR = timedelta(minutes=10)
# The first try, one fresh signature at once, and five more (B15, design §5).
UNAUTHORIZED_TRIES = 7
# A Retry-After shorter than our own backoff is believed this often in a row.
SHORT_RETRY_AFTERS = 5


@dataclass(frozen=True, slots=True)
class Ended:
    """A try that is over, or (without an attempt) a delivery that was not sent for a reason of our own."""

    delivery: Delivery
    result: Result
    prepared: Prepared | Errand | None = None
    attempt_id: UUID | None = None
    started_at: datetime | None = None
    duration_ms: int | None = None
    response_status: int | None = None
    learned: Any = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The delivery's fields after a try."""

    state: str
    due_at: datetime | None
    failures: int
    refused_signatures: int
    give_up_at: datetime
    words: str


def backoff(failures: int) -> timedelta:
    """The wait after that many failures in a row: doubling, with ±20 % jitter, at most six hours."""
    first = settings.DELIVERY_FIRST_RETRY_SECONDS
    seconds = min(first * 2 ** min(max(failures - 1, 0), 30), LONGEST_RETRY.total_seconds())
    return timedelta(seconds=seconds * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, not a secret


def renewed_give_up_at(now: datetime) -> datetime:
    return now + timedelta(hours=settings.DELIVERY_MAX_AGE_HOURS)


def decide(delivery: Delivery, result: Result, now: datetime) -> Decision:
    """What follows from a result; changes nothing."""
    failures, refused, give_up_at = delivery.failures, delivery.refused_signatures, delivery.give_up_at
    state: str = Delivery.State.PENDING
    due_at: datetime | None = now
    words = result.words
    match result.verdict:
        case Verdict.DELIVERED:
            state, due_at, failures, refused, words = Delivery.State.DELIVERED, None, 0, 0, ""
        case Verdict.REFUSED:
            state, due_at = Delivery.State.FAILED, None
        case Verdict.CANCELLED:
            state, due_at = Delivery.State.CANCELLED, None
        case Verdict.HELD:
            due_at, give_up_at = None, renewed_give_up_at(now)
        case Verdict.POSTPONED:
            wait = POSTPONED_FOR if result.retry_after is None else timedelta(seconds=result.retry_after)
            due_at, give_up_at = now + wait, renewed_give_up_at(now)
        case Verdict.UNAUTHORIZED:
            refused += 1
            if refused >= UNAUTHORIZED_TRIES:
                state, due_at = Delivery.State.FAILED, None
            elif refused > 1:
                failures += 1
                due_at = now + backoff(failures)
        case Verdict.RETRY:
            failures += 1
            wait = backoff(failures)
            if result.retry_after is not None:
                asked = max(timedelta(seconds=result.retry_after), timedelta(seconds=1))
                wait = asked if failures <= SHORT_RETRY_AFTERS else max(asked, wait)
            due_at = now + wait
        case Verdict.NOT_SENT:
            words, give_up_at = delivery.last_error, max(give_up_at, now)
    if state == Delivery.State.PENDING and due_at is not None and due_at > give_up_at:
        due_at = give_up_at  # one last try when the time is up
        if now >= give_up_at:
            state, due_at = Delivery.State.FAILED, None
            words = f"{words} It was tried {delivery.attempts} times, for {_length(delivery, now)}, without success."
    return Decision(state, due_at, failures, refused, give_up_at, words.strip())


def _length(delivery: Delivery, now: datetime) -> str:
    hours = round((now - delivery.created_at).total_seconds() / 3600)
    if hours >= 48:
        return f"{round(hours / 24)} days"
    return f"{hours} hours" if hours > 1 else "an hour"


_DELIVERY_COLUMNS = (
    "state",
    "due_at",
    "failures",
    "refused_signatures",
    "give_up_at",
    "last_error_code",
    "last_error",
    "delivered_at",
    "attempts",
    "host",
)
_ATTEMPT_COLUMNS = ("started_at", "duration_ms", "response_status", "response", "outcome", "error")


def settle(ended: Sequence[Ended]) -> None:
    """Writes down how these tries ended, in one transaction of few statements.

    A delivery whose claim is not ours any more (our lease ran out, and another worker took over) is left as it is; only
    its attempt is completed.
    """
    if not ended:
        return
    now = timezone.now()
    decisions = {end.delivery.pk: decide(end.delivery, end.result, now) for end in ended}
    with transaction.atomic():
        ours = update_rows(
            Delivery,
            ("id", "claim"),
            _DELIVERY_COLUMNS,
            [
                (end.delivery.pk, end.delivery.claim, *_delivery_values(end, decisions[end.delivery.pk], now))
                for end in ended
            ],
            also="claim = NULL, claimed_until = NULL",
        )
        attempts = [
            (
                end.attempt_id,
                end.started_at,
                end.duration_ms,
                end.response_status,
                end.result.excerpt,
                end.result.verdict.value,
                "" if end.result.verdict == Verdict.DELIVERED else end.result.words,
            )
            for end in ended
            if end.attempt_id is not None
        ]
        if attempts:
            update_rows(Attempt, ("id",), _ATTEMPT_COLUMNS, attempts)
        overtaken = _supersede_overtaken([pk for pk in ours if decisions[pk].state in _MAY_BE_OVERTAKEN])
        _tell_senders(ended, decisions, ours - overtaken, now)
    _log(ended, decisions, ours)


_MAY_BE_OVERTAKEN = (Delivery.State.PENDING, Delivery.State.FAILED)


def _supersede_overtaken(pks: list[UUID]) -> set[UUID]:
    """Of those that did not arrive, the ones that a newer version makes needless."""
    if not pks:
        return set()
    overtaken = set(
        Delivery.objects.filter(newer_version(), pk__in=pks, claim__isnull=True).values_list("pk", flat=True)
    )
    if overtaken:
        wait_for_unanswered(Q(pk__in=overtaken))
        Delivery.objects.filter(pk__in=overtaken).update(state=Delivery.State.SUPERSEDED, due_at=None)
    return overtaken


def _delivery_values(end: Ended, decision: Decision, now: datetime) -> tuple[Any, ...]:
    delivery, result = end.delivery, end.result
    delivered = result.verdict == Verdict.DELIVERED
    code = delivery.last_error_code if result.verdict == Verdict.NOT_SENT else result.code[:64]
    return (
        decision.state,
        decision.due_at,
        decision.failures,
        decision.refused_signatures,
        decision.give_up_at,
        "" if delivered else code,
        decision.words,
        now if delivered else delivery.delivered_at,
        # What was not sent was no try.
        delivery.attempts if end.attempt_id is not None else delivery.attempts - 1,
        delivery.host,
    )


def _tell_senders(ended: Sequence[Ended], decisions: dict[UUID, Decision], ours: set[UUID], now: datetime) -> None:
    over: dict[str, list[Settled]] = defaultdict(list)
    repeated: dict[str, list[Settled]] = defaultdict(list)
    for end in ended:
        decision = decisions[end.delivery.pk]
        if end.delivery.pk not in ours:
            continue
        told = Settled(end.delivery, decision.state, decision.words, end.result.code, end.prepared, now, end.learned)
        if decision.state in (Delivery.State.DELIVERED, Delivery.State.FAILED):
            over[end.delivery.kind].append(told)
        elif end.result.verdict == Verdict.RETRY:
            repeated[end.delivery.kind].append(told)
    for kind, ends in over.items():
        sender_of(kind).settled(ends)
    for kind, tries in repeated.items():
        sender = sender_of(kind)
        if isinstance(sender, HearsOfRepeats):
            sender.to_be_repeated(tries)


def _log(ended: Sequence[Ended], decisions: dict[UUID, Decision], ours: set[UUID]) -> None:
    for end in ended:
        delivery = end.delivery
        if delivery.pk not in ours:
            logger.warning("delivery_lease_lost", delivery_id=str(delivery.pk), outcome=end.result.verdict.value)
        elif end.result.verdict not in (Verdict.DELIVERED, Verdict.NOT_SENT):
            logger.info(
                "delivery_not_delivered",
                delivery_id=str(delivery.pk),
                kind=delivery.kind,
                code=end.result.code,
                state=decisions[delivery.pk].state,
                attempts=delivery.attempts,
            )


def update_rows(
    model: type[models.Model],
    keys: Sequence[str],
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    also: str = "",
) -> set[UUID]:
    """Updates many rows with values of their own in one statement; returns the primary keys of those it found.

    Each row is the values of `keys` (which must all match), then those of `columns`, both names of fields. `also` is
    SQL of further assignments. Django's bulk_update does the same with one CASE for each field and row, which costs ten
    times as much.
    """
    quote = connection.ops.quote_name
    table = quote(model._meta.db_table)
    fields: list[Any] = [model._meta.get_field(name) for name in (*keys, *columns)]
    typed = connection.vendor == "postgresql"
    row_sql = f"({', '.join(f'CAST(%s AS {field.db_type(connection)})' if typed else '%s' for field in fields)})"
    names = [f"v{number}" for number in range(len(fields))]
    key_names, value_names = names[: len(keys)], names[len(keys) :]
    assignments = ", ".join(
        [f"{quote(field.column)} = given.{name}" for field, name in zip(fields[len(keys) :], value_names, strict=True)]
        + ([also] if also else [])
    )
    matches = " AND ".join(
        f"{table}.{quote(field.column)} = given.{name}" for field, name in zip(fields, key_names, strict=False)
    )
    sql = (
        f"WITH given ({', '.join(names)}) AS (VALUES {', '.join([row_sql] * len(rows))}) "  # noqa: S608 - names of ours
        f"UPDATE {table} SET {assignments} FROM given WHERE {matches} "
        f"RETURNING {quote(str(model._meta.pk.column))}"
    )
    parameters = [
        field.get_db_prep_save(value, connection) for row in rows for field, value in zip(fields, row, strict=True)
    ]
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return {model._meta.pk.to_python(found) for (found,) in cursor.fetchall()}
