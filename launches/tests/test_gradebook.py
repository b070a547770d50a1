"""The gradebook: who and what stands in it, what it lets do, how it follows grades; and a student's own row."""

import csv
import io
import re
from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from courses.models import Assignment, Course, Enrolment, LmsCourse, Module, ResourceLink
from courses.submissions import open_assignment, submit
from events.log import SYSTEM, Actor
from events.models import Delivery
from grades.models import GradebookCell, Score
from grades.scores import record_score
from launches.gradebook_watching import as_text, columns_as_text, columns_in, rows_in
from organizations.models import LmsAccount, Membership
from tests.factories import (
    AssignmentFactory,
    EnrolmentFactory,
    GradebookCellFactory,
    MembershipFactory,
    PersonFactory,
    UserFactory,
)
from tests.visiting import came_from_the_course, mentor, student, teacher, text_of

pytestmark = pytest.mark.django_db

ATTACK = "<script>alert(1)</script> & &lt;b&gt;"
DASH = "\N{EN DASH}"
GONE = "The student is not enrolled there any more."


@pytest.fixture
def course(assignment):
    return assignment.course


@pytest.fixture
def lab(assignment):
    return AssignmentFactory(course=assignment.course, title="Lab", points_possible=20, position=1)


def enrolled(course, key, name="Grace Hopper", **fields):
    state = fields.pop("state", "active")
    person = PersonFactory(organization=course.organization, name=name, **fields)
    EnrolmentFactory(course=course, person=person, state=state)
    came_from_the_course(key, person)
    LmsAccount.objects.create(installation=key.installation, lms_user_id=f"lms-{person.pk}", person=person)
    return person


def graded(assignment, key, person, points="7", *, has_cell=True, state="", error="", **fields):
    """A score with a column in the LMS, whose delivery stands as it is told to."""
    if has_cell:
        GradebookCellFactory(assignment=assignment, person=person, installation=key.installation, lti_key=key)
    score = record_score(assignment, person, points=Decimal(points), **{"actor": SYSTEM} | fields)
    if state:
        changes = {"state": state, "due_at": None, "last_error": error, "attempts": 1}
        changes |= {"delivered_at": timezone.now()} if state == "delivered" else {}
        Delivery.objects.filter(source_id=score.pk).update(**changes)
    return score


def handed_in(assignment, person):
    submit(open_assignment(assignment, person, Actor.of(person)), "Work", "", Actor.of(person))


def member_of(course, role=Membership.Role.TEACHER):
    user = MembershipFactory(organization=course.organization, user=UserFactory(name="Mary"), role=role).user
    return signed_in(user)


def signed_in(user):
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def url(page, course, *more):
    return reverse(f"course-gradebook{page}", args=[course.pk, *more])


def table_of(response):
    """The words of each cell, by row; the first is the head."""
    html = response.content.decode()
    found = re.search(r"(?s)<table data-arrows>(.*?)</table>", html)
    if found is None:
        return []
    rows = re.findall(r"(?s)<tr>(.*?)</tr>", found[1])
    strip = lambda cell: " ".join(re.sub(r"<[^>]*>", " ", cell).split())  # noqa: E731
    return [[strip(cell) for cell in re.findall(r"(?s)<t[hd][ >](?:[^>]*>)?(.*?)</t[hd]>", row)] for row in rows]


def names_in(response):
    return [row[0] for row in table_of(response)[1:]]


def counts_in(response):
    return {
        name: int(number) for name, number in re.findall(r"<dt>([^<]+)</dt><dd>(\d+)</dd>", response.content.decode())
    }


def watched(response):
    """The address that the page asks for changes; "" where it asks no more."""
    found = re.search(r'id="watch"[^>]* hx-get="([^"]+)"', response.content.decode())
    return found[1].replace("&amp;", "&") if found else ""


# What stands in it


