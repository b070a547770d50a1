"""POST /courses/{id}/roster-sync: it waits for the worker for a while, and says how far it came."""

import threading

import pytest
from django.db import connections

from api import enrolments
from api.tests.calling import problem_of
from courses.models import RosterSync
from courses.roster import sync_roster
from tests.factories import CourseFactory
from tests.loopback import Reply
from tests.roster_lms import member, serve_roster

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def lms():
    with serve_roster() as served:
        yield served


@pytest.fixture
def course(api):
    return CourseFactory(organization=api.organization)


@pytest.fixture
def worker(monkeypatch):
    """Reads what was asked for as soon as a worker is woken up, like one in another process."""
    from courses import roster

    def knock(countdown=None, *, task, arguments):
        assert task == "courses.sync_roster"
        sync_roster(arguments[0])
        return True

    monkeypatch.setattr(roster, "knock", knock)


def test_the_answer_is_the_result(api, lms, course, worker):
    lms_course = lms.opens(course)
    lms.members = [member("a"), member("t", "Instructor")]
    response = api.post(f"/courses/{course.id}/roster-sync", {})
    assert response.status_code == 200
    (item,) = response.json()["items"]
    assert item["lms_course"] == str(lms_course.pk)
    assert (item["title"], item["installation"]) == ("Rhetoric at the LMS", str(lms_course.installation_id))
    assert (item["state"], item["added"], item["gone"], item["unchanged"]) == ("done", 2, 0, 0)
    assert item["roster_synced_at"]
    listed = api.all(f"/courses/{course.id}/enrolments")
    assert {row["person"]["lms_accounts"][0]["lms_user_id"]: row["role"] for row in listed} == {
        "a": "student", "t": "teacher",
    }  # fmt: skip
    assert {row["last_launch_at"] for row in listed} == {None}
    lms.members = [member("t", "Instructor")]
    (item,) = api.post(f"/courses/{course.id}/roster-sync", {}).json()["items"]
    assert (item["added"], item["gone"], item["unchanged"]) == (0, 1, 1)
    states = {row["role"]: row["state"] for row in api.all(f"/courses/{course.id}/enrolments")}
    assert states == {"student": "gone", "teacher": "active"}


def test_a_failure_is_told_in_words(api, lms, course, worker):
    lms.opens(course)
    lms.manners = lambda received: Reply(403)
    response = api.post(f"/courses/{course.id}/roster-sync", {})
    (item,) = response.json()["items"]
    assert (response.status_code, item["state"], item["error"]) == (200, "failed", "forbidden")
    assert "administrator of the LMS" in item["explanation"]


def test_without_a_worker_it_says_that_it_goes_on(api, lms, course, memory_queue, monkeypatch):
    monkeypatch.setattr(enrolments, "WAIT_SECONDS", 0.15)
    lms.opens(course)
    response = api.post(f"/courses/{course.id}/roster-sync", {})
    assert (response.status_code, response.json()["items"][0]["state"]) == (202, "waiting")
    assert memory_queue() == 1
    assert RosterSync.objects.get().is_under_way
    RosterSync.objects.update(state="running", served=1)
    response = api.post(f"/courses/{course.id}/roster-sync", {})
    assert (response.status_code, response.json()["items"][0]["state"]) == (202, "running")


def test_it_waits_for_a_worker_elsewhere(api, lms, course):
    lms_course = lms.opens(course)

    def work():
        sync_roster(lms_course.pk)
        connections.close_all()

    timer = threading.Timer(0.5, work)
    timer.start()
    response = api.post(f"/courses/{course.id}/roster-sync", {})
    timer.join()
    assert (response.status_code, response.json()["items"][0]["state"]) == (200, "done")


def test_few_may_wait(api, lms, course, monkeypatch):
    monkeypatch.setattr(enrolments, "_waiting", threading.BoundedSemaphore(1))
    lms.opens(course)
    with enrolments._waiting:
        assert api.post(f"/courses/{course.id}/roster-sync", {}).status_code == 202


def test_without_a_roster(api, stranger, course):
    problem = problem_of(api.post(f"/courses/{course.id}/roster-sync", {}), 409)
    assert "LTI 1.3" in problem["detail"]
    problem_of(stranger.post(f"/courses/{course.id}/roster-sync", {}), 404)
