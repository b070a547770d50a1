"""The plugNmeet client against a server on loopback: signatures to the byte, and every trap of the API.

The signatures were computed with `openssl dgst -sha256 -hmac`, of bodies written by hand.
"""

import json
import logging
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from recordings.meeting_server import (
    AddressRefused,
    Attendee,
    Difference,
    KeyRefused,
    MeetingServerError,
    NotAMeetingServer,
    NotOnServer,
    PersonBlocked,
    RequestRefused,
    RoomNotRunning,
    RoomRequest,
    ServerFailing,
    ServerTooSlow,
    ServerUnreachable,
    Stay,
)
from recordings.plugnmeet import PlugNmeetClient
from recordings.plugnmeet_rooms import create_body, join_body
from recordings.plugnmeet_webhooks import body_signature
from recordings.room_settings import RoomSettings
from tests.loopback import Reply, serve

pytestmark = pytest.mark.usefixtures("loopback")

JSON = {"Content-Type": "application/json"}
KEY = "plugnmeet"
SECRET = "zumyyYWqv7KR2kUqvYdq4z4sXg7XTBD2ljT6"
CREATE = (Path(__file__).parent / "data" / "create_room.json").read_bytes().rstrip(b"\n")
REQUEST = RoomRequest(
    room_id="r1",
    title="Größe",
    settings=RoomSettings(
        room_duration=90,
        allow_polls=False,
        allow_view_other_webcams=False,
        mute_on_start=True,
        welcome_message="Hello",
        waiting_room=True,
        auto_recording=True,
        max_participants=50,
    ),
    webhook_url="https://tool.example/meetings/webhook/1",
    return_url="https://tool.example/back",
)
ADA = Attendee("0192f0c1-7a4e-7e77-9a31-111111111111", "Ada Lovelace", False, "de-AT")
ROOM_INFO = {
    "room_title": "Größe",
    "room_id": "r1",
    "sid": "7d1b1f0e-0000-4000-8000-000000000001",
    "joined_participants": "0",
    "is_running": 1,
    "is_recording": 0,
    "is_active_rtmp": 0,
    "webhook_url": "",
    "is_breakout_room": 0,
    "parent_room_id": "",
    "creation_time": "1700000000",
    "metadata": "",
}


ODD_SIZE = {"record_id": "a", "file_size": -1}


def well(**more):
    return {"status": True, "msg": "success", "status_code": "SUCCESS", **more}


def failed(message, status_code=None):
    answer = {"status": False, "msg": message}
    return answer if status_code is None else {**answer, "status_code": status_code}


class Server:
    """A meeting server with one answer (or one for each call), and what it received."""

    def __init__(self, running, replies):
        self._running = running
        self._replies = replies
        self.client = PlugNmeetClient(f"{running.url}/", KEY, SECRET)

    @property
    def url(self):
        return self._running.url

    @property
    def received(self):
        return self._running.received

    @property
    def sent(self):
        return json.loads(self.received[-1].body)

    def answers(self, *replies):
        self._replies[:] = [
            one
            if isinstance(one, Reply)
            else Reply(200, json.dumps(one).encode(), {"Content-Type": "application/json"})
            for one in replies
        ]


@pytest.fixture
def server():
    replies = []
    with serve(lambda received: replies.pop(0) if len(replies) > 1 else replies[0]) as running:
        yield Server(running, replies)


# Requests, to the byte


@pytest.mark.parametrize(
    ("body", "signature"),
    [
        (b"{}", "d2a7003d22b6b6f94519230776f45e19d2086b20d1711a8eae6b0ee24d51cfeb"),
        (b'{"room_id":"r1"}', "37de705c72fd53979a6e1a025144cd70d9e4a8391706e9d1358fed5a7cb0c247"),
    ],
)
def test_the_signature_is_that_of_the_very_bytes(body, signature):
    assert body_signature(SECRET, body) == signature


