"""The scaled-down run of `make chaos`: every fault at once, workers that die, and in the end everything adds up."""

import os

import pytest

from tests.chaos import run_chaos

pytestmark = [pytest.mark.stack, pytest.mark.xdist_group("stack")]


def test_whatever_goes_wrong_nothing_is_lost_doubled_or_turned_back(tmp_path, capsys):
    seed = int(os.environ.get("CHAOS_SEED") or os.getpid())
    figures = run_chaos(tmp_path, seed=seed, cells=60, rounds=1, patience=240)
    # Shown when it fails, with the seed that makes the same faults again.
    print("\n".join(figures.lines()))  # noqa: T201
    assert figures.wrong == []
    assert figures.kills == 1
    assert sum(count for name, count in figures.faults.items() if not name.endswith(" none")) > 20
    assert figures.webhooks == figures.scores >= 180
