"""What each request leaves behind for operators: an id, one line in the log, one observation in the metrics.

One small middleware instead of two libraries': those of django-structlog and django-prometheus cost 0.16 ms a request,
a tenth of what a whole launch may take (docs/performance.md).
"""

import secrets
import time
from collections.abc import Callable
from typing import Any

import structlog
from django.http import HttpRequest, HttpResponse
from prometheus_client import Histogram

from lti_platform.logging import REDACTED

logger = structlog.get_logger(__name__)

GetResponse = Callable[[HttpRequest], HttpResponse]

REQUEST_SECONDS = Histogram(
    "lti_platform_request_seconds",
    "Time from the first middleware to the answer, by view, method and status.",
    ["view", "method", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
# Parts of a path that let somebody in; they belong in no log.
SECRET_PARTS = ("key", "token", "ticket", "invite", "uidb36")
# Asked every few seconds by machines: worth a line only when something is wrong.
QUIET_VIEWS = {"health-live", "health-ready", "metrics"}


class ObservationMiddleware:
    """Binds `request_id` (and `launch`, where the URL names one) for every line logged on the way, answers it as
    `X-Request-ID`, and writes one `request` line without query, addresses or headers."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request_id = secrets.token_hex(8)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = time.perf_counter()
        try:
            response = self.get_response(request)
            self._observe(request, response.status_code, time.perf_counter() - started)
        finally:
            structlog.contextvars.clear_contextvars()
        response.headers["X-Request-ID"] = request_id
        return response

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: dict[str, Any]) -> None:
        if "launch_id" in kwargs:
            structlog.contextvars.bind_contextvars(launch=str(kwargs["launch_id"]))

    def _observe(self, request: HttpRequest, status: int, seconds: float) -> None:
        match = request.resolver_match
        view = (match.view_name or "unnamed") if match else "unresolved"
        method = request.method if request.method in METHODS else "other"
        REQUEST_SECONDS.labels(view, method, str(status)).observe(seconds)
        if view in QUIET_VIEWS and status < 500:
            return
        path = request.path[:500]
        if match:
            for name in SECRET_PARTS:
                if match.kwargs.get(name):
                    path = path.replace(str(match.kwargs[name]), REDACTED)
        log = logger.info if status < 500 else logger.error
        log("request", method=method, path=path, view=view, status=status, duration_ms=round(seconds * 1000, 1))
