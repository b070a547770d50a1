"""A teacher's table and grading view: what it shows, saves, releases and sends; a mentor changes nothing."""

import csv
import io
import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from courses.models import Enrolment, Submission
from courses.submissions import open_assignment, submit
from events.log import SYSTEM, Actor
from events.models import Delivery, Event
from grades.models import GradebookCell, Score
from grades.scores import record_score
from organizations.models import LmsAccount
from tests.factories import (
    AssignmentFactory,
    EnrolmentFactory,
    GradebookCellFactory,
    InstallationFactory,
    PersonFactory,
)
from tests.visiting import came_from_the_course, mentor, student, teacher, text_of

pytestmark = pytest.mark.django_db

ATTACK = "<script>alert(1)</script> & &lt;b&gt;"


def enrolled(assignment, key, *, name="Grace Hopper", lms_user_id=None, **fields):
    person = PersonFactory(organization=assignment.course.organization, name=name, **fields)
    EnrolmentFactory(course=assignment.course, person=person)
    came_from_the_course(key, person)
    LmsAccount.objects.create(
        installation=key.installation, lms_user_id=lms_user_id or f"lms-{person.id}", person=person
    )
    return person


def handed_in(assignment, person, text="Work", url=""):
    return submit(open_assignment(assignment, person, Actor.of(person)), text, url, Actor.of(person))


def graded(assignment, person, points="7", **fields):
    values = {"released": False, "actor": SYSTEM} | fields
    return record_score(assignment, person, points=Decimal(points), **values)


def cell(assignment, key, person):
    return GradebookCellFactory(
        assignment=assignment,
        person=person,
        installation=key.installation,
        lti_key=key,
        resource_link__lms_course__context_id=f"of-{person.id}",
    )


def save(visitor, assignment, person, points, *, htmx=True, **fields):
    score = Score.objects.filter(assignment=assignment, person=person).first()
    data = {"points": points, "comment": "", "version": str(score.version if score else 0)} | fields
    return visitor.post("launch-score", assignment.id, person.id, htmx=htmx, **data)


def counts_in(response):
    html = response.content.decode()
    pairs = re.findall(r"<dt>([^<]+)</dt><dd>(\d+)</dd>", html)
    return {name: int(number) for name, number in pairs}


def names_in(response):
    return re.findall(r'<th scope="row">\s*<a [^>]*>([^<]+)</a>', response.content.decode())


def test_counts_and_rows(key, assignment):
    visitor = teacher(key, assignment)
    opened, submitted, done, lost = (
        enrolled(assignment, key, name=name, family_name=name) for name in ("Allen", "Berners", "Cerf", "Dijkstra")
    )
    open_assignment(assignment, opened, Actor.of(opened))
    handed_in(assignment, submitted)
    handed_in(assignment, done)
    graded(assignment, done, released=True)
    cell(assignment, key, lost)
    graded(assignment, lost, released=True)
    Delivery.objects.filter(source_id=lost.scores.get().id).update(state="failed", last_error="The column is gone.")
    enrolled(assignment, key, name="Zuse")
    response = visitor.get("launch")
    assert counts_in(response) == {
        "Students": 5, "Opened": 3, "Submitted": 2, "To grade": 1, "Not released": 0, "Released": 2, "Failed": 1,
    }  # fmt: skip
    assert names_in(response) == ["Allen", "Berners", "Cerf", "Dijkstra", "Zuse"]
    assert "The column is gone." in text_of(response)
    assert names_in(visitor.get("launch", filter="to_grade")) == ["Berners"]
    assert names_in(visitor.get("launch", filter="not_submitted")) == ["Allen", "Dijkstra", "Zuse"]
    assert names_in(visitor.get("launch", filter="failed")) == ["Dijkstra"]
    assert names_in(visitor.get("launch", filter="nonsense")) == names_in(response)
    assert names_in(visitor.get("launch", q="ERN")) == ["Berners"]
    assert "Nobody found" in text_of(visitor.get("launch", q="nobody\x00"))


