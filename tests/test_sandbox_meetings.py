"""Our client and the sandbox meeting server, as two processes: sessions, people, recordings, attendance, webhooks."""

import json
import time
import wave
from io import BytesIO

import jwt
import pytest
import requests

from recordings.meeting_server import (
    Attendee,
    Difference,
    KeyRefused,
    NotOnServer,
    PersonBlocked,
    RequestRefused,
    RoomNotRunning,
    RoomRequest,
)
from recordings.models import new_room_id
from recordings.plugnmeet import PlugNmeetClient
from recordings.plugnmeet_rooms import create_body
from recordings.plugnmeet_webhooks import body_signature
from recordings.room_settings import RoomSettings
from tests.loopback import Reply, serve
from tests.meetings import KEY, SECRET, Guest, eventually, running_sandbox

pytestmark = [pytest.mark.usefixtures("loopback"), pytest.mark.xdist_group("sandbox")]

UNVERIFIED = "Failed to verify provided authentication details."
TEACHER = Attendee("teacher-1", "Grace Hopper", True)
STUDENT = Attendee("student-1", "Ada Lovelace", False)


@pytest.fixture(scope="module")
def sandbox():
    with running_sandbox() as running:
        yield running


@pytest.fixture
def client(sandbox):
    return sandbox.client


@pytest.fixture
def room_id():
    return new_room_id()


def start(client, room_id, *, webhook_url="", **settings):
    return client.create_room(RoomRequest(room_id, "Office hours", RoomSettings(**settings), webhook_url))


def enters(client, room_id, attendee):
    return Guest.enter(client.join_address(room_id, attendee, RoomSettings()))


def call(sandbox, path, body, **headers):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    signed = {"API-KEY": KEY, "HASH-SIGNATURE": body_signature(SECRET, content), **headers}
    return requests.post(
        f"{sandbox.url}/auth/{path}",
        data=content,
        headers={name: value for name, value in signed.items() if value is not None},
        timeout=20,
    )


# A session from its beginning to what is left of it


def test_a_session_from_start_to_attendance(client, room_id):
    client.check()
    assert client.is_running(room_id) is False
    assert client.live_session(room_id) is None
    with pytest.raises(RoomNotRunning):
        client.join_address(room_id, STUDENT, RoomSettings())
    session = start(client, room_id)
    assert client.is_running(room_id) is True, "from its creation on, before anybody is in"
    assert start(client, room_id).session_id == session.session_id, "a second start changes nothing"
    assert session.differences == ()

    teacher, student = enters(client, room_id, TEACHER), enters(client, room_id, STUDENT)
    assert teacher.names() == student.names() == ["Grace Hopper", "Ada Lovelace"]
    live = client.live_session(room_id)
    people = {one.identity: (one.name, one.is_moderator) for one in live.participants}
    assert people == {"teacher-1": ("Grace Hopper", True), "student-1": ("Ada Lovelace", False)}
    assert student.call("record", on=True).status_code == 403
    assert student.call("end").status_code == 403
    assert teacher.call("record", on=True).status_code == 200
    assert client.live_session(room_id).session.is_recording is True
    teacher.call("record", on=False)
    student.call("leave")
    assert teacher.names() == ["Grace Hopper"]

    assert client.end_room(room_id) is True
    assert client.end_room(room_id) is False
    assert teacher.call("state").status_code == 403
    (recording,) = eventually(lambda: client.recordings([room_id]).items)
    assert (recording.session_id, recording.room_id) == (session.session_id, room_id)
    assert recording.size > 0
    assert client.recordings_of_session(session.session_id).items == (recording,)

    artifact = eventually(lambda: client.artifacts([room_id]).items)[0]
    report = client.attendance_report(artifact.artifact_id)
    assert [(one.identity, one.is_moderator, len(one.stays)) for one in report.people] == [
        ("teacher-1", True, 1),
        ("student-1", False, 1),
    ]
    for one in report.people:
        assert one.stays[0].joined_at <= one.stays[0].left_at
    (past,) = client.past_sessions([room_id]).items
    assert (past.session_id, past.participants, past.analytics_id) == (session.session_id, 2, artifact.artifact_id)
    assert past.started_at <= past.ended_at


