"""Live sessions as teachers and students use them: start, join, end, and how a room stands.

The meeting server is asked outside of any transaction; what it answers is written in one that holds the room. Two
teachers who start at once get the same session: the server has one for each room, and so have we.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import salted_hmac

from events.log import Actor
from lti.texts import truncated
from organizations.models import Person, User
from recordings.attendance import GUEST
from recordings.meeting_server import Attendee, MeetingServerError, PersonBlocked, RequestRefused, RoomRequest
from recordings.meeting_server import RoomNotRunning as ServerHasNoSession
from recordings.meetings import Asked, held, note_ended, note_running, running_meeting
from recordings.models import Attendance, Meeting, MeetingServer, Room
from recordings.room_settings import Resolved, RoomSettings, resolve
from recordings.servers import client_of

logger = structlog.get_logger(__name__)

Who = Person | User
_NO_CUSTOM: Mapping[str, str] = MappingProxyType({})


class SessionError(Exception):
    """A session cannot be started, joined or ended now. `code` is stable; `for_teacher`, `for_student`: what to do.

    `temporary`: the same may succeed a little later. `at`: when the room opens, or closed, where that is why.
    """

    code = "session"
    temporary = False
    for_teacher = "This live session cannot be used now."
    for_student = "This live session cannot be used now. Ask your teacher."
    at: datetime | None = None

    def __init__(self) -> None:
        super().__init__(self.for_teacher)


class RoomOff(SessionError):
    """The room is switched off, or its course is archived."""

    code = "room_off"
    for_teacher = "This room is switched off. The owner of your organization can switch it on in the admin."
    for_student = "This live session is switched off. Ask your teacher."


class RoomNotOpenYet(SessionError):
    code = "not_open_yet"
    for_teacher = "The room is not open yet. You can set an earlier time in the room's settings."
    for_student = "The live session is not open yet. Come back when it opens."

    def __init__(self, at: datetime | None) -> None:
        super().__init__()
        self.at = at


class RoomClosed(SessionError):
    code = "closed"
    for_teacher = "The room's time is over. You can set a later time in the room's settings."
    for_student = "The live session's time is over. Ask your teacher whether there is another one."

    def __init__(self, at: datetime | None) -> None:
        super().__init__()
        self.at = at


class NoMeetingServer(SessionError):
    """The room names no server, and the organization has no default one."""

    code = "no_meeting_server"
    for_teacher = (
        "No meeting server is set up for this room. The owner of your organization adds one in the admin, and makes it "
        "the default or gives it to this room."
    )
    for_student = "This live session is not set up yet. Tell your teacher."


class MeetingServerOff(SessionError):
    code = "meeting_server_off"
    for_teacher = "The meeting server is switched off. The owner of your organization can switch it on in the admin."
    for_student = "This live session is not available now. Tell your teacher."


class SessionNotRunning(SessionError):
    """Nobody has started it, or it has just ended."""

    code = "not_running"
    for_teacher = "The session is not running. Start it first."
    for_student = "The session is not running. It starts when your teacher arrives."


class TeacherMustStart(SessionNotRunning):
    code = "teacher_must_start"
    for_teacher = "Only a teacher may start this session."
    for_student = "The session starts when your teacher arrives."


class RemovedFromSession(SessionError):
    code = "blocked"
    for_teacher = PersonBlocked.teacher_words
    for_student = PersonBlocked.teacher_words


class MeetingServerTrouble(SessionError):
    """The meeting server did not do it. `cause` says why; its `for_owner` stands on the server's page in the admin."""

    code = "meeting_server"

    def __init__(self, cause: MeetingServerError) -> None:
        self.cause = cause
        self.code = f"meeting_server_{cause.code}"
        self.temporary = cause.temporary
        self.for_teacher = cause.for_teacher
        self.for_student = (
            "The live session's server does not answer. Try again in a minute, then tell your teacher."
            if cause.temporary
            else "The live session could not be opened. Tell your teacher."
        )
        super().__init__()


class Standing(StrEnum):
    """How a room stands."""

    OFF = "off"  # switched off, or there is no server for it
    NOT_OPEN_YET = "not_open_yet"
    CLOSED = "closed"
    WAITING = "waiting"  # nobody has started it
    RUNNING = "running"


@dataclass(frozen=True)
class Present:
    """Somebody who is in the session."""

    name: str
    is_moderator: bool
    joined_at: datetime


@dataclass(frozen=True)
class RoomState:
    """How a room stands now, as the database knows it.

    `meeting` and `since` are there while a session runs, whatever the window says. `refusal` says why nobody can start
    or join. `moderator_must_start` is False where students may start it, too. `count` people are in; `present` are
    they by name, moderators first, where they were asked for.
    """

    standing: Standing
    meeting: Meeting | None
    count: int
    present: tuple[Present, ...]
    opens_at: datetime | None
    closes_at: datetime | None
    moderator_must_start: bool
    refusal: SessionError | None = None

    @property
    def is_running(self) -> bool:
        return self.meeting is not None

    @property
    def since(self) -> datetime | None:
        return self.meeting.started_at if self.meeting else None

    @property
    def may_start(self) -> bool:
        """Whether a teacher can start it now; a student if not `moderator_must_start`."""
        return self.standing == Standing.WAITING

    @property
    def may_join(self) -> bool:
        return self.standing == Standing.RUNNING


