"""What owners do with meeting servers: make, change, choose the default, and try the connection out."""

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from django.db import IntegrityError, transaction
from django.utils import timezone

from lti.outbound import AddressGuard, OutboundRefused
from organizations.models import Organization
from organizations.outbound import outbound_client
from recordings.meeting_server import MeetingServerError
from recordings.models import MeetingServer
from recordings.servers import client_of

MOST_SERVERS = 20
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class ServerError(ValueError):
    """A value that cannot be: `field` is name, kind, url, api_key or api_secret; `taken`: another server has it."""

    def __init__(self, field: str, message: str, *, taken: bool = False) -> None:
        super().__init__(message)
        self.field = field
        self.message = message
        self.taken = taken


def checked_url(url: str) -> str:
    """The server's address without a slash at its end. Raises ServerError for one that could never be called."""
    url = url.strip().rstrip("/")
    if len(url) > 2000:
        raise ServerError("url", "must have at most 2000 characters")
    guard = AddressGuard(outbound_client().policy)
    try:
        guard.check_url(url)
        parts = urlsplit(url)
        host = parts.hostname or ""
        host.encode("idna")
    except OutboundRefused as error:
        raise ServerError("url", f"cannot be used: {error}") from error
    except ValueError as error:
        raise ServerError("url", "must be a web address with a host that can be") from error
    if parts.query or parts.fragment:
        raise ServerError("url", "must end before ? and #: it is the server's address, not that of one of its pages")
    try:
        ip_address(host)
    except ValueError:
        # A name is looked up, and its address checked, at every call.
        return url
    if not guard.allows(host, host):
        raise ServerError("url", "leads into a private network, which is not called from here")
    return url


def _checked_name(name: str) -> str:
    name = name.strip()
    if not 1 <= len(name) <= 255 or _CONTROL.search(name):
        raise ServerError("name", "must have 1 to 255 characters, without control characters")
    return name


def _checked_kind(kind: str) -> str:
    if kind not in MeetingServer.Kind.values:
        raise ServerError("kind", f"must be {' or '.join(MeetingServer.Kind.values)}")
    return kind


def _checked_key(key: str) -> str:
    key = key.strip()
    if not _KEY.fullmatch(key):
        raise ServerError("api_key", "must have 1 to 255 letters, digits and signs, without spaces")
    return key


def _checked_secret(secret: str) -> str:
    secret = secret.strip()
    if not 1 <= len(secret) <= 255 or _CONTROL.search(secret):
        raise ServerError("api_secret", "must have 1 to 255 characters, without control characters")
    return secret


CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "name": _checked_name,
    "kind": _checked_kind,
    "url": checked_url,
    "api_key": _checked_key,
    "api_secret": _checked_secret,
    "enabled": bool,
}
# What decides whether a connection test still says something.
_CONNECTION = frozenset({"kind", "url", "api_key", "api_secret"})


def make_server(organization: Organization, *, is_default: bool = False, **values: Any) -> MeetingServer:
    """A new server of these `name`, `kind`, `url`, `api_key`, `api_secret`, `enabled`; the first one is the default.

    Raises ServerError.
    """
    server = MeetingServer(organization=organization, **{name: CHECKS[name](value) for name, value in values.items()})
    with transaction.atomic():
        _lock(organization)
        others = list(organization.meeting_servers.values_list("name", flat=True))
        if len(others) >= MOST_SERVERS:
            raise ServerError("name", f"there are {MOST_SERVERS} meeting servers already: delete one first")
        if server.name in others:
            raise _taken()
        server.save(force_insert=True)
        if is_default or not others:
            _make_default(server)
    return server


def change_server(server: MeetingServer, *, is_default: bool | None = None, **values: Any) -> MeetingServer:
    """Changes these of `name`, `kind`, `url`, `api_key`, `api_secret`, `enabled`, `is_default`, and nothing else.

    What a connection test found is forgotten with what it was about. Raises ServerError.
    """
    checked = {name: CHECKS[name](value) for name, value in values.items()}
    changed = {name: value for name, value in checked.items() if value != getattr(server, name)}
    if _CONNECTION & set(changed):
        changed |= {"checked_at": None, "problem": ""}
    for name, value in changed.items():
        setattr(server, name, value)
    try:
        with transaction.atomic():
            _lock(server.organization)
            if changed:
                server.save(update_fields=list(changed))
            if is_default:
                _make_default(server)
            elif is_default is False and server.is_default:
                MeetingServer.objects.filter(pk=server.pk).update(is_default=False)
                server.is_default = False
    except IntegrityError as error:
        raise _taken() from error
    return server


def _taken() -> ServerError:
    return ServerError("name", "there is a meeting server with this name already", taken=True)


def _lock(organization: Organization) -> None:
    """One owner at a time: two could both make the first server, or another default."""
    Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)


def _make_default(server: MeetingServer) -> None:
    MeetingServer.objects.filter(organization=server.organization_id, is_default=True).update(is_default=False)
    MeetingServer.objects.filter(pk=server.pk).update(is_default=True)
    server.is_default = True


def try_connection(server: MeetingServer) -> MeetingServerError | None:
    """Calls the server, and keeps in its row what came of it; None when it is there and takes our key.

    Makes a request: not inside a transaction.
    """
    problem: MeetingServerError | None = None
    try:
        client_of(server).check()
    except MeetingServerError as error:
        problem = error
    server.checked_at = timezone.now()
    server.problem = problem.for_owner[:500] if problem else ""
    # Nothing is said about a server that was changed meanwhile.
    unchanged = MeetingServer.objects.filter(pk=server.pk, url=server.url, api_key=server.api_key, kind=server.kind)
    unchanged.update(checked_at=server.checked_at, problem=server.problem)
    return problem