def test_a_cell_says_score_and_passage_in_words(key, assignment, lab):
    course = assignment.course
    people = {name: enrolled(course, key, name) for name in ("Ann", "Bob", "Cem", "Dan", "Eva", "Fay", "Gil")}
    graded(assignment, key, people["Ann"], "7.50", state="delivered")
    graded(assignment, key, people["Bob"], state="failed", error=GONE)
    graded(assignment, key, people["Cem"])
    Delivery.objects.filter(source_id__in=people["Cem"].scores.values("pk")).update(
        last_error="The LMS answered 503.", last_error_code="http_503", due_at=timezone.now() + timedelta(hours=1)
    )
    graded(assignment, key, people["Dan"])
    graded(assignment, key, people["Eva"], released=False)
    graded(assignment, key, people["Fay"], has_cell=False)
    handed_in(lab, people["Gil"])
    response = teacher(key, assignment).get("launch-course-gradebook")
    head, *rows = table_of(response)
    assert head == ["Student", "Essay of 10", "Lab of 20"]
    cells = {row[0]: row[1:] for row in rows}
    assert re.fullmatch(r"7\.5 in the LMS since \d+ \w+ \d+, \d\d:\d\d UTC", cells["Ann"][0])
    assert cells["Bob"][0] == f"7 failed Not in the LMS: {GONE}"
    assert re.match(r"7 Waits: The LMS answered 503\. Next try next try \d", cells["Cem"][0])
    assert cells["Dan"][0] == "7 on its way On its way to the LMS."
    assert cells["Eva"][0] == "7 not released"
    assert cells["Fay"][0].startswith("7 no column No gradebook column")
    assert cells["Gil"] == [f"{DASH} no score", f"{DASH} no score to grade"]
    assert counts_in(response) == {"Students": 7, "Not released": 1, "On their way": 2, "Failed": 1}


def test_of_several_columns_in_lmss_the_failed_one_is_told(key, assignment):
    person = enrolled(assignment.course, key)
    GradebookCellFactory(
        assignment=assignment, person=person, installation=key.installation, resource_link__lms_course__title="Other"
    )
    graded(assignment, key, person, state="delivered")
    lost = Delivery.objects.order_by("pk").first()
    Delivery.objects.filter(pk=lost.pk).update(state="failed", last_error=GONE)
    cell = table_of(teacher(key, assignment).get("launch-course-gradebook"))[1][1]
    assert "failed" in cell
    assert GONE in cell
    assert "In the LMS since" in cell


def test_people_of_the_roster_appear_and_whoever_left_is_marked(key, assignment):
    course = assignment.course
    enrolled(course, key, "Never Launched")
    gone = enrolled(course, key, "Was Here", state="gone")
    enrolled(course, key, "Left Early", state="gone")
    graded(assignment, key, gone)
    EnrolmentFactory(course=course, role=Enrolment.Role.TEACHER)
    response = teacher(key, assignment).get("launch-course-gradebook")
    assert names_in(response) == ["Never Launched", "Was Here gone"]
    assert counts_in(response)["Students"] == 1


def test_test_users_are_marked_and_not_counted(key, assignment):
    enrolled(assignment.course, key)
    LmsAccount.objects.update(is_test_user=True)
    response = teacher(key, assignment).get("launch-course-gradebook")
    assert names_in(response) == ["Grace Hopper test user"]
    assert counts_in(response)["Students"] == 0


def test_filters_and_search(key, assignment, lab):
    course = assignment.course
    ann, bob, cem = (enrolled(course, key, name, email=f"{name}@x.example") for name in ("Ann", "Bob", "Cem"))
    graded(assignment, key, ann, state="failed", error=GONE)
    graded(lab, key, bob, released=False)
    graded(lab, key, cem, state="delivered")
    visitor = teacher(key, assignment)
    failed = visitor.get("launch-course-gradebook", filter="failed")
    assert table_of(failed) == [["Student", "Essay of 10"], ["Ann", f"7 Not in the LMS: {GONE}"]]
    assert table_of(visitor.get("launch-course-gradebook", filter="unreleased")) == [
        ["Student", "Lab of 20"],
        ["Bob", "7 not released"],
    ]
    assert names_in(visitor.get("launch-course-gradebook", q="cem@X")) == ["Cem"]
    assert "Nobody found for “zz”" in text_of(visitor.get("launch-course-gradebook", q="zz\x00"))
    assert names_in(visitor.get("launch-course-gradebook", filter="nonsense")) == ["Ann", "Bob", "Cem"]
    Delivery.objects.update(state="delivered", delivered_at=timezone.now())
    assert "No grade has failed" in text_of(visitor.get("launch-course-gradebook", filter="failed"))