def test_a_recording_is_played_renamed_and_deleted(client, room_id):
    start(client, room_id, auto_recording=True)
    enters(client, room_id, TEACHER)
    client.end_room(room_id)
    (recording,) = eventually(lambda: client.recordings([room_id]).items)
    address = client.recording_address(recording.record_id)
    whole = requests.get(address, timeout=20)
    assert whole.headers["Content-Type"] == "audio/wav"
    with wave.open(BytesIO(whole.content)) as file:
        assert file.getnframes() / file.getframerate() == 2
    part = requests.get(address, headers={"Range": "bytes=100-199"}, timeout=20)
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert part.headers["Content-Range"] == f"bytes 100-199/{len(whole.content)}"
    end = requests.get(address, headers={"Range": "bytes=-10"}, timeout=20)
    assert end.content == whole.content[-10:]
    assert requests.get(address, headers={"Range": "bytes=99999999-"}, timeout=20).status_code == 416
    head = requests.head(address, timeout=20)
    assert (head.status_code, int(head.headers["Content-Length"])) == (200, len(whole.content))

    client.rename_recording(recording.record_id, "Week 1: Größe")
    assert client.recording(recording.record_id).title == "Week 1: Größe"
    assert client.delete_recording(recording.record_id) is True
    assert client.delete_recording(recording.record_id) is False
    assert client.recording(recording.record_id) is None
    assert client.recordings([room_id]).items == ()
    assert requests.get(address, timeout=20).status_code == 404
    for deed in (client.recording_address, lambda record_id: client.rename_recording(record_id, "x")):
        with pytest.raises(NotOnServer):
            deed(recording.record_id)


def test_a_download_needs_its_own_token(sandbox, client, room_id):
    start(client, room_id)
    join = client.join_address(room_id, TEACHER, RoomSettings()).partition("access_token=")[2]
    past = int(time.time()) - 10
    stale = jwt.encode({"iss": KEY, "sub": "recording:x", "exp": past}, SECRET, "HS256")
    for token in ("x", join, stale):
        assert requests.get(f"{sandbox.url}/download/recording/{token}", timeout=20).status_code == 401
    client.end_room(room_id)


def test_lists_come_in_pages(client, room_id):
    for _ in range(3):
        start(client, room_id)
        client.end_room(room_id)
    first = client.past_sessions([room_id], limit=2)
    rest = client.past_sessions([room_id], offset=2, limit=2)
    assert (len(first.items), len(rest.items), first.total, rest.total) == (2, 1, 3, 3)
    assert len({one.session_id for one in (*first.items, *rest.items)}) == 3
    assert client.past_sessions([new_room_id()]).items == ()


def test_the_newer_window_wins(client, room_id):
    start(client, room_id)
    old = enters(client, room_id, STUDENT)
    new = enters(client, room_id, STUDENT)
    assert new.names() == ["Ada Lovelace"]
    assert old.call("state").status_code == 403
    client.end_room(room_id)


def test_a_full_session_and_a_person_who_was_removed(client, room_id):
    start(client, room_id, max_participants=2)
    teacher = enters(client, room_id, TEACHER)
    enters(client, room_id, STUDENT)
    with pytest.raises(PermissionError, match="full"):
        enters(client, room_id, Attendee("student-2", "Bob", False))
    teacher.call("remove", identity="student-1")
    assert teacher.names() == ["Grace Hopper"]
    with pytest.raises(PersonBlocked):
        client.join_address(room_id, STUDENT, RoomSettings())
    client.end_room(room_id)


# What servers since v2.3.0 make of a plain false, and those before


def test_a_newer_server_ignores_plain_restrictions_and_says_so(client, room_id):
    session = start(client, room_id, allow_polls=False, allow_view_other_webcams=False, mute_on_start=True)
    assert session.differences == (Difference("allow_polls", False, True),)
    client.end_room(room_id)


