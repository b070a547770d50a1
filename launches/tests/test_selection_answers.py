"""What a picker answers, read back by independent code: joserfc for LTI 1.3, oauthlib for 1.1."""

import html
import json
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from django.conf import settings as django_settings
from django.test import Client
from django.utils import timezone
from joserfc import jwt
from joserfc.jwk import KeySet

from courses.addresses import assignment_url, constant_url
from courses.models import LmsCourse
from launches.models import Launch
from launches.selecting import answer_with, answer_with_nothing
from launches.visits import Visit
from lti.errors import LaunchError, LaunchErrorCode
from lti.tests.recorded import load
from lti.v1p1.oauth1 import sign_form
from lti.v1p3 import vocabulary as names
from organizations.identifiers import random_token
from organizations.models import Registration
from tests.choosing import (
    CANVAS,
    CONTENT_ITEM,
    SETTINGS,
    Chooser,
    assert_signed,
    by_lti_1p1,
    by_lti_1p3,
    deep_linking_launch,
    posted,
)
from tests.factories import AssignmentFactory
from tests.launching import STUDENT, launch, launch_id_of, post
from tests.platform_1p3 import platform_of
from tests.visiting import text_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("loopback")]

OPENS, DUE, CLOSES = (datetime(2031, 5, day, 12, tzinfo=UTC) for day in (1, 4, 9))


@pytest.fixture
def platform(key):
    with platform_of(key.installation) as running:
        yield running


@pytest.fixture
def dated(assignment):
    assignment.opens_at, assignment.due_at, assignment.closes_at = OPENS, DUE, CLOSES
    assignment.save()
    assignment.course.iframe_width, assignment.course.iframe_height = 1234, 567
    assignment.course.save()
    return assignment


def claims_of(answer, platform):
    """The claims as a platform reads them: with the published key set, and nothing of ours."""
    assert list(answer.fields) == ["JWT"]
    published = Client().get(f"/lti/1p3/{platform.slug}/jwks.json").json()
    token = jwt.decode(answer.fields["JWT"], KeySet.import_key_set(published), algorithms=["RS256"])
    assert token.header["kid"] in {one["kid"] for one in published["keys"]}
    return token.claims


def items_by_lti_1p1(answer):
    content = json.loads(answer.fields["content_items"])
    assert content["@context"] == "http://purl.imsglobal.org/ctx/lti/v1/ContentItem"
    return content["@graph"]


# ----------------------------------------------------------------------------------------------------------- LTI 1.3


def test_the_answer_of_lti_1p3(platform, dated):
    chooser = by_lti_1p3(platform, data="a&b=é \n x", accept_lineitem=True)
    answer = posted(chooser.insert(dated, display="iframe"))
    assert answer.url == SETTINGS["deep_link_return_url"]
    claims = claims_of(answer, platform)
    assert (claims["iss"], claims["aud"]) == (platform.registration.client_id, platform.registration.issuer)
    assert claims[names.DEPLOYMENT_ID] == platform.deployment.deployment_id
    assert (claims[names.MESSAGE_TYPE], claims[names.VERSION]) == ("LtiDeepLinkingResponse", "1.3.0")
    assert claims["https://purl.imsglobal.org/spec/lti-dl/claim/data"] == "a&b=é \n x"
    assert claims["iat"] <= time.time() < claims["exp"] <= time.time() + 600
    (item,) = claims[names.CONTENT_ITEMS]
    custom = item.pop("custom")
    assert item == {
        "type": "ltiResourceLink",
        "url": assignment_url(dated),
        "title": "Essay",
        "lineItem": {"scoreMaximum": 10, "label": "Essay", "resourceId": str(dated.pk), "tag": "grade"},
        "available": {"startDateTime": "2031-05-01T12:00:00Z", "endDateTime": "2031-05-09T12:00:00Z"},
        "submission": {"endDateTime": "2031-05-04T12:00:00Z"},
        "iframe": {"width": 1234, "height": 567},
    }
    assert custom.keys() == {"assignment", "link_uuid"}
    assert (custom["assignment"], UUID(custom["link_uuid"]).version) == (str(dated.pk), 7)