def test_a_student_of_several_courses_is_one_row(key, assignment):
    person = enrolled(assignment, key)
    for _ in range(3):
        other = AssignmentFactory(course__organization=assignment.course.organization)
        EnrolmentFactory(course=other.course, person=person)
        handed_in(other, person)
        graded(other, person)
    response = teacher(key, assignment).get("launch")
    assert names_in(response) == ["Grace Hopper"]
    assert counts_in(response)["Students"] == 1
    assert counts_in(response)["Submitted"] == 0
    assert counts_in(response)["Not released"] == 0


def test_test_users_are_marked_and_not_counted(key, assignment):
    person = enrolled(assignment, key)
    LmsAccount.objects.update(is_test_user=True)
    response = teacher(key, assignment).get("launch")
    assert names_in(response) == ["Grace Hopper"]
    assert "test user" in text_of(response)
    assert counts_in(response)["Students"] == 0
    assert person.accounts.get().is_test_user


def test_whoever_left_stays_only_with_work(key, assignment):
    idle = enrolled(assignment, key, name="Idle")
    busy = enrolled(assignment, key, name="Busy")
    handed_in(assignment, busy)
    Enrolment.objects.filter(person__in=[idle, busy]).update(state="gone")
    assert names_in(teacher(key, assignment).get("launch")) == ["Busy"]


def test_nobody_yet(key, assignment):
    assert "No student has been here yet" in text_of(teacher(key, assignment).get("launch"))


def test_pages_of_fifty(key, assignment):
    for number in range(53):
        enrolled(assignment, key, name=f"Person {number:02}")
    visitor = teacher(key, assignment)
    assert len(names_in(visitor.get("launch"))) == 50
    assert names_in(visitor.get("launch", page="2")) == ["Person 50", "Person 51", "Person 52"]
    assert len(names_in(visitor.get("launch", page="999"))) == 3


@pytest.mark.parametrize("people", [10, 200])
def test_statements_do_not_grow_with_people(key, assignment, people, django_assert_max_num_queries):
    visitor = teacher(key, assignment)
    for number in range(people):
        person = enrolled(assignment, key, name=f"Person {number:03}")
        handed_in(assignment, person)
        cell(assignment, key, person)
        graded(assignment, person, released=True)
    with django_assert_max_num_queries(10):
        visitor.get("launch")
    with django_assert_max_num_queries(6):
        visitor.get("launch-table-csv", assignment.id)
    with django_assert_max_num_queries(10):
        visitor.get("launch-person", assignment.id, person.id)


@pytest.mark.parametrize(
    ("typed", "points"), [("7.5", "7.5"), ("7,5", "7.5"), (" 10 ", "10"), ("0", "0"), ("12", "12")]
)
def test_a_row_is_saved_in_place(key, assignment, typed, points):
    person = enrolled(assignment, key)
    handed_in(assignment, person)
    visitor = teacher(key, assignment)
    response = save(visitor, assignment, person, typed, comment="Well done")
    assert response.status_code == 200
    assert response.content.decode().lstrip().startswith("<tr")
    assert "Saved" in text_of(response)
    assert 'id="counts"' in response.content.decode()
    score = Score.objects.get()
    assert (score.points, score.comment, score.graded, score.released) == (Decimal(points), "Well done", True, False)
    event = Event.objects.get(type="score.changed")
    assert event.actor["id"] == str(visitor.person.id)


def test_more_than_the_maximum_is_said(key, assignment):
    person = enrolled(assignment, key)
    assert "More than the maximum" in text_of(save(teacher(key, assignment), assignment, person, "11"))


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("-1", "cannot be below 0"),
        ("", "Give the points"),
        ("abc", "Give a number"),
        ("1.234", "at most 2 decimals"),
        ("1e3", "Give a number"),
        ("NaN", "Give a number"),
        ("99999999", "below 10 million"),
        ("1\x00", ""),
    ],
)
def test_what_is_no_score_is_said_in_the_row_and_stays_typed(key, assignment, typed, words):
    person = enrolled(assignment, key)
    response = save(teacher(key, assignment), assignment, person, typed, comment="precious words")
    assert response.status_code == 422
    assert words in text_of(response)
    assert "precious words" in response.content.decode()
    assert not Score.objects.exists()