def test_a_request_as_it_is_on_the_wire(server):
    server.answers(well(is_active=True))
    assert server.client.is_running("r1") is True
    request = server.received[0]
    assert (request.method, request.path) == ("POST", "/auth/room/isRoomActive")
    assert request.body == b'{"room_id":"r1"}'
    assert request.headers["API-KEY"] == KEY
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["HASH-SIGNATURE"] == "37de705c72fd53979a6e1a025144cd70d9e4a8391706e9d1358fed5a7cb0c247"


def test_a_text_in_other_scripts_is_signed_as_utf_8(server):
    server.answers(well())
    server.client.rename_recording("RM_1-1700000000000", "Straße \u2013 第一課")
    request = server.received[0]
    assert request.path == "/auth/recording/updateMetadata"
    assert request.body == '{"record_id":"RM_1-1700000000000","metadata":{"title":"Straße \u2013 第一課"}}'.encode()
    assert request.headers["HASH-SIGNATURE"] == "0fc7218b51917cbc9eb11127f64fff4b3ac7a4c089eaf27fe81729657cd554a1"


def test_a_room_is_created_with_every_feature_said(server):
    server.answers(well(room_info=ROOM_INFO))
    session = server.client.create_room(REQUEST)
    request = server.received[0]
    assert request.path == "/auth/room/create"
    assert request.body == CREATE
    assert request.headers["HASH-SIGNATURE"] == "27f1fe38aae313d63f4d1d804aa7629db039b924010970c56f7c3fc96d6ce274"
    assert (session.room_id, session.session_id) == ("r1", ROOM_INFO["sid"])
    assert session.started_at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert (session.participants, session.is_recording) == (0, False)
    assert session.differences is None, "a room without metadata does not say what was applied"


def test_somebody_joins(server):
    server.answers(well(token="eyJ.a+b/c"))
    address = server.client.join_address("r1", ADA, RoomSettings())
    request = server.received[0]
    assert request.path == "/auth/room/getJoinToken"
    assert request.body == (
        b'{"room_id":"r1","user_info":{"name":"Ada Lovelace","user_id":"0192f0c1-7a4e-7e77-9a31-111111111111",'
        b'"is_admin":false,"is_hidden":false,"user_metadata":{"record_webcam":true,"preferred_lang":"de-AT"}}}'
    )
    assert request.headers["HASH-SIGNATURE"] == "23b47266e9e19a6bdedcff1c0268f36d4cdc65429d35499ca1ad3b18deb3314a"
    assert address == f"{server.url}/?access_token=eyJ.a%2Bb%2Fc"


def test_the_design_travels_in_the_address(server):
    server.answers(well(token="t"))
    look = RoomSettings(primary_color="#004D90", custom_logo="https://example.org/a?b=1&c=2")
    address = server.client.join_address("r1", ADA, look)
    assert address == (
        f"{server.url}/?access_token=t&custom_design=%7B%22primary_color%22%3A%22%23004D90%22%2C"
        "%22custom_logo%22%3A%22https%3A%2F%2Fexample.org%2Fa%3Fb%3D1%26c%3D2%22%7D"
    )


# What is left out, and what is never


def test_what_has_no_value_is_left_out_where_an_empty_one_is_refused():
    body = create_body(RoomRequest("r1", "Title", RoomSettings()))
    assert "max_participants" not in body
    assert body["empty_timeout"] >= 120, "less would be raised to half an hour"
    assert not {"webhook_url", "logout_url", "welcome_message"} & set(body["metadata"])


def test_a_title_is_never_empty():
    assert create_body(RoomRequest("r1", "  ", RoomSettings()))["metadata"]["room_title"] == "r1"
    assert len(create_body(RoomRequest("r1", "x" * 300, RoomSettings()))["metadata"]["room_title"]) == 255