def test_every_answer_has_a_nonce_and_links_of_its_own(platform, assignment):
    answers = [claims_of(posted(by_lti_1p3(platform).insert(assignment)), platform) for _ in range(2)]
    assert len({claims["nonce"] for claims in answers}) == 2
    assert len({claims[names.CONTENT_ITEMS][0]["custom"]["link_uuid"] for claims in answers}) == 2
    # Nothing came, so nothing goes back.
    assert not [name for name in answers[0] if name.endswith("claim/data")]


def test_several_in_the_order_of_the_tree(platform, assignment):
    second = AssignmentFactory(course=assignment.course, title="Second", position=5)
    answer = posted(by_lti_1p3(platform).insert(second, assignment))
    assert [item["title"] for item in claims_of(answer, platform)[names.CONTENT_ITEMS]] == ["Essay", "Second"]


def test_cancelling_lti_1p3_answers_an_empty_list(platform, assignment):
    chooser = by_lti_1p3(platform, data="x")
    page = chooser.post("launch-selection-cancel")
    assert "Nothing was chosen" in text_of(page)
    claims = claims_of(posted(page), platform)
    assert claims[names.CONTENT_ITEMS] == []
    assert claims["https://purl.imsglobal.org/spec/lti-dl/claim/data"] == "x"
    assert not [name for name in claims if name.endswith(("errormsg", "msg"))]


def test_a_platform_that_takes_no_links_is_told_why(platform, assignment):
    chooser = by_lti_1p3(platform, accept_types=["html", "file"])
    assert "asks for something else" in text_of(chooser.get("launch"))
    assert chooser.insert(assignment).status_code == 422
    claims = claims_of(posted(chooser.post("launch-selection-cancel")), platform)
    assert claims[names.CONTENT_ITEMS] == []
    assert claims["https://purl.imsglobal.org/spec/lti-dl/claim/errormsg"] == "This tool offers links only."


@pytest.mark.parametrize(("accepts", "has_line_item"), [(True, True), (False, False), (None, True)])
def test_line_items_where_the_platform_takes_them(platform, assignment, accepts, has_line_item):
    chooser = by_lti_1p3(platform, accept_lineitem=accepts)
    assert ("New grade column" in text_of(chooser.select(assignment, do="preview"))) == has_line_item
    (item,) = claims_of(posted(chooser.insert(assignment)), platform)[names.CONTENT_ITEMS]
    assert ("lineItem" in item) == has_line_item


def test_no_line_item_unless_graded(platform, assignment):
    organization = assignment.course.organization
    ungraded = AssignmentFactory(course=assignment.course, points_possible=0)
    stays_here = AssignmentFactory(course__organization=organization, course__enroll_only=True)
    answer = posted(by_lti_1p3(platform).insert(ungraded, stays_here))
    for item in claims_of(answer, platform)[names.CONTENT_ITEMS]:
        assert "lineItem" not in item


@pytest.mark.parametrize("targets", [["frame"], ["iframe"], ["window"]])
def test_only_offered_targets_are_answered(platform, assignment, targets):
    for display in ("iframe", "window", "frame", ""):
        chooser = by_lti_1p3(platform, accept_presentation_document_targets=targets)
        (item,) = claims_of(posted(chooser.insert(assignment, display=display)), platform)[names.CONTENT_ITEMS]
        expected = {display} & set(targets) & {"iframe", "window"}
        assert item.keys() & {"iframe", "window"} == expected


def test_one_by_default(platform, assignment):
    chooser = by_lti_1p3(platform, accept_multiple=None)
    assert 'type="radio"' in chooser.get("launch").content.decode()
    other = AssignmentFactory(course=assignment.course)
    assert "takes only one" in text_of(chooser.insert(assignment, other))


