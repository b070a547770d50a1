"""Launches as Moodle sends them: its parameters, in its order, signed with HMAC-SHA1."""

import secrets
import time
from dataclasses import dataclass
from urllib.parse import urlencode

from django.core import signing

from demo_lms import manners, messages
from demo_lms.course import Container, Course, Link, Person
from demo_lms.environment import own_url
from demo_lms.manners import Manner
from demo_lms.sourcedids import result_sourcedid
from lti.v1p1.oauth1 import Pair, sign_form

_SESSION_KEY_SALT = "demo_lms.sesskey"


@dataclass(frozen=True)
class LaunchForm:
    """A signed form that a browser posts to `url`."""

    url: str
    pairs: tuple[Pair, ...]


def session_key(person: Person) -> str:
    """What Moodle calls sesskey: proves that the way back belongs to this person's session."""
    return signing.dumps(person.id, salt=_SESSION_KEY_SALT, compress=False)


def person_id_of(sesskey: str) -> str | None:
    """Whose session key it is; None for a forged one."""
    try:
        return str(signing.loads(sesskey, salt=_SESSION_KEY_SALT))
    except signing.BadSignature:
        return None


def parameters(course: Course, link: Link, person: Person, container: Container, manner: Manner) -> list[Pair]:
    """The unsigned parameters of a launch, in Moodle's order and with its habits: short roles, `''` for what is empty,
    CRLF in the description, unknown variables verbatim, a fresh sourcedid (moodle.md 7 to 15)."""
    context = course.course_of(link)
    return_query = urlencode(
        {
            "course": course.id,
            "launch_container": "4" if container == "window" else "3",
            "instanceid": link.id,
            "sesskey": session_key(person),
        }
    )
    pairs = [
        ("user_id", person.id),
        ("lis_person_sourcedid", ""),
        ("roles", person.roles),
        ("context_id", context.id),
        ("context_label", context.code),
        ("context_title", context.title),
        ("lti_message_type", "basic-lti-launch-request"),
        ("resource_link_title", link.title),
        ("resource_link_description", f"{link.description}\r\n\r\nFrom the demo LMS."),
        ("resource_link_id", link.id),
        ("context_type", "CourseSection"),
        ("lis_course_section_sourcedid", ""),
    ]
    if link.maximum is not None:
        pairs += [
            ("lis_result_sourcedid", result_sourcedid(link, person)),
            ("lis_outcome_service_url", f"{own_url()}/outcomes"),
        ]
    if manner.mode != "private":
        pairs += [
            ("lis_person_name_given", person.given_name),
            ("lis_person_name_family", person.family_name),
            ("lis_person_name_full", person.name),
            ("ext_user_username", person.username),
            ("lis_person_contact_email_primary", person.email),
        ]
    pairs += [
        ("launch_presentation_locale", "en"),
        ("ext_lms", "demo-lms"),
        ("tool_consumer_info_product_family_code", "demo-lms"),
        ("tool_consumer_info_version", "1.0"),
        ("lti_version", "LTI-1p0"),
        ("tool_consumer_instance_guid", "demo-lms.example"),
        ("tool_consumer_instance_name", "Demo LMS"),
        ("tool_consumer_instance_description", "A small LMS to try things with"),
    ]
    pairs += [(f"custom_{name}", value) for name, value in course.custom_of(link).items()]
    return [
        *pairs,
        ("launch_presentation_document_target", "window" if container == "window" else "iframe"),
        ("launch_presentation_return_url", f"{own_url()}/return?{return_query}"),
    ]


def launch(course: Course, link: Link, person: Person, container: Container) -> LaunchForm:
    """A launch of the link by the person, signed as the switch for launches says, and remembered as a message."""
    manner = manners.take(manners.LAUNCHES)
    secret = course.tool.shared_secret
    timestamp, nonce = int(time.time()), secrets.token_hex(16)
    if manner.mode == "wrong_secret":
        secret = f"not-{secret}"
    elif manner.mode == "clock_behind":
        timestamp -= 20 * 60
    elif manner.mode == "replayed":
        nonce = f"the-same-nonce-for-{person.id}"
    signed = sign_form(
        link.url,
        parameters(course, link, person, container, manner),
        course.tool.consumer_key,
        secret,
        timestamp=timestamp,
        nonce=nonce,
    )
    result = "sent" if manner.mode == "normal" else f"sent with a fault: {manner.mode.replace('_', ' ')}"
    messages.remember(
        "launch", f"{person.name} opens “{link.title}”", messages.readable_form(link.url, signed), "", result
    )
    return LaunchForm(link.url, tuple(signed))
