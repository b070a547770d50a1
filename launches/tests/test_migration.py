"""The owner's move from LTI 1.1 to 1.3: matches, trying, applying, undoing."""

import pytest
from django.urls import reverse

from courses.models import Enrolment, LmsCourse, ResourceLink, Submission
from courses.submissions import open_assignment, submit
from events.log import Actor
from events.models import Delivery
from grades.models import GradebookCell, Score
from launches.legacy_claims import LegacyClaim
from launches.migration import apply, plan_of, try_out
from launches.migration_undoing import CannotUndoError, undo
from launches.models import Launch, Migration
from launches.tests.moving import OLD, moving
from organizations.models import LmsAccount, Person
from organizations.tests.admin_client import owner_client, text_of
from tests.factories import AssignmentFactory, LtiKeyFactory, MembershipFactory

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("loopback", "memory_queue")]

# What a launch writes anew each time is not what a move changes.
VOLATILE = {"last_launch_at", "updated_at", "last_used_at", "last_percentage", "last_score_at"}


@pytest.fixture
def move(key, assignment):
    with moving(key, assignment) as made:
        yield made


@pytest.fixture
def installation(key):
    return key.installation


@pytest.fixture
def owner(installation):
    return MembershipFactory(organization=installation.organization).user


def state():
    """Everything that a move may touch."""
    models = (Person, LmsAccount, LmsCourse, ResourceLink, GradebookCell, Score, Submission, Enrolment, Launch)
    return {
        model.__name__: [
            {name: value for name, value in row.items() if name not in VOLATILE}
            for row in model.objects.order_by("pk").values()
        ]
        for model in models
    }


def suggested(installation):
    return {match.key for match in plan_of(installation).matches if match.is_suggested}


def only_people(installation):
    return plan_of(installation).people


def test_applied_by_the_owner_they_are_the_same_people_with_the_same_scores(move, installation, owner):
    before = move.by_1p1()
    score = move.score(before.person)
    after = move.by_1p3(move.target, sign=None)
    assert after.person != before.person
    plan = plan_of(installation)
    assert [len(matches) for matches in (plan.people, plan.courses, plan.links)] == [1, 0, 1]
    assert "without a signature" in plan.people[0].reason
    migration = apply(installation, suggested(installation), owner)
    assert migration is not None
    assert list(Person.objects.all()) == [before.person]
    assert list(Score.objects.all()) == [score]
    assert Launch.objects.get(pk=after.pk).person == before.person, "open pages go on"
    assert list(Enrolment.objects.values_list("person", flat=True)) == [before.person.pk]
    cell = GradebookCell.objects.get()
    assert (cell.resource_link.resource_link_id, cell.lms_user_id) == ("placement-9", "uuid-of-student-1")
    sent = Delivery.objects.filter(kind="grade", source_id=score.pk)
    assert list(sent.filter(state="pending").values_list("target_id", flat=True)) == [cell.pk]
    assert move.by_1p3(sign=None).person == before.person
    assert not plan_of(installation).matches


def test_undone_all_is_as_it_was(move, installation, owner):
    before = move.by_1p1()
    move.score(before.person)
    elsewhere = AssignmentFactory(course=move.assignment.course)
    after = move.by_1p3(move.target, sign=None)
    move.score(after.person, 3, elsewhere)
    submit(open_assignment(elsewhere, after.person, Actor.of(after.person)), "Mine", "", Actor.of(after.person))
    as_it_was = state()
    migration = apply(installation, suggested(installation), owner)
    assert Score.objects.filter(person=before.person).count() == 2
    undo(migration, owner)
    assert state() == as_it_was
    assert Migration.objects.get().undone_by == owner
    assert suggested(installation), "it can be applied again"
    with pytest.raises(CannotUndoError):
        undo(migration, owner)


def test_trying_changes_nothing(move, installation):
    before = move.by_1p1()
    move.score(before.person)
    move.by_1p3(move.target, sign=None)
    as_it_was = state()
    deliveries = list(Delivery.objects.values())
    tried = try_out(installation, suggested(installation))
    assert (tried.people, tried.cells) == (1, 1)
    assert state() == as_it_was
    assert list(Delivery.objects.values()) == deliveries
    assert not Migration.objects.exists()


