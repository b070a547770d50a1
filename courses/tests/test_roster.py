"""Rosters: who comes in, who is gone, what half a roster does (nothing), whose turn it is, and ten thousand people."""

import json
import threading
import tracemalloc
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from courses import roster, roster_members
from courses.models import Enrolment, LmsCourse, RosterMember, RosterSync
from courses.roster import ask_for_roster, due_lms_courses, sync_roster
from courses.roster_members import take_in
from courses.tasks import refresh_rosters
from courses.tasks import sync_roster as sync_task
from events.models import Event
from lti.outbound import OutboundClient
from lti.tests.recorded import load
from lti.v1p3.nrps import parse_memberships
from organizations.models import LmsAccount, Person
from organizations.service_hosts import allow_host, host_of
from tests.factories import CourseFactory, EnrolmentFactory, InstallationFactory, PersonFactory, UserFactory
from tests.loopback import Reply
from tests.roster_lms import member, members_page, serve_roster

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def lms():
    with serve_roster() as served:
        yield served


@pytest.fixture
def course():
    return CourseFactory(name="Rhetoric")


@pytest.fixture
def lms_course(lms, course):
    return lms.opens(course)


def synced(lms_course, *, asked=True):
    if asked:
        ask_for_roster(lms_course)
    return sync_roster(lms_course.pk)


def tally(sync):
    return {
        name: value for name in ("added", "returned", "updated", "unchanged", "gone") if (value := getattr(sync, name))
    }


def roles(course):
    return {
        row.person.accounts.first().lms_user_id: (row.role, row.state)
        for row in course.enrolments.prefetch_related("person__accounts")
    }


def launched(lms_course, user_id, *, role="student", at=None, **person):
    """Somebody who has launched into the course from this LMS."""
    found = PersonFactory(organization=lms_course.installation.organization, **person)
    LmsAccount.objects.create(installation=lms_course.installation, lms_user_id=user_id, person=found)
    at = at or timezone.now() - timedelta(minutes=5)
    return EnrolmentFactory(course=lms_course.course, person=found, role=role, last_launch_at=at)


def age(lms_course, **delta):
    """Makes the latest reading so much older."""
    sync = lms_course.roster_sync
    sync.refresh_from_db()
    ago = timedelta(**delta)
    RosterSync.objects.filter(pk=sync.pk).update(
        started_at=sync.started_at - ago,
        whole_at=sync.whole_at and sync.whole_at - ago,
        rest_until=sync.rest_until and sync.rest_until - ago,
    )


# ------------------------------------------------------------------------------------------------- who comes in


def test_people_who_never_launched_come_in(lms, lms_course, course):
    lms.members = [member("a"), member("t", "Instructor", given_name="Tina", family_name="T"), member("m", "Mentor")]
    sync = synced(lms_course)
    assert (sync.state, sync.listed, tally(sync)) == ("done", 3, {"added": 3})
    active = Enrolment.State.ACTIVE
    assert roles(course) == {"a": ("student", active), "t": ("teacher", active), "m": ("mentor", active)}
    assert set(course.enrolments.values_list("last_launch_at", flat=True)) == {None}
    account = LmsAccount.objects.select_related("person").get(lms_user_id="t")
    person = account.person
    assert (person.name, person.given_name, person.family_name) == ("Name of t", "Tina", "T")
    assert (person.email, person.email_verified) == ("t@lms.example", False)
    assert (person.organization_id, account.installation_id) == (course.organization_id, lms_course.installation_id)
    events = Event.objects.filter(type="enrolment.created")
    assert {(event.data["role"], event.data["by"], event.actor["kind"]) for event in events} == {
        (role, "roster", "system") for role in ("student", "teacher", "mentor")
    }
    assert {event.subject["id"] for event in events} == {str(row.pk) for row in course.enrolments.all()}
    lms_course.refresh_from_db()
    assert lms_course.roster_synced_at == sync.started_at


