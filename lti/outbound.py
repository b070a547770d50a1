"""The one way out: HTTP requests to addresses that came from outside (B16, J8).

What is checked is the very address that is connected, so that a name that resolves differently the second time (DNS
rebinding) gains nothing. No redirects, no proxies, no netrc, no cookies, no automatic retries; sizes and times are
bounded, also against servers that trickle.
"""

from __future__ import annotations

import io
import ipaddress
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from http.client import HTTPResponse as ClientHTTPResponse
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

import requests
import urllib3.exceptions
from requests.adapters import DEFAULT_POOLBLOCK, HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import PoolManager

from lti.redaction import redact
from lti.return_url import safe_http_url
from lti.texts import single_line, truncated

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_CHUNK = 16 * 1024

# Beside what is_global knows, which differs between Python versions: ranges that lead inside, or through a gateway.
_BLOCKED_NETWORKS: tuple[IPNetwork, ...] = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; Alibaba's metadata service
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local; the clouds' metadata services
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/96",  # IPv4-compatible
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",  # Teredo and others
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)


@dataclass(frozen=True)
class OutboundPolicy:
    """What may be called, and for how long; times in seconds.

    ``allowed_private_hosts`` are host names, IP addresses or networks (``10.1.0.0/16``) of an LMS that stands inside.
    ``ca_bundle`` is a file of certificates to trust instead of the public ones.
    """

    allow_http: bool = False
    allowed_private_hosts: tuple[str, ...] = ()
    connect_timeout: float = 5.0
    read_timeout: float = 20.0
    total_timeout: float = 30.0
    max_response_bytes: int = 256 * 1024
    user_agent: str = "lti-platform/1.0 (+LTI tool)"
    ca_bundle: str = ""


class OutboundRefused(Exception):
    """Our own policy forbids the call; ``reason`` says why. Trying again does not help."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class OutboundFailed(Exception):
    """No answer came; ``kind`` is ``dns``, ``connection``, ``tls``, ``timeout`` or ``protocol``."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


@dataclass(frozen=True)
class OutboundResponse:
    """An answer of any status; header names are compared without case; ``body`` is cut where ``truncated``."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool
    duration_ms: int


def is_public_address(address: str) -> bool:
    """Whether the address is one of the public internet."""
    parsed = _parsed_address(address)
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    if any(parsed in network for network in _BLOCKED_NETWORKS if network.version == parsed.version):
        return False
    return parsed.is_global and not parsed.is_multicast and not parsed.is_reserved


def _parsed_address(address: str) -> IPAddress:
    return ipaddress.ip_address(address.partition("%")[0])


class AddressGuard:
    """Which hosts and addresses a policy allows."""

    def __init__(self, policy: OutboundPolicy) -> None:
        self._allow_http = policy.allow_http
        self._names: set[str] = set()
        self._networks: list[IPNetwork] = []
        for entry in policy.allowed_private_hosts:
            entry = entry.strip()
            try:
                self._networks.append(ipaddress.ip_network(entry.strip("[]"), strict=False))
            except ValueError:
                if entry:
                    self._names.add(entry.lower().rstrip("."))

    def check_url(self, url: str) -> None:
        """Raise ``OutboundRefused`` for a URL that may not be called, whatever its host resolves to."""
        if not safe_http_url(url):
            raise OutboundRefused(
                "the address is not an absolute https URL, or has a user name or odd characters in it"
            )
        if urlsplit(url).scheme != "https" and not self._allow_http:
            raise OutboundRefused("the address is not https, and plain http is not allowed here")

    def allows(self, host: str, address: str) -> bool:
        """Whether this address may be connected for this host."""
        if is_public_address(address) or host.lower().strip("[]").rstrip(".") in self._names:
            return True
        parsed = _parsed_address(address)
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        return any(parsed in network for network in self._networks if network.version == parsed.version)


class _Deadline:
    """When the whole request has to be over."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        return self._end - time.monotonic()


class _TimedSocket(Protocol):
    def settimeout(self, value: float | None, /) -> None: ...


class _DeadlineReader(io.RawIOBase):
    """Reads from a socket and gives each single read only what is left of the time, headers included."""

    def __init__(self, raw: io.RawIOBase, sock: _TimedSocket, deadline: _Deadline, read_timeout: float) -> None:
        self._raw = raw
        self._socket = sock
        self._deadline = deadline
        self._read_timeout = read_timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        remaining = self._deadline.remaining()
        if remaining <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(min(remaining, self._read_timeout))
        return cast("int | None", self._raw.readinto(buffer))

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