def test_an_older_server_follows_them(room_id):
    with running_sandbox("--before-2.3") as old:
        session = start(old.client, room_id, allow_polls=False, allow_recording=False, allow_rtmp=False)
        assert session.differences == ()
        teacher = enters(old.client, room_id, TEACHER)
        assert teacher.call("record", on=True).status_code == 403


def test_what_is_kept_outlives_the_server(tmp_path, room_id):
    file = tmp_path / "meetings.sqlite3"
    with running_sandbox("--keep", str(file)) as first:
        start(first.client, room_id, auto_recording=True)
        enters(first.client, room_id, TEACHER)
        first.client.end_room(room_id)
        eventually(lambda: first.client.recordings([room_id]).items)
    with running_sandbox("--keep", str(file)) as second:
        assert len(second.client.recordings([room_id]).items) == 1
        assert second.client.is_running(room_id) is False


# Webhooks


def test_webhooks_of_a_whole_session(client, room_id):
    with serve(lambda received: Reply()) as receiver:
        session = start(client, room_id, webhook_url=f"{receiver.url}/meetings/webhook/1")
        teacher = enters(client, room_id, TEACHER)
        teacher.call("record", on=True)
        teacher.call("end")
        expected = [
            "room_created",
            "room_started",
            "participant_joined",
            "start_recording",
            "end_recording",
            "participant_left",
            "session_ended",
            "room_finished",
            "recording_proceeded",
            "analytics_proceeded",
            "artifact_created",
        ]
        eventually(lambda: len(receiver.received) >= len(expected))
        messages = [client.read_webhook(one.headers, one.body) for one in receiver.received]
    assert sorted(one.type for one in messages) == sorted(expected)
    assert [one.type for one in messages][:8] == expected[:8], "in order, for one room"
    assert len({one.event_id for one in messages}) == len(messages)
    assert {(one.room_id, one.session_id) for one in messages} == {(room_id, session.session_id)}
    by_type = {one.type: one for one in messages}
    joined, left = by_type["participant_joined"].participant, by_type["participant_left"].participant
    assert (joined.identity, joined.connection_id) == ("teacher-1", left.connection_id)
    assert by_type["recording_proceeded"].record_id == by_type["start_recording"].record_id
    assert by_type["recording_proceeded"].recording_size > 0
    assert by_type["artifact_created"].artifact_id == by_type["analytics_proceeded"].artifact_id
    assert {one.headers["Content-Type"] for one in receiver.received} == {"application/json"}
    assert all(one.headers["Authorization"] == one.headers["Hash-Token"] for one in receiver.received)


def test_webhooks_are_tried_again_with_the_same_bytes(room_id):
    answers = [503, 429]
    with (
        running_sandbox("--before-2.3") as old,
        serve(lambda received: Reply(answers.pop(0) if answers else 200)) as receiver,
    ):
        start(old.client, room_id, webhook_url=receiver.url)
        eventually(lambda: len(receiver.received) == 3)
        assert len({(one.body, one.headers["Hash-Token"]) for one in receiver.received}) == 1
        assert receiver.received[0].headers["Content-Type"] == "application/webhook+json"
        assert old.client.read_webhook(receiver.received[0].headers, receiver.received[0].body).type == "room_created"


# The sandbox is as strict as a real server


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"API-KEY": None}, "Missing API-KEY header."),
        ({"API-KEY": "other"}, "Invalid API key provided."),
        ({"HASH-SIGNATURE": None}, "Missing HASH-SIGNATURE header."),
        ({"HASH-SIGNATURE": "0" * 64}, "Failed to verify provided authentication details."),
        ({"HASH-SIGNATURE": body_signature(SECRET, b"{ }")}, "Failed to verify provided authentication details."),
        (
            {"HASH-SIGNATURE": body_signature(SECRET, b"{}").upper()},
            "Failed to verify provided authentication details.",
        ),
    ],
)
def test_a_wrong_signature(sandbox, headers, message):
    answer = call(sandbox, "room/isRoomActive", b"{}", **headers)
    assert answer.status_code == 401
    assert (answer.json()["status"], answer.json()["msg"]) == (False, message)


