"""Webhooks of plugNmeet: believed only with a fresh token over their very bytes. Vectors computed with openssl."""

import json
import time

import jwt
import pytest
import time_machine

from recordings.meeting_server import WebhookRefused
from recordings.plugnmeet_webhooks import body_hash, read_webhook

KEY = "plugnmeet"
SECRET = "zumyyYWqv7KR2kUqvYdq4z4sXg7XTBD2ljT6"
BODY = (
    b'{"event":"room_started","id":"0b6f0a53-7a4e-4e77-9a31-111111111111","created_at":"1700000000",'
    b'"room":{"sid":"RM_1","room_id":"r1"}}'
)
# {"iss":"plugnmeet","nbf":1700000000,"exp":1700000300,"sha256":"EiNm…"}
TOKEN = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJwbHVnbm1lZXQiLCJuYmYiOjE3MDAwMDAwMDAsImV4cCI6MTcwMDAwMDMwMCwic2hhMjU2"
    "IjoiRWlObU1haUo4ZnMvYnpHZmhNb1NGNjZvcTVQaWdYZU5JMFgvK281d1l1bz0ifQ.cTtqWAXcDAPcnRcO6kSgiLV3IgFLH4NmXEYhvenjuyM"
)
SENT = 1_700_000_000
PARTICIPANT = {"sid": "PA_1", "identity": "p-1", "name": "Ada", "joined_at": "1700000001", "metadata": "{}"}


def token_of(body, secret=SECRET, algorithm="HS256", **changes):
    now = int(time.time())
    claims = {"iss": KEY, "nbf": now, "exp": now + 300, "sha256": body_hash(body), **changes}
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, secret, algorithm=algorithm)


def read(body=BODY, token=None, **headers):
    given = {"Content-Type": "application/json", "Hash-Token": token_of(body) if token is None else token}
    return read_webhook(KEY, SECRET, {**given, **headers}, body)


def refusal(*args, **more):
    with pytest.raises(WebhookRefused) as refused:
        read(*args, **more)
    return refused.value.code


def payload(**more):
    return json.dumps({"event": "room_started", "id": "1", **more}).encode()


def test_the_hash_is_standard_base64_of_the_bytes():
    assert body_hash(BODY) == "EiNmMaiJ8fs/bzGfhMoSF66oq5PigXeNI0X/+o5wYuo="


@time_machine.travel(SENT + 100)
def test_a_message_as_the_server_sends_it():
    message = read(token=TOKEN)
    assert (message.type, message.event_id) == ("room_started", "0b6f0a53-7a4e-4e77-9a31-111111111111")
    assert (message.room_id, message.session_id) == ("r1", "RM_1")
    assert message.sent_at.timestamp() == SENT
    assert message.participant is None


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/webhook+json", "Application/JSON; charset=utf-8"]
)
def test_both_content_types(content_type):
    assert read(**{"Content-Type": content_type}).type == "room_started"


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_other_content_types(content_type):
    assert refusal(**{"Content-Type": content_type}) == "malformed"


def test_the_token_stands_in_either_header():
    """Proxies strip Authorization, which is why there are two."""
    token = token_of(BODY)
    assert read(token="", Authorization=token).type == "room_started"
    assert read(token=token, Authorization="Basic of-the-proxy").type == "room_started"
    assert read_webhook(KEY, SECRET, {"content-type": "application/json", "hash-token": token}, BODY)


@pytest.mark.parametrize("body", [BODY + b" ", BODY.replace(b"r1", b"r2"), b"", b"{}"])
def test_another_body(body):
    assert refusal(body, token_of(BODY)) == "body"


def test_the_hexadecimal_of_the_servers_own_sample_is_not_the_hash():
    import hashlib

    assert refusal(BODY, token_of(BODY, sha256=hashlib.sha256(BODY).hexdigest())) == "body"


@pytest.mark.parametrize(
    "changes",
    [
        {"secret": "another-secret-of-more-than-32-characters"},
        {"iss": "someone"},
        {"iss": None},
        {"sha256": None},
        {"exp": None},
    ],
    ids=str,
)
def test_a_token_that_is_not_ours(changes):
    assert refusal(BODY, token_of(BODY, **changes)) == "signature"


def test_a_join_token_is_no_webhook():
    """All tokens of the server share secret and issuer."""
    join = token_of(BODY, sha256=None, name="Ada", user_id="p-1", room_id="r1", is_admin=True)
    assert refusal(BODY, join) == "signature"


@pytest.mark.parametrize("token", ["x", "a.b.c", jwt.encode({"iss": KEY}, "", algorithm="none"), "Bearer x", "é"])
def test_no_token_at_all(token):
    assert refusal(BODY, token) == "signature"


def test_another_algorithm():
    assert refusal(BODY, token_of(BODY, secret=SECRET * 2, algorithm="HS512")) == "signature"


def test_unsigned():
    assert refusal(BODY, "") == "unsigned"


@pytest.mark.parametrize(("seconds", "code"), [(-120, "stale"), (-30, ""), (330, ""), (361, "stale"), (86400, "stale")])
def test_stale_and_early(seconds, code):
    with time_machine.travel(SENT + seconds, tick=False):
        if code:
            assert refusal(BODY, TOKEN) == code
        else:
            assert read(BODY, TOKEN)


@pytest.mark.parametrize(
    "body",
    [
        b"no json",
        b"[]",
        b"{}",
        b'{"event":"room_started"}',
        b'{"id":"1"}',
        b'{"event":5,"id":"1"}',
        payload(created_at="soon"),
        payload(participant={"sid": "PA_1"}),
        b"[" * 50_000,
    ],
    ids=["text", "list", "empty", "no id", "no event", "number", "odd time", "nobody", "deep"],
)
def test_signed_but_no_message(body):
    assert refusal(body) == "malformed"


def test_what_is_unset_is_left_out():
    message = read(b'{"event":"something_new","id":"1"}')
    assert (message.sent_at, message.room_id, message.record_id, message.recording_size) == (None, "", "", None)


def test_who_joined():
    message = read(payload(event="participant_joined", participant=PARTICIPANT))
    assert (message.participant.identity, message.participant.connection_id) == ("p-1", "PA_1")
    assert message.participant.joined_at.timestamp() == 1_700_000_001
    assert "Ada" not in repr(message)
    bot = read(payload(participant={**PARTICIPANT, "identity": "RECORDER_BOT"}))
    assert bot.participant.is_bot


def test_a_recording_is_ready():
    info = {"record_id": "RM_1-1700000000000", "file_path": "/x.mp4", "file_size": 1.5}
    message = read(payload(event="recording_proceeded", recording_info=info))
    assert (message.record_id, message.recording_size) == ("RM_1-1700000000000", 1_500_000)
    assert read(payload(recording_info={"record_id": "x"})).recording_size is None


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"analytics": {"file_id": "a-1"}}, "MEETING_ANALYTICS"),
        ({"room_artifact": {"type": "MEETING_ANALYTICS", "artifact_id": "a-1"}}, "MEETING_ANALYTICS"),
        ({"room_artifact": {"type": 7, "artifact_id": "a-1"}}, "7"),
    ],
)
def test_a_file_is_ready(more, kind):
    message = read(payload(**more))
    assert (message.artifact_id, message.artifact_type) == ("a-1", kind)
