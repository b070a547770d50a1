from __future__ import annotations

import dataclasses
import json
from decimal import Decimal
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
from oauthlib.oauth1.rfc5849 import signature as rfc5849

from lti.errors import LaunchError, LaunchErrorCode
from lti.roles import CourseRole
from lti.selection import Image, LineItemOffer, LinkItem, NotAccepted, Selection, Window
from lti.tests.recorded import FORM, KEY, SECRET, URL, load, posted
from lti.v1p1.content_items import (
    accepts_media_type,
    answer_fields,
    canvas_selection_url,
    is_selection,
    to_selection_message,
)
from lti.v1p1.launch import LaunchRequest, Secrets, read_form, to_message, verify
from lti.v1p1.oauth1 import base_string

CODE = LaunchErrorCode
REQUEST = {
    "lti_message_type": "ContentItemSelectionRequest",
    "lti_version": "LTI-1p0",
    "user_id": "3",
    "roles": "Instructor",
    "accept_media_types": "application/vnd.ims.lti.v1.ltilink",
    "accept_presentation_document_targets": "frame,iframe,window",
    "content_item_return_url": "https://lms.example/return?course=2&sesskey=abc",
}
LEGACY = {
    "lti_message_type": "basic-lti-launch-request",
    "lti_version": "LTI-1p0",
    "user_id": "3",
    "resource_link_id": "c",
    "selection_directive": "select_link",
    "launch_presentation_return_url": "https://canvas.example/return?x=1",
}
SELECTION = Selection(
    kind="content_item",
    return_url=REQUEST["content_item_return_url"],
    takes_links=True,
    document_targets=("iframe", "window"),
    accept_multiple=True,
)
ITEM = LinkItem(url="https://tool.example/lti/assignments/7?a=1&b=2", title="Hello & <b>")


def message_of(base=REQUEST, url=URL, **changes):
    values = {name: value for name, value in {**base, **changes}.items() if value is not None}
    return to_selection_message(read_form(posted(values.items(), url)))


def refused(code, check="", base=REQUEST, **changes):
    with pytest.raises(LaunchError) as caught:
        message_of(base, **changes)
    assert caught.value.code is code
    assert check in caught.value.check


# ------------------------------------------------------------------------------------------------------- requests


def test_moodles_recorded_request_verifies_and_is_understood():
    recorded = load("moodle/content_item_request_1p1.json")
    fields = [tuple(pair) for pair in recorded["fields_in_order"]]
    request = LaunchRequest(recorded["action"], urlencode(fields).encode(), FORM, "POST")
    form = read_form(request)
    values = dict(fields)
    verify(request, form, Secrets(recorded["shared_secret"]), now=int(values["oauth_timestamp"]), window=300)
    assert is_selection(form.values)
    message = to_selection_message(form)
    selection = message.selection
    assert (message.user_id, message.roles.course_role, message.context_id) == ("3", CourseRole.TEACHER, "2")
    assert (message.resource_link_id, message.platform.lms) == ("", "moodle")
    assert selection.return_url == values["content_item_return_url"]
    assert (selection.kind, selection.takes_links, selection.accept_multiple) == ("content_item", True, True)
    assert (selection.data, selection.title) == (None, "Typed title")


def collected():
    for sample in load("lms-launch-samples.json"):
        if "ContentItem" in sample["scenario"] or "Content-Item style" in sample["scenario"]:
            yield pytest.param(sample["params"], id=f"{sample['lms']} {sample['scenario']}")


@pytest.mark.parametrize("params", list(collected()))
def test_collected_requests_are_understood(params):
    form = read_form(posted((name, value) for name, value in params.items() if not name.startswith("oauth_")))
    assert is_selection(form.values)
    message = to_selection_message(form)
    assert message.selection.return_url.startswith("http")
    assert message.roles.course_role is CourseRole.TEACHER
    with pytest.raises(LaunchError) as caught:
        to_message(form)
    assert caught.value.code is CODE.UNSUPPORTED_MESSAGE


