"""Webhooks as plugNmeet sends them: signed when they are sent, in order for each room, two retries, none kept."""

import base64
import hashlib
import json
import queue
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
import requests

RETRIES = 2
FIRST_WAIT_SECONDS = 0.5
TOKEN_SECONDS = 300
IDLE_SECONDS = 60


def webhook_token(key: str, secret: str, body: bytes) -> str:
    """The token that vouches for these very bytes, for five minutes."""
    now = int(time.time())
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    return jwt.encode({"iss": key, "nbf": now, "exp": now + TOKEN_SECONDS, "sha256": digest}, secret, "HS256")


@dataclass
class Notifier:
    """Tells URLs what happens. `url` is told of every room, and each room may name one more.

    The content type is that of servers since v2.4.0, or with `old_content_type` that of those before.
    """

    key: str
    secret: str = field(repr=False)
    url: str = ""
    old_content_type: bool = False
    _queues: dict[str, "queue.Queue[tuple[str, bytes]]"] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def tell(self, room_id: str, room_url: str, event: str, content: Mapping[str, Any]) -> None:
        """Queues an event for the room's URLs. Fields that are unset are left out, and times are strings."""
        payload = {"event": event, "id": str(uuid.uuid4()), "created_at": str(int(time.time())), **content}
        body = json.dumps(payload, ensure_ascii=False).encode()
        with self._lock:
            for url in dict.fromkeys(filter(None, (self.url, room_url))):
                if room_id not in self._queues:
                    self._queues[room_id] = queue.Queue()
                    threading.Thread(target=self._work, args=(room_id,), daemon=True).start()
                self._queues[room_id].put((url, body))

    def _work(self, room_id: str) -> None:
        waiting = self._queues[room_id]
        while True:
            try:
                url, body = waiting.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                with self._lock:
                    if waiting.empty():
                        del self._queues[room_id]
                        return
                continue
            self._send(url, body)

    def _send(self, url: str, body: bytes) -> None:
        token = webhook_token(self.key, self.secret, body)
        headers = {
            "Content-Type": "application/webhook+json" if self.old_content_type else "application/json",
            "Authorization": token,
            "Hash-Token": token,
        }
        wait = FIRST_WAIT_SECONDS
        for attempt in range(1 + RETRIES):
            if attempt:
                time.sleep(wait)
                wait *= 2
            try:
                answer = requests.post(url, data=body, headers=headers, timeout=10, allow_redirects=False)
            except requests.RequestException:
                continue
            if answer.status_code != 429 and answer.status_code < 500:
                return
