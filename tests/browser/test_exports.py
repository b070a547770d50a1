"""Files come out of the LMS's frame, and the page that offers them is accessible."""

from pathlib import Path

from playwright.sync_api import FrameLocator, Page, expect

from tests.browser.chromium import tool_frame
from tests.browser.conftest import OpenBrowser
from tests.browser.test_pages import overflow, violations

NOTES = "Notes on the Analytical Engine"


def downloaded(page: Page, frame: FrameLocator, link: str) -> tuple[str, bytes]:
    with page.expect_download() as waiting:
        frame.get_by_role("link", name=link).click()
    download = waiting.value
    assert download.failure() is None, download.url
    return download.suggested_filename, Path(download.path()).read_bytes()


def test_files_come_out_of_the_frame(browse: OpenBrowser) -> None:
    """A link's `download` attribute would fetch the file without the frame's own cookie, and get a 404."""
    browser = browse("third_party_blocked")
    browser.open_link(browser.be("Grace"), NOTES)
    page = browser.be("Alan")
    frame = browser.open_link(page, NOTES)
    name, content = downloaded(page, frame, "CSV")
    assert name.endswith(".csv")
    assert content.startswith(b"\xef\xbb\xbf")
    frame.get_by_role("link", name="Exports").click()
    expect(frame.get_by_role("heading", name="Exports", exact=True)).to_be_visible()
    assert violations(tool_frame(page)) == []
    assert overflow(tool_frame(page)) == 0
    assert downloaded(page, frame, "Download Common Cartridge 1.1")[1].startswith(b"PK")
    name, content = downloaded(page, frame, "Download Assignment URLs")
    assert name == "cs101-assignment-urls.csv"
    assert b"/lti/assignments/" in content
