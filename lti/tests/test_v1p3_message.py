from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lti.errors import LaunchError, LaunchErrorCode
from lti.products import correction_hint, product_of_issuer
from lti.roles import CourseRole
from lti.tests.platform_1p3 import CLIENT_ID, ISSUER, NONCE, NOW, checked, jwk_of, jwks, key, launch_claims, signed
from lti.tests.recorded import load
from lti.v1p3 import vocabulary as names
from lti.v1p3.id_token import Expected, verify
from lti.v1p3.key_sets import parse_key_set
from lti.v1p3.message import to_message
from lti.v1p3.migration import consumer_key_sign, is_genuine


def message_of(**changes):
    return to_message(checked(signed(launch_claims(**changes))))


def recorded_message(name):
    """A recorded Moodle token's claims, signed anew by a key of ours."""
    claims = load(f"moodle/{name}.json")["claims"]
    expected = Expected(claims["iss"], claims["aud"], claims["nonce"], lambda url: ":9091/" in url)
    keys = parse_key_set(jwks(jwk_of(key()))).find
    return to_message(verify(signed(claims), expected, keys, now=claims["iat"] + 1))


# --------------------------------------------------------------------------------------------- Moodle's recordings

PEOPLE = {
    "id_token_claims_student": ("5", "Ada Lovelace", "student1@example.invalid", "student", "4"),
    "id_token_claims_teacher": ("3", "Tina Teacher", "teacher1@example.invalid", "teacher", "4"),
    "id_token_claims_nonediting_teacher": ("4", "Tom Tutor", "tutor1@example.invalid", "teacher", "4"),
    "id_token_claims_manager1": (None, None, None, "teacher", "4"),
    "id_token_claims_admin": ("2", "Admin User", None, "teacher", "4"),
    "id_token_claims_deep_linked_item": ("5", "Ada Lovelace", "student1@example.invalid", "student", "5"),
    "id_token_claims_dynamic_tool": ("5", "Ada Lovelace", None, "student", "9"),
    "id_token_claims_submission_review": ("3", "Tina Teacher", "teacher1@example.invalid", "teacher", "4"),
    "deep_linking_request": ("3", "Tina Teacher", "teacher1@example.invalid", "teacher", ""),
}


@pytest.mark.parametrize("name", list(PEOPLE))
def test_moodles_tokens_give_the_right_person_role_and_link(name):
    message = recorded_message(name)
    user_id, person, email, role, link = PEOPLE[name]
    assert user_id is None or message.user_id == user_id
    assert person is None or message.name == person
    assert email is None or message.email == email
    assert message.roles.course_role == CourseRole(role)
    assert message.resource_link_id == link
    assert (message.lti_version, message.issuer) == ("1.3", "http://127.0.0.1:8081")
    assert message.context_id == "2"
    assert message.context_title == 'LTI test course (Été & "quotes" )'
    assert message.context_type == "CourseSection"
    assert message.platform.lms == "moodle"
    assert message.course_section_sourcedid == "SIS-LTI101"


def test_a_moodle_students_launch_in_full():
    message = recorded_message("id_token_claims_student")
    assert (message.deployment_id, message.client_id) == ("3", "zzBR2eEKcuhOPlS")
    assert (message.username, message.person_sourcedid) == ("student1", "SIS-STUDENT1")
    assert message.resource_link_description == "one\r\n\r\ntwo é"
    assert message.locale == "en"
    assert urlsplit(message.return_url).path == "/mod/lti/return.php"
    assert (message.nonce, message.timestamp, message.expires_at) == ("TzoGNFtZyexhatFVPC3xgw", 1795201112, 1795201172)
    assert message.ags.scopes == names.AGS_SCOPES
    assert message.ags.line_item == "http://127.0.0.1:8081/mod/lti/services.php/2/lineitems/4/lineitem?type_id=3"
    assert message.ags.line_items == "http://127.0.0.1:8081/mod/lti/services.php/2/lineitems?type_id=3"
    assert message.nrps.memberships_url.endswith("/CourseSection/2/bindings/3/memberships")
    assert message.custom["unit"] == "7"
    assert message.custom["mixedcase"] == "LTI 1.3 launch"
    assert "unknown" not in message.custom
    assert message.selection is None
    assert message.migration is None
    # Grades go by AGS alone, whatever else Moodle offers.
    assert (message.outcome_service_url, message.result_sourcedid) == ("", "")


