"""`manage.py provision`: all or nothing, again and again, with a path in every message."""

import io
import json
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from api.tests.calling import Caller
from courses.models import Assignment, Course
from events.models import Event, WebhookEndpoint
from organizations.models import (
    ApiToken,
    Deployment,
    Installation,
    LtiKey,
    Membership,
    Organization,
    Registration,
    RegistrationInvite,
    User,
)
from organizations.registration_invites import InviteNotUsable, find_invite
from recordings.models import AttendanceGrading, MeetingServer, Room
from tests.factories import (
    CourseFactory,
    DeploymentFactory,
    InstallationFactory,
    LtiKeyFactory,
    MembershipFactory,
    OrganizationFactory,
    RegistrationFactory,
    UserFactory,
)

pytestmark = pytest.mark.django_db

EXAMPLE = Path(__file__).with_name("provisioned.yaml")
MAIN = {"name": "main", "url": "https://meet.example", "api_key": "key", "api_secret": "a secret of the server"}
TOO_MUCH = {"slug": "a", "kind": "room", "room": "r", "attendance": {"measure": "share", "required": 101}}


@pytest.fixture
def provision(tmp_path, capsys):
    """Runs the command on a document (a dict, or text, or bytes); returns its answer."""

    def run(document):
        content = json.dumps(document) if isinstance(document, dict) else document
        file = tmp_path / "file"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        capsys.readouterr()
        call_command("provision", str(file))
        return json.loads(capsys.readouterr().out)

    return run


def _acme(**keys):
    return {"organizations": [{"slug": "acme", **keys}]}


def test_the_contracts_example(provision):
    (acme,) = provision(EXAMPLE.read_text())["organizations"]
    organization = Organization.objects.get(slug="acme")
    assert acme["id"] == str(organization.id)
    assert organization.launch_log_days == 30
    assert organization.meeting_policy["forced"] == {"allow_recording": False}
    assert organization.branding == {}
    assert acme["login_url"] == "http://testserver/lti/1p3/acme/login"
    assert acme["launch_url"] == "http://testserver/lti/1p3/acme/launch"
    assert acme["jwks_url"] == "http://testserver/lti/1p3/acme/jwks.json"
    assert acme["config_url"] == "http://testserver/lti/1p3/acme/config.json"
    assert acme["xml_config_url"] == "http://testserver/lti/v1/acme/config.xml"

    owner, teacher = User.objects.get(email="owner@acme.example"), User.objects.get(email="teacher@acme.example")
    assert owner.check_password("correct horse battery")
    assert not teacher.has_usable_password()
    assert {membership.user_id: membership.role for membership in organization.memberships.all()} == {
        owner.id: "owner",
        teacher.id: "teacher",
    }

    (moodle,) = acme["installations"]
    assert moodle["id"] == str(Installation.objects.get(name="Moodle").id)
    given, made = moodle["keys"]
    (registration,) = moodle["registrations"]
    assert registration == {
        "id": str(Registration.objects.get().id),
        "issuer": "https://lms.example",
        "client_id": "b9v7LGkbHL07B9u",
        "deployment_ids": ["1"],
        "auth_login_url": "https://lms.example/mod/lti/auth.php",
        "token_url": "https://lms.example/mod/lti/token.php",
        "jwks_url": "https://lms.example/mod/lti/certs.php",
        "public_key_pem": "",
        "token_audience": "",
        "service_hosts": ["lms.example"],
        "enabled": True,
    }
    assert given == {"consumer_key": "acme-moodle", "shared_secret": "a shared secret of the file", "enabled": True}
    assert LtiKey.objects.get(consumer_key=made["consumer_key"]).secret == made["shared_secret"]
    assert LtiKey.objects.get(consumer_key="acme-moodle").secret == "a shared secret of the file"

    tokens = {token["name"]: token["token"] for token in acme["api_tokens"]}
    assert tokens["checks"] == "a-token-of-the-file-that-is-long-enough"
    assert ApiToken.objects.get(name="made").hash == ApiToken.hash_of(tokens["made"])

    (course,) = acme["courses"]
    stored = Course.objects.get(code="cs101")
    assert course["enroll_url"] == f"http://testserver/lti/courses/{stored.id}/enroll"
    assert course["release_grades_automatically"] is True
    hello, lab, live = course["assignments"]
    assert hello["id"] == str(Assignment.objects.get(slug="hello").id)
    assert hello["url"] == f"http://testserver/lti/assignments/{hello['id']}"
    assert hello["constant_url"] == f"http://testserver/lti/constant/{hello['constant_key']}"
    assert (hello["module"], hello["send_grade"], hello["due_at"]) == ("Week 1", "ALWAYS", "2030-01-31T17:00:00Z")
    assert (lab["kind"], lab["content_url"], lab["module"]) == ("link", "https://content.example/lab", None)

    server, room = MeetingServer.objects.get(), Room.objects.get()
    assert acme["meeting_servers"] == [
        {
            "id": str(server.id),
            "name": "main",
            "kind": "plugnmeet",
            "url": "https://meet.example",
            "api_key": "plugnmeet-key",
            "enabled": True,
            "default": True,
            "webhook_url": f"http://testserver/meetings/webhook/{server.id}",
        }
    ]
    assert server.api_secret == "a secret of the meeting server"
    assert course["rooms"] == [
        {
            "id": str(room.id),
            "slug": "office-hours",
            "title": "Office hours",
            "meeting_server": "main",
            "settings": {"allow_polls": False},
            "enabled": True,
            "url": f"http://testserver/lti/rooms/{room.id}",
        }
    ]
    assert (room.course, room.server) == (stored, server)
    not_graded = {"measure": "none", "required": 1.0, "proportional": False, "span": "best"}
    assert (live["kind"], live["room"], live["attendance"]) == ("room", "office-hours", not_graded)
    assert AttendanceGrading.objects.get().assignment_id == Assignment.objects.get(slug="live").pk