def test_moodles_recorded_request(platform, assignment):
    recorded = load("moodle/deep_linking_request.json")["claims"]
    ours = ("iss", "aud", "iat", "exp", "nonce", names.DEPLOYMENT_ID, names.TARGET_LINK_URI)
    kept = {name: value for name, value in recorded.items() if name not in ours}
    client = Client()
    chooser = Chooser(client, deep_linking_launch(client, platform, kept))
    assert 'Choose what to add to “LTI test course (Été & "quotes" )”' in html.unescape(text_of(chooser.get("launch")))
    answer = posted(chooser.insert(assignment))
    assert answer.url == recorded[names.DEEP_LINKING_SETTINGS]["deep_link_return_url"]
    # What Moodle took from another tool is all in ours.
    taken = load("moodle/deep_linking_response.json")["claims_sent"]
    claims = claims_of(answer, platform)
    assert {name for name in taken if not name.endswith(("msg", "data"))} <= set(claims)
    (theirs,), (mine,) = taken[names.CONTENT_ITEMS], claims[names.CONTENT_ITEMS]
    assert set(theirs) - {"text", "iframe", "available"} <= set(mine)
    assert set(theirs["lineItem"]) <= set(mine["lineItem"])


@pytest.mark.parametrize("name", ["deep_link_return_url", "accept_types", "accept_presentation_document_targets"])
def test_incomplete_settings_are_refused(client, platform, name):
    refused = deep_linking_launch(client, platform, None, **{name: None})
    assert (refused.status_code, refused["X-Launch-Error"]) == (400, "missing_parameter")


@pytest.mark.parametrize("role", ["membership#Learner", "institution/person#Administrator"])
def test_nobody_but_teachers_chooses(client, platform, role):
    refused = deep_linking_launch(client, platform, {"roles": [f"http://purl.imsglobal.org/vocab/lis/v2/{role}"]})
    assert (refused.status_code, refused["X-Launch-Error"]) == (403, "role_not_allowed")


def test_a_registration_switched_off_meanwhile_signs_nothing(platform, assignment):
    chooser = by_lti_1p3(platform)
    Registration.objects.update(enabled=False)
    assert chooser.insert(assignment)["X-Launch-Error"] == "installation_disabled"
    assert chooser.launch.answered_at is None


def test_what_was_inserted_opens_by_its_url_or_by_custom_alone(client, platform, assignment):
    (item,) = claims_of(posted(by_lti_1p3(platform).insert(assignment)), platform)[names.CONTENT_ITEMS]
    by_url = platform.launch(client, item["url"], resource_link={"id": "made-1"})
    by_custom = platform.launch(client, "", resource_link={"id": "made-2"}, custom=item["custom"])
    for opened in (by_url, by_custom):
        assert Launch.objects.get(pk=launch_id_of(opened)).assignment == assignment


# ----------------------------------------------------------------------------------------------------------- LTI 1.1


def test_the_answer_of_lti_1p1(key, dated):
    answer = posted(by_lti_1p1(key, data=" a&b=é ").insert(dated, display="window"))
    assert answer.url == CONTENT_ITEM["content_item_return_url"]
    assert_signed(answer, key.consumer_key, key.secret)
    assert (answer.fields["lti_message_type"], answer.fields["lti_version"]) == ("ContentItemSelection", "LTI-1p0")
    assert answer.fields["data"] == " a&b=é "
    (item,) = items_by_lti_1p1(answer)
    assert (item["@type"], item["mediaType"]) == ("LtiLinkItem", "application/vnd.ims.lti.v1.ltilink")
    assert (item["url"], item["title"]) == (assignment_url(dated), "Essay")
    assert item["custom"]["assignment"] == str(dated.pk)
    assert item["lineItem"]["assignedActivity"]["activityId"] == str(dated.pk)
    limits = item["lineItem"]["scoreConstraints"]
    assert limits["normalMaximum"] == limits["totalMaximum"] == 10
    assert item["placementAdvice"] == {
        "presentationDocumentTarget": "window",
        "displayWidth": 1100,
        "displayHeight": 800,
    }


def test_a_frame_has_the_size_of_its_course_over_lti_1p1(key, dated):
    other = AssignmentFactory(course__organization=key.installation.organization)
    for chosen, size in ((dated, (1234, 567)), (other, (1000, 800))):
        (item,) = items_by_lti_1p1(posted(by_lti_1p1(key).insert(chosen, display="iframe")))
        assert item["placementAdvice"] == {
            "presentationDocumentTarget": "iframe",
            "displayWidth": size[0],
            "displayHeight": size[1],
        }