def test_a_failure_that_a_newer_score_replaced_is_over(key, assignment):
    person = enrolled(assignment.course, key)
    graded(assignment, key, person, state="failed", error=GONE)
    record_score(assignment, person, points=Decimal(8), actor=SYSTEM)
    response = teacher(key, assignment).get("launch-course-gradebook", filter="failed")
    assert names_in(response) == []
    assert counts_in(response)["Failed"] == 0


def test_empty_states(key, assignment):
    visitor = teacher(key, assignment)
    assert "No student has been here yet" in text_of(visitor.get("launch-course-gradebook"))
    client = member_of(assignment.course)
    Assignment.objects.all().delete()
    assert "No assignments yet" in text_of(client.get(url("", assignment.course)))


def test_a_course_that_only_enrolls_says_that_grades_stay(key, assignment):
    Course.objects.update(enroll_only=True)
    graded(assignment, key, enrolled(assignment.course, key), has_cell=False)
    response = teacher(key, assignment).get("launch-course-gradebook")
    assert "not passed back to your LMS" in text_of(response)
    assert table_of(response)[1][1] == "7"
    assert "Failed" not in text_of(response)


def test_it_is_found_from_the_course_and_leads_on(key, assignment):
    person = enrolled(assignment.course, key)
    visitor = teacher(key, assignment)
    address = visitor.url("launch-course-gradebook")
    assert f'href="{address}">Gradebook</a>' in visitor.get("launch").content.decode()
    html = visitor.get("launch-course-gradebook").content.decode()
    for name, *more in (
        ("launch-assignment", assignment.pk),
        ("launch-person", assignment.pk, person.pk),
        ("launch-course-gradebook-person", person.pk),
    ):
        assert f'href="{visitor.url(name, *more)}"' in html
    assert 'aria-current="page"' in html


def test_pages_of_people_and_parts_of_assignments(key, assignment):
    course = assignment.course
    for number in range(52):
        enrolled(course, key, f"Person {number:02}")
    for number in range(51):
        AssignmentFactory(course=course, title=f"Task {number}", position=number + 1)
    visitor = teacher(key, assignment)
    first = visitor.get("launch-course-gradebook")
    assert len(names_in(first)) == 50
    assert len(table_of(first)[0]) == 51
    last = visitor.get("launch-course-gradebook", page="2", part="2")
    assert names_in(last) == ["Person 50", "Person 51"]
    assert table_of(last)[0] == ["Student", "Task 49 of 10", "Task 50 of 10"]


def test_texts_from_outside_are_escaped_once(key, assignment):
    person = enrolled(assignment.course, key, ATTACK)
    graded(assignment, key, person, comment=ATTACK, state="failed", error=ATTACK)
    Assignment.objects.update(title=ATTACK)
    visitor = teacher(key, assignment)
    for response in (
        visitor.get("launch-course-gradebook", q=ATTACK),
        visitor.get("launch-course-gradebook"),
        visitor.get("launch-course-gradebook", filter="failed"),
        visitor.get("launch-course-gradebook-person", person.pk),
    ):
        html = response.content.decode()
        assert "<script>alert" not in html
        assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &amp;lt;b&amp;gt;" in html
        assert "&amp;lt;script" not in html


# Who sees whom


def test_members_see_everybody_and_a_visit_its_own_lms_course(key, assignment):
    enrolled(assignment.course, key, "Ours")
    EnrolmentFactory(course=assignment.course, person__name="Theirs")
    assert names_in(teacher(key, assignment).get("launch-course-gradebook")) == ["Ours"]
    for role in Membership.Role:
        response = member_of(assignment.course, role).get(url("", assignment.course))
        assert names_in(response) == ["Ours", "Theirs"]
        assert "/launches/" not in response.content.decode()


