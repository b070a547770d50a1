"""The tools' public keys, read from their key set URLs; and what tools sign, verified with them."""

import threading
from collections.abc import Mapping
from typing import Any

import jwt
import requests

from demo_lms.course import RegisteredTool
from lti.v1p3.key_sets import SIZE_LIMIT, KeySet, KeySetUnreadable, parse_key_set

TIMEOUT_SECONDS = 10
USER_AGENT = "demo-lms/1.0"

_known: dict[str, KeySet] = {}
_guard = threading.Lock()


class NotGenuine(Exception):
    """What was signed is not the tool's; the text says why."""


def _read(url: str) -> KeySet:
    try:
        answer = requests.get(url, timeout=TIMEOUT_SECONDS, headers={"User-Agent": USER_AGENT}, allow_redirects=False)
        answer.raise_for_status()
        found = parse_key_set(answer.content[: SIZE_LIMIT + 1])
    except requests.RequestException as error:
        raise NotGenuine(f"the tool's key set cannot be read ({type(error).__name__})") from None
    except KeySetUnreadable as error:
        raise NotGenuine(f"the tool's key set cannot be read: {error.reason}") from None
    with _guard:
        _known[url] = found
    return found


def verified(token: str, tool: RegisteredTool, **expected: Any) -> Mapping[str, Any]:
    """The claims of a JWT of this tool; `expected` are arguments of `jwt.decode` such as audience and issuer.

    A key that is not known yet, or no longer fits, is looked for once more (moodle.md 6). Raises `NotGenuine`.
    """
    try:
        key_id = str(jwt.get_unverified_header(token).get("kid", ""))
    except jwt.PyJWTError:
        raise NotGenuine("it is no JWT") from None
    if not key_id:
        raise NotGenuine("its header names no key (kid)")
    remembered = _known.get(tool.jwks_url)
    for key_set in ([remembered] if remembered else []) + [None]:
        for key in (key_set or _read(tool.jwks_url)).find(key_id):
            try:
                claims: Mapping[str, Any] = jwt.decode(token, key, algorithms=["RS256"], **expected)
            except jwt.InvalidSignatureError:
                continue
            except jwt.PyJWTError as error:
                raise NotGenuine(str(error)) from None
            return claims
    raise NotGenuine("it was signed with a key that is not in the tool's key set")
