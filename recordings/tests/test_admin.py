"""Meeting servers in the admin: made and tested by their owners, with a secret that is never shown."""

import html
import json

import pytest
from django.db import connections

from organizations.tests.admin_client import operator_client, owner_client, text_of
from recordings.connecting import MOST_SERVERS, ServerError, change_server, make_server
from recordings.models import MeetingServer
from tests.factories import MeetingServerFactory, OrganizationFactory, RoomFactory
from tests.loopback import Reply, serve

pytestmark = pytest.mark.django_db

LIST = "/admin/recordings/meetingserver/"
SECRET = "the-secret-of-this-very-server"
FORM = {
    "name": "main",
    "kind": "plugnmeet",
    "url": "https://meet.example/",
    "api_key": "key-1",
    "new_secret": SECRET,
    "enabled": "on",
}


@pytest.fixture
def organization():
    return OrganizationFactory()


@pytest.fixture
def owner(organization):
    return owner_client(organization)


@pytest.fixture
def server(organization):
    values = {"kind": "plugnmeet", "url": "https://meet.example", "api_key": "key-1", "api_secret": SECRET}
    return make_server(organization, name="main", **values)


def change(server):
    return f"{LIST}{server.pk}/change/"


def test_an_owner_adds_one(organization, owner):
    assert "Save" in text_of(owner.get(f"{LIST}add/"))
    response = owner.post(f"{LIST}add/", FORM, follow=True)
    server = MeetingServer.objects.get()
    assert (server.organization, server.name, server.url) == (organization, "main", "https://meet.example")
    assert (server.api_key, server.api_secret, server.enabled) == ("key-1", SECRET, True)
    assert server.is_default, "the first one"
    text = text_of(response)
    assert "Test the connection now" in text
    assert "Never since" in text
    assert f"/meetings/webhook/{server.pk}" in text


def test_the_secret_is_stored_encrypted_and_shown_nowhere(owner, server):
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT api_secret FROM recordings_meetingserver")
        assert SECRET not in cursor.fetchone()[0]
    for address in (LIST, change(server), f"{LIST}{server.pk}/history/", f"{LIST}{server.pk}/delete/"):
        assert SECRET not in text_of(owner.get(address)), address
    wrong = owner.post(f"{LIST}add/", FORM | {"url": ""})
    assert SECRET not in text_of(wrong), "not even where the form comes back"
    assert SECRET not in repr(server)


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"url": "http://meet.example"}, "not https"),
        ({"url": "https://10.0.0.1"}, "private network"),
        ({"url": "https://meet.example/?x=1"}, "before ? and #"),
        ({"url": "meet"}, "not an absolute https URL"),
        ({"api_key": "two words"}, "without spaces"),
        ({"api_key": ""}, "required"),
        ({"new_secret": ""}, "required"),
        ({"name": ""}, "required"),
        ({"name": "taken"}, "already exists"),
        ({"kind": "zoom"}, "valid choice"),
    ],
)
def test_wrong_values_are_named_and_kept(organization, owner, form, words):
    make_server(organization, name="taken", kind="sandbox", url="https://a.example", api_key="k", api_secret="s" * 20)
    response = owner.post(f"{LIST}add/", {**FORM, "name": "My <own>", **form})
    text = html.unescape(text_of(response))
    assert response.status_code == 200
    assert words in text
    if "name" not in form:
        assert "My &lt;own&gt;" in text_of(response)
    assert MeetingServer.objects.count() == 1


def test_an_empty_secret_keeps_the_one_there_is(owner, server):
    owner.post(change(server), {**FORM, "name": "renamed", "new_secret": "", "by_default": "on"})
    server.refresh_from_db()
    assert (server.name, server.api_secret, server.is_default) == ("renamed", SECRET, True)
    owner.post(change(server), {**FORM, "new_secret": "another-secret-for-it", "by_default": "on"})
    server.refresh_from_db()
    assert (server.name, server.api_secret) == ("main", "another-secret-for-it")


def test_a_form_changes_what_was_changed_in_it_alone(owner, server):
    MeetingServer.objects.filter(pk=server.pk).update(api_secret="written-by-somebody-else")
    owner.post(change(server), {**FORM, "new_secret": "", "by_default": "on", "enabled": ""})
    server.refresh_from_db()
    assert (server.enabled, server.api_secret) == (False, "written-by-somebody-else")


def test_one_default(organization, owner, server):
    other = make_server(organization, name="b", kind="sandbox", url="https://b.example", api_key="k", api_secret="s")
    assert not other.is_default
    owner.post(change(other), {**FORM, "name": "b", "kind": "sandbox", "new_secret": "", "by_default": "on"})
    assert list(MeetingServer.objects.filter(is_default=True)) == [other]
    change_server(MeetingServer.objects.get(pk=other.pk), is_default=False)
    assert not MeetingServer.objects.filter(is_default=True).exists()


