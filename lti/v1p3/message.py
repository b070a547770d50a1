"""The launch message of a verified id_token: the same as that of an LTI 1.1 launch (D17, D20, D21)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from urllib.parse import parse_qsl, urlsplit

from lti.locales import normalise_locale
from lti.message import (
    CONTEXT_HISTORY,
    RESOURCE_LINK_HISTORY,
    LaunchMessage,
    PlatformInstance,
    copied_from,
    custom_parameters,
    displayed_name,
    present_name,
)
from lti.products import detect_lms
from lti.roles import Roles
from lti.texts import resolved
from lti.v1p3 import vocabulary as names
from lti.v1p3.claims import AgsClaim, MigrationClaim, NrpsClaim, usable_url
from lti.v1p3.deep_linking import selection_of
from lti.v1p3.id_token import VerifiedToken
from lti.v1p3.json_text import JsonObject, as_text, object_in, text_in, texts_in

_QUERY_FIELDS = 200


def to_message(token: VerifiedToken) -> LaunchMessage:
    """The message of a verified token.

    Raises ``LaunchError`` MISSING_PARAMETER or MALFORMED for a deep linking request without usable settings (E1).
    Claims for LTI 1.1's outcome service (Moodle sends them) are left aside: grades go by AGS.
    """
    claims = token.claims
    context, link = object_in(claims, names.CONTEXT), object_in(claims, names.RESOURCE_LINK)
    lis, presentation = object_in(claims, names.LIS), object_in(claims, names.LAUNCH_PRESENTATION)
    query = _query_of(text_in(claims, names.TARGET_LINK_URI))
    custom = custom_parameters([*_custom_pairs(object_in(claims, names.CUSTOM)), *_custom_in(query)])
    own = _brightspace_parameters(claims)
    username = _username(claims, custom)
    message_type = text_in(claims, names.MESSAGE_TYPE)
    return LaunchMessage(
        lti_version="1.3",
        message_type=message_type,
        user_id=text_in(claims, "sub"),
        roles=Roles.from_list(texts_in(claims, names.ROLES)),
        name=displayed_name(
            full=text_in(claims, "name"),
            given=text_in(claims, "given_name"),
            family=text_in(claims, "family_name"),
            username=username,
        ),
        given_name=present_name(text_in(claims, "given_name")),
        family_name=present_name(text_in(claims, "family_name")),
        email=resolved(text_in(claims, "email")),
        username=username or resolved(text_in(lis, "person_sourcedid")),
        picture_url=usable_url(text_in(claims, "picture")),
        person_sourcedid=resolved(text_in(lis, "person_sourcedid")),
        role_scope_mentor=texts_in(claims, names.ROLE_SCOPE_MENTOR),
        context_id=text_in(context, "id"),
        context_title=text_in(context, "title"),
        context_label=text_in(context, "label"),
        context_type=next(iter(texts_in(context, "type")), ""),
        course_offering_sourcedid=resolved(text_in(lis, "course_offering_sourcedid")),
        course_section_sourcedid=resolved(text_in(lis, "course_section_sourcedid")),
        context_history=copied_from(CONTEXT_HISTORY, custom, own),
        resource_link_id=text_in(link, "id"),
        resource_link_title=text_in(link, "title"),
        resource_link_description=text_in(link, "description"),
        resource_link_history=copied_from(RESOURCE_LINK_HISTORY, custom, own),
        custom=custom,
        return_url=usable_url(text_in(presentation, "return_url")),
        document_target=text_in(presentation, "document_target").strip().lower(),
        locale=normalise_locale(text_in(presentation, "locale") or text_in(claims, "locale")),
        width=text_in(presentation, "width").strip(),
        height=text_in(presentation, "height").strip(),
        platform=_platform(claims, custom),
        nonce=token.nonce,
        timestamp=token.issued_at,
        raw=MappingProxyType({**query, **own}),
        selection=selection_of(claims) if message_type == names.DEEP_LINKING_REQUEST else None,
        deployment_id=text_in(claims, names.DEPLOYMENT_ID),
        issuer=token.issuer,
        client_id=token.client_id,
        target_link_uri=text_in(claims, names.TARGET_LINK_URI),
        for_user_id=text_in(object_in(claims, names.FOR_USER), "user_id"),
        ags=AgsClaim.from_claims(claims),
        nrps=NrpsClaim.from_claims(claims),
        migration=MigrationClaim.from_claims(claims),
        expires_at=token.expires_at,
    )


def _query_of(url: str) -> dict[str, str]:
    """The link's own query, signed with the target link URI; the first of repeated names counts."""
    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)[:_QUERY_FIELDS]
    return dict(reversed(pairs))


def _custom_pairs(custom: JsonObject) -> Iterator[tuple[str, str]]:
    # Moodle sends null for a variable without a value, Canvas numbers (D17).
    return ((name, as_text(value)) for name, value in custom.items())


def _custom_in(query: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    return ((name[len("custom_") :], value) for name, value in query.items() if name.lower().startswith("custom_"))


def _username(claims: JsonObject, custom: Mapping[str, str]) -> str:
    candidates = (
        text_in(object_in(claims, names.EXT), "user_username"),
        text_in(object_in(claims, names.BRIGHTSPACE), "username"),
        text_in(claims, "preferred_username"),
        custom.get("username", ""),
        custom.get("canvas_user_login_id", ""),
    )
    return next((resolved(candidate) for candidate in candidates if resolved(candidate)), "")


def _brightspace_parameters(claims: JsonObject) -> dict[str, str]:
    """What Brightspace adds, by the names that it has in LTI 1.1 (I2: histories of copied courses)."""
    holder = object_in(claims, names.BRIGHTSPACE)
    return {f"ext_d2l_{name}": as_text(value) for name, value in holder.items() if as_text(value)}


def _platform(claims: JsonObject, custom: Mapping[str, str]) -> PlatformInstance:
    platform = object_in(claims, names.TOOL_PLATFORM)
    # Chamilo calls it family_code (D17).
    family = text_in(platform, "product_family_code", "family_code").strip()
    evidence = {
        "tool_consumer_info_product_family_code": family,
        "tool_consumer_instance_guid": text_in(platform, "guid"),
        "ext_lms": text_in(object_in(claims, names.EXT), "lms"),
        **{f"custom_{name}": value for name, value in custom.items() if name.startswith("canvas_")},
        **_brightspace_parameters(claims),
    }
    return PlatformInstance(
        guid=text_in(platform, "guid"),
        name=text_in(platform, "name").strip(),
        description=text_in(platform, "description").strip(),
        url=text_in(platform, "url").strip(),
        contact_email=text_in(platform, "contact_email").strip(),
        product_family=family,
        product_version=text_in(platform, "version").strip(),
        lms=detect_lms(evidence),
    )
