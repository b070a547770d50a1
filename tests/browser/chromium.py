"""Chromium with the cookie settings that people have, and an ear for everything that a page complains about."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from playwright.sync_api import BrowserContext, ConsoleMessage, Frame, FrameLocator, Page, Playwright, Request

from tests.browser.stack import Stack

Cookies = Literal["allowed", "third_party_blocked", "refused_in_frame"]

_BLOCKED = 2
TIMEOUT_MS = 30_000


def executable() -> str | None:
    """The system's Chromium, or the one that CHROMIUM names; None without one."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


def preferences(cookies: Cookies, stack: Stack) -> dict[str, object]:
    """The profile's preferences for a cookie setting, as Chromium's own settings page writes them."""
    # 0 allows third-party cookies, 1 blocks them (components/content_settings/core/common/pref_names.h).
    profile: dict[str, object] = {"cookie_controls_mode": 1 if cookies == "third_party_blocked" else 0}
    if cookies == "refused_in_frame":
        # No cookie of the platform inside pages of the LMS, partitioned or not.
        exception = {f"{stack.platform_url},{stack.lms_url}": {"setting": _BLOCKED}}
        profile["content_settings"] = {"exceptions": {"cookies": exception}}
    return {"profile": profile}


class Browser:
    """A Chromium with a profile of its own. `problems` collects what no page should say."""

    def __init__(self, context: BrowserContext, stack: Stack) -> None:
        self.context = context
        self.stack = stack
        self.problems: list[str] = []
        self.expected: tuple[str, ...] = ()
        context.set_default_timeout(TIMEOUT_MS)
        context.on("page", self._listen)
        for page in context.pages:
            self._listen(page)

    def _listen(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.problems.append(f"script error: {error}"))
        page.on("requestfailed", self._request_failed)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            where = message.location.get("url", "").partition("?")[0]
            self.problems.append(f"console {message.type} at {where}: {message.text}")

    def _request_failed(self, request: Request) -> None:
        # A page that is left while it polls gives its request up, and that is as it should be.
        if request.failure != "net::ERR_ABORTED":
            self.problems.append(f"request failed: {request.url.partition('?')[0]}: {request.failure}")

    @property
    def complaints(self) -> list[str]:
        """The problems, without those whose text the test expects."""
        return [one for one in self.problems if not any(text in one for text in self.expected)]

    def be(self, name: str, page: Page | None = None) -> Page:
        """Choose who to be in the demo LMS, in a new tab unless one is given; ends on the course page."""
        page = page or self.context.new_page()
        page.goto(f"{self.stack.lms_url}/people/")
        page.get_by_role("button", name=f"Continue as {name}").click()
        page.wait_for_url("**/course/")
        return page

    def open_link(self, page: Page, title: str) -> FrameLocator:
        """Click a link of the course page that opens in a frame; its frame."""
        page.get_by_role("link", name=title, exact=True).click()
        page.wait_for_url("**/links/**")
        return page.frame_locator("iframe.tool")


def tool_frame(page: Page) -> Frame:
    """The frame of the tool as a frame, to run scripts in."""
    frame = page.frame(name="tool")
    if frame is None:
        raise AssertionError("there is no tool frame")
    return frame


@contextmanager
def open_browser(
    playwright: Playwright,
    stack: Stack,
    profile: Path,
    cookies: Cookies = "allowed",
    *,
    frames_together: bool = False,
    **options: object,
) -> Iterator[Browser]:
    """A Chromium whose profile lies in this folder.

    With `frames_together` frames of other sites share their page's process: where the LMS and the platform change
    places in a frame quickly, Playwright at times loses the frame that Chromium shows. What cookies and messages may
    do is the same; fields in such frames, though, now and then count as hidden.
    """
    (profile / "Default").mkdir(parents=True, exist_ok=True)
    (profile / "Default" / "Preferences").write_text(json.dumps(preferences(cookies, stack)), encoding="utf-8")
    context = playwright.chromium.launch_persistent_context(
        profile,
        executable_path=executable(),
        args=["--no-sandbox", *(["--disable-site-isolation-trials"] if frames_together else [])],
        **{"viewport": {"width": 1280, "height": 900}, **options},  # type: ignore[arg-type]
    )
    try:
        yield Browser(context, stack)
    finally:
        context.close()
