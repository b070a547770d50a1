"""What every request to the API passes, whichever operation it meant: methods, media types, rate headers."""

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver
from django.views.decorators.csrf import csrf_exempt

from api.problems import CONTENT_TYPE, NOT_FOUND, problem
from api.rate_limit import Share

View = Callable[..., HttpResponse]


def guard(pattern: URLPattern | URLResolver) -> URLPattern | URLResolver:
    """The URL pattern with its view behind the gate."""
    if isinstance(pattern, URLResolver):
        return pattern
    view: View = pattern.callback

    @csrf_exempt  # a bearer token is never sent by a browser on its own
    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method in ("POST", "PUT", "PATCH") and not _is_json(request):
            return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send the body as application/json.")
        head = request.method == "HEAD"
        if head:
            request.method = "GET"
        response = view(request, *args, **kwargs)
        if head:
            request.method = "HEAD"
            response["Content-Length"] = str(len(response.content))
            response.content = b""
        if response.status_code == HTTPStatus.METHOD_NOT_ALLOWED and response["Content-Type"] != CONTENT_TYPE:
            response = _not_allowed(request, response)
        share: Share | None = getattr(request, "api_share", None)
        if share is not None:
            response["X-RateLimit-Limit"] = str(share.limit)
            response["X-RateLimit-Remaining"] = str(share.remaining)
            response["X-RateLimit-Reset"] = str(share.reset)
        response.setdefault("Cache-Control", "no-store")
        return response

    return URLPattern(pattern.pattern, guarded, pattern.default_args, pattern.name)


@csrf_exempt
def not_found(request: HttpRequest, rest: str = "") -> HttpResponse:
    """Whatever is no operation."""
    return problem(HTTPStatus.NOT_FOUND, NOT_FOUND)


def _is_json(request: HttpRequest) -> bool:
    if not request.META.get("CONTENT_LENGTH", "").strip("0") and not request.META.get("HTTP_TRANSFER_ENCODING"):
        return True  # no body; the operation says if it needs one
    media_type = (request.content_type or "").lower()
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))


def _not_allowed(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    allowed = sorted({*response["Allow"].split(", "), *(["HEAD"] if "GET" in response["Allow"] else [])})
    methods = ", ".join(allowed)
    refusal = problem(HTTPStatus.METHOD_NOT_ALLOWED, f"{request.method} is not possible here: use {methods}.")
    refusal["Allow"] = methods
    return refusal