def test_whoever_has_not_arrived_yet_is_expected(move, installation, owner):
    before = move.by_1p1()
    move.score(before.person)
    assert move.post_by_1p3(sign=None).status_code == 409
    apply(installation, suggested(installation), owner)
    assert LmsCourse.objects.get(context_id="course-9").course == move.assignment.course
    after = move.by_1p3(sign=None)
    assert (after.person, after.assignment) == (before.person, move.assignment)
    assert GradebookCell.objects.count() == 1


def test_undoing_what_was_made_for_those_to_come(move, installation, owner):
    move.by_1p1()
    move.post_by_1p3(sign=None)
    as_it_was = state()
    migration = apply(installation, suggested(installation), owner)
    undo(migration, owner)
    assert state() == as_it_was
    assert move.post_by_1p3(sign=None).status_code == 409


def test_work_in_both_is_a_conflict_that_only_the_owner_overrides(move, installation, owner):
    before = move.by_1p1()
    move.score(before.person, 7)
    after = move.by_1p3(move.target, sign=None)
    theirs = move.score(after.person, 2)
    as_it_was = state()
    (match,) = only_people(installation)
    assert (match.is_possible, match.is_suggested) == (True, False)
    assert "Essay" in match.trouble
    migration = apply(installation, {match.key, *suggested(installation)}, owner)
    assert Score.objects.get(person=before.person).points == 7
    theirs.refresh_from_db()
    assert (theirs.points, theirs.person) == (2, after.person)
    cell = GradebookCell.objects.get()
    assert cell.person == before.person
    latest = Delivery.objects.filter(kind="grade", target_id=cell.pk, state="pending")
    assert [row.payload["points"] for row in latest] == ["7.00"]
    undo(migration, owner)
    assert state() == as_it_was
    waiting = Delivery.objects.filter(kind="grade", target_id=cell.pk, state="pending")
    assert [row.payload["points"] for row in waiting] == ["2.00"]


@pytest.mark.parametrize("how", ["graded", "handed in"])
def test_who_worked_on_since_cannot_be_parted(move, installation, owner, how):
    before = move.by_1p1()
    move.by_1p3(move.target, sign=None)
    migration = apply(installation, suggested(installation), owner)
    if how == "graded":
        move.score(before.person, 8)
    else:
        actor = Actor.of(before.person)
        submit(open_assignment(move.assignment, before.person, actor), "Mine", "", actor)
    as_it_was = state()
    with pytest.raises(CannotUndoError, match=r"Ada Lovelace has .* in “Essay” since"):
        undo(migration, owner)
    assert state() == as_it_was


def test_what_was_taken_along_goes_back_with_what_was_added_since(move, installation, owner):
    move.by_1p1()
    after = move.by_1p3(move.target, sign=None)
    score = move.score(after.person, 2)
    migration = apply(installation, suggested(installation), owner)
    score.refresh_from_db()
    move.score(score.person, 9)
    undo(migration, owner)
    score.refresh_from_db()
    assert (score.person, score.points) == (after.person, 9)


def test_a_link_that_was_connected_to_something_else_since(move, installation, owner):
    move.by_1p1()
    move.post_by_1p3(sign=None)
    migration = apply(installation, suggested(installation), owner)
    other = AssignmentFactory(course=move.assignment.course)
    ResourceLink.objects.filter(resource_link_id="placement-9").update(assignment=other)
    with pytest.raises(CannotUndoError, match="connected to something else"):
        undo(migration, owner)


def test_a_signed_launch_can_be_undone_and_is_not_followed_again(move, installation, owner):
    before = move.by_1p1()
    move.score(before.person)
    cell_before = GradebookCell.objects.values().get()
    move.by_1p3()
    person_step = Migration.objects.get(words__startswith="Ada")
    undo(person_step, owner)
    cell = GradebookCell.objects.values().get()
    for name in ("id", "resource_link_id", "person_id", "deployment_id", "lms_user_id", "result_sourcedid"):
        assert cell[name] == cell_before[name], name
    after = move.by_1p3()
    assert after.person != before.person
    assert LegacyClaim.objects.get(kind="person").declined
    (match,) = only_people(installation)
    assert (match.is_possible, match.is_suggested) == (True, False)


