from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oauthlib.oauth1 import SIGNATURE_TYPE_BODY, Client

from lti.tests.recorded import load
from lti.v1p1.oauth1 import (
    SignedBodyRefused,
    base_string,
    body_hash,
    decode_pairs,
    joined_base_string,
    sign,
    sign_form,
    signed_body_headers,
    verify_signed_body,
)

VECTORS = load("oauth-test-vectors.json")
TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
URL = "https://lms.example/Outcome/service.php?client_id=ilias&x=1"


def pairs_of(vector):
    return [(name, value) for name, value in vector["body"]]


@pytest.mark.parametrize("vector", VECTORS["launch_vectors"], ids=lambda v: v["name"])
def test_launch_vectors(vector):
    pairs, secret, method = pairs_of(vector), vector["consumer_secret"], vector["signature_method"]
    if vector["name"] == "canvas-legacy-query-copied":
        assert base_string("POST", vector["url"], pairs) != vector["base_string"]
        assert sign("POST", vector["url"], pairs, secret, method) != vector["oauth_signature"]
        url = vector["url"].partition("?")[0]
    else:
        url = vector["url"]
    assert base_string("POST", url, pairs) == vector["base_string"]
    assert sign("POST", url, pairs, secret, method) == vector["oauth_signature"]


@pytest.mark.parametrize("vector", VECTORS["body_hash_vectors"], ids=lambda v: v["body"][:8])
def test_body_hashes(vector):
    body = vector["body"].encode()
    assert body_hash(body) == vector["sha1"]
    assert body_hash(body, "HMAC-SHA256") == vector["sha256"]


@pytest.mark.parametrize(
    "vector", VECTORS["outcome_request_vectors"], ids=lambda v: v["oauth"]["oauth_signature_method"]
)
def test_outcome_request_vectors(vector):
    oauth, body = vector["oauth"], vector["body"].encode()
    assert base_string("POST", vector["url"], oauth.items()) == vector["base_string"]
    headers = signed_body_headers(
        vector["url"],
        body,
        oauth["oauth_consumer_key"],
        vector["consumer_secret"],
        oauth["oauth_signature_method"],
        timestamp=oauth["oauth_timestamp"],
        nonce=oauth["oauth_nonce"],
    )
    assert headers["Content-Type"] == "application/xml"
    values = dict(item.split("=", 1) for item in headers["Authorization"].removeprefix("OAuth ").split(", "))
    assert dict(parse_qsl(f"s={values['oauth_signature'].strip(chr(34))}"))["s"] == vector["oauth_signature"]
    assert verify_signed_body("POST", vector["url"], headers, body, {"key-1": "secret"}.get, 1_700_000_100) == "key-1"


def test_realm_and_signature_are_not_signed():
    plain = [("a", "1")]
    extra = [*plain, ("realm", "x"), ("oauth_signature", "y")]
    assert base_string("POST", URL, plain) == base_string("POST", URL, extra)


def test_a_plus_is_a_space_and_percent_2b_a_plus():
    assert decode_pairs(b"a=b+c%2Bd&e&=f&&g=%C3%A9%0D%0A") == [
        ("a", "b c+d"),
        ("e", ""),
        ("", "f"),
        ("g", "é\r\n"),
    ]


@pytest.mark.parametrize("method", ["PLAINTEXT", "RSA-SHA1", "HMAC-SHA512", "", "hmac-sha1"])
def test_other_methods_are_not_signed_with(method):
    with pytest.raises(ValueError, match="HMAC"):
        sign("POST", URL, [], "secret", method)


@settings(max_examples=60, deadline=None)
@given(
    params=st.lists(
        st.tuples(TEXT.filter(lambda n: n and not n.startswith("oauth_") and n != "realm"), TEXT), max_size=8
    ),
    secret=TEXT,
    method=st.sampled_from(["HMAC-SHA1", "HMAC-SHA256"]),
)
def test_an_independent_signer_agrees(params, secret, method):
    client = Client(
        "key",
        client_secret=secret,
        signature_method=method,
        signature_type=SIGNATURE_TYPE_BODY,
        nonce="n",
        timestamp="1700000000",
    )
    _, _, body = client.sign(
        "https://tool.example.org/lti?q=1+2",
        "POST",
        urlencode(params),
        {"Content-Type": "application/x-www-form-urlencoded"},
    )
    theirs = parse_qsl(body, keep_blank_values=True)
    signature = dict(theirs)["oauth_signature"]
    assert sign("POST", "https://tool.example.org/lti?q=1+2", theirs, secret, method) == signature


@settings(max_examples=40, deadline=None)
@given(
    params=st.dictionaries(TEXT.filter(lambda n: not n.startswith("oauth_") and n != "realm"), TEXT, max_size=8),
    secret=TEXT,
)
def test_what_is_signed_survives_the_form_encoding(params, secret):
    pairs = sign_form("https://t.example/", params, "k", secret, timestamp=1, nonce="n")
    received = decode_pairs(urlencode(pairs).encode())
    assert received == pairs
    assert joined_base_string("POST", "https://t.example/", received) == base_string(
        "POST", "https://t.example/", pairs
    )
    assert dict(received)["oauth_signature"] == sign("POST", "https://t.example/", received[:-1], secret)


class TestSignedBody:
    body = b"<a/>"

    def check(self, headers, body=body, url=URL, now=1000, method="POST"):
        return verify_signed_body(method, url, headers, body, {"k": "s"}.get, now)

    def headers(self, **kwargs):
        return signed_body_headers(URL, self.body, "k", kwargs.pop("secret", "s"), timestamp=1000, **kwargs)

    def test_it_works(self):
        assert self.check(self.headers()) == "k"
        assert self.check({k.lower(): v for k, v in self.headers().items()}) == "k"

    def test_each_try_has_a_nonce_of_its_own(self):
        assert self.headers()["Authorization"] != self.headers()["Authorization"]

    @pytest.mark.parametrize(
        "change",
        [
            {"body": b"<b/>"},
            {"url": URL + "2"},
            {"now": 1301},
            {"now": 699},
            {"method": "PUT"},
        ],
    )
    def test_it_rejects_what_was_changed(self, change):
        with pytest.raises(SignedBodyRefused):
            self.check(self.headers(), **change)

    def test_it_rejects_a_wrong_secret_and_an_unknown_key_alike(self):
        wrong = self.headers(secret="other")
        unknown = signed_body_headers(URL, self.body, "nobody", "s", timestamp=1000)
        with pytest.raises(SignedBodyRefused) as one:
            self.check(wrong)
        with pytest.raises(SignedBodyRefused) as other:
            self.check(unknown)
        assert one.value.reason == other.value.reason

    @pytest.mark.parametrize(
        "value", ["", "Bearer x", "OAuth ", 'OAuth oauth_signature_method="PLAINTEXT"', "OAuth \x00"]
    )
    def test_it_rejects_other_authorizations(self, value):
        with pytest.raises(SignedBodyRefused):
            self.check({"Authorization": value})

    def test_it_rejects_a_body_that_was_never_hashed(self):
        headers = self.headers()
        without = [item for item in headers["Authorization"].split(", ") if "oauth_body_hash" not in item]
        with pytest.raises(SignedBodyRefused):
            self.check({"Authorization": ", ".join(without)})