def test_the_same_again_makes_no_new_version(key, assignment):
    person = enrolled(assignment, key)
    visitor = teacher(key, assignment)
    save(visitor, assignment, person, "7", comment="ok")
    save(visitor, assignment, person, "7,00", comment="ok")
    assert Score.objects.get().version == 1


def test_two_teachers_do_not_overwrite_each_other_unseen(key, assignment):
    person = enrolled(assignment, key)
    first = teacher(key, assignment)
    second = teacher(key, assignment, user_id="teacher-2")
    save(first, assignment, person, "7")
    response = save(second, assignment, person, "3", version="0")
    assert response.status_code == 422
    assert "it is now 7" in text_of(response)
    assert Score.objects.get().points == 7
    assert save(second, assignment, person, "3").status_code == 200


def test_extra_credit_of_the_api_survives_grading(key, assignment):
    person = enrolled(assignment, key)
    graded(assignment, person, extra_credit=Decimal(2))
    save(teacher(key, assignment), assignment, person, "9")
    assert (Score.objects.get().points, Score.objects.get().extra_credit) == (9, 2)


def test_a_released_score_stays_released_when_changed(key, assignment):
    person = enrolled(assignment, key)
    graded(assignment, person, released=True)
    save(teacher(key, assignment), assignment, person, "9")
    assert Score.objects.get().released


def test_the_grading_view(key, assignment):
    person = enrolled(assignment, key)
    handed_in(assignment, person, "My long answer", "https://docs.example/1")
    radia = enrolled(assignment, key, name="Radia", family_name="Z")
    open_assignment(assignment, radia, Actor.of(radia))
    visitor = teacher(key, assignment)
    response = visitor.get("launch-person", assignment.id, person.id)
    text = text_of(response)
    assert "My long answer" in text
    assert "https://docs.example/1" in text
    assert "1 of 2" in text
    assert "Save and release" in text


def test_save_and_release(key, assignment):
    person = enrolled(assignment, key)
    cell(assignment, key, person)
    visitor = teacher(key, assignment)
    response = save(visitor, assignment, person, "8", htmx=False, then="release")
    assert response.status_code == 302
    assert "Saved, and released" in text_of(visitor.client.get(response["Location"]))
    assert Score.objects.get().released
    assert Delivery.objects.get().state == "pending"


def test_save_and_next_walks_through_those_to_grade(key, assignment):
    people = [enrolled(assignment, key, name=name, family_name=name) for name in "ABC"]
    for person in (people[0], people[2]):
        handed_in(assignment, person)
    visitor = teacher(key, assignment)
    data = {"points": "5", "comment": "", "version": "0", "then": "next"}
    response = visitor.post("launch-score", assignment.id, people[0].id, query="?filter=to_grade", **data)
    assert str(people[2].id) in response["Location"]
    response = visitor.post("launch-score", assignment.id, people[2].id, query="?filter=to_grade", **data)
    assert "last one" in text_of(visitor.client.get(response["Location"]))


def test_an_error_in_the_grading_view_keeps_what_was_typed(key, assignment):
    person = enrolled(assignment, key)
    response = save(teacher(key, assignment), assignment, person, "much", htmx=False, comment="precious words")
    assert response.status_code == 422
    assert "precious words" in response.content.decode()
    assert 'value="much"' in response.content.decode()


def test_release_selected_and_all(key, assignment):
    people = [enrolled(assignment, key, name=name) for name in "ABCD"]
    for person in people:
        graded(assignment, person)
    visitor = teacher(key, assignment)
    response = visitor.post("launch-release", assignment.id, person=[str(people[0].id), str(people[1].id), "nonsense"])
    assert "2 scores released" in text_of(visitor.client.get(response["Location"]))
    assert set(Score.objects.filter(released=True).values_list("person_id", flat=True)) == {people[0].id, people[1].id}
    visitor.post("launch-release", assignment.id, everyone="1")
    assert not Score.objects.filter(released=False).exists()


def test_releasing_nobody_releases_nobody(key, assignment):
    graded(assignment, enrolled(assignment, key))
    visitor = teacher(key, assignment)
    foreign = AssignmentFactory(course__organization=assignment.course.organization)
    stranger = enrolled(foreign, key, name="Stranger")
    graded(foreign, stranger)
    for people in ([], [str(stranger.id)], ["nonsense"]):
        visitor.post("launch-release", assignment.id, person=people)
    assert not Score.objects.filter(released=True).exists()


