"""Which client speaks with which kind of meeting server."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from recordings.meeting_server import MeetingServerClient
from recordings.models import MeetingServer
from recordings.plugnmeet import PlugNmeetClient


def _plugnmeet(server: MeetingServer) -> MeetingServerClient:
    return PlugNmeetClient(server.url, server.api_key, server.api_secret)


# The sandbox speaks plugNmeet's language, so that what is tried out there is what runs elsewhere.
_CLIENTS: Mapping[str, Callable[[MeetingServer], MeetingServerClient]] = MappingProxyType(
    {MeetingServer.Kind.PLUGNMEET: _plugnmeet, MeetingServer.Kind.SANDBOX: _plugnmeet}
)


def client_of(server: MeetingServer) -> MeetingServerClient:
    """The client for this server, with its key and secret."""
    return _CLIENTS[server.kind](server)
