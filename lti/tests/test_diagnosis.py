"""Diagnoses of refused signatures, and the relaunch of the 1.x security update."""

from __future__ import annotations

import time
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from lti.errors import LaunchError, LaunchErrorCode
from lti.tests.recorded import KEY, NOW, SECRET, URL, launch, posted
from lti.v1p1.diagnosis import explain_signature
from lti.v1p1.launch import Secrets, read_form, verify
from lti.v1p1.oauth1 import sign_form
from lti.v1p1.relaunch import relaunch_redirect, wants_relaunch

OURS = Secrets(SECRET)


def explained(pairs, url=URL, secrets=OURS, **kwargs):
    request = posted(pairs, url)
    form = read_form(request)
    with pytest.raises(LaunchError) as caught:
        verify(request, form, secrets, now=NOW, window=300)
    assert caught.value.code is LaunchErrorCode.AUTHENTICATION_FAILED
    return explain_signature(request, form, secrets, **kwargs)


@pytest.mark.parametrize(
    ("signed_url", "received_url", "variant", "said"),
    [
        (URL, URL.replace("https", "http"), "scheme", "X-Forwarded-Proto"),
        (URL.replace("https", "http"), URL, "scheme", "http://tool"),
        (URL.replace(".org", ".org:8443"), URL, "port", ":8443"),
        (URL, URL.replace(".org", ".org:8000"), "port", "https://tool.example.org/"),
        (URL.replace("tool.", "vanity."), URL, "host", "vanity."),
        (URL + "/", URL, "trailing_slash", "slash"),
        (URL, URL + "/", "trailing_slash", "slash"),
        (URL, URL + "?assignment=42", "query_left_out", "assignment"),
        (URL.replace("/lti/", "/"), URL, "path", "proxy"),
    ],
)
def test_wrong_urls(signed_url, received_url, variant, said):
    diagnosis = explained(launch(url=signed_url), received_url, alternative_hosts=("vanity.example.org",))
    assert diagnosis.variant == variant
    assert said in diagnosis.explanation


def test_a_query_with_another_scheme():
    diagnosis = explained(launch(url=URL + "?a=1"), URL.replace("https", "http") + "?a=1")
    assert diagnosis.variant == "scheme"


@pytest.mark.parametrize("secret", [SECRET + " ", " " + SECRET, SECRET + "\n", SECRET + "\r\n"])
def test_secret_with_whitespace(secret):
    assert explained(launch(secret=secret)).variant == "secret_whitespace"


def test_line_breaks():
    pairs = [(name, value.replace("\n", "\r\n")) for name, value in launch(resource_link_description="one\ntwo")]
    assert explained(pairs).variant == "line_breaks"


def test_submit_button():
    assert explained([*launch(), ("ext_submit", "Press")]).variant == "submit_button"


def test_names_in_mixed_case():
    pairs = [("custom_Mixed" if name == "custom_mixed" else name, value) for name, value in launch(custom_mixed="1")]
    assert explained(pairs).variant == "names_lowered"


def test_a_query_that_arrived_in_the_form_alone():
    diagnosis = explained(launch(url=URL + "?custom_a=1", custom_a="1"))
    assert diagnosis.variant == "query_added"
    assert "custom_a" in diagnosis.explanation


def test_large_forms_are_explained_quickly():
    pairs = launch(secret="another", **{f"custom_{n}": "x" * 200 for n in range(900)})
    started = time.monotonic()
    assert len(explained(pairs).base_string) <= 16 * 1024
    assert time.monotonic() - started < 10


def test_nothing_explains_it():
    diagnosis = explained(launch(secret="another"))
    assert diagnosis.variant == "secret_differs"
    assert "secret differs" in diagnosis.explanation


def test_unknown_key_unsigned_and_refused_method():
    assert explained(launch(), secrets=None).variant == "unknown_key"
    assert explained([("user_id", "1")]).variant == "unsigned"
    pairs = [(name, "PLAINTEXT" if name == "oauth_signature_method" else value) for name, value in launch()]
    assert explained(pairs).variant == "signature_method"


def test_it_says_when_the_signature_is_right():
    request = posted(launch())
    assert explain_signature(request, read_form(request), Secrets(SECRET)).variant == "matches"


def test_nothing_secret_or_personal_is_shown():
    pairs = launch(
        secret="another",
        lis_person_name_full="Ada Lovelace",
        lis_person_contact_email_primary="ada@example.edu",
        lis_result_sourcedid="cell-77",
        launch_presentation_return_url="https://m/?sesskey=s3ss",
        context_title="Biology",
    )
    diagnosis = explained(pairs)
    text = unquote(unquote(diagnosis.base_string)) + diagnosis.explanation + repr(diagnosis)
    for hidden in ("Lovelace", "ada@", "cell-77", "s3ss", SECRET, "another", dict(pairs)["oauth_signature"]):
        assert hidden not in text
    assert "context_title=Biology" in text
    assert "oauth_nonce=" in text


class TestRelaunch:
    def form(self, **params):
        return read_form(posted(sign_form(URL, params, KEY, SECRET)))

    def test_it_is_wanted_once(self):
        both = {"relaunch_url": "https://lms/r?x=1", "platform_state": "p"}
        assert wants_relaunch(self.form(**both))
        assert not wants_relaunch(self.form(**both, tool_state="t"))
        assert not wants_relaunch(self.form(relaunch_url="https://lms/r"))
        assert not wants_relaunch(self.form())

    def test_states_are_appended(self):
        url = relaunch_redirect("https://lms/r?x=1", "p&=é", "t 1")
        assert url.startswith("https://lms/r?x=1&")
        assert parse_qs(urlsplit(url).query) == {"x": ["1"], "platform_state": ["p&=é"], "tool_state": ["t 1"]}

    @pytest.mark.parametrize("url", ["javascript:alert(1)", "/r", "https://u@h/", ""])
    def test_it_rejects_other_urls(self, url):
        with pytest.raises(LaunchError) as caught:
            relaunch_redirect(url, "p", "t")
        assert caught.value.code is LaunchErrorCode.MALFORMED

    def test_it_rejects_endless_states(self):
        with pytest.raises(LaunchError):
            relaunch_redirect("https://lms/r", "p" * 5000, "t")
