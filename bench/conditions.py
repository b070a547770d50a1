"""On what machine, with what, the figures were taken."""

import os
import platform
from pathlib import Path

import django
from django.db import connection


def print_conditions() -> None:
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    with connection.cursor() as cursor:
        settings = {}
        for name in ("server_version", "synchronous_commit", "fsync", "shared_buffers"):
            cursor.execute(f"SHOW {name}")
            settings[name] = cursor.fetchone()[0]
    print(f"{os.cpu_count()} cores ({model}), load {os.getloadavg()[0]:.1f} at the start")
    print(f"CPython {platform.python_version()}, Django {django.__version__}, PostgreSQL {settings}")
    print(f"Cache and broker: {'Redis' if os.environ.get('REDIS_URL') else 'embedded'}")


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text().splitlines() if file.exists() else []
