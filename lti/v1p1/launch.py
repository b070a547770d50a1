"""The LTI 1.1 launch: read the form, verify its signature and time, and make a message of it (LTI 1.1.1 §3, §4.2).

The order is fixed: a form that is malformed is refused whatever its signature; then the signature counts, then the
time; the nonce is the caller's, who stores it with what the launch changes (A16).
"""

from __future__ import annotations

import re
import secrets as random_secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from lti.errors import LaunchError, LaunchErrorCode
from lti.locales import normalise_locale
from lti.message import (
    CONTEXT_HISTORY,
    RESOURCE_LINK_HISTORY,
    LaunchMessage,
    OutcomeExtensions,
    PlatformInstance,
    copied_from,
    custom_parameters,
    displayed_name,
    mentored_user_ids,
    present_name,
)
from lti.return_url import safe_http_url
from lti.roles import parse_roles
from lti.texts import resolved
from lti.v1p1.oauth1 import (
    SIGNATURE_METHODS,
    Pair,
    decode_pairs,
    equal_in_constant_time,
    joined_base_string,
    query_pairs,
    signature_of,
)

LAUNCH = "basic-lti-launch-request"

BODY_LIMIT = 256 * 1024
URL_LIMIT = 16 * 1024
FIELD_LIMIT = 1000
NAME_LIMIT = 255
ID_LIMIT = 255
SOURCEDID_LIMIT = 8 * 1024

_IDS = frozenset(
    {
        "user_id",
        "context_id",
        "resource_link_id",
        "tool_consumer_instance_guid",
        "oauth_consumer_key",
        "oauth_nonce",
        "oauth_signature_method",
        "oauth_version",
        "lti_message_type",
        "lti_version",
    }
)
_SOURCEDIDS = frozenset(
    {
        "lis_result_sourcedid",
        "lis_person_sourcedid",
        "lis_course_offering_sourcedid",
        "lis_course_section_sourcedid",
    }
)
_REQUIRED_OAUTH = ("oauth_consumer_key", "oauth_signature_method", "oauth_timestamp", "oauth_nonce", "oauth_signature")

# Who somebody is, in which course and in which role, is said by the LMS in the form. The query belongs to whoever
# wrote the link, and the LMS signs it unread: a teacher's link must not put an address, a role, another course or
# another way back into other people's launches.
_FORM_ONLY_PREFIXES = (
    "context_",
    "ext_",
    "launch_presentation_",
    "lis_",
    "lti_",
    "oauth_",
    "platform_state",
    "relaunch_url",
    "resource_link_",
    "role",
    "tool_consumer_",
    "tool_state",
    "user_",
)

_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NUMBER = re.compile(r"-?[0-9]{1,20}")


@dataclass(frozen=True)
class LaunchRequest:
    """A launch as it came in.

    ``url`` is the public URL with its query that the LMS signs against, not the one behind the proxy;
    ``alternative_urls`` are registered aliases of it, tried when the signature does not match (A9).
    """

    url: str
    body: bytes
    content_type: str
    method: str
    alternative_urls: tuple[str, ...] = ()


@dataclass(frozen=True)
class Secrets:
    """The shared secret of a key, and the one before it while it is being rotated (A19)."""

    current: str = field(repr=False)
    previous: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Form:
    """The decoded form: ``pairs`` and ``query_pairs`` as signed, in order; ``values`` to look things up in.

    ``values`` has the body's parameters and those of the query, but the parameters of the standard (who, where, in
    which role) only where the body alone has them.
    """

    pairs: tuple[Pair, ...]
    query_pairs: tuple[Pair, ...]
    values: Mapping[str, str]

    @property
    def consumer_key(self) -> str:
        """The key that the form says it is signed with; unverified."""
        return self.values.get("oauth_consumer_key", "")


@dataclass(frozen=True)
class Verified:
    """What made the signature match; ``canvas_query_quirk`` when query parameters were signed once (A10)."""

    secret_used: Literal["current", "previous"]
    canvas_query_quirk: bool
    url_used: str


def _malformed(check: str, *, received: str = "", cause: str = "", status: int | None = None) -> LaunchError:
    return LaunchError(LaunchErrorCode.MALFORMED, check, received=received, cause=cause, status=status)


