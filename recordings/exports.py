"""A course's exports with its rooms: what courses/ makes of assignments, and the rooms of live sessions after them."""

from dataclasses import replace

from courses.cartridge import cartridge_of
from courses.exports import AssignmentUrls
from courses.models import Course
from lti.cartridge import CartridgeFolder, CartridgeLink, CartridgeVersion, write_cartridge
from recordings.addresses import room_url
from recordings.models import Room

FOLDER = "Live sessions"


def export_cartridge(course: Course, version: CartridgeVersion) -> bytes:
    """The course's ``.imscc`` file; the same course gives the same bytes. Its rooms are in a folder of their own, as
    links that bring no grades."""
    links = [
        CartridgeLink(id=f"room-{room.pk}", title=room.title.strip() or room.slug, url=room_url(room))
        for room in _rooms(course)
    ]
    cartridge = cartridge_of(course)
    if links:
        rooms = CartridgeFolder(f"rooms-{course.pk}", FOLDER, links)
        cartridge = replace(cartridge, folders=[*cartridge.folders, rooms])
    return write_cartridge(cartridge, version)


def room_rows(course: Course) -> list[AssignmentUrls]:
    """The course's rooms as rows of the table of URLs: without points, and without a constant URL, since a copy of the
    course has other rooms."""
    return [
        AssignmentUrls(
            id=room.id,
            course=course.name,
            module=FOLDER,
            assignment=room.title,
            points=None,
            url=room_url(room),
            constant_url="",
        )
        for room in _rooms(course)
    ]


def _rooms(course: Course) -> list[Room]:
    return list(Room.objects.filter(course=course).order_by("position", "id"))
