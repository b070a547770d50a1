"""What people do to deliveries stands in the audit trail, and is not told to webhooks."""

from typing import Any

import pytest
from django.utils import timezone

from events.deliveries import cancel, resend, resend_failed
from events.endpoints import EndpointError, event_types, make_endpoint
from events.log import SYSTEM, Actor
from events.models import Delivery, Event
from organizations.identifiers import uuid7
from organizations.tests.admin_client import owner_client
from tests.factories import OrganizationFactory

pytestmark = pytest.mark.django_db
ADA = Actor("user", "1", "Ada")


@pytest.fixture
def organization() -> Any:
    return OrganizationFactory()


def delivery_of(organization: Any, state: str = "failed", **values: Any) -> Delivery:
    return Delivery.objects.create(
        organization=organization,
        kind="grade",
        target_id=uuid7(),
        source_id=uuid7(),
        sequence=1,
        state=state,
        give_up_at=timezone.now(),
        **values,
    )


def deeds() -> list[tuple[str, str, str]]:
    """(type, delivery, actor's name) of each event."""
    rows = Event.objects.filter(subject__kind="delivery").order_by("id")
    return [(row.type, row.subject["id"], row.actor["name"]) for row in rows]


def test_who_sends_again_is_named(organization):
    delivery = delivery_of(organization)
    resend(delivery, ADA)
    assert deeds() == [("delivery.resent", str(delivery.pk), "Ada")]
    assert Event.objects.get().data == {"kind": "grade"}
    assert Event.objects.get().organization == organization


def test_what_is_under_way_is_not_sent_again_and_not_told(organization):
    delivery = delivery_of(organization, "pending", claim=uuid7(), claimed_until=timezone.now())
    resend(delivery, ADA)
    assert not cancel(delivery, ADA)
    assert deeds() == []


def test_each_of_many_is_told_once(organization):
    failed = [delivery_of(organization) for _ in range(3)]
    delivery_of(organization, "delivered")
    for expected in (3, 0):
        assert resend_failed(Delivery.objects.filter(organization=organization), ADA) == expected
    assert sorted(deeds()) == sorted(("delivery.resent", str(row.pk), "Ada") for row in failed)


def test_who_takes_back_is_named(organization):
    delivery = delivery_of(organization, "pending")
    assert cancel(delivery, ADA)
    assert not cancel(delivery, ADA)
    assert deeds() == [("delivery.cancelled", str(delivery.pk), "Ada")]


def test_what_the_platform_does_by_itself_is_not_told(organization):
    delivery = delivery_of(organization, "pending")
    resend(delivery, SYSTEM)
    cancel(delivery, SYSTEM)
    assert deeds() == []


def test_owners_in_the_admin(organization):
    owner = owner_client(organization)
    failed, waiting = delivery_of(organization), delivery_of(organization, "pending")
    owner.post(f"/admin/events/delivery/{failed.pk}/resend/")
    owner.post(f"/admin/events/delivery/{waiting.pk}/cancel/")
    assert [deed[:2] for deed in deeds()] == [
        ("delivery.resent", str(failed.pk)),
        ("delivery.cancelled", str(waiting.pk)),
    ]


def test_webhooks_do_not_hear_of_it(organization):
    make_endpoint(organization, url="https://hooks.example/in", event_types=["*"])
    resend(delivery_of(organization), ADA)
    assert not Delivery.objects.filter(kind="webhook").exists()
    assert "delivery.resent" not in event_types()
    with pytest.raises(EndpointError, match=r"delivery\.resent"):
        make_endpoint(organization, url="https://hooks.example/other", event_types=["delivery.resent"])
