"""Ids: in order, of their time, and never the same."""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import time_machine

from organizations.identifiers import first_uuid7_of, uuid7

NOON = datetime(2030, 1, 2, 12, tzinfo=UTC)


def test_ids_of_one_millisecond_are_in_the_order_they_were_made():
    with time_machine.travel(NOON, tick=False):
        made = [uuid7() for _ in range(3000)]
    assert made == sorted(made)
    assert len(set(made)) == 3000


def test_they_are_of_version_seven_and_of_their_time():
    for later in (timedelta(0), timedelta(milliseconds=1), timedelta(days=400), timedelta(days=-400)):
        with time_machine.travel(NOON + later, tick=False):
            made = [uuid7() for _ in range(50)]
        first, end = first_uuid7_of(NOON + later), first_uuid7_of(NOON + later + timedelta(milliseconds=1))
        assert all(first <= one < end for one in made), later
        assert {(one.version, one.variant) for one in made} == {(7, "specified in RFC 4122")}


def test_a_millisecond_begins_anywhere():
    """Otherwise two processes would make the same ids."""
    begun = set()
    for number in range(20):
        with time_machine.travel(NOON + timedelta(milliseconds=number), tick=False):
            begun.add(uuid7().int & ((1 << 62) - 1))
    assert len(begun) == 20


def test_threads_make_no_id_twice():
    with time_machine.travel(NOON, tick=False), ThreadPoolExecutor(8) as pool:
        made = [one for batch in pool.map(lambda _: [uuid7() for _ in range(500)], range(8)) for one in batch]
    assert len(set(made)) == 4000


def test_a_forked_process_goes_on_elsewhere():
    """Servers fork: the child knows the parent's latest id, and both go on from there in the same millisecond."""
    with time_machine.travel(NOON, tick=False):
        uuid7()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writing, b"".join(uuid7().bytes for _ in range(20)))
            os._exit(0)
        os.close(writing)
        own = {uuid7().bytes for _ in range(20)}
        os.waitpid(child, 0)
        with os.fdopen(reading, "rb") as pipe:
            content = pipe.read()
    others = {content[start : start + 16] for start in range(0, len(content), 16)}
    assert len(others) == 20
    assert not own & others
