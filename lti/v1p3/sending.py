"""What this package needs from outside: somebody who sends requests, a cache that all processes share, a clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from lti.outbound import OutboundResponse

#: Seconds since the epoch.
Clock = Callable[[], float]


class Sender(Protocol):
    """Sends requests within a policy, as ``lti.outbound.OutboundClient`` does."""

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> OutboundResponse:
        """One request; raises ``OutboundRefused`` or ``OutboundFailed``."""
        ...


class SharedCache(Protocol):
    """A cache that all processes share. Names are of ASCII letters, digits, ``-`` and ``:``, at most 100 long."""

    def get(self, name: str) -> str | None:
        """The text kept under this name, or ``None``."""
        ...

    def set(self, name: str, text: str, seconds: int) -> None:
        """Keep a text for so many seconds."""
        ...

    def delete(self, name: str) -> None:
        """Forget what is kept under this name."""
        ...

    def lock(self, name: str, seconds: int) -> AbstractContextManager[object]:
        """Held by one at a time over all processes; who has waited ``seconds`` goes on without it.

        A lock whose holder died is free again after ``seconds``.
        """
        ...
