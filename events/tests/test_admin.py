"""Deliveries and events in the admin."""

import csv
import io
from datetime import timedelta

import pytest
from django.utils import timezone

from events.csv_export import formula_safe
from events.log import SYSTEM, Actor, record
from events.models import Attempt, Delivery, Event
from grades.models import Score
from organizations.tests.admin_client import owner_client, text_of
from tests.factories import GradebookCellFactory, OrganizationFactory

pytestmark = pytest.mark.django_db

LIST = "/admin/events/delivery/"


def delivery_of(cell, state=Delivery.State.FAILED, **values):
    score, _ = Score.objects.get_or_create(assignment=cell.assignment, person=cell.person, defaults={"points": 5})
    waiting = state == Delivery.State.PENDING
    return Delivery.objects.create(
        **{
            "organization": cell.installation.organization,
            "kind": Delivery.Kind.GRADE,
            "target_id": cell.pk,
            "source_id": score.pk,
            "sequence": 1,
            "state": state,
            "due_at": timezone.now() + timedelta(hours=1) if waiting else None,
            "give_up_at": timezone.now() + timedelta(days=3),
            "last_error": "The LMS answered 503.",
            **values,
        }
    )


@pytest.fixture
def cell(db):
    return GradebookCellFactory(person__name="Ada Lovelace", assignment__title="Loops")


@pytest.fixture
def organization(cell):
    return cell.installation.organization


@pytest.fixture
def owner(organization):
    return owner_client(organization)


def test_the_list_says_what_for_whom_and_why(cell, owner):
    delivery_of(cell)
    text = text_of(owner.get(LIST))
    for words in ("Grade: Loops", "Ada Lovelace", cell.installation.name, "The LMS answered 503.", "Failed"):
        assert words in text


@pytest.mark.parametrize(("term", "found"), [("lovelace", True), ("loops", True), ("503", True), ("nobody", False)])
def test_deliveries_are_searched_by_what_they_carry(cell, owner, term, found):
    delivery = delivery_of(cell)
    assert (str(delivery.pk) in text_of(owner.get(LIST, {"q": term}))) is found


def test_one_is_sent_again(cell, owner):
    delivery = delivery_of(cell)
    path = f"{LIST}{delivery.pk}/resend/"
    assert owner.get(path).status_code == 405
    assert owner.post(path).status_code == 302
    delivery.refresh_from_db()
    assert delivery.state == Delivery.State.PENDING
    assert delivery.due_at <= timezone.now()


def test_selected_and_all_that_match_are_sent_again(owner, organization):
    cells = [GradebookCellFactory(assignment__course__organization=organization) for _ in range(3)]
    rows = [delivery_of(cell) for cell in cells]
    form = {"action": "send_again", "_selected_action": [str(rows[0].pk)], "select_across": "0"}
    owner.post(LIST, form)
    assert Delivery.objects.filter(state=Delivery.State.PENDING).count() == 1
    owner.post(f"{LIST}?state__exact=failed", form | {"_selected_action": [str(rows[1].pk)], "select_across": "1"})
    assert Delivery.objects.filter(state=Delivery.State.PENDING).count() == 3


def test_forged_ids_in_an_action_change_nothing(cell):
    delivery = delivery_of(cell)
    stranger = owner_client(OrganizationFactory())
    for action in ("send_again", "cancel_selected"):
        form = {"action": action, "_selected_action": [str(delivery.pk)], "confirmed": "1"}
        for across in ("0", "1"):
            response = stranger.post(LIST, form | {"select_across": across}, follow=True)
            assert "Ada" not in text_of(response)
    assert stranger.post(f"{LIST}{delivery.pk}/resend/").status_code == 404
    delivery.refresh_from_db()
    assert delivery.state == Delivery.State.FAILED


def test_cancelling_asks_first(cell, owner):
    delivery = delivery_of(cell, Delivery.State.PENDING)
    form = {"action": "cancel_selected", "_selected_action": [str(delivery.pk)], "select_across": "0"}
    text = text_of(owner.post(LIST, form))
    assert "Loops: Ada Lovelace" in text
    assert 'name="confirmed"' in text
    delivery.refresh_from_db()
    assert delivery.state == Delivery.State.PENDING
    owner.post(LIST, form | {"confirmed": "1"})
    delivery.refresh_from_db()
    assert delivery.state == Delivery.State.CANCELLED


