"""One tenant to launch into, and the launches themselves, signed beforehand."""

import json
import secrets
from dataclasses import dataclass

from django.core.management import call_command
from django.db import connection

from bench.bare import TABLES
from bench.load import post_request
from courses.models import Assignment, Course
from lti.v1p1.oauth1 import sign_form
from organizations.identifiers import random_token
from organizations.models import Installation, LtiKey, Organization

HOST = "tool.example.org"


@dataclass(frozen=True)
class Tenant:
    """What a launch needs to know of the tenant it goes to."""

    consumer_key: str
    secret: str
    assignment_id: str


def make_tenant(name: str) -> Tenant:
    """An organization with one LMS, one key, one course and one assignment; the bare view gets the same key."""
    organization = Organization.objects.create(slug=name, name=name)
    installation = Installation.objects.create(organization=organization, name="Moodle")
    key = LtiKey.objects.create(installation=installation, consumer_key=f"{name}-key")
    course = Course.objects.create(organization=organization, code="bench", name="Bench")
    assignment = Assignment.objects.create(course=course, slug="bench", title="Bench", points_possible=10)
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO bare_key (consumer_key, secret) VALUES (%s, %s)", [key.consumer_key, key.secret])
    return Tenant(key.consumer_key, key.secret, str(assignment.id))


def prepare_database() -> Tenant:
    """Migrations, the bare view's tables, and the tenant."""
    call_command("migrate", verbosity=0, interactive=False)
    with connection.cursor() as cursor:
        cursor.execute(TABLES)
    return make_tenant("bench")


def launch_pairs(tenant: Tenant, user_id: str) -> list[tuple[str, str]]:
    """A student's launch as Moodle sends it: 45 parameters, the signature included."""
    params = {
        "lti_message_type": "basic-lti-launch-request",
        "lti_version": "LTI-1p0",
        "user_id": user_id,
        "roles": "Learner",
        "resource_link_id": "23",
        "resource_link_title": "Weekly exercise",
        "resource_link_description": "Hand in what you found out.",
        "context_id": "5",
        "context_title": "Introduction to benchmarks",
        "context_label": "BENCH1",
        "context_type": "CourseSection",
        "lis_person_name_given": "Ada",
        "lis_person_name_family": f"Number {user_id}",
        "lis_person_name_full": f"Ada Number {user_id}",
        "lis_person_contact_email_primary": f"ada.{user_id}@lms.example",
        "lis_person_sourcedid": f"sis-{user_id}",
        "lis_course_section_sourcedid": "bench-section",
        "ext_user_username": f"ada{user_id}",
        "ext_lms": "moodle-2",
        "launch_presentation_locale": "en",
        "launch_presentation_document_target": "iframe",
        "launch_presentation_return_url": "https://lms.example/mod/lti/return.php?course=5&launch_container=4&instanceid=23",
        "tool_consumer_info_product_family_code": "moodle",
        "tool_consumer_info_version": "2024042200",
        "tool_consumer_instance_guid": "lms.example",
        "tool_consumer_instance_name": "LMS",
        "tool_consumer_instance_description": "The LMS of the benchmark",
        "lis_outcome_service_url": "https://lms.example/mod/lti/service.php",
        "lis_result_sourcedid": json.dumps(
            {
                "data": {"instanceid": "23", "userid": user_id, "typeid": "2", "launchid": 1},
                "hash": "0123456789abcdef" * 4,
            }
        ),
        **{f"custom_bench_{number}": f"value {number}" for number in range(9)},
    }
    url = f"https://{HOST}/lti/assignments/{tenant.assignment_id}"
    return sign_form(url, params, tenant.consumer_key, tenant.secret)


def launches(tenant: Tenant, user_ids: list[str], *, browser_known: bool) -> list[bytes]:
    """One signed request for each user id; with the browser's cookie where it has been here before."""
    path = f"/lti/assignments/{tenant.assignment_id}"
    return [
        post_request(
            path, HOST, launch_pairs(tenant, user), f"__Host-browser={random_token()}" if browser_known else ""
        )
        for user in user_ids
    ]


def bare_launches(tenant: Tenant, user_ids: list[str]) -> list[bytes]:
    """The same forms for the bare view."""
    return [
        post_request("/lti/v1", HOST, launch_pairs(tenant, user), f"__Host-browser={random_token()}")
        for user in user_ids
    ]


def new_users(count: int) -> list[str]:
    """User ids that no launch has named yet."""
    return [f"n{secrets.token_hex(8)}" for _ in range(count)]
