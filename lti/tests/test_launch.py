from __future__ import annotations

import contextlib
from urllib.parse import quote, urlencode, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lti.errors import LaunchError, LaunchErrorCode
from lti.roles import CourseRole
from lti.tests.recorded import FORM, KEY, NOW, SECRET, URL, launch, load, posted, unsigned
from lti.v1p1.launch import LaunchRequest, Secrets, read_form, to_message, verify
from lti.v1p1.oauth1 import sign, sign_form

SAMPLES = load("lms-launch-samples.json")
CODE = LaunchErrorCode


def name_of(sample):
    return f"{sample['lms']}: {sample['scenario']}"


def checked(request, secrets=None, now=NOW, window=300):
    form = read_form(request)
    return verify(request, form, secrets or Secrets(SECRET), now=now, window=window)


def refused(request, secrets=None, **kwargs):
    with pytest.raises(LaunchError) as caught:
        checked(request, secrets, **kwargs)
    return caught.value


def message_of(**params):
    return to_message(read_form(posted(launch(**params))))


# ------------------------------------------------------------------------------------------- the collected launches

CANVAS_LINK = "df4a2b1c9f0e8d7c6b5a49382716050413fe2d1c"
CANVAS_COURSE = "4dde05e8ca1973bcca9bffc13e1548820eee93a3"
EDX_BLOCK = "block-v1:ExampleX+BIO101+2024_T1+type@lti_consumer+block@0123456789abcdef0123456789abcdef"
EXPECTED = {
    # lms, scenario: (lms name, person, role, context, link) or the code it is refused with
    ("Canvas", "teacher, course_navigation"): ("canvas", "Ada Example", "teacher", CANVAS_COURSE),
    ("Canvas", "student, assignment with grade passback"): ("canvas", "Ada Example", "student", CANVAS_LINK),
    ("Canvas", "student, privacy_level anonymous"): ("canvas", "", "student", CANVAS_LINK),
    ("Canvas", "student, launch URL with query (default signing)"): ("canvas", "Ada Example", "student", CANVAS_LINK),
    ("Canvas", "user without separate names"): ("canvas", "canvas@example.edu", "teacher", None),
    ("Canvas", "teacher, resource_selection (pre Content-Item style)"): CODE.UNSUPPORTED_MESSAGE,
    ("Canvas", "teacher, ContentItemSelectionRequest from editor_button"): CODE.UNSUPPORTED_MESSAGE,
    ("Moodle", "student with grades"): ("moodle", "Ada Example", "student", "3"),
    ("Moodle", "site admin"): ("moodle", "Ada Example", "teacher", "3"),
    ("Moodle", "ContentItemSelectionRequest"): CODE.UNSUPPORTED_MESSAGE,
    ("Moodle", "unsigned launch (no key/secret configured)"): CODE.AUTHENTICATION_FAILED,
    ("Chamilo", "teacher"): ("chamilo", "María José Núñez", "teacher", "7"),
    ("Chamilo", "teacher, ContentItemSelectionRequest"): CODE.UNSUPPORTED_MESSAGE,
    ("Chamilo", "learner with grade"): ("chamilo", "María José Núñez", "student", "7"),
    ("Chamilo", "platform admin / HR mentor / guest roles"): ("chamilo", "María José Núñez", "mentor", "7"),
    ("Blackboard Learn", "instructor"): ("blackboard", "Ada Example", "teacher", "_1303_1"),
    ("Brightspace (D2L)", "learner with grade"): ("brightspace", "Ada Example", "student", "usgq-41152027_3991591"),
    ("Sakai", "instructor"): ("sakai", "Ada Example", "teacher", "content:3"),
    ("Schoology", "student"): ("schoology", "Ada Example", "student", "1122334455"),
    ("Open edX", "learner, graded"): ("openedx", "Ada Example", "student", EDX_BLOCK),
    ("ILIAS", "learner"): ("ilias", "", "student", "p85"),
}


def test_every_sample_is_expected():
    assert {(s["lms"], s["scenario"]) for s in SAMPLES} == set(EXPECTED)
    assert len(SAMPLES) == 21


