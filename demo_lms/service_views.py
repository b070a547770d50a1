"""What tools call: keys, tokens, grades, rosters, registration."""

import contextlib
import socket
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from demo_lms import access_tokens, ags, columns, registrations, rosters, service_answers, signing_keys
from demo_lms.columns import Column
from demo_lms.course import Course, RegisteredTool, the_course
from demo_lms.environment import own_url
from demo_lms.service_answers import Answered, Asked
from lti.redaction import REDACTED

Service = Callable[[Asked, RegisteredTool, Course], Answered]
ColumnService = Callable[[Asked, RegisteredTool, Course, Column], Answered]


@require_GET
def key_set(request: HttpRequest) -> JsonResponse:
    return JsonResponse(signing_keys.key_set())


def _asked(request: HttpRequest, grant: access_tokens.Grant | None = None) -> Asked:
    return Asked(
        method=request.method or "",
        url=f"{own_url()}{request.get_full_path()}",
        query={name: request.GET[name] for name in request.GET},
        accept=request.headers.get("Accept", ""),
        content_type=request.headers.get("Content-Type", ""),
        body=request.body,
        grant=grant,
    )


def _respond(request: HttpRequest, answered: Answered) -> HttpResponse:
    if answered.closed:
        close_connection(request)
    return HttpResponse(
        answered.body,
        status=answered.status,
        headers={**answered.headers, "Cache-Control": "no-store"},
        content_type=answered.content_type,
    )


@csrf_exempt
@require_POST
def token(request: HttpRequest) -> HttpResponse:
    """The token endpoint."""
    form = {name: request.POST[name] for name in request.POST}
    try:
        value, grant = access_tokens.issue(form, the_course())
    except access_tokens.TokenRefused as refused:
        error = {"error": refused.error, "error_description": refused.description}
        answered = service_answers.as_json(
            error, "application/json", refused.status, title="access token", result=f"{refused.error}"
        )
        shown = answered
    else:
        granted = {"token_type": "Bearer", "expires_in": access_tokens.LIFETIME, "scope": " ".join(grant.scopes)}
        answered = service_answers.as_json({**granted, "access_token": value}, "application/json")
        result = f"for {len(grant.scopes)} scopes"
        title = f"access token: {grant.tool.name}"
        shown = service_answers.as_json(granted, "application/json", title=title, result=result)
    asked = _asked(request)
    lines = [f"{name} = {REDACTED if name == 'client_assertion' else value}" for name, value in form.items()]
    body = "\n".join(lines)
    service_answers.remember("service", Asked(**{**vars(asked), "body": body.encode()}), shown)
    return _respond(request, answered)


def _service(request: HttpRequest, course_id: str, title: str, kind: str, service: Service) -> HttpResponse:
    course = the_course()
    grant = access_tokens.grant_of(request.headers.get("Authorization", ""), course)
    asked = _asked(request, grant)
    if grant is None:
        answered = service_answers.refused(asked, 401, "Unauthorized")
    elif course_id != course.id:
        answered = service_answers.refused(asked, 404, "Not Found: no such course")
    else:
        answered = service(asked, grant.tool, course)
    answered = answered if answered.title else Answered(**{**vars(answered), "title": title})
    service_answers.remember(kind, asked, answered)
    return _respond(request, answered)


def _column_service(
    request: HttpRequest, course_id: str, column_id: str, title: str, service: ColumnService
) -> HttpResponse:
    def found(asked: Asked, tool: RegisteredTool, course: Course) -> Answered:
        column = columns.column_of(course, column_id)
        if tool.preset.has_query_in_line_items and asked.query.get("type_id") != tool.deployment_id:
            # What an address that was put together wrongly gets (moodle.md 35).
            return service_answers.refused(asked, 400, "No handler found")
        if column is None:
            return service_answers.refused(asked, 404, f"Not Found: Grade item {column_id} doesn't exist")
        return service(asked, tool, course, column)

    kind = "outcome" if service is ags.scores else "service"
    return _service(request, course_id, title, kind, found)


@csrf_exempt
def line_items(request: HttpRequest, course_id: str) -> HttpResponse:
    return _service(request, course_id, "line items", "service", ags.line_items)


@csrf_exempt
def line_item(request: HttpRequest, course_id: str, column_id: str) -> HttpResponse:
    return _column_service(request, course_id, column_id, "line item", ags.line_item)


@csrf_exempt
def scores(request: HttpRequest, course_id: str, column_id: str) -> HttpResponse:
    return _column_service(request, course_id, column_id, "score", ags.scores)


@csrf_exempt
def results(request: HttpRequest, course_id: str, column_id: str) -> HttpResponse:
    return _column_service(request, course_id, column_id, "results", ags.results)


@csrf_exempt
def memberships(request: HttpRequest, course_id: str) -> HttpResponse:
    return _service(request, course_id, "roster", "service", rosters.memberships)


@require_GET
def openid_configuration(request: HttpRequest) -> JsonResponse:
    return JsonResponse(registrations.configuration())


@csrf_exempt
def registration(request: HttpRequest) -> HttpResponse:
    """The registration endpoint of dynamic registration; a GET tells what is known of the tool (moodle.md 47)."""
    asked = _asked(request)
    bearer = request.headers.get("Authorization", "").partition(" ")[2]
    answered = registrations.answer(asked, bearer, the_course())
    service_answers.remember("service", asked, answered)
    return _respond(request, answered)


def close_connection(request: HttpRequest) -> None:
    """Close the connection under the server's feet; gunicorn hands out its socket."""
    connection = request.META.get("gunicorn.socket")
    if isinstance(connection, socket.socket):
        # Already gone is as good as closed.
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