def _rows():
    models = (Organization, User, Membership, Installation, LtiKey, Registration, Deployment, ApiToken, Course)
    models += (Assignment, Event, MeetingServer, Room, AttendanceGrading)
    return {model.__name__: list(model.objects.order_by("pk").values()) for model in models}


def test_a_second_run_changes_nothing_and_shows_no_secret(provision):
    first = provision(EXAMPLE.read_text())
    rows = _rows()
    second = provision(EXAMPLE.read_text())
    assert _rows() == rows
    for organization in first["organizations"]:
        for token in organization["api_tokens"]:
            del token["token"]
        for installation in organization["installations"]:
            for key in installation["keys"]:
                del key["shared_secret"]
    assert second == first


def test_what_is_left_out_stays(provision):
    provision(EXAMPLE.read_text())
    rows = _rows()
    provision(_acme(courses=[{"code": "cs101", "assignments": [{"slug": "hello"}]}]))
    assert _rows() == rows
    provision(_acme(name="Renamed", enabled=False, courses=[{"code": "cs101", "archived": True}]))
    organization = Organization.objects.get()
    assert (organization.name, organization.enabled) == ("Renamed", False)
    course = Course.objects.get()
    assert (course.archived, course.name) == (True, "Introduction")


def test_webhooks_are_made_once_and_changed(provision):
    secret = "whsec_" + "A" * 32
    entries = [{"url": "https://a.example/in"}, {"url": "https://b.example/in", "events": ["score.changed"]}]
    entries[1] |= {"secret": secret, "enabled": False}
    first = provision(_acme(webhooks=entries))["organizations"][0]["webhooks"]
    assert [(one["url"], one["events"], one["enabled"]) for one in first] == [
        ("https://a.example/in", ["*"], True),
        ("https://b.example/in", ["score.changed"], False),
    ]
    assert first[0]["secret"].startswith("whsec_")
    assert first[1]["secret"] == secret
    rows = list(WebhookEndpoint.objects.values())
    second = provision(_acme(webhooks=entries))["organizations"][0]["webhooks"]
    assert [one["id"] for one in second] == [one["id"] for one in first]
    assert all("secret" not in one for one in second)
    assert list(WebhookEndpoint.objects.values()) == rows
    changed = {**entries[1], "enabled": True, "secret": "whsec_" + "B" * 32, "events": ["grade.failed", "grade.failed"]}
    provision(_acme(webhooks=[changed]))
    endpoint = WebhookEndpoint.objects.get(url=changed["url"])
    assert (endpoint.enabled, endpoint.event_types) == (True, ["grade.failed"])
    assert endpoint.valid_secrets() == [changed["secret"]]
    assert Event.objects.filter(type="key.rotated", subject__kind="webhook").count() == 1