def state_of(room: Room, now: datetime | None = None, *, with_people: bool = True) -> RoomState:
    """How the room stands; asks nobody but the database, in three statements.

    Pages that many look at again and again do without the people: `count` is there all the same.
    """
    now = now or timezone.now()
    wanted = settings_of(room).settings
    meeting = running_meeting(room)
    present: tuple[Present, ...] = ()
    count = 0
    if meeting is not None:
        inside = Attendance.objects.filter(meeting=meeting, joined_at__isnull=False, left_at__isnull=True)
        if with_people:
            present = _present(inside)
            count = len(present)
        else:
            count = inside.count()
    refusal = _refusal(room, wanted, now)
    if isinstance(refusal, RoomNotOpenYet):
        standing = Standing.NOT_OPEN_YET
    elif isinstance(refusal, RoomClosed):
        standing = Standing.CLOSED
    elif refusal is not None:
        standing = Standing.OFF
    else:
        standing = Standing.RUNNING if meeting is not None else Standing.WAITING
    return RoomState(
        standing, meeting, count, present, wanted.opens_at, wanted.closes_at, wanted.moderator_must_start, refusal
    )


def _present(inside: QuerySet[Attendance]) -> tuple[Present, ...]:
    """Each person once, whatever number of ids they have there."""
    found: dict[UUID, Present] = {}
    for row in inside.select_related("person"):
        if row.joined_at is not None:
            name = row.person.display_name if row.person is not None else row.name or GUEST
            found.setdefault(row.person_id or row.pk, Present(name, row.is_moderator, row.joined_at))
    return tuple(sorted(found.values(), key=lambda one: (not one.is_moderator, one.name.casefold())))


def settings_of(room: Room, custom: Mapping[str, str] = _NO_CUSTOM) -> Resolved:
    """The settings that a session of this room would have, started by a launch with these custom parameters."""
    return resolve(policy=room.course.organization.meeting_policy, room=room.settings, custom=custom)


def server_of(room: Room) -> MeetingServer | None:
    """The server on which the room's sessions start: its own, else the organization's default one."""
    servers = MeetingServer.objects.filter(organization=room.course.organization_id)
    if room.server_id is not None:
        return servers.filter(pk=room.server_id).first()
    return servers.filter(is_default=True).first()


def identity_of(who: Who) -> str:
    """The id by which meeting servers know somebody: always the same, and of no use to anybody else."""
    digest = salted_hmac("recordings.identity", f"{type(who).__name__}:{who.pk}", algorithm="sha256")
    return f"p{digest.hexdigest()[:40]}"


def start(
    room: Room,
    person: Who,
    *,
    custom: Mapping[str, str] = _NO_CUSTOM,
    is_moderator: bool = True,
    return_url: str = "",
) -> Meeting:
    """Starts a session in the room, or finds the one that runs. `person` is a user where a member signed in directly.

    `custom` are the verified custom parameters of the launch; `return_url` (absolute) is where the server sends people
    who leave. Raises `SessionError`; then nothing has changed here.
    """
    resolved = settings_of(room, custom)
    refusal = _refusal(room, resolved.settings, timezone.now())
    if refusal is not None:
        raise refusal
    if not is_moderator and resolved.settings.moderator_must_start:
        running = running_meeting(room)
        if running is None:
            raise TeacherMustStart
        return running
    server = _server_to_start_on(room)
    request = RoomRequest(
        room.room_id,
        truncated(room.title, 255),
        resolved.settings,
        webhook_url=webhook_url(server),
        return_url=return_url,
    )
    try:
        session = client_of(server).create_room(request)
    except MeetingServerError as error:
        raise _trouble(server, error) from error
    note_answered(server)
    asked = Asked(
        resolved.settings.as_json(),
        [one.as_json() for one in resolved.refused],
        [one.as_json() for one in session.differences or ()],
    )
    with transaction.atomic():
        there = held(room.pk)
        if there is None:
            raise RoomOff
        return note_running(
            there,
            server,
            session.session_id,
            started_at=session.started_at,
            actor=Actor.of(person),
            person=person if isinstance(person, Person) else None,
            asked=asked,
        )


