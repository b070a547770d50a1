"""The worker's part of the outbox: claim, send with many in flight, settle; until nothing is due."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event as Flag
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection
from django.utils import timezone

from events.claiming import Claimed, claim_due, supersede_overtaken, take_over_expired
from events.models import Attempt, Delivery
from events.senders import Errand, Prepared, Result, Returned, Verdict, sender_of
from events.settling import Ended, settle
from lti.outbound import OutboundClient, OutboundFailed, OutboundPolicy, OutboundRefused, OutboundResponse
from organizations.outbound import outbound_client

logger = structlog.get_logger(__name__)

IN_FLIGHT = 20  # requests at once in one run
TIME_LIMIT = 240.0  # seconds after which a run claims nothing more
# Answers that come within this time of one another are written down together.
GATHER_SECONDS = 0.015
HOUSEKEEPING_SECONDS = 5.0
# A host that leaves this many requests in a row unanswered rests for a while, so that it does not hold up the others.
UNANSWERED_UNTIL_REST = 10
LONGEST_REST_SECONDS = 30.0

Answer = OutboundResponse | OutboundFailed | OutboundRefused | Returned | None


@dataclass
class Tally:
    """What a run did: how many tries ended with which verdict, and whether something may still be due."""

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    unfinished: bool = False

    @property
    def delivered(self) -> int:
        return self.verdicts[Verdict.DELIVERED]


@dataclass(frozen=True, slots=True)
class _Flight:
    """One request on its way."""

    delivery: Delivery
    prepared: Prepared | Errand
    attempt_id: UUID


@dataclass(frozen=True, slots=True)
class _Landing:
    started_at: datetime
    duration_ms: int
    answer: Answer  # None: not sent, since the lease had too little time left


class _LeasedCourier:
    """Sends an errand's requests, but none that might be answered after the lease: another worker may be at it then."""

    def __init__(self, client: OutboundClient, timeout: float, deadline: float) -> None:
        self.client, self.timeout, self.deadline = client, timeout, deadline

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> OutboundResponse:
        if time.monotonic() + self.timeout > self.deadline:
            raise OutboundFailed("timeout", "what had to be asked first took too long")
        return self.client.request(method, url, headers=headers, body=body)


def deliver_due(*, in_flight: int = IN_FLIGHT, time_limit: float = TIME_LIMIT, stop: Flag | None = None) -> Tally:
    """Sends everything that is due and returns when nothing is, or after `time_limit` seconds, or when `stop` is set.

    Any number of runs may go on at once, in threads, processes and machines. Killed at any moment, a run loses nothing:
    what it had claimed is due again when the lease ends.
    """
    return _Run(in_flight, time_limit, stop or Flag()).run()


