"""One picker answered in several windows at the same moment, on the stack that DATABASE_URL names."""

import http.client
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import urlencode

import lxml.html
import pytest

from launches.browser import COOKIE
from lti.v1p1.oauth1 import sign_form
from tests.choosing import CONTENT_ITEM
from tests.stack import Stack, running_stack

pytestmark = [pytest.mark.stack, pytest.mark.xdist_group("parallel")]

KEY, SECRET = "picker-key", "picker-secret-long-enough"
DOCUMENT = {
    "organizations": [
        {
            "slug": "acme",
            "installations": [{"name": "Moodle", "keys": [{"consumer_key": KEY, "shared_secret": SECRET}]}],
            "courses": [
                {
                    "code": "cs101",
                    "name": "Introduction",
                    "assignments": [{"slug": "hello", "title": "Hello", "kind": "page"}],
                }
            ],
        }
    ]
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with running_stack(tmp_path_factory.mktemp("selections")) as running:
        running.answer = running.provision(DOCUMENT)
        running.start_web()
        yield running


@dataclass(frozen=True)
class Answered:
    status: int
    headers: Message
    body: str


def ask(stack: Stack, method: str, path: str, pairs: list[tuple[str, str]], cookie: str = "") -> Answered:
    """One request over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=60)
    headers = {"Content-Type": "application/x-www-form-urlencoded"} | ({"Cookie": cookie} if cookie else {})
    try:
        connection.request(method, path, urlencode(pairs), headers)
        response = connection.getresponse()
        return Answered(response.status, response.headers, response.read().decode())
    finally:
        connection.close()


def token_in(body: str) -> str:
    page: Any = lxml.html.fromstring(body)
    return str(page.get_element_by_id("selection").fields["launch_token"])


def test_two_answers_at_once_are_one(stack):
    (assignment,) = stack.answer["organizations"][0]["courses"][0]["assignments"]
    for _ in range(3):
        opened = ask(stack, "POST", "/lti/v1", sign_form(f"{stack.url}/lti/v1", CONTENT_ITEM, KEY, SECRET))
        assert opened.status == 302
        page = opened.headers["Location"].partition("#")[0]
        cookie = next(one for one in opened.headers.get_all("Set-Cookie", []) if one.startswith(COOKIE)).split(";")[0]
        token = token_in(ask(stack, "GET", page, [], cookie).body)
        fields = [("item", assignment["id"]), ("launch_token", token)]
        with ThreadPoolExecutor(6) as pool:
            waiting = [pool.submit(ask, stack, "POST", f"{page}selection/insert", fields, cookie) for _ in range(6)]
            answers = [one.result() for one in waiting]
        found = Counter((one.status, one.headers.get("X-Launch-Error", "")) for one in answers)
        assert found == {(200, ""): 1, (409, "already_answered"): 5}