def test_cancelling_lti_1p1_posts_no_items(key):
    answer = posted(by_lti_1p1(key, data="x").post("launch-selection-cancel"))
    assert_signed(answer, key.consumer_key, key.secret)
    assert "content_items" not in answer.fields
    assert "lti_errormsg" not in answer.fields
    assert answer.fields["data"] == "x"


def test_while_a_secret_is_replaced_the_lms_gets_the_one_it_knows(key, assignment):
    old = key.secret
    key.previous_secret, key.secret = old, "a-new-secret"
    key.previous_secret_expires_at = timezone.now() + timedelta(days=1)
    key.save()
    new, key.secret = key.secret, old
    assert_signed(posted(by_lti_1p1(key).insert(assignment)), key.consumer_key, old)
    key.secret = new
    assert_signed(posted(by_lti_1p1(key).insert(assignment)), key.consumer_key, new)


def replayed(key, url, parameters):
    """A recorded request, signed anew for our own key and address."""
    kept = {name: value for name, value in parameters.items() if not name.startswith("oauth_")}
    client = Client()
    pairs = sign_form(f"{django_settings.BASE_URL}{url}", kept, key.consumer_key, key.secret, nonce=random_token())
    return Chooser(client, post(client, url, pairs))


def collected(lms, scenario):
    samples = load("lms-launch-samples.json")
    return next(one["params"] for one in samples if one["lms"].startswith(lms) and scenario in one["scenario"])


def test_moodles_recorded_request_by_lti_1p1(key, assignment):
    parameters = load("moodle/content_item_request_1p1.json")["fields"]
    chooser = replayed(key, "/lti/v1", parameters)
    assert 'type="checkbox"' in chooser.get("launch").content.decode()
    answer = posted(chooser.insert(assignment))
    assert answer.url == parameters["content_item_return_url"]
    assert_signed(answer, key.consumer_key, key.secret)
    # The names that Moodle took from another tool's recorded answer.
    recorded = load("moodle/content_item_response_1p1.json")
    fields = dict(recorded["fields"])
    assert {name for name in fields if not name.startswith("lti_msg")} - {"data"} <= set(answer.fields)


def test_chamilos_request_takes_one(key, assignment):
    parameters = collected("Chamilo", "ContentItemSelectionRequest")
    chooser = replayed(key, "/lti/v1", parameters)
    assert 'type="radio"' in chooser.get("launch").content.decode()
    answer = posted(chooser.insert(assignment))
    assert answer.url == parameters["content_item_return_url"]
    assert answer.fields.get("data") == parameters.get("data")


# ------------------------------------------------------------------------------------------------ Canvas's older way


def test_canvas_older_way_is_answered_by_a_redirect(key, assignment):
    assignment.title = "Essay & more?"
    assignment.save()
    response = by_lti_1p1(key, CANVAS).insert(assignment)
    assert response.status_code == 302
    parts = urlsplit(response["Location"])
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == CANVAS["ext_content_return_url"].partition("?")[0]
    assert parse_qs(parts.query) == {
        "x": ["1"],
        "return_type": ["lti_launch_url"],
        "url": [assignment_url(assignment)],
        "title": ["Essay & more?"],
        "text": ["Essay & more?"],
    }


def test_canvas_older_way_is_answered_once_and_takes_one(key, assignment):
    chooser = by_lti_1p1(key, CANVAS)
    other = AssignmentFactory(course=assignment.course)
    assert chooser.insert(assignment, other).status_code == 422
    assert chooser.insert(assignment).status_code == 302
    assert chooser.insert(assignment)["X-Launch-Error"] == "already_answered"


def test_cancelling_canvas_older_way_goes_back_with_nothing(key):
    response = by_lti_1p1(key, CANVAS).post("launch-selection-cancel")
    assert response["Location"] == CANVAS["ext_content_return_url"]


