"""How long things are kept, and forgetting them afterwards, in small steps beside the launches that go on."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db.models import Model, QuerySet
from django.utils import timezone

from events.models import Event
from events.retention import forget_deliveries, forget_mails, forget_silence
from grades.models import GradeDigest
from launches.models import Launch, RefusalTally
from organizations.api_tokens import ANSWERS_KEPT
from organizations.identifiers import first_uuid7_of
from organizations.models import AnsweredRequest, Organization

EVENTS_KEPT = timedelta(days=400)
DIGESTS_KEPT = timedelta(days=60)
# Longer than an answer counts: no request may find its own gone that was there a moment ago.
ANSWERS_STORED = ANSWERS_KEPT + timedelta(hours=1)
# A launch row is the nonce store, too: none goes before the longest window in which its signature could be valid.
LAUNCHES_KEPT_AT_LEAST = timedelta(days=1)
BATCH = 1000


@dataclass(frozen=True)
class Forgotten:
    """How many rows of each kind were deleted."""

    launches: int
    refusal_tallies: int
    events: int
    sessions: int
    answers: int
    deliveries: int
    mails: int
    digests: int
    silent_hosts: int


def purge() -> Forgotten:
    """Deletes what is past its age: launches (with their nonces) and counts of refusals by the organization's days or
    LAUNCH_LOG_DAYS, events after 400 days, sessions that have expired, and the API's answers of a day ago. Deliveries
    that are over go by DELIVERY_LOG_DAYS, mails after 30 days, the notes of digests after 60, and those of hosts that
    were silent after a week."""
    now = timezone.now()
    launches = refusal_tallies = 0
    for organization_id, days in Organization.objects.values_list("id", "launch_log_days"):
        kept = timedelta(days=days if days is not None else settings.LAUNCH_LOG_DAYS)
        horizon = now - max(kept, LAUNCHES_KEPT_AT_LEAST)
        launches += _delete(
            Launch.objects.filter(organization=organization_id, id__lt=first_uuid7_of(horizon)).order_by("id")
        )
        refusal_tallies += _delete(RefusalTally.objects.filter(organization=organization_id, minute__lt=horizon))
    return Forgotten(
        launches=launches,
        refusal_tallies=refusal_tallies,
        events=_delete(Event.objects.filter(id__lt=first_uuid7_of(now - EVENTS_KEPT)).order_by("id")),
        sessions=_delete(Session.objects.filter(expire_date__lt=now)),
        answers=_delete(AnsweredRequest.objects.filter(created_at__lt=now - ANSWERS_STORED)),
        deliveries=forget_deliveries(),
        mails=forget_mails(),
        digests=_delete(GradeDigest.objects.filter(id__lt=first_uuid7_of(now - DIGESTS_KEPT))),
        silent_hosts=forget_silence(),
    )


def _delete(rows: QuerySet[Any]) -> int:
    """Deletes the rows in batches, each its own transaction, so that nobody waits for long. Returns how many."""
    model: type[Model] = rows.model
    deleted = 0
    while True:
        batch = list(rows.values_list("pk", flat=True)[:BATCH])
        _, by_model = model._default_manager.filter(pk__in=batch).delete()
        deleted += by_model.get(model._meta.label, 0)
        if len(batch) < BATCH:
            return deleted
