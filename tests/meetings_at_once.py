"""Live sessions under real parallelism: run inside `manage.py shell` on a database of a test's own (tests.stack)."""

import random
from collections import Counter
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

from django.utils import timezone

from events.log import SYSTEM
from events.models import Event
from organizations.models import Organization, Person
from recordings.attendance import attendance_of
from recordings.library import carry_out, delete
from recordings.models import Attendance, Meeting, MeetingServer, MeetingWebhook, Recording, Room
from recordings.receiving import process_webhooks, receive
from recordings.reconciling import reconcile
from recordings.sessions import end, identity_of, join, start
from recordings.tests.webhooks import signed
from tests.copying_at_once import at_once, errors_of


def scenes(url: str, key: str, secret: str) -> dict[str, Any]:
    """What each scene came to, with a sandbox server at this address."""
    organization = Organization.objects.create(slug="acme", name="Acme")
    server = MeetingServer.objects.create(
        organization=organization, name="main", kind="sandbox", url=url, api_key=key, api_secret=secret, is_default=True
    )
    course = organization.courses.create(code="live", name="Live")
    people = Person.objects.bulk_create(Person(organization=organization, name=f"Person {n}") for n in range(60))
    return {
        "starts": _starts(Room.objects.create(course=course, slug="starts", title="Starts"), people),
        "webhooks": _webhooks(Room.objects.create(course=course, slug="webhooks", title="Webhooks"), server, people),
        "same_webhook": _same_webhook(server, secret),
        "deletions": _deletions(Room.objects.create(course=course, slug="files", title="Files"), server),
        "reconciling": _reconciling(server),
    }


def _start(room: Room, teacher: Person) -> Any:
    return start(room, teacher).pk


def _come_in(webhooks: list[MeetingWebhook]) -> int:
    MeetingWebhook.objects.bulk_create(webhooks)
    return 0


def _starts(room: Room, people: list[Person]) -> dict[str, Any]:
    """Twelve teachers start and enter at the same moment; then all of them end it."""
    teachers = people[:12]
    started = at_once([partial(_start, room, one) for one in teachers])
    entered = at_once([partial(join, room, one, is_moderator=True) for one in teachers])
    ended = at_once([partial(end, room, one) for one in teachers])
    return {
        "errors": errors_of([*started, *entered, *ended]),
        "meetings": Meeting.objects.filter(room=room).count(),
        "started": len(set(started)),
        "addresses": len(set(entered)),
        "events": dict(Counter(Event.objects.filter(data__room=str(room.pk)).values_list("type", flat=True))),
        "asked_in": Attendance.objects.filter(meeting__room=room).count(),
        "running": Meeting.objects.filter(room=room, ended_at=None).count(),
    }


def _webhooks(room: Room, server: MeetingServer, people: list[Person]) -> dict[str, Any]:
    """Six workers process what one room's server told, twice and in no order, while more of it comes in."""
    begun = timezone.now().replace(microsecond=0) - timedelta(hours=1)
    meeting = Meeting.objects.create(room=room, server=server, session_id="burst", started_at=begun)
    Attendance.objects.bulk_create(Attendance(meeting=meeting, person=one, identity=identity_of(one)) for one in people)
    rows, expected = [], {}
    for number, one in enumerate(people):
        for stay in range(5):
            first = begun + timedelta(minutes=stay * 10)
            for kind, at in (
                ("participant_joined", first),
                ("participant_left", first + timedelta(seconds=number + 1)),
            ):
                payload = {"identity": identity_of(one), "connection_id": f"{number}-{stay}", "name": "x"}
                rows.append((kind, at, payload))
        expected[str(one.pk)] = 5 * (number + 1)
    random.Random(3).shuffle(rows)
    made = [
        MeetingWebhook(
            server=server, event_id=str(uuid4()), type=kind, room_id=room.room_id, session_id="burst",
            payload=payload, sent_at=at,
        )
        for kind, at, payload in rows
    ]  # fmt: skip
    parts = [made[begin::6] for begin in range(6)]
    deeds: list[Any] = [partial(_come_in, part) for part in parts]
    deeds += [process_webhooks for _ in range(6)]
    answers = at_once(deeds)
    answers.append(process_webhooks())
    found = {str(one.person.pk): one.seconds for one in attendance_of(meeting) if one.person}
    return {
        "errors": errors_of(answers),
        "waiting": MeetingWebhook.objects.filter(processed_at=None).count(),
        "processed": sum(answer for answer in answers if isinstance(answer, int)),
        "wrong": sum(found.get(pk) != seconds for pk, seconds in expected.items()),
        "stored": sorted(Attendance.objects.filter(meeting=meeting).values_list("seconds", flat=True))
        == sorted(expected.values()),
    }


def _same_webhook(server: MeetingServer, secret: str) -> dict[str, Any]:
    """Twelve web processes receive the same webhook at the same moment."""
    body = b'{"event": "room_created", "id": "the-same", "created_at": "1700000000", "room": {"room_id": "r"}}'
    headers = {"Content-Type": "application/json", "Hash-Token": signed(body, key=server.api_key, secret=secret)}
    answers = at_once([lambda: receive(server, headers, body) for _ in range(12)])
    kept = MeetingWebhook.objects.filter(event_id="the-same").count()
    return {"errors": errors_of(answers), "new": answers.count(True), "kept": kept}


def _deletions(room: Room, server: MeetingServer) -> dict[str, Any]:
    """Six workers carry out ten deletions."""
    rows = [Recording.objects.create(room=room, server=server, record_id=f"file-{n}") for n in range(10)]
    for row in rows:
        delete(row, SYSTEM)
    answers = at_once([carry_out for _ in range(6)])
    return {
        "errors": errors_of(answers),
        "done": sum(answer for answer in answers if isinstance(answer, int)),
        "deleted": Recording.objects.filter(room=room, state="deleted").count(),
        "events": Event.objects.filter(type="recording.deleted").count(),
    }


def _reconciling(server: MeetingServer) -> dict[str, Any]:
    """Six workers look at the same time: the server is asked once."""
    MeetingServer.objects.update(reconciled_at=None)
    later = timezone.now() + timedelta(minutes=5)
    answers = at_once([lambda: reconcile(later) for _ in range(6)])
    return {"errors": errors_of(answers), "asked": sorted(answer for answer in answers if isinstance(answer, int))}
