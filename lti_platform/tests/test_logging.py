"""What is written to the logs, and what never is."""

import json
import logging
from collections.abc import Callable, Iterator
from io import StringIO

import pytest
import structlog
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import path

from lti_platform.logging import logging_config, redact_sentry_event
from lti_platform.observation import ObservationMiddleware

Lines = Callable[[], list[dict[str, object]]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """The JSON lines written since, through the very formatter of production."""
    config = logging_config("json", "INFO")["formatters"]["structured"]
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=config["processors"], foreign_pre_chain=config["foreign_pre_chain"]
    )
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.removeHandler(handler)
    root.setLevel(level)


def test_a_line_carries_its_context(lines: Lines) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r1", launch="l1", organization="o1", task_id="t1"):
        structlog.get_logger("launches").info("launch_accepted", role="student")
        logging.getLogger("some.library").warning("A text of %s", "theirs")

    ours, theirs = lines()
    for line in (ours, theirs):
        assert (line["request_id"], line["launch"], line["organization"], line["task_id"]) == ("r1", "l1", "o1", "t1")
        assert str(line["timestamp"]).endswith("Z")
    assert (ours["event"], ours["level"], ours["logger"]) == ("launch_accepted", "info", "launches")
    assert theirs["event"] == "A text of theirs"


@pytest.mark.parametrize(
    "fields",
    [
        {"shared_secret": "hunter2hunter2"},
        {"api_token": "hunter2hunter2"},
        {"details": {"result_sourcedid": "hunter2hunter2"}},
        {"details": [{"Authorization": "hunter2hunter2"}]},
        {"text": "oauth_signature=hunter2hunter2&x=1"},
        {"text": "posted lis_result_sourcedid: hunter2hunter2, and more"},
        {"text": 'password="hunter2hunter2"'},
    ],
)
def test_secrets_are_not_written(lines: Lines, fields: dict[str, object]) -> None:
    structlog.get_logger("x").warning("something", **fields)

    (line,) = lines()
    assert "hunter2" not in json.dumps(line)
    assert "[redacted]" in json.dumps(line)


def test_addresses_are_not_written_even_in_tracebacks(lines: Lines) -> None:
    try:
        raise ValueError("Key (email)=(ada@university.example) already exists.")
    except ValueError:
        structlog.get_logger("x").exception("it_broke")

    (line,) = lines()
    assert "ValueError" in str(line["exception"])
    assert "ada@" not in json.dumps(line)


def test_the_web_server_writes_no_queries(lines: Lines) -> None:
    logging.config.dictConfig({**logging_config("json", "INFO"), "root": {}, "handlers": {}})
    logging.getLogger("gunicorn.error").error("Error handling request %s %s", "GET", "/launches/x/enter?ticket=abc")

    (line,) = lines()
    assert "ticket" not in str(line["event"])
    assert "/launches/x/enter" in str(line["event"])


def test_sentry_gets_no_requests_and_no_variables() -> None:
    event = {
        "request": {"data": "oauth_signature=abc"},
        "user": {"email": "ada@university.example"},
        "exception": {
            "values": [
                {"value": "no grade for ada@university.example", "stacktrace": {"frames": [{"vars": {"secret": "s"}}]}}
            ]
        },
    }

    sent = json.dumps(redact_sentry_event(event, None))

    assert "abc" not in sent
    assert "ada@" not in sent
    assert "vars" not in sent


# One line for each request.


def crash(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("broken")


urlpatterns = [
    path("launches/<uuid:launch_id>/", lambda request, launch_id: HttpResponse("ok"), name="launch"),
    path("invited/<str:invite>/", lambda request, invite: HttpResponse("ok"), name="invited"),
    path("crash", crash, name="crash"),
]

LAUNCH = "01934567-89ab-7cde-8f01-23456789abcd"


@pytest.fixture
def client(settings: object) -> Client:
    settings.ROOT_URLCONF = __name__  # type: ignore[attr-defined]
    return Client(raise_request_exception=False)


def requests_in(lines: Lines) -> list[dict[str, object]]:
    return [line for line in lines() if line["event"] == "request"]


def test_a_request_is_one_line_without_its_query(client: Client, lines: Lines) -> None:
    response = client.get(
        f"/launches/{LAUNCH}/?ticket=opensesame", headers={"referer": "https://lms.example/?sesskey=1"}
    )

    (line,) = requests_in(lines)
    assert (line["method"], line["path"], line["view"], line["status"]) == (
        "GET",
        f"/launches/{LAUNCH}/",
        "launch",
        200,
    )
    assert line["launch"] == LAUNCH
    assert line["request_id"] == response["X-Request-ID"]
    assert "opensesame" not in json.dumps(line)
    assert "sesskey" not in json.dumps(line)


def test_parts_of_a_path_that_let_somebody_in_are_left_out(client: Client, lines: Lines) -> None:
    client.get("/invited/opensesame/")

    (line,) = requests_in(lines)
    assert line["path"] == "/invited/[redacted]/"


def test_ids_differ_between_requests_and_do_not_stay(client: Client, lines: Lines) -> None:
    first, second = client.get("/invited/a/"), client.get("/invited/b/")

    assert first["X-Request-ID"] != second["X-Request-ID"]
    assert structlog.contextvars.get_contextvars() == {}


def test_a_crash_is_logged_with_the_id_that_the_person_sees(
    client: Client, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    response = client.get("/crash")

    assert response.status_code == 500
    written = [line for line in lines() if line.get("request_id") == response["X-Request-ID"]]
    assert any("RuntimeError: broken" in str(line.get("exception")) for line in written)
    (line,) = requests_in(lines)
    assert (line["level"], line["status"]) == ("error", 500)


def test_an_id_from_outside_is_not_taken_over() -> None:
    middleware = ObservationMiddleware(lambda request: HttpResponse())
    request = RequestFactory().get("/", headers={"x-request-id": "chosen\nby somebody"})
    request.resolver_match = None

    assert "chosen" not in middleware(request)["X-Request-ID"]