def test_a_failing_last_item_writes_nothing(provision):
    key = LtiKeyFactory()
    before = _rows()
    document = {
        "organizations": [
            {"slug": "acme", "owners": [{"email": "a@b.example"}], "courses": [{"code": "x"}]},
            {"slug": "last", "installations": [{"name": "M", "keys": [{"consumer_key": key.consumer_key}]}]},
        ]
    }
    with pytest.raises(
        CommandError, match=r"organizations\[1\]\.installations\[0\]\.keys\[0\]\.consumer_key: is taken"
    ):
        provision(document)
    assert _rows() == before


def test_the_time_zone_is_kept_unless_it_is_named(provision):
    for settings, expected in (({}, "UTC"), ({"time_zone": "Asia/Tokyo"}, "Asia/Tokyo"), ({}, "Asia/Tokyo")):
        (acme,) = provision(_acme(settings=settings))["organizations"]
        assert acme["settings"]["time_zone"] == expected
        assert Organization.objects.get(slug="acme").time_zone == expected


def test_every_mistake_of_the_file_is_named_at_once(provision):
    with pytest.raises(CommandError) as refused:
        provision(
            {
                "organizations": [
                    {
                        "slug": "Acme!",
                        "colour": "red",
                        "settings": {
                            "launch_log_days": 0,
                            "time_zone": "Acme/City",
                            "branding": {"primary_color": "red;}"},
                        },
                        "owners": [{"email": "nobody"}],
                        "courses": [{"code": "a"}, {"code": "b"}, {"name": "no code"}],
                    }
                ],
                "version": 2,
            }
        )
    message = str(refused.value)
    assert message.startswith("Nothing was written.")
    for path in (
        "organizations[0].slug:",
        "organizations[0].colour: is not a known key",
        "organizations[0].settings.launch_log_days:",
        "organizations[0].settings.time_zone: there is no such time zone",
        "organizations[0].settings.branding.primary_color:",
        "organizations[0].owners[0].email: must be an e-mail address",
        "organizations[0].courses[2].code: is required",
        "version: is not a known key",
    ):
        assert path in message
    assert not Organization.objects.exists()


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ({"meeting_servers": [{"name": "main"}]}, "organizations[0].meeting_servers[0].url: is required"),
        ({"meeting_servers": [{**MAIN, "api_secret": None}]}, "organizations[0].meeting_servers[0].api_secret: is req"),
        ({"meeting_servers": [{**MAIN, "kind": "zoom"}]}, "organizations[0].meeting_servers[0].kind:"),
        ({"meeting_servers": [{**MAIN, "url": "https://10.0.0.1"}]}, "organizations[0].meeting_servers[0].url: leads"),
        ({"meeting_servers": [MAIN, MAIN]}, "organizations[0].meeting_servers[1].name: is in the file twice"),
        (
            {"settings": {"meeting_policy": {"forced": {"allow_poll": True}}}},
            "organizations[0].settings.meeting_policy.forced: allow_poll is no setting of a room",
        ),
        (
            {"settings": {"meeting_policy": {"defaults": {"room_duration": "60"}}}},
            "organizations[0].settings.meeting_policy.defaults: room_duration must be a whole number",
        ),
        (
            {"settings": {"meeting_policy": {"max_duration": 0}}},
            "organizations[0].settings.meeting_policy.max_duration:",
        ),
        ({"invites": [{"name": ""}]}, "organizations[0].invites[0].name:"),
        ({"invites": [{"name": "x"}, {"name": "x"}]}, "organizations[0].invites[1].name: is in the file twice"),
        ({"webhooks": [{"url": "http://x.example"}]}, "organizations[0].webhooks[0].url: must be a web address"),
        ({"webhooks": [{"url": "https://127.0.0.1/"}]}, "organizations[0].webhooks[0].url: leads into a private"),
        ({"webhooks": [{"url": "https://x.example", "events": []}]}, "organizations[0].webhooks[0].events: name at"),
        ({"webhooks": [{"url": "https://x.example", "secret": "x"}]}, "organizations[0].webhooks[0].secret: must be"),
        ({"webhooks": [{"url": "https://x.example"}] * 2}, "organizations[0].webhooks[1].url: is in the file twice"),
        (
            {"installations": [{"name": "M", "registrations": [{"issuer": "x"}]}]},
            "organizations[0].installations[0].registrations[0].client_id: is required",
        ),
        (
            {"courses": [{"code": "c", "rooms": [{"slug": "r", "meeting_server": "main"}]}]},
            "organizations[0].courses[0].rooms[0].meeting_server: the organization has no meeting server main",
        ),
        (
            {"courses": [{"code": "c", "rooms": [{"slug": "r"}, {"slug": "r"}]}]},
            "organizations[0].courses[0].rooms[1].slug: is in the file twice",
        ),
        (
            {"courses": [{"code": "c", "rooms": [{"slug": "r", "settings": {"allow_polls": "yes"}}]}]},
            "organizations[0].courses[0].rooms[0].settings.allow_polls: must be true or false",
        ),
        (
            {"courses": [{"code": "c", "assignments": [{"slug": "live", "kind": "room", "room": "r"}]}]},
            "organizations[0].courses[0].assignments[0].room: the course has no room r",
        ),
        (
            {"courses": [{"code": "c", "assignments": [{"slug": "live", "kind": "room"}]}]},
            "organizations[0].courses[0].assignments[0].room: an assignment of kind room needs",
        ),
        (
            {"courses": [{"code": "c", "rooms": [{"slug": "r"}], "assignments": [{"slug": "a", "room": "r"}]}]},
            "organizations[0].courses[0].assignments[0].room: an assignment of kind page has none",
        ),
        (
            {"courses": [{"code": "c", "rooms": [{"slug": "r"}], "assignments": [TOO_MUCH]}]},
            "organizations[0].courses[0].assignments[0].attendance.required: must be more than 0, and at most 100",
        ),
        (
            {"courses": [{"code": "c", "assignments": [{"slug": "a"}, {"slug": "b", "kind": "link"}]}]},
            "organizations[0].courses[0].assignments[1].content_url: an assignment of kind link needs",
        ),
        (
            {"courses": [{"code": "c", "assignments": [{"slug": "a"}, {"slug": "a"}]}]},
            "organizations[0].courses[0].assignments[1].slug: is in the file twice",
        ),
        (
            {"courses": [{"code": "c", "assignments": [{"slug": "a", "opens_at": "2030-01-01T00:00:00"}]}]},
            "organizations[0].courses[0].assignments[0].opens_at: the time zone is missing",
        ),
        ({"courses": [{"code": "c"}, {"code": "c"}]}, "organizations[0].courses[1].code: is in the file twice"),
        ({"courses": [{"code": 101}]}, "organizations[0].courses[0].code: should be a valid string"),
        (
            {"owners": [{"email": "a@b.example"}], "teachers": [{"email": "A@b.example"}]},
            "organizations[0].teachers[0].email: is among the owners",
        ),
        (
            {"installations": [{"name": "M", "keys": [{"consumer_key": "k"}, {"consumer_key": "k"}]}]},
            "organizations[0].installations[0].keys[1].consumer_key: is in the file twice",
        ),
        (
            {"installations": [{"name": "M", "keys": [{"consumer_key": "a<b"}]}]},
            "organizations[0].installations[0].keys[0].consumer_key:",
        ),
        ({"api_tokens": [{"name": "t", "token": "with space"}]}, "organizations[0].api_tokens[0].token:"),
        ({"enabled": "yes"}, "organizations[0].enabled:"),
    ],
)
def test_messages_name_the_path(provision, keys, path):
    with pytest.raises(CommandError) as refused:
        provision(_acme(**keys))
    assert path in str(refused.value)
    assert not Organization.objects.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "must be a mapping"),
        (b"- a", "must be a mapping"),
        (b"organizations: {", "not YAML"),
        (b'{"organizations": [}', "neither JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"organizations: 1", "organizations:"),
        (b"{}", "organizations: is required"),
        (b"organizations: []\norganizations: []", "stands twice"),
        (b'{"organizations": [], "organizations": []}', "twice"),
        (b"organizations: !!python/object/apply:os.system [ls]", "not YAML"),
        (b'{"organizations": ' + b"[" * 100_000, "not JSON"),
        (b'{"organizations": [{"slug": "a", "name": "x\\u0000"}]}', "organizations[0].name: contains a character"),
        (b'{"organizations": [{"slug": "a", "name": "x\\ud800"}]}', "organizations[0].name:"),
    ],
)
def test_files_that_cannot_be_read(provision, content, words):
    with pytest.raises(CommandError) as refused:
        provision(content)
    assert words in str(refused.value)


