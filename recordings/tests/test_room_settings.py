"""Custom parameters, the room's settings and the organization's policy: what is taken, what is refused, what wins."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.room_settings import (
    CUSTOM_PARAMETERS,
    NAMES,
    RoomSettings,
    SettingsError,
    checked_settings,
    custom_settings,
    policy_problems,
    resolve,
)

ON = ["allow_polls", "allow_shared_note_pad", "allow_breakout_room", "allow_recording", "allow_rtmp"]
ON += ["allow_view_other_webcams", "allow_view_other_users_list"]
COLOURS = ["primary_color", "secondary_color", "background_color"]


def settings(custom=None, *, policy=None, room=None):
    return resolve(policy=policy or {}, room=room or {}, custom=custom or {})


def test_the_table_and_the_two_it_omits():
    assert ("room_duration", *ON, "mute_on_start", *COLOURS, "custom_logo") == CUSTOM_PARAMETERS


def test_defaults():
    found = settings()
    assert found.settings == RoomSettings()
    assert all(getattr(found.settings, name) is True for name in ON)
    assert found.settings.mute_on_start is False
    assert (found.settings.room_duration, found.settings.design) == (0, {})
    assert (found.refused, found.policy_problems) == ((), ())
    assert set(found.sources.values()) == {"default"}


@pytest.mark.parametrize("text", ["false", "FALSE", "False", "0", "f", "F", " false "])
@pytest.mark.parametrize("name", ON)
def test_switches_off(name, text):
    found = settings({name: text})
    assert getattr(found.settings, name) is False
    assert found.sources[name] == "launch"
    assert found.refused == ()


@pytest.mark.parametrize("text", ["true", "TRUE", "True", "tRuE", "1", "t", "T"])
def test_switches_on(text):
    assert settings({"mute_on_start": text}).settings.mute_on_start is True


@pytest.mark.parametrize("text", ["yes", "no", "on", "2", "-1", "truee", "0.0", "<b>", "true;", "\uff11"])
def test_a_switch_that_is_none_falls_back_and_is_listed(text):
    found = settings({"allow_polls": text, "mute_on_start": text})
    assert (found.settings.allow_polls, found.settings.mute_on_start) == (True, False)
    assert [(one.name, one.given, one.reason) for one in found.refused] == [
        ("allow_polls", text, "must be true or false"),
        ("mute_on_start", text, "must be true or false"),
    ]


@pytest.mark.parametrize(("text", "minutes"), [("0", 0), ("1", 1), ("090", 90), ("100000", 100_000)])
def test_duration(text, minutes):
    assert settings({"room_duration": text}).settings.room_duration == minutes


@pytest.mark.parametrize("text", ["-1", "1.5", "1e3", "abc", "+5", "100001", "99999999999999999999", "٣", "5 min"])
def test_a_duration_that_is_none(text):
    found = settings({"room_duration": text})
    assert found.settings.room_duration == 0
    assert [one.name for one in found.refused] == ["room_duration"]


@pytest.mark.parametrize("name", COLOURS)
@pytest.mark.parametrize("text", ["#004D90", "#abc", "#11223344"])
def test_colours(name, text):
    assert settings({name: text}).settings.design == {name: text}


@pytest.mark.parametrize(
    "text", ["004D90", "#12", "#12345", "red", "#00000g", "#000;}", "url(x)", "#000000\n", "#\uff11\uff12\uff13"]
)
def test_a_colour_that_is_none(text):
    found = settings({"primary_color": text})
    if text.strip() == "#000000":
        assert found.settings.design == {"primary_color": "#000000"}, "space around it is the form's, not the value's"
        return
    assert found.settings.design == {}
    assert "hexadecimal" in found.refused[0].reason


@pytest.mark.parametrize("name", ["custom_logo", "custom_custom_logo", "logo", "Custom_Logo"])
def test_the_logo_by_each_of_its_names(name):
    assert settings({name: "https://example.org/l.png"}).settings.custom_logo == "https://example.org/l.png"


@pytest.mark.parametrize(
    "text",
    [
        "http://example.org/l.png",
        "javascript:alert(1)",
        "https://",
        "//x/l.png",
        "https://a@b/l.png",
        'https://x/"><b>',
    ],
)
def test_a_logo_that_is_none(text):
    found = settings({"custom_logo": text})
    assert found.settings.custom_logo == ""
    assert found.refused[0].name == "custom_logo"


@pytest.mark.parametrize("name", ["allow_polls", "custom_allow_polls", "Allow-Polls"])
def test_names_count_with_or_without_the_prefix(name):
    assert settings({name: "false"}).settings.allow_polls is False


@pytest.mark.parametrize("text", ["", "  ", "$Canvas.course.id", "@X@something@X@"])
def test_blank_values_and_variables_count_as_missing(text):
    found = settings(dict.fromkeys(CUSTOM_PARAMETERS, text))
    assert (found.settings, found.refused) == (RoomSettings(), ())


def test_a_launch_sets_only_what_is_in_the_table():
    asked = {"moderator_must_start": "false", "max_participants": "9", "waiting_room": "true", "opens_at": "x"}
    found = settings(asked)
    assert (found.settings, found.refused) == (RoomSettings(), ())


def test_what_is_refused_is_one_short_line():
    found = settings({"primary_color": "<script>\r\nalert(1)</script>" + "x" * 500})
    assert found.refused[0].given.startswith("<script> alert(1)</script>xxx")
    assert len(found.refused[0].given) == 80


@given(st.dictionaries(st.sampled_from([*CUSTOM_PARAMETERS, "logo", "custom_x"]), st.text(max_size=40)))
def test_whatever_comes_is_a_setting_or_refused(custom):
    found = settings(custom)
    assert set(custom_settings(custom)[0]) | {one.name for one in found.refused} <= set(CUSTOM_PARAMETERS)
    again = checked_settings(found.settings.as_json())
    assert settings(room=again).settings == found.settings
    for value in found.settings.design.values():
        assert not set(value) & set("<>\"' \n\r\t")


# Who wins


def test_from_the_weakest_to_the_strongest():
    policy = {"defaults": {"allow_polls": False, "mute_on_start": True, "allow_rtmp": False}}
    room = {"allow_polls": True, "mute_on_start": False}
    found = settings({"mute_on_start": "true"}, policy=policy, room=room)
    shown = {name: (getattr(found.settings, name), found.sources[name]) for name in ("allow_polls", "mute_on_start")}
    assert shown == {"allow_polls": (True, "room"), "mute_on_start": (True, "launch")}
    assert (found.settings.allow_rtmp, found.sources["allow_rtmp"]) == (False, "organization")


def test_what_the_organization_forces_wins_and_says_so():
    policy = {"forced": {"allow_recording": False}, "defaults": {"allow_recording": True}}
    found = settings({"allow_recording": "true"}, policy=policy, room={"allow_recording": True})
    assert (found.settings.allow_recording, found.sources["allow_recording"]) == (False, "forced")
    assert [(one.name, one.given, one.reason) for one in found.refused] == [
        ("allow_recording", "true", "your organization has fixed this setting")
    ]
    assert settings({"allow_recording": "false"}, policy=policy).refused == (), "the same is no conflict"


@pytest.mark.parametrize(
    ("asked", "allowed", "refused"), [("0", 180, True), ("181", 180, True), ("180", 180, False), ("20", 20, False)]
)
def test_the_longest_duration(asked, allowed, refused):
    found = settings({"room_duration": asked}, policy={"max_duration": 180})
    assert found.settings.room_duration == allowed
    assert bool(found.refused) == refused


def test_a_limit_holds_where_nobody_asked():
    found = settings(policy={"max_duration": 90, "max_participants": 40}, room={"max_participants": 500})
    assert (found.settings.room_duration, found.settings.max_participants) == (90, 40)
    assert found.sources["room_duration"] == "forced"
    assert found.refused == ()
    forced = settings(policy={"max_duration": 90, "forced": {"room_duration": 0}})
    assert forced.settings.room_duration == 90


def test_what_may_not_be_recorded_is_not_recorded_by_itself():
    found = settings(policy={"forced": {"allow_recording": False}}, room={"auto_recording": True})
    assert found.settings.auto_recording is False
    assert found.sources["auto_recording"] == "forced"


def test_a_wrong_policy_is_left_out_and_listed_for_the_owner():
    policy = {
        "forced": {"allow_polls": "no", "nothing": 1, "primary_color": "red"},
        "defaults": {"room_duration": -5, "mute_on_start": True},
        "max_duration": "long",
        "max_participants": True,
    }
    found = settings(policy=policy)
    assert found.settings == RoomSettings(mute_on_start=True)
    names = {one.name for one in policy_problems(policy)}
    assert names == {"allow_polls", "nothing", "primary_color", "room_duration", "max_duration", "max_participants"}
    assert settings(policy={"forced": ["x"], "defaults": 7}).settings == RoomSettings()


# A room's own settings


def test_a_rooms_settings_are_kept_as_given():
    given = {
        "room_duration": 45,
        "allow_polls": False,
        "welcome_message": " Hello,\nall ",
        "opens_at": "2030-01-31T18:00:00+01:00",
        "closes_at": datetime(2030, 2, 1, tzinfo=UTC),
        "waiting_room": None,
    }
    kept = checked_settings(given)
    assert kept == {
        "room_duration": 45,
        "allow_polls": False,
        "welcome_message": "Hello,\nall",
        "opens_at": "2030-01-31T17:00:00Z",
        "closes_at": "2030-02-01T00:00:00Z",
    }
    found = settings(room=kept).settings
    assert found.is_open(datetime(2030, 1, 31, 17, tzinfo=UTC))
    assert not found.is_open(datetime(2030, 1, 31, 16, 59, tzinfo=UTC))
    assert not found.is_open(datetime(2030, 2, 1, tzinfo=UTC))
    assert checked_settings(settings(room=kept).settings.as_json()).items() >= kept.items()


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"nothing": 1}, "nothing"),
        ({"allow_polls": "false"}, "allow_polls"),
        ({"allow_polls": 0}, "allow_polls"),
        ({"room_duration": True}, "room_duration"),
        ({"room_duration": -1}, "room_duration"),
        ({"room_duration": "5"}, "room_duration"),
        ({"max_participants": 100_001}, "max_participants"),
        ({"primary_color": "red"}, "primary_color"),
        ({"primary_color": 5}, "primary_color"),
        ({"custom_logo": "http://x.example/"}, "custom_logo"),
        ({"welcome_message": "x" * 2001}, "welcome_message"),
        ({"welcome_message": "a\x00b"}, "welcome_message"),
        ({"opens_at": "tomorrow"}, "opens_at"),
        ({"opens_at": "2030-01-31T18:00:00"}, "opens_at"),
        ({"opens_at": "2030-01-31T18:00:00Z", "closes_at": "2030-01-31T18:00:00Z"}, "closes_at"),
    ],
)
def test_a_rooms_settings_that_cannot_be(given, field):
    with pytest.raises(SettingsError) as refused:
        checked_settings(given)
    assert refused.value.field == field
    assert refused.value.message


def test_every_setting_has_a_source_and_a_json_value():
    found = settings()
    assert set(found.sources) == set(NAMES) == set(found.settings.as_json())
