"""What gunicorn itself logs: as JSON like everything else, and never the query of a URL."""

from typing import Any

from gunicorn.glogging import Logger


class WebServerLog(Logger):  # type: ignore[misc]
    """gunicorn's logger, with its access log off unless asked for: the application's `request` lines say more."""

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: Any) -> None:
        if self.cfg.accesslog:
            super().access(resp, req, environ, request_time)
