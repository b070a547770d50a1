"""How long somebody was in: overlaps, what was lost, what two sources tell."""

from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recordings.stays import Interval, Presence, presence_of

START = datetime(2030, 2, 1, 18, 0, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def stay(joined: float | None, left: float | None, *, reported: bool = False) -> Interval:
    return Interval(None if joined is None else at(joined), None if left is None else at(left), reported)


def minutes_of(*stays: Interval, ended: float | None = 60) -> float:
    return presence_of(stays, None if ended is None else at(ended)).seconds(at(60)) / 60


def test_one_stay():
    presence = presence_of([stay(5, 20)], at(60))
    assert (presence.joined_at, presence.left_at, presence.is_in) == (at(5), at(20), False)
    assert presence.seconds(at(60)) == 900


def test_nobody():
    presence = presence_of([], at(60))
    assert (presence, presence.joined_at, presence.seconds(at(60))) == (Presence(), None, 0)


def test_two_devices_at_once_count_once():
    assert minutes_of(stay(0, 30), stay(10, 20), stay(25, 40)) == 40


def test_apart_are_summed():
    assert minutes_of(stay(0, 10), stay(50, 60)) == 20


def test_who_was_not_seen_leaving_is_in():
    presence = presence_of([stay(0, 10), stay(20, None)], None)
    assert (presence.left_at, presence.is_in, presence.seconds(at(60))) == (None, True, 50 * 60)


def test_a_lost_leave_ends_with_the_meeting():
    assert minutes_of(stay(20, None)) == 40


def test_a_lost_leave_ends_with_the_next_join():
    assert minutes_of(stay(0, None), stay(50, 55)) == 55
    assert presence_of([stay(0, None), stay(50, 55)], at(60)).left_at == at(55)


def test_a_leave_whose_join_is_unknown_is_a_moment():
    assert minutes_of(stay(None, 30)) == 0
    assert presence_of([stay(None, 30)], at(60)).joined_at == at(30)


def test_the_report_knows_the_lost_leave():
    assert minutes_of(stay(0, None), stay(0.1, 25, reported=True)) == 24.9


def test_the_report_knows_the_lost_join():
    assert minutes_of(stay(None, 25), stay(5, 25, reported=True)) == 20


def test_the_report_that_lost_a_leave_is_completed_by_webhooks():
    assert minutes_of(stay(0, 25), stay(0, None, reported=True)) == 25


def test_both_sources_tell_of_the_same_stay():
    assert minutes_of(stay(0, 30), stay(0, 30, reported=True)) == 30


def test_clocks_that_go_backwards_make_no_negative_time():
    assert minutes_of(stay(30, 20)) == 0


# On a busy machine.
patient = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
moments = st.integers(0, 3600).map(lambda second: START + timedelta(seconds=second))
intervals = st.builds(Interval, moments | st.none(), moments | st.none(), st.booleans())


@patient
@given(st.lists(intervals, max_size=8))
def test_spans_are_in_order_and_within_the_meeting(some):
    ended_at = at(60)
    presence = presence_of(some, ended_at)
    ends = [start for start, _ in presence.spans]
    assert ends == sorted(ends)
    for (_, left), (following, _) in zip(presence.spans, presence.spans[1:], strict=False):
        assert left is not None
        assert left < following
    assert 0 <= presence.seconds(ended_at) <= 3600


@patient
@given(st.lists(st.tuples(moments, moments).map(sorted), min_size=1, max_size=8))
def test_whole_stays_count_every_second_once(pairs):
    stays = [Interval(joined, left) for joined, left in pairs]
    covered = {
        START + timedelta(seconds=second)
        for joined, left in pairs
        for second in range(int((joined - START).total_seconds()), int((left - START).total_seconds()))
    }
    assert presence_of(stays, at(60)).seconds(at(60)) == len(covered)
    assert presence_of(reversed(stays), at(60)) == presence_of(stays, at(60))
