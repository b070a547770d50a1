"""Merging two people of one organization: what moves, what stays aside, and the way back."""

from decimal import Decimal

import pytest
from django.contrib.admin.models import LogEntry
from django.db.models.fields.reverse_related import ForeignObjectRel
from django.utils import timezone

from courses.models import Enrolment, LmsCourse, Participation, ResourceLink, RosterMember, Submission
from courses.submissions import open_assignment, submit
from events.log import SYSTEM, Actor
from events.models import Delivery
from grades.models import GradebookCell, Score
from grades.scores import record_score
from launches.merge_undoing import undo_merge
from launches.merging import CannotMergeError, merge, person_now, preview_of
from launches.migration_undoing import CannotUndoError
from launches.models import Launch, Merge
from organizations.models import LmsAccount, Person
from tests.factories import (
    AssignmentFactory,
    EnrolmentFactory,
    LtiKeyFactory,
    MembershipFactory,
    PersonFactory,
    UserFactory,
)
from tests.tenants import make_tenant
from tests.visiting import student

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("memory_queue")]

VOLATILE = {"last_launch_at", "updated_at", "last_used_at", "last_percentage", "last_score_at"}
COURSES = (LmsCourse, ResourceLink, Participation, Enrolment)
TOUCHED = (Person, LmsAccount, *COURSES, GradebookCell, Score, Submission, Launch)


def state():
    """Everything that a merge may touch."""
    return {
        model.__name__: [
            {name: value for name, value in row.items() if name not in VOLATILE}
            for row in model.objects.order_by("pk").values()
        ]
        for model in TOUCHED
    }


def arrives(key, assignment, user_id, **parameters):
    """The person after a launch of theirs."""
    parameters = {"lis_result_sourcedid": f"sourcedid-of-{user_id}", **parameters}
    return student(key, assignment, user_id=user_id, **parameters).person


def score(assignment, person, points):
    return record_score(assignment, person, points=Decimal(points), actor=SYSTEM)


def hand_in(assignment, person, text="Mine"):
    actor = Actor.of(person)
    return submit(open_assignment(assignment, person, actor), text, "", actor)


def waiting_for(cell):
    rows = Delivery.objects.filter(kind="grade", target_id=cell.pk, state="pending").order_by("sequence")
    return [row.payload["points"] for row in rows]


@pytest.fixture
def owner(key):
    return MembershipFactory(organization=key.installation.organization).user


@pytest.fixture
def elsewhere(key):
    """The key of another LMS of the same organization."""
    return LtiKeyFactory(installation__organization=key.installation.organization)


@pytest.fixture
def kept(key, assignment):
    return arrives(key, assignment, "student-1")


@pytest.fixture
def other(elsewhere, assignment):
    return arrives(elsewhere, assignment, "s-1", lis_person_name_full="A. Lovelace")


def test_all_that_was_the_others_is_the_one_persons(kept, other, assignment, owner, elsewhere):
    second = AssignmentFactory(course__organization=kept.organization)
    arrives(elsewhere, second, "s-1", resource_link_id="link-2", lis_person_name_full="A. Lovelace")
    seven = score(second, other, 7)
    work = hand_in(second, other)
    merged = merge(kept, other, owner)
    assert list(Person.objects.all()) == [kept]
    assert set(LmsAccount.objects.values_list("lms_user_id", "person")) == {("student-1", kept.pk), ("s-1", kept.pk)}
    assert set(Enrolment.objects.values_list("course", "person")) == {
        (assignment.course_id, kept.pk),
        (second.course_id, kept.pk),
    }
    seven.refresh_from_db()
    work.refresh_from_db()
    assert (seven.person, work.person, seven.version) == (kept, kept, 1)
    assert set(Launch.objects.values_list("person", flat=True)) == {kept.pk}
    assert set(GradebookCell.objects.values_list("person", flat=True)) == {kept.pk}
    assert GradebookCell.objects.count() == 3
    assert (merged.applied_by, merged.kept_person, merged.other_person) == (owner, kept.pk, other.pk)
    assert "A. Lovelace" in merged.other_words
    assert "1 score taken along" in merged.words
    entry = LogEntry.objects.get(object_id=str(kept.pk))
    assert (entry.user, "A. Lovelace" in entry.change_message) == (owner, True)
    assert arrives(elsewhere, assignment, "s-1") == kept, "the next launch is the one person's"


