"""Roles, locales, products, return URLs, errors and redaction."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lti.errors import LaunchError, LaunchErrorCode
from lti.locales import normalise_locale
from lti.message import LaunchMessage
from lti.products import PRODUCTS, correction_hint, detect_lms, product_of
from lti.redaction import is_personal, redact
from lti.return_url import return_url_with_message, safe_http_url
from lti.roles import CourseRole, Roles, parse_role, parse_roles

MEMBERSHIP = "http://purl.imsglobal.org/vocab/lis/v2/membership"
PERSON = "http://purl.imsglobal.org/vocab/lis/v2/institution/person"
SYSTEM = "http://purl.imsglobal.org/vocab/lis/v2/system/person"


class TestRoles:
    @pytest.mark.parametrize(
        ("raw", "role"),
        [
            ("Instructor", "teacher"),
            ("INSTRUCTOR", "teacher"),
            ("learner", "student"),
            ("Student,Learner", "student"),
            ("", "student"),
            (" , ,", "student"),
            ("urn:lti:role:ims/lis/Instructor", "teacher"),
            ("urn:lti:unknown:x, urn:lti:role:ims/lis/Instructor ,foo", "teacher"),
            ("foo,ContentDeveloper,bar", "teacher"),
            ("TeachingAssistant", "teacher"),
            ("urn:lti:role:ims/lis/TeachingAssistant", "teacher"),
            ("urn:lti:role:ims/lis/Instructor/TeachingAssistant", "teacher"),
            ("urn:lti:role:ims/lis/Administrator", "teacher"),
            ("Administrator", "teacher"),
            ("Manager", "teacher"),
            ("Mentor", "mentor"),
            ("urn:lti:role:ims/lis/Mentor", "mentor"),
            ("Mentor,Instructor", "teacher"),
            ("Member", "student"),
            ("urn:lti:role:ims/lis/Learner/GuestLearner", "student"),
            ("urn:lti:role:ims/lis/Learner/Instructor", "student"),
            # A28: institution and system roles never grant.
            ("urn:lti:instrole:ims/lis/Instructor", "student"),
            ("urn:lti:instrole:ims/lis/Administrator,urn:lti:sysrole:ims/lis/SysAdmin", "student"),
            ("urn:lti:instrole:ims/lis/Mentor", "student"),
            ("urn:lti:instrole:ims/lis/Faculty,Faculty,urn:lti:instrole:ims/lis/Instructor,Instructor", "teacher"),
            ("Faculty,urn:lti:instrole:ims/lis/Faculty", "student"),
            (f"{PERSON}#Instructor", "student"),
            (f"{SYSTEM}#Administrator", "student"),
            (f"{MEMBERSHIP}#Instructor", "teacher"),
            (f"{MEMBERSHIP}/Instructor#TeachingAssistant", "teacher"),
            (f"{MEMBERSHIP}#Instructor#TeachingAssistant", "teacher"),
            (f"{MEMBERSHIP}#Mentor", "mentor"),
            (f"{MEMBERSHIP}#Learner", "student"),
            (f"{MEMBERSHIP}s#Instructor", "student"),
            ("http://evil.example/membership#Instructor", "student"),
            ("urn:lti:role:ims/lis/Not/An/Instructor", "student"),
            ("NotInstructor,InstructorX,x/Instructor", "student"),
        ],
    )
    def test_course_role(self, raw, role):
        assert parse_roles(raw).course_role == role
        assert Roles.from_list(raw.split(",")).course_role == role

    def test_one_role(self):
        role = parse_role(f" {MEMBERSHIP}/instructor#teachingassistant ")
        assert (role.scope, role.name, role.sub_role) == ("context", "Instructor", "TeachingAssistant")
        assert parse_role("urn:lti:sysrole:ims/lis/sysadmin").name == "SysAdmin"
        assert parse_role("Student").name == "Learner"
        assert parse_role(f"{PERSON}#Student").name == "Student"
        assert parse_role("urn:x:y").scope == "unknown"

    def test_test_users(self):
        assert Roles.from_list(["http://purl.imsglobal.org/vocab/lti/system/person#TestUser"]).is_test_user
        assert not parse_roles("Learner").is_test_user

    def test_raw_is_kept(self):
        assert parse_roles("Learner,, x ").raw == "Learner,, x "

    @given(st.text(max_size=80))
    def test_nothing_becomes_teacher_without_a_teaching_role(self, text):
        roles = parse_roles("urn:lti:instrole:ims/lis/" + text.replace(",", ""))
        assert roles.course_role is CourseRole.STUDENT


@pytest.mark.parametrize(
    ("raw", "tag"),
    [
        ("en", "en"),
        ("en_US", "en-US"),
        ("en-US", "en-US"),
        ("EN-US__", "en-US"),
        ("pt_br", "pt-BR"),
        ("zh_cn", "zh-CN"),
        ("zh-hans-cn", "zh-Hans-CN"),
        ("es-419", "es-419"),
        ("en_US.UTF-8", "en-US"),
        ("sr@latin", "sr"),
        ("ca_valencia", "ca-valencia"),
        ("de_kids", "de"),
        ("", ""),
        ("-", ""),
        ("$Message.locale", ""),
        ("<b>", ""),
        ("e" * 100, ""),
    ],
)
def test_locales(raw, tag):
    assert normalise_locale(raw) == tag


@pytest.mark.parametrize(
    ("values", "lms"),
    [
        ({"tool_consumer_info_product_family_code": "BlackboardLearn"}, "blackboard"),
        ({"tool_consumer_info_product_family_code": "Blackboard  Learn"}, "blackboard"),
        ({"tool_consumer_info_product_family_code": "Chamilo LMS"}, "chamilo"),
        ({"tool_consumer_info_product_family_code": "desire2learn"}, "brightspace"),
        ({"ext_lms": "moodle-2"}, "moodle"),
        ({"ext_lms": "bb-3400"}, "blackboard"),
        ({"ext_lms": "sakai-23.1"}, "sakai"),
        ({"custom_canvas_course_id": "1"}, "canvas"),
        ({"tool_consumer_instance_guid": "x:canvas-lms"}, "canvas"),
        ({"ext_d2l_username": "a"}, "brightspace"),
        ({"tool_consumer_info_product_family_code": "My Site", "context_id": "course-v1:a+b+c"}, "openedx"),
        ({"tool_consumer_info_product_family_code": "moodle", "custom_canvas_course_id": "1"}, "moodle"),
        ({"tool_consumer_info_product_family_code": "homegrown"}, ""),
        ({}, ""),
    ],
)
def test_products_are_recognised(values, lms):
    assert detect_lms(values) == lms


@pytest.mark.parametrize("lms", [*(product.name for product in PRODUCTS), "", "unheard-of"])
def test_hints_name_a_screen(lms):
    hint = correction_hint(lms, LaunchErrorCode.AUTHENTICATION_FAILED)
    assert "key" in hint
    for code in LaunchErrorCode:
        hint = correction_hint(lms, code)
        assert not hint or (hint[0].isupper() and hint.endswith("."))
    assert "BASE_URL" in correction_hint(lms, LaunchErrorCode.AUTHENTICATION_FAILED, "scheme")


def test_hints_of_canvas_moodle_and_chamilo():
    code = LaunchErrorCode.AUTHENTICATION_FAILED
    assert "Settings → Apps → View App Configurations" in correction_hint("canvas", code)
    assert "Course → More → LTI External tools" in correction_hint("moodle", code)
    assert "IMS/LTI" in correction_hint("chamilo", code)
    assert product_of("blackboard").comment_line_break == "<br/>"
    assert not product_of("openedx").reads_and_deletes_results


class TestReturnUrl:
    def test_query_is_kept(self):
        url = "https://m.example/return.php?course=2&sesskey=a%20b+c"
        assert return_url_with_message(url, message="Grüße & Küsse") == (
            url + "&lti_msg=Gr%C3%BC%C3%9Fe%20%26%20K%C3%BCsse"
        )

    @pytest.mark.parametrize(
        ("url", "expected"),
        [
            ("https://m.example", "https://m.example?lti_msg=x"),
            ("https://m.example/?", "https://m.example/?lti_msg=x"),
            ("https://m.example/?a=1&", "https://m.example/?a=1&lti_msg=x"),
            ("https://m.example/#top", "https://m.example/?lti_msg=x#top"),
            ("http://[::1]:8080/a", "http://[::1]:8080/a?lti_msg=x"),
        ],
    )
    def test_separators(self, url, expected):
        assert return_url_with_message(url, message="x") == expected

    def test_all_four(self):
        url = return_url_with_message("https://m/", message="a", error_message="b", log="c", error_log="d")
        assert parse_qs(urlsplit(url).query) == {
            "lti_msg": ["a"],
            "lti_errormsg": ["b"],
            "lti_log": ["c"],
            "lti_errorlog": ["d"],
        }

    def test_nothing_to_say(self):
        assert return_url_with_message("https://m/?a=1") == "https://m/?a=1"

    @given(st.text(max_size=900), st.text(max_size=900), st.integers(0, 2100))
    def test_it_stays_short_and_on_one_line(self, message, log, length):
        base = "https://m.example/?q=" + "x" * length
        url = return_url_with_message(base, message=message, error_log=log)
        assert url.startswith(base)
        assert len(url) <= max(2000, len(base))
        for value in parse_qs(urlsplit(url).query).get("lti_msg", []):
            assert len(value) <= 500
            assert "\n" not in value

    def test_unsafe(self):
        with pytest.raises(ValueError):
            return_url_with_message("javascript:alert(1)", message="x")


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://a.example/x?y#z", True),
        ("http://127.0.0.1:8081/", True),
        ("http://[::1]/", True),
        ("HTTPS://A.example", True),
        ("", False),
        ("/x", False),
        ("//a.example", False),
        ("javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("ftp://a", False),
        ("https:a.example", False),
        ("https:///x", False),
        ("https://user@a.example", False),
        ("https://user:pw@a.example", False),
        ("https://good.example\\@evil.example", False),
        ("https://a.example/\x00", False),
        ("https://a.example/\r\nx", False),
        (" https://a.example", False),
        ("https://a.example:99999", False),
        ("https://a.example:x", False),
        ("https://[::1", False),
        ("https://[v1.x]/", False),
        ("https://a example/", False),
    ],
)
def test_safe_http_url(url, safe):
    assert safe_http_url(url) is safe


@given(st.text(max_size=60))
def test_safe_http_url_never_raises(text):
    assert safe_http_url(text) in {True, False}
    assert safe_http_url("https://" + text) in {True, False}


class TestErrors:
    def test_statuses(self):
        by_status = {code.value: code.status for code in LaunchErrorCode}
        assert by_status["missing_parameter"] == by_status["malformed"] == by_status["platform_error"] == 400
        assert by_status["nonce_reused"] == by_status["state_mismatch"] == by_status["invalid_token"] == 401
        assert by_status["lti_disabled"] == by_status["deployment_pending"] == 403
        assert by_status["unknown_destination"] == 404
        assert by_status["already_answered"] == by_status["course_not_ready"] == 409
        assert by_status["too_many_requests"] == 429
        assert by_status["platform_unreachable"] == 502
        assert len(by_status) == 19

    def test_details_are_short_and_redacted(self):
        error = LaunchError(
            LaunchErrorCode.MALFORMED,
            "x",
            received="ada@example.edu oauth_signature=abc%3D&b=1 eyJhbGciOi.eyJpc3Mi.c2ln\n" + "y" * 9999,
            status=413,
        )
        assert error.status == 413
        assert len(error.received) == 500
        for secret in ("ada@", "abc%3D", "eyJ", "\n"):
            assert secret not in error.received

    def test_open_edx_ids_are_no_email_addresses(self):
        text = "block-v1:X+type@lti_consumer+block@0123"
        assert redact(text) == text

    def test_personal_parameters(self):
        assert is_personal("lis_person_name_full")
        assert is_personal("lis_result_sourcedid")
        assert not is_personal("context_id")


def test_messages_are_frozen():
    message = LaunchMessage("1.3", "LtiResourceLinkRequest", "u", parse_roles(""))
    with pytest.raises(AttributeError):
        message.user_id = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        message.custom["a"] = "b"  # type: ignore[index]
