import pytest

from grades.tests.ags_platform import serve_ags


@pytest.fixture
def platform(loopback):
    """An LTI 1.3 platform."""
    with serve_ags() as running:
        yield running
