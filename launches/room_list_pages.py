"""All live sessions of a course, for its staff."""

from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from launches.course_access import CourseAccess
from launches.room_listing import listed_rooms, rooms_of
from recordings.models import Room

ROOMS_PER_PAGE = 50


@require_safe
def rooms_page(request: HttpRequest, access: CourseAccess) -> HttpResponse:
    """The course's rooms: how each stands, and its address for the LMS."""
    page: Page[Room] = Paginator(rooms_of(access.course), ROOMS_PER_PAGE).get_page(request.GET.get("page"))
    rooms = listed_rooms(page, access.course, lambda room: access.url("room", room_id=room.pk), access=access)
    context = {"access": access, "visit": access.visit, "course": access.course, "page": page, "rooms": rooms}
    return render(request, "launches/rooms.html", context)