def test_every_setting_changes_what_is_asked_for():
    plain = create_body(RoomRequest("r1", "Title", RoomSettings()))
    for name, value in {
        "room_duration": 5,
        **dict.fromkeys(
            [
                "allow_polls",
                "allow_shared_note_pad",
                "allow_breakout_room",
                "allow_recording",
                "allow_rtmp",
                "allow_view_other_webcams",
                "allow_view_other_users_list",
            ],
            False,
        ),
        **dict.fromkeys(["mute_on_start", "waiting_room", "auto_recording"], True),
        "welcome_message": "x",
        "max_participants": 3,
    }.items():
        assert create_body(RoomRequest("r1", "Title", RoomSettings(**{name: value}))) != plain, name


def test_what_may_not_be_recorded_is_not_recorded_anywhere():
    asked = RoomSettings(allow_recording=False, auto_recording=True)
    recording = create_body(RoomRequest("r1", "T", asked))["metadata"]["room_features"]["recording_features"]
    assert not any(recording.values())


@pytest.mark.parametrize("room_id", ["", "user_1", "a.b", "a b", "x-FIELD_y", "x" * 65, "ä", "r1\n"])
def test_room_ids_that_the_server_would_refuse(room_id):
    with pytest.raises(ValueError, match="room id"):
        create_body(RoomRequest(room_id, "Title", RoomSettings()))


@pytest.mark.parametrize(
    "identity",
    ["", "user_1", "ingres_1", "pnm_agent-1", "pnm_tts_agent-1", "sip_1", "x-native", "a-FIELD_b", "a@b", "1\n"],
)
def test_ids_of_people_that_the_server_would_refuse(identity):
    with pytest.raises(ValueError, match="id of an attendee"):
        join_body("r1", Attendee(identity, "Ada", False))


def test_nobody_joins_without_a_name():
    with pytest.raises(ValueError, match="name"):
        join_body("r1", Attendee("1", "  ", False))


# A status of false is a failure, whatever HTTP says


def test_a_failure_comes_with_http_200(server):
    server.answers(failed("max rooms reached", "INTERNAL_SERVER_ERROR"))
    with pytest.raises(RequestRefused, match="max rooms reached") as refused:
        server.client.create_room(REQUEST)
    assert (refused.value.reason, refused.value.status_code) == ("max rooms reached", "INTERNAL_SERVER_ERROR")
    assert not refused.value.temporary


@pytest.mark.parametrize(
    "answer",
    [
        {"status": True, "msg": "room not found", "status_code": "ROOM_NOT_FOUND", "is_active": False},
        {"status": True, "msg": "room is not active", "status_code": "ROOM_NOT_ACTIVE", "is_active": False},
        failed("room not found"),
    ],
)
def test_an_idle_room_is_told_of_with_a_status_of_true(server, answer):
    server.answers(answer)
    assert server.client.is_running("r1") is False


@pytest.mark.parametrize(
    "answer",
    [
        {**failed("room not found in active state", "ROOM_NOT_FOUND"), "room": None},
        {**failed("room is not active", "ROOM_NOT_ACTIVE"), "room": None},
        failed("room is not active"),
    ],
)
def test_an_idle_room_has_no_session(server, answer):
    server.answers(answer)
    assert server.client.live_session("r1") is None


@pytest.mark.parametrize("answer", [failed("no recording found", "NOT_FOUND"), failed("no recording found")])
def test_an_empty_list_is_a_failure(server, answer):
    server.answers(answer)
    page = server.client.recordings(["r1"])
    assert (page.items, page.total) == ((), 0)
    assert server.client.recordings_of_session("sid").items == ()
    server.answers(failed("no room found", "NOT_FOUND"))
    assert server.client.past_sessions(["r1"]).items == ()
    server.answers(failed("no artifact found", "NOT_FOUND"))
    assert server.client.artifacts(["r1"]).items == ()


def test_a_list_that_fails_is_not_an_empty_one(server):
    server.answers(failed("sql: connection refused", "INTERNAL_SERVER_ERROR"))
    with pytest.raises(RequestRefused, match="sql"):
        server.client.recordings(["r1"])


def test_no_list_is_asked_for_without_a_room(server):
    """Neither room nor session would be the recordings of every tenant of the server."""
    server.answers(well())
    assert server.client.recordings([]).items == ()
    assert server.client.past_sessions([]).items == ()
    assert server.client.artifacts([]).items == ()
    with pytest.raises(ValueError, match="everybody"):
        server.client.recordings_of_session("")
    assert server.received == []


