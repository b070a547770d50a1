"""What a launch says about the platform's services and about its LTI 1.1 past, as verified data."""

from __future__ import annotations

from dataclasses import dataclass, field

from lti.return_url import safe_http_url
from lti.v1p3.json_text import JsonObject, object_in, text_in, texts_in
from lti.v1p3.vocabulary import AGS_ENDPOINT, LEGACY_USER_ID, LTI1P1, NRPS_SERVICE

URL_LIMIT = 4096


def usable_url(text: str) -> str:
    """The trimmed URL, or ``""`` for one that is not safe to call or to send somebody to (J10)."""
    stripped = text.strip()
    return stripped if len(stripped) <= URL_LIMIT and safe_http_url(stripped) else ""


@dataclass(frozen=True, slots=True)
class AgsClaim:
    """Where grades of this launch's course and link go (AGS 2.0 §3.1, F1).

    ``line_item`` is ``""`` when the link has none or several. Which hosts are to be trusted is the installation's to
    say (J9).
    """

    scopes: tuple[str, ...] = ()
    line_items: str = ""
    line_item: str = ""

    @classmethod
    def from_claims(cls, claims: JsonObject) -> AgsClaim | None:
        """From a launch's claims, or ``None`` where the service is not offered."""
        claim = object_in(claims, AGS_ENDPOINT)
        found = cls(
            scopes=texts_in(claim, "scope"),
            line_items=usable_url(text_in(claim, "lineitems")),
            line_item=usable_url(text_in(claim, "lineitem")),
        )
        return found if found.line_items or found.line_item else None


@dataclass(frozen=True, slots=True)
class NrpsClaim:
    """Where the course's roster is read (NRPS 2.0 §3.6.1.1, G1)."""

    memberships_url: str

    @classmethod
    def from_claims(cls, claims: JsonObject) -> NrpsClaim | None:
        """From a launch's claims, or ``None`` where the service is not offered in version 2.0."""
        claim = object_in(claims, NRPS_SERVICE)
        url = usable_url(text_in(claim, "context_memberships_url"))
        versions = texts_in(claim, "service_versions")
        return cls(url) if url and (not versions or "2.0" in versions) else None


@dataclass(frozen=True, slots=True)
class MigrationClaim:
    """The same launch's LTI 1.1 ids (LTI 1.3 migration §3, D37); absent ones are ``""`` and mean "unchanged".

    Nothing of it may be believed before ``lti.v1p3.migration.is_genuine`` or the owner said so (D38, D39).
    """

    consumer_key: str = ""
    consumer_key_sign: str = field(default="", repr=False)
    user_id: str = ""
    context_id: str = ""
    resource_link_id: str = ""
    instance_guid: str = ""

    @classmethod
    def from_claims(cls, claims: JsonObject) -> MigrationClaim | None:
        """From a launch's claims, or ``None`` where they tell of no past. ``lti11_legacy_user_id`` counts too."""
        claim = object_in(claims, LTI1P1)
        found = cls(
            consumer_key=text_in(claim, "oauth_consumer_key"),
            consumer_key_sign=text_in(claim, "oauth_consumer_key_sign"),
            user_id=text_in(claim, "user_id") or text_in(claims, LEGACY_USER_ID, "lti11_legacy_user_id"),
            context_id=text_in(claim, "context_id"),
            resource_link_id=text_in(claim, "resource_link_id"),
            instance_guid=text_in(claim, "tool_consumer_instance_guid"),
        )
        return found if found != cls() else None
