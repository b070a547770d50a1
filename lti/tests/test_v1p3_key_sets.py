from __future__ import annotations

import datetime
import json
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from lti.errors import LaunchError, LaunchErrorCode
from lti.outbound import OutboundFailed, OutboundRefused
from lti.tests.platform_1p3 import Clock, MemoryCache, Recorder, answer, b64, jwk_of, jwks, key, public_pem_of
from lti.tests.recorded import load
from lti.v1p3.key_sets import KeySets, KeySetUnreadable, parse_key_set, parse_pem

URL = "https://lms.example/jwks"


def numbers_of(public_key):
    return public_key.public_numbers()


def unreadable(body):
    with pytest.raises(KeySetUnreadable) as caught:
        parse_key_set(body)
    return caught.value.reason


# ------------------------------------------------------------------------------------------------------- documents


def test_moodles_key_set_is_read():
    found = parse_key_set(json.dumps(load("moodle/jwks_certs.json")).encode())
    assert [known.key_id for known in found.keys] == ["09c01b991812f2fdc64d"]
    assert found.keys[0].public_key.key_size == 2048


@pytest.mark.parametrize(
    "changes", [{"alg": None}, {"use": None}, {"key_ops": ["verify"]}, {"x5c": ["MII"]}, {"kid": 5}, {"oth": 1}]
)
def test_keys_with_less_or_more_in_them_are_taken(changes):
    found = parse_key_set(jwks(jwk_of(key(), **changes)))
    assert numbers_of(found.keys[0].public_key) == numbers_of(key().public_key())
    assert found.keys[0].key_id == ("5" if changes.get("kid") else "k1")


def test_of_a_private_key_the_public_part_counts():
    assert parse_key_set(jwks(jwk_of(key(), d="AQAB"))).find("k1")


@pytest.mark.parametrize(
    "changes",
    [
        {"kty": "EC"},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"alg": "RS512"},
        {"alg": "HS256"},
        {"use": "enc"},
        {"key_ops": ["encrypt"]},
        {"n": ""},
        {"n": "!!!"},
        {"n": "A" * 5000},
        {"n": None},
        {"e": b64(b"\x02")},
        {"e": b64(b"\x01")},
        {"e": b64(b"\xff" * 8)},
        {"n": 12345},
        {"kid": "k" * 256},
        {"n": b64(b"\xff" * 255 + b"\xfe")},
    ],
)
def test_keys_of_no_use_are_passed_over(changes):
    found = parse_key_set(jwks(jwk_of(key(), **changes), jwk_of(key(1), "good"), "nonsense", None))
    assert [known.key_id for known in found.keys] == ["good"]
    assert len(found.ignored) == 3