def test_the_score_goes_to_every_column_that_wants_it(kept, other, assignment, owner):
    score(assignment, kept, 9)
    mine, theirs = GradebookCell.objects.get(person=kept), GradebookCell.objects.get(person=other)
    assert (waiting_for(mine), waiting_for(theirs)) == (["9.00"], [])
    merge(kept, other, owner)
    assert (waiting_for(mine), waiting_for(theirs)) == (["9.00"], ["9.00"])
    score(assignment, kept, 10)
    assert (waiting_for(mine), waiting_for(theirs)) == (["10.00"], ["10.00"])


def test_where_both_have_worked_the_one_who_stays_counts(kept, other, assignment, owner):
    score(assignment, kept, 9)
    theirs = score(assignment, other, 3)
    work = hand_in(assignment, other)
    cell = GradebookCell.objects.get(person=other)
    assert waiting_for(cell) == ["3.00"]
    preview = preview_of(kept, other)
    (conflict,) = preview.conflicts
    assert (conflict.assignment, conflict.stays) == ("Essay", "9 points")
    assert conflict.set_aside.startswith("3 points, handed in")
    merged = merge(kept, other, owner)
    theirs.refresh_from_db()
    work.refresh_from_db()
    assert (theirs.person, work.person) == (other, other), "set aside"
    assert not LmsAccount.objects.filter(person=other).exists()
    assert waiting_for(cell) == ["9.00"]
    assert "1 piece of work set aside" in merged.words
    with pytest.raises(CannotMergeError, match="Undo that merge first"):
        merge(kept, other, owner)
    with pytest.raises(CannotMergeError, match="Undo that merge first"):
        merge(PersonFactory(organization=kept.organization), other, owner)


def test_undone_all_is_as_it_was(kept, other, assignment, owner):
    score(assignment, kept, 9)
    score(assignment, other, 3)
    second = AssignmentFactory(course=assignment.course)
    score(second, other, 4)
    hand_in(second, other)
    as_it_was = state()
    merged = merge(kept, other, owner)
    assert state() != as_it_was
    undo_merge(merged, owner)
    assert state() == as_it_was
    cell = GradebookCell.objects.get(person=other)
    assert waiting_for(cell) == ["3.00"]
    merged.refresh_from_db()
    assert (merged.undone_by, merged.undone_at is not None) == (owner, True)
    assert LogEntry.objects.filter(object_id=str(other.pk), change_message__contains="undone").exists()
    with pytest.raises(CannotUndoError, match="undone already"):
        undo_merge(merged, owner)
    assert merge(other, kept, owner).kept_person == other.pk, "and now the other way round"


def test_who_stays_is_the_owners_choice(kept, other, assignment, owner):
    score(assignment, kept, 9)
    score(assignment, other, 3)
    merge(other, kept, owner)
    assert {waiting_for(cell)[0] for cell in GradebookCell.objects.filter(person=other)} == {"3.00"}
    assert GradebookCell.objects.filter(person=other).count() == 2


def test_one_column_for_two_accounts_of_one_lms_is_the_latest(key, assignment, kept, owner):
    other = arrives(key, assignment, "student-2")
    score(assignment, kept, 9)
    before = GradebookCell.objects.get(person=kept)
    as_it_was = state()
    assert preview_of(kept, other).shared_links == 1
    merged = merge(kept, other, owner)
    cell = GradebookCell.objects.get()
    assert (cell.result_sourcedid, waiting_for(cell), waiting_for(before)) == ("sourcedid-of-student-2", ["9.00"], [])
    arrives(key, assignment, "student-1")
    undo_merge(merged, owner)
    as_now = state()
    as_now["Launch"].pop()
    assert as_now == as_it_was
    assert [waiting_for(GradebookCell.objects.get(person=who)) for who in (kept, other)] == [["9.00"], []]


