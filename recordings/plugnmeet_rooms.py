"""Our settings in plugNmeet's words: what a session is created with, who joins it, and what the server made of it."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from recordings.meeting_server import Attendee, Difference, RoomRequest
from recordings.room_settings import RoomSettings

# The server raises anything below two minutes to half an hour; a session that everybody left ends after this (s).
EMPTY_TIMEOUT = 600
BREAKOUT_ROOMS = 6
# `default_lock_settings`, all of it: what attendees may not do until a moderator allows it. Every server follows these,
# so that a notepad that a newer server leaves on against our wish is one that only moderators write in.
LOCKS: Mapping[str, bool] = MappingProxyType(
    {
        "lock_microphone": False,
        "lock_webcam": False,
        "lock_screen_sharing": True,
        "lock_chat": False,
        "lock_chat_send_message": False,
        "lock_chat_file_share": False,
        "lock_private_chat": False,
        "lock_whiteboard": True,
        "lock_shared_notepad": True,
        "lock_reactions": False,
    }
)
_ROOM_ID = re.compile(r"(?!user_)(?!.*-FIELD_)[a-zA-Z0-9_-]{1,64}")
_IDENTITY = re.compile(
    r"(?!user_|ingres_|pnm_agent-|pnm_tts_agent-|sip_)(?!.*-FIELD_)(?!.*-native\Z)[a-zA-Z0-9_-]{1,255}"
)
_FIRST_UPPER = re.compile(r"(?<=[a-z0-9])([A-Z])")


def create_body(request: RoomRequest) -> dict[str, Any]:
    """The body of `room/create`, with every feature said: older servers take what is missing for false, newer ones for
    their default. Raises ValueError for a room id that the server would refuse."""
    if not _ROOM_ID.fullmatch(request.room_id):
        raise ValueError("A room id has 1 to 64 letters, digits, - and _.")
    settings = request.settings
    body: dict[str, Any] = {"room_id": request.room_id, "empty_timeout": EMPTY_TIMEOUT}
    if settings.max_participants:
        # There is no number for "unlimited": it is left out.
        body["max_participants"] = settings.max_participants
    metadata: dict[str, Any] = {"room_title": request.title.strip()[:255] or request.room_id}
    if settings.welcome_message:
        metadata["welcome_message"] = settings.welcome_message
    # An address must be valid where it is given: an empty one is refused.
    if request.webhook_url:
        metadata["webhook_url"] = request.webhook_url
    if request.return_url:
        metadata["logout_url"] = request.return_url
    metadata["room_features"] = features(settings)
    metadata["default_lock_settings"] = dict(LOCKS)
    return {**body, "metadata": metadata}


def features(settings: RoomSettings) -> dict[str, Any]:
    """`room_features`, all of it; what is on or off beside our settings is as the reference system's LTI page has it.

    Left off are what sends speech and chat to other companies (insights) and telephone dial-in: nobody asked for them.
    """
    recording = settings.allow_recording
    return {
        "allow_webcams": True,
        "mute_on_start": settings.mute_on_start,
        "allow_screen_share": True,
        "allow_view_other_webcams": settings.allow_view_other_webcams,
        "allow_view_other_users_list": settings.allow_view_other_users_list,
        # Servers since v2.3.0 ignore a false where their default is true, and follow this true: attendees then see
        # the moderators' cameras only.
        "admin_only_webcams": not settings.allow_view_other_webcams,
        "enable_analytics": True,
        "room_duration": settings.room_duration,
        "allow_virtual_bg": True,
        "allow_raise_hand": True,
        "allow_reactions": True,
        "auto_gen_user_id": False,
        # Deprecated for external_broadcasting_features, but its false is still followed.
        "allow_rtmp": settings.allow_rtmp,
        "recording_features": {
            "is_allow": recording,
            "is_allow_cloud": recording,
            "is_allow_local": recording,
            "enable_auto_cloud_recording": recording and settings.auto_recording,
            "only_record_admin_webcams": False,
        },
        "chat_features": {"is_allow": True, "is_allow_file_upload": True},
        "shared_note_pad_features": {"is_allow": settings.allow_shared_note_pad},
        "whiteboard_features": {"is_allow": True},
        "external_media_player_features": {"is_allow": True},
        "waiting_room_features": {"is_active": settings.waiting_room, "waiting_room_msg": ""},
        "breakout_room_features": {
            "is_allow": settings.allow_breakout_room,
            "allowed_number_rooms": BREAKOUT_ROOMS,
        },
        "display_external_link_features": {"is_allow": True},
        "ingress_features": {"is_allow": True},
        "end_to_end_encryption_features": {
            "is_enabled": False,
            "included_chat_messages": False,
            "included_whiteboard": False,
            "enabled_self_insert_encryption_key": False,
        },
        "polls_features": {"is_allow": settings.allow_polls},
        "insights_features": {
            "is_allow": False,
            "transcription_features": {
                "is_allow": False,
                "is_allow_translation": False,
                "is_allow_speech_synthesis": False,
            },
            "chat_translation_features": {"is_allow": False},
            "ai_features": {
                "is_allow": False,
                "ai_text_chat_features": {"is_allow": False},
                "meeting_summarization_features": {"is_allow": False},
            },
        },
        "sip_dial_in_features": {"is_allow": False, "enable_dial_in_on_create": False, "hide_phone_number": True},
        "external_broadcasting_features": {"is_allow": settings.allow_rtmp, "is_allow_rtmp": settings.allow_rtmp},
    }


def join_body(room_id: str, attendee: Attendee) -> dict[str, Any]:
    """The body of `room/getJoinToken`. Raises ValueError for an id or a name that the server would refuse."""
    if not _IDENTITY.fullmatch(attendee.identity):
        raise ValueError("The id of an attendee has letters, digits, - and _, and none of the reserved beginnings.")
    name = attendee.name.strip()
    if not name:
        raise ValueError("An attendee needs a name.")
    metadata: dict[str, Any] = {"record_webcam": True}
    if attendee.language:
        metadata["preferred_lang"] = attendee.language
    return {
        "room_id": room_id,
        "user_info": {
            "name": name[:255],
            "user_id": attendee.identity,
            "is_admin": attendee.is_moderator,
            "is_hidden": False,
            "user_metadata": metadata,
        },
    }


# Where a setting stands in the room's features.
_APPLIED_AT = {
    "room_duration": ("room_duration",),
    "allow_polls": ("polls_features", "is_allow"),
    "allow_shared_note_pad": ("shared_note_pad_features", "is_allow"),
    "allow_breakout_room": ("breakout_room_features", "is_allow"),
    "allow_recording": ("recording_features", "is_allow"),
    "allow_rtmp": ("external_broadcasting_features", "is_allow"),
    "allow_view_other_webcams": ("allow_view_other_webcams",),
    "allow_view_other_users_list": ("allow_view_other_users_list",),
    "mute_on_start": ("mute_on_start",),
    "waiting_room": ("waiting_room_features", "is_active"),
    "auto_recording": ("recording_features", "enable_auto_cloud_recording"),
}


def differences(settings: RoomSettings, metadata: Mapping[str, Any]) -> tuple[Difference, ...] | None:
    """What the server applied otherwise than asked, read back from the room's own metadata; None where that says
    nothing of features. What is restricted by another way than its own switch is no difference."""
    applied = _snake(metadata).get("room_features")
    if not isinstance(applied, dict):
        return None
    found = []
    for name, path in _APPLIED_AT.items():
        asked = getattr(settings, name)
        value: Any = applied
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        if name == "room_duration":
            value = int(value) if isinstance(value, int | str) and re.fullmatch(r"[0-9]{1,15}", str(value)) else 0
        else:
            value = value is True
        if name == "allow_view_other_webcams" and applied.get("admin_only_webcams") is True:
            value = False
        if name == "allow_rtmp" and applied.get("allow_rtmp") is False:
            value = False
        if value != asked:
            found.append(Difference(name, asked, value))
    return tuple(found)


def _snake(value: Any) -> Any:
    """The same JSON with snake_case names: metadata is written by several programs, and some write camelCase."""
    if isinstance(value, Mapping):
        return {_FIRST_UPPER.sub(r"_\1", name).lower(): _snake(part) for name, part in value.items()}
    return value