def failed_delivery(assignment, key, name):
    person = enrolled(assignment, key, name=name)
    cell(assignment, key, person)
    score = graded(assignment, person, released=True)
    Delivery.objects.filter(source_id=score.id).update(state="failed", due_at=None, last_error="Gone.")
    return Delivery.objects.get(source_id=score.id)


def test_send_one_again(key, assignment):
    delivery, other = failed_delivery(assignment, key, "A"), failed_delivery(assignment, key, "B")
    visitor = teacher(key, assignment)
    response = visitor.post("launch-send-again", assignment.id, htmx=True, delivery=str(delivery.id))
    assert "next try is due now" in text_of(response)
    assert "hx-get" in response.content.decode()
    delivery.refresh_from_db()
    other.refresh_from_db()
    assert (delivery.state, other.state) == ("pending", "failed")


def test_send_all_failed_again(key, assignment):
    failed_delivery(assignment, key, "A")
    failed_delivery(assignment, key, "B")
    elsewhere = failed_delivery(AssignmentFactory(course=assignment.course), key, "C")
    visitor = teacher(key, assignment)
    response = visitor.post("launch-send-again", assignment.id)
    assert "2 grades on the way again" in text_of(visitor.client.get(response["Location"]))
    elsewhere.refresh_from_db()
    assert elsewhere.state == "failed"
    assert Delivery.objects.filter(state="pending").count() == 2


def test_only_deliveries_of_this_assignment_are_sent(key, assignment):
    elsewhere = failed_delivery(AssignmentFactory(course=assignment.course), key, "C")
    visitor = teacher(key, assignment)
    for name in (str(elsewhere.id), "nonsense", str(assignment.id)):
        assert visitor.post("launch-send-again", assignment.id, delivery=name).status_code == 404
    elsewhere.refresh_from_db()
    assert elsewhere.state == "failed"


def test_the_table_watches_what_is_under_way(key, assignment):
    person = enrolled(assignment, key)
    cell(assignment, key, person)
    graded(assignment, person, released=True)
    visitor = teacher(key, assignment)
    assert visitor.url("launch-passages", assignment.id) in visitor.get("launch").content.decode()
    watching = visitor.get("launch-passages", assignment.id, htmx=True, asked="1")
    assert "hx-get" in watching.content.decode()
    Delivery.objects.update(state="delivered", delivered_at=timezone.now(), due_at=None)
    done = visitor.get("launch-passages", assignment.id, htmx=True, asked="2")
    assert "In the LMS since" in text_of(done)
    assert "hx-get" not in done.content.decode()
    assert "hx-get" not in visitor.get("launch-passages", assignment.id, htmx=True, asked="40").content.decode()


def test_the_grading_view_follows_its_student_and_nobody_else(key, assignment):
    people = [enrolled(assignment, key, name=name) for name in ("Grace Hopper", "Other Student")]
    for person in people:
        cell(assignment, key, person)
        graded(assignment, person)
    one, other = people
    visitor = teacher(key, assignment)
    assert "hx-get" not in visitor.get("launch-person", assignment.id, one.id).content.decode()
    saved = visitor.post("launch-score", assignment.id, one.id, points="8", comment="", version="1", then="release")
    page = visitor.client.get(saved["Location"]).content.decode()
    assert visitor.url("launch-passages", assignment.id) in page
    assert f'"person": "{one.id}"' in page
    watching = visitor.get("launch-passages", assignment.id, htmx=True, asked="1", person=str(one.id)).content.decode()
    assert f'id="passage-{one.id}"' in watching
    assert str(other.id) not in watching
    assert f'"person": "{one.id}"' in watching
    Delivery.objects.update(state="delivered", delivered_at=timezone.now(), due_at=None)
    done = visitor.get("launch-passages", assignment.id, htmx=True, asked="2", person=str(one.id))
    assert "In the LMS since" in text_of(done)
    assert "hx-get" not in done.content.decode()
    # From here a grade that has arrived can be sent again, and is followed again.
    assert 'name="from" value="person"' in done.content.decode()
    delivery = Delivery.objects.get(source_id=Score.objects.get(person=one).pk)
    fields = {"delivery": str(delivery.id), "from": "person"}
    again = visitor.post("launch-send-again", assignment.id, htmx=True, **fields)
    assert f'"person": "{one.id}"' in again.content.decode()


