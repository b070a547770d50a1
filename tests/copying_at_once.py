"""Copies of courses made at the same moment, in threads with connections and commits of their own.

Run inside `manage.py shell` on a database of a test's own (`tests.stack`), so that SQLite is a file with real writers.
"""

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from django.db import DatabaseError, connections, transaction
from django.utils import timezone

from courses.copying import CopyNotUndoneError, copy_course, copy_once, undo_copy
from courses.definitions import (
    AssignmentDefinition,
    CourseSettings,
    DefinitionError,
    change_course,
    make_assignment,
)
from courses.models import Assignment, Course, Enrolment, Submission
from courses.submissions import open_assignment
from events.log import SYSTEM, Actor
from events.models import Event
from organizations.models import Organization, Person
from organizations.upsert import upsert
from recordings.meetings import held, note_running
from recordings.models import Meeting, MeetingServer, Room

THREADS = 40


def at_once(deeds: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each deed returns or raises; as many at a time as there are threads, begun at the same moment."""
    answers: list[Any] = [None] * len(deeds)
    waiting = iter(enumerate(deeds))
    lock = threading.Lock()
    threads = min(THREADS, len(deeds))
    start = threading.Barrier(threads)

    def work() -> None:
        start.wait()
        try:
            while True:
                with lock:
                    index, deed = next(waiting, (None, None))
                if index is None or deed is None:
                    return
                try:
                    answers[index] = deed()
                except Exception as error:  # noqa: BLE001 - the test looks at it
                    answers[index] = error
        finally:
            connections.close_all()

    running = [threading.Thread(target=work) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return answers


def parent_course(code: str, assignments: int = 20) -> Course:
    organization, _ = Organization.objects.get_or_create(slug="acme", defaults={"name": "Acme"})
    course = Course.objects.create(organization=organization, code=code, name=code, course_copy=True)
    for number in range(assignments):
        make_assignment(course, AssignmentDefinition(slug=f"a{number}", module=f"Week {number // 5}"))
    return course


def errors_of(answers: Sequence[Any]) -> list[str]:
    return [f"{type(answer).__name__}: {answer}" for answer in answers if isinstance(answer, Exception)]


def keys(course: Course) -> list[str]:
    return list(course.assignments.values_list("constant_key", flat=True))


def a_hundred_launches() -> dict[str, Any]:
    """As launches do: each inside a transaction that writes the person before and the enrolment afterwards."""
    parent = parent_course("hundred")
    students = [Person.objects.create(organization=parent.organization, name=f"S {n}") for n in range(100)]

    def launch(person: Person) -> tuple[str, bool]:
        with transaction.atomic():
            Person.objects.filter(pk=person.pk).update(email=f"{person.pk}@example.org")
            course, made = copy_once(parent, code="2031", actor=Actor.of(person))
            for entered in (parent, course):
                values = {"role": "student", "last_launch_at": timezone.now()}
                upsert(Enrolment, {"course_id": entered.pk, "person_id": person.pk}, values)
        return str(course.pk), made

    answers = at_once([lambda person=person: launch(person) for person in students])  # type: ignore[misc]
    found = [answer for answer in answers if not isinstance(answer, Exception)]
    copies = list(parent.copies.all())
    return {
        "errors": errors_of(answers),
        "courses": len({course for course, _ in found}),
        "made": sum(made for _, made in found),
        "copies": len(copies),
        "events": Event.objects.filter(type="course.copied", data__copied_from=str(parent.pk)).count(),
        "same_contents": all(keys(copy) == keys(parent) for copy in copies),
        "enrolled": sum(copy.enrolments.filter(role="student").count() for copy in copies),
        "others": sum(copy.enrolments.exclude(role="student").count() for copy in copies),
    }


def two_parents_of_one_code() -> dict[str, Any]:
    parents = [parent_course("left", 5), parent_course("right", 5)]
    deeds = [lambda n=n: copy_once(parents[n % 2], code="both", actor=SYSTEM) for n in range(40)]  # type: ignore[misc]
    answers = at_once(deeds)
    found = [answer for answer in answers if not isinstance(answer, Exception)]
    copy = Course.objects.get(code="both")
    return {
        "errors": errors_of(answers),
        "courses": len({course.pk for course, _ in found}),
        "made": sum(made for _, made in found),
        "whole": copy.copied_from in parents and keys(copy) == keys(copy.copied_from),
    }


def one_code_by_hand() -> dict[str, Any]:
    parent = parent_course("by-hand", 5)
    answers = at_once([lambda: copy_course(parent, code="wanted", actor=SYSTEM)] * 30)
    refused = [answer for answer in answers if isinstance(answer, DefinitionError) and answer.taken]
    return {
        "made": sum(isinstance(answer, Course) for answer in answers),
        "refused": len(refused),
        "copies": parent.copies.count(),
        "events": Event.objects.filter(type="course.copied", data__copied_from=str(parent.pk)).count(),
    }


def while_the_parent_is_edited() -> dict[str, Any]:
    """Somebody adds assignments one by one and switches two settings together, while others copy."""
    parent = parent_course("edited", 3)
    begin = len(keys(parent))

    def edit() -> None:
        course = Course.objects.get(pk=parent.pk)
        for number in range(40):
            make_assignment(course, AssignmentDefinition(slug=f"new{number}", module=f"New {number}"))
            policy: Any = ("ALWAYS", "CHANGED")[number % 2]
            with transaction.atomic():
                change_course(course, CourseSettings(send_grade=policy), actor=SYSTEM)
                change_course(course, CourseSettings(name=policy), actor=SYSTEM)
            if number % 5 == 4:
                course.modules.get(name=f"New {number}").delete()

    Course.objects.filter(pk=parent.pk).update(send_grade="CHANGED", name="CHANGED")

    def copy(number: int) -> Course:
        time.sleep(random.random() / 4)
        return copy_once(parent, code=f"edited-{number}", actor=SYSTEM)[0]

    answers = at_once([edit, *[lambda n=n: copy(n) for n in range(30)]])  # type: ignore[misc]
    wrong = []
    lengths = set()
    sequence = keys(parent)
    deleted = {f"new{number}" for number in range(4, 40, 5)}
    for made in parent.copies.all():
        lengths.add(len(keys(made)))
        if keys(made) != sequence[: len(keys(made))]:
            wrong.append(f"{made.code}: not what the parent held at one moment")
        if made.name != made.send_grade:
            wrong.append(f"{made.code}: half of a change: {made.name}, {made.send_grade}")
        for assignment in made.assignments.select_related("module"):
            if assignment.module is None:
                if assignment.slug not in deleted:
                    wrong.append(f"{made.code}: {assignment.slug} lost its module")
            elif assignment.module.course_id != made.pk:
                wrong.append(f"{made.code}: {assignment.slug} is in a module of another course")
    return {
        "errors": errors_of(answers),
        "copies": parent.copies.count(),
        "wrong": wrong,
        "parent": len(sequence) - begin,
        "met": len(lengths),
    }


def undone_while_a_student_arrives() -> dict[str, Any]:
    """Either the copy is gone and nothing of the arrival is there, or it stays with the whole of it."""
    parent = parent_course("undone", 3)
    outcomes = {"gone": 0, "kept": 0}
    wrong = []
    for number in range(25):
        copy = copy_course(parent, code=f"undone-{number}", actor=SYSTEM)
        assignment = copy.assignments.all()[0]
        person = Person.objects.create(organization=parent.organization, name=f"Late {number}")

        def arrive(copy: Course = copy, assignment: Assignment = assignment, person: Person = person) -> str:
            with transaction.atomic():
                values = {"role": "student", "last_launch_at": timezone.now()}
                upsert(Enrolment, {"course_id": copy.pk, "person_id": person.pk}, values)
                open_assignment(assignment, person, Actor.of(person))
            return "arrived"

        def undo(copy: Course = copy, wait: float = number / 5000) -> str:
            time.sleep(wait)
            undo_copy(copy, SYSTEM)
            return "undone"

        arrival, undoing = at_once([arrive, undo])
        rows = (
            Course.objects.filter(pk=copy.pk).count(),
            Enrolment.objects.filter(person=person).count(),
            Submission.objects.filter(person=person).count(),
        )
        if undoing == "undone" and isinstance(arrival, DatabaseError) and rows == (0, 0, 0):
            outcomes["gone"] += 1
        elif isinstance(undoing, CopyNotUndoneError) and arrival == "arrived" and rows == (1, 1, 1):
            outcomes["kept"] += 1
        else:
            wrong.append(f"{arrival!r}, {undoing!r}, {rows}")
    return {"wrong": wrong, "outcomes": outcomes}


def undone_while_a_session_starts() -> dict[str, Any]:
    """Either the copy is gone and no session is there, or it stays with its session and the event."""
    parent = parent_course("held", 3)
    server = MeetingServer.objects.create(
        organization=parent.organization, name="main", url="https://meet.example", api_key="key", api_secret="secret"
    )
    Room.objects.create(course=parent, slug="room", title="Room", server=server)
    outcomes = {"gone": 0, "kept": 0}
    wrong = []
    for number in range(25):
        copy = copy_course(parent, code=f"held-{number}", actor=SYSTEM)
        room_id = copy.rooms.get().pk

        def start(room_id: UUID = room_id, number: int = number) -> str:
            with transaction.atomic():
                room = held(room_id)
                if room is None:
                    return "no room"
                note_running(room, server, f"session-{number}", started_at=None)
            return "started"

        def undo(copy: Course = copy, wait: float = number / 5000) -> str:
            time.sleep(wait)
            undo_copy(copy, SYSTEM)
            return "undone"

        starting, undoing = at_once([start, undo])
        rows = (
            Course.objects.filter(pk=copy.pk).count(),
            Meeting.objects.filter(session_id=f"session-{number}").count(),
            Event.objects.filter(type="meeting.started", data__room=str(room_id)).count(),
        )
        not_started = starting == "no room" or isinstance(starting, DatabaseError)
        if undoing == "undone" and not_started and rows == (0, 0, 0):
            outcomes["gone"] += 1
        elif isinstance(undoing, CopyNotUndoneError) and starting == "started" and rows == (1, 1, 1):
            outcomes["kept"] += 1
        else:
            wrong.append(f"{starting!r}, {undoing!r}, {rows}")
    return {"wrong": wrong, "outcomes": outcomes}


def at_one_moment(*names: str) -> dict[str, Any]:
    """The answers of these deeds, by name."""
    return {name: globals()[name]() for name in names}
