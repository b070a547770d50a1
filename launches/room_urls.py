"""The pages of live sessions: the same below /launches/<id>/course/ and below /courses/<id>/."""

from collections.abc import Callable
from typing import Any

from django.urls import URLPattern, path

from launches import room_list_pages, room_pages, room_settings_pages
from launches.room_access import EVERYBODY, STAFF, TEACHERS

_ROOM = "rooms/<uuid:room_id>/"
_MEETING = f"{_ROOM}sessions/<uuid:meeting_id>/"
_RECORDING = f"{_ROOM}recordings/<uuid:recording_id>/"
_PAGES = (
    (_ROOM, "", room_pages.page, EVERYBODY),
    (f"{_ROOM}live", "-live", room_pages.live, EVERYBODY),
    (f"{_ROOM}join", "-join", room_pages.join, EVERYBODY),
    (f"{_ROOM}end", "-end", room_pages.end, TEACHERS),
    (f"{_ROOM}settings", "-settings", room_settings_pages.settings_page, TEACHERS),
    (f"{_ROOM}attendance/", "-attendance", room_pages.room_attendance, STAFF),
    (f"{_ROOM}attendance/table.csv", "-attendance-csv", room_pages.room_csv, STAFF),
    (_MEETING, "-meeting", room_pages.meeting_attendance, STAFF),
    (f"{_MEETING}attendance.csv", "-meeting-csv", room_pages.meeting_csv, STAFF),
    (f"{_RECORDING}file", "-file", room_pages.play, EVERYBODY),
    (f"{_RECORDING}rename", "-rename", room_pages.rename, TEACHERS),
    (f"{_RECORDING}publish", "-publish", room_pages.publish, TEACHERS),
    (f"{_RECORDING}hide", "-hide", room_pages.hide, TEACHERS),
    (f"{_RECORDING}delete", "-delete", room_pages.delete, TEACHERS),
    (f"{_RECORDING}again", "-again", room_pages.try_again, TEACHERS),
)


def room_paths(below: str, names: str, of_course: Callable[..., Any], of_room: Callable[..., Any]) -> list[URLPattern]:
    """The routes below this path; `names` begins their names, and the other two make views pages of a course and of a
    room (launches/course_access.py, launches/room_access.py)."""
    listed = path(f"{below}rooms/", of_course(room_list_pages.rooms_page), name=f"{names}rooms")
    return [
        listed,
        *(path(below + text, of_room(view, who), name=f"{names}room{name}") for text, name, view, who in _PAGES),
    ]