def join(
    room: Room,
    person: Who,
    *,
    is_moderator: bool,
    locale: str = "",
    custom: Mapping[str, str] = _NO_CUSTOM,
    return_url: str = "",
) -> str:
    """The address that lets this person into the running session, once and within minutes: redirect there, and never
    store or log it.

    Starts the session first where nobody has and this person may: a student only where the room's
    `moderator_must_start` is off. Raises `SessionError`.
    """
    refusal = _refusal(room, settings_of(room).settings, timezone.now())
    if refusal is not None:
        raise refusal
    meeting = running_meeting(room)
    if meeting is None:
        meeting = start(room, person, custom=custom, is_moderator=is_moderator, return_url=return_url)
    try:
        return _address(room, meeting, person, is_moderator, locale)
    except ServerHasNoSession:
        # Its end was not told to us.
        _note_over(room, meeting)
    meeting = start(room, person, custom=custom, is_moderator=is_moderator, return_url=return_url)
    try:
        return _address(room, meeting, person, is_moderator, locale)
    except ServerHasNoSession:
        raise SessionNotRunning from None


def end(room: Room, person: Who) -> bool:
    """Ends the running session for everybody; False when none was running. Raises `MeetingServerTrouble`."""
    meeting = running_meeting(room)
    if meeting is None:
        return False
    server = meeting.server
    was_running = False
    if server is not None:
        try:
            was_running = client_of(server).end_room(room.room_id)
        except MeetingServerError as error:
            raise _trouble(server, error) from error
        note_answered(server)
    with transaction.atomic():
        there = held(room.pk)
        current = Meeting.objects.filter(pk=meeting.pk).first()
        if there is None or current is None:
            return was_running
        current.room = there
        return note_ended(current, timezone.now(), actor=Actor.of(person)) or was_running


def webhook_url(server: MeetingServer) -> str:
    """Where this server tells us what happens (contract §3)."""
    return settings.BASE_URL + reverse("meeting-webhook", kwargs={"server_id": server.pk})


def note_trouble(server: MeetingServer, error: MeetingServerError) -> None:
    """The owner sees in the admin why the server does not do what it is asked to. A mere refusal of one request is no
    trouble of the server's."""
    logger.warning("meeting_server_failed", server=str(server.pk), code=error.code)
    if not isinstance(error, RequestRefused):
        MeetingServer.objects.filter(pk=server.pk).update(
            problem=truncated(error.for_owner, 500), checked_at=timezone.now()
        )


def note_answered(server: MeetingServer) -> None:
    """What was wrong with the server is so no longer."""
    if server.problem:
        MeetingServer.objects.filter(pk=server.pk).update(problem="", checked_at=timezone.now())


def _refusal(room: Room, wanted: RoomSettings, now: datetime) -> SessionError | None:
    if not room.enabled or room.course.archived:
        return RoomOff()
    if wanted.opens_at is not None and now < wanted.opens_at:
        return RoomNotOpenYet(wanted.opens_at)
    if wanted.closes_at is not None and wanted.closes_at <= now:
        return RoomClosed(wanted.closes_at)
    server = server_of(room)
    if server is None:
        return NoMeetingServer()
    return None if server.enabled else MeetingServerOff()


def _server_to_start_on(room: Room) -> MeetingServer:
    """The room's server; or another one, while a session that was started there before the room moved still runs."""
    server = server_of(room)
    if server is None:
        raise NoMeetingServer
    meeting = running_meeting(room)
    if meeting is None or meeting.server is None or meeting.server_id == server.pk or not meeting.server.enabled:
        return server
    try:
        live = client_of(meeting.server).live_session(room.room_id)
    except MeetingServerError as error:
        raise _trouble(meeting.server, error) from error
    return server if live is None else meeting.server


def _address(room: Room, meeting: Meeting, person: Who, is_moderator: bool, locale: str) -> str:
    server = meeting.server
    if server is None:
        raise NoMeetingServer
    if not server.enabled:
        raise MeetingServerOff
    in_force = resolve(policy={}, room=meeting.settings).settings if meeting.settings else settings_of(room).settings
    name = person.display_name if isinstance(person, Person) else person.name or "Teacher"
    identity = identity_of(person)
    # Before they are in, so that the webhook of their coming finds who they are.
    Attendance.objects.update_or_create(
        meeting=meeting,
        identity=identity,
        defaults={"is_moderator": is_moderator},
        create_defaults={
            "is_moderator": is_moderator,
            "person": person if isinstance(person, Person) else None,
            "name": "" if isinstance(person, Person) else name[:255],
        },
    )
    attendee = Attendee(identity, name, is_moderator, locale.replace("_", "-"))
    try:
        address = client_of(server).join_address(room.room_id, attendee, in_force)
    except ServerHasNoSession:
        raise
    except PersonBlocked:
        raise RemovedFromSession from None
    except MeetingServerError as error:
        raise _trouble(server, error) from error
    note_answered(server)
    return address


def _note_over(room: Room, meeting: Meeting) -> None:
    with transaction.atomic():
        there = held(room.pk)
        current = Meeting.objects.filter(pk=meeting.pk).first()
        if there is not None and current is not None:
            current.room = there
            note_ended(current, timezone.now())


def _trouble(server: MeetingServer, error: MeetingServerError) -> MeetingServerTrouble:
    note_trouble(server, error)
    return MeetingServerTrouble(error)
