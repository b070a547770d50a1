"""The launch log."""

from typing import Annotated

from django.http import HttpRequest
from ninja import Query, Router
from pydantic import AfterValidator, Field, WithJsonSchema

from api.authentication import own
from api.pagination import Page, PageQuery, slice_of
from api.schemas.launches import LaunchOut, launch_out
from launches.models import Launch
from lti.errors import LaunchErrorCode

router = Router()

RESULTS = [Launch.ACCEPTED, *LaunchErrorCode]


def _result(text: str) -> str:
    if text and text not in RESULTS:
        raise ValueError(f"must be one of {', '.join(RESULTS)}")
    return text


class LaunchQuery(PageQuery):
    """Which launches."""

    error: Annotated[str, AfterValidator(_result), WithJsonSchema({"type": "string", "enum": ["", *RESULTS]})] = Field(
        default="", description="Only launches refused with this code (or `accepted`)."
    )


@router.get("/launches", response=Page[LaunchOut], summary="Read the launch log")
def list_launches(request: HttpRequest, query: Query[LaunchQuery]) -> Page[LaunchOut]:
    """Newest first: who arrived where, and which launches were refused with what code."""
    rows = own(request, Launch.objects.all())
    if query.error:
        rows = rows.filter(result=query.error)
    part = slice_of(rows, query, ("-id",))
    return Page(items=[launch_out(launch) for launch in part.rows], next=part.next)
