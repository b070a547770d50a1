"""What meeting servers tell: kept as it comes, once each, and made into meetings, attendance and recordings by workers.

Webhooks come twice, late, and in any order, and a burst of thousands when a large meeting ends. So nothing is done
while one is received but to check and keep it; a worker takes those of one room together, in one transaction that holds
the room. What each of them says is true whatever came before it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import F
from django.utils import timezone

from recordings.attendance import Step, note_steps
from recordings.library import note_recording
from recordings.meeting_server import Participant, WebhookMessage
from recordings.meetings import held, note_attendance_changed, note_ended, note_running, wake
from recordings.models import Meeting, MeetingServer, MeetingWebhook, Recording, Room
from recordings.servers import client_of

logger = structlog.get_logger(__name__)

PROCESS_WEBHOOKS = "recordings.process_webhooks"
LARGEST_BODY = 256 * 1024
AT_ONCE = 500
MOST_FAILURES = 10
# What was processed is only kept so that it is not taken twice; a token lives for five minutes.
KEPT, FAILED_KEPT = timedelta(days=7), timedelta(days=30)

JOINED, LEFT = "participant_joined", "participant_left"
# The server says nothing of these but that the session runs.
_ALIVE = frozenset({"room_started", JOINED, LEFT, "track_published", "track_unpublished", "start_recording"})
_OVER = frozenset({"session_ended", "room_finished"})
_RECORDING_STEPS = ("start_recording", "end_recording")
_RECORDING_READY = frozenset({"recording_proceeded", "recording_transcoding_finished"})
_REPORT = frozenset({"artifact_created", "analytics_proceeded"})
_ANALYTICS = "MEETING_ANALYTICS"
KNOWN = _ALIVE | _OVER | {"room_created", "end_recording"} | _RECORDING_READY | _REPORT


def server_for_webhook(server_id: UUID) -> MeetingServer | None:
    """The server that calls under this id; None where it, or its organization, is off."""
    return MeetingServer.objects.filter(pk=server_id, enabled=True, organization__enabled=True).first()


def receive(server: MeetingServer, headers: Mapping[str, str], body: bytes) -> bool:
    """Checks a webhook against its very bytes and keeps it; False where it was kept before.

    Raises `WebhookRefused`; then nothing is kept.
    """
    message = client_of(server).read_webhook(headers, body)
    row = MeetingWebhook(
        server=server,
        event_id=message.event_id[:128],
        type=message.type[:64],
        room_id=message.room_id[:128],
        session_id=message.session_id[:128],
        payload=_kept(message),
        sent_at=message.sent_at,
    )
    try:
        with transaction.atomic():
            row.save(force_insert=True)
            wake(PROCESS_WEBHOOKS)
    except IntegrityError:
        if not MeetingWebhook.objects.filter(server=server, event_id=row.event_id).exists():
            raise
        return False
    return True


def process_webhooks() -> int:
    """Processes what waits, a room at a time; returns how many. Harmless however often, and wherever else, it runs."""
    done = 0
    failed: set[UUID] = set()
    while True:
        rooms = _waiting().exclude(pk__in=failed).order_by().values_list("server_id", "room_id").distinct()
        # What another worker has in hand is left to it.
        count = sum(_process_room(server_id, room_id, failed) for server_id, room_id in list(rooms))
        if not count:
            return done
        done += count


def forget_old(now: datetime | None = None) -> int:
    """Deletes webhooks that are past their age. Returns how many."""
    now = now or timezone.now()
    done = MeetingWebhook.objects.filter(processed_at__isnull=False, received_at__lt=now - KEPT)
    stuck = MeetingWebhook.objects.filter(processed_at__isnull=True, received_at__lt=now - FAILED_KEPT)
    return done.delete()[0] + stuck.delete()[0]


def _waiting() -> Any:
    return MeetingWebhook.objects.filter(processed_at__isnull=True, failures__lt=MOST_FAILURES)


def _process_room(server_id: UUID, room_id: str, failed: set[UUID]) -> int:
    """Processes some of the webhooks of one room; returns how many, and adds those that fail to `failed`.

    Together first, which is quick; and if that fails, one by one, so that one that cannot be read holds up no other.
    """
    try:
        with transaction.atomic():
            rows = _taken(server_id, room_id, failed)
            _apply(rows)
            _settle(rows)
        return len(rows)
    except DatabaseError:
        # Not what one of them says: the next run sees what is left.
        raise
    # Whatever one of them says that nobody thought of: the others must not wait for it.
    except Exception as error:
        logger.error("meeting_webhook_not_understood", server=str(server_id), exc_info=error)
    done = 0
    with transaction.atomic():
        for row in _taken(server_id, room_id, failed):
            try:
                with transaction.atomic():
                    _apply([row])
                    _settle([row])
                done += 1
            except DatabaseError:
                raise
            except Exception as error:
                failed.add(row.pk)
                logger.error("meeting_webhook_failed", webhook=str(row.pk), type=row.type, exc_info=error)
                MeetingWebhook.objects.filter(pk=row.pk).update(
                    failures=F("failures") + 1, problem=type(error).__name__
                )
    return done


def _taken(server_id: UUID, room_id: str, failed: set[UUID]) -> list[MeetingWebhook]:
    rows = _waiting().filter(server=server_id, room_id=room_id).exclude(pk__in=failed).order_by("id")
    if connection.features.has_select_for_update_skip_locked:
        rows = rows.select_for_update(of=("self",), skip_locked=True)
    return list(rows.select_related("server")[:AT_ONCE])


def _settle(rows: Sequence[MeetingWebhook]) -> None:
    """Done; who was in is forgotten here. Which recording it was about is not, since its length follows from two."""
    now = timezone.now()
    for row in rows:
        row.processed_at = now
        row.payload = {"record_id": row.payload["record_id"]} if row.type in _RECORDING_STEPS and row.payload else {}
    MeetingWebhook.objects.bulk_update(rows, ["processed_at", "payload"], batch_size=200)


def _apply(rows: Sequence[MeetingWebhook]) -> None:
    """Makes of them what follows, in a transaction. Which server's they are, and which room's, is the same for all."""
    if not rows:
        return
    server = rows[0].server
    room = _room_of(server, rows[0].room_id)
    if room is None:
        # Another tool's on the same server, or a room that was deleted here.
        return
    # By the server's clock: of two sessions, the later one runs.
    ordered = sorted(rows, key=lambda row: (row.sent_at or row.received_at, row.pk))
    sessions: dict[str, list[MeetingWebhook]] = {}
    for row in ordered:
        if row.session_id:
            sessions.setdefault(row.session_id, []).append(row)
    for session_id, told in sessions.items():
        _apply_session(room, server, session_id, told)
    for row in ordered:
        if row.type in _RECORDING_READY and row.payload.get("record_id"):
            _note_ready(room, server, row)
        elif row.type in _RECORDING_STEPS and row.payload.get("record_id"):
            _note_length(server, row.payload["record_id"], rows)
        elif row.type in _REPORT:
            _note_report(room, server, row)


def _apply_session(room: Room, server: MeetingServer, session_id: str, told: Sequence[MeetingWebhook]) -> None:
    meeting = Meeting.objects.filter(server=server, session_id=session_id, room=room).first()
    if meeting is None:
        # A session is made known by whoever starts it; here only if that got lost and somebody is in it all the same.
        signs = [row for row in told if row.type in _ALIVE | _OVER]
        if not signs or Meeting.objects.filter(server=server, session_id=session_id).exists():
            return
        starts = [at for row in signs if (at := _moment(row.payload.get("session_started_at"))) is not None]
        started_at = min([*starts, *(row.sent_at or row.received_at for row in signs)])
        meeting = note_running(room, server, session_id, started_at=started_at)
    meeting.room = room
    if note_steps(meeting, [step for row in told if (step := _step(row)) is not None]):
        note_attendance_changed(meeting)
    ends = [row.sent_at or row.received_at for row in told if row.type in _OVER]
    if ends:
        note_ended(meeting, min(ends))


def _step(row: MeetingWebhook) -> Step | None:
    if row.type not in (JOINED, LEFT) or not row.payload.get("identity"):
        return None
    known = row.payload
    participant = Participant(
        known["identity"],
        known.get("connection_id", ""),
        known.get("name", ""),
        None,
        is_moderator=bool(known.get("is_moderator")),
        is_bot=bool(known.get("is_bot")),
    )
    at = row.sent_at or row.received_at
    # Both tell when the stay began, so that a leave whose join was lost is a whole stay.
    joined_at = _moment(known.get("joined_at"))
    if row.type == JOINED:
        return Step(participant, joined_at=joined_at or at)
    return Step(participant, joined_at=min(joined_at, at) if joined_at else None, left_at=at)


def _note_ready(room: Room, server: MeetingServer, row: MeetingWebhook) -> None:
    record_id = row.payload["record_id"]
    start, end = _recorded(server, record_id)
    recording = note_recording(
        room,
        server,
        record_id,
        session_id=row.session_id,
        size=row.payload.get("recording_size"),
        seconds=_seconds(start, end),
        recorded_at=start or row.sent_at,
    )
    logger.info("recording_ready", recording=str(recording.pk))


def _note_length(server: MeetingServer, record_id: str, rows: Sequence[MeetingWebhook]) -> None:
    start, end = _recorded(server, record_id)
    seconds = _seconds(start, end)
    if seconds is not None:
        Recording.objects.filter(server=server, record_id=record_id, seconds__isnull=True).update(seconds=seconds)


def _recorded(server: MeetingServer, record_id: str) -> tuple[datetime | None, datetime | None]:
    """When the recording began and ended, as far as it was told: no server says how long one is."""
    told = MeetingWebhook.objects.filter(server=server, type__in=_RECORDING_STEPS, payload__record_id=record_id)
    times = dict(told.filter(sent_at__isnull=False).order_by("-id").values_list("type", "sent_at"))
    return times.get("start_recording"), times.get("end_recording")


def _seconds(start: datetime | None, end: datetime | None) -> int | None:
    return max(0, round((end - start).total_seconds())) if start is not None and end is not None else None


def _note_report(room: Room, server: MeetingServer, row: MeetingWebhook) -> None:
    """Where the report is; the reconciler fetches it, since nothing is fetched here."""
    artifact_id = row.payload.get("artifact_id")
    if artifact_id and row.session_id and row.payload.get("artifact_type") == _ANALYTICS:
        Meeting.objects.filter(server=server, room=room, session_id=row.session_id, analytics_taken_at=None).update(
            analytics_id=artifact_id[:255], reconciled_at=None
        )


def _room_of(server: MeetingServer, room_id: str) -> Room | None:
    """The room, locked: only one of the server's own organization."""
    found = Room.objects.filter(room_id=room_id, course__organization=server.organization_id).values("pk").first()
    return held(found["pk"]) if found else None


def _kept(message: WebhookMessage) -> dict[str, Any]:
    """What a worker needs of the message; of one that is not known, nothing but its type is kept."""
    if message.type not in KNOWN:
        return {}
    kept: dict[str, Any] = {}
    if message.session_started_at is not None:
        kept["session_started_at"] = message.session_started_at.isoformat()
    if message.participant is not None and message.type in (JOINED, LEFT):
        one = message.participant
        kept |= {
            "identity": one.identity[:255],
            "connection_id": one.connection_id[:255],
            "name": one.name[:255],
            "joined_at": one.joined_at.isoformat() if one.joined_at else None,
            "is_moderator": one.is_moderator,
            "is_bot": one.is_bot,
        }
    if message.record_id:
        kept |= {"record_id": message.record_id[:255], "recording_size": message.recording_size}
    if message.artifact_id:
        kept |= {"artifact_id": message.artifact_id[:255], "artifact_type": message.artifact_type}
    return kept


def _moment(text: Any) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) and text else None
