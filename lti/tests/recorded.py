"""The recorded and collected messages in data/ (where each comes from is said in the files)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from lti.v1p1.launch import LaunchRequest
from lti.v1p1.oauth1 import Pair, sign_form

DATA = Path(__file__).parent / "data"
URL = "https://tool.example.org/lti/launch"
KEY, SECRET, NOW = "tenant-key-1", "s&cr t/é", 1_700_000_000
FORM = "application/x-www-form-urlencoded"


def load(name: str) -> Any:
    return json.loads((DATA / name).read_text(encoding="utf-8"))


def posted(pairs: Iterable[Pair], url: str = URL, **kwargs: Any) -> LaunchRequest:
    return LaunchRequest(url=url, body=urlencode(list(pairs)).encode(), content_type=FORM, method="POST", **kwargs)


def unsigned(params: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in params.items() if not name.startswith("oauth_")}


def launch(url: str = URL, secret: str = SECRET, key: str = KEY, **params: str) -> list[Pair]:
    base = {
        "lti_message_type": "basic-lti-launch-request",
        "lti_version": "LTI-1p0",
        "resource_link_id": "rl-1",
        "user_id": "u-1",
        **params,
    }
    return sign_form(url, {k: v for k, v in base.items() if v is not None}, key, secret, timestamp=NOW)