def test_a_teacher_of_another_lms_course_sees_and_does_nothing(key, assignment):
    person = enrolled(assignment.course, key)
    graded(assignment, key, person, released=False)
    stranger = teacher(key, assignment, user_id="sandbox-owner", context_id="sandbox", resource_link_id="elsewhere")
    assert names_in(stranger.get("launch-course-gradebook")) == []
    assert stranger.get("launch-course-gradebook-person", person.pk).status_code == 404
    assert "Grace" not in stranger.get("launch-course-gradebook-csv").content.decode()
    for data in ({"everyone": "1"}, {"person": str(person.pk)}):
        stranger.post("launch-course-gradebook-release", **data)
    assert not Score.objects.get().released
    text = as_text([row_under_way(person.pk)])
    columns = columns_as_text([assignment], [assignment])
    answer = stranger.get("launch-course-gradebook-changes", rows=text, columns=columns)
    assert str(person.pk) not in answer.content.decode()


def test_a_mentor_sees_the_named_ones_and_changes_nothing(key, assignment):
    mine, other = enrolled(assignment.course, key, "Mine"), enrolled(assignment.course, key, "Other")
    for person in (mine, other):
        graded(assignment, key, person, released=False)
    visitor = mentor(key, assignment, f"lms-{mine.pk}")
    response = visitor.get("launch-course-gradebook")
    assert names_in(response) == ["Mine"]
    assert "as a mentor" in text_of(response)
    assert visitor.get("launch-course-gradebook-person", other.pk).status_code == 404
    for page in (response, visitor.get("launch-course-gradebook-person", mine.pk)):
        assert 'method="post"' not in page.content.decode()
        assert 'type="checkbox"' not in page.content.decode()
    for name in ("release", "send-again"):
        assert visitor.post(f"launch-course-gradebook-{name}", everyone="1").status_code == 404
    assert not Score.objects.filter(released=True).exists()


def test_people_and_courses_of_others_are_not_found(key, assignment):
    client = member_of(assignment.course)
    elsewhere = EnrolmentFactory()
    same = EnrolmentFactory(course=AssignmentFactory(course__organization=assignment.course.organization).course)
    for person in (elsewhere.person, same.person):
        assert client.get(url("-person", assignment.course, person.pk)).status_code == 404
    assert client.get(url("", elsewhere.course)).status_code == 404


# What it lets do


@pytest.fixture(params=["frame", "signed in"])
def actor(request, key, assignment):
    """A teacher in the frame, or a member: posts to and gets pages of the gradebook."""
    if request.param == "frame":
        visitor = teacher(key, assignment)
        return SimpleNamespace(
            get=lambda page="", *more, **query: visitor.get(f"launch-course-gradebook{page}", *more, **query),
            post=lambda page, query="", **data: visitor.post(f"launch-course-gradebook{page}", query=query, **data),
            follow=lambda response: visitor.client.get(response["Location"]),
        )
    client = member_of(assignment.course)
    return SimpleNamespace(
        get=lambda page="", *more, **query: client.get(url(page, assignment.course, *more), query),
        post=lambda page, query="", **data: client.post(url(page, assignment.course) + query, data),
        follow=lambda response: client.get(response["Location"]),
    )


def test_release_some_and_all(actor, key, assignment, lab):
    people = [enrolled(assignment.course, key, name) for name in "ABC"]
    for person in people:
        for one in (assignment, lab):
            graded(one, key, person, released=False)
    response = actor.post("-release", "?filter=unreleased&page=1", person=[str(people[0].pk), "nonsense"])
    assert "filter=unreleased" in response["Location"]
    assert "2 scores released" in text_of(actor.follow(response))
    assert set(Score.objects.filter(released=True).values_list("person", flat=True)) == {people[0].pk}
    page = actor.get()
    assert "Release all scores of this course that are not released yet: 4 in all assignments" in text_of(page)
    assert "4 scores released" in text_of(actor.follow(actor.post("-release", everyone="1")))
    assert not Score.objects.filter(released=False).exists()
    assert Delivery.objects.filter(state="pending").count() == 6
    assert "Nothing to release" in text_of(actor.follow(actor.post("-release", everyone="1")))
    assert "Release all" not in text_of(actor.get())


