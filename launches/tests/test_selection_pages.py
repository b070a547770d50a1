"""The picker that an LMS opens to choose content: what it shows, takes and refuses, whatever version opened it."""

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.utils import timezone

from courses.models import Enrolment, LmsCourse, Module, ResourceLink
from launches.models import Launch
from launches.selecting import LmsContext, context_from_json, selection_from_json, selection_to_json
from lti.selection import ITEM_LIMIT, Selection
from tests.choosing import CANVAS, CONTENT_ITEM, by_lti_1p1, posted
from tests.factories import AssignmentFactory, LtiKeyFactory
from tests.launching import STUDENT, TEACHER, launch
from tests.visiting import student, text_of

pytestmark = pytest.mark.django_db

ATTACK = "<script>alert(1)</script>"


def test_a_selection_is_kept_as_json():
    selection = Selection(
        kind="deep_linking",
        return_url="https://lms.example/return",
        takes_links=True,
        accept_types=("ltiResourceLink", "link"),
        document_targets=("iframe",),
        accept_multiple=True,
        accepts_line_item=False,
        data="",
    )
    kept = selection_to_json(selection, LmsContext("1", "Title", "Label"))
    Launch._meta.get_field("selection").get_prep_value(kept)
    assert selection_from_json(kept) == selection
    assert context_from_json(kept) == LmsContext("1", "Title", "Label")
    assert context_from_json(selection_to_json(selection)) == LmsContext()
    for broken in ({}, {"kind": "deep_linking"}, kept | {"kind": "other"}, kept | {"colour": "red"}):
        with pytest.raises(ValueError, match="no kept selection"):
            selection_from_json(broken)


def test_the_tree(key, assignment):
    assignment.module = Module.objects.create(course=assignment.course, name="Week 1")
    assignment.due_at = datetime(2031, 5, 4, 12, tzinfo=UTC)
    assignment.save()
    page = by_lti_1p1(key).get("launch")
    assert page.status_code == 200
    for words in ("Introduction", "Rhetoric", "Week 1", "Essay", "10 points", "4 May 2031, 12:00 UTC", "Cancel"):
        assert words in text_of(page)
    assert 'type="checkbox"' in page.content.decode()
    # The way out is the answer, not the launch's return URL.
    assert "launch-return" not in page.content.decode()
    assert "Back to course" not in text_of(
        by_lti_1p1(key, launch_presentation_return_url="https://x.org").get("launch")
    )


def test_opening_a_picker_makes_no_link_and_no_enrolment(key, assignment):
    chooser = by_lti_1p1(key, CANVAS)
    assert "Choose what to add" in text_of(chooser.get("launch"))
    assert not ResourceLink.objects.exists()
    assert not Enrolment.objects.exists()
    # Nor is it the picker of an unmapped link.
    assert chooser.post("launch-choose", assignment=str(assignment.pk)).status_code == 404


def test_only_what_may_be_chosen_is_offered_and_taken(key, assignment):
    organization = key.installation.organization
    no_lti = AssignmentFactory(course__organization=organization, course__lti_enabled=False, title="No LTI")
    archived = AssignmentFactory(course__organization=organization, course__archived=True, title="Archived")
    foreign = AssignmentFactory(title="Of somebody else")
    chooser = by_lti_1p1(key)
    text = text_of(chooser.get("launch"))
    assert "Essay" in text
    for other in (no_lti, archived, foreign):
        assert other.title not in text
        assert chooser.select(other, do="preview").status_code == 404
        assert chooser.insert(assignment, other).status_code == 404
    assert chooser.post("launch-selection-insert", item="nonsense").status_code == 404
    assert chooser.launch.answered_at is None


def test_the_course_of_the_lms_course_comes_first(key, assignment):
    AssignmentFactory(course__organization=key.installation.organization, course__name="Algebra")
    LmsCourse.objects.create(installation=key.installation, context_id="context-1", course=assignment.course)
    text = text_of(by_lti_1p1(key).get("launch"))
    assert text.index("Rhetoric") < text.index("Algebra")
    assert "opened from this LMS course" in text
    # Another LMS with the same context id is another course.
    other = LtiKeyFactory(installation__organization=key.installation.organization)
    assert "opened from this LMS course" not in text_of(by_lti_1p1(other).get("launch"))


def test_searching_keeps_what_is_chosen(key, assignment):
    other = AssignmentFactory(course__organization=key.installation.organization, title="Quiz")
    chooser = by_lti_1p1(key)
    page = chooser.select(other, q="ess rhet", do="search")
    assert page.status_code == 200
    assert "Chosen already" in text_of(page)
    html = page.content.decode()
    assert f'value="{other.pk}" checked' in html
    assert f'value="{assignment.pk}">' in html
    nothing = chooser.select(other, q="zzz", htmx=True)
    assert "Nothing found for “zzz”" in text_of(nothing)
    assert f'value="{other.pk}" checked' in nothing.content.decode()


