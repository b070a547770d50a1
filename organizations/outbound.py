"""The one guarded HTTP client of the platform, built from settings (B16, J8)."""

from functools import lru_cache

from django.conf import settings

from lti.outbound import OutboundClient, OutboundPolicy


@lru_cache(maxsize=16)
def _client(
    allow_http: bool, allowed_private_hosts: tuple[str, ...], base_url: str, total_timeout: float, max_bytes: int
) -> OutboundClient:
    policy = OutboundPolicy(
        allow_http=allow_http,
        allowed_private_hosts=allowed_private_hosts,
        connect_timeout=min(OutboundPolicy.connect_timeout, total_timeout),
        read_timeout=min(OutboundPolicy.read_timeout, total_timeout),
        total_timeout=total_timeout,
        max_response_bytes=max_bytes,
        user_agent=f"lti-platform/0.1 (+{base_url})",
    )
    return OutboundClient(policy)


def outbound_client(
    *,
    total_timeout: float = OutboundPolicy.total_timeout,
    max_response_bytes: int = OutboundPolicy.max_response_bytes,
) -> OutboundClient:
    """The process's client: it keeps connections per host and may be used from many threads at once.

    `total_timeout` (seconds) bounds a whole request, and with it the time to connect and to read; what is beyond
    `max_response_bytes` of an answer is cut off.
    """
    return _client(
        settings.OUTBOUND_ALLOW_HTTP,
        tuple(settings.OUTBOUND_ALLOWED_PRIVATE_HOSTS),
        settings.BASE_URL,
        total_timeout,
        max_response_bytes,
    )
