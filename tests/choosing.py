"""Teachers who choose content in the picker, and what comes back to their LMS, for tests."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import lxml.html
from django.conf import settings
from django.test import Client
from oauthlib.oauth1.rfc5849 import signature as rfc5849

from courses.models import Assignment
from launches.browser import COOKIE, Browser
from lti.v1p3 import vocabulary as names
from organizations.models import LtiKey
from tests.launching import launch, launch_id_of
from tests.platform_1p3 import ROLE, Platform
from tests.visiting import Visitor

CONTENT_ITEM = {
    "lti_message_type": "ContentItemSelectionRequest",
    "lti_version": "LTI-1p0",
    "user_id": "teacher-1",
    "roles": "Instructor",
    "lis_person_name_full": "Alan Turing",
    "context_id": "context-1",
    "context_title": "Introduction",
    "accept_media_types": "application/vnd.ims.lti.v1.ltilink",
    "accept_presentation_document_targets": "frame,iframe,window",
    "accept_multiple": "true",
    "content_item_return_url": "https://lms.example/return.php?course=2&id=1&sesskey=6SyAAsgRjO",
}
CANVAS = {
    "lti_message_type": "basic-lti-launch-request",
    "lti_version": "LTI-1p0",
    "user_id": "teacher-1",
    "roles": "Instructor",
    "resource_link_id": "of-the-course",
    "context_id": "context-1",
    "selection_directive": "select_link",
    "ext_content_return_types": "lti_launch_url,url",
    "ext_content_return_url": "https://canvas.example/courses/512/external_content/success?x=1",
}
SETTINGS = {
    "accept_types": ["ltiResourceLink"],
    "accept_presentation_document_targets": ["frame", "iframe", "window"],
    "accept_multiple": True,
    "deep_link_return_url": "https://lms.example/return.php?course=2&id=3&sesskey=qMShVan3aq",
}


class Chooser(Visitor):
    """A teacher in whose browser a picker was opened."""

    def __init__(self, client: Client, opened: Any) -> None:
        self.client = client
        self.launch_id = UUID(launch_id_of(opened))
        self.token = Browser(client.cookies[COOKIE].value, returned=True).token(self.launch_id)

    def insert(self, *assignments: Assignment, **fields: Any) -> Any:
        return self.post("launch-selection-insert", item=[str(one.pk) for one in assignments], **fields)

    def select(self, *assignments: Assignment, **fields: Any) -> Any:
        return self.post("launch-selection", item=[str(one.pk) for one in assignments], **fields)


def by_lti_1p1(key: LtiKey, base: dict[str, str] = CONTENT_ITEM, /, **changes: Any) -> Chooser:
    client = Client()
    return Chooser(client, launch(client, "/lti/v1", key, base, **changes))


def by_lti_1p3(platform: Platform, /, claims: dict[str, Any] | None = None, **changes: Any) -> Chooser:
    """Opened by Deep Linking; `changes` are of its settings, a change to None takes one away."""
    client = Client()
    return Chooser(client, deep_linking_launch(client, platform, claims, **changes))


def deep_linking_launch(
    client: Client, platform: Platform, claims: dict[str, Any] | None = None, /, **changes: Any
) -> Any:
    wanted = {name: value for name, value in {**SETTINGS, **changes}.items() if value is not None}
    asked = {
        "message_type": "LtiDeepLinkingRequest",
        "resource_link": None,
        "roles": [f"{ROLE}Instructor"],
        names.DEEP_LINKING_SETTINGS: wanted,
    }
    return platform.launch(client, f"{settings.BASE_URL}/lti/v1", **{**asked, **(claims or {})})


@dataclass(frozen=True)
class Posted:
    """The form that the browser would post to the LMS."""

    url: str
    fields: dict[str, str]


def posted(response: Any) -> Posted:
    """The form of an answer page, checked for what every one of them needs."""
    assert response.status_code == 200, (response.status_code, response.headers.get("X-Launch-Error"))
    page: Any = lxml.html.fromstring(response.content.decode())
    (form,) = page.forms
    assert form.method == "POST"
    assert form.xpath(".//button[@type='submit']")
    parts = urlsplit(form.action)
    directives = dict(part.strip().partition(" ")[::2] for part in response["Content-Security-Policy"].split(";"))
    assert directives["form-action"] == f"{parts.scheme}://{parts.netloc}"
    return Posted(form.action, dict(form.form_values()))


def assert_signed(answer: Posted, key: str, secret: str) -> None:
    """The OAuth signature as oauthlib makes it, over the URL's query too (C4)."""
    assert answer.fields["oauth_consumer_key"] == key
    pairs = [(name, value) for name, value in answer.fields.items() if name != "oauth_signature"]
    parts = urlsplit(answer.url)
    collected: Any = rfc5849.collect_parameters(uri_query=parts.query, body=pairs, with_realm=False)
    base = rfc5849.signature_base_string(
        "POST", f"{parts.scheme}://{parts.netloc}{parts.path}", rfc5849.normalize_parameters(collected)
    )
    client = type("Client", (), {"client_secret": secret, "resource_owner_secret": ""})()
    assert rfc5849.sign_hmac_sha1_with_client(base, client) == answer.fields["oauth_signature"]