def test_a_missing_file_is_an_error():
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("provision", "/nonexistent/file.yaml")


def test_standard_input_and_bytes_beyond_ascii(monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "stdin", io.TextIOWrapper(io.BytesIO("\ufefforganizations: [{slug: a, name: Zürich 数}]".encode()))
    )
    call_command("provision", "-")
    captured = capsys.readouterr()
    assert json.loads(captured.out)["organizations"][0]["name"] == "Zürich 数"
    assert "Zürich 数" in captured.out


def test_the_answer_stands_alone_on_standard_output(provision, tmp_path, capsys):
    file = tmp_path / "weak.json"
    file.write_text(json.dumps(_acme(owners=[{"email": "a@b.example", "password": "short"}])))
    call_command("provision", str(file))
    captured = capsys.readouterr()
    json.loads(captured.out)
    assert "organizations[0].owners[0].password: is shorter" in captured.err
    assert "short\n" not in captured.err


class TestPeople:
    def test_a_password_is_set_only_when_given(self, provision):
        membership = MembershipFactory(organization__slug="acme", user__email="Owner@acme.example")
        provision(_acme(owners=[{"email": "owner@ACME.example"}]))
        assert User.objects.get().check_password("correct horse battery")
        provision(_acme(owners=[{"email": "owner@acme.example", "password": "another long password"}]))
        assert User.objects.get().check_password("another long password")
        assert Membership.objects.get() == membership

    def test_a_role_follows_the_file(self, provision):
        MembershipFactory(organization__slug="acme", user__email="a@acme.example")
        provision(_acme(teachers=[{"email": "a@acme.example"}]))
        assert Membership.objects.get().role == "teacher"

    def test_somebody_of_another_organization_becomes_a_member_and_keeps_the_password(self, provision):
        user = MembershipFactory(organization__slug="rivals", user__email="both@acme.example").user
        provision(_acme(owners=[{"email": "both@acme.example"}]))
        assert user.memberships.count() == 2
        with pytest.raises(CommandError) as refused:
            provision(_acme(owners=[{"email": "both@acme.example", "password": "hijacked password"}]))
        assert "organizations[0].owners[0].password:" in str(refused.value)
        assert "rivals" not in str(refused.value)
        user.refresh_from_db()
        assert user.check_password("correct horse battery")

    def test_an_operators_password_is_never_touched(self, provision):
        UserFactory(email="root@acme.example", is_superuser=True)
        with pytest.raises(CommandError, match=r"owners\[0\]\.password"):
            provision(_acme(owners=[{"email": "root@acme.example", "password": "hijacked password"}]))

    def test_one_person_may_own_two_organizations_of_a_file(self, provision):
        owner = {"email": "a@b.example", "password": "correct horse battery"}
        document = {"organizations": [{"slug": slug, "owners": [owner]} for slug in ("one", "two")]}
        provision(document)
        provision(document)
        assert User.objects.get().memberships.count() == 2


