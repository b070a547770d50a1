"""The authorization endpoint: the tool asks who is there, and a browser posts it the answer (OpenID Connect Core §3.2).

It refuses what Moodle refuses (moodle.md 29), most of it as an answer to the tool.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from demo_lms import course as courses
from demo_lms import id_tokens, logins, manners, messages, signing_keys
from demo_lms.course import Course, RegisteredTool
from demo_lms.logins import Pair, PendingLaunch

_SECRET_CLAIMS = ("nonce",)


class NotAnswered(Exception):
    """What cannot be answered to the tool, since it is not known to be the tool; the text is for the person."""


class _Denied(Exception):
    """An answer with `error`."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(error)
        self.error, self.description = error, description


@dataclass(frozen=True)
class FormAnswer:
    """A form that the browser posts to the tool."""

    url: str
    pairs: tuple[Pair, ...]


def answer(given: Mapping[str, str], course: Course, session_person_id: str) -> FormAnswer:
    """The answer to an authorization request; `session_person_id` is "" where no session came along.

    Raises `NotAnswered`.
    """
    tool = course.active_tool(given.get("client_id", ""))
    if tool is None:
        raise NotAnswered("No active tool has this client id.")
    if given.get("redirect_uri", "") not in tool.redirect_uris:
        raise NotAnswered("The redirect URI is none that the tool registered.")
    launch = logins.pending(given.get("lti_message_hint", ""))
    if launch is None or launch.client_id != tool.client_id or (tool.preset.has_json_hint and launch.is_used):
        raise NotAnswered("This launch is not under way any more. Open the link in the course again.")
    state = [("state", given["state"])] if "state" in given else []
    try:
        pairs = [("id_token", _id_token(given, course, tool, launch, session_person_id)), *state]
    except _Denied as denied:
        pairs = [("error", denied.error), ("error_description", denied.description), *state]
        messages.remember("launch", "Login refused", _shown(given), f"{denied.error}: {denied.description}", "refused")
    return FormAnswer(given["redirect_uri"], tuple(pairs))


def _id_token(
    given: Mapping[str, str], course: Course, tool: RegisteredTool, launch: PendingLaunch, session_person_id: str
) -> str:
    wanted = {"scope": "openid", "response_type": "id_token", "response_mode": "form_post", "prompt": "none"}
    for name, value in wanted.items():
        if given.get(name) != value:
            error = {"scope": "invalid_scope", "response_type": "unsupported_response_type"}.get(name)
            raise _Denied(error or "invalid_request", f"{name} must be {value}")
    if not given.get("nonce"):
        raise _Denied("invalid_request", "there is no nonce")
    person = courses.person(launch.person_id)
    if person is None or given.get("login_hint") != person.id:
        raise _Denied("invalid_request", "the login hint is not that of this launch")
    if session_person_id not in ("", person.id):
        raise _Denied("login_required", "somebody else has been chosen meanwhile")
    manner = manners.take(manners.LAUNCHES)
    if manner.mode == "denied":
        raise _Denied("access_denied", "on purpose")
    claims = id_tokens.claims(launch, tool, course, person, given["nonce"], manner)
    logins.use(launch)
    link = course.link_by_id(launch.link_id)
    title = f"{person.name} opens {f'“{link.title}”' if link else 'the picker'}: {launch.message_type}"
    result = "sent" if manner.mode == "normal" else f"sent with a fault: {manner.mode.replace('_', ' ')}"
    messages.remember("launch", title, _shown_claims(given["redirect_uri"], claims), "", result)
    return signing_keys.sign(claims, as_somebody_else=manner.mode == "wrong_secret")


def _shown(given: Mapping[str, str]) -> str:
    secret = {"state", "nonce", "lti_message_hint"}
    return "\n".join(f"{name} = {'[redacted]' if name in secret else value}" for name, value in given.items())


def _shown_claims(url: str, claims: Mapping[str, Any]) -> str:
    shown = {name: "[redacted]" if name in _SECRET_CLAIMS else value for name, value in claims.items()}
    text = json.dumps(shown, indent=2, ensure_ascii=False)
    return messages.without_secrets(f"POST {url}\n\nid_token with the claims\n{text}")
