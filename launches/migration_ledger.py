"""Changes that are kept as they are made, so that they can be taken back to the letter."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.apps import apps
from django.db.models import Field, ForeignKey, Model
from django.db.models.fields.reverse_related import ForeignObjectRel

from grades.models import GradebookCell
from launches.models import LedgerChange, Merge, MergeChange, Migration, MigrationChange

Values = dict[str, Any]
_BATCH = 500
# What goes on by itself in a cell: taking it back would let timestamps run backwards (F8).
_GOES_ON: dict[type[Model], frozenset[str]] = {
    GradebookCell: frozenset({"last_score_at", "last_percentage", "updated_at"}),
}


class ChangedSinceError(Exception):
    """A row is no longer as the step left it. `row` is what it is now."""

    def __init__(self, row: Model) -> None:
        super().__init__(str(row))
        self.row = row


def as_texts(row: Model, names: Iterable[str] | None = None) -> Values:
    """The row's columns as texts; null stays null, JSON stays JSON."""
    fields = _fields(type(row))
    return {name: _text(row, fields[name]) for name in (fields if names is None else names)}


def _fields(model: type[Model]) -> "dict[str, Field[Any, Any]]":
    return {field.attname: field for field in model._meta.concrete_fields}


def _text(row: Model, field: "Field[Any, Any]") -> Any:
    return None if getattr(row, field.attname) is None else field.value_to_string(row)


def _values(model: type[Model], texts: Mapping[str, Any]) -> Values:
    fields = _fields(model)
    return {name: None if text is None else fields[name].to_python(text) for name, text in texts.items()}


@dataclass(frozen=True)
class _Entry:
    kind: LedgerChange.Kind
    model: type[Model]
    ids: Sequence[Any]
    before: Values
    after: Values


class Ledger:
    """The changes of one step (a migration, a merge) that has not been saved yet; `save` writes them all."""

    def __init__(self) -> None:
        self.changes: list[_Entry] = []

    def __len__(self) -> int:
        return len(self.changes)

    def note_created(self, row: Model) -> None:
        """The row is there already; what it holds now is what undoing looks for."""
        self._note(LedgerChange.Kind.CREATED, type(row), [row.pk], {}, as_texts(row))

    def keep(self, row: Model) -> None:
        """The row stays as it is, but launches of whoever was joined will write into it: undoing makes it so again."""
        self._note(LedgerChange.Kind.UPDATED, type(row), [row.pk], as_texts(row), {})

    def update(self, row: Model, **values: Any) -> None:
        """Sets columns of one row. A gradebook cell is kept whole: what a launch writes into it goes back, too."""
        kept = None if isinstance(row, GradebookCell) else values
        before = as_texts(row, kept)
        for name, value in values.items():
            setattr(row, name, value)
        row.save(update_fields=list(values))
        self._note(LedgerChange.Kind.UPDATED, type(row), [row.pk], before, as_texts(row, values))

    def update_all(self, model: type[Model], ids: Sequence[UUID], column: str, before: Any, after: Any) -> None:
        """Sets one column of many rows that all hold `before`."""
        for start in range(0, len(ids), _BATCH):
            batch = ids[start : start + _BATCH]
            model._default_manager.filter(pk__in=batch).update(**{column: after})
            self._note(LedgerChange.Kind.UPDATED, model, batch, {column: str(before)}, {column: str(after)})

    def delete(self, row: Model) -> None:
        """Deletes one row, which is kept whole."""
        before, key = as_texts(row), row.pk
        row.delete()
        self._note(LedgerChange.Kind.DELETED, type(row), [key], before, {})

    def save(self, step: Migration | Merge) -> None:
        """Writes the changes under a saved step."""
        if isinstance(step, Merge):
            MergeChange.objects.bulk_create(
                [MergeChange(merge=step, **columns) for columns in self._columns()], batch_size=_BATCH
            )
        else:
            MigrationChange.objects.bulk_create(
                [MigrationChange(migration=step, **columns) for columns in self._columns()], batch_size=_BATCH
            )

    def _columns(self) -> Iterator[dict[str, Any]]:
        for position, entry in enumerate(self.changes):
            yield {
                "position": position,
                "kind": entry.kind,
                "model": entry.model._meta.label_lower,
                "rows": [str(key) for key in entry.ids],
                "before": entry.before,
                "after": entry.after,
            }

    def _note(
        self, kind: LedgerChange.Kind, model: type[Model], ids: Sequence[Any], before: Values, after: Values
    ) -> None:
        self.changes.append(_Entry(kind, model, list(ids), before, after))


def model_of(change: LedgerChange) -> type[Model]:
    return apps.get_model(change.model)


def rows_of(change: LedgerChange) -> Iterator[Model]:
    """The rows of a change that are still there."""
    yield from model_of(change)._default_manager.filter(pk__in=[UUID(key) for key in change.rows])


def take_back_update(change: LedgerChange) -> None:
    """What it was. Rows that have gone since stay gone. Raises `ChangedSinceError`."""
    model = model_of(change)
    after, before = _values(model, change.after), _values(model, change.before)
    goes_on = _GOES_ON.get(model, frozenset())
    before = {name: value for name, value in before.items() if name not in goes_on and name != "id"}
    rows = list(rows_of(change))
    for row in rows:
        if any(getattr(row, name) != value for name, value in after.items()):
            raise ChangedSinceError(row)
    model._default_manager.filter(pk__in=[row.pk for row in rows]).update(**before)


def take_back_deletion(change: LedgerChange) -> Model | None:
    """The row as it was; None where what it belonged to has been deleted since."""
    model = model_of(change)
    row = model(**_values(model, change.before))
    for field in model._meta.concrete_fields:
        if isinstance(field, ForeignKey) and getattr(row, field.attname) is not None:
            parents = field.related_model._default_manager  # type: ignore[union-attr]
            if not parents.filter(pk=getattr(row, field.attname)).exists():
                if not field.null:
                    return None
                setattr(row, field.attname, None)
    row.save(force_insert=True)
    return row


def is_unused(row: Model) -> bool:
    """Whether nothing refers to the row."""
    relations = [entry for entry in row._meta.get_fields(include_hidden=True) if isinstance(entry, ForeignObjectRel)]
    return not any(
        relation.related_model._default_manager.filter(**{relation.field.name: row}).exists() for relation in relations
    )