class _Run:
    def __init__(self, in_flight: int, time_limit: float, stop: Flag) -> None:
        self.in_flight = in_flight
        self.ends_at = time.monotonic() + time_limit
        self.stop = stop
        self.tally = Tally()
        # Half of the lease for the request, so that a claimed delivery may wait for its turn as long again.
        self.timeout = min(OutboundPolicy.total_timeout, settings.DELIVERY_LEASE_SECONDS / 2)
        self.client: OutboundClient = outbound_client(total_timeout=self.timeout)
        self.flying: dict[Future[_Landing], _Flight] = {}
        self.unanswered: Counter[str] = Counter()
        self.resting: dict[str, float] = {}
        self.next_housekeeping = 0.0

    def run(self) -> Tally:
        pool = ThreadPoolExecutor(self.in_flight, thread_name_prefix="delivery")
        _commit_without_waiting(True)
        try:
            while True:
                claimed = self._claim()
                self._launch(pool, claimed)
                if self.flying:
                    self._land()
                elif not claimed.deliveries:
                    break
        finally:
            # Empty by now, unless the database failed us: then what has not left stays here until its lease ends.
            pool.shutdown(wait=True, cancel_futures=True)
        _commit_without_waiting(False)
        self.tally.unfinished = bool(self.resting) or self._over()
        return self.tally

    def _over(self) -> bool:
        return self.stop.is_set() or time.monotonic() >= self.ends_at

    def _claim(self) -> Claimed:
        """As many as fly at once may wait for their turn; more would only let their leases run."""
        room = 2 * self.in_flight - len(self.flying)
        if self._over() or room < self.in_flight // 2:
            return Claimed(UUID(int=0), 0.0, [])
        now = time.monotonic()
        if now >= self.next_housekeeping:
            self.next_housekeeping = now + HOUSEKEEPING_SECONDS
            take_over_expired()
            supersede_overtaken()
        self.resting = {host: until for host, until in self.resting.items() if until > now}
        return claim_due(room, frozenset(self.resting))

    def _launch(self, pool: ThreadPoolExecutor, claimed: Claimed) -> None:
        if not claimed.deliveries:
            return
        prepared = _prepare(claimed.deliveries)
        here: list[Ended] = []
        to_send: list[tuple[Delivery, Prepared | Errand]] = []
        for delivery in claimed.deliveries:
            request = prepared[delivery.pk]
            if isinstance(request, Result):
                here.append(Ended(delivery, request))
            else:
                to_send.append((delivery, request))
        self._settle(here)
        attempts = [
            Attempt(delivery=delivery, number=delivery.attempts, request=request.description)
            for delivery, request in to_send
        ]
        # Saved before anything is sent: an attempt without an outcome tells of a worker that died.
        Attempt.objects.bulk_create(attempts)
        for (delivery, request), attempt in zip(to_send, attempts, strict=True):
            flight = _Flight(delivery, request, attempt.pk)
            self.flying[pool.submit(self._send, request, claimed.deadline)] = flight

    def _send(self, request: Prepared | Errand, deadline: float) -> _Landing:
        """Runs in a thread of the pool; touches no database."""
        started_at, started = timezone.now(), time.monotonic()
        answer: Answer
        # A request that outlived its lease could overtake the next one to the same target.
        if started + self.timeout > deadline:
            answer = None
        elif isinstance(request, Errand):
            answer = _run_errand(request, _LeasedCourier(self.client, self.timeout, deadline))
        else:
            try:
                answer = self.client.request(request.method, request.url, headers=request.headers, body=request.body)
            except (OutboundFailed, OutboundRefused) as error:
                answer = error
        return _Landing(started_at, round((time.monotonic() - started) * 1000), answer)

    def _land(self) -> None:
        done, _ = wait(self.flying, return_when=FIRST_COMPLETED)
        if len(done) < self.in_flight // 2 and len(done) < len(self.flying):
            time.sleep(GATHER_SECONDS)
            done = {future for future in self.flying if future.done()}
        self._settle([self._ended(self.flying.pop(future), future.result()) for future in done])

    def _ended(self, flight: _Flight, landing: _Landing) -> Ended:
        answer = landing.answer
        result, status, learned = _outcome(flight, answer)
        self._note_host(flight.delivery.host, answer)
        return Ended(
            flight.delivery,
            result,
            flight.prepared,
            flight.attempt_id,
            landing.started_at,
            landing.duration_ms,
            status,
            learned,
        )

    def _note_host(self, host: str, answer: Answer) -> None:
        silent = not answer.answered if isinstance(answer, Returned) else isinstance(answer, OutboundFailed)
        if not silent:
            self.unanswered.pop(host, None)
            return
        self.unanswered[host] += 1
        if self.unanswered[host] >= UNANSWERED_UNTIL_REST:
            del self.unanswered[host]
            rest = min(settings.DELIVERY_FIRST_RETRY_SECONDS, LONGEST_REST_SECONDS)
            self.resting[host] = time.monotonic() + rest
            logger.warning("delivery_host_rests", host=host, seconds=rest)

    def _settle(self, ended: Sequence[Ended]) -> None:
        settle(ended)
        self.tally.verdicts.update(end.result.verdict for end in ended)


def _commit_without_waiting(so: bool) -> None:
    """Whether PostgreSQL answers a commit before it is on the disk.

    A run may: what a crash of the database takes back (a claim, or that something was delivered) is done again after
    the lease, and the LMS keeps the same grade. It takes three waits for the disk out of every batch.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET synchronous_commit TO OFF" if so else "RESET synchronous_commit")


_BROKEN = Result(
    Verdict.RETRY,
    "internal_error",
    "The platform itself could not handle this; its operator finds the reason in the log.",
)


def _prepare(deliveries: Sequence[Delivery]) -> dict[UUID, Prepared | Errand | Result]:
    by_kind: dict[str, list[Delivery]] = {}
    for delivery in deliveries:
        by_kind.setdefault(delivery.kind, []).append(delivery)
    prepared: dict[UUID, Prepared | Errand | Result] = {}
    for kind, some in by_kind.items():
        prepared.update(_prepare_one_kind(kind, some))
    return prepared


def _prepare_one_kind(kind: str, deliveries: Sequence[Delivery]) -> Mapping[UUID, Prepared | Errand | Result]:
    try:
        return sender_of(kind).prepare(deliveries)
    except Exception:
        # One that cannot be prepared must not hold up the others: it alone is tried again later, and the log says why.
        if len(deliveries) == 1:
            logger.exception("delivery_preparation_broke", delivery_id=str(deliveries[0].pk), kind=kind)
            return {deliveries[0].pk: _BROKEN}
        found: dict[UUID, Prepared | Errand | Result] = {}
        for delivery in deliveries:
            found.update(_prepare_one_kind(kind, [delivery]))
        return found


def _run_errand(errand: Errand, courier: _LeasedCourier) -> Returned:
    try:
        return errand.run(courier)
    except Exception:
        logger.exception("delivery_errand_broke", delivery_id=str(errand.delivery_id))
        return Returned(_BROKEN)


def _outcome(flight: _Flight, answer: Answer) -> tuple[Result, int | None, Any]:
    """Result, status and what was learned."""
    if answer is None:
        return Result(Verdict.NOT_SENT, "lease_too_short", ""), None, None
    if isinstance(answer, Returned):
        return answer.result, answer.status, answer.learned
    status = answer.status if isinstance(answer, OutboundResponse) else None
    return _judged(flight.delivery, flight.prepared, answer), status, None


def _judged(delivery: Delivery, prepared: Any, answer: Any) -> Result:
    try:
        return sender_of(delivery.kind).judge(prepared, answer)
    except Exception:
        logger.exception("delivery_judgement_broke", delivery_id=str(delivery.pk), kind=delivery.kind)
        return _BROKEN
