"""Webhooks in the admin: made, changed, rotated, revealed and tried out by their owners."""

import html

import pytest
from django.utils import timezone

from events.deliveries import deliver_due
from events.endpoints import disable_endpoint, make_endpoint
from events.log import SYSTEM, EventType, record
from events.models import Delivery, Event, WebhookEndpoint
from organizations.tests.admin_client import operator_client, owner_client, text_of
from tests.factories import OrganizationFactory
from tests.loopback import Reply, serve

pytestmark = pytest.mark.django_db

LIST = "/admin/events/webhookendpoint/"
URL = "https://hooks.example/in"


@pytest.fixture
def organization():
    return OrganizationFactory()


@pytest.fixture
def owner(organization):
    return owner_client(organization)


@pytest.fixture
def endpoint(organization):
    return make_endpoint(organization, url=URL, description="Content application")


def test_an_owner_makes_one_and_sees_the_secret_once(organization, owner):
    page = text_of(owner.get(f"{LIST}add/"))
    for words in ("score.changed", "meeting.ended", "All, also those that later versions bring"):
        assert words in page
    response = owner.post(f"{LIST}add/", {"url": URL, "event_types": ["score.changed", "grade.failed"]})
    endpoint = WebhookEndpoint.objects.get()
    assert endpoint.organization == organization
    assert endpoint.event_types == ["grade.failed", "score.changed"]
    assert html.escape(endpoint.secret) in text_of(response)
    for path in (LIST, f"{LIST}{endpoint.pk}/change/"):
        text = text_of(owner.get(path))
        assert URL in text
        assert "whsec_" not in text


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"url": "http://hooks.example/"}, "not https"),
        ({"url": "https://10.0.0.1/"}, "Leads into a private network"),
        ({"url": "nothing"}, "not an absolute https URL"),
        ({"url": ""}, "required"),
        ({"event_types": []}, "Choose at least one."),
        ({"event_types": ["nothing"]}, "Select a valid choice"),
        ({"secret": "mine"}, "24 to 64 bytes"),
        ({"url": "https://taken.example/"}, "already"),
    ],
)
def test_wrong_values_are_named_and_kept(organization, owner, form, words):
    make_endpoint(organization, url="https://taken.example/")
    response = owner.post(f"{LIST}add/", {"url": URL, "event_types": ["*"], "description": "My <own>", **form})
    assert words in html.unescape(text_of(response))
    assert "My &lt;own&gt;" in text_of(response)
    assert WebhookEndpoint.objects.count() == 1


def test_it_is_changed_without_touching_the_rest(owner, endpoint):
    secret = endpoint.secret
    WebhookEndpoint.objects.update(failing_since=timezone.now())
    form = {"url": URL, "description": "Renamed", "event_types": ["score.changed"], "enabled": "on"}
    assert owner.post(f"{LIST}{endpoint.pk}/change/", form).status_code == 302
    endpoint.refresh_from_db()
    assert (endpoint.description, endpoint.event_types, endpoint.secret) == ("Renamed", ["score.changed"], secret)
    assert endpoint.failing_since is not None
    for url in ("https://192.168.0.1/", "http://hooks.example/"):
        assert owner.post(f"{LIST}{endpoint.pk}/change/", form | {"url": url}).status_code == 200
    endpoint.refresh_from_db()
    assert endpoint.url == URL


@pytest.mark.usefixtures("events_of_any_kind")
def test_switching_off_cancels_and_on_clears_the_reason(organization, owner, endpoint):
    record(organization, EventType.SCORE_CHANGED, actor=SYSTEM, subject_kind="score", subject_id="1")
    form = {"url": URL, "description": "", "event_types": ["*"]}
    owner.post(f"{LIST}{endpoint.pk}/change/", form)
    assert Delivery.objects.get().state == "cancelled"
    disable_endpoint(WebhookEndpoint.objects.get(), "no effect: it is off")
    WebhookEndpoint.objects.update(disabled_reason="It answered 410 Gone.")
    assert "It answered 410 Gone." in text_of(owner.get(f"{LIST}{endpoint.pk}/change/"))
    assert "It answered 410 Gone." in text_of(owner.get("/admin/"))
    owner.post(f"{LIST}{endpoint.pk}/change/", form | {"enabled": "on"})
    endpoint.refresh_from_db()
    assert (endpoint.enabled, endpoint.disabled_reason) == (True, "")


