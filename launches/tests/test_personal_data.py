"""What is held of a person: told to whoever asks, and forgotten (J20)."""

import json
from decimal import Decimal

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.urls import reverse

from courses.models import Enrolment, Submission
from courses.submissions import open_assignment, submit
from events.log import SYSTEM, Actor
from events.models import Attempt, Delivery, Event, Mail
from grades.models import GradebookCell, Score
from grades.passback import GradeSender
from grades.scores import record_score
from launches.merge_undoing import undo_merge
from launches.merging import merge
from launches.migration_undoing import CannotUndoError
from launches.models import Launch, LegacyClaim, Merge, Migration, MigrationChange
from launches.personal_data import ERASED, erase, export_of
from organizations.identifiers import uuid7
from organizations.models import LmsAccount, Person, SignInLink
from organizations.tests.admin_client import client_of, owner_client, text_of
from tests.factories import DeploymentFactory, LtiKeyFactory, MembershipFactory, PersonFactory
from tests.tenants import OUR_APPS, make_tenant
from tests.visiting import student, teacher

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("memory_queue")]

TRACES = ["lovelace", "ada@example", "student-one", "ada-login", "my essay", "well done", "s-two", "picture.example"]


@pytest.fixture
def owner(key):
    return MembershipFactory(organization=key.installation.organization, user__name="Olga Owner").user


def as_ada(key, assignment, user_id="student-one", **changes):
    return student(
        key,
        assignment,
        user_id=user_id,
        lis_person_name_given="Ada",
        lis_person_name_family="Lovelace",
        ext_user_username="ada-login",
        lis_person_sourcedid="ada-login-sis",
        user_image="https://picture.example/ada.png",
        lis_result_sourcedid=f"cell of {user_id}",
        custom_page=f"page of {user_id}",
        **changes,
    )


@pytest.fixture
def ada(key, assignment, owner):
    """Somebody who left traces everywhere, and was merged from two."""
    elsewhere = LtiKeyFactory(installation__organization=key.installation.organization)
    person = as_ada(key, assignment).person
    second = as_ada(elsewhere, assignment, "s-two").person
    for one in (person, second):
        actor = Actor.of(one)
        submit(open_assignment(assignment, one, actor), "My essay, by Ada Lovelace", "https://picture.example/", actor)
        record_score(assignment, one, points=Decimal(7), comment="Well done, Ada", actor=SYSTEM)
    merge(person, second, owner)
    teacher(key, assignment, custom_mentor_for="student-one", role_scope_mentor="student-one,student-2", roles="Mentor")
    Launch.objects.filter(role="teacher").update(actual_user={"id": "student-one", "name": "Ada Lovelace"})
    delivery = Delivery.objects.filter(kind="grade").first()
    Attempt.objects.create(delivery=delivery, number=1, request="cell of student-one", response="ada-login: done")
    deployment = DeploymentFactory(registration__installation=key.installation)
    LegacyClaim.objects.create(deployment=deployment, kind="person", lms_id="x", old_id="student-one", digest="1" * 64)
    moved = Migration.objects.create(installation=key.installation, origin="owner", words="Ada Lovelace: 1 person")
    account = LmsAccount.objects.get(lms_user_id="student-one")
    MigrationChange.objects.create(
        migration=moved,
        position=0,
        kind="created",
        model="organizations.lmsaccount",
        rows=[str(account.pk)],
        after={"person_id": str(person.pk), "username": "ada-login"},
    )
    SignInLink.objects.create(person=person, email="ada@example.edu", hash="0", expires_at=person.created_at)
    return Person.objects.get(pk=person.pk)


def everything():
    """All rows of ours and of the admin's history, as one text."""
    models = [
        model for label in OUR_APPS if apps.is_installed(label) for model in apps.get_app_config(label).get_models()
    ]
    return {
        model.__name__: json.dumps(list(model._default_manager.values()), default=str).lower()
        for model in [*models, LogEntry]
    }


def traces():
    return {(name, trace) for name, text in everything().items() for trace in TRACES if trace in text}


@pytest.mark.parametrize("keep_scores", [True, False], ids=["scores kept", "scores deleted"])
def test_nothing_tells_any_more_who_it_was(ada, owner, assignment, keep_scores):
    assert {trace for _, trace in traces()} == set(TRACES), "there is something to forget"
    erased = erase(ada, owner, keep_scores=keep_scores)
    assert traces() == set()
    ada.refresh_from_db()
    assert (ada.name, ada.email, ada.user) == (ERASED, "", None)
    assert (erased.accounts, Score.objects.filter(comment="").count()) == (2, 2 if keep_scores else 0)
    assert not LmsAccount.objects.filter(person=ada).exists()
    assert Enrolment.objects.get(person=ada).state == "gone"
    assert set(Submission.objects.values_list("text", "number")) == {("", 1)}, "that something was handed in stays"
    assert Delivery.objects.filter(kind="grade").count() > 0, "and what became of the grades"
    assert not Delivery.objects.filter(kind="grade", state="pending").exists()
    points = [row["points"] for row in Delivery.objects.values_list("payload", flat=True) if row]
    assert bool(points) == keep_scores
    entry = LogEntry.objects.filter(object_id=str(ada.pk)).latest("pk")
    assert (entry.user, entry.change_message.startswith("Erased")) == (owner, True)


