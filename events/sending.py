"""The worker's part of the outbox: claim, send with many in flight, settle; until nothing is due."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
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

from events.claiming import Claimed, claim_due, take_over_expired
from events.models import Attempt, Delivery
from events.senders import Errand, Prepared, Result, Returned, Verdict, sender_of
from events.settling import Ended, settle
from events.sharing import Traffic
from events.silence import Receiver, note_answers
from lti.outbound import OutboundClient, OutboundFailed, OutboundPolicy, OutboundRefused, OutboundResponse
from organizations.outbound import outbound_client

logger = structlog.get_logger(__name__)

IN_FLIGHT = 20  # requests at once to one host in one run
TIME_LIMIT = 240.0  # seconds after which a run claims nothing more
# Answers that come within this time of one another are written down together.
GATHER_SECONDS = 0.015
HOUSEKEEPING_SECONDS = 5.0
# While answers are awaited, so often a run looks for what has become due meanwhile.
LOOK_SECONDS = 0.25
# A host with a request of this age gets no more until it has answered, and does not count as work any more.
SLOW_SECONDS = 2.0

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
    """One request on its way, or waiting for its turn at its host."""

    delivery: Delivery
    prepared: Prepared | Errand
    attempt_id: UUID
    since: float  # of time.monotonic

    @property
    def receiver(self) -> Receiver:
        return _receiver(self.delivery)


def _receiver(delivery: Delivery) -> Receiver:
    return delivery.organization_id, delivery.host


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


class _Threads:
    """Threads of each host's own, so that no host can use up what others need. They end with their host's work."""

    def __init__(self, for_each_host: int) -> None:
        self.for_each_host = for_each_host
        self._pools: dict[str, ThreadPoolExecutor] = {}

    def submit(
        self,
        host: str,
        work: Callable[[Prepared | Errand, float], "_Landing"],
        request: Prepared | Errand,
        deadline: float,
    ) -> "Future[_Landing]":
        pool = self._pools.get(host)
        if pool is None:
            pool = self._pools[host] = ThreadPoolExecutor(self.for_each_host, thread_name_prefix="delivery")
        return pool.submit(work, request, deadline)

    def keep_only(self, hosts: Collection[str]) -> None:
        for host in self._pools.keys() - hosts:
            self._pools.pop(host).shutdown(wait=False)

    def close(self) -> None:
        """Waits for what is in the air; what is not stays unsent."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in self._pools.values():
            pool.shutdown(wait=True)


