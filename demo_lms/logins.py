"""Logins that this LMS starts at a tool, remembered until the tool comes back (Security Framework §5.1.1.1)."""

import json
import secrets
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from django.conf import settings

from demo_lms import manners, messages, storage
from demo_lms.course import Container, Link, Person, RegisteredTool
from lti.v1p3 import vocabulary as names

LIFETIME = timedelta(minutes=10)
_HINT = "launch"

Pair = tuple[str, str]


@dataclass(frozen=True)
class PendingLaunch:
    """A launch between the login's start and the id_token. `id` is unguessable: it stands for the person's session.

    `for_user_id` is whose work is reviewed; `link_id` is "" while content is chosen.
    """

    id: str
    client_id: str
    person_id: str
    message_type: str
    target_link_uri: str
    link_id: str
    container: Container
    for_user_id: str = ""
    is_used: bool = False


@dataclass(frozen=True)
class Initiation:
    """What the browser sends to the tool's login URL, by `method`."""

    url: str
    method: str
    pairs: tuple[Pair, ...]


def start(
    tool: RegisteredTool,
    person: Person,
    *,
    title: str,
    message_type: str = names.RESOURCE_LINK_REQUEST,
    target_link_uri: str = "",
    link: Link | None = None,
    container: Container = "frame",
    for_user_id: str = "",
) -> Initiation:
    """Start a login for the person, in the manner of the LMS that is played, and remember it as a message."""
    launch = PendingLaunch(
        id=f"ltilaunch_{secrets.token_urlsafe(18)}",
        client_id=tool.client_id,
        person_id=person.id,
        message_type=message_type,
        target_link_uri=target_link_uri or (link.url if link else tool.target_link_uri),
        link_id=link.id if link else "",
        container=container,
        for_user_id=for_user_id,
    )
    with storage.transaction() as database:
        database.execute(
            "INSERT INTO pending_launch (id, made_at, document) VALUES (?, ?, ?)",
            (launch.id, datetime.now(UTC).isoformat(), json.dumps(asdict(launch))),
        )
        old = (datetime.now(UTC) - LIFETIME).isoformat()
        database.execute("DELETE FROM pending_launch WHERE made_at < ?", (old,))
    pairs = _pairs(tool, launch)
    method = "POST" if tool.preset.posts_initiation else "GET"
    lines = [f"{method} {tool.login_url}", ""] + [
        f"{name} = {value if name != 'lti_message_hint' else _shown(launch, value)}" for name, value in pairs
    ]
    messages.remember("launch", f"{person.name} opens {title}: login", "\n".join(lines), "", "login started")
    return Initiation(tool.login_url, method, tuple(pairs))


def _shown(launch: PendingLaunch, hint: str) -> str:
    return hint.replace(launch.id, "[redacted]") if launch.id in hint else "[redacted]"


def _pairs(tool: RegisteredTool, launch: PendingLaunch) -> list[Pair]:
    preset = tool.preset
    pairs = [
        ("iss", preset.issuer),
        ("target_link_uri", launch.target_link_uri),
        ("login_hint", launch.person_id),
        ("lti_message_hint", _hint(tool, launch)),
        ("client_id", tool.client_id),
        # Canvas's own name of it (D5).
        ("deployment_id" if preset.name == "canvas" else "lti_deployment_id", tool.deployment_id),
    ]
    if preset.name == "canvas":
        pairs += [("canvas_region", "not_configured"), ("canvas_environment", "prod")]
    if preset.storage_target and launch.container == "frame" and manners.current(manners.STORAGE).mode != "off":
        pairs.append(("lti_storage_target", preset.storage_target))
    return pairs


def _hint(tool: RegisteredTool, launch: PendingLaunch) -> str:
    if tool.preset.has_json_hint:
        # moodle.md 28.
        hint: dict[str, Any] = {"cmid": int(launch.link_id)} if launch.link_id else {}
        return json.dumps({**hint, "launchid": launch.id}, separators=(",", ":"))
    return jwt.encode({_HINT: launch.id}, settings.SECRET_KEY, algorithm="HS256")


def pending(message_hint: str) -> PendingLaunch | None:
    """The launch that a message hint stands for; None for a forged or an old one."""
    try:
        if message_hint.startswith("{"):
            launch_id = str(json.loads(message_hint)["launchid"])
        else:
            launch_id = str(jwt.decode(message_hint, settings.SECRET_KEY, algorithms=["HS256"])[_HINT])
    except (ValueError, KeyError, TypeError, jwt.PyJWTError):
        return None
    with storage.reading() as database:
        row = database.execute("SELECT * FROM pending_launch WHERE id = ?", (launch_id,)).fetchone()
    if row is None or datetime.now(UTC) - datetime.fromisoformat(row["made_at"]) > LIFETIME:
        return None
    return replace(PendingLaunch(**json.loads(row["document"])), is_used=row["used_at"] is not None)


def use(launch: PendingLaunch) -> None:
    """An id_token was made for this launch."""
    with storage.transaction() as database:
        database.execute(
            "UPDATE pending_launch SET used_at = ? WHERE id = ?", (datetime.now(UTC).isoformat(), launch.id)
        )