@pytest.mark.parametrize(
    "name",
    [
        "lti_version",
        "user_id",
        "accept_media_types",
        "accept_presentation_document_targets",
        "content_item_return_url",
    ],
)
@pytest.mark.parametrize("value", [None, ""])
def test_a_parameter_that_is_required_is_missing(name, value):
    refused(CODE.MISSING_PARAMETER, name, **{name: value})


@pytest.mark.parametrize("url", ["javascript:alert(1)", "/return", "https://u@lms.example/"])
def test_a_return_url_that_is_none_is_refused(url):
    refused(CODE.MALFORMED, "content_item_return_url", content_item_return_url=url)


def test_other_messages_are_no_selection():
    refused(CODE.UNSUPPORTED_MESSAGE, "lti_message_type", lti_message_type="DashboardRequest")
    refused(CODE.UNSUPPORTED_MESSAGE, "lti_version", lti_version="LTI-2p0")
    refused(CODE.UNSUPPORTED_MESSAGE, "lti_message_type", LEGACY, selection_directive=None)
    assert not is_selection({"lti_message_type": "basic-lti-launch-request"})


@pytest.mark.parametrize(
    ("changes", "field", "expected"),
    [
        # Chamilo leaves it out and takes one (C2).
        ({}, "accept_multiple", False),
        ({"accept_multiple": "TRUE"}, "accept_multiple", True),
        ({"accept_media_types": "*/*"}, "takes_links", True),
        ({"accept_media_types": "image/*, text/html"}, "takes_links", False),
        ({"data": ""}, "data", ""),
        ({"data": " a&b=é "}, "data", " a&b=é "),
        ({"auto_create": "true"}, "auto_create", True),
    ],
)
def test_what_a_request_says(changes, field, expected):
    assert getattr(message_of(**changes).selection, field) == expected


def test_too_much_data_is_refused():
    refused(CODE.MALFORMED, "data", data="x" * 8193)


def test_a_link_cannot_say_where_the_choice_goes():
    """The query of a launch URL belongs to whoever wrote the link; the LMS signs it unread."""
    url = f"{URL}?content_item_return_url=https%3A%2F%2Fevil.example%2F&data=x"
    with pytest.raises(LaunchError) as caught:
        message_of(url=url, content_item_return_url=None)
    assert caught.value.code is CODE.MISSING_PARAMETER


@pytest.mark.parametrize(
    ("accepted", "media_type", "taken"),
    [
        (["image/*"], "image/png", True),
        (["image/*"], "application/vnd.ims.lti.v1.ltilink", False),
        (["*/*"], "text/html", True),
        (["APPLICATION/vnd.ims.lti.v1.ltilink"], "application/vnd.ims.lti.v1.ltilink", True),
        ([], "text/html", False),
    ],
)
def test_media_types_may_have_wildcards(accepted, media_type, taken):
    assert accepts_media_type(accepted, media_type) is taken


# --------------------------------------------------------------------------------------------------------- answers


def answer(items, selection=SELECTION, **kwargs):
    return dict(answer_fields(selection, items, consumer_key=KEY, secret=SECRET, **kwargs))


def test_the_answer_is_signed_over_the_return_urls_query_too():
    fields = answer([ITEM], message="picked\n1", timestamp=1_700_000_000, nonce="n")
    unsigned = [(name, value) for name, value in fields.items() if name != "oauth_signature"]
    # Independently: oauthlib's own way from URL and parameters to the signature.
    collected_parameters = rfc5849.collect_parameters(
        uri_query=urlsplit(SELECTION.return_url).query, body=unsigned, with_realm=False
    )
    base = rfc5849.signature_base_string(
        "POST", "https://lms.example/return", rfc5849.normalize_parameters(collected_parameters)
    )
    assert base == base_string("POST", SELECTION.return_url, unsigned)
    client = type("Client", (), {"client_secret": SECRET, "resource_owner_secret": ""})()
    assert rfc5849.sign_hmac_sha1_with_client(base, client) == fields["oauth_signature"]
    assert (fields["lti_message_type"], fields["lti_version"]) == ("ContentItemSelection", "LTI-1p0")
    assert fields["lti_msg"] == "picked 1"
    assert "data" not in fields