class TestKeysAndTokens:
    def test_a_new_secret_replaces_the_old_one_at_once(self, provision):
        key = LtiKeyFactory(installation__organization__slug="acme", installation__name="M", consumer_key="k")
        answer = provision(
            _acme(installations=[{"name": "M", "keys": [{"consumer_key": "k", "shared_secret": "new secret"}]}])
        )
        key.refresh_from_db()
        assert (key.secret, key.previous_secret) == ("new secret", "")
        assert answer["organizations"][0]["installations"][0]["keys"] == [{"consumer_key": "k", "enabled": True}]

    def test_keys_and_installations_are_switched(self, provision):
        key = LtiKeyFactory(installation__organization__slug="acme", installation__name="M", consumer_key="k")
        provision(
            _acme(installations=[{"name": "M", "enabled": False, "keys": [{"consumer_key": "k", "enabled": False}]}])
        )
        key.refresh_from_db()
        key.installation.refresh_from_db()
        assert (key.enabled, key.installation.enabled) == (False, False)

    def test_a_key_of_another_organization_is_taken_without_saying_by_whom(self, provision):
        LtiKeyFactory(installation__organization__slug="other-tenant", consumer_key="k")
        with pytest.raises(CommandError) as refused:
            provision(_acme(installations=[{"name": "M", "keys": [{"consumer_key": "k"}]}]))
        assert "is taken" in str(refused.value)
        assert "other-tenant" not in str(refused.value)

    def test_a_key_of_another_installation_is_named(self, provision):
        organization = OrganizationFactory(slug="acme")
        LtiKeyFactory(installation=InstallationFactory(organization=organization, name="Canvas"), consumer_key="k")
        with pytest.raises(CommandError, match="belongs to the installation Canvas"):
            provision(_acme(installations=[{"name": "M", "keys": [{"consumer_key": "k"}]}]))

    def test_a_token_works_at_once_and_is_replaced_by_another(self, provision, client):
        def status(token):
            return client.get("/api/v1/courses", headers={"Authorization": f"Bearer {token}"}).status_code

        provision(_acme(api_tokens=[{"name": "t", "token": "first-token"}]))
        assert status("first-token") == 200
        assert ApiToken.objects.get().prefix == "fi"
        answer = provision(_acme(api_tokens=[{"name": "t", "token": "second-token"}]))
        assert answer["organizations"][0]["api_tokens"][0]["token"] == "second-token"
        assert (status("first-token"), status("second-token")) == (401, 200)
        provision(_acme(api_tokens=[{"name": "t", "enabled": False}]))
        assert status("second-token") == 401

    def test_a_token_of_another_organization_is_taken(self, provision):
        other = Caller(OrganizationFactory(slug="other"))
        with pytest.raises(CommandError, match=r"api_tokens\[0\]\.token: is taken"):
            provision(_acme(api_tokens=[{"name": "t", "token": other.token}]))


