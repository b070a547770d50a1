"""Calls to a platform's services: the right host, the right token, one fresh token after a 401 (J9, D35, D36).

``ags`` and ``nrps`` say what is called and read the answers; this sends it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, unquote_plus, urlencode, urljoin, urlsplit

from lti.outbound import OutboundFailed, OutboundRefused, OutboundResponse
from lti.redaction import redact
from lti.retry_after import retry_after
from lti.return_url import safe_http_url
from lti.texts import single_line, truncated
from lti.v1p1.outcomes import Judgement, OutcomeVerdict
from lti.v1p3.json_text import UnreadableJson, read_json
from lti.v1p3.sending import Sender

if TYPE_CHECKING:
    from lti.v1p3.tokens import AccessToken

ANSWER_LIMIT = 4 * 1024 * 1024
PAGE_LIMIT = 500
_DETAIL_LIMIT = 500

_RATE_LIMIT = re.compile(r"rate limit|too many requests|throttl", re.IGNORECASE)
_LINK = re.compile(r"<([^<>]*)>([^<]*)")
_REL = re.compile(r"""\brel\s*=\s*["']?([^"';,]*)""", re.IGNORECASE)


class ServiceFailed(Exception):
    """A call that brought no usable answer; ``judgement`` says why and whether to try again."""

    def __init__(self, judgement: Judgement) -> None:
        super().__init__(judgement.reason_code)
        self.judgement = judgement


@dataclass(frozen=True, slots=True)
class ServiceCall:
    """One request to a service; any one of ``scopes`` allows it. ``accept`` and ``content_type`` are exact types,
    since Moodle takes neither lists nor wildcards (moodle.md 36)."""

    method: str
    url: str
    scopes: tuple[str, ...]
    accept: str = ""
    content_type: str = ""
    body: bytes | None = field(default=None, repr=False)

    def headers(self, access_token: str) -> dict[str, str]:
        """The headers with this bearer token."""
        headers = {"Authorization": f"Bearer {access_token}"}
        if self.accept:
            headers["Accept"] = self.accept
        if self.content_type:
            headers["Content-Type"] = self.content_type
        return headers


class TokenSource(Protocol):
    """Gives access tokens of one registration; see ``lti.v1p3.tokens.RegistrationTokens``."""

    def get(self) -> AccessToken:
        """A token that is good now. Raises ``ServiceFailed``."""
        ...

    def forget(self, token: AccessToken) -> None:
        """This token was not accepted."""
        ...


class PlatformServices:
    """The services of one registration.

    ``is_allowed`` says whether tokens and grades may go to a URL's host (J9); it is asked before there is a token.
    """

    def __init__(self, sender: Sender, tokens: TokenSource, is_allowed: Callable[[str], bool]) -> None:
        self._sender, self._tokens, self._is_allowed = sender, tokens, is_allowed
        self._repeats = True

    def for_one_try(self, sender: Sender) -> PlatformServices:
        """The same services through ``sender``, for a caller that counts tries itself: after a 401 the token is
        forgotten, and nothing is called again."""
        services = PlatformServices(sender, self._tokens, self._is_allowed)
        services._repeats = False
        return services

    def send(self, call: ServiceCall) -> OutboundResponse:
        """The answer, whatever its status; after a 401 the call was made once more with a fresh token.

        Raises ``ServiceFailed`` when there was no answer, or the call may not be made.
        """
        if not safe_http_url(call.url) or not self._is_allowed(call.url):
            raise refused(
                "host_not_allowed",
                "This address is not one of the hosts that grades and rosters of this LMS may go to. The owner can "
                "allow it in the installation's settings.",
            )
        token = self._tokens.get()
        response = self._sent(call, token)
        if response.status != 401:
            return response
        self._tokens.forget(token)
        return self._sent(call, self._tokens.get()) if self._repeats else response

    def _sent(self, call: ServiceCall, token: AccessToken) -> OutboundResponse:
        if call.scopes and not token.scopes.intersection(call.scopes):
            raise refused(
                "scope_not_granted",
                f"The LMS did not allow this tool {' or '.join(call.scopes)}. Its administrator can allow it in the "
                "tool's settings.",
            )
        return send(self._sender, call.method, call.url, headers=call.headers(token.value), body=call.body)

    def read(self, call: ServiceCall) -> OutboundResponse:
        """The answer of a call that must succeed. Raises ``ServiceFailed`` for any status but 2xx."""
        response = self.send(call)
        judgement = judge(response.status, response.headers, response.body)
        if judgement.verdict is not OutcomeVerdict.DELIVERED:
            raise ServiceFailed(judgement)
        return response

    def pages(self, call: ServiceCall, page_limit: int = PAGE_LIMIT) -> Iterator[OutboundResponse]:
        """The answers of all pages, by ``Link: <…>; rel="next"`` (F4, G3).

        Raises ``ServiceFailed`` for a page that fails, comes again, lies on another host, or is one too many: what was
        read until then is not the whole.
        """
        seen = {call.url}
        while True:
            response = self.read(call)
            yield response
            following = next_url(response, call.url)
            if not following:
                return
            if following in seen or len(seen) >= page_limit:
                raise refused("endless_pages", "The LMS's list has no end: its pages lead in a circle, or too far.")
            seen.add(following)
            call = ServiceCall(call.method, following, call.scopes, call.accept, call.content_type, call.body)


def send(
    sender: Sender, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None = None
) -> OutboundResponse:
    """One request. Raises ``ServiceFailed`` when no whole answer came."""
    try:
        return sender.request(method, url, headers=headers, body=body)
    except OutboundFailed as error:
        raise ServiceFailed(
            Judgement(
                OutcomeVerdict.RETRY,
                "no_answer",
                "The LMS did not answer; it is tried again later.",
                detail=single_line(redact(error.reason)),
            )
        ) from None
    except OutboundRefused as error:
        raise refused("address_refused", f"The LMS's address may not be called: {error.reason}.") from None


def refused(reason_code: str, explanation: str, detail: str = "") -> ServiceFailed:
    """A failure that trying again does not mend."""
    return ServiceFailed(Judgement(OutcomeVerdict.REFUSED, reason_code, explanation, detail=detail))


def unreadable(what: str, response: OutboundResponse, reason: str) -> ServiceFailed:
    """An answer that is something else than what was asked for, such as a maintenance page; worth another try."""
    return ServiceFailed(
        Judgement(
            OutcomeVerdict.RETRY,
            "unreadable_answer",
            f"The LMS answered with something else than {what} (a login or error page); it is tried again.",
            detail=truncated(f"{reason}: {excerpt(response.body)}", _DETAIL_LIMIT),
        )
    )


def json_of(response: OutboundResponse, what: str) -> object:
    """The JSON of an answer. Raises ``ServiceFailed``."""
    if response.truncated:
        raise ServiceFailed(
            Judgement(
                OutcomeVerdict.RETRY, "answer_too_large", "The LMS's answer is larger than is read; it is tried again."
            )
        )
    try:
        return read_json(response.body, limit=ANSWER_LIMIT)
    except UnreadableJson as error:
        raise unreadable(what, response, error.reason) from None


# ---------------------------------------------------------------------------------------------------- judgement


def judge(status: int, headers: Mapping[str, str], body: bytes, *, now: datetime | None = None) -> Judgement:
    """What a service's answer means, by its status alone (F13); ``now`` is for a dated ``Retry-After``."""
    lowered = {name.lower(): value for name, value in headers.items()}
    wait = retry_after(lowered.get("retry-after", ""), now or datetime.now(UTC))
    detail = excerpt(body)
    if 200 <= status < 300:
        return Judgement(OutcomeVerdict.DELIVERED, "success", "The LMS took it.", None, detail)
    if status == 429 or (status == 403 and (wait is not None or _RATE_LIMIT.search(detail))):
        explanation = "The LMS gets too many requests at the moment; it is tried again later."
        return Judgement(OutcomeVerdict.RETRY, "rate_limited", explanation, wait, detail)
    if status >= 500 or status in {408, 425}:
        explanation = f"The LMS has a fault of its own (HTTP {status}); it is tried again later."
        return Judgement(OutcomeVerdict.RETRY, "server_error", explanation, wait, detail)
    if status == 401:
        explanation = "The LMS did not accept our access token, not even a fresh one: the tool is switched off there, "
        explanation += "or its keys or client id differ."
        return Judgement(OutcomeVerdict.UNAUTHORIZED, "unauthorized", explanation, None, detail)
    if 300 <= status < 400:
        explanation = "The service's address redirects elsewhere, and tokens are not redirected. The LMS's "
        explanation += "administrator should correct its public URL."
        return Judgement(OutcomeVerdict.REFUSED, "redirected", explanation, None, detail)
    reason, explanation = {
        403: ("forbidden", "The LMS forbids this. An administrator of the LMS can allow it in the tool's settings."),
        404: ("not_found", "The address no longer exists: the link or course was deleted in the LMS."),
        410: ("not_found", "The address no longer exists: the link or course was deleted in the LMS."),
    }.get(status, ("refused", f"The LMS refused it (HTTP {status})."))
    return Judgement(OutcomeVerdict.REFUSED, reason, explanation, None, detail)


def excerpt(body: bytes) -> str:
    """The beginning of an answer on one line, without tokens and addresses of people."""
    return truncated(single_line(redact(body[:4096].decode("utf-8", "replace"))), _DETAIL_LIMIT)


# ----------------------------------------------------------------------------------------------- URLs and paging


def below(url: str, segment: str) -> str:
    """The URL with a segment added to its path; the query stays behind it (F3, moodle.md 35)."""
    base, mark, query = url.partition("#")[0].partition("?")
    return f"{base.rstrip('/')}/{segment}{mark}{query}"


def with_query(url: str, parameters: Iterable[tuple[str, str]]) -> str:
    """The URL with these parameters in its query instead of others of the same names; empty ones are left out."""
    wanted = dict(parameters)
    base, _, query = url.partition("#")[0].partition("?")
    kept = [piece for piece in query.split("&") if piece and unquote_plus(piece.partition("=")[0]) not in wanted]
    added = [(name, value) for name, value in wanted.items() if value]
    pieces = [*kept, *([urlencode(added, quote_via=quote, safe="")] if added else [])]
    return f"{base}?{'&'.join(pieces)}" if pieces else base


def links(header: str) -> dict[str, str]:
    """The URLs of a ``Link`` header by relation (RFC 8288).

    Moodle writes curly quotes around relations and ``&amp;`` into URLs (moodle.md 40), and HTTP libraries read the
    quotes as Latin-1.
    """
    if len(header) > 64 * 1024:
        return {}
    try:
        header = header.encode("latin-1").decode("utf-8")
    except UnicodeError:
        header = str(header)
    for quotation_mark in "“”„‟":
        header = header.replace(quotation_mark, '"')
    found: dict[str, str] = {}
    for url, parameters in _LINK.findall(header):
        relation = _REL.search(parameters)
        for name in relation.group(1).lower().split() if relation else ():
            found.setdefault(name, url.strip().replace("&amp;", "&"))
    return found


def linked_url(response: OutboundResponse, url: str, relation: str) -> str:
    """The URL with this relation to the answer of ``url``, or ``""``. Raises ``ServiceFailed`` for another host's."""
    header = next((value for name, value in response.headers.items() if name.lower() == "link"), "")
    target = links(header).get(relation, "")
    if not target:
        return ""
    try:
        absolute = urljoin(url, target)
        same = _origin(absolute) == _origin(url)
    except ValueError:
        same = False
    if not same:
        raise refused("foreign_page", "The LMS's list goes on at another host, where our access token must not go.")
    return absolute


def next_url(response: OutboundResponse, url: str) -> str:
    """The URL of the next page, or ``""``. Raises ``ServiceFailed`` for one on another host."""
    return linked_url(response, url, "next")


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or {"https": 443, "http": 80}.get(parts.scheme)
