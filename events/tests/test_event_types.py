"""What events say is described, and they say nothing else."""

import ast
from pathlib import Path

import pytest
from django.conf import settings

from events import event_types
from events.endpoints import event_types as choosable
from events.event_docs import document
from events.event_types import EVENTS, EventType, UndescribedEvent, check_event, example_data
from events.fan_out import AUDIT_TYPES
from events.log import SYSTEM, Actor, event_of, record
from events.models import Event
from organizations.identifiers import uuid7
from tests.factories import OrganizationFactory

TYPES = {value: name for name, value in vars(EventType).items() if name.isupper()}
SHAPES = [(name, shape) for name, one in EVENTS.items() for shape in one.shapes]


def test_the_document_is_up_to_date():
    written = (settings.BASE_DIR / "docs" / "events.md").read_text(encoding="utf-8")
    assert written == document(), "run `make guides`"


def test_every_type_is_described_and_can_be_chosen_by_webhooks():
    assert set(EVENTS) == set(TYPES)
    assert set(TYPES) - {EventType.WEBHOOK_TEST} - AUDIT_TYPES <= set(choosable())
    assert not AUDIT_TYPES & set(choosable())


@pytest.mark.parametrize(("name", "shape"), SHAPES)
def test_examples_are_as_described(name, shape):
    check_event(name, EVENTS[name].actors[0], shape.subject, shape.example())
    required = {field.name: field.example for field in shape.fields if not field.sometimes}
    check_event(name, EVENTS[name].actors[-1], shape.subject, required)
    check_event(name, EVENTS[name].actors[0], shape.subject, required | {f.name: None for f in shape.fields if f.null})
    for field in shape.fields:
        if not field.null:
            with pytest.raises(UndescribedEvent, match=field.name):
                check_event(name, EVENTS[name].actors[0], shape.subject, shape.example() | {field.name: None})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"comment": "Well done."}, "has comment"),
        ({"points": "8.5"}, "another kind of points"),
        ({"points": True}, "another kind of points"),
        ({"person": "Ada"}, "another kind of person"),
        ({"version": 1.5}, "another kind of version"),
        ({"released": 1}, "another kind of released"),
    ],
)
def test_what_is_not_described_is_refused(change, words):
    data = example_data("score.changed") | change
    with pytest.raises(UndescribedEvent, match=words):
        event_of(uuid7(), "score.changed", actor=SYSTEM, subject_kind="score", subject_id=uuid7(), data=data)


def test_missing_keys_other_subjects_other_actors_and_other_types_are_refused():
    data = example_data("submission.created")
    person = Actor("person", "1", "Ada")
    del data["number"]
    for event_type, actor, subject, words in (
        ("submission.created", person, "submission", "lacks number"),
        ("submission.created", person, "assignment", "is about a submission"),
        ("submission.created", SYSTEM, "submission", "is not done by a system"),
        ("submission.lost", person, "submission", "is not described"),
    ):
        with pytest.raises(UndescribedEvent, match=words):
            event_of(uuid7(), event_type, actor=actor, subject_kind=subject, subject_id=uuid7(), data=data)


@pytest.mark.django_db
def test_production_keeps_the_change_rather_than_the_description(settings):
    settings.EVENT_DATA_CHECKED = False
    record(OrganizationFactory(), "score.changed", actor=SYSTEM, subject_kind="score", subject_id=uuid7())
    assert Event.objects.count() == 1


def test_every_type_is_written_somewhere():
    """Where, and with the data that is described, is what tests/test_events_told.py shows."""
    used = set()
    for path in Path(settings.BASE_DIR).glob("*/*.py"):
        if path.parent.name != "tests" and path != Path(event_types.__file__):
            used |= {
                node.attr
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "EventType"
            }
    assert set(TYPES.values()) - used == set()
