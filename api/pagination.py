"""Lists in pages: a cursor names the last row seen, so that rows which come or go meanwhile move nothing."""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Generic, TypeVar

from django.core import signing
from django.db.models import Model, Q, QuerySet
from pydantic import BaseModel, Field, ValidationInfo, model_validator

from api.problems import FieldError, ProblemError

Item = TypeVar("Item")
Row = TypeVar("Row")
Stored = TypeVar("Stored", bound=Model)


class QueryParameters(BaseModel):
    """Query parameters: a parameter that the operation does not know is refused, as a misspelled filter would else
    answer with everything."""

    @model_validator(mode="before")
    @classmethod
    def refuse_unknown(cls, data: Any, info: ValidationInfo) -> Any:
        request = (info.context or {}).get("request")
        if request is not None:
            unknown = sorted(set(request.GET) - set(cls.model_fields))
            if unknown:
                raise ValueError(f"unknown query parameter: {', '.join(unknown)[:200]}")
        return data


class PageQuery(QueryParameters):
    """Which page of a list."""

    limit: int = Field(default=50, ge=1, le=200, description="How many items at most.")
    cursor: str | None = Field(default=None, max_length=1000, description="`next` of the page before.")


class Page(BaseModel, Generic[Item]):
    """One page of a list."""

    items: list[Item]
    next: str | None = Field(description="The cursor of the next page; null on the last.")


class Slice(Generic[Row]):
    """The rows of one page, and the cursor of the next."""

    def __init__(self, rows: list[Row], next_cursor: str | None) -> None:
        self.rows = rows
        self.next = next_cursor


def slice_of(rows: QuerySet[Stored], page: PageQuery, order: tuple[str, ...] = ("id",)) -> Slice[Stored]:
    """The page of the rows in this order (`-` for descending), whose last field must be unique.

    Raises ProblemError (400) for a cursor that this list did not give out.
    """
    salt = f"api.cursor.{rows.model._meta.label}.{','.join(order)}"
    if page.cursor:
        rows = rows.filter(_after(order, _values(page.cursor, salt, len(order))))
    found = list(rows.order_by(*order)[: page.limit + 1])
    if len(found) <= page.limit:
        return Slice(found, None)
    found.pop()
    last = [str(getattr(found[-1], name.lstrip("-"))) for name in order]
    return Slice(found, signing.Signer(salt=salt).sign_object(last))


def slice_of_list(
    rows: Sequence[Row], page: PageQuery, place: Callable[[Row], tuple[str, ...]], name: str
) -> Slice[Row]:
    """The page of rows that are no table's, in the order of `place`; `name` tells this list from others.

    Raises ProblemError (400) for a cursor that this list did not give out.
    """
    salt = f"api.cursor.{name}"
    if page.cursor:
        after = tuple(_values(page.cursor, salt, len(place(rows[0])) if rows else None))
        rows = [row for row in rows if place(row) > after]
    if len(rows) <= page.limit:
        return Slice(list(rows), None)
    found = list(rows[: page.limit])
    return Slice(found, signing.Signer(salt=salt).sign_object(list(place(found[-1]))))


def _values(cursor: str, salt: str, count: int | None) -> list[str]:
    try:
        values = signing.Signer(salt=salt).unsign_object(cursor)
    except (signing.BadSignature, ValueError) as error:
        raise _invalid_cursor() from error
    if not isinstance(values, list) or (count is not None and len(values) != count):
        raise _invalid_cursor()
    return values


def _invalid_cursor() -> ProblemError:
    message = "is not a cursor of this list: use `next` of the page before, or leave it out"
    return ProblemError(HTTPStatus.BAD_REQUEST, f"cursor: {message}", [FieldError(field="cursor", message=message)])


def _after(order: tuple[str, ...], values: list[str]) -> Q:
    """Rows that come after the values: later in the first field, or equal in it and later in the next, and so on."""
    condition = Q()
    equal = Q()
    for name, value in zip(order, values, strict=True):
        field = name.lstrip("-")
        comparison = "lt" if name.startswith("-") else "gt"
        condition |= equal & Q(**{f"{field}__{comparison}": value})
        equal &= Q(**{field: value})
    return condition
