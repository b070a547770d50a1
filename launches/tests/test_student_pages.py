"""A student in an assignment: what they see, save and hand in, and what is refused."""

from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.utils import timezone

from courses.models import Submission
from events.log import SYSTEM
from events.models import Delivery, Event
from grades.scores import record_score
from tests.factories import AssignmentFactory
from tests.visiting import mentor, student, teacher, text_of

pytestmark = pytest.mark.django_db

ATTACK = "<script>alert(1)</script> & &lt;b&gt;"
ESCAPED_ONCE = "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &amp;lt;b&amp;gt;"


def change(assignment, **fields):
    for name, value in fields.items():
        setattr(assignment, name, value)
    assignment.save()


def in_hours(hours):
    return timezone.now() + timedelta(hours=hours)


def test_the_page_says_where_who_and_what(key, assignment):
    change(assignment, body="Write *well*.", due_at=in_hours(5))
    visitor = student(key, assignment)
    response = visitor.get("launch")
    text = text_of(response)
    for words in ("Rhetoric", "Ada Lovelace", "student", "Not you?", "Essay", "10 points", "Back to course", "Submit"):
        assert words in text
    assert key.installation.organization.name in text
    assert "<em>well</em>" in response.content.decode()
    assert f'datetime="{assignment.due_at:%Y-%m-%dT%H:%M:%SZ}"' in response.content.decode()
    assert Event.objects.filter(type="assignment.opened").count() == 1


def test_no_return_url_no_way_back(key, assignment):
    visitor = student(key, assignment, launch_presentation_return_url="")
    assert "Back to course" not in text_of(visitor.get("launch"))


def test_the_return_url_itself_is_not_shown(key, assignment):
    assert "sesskey" not in student(key, assignment).get("launch").content.decode()


def test_a_draft_is_saved_in_place_and_comes_back(key, assignment):
    visitor = student(key, assignment)
    response = visitor.post("launch-draft", assignment.id, htmx=True, text="half a thought", url="")
    assert "Draft saved" in text_of(response)
    assert "half a thought" in visitor.get("launch").content.decode()
    assert Submission.objects.get().submitted_at is None


def test_a_draft_by_the_button_alone_leads_back_to_the_page(key, assignment):
    response = student(key, assignment).post("launch-draft", assignment.id, text="x", url="")
    assert response.status_code == 302


def test_submitting(key, assignment):
    visitor = student(key, assignment)
    visitor.post("launch-draft", assignment.id, htmx=True, text="half", url="")
    response = visitor.post("launch-submission", assignment.id, text="My answer", url="https://docs.example/1")
    assert response.status_code == 302
    page = visitor.get("launch")
    text = text_of(page)
    assert "Waiting for your teacher" in text
    assert "My answer" in text
    assert 'href="https://docs.example/1"' in page.content.decode()
    assert "Change it and submit again" in text
    event = Event.objects.get(type="submission.created")
    assert event.actor["id"] == str(visitor.person.id)


def test_submitting_again_replaces(key, assignment):
    visitor = student(key, assignment)
    visitor.post("launch-submission", assignment.id, text="one", url="")
    visitor.post("launch-submission", assignment.id, text="two", url="")
    assert (Submission.objects.get().text, Submission.objects.get().number) == ("two", 2)


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "ftp://a.example", "//a.example", "https://u:p@a.example", "x y"]
)
def test_only_web_addresses_and_the_typed_text_stays(key, assignment, url):
    visitor = student(key, assignment)
    response = visitor.post("launch-submission", assignment.id, text="long thoughts", url=url)
    assert response.status_code == 422
    assert "https://" in text_of(response)
    assert "long thoughts" in response.content.decode()
    assert Submission.objects.get().submitted_at is None


@pytest.mark.parametrize("text", ["", "   \n "])
def test_nothing_is_not_submitted(key, assignment, text):
    response = student(key, assignment).post("launch-submission", assignment.id, text=text, url="")
    assert response.status_code == 422
    assert "Write something" in text_of(response)


def test_too_long_and_control_characters_are_no_500(key, assignment):
    visitor = student(key, assignment)
    assert visitor.post("launch-submission", assignment.id, text="x" * 100_001, url="").status_code == 422
    assert visitor.post("launch-submission", assignment.id, text="a\x00b", url="").status_code == 422
    assert visitor.post("launch-draft", assignment.id, htmx=True, text="a\x00b", url="").status_code == 422
    assert Submission.objects.get().text == ""


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"enabled": False}, "switched off"),
        ({"opens_at": in_hours(5)}, "Not open yet"),
        ({"closes_at": in_hours(-5)}, "Closed since"),
    ],
)
def test_while_not_open_the_page_says_why_and_the_server_refuses(key, assignment, fields, words):
    visitor = student(key, assignment)
    change(assignment, **fields)
    page = visitor.get("launch")
    assert words in text_of(page)
    assert "<textarea" not in page.content.decode()
    response = visitor.post("launch-submission", assignment.id, text="too late, but precious", url="")
    assert response.status_code == 422
    assert "too late, but precious" in response.content.decode()
    assert visitor.post("launch-draft", assignment.id, htmx=True, text="x", url="").status_code == 422
    assert (Submission.objects.get().submitted_at, Submission.objects.get().draft_text) == (None, "")


def test_overdue_is_said_and_allowed(key, assignment):
    change(assignment, due_at=in_hours(-2))
    visitor = student(key, assignment)
    assert "due date has passed" in text_of(visitor.get("launch"))
    assert visitor.post("launch-submission", assignment.id, text="late", url="").status_code == 302
    assert "late" in text_of(visitor.get("launch"))