def test_the_role_the_lms_gave_last_counts(key, assignment, kept, owner):
    EnrolmentFactory(course=assignment.course, person=(other := PersonFactory(organization=kept.organization)))
    Enrolment.objects.filter(person=other).update(role="teacher", last_launch_at=timezone.now())
    assert preview_of(kept, other).kept.enrolments[0].after == "Teacher"
    merged = merge(kept, other, owner)
    assert Enrolment.objects.get().role == "teacher"
    undo_merge(merged, owner)
    assert set(Enrolment.objects.values_list("person", "role")) == {(kept.pk, "student"), (other.pk, "teacher")}


@pytest.mark.parametrize("how", ["graded", "handed in"])
def test_who_worked_on_since_cannot_be_parted(kept, other, assignment, owner, how):
    merged = merge(kept, other, owner)
    score(assignment, kept, 8) if how == "graded" else hand_in(assignment, kept)
    as_it_was = state()
    with pytest.raises(CannotUndoError, match=r"Ada Lovelace has .* in “Essay” since"):
        undo_merge(merged, owner)
    assert state() == as_it_was
    assert Merge.objects.get().undone_at is None


def test_merges_are_undone_in_their_order(kept, other, assignment, owner, key):
    third = arrives(key, assignment, "student-3")
    as_it_was = state()
    first = merge(kept, other, owner)
    second = merge(third, kept, owner)
    assert person_now(kept.organization_id, other.pk) == third.pk
    with pytest.raises(CannotUndoError, match="Undo first the merge on"):
        undo_merge(first, owner)
    undo_merge(second, owner)
    undo_merge(first, owner)
    assert state() == as_it_was
    assert person_now(kept.organization_id, other.pk) == other.pk


def test_what_launches_brought_since_goes_to_who_comes_from_that_lms(kept, other, assignment, owner, elsewhere, key):
    merged = merge(kept, other, owner)
    second = AssignmentFactory(course__organization=kept.organization)
    score_there = {"resource_link_id": "link-2", "context_id": "context-2"}
    theirs = student(elsewhere, second, user_id="s-1", lis_person_name_full="A. Lovelace", **score_there)
    third = AssignmentFactory(course__organization=kept.organization)
    arrives(key, third, "student-1", resource_link_id="link-3", context_id="context-3")
    parted = undo_merge(merged, owner)
    assert (parted.moved, parted.forgotten) == (2, 0)
    assert theirs.person == other
    assert Enrolment.objects.get(course=second.course).person == other
    assert Enrolment.objects.get(course=third.course).person == kept
    assert GradebookCell.objects.get(assignment=second).person == other
    assert GradebookCell.objects.get(assignment=third).person == kept
    assert set(Participation.objects.values_list("lms_course__context_id", "person")) >= {
        ("context-2", other.pk),
        ("context-3", kept.pk),
    }
    kept.refresh_from_db()
    assert kept.name == "Ada Lovelace", "not what the other's launch called them"


def test_what_came_from_an_lms_of_both_is_learnt_anew(kept, assignment, owner, key):
    other = arrives(key, assignment, "student-2")
    merged = merge(kept, other, owner)
    second = AssignmentFactory(course__organization=kept.organization)
    since = {"resource_link_id": "link-2", "context_id": "context-2"}
    visitor = student(key, second, user_id="student-2", lis_result_sourcedid="whose", **since)
    assert visitor.get("launch").status_code in (200, 302)
    parted = undo_merge(merged, owner)
    assert parted.forgotten == 2
    assert visitor.get("launch").status_code == 404, "an open page shows nobody else's work"
    assert not Enrolment.objects.filter(course=second.course).exists()
    assert not GradebookCell.objects.filter(assignment=second).exists()
    assert arrives(key, second, "student-2", **since) == other
    assert Enrolment.objects.get(course=second.course).person == other
    assert GradebookCell.objects.get(assignment=second).person == other