def test_one_is_cancelled_after_a_question(cell, owner):
    delivery = delivery_of(cell, Delivery.State.PENDING)
    path = f"{LIST}{delivery.pk}/cancel/"
    assert owner.get(path).status_code == 200
    delivery.refresh_from_db()
    assert delivery.state == Delivery.State.PENDING
    owner.post(path)
    delivery.refresh_from_db()
    assert delivery.state == Delivery.State.CANCELLED


def test_attempts_are_shown_with_request_and_answer_escaped(cell, owner):
    delivery = delivery_of(cell)
    Attempt.objects.create(
        delivery=delivery, number=1, request="POST to the LMS", response="<script>alert(1)</script>", duration_ms=183
    )
    text = text_of(owner.get(f"{LIST}{delivery.pk}/change/"))
    assert "POST to the LMS" in text
    assert "183 ms" in text
    assert "&lt;script&gt;alert(1)" in text
    assert "<script>alert" not in text


def test_a_delivery_names_no_cell_of_another_tenant(cell, owner):
    foreign = GradebookCellFactory(person__name="Foreign Person")
    delivery_of(cell, target_id=foreign.pk, sequence=9)
    assert "Foreign Person" not in text_of(owner.get(LIST))


def test_the_home_page_shows_failures(cell, owner):
    delivery_of(cell)
    text = text_of(owner.get("/admin/"))
    assert "1 grade did not arrive" in text
    assert "Grades per day: 0 delivered, 0 waiting, 1 failed" in text


# Events


@pytest.mark.usefixtures("events_of_any_kind")
def test_events_are_exported_as_they_are_filtered(organization, owner):
    record(organization, "score.changed", actor=Actor("user", "1", "=cmd()"), subject_kind="score", subject_id="7")
    record(organization, "key.revealed", actor=SYSTEM, subject_kind="lti_key", subject_id="8")
    record(OrganizationFactory(), "score.changed", actor=SYSTEM, subject_kind="score", subject_id="9")
    response = owner.get("/admin/events/event/export.csv", {"type": "score.changed"})
    rows = list(csv.DictReader(io.StringIO(text_of(response).removeprefix("\ufeff"))))
    assert [(row["type"], row["subject id"], row["actor"]) for row in rows] == [("score.changed", "7", "'=cmd()")]
    assert "attachment" in response["Content-Disposition"]


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "\tx", "\rx", "\nx", "\uff1d1", "\uff0b1", "\uff0d1", "\uff20x", "@x", " =1", "\u3000=1"],
)
def test_no_cell_is_a_formula(text):
    assert formula_safe(text) == f"'{text}"


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("a;=1+1", "a;'=1+1"),
        ("a; @x", "a;' @x"),
        ("a\t+1", "a\t'+1"),
        ("a\n-1\r\n=2", "a\n'-1\r\n'=2"),
        ("\n=1", "'\n'=1"),
        ("=1;=2", "'=1;'=2"),
    ],
)
def test_no_cell_begins_in_the_middle_of_another(text, safe):
    """Where a spreadsheet splits at semicolons, tabs or line breaks of its own accord."""
    assert formula_safe(text) == safe


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (7, "7"), ("plain = text", "plain = text"), ("a; b", "a; b"), ("1,-1", "1,-1"), ("a-b;c", "a-b;c")],
)
def test_other_cells_stay_as_they_are(value, text):
    assert formula_safe(value) == text


@pytest.mark.usefixtures("events_of_any_kind")
def test_events_are_searched_and_never_changed(organization, owner):
    event = record(organization, "key.rotated", actor=Actor("user", "1", "Ada"), subject_kind="lti_key", subject_id="8")
    record(organization, "key.rotated", actor=Actor("user", "2", "Bob"), subject_kind="lti_key", subject_id="9")
    text = text_of(owner.get("/admin/events/event/", {"q": "ada"}))
    assert "Ada (user)" in text
    assert "Bob (user)" not in text
    assert owner.post(f"/admin/events/event/{event.pk}/delete/", {"post": "yes"}).status_code == 404
    assert Event.objects.count() == 2