def test_a_wrong_key_is_told_apart_from_a_wrong_secret(sandbox):
    with pytest.raises(KeyRefused, match="does not know this API key"):
        PlugNmeetClient(sandbox.url, "other", SECRET).check()
    with pytest.raises(KeyRefused, match="secret does not fit"):
        PlugNmeetClient(sandbox.url, KEY, "another-secret").check()


GOOD = create_body(RoomRequest("r-strict", "Title", RoomSettings()))


def changed(**changes):
    return {**GOOD, **changes}


def in_metadata(**changes):
    metadata = {**GOOD["metadata"], **changes}
    return changed(metadata={name: value for name, value in metadata.items() if value is not None})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("room/create", b"no json"),
        ("room/create", []),
        ("room/create", {}),
        ("room/create", changed(room_id="a b")),
        ("room/create", changed(room_id="user_1")),
        ("room/create", changed(room_id="x" * 65)),
        ("room/create", changed(room_id=5)),
        ("room/create", changed(empty_timeout=0)),
        ("room/create", changed(empty_timeout=-1)),
        ("room/create", changed(max_participants=0)),
        ("room/create", changed(max_participants="many")),
        ("room/create", changed(metadata=None)),
        ("room/create", in_metadata(room_title="")),
        ("room/create", in_metadata(room_features=None)),
        ("room/create", in_metadata(room_features={"mute_on_start": "true"})),
        ("room/create", in_metadata(room_features={"polls_features": {"is_allow": 1}})),
        ("room/create", in_metadata(webhook_url="")),
        ("room/create", in_metadata(logout_url="not a uri")),
        ("room/create", in_metadata(is_breakout_room=True)),
        ("room/isRoomActive", {}),
        ("room/getJoinToken", {"room_id": "r1", "user_info": {"name": "", "user_id": "1"}}),
        ("room/getJoinToken", {"room_id": "r1", "user_info": {"name": "A", "user_id": "a@b"}}),
        ("room/getJoinToken", {"room_id": "r1", "user_info": {"name": "A", "user_id": "sip_1"}}),
        ("recording/fetch", {"room_ids": "r1"}),
        ("recording/fetch", {"room_ids": ["r1"], "from": -1}),
        ("recording/updateMetadata", {"record_id": "x"}),
    ],
)
def test_a_malformed_request_is_refused_with_http_200(sandbox, path, body):
    answer = call(sandbox, path, body)
    assert answer.status_code == 200
    assert answer.json()["status"] is False
    assert answer.json()["msg"]
    assert sandbox.client.is_running("r-strict") is False


def test_either_way_of_writing_names_and_numbers(sandbox, room_id):
    features = {"roomDuration": "90", "muteOnStart": True, "somethingNew": {}}
    metadata = {"roomTitle": "T", "roomFeatures": features, "extraData": {"k": "v"}}
    answer = call(sandbox, "room/create", {"roomId": room_id, "emptyTimeout": "600", "metadata": metadata}).json()
    info = answer["room_info"]
    assert answer["status"] is True
    assert isinstance(info["creation_time"], str)
    assert isinstance(info["joined_participants"], str)
    assert info["is_running"] == 1
    applied = json.loads(info["metadata"])["room_features"]
    assert (applied["room_duration"], applied["mute_on_start"]) == (90, True)
    sandbox.client.end_room(room_id)


def test_what_it_does_not_know(sandbox):
    assert call(sandbox, "room/nothing", {}).status_code == 404
    assert requests.get(f"{sandbox.url}/auth/room/create", timeout=20).status_code == 404
    assert requests.post(f"{sandbox.url}/sandbox/state", data=b"x", timeout=20).status_code == 400
    assert requests.post(f"{sandbox.url}/sandbox/enter", json={"token": "x"}, timeout=20).status_code == 403
    with pytest.raises(RequestRefused):
        sandbox.client.create_room(RoomRequest("x-FIELD-ok", "T", RoomSettings(), webhook_url="no uri"))


def test_the_page_keeps_the_token_to_itself(sandbox):
    page = requests.get(f"{sandbox.url}/?access_token=secret", timeout=20)
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert "secret" not in page.text
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