def test_moodles_recorded_roster(lms, lms_course, course):
    answer = load("moodle/nrps_response.json")["members"]["response"]
    lms.manners = lambda received: Reply(200, json.dumps(answer["body"]).encode(), {"Content-Type": "x/y"})
    assert tally(synced(lms_course)) == {"added": 5}
    assert {user_id: role for user_id, (role, _) in roles(course).items()} == {
        "3": "teacher", "4": "student", "5": "student", "6": "student", "7": "student",
    }  # fmt: skip
    account = LmsAccount.objects.select_related("person").get(lms_user_id="6")
    assert (account.person.name, account.username, account.sourcedid) == (
        "Zoë Núñez-O'Hara",
        "student2",
        "SIS-STUDENT2",
    )
    (request,) = lms.roster_requests
    assert request.headers["Accept"] == "application/vnd.ims.lti-nrps.v2.membershipcontainer+json"
    assert request.headers["Authorization"] == "Bearer tok"
    assert tally(synced(lms_course)) == {"unchanged": 5}


def test_who_launched_before_is_the_same_person(lms, lms_course, course):
    before = launched(lms_course, "a", name="Ada", email="old@lms.example")
    lms.members = [member("a", name="Ada Lovelace", email="new@lms.example", picture="https://lms.example/a.png")]
    assert tally(synced(lms_course)) == {"updated": 1}
    person = Person.objects.get()
    assert (person.pk, person.name, person.email) == (before.person_id, "Ada Lovelace", "new@lms.example")
    assert person.picture_url == "https://lms.example/a.png"
    assert course.enrolments.get().last_launch_at == before.last_launch_at
    assert not Event.objects.exists()


def test_what_the_lms_does_not_tell_stays(lms, lms_course):
    launched(lms_course, "a", name="Ada Lovelace", email="ada@lms.example", given_name="Ada", family_name="Lovelace")
    lms.members = [member("a", name=None, email=None)]
    assert tally(synced(lms_course)) == {"unchanged": 1}
    person = Person.objects.get()
    assert (person.name, person.family_name, person.email) == ("Ada Lovelace", "Lovelace", "ada@lms.example")
    lms.members = [member("a", name="Ada Lovelace", email=None)]
    assert tally(synced(lms_course)) == {"unchanged": 1}
    assert Person.objects.get().family_name == "Lovelace"


def test_the_least_that_a_member_has(lms, lms_course, course):
    lms.members = [{"user_id": "9"}]
    assert tally(synced(lms_course)) == {"added": 1}
    assert roles(course) == {"9": ("student", "active")}
    assert Person.objects.get().display_name == "Guest"


def test_the_same_address_does_not_make_two_people_one(lms, lms_course, course):
    launched(lms_course, "a", email="same@lms.example")
    lms.members = [member("a", email="same@lms.example"), member("b", email="same@lms.example")]
    synced(lms_course)
    assert course.enrolments.values("person").distinct().count() == 2


def test_verified_addresses_make_one_person(lms, lms_course, course):
    installation = lms_course.installation
    installation.verified_emails = True
    installation.save()
    known = PersonFactory(organization=course.organization, email="Ada@lms.example", email_verified=True)
    elsewhere = InstallationFactory(organization=course.organization, verified_emails=True)
    LmsAccount.objects.create(installation=elsewhere, lms_user_id="ada", person=known)
    PersonFactory(organization=course.organization, email="bob@lms.example", email_verified=False)
    PersonFactory(email="ada@lms.example", email_verified=True)  # of another organization
    lms.members = [
        member("a", email="ada@lms.example"),
        member("b", email="bob@lms.example"),
        member("c", "Instructor", email="new@lms.example"),
        member("d", email="NEW@lms.example"),
    ]
    assert tally(synced(lms_course)) == {"added": 3}
    people = {account.lms_user_id: account.person for account in LmsAccount.objects.select_related("person")}
    assert people["a"] == people["ada"] == known
    assert people["c"] == people["d"]
    assert course.enrolments.get(person=people["c"]).role == "teacher"
    assert people["b"].email_verified
    assert people["b"].email == "bob@lms.example"
    # An unverified LMS does not overwrite what was vouched for.
    installation.verified_emails = False
    installation.save()
    lms.members = [member("a", email="other@lms.example")]
    synced(lms_course)
    known.refresh_from_db()
    assert (known.email, known.email_verified) == ("Ada@lms.example", True)


