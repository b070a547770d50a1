"""Why a launch was refused: one code for the person in front, the details for the owner's launch log."""

from __future__ import annotations

from enum import StrEnum

from lti.redaction import redact
from lti.texts import single_line, truncated

_DETAIL_LIMIT = 500


class LaunchErrorCode(StrEnum):
    """The codes of refused launches; each stands for one HTTP status."""

    MISSING_PARAMETER = "missing_parameter"
    UNSUPPORTED_MESSAGE = "unsupported_message"
    MALFORMED = "malformed"
    PLATFORM_ERROR = "platform_error"
    AUTHENTICATION_FAILED = "authentication_failed"
    TIMESTAMP_EXPIRED = "timestamp_expired"
    NONCE_REUSED = "nonce_reused"
    INVALID_TOKEN = "invalid_token"  # noqa: S105 (a code, no secret)
    STATE_MISMATCH = "state_mismatch"
    INSTALLATION_DISABLED = "installation_disabled"
    DEPLOYMENT_PENDING = "deployment_pending"
    LTI_DISABLED = "lti_disabled"
    ROLE_NOT_ALLOWED = "role_not_allowed"
    UNKNOWN_DESTINATION = "unknown_destination"
    LINK_NOT_SET_UP = "link_not_set_up"
    COURSE_NOT_READY = "course_not_ready"
    ALREADY_ANSWERED = "already_answered"
    TOO_MANY_REQUESTS = "too_many_requests"
    PLATFORM_UNREACHABLE = "platform_unreachable"

    @property
    def status(self) -> int:
        """The HTTP status of the answer (contract §3); malformed requests may name a more exact one."""
        return _STATUS[self]


_STATUS = {
    LaunchErrorCode.MISSING_PARAMETER: 400,
    LaunchErrorCode.UNSUPPORTED_MESSAGE: 400,
    LaunchErrorCode.MALFORMED: 400,
    LaunchErrorCode.PLATFORM_ERROR: 400,
    LaunchErrorCode.AUTHENTICATION_FAILED: 401,
    LaunchErrorCode.TIMESTAMP_EXPIRED: 401,
    LaunchErrorCode.NONCE_REUSED: 401,
    LaunchErrorCode.INVALID_TOKEN: 401,
    LaunchErrorCode.STATE_MISMATCH: 401,
    LaunchErrorCode.INSTALLATION_DISABLED: 403,
    LaunchErrorCode.DEPLOYMENT_PENDING: 403,
    LaunchErrorCode.LTI_DISABLED: 403,
    LaunchErrorCode.ROLE_NOT_ALLOWED: 403,
    LaunchErrorCode.UNKNOWN_DESTINATION: 404,
    LaunchErrorCode.LINK_NOT_SET_UP: 409,
    LaunchErrorCode.COURSE_NOT_READY: 409,
    LaunchErrorCode.ALREADY_ANSWERED: 409,
    LaunchErrorCode.TOO_MANY_REQUESTS: 429,
    LaunchErrorCode.PLATFORM_UNREACHABLE: 502,
}


class LaunchError(Exception):
    """A refused launch.

    ``str()`` of it is the code alone, so that an unknown key and a wrong secret look the same outside (A18);
    the attributes are for the owner's launch log (A20):

    - ``check``: which check failed, one phrase
    - ``expected``, ``received``: what was wanted and what came, redacted, one line, at most 500 characters
    - ``cause``: the likely cause in plain words
    - ``status``: the HTTP status of the answer
    """

    def __init__(
        self,
        code: LaunchErrorCode,
        check: str,
        *,
        expected: str = "",
        received: str = "",
        cause: str = "",
        status: int | None = None,
    ) -> None:
        super().__init__(code.value)
        self.code = code
        self.check = check
        self.expected = _detail(expected)
        self.received = _detail(received)
        self.cause = cause
        self.status = code.status if status is None else status


def _detail(text: str) -> str:
    # Cut before redacting too: what came may be 256 KiB long.
    return truncated(single_line(redact(text[: 4 * _DETAIL_LIMIT])), _DETAIL_LIMIT)
