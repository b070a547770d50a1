"""The rooms of a course as its dashboards list them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.urls import reverse
from django.utils import timezone

from courses.models import Course
from launches.course_access import CourseAccess
from recordings.addresses import room_url
from recordings.models import Meeting, Recording, Room
from recordings.room_settings import resolve

ROOMS_ON_DASHBOARD = 50


@dataclass(frozen=True)
class ListedRoom:
    """A room from afar. `live_since` while a session runs, `last_at` when the latest one began; `recordings` that this
    person may play; `opens_at` and `is_over` where its time has not come, or is over."""

    room: Room
    url: str
    address: str
    live_since: datetime | None
    last_at: datetime | None
    recordings: int
    opens_at: datetime | None
    is_over: bool


def rooms_of(course: Course) -> QuerySet[Room]:
    """The course's rooms in their order, with what lists say of them."""
    latest = Meeting.objects.filter(room=OuterRef("pk")).order_by("-started_at")
    available = Q(recordings__state=Recording.State.AVAILABLE)
    return (
        Room.objects.filter(course=course)
        .annotate(
            live_since=Subquery(latest.filter(ended_at__isnull=True).values("started_at")[:1]),
            last_at=Subquery(latest.values("started_at")[:1]),
            all_recordings=Count("recordings", filter=available),
            published_recordings=Count("recordings", filter=available & Q(recordings__published=True)),
        )
        .order_by("position", "id")
    )


def rooms_on_dashboard(
    course: Course, *, access: CourseAccess | None = None, launch_id: UUID | None = None
) -> list[ListedRoom]:
    """The first rooms of the course for its dashboard; of staff (`access`), else of a student, in the frame of a launch
    or signed in directly."""
    rooms = rooms_of(course)[:ROOMS_ON_DASHBOARD]
    if access is not None:
        return listed_rooms(rooms, course, lambda room: access.url("room", room_id=room.pk), access=access)
    if launch_id is not None:
        return listed_rooms(rooms, course, lambda room: reverse("launch-course-room", args=[launch_id, room.pk]))
    return listed_rooms(rooms, course, lambda room: reverse("course-room", args=[course.pk, room.pk]))


def listed_rooms(
    rooms: Iterable[Any], course: Course, address_of: Callable[[Room], str], *, access: CourseAccess | None = None
) -> list[ListedRoom]:
    """These rooms as a list shows them; `address_of` gives a room's page. Students (no `access`) are not told of rooms
    that are switched off."""
    now = timezone.now()
    found = []
    for room in rooms:
        if access is None and not room.enabled:
            continue
        settings = resolve(policy=course.organization.meeting_policy, room=room.settings).settings
        is_early = settings.opens_at is not None and now < settings.opens_at
        found.append(
            ListedRoom(
                room,
                address_of(room),
                room_url(room),
                room.live_since,
                room.last_at,
                room.all_recordings if access is not None else room.published_recordings,
                settings.opens_at if is_early else None,
                settings.closes_at is not None and settings.closes_at <= now,
            )
        )
    return found