def test_a_session_is_not_asked_for_together_with_rooms(server):
    """A session in the request would replace the rooms."""
    server.answers(failed("no recording found", "NOT_FOUND"))
    server.client.recordings_of_session("sid-1")
    assert server.sent == {"room_sid": "sid-1", "from": 0, "limit": 100, "order_by": "DESC"}
    server.client.recordings(["r1", "r2"], offset=40, limit=500)
    assert server.sent == {"room_ids": ["r1", "r2"], "from": 40, "limit": 100, "order_by": "DESC"}


@pytest.mark.parametrize("words", ["room is not active", "room not found"])
def test_nobody_joins_a_room_that_is_idle(server, words):
    server.answers(failed(words, "ROOM_NOT_FOUND"))
    with pytest.raises(RoomNotRunning):
        server.client.join_address("r1", ADA, RoomSettings())


@pytest.mark.parametrize("status_code", ["USER_BLOCKED", None])
def test_who_was_removed_is_told(server, status_code):
    server.answers(failed("this user is blocked to join this session", status_code))
    with pytest.raises(PersonBlocked) as blocked:
        server.client.join_address("r1", ADA, RoomSettings())
    assert "Ask your teacher" in blocked.value.for_teacher


def test_ending_what_has_ended_is_no_failure(server):
    server.answers(well())
    assert server.client.end_room("r1") is True
    server.answers(failed("room not found or not active", "ROOM_NOT_FOUND"))
    assert server.client.end_room("r1") is False


def test_deleting_what_is_gone_is_no_failure(server):
    server.answers(well())
    assert server.client.delete_recording("x") is True
    server.answers(failed("recording not found", "NOT_FOUND"))
    assert server.client.delete_recording("x") is False
    assert server.client.recording("x") is None
    for call in (server.client.recording_address, lambda record_id: server.client.rename_recording(record_id, "T")):
        with pytest.raises(NotOnServer):
            call("x")


# Answers: numbers as strings, zero values left out


def test_a_session_with_the_people_in_it(server):
    people = [
        {
            "sid": "PA_1",
            "identity": str(ADA.identity),
            "state": "ACTIVE",
            "name": "Ada",
            "metadata": '{"is_admin":true}',
            "joined_at": "1700000060",
        },
        {"sid": "PA_2", "identity": "p-2", "state": "DISCONNECTED", "name": "Gone", "joined_at": "1700000000"},
        {"sid": "PA_3", "identity": "RECORDER_BOT", "state": "ACTIVE", "joined_at": "1700000000"},
        {"sid": "PA_4", "identity": "sip_123", "state": "ACTIVE"},
        {"sid": "PA_5", "identity": "pnm_agent-x", "state": "ACTIVE"},
        {"identity": "p-3", "state": "JOINED", "metadata": "no json"},
    ]
    server.answers(well(room={"room_info": {**ROOM_INFO, "joined_participants": "7"}, "participants_info": people}))
    live = server.client.live_session("r1")
    assert live.session.participants == 7
    assert [one.identity for one in live.participants] == [ADA.identity, "p-3"]
    assert (live.participants[0].is_moderator, live.participants[1].is_moderator) == (True, False)
    assert live.participants[0].joined_at == datetime(2023, 11, 14, 22, 14, 20, tzinfo=UTC)
    assert live.participants[1].joined_at is None


