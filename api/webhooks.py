"""Webhooks: where events are told to, tried out, and what was delivered."""

from datetime import timedelta
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.db import transaction
from django.http import HttpRequest
from ninja import Query, Router, Status

from api.authentication import actor_of, get_own, organization_of, own
from api.pagination import Page, PageQuery, slice_of
from api.problems import FieldError, ProblemError
from api.schemas.scores import ListedDelivery, listed_deliveries
from api.schemas.webhooks import MadeWebhook, NewWebhook, WebhookChange, WebhookOut, webhook_out
from events.endpoints import (
    EndpointDisabled,
    EndpointError,
    change_endpoint,
    delete_endpoint,
    make_endpoint,
    rotate_secret,
    send_test_event,
)
from events.models import WebhookEndpoint

router = Router()

_MAY_BE_TAKEN: dict[str, Any] = {"x-problems": [409]}


@router.get("/webhooks", response=Page[WebhookOut], summary="List webhooks")
def list_webhooks(request: HttpRequest, page: Query[PageQuery]) -> Page[WebhookOut]:
    """The oldest first, without their secrets."""
    part = slice_of(own(request, WebhookEndpoint.objects.all()), page)
    return Page(items=[webhook_out(endpoint) for endpoint in part.rows], next=part.next)


@router.post("/webhooks", response={201: MadeWebhook}, summary="Make a webhook", openapi_extra=_MAY_BE_TAKEN)
def make_webhook(request: HttpRequest, webhook: NewWebhook) -> Status[MadeWebhook]:
    """Events that happen from now on are sent there. The answer has the signing secret, which is shown this once."""
    try:
        endpoint = make_endpoint(
            organization_of(request),
            url=webhook.url,
            event_types=webhook.events,
            description=webhook.description,
            enabled=webhook.enabled,
            secret=webhook.secret or "",
        )
    except EndpointError as error:
        raise _problem_of(error) from error
    return Status(HTTPStatus.CREATED, MadeWebhook(**webhook_out(endpoint).model_dump(), secret=endpoint.secret))


@router.patch("/webhooks/{webhook_id}", response=WebhookOut, summary="Change a webhook", openapi_extra=_MAY_BE_TAKEN)
def change_webhook(request: HttpRequest, webhook_id: UUID, change: WebhookChange) -> WebhookOut:
    """Disabling cancels what waits; enabling clears the reason for which the platform disabled it."""
    endpoint = get_own(request, WebhookEndpoint.objects.all(), webhook_id)
    values = change.model_dump(include={"url", "description", "enabled"} & change.model_fields_set)
    if "events" in change.model_fields_set:
        values["event_types"] = change.events
    if "overlap_hours" in change.model_fields_set and "secret" not in change.model_fields_set:
        raise _problem_of(EndpointError("overlap_hours", "is for a new secret: send `secret` as well"))
    try:
        with transaction.atomic():
            change_endpoint(endpoint, **values)
            if "secret" in change.model_fields_set:
                if not change.secret:
                    raise EndpointError("secret", "must be whsec_ and 24 to 64 bytes in base64")
                rotate_secret(endpoint, timedelta(hours=change.overlap_hours), actor_of(request), change.secret)
    except EndpointError as error:
        raise _problem_of(error) from error
    return webhook_out(endpoint)


@router.delete("/webhooks/{webhook_id}", response={204: None}, summary="Delete a webhook")
def delete_webhook(request: HttpRequest, webhook_id: UUID) -> Status[None]:
    """What waits is cancelled. The record of what was sent stays among the deliveries."""
    delete_endpoint(get_own(request, WebhookEndpoint.objects.all(), webhook_id))
    return Status(HTTPStatus.NO_CONTENT, None)


@router.post(
    "/webhooks/{webhook_id}/test",
    response={202: ListedDelivery},
    summary="Send a test event",
    openapi_extra=_MAY_BE_TAKEN,
)
def test_webhook(request: HttpRequest, webhook_id: UUID) -> Status[ListedDelivery]:
    """A `webhook.test` event, to this webhook alone and whatever its events are. The answer is its delivery, whose
    state tells what became of it. 409 when the webhook is disabled."""
    endpoint = get_own(request, WebhookEndpoint.objects.all(), webhook_id)
    try:
        delivery = send_test_event(endpoint, actor_of(request))
    except EndpointDisabled as error:
        raise ProblemError(HTTPStatus.CONFLICT, str(error)) from error
    return Status(HTTPStatus.ACCEPTED, listed_deliveries([delivery], {})[0])


@router.get("/webhooks/{webhook_id}/deliveries", response=Page[ListedDelivery], summary="List a webhook's deliveries")
def list_webhook_deliveries(request: HttpRequest, webhook_id: UUID, page: Query[PageQuery]) -> Page[ListedDelivery]:
    """Newest first. Any of them can be sent again by `POST /deliveries/{id}/resend`."""
    endpoint = get_own(request, WebhookEndpoint.objects.all(), webhook_id)
    part = slice_of(endpoint.deliveries.all(), page, ("-id",))
    return Page(items=listed_deliveries(part.rows, {}), next=part.next)


def _problem_of(error: EndpointError) -> ProblemError:
    status = HTTPStatus.CONFLICT if error.taken else HTTPStatus.UNPROCESSABLE_ENTITY
    detail = f"{error.field}: {error.message}"
    return ProblemError(status, detail, [FieldError(field=error.field, message=error.message)])
