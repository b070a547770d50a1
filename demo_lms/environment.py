"""Where this demo LMS is and what it keeps, as `demo_lms.run` says in the environment."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent


def own_url() -> str:
    """Scheme, host and port, without a slash at the end."""
    return os.environ.get("DEMO_LMS_URL", "http://127.0.0.1:8001").rstrip("/")


def var_dir() -> Path:
    return Path(os.environ.get("VAR_DIR") or BASE_DIR / "var")


def course_file() -> Path:
    """Course, links and credentials, as `demo_lms.run` writes them."""
    return var_dir() / "demo_lms.json"


def database_file() -> Path:
    return var_dir() / "demo_lms.sqlite3"
