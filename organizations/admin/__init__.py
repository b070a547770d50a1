"""The admin of this room, one module per subject."""

from organizations.admin import (
    api_tokens,
    deployments,
    home,
    installations,
    lti_keys,
    members,
    organizations,
    people,
    registration_invites,
    registrations,
    users,
)

__all__ = [
    "api_tokens",
    "deployments",
    "home",
    "installations",
    "lti_keys",
    "members",
    "organizations",
    "people",
    "registration_invites",
    "registrations",
    "users",
]
