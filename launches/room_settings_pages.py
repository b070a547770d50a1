"""A room's settings as its teacher sets them; what the organization fixes is shown and stays."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from launches.room_access import RoomAccess
from launches.room_settings_words import WORDINGS, in_words
from recordings.models import Room
from recordings.room_settings import RoomSettings, SettingsError, checked_settings, resolve

_ZONELESS = re.compile(r"\d{4,5}-\d\d-\d\dT\d\d:\d\d(:\d\d)?")
_CHANGED_MEANWHILE = (
    "Not saved: somebody else changed these settings while this page was open. Below is what you typed; save again to "
    "put yours over what is stored now."
)
GROUPS = (
    ("When", ("opens_at", "closes_at", "moderator_must_start", "waiting_room", "room_duration", "max_participants")),
    ("Who enters", ("welcome_message", "mute_on_start", "allow_view_other_webcams", "allow_view_other_users_list")),
    ("What can be done", ("allow_recording", "auto_recording", "allow_polls", "allow_shared_note_pad",
                          "allow_breakout_room", "allow_rtmp")),
    ("Looks", ("primary_color", "secondary_color", "background_color", "custom_logo")),
)  # fmt: skip


@dataclass
class SettingField:
    """One field of the form. `value` is the text in it, "" for "as the organization has it", which `otherwise` says.

    `kind`: switch, number, moment, words or line. `fixed`: the value that the organization has fixed, in words;
    `limit`: the most that it allows.
    """

    name: str
    label: str
    text: str
    unit: str
    kind: str
    value: str
    otherwise: str
    fixed: str = ""
    limit: str = ""
    errors: list[str] = field(default_factory=list)


@require_http_methods(["GET", "HEAD", "POST"])
def settings_page(request: HttpRequest, access: RoomAccess) -> HttpResponse:
    """GET shows the settings, POST saves them."""
    fields = _fields(access, access.room.settings)
    if request.method != "POST":
        return _page(request, access, fields, _state_of(access.room))
    for one in fields.values():
        if not one.fixed:
            one.value = request.POST.get(one.name, "")[:5000]
    wanted = _checked(fields, access.room.settings)
    seen = request.POST.get("seen", "")
    if wanted is None:
        return _page(request, access, fields, seen, status=422)
    with transaction.atomic():
        room = Room.objects.select_for_update(of=("self",)).filter(pk=access.room.pk).first()
        if room is None:
            raise Http404
        if _state_of(room) != seen:
            return _page(request, access, fields, _state_of(room), error=_CHANGED_MEANWHILE, status=409)
        room.settings = wanted
        room.save(update_fields=["settings"])
    return redirect(f"{access.url()}?done=settings")


def _state_of(room: Room) -> str:
    """Another text whenever other settings are stored."""
    return hashlib.sha256(json.dumps(room.settings, sort_keys=True).encode()).hexdigest()[:16]


def _fields(access: RoomAccess, stored: Mapping[str, Any]) -> dict[str, SettingField]:
    policy = access.organization.meeting_policy
    without = resolve(policy=policy, room={})
    found = {}
    for name, wording in WORDINGS.items():
        default = getattr(RoomSettings(), name)
        value = stored.get(name)
        kind = {bool: "switch", int: "number", str: "line"}.get(type(default), "moment")
        forced = name in (policy.get("forced") or {}) and without.sources[name] == "forced"
        otherwise = getattr(without.settings, name)
        in_force = _moment(otherwise) if isinstance(otherwise, datetime) else in_words(name, otherwise)
        found[name] = SettingField(
            name,
            wording.label,
            wording.text,
            wording.unit,
            "words" if name == "welcome_message" else kind,
            "" if value is None else _as_typed(value),
            in_force,
            fixed=in_force if forced else "",
            limit=_limit(policy, name, wording.unit),
        )
    return found


def _limit(policy: Mapping[str, Any], name: str, unit: str) -> str:
    limit = policy.get({"room_duration": "max_duration", "max_participants": "max_participants"}.get(name, ""))
    return f"{limit} {unit}" if isinstance(limit, int) and limit > 0 else ""


def _as_typed(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _moment(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"


def _checked(fields: Mapping[str, SettingField], stored: Mapping[str, Any]) -> dict[str, Any] | None:
    """What is to be stored; None where something that was typed cannot be, which then stands at its field."""
    wanted: dict[str, Any] = {}
    for name, one in fields.items():
        if one.fixed:
            if name in stored:
                wanted[name] = stored[name]
            continue
        try:
            value = _typed(one)
            if value is not None:
                wanted |= checked_settings({name: value})
        except SettingsError as error:
            one.errors.append(f"It {error.message}.")
    if any(one.errors for one in fields.values()):
        return None
    try:
        return checked_settings(wanted)
    except SettingsError as error:
        fields[error.field].errors.append("It has to be later than the time at which the room opens.")
        return None


def _typed(one: SettingField) -> Any:
    """The value in the field as JSON has it; None for an empty one. Raises `SettingsError`."""
    text = one.value.replace("\r\n", "\n").strip()
    if not text:
        return None
    if one.kind == "switch":
        if text not in ("on", "off"):
            raise SettingsError(one.name, "must be on or off")
        return text == "on"
    if one.kind == "number":
        if not re.fullmatch("[0-9]{1,9}", text):
            raise SettingsError(one.name, "must be a whole number, 0 for no limit")
        return int(text)
    if one.kind == "moment" and _ZONELESS.fullmatch(text):
        # As the field gives it without scripts, which is said beside it; scripts send the browser's own zone.
        return f"{text}Z"
    return text


def _page(
    request: HttpRequest,
    access: RoomAccess,
    fields: Mapping[str, SettingField],
    seen: str,
    *,
    error: str = "",
    status: int = 200,
) -> HttpResponse:
    context = {
        "room_access": access,
        "access": access.access,
        "visit": access.visit,
        "course": access.course,
        "room": access.room,
        "groups": [(title, [fields[name] for name in names]) for title, names in GROUPS],
        "seen": seen,
        "error": error,
        "is_wrong": any(one.errors for one in fields.values()),
    }
    return render(request, "launches/room_settings.html", context, status=status)