def score(assignment, visitor, **fields):
    values = {"points": Decimal(7), "comment": "Nice work", "actor": SYSTEM} | fields
    return record_score(assignment, visitor.person, **values)


def test_an_unreleased_score_is_not_shown(key, assignment):
    visitor = student(key, assignment)
    visitor.post("launch-submission", assignment.id, text="one", url="")
    score(assignment, visitor, released=False)
    text = text_of(visitor.get("launch"))
    assert "Nice work" not in text
    assert "Waiting for your teacher" in text


def test_a_released_score_is_shown_and_closes_the_work(key, assignment):
    visitor = student(key, assignment)
    visitor.post("launch-submission", assignment.id, text="one", url="")
    score(assignment, visitor)
    text = text_of(visitor.get("launch"))
    for words in ("Graded", "7 of 10 points", "Nice work", "On its way to your course's gradebook"):
        assert words in text
    assert "submit again" not in text
    response = visitor.post("launch-submission", assignment.id, text="after the fact", url="")
    assert response.status_code == 422
    assert "after the fact" in response.content.decode()
    assert Submission.objects.get().text == "one"


def test_the_passage_in_a_students_words(key, assignment):
    visitor = student(key, assignment)
    score(assignment, visitor)
    passage = visitor.get("launch-own-passage", assignment.id, htmx=True)
    assert "hx-get" in passage.content.decode()
    Delivery.objects.update(state="delivered", delivered_at=timezone.now(), due_at=None)
    passage = visitor.get("launch-own-passage", assignment.id, htmx=True)
    assert "In your course's gradebook since" in text_of(passage)
    assert "hx-get" not in passage.content.decode()
    Delivery.objects.update(state="failed", last_error="HTTP 500 at https://lms.example/secret", delivered_at=None)
    passage = visitor.get("launch-own-passage", assignment.id, htmx=True)
    assert "Not in your course's gradebook yet" in text_of(passage)
    assert "lms.example" not in passage.content.decode()


def test_watching_the_passage_ends(key, assignment):
    visitor = student(key, assignment)
    score(assignment, visitor)
    passage = visitor.get("launch-own-passage", assignment.id, htmx=True, asked="40")
    assert "hx-get" not in passage.content.decode()


def test_a_forged_form_changes_nothing(key, assignment):
    visitor = student(key, assignment)
    other = student(key, assignment, user_id="student-2")
    for token in ("", "forged", other.token):
        for name in ("launch-submission", "launch-draft"):
            response = visitor.post(name, assignment.id, token=token, text="x", url="")
            assert response.status_code == 403
    assert not Submission.objects.exclude(text="", draft_text="").exists()


def test_one_sees_only_ones_own_work(key, assignment):
    first, second = student(key, assignment), student(key, assignment, user_id="student-2")
    first.post("launch-submission", assignment.id, text="my secret thoughts", url="")
    assert "my secret thoughts" not in second.get("launch").content.decode()
    assert second.client.get(first.url("launch")).status_code == 404


def test_another_courses_assignment_is_not_found(key, assignment):
    visitor = student(key, assignment)
    same_organization = AssignmentFactory(course__organization=key.installation.organization)
    for foreign in (same_organization.id, AssignmentFactory().id, uuid4()):
        assert visitor.get("launch-assignment", foreign).status_code == 404
        assert visitor.post("launch-submission", foreign, text="x", url="").status_code == 404
        assert visitor.get("launch-content", foreign).status_code == 404


def test_a_teachers_page_does_not_exist_for_students(key, assignment):
    visitor = student(key, assignment)
    for name in ("launch-table-csv", "launch-passages"):
        assert visitor.get(name, assignment.id).status_code == 404
    assert visitor.get("launch-person", assignment.id, visitor.person.id).status_code == 404
    for name in ("launch-release", "launch-send-again"):
        assert visitor.post(name, assignment.id, everyone="1").status_code == 404
    response = visitor.post("launch-score", assignment.id, visitor.person.id, points="10", version="0")
    assert response.status_code == 404


@pytest.mark.parametrize("who", [teacher, mentor])
def test_staff_hand_nothing_in(key, assignment, who):
    visitor = who(key, assignment)
    for name in ("launch-submission", "launch-draft"):
        assert visitor.post(name, assignment.id, text="x", url="").status_code == 404
    assert not Submission.objects.exists()


def test_texts_from_outside_are_escaped_once(key, assignment):
    change(assignment, title=ATTACK, body=ATTACK)
    change(assignment.course, name=ATTACK)
    change(key.installation.organization, name=ATTACK)
    visitor = student(key, assignment, lis_person_name_full=ATTACK)
    visitor.post("launch-submission", assignment.id, text=ATTACK, url="")
    score(assignment, visitor, comment=ATTACK)
    html = visitor.get("launch").content.decode()
    assert "<script>alert" not in html
    # Title (twice: head and page), course (title and bar), organization, person, work and comment.
    assert html.count(ESCAPED_ONCE) >= 8
    assert "&amp;lt;script" not in html


def test_the_page_needs_nothing_inline(key, assignment):
    response = student(key, assignment).get("launch")
    html = response.content.decode()
    assert "<style" not in html
    assert " style=" not in html
    assert " onclick" not in html
    assert "<script>" not in html
    assert "default-src 'self'" in response["Content-Security-Policy"]