def test_nobody_ticked_releases_and_sends_nothing(actor, key, assignment):
    other = enrolled(AssignmentFactory(course__organization=assignment.course.organization).course, key, "Elsewhere")
    person = enrolled(assignment.course, key)
    graded(assignment, key, person, released=False)
    graded(assignment, key, enrolled(assignment.course, key, "B"), state="failed", error=GONE)
    for people in ([], [str(other.pk)], ["nonsense"]):
        actor.post("-release", person=people)
        actor.post("-send-again", person=people)
    assert not person.scores.get().released
    assert Delivery.objects.get().state == "failed"


def test_send_some_and_all_failed_again(actor, key, assignment, lab):
    people = [enrolled(assignment.course, key, name) for name in "ABC"]
    for person in people:
        graded(assignment, key, person, state="failed", error=GONE)
        graded(lab, key, person, state="delivered")
    assert "1 grade on the way again" in text_of(actor.follow(actor.post("-send-again", person=str(people[0].pk))))
    assert Delivery.objects.get(state="pending").source_id == people[0].scores.get(assignment=assignment).pk
    assert "Send all grades of this course again that failed: 2" in text_of(actor.get())
    assert "2 grades on the way again" in text_of(actor.follow(actor.post("-send-again", everyone="1")))
    assert (Delivery.objects.filter(state="pending").count(), Delivery.objects.filter(state="delivered").count()) == (
        3,
        3,
    )
    assert "Nothing to send again" in text_of(actor.follow(actor.post("-send-again", everyone="1")))


def test_what_failed_of_one_person_is_sent_from_their_page(actor, key, assignment, lab):
    person, other = enrolled(assignment.course, key), enrolled(assignment.course, key, "Other")
    for one in (person, other):
        graded(assignment, key, one, state="failed", error=GONE)
    page = actor.get("-person", person.pk)
    assert "Send what failed again (1)" in text_of(page)
    response = actor.post("-send-again", **{"person": str(person.pk), "from": "person"})
    assert str(person.pk) in response["Location"]
    assert "1 grade on the way again" in text_of(actor.follow(response))
    assert Delivery.objects.get(state="failed").source_id == other.scores.get().pk


def test_forged_forms_and_reading_change_nothing(key, assignment):
    graded(assignment, key, enrolled(assignment.course, key), released=False)
    visitor = teacher(key, assignment)
    for name in ("release", "send-again"):
        for token in ("", "forged", student(key, assignment).token):
            page = f"launch-course-gradebook-{name}"
            assert visitor.post(page, token=token, everyone="1").status_code == 403
        assert visitor.get(f"launch-course-gradebook-{name}").status_code == 405
    assert not Score.objects.filter(released=True).exists()


def test_csv(actor, key, assignment, lab):
    course = assignment.course
    ann = enrolled(course, key, "=HYPERLINK(1)", email="ann@example.edu")
    graded(assignment, key, ann, "7.5", state="delivered")
    graded(lab, key, ann, released=False)
    enrolled(course, key, "Zoe")
    Assignment.objects.filter(pk=lab.pk).update(title="+Lab")
    response = actor.get("-csv")
    assert response["Content-Disposition"].startswith(f'attachment; filename="{course.code}-gradebook-')
    assert response.content.startswith(b"\xef\xbb\xbf")
    head, first, second = csv.reader(io.StringIO(response.content.decode("utf-8-sig")))
    assert head == [
        *("Name", "E-mail", "State", "Essay (of 10)", "Essay: released", "Essay: in the LMS"),
        *("'+Lab (of 20)", "'+Lab: released", "'+Lab: in the LMS"),
    ]
    assert first[:5] == ["'=HYPERLINK(1)", "ann@example.edu", "Active", "7.50", "yes"]
    assert first[5].startswith("In the LMS since 20")
    assert first[6:] == ["7.00", "no", "Waits until it is released."]
    assert second[0] == "Zoe"
    assert set(second[3:]) == {""}
    assert len(list(csv.reader(io.StringIO(actor.get("-csv", q="zoe").content.decode())))) == 2