@pytest.mark.parametrize("method", ["HMAC-SHA1", "HMAC-SHA256"])
@pytest.mark.parametrize("sample", SAMPLES, ids=name_of)
def test_samples(sample, method):
    expected = EXPECTED[sample["lms"], sample["scenario"]]
    params = unsigned(sample["params"])
    if expected is CODE.AUTHENTICATION_FAILED:
        assert refused(posted(params.items())).code is expected
        return
    url, canvas_signs_once = URL, "default signing" in sample["scenario"]
    pairs = sign_form(url, params, KEY, SECRET, signature_method=method, timestamp=NOW)
    if canvas_signs_once:
        url = sample["notes"].removeprefix("launch URL: ")
    request = posted(pairs, url)
    verified = checked(request)
    assert verified.canvas_query_quirk is canvas_signs_once
    assert verified.secret_used == "current"
    form = read_form(request)
    if isinstance(expected, LaunchErrorCode):
        with pytest.raises(LaunchError) as caught:
            to_message(form)
        assert caught.value.code is expected
        return
    message = to_message(form)
    lms, name, role, link = expected
    assert message.platform.lms == lms
    assert message.name == name
    assert message.roles.course_role == role
    assert message.user_id == params["user_id"]
    assert message.context_id == params["context_id"]
    assert message.context_title == params.get("context_title", "")
    assert link is None or message.resource_link_id == link
    assert message.result_sourcedid == params.get("lis_result_sourcedid", "")
    assert message.outcome_service_url == params.get("lis_outcome_service_url", "")
    assert message.lti_version == "1.1"
    assert not any(field.startswith("oauth_") for field in message.raw)
    assert message.nonce
    assert message.timestamp == NOW


def test_details_of_the_samples():
    def message(lms, scenario):
        sample = next(s for s in SAMPLES if (s["lms"], s["scenario"]) == (lms, scenario))
        return to_message(read_form(posted(sign_form(URL, unsigned(sample["params"]), KEY, SECRET))))

    canvas = message("Canvas", "student, assignment with grade passback")
    assert canvas.username == "ada.example"
    assert canvas.custom["canvas_course_id"] == "512"
    assert canvas.custom_value("canvas_course_id") == "512"
    extensions = canvas.outcome_extensions
    assert extensions.data_values_accepted == {"url", "text"}
    assert extensions.total_score_accepted
    assert extensions.submitted_at_accepted
    assert extensions.needs_additional_review_accepted
    assert extensions.prioritize_non_tool_grade_accepted
    moodle = message("Moodle", "student with grades")
    assert moodle.context_title == "Biology <1> & friends"
    assert moodle.resource_link_description == "First line\r\nSecond line"
    assert moodle.return_url.endswith("sesskey=abcDEF1234")
    assert message("Chamilo", "teacher").return_url == ""
    assert message("Open edX", "learner, graded").return_url == ""
    assert message("Chamilo", "platform admin / HR mentor / guest roles").role_scope_mentor == ("31", "32")
    brightspace = message("Brightspace (D2L)", "learner with grade")
    assert brightspace.locale == "en-US"
    assert brightspace.username == "ada.example"
    assert message("Sakai", "instructor").outcome_extensions.data_values_accepted == {"text"}
    assert message("ILIAS", "learner").given_name == ""


# --------------------------------------------------------------------------------------------- Moodle, recorded

RECORDED = {
    "admin": ("Admin User", CourseRole.TEACHER, "2", "1"),
    "nonediting_teacher": ("Tom Tutor", CourseRole.TEACHER, "4", "1"),
    "picked_item": ("Ada Lovelace", CourseRole.STUDENT, "5", "3"),
    "student": ("Ada Lovelace", CourseRole.STUDENT, "5", "1"),
    "teacher": ("Tina Teacher", CourseRole.TEACHER, "3", "1"),
}


def recorded_request(name):
    record = load(f"moodle/launch_1p1_{name}.json")
    fields = record.get("fields_in_order") or list(record["fields"].items())
    path = record.get("action") or record["path"]
    query = "?" + urlencode([tuple(pair) for pair in record["query"]], quote_via=quote) if record["query"] else ""
    return posted([tuple(pair) for pair in fields], f"http://127.0.0.1:9091{path}{query}"), record


