"""Errors of the API as problem documents (RFC 9457), whatever layer refused the request."""

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import structlog
from django.core.exceptions import BadRequest, RequestDataTooBig, SuspiciousOperation
from django.core.signals import got_request_exception
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError
from pydantic import BaseModel, ConfigDict, Field

from courses.definitions import DefinitionError

logger = structlog.get_logger(__name__)

CONTENT_TYPE = "application/problem+json"
NOT_FOUND = "There is nothing here, or it is not your organization's."
FAILED = "Something went wrong on our side. Nothing was changed; try again in a minute."
UNAUTHORIZED = "Send `Authorization: Bearer <token>` with an enabled API token of an enabled organization."


class FieldError(BaseModel):
    """What is wrong with one field."""

    field: str = Field(description="The path of the field, such as `modules[0].name`; empty for the whole.")
    message: str


class Problem(BaseModel):
    """A refused request (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "about:blank",
                "title": "Unprocessable Entity",
                "status": 422,
                "detail": "points: must be a number",
                "errors": [{"field": "points", "message": "must be a number"}],
            }
        }
    )

    type: str = Field(default="about:blank", description="`about:blank`: the status says what kind of problem it is.")
    title: str = Field(description="The name of the status.")
    status: int
    detail: str = Field(description="What is wrong, in a sentence.")
    errors: list[FieldError] = Field(default=[], description="The fields that are wrong, if fields are.")
    reference: str | None = Field(default=None, description="What the operator's logs know this request by.")


class ProblemError(Exception):
    """A refusal with its status, for what the API itself finds."""

    def __init__(self, status: HTTPStatus, detail: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = list(errors)


class TooManyRequests(ProblemError):
    """The token's share of this minute is used up; `retry_after` seconds are left of it."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(HTTPStatus.TOO_MANY_REQUESTS, f"Too many requests: try again in {retry_after} seconds.")
        self.retry_after = retry_after


def problem(status: int, detail: str, errors: Sequence[FieldError] = ()) -> HttpResponse:
    """The answer that tells a problem."""
    document = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, errors=list(errors))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        document.reference = structlog.contextvars.get_contextvars().get("request_id")
    content = json.dumps(document.model_dump(exclude_none=True))
    response = HttpResponse(content, status=status, content_type=CONTENT_TYPE)
    if status == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = 'Bearer realm="api"'
    return response


def field_path(location: Sequence[Any]) -> str:
    """`("modules", 0, "name")` as `modules[0].name`."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def plain_message(error: dict[str, Any]) -> str:
    """A pydantic error as a sentence, without the words that pydantic puts before our own."""
    if error["type"] == "missing":
        return "is required"
    if error["type"] == "extra_forbidden":
        return "is not a known key"
    return error["msg"].removeprefix("Value error, ").removeprefix("Input ")


def _of_validation(request: HttpRequest, error: ValidationError) -> HttpResponse:
    # A location is (where, …): where is body, query or path; in a body, the name of the parameter comes next.
    fields = [
        FieldError(
            field=field_path(one["loc"][2:] if one["loc"][0] == "body" else one["loc"][1:]),
            message=plain_message(one),
        )
        for one in error.errors[:100]
    ]
    if any(one["loc"][0] == "path" for one in error.errors):
        return problem(HTTPStatus.NOT_FOUND, NOT_FOUND)
    detail = "; ".join(f"{one.field or 'body'}: {one.message}" for one in fields[:3])
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, fields)


def _of_definition(request: HttpRequest, error: DefinitionError) -> HttpResponse:
    status = HTTPStatus.CONFLICT if error.taken else HTTPStatus.UNPROCESSABLE_ENTITY
    return problem(status, f"{error.field}: {error.message}", [FieldError(field=error.field, message=error.message)])


def _of_problem(request: HttpRequest, error: ProblemError) -> HttpResponse:
    response = problem(error.status, error.detail, error.errors)
    if isinstance(error, TooManyRequests):
        response["Retry-After"] = str(error.retry_after)
    return response


def _of_http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    return problem(error.status_code, str(error))


def _of_too_large(request: HttpRequest, error: Exception) -> HttpResponse:
    return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is larger than 2 MiB.")


def _of_bad_request(request: HttpRequest, error: Exception) -> HttpResponse:
    return problem(HTTPStatus.BAD_REQUEST, "The request could not be read.")


def unexpected(request: HttpRequest, error: Exception) -> HttpResponse:
    """A failure of ours: logged with its stack, answered without it."""
    logger.error("api_request_failed", exc_info=error)
    got_request_exception.send(sender=unexpected, request=request)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, FAILED)


def _of_no_token(request: HttpRequest, error: Exception) -> HttpResponse:
    return problem(HTTPStatus.UNAUTHORIZED, UNAUTHORIZED)


def _of_not_found(request: HttpRequest, error: Exception) -> HttpResponse:
    return problem(HTTPStatus.NOT_FOUND, NOT_FOUND)


_HANDLERS: dict[type[Exception], Any] = {
    ValidationError: _of_validation,
    DefinitionError: _of_definition,
    ProblemError: _of_problem,
    AuthenticationError: _of_no_token,
    HttpError: _of_http_error,
    Http404: _of_not_found,
    RequestDataTooBig: _of_too_large,
    SuspiciousOperation: _of_bad_request,
    BadRequest: _of_bad_request,
    Exception: unexpected,
}


def add_handlers(api: NinjaAPI) -> None:
    """Turns every exception of an operation into its problem."""
    for kind, handler in _HANDLERS.items():
        api.add_exception_handler(kind, handler)