def test_data_goes_back_as_it_came():
    assert answer([], dataclasses.replace(SELECTION, data=" a&b=é "))["data"] == " a&b=é "


def test_a_cancellation_has_no_items():
    fields = answer([], error_message="Sorry")
    assert "content_items" not in fields
    assert fields["lti_errormsg"] == "Sorry"


def test_an_item_as_moodle_took_it():
    sent = load("moodle/content_item_response_1p1.json")["content_items"]
    original = sent["@graph"][0]
    item = LinkItem(
        url=original["url"],
        title=original["title"],
        text=original["text"],
        custom={"chosen": "quiz-1"},
        icon=Image(original["icon"]["@id"], 16, 16),
        line_item=LineItemOffer(Decimal(20), label="Picked", resource_id="res-11", tag="tag-11"),
    )
    made = json.loads(answer([item])["content_items"])
    assert made["@context"] == sent["@context"]
    expected = {**original, "custom": {"chosen": "quiz-1"}}
    expected.pop("placementAdvice")
    assert made["@graph"] == [expected]


def test_placement_is_what_the_request_offers():
    framed = dataclasses.replace(ITEM, iframe=(800, 600), window=Window("lti", 700, None))
    for targets, expected in [
        (("iframe", "window"), {"presentationDocumentTarget": "iframe", "displayWidth": 800, "displayHeight": 600}),
        (("window",), {"presentationDocumentTarget": "window", "windowTarget": "lti", "displayWidth": 700}),
        (("frame",), None),
    ]:
        selection = dataclasses.replace(SELECTION, document_targets=targets)
        made = json.loads(answer([framed], selection)["content_items"])["@graph"][0]
        assert made.get("placementAdvice") == expected


def test_what_is_not_taken_is_not_sent():
    for selection, items in [
        (dataclasses.replace(SELECTION, takes_links=False), [ITEM]),
        (dataclasses.replace(SELECTION, accept_multiple=False), [ITEM, ITEM]),
        (SELECTION, [ITEM] * 101),
        (SELECTION, [dataclasses.replace(ITEM, text="é" * 2000)] * 100),
    ]:
        with pytest.raises(NotAccepted):
            answer(items, selection)


# -------------------------------------------------------------------------------------- Canvas before Content-Item


def test_a_canvas_selection_launch_opens_the_picker():
    message = message_of(LEGACY)
    assert (message.selection.kind, message.selection.takes_links) == ("canvas", True)
    assert message.selection.return_url == "https://canvas.example/return?x=1"
    embed = message_of(
        LEGACY,
        selection_directive="embed_content",
        ext_content_return_types="oembed,lti_launch_url",
        ext_content_return_url="https://canvas.example/ext",
    )
    assert embed.selection.return_url == "https://canvas.example/ext"
    assert embed.selection.takes_links
    assert not message_of(
        LEGACY, selection_directive="embed_content", ext_content_return_types="file"
    ).selection.takes_links


def test_a_canvas_choice_goes_back_by_its_address():
    url = canvas_selection_url(message_of(LEGACY).selection, ITEM)
    assert url.startswith("https://canvas.example/return?x=1&return_type=lti_launch_url&url=https%3A%2F%2F")
    values = parse_qs(urlsplit(url).query)
    assert values["url"] == [ITEM.url]
    assert values["title"] == ["Hello & <b>"]
    assert [name for name, _ in parse_qsl(urlsplit(url).query)] == ["x", "return_type", "url", "title", "text"]


def test_a_canvas_choice_that_is_not_taken_is_not_sent():
    selection = message_of(LEGACY).selection
    with pytest.raises(NotAccepted):
        canvas_selection_url(dataclasses.replace(selection, takes_links=False), ITEM)
    with pytest.raises(NotAccepted):
        canvas_selection_url(SELECTION, ITEM)
    with pytest.raises(NotAccepted):
        canvas_selection_url(
            selection, dataclasses.replace(ITEM, url="https://tool.example/" + "%C3%A9" * 670, text="é" * 2000)
        )


def test_a_canvas_selection_without_a_way_back_is_refused():
    refused(CODE.MISSING_PARAMETER, "ext_content_return_url", LEGACY, launch_presentation_return_url=None)