@pytest.mark.parametrize("name", RECORDED)
def test_moodle_as_recorded(name):
    request, record = recorded_request(name)
    secret = record.get("shared_secret", "lab-secret")
    now = int(record["fields"]["oauth_timestamp"]) + 2
    verified = checked(request, Secrets(secret), now=now)
    assert not verified.canvas_query_quirk
    message = to_message(read_form(request))
    person, role, user_id, link = RECORDED[name]
    assert (message.name, message.roles.course_role, message.user_id) == (person, role, user_id)
    assert (message.context_id, message.resource_link_id) == ("2", link)
    assert message.context_title == 'LTI test course (Été & "quotes" )'
    assert message.platform.lms == "moodle"
    assert message.course_section_sourcedid == "SIS-LTI101"
    assert "unknown" not in message.custom
    assert message.custom["mixedcase"] == "Value With Case"
    assert refused(request, Secrets("other"), now=now).code is CODE.AUTHENTICATION_FAILED


def test_moodle_picked_item_has_its_query():
    request, _ = recorded_request("picked_item")
    message = to_message(read_form(request))
    assert message.raw["item"] == "quiz 1"
    assert message.custom_value("item") == "quiz 1"
    assert message.custom_value("Mixed-Case Key") == "v=1&x"


def test_crlf_to_lf_breaks_the_signature():
    request, record = recorded_request("student")
    changed = LaunchRequest(request.url, request.body.replace(b"%0D%0A", b"%0A"), FORM, "POST")
    assert changed.body != request.body
    error = refused(changed, Secrets("lab-secret"), now=int(record["fields"]["oauth_timestamp"]))
    assert error.code is CODE.AUTHENTICATION_FAILED


# ------------------------------------------------------------------------------------------------ verification


@pytest.mark.parametrize("vector", load("oauth-test-vectors.json")["launch_vectors"], ids=lambda v: v["name"])
def test_vectors_verify(vector):
    pairs = [tuple(pair) for pair in vector["body"]] + [("oauth_signature", vector["oauth_signature"])]
    request = posted(pairs, vector["url"])
    secrets = Secrets(vector["consumer_secret"])
    if vector["name"] == "duplicate-names":
        assert refused(request, secrets).code is CODE.MALFORMED
        return
    assert checked(request, secrets).canvas_query_quirk is (vector["name"] == "canvas-legacy-query-copied")
    if urlsplit(vector["url"]).query:
        tampered = posted(pairs, vector["url"].replace("1", "2").replace("42", "43"))
        assert refused(tampered, secrets).code in {CODE.AUTHENTICATION_FAILED, CODE.MALFORMED}


class TestSecrets:
    def test_both_secrets_verify_while_rotating(self):
        both = Secrets("new", "old")
        assert checked(posted(launch(secret="new")), both).secret_used == "current"
        assert checked(posted(launch(secret="old")), both).secret_used == "previous"
        assert refused(posted(launch(secret="old")), Secrets("new")).code is CODE.AUTHENTICATION_FAILED

    def test_unknown_key_and_wrong_secret_look_alike(self):
        request = posted(launch())
        form = read_form(request)
        with pytest.raises(LaunchError) as unknown:
            verify(request, form, None, now=NOW, window=300)
        wrong = refused(request, Secrets("wrong"))
        assert str(unknown.value) == str(wrong) == "authentication_failed"
        assert unknown.value.status == wrong.status == 401
        assert unknown.value.check != wrong.check

    def test_unknown_key_costs_as_many_signatures(self, monkeypatch):
        import lti.v1p1.launch as module

        calls = []
        real = module.signature_of
        monkeypatch.setattr(module, "signature_of", lambda *args: calls.append(1) or real(*args))
        counts = []
        for secrets in (None, Secrets("wrong"), Secrets("wrong", "older"), Secrets(SECRET)):
            calls.clear()
            request = posted(launch())
            with contextlib.suppress(LaunchError):
                verify(request, read_form(request), secrets, now=NOW, window=300)
            counts.append(len(calls))
        assert len(set(counts)) == 1

    def test_secrets_are_not_shown(self):
        assert "hush" not in repr(Secrets("hush", "hush-before"))


def test_an_empty_secret_is_a_secret_not_a_pass():
    assert refused(posted(launch(secret="")), None or Secrets("real")).code is CODE.AUTHENTICATION_FAILED


@pytest.mark.parametrize(
    "name", ["oauth_consumer_key", "oauth_signature_method", "oauth_timestamp", "oauth_nonce", "oauth_signature"]
)
@pytest.mark.parametrize("kept_empty", [True, False])
def test_missing_oauth_parameters(name, kept_empty):
    pairs = [pair for pair in launch() if pair[0] != name] + ([(name, "")] if kept_empty else [])
    error = refused(posted(pairs))
    assert error.code is CODE.AUTHENTICATION_FAILED
    assert error.expected == name


