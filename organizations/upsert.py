"""Inserts and updates in one statement each, which two parallel requests cannot get between.

Django's `get_or_create` costs a savepoint and two more round trips, and `bulk_create(update_conflicts=True)` does not
say which row won; a launch does four of these (docs/performance.md). The text of each statement is made once.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connection, connections, models
from django.db.models import Field

from organizations.kept_statements import execute_kept


@lru_cache(maxsize=256)
def _fields(model: type[models.Model]) -> dict[str, "Field[Any, Any]"]:
    return {field.attname: field for field in model._meta.concrete_fields}


@lru_cache(maxsize=256)
def _insert_sql(model: type[models.Model], vendor: str) -> str:
    quote = connection.ops.quote_name
    columns = [quote(str(field.column)) for field in _fields(model).values()]
    return (
        f"INSERT INTO {quote(model._meta.db_table)} ({', '.join(columns)}) "  # noqa: S608 - names of our own models
        f"VALUES ({', '.join(['%s'] * len(columns))})"
    )


@lru_cache(maxsize=256)
def _upsert_sql(model: type[models.Model], vendor: str, unique: tuple[str, ...], overwritten: tuple[str, ...]) -> str:
    quote = connection.ops.quote_name
    columns = {name: quote(str(field.column)) for name, field in _fields(model).items()}
    assignments = [f"{columns[name]} = EXCLUDED.{columns[name]}" for name in overwritten]
    if not overwritten:
        # A no-op assignment makes the conflicting row come back in RETURNING when there is nothing to overwrite.
        idle = columns[_column_outside_keys(model)]
        assignments = [f"{idle} = {quote(model._meta.db_table)}.{idle}"]
    primary_column = columns[_primary_key(model).attname]
    return (
        f"{_insert_sql(model, vendor)} ON CONFLICT ({', '.join(columns[name] for name in unique)}) "
        f"DO UPDATE SET {', '.join(assignments)} RETURNING {primary_column}"
    )


@lru_cache(maxsize=256)
def _update_sql(model: type[models.Model], vendor: str, where: tuple[str, ...], names: tuple[str, ...]) -> str:
    quote = connection.ops.quote_name
    columns = {name: quote(str(field.column)) for name, field in _fields(model).items()}
    return (
        f"UPDATE {quote(model._meta.db_table)} SET {', '.join(f'{columns[name]} = %s' for name in names)} "  # noqa: S608
        f"WHERE {' AND '.join(f'{columns[name]} = %s' for name in where)}"
    )


def _primary_key(model: type[models.Model]) -> "Field[Any, Any]":
    key = model._meta.pk
    if key is None or isinstance(key, models.AutoField):
        raise TypeError(f"{model.__name__} has no primary key that is made here.")
    return key


def _column_outside_keys(model: type[models.Model]) -> str:
    """A field that no key holds, if there is one: PostgreSQL locks a row more strongly when a key's column is assigned,
    even to itself, and two launches that hold the row's key (FOR KEY SHARE, any foreign key to it) would wait for each
    other without end."""
    keys = {name for names in model._meta.unique_together for name in names}
    for constraint in model._meta.total_unique_constraints:
        keys.update(constraint.fields)
    free = [field for field in model._meta.concrete_fields if not field.unique and field.name not in keys]
    return (free or [_primary_key(model)])[0].attname


def _check_names(model: type[models.Model], names: Iterable[str]) -> None:
    unknown = [name for name in names if name not in _fields(model)]
    if unknown:
        raise TypeError(f"{model.__name__} has no field {', '.join(unknown)}.")


def upsert(
    model: type[models.Model],
    unique: Mapping[str, Any],
    values: Mapping[str, Any],
    *,
    update: Sequence[str] | None = None,
) -> tuple[UUID, bool]:
    """Inserts a row, or updates the one that has the same `unique` fields. Returns (primary key, whether inserted).

    `unique` and `values` map field names (a foreign key takes the instance's id under its attname) to values; fields
    that are in neither get their defaults. `update` names the fields to overwrite in an existing row (default: all of
    `values`). `unique` must be the fields of a unique constraint of the model.
    """
    _check_names(model, [*unique, *values])
    here: Any = connections[DEFAULT_DB_ALIAS]
    row = {}
    for name, field in _fields(model).items():
        value = unique[name] if name in unique else values[name] if name in values else field.get_default()
        row[name] = field.get_db_prep_save(value, here)
    sql = _upsert_sql(model, here.vendor, tuple(unique), tuple(values if update is None else update))
    with here.cursor() as cursor:
        execute_kept(here, cursor, sql, list(row.values()))
        returned = cursor.fetchone()[0]
    key = _primary_key(model)
    winner = key.to_python(returned)
    return winner, winner == key.to_python(row[key.attname])


def insert(row: models.Model) -> None:
    """Inserts a new row as it is, without signals."""
    model = type(row)
    here: Any = connections[DEFAULT_DB_ALIAS]
    values = [field.get_db_prep_save(getattr(row, name), here) for name, field in _fields(model).items()]
    with here.cursor() as cursor:
        execute_kept(here, cursor, _insert_sql(model, here.vendor), values)
    row._state.adding = False
    row._state.db = here.alias


def insert_missing(model: type[models.Model], unique: Mapping[str, Any]) -> None:
    """Inserts a row of these unique fields unless there is one; an existing row is not even written to."""
    _check_names(model, unique)
    row = model(**unique)
    # django.db.connection is a proxy that looks the connection up at every use.
    live: Any = connections[DEFAULT_DB_ALIAS]
    fields = _fields(model).values()
    with live.cursor() as cursor:
        execute_kept(
            live,
            cursor,
            f"{_insert_sql(model, live.vendor)} ON CONFLICT DO NOTHING",
            [field.get_db_prep_save(getattr(row, field.attname), live) for field in fields],
        )


def update_where(model: type[models.Model], where: Mapping[str, Any], values: Mapping[str, Any]) -> int:
    """Sets `values` in the rows whose fields equal `where`; how many there were."""
    _check_names(model, [*where, *values])
    here: Any = connections[DEFAULT_DB_ALIAS]
    fields = _fields(model)
    parameters = [fields[name].get_db_prep_save(value, here) for name, value in [*values.items(), *where.items()]]
    with here.cursor() as cursor:
        execute_kept(here, cursor, _update_sql(model, here.vendor, tuple(where), tuple(values)), parameters)
        return int(cursor.rowcount)
