"""Several workers need a token at once: one of them asks for it, over processes too (D36)."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db import connection

from events.deliveries import deliver_due
from grades.tests.ags_platform import an_ags_place, another_student
from lti.tests.platform_1p3 import key, pem_of
from lti.v1p3 import vocabulary as names
from tests.loopback import Received, Reply, serve
from tests.stack import ROOT, free_port

ASK = """
import sys, django
django.setup()
from lti.v1p3.tokens import ToolClient, rs256_signer
from organizations.shared_cache import platform_tokens
url, scope = sys.argv[1:]
sign = rs256_signer(sys.stdin.read(), "k1")
print(platform_tokens().get(ToolClient("client-1", url), [scope], sign).value)
"""


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server")
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(10)


def test_two_processes_ask_for_one_token(redis):
    def answer(received: Received) -> Reply:
        time.sleep(3)  # the others come meanwhile
        grant = {"access_token": f"token-{len(server.received)}", "token_type": "Bearer", "expires_in": 3600}
        return Reply(200, json.dumps(grant).encode(), {"Content-Type": "application/json"})

    environment = {
        **os.environ,
        "DEBUG": "true",
        "REDIS_URL": redis,
        "OUTBOUND_ALLOW_HTTP": "true",
        "OUTBOUND_ALLOWED_PRIVATE_HOSTS": "127.0.0.1",
        "DJANGO_SETTINGS_MODULE": "lti_platform.settings",
        "PYTHONPATH": str(ROOT),
    }
    with serve(answer) as server, ThreadPoolExecutor(3) as pool:
        command = [sys.executable, "-c", ASK, f"{server.url}/token", names.SCOPE_SCORE]
        asking = [
            pool.submit(
                subprocess.run,
                command,
                env=environment,
                input=pem_of(key()),
                capture_output=True,
                text=True,
                timeout=60,
            )
            for _ in range(3)
        ]
        assert [done.result().stdout.strip() for done in asking] == ["token-1"] * 3
        assert len(server.received) == 1


@pytest.mark.django_db(transaction=True)
def test_two_workers_ask_for_one_token(platform):
    if connection.vendor == "sqlite":
        pytest.skip("the tests' SQLite is in memory, where writers do not wait for each other")
    platform.delay = 0.1
    place = an_ags_place(platform)
    for student in [place, *(another_student(place, f"student-{number}") for number in range(7))]:
        student.score()
    workers = [threading.Thread(target=_deliver_few) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    deliver_due()
    assert len(platform.columns["4"].grades) == 8
    assert len(platform.assertions) == 1


def _deliver_few() -> None:
    try:
        deliver_due(in_flight=4)
    finally:
        connection.close()
