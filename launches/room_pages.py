"""A live session's room: for teachers to start, watch over and end it, for students to enter it, and for both what was
recorded and who was there. In the LMS frame and signed in directly (launches/room_access.py)."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.paginator import Page, Paginator
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from courses.models import Assignment
from events.log import Actor
from launches.handoff import origin_of
from launches.room_access import RoomAccess
from launches.room_settings_words import differences_shown, refusals_shown, settings_shown
from launches.searching import typed_search
from launches.student_pages import StudentWork, student_work
from recordings import attendance, library, sessions
from recordings.models import AttendanceGrading, Meeting, MeetingServer, Recording
from recordings.room_settings import resolve
from recordings.sessions import RoomState, SessionError

RECORDINGS_PER_PAGE = 20
MEETINGS_PER_PAGE = 20
PEOPLE_PER_PAGE = 50
NAMES_SHOWN = 40
_JSON = "application/json"


@dataclass(frozen=True)
class Live:
    """How the room stands, for a page that asks again and again: `seen` is another text once anything has changed.

    `names` are of those present whom this person may see, `others` how many more there are. `listed` is another text
    once there is another recording or session than the page below shows.
    """

    state: RoomState
    names: tuple[str, ...]
    others: int
    seen: str
    listed: str


def _live(access: RoomAccess) -> Live:
    now = timezone.now()
    state = sessions.state_of(access.room, now)
    names: list[str] = []
    if state.meeting is not None and access.is_staff:
        seen = access.seen_people()
        if seen is None:
            names = [one.name for one in state.present]
        else:
            there = attendance.attendance_of(state.meeting, now=now, people=seen)
            names = [one.name for one in there if one.is_in]
    shown = tuple(names[:NAMES_SHOWN])
    refusal = state.refusal.code if state.refusal is not None else ""
    counted = [library.recordings_of(access.room, access.viewer).count()]
    if access.is_staff:
        counted.append(Meeting.objects.filter(room=access.room).count())
    listed = "-".join(str(one) for one in counted)
    all_of_it = (state.standing.value, refusal, state.meeting and str(state.meeting.pk), shown, state.count, listed)
    digest = hashlib.sha256(repr(all_of_it).encode()).hexdigest()[:16]
    return Live(state, shown, state.count - len(shown), digest, listed)


def room_page(
    request: HttpRequest,
    access: RoomAccess,
    *,
    assignment: Assignment | None = None,
    error: SessionError | None = None,
    wrong_title: Mapping[str, Any] | None = None,
    status: int = 200,
) -> HttpResponse:
    """The room, by role. `assignment`: the one that the launch opened, whose live session this is.

    `wrong_title`: what was typed for a recording (`recording`, `typed`), and why it cannot be (`words`).
    """
    context: dict[str, Any] = _context(access) | {"live": _live(access), "done": request.GET.get("done", "")}
    context["wrong_title"] = wrong_title
    if error is not None:
        context["error"] = error.for_teacher if access.is_staff else error.for_student
    found = library.recordings_of(access.room, access.viewer)
    page: Page[Recording] = Paginator(found, RECORDINGS_PER_PAGE).get_page(request.GET.get("page"))
    context["page"] = page
    if access.is_staff:
        context |= _for_staff(request, access, context["live"].state)
        template = "launches/room_teacher.html"
    else:
        context |= _for_student(request, access, assignment)
        template = "launches/room_student.html"
    return _with_media(render(request, template, context, status=status), access, page)


def _context(access: RoomAccess) -> dict[str, Any]:
    return {
        "room_access": access,
        "access": access.access,
        "visit": access.visit,
        "learner": access.learner,
        "course": access.course,
        "room": access.room,
        "places": access.learner.places() if access.learner is not None else [],
    }


def _for_staff(request: HttpRequest, access: RoomAccess, state: RoomState) -> dict[str, Any]:
    resolved = sessions.settings_of(access.room, access.custom)
    meetings: QuerySet[Meeting] = (
        Meeting.objects.filter(room=access.room)
        .select_related("started_by")
        .annotate(people=Count("attendances", filter=Q(attendances__joined_at__isnull=False)))
        .order_by("-started_at", "-id")
    )
    # What a running session was started with counts, and not what the next one would be.
    refused = state.meeting.refused if state.meeting else [one.as_json() for one in resolved.refused]
    is_known = state.meeting is not None and bool(state.meeting.settings)
    if state.meeting is not None and is_known:
        shown = settings_shown(resolve(policy={}, room=state.meeting.settings), with_sources=False)
    else:
        shown = settings_shown(resolved)
    return {
        "settings_shown": shown,
        "is_of_running_session": is_known,
        "refused": refusals_shown(refused),
        "differences": differences_shown(state.meeting.differences) if state.meeting else [],
        "meetings": Paginator(meetings, MEETINGS_PER_PAGE).get_page(request.GET.get("meetings")),
        "gradings": AttendanceGrading.objects.filter(room=access.room).select_related("assignment"),
    }


def _for_student(request: HttpRequest, access: RoomAccess, assignment: Assignment | None) -> dict[str, Any]:
    mine = [one for person in access.people for one in attendance.own_attendance(access.room, person)]
    attended = sorted((one for one in mine if one.attended), key=lambda one: one.meeting.started_at, reverse=True)
    context: dict[str, Any] = {
        "held": len({one.meeting.pk for one in mine}),
        "attended": Paginator(attended, MEETINGS_PER_PAGE).get_page(request.GET.get("meetings")),
    }
    if assignment is not None and access.visit is not None:
        work: StudentWork = student_work(access.visit, assignment)
        context |= {"assignment": assignment, "work": work}
    return context


def _with_media(response: HttpResponse, access: RoomAccess, page: Page[Recording]) -> HttpResponse:
    """Lets the page play what it links to, and show the session in a frame of its own: from these servers only."""
    servers = {recording.server_id for recording in page if recording.server_id is not None}
    known = MeetingServer.objects.filter(organization=access.organization).filter(
        Q(pk__in=servers) | Q(rooms=access.room) | Q(is_default=True)
    )
    origins = sorted({origin for url in known.values_list("url", flat=True) if (origin := _origin(url))})
    if origins:
        response._csp_update = {"media-src": ["'self'", *origins], "frame-src": ["'self'", *origins]}  # type: ignore[attr-defined]
    return response


def _origin(url: str) -> str:
    try:
        return origin_of(url)
    except (UnicodeError, ValueError, KeyError):
        return ""


@require_safe
def page(request: HttpRequest, access: RoomAccess) -> HttpResponse:
    """The room's page."""
    return room_page(request, access)


