"""Protobuf JSON as plugNmeet reads it: known fields by type, in snake_case or camelCase, the rest ignored."""

import re
from collections.abc import Mapping
from typing import Any

_CAMEL = re.compile(r"_([a-z0-9])")
UINT32, UINT64 = 2**32 - 1, 2**64 - 1


class BadRequest(Exception):
    """A request that the server refuses; `status_code` is its name for why."""

    def __init__(self, message: str, status_code: str = "INVALID_PARAMETERS") -> None:
        super().__init__(message)
        self.status_code = status_code


class Kind:
    """How a field is written. `optional` fields know that they are unset; plain ones are then zero."""

    def __init__(self, name: str, *, optional: bool = False, fields: Mapping[str, Any] | None = None) -> None:
        self.name = name
        self.optional = optional
        self.fields = fields or {}


BOOL, OPTIONAL_BOOL = Kind("bool"), Kind("bool", optional=True)
UINT, OPTIONAL_UINT, OPTIONAL_LONG = Kind("uint32"), Kind("uint32", optional=True), Kind("uint64", optional=True)
TEXT, OPTIONAL_TEXT = Kind("string"), Kind("string", optional=True)
TEXTS, TEXT_MAP, ANYTHING = Kind("strings"), Kind("map"), Kind("anything")


def message(**fields: Kind) -> Kind:
    return Kind("message", optional=True, fields=fields)


def read(kind: Kind, value: Any, where: str = "") -> dict[str, Any]:
    """The fields that are set, by their snake_case names. Raises BadRequest for one of another type."""
    if not isinstance(value, dict):
        raise BadRequest(f"proto: syntax error: unexpected value for {where or 'the request'}")
    found = {}
    for name, field in kind.fields.items():
        camel = _CAMEL.sub(lambda match: match.group(1).upper(), name)
        given = value.get(name, value.get(camel))
        if given is not None:
            found[name] = _value(field, given, f"{where}.{name}" if where else name)
    return found


def _value(kind: Kind, value: Any, where: str) -> Any:
    wrong = BadRequest(f"proto: invalid value for {kind.name} field {where}: {str(value)[:40]}")
    if kind.name == "message":
        return read(kind, value, where)
    if kind.name == "bool" and isinstance(value, bool):
        return value
    if kind.name in ("uint32", "uint64") and not isinstance(value, bool):
        if isinstance(value, str) and re.fullmatch("[0-9]{1,20}", value):
            value = int(value)
        if isinstance(value, int) and 0 <= value <= (UINT32 if kind.name == "uint32" else UINT64):
            return value
    if kind.name == "string" and isinstance(value, str):
        return value
    if kind.name == "strings" and isinstance(value, list) and all(isinstance(one, str) for one in value):
        return value
    if kind.name == "map" and isinstance(value, dict) and all(isinstance(one, str) for one in value.values()):
        return value
    if kind.name == "anything":
        return value
    raise wrong


