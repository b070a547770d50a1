"""Clients for tests of the admin."""

from typing import Any

from django.test import Client

from organizations.models import Membership, Organization, User
from tests.factories import MembershipFactory, UserFactory


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def owner_client(organization: Organization, *others: Organization) -> Client:
    user: Any = UserFactory()
    for entry in (organization, *others):
        MembershipFactory(organization=entry, user=user, role=Membership.Role.OWNER)
    return client_of(user)


def operator_client() -> Client:
    operator: Any = UserFactory(is_superuser=True)
    return client_of(operator)


def text_of(response: Any) -> str:
    content = b"".join(response.streaming_content) if response.streaming else response.content
    return str(content.decode())