def test_the_secret_is_revealed_for_a_reason(owner, endpoint):
    path = f"{LIST}{endpoint.pk}/reveal/"
    assert "whsec_" not in text_of(owner.get(path))
    assert "whsec_" not in text_of(owner.post(path, {"reason": " "}))
    assert not Event.objects.exists()
    response = owner.post(path, {"reason": "connecting the receiver"})
    assert html.escape(endpoint.secret) in text_of(response)
    assert response["Cache-Control"] == "no-store"
    event = Event.objects.get()
    assert (event.type, event.actor["kind"]) == ("key.revealed", "user")
    assert event.data == {"host": "hooks.example", "reason": "connecting the receiver"}


def test_the_secret_is_rotated_and_the_overlap_ended(owner, endpoint):
    old = endpoint.secret
    path = f"{LIST}{endpoint.pk}/rotate/"
    assert "24 to 64 bytes" in text_of(owner.post(path, {"overlap": 3600, "secret": "mine"}))
    assert "Select a valid choice" in text_of(owner.post(path, {"overlap": 1}))
    text = text_of(owner.post(path, {"overlap": 3600}))
    endpoint.refresh_from_db()
    assert html.escape(endpoint.secret) in text
    assert endpoint.valid_secrets() == [endpoint.secret, old]
    assert "signs as well until" in text_of(owner.get(f"{LIST}{endpoint.pk}/change/"))
    assert owner.get(f"{LIST}{endpoint.pk}/end-overlap/").status_code == 405
    owner.post(f"{LIST}{endpoint.pk}/end-overlap/")
    endpoint.refresh_from_db()
    assert old not in endpoint.valid_secrets()


def test_a_test_event_and_its_delivery(organization, owner, loopback):
    with serve(lambda received: Reply(500, b"<b>broken</b>")) as server:
        endpoint = make_endpoint(organization, url=f"{server.url}/in", description="Receiver")
        path = f"{LIST}{endpoint.pk}/test/"
        assert owner.get(path).status_code == 405
        response = owner.post(path)
        delivery = Delivery.objects.get()
        assert response["Location"] == f"/admin/events/delivery/{delivery.pk}/change/"
        deliver_due()
        text = text_of(owner.get(response["Location"]))
        for words in ("webhook.test", "Receiver", "500 Internal Server Error", "&lt;b&gt;broken&lt;/b&gt;"):
            assert words in text
        log = f"/admin/events/delivery/?endpoint__id__exact={endpoint.pk}"
        assert log in text_of(owner.get(f"{LIST}{endpoint.pk}/change/"))
        assert "Webhook: webhook.test" in text_of(owner.get(log))
        for term, found in (("webhook.te", True), ("receiver", True), ("score.changed", False)):
            shown = text_of(owner.get("/admin/events/delivery/", {"q": term}))
            assert (str(delivery.pk) in shown) is found
        owner.post(f"/admin/events/delivery/{delivery.pk}/resend/")
        deliver_due()
        assert len(server.received) == 2
    assert "The webhook does not get it." in text_of(owner.get(f"/admin/events/delivery/{delivery.pk}/cancel/"))
    disable_endpoint(endpoint, "It is off.")
    assert "The webhook is disabled" in text_of(owner.post(path, follow=True))
    assert Event.objects.filter(type="webhook.test").count() == 1


def test_it_is_deleted_and_its_record_stays(owner, endpoint):
    owner.post(f"{LIST}{endpoint.pk}/test/")
    assert owner.post(f"{LIST}{endpoint.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not WebhookEndpoint.objects.exists()
    delivery = Delivery.objects.get()
    assert delivery.state == "cancelled"
    assert "a webhook that was deleted" in text_of(owner.get(f"/admin/events/delivery/{delivery.pk}/change/"))


def test_an_operator_sees_no_secret_and_makes_none(endpoint):
    operator = operator_client()
    assert "Reveal" not in text_of(operator.get(f"{LIST}{endpoint.pk}/change/"))
    assert operator.get(f"{LIST}add/").status_code == 404
    for name in ("reveal", "rotate"):
        assert operator.post(f"{LIST}{endpoint.pk}/{name}/", {"reason": "x", "overlap": 0}).status_code == 404
    assert not Event.objects.exists()


def test_an_owner_of_two_chooses(organization):
    other = OrganizationFactory()
    client = owner_client(organization, other)
    assert "This field is required." in text_of(client.post(f"{LIST}add/", {"url": URL, "event_types": ["*"]}))
    client.post(f"{LIST}add/", {"url": URL, "event_types": ["*"], "organization": str(other.pk)})
    assert WebhookEndpoint.objects.get().organization == other
