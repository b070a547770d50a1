"""The room page of the sandbox meeting server: two browsers see each other, a recording, and the end."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect

from recordings.meeting_server import Attendee, RoomRequest
from recordings.models import new_room_id
from recordings.room_settings import RoomSettings
from tests.browser.test_pages import overflow, violations
from tests.meetings import Sandbox, eventually, running_sandbox

pytestmark = pytest.mark.usefixtures("loopback")

TEACHER = Attendee("teacher-1", "Grace Hopper", True)
STUDENT = Attendee("student-1", "Ada <b>Lovelace</b>", False)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as running:
        yield running


@pytest.fixture
def browser(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
    yield browser
    browser.close()


def open_page(browser: Browser, address: str, errors: list[str]) -> Page:
    page = browser.new_context(viewport={"width": 360, "height": 640}).new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    return page


def test_two_browsers_in_one_session(browser: Browser, sandbox: Sandbox) -> None:
    client, room_id, errors = sandbox.client, new_room_id(), list[str]()
    settings = RoomSettings(primary_color="#7c2d12", welcome_message="Please wait\nfor your turn.")
    client.create_room(RoomRequest(room_id, "Office hours", settings))
    teacher = open_page(browser, client.join_address(room_id, TEACHER, settings), errors)
    student = open_page(browser, client.join_address(room_id, STUDENT, settings), errors)
    for page in (teacher, student):
        expect(page.get_by_role("heading", name="Office hours")).to_be_visible()
        expect(page.get_by_role("listitem")).to_have_count(2)
        expect(page.get_by_text("Ada <b>Lovelace</b>")).to_be_visible()
        assert "access_token" not in page.url
        assert overflow(page) == 0
    assert violations(teacher) == []
    assert (
        teacher.evaluate("getComputedStyle(document.querySelector('header')).borderBottomColor") == "rgb(124, 45, 18)"
    )
    expect(student.get_by_role("button", name="Start recording")).to_be_hidden()
    teacher.get_by_role("button", name="Start recording").click()
    expect(student.get_by_text("● Recording")).to_be_visible()
    student.reload()
    expect(student.get_by_role("listitem")).to_have_count(2)
    student.close()
    expect(teacher.get_by_role("listitem")).to_have_count(1)
    teacher.on("dialog", lambda dialog: dialog.accept())
    teacher.get_by_role("button", name="End session for all").click()
    expect(teacher.get_by_role("alert")).to_contain_text("The session has ended")
    eventually(lambda: client.recordings([room_id]).items)
    assert errors == []


def test_a_recording_plays_in_the_browser(browser: Browser, sandbox: Sandbox) -> None:
    client, room_id = sandbox.client, new_room_id()
    client.create_room(RoomRequest(room_id, "Office hours", RoomSettings(auto_recording=True)))
    page = open_page(browser, client.join_address(room_id, TEACHER, RoomSettings()), [])
    expect(page.get_by_text("● Recording")).to_be_visible()
    client.end_room(room_id)
    expect(page.get_by_role("alert")).to_contain_text("not in this session any more")
    (recording,) = eventually(lambda: client.recordings([room_id]).items)
    page.set_content(f'<video src="{client.recording_address(recording.record_id)}"></video>')
    page.wait_for_function("document.querySelector('video').readyState >= 1")
    assert page.evaluate("document.querySelector('video').duration") == 2