@pytest.mark.parametrize(
    ("launch_role", "lms_name", "listed", "role"),
    [
        ("student", "canvas", "Instructor", "teacher"),
        ("teacher", "canvas", "Learner", "student"),
        # Moodle's roster calls a non-editing teacher a learner.
        ("teacher", "moodle", "Learner", "teacher"),
        ("student", "moodle", "Instructor", "teacher"),
        # No role in the course is named.
        ("teacher", "canvas", "", "teacher"),
        ("teacher", "canvas", "http://purl.imsglobal.org/vocab/lis/v2/institution/person#Student", "teacher"),
    ],
)
def test_which_role_counts_after_a_launch(lms, lms_course, course, launch_role, lms_name, listed, role):
    type(lms_course.installation).objects.update(lms=lms_name)
    launched(lms_course, "a", role=launch_role)
    lms.members = [member("a", listed)]
    synced(lms_course)
    assert course.enrolments.get().role == role


def test_the_latest_word_on_a_role_counts(lms, lms_course, course):
    lms.members = [member("a", "Learner")]
    synced(lms_course)
    # A launch that says teacher is not taken back by a roster that says nothing new, but by one that does.
    course.enrolments.update(role="teacher", last_launch_at=timezone.now() - timedelta(hours=1))
    assert tally(synced(lms_course)) == {"unchanged": 1}
    assert course.enrolments.get().role == "teacher"
    lms.members = [member("a", "Mentor")]
    assert tally(synced(lms_course)) == {"updated": 1}
    assert course.enrolments.get().role == "mentor"


# ------------------------------------------------------------------------------------------------- who is gone


def test_who_is_absent_is_marked_and_comes_back(lms, lms_course, course):
    launched(lms_course, "b")
    lms.members = [member("a"), member("c")]
    sync = synced(lms_course)
    assert tally(sync) == {"added": 2, "gone": 1}
    assert roles(course)["b"] == ("student", "gone")
    lms.members = [member("a"), member("b")]
    assert tally(synced(lms_course)) == {"returned": 1, "unchanged": 1, "gone": 1}
    assert roles(course) == {"a": ("student", "active"), "b": ("student", "active"), "c": ("student", "gone")}
    assert RosterMember.objects.filter(is_active=True).count() == 2
    assert Person.objects.count() == 3  # nobody is deleted


@pytest.mark.parametrize("status", ["Inactive", "Deleted"])
def test_who_is_not_active_is_gone(lms, lms_course, course, status):
    lms.members = [member("a"), member("b")]
    synced(lms_course)
    lms.members = [member("a"), member("b", status=status), member("c", status=status)]
    assert tally(synced(lms_course)) == {"unchanged": 1, "gone": 1}
    assert set(roles(course)) == {"a", "b"}


def test_an_empty_or_broken_list_removes_nobody(lms, lms_course, course):
    lms.members = [member("a"), member("b")]
    synced(lms_course)
    lms.members = []
    sync = synced(lms_course)
    assert (sync.state, sync.listed, tally(sync)) == ("done", 0, {})
    lms.members = [member("a"), {"roles": ["Learner"]}]
    sync = synced(lms_course)
    assert (sync.skipped, tally(sync)) == (1, {"unchanged": 1})
    assert roles(course)["b"] == ("student", "active")


def test_who_launches_while_the_roster_is_read_stays(lms, lms_course, course):
    late = launched(lms_course, "late", at=timezone.now() + timedelta(minutes=1))
    lms.members = [member("a")]
    synced(lms_course)
    late.refresh_from_db()
    assert late.state == "active"


def test_the_lmss_test_people_stay(lms, lms_course, course):
    launched(lms_course, "test-student")
    LmsAccount.objects.update(is_test_user=True)
    lms.members = [member("a")]
    assert tally(synced(lms_course)) == {"added": 1}