# One person


def test_a_person_with_history(key, assignment, lab):
    person = enrolled(assignment.course, key, email="grace@example.edu")
    handed_in(assignment, person)
    graded(assignment, key, person, "5", state="delivered", comment="Try again", actor=Actor("person", "1", "Alan"))
    record_score(assignment, person, points=Decimal(6), actor=Actor("user", "2", "Mary"), released=False)
    record_score(assignment, person, points=Decimal(9), actor=Actor("user", "2", "Mary"))
    graded(lab, key, person, released=False, has_cell=False)
    response = teacher(key, assignment).get("launch-course-gradebook-person", person.pk)
    text = text_of(response)
    assert "16 of 30 points in 2 graded" in text
    assert "grace@example.edu" in text
    assert "History (3)" in text
    history = text[text.index("History (3)") : text.index("Lab")]
    # The newest first, each with who made it and what became of it.
    assert history.index("9 of 10 , released") < history.index("6 of 10 , not released") < history.index("5 of 10")
    assert history.index("Mary") < history.index("Alan")
    assert "In the LMS since" in history
    assert re.search(r"9 of 10 , released · [^·]+ · Mary On its way to the LMS", history)


def test_a_history_is_the_persons_own(key, assignment):
    one, other = enrolled(assignment.course, key), enrolled(assignment.course, key, "Other")
    graded(assignment, key, one, "3", actor=Actor("user", "1", "Mary"))
    graded(assignment, key, other, "8", actor=Actor("user", "1", "Somebody"))
    text = text_of(teacher(key, assignment).get("launch-course-gradebook-person", one.pk))
    assert "Mary" in text
    assert "Somebody" not in text


# Live


def row_under_way(person_id, cells=1):
    return SimpleNamespace(
        person=SimpleNamespace(pk=person_id), is_under_way=True, cells=[SimpleNamespace(progress=1)] * cells
    )


def test_the_page_follows_what_is_under_way_and_no_more(key, assignment, lab):
    course = assignment.course
    moving, still = enrolled(course, key, "Moving"), enrolled(course, key, "Still")
    score = graded(assignment, key, moving)
    graded(lab, key, moving, state="delivered")
    graded(assignment, key, still, state="delivered")
    visitor = teacher(key, assignment)
    page = visitor.get("launch-course-gradebook")
    assert len(re.findall(r'id="cell-', page.content.decode())) == 1
    address = watched(page)
    unchanged = visitor.client.get(address, headers={"HX-Request": "true"})
    assert "cell" not in unchanged.content.decode().replace("{", "")
    assert "asked=2" in watched(unchanged)
    # A worker is at it; it fails once; it arrives.
    deliveries = Delivery.objects.filter(source_id=score.pk)
    seen = []
    steps = [
        {"claim": score.pk, "claimed_until": timezone.now(), "attempts": 1},
        {"claim": None, "claimed_until": None, "last_error": "The LMS answered 503.", "failures": 1},
        {"claim": score.pk, "claimed_until": timezone.now(), "attempts": 2},
        {"claim": None, "claimed_until": None, "state": "delivered", "delivered_at": timezone.now(), "due_at": None},
    ]
    for changes in steps:
        deliveries.update(**changes)
        answer = visitor.client.get(address, headers={"HX-Request": "true"})
        html = answer.content.decode()
        assert re.findall(r'id="cell-([^"]+)" hx-swap-oob="true"', html) == [f"{moving.pk}-{assignment.pk}"]
        assert 'id="counts" hx-swap-oob="true"' in html
        assert str(still.pk) not in html
        seen.append(text_of(answer))
        address = watched(answer) or address
    assert "now" in seen[0]
    assert "503" in seen[1]
    assert "in the LMS since" in seen[3]
    assert not watched(answer)