def test_recordings(server):
    entry = {
        "record_id": "sid-1700000000000",
        "room_id": "r1",
        "room_sid": "sid",
        "file_path": "/x/y.mp4",
        "file_size": 12.34,
        "creation_time": "1700000100",
        "room_creation_time": "1700000000",
        "metadata": {"title": "Week 1", "subtitles": {}, "extra_data": {}},
    }
    bare = {"record_id": "sid-2", "metadata": None}
    result = {"total_recordings": "45", "from": 40, "limit": 2, "order_by": "DESC", "recordings_list": [entry, bare]}
    server.answers(well(result=result))
    page = server.client.recordings(["r1"], offset=40, limit=2)
    assert (page.total, page.offset) == (45, 40)
    first, second = page.items
    assert (first.title, first.size, first.session_id) == ("Week 1", 12_340_000, "sid")
    assert first.recorded_at == datetime(2023, 11, 14, 22, 15, tzinfo=UTC)
    assert (second.title, second.size, second.recorded_at) == ("", 0, None)
    server.answers(well(recording_info=entry, room_info={"created": "2023-11-14 22:13:20"}))
    assert server.client.recording("sid-1700000000000") == first


def test_past_sessions_in_either_way_of_writing_times(server):
    rooms = [
        {
            "room_title": "T",
            "room_id": "r1",
            "room_sid": "sid",
            "joined_participants": "3",
            "created": "2023-11-14T22:13:20.123456789Z",
            "ended": "2023-11-14 23:00:00",
            "analytics_file_id": "a-1",
        },
        {"room_id": "r1", "room_sid": "sid-2", "created": "2023-11-14T23:13:20+01:00", "ended": ""},
    ]
    server.answers(well(result={"total_rooms": "2", "rooms_list": rooms}))
    first, second = server.client.past_sessions(["r1"]).items
    assert (first.participants, first.analytics_id) == (3, "a-1")
    assert first.started_at == datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC)
    assert first.ended_at == datetime(2023, 11, 14, 23, tzinfo=UTC)
    assert (second.started_at, second.ended_at) == (datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC), None)


def report(*users):
    return {
        "room": {"room_id": "r1", "room_creation": "1700000000", "room_ended": "1700003600", "events": []},
        "users": list(users),
    }


def times(name, *milliseconds):
    return {"name": name, "total": len(milliseconds), "values": [{"time": str(at), "value": ""} for at in milliseconds]}


def at(milliseconds):
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def test_who_attended(server):
    start = 1_700_000_000_000
    document = report(
        {
            "user_id": "p-1",
            "name": "Ada",
            "is_admin": True,
            "events": [
                times("left", start + 900_000, start + 60_000),
                times("joined", start + 120_000, start),
                times("talked", start + 1),
            ],
        },
        {
            "user_id": "p-2",
            "name": "Bob",
            "events": [times("joined", start + 5, start + 10_000), times("left", start + 20_000)],
        },
        {"user_id": "p-3", "name": "Cy", "events": []},
        {"user_id": "RECORDER_BOT", "name": "", "events": [times("joined", start)]},
    )
    server.answers(well(token="tok/1"), Reply(200, json.dumps(document).encode()))
    found = server.client.attendance_report("a-1")
    assert [request.path for request in server.received] == [
        "/auth/artifact/getDownloadToken",
        "/download/artifact/tok%2F1",
    ]
    assert "API-KEY" not in server.received[1].headers
    assert found.ended_at == at(1_700_003_600_000)
    ada, bob, cy = found.people
    assert ada.stays == (Stay(at(start), at(start + 60_000)), Stay(at(start + 120_000), at(start + 900_000)))
    assert bob.stays == (Stay(at(start + 5), None), Stay(at(start + 10_000), at(start + 20_000)))
    assert (ada.is_moderator, cy.stays) == (True, ())


def test_a_file_in_another_storage_is_followed_once(server):
    document = json.dumps(report()).encode()
    server.answers(well(token="t"), Reply(307, headers={"Location": "/storage/x"}), Reply(200, document))
    assert server.client.attendance_report("a-1").people == ()
    assert server.received[-1].path == "/storage/x"
    server.answers(well(token="t"), Reply(307, headers={"Location": "http://10.0.0.1/"}))
    with pytest.raises(AddressRefused):
        server.client.attendance_report("a-1")
    for status in (401, 404):
        server.answers(well(token="t"), Reply(status, b"token expired"))
        with pytest.raises(NotOnServer):
            server.client.attendance_report("a-1")