class TestCourses:
    def test_the_order_of_the_file_is_the_order_of_the_course(self, provision):
        def order():
            return list(Assignment.objects.order_by("position", "id").values_list("slug", flat=True))

        provision(_acme(courses=[{"code": "c", "assignments": [{"slug": slug} for slug in "abc"]}]))
        assert order() == ["a", "b", "c"]
        provision(_acme(courses=[{"code": "c", "assignments": [{"slug": slug} for slug in "cda"]}]))
        assert order() == ["c", "b", "d", "a"]

    def test_the_same_code_in_another_organization_is_another_course(self, provision):
        other = CourseFactory(code="cs101", name="Theirs")
        provision(_acme(courses=[{"code": "cs101", "name": "Ours"}]))
        other.refresh_from_db()
        assert other.name == "Theirs"
        assert Course.objects.count() == 2

    def test_branding_is_merged_and_taken_away_by_null(self, provision):
        provision(_acme(settings={"branding": {"primary_color": "#123456", "logo_url": "https://acme.example/l.png"}}))
        provision(_acme(settings={"branding": {"logo_url": None, "background_color": "#fff"}}))
        assert Organization.objects.get().branding == {"primary_color": "#123456", "background_color": "#fff"}


def test_the_example_of_the_documentation(provision):
    text = (Path(__file__).parents[2] / "docs" / "provision.md").read_text()
    (example,) = [block.removeprefix("yaml\n") for block in text.split("```") if block.startswith("yaml\n")]
    first = provision(example)
    assert provision(example)["organizations"][0]["id"] == first["organizations"][0]["id"]