def test_others_keep_what_is_theirs(key, ada, owner, assignment):
    other = student(key, assignment, user_id="student-2", lis_person_name_full="Bob").person
    score = record_score(assignment, other, points=Decimal(5), comment="Fine", actor=SYSTEM)
    events = Event.objects.count()
    erase(ada, owner, keep_scores=False)
    score.refresh_from_db()
    other.refresh_from_db()
    assert (other.name, score.points, score.comment) == ("Bob", 5, "Fine")
    assert LmsAccount.objects.filter(person=other).exists()
    assert Launch.objects.get(role="mentor").mentor_for == ["student-2"]
    assert Event.objects.count() == events
    assert Delivery.objects.filter(source_id=score.pk, state="pending").count() == 1
    assert Event.objects.filter(actor__name="Bob").exists()
    assert not Event.objects.filter(actor__name__startswith="Ada").exists()


def test_whoever_comes_back_is_somebody_new(key, ada, owner, assignment):
    erase(ada, owner, keep_scores=True)
    back = as_ada(key, assignment).person
    assert back != ada
    assert Enrolment.objects.get(person=back).state == "active"
    assert GradebookCell.objects.get(person=back).result_sourcedid == "cell of student-one"
    score = record_score(assignment, back, points=Decimal(3), actor=SYSTEM)
    assert Delivery.objects.filter(source_id=score.pk, state="pending").count() == 1


def test_no_grade_goes_to_a_cell_that_was_erased(ada, owner, assignment):
    erase(ada, owner, keep_scores=True)
    record_score(assignment, ada, points=Decimal(3), actor=SYSTEM)
    waiting = list(Delivery.objects.filter(kind="grade", state="pending"))
    assert waiting
    prepared = GradeSender().prepare(waiting)
    assert {(result.verdict.value, result.code) for result in prepared.values()} == {("cancelled", "gone")}


def test_steps_that_hold_what_was_erased_cannot_be_undone(ada, owner):
    from launches.migration_undoing import undo

    erase(ada, owner, keep_scores=True)
    with pytest.raises(CannotUndoError, match="erased"):
        undo_merge(Merge.objects.get(), owner)
    with pytest.raises(CannotUndoError, match="erased"):
        undo(Migration.objects.get(), owner)


def test_the_export_tells_everything_and_no_secret(ada):
    told = export_of(ada)
    text = json.dumps(told).lower()
    # What was merged into this person is theirs, too; what the LMS calls its gradebook cell is the LMS's.
    for trace in ("lovelace", "ada@example", "student-one", "s-two", "ada-login", "my essay", "well done"):
        assert trace in text, trace
    assert "cell of student-one" not in text
    assert len(told["organizations.lmsaccount"]) == 2
    assert told["courses.submission"][0]["assignment"]["name"] == "Essay"
    assert {row["type"] for row in told["events.event"]} >= {"score.changed", "submission.created"}
    for name in ("hash", "browser", "nonce", "return_url"):
        assert f'"{name}"' not in text


def test_mails_to_the_address_of_the_lms_are_told_and_forgotten(ada, owner):
    def write(organization, address):
        return Mail.objects.create(
            organization=organization, kind="grade_digest", once=str(uuid7()), about=uuid7(), address=address
        )

    foreign = write(PersonFactory().organization, ada.email)
    mine, others = write(ada.organization, ada.email.upper()), write(ada.organization, "other@example.org")
    assert [row["id"] for row in export_of(ada)["events.mail"]] == [str(mine.pk)]
    erase(ada, owner, keep_scores=True)
    assert set(Mail.objects.all()) == {foreign, others}


def test_the_export_holds_a_row_of_everything_that_refers_to_people():
    tenant = make_tenant("Zyxquirk")
    person = tenant.row(Person)
    told = export_of(person)
    for relation in Person._meta.get_fields(include_hidden=True):
        if relation.auto_created and relation.related_model in tenant.rows and relation.field.model in tenant.rows:
            assert told[relation.related_model._meta.label_lower], relation
    text = json.dumps(told)
    assert "nonce" not in text
    for secret in (tenant.api_token, "Zyxquirk-secret-of-the-key", "Zyxquirk-previous-secret", "Zyxquirk-nonce"):
        assert secret not in text


# The pages


def page(name, person):
    return reverse(f"admin:person-{name}", args=[person.pk])


def test_the_owner_downloads_it(ada, owner):
    client = client_of(owner)
    response = client.get(page("export", ada))
    assert response["Content-Disposition"] == f'attachment; filename="person-{ada.pk}.json"'
    assert json.loads(response.content)["person"]["name"] == "Ada Lovelace"
    assert "no-store" in response["Cache-Control"]
    assert LogEntry.objects.filter(object_id=str(ada.pk), change_message__contains="downloaded").exists()
    assert page("export", ada) in text_of(client.get(reverse("admin:organizations_person_change", args=[ada.pk])))


def test_the_owner_erases_after_saying_so(ada, owner):
    client = client_of(owner)
    assert "cannot be undone" in text_of(client.get(page("erase", ada)))
    for incomplete in ({}, {"scores": "keep"}, {"sure": "1"}, {"scores": "\x00", "sure": "1"}):
        response = client.post(page("erase", ada), incomplete)
        assert response.status_code == 422
    assert "checked" in text_of(client.post(page("erase", ada), {"scores": "keep"})), "what was chosen stays chosen"
    ada.refresh_from_db()
    assert ada.name == "Ada Lovelace"
    done = client.post(page("erase", ada), {"scores": "delete", "sure": "1"}, follow=True)
    assert "2 LMS accounts released" in text_of(done)
    ada.refresh_from_db()
    assert ada.name == ERASED
    assert client.get(page("erase", ada)).status_code == 200
    assert "somebody who was erased since" in text_of(done)


def test_nobody_elses_people(ada):
    stranger = owner_client(PersonFactory().organization)
    for name in ("export", "erase"):
        assert stranger.get(page(name, ada)).status_code == 404
        assert stranger.post(page(name, ada), {"scores": "delete", "sure": "1"}).status_code == 404
    ada.refresh_from_db()
    assert ada.name == "Ada Lovelace"
