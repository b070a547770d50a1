"""An LMS that moves from LTI 1.1 to 1.3, for tests: one installation with a key, a platform, and old and new ids."""

from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.test import Client

from courses.addresses import assignment_url
from events.log import SYSTEM
from grades.scores import record_score
from launches.models import Launch
from lti.v1p3 import vocabulary as names
from lti.v1p3.migration import consumer_key_sign
from organizations.models import LtiKey
from tests.launching import STUDENT, launch, launch_id_of
from tests.platform_1p3 import Platform, platform_of

SCOPES = ["https://purl.imsglobal.org/spec/lti-ags/scope/score"]
OLD = {"user_id": "student-1", "context_id": "context-1", "resource_link_id": "link-1"}


@dataclass
class Move:
    """`target` is the URL of the assignment; `mapped_target` the one that leaves it to the link's mapping."""

    key: LtiKey
    platform: Platform
    assignment: Any

    @property
    def target(self) -> str:
        return assignment_url(self.assignment)

    mapped_target = f"{settings.BASE_URL}/lti/v1"

    def by_1p1(self, **changes: str) -> Launch:
        path = self.target.removeprefix(settings.BASE_URL)
        return Launch.objects.get(pk=launch_id_of(launch(Client(), path, self.key, STUDENT, **changes)))

    def claim(
        self, nonce: str, claims: dict[str, Any], *, sign: str | None = "right", **members: str
    ) -> dict[str, Any]:
        """The lti1p1 claim; `sign` is "right", "wrong order", "wrong secret", a secret, or None for no signature."""
        said: dict[str, Any] = {"oauth_consumer_key": self.key.consumer_key, **(members or OLD)}
        if sign is None:
            return said
        parts = {
            "consumer_key": said["oauth_consumer_key"],
            "deployment_id": claims[names.DEPLOYMENT_ID],
            "issuer": claims["iss"],
            "client_id": claims["aud"],
            "expires_at": claims["exp"],
            "nonce": nonce,
        }
        if sign == "wrong order":
            parts["issuer"], parts["client_id"] = parts["client_id"], parts["issuer"]
        secret = {"right": self.key.secret, "wrong order": self.key.secret, "wrong secret": "x" * 20}.get(sign, sign)
        return {**said, "oauth_consumer_key_sign": consumer_key_sign(secret, **parts)}

    def post_by_1p3(
        self,
        target: str = "",
        *,
        sign: str | None = "right",
        members: dict[str, str] | None = None,
        client: Client | None = None,
        says: bool = True,
        **changes: Any,
    ) -> Any:
        """The answer to a launch by the new ids that tells of the old ones."""
        client, target = client or Client(), target or self.mapped_target
        state, nonce = self.platform.begin(client, target)
        new: dict[str, Any] = {
            "sub": "uuid-of-student-1",
            "context": {"id": "course-9", "title": "Introduction"},
            "resource_link": {"id": "placement-9", "title": "Week 1"},
            names.AGS_ENDPOINT: {"scope": SCOPES, "lineitems": f"{self.platform.url}/items"},
        }
        claims = self.platform.claims(nonce, target, **{**new, **changes})
        if says:
            claims[names.LTI1P1] = self.claim(nonce, claims, sign=sign, **(members or {}))
        return self.platform.post(client, self.platform.token(claims), state)

    def by_1p3(self, target: str = "", **options: Any) -> Launch:
        return Launch.objects.get(pk=launch_id_of(self.post_by_1p3(target, **options)))

    def score(self, person: Any, points: int = 7, assignment: Any = None) -> Any:
        return record_score(assignment or self.assignment, person, points=Decimal(points), actor=SYSTEM)


@contextmanager
def moving(key: LtiKey, assignment: Any) -> Any:
    with platform_of(key.installation) as platform:
        yield Move(key, platform, assignment)