def test_people_of_other_lms_courses_stay(lms, lms_course, course):
    """One course for two LMS courses: each roster speaks for its own people."""
    second = LmsCourse.objects.create(
        installation=lms_course.installation,
        deployment=lms_course.deployment,
        course=course,
        context_id="3",
        memberships_url=lms.memberships_url,
    )
    elsewhere = launched(lms_course, "launched-somewhere")
    other_lms = InstallationFactory(organization=course.organization)
    LmsCourse.objects.create(installation=other_lms, course=course, context_id="x")
    foreign = PersonFactory(organization=course.organization)
    LmsAccount.objects.create(installation=other_lms, lms_user_id="a", person=foreign)
    EnrolmentFactory(course=course, person=foreign, last_launch_at=timezone.now() - timedelta(days=1))
    lms.members = [member("a"), member("both")]
    assert tally(synced(lms_course)) == {"added": 2}
    # Where they launched from is not known, and the second roster has not been read yet.
    elsewhere.refresh_from_db()
    assert elsewhere.state == "active"
    lms.members = [member("b"), member("both")]
    sync = synced(second)
    assert tally(sync) == {"added": 1, "unchanged": 1, "gone": 1}
    elsewhere.refresh_from_db()
    assert elsewhere.state == "gone"
    states = {account.lms_user_id: state for account, state in _states(course, lms_course.installation)}
    assert states == {"a": "active", "both": "active", "b": "active", "launched-somewhere": "gone"}
    lms.members = [member("a")]
    assert tally(synced(lms_course)) == {"unchanged": 1}  # the second still has them
    lms.members = [member("b")]
    assert tally(synced(second)) == {"unchanged": 1, "gone": 1}
    assert course.enrolments.get(person=foreign).state == "active"


def _states(course, installation):
    for row in course.enrolments.filter(person__accounts__installation=installation):
        yield row.person.accounts.get(), row.state


def test_somebody_with_two_accounts_is_there_by_either(lms, lms_course, course):
    row = launched(lms_course, "old-id")
    LmsAccount.objects.create(installation=lms_course.installation, lms_user_id="new-id", person=row.person)
    lms.members = [member("new-id")]
    assert "gone" not in tally(synced(lms_course))
    row.refresh_from_db()
    assert row.state == "active"


# ------------------------------------------------------------------------------------------------- half a roster


def _second_page(reply):
    return lambda received: reply if "from=" in received.path else None


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(500), "server_error"),
        (Reply(200, b"<html>Log in</html>", {"Content-Type": "text/html"}), "unreadable_answer"),
        (Reply(429, b"", {"Retry-After": "120"}), "rate_limited"),
        (Reply(404), "not_found"),
        (Reply(302, b"", {"Location": "/login"}), "redirected"),
        (members_page([member("z")], '</memberships?course=2>; rel="next"'), "endless_pages"),
        (members_page([member("z")], '<http://127.0.0.2/x>; rel="next"'), "foreign_page"),
    ],
)
def test_a_page_that_fails_changes_nothing(lms, lms_course, course, reply, reason):
    lms.members = [member("a"), member("b"), member("c")]
    synced(lms_course)
    lms.members, lms.page_size, lms.manners = [member("c"), member("d")], 1, _second_page(reply)
    synced_at = LmsCourse.objects.get().roster_synced_at
    sync = synced(lms_course)
    assert (sync.state, sync.reason_code) == ("failed", reason)
    assert sync.explanation.endswith(".")
    assert {state for _, state in roles(course).values()} == {"active"}
    assert set(roles(course)) == {"a", "b", "c"}
    assert LmsCourse.objects.get().roster_synced_at == synced_at
    lms.manners = lambda received: None
    RosterSync.objects.update(rest_until=None)
    assert tally(synced(lms_course)) == {"added": 1, "unchanged": 1, "gone": 2}


