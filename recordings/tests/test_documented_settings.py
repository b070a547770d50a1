"""docs/live-sessions.md names every setting of a session, with the default that it has."""

import re

from django.conf import settings

from recordings.definitions import AttendanceDefinition
from recordings.room_settings import CUSTOM_PARAMETERS, NAMES, RoomSettings

TEXT = (settings.BASE_DIR / "docs" / "live-sessions.md").read_text()


def rows_of(heading):
    table = TEXT.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0]
    return re.findall(r"(?m)^\| (`[^|]*) \| ([^|]*) \|", table)


def names_in(rows):
    return [name for cell, _ in rows for name in re.findall(r"`(\w+)`", cell)]


def test_every_custom_parameter_and_every_other_setting():
    custom, others = names_in(rows_of("custom parameter")), names_in(rows_of("setting"))
    assert custom == list(CUSTOM_PARAMETERS)
    assert sorted(custom + others) == sorted(NAMES)


def test_the_defaults():
    for cell, default in [*rows_of("custom parameter"), *rows_of("setting")]:
        said = re.fullmatch(r"`(\w+)`", default.strip())
        if said is not None:
            for name in re.findall(r"`(\w+)`", cell):
                assert str(getattr(RoomSettings(), name)).lower() == said[1], name


def test_every_key_of_graded_attendance():
    assert names_in(rows_of("key of `attendance`")) == list(AttendanceDefinition.model_fields)