def test_a_moodle_review_says_whose_work_it_is_about():
    message = recorded_message("id_token_claims_submission_review")
    assert (message.message_type, message.for_user_id) == (names.SUBMISSION_REVIEW_REQUEST, "5")


def test_a_moodle_request_to_choose_says_what_it_takes():
    selection = recorded_message("deep_linking_request").selection
    assert selection.kind == "deep_linking"
    assert selection.takes_links
    assert selection.accept_multiple
    assert selection.accepts_line_item is None
    assert selection.data is None
    assert selection.document_targets == ("frame", "iframe", "window")
    assert selection.return_url.endswith("contentitem_return.php?course=2&id=3&sesskey=qMShVan3aq")
    assert (selection.title, selection.text) == ("Typed title", "Typed <i>text</i>")


# ------------------------------------------------------------------------------------------------ claims in detail


def test_the_message_holds_what_was_verified():
    message = message_of()
    assert (message.user_id, message.deployment_id, message.client_id) == ("u-1", "d-1", CLIENT_ID)
    assert (message.issuer, message.nonce, message.timestamp) == (ISSUER, NONCE, NOW)
    assert message.target_link_uri == "https://tool.example/lti/assignments/7?assignment=hello"


def test_custom_parameters_come_in_any_shape():
    custom = {"Mixed-Case Key": "x", "n": 12, "f": 1.5, "t": True, "nil": None, "list": [1], "var": "$Canvas.course.id"}
    message = message_of(custom=custom)
    assert message.custom_value("mixed_case_key") == "x"
    assert (message.custom["n"], message.custom["f"], message.custom["t"]) == ("12", "1.5", "true")
    assert (message.custom["nil"], message.custom["list"]) == ("", "")
    assert "var" not in message.custom


def test_moodle_sends_both_spellings_and_the_one_with_a_value_counts():
    assert message_of(custom={"mixedcase": None, "MixedCase": "v"}).custom["mixedcase"] == "v"


def test_the_links_own_query_counts_after_the_custom_claim():
    message = message_of()
    assert message.custom_value("assignment") == "hello"
    assert message_of(custom={"assignment": "other"}).custom_value("assignment") == "other"
    target = "https://tool.example/x?custom_room=a&room=b&room=c"
    assert message_of(target_link_uri=target).custom_value("room") == "a"
    assert message_of(target_link_uri=target).raw["room"] == "b"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"name": "Ada L"}, "Ada L"),
        ({"given_name": "-"}, ""),
        ({"name": "$Person.name.full", "email": "a@example.org"}, ""),
        ({names.EXT: {"user_username": "ada"}}, "ada"),
    ],
)
def test_names_fall_back_but_never_to_the_address(changes, expected):
    changes = {f"{name}" if ":" in name else name: value for name, value in changes.items()}
    claims = {**launch_claims(), **changes}
    assert to_message(checked(signed(claims))).name == expected


def test_presentation_may_hold_numbers_and_a_bad_return_url():
    presentation = {"width": 800, "height": 600.0, "document_target": "IFRAME", "return_url": "javascript:alert(1)"}
    message = message_of(launch_presentation=presentation, locale="pt_br")
    assert (message.width, message.height, message.document_target) == ("800", "600", "iframe")
    assert (message.return_url, message.locale) == ("", "pt-BR")


@pytest.mark.parametrize(
    ("platform", "lms"),
    [
        ({"product_family_code": "canvas"}, "canvas"),
        ({"family_code": "Chamilo LMS"}, "chamilo"),
        ({"product_family_code": "BlackboardLearn"}, "blackboard"),
        ({"guid": "x:canvas-lms"}, "canvas"),
        ({"product_family_code": "desire2learn"}, "brightspace"),
        (None, ""),
    ],
)
def test_the_lms_is_recognised(platform, lms):
    assert message_of(tool_platform=platform).platform.lms == lms