def test_the_grading_view_of_a_stranger_is_not_followed(key, assignment):
    visitor = teacher(key, assignment)
    stranger = PersonFactory(organization=assignment.course.organization)
    for named in (str(stranger.id), "nonsense"):
        assert visitor.get("launch-passages", assignment.id, htmx=True, person=named).status_code == 404


def rows_of(response):
    assert response.content.startswith(b"\xef\xbb\xbf")
    return list(csv.reader(io.StringIO(response.content.decode("utf-8-sig"))))


def test_csv(key, assignment):
    person = enrolled(assignment, key, name="Jürgen Müller", email="z@example.edu")
    cell(assignment, key, person)
    handed_in(assignment, person)
    graded(assignment, person, "7.5", comment="=HYPERLINK(1)", released=True)
    enrolled(assignment, key, name="@SUM(A1)", family_name="zz")
    response = teacher(key, assignment).get("launch-table-csv", assignment.id)
    head, first, second = rows_of(response)
    assert head[0] == "Name"
    assert first[0] == "Jürgen Müller"
    assert first[4:8] == ["7.50", "10.00", "'=HYPERLINK(1)", "yes"]
    assert first[8].startswith("On its way")
    assert second[0] == "'@SUM(A1)"
    assert response["Content-Disposition"].startswith("attachment")


def test_a_mentor_sees_and_changes_nothing(key, assignment):
    person = enrolled(assignment, key)
    cell(assignment, key, person)
    handed_in(assignment, person)
    score = graded(assignment, person, released=False, comment="Hmm")
    visitor = mentor(key, assignment)
    for response in (visitor.get("launch"), visitor.get("launch-person", assignment.id, person.id)):
        assert response.status_code == 200
        assert "Grace Hopper" in text_of(response)
        assert 'method="post"' not in response.content.decode()
    assert "as a mentor" in text_of(visitor.get("launch"))
    assert save(visitor, assignment, person, "1").status_code == 404
    for name in ("launch-release", "launch-send-again"):
        assert visitor.post(name, assignment.id, everyone="1").status_code == 404
    fresh = Score.objects.get()
    assert (fresh.version, fresh.released) == (score.version, False)


def test_a_mentor_with_named_learners_sees_those_alone(key, assignment):
    mine = enrolled(assignment, key, name="Mine", lms_user_id="u1")
    other = enrolled(assignment, key, name="Other", lms_user_id="u2")
    for person in (mine, other):
        handed_in(assignment, person)
    visitor = mentor(key, assignment, "u1", "u99")
    response = visitor.get("launch")
    assert names_in(response) == ["Mine"]
    assert counts_in(response)["Submitted"] == 1
    assert visitor.get("launch-person", assignment.id, mine.id).status_code == 200
    assert visitor.get("launch-person", assignment.id, other.id).status_code == 404
    assert [row[0] for row in rows_of(visitor.get("launch-table-csv", assignment.id))[1:]] == ["Mine"]


def test_a_mentors_learners_are_those_of_the_mentors_own_lms(key, assignment):
    person = enrolled(assignment, key, lms_user_id="x")
    elsewhere = InstallationFactory(organization=assignment.course.organization)
    LmsAccount.objects.create(installation=elsewhere, lms_user_id="u1", person=person)
    assert names_in(mentor(key, assignment, "u1").get("launch")) == []


def test_people_of_other_courses_are_not_found(key, assignment):
    visitor = teacher(key, assignment)
    other = AssignmentFactory(course__organization=assignment.course.organization)
    for person in (enrolled(other, key), PersonFactory(), visitor.person):
        assert visitor.get("launch-person", assignment.id, person.id).status_code == 404
        assert save(visitor, assignment, person, "1").status_code == 404
    assert not Score.objects.exists()