def test_canvas_collected_requests(key, assignment):
    parameters = collected("Canvas", "resource_selection")
    chooser = replayed(key, "/lti/v1", parameters)
    assert "Choose what to add" in text_of(chooser.get("launch"))
    location = chooser.insert(assignment)["Location"]
    assert location.startswith(parameters["ext_content_return_url"] + "?return_type=lti_launch_url&url=http")
    newer = replayed(key, "/lti/v1", collected("Canvas", "ContentItemSelectionRequest"))
    assert_signed(posted(newer.insert(assignment)), key.consumer_key, key.secret)


# --------------------------------------------------------------------------------------------------------- both ways


def test_texts_are_plain(key, assignment):
    assignment.title = "<script>alert(1)</script>"
    assignment.body = "# Title\n\nRead *all* of <b>it</b> & [more](https://x.example).\n\nSecond paragraph"
    assignment.save()
    (item,) = items_by_lti_1p1(posted(by_lti_1p1(key).insert(assignment)))
    assert item["title"] == "<script>alert(1)</script>"
    assert item["text"] == "Read all of <b>it</b> & more."


@pytest.mark.parametrize("changes", [{"opens_at": OPENS}, {"enabled": False}])
def test_nothing_is_told_before_students_may_read_it(key, assignment, changes):
    type(assignment).objects.update(body="The solution is 42", **changes)
    (item,) = items_by_lti_1p1(posted(by_lti_1p1(key).insert(assignment)))
    assert "text" not in item


def test_a_long_description_is_cut(key, assignment):
    type(assignment).objects.update(body="word " * 500)
    (item,) = items_by_lti_1p1(posted(by_lti_1p1(key).insert(assignment)))
    assert len(item["text"]) <= 500
    assert item["text"].endswith("word…") or item["text"].endswith("…")


@pytest.fixture
def constant(assignment):
    course = assignment.course
    course.constant_urls = True
    course.save()
    # A copy of the course: the same constant key in two courses.
    AssignmentFactory(
        course__organization=course.organization, course__constant_urls=True, constant_key=assignment.constant_key
    )
    return assignment


def test_constant_urls_where_the_course_has_them(client, key, constant):
    (item,) = items_by_lti_1p1(posted(by_lti_1p1(key).insert(constant)))
    assert item["url"] == constant_url(constant)
    # The LMS course knows which of the copies it opens, so the first student arrives.
    assert LmsCourse.objects.get().course == constant.course
    path = item["url"].removeprefix(django_settings.BASE_URL)
    custom = {f"custom_{name}": value for name, value in item["custom"].items()}
    opened = launch(client, path, key, STUDENT, **custom)
    assert Launch.objects.get(pk=launch_id_of(opened)).assignment == constant


def test_the_course_of_an_lms_course_is_not_changed(key, constant):
    other = AssignmentFactory(course__organization=key.installation.organization).course
    LmsCourse.objects.create(installation=key.installation, context_id="context-1", title="Kept", course=other)
    posted(by_lti_1p1(key, context_title="").insert(constant))
    row = LmsCourse.objects.get()
    assert (row.course, row.title) == (other, "Kept")


def test_two_courses_decide_nothing(key, constant):
    second = AssignmentFactory(course__organization=key.installation.organization, course__constant_urls=True)
    posted(by_lti_1p1(key).insert(constant, second))
    assert not LmsCourse.objects.exists()


def test_of_two_who_both_saw_it_unanswered_one_answers(key, assignment):
    assignment.refresh_from_db()
    chooser = by_lti_1p1(key)
    visits = [visit_of(chooser) for _ in range(2)]
    assert answer_with(visits[0], [assignment]).fields
    for late in (lambda: answer_with(visits[1], [assignment]), lambda: answer_with_nothing(visits[1])):
        with pytest.raises(LaunchError) as caught:
            late()
        assert caught.value.code is LaunchErrorCode.ALREADY_ANSWERED


def test_an_assignment_of_another_organization_is_never_answered(key):
    visit = visit_of(by_lti_1p1(key))
    with pytest.raises(ValueError, match="another organization"):
        answer_with(visit, [AssignmentFactory()])


def visit_of(chooser):
    row = chooser.launch
    return Visit(
        launch=row,
        organization=row.organization,
        installation=row.installation,
        person=row.person,
        role=row.role,
        course=row.course,
        assignment=row.assignment,
        token=chooser.token,
    )
