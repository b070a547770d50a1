"""An LMS for tests: signed LTI 1.1 launches."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.test import Client

from lti.v1p1.oauth1 import sign_form
from organizations.identifiers import random_token
from organizations.models import LtiKey

STUDENT = {
    "lti_message_type": "basic-lti-launch-request",
    "lti_version": "LTI-1p0",
    "resource_link_id": "link-1",
    "resource_link_title": "Week 1",
    "context_id": "context-1",
    "context_title": "Introduction",
    "user_id": "student-1",
    "roles": "Learner",
    "lis_person_name_full": "Ada Lovelace",
    "lis_person_contact_email_primary": "ada@example.edu",
    "lis_outcome_service_url": "https://lms.example/outcomes",
    "lis_result_sourcedid": "sourcedid-1",
    "launch_presentation_return_url": "https://lms.example/course?id=1&sesskey=abc",
    "tool_consumer_info_product_family_code": "moodle",
    "tool_consumer_instance_guid": "lms.example",
}
TEACHER = STUDENT | {
    "user_id": "teacher-1",
    "roles": "Instructor",
    "lis_person_name_full": "Alan Turing",
    "lis_person_contact_email_primary": "alan@example.edu",
    "lis_result_sourcedid": "",
}


def signed(url: str, key: LtiKey, parameters: Mapping[str, str], **oauth: Any) -> list[tuple[str, str]]:
    """The signed pairs of a launch of `url` (absolute)."""
    return sign_form(url, dict(parameters), key.consumer_key, key.secret, nonce=random_token(), **oauth)


def launch(
    client: Client, path: str, key: LtiKey, parameters: Mapping[str, str] = STUDENT, headers: Any = None, **changes: str
) -> Any:
    """Posts a launch to `path` as the LMS of `key`; a change to None leaves the parameter out. Returns the response."""
    merged = {name: value for name, value in {**parameters, **changes}.items() if value is not None}
    return post(client, path, signed(settings.BASE_URL + path, key, merged), headers)


def post(client: Client, path: str, pairs: list[tuple[str, str]], headers: Any = None) -> Any:
    """Posts form pairs as they are."""
    return client.post(path, urlencode(pairs), content_type="application/x-www-form-urlencoded", headers=headers or {})


def launch_id_of(response: Any) -> str:
    """The launch id out of the redirect of an accepted launch."""
    assert response.status_code == 302, (response.status_code, response.headers.get("X-Launch-Error"))
    return response["Location"].split("/")[2]
