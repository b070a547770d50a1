"""Takes the pictures of docs/images: starts the demo in a temporary folder, plays a small story in Chromium, and looks.

make screenshots
"""

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from playwright.sync_api import Page, expect, sync_playwright  # noqa: E402

from tests.browser.chromium import Browser, executable, open_browser  # noqa: E402
from tests.browser.stack import Stack, running_stack  # noqa: E402
from tests.browser.walks import grade_in_table, release_in_table, sign_in, submit, write_draft  # noqa: E402

IMAGES = ROOT / "docs" / "images"
NOTES = "Notes on the Analytical Engine"
ANSWER = """It could weave algebraic patterns as a loom weaves flowers and leaves: the same wheels did another \
calculation as soon as they were given other cards.

A loop is more than a short way of writing, because nobody has to know beforehand how often it runs."""


def take(page: Page, name: str) -> None:
    """Save what the page shows as docs/images/<name>.png."""
    page.wait_for_load_state("networkidle")
    # A page behind another window shows what its frames had when it was last seen.
    page.bring_to_front()
    page.wait_for_timeout(500)
    page.mouse.move(0, 0)
    page.screenshot(path=IMAGES / f"{name}.png", animations="disabled")
    sys.stdout.write(f"docs/images/{name}.png\n")


def play(browser: Browser, stack: Stack) -> None:
    """Two students work, a teacher grades one of them, a launch goes wrong, the owner looks."""
    for name, text in (("Grace", "A first look at the notes."), ("Ada", ANSWER)):
        page = browser.be(name)
        frame = browser.open_link(page, NOTES)
        write_draft(frame, text)
        if name == "Ada":
            take(page, "student-assignment")
        submit(frame)

    page = browser.be("Alan")
    frame = browser.open_link(page, NOTES)
    grade_in_table(frame, "Ada Lovelace", "9.5", "Wonderful, and about a century early.")
    release_in_table(frame, "Ada Lovelace")
    stack.wait_for_grade("ada", "notes", 0.95)
    page.reload()
    expect(frame.get_by_role("rowheader", name="Ada Lovelace")).to_be_visible()
    take(page, "teacher-table")
    frame.get_by_role("link", name="Gradebook", exact=True).click()
    expect(frame.get_by_role("rowheader", name="Ada Lovelace")).to_be_visible()
    take(page, "gradebook")
    frame.get_by_role("link", name="Live sessions").click()
    frame.get_by_role("link", name="Debugging together").first.click()
    with browser.context.expect_page() as opened:
        frame.get_by_role("button", name="Start the session").click()
    expect(frame.get_by_role("heading", name="Live since")).to_be_visible()
    expect(frame.get_by_text("1 person in the session")).to_be_visible(timeout=60_000)
    take(page, "live-session")
    opened.value.close()

    page.get_by_role("link", name="Gradebook").click()
    expect(page.locator("[data-cell='ada/notes']")).to_contain_text("9.5")
    take(page, "demo-lms-gradebook")

    stack.behave("wrong_secret", switch="launches", times=1)
    page = browser.be("Grace")
    frame = browser.open_link(page, NOTES)
    expect(frame.get_by_role("heading", name="What to do")).to_be_visible()
    take(page, "refused-launch")

    page = browser.context.new_page()
    sign_in(page, stack, "owner")
    page.set_viewport_size({"width": 1280, "height": 1000})
    page.goto(f"{stack.platform_url}/admin/")
    take(page, "admin-home")
    refused = stack.api("/launches?error=authentication_failed")["items"][0]
    page.goto(f"{stack.platform_url}/admin/launches/launch/{refused['id']}/change/")
    expect(page.get_by_text(refused["reference"]).first).to_be_visible()
    take(page, "admin-refused-launch")


def main() -> int:
    """Everything from the beginning, so that the pictures are the same whoever takes them."""
    if executable() is None:
        sys.stderr.write("No Chromium on this machine: install Debian's `chromium`, or name one in CHROMIUM.\n")
        return 1
    IMAGES.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        running_stack(Path(folder) / "var") as stack,
        sync_playwright() as playwright,
        open_browser(
            playwright,
            stack,
            Path(folder) / "profile",
            "third_party_blocked",
            locale="en-GB",
            device_scale_factor=1.5,
            color_scheme="light",
        ) as browser,
    ):
        play(browser, stack)
    return 0


if __name__ == "__main__":
    sys.exit(main())