def test_the_page_gives_up_asking(key, assignment):
    graded(assignment, key, enrolled(assignment.course, key))
    visitor = teacher(key, assignment)
    address = watched(visitor.get("launch-course-gradebook"))
    assert address
    assert not watched(visitor.client.get(address.replace("asked=1", "asked=40")))
    Delivery.objects.update(state="delivered", delivered_at=timezone.now())
    assert not watched(visitor.get("launch-course-gradebook"))


def test_other_assignments_mean_another_page(key, assignment):
    graded(assignment, key, enrolled(assignment.course, key))
    visitor = teacher(key, assignment)
    address = watched(visitor.get("launch-course-gradebook"))
    AssignmentFactory(course=assignment.course)
    answer = visitor.client.get(address)
    assert "Show the gradebook anew" in text_of(answer)
    assert not watched(answer)


def test_what_is_asked_is_read_back_and_nothing_else(key, assignment, lab):
    person = enrolled(assignment.course, key)
    row = row_under_way(person.pk, cells=6)
    assert [(one.person_id, list(one.progress)[:6]) for one in rows_in(as_text([row]))] == [(person.pk, [1] * 6)]
    assert rows_in("") == []
    assert columns_in(columns_as_text([assignment, lab], [lab]), [assignment, lab]) == [lab]
    assert columns_in(columns_as_text([assignment, lab], [lab]), [assignment]) is None
    visitor = teacher(key, assignment)
    columns = columns_as_text([assignment, lab], [assignment])
    for rows in ("nonsense!", "AAAA", ".", "..", "é", as_text([row] * 51)):
        assert visitor.get("launch-course-gradebook-changes", rows=rows, columns=columns).status_code == 404
    for wrong in (f"{columns}.99", f"{columns}.x", f"{columns}.-1", f"{columns}.²", columns + ".0" * 60):
        assert visitor.get("launch-course-gradebook-changes", columns=wrong).status_code == 404


# How large it may be


def fill(key, course, people, assignments):
    """A course as large as wanted, each cell with a score on its way to the LMS."""
    lms_course, _ = LmsCourse.objects.get_or_create(installation=key.installation, context_id="context-1")
    columns = [AssignmentFactory(course=course) for _ in range(assignments)]
    Module.objects.create(course=course, name="Week 1").assignments.set(columns[:2])
    links = [ResourceLink(lms_course=lms_course, resource_link_id=f"r{n}", assignment=a) for n, a in enumerate(columns)]
    ResourceLink.objects.bulk_create(links)
    for number in range(people):
        person = enrolled(course, key, f"Person {number:03}")
        for link in links:
            GradebookCell.objects.create(
                resource_link=link, person=person, assignment=link.assignment, installation=key.installation
            )
            score = Score.objects.create(assignment=link.assignment, person=person, points=1)
            Delivery.objects.create(
                organization=course.organization,
                kind="grade",
                target_id=link.cells.get(person=person).pk,
                source_id=score.pk,
                sequence=1,
                state=["pending", "failed", "delivered"][number % 3],
                give_up_at=timezone.now(),
                delivered_at=timezone.now(),
                payload={"percentage": "0.1", "points": "1", "points_possible": "10"},
            )


@pytest.mark.parametrize(("people", "assignments"), [(3, 2), (60, 12)])
@pytest.mark.parametrize("role", ["teacher", "mentor", "member"])
def test_statements_do_not_grow(key, assignment, people, assignments, role, django_assert_max_num_queries):
    fill(key, assignment.course, people, assignments)
    if role == "member":
        client = member_of(assignment.course)
        address = url("", assignment.course)
    else:
        visitor = {"teacher": teacher, "mentor": mentor}[role](key, assignment)
        client, address = visitor.client, visitor.url("launch-course-gradebook")
    # Who signed in directly costs a session, a user and a membership, a visit one look at its launch.
    with django_assert_max_num_queries(17):
        page = client.get(address)
    assert len(names_in(page)) == min(people, 50)
    with django_assert_max_num_queries(18):
        assert names_in(client.get(address, {"filter": "failed"}))
    with django_assert_max_num_queries(10):
        assert client.get(watched(page)).status_code == 200
    with django_assert_max_num_queries(16):
        found = re.search(r'href="([^"]*gradebook/people/[^"]*)"', page.content.decode())[1]
        assert client.get(found).status_code == 200
    with django_assert_max_num_queries(11):
        assert client.get(f"{address}table.csv").content.count(b"\n") == people + 1


