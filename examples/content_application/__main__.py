"""The application: a page for who is handed over, a button, and an address for webhooks.

    python -m examples.content_application

Everything is kept in memory, so that the file shows what matters; the environment says the rest (README.md).
"""

import os
import secrets
import sys
import threading
from dataclasses import dataclass, field
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from .platform_side import HandOff, HandOffRefused, HandOffs, ScoreNotTaken, Scores, WebhookRefused, Webhooks

LARGEST_BODY = 256 * 1024
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 2rem auto; padding: 0 1rem }}</style>
<main><h1>{title}</h1>
{content}
</main></html>
"""


@dataclass
class Work:
    """What somebody does here. `id` is opaque: who knows it goes on with this work, without any cookie."""

    hand_off: HandOff
    id: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    points: float | None = None
    # Of the report of these points: as long as they stay, every try to report them is the same request.
    key: str = ""
    is_reported: bool = False
    is_in_the_gradebook: bool = False


class Application:
    """The works that are under way, and the platform's side of them."""

    def __init__(self, hand_offs: HandOffs, scores: Scores, webhooks: Webhooks | None) -> None:
        self.hand_offs = hand_offs
        self.scores = scores
        self.webhooks = webhooks
        self._works: dict[str, Work] = {}
        self._lock = threading.Lock()

    def arrive(self, token: str) -> Work:
        """Somebody is handed over. Raises HandOffRefused."""
        work = Work(self.hand_offs.take(token))
        with self._lock:
            self._works[work.id] = work
        return work

    def find(self, work_id: str) -> Work | None:
        """The work with this id."""
        with self._lock:
            return self._works.get(work_id)

    def finish(self, work: Work, points: float) -> None:
        """Reports these points. Raises ScoreNotTaken; then nothing is lost, and the button may be pressed again."""
        with self._lock:
            if work.points != points:
                work.points, work.key, work.is_in_the_gradebook = points, str(uuid4()), False
            key = work.key
        self.scores.report(work.hand_off.scores_url, points, key)
        with self._lock:
            work.is_reported = True

    def hear(self, body: bytes, headers: dict[str, str]) -> None:
        """A webhook. Raises WebhookRefused."""
        if self.webhooks is None:
            raise WebhookRefused("No webhook secret is set.")
        event = self.webhooks.take(body, headers)
        if event is None or event["type"] != "grade.delivered":
            return
        about = event["data"]["data"]
        with self._lock:
            for work in self._works.values():
                if (work.hand_off.person_id, work.hand_off.assignment_id) == (
                    about.get("person"),
                    about.get("assignment"),
                ):
                    work.is_in_the_gradebook = True


def page_of(work: Work, problem: str = "") -> str:
    """The page of a work."""
    came = work.hand_off
    lines = [f"<p>Hello, <strong>{escape(came.name)}</strong>. This is {escape(came.course_title)}.</p>"]
    if problem:
        lines.append(f'<p role="alert"><strong>{escape(problem)}</strong></p>')
    if work.is_in_the_gradebook:
        lines.append('<p role="status">Your result is in the gradebook.</p>')
    elif work.is_reported:
        lines.append('<p role="status">Your result is on its way to the gradebook.</p>')
    hidden = f'<input type="hidden" name="work" value="{escape(work.id)}">'
    if not came.scores_url:
        lines.append("<p>You are looking at another person's work: nothing is reported.</p>")
    elif came.role == "student":
        shown = "8" if work.points is None else f"{work.points:g}"
        lines.append(
            f'<form method="post" action="/finish">{hidden}<label>Points <input type="number" name="points" min="0" '
            f'max="1000" step="any" value="{shown}" required></label> <button>Finish</button></form>'
        )
    else:
        lines.append("<p>Students see a button here by which they finish.</p>")
    if work.is_reported:
        lines.append(f'<form method="post" action="/look">{hidden}<button>Look again</button></form>')
    lines.append(f'<p><a href="{escape(came.return_url)}">Back to the course</a></p>')
    return PAGE.format(title=escape(came.assignment_title), content="\n".join(lines))


