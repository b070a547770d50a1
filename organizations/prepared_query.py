"""Queries whose SQL is made once.

For a join of a few models, Django takes longer to build the statement than PostgreSQL to answer it, and a launch asks
the same few questions each time (docs/performance.md). The models, their fields and their conversions stay Django's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any, Generic, TypeVar
from uuid import UUID, uuid4

from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.models import query as django_query

from organizations.kept_statements import execute_kept

Row = TypeVar("Row", bound=models.Model)


@dataclass(frozen=True)
class _Prepared:
    """A compiled statement, and how its rows become models."""

    sql: str
    slots: list[tuple[bool, Any]]  # (True, an argument's name) or (False, a constant), in the order of the parameters
    converters: list[tuple[int, list[Any], Any]]
    model: type[models.Model]
    names: list[str]
    start: int
    end: int
    populators: list[Any]


class PreparedQuery(Generic[Row]):
    """The first row that a queryset finds, as its model with what `select_related` names.

    `build` makes the queryset out of keyword arguments, each of which it uses in plain `field=value` conditions.
    `types` gives each argument's type, `str` or `UUID`. The model's own ordering is left aside; one in the queryset is
    kept. With `_hold` nobody else gets the row FOR UPDATE until the end of the transaction (account_locks.py).
    """

    def __init__(self, build: Callable[..., "models.QuerySet[Row]"], *, _hold: bool = False, **types: type) -> None:
        self._build, self._types, self._hold = build, types, _hold
        self._prepared: dict[str, _Prepared] = {}
        self._lock = Lock()

    def first(self, **values: Any) -> Row | None:
        """One statement; `None` when nothing is found."""
        # django.db.connection is a proxy that looks the connection up at every use.
        connection: Any = connections[DEFAULT_DB_ALIAS]
        prepared = self._prepared.get(connection.vendor) or self._prepare(connection)
        given = {name: _adapted(connection, value) for name, value in values.items()}
        with connection.cursor() as cursor:
            parameters = [given[slot] if named else slot for named, slot in prepared.slots]
            execute_kept(connection, cursor, prepared.sql, parameters)
            row = cursor.fetchone()
        return None if row is None else self._model(connection, prepared, list(row))

    def _prepare(self, connection: Any) -> _Prepared:
        with self._lock:
            # Values that stand for the arguments, and are found again among the statement's parameters.
            stand_ins = {name: uuid4() if kind is UUID else f"stand-in {uuid4()}" for name, kind in self._types.items()}
            queryset = self._build(**stand_ins)
            if not queryset.query.order_by:
                queryset = queryset.order_by()
            compiler: Any = queryset[:1].query.get_compiler(connection.alias)
            sql, parameters = compiler.as_sql()
            if self._hold and connection.vendor == "postgresql":
                sql += f" FOR KEY SHARE OF {connection.ops.quote_name(queryset.model._meta.db_table)}"
            names = {_adapted(connection, value): name for name, value in stand_ins.items()}
            slots = [(parameter in names, names.get(parameter, parameter)) for parameter in parameters]
            if {slot for named, slot in slots if named} != set(stand_ins):
                raise TypeError("An argument does not reach the statement as it is.")
            info = compiler.klass_info
            # The stubs are those of the next Django, which takes one more argument.
            make_populators: Any = django_query.get_related_populators
            start, end = info["select_fields"][0], info["select_fields"][-1] + 1
            converters = compiler.get_converters([column for column, _, _ in compiler.select])
            self._prepared[connection.vendor] = prepared = _Prepared(
                sql,
                slots,
                [(position, functions, column) for position, (functions, column) in converters.items()],
                info["model"],
                [column[0].target.attname for column in compiler.select[start:end]],
                start,
                end,
                list(make_populators(info, compiler.select, connection.alias)),
            )
            return prepared

    @staticmethod
    def _model(connection: Any, prepared: _Prepared, row: list[Any]) -> Any:
        for position, functions, column in prepared.converters:
            for function in functions:
                row[position] = function(row[position], column, connection)
        found = prepared.model.from_db(connection.alias, prepared.names, row[prepared.start : prepared.end])
        for populator in prepared.populators:
            populator.populate(row, found)
        return found


def _adapted(connection: Any, value: Any) -> Any:
    if isinstance(value, UUID) and not connection.features.has_native_uuid_field:
        return value.hex
    return value