# A student's own row


def own_page(key, assignment, **changes):
    visitor = student(key, assignment, **changes)
    visitor.get("launch")
    return visitor


def test_a_student_sees_their_own_released_scores_alone(key, assignment, lab):
    visitor = own_page(key, assignment)
    score = record_score(assignment, visitor.person, points=Decimal("8.5"), comment="Good", actor=SYSTEM)
    record_score(lab, visitor.person, points=Decimal(3), comment="Secret", released=False, actor=SYSTEM)
    graded(assignment, key, enrolled(assignment.course, key), "1")
    response = visitor.get("launch-course-gradebook")
    text = text_of(response)
    for words in ("Your grades", "8.5 of 10", "Good", "On its way to your course's gradebook", "Lab"):
        assert words in text
    for hidden in ("Secret", "3 of 20", "Grace Hopper", "1 of 10"):
        assert hidden not in text
    assert 'hx-get="?asked=1"' in response.content.decode()
    Delivery.objects.filter(source_id=score.pk).update(state="failed", last_error=GONE)
    asked = visitor.get("launch-course-gradebook", htmx=True, asked="1")
    assert "your teacher can see what is in the way" in text_of(asked)
    assert GONE not in text_of(asked)
    assert "<html" not in asked.content.decode()
    assert "hx-get" not in asked.content.decode()
    Delivery.objects.filter(source_id=score.pk).update(state="delivered", delivered_at=timezone.now())
    assert "In your course's gradebook since" in text_of(visitor.get("launch-course-gradebook"))


def test_a_student_has_no_other_page_of_it(key, assignment):
    visitor = own_page(key, assignment)
    person = visitor.person
    graded(assignment, key, enrolled(assignment.course, key), released=False)
    assert visitor.get("launch-course-gradebook-person", person.pk).status_code == 404
    for name in ("changes", "csv"):
        assert visitor.get(f"launch-course-gradebook-{name}").status_code == 404
    for name in ("release", "send-again"):
        assert visitor.post(f"launch-course-gradebook-{name}", everyone="1").status_code == 404
    assert not Score.objects.filter(released=True).exists()


def test_a_student_who_signed_in_sees_their_own(key, assignment):
    visitor = own_page(key, assignment)
    person = visitor.person
    person.user = UserFactory()
    person.save()
    record_score(assignment, person, points=Decimal(9), actor=SYSTEM)
    graded(assignment, key, enrolled(assignment.course, key), "1")
    client = signed_in(person.user)
    response = client.get(url("", assignment.course))
    assert "9 of 10" in text_of(response)
    assert "Grace Hopper" not in text_of(response)
    assert reverse("course-own-assignment", args=[assignment.course_id, assignment.pk]) in response.content.decode()
    assert (
        f'href="{url("", assignment.course)}"'
        in client.get(reverse("course-dashboard", args=[assignment.course_id])).content.decode()
    )
    for name in ("-changes", "-csv", "-release", "-send-again"):
        assert client.get(url(name, assignment.course)).status_code == 404
    assert client.get(url("-person", assignment.course, person.pk)).status_code == 404
    assert client.get(url("", AssignmentFactory().course)).status_code == 404


def test_a_student_of_a_course_that_only_enrolls_and_one_without_grades(key, assignment):
    visitor = own_page(key, assignment)
    assert "Nothing is graded yet" in text_of(visitor.get("launch-course-gradebook"))
    Course.objects.update(enroll_only=True)
    assert "they are not sent to your course's gradebook" in text_of(visitor.get("launch-course-gradebook"))
    Assignment.objects.exclude(pk=assignment.pk).delete()
    Assignment.objects.update(enabled=False)
    Course.objects.update(hide_not_started=True)
    other = own_page(key, assignment, user_id="student-2")
    assert "Essay" in text_of(other.get("launch-course-gradebook"))
