"""`python -m demo_lms.meetings`: the sandbox meeting server, until it is told to stop.

    SANDBOX_MEETINGS_KEY=… SANDBOX_MEETINGS_SECRET=… python -m demo_lms.meetings --port 8002 --keep var/meetings.sqlite3

Key and secret come from the environment, since arguments can be read by everybody on the machine.
"""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from demo_lms.meetings.archive import Archive
from demo_lms.meetings.notifying import Notifier
from demo_lms.meetings.server import MeetingServer
from demo_lms.meetings.sessions import Sessions

SHORTEST_SECRET = 16


def read_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="demo_lms.meetings", description="A sandbox meeting server.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8002, help="0: any that is free; it is printed")
    parser.add_argument("--socket", type=int, help="the number of an inherited socket that listens, instead of a port")
    parser.add_argument("--keep", type=Path, help="the SQLite file of past sessions and recordings; none: in memory")
    parser.add_argument("--webhook-url", default="", help="told of every room, beside the URL that each room names")
    parser.add_argument(
        "--before-2.3", dest="is_old", action="store_true", help="behave as plugNmeet did before v2.3.0"
    )
    parser.add_argument("--recording-delay", type=float, default=1.0, help="seconds until a recording is ready")
    parser.add_argument("--analytics-delay", type=float, default=2.0, help="seconds until attendance is written down")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    given = read_arguments(arguments)
    key, secret = os.environ.get("SANDBOX_MEETINGS_KEY", ""), os.environ.get("SANDBOX_MEETINGS_SECRET", "")
    if not key or len(secret) < SHORTEST_SECRET:
        sys.stderr.write(
            f"Set SANDBOX_MEETINGS_KEY, and SANDBOX_MEETINGS_SECRET to at least {SHORTEST_SECRET} characters.\n"
        )
        return 2
    notifier = Notifier(key, secret, given.webhook_url, old_content_type=given.is_old)
    sessions = Sessions(
        Archive(given.keep),
        notifier,
        recording_delay=given.recording_delay,
        analytics_delay=given.analytics_delay,
    )
    server = MeetingServer(
        (given.host, given.port), key, secret, sessions, follows_false=given.is_old, inherited=given.socket
    )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    sys.stdout.write(f"http://{given.host}:{server.server_port}\n")
    sys.stdout.flush()
    stop.wait()
    server.shutdown()
    server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
