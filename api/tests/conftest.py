import pytest
from django.core.cache import cache

from api.tests.calling import Caller
from tests.factories import OrganizationFactory


@pytest.fixture
def api(db):
    cache.clear()
    return Caller(OrganizationFactory(slug="acme"))


@pytest.fixture
def stranger(db):
    return Caller(OrganizationFactory(slug="other"))
