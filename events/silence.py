"""Hosts that leave requests unanswered rest, for every worker (a circuit breaker): what they would hold goes to others.

What is told here is per organization and host, so that no tenant can make another's deliveries rest.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import IntegrityError
from django.db.models import F, Q
from django.db.models.functions import Now

from events.models import SilentHost

logger = structlog.get_logger(__name__)

Receiver = tuple[UUID, str]  # organization and host

# After so many requests in a row without any answer a host rests; then one request at a time tries it.
UNANSWERED_UNTIL_REST = 5
FIRST_REST_SECONDS = 30.0
LONGEST_REST_SECONDS = 600.0


def rest_after(rests: int) -> timedelta:
    """How long a host rests that has rested so often in a row: doubling, from half a minute to ten minutes.

    Never longer at first than the first retry of a delivery, which says how patient this installation is.
    """
    first = min(settings.DELIVERY_FIRST_RETRY_SECONDS, FIRST_REST_SECONDS)
    longest = min(settings.DELIVERY_FIRST_RETRY_SECONDS * 20, LONGEST_REST_SECONDS)
    return timedelta(seconds=min(first * 2 ** min(rests, 20), longest))


def note_answers(tries: Iterable[tuple[Receiver, bool]], known: Collection[Receiver]) -> set[Receiver]:
    """Takes note of which hosts answered (whatever they said) and which did not, in the order of the tries.

    `known` are the receivers that were silent before, as far as the caller knows; of the others an answer is no news.
    No statement where nothing is. Returns the receivers that rest now.
    """
    silent: dict[Receiver, int] = defaultdict(int)
    answered: set[Receiver] = set()
    for receiver, came in tries:
        if came:
            answered.add(receiver)
            silent.pop(receiver, None)
        else:
            silent[receiver] += 1
    for organization_id, host in answered.intersection(known):
        SilentHost.objects.filter(organization=organization_id, host=host).delete()
    return {receiver for receiver, times in silent.items() if _note_silence(receiver, times)}


def _note_silence(receiver: Receiver, times: int) -> bool:
    """Whether the host rests from now on."""
    organization_id, host = receiver
    row = SilentHost.objects.filter(organization=organization_id, host=host)
    if not row.update(unanswered=F("unanswered") + times):
        try:
            SilentHost.objects.bulk_create(
                [SilentHost(organization_id=organization_id, host=host, unanswered=times)],
                update_conflicts=True,
                unique_fields=["organization", "host"],
                update_fields=["unanswered"],
            )
        except IntegrityError:
            # The organization has just been deleted, and its deliveries with it.
            logger.info("silence_of_nobodys_host", host=host)
            return False
    found = row.values_list("unanswered", "rests").first()
    if found is None or found[0] < UNANSWERED_UNTIL_REST:
        return False
    rest = rest_after(found[1])
    # Requests that were in the air together are one reason to rest, whichever workers hear of them.
    begun = row.filter(Q(resting_until__isnull=True) | Q(resting_until__lt=Now()), rests=found[1]).update(
        rests=F("rests") + 1, resting_until=Now() + rest
    )
    if begun:
        logger.warning("delivery_host_rests", host=host, organization_id=str(organization_id), seconds=rest.seconds)
    return True
