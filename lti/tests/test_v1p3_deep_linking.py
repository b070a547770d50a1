from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lti.errors import LaunchError, LaunchErrorCode
from lti.selection import Image, LineItemOffer, LinkItem, NotAccepted, Period, Selection, Window, json_number
from lti.tests.platform_1p3 import NOW, checked, key, launch_claims, pem_of, signed, verified
from lti.tests.recorded import load
from lti.v1p3 import vocabulary as names
from lti.v1p3.deep_linking import answer_fields, content_item, response_claims
from lti.v1p3.message import to_message
from lti.v1p3.tokens import rs256_signer

SETTINGS = {
    "deep_link_return_url": "https://lms.example/return?id=1",
    "accept_types": ["ltiResourceLink", "link"],
    "accept_presentation_document_targets": ["iframe", "window"],
    "accept_multiple": True,
    "data": "opaque &\u00e9=",
}
SELECTION = Selection(
    kind="deep_linking",
    return_url="https://lms.example/return",
    takes_links=True,
    document_targets=("iframe", "window"),
    accept_multiple=True,
)
ITEM = LinkItem(url="https://tool.example/lti/assignments/7", title="Hello")
WHO = {"issuer": "https://lms.example", "client_id": "client-1", "deployment_id": "d-1", "now": NOW, "nonce": "n-1"}


def request(**changes):
    settings = {name: value for name, value in {**SETTINGS, **changes}.items() if value is not None}
    claims = launch_claims(message_type=names.DEEP_LINKING_REQUEST, resource_link=None)
    return to_message(checked(signed({**claims, names.DEEP_LINKING_SETTINGS: settings})))


def items_of(items, selection=SELECTION, **kwargs):
    return response_claims(selection, items, **WHO, **kwargs)[names.CONTENT_ITEMS]


# --------------------------------------------------------------------------------------------------------- request


def test_a_request_says_what_it_takes():
    message = request(accept_lineitem=True, accept_media_types="image/*, text/html", auto_create=True, title="T")
    selection = message.selection
    assert (message.resource_link_id, selection.return_url) == ("", "https://lms.example/return?id=1")
    assert (selection.takes_links, selection.accept_multiple, selection.accepts_line_item) == (True, True, True)
    assert selection.accept_media_types == ("image/*", "text/html")
    assert selection.data == "opaque &é="


@pytest.mark.parametrize("name", ["deep_link_return_url", "accept_types", "accept_presentation_document_targets"])
@pytest.mark.parametrize("value", [None, "", []])
def test_a_setting_that_is_required_is_missing(name, value):
    with pytest.raises(LaunchError) as caught:
        request(**{name: value})
    assert caught.value.code is LaunchErrorCode.MISSING_PARAMETER
    assert name in caught.value.check


def test_without_settings_nothing_can_be_chosen():
    claims = launch_claims(message_type=names.DEEP_LINKING_REQUEST, resource_link=None)
    with pytest.raises(LaunchError) as caught:
        to_message(checked(signed(claims)))
    assert caught.value.code is LaunchErrorCode.MISSING_PARAMETER


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "/return", "https://user@lms.example/", "https://x/" + "a" * 5000]
)
def test_a_return_url_that_is_none_is_refused(url):
    with pytest.raises(LaunchError) as caught:
        request(deep_link_return_url=url)
    assert caught.value.code is LaunchErrorCode.MALFORMED


@pytest.mark.parametrize(
    ("changes", "field", "expected"),
    [
        ({"accept_multiple": None}, "accept_multiple", False),
        ({"accept_multiple": "true"}, "accept_multiple", True),
        ({"accept_multiple": "false"}, "accept_multiple", False),
        ({"accept_multiple": 1}, "accept_multiple", False),
        ({"accept_types": ["link"]}, "takes_links", False),
        ({"accept_types": "ltiResourceLink"}, "takes_links", True),
        ({"accept_lineitem": None}, "accepts_line_item", None),
        ({"accept_lineitem": False}, "accepts_line_item", False),
        ({"data": None}, "data", None),
        ({"data": ""}, "data", ""),
    ],
)
def test_what_the_lms_leaves_out_has_a_careful_meaning(changes, field, expected):
    assert getattr(request(**changes).selection, field) == expected


# ---------------------------------------------------------------------------------------------------------- answer


def test_the_answer_has_the_claims_of_the_standard_and_verifies_independently():
    claims = response_claims(request().selection, [ITEM], **WHO, message="picked\none", error_log="x" * 900)
    fields = answer_fields(claims, rs256_signer(pem_of(key()), "tool-key"))
    assert [name for name, _ in fields] == ["JWT"]
    header, read = verified(fields[0][1], key().public_key())
    assert (header["alg"], header["kid"]) == ("RS256", "tool-key")
    assert read == claims
    assert (read["iss"], read["aud"], read["iat"], read["exp"]) == ("client-1", "https://lms.example", NOW, NOW + 300)
    assert read["nonce"] == "n-1"
    assert read[names.DEPLOYMENT_ID] == "d-1"
    assert read[names.MESSAGE_TYPE] == "LtiDeepLinkingResponse"
    assert read[names.VERSION] == "1.3.0"
    assert read[f"{names.DEEP_LINKING}data"] == "opaque &é="
    assert read[f"{names.DEEP_LINKING}msg"] == "picked one"
    assert len(read[f"{names.DEEP_LINKING}errorlog"]) == 500
    assert f"{names.DEEP_LINKING}errormsg" not in read


