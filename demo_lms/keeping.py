"""What `make demo` keeps between runs: secrets, made once, in a file that only its owner may read."""

import base64
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path


def _password() -> str:
    return "-".join(secrets.token_hex(2) for _ in range(3))


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


MAKERS: Mapping[str, Callable[[], str]] = {
    "SECRET_KEY": lambda: secrets.token_urlsafe(50),
    "FIELD_ENCRYPTION_KEYS": _fernet_key,
    "DEMO_LMS_SECRET_KEY": lambda: secrets.token_urlsafe(50),
    "DEMO_SHARED_SECRET": lambda: secrets.token_urlsafe(32),
    "DEMO_API_TOKEN": lambda: secrets.token_urlsafe(32),
    "DEMO_MEETINGS_SECRET": lambda: secrets.token_urlsafe(32),
    "DEMO_OWNER_PASSWORD": _password,
    "DEMO_TEACHER_PASSWORD": _password,
    "DEMO_OPERATOR_PASSWORD": _password,
}


def write_private(path: Path, text: str) -> None:
    """Write a file that nobody else may read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


def keep_secrets(path: Path) -> dict[str, str]:
    """The secrets in the file, with those made that it does not have yet."""
    kept: dict[str, str] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            name, separator, value = line.partition("=")
            if separator and not line.startswith("#"):
                kept[name.strip()] = value.strip()
    missing = [name for name in MAKERS if not kept.get(name)]
    if missing:
        kept |= {name: MAKERS[name]() for name in missing}
        lines = ["# Made by `make demo`. Without it, the data of the demo beside it cannot be read any more."]
        write_private(path, "\n".join(lines + [f"{name}={value}" for name, value in kept.items()]) + "\n")
    return kept
