"""Error pages for what no view answered: plain, without a stack, with a reference that the logs find."""

from http import HTTPStatus
from typing import Any

import structlog
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render


def _page(request: HttpRequest, status: int, title: str, text: str) -> HttpResponse:
    reference = structlog.contextvars.get_contextvars().get("request_id", "")
    if request.path.startswith("/api/"):
        return JsonResponse(
            {
                "type": "about:blank",
                "title": HTTPStatus(status).phrase,
                "status": status,
                "detail": f"{title}. {text}",
                "errors": [],
                "reference": reference,
            },
            status=status,
            content_type="application/problem+json",
        )
    context = {"title": title, "text": text, "reference": reference, "status": status}
    return render(request, "error.html", context, status=status)


def bad_request(request: HttpRequest, exception: Any = None) -> HttpResponse:
    return _page(request, 400, "This request could not be read", "Go back and try again.")


def forbidden(request: HttpRequest, exception: Any = None) -> HttpResponse:
    return _page(request, 403, "Not allowed", "You are not allowed to do this.")


def not_found(request: HttpRequest, exception: Any = None) -> HttpResponse:
    return _page(
        request,
        404,
        "Page not found",
        "There is nothing here, or it is not yours to see. Check the address, or sign in.",
    )


def server_error(request: HttpRequest) -> HttpResponse:
    return _page(
        request, 500, "Something went wrong on our side", "Nothing you entered was accepted. Try again in a minute."
    )


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return _page(
        request,
        403,
        "This form has expired",
        "It was opened too long ago, or cookies are blocked. Reload the page and send it again.",
    )
