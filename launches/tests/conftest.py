import pytest

from tests.factories import AssignmentFactory, LtiKeyFactory
from tests.platform_1p3 import platform_of


@pytest.fixture
def key():
    return LtiKeyFactory()


@pytest.fixture
def assignment(key):
    return AssignmentFactory(course__organization=key.installation.organization, course__name="Rhetoric", title="Essay")


@pytest.fixture
def link_assignment(assignment):
    return AssignmentFactory(
        course=assignment.course, kind="link", title="Lab", content_url="https://content.example/lab?x=1"
    )


@pytest.fixture
def lti_1p3(key, loopback):
    """The LTI 1.3 platform of the key's installation, whose key set is on loopback."""
    with platform_of(key.installation) as running:
        yield running