@pytest.mark.parametrize("method", ["PLAINTEXT", "RSA-SHA1", "HMAC-SHA512", "hmac-sha1"])
def test_refused_signature_methods(method):
    pairs = [(n, method if n == "oauth_signature_method" else v) for n, v in launch() if n != "oauth_signature"]
    pairs.append(("oauth_signature", quote(SECRET, safe="") + "&"))
    assert refused(posted(pairs)).check == "signature method"


@pytest.mark.parametrize(("version", "accepted"), [("1.0", True), (None, True), ("2.0", False), ("1.0a", False)])
def test_oauth_version(version, accepted):
    pairs = [pair for pair in launch() if pair[0] not in {"oauth_version", "oauth_signature", "oauth_callback"}]
    if version is not None:
        pairs.append(("oauth_version", version))
    request = posted([*pairs, ("oauth_signature", sign("POST", URL, pairs, SECRET))])
    if accepted:
        assert checked(request)
    else:
        assert refused(request).check == "OAuth version"


@pytest.mark.parametrize("index", range(5))
def test_tampered_fields_are_refused(index):
    pairs = launch(lis_person_name_full="Zoë 李 O'Neil", custom_x="~*'()!", roles="Learner")
    name, value = pairs[index]
    pairs[index] = (name, value + "x")
    assert refused(posted(pairs)).code is CODE.AUTHENTICATION_FAILED


def test_added_and_removed_fields_are_refused():
    pairs = launch(roles="Learner")
    assert refused(posted([*pairs, ("custom_y", "")])).code is CODE.AUTHENTICATION_FAILED
    assert refused(posted([p for p in pairs if p[0] != "roles"])).code is CODE.AUTHENTICATION_FAILED
    assert refused(posted(pairs, URL + "?extra=1")).code is CODE.AUTHENTICATION_FAILED


def test_alternative_urls_are_tried():
    inside = URL.replace("https", "http")
    request = posted(launch(), inside, alternative_urls=(URL,))
    assert checked(request).url_used == URL
    assert refused(posted(launch(), inside)).code is CODE.AUTHENTICATION_FAILED
    assert refused(posted(launch(), inside, alternative_urls=("not a url", "http://["))).status == 401


class TestTime:
    @pytest.mark.parametrize("skew", [-300, 0, 300])
    def test_edges(self, skew):
        assert checked(posted(launch()), now=NOW + skew)

    @pytest.mark.parametrize(("skew", "said"), [(301, "301 seconds behind"), (-301, "301 seconds ahead")])
    def test_outside(self, skew, said):
        error = refused(posted(launch()), now=NOW + skew)
        assert error.code is CODE.TIMESTAMP_EXPIRED
        assert said in error.received

    def test_signature_first(self):
        assert refused(posted(launch()), Secrets("x"), now=NOW + 999).code is CODE.AUTHENTICATION_FAILED

    @pytest.mark.parametrize("timestamp", ["-5", "99999999999999999999", "0"])
    def test_odd_numbers_are_expired(self, timestamp):
        pairs = sign_form(URL, {"user_id": "u"}, KEY, SECRET, timestamp=timestamp)
        assert refused(posted(pairs)).code is CODE.TIMESTAMP_EXPIRED

    @pytest.mark.parametrize("timestamp", ["abc", "1e9", "17 00", "\uff11\uff17", "9" * 21, "1.5", "0x10"])
    def test_no_numbers_are_malformed(self, timestamp):
        pairs = sign_form(URL, {"user_id": "u"}, KEY, "wrong", timestamp=timestamp)
        assert refused(posted(pairs)).code is CODE.MALFORMED


# --------------------------------------------------------------------------------------------------- malformed