class TestRegistrations:
    LMS = {
        "issuer": "https://lms.example",
        "client_id": "client-1",
        "auth_login_url": "https://lms.example/auth",
        "token_url": "https://lms.example/token",
        "jwks_url": "https://lms.example/jwks",
        "deployment_ids": ["1"],
    }

    def provisioned(self, provision, name="M", **changes):
        answer = provision(_acme(installations=[{"name": name, "registrations": [{**self.LMS, **changes}]}]))
        (registration,) = answer["organizations"][0]["installations"][0]["registrations"]
        return registration

    def refused(self, provision, **changes):
        with pytest.raises(CommandError) as refused:
            self.provisioned(provision, **changes)
        assert not Registration.objects.exists()
        return str(refused.value).replace("organizations[0].installations[0].registrations[0].", "")

    def test_one_is_made_active_with_its_deployments_approved(self, provision):
        self.provisioned(provision, deployment_ids=["1", "2"])
        registration = Registration.objects.get()
        assert registration.is_usable
        assert {row.state for row in registration.deployments.all()} == {"approved"}
        (event,) = Event.objects.all()
        assert (event.type, event.actor["kind"]) == ("registration.created", "system")

    def test_numbers_are_ids_too(self, provision):
        registration = self.provisioned(provision, client_id=10000000000001, deployment_ids=[7])
        assert (registration["client_id"], registration["deployment_ids"]) == ("10000000000001", ["7"])
        assert "client_id" in self.refused_number(provision)

    def refused_number(self, provision):
        with pytest.raises(CommandError) as refused:
            self.provisioned(provision, client_id=True)
        return str(refused.value)

    def test_what_is_left_out_stays_and_what_is_given_changes(self, provision):
        first = self.provisioned(provision)
        entry = {"issuer": self.LMS["issuer"], "client_id": self.LMS["client_id"]}
        document = _acme(installations=[{"name": "M", "registrations": [entry]}])
        assert provision(document)["organizations"][0]["installations"][0]["registrations"] == [first]
        changed = self.provisioned(
            provision,
            token_url="https://lms.example/new",
            deployment_ids=["2"],
            enabled=False,
            service_hosts=["x.example"],
        )
        assert changed["token_url"] == "https://lms.example/new"
        assert changed["deployment_ids"] == ["1", "2"]
        assert (changed["enabled"], changed["service_hosts"]) == (False, ["x.example"])
        assert Registration.objects.count() == 1

    def test_a_cloud_brings_its_hosts(self, provision):
        answer = self.provisioned(
            provision, issuer="https://canvas.instructure.com", service_hosts=["Canvas.acme.example"]
        )
        assert answer["service_hosts"] == ["*.instructure.com", "canvas.acme.example"]

    def test_what_waits_is_let_in(self, provision):
        pending = RegistrationFactory(
            installation__organization__slug="acme",
            installation__name="Made for it",
            issuer=self.LMS["issuer"],
            client_id=self.LMS["client_id"],
            state="pending",
        )
        DeploymentFactory(registration=pending, deployment_id="1", state="pending")
        self.provisioned(provision)
        pending.refresh_from_db()
        assert (pending.is_usable, pending.installation.name) == (True, "M")
        deployment = Deployment.objects.get()
        assert (deployment.state, deployment.installation.name) == ("approved", "M")

    def test_a_pending_deployment_is_approved(self, provision):
        self.provisioned(provision)
        DeploymentFactory(registration=Registration.objects.get(), deployment_id="9", state="pending")
        assert self.provisioned(provision, deployment_ids=["1", "9"])["deployment_ids"] == ["1", "9"]

    def test_an_active_one_does_not_move_to_another_installation(self, provision):
        self.provisioned(provision)
        with pytest.raises(CommandError, match=r"registrations\[0\]\.client_id: belongs to the installation M"):
            self.provisioned(provision, name="Another")
        assert Installation.objects.count() == 1

    def test_another_tenants_is_no_hindrance(self, provision):
        RegistrationFactory(issuer=self.LMS["issuer"], client_id=self.LMS["client_id"])
        self.provisioned(provision)
        assert Registration.objects.count() == 2

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"issuer": ""}, "issuer:"),
            ({"issuer": "lms.example"}, "issuer: must be a web address"),
            ({"issuer": "https://lms.example?a=b"}, "issuer: must be a web address without a query"),
            ({"token_url": None}, "token_url: is required"),
            ({"auth_login_url": ""}, "auth_login_url: is required"),
            ({"jwks_url": None}, "jwks_url: is required, or the public key"),
            ({"public_key_pem": "nonsense"}, "public_key_pem: cannot be used"),
            ({"token_url": "http://lms.example/token"}, "token_url: must be a web address that begins with https://"),
            ({"service_hosts": ["https://lms.example/"]}, "service_hosts[0]: must be a host"),
            ({"deployment_ids": [""]}, "deployment_ids[0]:"),
            ({"secret": "x"}, "secret: is not a known key"),
        ],
    )
    def test_what_cannot_be_is_refused_with_its_path(self, provision, changes, message):
        assert message in self.refused(provision, **changes)

    def test_slips_are_pointed_out_on_standard_error(self, tmp_path, capsys):
        file = tmp_path / "slip.json"
        entry = {**self.LMS, "issuer": "https://lms.example/"}
        file.write_text(json.dumps(_acme(installations=[{"name": "M", "registrations": [entry]}])))
        call_command("provision", str(file))
        captured = capsys.readouterr()
        json.loads(captured.out)
        path = "organizations[0].installations[0].registrations[0].issuer"
        assert f"Warning: {path}: The issuer ends with a slash." in captured.err