def test_a_key_of_1024_bits_is_too_short():
    found = parse_key_set(jwks(jwk_of(key(9, 1024))))
    assert (found.keys, found.ignored) == ((), ("a key of 1024 bits",))


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"keys": {}}', b'{"keys": [' + b"1," * 600 + b"1]}", b" " * (256 * 1024 + 1)],
)
def test_what_is_no_key_set_is_refused(body):
    assert unreadable(body)


@given(st.binary(max_size=100))
def test_any_bytes_are_refused_in_an_orderly_way(body):
    assert unreadable(body)


def test_a_pem_may_be_a_key_or_a_certificate():
    assert numbers_of(parse_pem(public_pem_of(key())).keys[0].public_key) == numbers_of(key().public_key())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lms")])
    moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key().public_key())
        .serial_number(1)
        .not_valid_before(moment)
        .not_valid_after(moment + datetime.timedelta(days=1))
        .sign(key(), hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    assert numbers_of(parse_pem(pem).keys[0].public_key) == numbers_of(key().public_key())


@pytest.mark.parametrize("pem", ["", "nonsense", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "é"])
def test_what_is_no_pem_is_refused(pem):
    with pytest.raises(KeySetUnreadable):
        parse_pem(pem)


def test_a_pem_of_another_type_is_refused():
    pem = ec.generate_private_key(ec.SECP256R1()).public_key()
    text = pem.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    with pytest.raises(KeySetUnreadable):
        parse_pem(text)
    with pytest.raises(KeySetUnreadable):
        parse_pem(public_pem_of(key(9, 1024)))


# ----------------------------------------------------------------------------------------------------------- cache


def key_sets(*answers, by=None, cache=None, **times):
    sender, clock = Recorder(*answers, by=by), Clock()
    return KeySets(cache or MemoryCache(), sender, clock, **times), sender, clock


def unreachable(found, key_id="k1"):
    with pytest.raises(LaunchError) as caught:
        found.find(URL, key_id)
    assert caught.value.code is LaunchErrorCode.PLATFORM_UNREACHABLE
    return caught.value


ONE, TWO = jwks(jwk_of(key())), jwks(jwk_of(key()), jwk_of(key(1), "k2"))


def test_a_key_set_is_read_once_for_all_processes():
    cache = MemoryCache()
    found, sender, _ = key_sets(answer(body=ONE), cache=cache)
    for _ in range(3):
        assert found.find(URL, "k1")
    other, other_sender, _ = key_sets(cache=cache)
    assert other.source(URL)("k1")
    assert (len(sender.sent), other_sender.sent) == (1, [])
    assert sender.sent[0][:2] == ("GET", URL)


def test_a_new_key_works_within_one_launch():
    found, sender, clock = key_sets(answer(body=ONE), answer(body=TWO))
    assert found.find(URL, "k1")
    clock.now += 31
    assert found.find(URL, "k2")
    assert len(sender.sent) == 2


def test_a_flood_of_unknown_keys_costs_few_requests():
    found, sender, clock = key_sets(by=lambda *_: answer(body=ONE))
    for number in range(500):
        clock.now += 0.2
        assert found.find(URL, f"unknown-{number}") == ()
    assert len(sender.sent) <= 5


def test_a_key_set_is_read_again_after_its_time():
    found, sender, clock = key_sets(answer(body=ONE), answer(body=jwks(jwk_of(key(1), "k2"))))
    assert found.find(URL, "k1")
    clock.now += 3601
    assert found.find(URL, "k1") == ()
    assert len(sender.sent) == 2


@pytest.mark.parametrize(
    "failure",
    [
        OutboundFailed("timeout", "no answer in time"),
        OutboundRefused("the address leads inside"),
        answer(404, "<html>"),
        answer(500),
        answer(302, Location="https://evil.example"),
        answer(200, "<html>"),
        answer(200, b'{"keys": []}'),
        answer(200, jwks(jwk_of(key(9, 1024)))),
        answer(200, ONE, truncated=True),
    ],
)
def test_a_platform_that_does_not_answer_is_unreachable_and_not_asked_at_once_again(failure):
    found, sender, clock = key_sets(failure, answer(body=ONE))
    assert URL in unreachable(found).expected
    unreachable(found)
    assert len(sender.sent) == 1
    clock.now += 31
    assert found.find(URL, "k1")


def test_the_keys_read_last_serve_while_the_platform_is_away_but_not_for_ever():
    found, sender, clock = key_sets(answer(body=ONE), *[answer(503)] * 9)
    assert found.find(URL, "k1")
    clock.now += 3700
    assert found.find(URL, "k1")
    assert found.find(URL, "k1")
    assert len(sender.sent) == 2
    unreachable(found, "k2")
    clock.now += 24 * 3600
    unreachable(found)


def test_a_slow_platform_holds_up_only_one_of_those_who_have_keys():
    entered, release = threading.Event(), threading.Event()
    bodies = iter([ONE, TWO])

    def slow(*_):
        body = next(bodies)
        if body is TWO:
            entered.set()
            assert release.wait(5)
        return answer(body=body)

    found, sender, clock = key_sets()
    sender.by = None
    sender.request = lambda *args, **_: slow(*args)
    found.find(URL, "k1")
    clock.now += 3700
    one = threading.Thread(target=found.find, args=(URL, "k1"))
    one.start()
    assert entered.wait(5)
    assert found.find(URL, "k1")
    release.set()
    one.join()
    assert found.find(URL, "k2")


def test_the_first_launches_at_once_ask_once():
    started = threading.Barrier(8)
    found, sender, _ = key_sets(answer(body=ONE))
    results = []

    def launch():
        started.wait()
        results.append(found.find(URL, "k1"))

    threads = [threading.Thread(target=launch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sender.sent) == 1
    assert all(len(result) == 1 for result in results)
    assert len(results) == 8


def test_those_who_waited_for_a_platform_that_hangs_do_not_ask_it_again():
    found, sender, clock = key_sets()
    start, refusals = threading.Barrier(4), []

    def hang(*_, **__):
        # Longer than the interval, so that time alone would let the next one ask.
        clock.now += 35
        sender.sent.append(())
        raise OutboundFailed("timeout", "no answer in time")

    sender.request = hang

    def launch():
        start.wait()
        refusals.append(unreachable(found))

    threads = [threading.Thread(target=launch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(sender.sent), len(refusals)) == (1, 4)
