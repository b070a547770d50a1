"""What LTI asks of the claims of a launch (LTI 1.3 §5.3, Deep Linking 2.0 §4.4, Submission Review 1.0; D16 to D18).

Required claims are looked at strictly; optional ones may have any shape, except for ids, which become keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from lti.errors import LaunchError, LaunchErrorCode
from lti.return_url import safe_http_url
from lti.v1p3 import vocabulary as names
from lti.v1p3.json_text import JsonObject, as_text, object_in

ID_LIMIT = 255
SOURCEDID_LIMIT = 8 * 1024
URL_LIMIT = 4096
CUSTOM_LIMIT = 500

_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f]")

# Ids that are optional: claim and member.
_IDS = (
    (names.CONTEXT, "id"),
    (names.RESOURCE_LINK, "id"),
    (names.TOOL_PLATFORM, "guid"),
    (names.FOR_USER, "user_id"),
    (names.LTI1P1, "oauth_consumer_key"),
    (names.LTI1P1, "user_id"),
    (names.LTI1P1, "context_id"),
    (names.LTI1P1, "resource_link_id"),
    (names.LTI1P1, "tool_consumer_instance_guid"),
)
_SOURCEDIDS = ("person_sourcedid", "course_offering_sourcedid", "course_section_sourcedid")

_UNSUPPORTED_CAUSES = {
    names.DATA_PRIVACY_REQUEST: "The LMS opened the tool's data privacy page, which is not supported. Ask the owner of "
    "the tool for what is kept about you.",
}


def _missing(name: str, cause: str) -> LaunchError:
    return LaunchError(LaunchErrorCode.MISSING_PARAMETER, name, expected=name, cause=cause)


def _malformed(check: str, received: str = "") -> LaunchError:
    return LaunchError(LaunchErrorCode.MALFORMED, check, received=received)


def check_launch_claims(claims: JsonObject, *, is_ours: Callable[[str], bool]) -> None:
    """Raise ``LaunchError`` MISSING_PARAMETER, MALFORMED, UNSUPPORTED_MESSAGE or UNKNOWN_DESTINATION."""
    _check_ids(claims)
    version = _required_text(claims, names.VERSION)
    if version != names.LTI_VERSION:
        raise LaunchError(LaunchErrorCode.UNSUPPORTED_MESSAGE, "version", expected=names.LTI_VERSION, received=version)
    message_type = _required_text(claims, names.MESSAGE_TYPE)
    if message_type not in names.SUPPORTED_MESSAGES:
        raise LaunchError(
            LaunchErrorCode.UNSUPPORTED_MESSAGE,
            "message_type",
            expected=" or ".join(names.SUPPORTED_MESSAGES),
            received=message_type,
            cause=_UNSUPPORTED_CAUSES.get(message_type, f"The LMS asked for {message_type!r}, which is not supported."),
        )
    deployment_id = _required_text(claims, names.DEPLOYMENT_ID)
    if len(deployment_id) > ID_LIMIT or not deployment_id.isascii():
        raise _malformed("deployment_id has at most 255 ASCII characters", deployment_id[:100])
    _required_text(
        claims,
        "sub",
        "The LMS sent nobody's id. Anonymous launches are not accepted: let it send the user's id.",
    )
    _check_target(claims, message_type, is_ours)
    _check_roles(claims, message_type)
    if message_type != names.DEEP_LINKING_REQUEST:
        _require_member(claims, names.RESOURCE_LINK, "id", "The LMS did not say which link was opened.")
    if message_type == names.SUBMISSION_REVIEW_REQUEST:
        _require_member(claims, names.FOR_USER, "user_id", "The LMS did not say whose submission is to be reviewed.")


def _short(name: str) -> str:
    return name.removeprefix(names.CLAIM)


def _required_text(claims: JsonObject, name: str, cause: str = "The id_token lacks a claim of LTI 1.3.") -> str:
    value = claims.get(name)
    if value is None or value == "" or (isinstance(value, str) and not value.strip()):
        raise _missing(_short(name), cause)
    if not isinstance(value, str):
        raise _malformed(f"{_short(name)} is a text", repr(value)[:100])
    return value


def _require_member(claims: JsonObject, name: str, member: str, cause: str) -> None:
    holder = claims.get(name)
    if holder is not None and not isinstance(holder, dict):
        raise _malformed(f"{_short(name)} is an object", repr(holder)[:100])
    if not as_text(object_in(claims, name).get(member)).strip():
        raise _missing(f"{_short(name)}.{member}", cause)


def _check_target(claims: JsonObject, message_type: str, is_ours: Callable[[str], bool]) -> None:
    if message_type == names.DEEP_LINKING_REQUEST and not claims.get(names.TARGET_LINK_URI):
        return
    target = _required_text(claims, names.TARGET_LINK_URI)
    if len(target) > URL_LIMIT or not safe_http_url(target):
        raise _malformed("target_link_uri is a URL", target[:200])
    if not is_ours(target):
        raise LaunchError(
            LaunchErrorCode.UNKNOWN_DESTINATION,
            "target_link_uri",
            expected="a URL of this tool",
            received=target,
            cause="The link in the LMS points to another tool, or to this one by another name.",
        )


def _check_roles(claims: JsonObject, message_type: str) -> None:
    roles = claims.get(names.ROLES)
    if roles is None:
        if message_type == names.DEEP_LINKING_REQUEST:
            return
        raise _missing("roles", "The LMS did not say in which roles the person comes.")
    if not isinstance(roles, list):
        raise _malformed("roles is a list", repr(roles)[:100])


def _check_ids(claims: JsonObject) -> None:
    for name in ("sub", names.DEPLOYMENT_ID, names.LEGACY_USER_ID, "lti11_legacy_user_id"):
        _check_id(_short(name), as_text(claims.get(name)), ID_LIMIT)
    for name, member in _IDS:
        _check_id(f"{_short(name)}.{member}", as_text(object_in(claims, name).get(member)), ID_LIMIT)
    for member in _SOURCEDIDS:
        _check_id(f"lis.{member}", as_text(object_in(claims, names.LIS).get(member)), SOURCEDID_LIMIT)
    if len(object_in(claims, names.CUSTOM)) > CUSTOM_LIMIT:
        raise _malformed("number of custom parameters", f"more than {CUSTOM_LIMIT}")


def _check_id(name: str, value: str, limit: int) -> None:
    if len(value) > limit:
        raise _malformed("length of an id", f"{name}: {len(value)} characters")
    if _CONTROL_CHARACTER.search(value):
        raise _malformed("no control character in an id", name)