def test_a_download(server):
    server.answers(well(token="a.b.c"))
    assert server.client.recording_address("sid-1") == f"{server.url}/download/recording/a.b.c"


# What was really applied


def applied(**changes):
    body = create_body(REQUEST)["metadata"]
    for path, value in changes.items():
        part = body["room_features"]
        *parents, last = path.split("__")
        for name in parents:
            part = part[name]
        part[last] = value
    return {**ROOM_INFO, "metadata": json.dumps(body)}


def test_nothing_differs_when_the_server_did_as_asked(server):
    server.answers(well(room_info=applied()))
    assert server.client.create_room(REQUEST).differences == ()


def test_what_a_newer_server_ignores_is_read_back(server):
    """Since v2.3.0 a plain false does not override a default of true."""
    server.answers(well(room_info=applied(polls_features__is_allow=True, room_duration="60")))
    assert set(server.client.create_room(REQUEST).differences) == {
        Difference("allow_polls", False, True),
        Difference("room_duration", 90, 60),
    }


def test_a_restriction_by_another_way_is_no_difference(server):
    """The cameras of others stay hidden by admin_only_webcams, although the server has the plain switch on."""
    server.answers(well(room_info=applied(allow_view_other_webcams=True)))
    assert server.client.create_room(REQUEST).differences == ()
    server.answers(well(room_info=applied(allow_view_other_webcams=True, admin_only_webcams=False)))
    assert server.client.create_room(REQUEST).differences == (Difference("allow_view_other_webcams", False, True),)
    no_broadcast = RoomRequest("r1", "T", RoomSettings(allow_rtmp=False))
    metadata = create_body(no_broadcast)["metadata"]
    metadata["room_features"]["external_broadcasting_features"]["is_allow"] = True
    server.answers(well(room_info={**ROOM_INFO, "metadata": json.dumps(metadata)}))
    assert server.client.create_room(no_broadcast).differences == ()


def test_metadata_in_camel_case_and_without_zero_values(server):
    features = {"pollsFeatures": {"isAllow": True}, "muteOnStart": True, "roomDuration": "90", "adminOnlyWebcams": True}
    for name in ("sharedNotePad", "breakoutRoom", "recording", "externalBroadcasting"):
        features[f"{name}Features"] = {"isAllow": True}
    features["recordingFeatures"]["enableAutoCloudRecording"] = True
    features["waitingRoomFeatures"] = {"isActive": True}
    features["allowViewOtherUsersList"] = True
    server.answers(well(room_info={**ROOM_INFO, "metadata": json.dumps({"roomFeatures": features})}))
    assert server.client.create_room(REQUEST).differences == (Difference("allow_polls", False, True),)


# What can be wrong with a server


def test_the_key_is_wrong(server):
    for message, words in (
        ("Invalid API key provided.", "does not know this API key"),
        ("Failed to verify provided authentication details.", "secret does not fit"),
        ("Missing API-KEY header.", "proxy"),
        ("", "HTTP 401"),
    ):
        server.answers(Reply(401, json.dumps(failed(message)).encode()))
        with pytest.raises(KeyRefused, match=words) as refused:
            server.client.check()
        assert not refused.value.temporary
        assert "owner" in refused.value.for_teacher
    server.answers(Reply(401, b"<html>Sign in</html>"))
    with pytest.raises(KeyRefused):
        server.client.check()


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, b"<!doctype html><title>Welcome to nginx!</title>", {"Content-Type": "text/html; charset=utf-8"}),
        Reply(404, b'{"error":"not found"}', {"Content-Type": "application/json"}),
        Reply(301, b"", {"Location": "https://elsewhere.example/"}),
        Reply(200, b""),
        Reply(200, b"[]"),
        Reply(200, b'{"status":true'),
        Reply(200, b"[" * 100_000),
        Reply(200, b'{"ok":true}'),
        Reply(200, b'{"status":"true","is_active":true}'),
        Reply(200, b'{"status":true,"is_active":"yes"}'),
        Reply(200, b"x" * (2 * 1024 * 1024 + 1)),
    ],
    ids=["html", "404", "redirect", "empty", "list", "cut off", "deep", "other api", "text", "odd", "huge"],
)
def test_something_else_answers(server, reply):
    server.answers(reply)
    with pytest.raises(NotAMeetingServer) as error:
        server.client.check()
    assert error.value.for_owner
    assert not error.value.temporary


