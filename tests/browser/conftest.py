"""Chromium against the real stack. Without Chromium these tests are skipped, with REQUIRE_BROWSER=1 they fail."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Playwright, expect, sync_playwright

from tests.browser.chromium import Browser, Cookies, executable, open_browser
from tests.browser.stack import Stack, own_database, own_redis, running_stack

HERE = Path(__file__).parent
expect.set_options(timeout=15_000)

OpenBrowser = Callable[..., Browser]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.browser)
            # One stack, one after the other: the machine has few processors.
            item.add_marker(pytest.mark.xdist_group("browser"))
            # A whole browser, two sites and their workers share two processors: what is late once is asked again.
            item.add_marker(pytest.mark.flaky(reruns=2))


@pytest.fixture(scope="session")
def chromium() -> str:
    path = executable()
    if path is None:
        reason = "no Chromium on this machine: install Debian's `chromium`, or name one in CHROMIUM"
        if os.environ.get("REQUIRE_BROWSER", "") not in ("", "0"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@pytest.fixture(scope="session")
def running(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with ExitStack() as held:
        server = os.environ.get("DATABASE_URL", "")
        database_url = held.enter_context(own_database(server)) if server.startswith("postgres") else ""
        redis_url = os.environ.get("REDIS_URL", "")
        if redis_url:
            redis_url = held.enter_context(own_redis(redis_url))
        yield held.enter_context(running_stack(tmp_path_factory.mktemp("stack"), database_url, redis_url))


@pytest.fixture
def stack(running: Stack) -> Stack:
    """The stack, with a demo LMS that behaves well. What tests leave there stays, so each uses a cell of its own."""
    running.behave("normal")
    for switch in ("launches", "keys", "storage", "rosters"):
        running.behave("normal", switch=switch)
    running.launch_as("first-bug", "moodle")
    return running


@pytest.fixture
def playwright() -> Iterator[Playwright]:
    # Not for the session: its event loop would be in the way of other tests' database connections.
    with sync_playwright() as started:
        yield started


@pytest.fixture
def browse(playwright: Playwright, stack: Stack, tmp_path: Path) -> Iterator[OpenBrowser]:
    """Opens browsers; at the end none of their pages may have complained about anything."""
    opened: list[Browser] = []
    with ExitStack() as held:

        def browse(cookies: Cookies = "allowed", **options: object) -> Browser:
            profile = tmp_path / f"profile{len(opened)}"
            browser = held.enter_context(open_browser(playwright, stack, profile, cookies, **options))
            opened.append(browser)
            return browser

        yield browse
    complaints = [complaint for browser in opened for complaint in browser.complaints]
    assert not complaints, "pages complained:\n" + "\n".join(complaints)