def test_another_assignments_table_is_not_found(key, assignment):
    visitor = teacher(key, assignment)
    for foreign in (AssignmentFactory(course__organization=assignment.course.organization), AssignmentFactory()):
        assert visitor.get("launch-assignment", foreign.id).status_code == 404
        assert visitor.get("launch-table-csv", foreign.id).status_code == 404
        assert visitor.post("launch-release", foreign.id, everyone="1").status_code == 404


def test_a_forged_form_changes_nothing(key, assignment):
    person = enrolled(assignment, key)
    graded(assignment, person)
    visitor = teacher(key, assignment)
    for token in ("", "forged", student(key, assignment).token):
        assert save(visitor, assignment, person, "9", token=token).status_code == 403
        assert visitor.post("launch-release", assignment.id, token=token, everyone="1").status_code == 403
        assert visitor.post("launch-send-again", assignment.id, token=token).status_code == 403
    assert (Score.objects.get().points, Score.objects.get().released) == (7, False)


def test_get_changes_nothing(key, assignment):
    visitor = teacher(key, assignment)
    for name in ("launch-release", "launch-send-again", "launch-draft", "launch-submission"):
        assert visitor.get(name, assignment.id).status_code == 405


def test_texts_from_outside_are_escaped_once(key, assignment):
    person = enrolled(assignment, key, name=ATTACK)
    handed_in(assignment, person, ATTACK, "https://docs.example/?a=1&b=%3Cscript%3E")
    cell(assignment, key, person)
    graded(assignment, person, comment=ATTACK, released=True)
    Delivery.objects.update(state="failed", last_error=ATTACK)
    visitor = teacher(key, assignment, lis_person_name_full=ATTACK, resource_link_title=ATTACK)
    for response in (
        visitor.get("launch", q=ATTACK),
        visitor.get("launch"),
        visitor.get("launch-person", assignment.id, person.id),
        visitor.get("launch-passages", assignment.id, htmx=True),
    ):
        html = response.content.decode()
        assert "<script>alert" not in html
        assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &amp;lt;b&amp;gt;" in html
        assert "&amp;lt;script" not in html


def test_enroll_only_courses_say_that_grades_stay(key, assignment):
    assignment.course.enroll_only = True
    assignment.course.save()
    assert "not passed back" in text_of(teacher(key, assignment).get("launch"))


def test_changed_after_grading_is_to_grade_again(key, assignment):
    person = enrolled(assignment, key)
    handed_in(assignment, person)
    graded(assignment, person)
    Submission.objects.update(submitted_at=timezone.now() + timedelta(minutes=1))
    visitor = teacher(key, assignment)
    assert names_in(visitor.get("launch", filter="to_grade")) == ["Grace Hopper"]
    assert "new version" in text_of(visitor.get("launch"))


def test_no_gradebook_column_is_said(key, assignment):
    person = enrolled(assignment, key)
    graded(assignment, person, released=True)
    assert not GradebookCell.objects.exists()
    assert "No gradebook column" in text_of(teacher(key, assignment).get("launch"))


def test_a_teacher_of_another_lms_course_sees_nobody_of_this_one(key, assignment):
    """An LMS lets anybody be an instructor of a sandbox, and any LMS course may hold a link to this assignment."""
    person = student(key, assignment).person
    graded(assignment, person)
    assert names_in(teacher(key, assignment).get("launch")) == ["Ada Lovelace"]
    stranger = teacher(key, assignment, user_id="sandbox-owner", context_id="sandbox", resource_link_id="elsewhere")
    assert names_in(stranger.get("launch")) == []
    assert stranger.get("launch-person", assignment.id, person.id).status_code == 404
    assert stranger.post("launch-score", assignment.id, person.id, points="10", version="1").status_code == 404
    assert "Ada" not in stranger.get("launch-table-csv", assignment.id).content.decode()
    stranger.post("launch-release", assignment.id, everyone="on")
    score = person.scores.get()
    assert (score.released, score.points) == (False, 7)


def test_nobody_grades_their_own_work(key, assignment):
    visitor = teacher(key, assignment)
    student(key, assignment, user_id="teacher-1")
    response = visitor.post("launch-score", assignment.id, visitor.person.id, points="10", version="0", htmx=True)
    assert response.status_code == 422
    assert "You cannot grade your own work." in text_of(response)
    assert not visitor.person.scores.exists()