def test_claims_that_contradict_each_other(move, installation):
    move.by_1p1()
    move.by_1p1(user_id="student-2")
    move.by_1p3(move.target, sign=None)
    move.by_1p3(move.target, sign=None, members={**OLD, "user_id": "student-2"})
    assert [(match.is_possible, "different ids" in match.trouble) for match in only_people(installation)] == [
        (False, True),
        (False, True),
    ]
    move.by_1p3(move.target, sign=None, sub="uuid-2", members={**OLD, "user_id": "student-2"})
    assert {match.is_possible for match in only_people(installation)} == {False}


def test_equal_addresses_are_a_hint_and_never_chosen_by_themselves(move, installation, owner):
    before = move.by_1p1()
    move.platform.deployment.created_at = before.at
    move.platform.deployment.save()
    LmsAccount.objects.update(created_at=before.person.created_at.replace(year=2020))
    after = move.by_1p3(move.target, says=False)
    (match,) = only_people(installation)
    assert "ada@example.edu" in match.reason
    assert match.key not in suggested(installation)
    apply(installation, suggested(installation), owner)
    assert Person.objects.count() == 2
    apply(installation, {match.key}, owner)
    assert Person.objects.get() == before.person
    assert Launch.objects.get(pk=after.pk).person == before.person


def test_nothing_of_another_organization_is_matched(move, installation):
    move.by_1p1()
    foreign = LtiKeyFactory()
    LmsAccount.objects.create(
        installation=foreign.installation,
        lms_user_id="student-1",
        person=Person.objects.create(organization=foreign.installation.organization, name="Stranger"),
    )
    move.key = foreign
    move.by_1p3(move.target, sign=None)
    plan = plan_of(installation)
    assert [match for match in plan.matches if match.key.startswith("claim")] == []
    assert plan.unknown == 3


def test_nothing_refers_to_who_was_joined(move, installation, owner):
    """Whatever room a reference to people is added to, joining moves it: otherwise the other person would stay."""
    before = move.by_1p1()
    move.score(before.person)
    after = move.by_1p3(move.target, sign=None)
    apply(installation, suggested(installation), owner)
    for relation in Person._meta.get_fields(include_hidden=True):
        if relation.auto_created and not relation.concrete:
            rows = relation.related_model.objects.filter(**{relation.field.name: after.person_id})
            assert not rows.exists(), relation
    assert not Person.objects.filter(pk=after.person_id).exists()


def test_the_owners_page(move, installation):
    client = owner_client(installation.organization)
    address = reverse("admin:installation-migration", args=[installation.pk])
    assert "Nothing to decide" in text_of(client.get(address))
    before = move.by_1p1()
    move.by_1p3(move.target, sign=None)
    page = text_of(client.get(address))
    assert "id student-1" in page
    assert "id uuid-of-student-1" in page
    ticked = {"match": sorted(suggested(installation)), "rest": "1"}
    page = text_of(client.post(address, ticked | {"try": "1"}))
    assert "Applying would give: 1 person joined" in page
    assert Person.objects.count() == 2
    response = client.post(address, ticked | {"apply": "1"}, follow=True)
    assert "Applied: 1 person joined" in text_of(response)
    assert Person.objects.get() == before.person
    step = Migration.objects.get()
    undo_address = reverse("admin:migration-undo", args=[step.pk])
    assert undo_address in text_of(response)
    assert "go back to how they were" in text_of(client.get(undo_address))
    move.score(before.person)
    refused = client.post(undo_address)
    assert refused.status_code == 409
    assert "Ada Lovelace has been graded in “Essay” since." in text_of(refused)
    Score.objects.all().delete()
    assert client.post(undo_address).status_code == 302
    assert Person.objects.count() == 2


def test_what_is_not_ticked_is_not_applied(move, installation):
    move.by_1p1()
    move.by_1p3(move.target, sign=None)
    client = owner_client(installation.organization)
    client.post(reverse("admin:installation-migration", args=[installation.pk]), {"apply": "1", "rest": "1"})
    assert Person.objects.count() == 2
    assert not Migration.objects.exists()


def test_another_owner_finds_nothing(move, installation, owner):
    move.by_1p1()
    move.by_1p3(move.target, sign=None)
    step = apply(installation, suggested(installation), owner)
    stranger = owner_client(LtiKeyFactory().installation.organization)
    for address in (
        reverse("admin:installation-migration", args=[installation.pk]),
        reverse("admin:migration-undo", args=[step.pk]),
    ):
        assert stranger.get(address).status_code == stranger.post(address, {"apply": "1"}).status_code == 404
    assert Migration.objects.get().undone_at is None
