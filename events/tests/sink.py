"""A kind of delivery for tests: posts its payload to a real server, and takes the status for the verdict."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone

from events.models import Delivery
from events.senders import (
    Courier,
    Errand,
    Prepared,
    Result,
    Returned,
    Settled,
    Verdict,
    register,
    sender_of,
)
from lti.outbound import OutboundFailed, OutboundRefused, OutboundResponse
from organizations.identifiers import uuid7
from organizations.models import Organization

KIND = "webhook"
_VERDICTS = {200: Verdict.DELIVERED, 401: Verdict.UNAUTHORIZED, 400: Verdict.REFUSED}


class PostingSender:
    """`here` gives verdicts without sending, by the payload's `here`; `broken` payloads cannot be prepared,
    `slow` ones take so many seconds; `paths` are asked for one after the other by an errand, until one fails."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.ends: list[Settled] = []

    def prepare(self, deliveries: Sequence[Delivery]) -> Mapping[UUID, Prepared | Errand | Result]:
        return {delivery.pk: self._prepared(delivery) for delivery in deliveries}

    def _prepared(self, delivery: Delivery) -> Prepared | Errand | Result:
        if delivery.payload.get("broken"):
            raise KeyError("broken")
        time.sleep(delivery.payload.get("slow", 0))
        if delivery.payload.get("here"):
            return Result(Verdict(delivery.payload["here"]), "decided_here", "Decided here.")
        url = delivery.payload.get("url", self.url)
        paths = delivery.payload.get("paths")
        if paths:
            return Errand(delivery.pk, lambda courier: self._asked(courier, paths), f"GET {paths}", None)
        body = f"{delivery.target_id} {delivery.sequence}".encode()
        return Prepared(delivery.pk, "POST", url, {"Content-Type": "text/plain"}, body, f"POST {url}", None)

    def _asked(self, courier: Courier, paths: list[str]) -> Returned:
        bodies: list[str] = []
        for path in paths:
            try:
                answer = courier.request("GET", f"{self.url}{path}")
            except OutboundFailed as error:
                return Returned(Result(Verdict.RETRY, error.kind, error.reason), None, bodies, answered=False)
            bodies.append(answer.body.decode())
            if answer.status != 200:
                words = f"The server answered {answer.status}."
                return Returned(Result(Verdict.REFUSED, "no", words), answer.status, bodies)
        return Returned(Result(Verdict.DELIVERED, "", "", excerpt=" ".join(bodies)), 200, bodies)

    def judge(self, prepared: Prepared, answer: OutboundResponse | OutboundFailed | OutboundRefused) -> Result:
        if isinstance(answer, OutboundRefused):
            return Result(Verdict.REFUSED, "address_refused", answer.reason)
        if isinstance(answer, OutboundFailed):
            return Result(Verdict.RETRY, answer.kind, answer.reason)
        after = answer.headers.get("Retry-After")
        verdict = _VERDICTS.get(answer.status, Verdict.RETRY)
        words = f"The server answered {answer.status}."
        return Result(verdict, f"status_{answer.status}", words, float(after) if after else None, answer.body.decode())

    def settled(self, ends: Sequence[Settled]) -> None:
        self.ends.extend(ends)


@contextmanager
def posting_to(url: str) -> Iterator[PostingSender]:
    """Registers the kind for a while."""
    sender, before = PostingSender(url), sender_of(KIND)
    register(KIND, sender)
    try:
        yield sender
    finally:
        register(KIND, before)


def a_delivery(organization: Organization, **changes: Any) -> Delivery:
    """A due delivery to a target of its own."""
    now = timezone.now()
    values: dict[str, Any] = {
        "kind": KIND,
        "target_id": uuid7(),
        "source_id": uuid7(),
        "sequence": 1,
        "due_at": now,
        "give_up_at": now + timedelta(hours=72),
    }
    return Delivery(organization=organization, **{**values, **changes})