def test_pages_are_joined(lms, lms_course):
    lms.members, lms.page_size = [member(str(number)) for number in range(7)], 3
    assert tally(synced(lms_course)) == {"added": 7}
    assert [request.path for request in lms.roster_requests] == [
        "/memberships?course=2", "/memberships?course=2&from=3", "/memberships?course=2&from=6",
    ]  # fmt: skip
    assert lms.token_requests == 1


def test_a_course_too_large_for_one_answer_comes_in_pages(lms, lms_course):
    lms.members = [member(str(number), name="N" * 4000) for number in range(1200)]
    sync = synced(lms_course)
    assert (sync.state, tally(sync)) == ("done", {"added": 1200})
    assert [request.path.partition("?")[2] for request in lms.roster_requests] == [
        "course=2", "course=2&limit=500", "course=2&limit=500&from=500", "course=2&limit=500&from=1000",
    ]  # fmt: skip


def test_a_token_without_the_scope_asks_for_nothing(lms, lms_course):
    lms.scopes = "https://purl.imsglobal.org/spec/lti-ags/scope/score"
    sync = synced(lms_course)
    assert (sync.state, sync.reason_code, lms.roster_requests) == ("failed", "scope_not_granted", [])


def test_another_host_gets_no_token(lms, lms_course):
    LmsCourse.objects.update(memberships_url="http://localhost:1/memberships")
    sync = synced(lms_course)
    assert (sync.reason_code, lms.token_requests) == ("host_not_allowed", 0)


def test_another_host_waits_for_the_owner_and_is_read_when_allowed(lms, lms_course, settings):
    settings.OUTBOUND_ALLOWED_PRIVATE_HOSTS = ["127.0.0.1", "localhost"]
    elsewhere = lms.memberships_url.replace("127.0.0.1", "localhost")
    LmsCourse.objects.update(memberships_url=elsewhere)
    synced(lms_course)
    installation = lms_course.installation
    installation.refresh_from_db()
    host = host_of(elsewhere)
    assert installation.pending_service_hosts == [host]
    allow_host(installation, host, UserFactory())
    assert RosterSync.objects.get().is_under_way
    assert synced(lms_course).state == "done"


@pytest.mark.parametrize("what", ["registration", "pending", "deployment", "installation", "moved", "unmapped"])
def test_what_is_switched_off_is_not_called(lms, lms_course, what):
    deployment = lms_course.deployment
    if what == "registration":
        deployment.registration.enabled = False
        deployment.registration.save()
    elif what == "pending":
        deployment.registration.state = "pending"
        deployment.registration.save()
    elif what == "deployment":
        deployment.state = "pending"
        deployment.save()
    elif what == "installation":
        lms_course.installation.enabled = False
        lms_course.installation.save()
    elif what == "moved":
        deployment.installation = InstallationFactory(organization=lms_course.installation.organization)
        deployment.save()
    else:
        LmsCourse.objects.update(course=None)
    sync = synced(lms_course)
    assert (sync.reason_code, lms.token_requests) == ("no_roster" if what == "unmapped" else "switched_off", 0)


def test_a_fault_of_ours_is_written_down(lms, lms_course, monkeypatch):
    lms.members = [member("a")]

    def broken(*arguments):
        raise ValueError("secret detail")

    monkeypatch.setattr(roster, "take_in", broken)
    ask_for_roster(lms_course)
    with pytest.raises(ValueError, match="secret"):
        sync_roster(lms_course.pk)
    sync = RosterSync.objects.get()
    assert (sync.state, sync.reason_code) == ("failed", "internal")
    assert "secret" not in sync.explanation


def test_no_request_within_a_transaction(lms, lms_course, monkeypatch):
    seen, request = [], OutboundClient.request

    def watched(*arguments, **keywords):
        seen.append(connection.in_atomic_block)
        return request(*arguments, **keywords)

    monkeypatch.setattr(OutboundClient, "request", watched)
    lms.members, lms.page_size = [member("a"), member("b")], 1
    synced(lms_course)
    assert seen == [False, False, False]


# ---------------------------------------------------------------------------------------------------- differences


