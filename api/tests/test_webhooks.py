"""Webhooks by the API."""

import pytest
from standardwebhooks.webhooks import Webhook

from api.tests.calling import fields_of, problem_of
from events.deliveries import deliver_due
from events.log import SYSTEM, EventType, record
from events.models import Delivery, Event, WebhookEndpoint
from tests.loopback import Reply, serve

pytestmark = pytest.mark.django_db

URL = "https://hooks.example/in"


def made(api, **values):
    response = api.post("/webhooks", {"url": URL, **values})
    assert response.status_code == 201, response.content
    return response.json()


def test_the_secret_is_shown_once(api):
    webhook = made(api)
    secret = webhook.pop("secret")
    assert secret.startswith("whsec_")
    assert webhook["events"] == ["*"]
    assert api.all("/webhooks") == [webhook]
    patched = api.patch(f"/webhooks/{webhook['id']}", {"events": ["score.changed"], "description": "mine"})
    assert patched.json() == webhook | {"events": ["score.changed"], "description": "mine"}
    assert secret not in patched.content.decode() + api.get("/webhooks").content.decode()


def test_from_the_call_to_a_verified_delivery(api, loopback):
    with serve(lambda received: Reply()) as server:
        webhook = made(api, url=f"{server.url}/in", events=["meeting.ended"])
        answer = api.post(f"/webhooks/{webhook['id']}/test")
        assert answer.status_code == 202
        delivery = answer.json()
        assert (delivery["state"], delivery["kind"], delivery["webhook"]) == ("pending", "webhook", webhook["id"])
        deliver_due()
    (received,) = server.received
    headers = {name.lower(): value for name, value in received.headers.items()}
    document = Webhook(webhook["secret"]).verify(received.body.decode(), headers)
    assert document["type"] == "webhook.test"
    assert document["data"]["actor"]["kind"] == "api_token"
    assert headers["webhook-id"] == delivery["event"] == str(Event.objects.get().pk)
    (listed,) = api.all(f"/webhooks/{webhook['id']}/deliveries")
    assert (listed["id"], listed["state"], listed["attempts"]) == (delivery["id"], "delivered", 1)
    assert api.all("/deliveries", kind="webhook") == [listed]
    assert api.post(f"/deliveries/{delivery['id']}/resend").json()["state"] == "pending"


@pytest.mark.usefixtures("events_of_any_kind")
def test_deliveries_come_in_pages(api):
    webhook = made(api)
    made(api, url="https://other.example/")
    for number in range(5):
        record(api.organization, EventType.SCORE_CHANGED, actor=SYSTEM, subject_kind="score", subject_id=str(number))
    path = f"/webhooks/{webhook['id']}/deliveries"
    assert len(api.get(path, limit=2).json()["items"]) == 2
    found = api.all(path, limit=2)
    assert len(found) == 5
    assert [one["event"] for one in found] == [str(pk) for pk in Event.objects.values_list("pk", flat=True)]


def test_a_secret_is_replaced_with_an_overlap(api):
    webhook = made(api)
    new = "whsec_" + "A" * 32
    path = f"/webhooks/{webhook['id']}"
    answer = api.patch(path, {"secret": new, "overlap_hours": 2}).json()
    assert answer["previous_secret_until"] is not None
    assert WebhookEndpoint.objects.get().valid_secrets() == [new, webhook["secret"]]
    assert api.patch(path, {"secret": webhook["secret"], "overlap_hours": 0}).json()["previous_secret_until"] is None
    assert WebhookEndpoint.objects.get().valid_secrets() == [webhook["secret"]]
    assert "secret" in fields_of(api.patch(path, {"secret": "mine", "enabled": False}))
    assert "secret" in fields_of(api.patch(path, {"secret": ""}))
    assert "overlap_hours" in fields_of(api.patch(path, {"overlap_hours": 1}))
    assert WebhookEndpoint.objects.get().enabled


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"url": "http://hooks.example/"}, "url"),
        ({"url": "https://127.0.0.1/"}, "url"),
        ({"url": "https://[fe80::1]/"}, "url"),
        ({"url": "https://h.example/\x00"}, "url"),
        ({"events": []}, "events"),
        ({"events": ["nothing.known"]}, "events"),
        ({"events": ["\x00"]}, "events"),
        ({"description": "\x00"}, "description"),
        ({"description": "x" * 256}, "description"),
        ({"secret": "whsec_short"}, "secret"),
        ({"enabled": 1}, "enabled"),
        ({"color": "red"}, "color"),
    ],
)
def test_wrong_values_are_named(api, body, field):
    assert list(fields_of(api.post("/webhooks", {"url": URL, **body}))) == [field]
    webhook = made(api)
    assert field in fields_of(api.patch(f"/webhooks/{webhook['id']}", body))
    assert WebhookEndpoint.objects.get().url == URL


def test_a_url_is_taken_once(api, stranger):
    webhook = made(api)
    problem_of(api.post("/webhooks", {"url": URL}), 409)
    other = made(api, url="https://other.example/")
    problem_of(api.patch(f"/webhooks/{other['id']}", {"url": URL}), 409)
    assert made(stranger)["id"] != webhook["id"]


def test_there_are_only_so_many(api, monkeypatch):
    monkeypatch.setattr("events.endpoints.MOST_ENDPOINTS", 1)
    made(api)
    assert "url" in fields_of(api.post("/webhooks", {"url": "https://other.example/"}))


def test_disabling_and_deleting_cancel_what_waits(api):
    webhook = made(api)
    path = f"/webhooks/{webhook['id']}"
    api.post(f"{path}/test")
    assert api.patch(path, {"enabled": False}).json()["enabled"] is False
    assert Delivery.objects.get().state == "cancelled"
    problem_of(api.post(f"{path}/test"), 409)
    assert api.patch(path, {"enabled": True}).json()["enabled"] is True
    assert api.post(f"{path}/test").status_code == 202
    assert api.send("DELETE", path).status_code == 204
    problem_of(api.send("DELETE", path), 404)
    assert [(one["state"], one["webhook"]) for one in api.all("/deliveries")] == [("cancelled", None)] * 2


def test_another_organizations_webhook_is_not_there(api, stranger):
    path = f"/webhooks/{made(api)['id']}"
    for response in (
        stranger.patch(path, {"enabled": False}),
        stranger.send("DELETE", path),
        stranger.post(f"{path}/test"),
        stranger.get(f"{path}/deliveries"),
    ):
        problem_of(response, 404)
    assert stranger.all("/webhooks") == []
    assert WebhookEndpoint.objects.get().enabled