def test_verbs_name_what_is_wrong(organization, server):
    good = {"kind": "sandbox", "url": "https://b.example", "api_key": "k", "api_secret": "s"}
    with pytest.raises(ServerError) as error:
        make_server(organization, name="main", **good)
    assert (error.value.field, error.value.taken) == ("name", True)
    other = make_server(organization, name="other", **good)
    with pytest.raises(ServerError) as error:
        change_server(other, name="main")
    assert error.value.taken
    for field, value in {"kind": "zoom", "url": "x", "api_key": "ä", "api_secret": "\x00", "name": " "}.items():
        with pytest.raises(ServerError) as error:
            change_server(other, **{field: value})
        assert error.value.field == field
    MeetingServerFactory.create_batch(MOST_SERVERS - 2, organization=organization)
    with pytest.raises(ServerError, match="delete one"):
        make_server(organization, name="one more", **good)


def test_too_many_is_said_in_the_form(organization, owner):
    MeetingServerFactory.create_batch(MOST_SERVERS, organization=organization)
    assert "delete one first" in text_of(owner.post(f"{LIST}add/", FORM))
    assert MeetingServer.objects.count() == MOST_SERVERS


@pytest.fixture
def local(loopback, server):
    """The server of the row on loopback, with one answer."""
    replies = []
    with serve(lambda received: replies[0]) as running:
        MeetingServer.objects.filter(pk=server.pk).update(url=running.url)
        yield replies


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(200, json.dumps({"status": True, "msg": "room not found", "is_active": False}).encode()), "It works"),
        (Reply(200, b"<html>", {"Content-Type": "text/html"}), "No meeting server's API answers there (HTTP 200"),
        (
            Reply(401, json.dumps({"status": False, "msg": "Invalid API key provided."}).encode()),
            "not know this API key",
        ),
        (Reply(500, b""), "HTTP 500"),
        (Reply(301, b"", {"Location": "https://x.example"}), "without a path to one of its pages"),
        (Reply(200, b'{"ok":true}'), "not the API of a meeting server"),
    ],
    ids=["well", "html", "key", "failing", "redirect", "other"],
)
def test_the_connection_is_tested_and_the_answer_is_in_words(owner, server, local, reply, words):
    local.append(reply)
    text = html.unescape(text_of(owner.post(f"{LIST}{server.pk}/test/", follow=True)))
    assert words in text
    assert SECRET not in text
    server.refresh_from_db()
    assert server.checked_at is not None
    assert (server.problem == "") == (words == "It works")
    shown = html.unescape(text_of(owner.get("/admin/")))
    assert ("“main” does not work" in shown) == (words != "It works")
    assert ("Works" if words == "It works" else "Problem") in text_of(owner.get(LIST))


def test_nothing_answers_there(owner, server, loopback):
    with serve(lambda received: Reply()) as running:
        url = running.url
    MeetingServer.objects.filter(pk=server.pk).update(url=url)
    assert "cannot be reached" in text_of(owner.post(f"{LIST}{server.pk}/test/", follow=True))


def test_a_new_address_makes_the_test_old(owner, server, local):
    local.append(Reply(500))
    owner.post(f"{LIST}{server.pk}/test/")
    owner.post(change(server), {**FORM, "new_secret": "", "by_default": "on"})
    server.refresh_from_db()
    assert (server.checked_at, server.problem) == (None, "")


def test_a_look_calls_nothing(owner, server):
    assert owner.get(f"{LIST}{server.pk}/test/").status_code == 405


def test_nobody_elses_servers(server):
    stranger = owner_client(OrganizationFactory())
    for call in (stranger.get, stranger.post):
        assert call(change(server)).status_code == 404
        assert call(f"{LIST}{server.pk}/test/").status_code == 404
        assert call(f"{LIST}{server.pk}/delete/").status_code == 404
    assert "meet.example" not in text_of(stranger.get(LIST))
    server.refresh_from_db()
    assert server.checked_at is None


def test_an_operator_looks_and_does_nothing(server):
    operator = operator_client()
    text = text_of(operator.get(change(server)))
    assert "https://meet.example" in text
    assert "key-1" not in text
    assert operator.post(change(server), FORM).status_code in (403, 404)
    assert operator.post(f"{LIST}{server.pk}/test/").status_code == 404
    assert operator.get(f"{LIST}add/").status_code in (403, 404)


def test_an_owner_of_two_chooses(organization):
    other = OrganizationFactory()
    client = owner_client(organization, other)
    client.post(f"{LIST}add/", {**FORM, "organization": str(other.pk)})
    assert MeetingServer.objects.get().organization == other


def test_a_deleted_server_leaves_its_rooms(owner, server, organization):
    room = RoomFactory(course__organization=organization, server=server)
    assert owner.post(f"{LIST}{server.pk}/delete/", {"post": "yes"}).status_code == 302
    room.refresh_from_db()
    assert room.server is None


def test_an_empty_list_says_what_to_do(owner):
    assert "There is none yet: add one" in text_of(owner.get(LIST))