def read_form(request: LaunchRequest) -> Form:
    """The form of a launch request, nothing verified yet. Raises ``LaunchError`` MALFORMED (400, 405, 413, 415)."""
    if request.method.upper() != "POST":
        raise _malformed(
            "request method",
            received=request.method,
            cause="The launch URL was opened directly, or a redirect turned the launch into a GET (A1).",
            status=405,
        )
    media_type = request.content_type.split(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise _malformed("content type", received=request.content_type, status=415)
    if len(request.body) > BODY_LIMIT:
        raise _malformed("size of the body", received=f"{len(request.body)} bytes", status=413)
    if len(request.url) > URL_LIMIT:
        raise _malformed("length of the URL", received=f"{len(request.url)} characters")
    pairs = _read_pairs(request.body, "body")
    in_query = _read_pairs(_query_of(request.url), "query")
    body_values = dict(pairs)
    query_values = dict(in_query)
    for name in query_values.keys() & body_values.keys():
        if query_values[name] != body_values[name]:
            raise _malformed(
                "one value for each parameter",
                received=name,
                cause="The launch URL's query and the form hold different values (A11).",
            )
    values = {name: value for name, value in {**query_values, **body_values}.items() if not _only_in_form(name)}
    # Canvas copies the query into the form (A10): what is in both was in the link.
    values |= {name: value for name, value in pairs if _only_in_form(name) and name not in query_values}
    _check_values(values)
    return Form(pairs=tuple(pairs), query_pairs=tuple(in_query), values=MappingProxyType(values))


def _only_in_form(name: str) -> bool:
    return name.startswith(_FORM_ONLY_PREFIXES)


def _query_of(url: str) -> bytes:
    return url.partition("#")[0].partition("?")[2].encode("utf-8", "surrogatepass")


def _read_pairs(encoded: bytes, where: str) -> list[Pair]:
    # Counted before decoding, so that a form of a million empty fields costs nothing (J17).
    if encoded.count(b"&") >= FIELD_LIMIT:
        raise _malformed(f"number of parameters in the {where}", received=f"more than {FIELD_LIMIT}")
    try:
        pairs = decode_pairs(encoded)
    except UnicodeDecodeError:
        raise _malformed(f"the {where} is UTF-8") from None
    seen: set[str] = set()
    for name, value in pairs:
        if len(name) > NAME_LIMIT:
            raise _malformed(f"length of a parameter's name in the {where}", received=name[:60])
        if "\x00" in name or "\x00" in value:
            raise _malformed(f"no NUL character in the {where}", received=name)
        if name in seen:
            raise _malformed(f"each parameter once in the {where}", received=name)
        seen.add(name)
    return pairs


def _check_values(values: Mapping[str, str]) -> None:
    for name in _IDS | _SOURCEDIDS:
        value = values.get(name, "")
        if _CONTROL_CHARACTER.search(value):
            raise _malformed("no control character in an id", received=name)
        if name in _IDS and len(value) > ID_LIMIT:
            raise _malformed("length of an id", received=f"{name}: {len(value)} characters")
        if name in _SOURCEDIDS and len(value.encode("utf-8")) > SOURCEDID_LIMIT:
            raise _malformed("length of a sourcedid", received=f"{name}: {len(value)} characters")
    timestamp = values.get("oauth_timestamp", "")
    if timestamp and not _NUMBER.fullmatch(timestamp):
        raise _malformed("the timestamp is a number", received=timestamp)


def signed_variants(url: str, form: Form) -> tuple[tuple[Pair, ...], ...]:
    """The sets of pairs that an LMS may have signed for this URL: RFC 5849's union, then Canvas's (A10).

    Canvas copies the query into the form and signs each name once. Equal values are all that ``read_form`` lets
    through, so that the value used is the value signed (A11).
    """
    in_query = tuple(query_pairs(url))
    union = (*in_query, *form.pairs)
    names = {name for name, _ in form.pairs}
    once = (*(pair for pair in in_query if pair[0] not in names), *form.pairs)
    return (union,) if len(once) == len(union) else (union, once)


def _unauthenticated(check: str, *, expected: str = "", received: str = "", cause: str = "") -> LaunchError:
    return LaunchError(LaunchErrorCode.AUTHENTICATION_FAILED, check, expected=expected, received=received, cause=cause)


def verify(request: LaunchRequest, form: Form, secrets: Secrets | None, *, now: int, window: int) -> Verified:
    """Check the signature, then the time; ``secrets`` is ``None`` for a key that is not known.

    Raises ``LaunchError`` AUTHENTICATION_FAILED (alike for an unknown key and a wrong secret, A18) or
    TIMESTAMP_EXPIRED (A15). ``now`` and ``window`` are in seconds.
    """
    for name in _REQUIRED_OAUTH:
        if not form.values.get(name):
            raise _unauthenticated(
                "the launch is signed",
                expected=name,
                cause="The LMS sent the launch unsigned, as it does when key or secret is empty there (A6).",
            )
    version = form.values.get("oauth_version", "1.0")
    if version != "1.0":
        raise _unauthenticated("OAuth version", expected="1.0", received=version)
    signature_method = form.values["oauth_signature_method"]
    if signature_method not in SIGNATURE_METHODS:
        raise _unauthenticated("signature method", expected=" or ".join(SIGNATURE_METHODS), received=signature_method)
    verified = _matching(request, form, secrets, signature_method)
    if verified is None:
        if secrets is None:
            raise _unauthenticated(
                "consumer key", received=form.consumer_key, cause="No such key is registered, or it was mistyped."
            )
        raise _unauthenticated(
            "signature",
            received=f"a signature over {request.url.partition('?')[0]}",
            cause="The secret in the LMS differs, or the LMS was given another URL than the one called.",
        )
    _check_time(int(form.values["oauth_timestamp"]), now, window)
    return verified


def _matching(request: LaunchRequest, form: Form, secrets: Secrets | None, signature_method: str) -> Verified | None:
    # Two secrets are tried for every key, known or not, and none is skipped after a match: the time taken says
    # nothing about which keys exist (A18).
    stand_in = random_secrets.token_hex(16)
    current = stand_in if secrets is None else secrets.current
    previous = stand_in if secrets is None or secrets.previous is None else secrets.previous
    candidates: tuple[tuple[Literal["current", "previous"], str, bool], ...] = (
        ("current", current, secrets is not None),
        ("previous", previous, secrets is not None and secrets.previous is not None),
    )
    signature = form.values["oauth_signature"]
    found: Verified | None = None
    for url in dict.fromkeys((request.url, *request.alternative_urls)):
        try:
            bases = [joined_base_string("POST", url, pairs) for pairs in signed_variants(url, form)]
        except (ValueError, UnicodeError):
            continue
        for variant, base in enumerate(bases):
            for which, secret, is_real in candidates:
                matches = equal_in_constant_time(signature_of(base, secret, signature_method), signature)
                if matches and is_real and found is None:
                    found = Verified(secret_used=which, canvas_query_quirk=variant == 1, url_used=url)
    return found


def _check_time(timestamp: int, now: int, window: int) -> None:
    skew = timestamp - now
    if abs(skew) <= window:
        return
    direction = "ahead of" if skew > 0 else "behind"
    raise LaunchError(
        LaunchErrorCode.TIMESTAMP_EXPIRED,
        "timestamp",
        expected=f"within {window} seconds of our clock",
        received=f"{abs(skew)} seconds {direction} our clock",
        cause="The clock of the LMS is wrong (or ours is), or an old launch was sent again, by the browser's Back.",
    )


def to_message(form: Form) -> LaunchMessage:
    """The message of a verified form. Raises ``LaunchError`` MISSING_PARAMETER or UNSUPPORTED_MESSAGE."""
    values = form.values
    _check_message_kind(values)
    _require(values, "resource_link_id", "The LMS did not say which link was opened.")
    require_user(values)
    return message_of(form)


def require_user(values: Mapping[str, str]) -> None:
    """Raise ``LaunchError`` MISSING_PARAMETER for a message about nobody."""
    _require(
        values, "user_id", "The LMS sent nobody's id. Anonymous launches are not accepted: let it send the user's id."
    )


def message_of(form: Form) -> LaunchMessage:
    """What the form of any LTI 1.x message says; whether it is complete is the caller's to check."""
    values = form.values
    custom = custom_parameters(_custom_of(values.items()))
    service_url = values.get("lis_outcome_service_url", "").strip()
    return_url = values.get("launch_presentation_return_url", "").strip()
    usernames = _first_resolved(
        values,
        ("ext_user_username", "ext_username", "ext_d2l_username", "custom_username", "custom_canvas_user_login_id"),
    )
    return LaunchMessage(
        lti_version="1.1",
        message_type=values.get("lti_message_type", ""),
        user_id=values.get("user_id", ""),
        roles=parse_roles(values.get("roles", "")),
        name=displayed_name(
            full=values.get("lis_person_name_full", ""),
            given=values.get("lis_person_name_given", ""),
            family=values.get("lis_person_name_family", ""),
            username=usernames,
        ),
        given_name=present_name(values.get("lis_person_name_given", "")),
        family_name=present_name(values.get("lis_person_name_family", "")),
        email=resolved(values.get("lis_person_contact_email_primary", "")),
        username=usernames or resolved(values.get("lis_person_sourcedid", "")),
        picture_url=_safe_url(values.get("user_image", "")),
        person_sourcedid=resolved(values.get("lis_person_sourcedid", "")),
        role_scope_mentor=mentored_user_ids(values.get("role_scope_mentor", "")),
        context_id=values.get("context_id", ""),
        context_title=values.get("context_title", ""),
        context_label=values.get("context_label", ""),
        context_type=values.get("context_type", ""),
        course_offering_sourcedid=resolved(values.get("lis_course_offering_sourcedid", "")),
        course_section_sourcedid=resolved(values.get("lis_course_section_sourcedid", "")),
        context_history=copied_from(CONTEXT_HISTORY, custom, values),
        resource_link_id=values.get("resource_link_id", ""),
        resource_link_title=values.get("resource_link_title", ""),
        resource_link_description=values.get("resource_link_description", ""),
        resource_link_history=copied_from(RESOURCE_LINK_HISTORY, custom, values),
        outcome_service_url=_safe_url(service_url),
        result_sourcedid=values.get("lis_result_sourcedid", ""),
        outcome_extensions=OutcomeExtensions.from_parameters(values),
        custom=custom,
        return_url=_safe_url(return_url),
        document_target=values.get("launch_presentation_document_target", "").strip().lower(),
        locale=normalise_locale(values.get("launch_presentation_locale", "")),
        width=values.get("launch_presentation_width", "").strip(),
        height=values.get("launch_presentation_height", "").strip(),
        platform=PlatformInstance.from_parameters(values),
        nonce=values.get("oauth_nonce", ""),
        timestamp=int(values.get("oauth_timestamp") or 0),
        raw=MappingProxyType({name: value for name, value in values.items() if not name.startswith("oauth_")}),
    )


def _check_message_kind(values: Mapping[str, str]) -> None:
    _require(values, "lti_message_type", "What was posted is no LTI launch.")
    _require(values, "lti_version", "What was posted is no LTI launch.")
    version, message_type = values["lti_version"], values["lti_message_type"]
    if version != "LTI-1p0":
        raise LaunchError(LaunchErrorCode.UNSUPPORTED_MESSAGE, "lti_version", expected="LTI-1p0", received=version)
    if message_type != LAUNCH:
        raise LaunchError(
            LaunchErrorCode.UNSUPPORTED_MESSAGE,
            "lti_message_type",
            expected=LAUNCH,
            received=message_type,
            cause=f"The LMS asked for {message_type!r}, which is not supported (A46).",
        )
    if is_selection_launch(values):
        raise LaunchError(
            LaunchErrorCode.UNSUPPORTED_MESSAGE,
            "lti_message_type",
            expected=LAUNCH,
            received="a selection launch (selection_directive)",
            cause="Canvas asked to choose content in its older way, which is not supported.",
        )


def is_selection_launch(values: Mapping[str, str]) -> bool:
    """Whether this launch asks to choose content, in Canvas's way before ContentItemSelectionRequest (C)."""
    return bool(
        values.get("selection_directive")
        or (values.get("ext_content_return_types") and values.get("ext_content_intended_use"))
    )


def _require(values: Mapping[str, str], name: str, cause: str) -> None:
    if not values.get(name, "").strip():
        raise LaunchError(LaunchErrorCode.MISSING_PARAMETER, name, expected=name, cause=cause)


def _safe_url(url: str) -> str:
    stripped = url.strip()
    return stripped if safe_http_url(stripped) else ""


def _first_resolved(values: Mapping[str, str], names: Iterable[str]) -> str:
    return next((resolved(values[name]) for name in names if name in values and resolved(values[name])), "")


def _custom_of(parameters: Iterable[Pair]) -> Iterable[Pair]:
    return ((name[len("custom_") :], value) for name, value in parameters if name.lower().startswith("custom_"))
