"""What tests of this room may ask for."""

import pytest

from recordings.tests.fake_server import FakeServer, use


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    """The meeting server of every organization."""
    server = FakeServer()
    use(monkeypatch, lambda row: server)
    return server