def test_between_whole_readings_only_differences_are_read(lms, lms_course, course):
    lms.members, lms.differences = [member("a"), member("b"), member("c")], []
    synced(lms_course)
    lms.differences = [member("a", status="Deleted"), member("d"), member("b", "Instructor")]
    age(lms_course, hours=2)
    sync = synced(lms_course, asked=False)
    assert tally(sync) == {"added": 1, "updated": 1, "unchanged": 1, "gone": 1}
    assert lms.roster_requests[-1].path.endswith("&since=9")
    assert roles(course) == {
        "a": ("student", "gone"), "b": ("teacher", "active"), "c": ("student", "active"), "d": ("student", "active"),
    }  # fmt: skip
    # Somebody who asks misses somebody; and after a day the whole is read anyway.
    synced(lms_course)
    assert lms.roster_requests[-1].path == "/memberships?course=2"
    age(lms_course, hours=25)
    synced(lms_course, asked=False)
    assert lms.roster_requests[-1].path == "/memberships?course=2"


def test_differences_that_are_no_longer_kept(lms, lms_course):
    lms.members, lms.differences = [member("a")], []
    synced(lms_course)
    lms.manners = lambda received: Reply(410) if "since" in received.path else None
    age(lms_course, hours=2)
    assert tally(synced(lms_course, asked=False)) == {"unchanged": 1}
    assert [("since" in request.path) for request in lms.roster_requests] == [False, True, False]


# ---------------------------------------------------------------------------------------------------- whose turn


def test_by_itself_at_most_once_an_hour(lms, lms_course):
    lms.members = [member("a")]
    assert sync_roster(lms_course.pk) is not None
    assert sync_roster(lms_course.pk) is None
    age(lms_course, minutes=59)
    assert sync_roster(lms_course.pk) is None
    age(lms_course, minutes=2)
    assert sync_roster(lms_course.pk) is not None
    assert len(lms.roster_requests) == 2


def test_a_wish_does_not_wait_for_the_hour(lms, lms_course, memory_queue):
    sync_roster(lms_course.pk)
    ask_for_roster(lms_course)
    ask_for_roster(lms_course)
    assert RosterSync.objects.get().is_under_way
    assert memory_queue() == 2
    sync_task(str(lms_course.pk))
    sync_task(str(lms_course.pk))
    assert len(lms.roster_requests) == 2  # two wishes, one reading
    assert not RosterSync.objects.get().is_under_way


def test_a_wish_during_a_reading_is_followed_by_another(lms, lms_course, memory_queue):
    lms.members = [member("a")]

    def somebody_asks(received):
        lms.manners = lambda received: None
        ask_for_roster(lms_course)
        connections.close_all()

    lms.manners = somebody_asks
    sync = synced(lms_course)
    assert sync.is_under_way
    assert memory_queue() == 3  # for the first wish, the second, and when the first reading had ended
    sync_task(str(lms_course.pk))
    assert len(lms.roster_requests) == 2
    assert not RosterSync.objects.get().is_under_way


def test_two_workers_do_not_both_read(lms, lms_course):
    lms.members = [member("a")]
    second = []

    def meanwhile(received):
        second.append(sync_roster(lms_course.pk))
        refresh_rosters()
        connections.close_all()

    lms.manners = meanwhile
    assert synced(lms_course) is not None
    assert second == [None]
    assert len(lms.roster_requests) == 1


def test_workers_at_the_same_moment(lms, lms_course):
    if connection.vendor == "sqlite":
        pytest.skip("SQLite's memory database refuses parallel writers instead of making them wait")
    lms.members = [member("a")]
    ask_for_roster(lms_course)
    barrier, results = threading.Barrier(4), []

    def work():
        barrier.wait()
        results.append(sync_roster(lms_course.pk))
        connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(result is not None for result in results) == 1
    assert len(lms.roster_requests) == 1


def test_a_reading_whose_worker_died_is_begun_again(lms, lms_course):
    lms.members = [member("a")]
    synced(lms_course)
    RosterSync.objects.update(state="running")
    assert sync_roster(lms_course.pk) is None
    age(lms_course, minutes=16)
    assert sync_roster(lms_course.pk).state == "done"