@require_safe
def live(request: HttpRequest, access: RoomAccess) -> HttpResponse:
    """How the room stands: the page asks this by itself, and hears nothing (204) while nothing has changed."""
    now = _live(access)
    if request.GET.get("seen") == now.seen:
        return HttpResponse(status=204)
    listed = request.GET.get("listed", "")[:40]
    context = {"live": now, "listed": listed, "is_outdated": listed != now.listed}
    return render(request, "launches/room_live.html", _context(access) | context)


@require_POST
def join(request: HttpRequest, access: RoomAccess) -> HttpResponse:
    """The way into the session, which it starts where nobody has and this person may. The page's script asks for the
    address; without scripts it stands on a page of its own."""
    if not access.may_join:
        raise Http404
    try:
        address = sessions.join(
            access.room,
            access.who,
            is_moderator=access.may_change,
            locale=access.locale,
            custom=access.custom,
            return_url=settings.BASE_URL + access.url(),
        )
    except SessionError as error:
        return _refused(request, access, error)
    if request.headers.get("Accept") == _JSON:
        return JsonResponse({"address": address})
    return render(request, "launches/room_enter.html", _context(access) | {"address": address})


def _refused(request: HttpRequest, access: RoomAccess, error: SessionError) -> HttpResponse:
    status = 502 if isinstance(error, sessions.MeetingServerTrouble) else 409
    if request.headers.get("Accept") == _JSON:
        words = error.for_teacher if access.is_staff else error.for_student
        return JsonResponse({"problem": words}, status=status)
    return room_page(request, access, error=error, status=status)


@require_POST
def end(request: HttpRequest, access: RoomAccess) -> HttpResponse:
    """Ends the session for everybody."""
    try:
        ended = sessions.end(access.room, access.who)
    except SessionError as error:
        return _refused(request, access, error)
    return redirect(f"{access.url()}?done={'ended' if ended else 'not_running'}")


# Attendance


@require_safe
def meeting_attendance(request: HttpRequest, access: RoomAccess, meeting_id: UUID) -> HttpResponse:
    """Who was in one session."""
    meeting = _meeting(access, meeting_id)
    people = attendance.attendance_of(meeting, people=access.seen_people())
    search = typed_search(request.GET)
    context = _context(access) | {
        "meeting": meeting,
        "seconds": attendance.length_of(meeting, timezone.now()),
        "search": search,
        "anybody": bool(people),
        "page": _people_page(request, people, search),
    }
    return render(request, "launches/room_attendance.html", context)


