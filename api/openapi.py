"""The API object: what django-ninja makes of the operations, with every answer that they can give described."""

from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.openapi.docs import Swagger
from ninja.types import DictStrAny

from api.authentication import BearerToken
from api.problems import CONTENT_TYPE, FAILED, NOT_FOUND, UNAUTHORIZED, FieldError, Problem, add_handlers
from api.reading import StrictParser

DESCRIPTION = """\
Courses, assignments, scores and what became of them, for one organization: the one that the API token belongs to.
What belongs to another organization is not found.

* **Sign in** with `Authorization: Bearer <token>`. Owners make tokens in the admin.
* **Bodies** are JSON in UTF-8. Unknown keys are refused.
* **Times** are RFC 3339 in UTC; times that are sent need a zone.
* **Lists** come in pages: `{items, next}`. Send `next` as `cursor` to go on; it is null on the last page.
* **Score writes** take an `Idempotency-Key`: the same request again has one effect and one answer.
* **Errors** are problem documents (RFC 9457): `type`, `title`, `status`, `detail` and, for wrong fields, `errors`.
* **Rate**: `X-RateLimit-Limit`, `-Remaining` and `-Reset` (seconds) come with every answer; 429 names `Retry-After`.
"""

RATE_HEADERS = {
    "X-RateLimit-Limit": "Requests that the token has in a minute.",
    "X-RateLimit-Remaining": "How many of them are left.",
    "X-RateLimit-Reset": "Seconds until it has all of them again.",
}

_DETAILS = {
    400: "The body is not JSON, or the cursor is not one of this list.",
    401: UNAUTHORIZED,
    404: NOT_FOUND,
    409: "code: the course cs101 exists already",
    413: "The body is larger than 2 MiB.",
    415: "Send the body as application/json.",
    422: "points: must be a number",
    429: "Too many requests: try again in 12 seconds.",
    500: FAILED,
}
_FIELDS = {
    409: FieldError(field="code", message="the course cs101 exists already"),
    422: FieldError(field="points", message="must be a number"),
}


class LocalSwagger(Swagger):
    """Swagger UI from this host alone: no CDN, no outside validator."""

    def render_page(self, request: HttpRequest, api: NinjaAPI, **kwargs: Any) -> HttpResponse:
        response = super().render_page(request, api, **kwargs)
        # Swagger UI sets style attributes and draws its icons from data: URLs.
        response._csp_update = {"style-src": ["'self'", "'unsafe-inline'"]}  # type: ignore[attr-defined]
        return response


class PlatformApi(NinjaAPI):
    """The REST API, version 1."""

    def __init__(self) -> None:
        super().__init__(
            title="LTI platform",
            version="1",
            description=DESCRIPTION,
            urls_namespace="api",
            auth=BearerToken(),
            parser=StrictParser(),
            docs=LocalSwagger({"validatorUrl": None, "persistAuthorization": False, "docExpansion": "list"}),
        )
        add_handlers(self)

    def get_openapi_operation_id(self, operation: Any) -> str:
        return str(operation.view_func.__name__)

    def get_openapi_schema(self, *, path_prefix: str | None = None, path_params: DictStrAny | None = None) -> Any:
        schema = super().get_openapi_schema(path_prefix=path_prefix, path_params=path_params)
        schema["components"]["schemas"]["FieldError"] = FieldError.model_json_schema()
        shape = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        shape.pop("$defs", None)
        schema["components"]["schemas"]["Problem"] = shape
        _show_pages(schema["components"]["schemas"])
        for path, methods in schema["paths"].items():
            for operation in methods.values():
                _describe_problems(path, operation)
        return schema


def _show_pages(schemas: dict[str, Any]) -> None:
    """Gives each list the example of its items."""
    for shape in schemas.values():
        items = shape.get("properties", {}).get("items", {}).get("items", {})
        if "$ref" in items and "next" in shape["properties"]:
            shape["example"] = {"items": [schemas[items["$ref"].split("/")[-1]]["example"]], "next": None}


def _describe_problems(path: str, operation: dict[str, Any]) -> None:
    """Adds the problems that the operation can answer with, by what it takes in."""
    statuses = {400, 401, 429, 500}
    if "{" in path:
        statuses.add(404)
    if operation.get("requestBody"):
        statuses |= {413, 415, 422}
    if any(parameter["in"] == "query" for parameter in operation["parameters"]):
        statuses.add(422)
    responses = operation["responses"]
    own_headers = operation.pop("x-headers", {})
    for details in responses.values():
        details["headers"] = {
            name: {"description": description, "schema": {"type": "integer"}}
            for name, description in RATE_HEADERS.items()
        } | own_headers
    for status in sorted(statuses | set(operation.pop("x-problems", []))):
        responses[status] = {
            "description": HTTPStatus(status).phrase,
            "content": {
                CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": _example(status)}
            },
        }


def _example(status: int) -> dict[str, Any]:
    fields = [_FIELDS[status]] if status in _FIELDS else []
    document = Problem(
        title=HTTPStatus(status).phrase, status=status, detail=_DETAILS.get(status, "Not possible now."), errors=fields
    )
    return document.model_dump(exclude_none=True)