class _Run:
    def __init__(self, in_flight: int, time_limit: float, stop: Flag) -> None:
        self.in_flight = in_flight
        self.ends_at = time.monotonic() + time_limit
        self.stop = stop
        self.tally = Tally()
        # Half of the lease for the request, so that a claimed delivery may wait for its turn as long again.
        self.timeout = min(OutboundPolicy.total_timeout, settings.DELIVERY_LEASE_SECONDS / 2)
        self.client: OutboundClient = outbound_client(total_timeout=self.timeout)
        self.threads = _Threads(in_flight)
        self.flying: dict[Future[_Landing], _Flight] = {}
        self.silent: set[Receiver] = set()
        self.landed = 0  # since the last look for due deliveries
        self.next_look = self.next_housekeeping = 0.0

    def run(self) -> Tally:
        _commit_without_waiting(True)
        try:
            while True:
                claimed = self._claim()
                self._launch(claimed)
                if self.flying:
                    self._land()
                elif not claimed.deliveries:
                    break
        finally:
            # Empty by now, unless the database failed us: then what has not left stays here until its lease ends.
            self.threads.close()
        _commit_without_waiting(False)
        self.tally.unfinished = self._over()
        return self.tally

    def _over(self) -> bool:
        return self.stop.is_set() or time.monotonic() >= self.ends_at

    def _claim(self) -> Claimed:
        """Each host's next twenty may wait for their turn, with room for others beside; more would only let leases run.

        What waits for slow hosts leaves room for others, up to ten times of what is in flight at a quick one.
        """
        now = time.monotonic()
        if self._over() or (self.flying and self.landed < self.in_flight // 2 and now < self.next_look):
            return _NOTHING
        here, working = self._room(now)
        room = min(3 * self.in_flight - working, 10 * self.in_flight - len(self.flying))
        if room <= 0:
            return _NOTHING
        self.landed, self.next_look = 0, now + LOOK_SECONDS
        if now >= self.next_housekeeping:
            self.next_housekeeping = now + HOUSEKEEPING_SECONDS
            take_over_expired()
        claimed = claim_due(min(room, 2 * self.in_flight), here)
        self.silent &= {flight.receiver for flight in self.flying.values()}
        self.silent |= claimed.silent
        return claimed

    def _room(self, now: float) -> tuple[dict[str, int], int]:
        """How many more this run takes for each host that it is at, and how many are at hosts that are not slow."""
        hosts = Counter(flight.delivery.host for flight in self.flying.values())
        slow = {flight.delivery.host for flight in self.flying.values() if flight.since < now - SLOW_SECONDS}
        here = {host: 0 if host in slow else max(2 * self.in_flight - count, 0) for host, count in hosts.items()}
        return here, sum(count for host, count in hosts.items() if host not in slow)

    def _launch(self, claimed: Claimed) -> None:
        if not claimed.deliveries:
            return
        known = {_receiver(delivery) for delivery in claimed.deliveries}
        prepared = _prepare(claimed.deliveries)
        # Some turn out only now to go to another host than the claim knew.
        elsewhere = Traffic(here={})
        elsewhere.hear_of({_receiver(delivery) for delivery in claimed.deliveries} - known)
        self.silent |= elsewhere.silent.keys()
        resting = claimed.resting | elsewhere.resting
        here: list[Ended] = []
        to_send: list[tuple[Delivery, Prepared | Errand]] = []
        for delivery in claimed.deliveries:
            request = prepared[delivery.pk]
            if isinstance(request, Result):
                here.append(Ended(delivery, request))
            elif _receiver(delivery) in resting:
                # The next claim knows that it goes to this host.
                here.append(Ended(delivery, _HOST_RESTS))
            else:
                to_send.append((delivery, request))
        self._settle(here)
        attempts = [
            Attempt(delivery=delivery, number=delivery.attempts, request=request.description)
            for delivery, request in to_send
        ]
        # Saved before anything is sent: an attempt without an outcome tells of a worker that died.
        Attempt.objects.bulk_create(attempts)
        since = time.monotonic()
        for (delivery, request), attempt in zip(to_send, attempts, strict=True):
            flight = _Flight(delivery, request, attempt.pk, since)
            self.flying[self.threads.submit(delivery.host, self._send, request, claimed.deadline)] = flight

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
        landed, _ = wait(self.flying, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED)
        if landed and len(landed) < self.in_flight // 2 and len(landed) < len(self.flying):
            time.sleep(GATHER_SECONDS)
        # Those that were taken back count as done, too, which wait() does not see.
        done = [future for future in self.flying if future.done()]
        if not done:
            return
        over = [(self.flying.pop(future), _landing_of(future)) for future in done]
        self.landed += len(over)
        self._settle([_ended(flight, landing) for flight, landing in over])
        self._note_answers(over)
        self.threads.keep_only({flight.delivery.host for flight in self.flying.values()})

    def _note_answers(self, landed: Sequence[tuple[_Flight, _Landing]]) -> None:
        landed = sorted(landed, key=lambda one: one[1].started_at)
        resting = note_answers(
            ((flight.receiver, _answered(landing.answer)) for flight, landing in landed if landing.answer is not None),
            self.silent,
        )
        for future, flight in self.flying.items():
            if flight.receiver in resting:
                # Only what has not left yet; it is written down as not sent with the next that land.
                future.cancel()

    def _settle(self, ended: Sequence[Ended]) -> None:
        settle(ended)
        self.tally.verdicts.update(end.result.verdict for end in ended)


_NOTHING = Claimed(UUID(int=0), 0.0, [])


def _landing_of(future: "Future[_Landing]") -> _Landing:
    return _Landing(timezone.now(), 0, None) if future.cancelled() else future.result()


def _answered(answer: Answer) -> bool:
    return answer.answered if isinstance(answer, Returned) else not isinstance(answer, OutboundFailed)


def _ended(flight: _Flight, landing: _Landing) -> Ended:
    result, status, learned = _outcome(flight, landing.answer)
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


def _commit_without_waiting(so: bool) -> None:
    """Whether PostgreSQL answers a commit before it is on the disk.

    A run may: what a crash of the database takes back (a claim, or that something was delivered) is done again after
    the lease, and the LMS keeps the same grade. It takes three waits for the disk out of every batch.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET synchronous_commit TO OFF" if so else "RESET synchronous_commit")


_HOST_RESTS = Result(Verdict.NOT_SENT, "host_rests", "")
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
