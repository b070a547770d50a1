"""Keys change on both sides while people launch and grades leave: nothing fails (D23, D32, D33).

The platform reads our key set every ten minutes and knows nothing newer, as platforms do that keep key sets.
"""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import jwt
import pytest
from django.test import Client
from django.utils import timezone

from courses.addresses import assignment_url
from events.deliveries import deliver_due
from events.log import SYSTEM
from events.models import Delivery
from grades.scores import record_score
from grades.tests.ags_platform import serve_ags
from launches.models import Launch
from lti.tests.platform_1p3 import key
from lti.v1p3 import vocabulary as names
from organizations.key_rotation import rotate_tool_key
from tests.factories import AssignmentFactory, InstallationFactory
from tests.launching import launch_id_of
from tests.platform_1p3 import platform_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("loopback")]


def read_key_set(path: str) -> dict[str, Any]:
    """The tool's public keys by id, as a platform reads them."""
    return {published["kid"]: jwt.PyJWK(published).key for published in Client().get(path).json()["keys"]}


def test_keys_change_on_both_sides_during_launches_and_grades(time_machine):
    time_machine.move_to(timezone.now(), tick=True)
    installation = InstallationFactory()
    organization = installation.organization
    assignment = AssignmentFactory(course__organization=organization)
    target = assignment_url(assignment)
    with platform_of(installation) as platform, serve_ags() as gradebook:
        seen: set[str] = set()
        # Each grade needs a token of its own: every assertion is signed with the key of its time.
        gradebook.token_seconds = 1
        platform.registration.token_url = gradebook.token_url
        platform.registration.save()
        endpoint = {
            "scope": list(names.AGS_SCOPES),
            "lineitems": gradebook.line_items_url,
            "lineitem": gradebook.line_item_url("4"),
        }
        signs_with = "k1"
        for step in range(36):
            gradebook.public_keys = read_key_set(f"/lti/1p3/{organization.slug}/jwks.json")
            seen |= set(gradebook.public_keys)
            if step % 6 == 2:  # the platform publishes its next key,
                platform.keys[f"k{step}"] = key(step)
            if step % 6 == 3:  # signs with it,
                signs_with = f"k{step - 1}"
            if step % 6 == 5:  # and withdraws the one before it.
                platform.keys = {signs_with: platform.keys[signs_with]}
            if step % 9 == 4:
                rotate_tool_key(organization, timedelta(minutes=15))
            time_machine.shift(timedelta(minutes=10))

            client = Client()
            state, nonce = platform.begin(client, target)
            claims = platform.claims(nonce, target, sub=f"student-{step}", **{names.AGS_ENDPOINT: endpoint})
            launched = platform.post(client, platform.token(claims, kid=signs_with), state)
            person = Launch.objects.get(pk=launch_id_of(launched)).person
            record_score(assignment, person, points=Decimal(step % 10), actor=SYSTEM)
            deliver_due()

        assert not Launch.objects.exclude(result=Launch.ACCEPTED).exists()
        assert set(Delivery.objects.values_list("state", flat=True)) == {"delivered"}
        assert len(gradebook.columns["4"].grades) == 36
        # Our keys were published before they signed: the platform never met one that it did not know.
        assert len(gradebook.assertions) == gradebook.asked("POST", "/token.php") == 36
        assert len(seen) == 5