_ALLOW = message(is_allow=BOOL)
_BOT = message(enable_auto_close_chat_panel=BOOL, duration_after_last_message=UINT)
FEATURES = message(
    allow_webcams=BOOL,
    mute_on_start=BOOL,
    allow_screen_share=BOOL,
    allow_view_other_webcams=BOOL,
    allow_view_other_users_list=BOOL,
    admin_only_webcams=BOOL,
    enable_analytics=BOOL,
    room_duration=OPTIONAL_LONG,
    allow_virtual_bg=OPTIONAL_BOOL,
    allow_raise_hand=OPTIONAL_BOOL,
    allow_reactions=OPTIONAL_BOOL,
    auto_gen_user_id=OPTIONAL_BOOL,
    allow_rtmp=OPTIONAL_BOOL,
    recording_features=message(
        is_allow=BOOL,
        is_allow_cloud=BOOL,
        is_allow_local=BOOL,
        enable_auto_cloud_recording=BOOL,
        only_record_admin_webcams=BOOL,
        recorder_bot_options=_BOT,
    ),
    chat_features=message(is_allow=BOOL, is_allow_file_upload=BOOL, allowed_file_types=TEXTS, max_file_size=UINT),
    shared_note_pad_features=_ALLOW,
    whiteboard_features=message(is_allow=BOOL, preload_file=TEXT),
    external_media_player_features=_ALLOW,
    waiting_room_features=message(is_active=BOOL, waiting_room_msg=TEXT),
    breakout_room_features=message(is_allow=BOOL, allowed_number_rooms=UINT),
    display_external_link_features=_ALLOW,
    ingress_features=_ALLOW,
    end_to_end_encryption_features=message(
        is_enabled=BOOL,
        included_chat_messages=BOOL,
        included_whiteboard=BOOL,
        enabled_self_insert_encryption_key=BOOL,
    ),
    polls_features=_ALLOW,
    insights_features=message(
        is_allow=BOOL,
        transcription_features=message(is_allow=BOOL, is_allow_translation=BOOL, is_allow_speech_synthesis=BOOL),
        chat_translation_features=_ALLOW,
        ai_features=message(
            is_allow=BOOL,
            ai_text_chat_features=_ALLOW,
            meeting_summarization_features=message(is_allow=BOOL, summarization_prompt=TEXT),
        ),
    ),
    sip_dial_in_features=message(is_allow=BOOL, enable_dial_in_on_create=BOOL, hide_phone_number=BOOL),
    external_broadcasting_features=message(is_allow=BOOL, is_allow_rtmp=BOOL, recorder_bot_options=_BOT),
)
LOCKS = message(
    lock_microphone=OPTIONAL_BOOL,
    lock_webcam=OPTIONAL_BOOL,
    lock_screen_sharing=OPTIONAL_BOOL,
    lock_chat=OPTIONAL_BOOL,
    lock_chat_send_message=OPTIONAL_BOOL,
    lock_chat_file_share=OPTIONAL_BOOL,
    lock_private_chat=OPTIONAL_BOOL,
    lock_whiteboard=OPTIONAL_BOOL,
    lock_shared_notepad=OPTIONAL_BOOL,
    lock_reactions=OPTIONAL_BOOL,
)
CREATE = message(
    room_id=TEXT,
    empty_timeout=OPTIONAL_UINT,
    max_participants=OPTIONAL_UINT,
    metadata=message(
        room_title=TEXT,
        welcome_message=OPTIONAL_TEXT,
        webhook_url=OPTIONAL_TEXT,
        logout_url=OPTIONAL_TEXT,
        room_features=FEATURES,
        default_lock_settings=LOCKS,
        copyright_conf=message(display=BOOL, text=TEXT),
        extra_data=TEXT_MAP,
        is_recording=BOOL,
        is_active_rtmp=BOOL,
        is_breakout_room=BOOL,
        parent_room_id=TEXT,
        metadata_id=OPTIONAL_TEXT,
    ),
)
JOIN = message(
    room_id=TEXT,
    user_info=message(
        name=TEXT,
        user_id=TEXT,
        is_admin=BOOL,
        is_hidden=BOOL,
        user_metadata=message(
            profile_pic=OPTIONAL_TEXT,
            record_webcam=OPTIONAL_BOOL,
            preferred_lang=OPTIONAL_TEXT,
            ex_user_id=OPTIONAL_TEXT,
            extra_data=TEXT_MAP,
            lock_settings=LOCKS,
        ),
    ),
)
ROOM = message(room_id=TEXT)
LIST = message(room_ids=TEXTS, room_sid=OPTIONAL_TEXT, type=OPTIONAL_TEXT, **{"from": UINT}, limit=UINT, order_by=TEXT)
RECORD = message(record_id=TEXT)
RENAME = message(
    record_id=TEXT,
    metadata=message(title=OPTIONAL_TEXT, description=OPTIONAL_TEXT, subtitles=ANYTHING, extra_data=TEXT_MAP),
)
ARTIFACT = message(artifact_id=TEXT)

# What a room is like where nothing is said.
DEFAULT_FEATURES: Mapping[str, Any] = {
    "allow_webcams": True,
    "mute_on_start": False,
    "allow_screen_share": True,
    "allow_view_other_webcams": True,
    "allow_view_other_users_list": True,
    "admin_only_webcams": False,
    "enable_analytics": True,
    "room_duration": 0,
    "allow_virtual_bg": True,
    "allow_raise_hand": True,
    "allow_reactions": True,
    "auto_gen_user_id": False,
    "recording_features": {
        "is_allow": True,
        "is_allow_cloud": True,
        "is_allow_local": True,
        "enable_auto_cloud_recording": False,
        "only_record_admin_webcams": False,
    },
    "chat_features": {"is_allow": True, "is_allow_file_upload": True},
    "shared_note_pad_features": {"is_allow": True},
    "whiteboard_features": {"is_allow": True},
    "external_media_player_features": {"is_allow": True},
    "waiting_room_features": {"is_active": False, "waiting_room_msg": ""},
    "breakout_room_features": {"is_allow": True, "allowed_number_rooms": 6},
    "display_external_link_features": {"is_allow": True},
    "ingress_features": {"is_allow": True},
    "end_to_end_encryption_features": {"is_enabled": False},
    "polls_features": {"is_allow": True},
    "insights_features": {"is_allow": False},
    "sip_dial_in_features": {"is_allow": False},
    "external_broadcasting_features": {"is_allow": True, "is_allow_rtmp": True},
}


def applied_features(asked: Mapping[str, Any], *, follows_false: bool) -> dict[str, Any]:
    """What a server makes of the features that it was asked for.

    Servers since v2.3.0 merge the request into their defaults, by which a plain false is unset and ignored. Older ones
    (`follows_false`) take a missing plain field at the top for false, and a missing object for the default.
    """
    if not follows_false:
        return _merged(FEATURES, DEFAULT_FEATURES, asked)
    found: dict[str, Any] = {}
    for name, kind in FEATURES.fields.items():
        if name in asked:
            found[name] = asked[name]
        elif kind.optional:
            if name in DEFAULT_FEATURES:
                found[name] = DEFAULT_FEATURES[name]
        else:
            found[name] = False
    return found


def _merged(kind: Kind, default: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(default)
    for name, value in asked.items():
        field = kind.fields[name]
        if field.name == "message":
            found[name] = _merged(field, found.get(name) or {}, value)
        elif value or field.optional:
            found[name] = value
    return found