class Handler(BaseHTTPRequestHandler):
    """One request. Whatever is posted is small, and read whole."""

    application: Application
    timeout = 30

    def do_GET(self) -> None:
        """Explains, to whoever opens the address by hand."""
        if self._where() != "/":
            return self._problem(HTTPStatus.NOT_FOUND, "There is nothing here.")
        return self._problem(HTTPStatus.OK, "Open an assignment in your course: it leads here.")

    def do_POST(self) -> None:
        """`/` takes hand-offs, `/finish` and `/look` come from the page, `/webhook` from the platform."""
        body = self._body()
        if body is None:
            return None
        where = self._where()
        if where == "/webhook":
            return self._webhook(body)
        form = {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
        if where == "/":
            try:
                return self._page(page_of(self.application.arrive(form.get("token", ""))))
            except HandOffRefused as refused:
                return self._problem(HTTPStatus.FORBIDDEN, str(refused))
        work = self.application.find(form.get("work", ""))
        if work is None or where not in ("/finish", "/look"):
            return self._problem(HTTPStatus.NOT_FOUND, "This work is gone. Open it again from your course.")
        if where == "/look":
            return self._page(page_of(work))
        return self._finish(work, form.get("points", ""))

    def _where(self) -> str:
        return urlsplit(self.path).path

    def _finish(self, work: Work, text: str) -> None:
        if work.hand_off.role != "student" or not work.hand_off.scores_url:
            return self._problem(HTTPStatus.FORBIDDEN, "Only students finish their own work here.")
        try:
            points = float(text)
        except ValueError:
            points = -1
        if not 0 <= points <= 1000:
            return self._page(page_of(work, "Points are a number from 0 to 1000."), HTTPStatus.BAD_REQUEST)
        try:
            self.application.finish(work, points)
        except ScoreNotTaken as error:
            return self._page(page_of(work, f"{error} Press the button again."), HTTPStatus.BAD_GATEWAY)
        return self._page(page_of(work))

    def _webhook(self, body: bytes) -> None:
        try:
            self.application.hear(body, dict(self.headers.items()))
        except WebhookRefused as refused:
            return self._answer(HTTPStatus.UNAUTHORIZED, "text/plain", str(refused).encode())
        return self._answer(HTTPStatus.NO_CONTENT, "", b"")

    def _body(self) -> bytes | None:
        """None when it is refused, which has been answered."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            self._problem(HTTPStatus.LENGTH_REQUIRED, "Say how long the body is.")
            return None
        if int(length) > LARGEST_BODY:
            self.close_connection = True
            self._problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too large.")
            return None
        return self.rfile.read(int(length))

    def _problem(self, status: HTTPStatus, words: str) -> None:
        self._page(PAGE.format(title="Example content application", content=f"<p>{escape(words)}</p>"), status)

    def _page(self, html: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._answer(status, "text/html; charset=utf-8", html.encode())

    def _answer(self, status: HTTPStatus, content_type: str, content: bytes) -> None:
        self.send_response(status)
        if content_type:
            self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        # It is shown in the LMS's frame, so frame-ancestors is left to those who know which LMSs these are.
        policy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'"
        self.send_header("Content-Security-Policy", policy)
        self.end_headers()
        self.wfile.write(content)


def main() -> int:
    """Serves until it is stopped; says on standard output where."""
    missing = [name for name in ("PLATFORM_URL", "ORGANIZATION", "API_TOKEN") if not os.environ.get(name)]
    if missing:
        sys.stderr.write(f"Set {', '.join(missing)} in the environment (README.md says to what).\n")
        return 2
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8002"))), Handler)
    origin = os.environ.get("OWN_ORIGIN", "").rstrip("/") or f"http://127.0.0.1:{server.server_port}"
    secret = os.environ.get("WEBHOOK_SECRET", "")
    Handler.application = Application(
        HandOffs(os.environ["PLATFORM_URL"].rstrip("/"), os.environ["ORGANIZATION"], origin),
        Scores(os.environ["API_TOKEN"]),
        Webhooks(secret) if secret else None,
    )
    sys.stdout.write(f"Listening on {origin}\n")
    sys.stdout.flush()
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