def test_data_goes_back_only_if_it_came():
    assert f"{names.DEEP_LINKING}data" not in response_claims(SELECTION, [], **WHO)
    empty = dataclasses.replace(SELECTION, data="")
    assert response_claims(empty, [], **WHO)[f"{names.DEEP_LINKING}data"] == ""


def test_no_items_are_a_cancellation():
    assert items_of([]) == []
    assert items_of([], dataclasses.replace(SELECTION, takes_links=False)) == []


def test_an_answer_as_moodle_took_it():
    sent = load("moodle/deep_linking_response.json")["claims_sent"][names.CONTENT_ITEMS][0]
    item = LinkItem(
        url=sent["url"],
        title=sent["title"],
        text=sent["text"],
        custom={"chosen": "quiz-1"},
        iframe=(800, 600),
        line_item=LineItemOffer(Decimal(50), label="DL 1", resource_id="res-1", tag="tag-dl"),
        available=Period(start=datetime(2025, 1, 1, tzinfo=UTC)),
    )
    assert content_item(item, SELECTION) == {**sent, "custom": {"chosen": "quiz-1"}}


def test_a_link_with_everything():
    item = LinkItem(
        url="https://tool.example/lti/assignments/7",
        title="T\nwo  <b>lines</b>",
        icon=Image("https://tool.example/i.png", 16, 16),
        line_item=LineItemOffer(Decimal("7.5"), grades_released=False),
        submission=Period(datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2))), None),
        window=Window("lti", 800, None),
    )
    assert content_item(item, SELECTION) == {
        "type": "ltiResourceLink",
        "url": "https://tool.example/lti/assignments/7",
        "title": "T wo  <b>lines</b>",
        "icon": {"url": "https://tool.example/i.png", "width": 16, "height": 16},
        "lineItem": {"scoreMaximum": 7.5, "gradesReleased": False},
        "submission": {"startDateTime": "2026-01-01T10:00:00Z"},
        "window": {"targetName": "lti", "width": 800},
    }


def test_only_targets_that_are_offered_are_used():
    item = dataclasses.replace(ITEM, iframe=(1, 1), window=Window())
    members = content_item(item, dataclasses.replace(SELECTION, document_targets=("frame",)))
    assert not members.keys() & {"iframe", "window"}


@pytest.mark.parametrize(
    ("accepted", "unsaid", "sent"),
    [(True, False, True), (False, True, False), (None, True, True), (None, False, False)],
)
def test_line_items_go_where_they_are_taken(accepted, unsaid, sent):
    graded = dataclasses.replace(ITEM, line_item=LineItemOffer(Decimal(10)))
    selection = dataclasses.replace(SELECTION, accepts_line_item=accepted)
    assert ("lineItem" in items_of([graded], selection, line_items_when_unsaid=unsaid)[0]) is sent
    assert "lineItem" not in items_of([ITEM], selection)[0]


@pytest.mark.parametrize(
    ("changes", "count"),
    [({"takes_links": False}, 1), ({"accept_multiple": False}, 2), ({}, 101)],
)
def test_what_is_not_taken_is_not_sent(changes, count):
    with pytest.raises(NotAccepted):
        items_of([ITEM] * count, dataclasses.replace(SELECTION, **changes))


def test_a_hundred_items_fit_and_too_much_text_does_not():
    assert len(items_of([ITEM] * 100)) == 100
    long = dataclasses.replace(ITEM, text="é" * 2000, custom={f"c{n}": "v" * 2000 for n in range(5)})
    claims = response_claims(SELECTION, [long] * 100, **WHO)
    with pytest.raises(NotAccepted):
        answer_fields(claims, rs256_signer(pem_of(key()), "k"))


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "javascript:alert(1)"},
        {"url": "https://tool.example/" + "a" * 4096},
        {"title": "  "},
        {"icon": Image("data:image/png;base64,x")},
        {"custom": {"Mixed": "x"}},
        {"custom": {"a b": "x"}},
        {"custom": {"a": "two\nlines"}},
        {"custom": {"a": "x" * 2001}},
        {"line_item": LineItemOffer(Decimal(0))},
        {"line_item": LineItemOffer(Decimal("NaN"))},
        {"available": Period(start=datetime(2026, 1, 1))},  # noqa: DTZ001 (that is the point)
    ],
)
def test_links_that_an_lms_would_misread_are_not_made(changes):
    with pytest.raises(ValueError):
        dataclasses.replace(ITEM, **changes)


@given(st.decimals(min_value=0, max_value=10**9, allow_nan=False, places=4))
def test_numbers_keep_their_value(number):
    assert Decimal(json.dumps(json_number(number))) == number


@given(st.text(max_size=400), st.text(max_size=3000))
def test_any_title_and_text_make_an_item(title, text):
    if not title.strip():
        return
    members = content_item(LinkItem(url=ITEM.url, title=title, text=text), SELECTION)
    assert len(members["title"]) <= 255
    assert "\n" not in members["title"]
    assert len(members.get("text", "")) <= 2000
