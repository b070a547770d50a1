"""Where grades may go: the service hosts of an installation (design §5, J9)."""

import re
from urllib.parse import urlsplit

from django.db import transaction

from organizations.models import Installation, User
from organizations.signals import service_host_allowed

_PATTERN = re.compile(r"(?:\*\.)?(?!-)[a-z0-9-]+(?:\.[a-z0-9-]+)*(?::\d{1,5})?\Z|\[[0-9a-f:]+\](?::\d{1,5})?\Z")


def is_host_pattern(text: str) -> bool:
    """Whether this can be a service host: lower case, perhaps with a port or a leading `*.`, no scheme, no path."""
    return len(text) <= 255 and _PATTERN.match(text) is not None


def host_of(url: str) -> str:
    """The lower-case host of a URL, with its port when the URL names one; empty when there is none."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        return f"{host}:{parts.port}" if host and parts.port else host
    except ValueError:
        return ""


def shown_address(url: str) -> str:
    """A URL for records: without a user's name, and without what may be secret in its query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}{'?…' if parts.query else ''}"


def is_allowed(installation: Installation, url: str) -> bool:
    """Whether the URL's host is one of the installation's (`*.example` covers every host below it, on any port)."""
    host = host_of(url)
    bare = host.rsplit(":", 1)[0] if ":" in host else host
    for pattern in installation.service_hosts:
        pattern = pattern.lower()
        if pattern.startswith("*."):
            if bare.endswith(pattern[1:]):
                return True
        elif pattern in (host, bare):
            return True
    return False


def learn_host(installation: Installation, url: str) -> None:
    """Notes the service host that a verified launch named: the first one is allowed, any other waits for the owner.

    Costs no statement when the host is known. Two first launches at once cannot both be "first": the update is
    conditional on the list as it was read.
    """
    host = host_of(url)
    if not host or is_allowed(installation, url) or host in installation.pending_service_hosts:
        return
    rows = Installation.objects.filter(pk=installation.pk)
    if not installation.service_hosts and rows.filter(service_hosts=[]).update(service_hosts=[host]):
        installation.service_hosts = [host]
        return
    ask_about_host(installation, url)


def ask_about_host(installation: Installation, url: str) -> None:
    """Lets the owner decide about the URL's host; no statement when it is asked about already."""
    host = host_of(url)
    if not host or host in installation.pending_service_hosts:
        return
    with transaction.atomic(savepoint=False):
        # no_key: rows inserted by other launches hold a key-share lock on the installation, which a plain FOR UPDATE
        # would wait for, each for the other.
        fresh = Installation.objects.select_for_update(no_key=True).get(pk=installation.pk)
        if not is_allowed(fresh, url) and host not in fresh.pending_service_hosts:
            fresh.pending_service_hosts = [*fresh.pending_service_hosts, host]
            fresh.save(update_fields=["pending_service_hosts"])
    installation.service_hosts = fresh.service_hosts
    installation.pending_service_hosts = fresh.pending_service_hosts


def allow_host(installation: Installation, host: str, actor: User) -> None:
    """The owner lets grades go to a pending host; what waited for it becomes due."""
    with transaction.atomic():
        fresh = Installation.objects.select_for_update(no_key=True).get(pk=installation.pk)
        fresh.pending_service_hosts = [known for known in fresh.pending_service_hosts if known != host]
        if host not in fresh.service_hosts:
            fresh.service_hosts = [*fresh.service_hosts, host]
        fresh.save(update_fields=["service_hosts", "pending_service_hosts"])
        service_host_allowed.send(Installation, installation=fresh, host=host, actor=actor)