def body(raw: bytes) -> LaunchRequest:
    return LaunchRequest(URL, raw, FORM, "POST")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (LaunchRequest(URL, b"", "", "GET"), 405),
        (LaunchRequest(URL, b"", FORM, "PUT"), 405),
        (LaunchRequest(URL, b"{}", "application/json", "POST"), 415),
        (LaunchRequest(URL, b"", "", "POST"), 415),
        (LaunchRequest(URL, b"", "multipart/form-data; boundary=x", "POST"), 415),
        (body(b"a=" + b"x" * 256 * 1024), 413),
        (body(b"a=%FF"), 400),
        (body(b"a=\xff"), 400),
        (body(b"a=%ED%A0%80"), 400),
        (body(b"%C3=1"), 400),
        (body(b"a=1&a=1"), 400),
        (body(b"a=1&%61=2"), 400),
        (LaunchRequest(URL + "?a=1&a=1", b"", FORM, "POST"), 400),
        (LaunchRequest(URL + "?a=1", b"a=2", FORM, "POST"), 400),
        (LaunchRequest(URL + "?a=%FF", b"", FORM, "POST"), 400),
        (LaunchRequest(URL + "?" + "a" * 17000, b"", FORM, "POST"), 400),
        (body(b"&".join(b"a%d=1" % n for n in range(1001))), 400),
        (body(b"n" * 300 + b"=1"), 400),
        (body(b"custom_x=a%00b"), 400),
        (body(b"a%00=1"), 400),
        (body(b"user_id=a%0Ab"), 400),
        (body(b"context_id=a%7Fb"), 400),
        (body(b"resource_link_id=%C2%85"), 400),
        (body(b"oauth_nonce=a%09b"), 400),
        (body(b"lis_result_sourcedid=a%1Bb"), 400),
        (body(b"user_id=" + b"x" * 256), 400),
        (body(b"context_id=" + b"x" * 256), 400),
        (body(b"oauth_consumer_key=" + b"x" * 256), 400),
        (body(b"lis_result_sourcedid=" + b"x" * 8193), 400),
        (body(b"lis_course_offering_sourcedid=" + b"x" * 8193), 400),
    ],
)
def test_malformed(request_, status):
    with pytest.raises(LaunchError) as caught:
        read_form(request_)
    assert caught.value.code is CODE.MALFORMED
    assert caught.value.status == status


@pytest.mark.parametrize(
    "raw",
    [
        b"user_id=" + b"x" * 255,
        b"lis_result_sourcedid=" + b"x" * 8192,
        b"custom_text=a%0D%0Ab",
        "lis_person_name_full=Zo\u00eb".encode(),
        b"a=%GG&b=%",
        b"&&a=1&",
        b"",
    ],
)
def test_well_formed(raw):
    assert read_form(body(raw))


def test_charset_and_case_of_the_content_type_do_not_matter():
    for content_type in (FORM + "; charset=utf-8", FORM.upper() + ";charset=UTF-8", FORM + " ; x"):
        assert read_form(LaunchRequest(URL, b"a=1", content_type, "post")).values["a"] == "1"


@settings(max_examples=300, deadline=None)
@given(raw=st.binary(max_size=400), query=st.text(max_size=60), method=st.sampled_from(["POST", "GET", ""]))
def test_random_bytes_raise_nothing_but_launch_errors(raw, query, method):
    request = LaunchRequest(URL + "?" + query, raw, FORM, method)
    error = refused(request, Secrets("x"), now=0, window=1)
    assert str(error) == error.code
    assert len(error.received) <= 500
    with contextlib.suppress(LaunchError):
        to_message(read_form(request))


@settings(max_examples=100, deadline=None)
@given(
    params=st.dictionaries(
        st.sampled_from(
            ["roles", "lis_person_name_full", "custom_a", "oauth_timestamp", "launch_presentation_return_url"]
        ),
        st.text(max_size=40),
    )
)
def test_random_values_in_known_fields(params):
    raw = urlencode(
        {
            "lti_message_type": "basic-lti-launch-request",
            "lti_version": "LTI-1p0",
            "user_id": "u",
            "resource_link_id": "r",
        }
        | params,
        errors="surrogatepass",
    ).encode()
    request = body(raw)
    assert refused(request).code in {CODE.MALFORMED, CODE.AUTHENTICATION_FAILED}
    with contextlib.suppress(LaunchError):
        assert to_message(read_form(request)).custom_value("a") is not None