def test_two_organizations_are_never_merged(kept, owner):
    stranger = PersonFactory()
    for pair in ((kept, stranger), (stranger, kept), (kept, kept)):
        for deed in (lambda pair: merge(*pair, owner), lambda pair: preview_of(*pair)):
            with pytest.raises(ValueError, match=r"organizations|not two people"):
                deed(pair)
    assert not Merge.objects.exists()


def test_two_users_are_two_people(kept, other, owner):
    Person.objects.filter(pk=kept.pk).update(user=UserFactory())
    user = UserFactory()
    Person.objects.filter(pk=other.pk).update(user=user)
    kept.refresh_from_db()
    other.refresh_from_db()
    assert "as two users" in preview_of(kept, other).trouble
    with pytest.raises(CannotMergeError, match="as two users"):
        merge(kept, other, owner)
    Person.objects.filter(pk=kept.pk).update(user=None)
    merged = merge(kept, other, owner)
    kept.refresh_from_db()
    assert kept.user == user
    undo_merge(merged, owner)
    assert set(Person.objects.values_list("pk", "user")) == {(kept.pk, None), (other.pk, user.pk)}


def test_who_is_gone_cannot_be_merged(kept, other, owner):
    Person.objects.filter(pk=other.pk).delete()
    with pytest.raises(CannotMergeError, match="not there any more"):
        merge(kept, other, owner)


def relations_to(model):
    return [entry for entry in model._meta.get_fields(include_hidden=True) if isinstance(entry, ForeignObjectRel)]


def test_everything_that_refers_to_a_person_or_an_account_moves(owner):
    """Walks the models: whatever refers to people, whichever room adds it, has a row here, and the row moves."""
    tenant = make_tenant("Zyxquirk")
    other, account = tenant.row(Person), tenant.row(LmsAccount)
    kept = PersonFactory(organization=tenant.organization)
    Merge.objects.all().delete()
    referring = []
    for relation in relations_to(Person):
        row = tenant.row(relation.related_model)
        setattr(row, relation.field.name, other)
        row.save()
        referring.append((relation.related_model, relation.field.name, row.pk))
    assert len(referring) > 8
    of_account = [
        (relation.related_model, relation.field.name, tenant.row(relation.related_model).pk)
        for relation in relations_to(LmsAccount)
    ]
    assert (RosterMember, "account") in [entry[:2] for entry in of_account]
    before = {model: list(model.objects.order_by("pk").values()) for model in tenant.rows}
    merged = merge(kept, other, owner)
    assert not Person.objects.filter(pk=other.pk).exists()
    for model, name, key in referring:
        assert getattr(model.objects.get(pk=key), f"{name}_id") == kept.pk, f"{model.__name__}.{name} stays behind"
    for model, name, key in of_account:
        assert getattr(model.objects.get(pk=key), f"{name}_id") == account.pk, f"{model.__name__}.{name}"
    undo_merge(merged, owner)
    after = {model: list(model.objects.order_by("pk").values()) for model in tenant.rows}
    for model in before:
        if model not in (Merge, type(merged.changes.model()), Delivery, Score):
            assert after[model] == before[model], model.__name__


def test_a_content_application_reports_for_the_id_that_it_was_given(client, kept, other, assignment, owner):
    from organizations.api_tokens import make_token

    _, token = make_token(kept.organization, "application")
    address = f"/api/v1/assignments/{assignment.pk}/scores/{other.pk}"
    merged = merge(kept, other, owner)
    headers = {"Authorization": f"Bearer {token}"}
    response = client.put(address, {"points": 5}, content_type="application/json", headers=headers)
    assert (response.status_code, response.json()["person"]) == (200, str(kept.pk))
    assert Score.objects.get().person == kept
    Score.objects.all().delete()
    undo_merge(merged, owner)
    client.put(address, {"points": 6}, content_type="application/json", headers=headers)
    assert Score.objects.get().person == other
