"""`Idempotency-Key`: a request that is sent again, because its answer was lost, has one effect and one answer.

After draft-ietf-httpapi-idempotency-key-header-07: the key is the caller's, and stands for one request of one token.
"""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Header
from ninja.responses import NinjaJSONEncoder
from pydantic import BaseModel

from api.authentication import token_of
from api.problems import FieldError, ProblemError
from organizations.api_tokens import ANSWERS_KEPT
from organizations.models import AnsweredRequest

Answer = TypeVar("Answer", bound=BaseModel)

REPLAYED = "Idempotent-Replayed"
_HEADER = "Idempotency-Key"
_HOURS = ANSWERS_KEPT // timedelta(hours=1)

# The draft writes the key as a quoted string (RFC 8941); most callers send it without quotes. Both are the same key.
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias=_HEADER,
        min_length=1,
        max_length=255,
        pattern=r"^[!-~]+$",
        description=f"Of your own making, one for each change, such as a UUID. The same request with the same key "
        f"within {_HOURS} hours changes nothing again and is answered the same, with the header `{REPLAYED}: true`; "
        "another request with it is refused with 422. What was refused is not remembered: send it again, corrected.",
        example="4f9a7c1e-6c2b-4f0e-9d55-0d6c8f5d2b10",
    ),
]

# What an operation that takes a key says of itself in the OpenAPI document.
HEADERS: dict[str, Any] = {
    REPLAYED: {
        "description": "`true` when this is the answer of an earlier request with the same `Idempotency-Key`.",
        "schema": {"type": "string", "enum": ["true"]},
    }
}


def once(request: HttpRequest, key: str | None, change: Callable[[], Answer]) -> HttpResponse | Answer:
    """What `change` answers, or what it answered when this request came before under this key.

    Without a key it is simply done. With one, the key's row and the change are one transaction: whoever sends the same
    key meanwhile waits for its end at the unique constraint, and gets the answer; what fails leaves no key behind.
    Raises ProblemError (422) when the key stands for another request.
    """
    if key is None:
        return change()
    if len(key) > 2 and key.startswith('"') and key.endswith('"'):
        key = key[1:-1]
    digest = hashlib.sha256(b"\0".join([str(request.method).encode(), request.path.encode(), request.body])).hexdigest()
    token = token_of(request)
    with transaction.atomic():
        own = AnsweredRequest.objects.filter(api_token=token, key=key)
        own.filter(created_at__lt=timezone.now() - ANSWERS_KEPT).delete()
        row = AnsweredRequest(api_token=token, key=key, path=request.path[:255], digest=digest)
        AnsweredRequest.objects.bulk_create([row], ignore_conflicts=True)
        stored = own.get()
        if stored.pk == row.pk:
            answer = NinjaJSONEncoder(ensure_ascii=False).encode(change().model_dump(mode="json"))
            own.update(answer=answer)
            return _json(answer)
    if stored.digest != digest:
        message = "was used for another request before: make a new key for each change"
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"{_HEADER} {message}.", [FieldError(field=_HEADER, message=message)]
        )
    response = _json(stored.answer)
    response[REPLAYED] = "true"
    return response


def _json(answer: str) -> HttpResponse:
    return HttpResponse(answer, content_type="application/json; charset=utf-8")
