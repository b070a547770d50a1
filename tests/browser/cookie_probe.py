"""Shows what a browser does to cookies of another site in a frame, independently of the platform."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from tests.browser.chromium import Browser


class _Handler(BaseHTTPRequestHandler):
    server: ThreadingHTTPServer

    def do_GET(self) -> None:
        port = self.server.server_port
        if self.path == "/outside":
            self._answer(f'<!doctype html><title>outside</title><iframe src="http://localhost:{port}/set"></iframe>')
        elif self.path == "/set":
            attributes = "Path=/; Secure; HttpOnly; SameSite=None"
            self.send_response(302)
            self.send_header("Location", "/read")
            self.send_header("Set-Cookie", f"ordinary=1; {attributes}")
            self.send_header("Set-Cookie", f"partitioned=1; {attributes}; Partitioned")
            self.end_headers()
        elif self.path == "/read":
            self._answer(f"<!doctype html><title>inside</title><p id=cookies>{self.headers.get('Cookie', '')}</p>")
        else:
            self.send_response(204)
            self.end_headers()

    def _answer(self, html: str) -> None:
        body = html.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


class CookieProbe:
    """A page at 127.0.0.1 with a frame of localhost, the two sites that the demo LMS and the platform are."""

    def __enter__(self) -> "CookieProbe":
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.server.shutdown()
        self.server.server_close()

    def cookies_kept_in_frame(self, browser: Browser) -> set[str]:
        """Names of the cookies that came back within the frame: of `ordinary` and `partitioned`."""
        page = browser.context.new_page()
        page.goto(f"http://127.0.0.1:{self.server.server_port}/outside")
        text = page.frame_locator("iframe").locator("#cookies").inner_text()
        page.close()
        return {item.strip().partition("=")[0] for item in text.split(";") if item.strip()}
