"""The public feedback link: who gets in, who does not, and what the page gives away (codio.md 1.4)."""

import re
from base64 import urlsafe_b64encode
from decimal import Decimal

import pytest
from django.conf import settings
from django.core import signing
from django.test import Client

from events.log import SYSTEM
from grades.feedback import feedback_of, feedback_token, feedback_url
from grades.models import Score
from grades.scores import record_score
from organizations.identifiers import uuid7
from tests.visiting import student, text_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def course(assignment):
    assignment.course.public_feedback_link = True
    assignment.course.save()
    return assignment.course


@pytest.fixture
def score(key, assignment, course):
    person = student(key, assignment).person
    comment = "Fine, <script>alert(1)</script>\nbut short"
    return record_score(assignment, person, points=Decimal("8.50"), comment=comment, actor=SYSTEM)


def opened(score):
    return Client().get(f"/feedback/{feedback_token(score)}")


def test_anybody_with_the_link_sees_score_and_comment_and_not_whose(score):
    assert feedback_url(score) == f"{settings.BASE_URL}/feedback/{feedback_token(score)}"
    response = opened(score)
    html = response.content.decode()
    assert response.status_code == 200
    for words in ("Essay", "Rhetoric", "8.5", "of 10 points", "but short"):
        assert words in text_of(response)
    assert "Fine, &lt;script&gt;alert(1)&lt;/script&gt;" in html
    for secret in ("Ada", "Lovelace", "ada@example.edu", "student-1", str(score.person_id), str(score.pk)):
        assert secret not in html


def test_no_search_engine_no_referrer_no_cache_no_cookie(score):
    response = opened(score)
    assert response["Referrer-Policy"] == "no-referrer"
    assert "noindex" in response["X-Robots-Tag"]
    assert '<meta name="robots" content="noindex">' in response.content.decode()
    assert "no-store" in response["Cache-Control"]
    assert not response.cookies
    assert Client().post(f"/feedback/{feedback_token(score)}").status_code == 405


def test_no_comment(assignment, score):
    record_score(assignment, score.person, points=Decimal(3), actor=SYSTEM)
    assert "There is no comment on this work." in text_of(opened(score))


def test_the_link_stays_the_same_and_shows_the_newest_score(assignment, score):
    token = feedback_token(score)
    newer = record_score(assignment, score.person, points=Decimal(9), comment="Better", actor=SYSTEM)
    assert feedback_token(newer) == token
    assert "Better" in text_of(opened(score))


@pytest.mark.parametrize("changes", [{"released": False}, {"graded": False}])
def test_what_students_may_not_see_yet_is_not_there(assignment, score, changes):
    hidden = record_score(assignment, score.person, points=Decimal(9), actor=SYSTEM, **changes)
    assert feedback_url(hidden) == ""
    assert opened(score).status_code == 404
    record_score(assignment, score.person, points=Decimal(9), actor=SYSTEM)
    assert opened(score).status_code == 200


def test_switching_off_takes_every_link_back(course, score):
    course.public_feedback_link = False
    course.save()
    assert feedback_url(Score.objects.select_related("assignment__course").get()) == ""
    assert opened(score).status_code == 404


def test_a_suspended_organizations_feedback_is_not_there(course, score):
    course.organization.enabled = False
    course.organization.save()
    assert opened(score).status_code == 404


def test_a_deleted_score_is_not_there(score):
    token = feedback_token(score)
    score.delete()
    assert Client().get(f"/feedback/{token}").status_code == 404


def test_a_token_cannot_be_guessed_or_made_from_another(assignment, score):
    token = feedback_token(score)
    encoded, signature = token.split(".")
    other = Score(pk=uuid7(), assignment=assignment)
    other_encoded, other_signature = feedback_token(other).split(".")
    unsigned = urlsafe_b64encode(score.pk.bytes).decode().rstrip("=")
    assert unsigned == encoded
    with_other_salt = signing.Signer(salt="another", sep=".").sign(unsigned)
    guesses = [
        encoded,
        f"{encoded}.",
        f".{signature}",
        f"{encoded}.{signature[:-1]}",
        f"{encoded}.{signature[:-1]}{'A' if signature[-1] != 'A' else 'B'}",
        f"{encoded}.{other_signature}",
        f"{other_encoded}.{signature}",
        f"{other_encoded}.{other_signature}",
        f"{encoded}==.{signature}",
        f"{token}.{signature}",
        with_other_salt,
        str(score.pk),
        "x",
        ".",
        "%00",
        "é" * 50,
        "x" * 5000,
    ]
    for guess in guesses:
        assert Client().get(f"/feedback/{guess}").status_code == 404, guess
    for guess in ("", "\x00", f"{token}\x00", f"{token}\n", f" {token}"):
        assert feedback_of(guess) is None
    assert feedback_of(token) == score


def test_every_miss_answers_alike(course, score):
    def words(response):
        return re.sub(r"Reference: \S+", "", text_of(response))

    record_score(score.assignment, score.person, points=Decimal(9), released=False, actor=SYSTEM)
    assert words(opened(score)) == words(Client().get("/feedback/nothing"))
