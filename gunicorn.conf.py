"""gunicorn's settings, read by `gunicorn lti_platform.wsgi` in this folder. WEB_CONCURRENCY, WEB_THREADS, BIND and PORT
change them; so do GUNICORN_CMD_ARGS and the command line."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from lti_platform.logging import logging_config

bind = os.environ.get("BIND") or f"0.0.0.0:{os.environ.get('PORT', '8000')}"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
worker_class = "gthread"
threads = int(os.environ.get("WEB_THREADS", "4"))
timeout = 60
graceful_timeout = 30
# Longer than proxies and browsers keep a connection: who closes first must not be us, just when a launch is posted.
keepalive = 75
max_requests = 20_000
max_requests_jitter = 2_000
# Only our own middleware believes forwarded headers, and only from TRUSTED_PROXIES.
forwarded_allow_ips = ""
# A launch is up to 256 KiB of body, but never of request line.
limit_request_line = 8190
control_socket_disable = True

# The application writes one `request` line each, with ids. Whoever turns gunicorn's own access log on gets no query
# strings, no referrers and no headers either: launches and tickets would be in them.
access_log_format = "%(h)s %(m)s %(U)s %(s)s %(B)s %(D)s"
logger_class = "lti_platform.web_server_log.WebServerLog"
logconfig_dict = logging_config(os.environ.get("LOG_FORMAT") or "json", os.environ.get("LOG_LEVEL", "INFO"))

_made_here = "PROMETHEUS_MULTIPROC_DIR" not in os.environ
if _made_here:
    # Before the application is imported: prometheus_client decides at import how it keeps its figures.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="lti-platform-metrics-")
_master = os.getpid()


def on_starting(server: Any) -> None:
    folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    folder.mkdir(parents=True, exist_ok=True)
    for left_over in folder.glob("*.db"):
        left_over.unlink()


def child_exit(server: Any, worker: Any) -> None:
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)


def on_exit(server: Any) -> None:
    if _made_here and os.getpid() == _master:
        shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
