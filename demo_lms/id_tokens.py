"""The claims of an id_token, as the LMS that is played makes them (recorded from Moodle, documented by the others)."""

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from demo_lms import columns
from demo_lms.course import Course, Link, Person, RegisteredTool
from demo_lms.environment import own_url
from demo_lms.launching import session_key
from demo_lms.logins import PendingLaunch
from demo_lms.manners import Manner
from lti.v1p3 import vocabulary as names

_CONTEXT_ROLE = "http://purl.imsglobal.org/vocab/lis/v2/membership#"
_INSTITUTION_ROLE = "http://purl.imsglobal.org/vocab/lis/v2/institution/person#"
_COURSE_OFFERING = "http://purl.imsglobal.org/vocab/lis/v2/course#CourseOffering"

#: What a tool must send back with what was chosen, in the LMSs that send it (moodle.md 22: Moodle does not).
SELECTION_DATA = "what=links&where=end"

Claims = dict[str, Any]


def claims(
    launch: PendingLaunch, tool: RegisteredTool, course: Course, person: Person, nonce: str, manner: Manner
) -> Claims:
    """The claims of the launch's id_token, wrong where the switch for launches says so."""
    preset = tool.preset
    now = int(time.time()) - (20 * 60 if manner.mode == "clock_behind" else 0)
    link = course.link_by_id(launch.link_id)
    context = course.course_of(link)
    found: Claims = {
        "nonce": f"the-same-nonce-for-{person.id}" if manner.mode == "replayed" else nonce,
        "iat": now,
        "exp": now + preset.token_lifetime,
        "iss": preset.issuer,
        "aud": tool.client_id,
        "sub": person.id,
        names.DEPLOYMENT_ID: tool.deployment_id,
        names.TARGET_LINK_URI: launch.target_link_uri,
        names.MESSAGE_TYPE: launch.message_type,
        names.VERSION: names.LTI_VERSION,
        names.ROLES: _roles(tool, person),
        names.CONTEXT: {
            "id": context.id,
            "label": context.code,
            "title": context.title,
            "type": ["CourseSection" if preset.name == "moodle" else _COURSE_OFFERING],
        },
        names.TOOL_PLATFORM: {
            "product_family_code": preset.family_code,
            "version": "1.0",
            "guid": "demo-lms.example",
            "name": "Demo LMS",
            "description": "A small LMS to try things with",
        },
        names.LAUNCH_PRESENTATION: {
            "locale": "en",
            "document_target": "window" if launch.container == "window" else "iframe",
            "return_url": _return_url(launch, course, person),
        },
        names.CUSTOM: _custom(tool, course, person, link),
        names.NRPS_SERVICE: {
            "context_memberships_url": f"{own_url()}/services/{course.id}/memberships",
            "service_versions": ["1.0", "2.0"],
        },
        names.AGS_ENDPOINT: _grades(tool, course, link),
    }
    if manner.mode != "private":
        found |= {
            "name": person.name,
            "given_name": person.given_name,
            "family_name": person.family_name,
            "email": person.email,
        }
    if link is not None:
        found[names.RESOURCE_LINK] = {
            "id": link.id,
            "title": link.title,
            "description": f"{link.description}\r\n\r\nFrom the demo LMS.",
        }
    if context.id != course.id:
        # Gradebook and roster are those of the one course that is shown as a whole.
        del found[names.NRPS_SERVICE], found[names.AGS_ENDPOINT]
    if launch.for_user_id:
        found[names.FOR_USER] = {"user_id": launch.for_user_id}
    if launch.message_type == names.DEEP_LINKING_REQUEST:
        found[names.DEEP_LINKING_SETTINGS] = _selection(tool, course, person)
    return found | _peculiarities(tool, course, person, manner)


def _roles(tool: RegisteredTool, person: Person) -> list[str]:
    roles = [f"{_CONTEXT_ROLE}{person.roles}"]
    if tool.preset.name in ("canvas", "brightspace"):
        roles.insert(0, f"{_INSTITUTION_ROLE}{'Instructor' if person.is_teacher else 'Student'}")
    return roles


def _return_url(launch: PendingLaunch, course: Course, person: Person) -> str:
    query = {
        "course": course.id,
        "launch_container": "4" if launch.container == "window" else "3",
        "instanceid": launch.link_id,
        "sesskey": session_key(person),
    }
    return f"{own_url()}/return?{urlencode(query)}"


def _custom(tool: RegisteredTool, course: Course, person: Person, link: Link | None) -> Mapping[str, object]:
    custom: dict[str, object] = dict(course.custom_of(link)) if link else {}
    if tool.preset.name == "canvas":
        # Numbers stay numbers there (D17).
        custom |= {"canvas_course_id": int(course.id), "canvas_user_id": int(person.id), "canvas_term": None}
    return custom


def _grades(tool: RegisteredTool, course: Course, link: Link | None) -> Claims:
    endpoint: Claims = {
        "scope": [scope for scope in tool.scopes if scope in names.AGS_SCOPES],
        "lineitems": columns.list_url(tool, course),
    }
    # The claim names a column only while the link has just the one (moodle.md 41).
    own = [column for column in columns.columns_of(course) if link is not None and column.link_id == link.id]
    if len(own) == 1:
        endpoint["lineitem"] = columns.url_of(tool, course, own[0])
    return endpoint


def _selection(tool: RegisteredTool, course: Course, person: Person) -> Claims:
    query = {"course": course.id, "client": tool.client_id, "sesskey": session_key(person)}
    settings: Claims = {
        "accept_types": ["ltiResourceLink"],
        "accept_presentation_document_targets": ["frame", "iframe", "window"],
        "accept_multiple": True,
        "auto_create": False,
        "deep_link_return_url": f"{own_url()}/deep-link-return?{urlencode(query)}",
    }
    if tool.preset.name != "moodle":
        settings |= {"accept_lineitem": True, "data": SELECTION_DATA}
    return settings


def _peculiarities(tool: RegisteredTool, course: Course, person: Person, manner: Manner) -> Claims:
    username = {} if manner.mode == "private" else {"username": person.username}
    match tool.preset.name:
        case "moodle":
            return {names.EXT: {**{f"user_{name}": value for name, value in username.items()}, "lms": "moodle-2"}}
        case "canvas":
            return {
                "azp": tool.client_id,
                "locale": "en",
                "errors": {"errors": {}},
                "https://www.instructure.com/placement": None,
            }
        case "brightspace":
            return {
                "aud": [tool.client_id],
                "azp": tool.client_id,
                "http://www.brightspace.com": {
                    "tenant_id": "demo-lms",
                    "user_id": int(person.id),
                    "Context.id.history": "",
                    **username,
                },
            }
        case _:
            return {"https://blackboard.com/lti/claim/one_time_session_token": ""}
