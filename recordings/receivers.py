"""What rooms do when their course is copied, and when the copy is taken back."""

from collections.abc import Sequence
from typing import Any

from django.dispatch import receiver

from courses.models import Assignment, Course
from courses.signals import course_contents_copied, undoing_considered
from organizations.identifiers import uuid7
from recordings.models import AttendanceGrading, Meeting, Recording, Room, new_room_id


@receiver(course_contents_copied, dispatch_uid="recordings.copy_rooms")
def copy_rooms(
    parent: Course, course: Course, assignments: Sequence[tuple[Assignment, Assignment]], **kwargs: Any
) -> None:
    """The copy's rooms, with names of their own on the server; meetings, attendance and recordings stay where they are.

    An assignment that is a live session opens the copy's own room, and is graded in the same way.
    """
    copies = {old.pk: new.pk for old, new in assignments if old.kind == Assignment.Kind.ROOM}
    # Before the rooms: whatever room these name is among those.
    gradings = list(AttendanceGrading.objects.filter(assignment__in=copies)) if copies else []
    rooms = list(Room.objects.filter(course=parent).order_by("position", "id"))
    new_rooms: dict[Any, Room] = {}
    for new_id, room in zip(sorted(uuid7() for _ in rooms), rooms, strict=True):
        values = {field.attname: getattr(room, field.attname) for field in Room._meta.concrete_fields}
        own = {"id": new_id, "course_id": course.pk, "room_id": new_room_id(), "created_at": course.copied_at}
        new_rooms[room.pk] = Room(**{**values, **own})
    Room.objects.bulk_create(new_rooms.values(), batch_size=200)
    new_gradings = []
    for grading in gradings:
        new_room = new_rooms.get(grading.room_id)
        if new_room is not None:
            values = {field.attname: getattr(grading, field.attname) for field in AttendanceGrading._meta.fields}
            own = {"id": uuid7(), "assignment_id": copies[grading.assignment_id], "room_id": new_room.pk}
            new_gradings.append(AttendanceGrading(**{**values, **own}))
    AttendanceGrading.objects.bulk_create(new_gradings, batch_size=200)


@receiver(undoing_considered, dispatch_uid="recordings.keep_what_was_held")
def reason_to_keep(course: Course, lock: bool, **kwargs: Any) -> str:
    """Why the course cannot be taken back as a copy, as far as its rooms say."""
    rooms = Room.objects.filter(course=course)
    if lock:
        # A session that starts at this moment waits, and then finds no room.
        list(rooms.select_for_update().order_by("pk").values_list("pk"))
    held = (
        Meeting.objects.filter(room__course=course).exists() or Recording.objects.filter(room__course=course).exists()
    )
    if held:
        return "A live session was held in the copy already. Archive the course instead."
    if course.copied_at is not None and rooms.exclude(created_at=course.copied_at).exists():
        return "Rooms were added to the copy. Archive the course instead."
    return ""