@pytest.mark.parametrize(
    ("answer", "call"),
    [
        (well(), lambda client: client.create_room(REQUEST)),
        (well(room_info={**ROOM_INFO, "sid": ""}), lambda client: client.create_room(REQUEST)),
        (well(room_info={**ROOM_INFO, "creation_time": "soon"}), lambda client: client.create_room(REQUEST)),
        (well(room_info={**ROOM_INFO, "creation_time": "9" * 18}), lambda client: client.create_room(REQUEST)),
        (well(token=""), lambda client: client.join_address("r1", ADA, RoomSettings())),
        (well(result={"recordings_list": [1]}), lambda client: client.recordings(["r1"])),
        (well(result={"recordings_list": [{"record_id": 5}]}), lambda client: client.recordings(["r1"])),
        (
            well(result={"recordings_list": [{"record_id": "a", "file_size": -1}]}),
            lambda client: client.recordings(["r1"]),
        ),
    ],
)
def test_an_answer_of_another_shape(server, answer, call):
    server.answers(answer)
    with pytest.raises(NotAMeetingServer):
        call(server.client)


@pytest.mark.parametrize("status", [500, 429])
def test_a_server_with_a_problem_of_its_own(server, status):
    server.answers(Reply(status, b"oops"))
    with pytest.raises(ServerFailing, match=str(status)) as error:
        server.client.check()
    assert error.value.temporary
    assert len(server.received) == 1


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_proxy_that_restarts_is_tried_once_more(server, status):
    server.answers(Reply(status, b"<html>"), well(is_active=False))
    server.client.check()
    assert len(server.received) == 2
    assert server.received[0].body == server.received[1].body
    server.answers(Reply(status, b"<html>"))
    with pytest.raises(ServerFailing):
        server.client.check()
    assert len(server.received) == 4, "once more, and not again"


def test_nothing_answers():
    with serve(lambda received: Reply()) as running:
        url = running.url
    with pytest.raises(ServerUnreachable, match="cannot be reached") as error:
        PlugNmeetClient(url, KEY, SECRET).check()
    assert error.value.temporary


def test_a_server_that_is_too_slow():
    held = threading.Event()

    def answer(received):
        held.wait(30)
        return Reply()

    with serve(answer) as slow:
        with pytest.raises(ServerTooSlow) as error:
            PlugNmeetClient(slow.url, KEY, SECRET, patience=0.03).check()
        held.set()
        assert len(slow.received) == 1, "what took too long once is not waited for twice"
    assert error.value.temporary


def test_an_address_that_may_not_be_called(settings):
    settings.OUTBOUND_ALLOWED_PRIVATE_HOSTS = []
    with pytest.raises(AddressRefused, match="private network"):
        PlugNmeetClient("http://127.0.0.1:9", KEY, SECRET).check()


def test_secrets_and_names_are_in_no_text(server, caplog):
    caplog.set_level(logging.DEBUG)
    assert SECRET not in repr(server.client)
    assert "Ada" not in repr(ADA)
    said = failed("token eyJhbGciOiJIUzI1NiJ9.eyJuYW1lIjoiQWRhIn0.c2lnbmF0dXJl of ada@example.edu\nis bad")
    server.answers(said)
    with pytest.raises(MeetingServerError) as error:
        server.client.create_room(REQUEST)
    said_by_us = [str(error.value), error.value.for_owner, error.value.for_teacher]
    assert not any("\n" in text for text in said_by_us)
    for secret in (SECRET, "eyJ", "ada@example.edu"):
        assert secret not in "".join([*said_by_us, caplog.text])