@settings(max_examples=40, deadline=None)
@given(
    params=st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20).map(
            lambda name: "custom_" + name
        ),
        st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=30),
        max_size=6,
    ),
    query=st.dictionaries(
        st.sampled_from(["q", "r s", "é"]), st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=9)
    ),
    secret=st.text(st.characters(codec="utf-8"), max_size=20),
)
def test_round_trip(params, query, secret):
    url = URL + "?" + urlencode(query) if query else URL
    request = posted(launch(url=url, secret=secret, **params), url)
    assert checked(request, Secrets(secret)).url_used == url
    if secret:
        assert refused(request, Secrets(secret + "x")).code is CODE.AUTHENTICATION_FAILED


# ----------------------------------------------------------------------------------------------------- message


@pytest.mark.parametrize(
    ("changes", "code", "named"),
    [
        ({"lti_message_type": ""}, CODE.MISSING_PARAMETER, "lti_message_type"),
        ({"lti_version": ""}, CODE.MISSING_PARAMETER, "lti_version"),
        ({"resource_link_id": ""}, CODE.MISSING_PARAMETER, "resource_link_id"),
        ({"resource_link_id": "  "}, CODE.MISSING_PARAMETER, "resource_link_id"),
        ({"user_id": ""}, CODE.MISSING_PARAMETER, "user_id"),
        ({"lti_version": "LTI-2p0"}, CODE.UNSUPPORTED_MESSAGE, "lti_version"),
        ({"lti_message_type": "ContentItemSelectionRequest"}, CODE.UNSUPPORTED_MESSAGE, "lti_message_type"),
        ({"lti_message_type": "ToolProxyRegistrationRequest"}, CODE.UNSUPPORTED_MESSAGE, "lti_message_type"),
        ({"lti_message_type": "ConfigureLaunchRequest"}, CODE.UNSUPPORTED_MESSAGE, "lti_message_type"),
        ({"lti_message_type": "DashboardRequest"}, CODE.UNSUPPORTED_MESSAGE, "lti_message_type"),
        ({"selection_directive": "select_link"}, CODE.UNSUPPORTED_MESSAGE, "lti_message_type"),
    ],
)
def test_refused_messages(changes, code, named):
    with pytest.raises(LaunchError) as caught:
        message_of(**changes)
    assert (caught.value.code, caught.value.check) == (code, named)
    if named == "lti_message_type" and code is CODE.UNSUPPORTED_MESSAGE and "lti_message_type" in changes:
        assert changes["lti_message_type"] in caught.value.received


@pytest.mark.parametrize("name", ["lti_message_type", "lti_version", "resource_link_id", "user_id"])
def test_absent_is_as_empty(name):
    with pytest.raises(LaunchError) as caught:
        message_of(**{name: None})
    assert caught.value.code is CODE.MISSING_PARAMETER


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"full": " Ada Example", "given": "A"}, "Ada Example"),
        ({"given": "Ada", "family": "Example"}, "Ada Example"),
        ({"given": "Ada"}, "Ada"),
        ({"family": "Example"}, "Example"),
        ({"full": "-", "given": "-", "family": "-"}, ""),
        ({"full": "$Person.name.full", "given": "Ada"}, "Ada"),
        ({"full": "", "given": " "}, ""),
        ({}, ""),
    ],
)
def test_names(params, name):
    message = message_of(**{f"lis_person_name_{part}": value for part, value in params.items()})
    assert message.name == name


def test_an_email_address_is_no_name_and_a_username_is():
    assert message_of(lis_person_contact_email_primary="ada@example.edu").name == ""
    assert message_of(ext_user_username="ada").name == "ada"
    assert message_of(lis_person_sourcedid="SIS-1").username == "SIS-1"
    assert message_of(lis_person_sourcedid="SIS-1").name == ""


class TestCustom:
    def test_names_are_mapped(self):
        message = message_of(**{"custom_Review:Chapter": "1.2", "CUSTOM_b": "x"})
        assert message.custom["review_chapter"] == "1.2"
        for name in ("Review:Chapter", "review_chapter", "custom_review_chapter", "REVIEW_CHAPTER"):
            assert message.custom_value(name) == "1.2"
        assert message.custom_value("B") == "x"

    def test_doubled_prefix(self):
        assert message_of(custom_custom_logo="https://l").custom_value("custom_logo", "logo") == "https://l"
        assert message_of(custom_custom_logo="https://l").custom_value("logo") == "https://l"
        assert message_of(custom_logo="https://l").custom_value("custom_logo") == "https://l"

    def test_first_non_empty_name_counts(self):
        message = message_of(custom_a="", custom_b="b", custom_c="c")
        assert message.custom_value("a", "c", "b") == "c"
        assert message.custom_value("nothing") == ""

    @pytest.mark.parametrize(
        "value", ["$Canvas.course.id", "$CourseSection.sourcedId", "@X@user.role@X@", " $Context.id"]
    )
    def test_unresolved_variables_are_missing(self, value):
        message = message_of(custom_course=value, lis_course_offering_sourcedid=value)
        assert "course" not in message.custom
        assert message.custom_value("course") == ""
        assert message.course_offering_sourcedid == ""

    def test_money_is_no_variable(self):
        assert message_of(custom_fee="$5").custom_value("fee") == "$5"