def test_brightspace_tells_of_copied_courses_in_a_claim_of_its_own():
    claims = {**launch_claims(), names.BRIGHTSPACE: {"context_id_history": "711,690", "tenant_id": None}}
    message = to_message(checked(signed(claims)))
    assert message.custom_value("ext_d2l_context_id_history") == "711,690"
    assert message.platform.lms == "brightspace"


def test_a_mentor_names_those_mentored():
    message = message_of(
        roles=["http://purl.imsglobal.org/vocab/lis/v2/membership#Mentor"], role_scope_mentor=["u-2", "u-3", 7]
    )
    assert message.roles.course_role is CourseRole.MENTOR
    assert message.role_scope_mentor == ("u-2", "u-3")


@pytest.mark.parametrize(
    ("roles", "role", "is_test"),
    [
        (["http://purl.imsglobal.org/vocab/lis/v2/institution/person#Instructor"], "student", False),
        (["http://purl.imsglobal.org/vocab/lis/v2/membership/Instructor#TeachingAssistant"], "teacher", False),
        (["Learner", "http://purl.imsglobal.org/vocab/lti/system/person#TestUser"], "student", True),
        ([], "student", False),
        ([None, 5, "Instructor"], "teacher", False),
    ],
)
def test_roles_are_those_of_the_course_alone(roles, role, is_test):
    found = message_of(roles=roles).roles
    assert (found.course_role, found.is_test_user) == (CourseRole(role), is_test)


@pytest.mark.parametrize(
    "claim",
    [
        None,
        {},
        "https://lms.example/x",
        {"scope": [names.SCOPE_SCORE]},
        {"lineitem": "javascript:alert(1)", "lineitems": "https://a@b/c"},
        {"lineitem": 5},
    ],
)
def test_without_a_usable_address_there_is_no_grade_service(claim):
    assert to_message(checked(signed({**launch_claims(), names.AGS_ENDPOINT: claim}))).ags is None


@pytest.mark.parametrize(
    ("claim", "offered"),
    [
        ({"context_memberships_url": "https://lms.example/m", "service_versions": ["2.0"]}, True),
        ({"context_memberships_url": "https://lms.example/m"}, True),
        ({"context_memberships_url": "https://lms.example/m", "service_versions": ["1.0"]}, False),
        ({"service_versions": ["2.0"]}, False),
        (None, False),
    ],
)
def test_the_roster_service_is_that_of_version_2(claim, offered):
    message = to_message(checked(signed({**launch_claims(), names.NRPS_SERVICE: claim})))
    assert (message.nrps is not None) is offered


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9)
)
shapes = scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text(max_size=9), scalars, max_size=3)
OPTIONAL = [
    names.CONTEXT,
    names.CUSTOM,
    names.LIS,
    names.LAUNCH_PRESENTATION,
    names.TOOL_PLATFORM,
    names.ROLE_SCOPE_MENTOR,
    names.LTI1P1,
    names.EXT,
    names.BRIGHTSPACE,
    names.AGS_ENDPOINT,
    names.NRPS_SERVICE,
    "name",
    "given_name",
    "email",
    "picture",
    "locale",
]


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(OPTIONAL), shapes, max_size=4))
def test_optional_claims_of_any_shape_make_a_message_of_texts(changes):
    raw = json.dumps({**launch_claims(), **changes}).encode()
    try:
        token = checked(signed(raw))
    except LaunchError as error:
        # Control characters and NUL in ids and texts, nothing else.
        malformed = error.code
        assert malformed is LaunchErrorCode.MALFORMED
        return
    message = to_message(token)
    assert message.user_id == "u-1"
    assert all(isinstance(value, str) for value in [*message.custom.values(), message.name, message.context_id])


# ------------------------------------------------------------------------------------------------------- migration


def test_the_migration_vector_of_the_standard():
    vector = load("oauth-test-vectors.json")["lti1p1_migration_vector"]
    made = consumer_key_sign(
        vector["secret"],
        consumer_key=vector["oauth_consumer_key"],
        deployment_id=vector["deployment_id"],
        issuer=vector["iss"],
        client_id=vector["client_id"],
        expires_at=int(vector["exp"]),
        nonce=vector["nonce"],
    )
    assert made == vector["oauth_consumer_key_sign"] == "lWd54kFo5qU7xshAna6v8BwoBm6tmUjc6GTax6+12ps="


