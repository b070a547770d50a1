"""What beat and wake-ups run: each task by its name, and each once at a time in a process."""

import threading
from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from lti_platform.celery import app
from recordings.library import rename
from recordings.models import MeetingWebhook, Recording
from recordings.tasks import _OneAtATime, look_for_work
from recordings.tests.webhooks import event, post
from tests.factories import MeetingFactory, RecordingFactory

pytestmark = pytest.mark.django_db


def run(name):
    app.tasks[name]()


def test_beat_asks_for_tasks_that_are_there():
    app.loader.import_default_modules()
    asked = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    assert asked <= set(app.tasks)
    assert {name for name in app.tasks if name.startswith("recordings.")} <= asked


def test_the_tasks_do_what_they_are_named_after(fake):
    long_ago = timezone.now() - timedelta(hours=1)
    meeting = MeetingFactory(started_at=long_ago, created_at=long_ago)
    recording = RecordingFactory(room=meeting.room, meeting=meeting)
    fake.record(meeting.room.room_id, recording.record_id)
    rename(recording, "Week 1")
    assert post(meeting.server, event("room_started", meeting, long_ago)) == 200
    run("recordings.process_webhooks")
    run("recordings.carry_out")
    run("recordings.reconcile")
    run("recordings.grade_attendance")
    run("recordings.tidy")
    assert MeetingWebhook.objects.get().processed_at is not None
    assert fake.files[recording.record_id].title == "Week 1"
    meeting.refresh_from_db()
    assert meeting.ended_at is not None, "the server knows of no session there"
    assert Recording.objects.get().state == "available"


def test_a_worker_that_starts_looks_for_work(memory_queue):
    look_for_work()
    assert memory_queue() == 3


def test_one_at_a_time_and_once_more_for_those_who_came_meanwhile():
    one, entered, released = _OneAtATime(), threading.Event(), threading.Event()
    runs = []

    def deed():
        runs.append(1)
        entered.set()
        released.wait(30)
        return 1

    results = []
    first = threading.Thread(target=lambda: results.append(one.run(deed)))
    first.start()
    assert entered.wait(30)
    assert [one.run(deed) for _ in range(5)] == [0, 0, 0, 0, 0]
    released.set()
    first.join(30)
    assert (len(runs), results) == (2, [2])


def test_a_deed_that_fails_leaves_the_way_free():
    one = _OneAtATime()
    with pytest.raises(ZeroDivisionError):
        one.run(lambda: 1 // 0)
    assert one.run(lambda: 3) == 3