def test_one_where_the_lms_takes_one(key, assignment):
    other = AssignmentFactory(course=assignment.course)
    chooser = by_lti_1p1(key, accept_multiple="false")
    assert 'type="radio"' in chooser.get("launch").content.decode()
    refused = chooser.select(assignment, other, do="preview")
    assert refused.status_code == 422
    assert "takes only one" in text_of(refused)
    assert chooser.insert(assignment, other).status_code == 422
    assert chooser.launch.answered_at is None
    assert posted(chooser.insert(assignment)).fields["content_items"]


def test_nothing_chosen_is_said(key, assignment):
    chooser = by_lti_1p1(key)
    for response in (chooser.select(do="preview"), chooser.insert()):
        assert response.status_code == 422
        assert "Nothing is chosen yet" in text_of(response)
    assert chooser.launch.answered_at is None


def test_more_than_fit_are_said_and_stay_chosen(key, assignment):
    many = [AssignmentFactory(course=assignment.course) for _ in range(ITEM_LIMIT)]
    chooser = by_lti_1p1(key)
    for response in (chooser.select(assignment, *many, do="preview"), chooser.insert(assignment, *many)):
        assert response.status_code == 422
        assert f"At most {ITEM_LIMIT}" in text_of(response)
        assert response.content.decode().count(" checked") == ITEM_LIMIT + 1
    assert chooser.launch.answered_at is None
    assert posted(chooser.insert(*many)).fields["content_items"].count('"LtiLinkItem"') == ITEM_LIMIT


def test_the_preview_says_what_will_be_made(key, assignment):
    assignment.due_at = datetime(2031, 5, 4, 12, tzinfo=UTC)
    assignment.save()
    course = assignment.course
    no_points = AssignmentFactory(course=course, title="Reading", points_possible=0, enabled=False)
    no_grades = AssignmentFactory(course__organization=course.organization, course__enroll_only=True)
    chooser = by_lti_1p1(key)
    text = text_of(chooser.select(assignment, no_points, no_grades, do="preview"))
    for words in (
        "Add 3 links to “Introduction”?",
        "New grade column with 10 points",
        "4 May 2031, 12:00 UTC",
        "the assignment has no points",
        "This assignment is switched off",
        "grades of this course stay here",
        "Inside the page of the course",
        "In a new window",
    ):
        assert words in text
    assert text.index("Essay") < text.index("Reading")
    assert chooser.launch.answered_at is None


def test_only_offered_ways_to_show_a_link_can_be_chosen(key, assignment):
    for targets, offered in (("iframe", [True, False]), ("window", [False, True]), ("frame", [False, False])):
        text = text_of(by_lti_1p1(key, accept_presentation_document_targets=targets).select(assignment, do="preview"))
        assert ["Inside the page" in text, "In a new window" in text] == offered
        assert ("How it opens" in text) == any(offered)


def test_canvas_older_way_makes_no_grade_column(key, assignment):
    page = by_lti_1p1(key, CANVAS).select(assignment, do="preview")
    assert "give the link 10 points in your LMS" in text_of(page)
    assert "How it opens" not in text_of(page)
    # Browsers hold the form to the policy when it is redirected, too.
    assert "form-action 'self' https://canvas.example;" in page["Content-Security-Policy"] + ";"


def test_nothing_to_choose_says_what_to_do(key):
    chooser = by_lti_1p1(key)
    assert "There is nothing to choose yet" in text_of(chooser.get("launch"))
    assert "content_items" not in posted(chooser.post("launch-selection-cancel")).fields


def test_a_request_for_something_else_is_told_so(key, assignment):
    chooser = by_lti_1p1(key, accept_media_types="image/*,text/html")
    page = chooser.get("launch")
    assert "Your LMS asks for something else here" in text_of(page)
    assert "Essay" not in text_of(page)
    assert chooser.insert(assignment).status_code == 422
    answer = posted(chooser.post("launch-selection-cancel")).fields
    assert "content_items" not in answer
    assert answer["lti_errormsg"] == "This tool offers links only."


@pytest.mark.parametrize("media_types", ["*/*", "image/*,application/*", "application/vnd.ims.lti.v1.ltilink"])
def test_wildcards_take_links(key, assignment, media_types):
    assert "Essay" in text_of(by_lti_1p1(key, accept_media_types=media_types).get("launch"))