class TestInvites:
    def link(self, provision):
        (invite,) = provision(_acme(invites=[{"name": "Moodle of the library"}]))["organizations"][0]["invites"]
        assert invite["name"] == "Moodle of the library"
        base, _, token = invite["registration_url"].partition("?invite=")
        assert base == "http://testserver/lti/1p3/acme/register"
        return token

    def test_a_link_is_made_and_kept_as_a_hash(self, provision):
        token = self.link(provision)
        assert find_invite("acme", token) == RegistrationInvite.objects.get()
        assert token not in str(RegistrationInvite.objects.values())

    def test_a_second_run_gives_a_new_link_and_the_old_one_ends(self, provision):
        first = self.link(provision)
        second = self.link(provision)
        assert RegistrationInvite.objects.count() == 1
        assert find_invite("acme", second)
        with pytest.raises(InviteNotUsable):
            find_invite("acme", first)

    def test_one_that_was_used_stays_used(self, provision):
        first = self.link(provision)
        used = RegistrationInvite.objects.get()
        RegistrationInvite.objects.update(used_at=used.created_at)
        assert find_invite("acme", self.link(provision)) != used
        with pytest.raises(InviteNotUsable):
            find_invite("acme", first)


def _live(settings, **assignment):
    course = {"code": "c", "rooms": [{"slug": "r", **settings}, {"slug": "other"}]}
    assignment = {"room": "r", **assignment}
    return _acme(courses=[{**course, "assignments": [{"slug": "live", "kind": "room", **assignment}]}])


def test_a_room_keeps_what_the_file_leaves_out(provision):
    provision(_live({"title": "First", "settings": {"allow_polls": False, "room_duration": 60}}))
    room = Room.objects.get(slug="r")
    (acme,) = provision(_live({"settings": {"room_duration": 90, "allow_polls": None}}))["organizations"]
    assert acme["courses"][0]["rooms"][0]["settings"] == {"room_duration": 90}
    after = Room.objects.get(slug="r")
    assert (after.pk, after.room_id, after.title, after.server) == (room.pk, room.room_id, "First", None)
    assert list(Room.objects.values_list("slug", "position")) == [("r", 0), ("other", 1)]


def test_how_attendance_is_graded_is_changed_in_part(provision):
    provision(_live({}, attendance={"measure": "share", "required": 80, "proportional": True}))
    provision(_live({}, attendance={"required": 50, "span": "all"}))
    grading = AttendanceGrading.objects.get()
    assert (grading.measure, grading.required, grading.proportional, grading.span) == ("share", 50, True, "all")
    provision(_live({}, room="other"))
    assert AttendanceGrading.objects.get().room.slug == "other"
    provision(_live({}, attendance=None))
    assert AttendanceGrading.objects.get().measure == "none"


def test_another_organizations_meeting_server_is_none_of_ours(provision):
    provision({"organizations": [{"slug": "other", "meeting_servers": [MAIN]}]})
    with pytest.raises(CommandError, match="the organization has no meeting server main"):
        provision(_live({"meeting_server": "main"}))


def test_a_meeting_server_is_changed_by_what_the_file_names(provision):
    provision(_acme(meeting_servers=[MAIN, {**MAIN, "name": "second", "default": True}]))
    (acme,) = provision(_acme(meeting_servers=[{"name": "main", "enabled": False}]))["organizations"]
    assert (acme["meeting_servers"][0]["enabled"], acme["meeting_servers"][0]["default"]) == (False, False)
    main, second = MeetingServer.objects.order_by("name")
    assert (main.url, main.api_secret, main.is_default, second.is_default) == (
        "https://meet.example",
        "a secret of the server",
        False,
        True,
    )


def test_a_stored_policy_that_cannot_be_is_told(provision):
    OrganizationFactory(slug="acme", meeting_policy={"defaults": {"allow_polls": "yes"}})
    with pytest.raises(CommandError, match="meeting_policy: allow_polls must be true or false"):
        provision(_acme(settings={"meeting_policy": {"max_duration": 60}}))
    provision(_acme(settings={"meeting_policy": {"defaults": {}, "max_duration": 60}}))
    assert Organization.objects.get().meeting_policy == {"defaults": {}, "max_duration": 60}
