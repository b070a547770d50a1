"""Copies of courses under real parallelism, on the database that DATABASE_URL names or an SQLite file."""

import json

import pytest

from tests.stack import running_stack

pytestmark = [pytest.mark.stack, pytest.mark.xdist_group("parallel")]

SCENES = (
    "a_hundred_launches",
    "two_parents_of_one_code",
    "one_code_by_hand",
    "while_the_parent_is_edited",
    "undone_while_a_student_arrives",
    "undone_while_a_session_starts",
)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """What each scene of tests/copying_at_once.py came to."""
    with running_stack(tmp_path_factory.mktemp("copies")) as stack:
        code = (
            f"import json; from tests.copying_at_once import at_one_moment; print(json.dumps(at_one_moment(*{SCENES})))"
        )
        yield json.loads(stack.manage("shell", "--verbosity", "0", "-c", code).strip().splitlines()[-1])


def test_a_hundred_launches_make_one_copy(scenes):
    assert scenes["a_hundred_launches"] == {
        "errors": [], "courses": 1, "made": 1, "copies": 1, "events": 1, "same_contents": True, "enrolled": 100,
        "others": 0,
    }  # fmt: skip


def test_launches_of_two_parents_with_one_target_id_make_one_copy(scenes):
    assert scenes["two_parents_of_one_code"] == {"errors": [], "courses": 1, "made": 1, "whole": True}


def test_thirty_copies_of_one_code_by_hand_are_one(scenes):
    assert scenes["one_code_by_hand"] == {"made": 1, "refused": 29, "copies": 1, "events": 1}


def test_a_copy_holds_what_the_parent_held_at_one_moment(scenes):
    scene = scenes["while_the_parent_is_edited"]
    assert (scene["errors"], scene["wrong"], scene["copies"], scene["parent"]) == ([], [], 30, 40)
    assert scene["met"] > 1, "copies were made before and after an edit"


def test_undoing_and_an_arrival_do_not_mix(scenes):
    scene = scenes["undone_while_a_student_arrives"]
    assert scene["wrong"] == []
    assert sum(scene["outcomes"].values()) == 25


def test_undoing_and_a_session_do_not_mix(scenes):
    scene = scenes["undone_while_a_session_starts"]
    assert scene["wrong"] == []
    assert sum(scene["outcomes"].values()) == 25