def _resolved(host: str, port: int, timeout: float) -> list[tuple[Any, ...]]:
    """``getaddrinfo`` with a time limit, which it has not of itself; the thread ends with its answer."""
    found: list[list[tuple[Any, ...]]] = []
    failed: list[BaseException] = []

    def resolve() -> None:
        try:
            found.append(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except (OSError, UnicodeError) as error:
            failed.append(error)

    # A thread for each look-up rather than a pool: pools do not survive the fork of a worker process.
    thread = threading.Thread(target=resolve, daemon=True, name="outbound-dns")
    thread.start()
    thread.join(timeout)
    if found:
        return found[0]
    if failed:
        raise OutboundFailed("dns", "the host name is not known")
    raise OutboundFailed("dns", "the host name could not be looked up in time")


class _Transport:
    """Opens guarded sockets and knows the deadline of the request that runs in this thread."""

    def __init__(self, policy: OutboundPolicy) -> None:
        self.policy = policy
        self.guard = AddressGuard(policy)
        self._running = threading.local()

    @contextmanager
    def deadline(self) -> Iterator[_Deadline]:
        self._running.deadline = deadline = _Deadline(self.policy.total_timeout)
        try:
            yield deadline
        finally:
            del self._running.deadline

    def current_deadline(self) -> _Deadline:
        deadline: _Deadline | None = getattr(self._running, "deadline", None)
        return deadline or _Deadline(self.policy.total_timeout)

    def connect(self, host: str, port: int) -> socket.socket:
        limit = _Deadline(min(self.policy.connect_timeout, self.current_deadline().remaining()))
        addresses = _resolved(host.strip("[]"), port, max(limit.remaining(), 0.001))
        allowed = [entry for entry in addresses if self.guard.allows(host, str(entry[4][0]))]
        if not allowed:
            raise OutboundRefused(
                "the address leads into a private network; it can be allowed in OUTBOUND_ALLOWED_PRIVATE_HOSTS"
            )
        timed_out = False
        for family, kind, protocol, _, address in allowed:
            if limit.remaining() <= 0:
                timed_out = True
                break
            candidate = socket.socket(family, kind, protocol)
            try:
                candidate.settimeout(limit.remaining())
                candidate.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                candidate.connect(address)
            except TimeoutError:
                timed_out = True
                candidate.close()
            except OSError:
                candidate.close()
            else:
                candidate.settimeout(self.policy.connect_timeout)
                return candidate
        if timed_out:
            raise OutboundFailed("timeout", "no connection in time")
        raise OutboundFailed("connection", "no connection: nothing answers there")

    def response_class(self) -> Callable[..., ClientHTTPResponse]:
        transport = self

        class DeadlineResponse(ClientHTTPResponse):
            def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
                super().__init__(sock, *args, **kwargs)
                reader = _DeadlineReader(
                    self.fp.detach(),
                    sock,
                    transport.current_deadline(),
                    transport.policy.read_timeout,
                )
                self.fp = io.BufferedReader(reader)

        return DeadlineResponse

    def pool_classes(self) -> dict[str, type]:
        """Connection pools whose connections are opened by this transport, by scheme."""
        transport = self
        deadline_response = self.response_class()

        class GuardedHTTPConnection(HTTPConnection):
            response_class = deadline_response  # type: ignore[assignment]

            def _new_conn(self) -> socket.socket:
                return transport.connect(self.host, self.port)

        class GuardedHTTPSConnection(HTTPSConnection):
            response_class = deadline_response  # type: ignore[assignment]

            def _new_conn(self) -> socket.socket:
                return transport.connect(self.host, self.port)

        class GuardedHTTPPool(HTTPConnectionPool):
            ConnectionCls = GuardedHTTPConnection

        class GuardedHTTPSPool(HTTPSConnectionPool):
            ConnectionCls = GuardedHTTPSConnection

        return {"http": GuardedHTTPPool, "https": GuardedHTTPSPool}


class _GuardedAdapter(HTTPAdapter):
    def __init__(self, transport: _Transport, pool_size: int) -> None:
        self._transport = transport
        super().__init__(pool_connections=pool_size, pool_maxsize=pool_size, max_retries=0)

    def init_poolmanager(
        self, connections: int, maxsize: int, block: bool = DEFAULT_POOLBLOCK, **pool_kwargs: Any
    ) -> None:
        manager = PoolManager(num_pools=connections, maxsize=maxsize, block=block, **pool_kwargs)
        manager.pool_classes_by_scheme = self._transport.pool_classes()
        self.poolmanager = manager


class OutboundClient:
    """Sends requests within a policy. Thread-safe; connections are kept open for each host."""

    def __init__(self, policy: OutboundPolicy, pool_size: int = 20) -> None:
        self.policy = policy
        self._pool_size = pool_size
        self._transport = _Transport(policy)
        self._opening = threading.Lock()
        self._open_session()

    def _open_session(self) -> None:
        session = requests.Session()
        session.trust_env = False
        session.adapters.clear()
        adapter = _GuardedAdapter(self._transport, self._pool_size)
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        self._session, self._process = session, os.getpid()

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> OutboundResponse:
        """Send one request; redirects are answers like any other.

        Raises ``OutboundRefused`` when the policy forbids it, ``OutboundFailed`` when no whole answer came.
        """
        self._transport.guard.check_url(url)
        if self._process != os.getpid():
            # A connection shared with the parent process would mix up two conversations.
            with self._opening:
                if self._process != os.getpid():
                    self._transport = _Transport(self.policy)
                    self._open_session()
        started = time.monotonic()
        with self._transport.deadline() as deadline:
            response = self._sent(self._prepared(method, url, headers or {}, body), deadline)
            try:
                content, is_truncated = self._read(response, deadline)
            finally:
                # What was read to its end has gone back to the pool; anything else must not be used again.
                response.raw.close()
        return OutboundResponse(
            status=response.status_code,
            headers=CaseInsensitiveDict(response.headers),
            body=content,
            truncated=is_truncated,
            duration_ms=round((time.monotonic() - started) * 1000),
        )

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._session.close()

    def _prepared(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> requests.PreparedRequest:
        # Canvas refuses requests without a User-Agent. Compressed answers could be bombs.
        all_headers = {"User-Agent": self.policy.user_agent, "Accept-Encoding": "identity", "Accept": "*/*", **headers}
        try:
            prepared = requests.Request(method.upper(), url, headers=all_headers, data=body).prepare()
        except (requests.RequestException, UnicodeError, ValueError):
            raise OutboundRefused("the address or a header is not valid") from None
        if url.isascii():
            # requests rewrites escapes (%7E to ~), and a signature over the URL as it was given would break.
            prepared.url = url.partition("#")[0]
        # Whatever became of the URL, it is the URL that is called.
        self._transport.guard.check_url(str(prepared.url))
        return prepared

    def _sent(self, prepared: requests.PreparedRequest, deadline: _Deadline) -> requests.Response:
        timeout = (min(self.policy.connect_timeout, deadline.remaining()), self.policy.read_timeout)
        # The adapter is called directly: Session.send would read the body of a redirect to its end.
        adapter = self._session.get_adapter(str(prepared.url))
        try:
            return adapter.send(
                prepared, stream=True, timeout=timeout, verify=self.policy.ca_bundle or True, cert=None, proxies={}
            )
        except requests.exceptions.SSLError as error:
            raise OutboundFailed("tls", f"no secure connection: {_said(error)}") from None
        except requests.exceptions.Timeout:
            raise OutboundFailed("timeout", "no answer in time") from None
        except requests.exceptions.InvalidURL:
            raise OutboundRefused("the address is not valid") from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, HTTPException, OSError) as error:
            raise OutboundFailed("connection", f"the connection broke: {_said(error)}") from None

    def _read(self, response: requests.Response, deadline: _Deadline) -> tuple[bytes, bool]:
        content = bytearray()
        limit = self.policy.max_response_bytes
        try:
            while True:
                if deadline.remaining() <= 0:
                    raise OutboundFailed("timeout", "the answer took too long")
                chunk = response.raw.read(min(_CHUNK, limit + 1 - len(content)), decode_content=True)
                if not chunk:
                    return bytes(content), False
                content += chunk
                if len(content) > limit:
                    return bytes(content[:limit]), True
        except (urllib3.exceptions.ReadTimeoutError, TimeoutError):
            raise OutboundFailed("timeout", "the answer took too long") from None
        except (urllib3.exceptions.HTTPError, HTTPException, OSError, ValueError) as error:
            raise OutboundFailed("protocol", f"the answer broke off: {_said(error)}") from None


_OBJECT = re.compile(r"<[\w.]+ object at 0x[0-9a-f]+>:? ?|\(host='[^']*', port=\d+\)|with url: \S+")


def _said(error: BaseException) -> str:
    """What an exception says, on one line, without addresses of objects and URLs (which may carry tokens)."""
    return truncated(single_line(redact(_OBJECT.sub("", str(error)))), 200)