def test_the_lmss_wish_for_rest_is_kept(lms, lms_course):
    lms.manners = lambda received: Reply(429, b"", {"Retry-After": "600"})
    synced(lms_course)
    assert synced(lms_course) is None  # the wish stays
    assert RosterSync.objects.get().is_under_way
    age(lms_course, minutes=11)
    lms.manners = lambda received: None
    assert sync_roster(lms_course.pk).state == "done"


def test_after_a_refusal_only_people_try_again(lms, lms_course):
    lms.manners = lambda received: Reply(403, b"no")
    synced(lms_course)
    age(lms_course, hours=2)
    assert sync_roster(lms_course.pk) is None
    lms.manners = lambda received: None
    assert synced(lms_course).state == "done"


def test_which_are_due(lms, course):
    now = timezone.now()
    asleep = lms.opens(course, context_id="asleep")
    assert due_lms_courses(now, 10) == []  # nobody has launched lately
    EnrolmentFactory(course=course, last_launch_at=now - timedelta(days=1))
    assert due_lms_courses(now, 10) == [asleep]
    LmsCourse.objects.create(installation=asleep.installation, course=course, context_id="silent")
    ask_for_roster(asleep)
    sync_roster(asleep.pk)
    assert due_lms_courses(timezone.now(), 10) == []
    age(asleep, hours=2)
    fresh = lms.opens(course, context_id="fresh")
    assert due_lms_courses(timezone.now(), 10) == [fresh, asleep]
    ask_for_roster(asleep)
    assert due_lms_courses(timezone.now(), 10) == [asleep, fresh]
    course.archived = True
    course.save()
    assert due_lms_courses(timezone.now(), 10) == [asleep]


def test_beat_reads_what_is_due_and_spares_a_silent_platform(lms, course):
    EnrolmentFactory(course=course, last_launch_at=timezone.now())
    first = lms.opens(course, context_id="1")
    second = lms.opens(course, installation=first.installation, context_id="2")
    LmsCourse.objects.filter(pk=second.pk).update(deployment=first.deployment)
    lms.manners = lambda received: Reply(503)
    refresh_rosters()
    assert len(lms.roster_requests) == 1
    lms.manners = lambda received: None
    refresh_rosters()
    assert len(lms.roster_requests) == 2
    assert RosterSync.objects.get(lms_course=second).state == "done"


# ---------------------------------------------------------------------------------------------------- many people


def test_ten_thousand_members(lms, lms_course, course):
    lms.members = [member(f"user-{number}", given_name="Given", family_name=f"F{number}") for number in range(10_000)]
    lms.page_size = 1000
    launched(lms_course, "left")
    ask_for_roster(lms_course)
    with CaptureQueriesContext(connection) as captured:
        sync = sync_roster(lms_course.pk)
    assert tally(sync) == {"added": 10_000, "gone": 1}
    assert course.enrolments.filter(state="active").count() == 10_000
    # SQLite takes few parameters in one statement, so that bulk inserts come in pieces there.
    assert len(captured) < (20_000 if connection.vendor == "sqlite" else 400)
    del captured
    ask_for_roster(lms_course)
    tracemalloc.start()
    with CaptureQueriesContext(connection) as again:
        sync = sync_roster(lms_course.pk)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert tally(sync) == {"unchanged": 10_000}
    assert len(again) < 200
    assert peak < 120 * 1024 * 1024


def test_a_launch_in_between_wins(lms_course, course):
    """A launch made the account between our look and our insert: theirs is the person, and no orphan stays."""
    members = parse_memberships(
        SimpleNamespace(
            status=200, headers={}, truncated=False, body=json.dumps({"members": [member("a"), member("b")]}).encode()
        )
    ).members
    theirs = launched(lms_course, "a")
    made = roster_members._make_accounts(lms_course.installation, members)
    assert made["a"].person_id == theirs.person_id
    assert Person.objects.count() == 2
    assert take_in(lms_course, course, members).added == 1