@require_safe
def meeting_csv(request: HttpRequest, access: RoomAccess, meeting_id: UUID) -> StreamingHttpResponse:
    return attendance.meeting_csv(_meeting(access, meeting_id), people=access.seen_people())


@require_safe
def room_attendance(request: HttpRequest, access: RoomAccess) -> HttpResponse:
    """Who was in all sessions of the room."""
    found = attendance.attendance_in_room(access.room, people=access.seen_people())
    search = typed_search(request.GET)
    context = _context(access) | {
        "meetings": found.meetings,
        "seconds": found.seconds,
        "search": search,
        "anybody": bool(found.people),
        "page": _people_page(request, found.people, search),
    }
    return render(request, "launches/room_attendance_in_all.html", context)


@require_safe
def room_csv(request: HttpRequest, access: RoomAccess) -> StreamingHttpResponse:
    return attendance.room_csv(access.room, people=access.seen_people())


def _people_page(request: HttpRequest, people: Collection[Any], search: str) -> Page[Any]:
    words = search.casefold().split()
    found = [one for one in people if all(word in one.name.casefold() for word in words)]
    return Paginator(found, PEOPLE_PER_PAGE).get_page(request.GET.get("page"))


def _meeting(access: RoomAccess, meeting_id: UUID) -> Meeting:
    found = Meeting.objects.filter(room=access.room, pk=meeting_id).first()
    if found is None:
        raise Http404
    found.room = access.room
    return found


# Recordings


@require_safe
def play(request: HttpRequest, access: RoomAccess, recording_id: UUID) -> HttpResponse:
    """Leads to the file on its server, by a link of minutes that is made now: players ask this when they begin, and for
    every part they seek; a download is the same file."""
    recording = _recording(access, recording_id)
    try:
        address = library.address_to_play(recording, access.viewer)
    except Recording.DoesNotExist as gone:
        raise Http404 from gone
    except (library.RecordingGone, SessionError) as error:
        context = _context(access) | {
            "recording": recording,
            "problem": error.for_teacher if access.is_staff else error.for_student,
            "is_gone": isinstance(error, library.RecordingGone),
        }
        status = 410 if isinstance(error, library.RecordingGone) else 502
        return render(request, "launches/room_recording_problem.html", context, status=status)
    # Never kept by a browser or on the way: the link opens the file to whoever has it.
    return HttpResponse(status=302, headers={"Location": address, "Cache-Control": "no-store"})


@require_POST
def rename(request: HttpRequest, access: RoomAccess, recording_id: UUID) -> HttpResponse:
    recording = _recording(access, recording_id)
    typed = request.POST.get("title", "")
    try:
        return _to_recordings(access, "renamed" if library.rename(recording, typed) else "not_there")
    except library.TitleError as error:
        wrong = {"recording": recording.pk, "typed": typed[:1000], "words": str(error)}
        return room_page(request, access, wrong_title=wrong, status=422)


@require_POST
def publish(request: HttpRequest, access: RoomAccess, recording_id: UUID) -> HttpResponse:
    done = library.publish(_recording(access, recording_id))
    return _to_recordings(access, "published" if done else "not_there")


@require_POST
def hide(request: HttpRequest, access: RoomAccess, recording_id: UUID) -> HttpResponse:
    done = library.hide(_recording(access, recording_id))
    return _to_recordings(access, "hidden" if done else "not_there")


@require_POST
def delete(request: HttpRequest, access: RoomAccess, recording_id: UUID) -> HttpResponse:
    done = library.delete(_recording(access, recording_id), Actor.of(access.who))
    return _to_recordings(access, "deleted" if done else "not_there")


@require_POST
def try_again(request: HttpRequest, access: RoomAccess, recording_id: UUID) -> HttpResponse:
    """The server is told again now of a title or a deletion that it would not take."""
    library.retry(_recording(access, recording_id))
    return _to_recordings(access, "again")


def _recording(access: RoomAccess, recording_id: UUID) -> Recording:
    try:
        recording = library.recording_for(access.viewer, recording_id)
    except Recording.DoesNotExist as missing:
        raise Http404 from missing
    if recording.room_id != access.room.pk:
        raise Http404
    return recording


def _to_recordings(access: RoomAccess, done: str) -> HttpResponse:
    return redirect(f"{access.url()}?done={done}#recordings")