class TestTheQueryOfTheLink:
    def test_it_gives_parameters(self):
        url = URL + "?assignment=hello&custom_room=r1"
        message = to_message(read_form(posted(launch(url=url), url)))
        assert message.custom_value("assignment") == "hello"
        assert message.custom_value("room") == "r1"

    @pytest.mark.parametrize("copied_by_canvas", [True, False])
    @pytest.mark.parametrize(
        ("name", "value", "attribute"),
        [
            ("lis_person_contact_email_primary", "boss@example.edu", "email"),
            ("lis_result_sourcedid", "someone-else", "result_sourcedid"),
            ("lis_outcome_service_url", "https://evil.example/", "outcome_service_url"),
            ("launch_presentation_return_url", "https://evil.example/", "return_url"),
            ("context_id", "another-course", "context_id"),
            ("ext_user_username", "boss", "username"),
        ],
    )
    def test_its_author_says_nothing_about_persons(self, name, value, attribute, copied_by_canvas):
        url = URL + "?" + urlencode({name: value})
        pairs = launch(**{name: value}) if copied_by_canvas else launch(url=url)
        request = posted(pairs, url)
        assert checked(request)
        assert getattr(to_message(read_form(request)), attribute) == ""

    def test_nor_about_roles(self):
        url = URL + "?roles=Instructor"
        assert to_message(read_form(posted(launch(url=url), url))).roles.course_role is CourseRole.STUDENT


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "/relative", "//host/x", "https://u:p@h/", "https:\\\\h", "", "data:x", "https://h/\n"],
)
def test_unsafe_urls_are_dropped(url):
    message = message_of(launch_presentation_return_url=url, user_image=url, lis_outcome_service_url=url)
    kept = "https://h/" if url == "https://h/\n" else ""
    assert (message.return_url, message.picture_url, message.outcome_service_url) == (kept,) * 3


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("custom_context_history", "3,2,1", ("3", "2", "1")),
        ("custom_context_id_history", " 3 ,2,, 1 ", ("3", "2", "1")),
        ("custom_Context_Id_History", "3", ("3",)),
        ("custom_custom_context_history", "3", ("3",)),
        ("ext_d2l_context_id_history", "711020,690011", ("711020", "690011")),
        ("custom_context_history", "a%2Cb,c%20d", ("a,b", "c d")),
        ("custom_context_history", f"1,{'x' * 256},nul%00,2,1", ("1", "2")),
        ("custom_context_history", "$Context.id.history", ()),
        ("custom_context_history", "@X@context.history@X@", ()),
        ("custom_context_history", " , ,", ()),
        ("custom_context_history", ",".join(map(str, range(1000))), tuple(map(str, range(100)))),
    ],
)
def test_what_the_course_was_copied_from(name, value, expected):
    message = to_message(read_form(posted(launch(**{name: value}))))
    assert (message.context_history, message.resource_link_history) == (expected, ())


@pytest.mark.parametrize(
    "name",
    [
        "custom_resource_link_id_history",
        "custom_resourcelink_id_history",
        "custom_resource_link_history",
        "custom_resourcelink_history",
        "ext_d2l_resource_link_id_history",
    ],
)
def test_what_the_link_was_copied_from(name):
    message = to_message(read_form(posted(launch(**{name: "l-2, l-1"}))))
    assert (message.context_history, message.resource_link_history) == ((), ("l-2", "l-1"))


def test_a_blank_custom_parameter_does_not_hide_another_spelling():
    message = to_message(read_form(posted(launch(custom_a="  ", custom_custom_a="x", custom_b="y"))))
    assert (message.custom_value("a"), message.custom_value("a", "b")) == ("x", "x")
