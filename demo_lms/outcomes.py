"""The outcome service: Basic Outcomes 1.1 as Moodle answers it, HTTP 200 whatever it says (moodle.md 17 to 20)."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from secrets import randbelow

from demo_lms import gradebook, manners, messages
from demo_lms.course import Course
from demo_lms.environment import own_url
from demo_lms.manners import Manner
from demo_lms.sourcedids import SourcedidRefused, cell_of
from lti.v1p1.oauth1 import SignedBodyRefused, verify_signed_body
from lti.v1p1.outcomes import OutcomeRequest, UnreadableResponse, parse_request, response

# Moodle refuses outcome requests that are older (moodle.md 16).
TIMESTAMP_WINDOW = 600


@dataclass(frozen=True)
class Received:
    """An outcome request as it came in."""

    body: bytes
    authorization: str
    content_type: str


@dataclass(frozen=True)
class Answer:
    """What is answered; `closed` instead of anything: the connection breaks. `result` says it in a phrase."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    closed: bool = False
    title: str = "Outcome request"
    result: str = ""


def _answer(operation: str, message_ref: str, code: str, description: str, score: Decimal | None = None) -> bytes:
    return response(
        operation,
        message_id=str(randbelow(2**31)),
        message_ref=message_ref,
        code_major=code,
        description=description,
        score=score,
    )


def _failure(request: OutcomeRequest, description: str, title: str) -> Answer:
    body = _answer(request.operation, request.message_id, "failure", description)
    return Answer(body, title=title, result=f"failure: {description}")


def receive(received: Received, course: Course) -> Answer:
    """Answer a request in the manner that the switch asks for, and remember both."""
    manner = manners.take(manners.OUTCOMES)
    if manner.mode == "slow":
        time.sleep(manner.seconds)
    answer = _faulty(manner) or _understood(received, course, refuses=manner.mode == "refuses")
    headers = f"POST {own_url()}/outcomes\nContent-Type: {received.content_type}\nAuthorization: "
    sent = messages.without_secrets(headers + received.authorization) + "\n\n" + messages.readable_xml(received.body)
    answered = "(the connection was closed)" if answer.closed else f"HTTP {answer.status}"
    for name, value in answer.headers.items():
        answered += f"\n{name}: {value}"
    if answer.body:
        answered += "\n\n" + messages.readable_xml(answer.body)
    messages.remember("outcome", answer.title, sent, answered, answer.result)
    return answer


def _faulty(manner: Manner) -> Answer | None:
    match manner.mode:
        case "failing":
            return Answer(
                b"<h1>Internal Server Error</h1>", 500, title="Outcome request", result="HTTP 500, on purpose"
            )
        case "busy":
            return Answer(
                b"Too Many Requests", 429, {"Retry-After": str(manner.seconds)}, result="HTTP 429, on purpose"
            )
        case "malformed":
            return Answer(b'<?xml version="1.0"?><imsx_POXEnvelopeResponse><imsx_POX', result="broken XML, on purpose")
        case "unauthorized":
            return Answer(_signature_failure(), result="failure: Message signature not valid, on purpose")
        case "down":
            return Answer(closed=True, result="connection closed, on purpose")
    return None


def _signature_failure() -> bytes:
    # Moodle's has an empty message ref and names no operation.
    return _answer("unknown", "", "failure", "Message signature not valid")


def _understood(received: Received, course: Course, *, refuses: bool) -> Answer:
    try:
        verify_signed_body(
            "POST",
            f"{own_url()}/outcomes",
            {"Authorization": received.authorization},
            received.body,
            {course.tool.consumer_key: course.tool.shared_secret}.get,
            int(time.time()),
            TIMESTAMP_WINDOW,
        )
    except SignedBodyRefused as refused:
        return Answer(_signature_failure(), result=f"failure: Message signature not valid ({refused.reason})")
    try:
        request = parse_request(received.body)
    except UnreadableResponse as unreadable:
        return Answer(
            _answer("unknown", "", "failure", "Message could not be read"), result=f"failure: {unreadable.reason}"
        )
    if request.operation not in ("replaceResult", "readResult", "deleteResult"):
        body = _answer(request.operation, request.message_id, "unsupported", "unsupported")
        return Answer(body, title=request.operation, result="unsupported")
    try:
        link, person = cell_of(request.sourcedid, course)
    except SourcedidRefused as refused:
        return _failure(request, str(refused), request.operation)
    title = f"{request.operation}: {person.name}, “{link.title}”"
    if refuses:
        return _failure(request, "The column is locked", title)
    match request.operation:
        case "replaceResult":
            if request.score is None or not 0 <= request.score <= 1:
                return _failure(request, "Score not between 0.0 and 1.0", title)
            gradebook.store(person, link, request.score)
            body = _answer(request.operation, request.message_id, "success", "Grade replace response")
            return Answer(body, title=title, result=f"success: {request.score_text}")
        case "deleteResult":
            gradebook.store(person, link, None)
            body = _answer(request.operation, request.message_id, "success", "Grade delete request")
            return Answer(body, title=title, result="success: deleted")
        case _:
            score = gradebook.score_of(person, link)
            body = _answer(request.operation, request.message_id, "success", "Result read", score)
            return Answer(body, title=title, result=f"success: {'no grade' if score is None else score}")