@pytest.mark.parametrize("base", [CONTENT_ITEM, CANVAS])
@pytest.mark.parametrize(
    "role", ["Learner", "Mentor", "urn:lti:sysrole:ims/lis/SysAdmin", "urn:lti:instrole:ims/lis/Faculty"]
)
def test_nobody_but_teachers_chooses(client, key, base, role):
    refused = launch(client, "/lti/v1", key, base, roles=role, launch_presentation_return_url="https://lms.example/c")
    assert (refused.status_code, refused["X-Launch-Error"]) == (403, "role_not_allowed")
    assert "https://lms.example/c" in refused.content.decode()
    assert not Launch.objects.filter(result=Launch.ACCEPTED).exists()


@pytest.mark.parametrize(
    "name", ["accept_media_types", "accept_presentation_document_targets", "content_item_return_url"]
)
def test_an_incomplete_request_is_refused(client, key, name):
    refused = launch(client, "/lti/v1", key, CONTENT_ITEM, **{name: None})
    assert (refused.status_code, refused["X-Launch-Error"]) == (400, "missing_parameter")


def test_one_answer(key, assignment):
    chooser = by_lti_1p1(key)
    posted(chooser.insert(assignment))
    for response in (
        chooser.insert(assignment),
        chooser.post("launch-selection-cancel"),
        chooser.select(assignment),
        chooser.get("launch"),
    ):
        assert (response.status_code, response["X-Launch-Error"]) == (409, "already_answered")
        assert "handed over already" in text_of(response)


def test_after_cancelling_there_is_no_answer_either(key, assignment):
    chooser = by_lti_1p1(key)
    posted(chooser.post("launch-selection-cancel"))
    assert chooser.insert(assignment)["X-Launch-Error"] == "already_answered"


def test_two_requests_are_answered_each(key, assignment):
    one, two = by_lti_1p1(key), by_lti_1p1(key)
    posted(one.insert(assignment))
    posted(two.insert(assignment))


def test_the_picker_belongs_to_its_browser(key, assignment):
    chooser, other = by_lti_1p1(key), by_lti_1p1(key)
    address = chooser.url("launch-selection-insert")
    fields = {"item": str(assignment.pk), "launch_token": chooser.token}
    assert Client().post(address, fields).status_code == 404
    assert other.client.post(address, fields).status_code == 404
    for token in ("forged", other.token, ""):
        assert chooser.insert(assignment, token=token).status_code == 403
    assert chooser.launch.answered_at is None


def test_a_picker_lasts_a_working_day(key, assignment):
    chooser = by_lti_1p1(key)
    Launch.objects.update(at=timezone.now() - timedelta(hours=13))
    assert chooser.insert(assignment).status_code == 410
    assert chooser.launch.answered_at is None


def test_a_key_switched_off_meanwhile_signs_nothing(key, assignment):
    chooser = by_lti_1p1(key)
    type(key).objects.update(enabled=False)
    assert chooser.insert(assignment)["X-Launch-Error"] == "installation_disabled"


def test_a_launch_that_asked_for_nothing_answers_nothing(key, assignment):
    teacher = by_lti_1p1(key, TEACHER)
    for name in ("launch-selection", "launch-selection-insert", "launch-selection-cancel"):
        assert teacher.post(name, item=str(assignment.pk)).status_code == 404
        assert student(key, assignment, **STUDENT).post(name, item=str(assignment.pk)).status_code == 404
        assert teacher.get(name).status_code == 405


def test_texts_from_outside_are_escaped_once(key, assignment):
    assignment.title = ATTACK
    assignment.module = Module.objects.create(course=assignment.course, name=ATTACK)
    assignment.save()
    type(assignment.course).objects.update(name=ATTACK)
    chooser = by_lti_1p1(key, context_title=ATTACK, data='"><script>alert(2)</script>')
    pages = [
        chooser.get("launch"),
        chooser.select(assignment, q=ATTACK, do="search"),
        chooser.select(assignment, do="preview"),
        chooser.insert(assignment),
    ]
    for page in pages:
        html = page.content.decode()
        assert "<script>alert" not in html
        assert "&amp;lt;script" not in html
    assert pages[0].content.decode().count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 4
    fields = posted(pages[-1]).fields
    assert fields["data"] == '"><script>alert(2)</script>'


def test_statements_do_not_grow(key, assignment, django_assert_max_num_queries):
    many = [AssignmentFactory(course=assignment.course) for _ in range(40)]
    chooser = by_lti_1p1(key)
    with django_assert_max_num_queries(4):
        chooser.get("launch")
    with django_assert_max_num_queries(3):
        chooser.select(*many, do="preview")


def test_an_answer_that_is_too_large_is_said_and_used_up_is_nothing(key, assignment):
    many = [AssignmentFactory(course=assignment.course, title="\N{GRINNING FACE}" * 255) for _ in range(ITEM_LIMIT)]
    chooser = by_lti_1p1(key)
    refused = chooser.insert(*many)
    assert refused.status_code == 422
    assert "choose fewer" in text_of(refused)
    assert chooser.launch.answered_at is None
    posted(chooser.insert(*many[:20]))