def signed_claim(**changes):
    values = {
        "consumer_key": "old-key",
        "deployment_id": "d-1",
        "issuer": ISSUER,
        "client_id": CLIENT_ID,
        "expires_at": NOW + 60,
        "nonce": NONCE,
        **changes,
    }
    sign = consumer_key_sign("s3cret", **values)
    return {
        "oauth_consumer_key": "old-key",
        "oauth_consumer_key_sign": sign,
        "user_id": "old-user",
        "context_id": "old-c",
    }


def test_a_signed_past_is_believed():
    message = message_of(lti1p1=signed_claim())
    claim = message.migration
    assert (claim.consumer_key, claim.user_id, claim.context_id) == ("old-key", "old-user", "old-c")
    assert (claim.resource_link_id, claim.instance_guid) == ("", "")
    assert is_genuine(message, ["other", "s3cret"])
    assert claim.consumer_key_sign not in repr(message)


def test_a_past_that_is_not_signed_is_not_believed():
    unsigned = {"oauth_consumer_key": "old-key", "user_id": "old-user"}
    assert not is_genuine(message_of(lti1p1=unsigned), ["s3cret"])
    assert not is_genuine(message_of(lti1p1=signed_claim()), ["other"])
    assert not is_genuine(message_of(lti1p1=signed_claim()), [])
    assert not is_genuine(message_of(), ["s3cret"])


@pytest.mark.parametrize(
    "changes",
    [
        {"consumer_key": "d-1", "deployment_id": "old-key"},
        {"deployment_id": "d-2"},
        {"issuer": f"{ISSUER}/"},
        {"client_id": "other"},
        {"expires_at": NOW + 61},
        {"nonce": "other"},
    ],
)
def test_a_signature_is_over_this_very_launch(changes):
    assert not is_genuine(message_of(lti1p1=signed_claim(**changes)), ["s3cret"])


@pytest.mark.parametrize("name", ["lti11_legacy_user_id", names.LEGACY_USER_ID])
def test_a_legacy_user_id_is_kept_but_never_genuine_by_itself(name):
    message = to_message(checked(signed({**launch_claims(), name: "old"})))
    assert message.migration.user_id == "old"
    assert not is_genuine(message, ["s3cret"])


# -------------------------------------------------------------------------------------------------------- products


def test_shared_issuers_are_known():
    assert product_of_issuer("https://canvas.instructure.com").name == "canvas"
    assert product_of_issuer("https://canvas.instructure.com/").name == ""
    assert product_of_issuer("https://blackboard.com").service_hosts == ("*.blackboard.com",)


def test_hints_for_owners_exist_for_the_errors_of_1_3():
    for code in (LaunchErrorCode.INVALID_TOKEN, LaunchErrorCode.PLATFORM_UNREACHABLE, LaunchErrorCode.STATE_MISMATCH):
        assert correction_hint("moodle", code)


@pytest.mark.parametrize(
    ("claims", "course", "link"),
    [
        ({names.CUSTOM: {"Context.id.history": "c-2, c-1"}}, ("c-2", "c-1"), ()),
        ({names.CUSTOM: {"context_id_history": "c-1", "ResourceLink.id.history": "l-9,l-8"}}, ("c-1",), ("l-9", "l-8")),
        (
            {names.BRIGHTSPACE: {"context_id_history": "711,690", "resource_link_id_history": "l-1"}},
            ("711", "690"),
            ("l-1",),
        ),
        ({names.BRIGHTSPACE: {"Context.id.history": "711"}}, ("711",), ()),
        ({names.CUSTOM: {"context_id_history": "$Context.id.history", "context_history": None}}, (), ()),
        ({}, (), ()),
    ],
)
def test_what_course_and_link_were_copied_from(claims, course, link):
    message = to_message(checked(signed({**launch_claims(), **claims})))
    assert (message.context_history, message.resource_link_history) == (course, link)
