"""What every request passes through that Django does not bring."""

import ipaddress
from collections.abc import Callable
from functools import lru_cache
from http import cookies

from csp.middleware import CSPMiddleware
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

GetResponse = Callable[[HttpRequest], HttpResponse]

# http.cookies knows the attribute from Python 3.14 only (CPython PR 112714); Django 5.2 sets attributes by these names.
cookies.Morsel._reserved.setdefault("partitioned", "Partitioned")  # type: ignore[attr-defined]
cookies.Morsel._flags.add("partitioned")  # type: ignore[attr-defined]


class PartitionedCookieMiddleware:
    """Adds `Partitioned` to every cookie that is sent across sites (SameSite=None), so that a browser that blocks
    third-party cookies keeps it per embedding site (CHIPS; D24)."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        for morsel in response.cookies.values():
            if morsel["samesite"].lower() == "none" and morsel["secure"]:
                morsel["partitioned"] = True
        return response


class TrustedProxyMiddleware:
    """Believes X-Forwarded-For, -Proto and -Host from `TRUSTED_PROXIES` only, and removes them otherwise (A9)."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.networks = [ipaddress.ip_network(entry, strict=False) for entry in settings.TRUSTED_PROXIES]
        # The same few proxies and a class of students ask again and again.
        self._is_trusted = lru_cache(maxsize=4096)(self._is_in_networks)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if self._is_trusted(request.META.get("REMOTE_ADDR", "")):
            self._apply(request)
        for header in (
            "HTTP_X_FORWARDED_FOR",
            "HTTP_X_FORWARDED_PROTO",
            "HTTP_X_FORWARDED_HOST",
            "HTTP_X_FORWARDED_PORT",
        ):
            request.META.pop(header, None)
        return self.get_response(request)

    def _is_in_networks(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self.networks)

    def _apply(self, request: HttpRequest) -> None:
        # The rightmost address that is not one of our proxies is the client; what stands left of it anybody can write.
        for address in reversed([part.strip() for part in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")]):
            if address and not self._is_trusted(address):
                request.META["REMOTE_ADDR"] = address
                break
        protocol = request.META.get("HTTP_X_FORWARDED_PROTO", "").split(",")[0].strip()
        if protocol in ("http", "https"):
            request.META["wsgi.url_scheme"] = protocol
        host = request.META.get("HTTP_X_FORWARDED_HOST", "").split(",")[0].strip()
        if host:
            request.META["HTTP_HOST"] = host


class PagePolicyMiddleware(CSPMiddleware):
    """django-csp, but not for redirects: there is no page to protect, and building the policy is a good part of what
    the stack costs a launch."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if 300 <= response.status_code < 400:
            return response
        return super().process_response(request, response)
