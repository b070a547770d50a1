"""Who calls: a bearer token, and through it one organization. Everything the API does happens inside that."""

from typing import TypeVar
from uuid import UUID

import structlog
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest
from ninja.security.http import HttpAuthBase

from api.problems import TooManyRequests
from api.rate_limit import take
from events.log import Actor
from organizations.api_tokens import find_api_token, note_use
from organizations.models import ApiToken, Organization
from organizations.tenancy import within

Row = TypeVar("Row", bound=Model)


class BearerToken(HttpAuthBase):
    """An API token of the organization, made by its owner or by `provision`: `Authorization: Bearer <token>`."""

    openapi_scheme: str = "bearer"

    def __call__(self, request: HttpRequest) -> ApiToken | None:
        """The token, its organization loaded; None when there is none such. Raises TooManyRequests."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        # The look-up is done for whatever was sent, so that a wrong token takes as long as a right one.
        api_token = find_api_token(token.strip())
        if api_token is None or scheme.lower() != "bearer":
            return None
        structlog.contextvars.bind_contextvars(
            organization=str(api_token.organization_id), caller=f"api_token:{api_token.id}"
        )
        share = take(api_token)
        request.api_share = share  # type: ignore[attr-defined]
        if share.exceeded:
            raise TooManyRequests(share.reset)
        note_use(api_token)
        return api_token


def token_of(request: HttpRequest) -> ApiToken:
    """The token that the request was let in with."""
    api_token: ApiToken = request.auth  # type: ignore[attr-defined]
    return api_token


def organization_of(request: HttpRequest) -> Organization:
    """The organization that the request is inside of."""
    return token_of(request).organization


def actor_of(request: HttpRequest) -> Actor:
    """Who did it, for events."""
    return Actor.of(token_of(request))


def own(request: HttpRequest, rows: QuerySet[Row]) -> QuerySet[Row]:
    """Those of the rows that belong to the request's organization."""
    limited: QuerySet[Row] = within(rows, [organization_of(request).pk])
    return limited


def get_own(request: HttpRequest, rows: QuerySet[Row], primary_key: UUID) -> Row:
    """The row, if it is the organization's; Http404 otherwise, whether it exists or not."""
    row = own(request, rows).filter(pk=primary_key).first()
    if row is None:
        raise Http404
    return row
