"""A refused launch: counted, logged for the owner, and answered with a page (design §2 promise 1, §5)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from django.conf import settings
from django.core.cache import cache
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from launches.credentials import Credential
from launches.models import Launch, RefusalTally, reference_of
from launches.refusal_texts import refusal_text
from lti.errors import LaunchError, LaunchErrorCode
from lti.products import correction_hint
from lti.return_url import return_url_with_message
from lti.roles import CourseRole, parse_roles
from organizations.identifiers import uuid7

logger = structlog.get_logger(__name__)

# Beyond the limit refusals are only counted; the count is written down now and then, not at every refusal.
TALLY_EVERY = 25


@dataclass(frozen=True)
class RefusedLaunch:
    """What is known of a launch when it is refused: nothing of it needs to be verified, except `return_url`.

    `diagnose` says more for the launch log (base_string, explanation and variant of a bad LTI 1.1 signature); it is
    called for refusals that are kept only, since it costs.
    """

    error: LaunchError
    url: str
    lti_version: str = "1.1"
    credential: Credential | None = None
    roles: str = ""
    message_type: str = ""
    document_target: str = ""
    lms: str = ""
    return_url: str = ""
    diagnose: Callable[[], Mapping[str, str]] | None = None


def refuse(request: HttpRequest, refused: RefusedLaunch) -> HttpResponse:
    """Counts, logs and answers a refused launch."""
    now = timezone.now()
    minute = now.replace(second=0, microsecond=0)
    over_address = _count(f"address:{request.META.get('REMOTE_ADDR', '')}", minute) > _limit()
    # A key that is not known costs the same work as one that is: the time taken says nothing of which keys exist (A18).
    of_whom = refused.credential.id if refused.credential else "nobody"
    count = _count(f"credential:{of_whom}", minute)
    over_credential = refused.credential is not None and count > _limit()
    if refused.credential is not None and over_credential and (count - _limit()) % TALLY_EVERY == 1:
        _tally(refused.credential, minute, count - _limit())
    launch_id = uuid7()
    error = refused.error
    if over_address or over_credential:
        error = LaunchError(LaunchErrorCode.TOO_MANY_REQUESTS, "refused launches in a minute")
    elif refused.credential is not None or refused.diagnose is not None:
        _log(launch_id, refused, now)
    logger.info(
        "launch_refused",
        code=error.code.value,
        check=error.check,
        reference=reference_of(launch_id),
        organization=str(refused.credential.installation.organization_id) if refused.credential else "",
    )
    return _page(request, refused, error, reference_of(launch_id))


def _limit() -> int:
    return int(settings.REFUSED_LAUNCHES_PER_MINUTE)


def _count(what: str, minute: datetime) -> int:
    key = f"refused:{what}:{minute:%H%M}"
    cache.add(key, 0, timeout=120)
    try:
        return cache.incr(key)
    except ValueError:
        # The entry vanished between the two calls: a fresh count is as good.
        return 1


def _tally(credential: Credential, minute: datetime, count: int) -> None:
    RefusalTally.objects.bulk_create(
        [
            RefusalTally(
                credential=credential.id,
                minute=minute,
                organization_id=credential.installation.organization_id,
                count=count,
            )
        ],
        update_conflicts=True,
        unique_fields=["credential", "minute"],
        update_fields=["count"],
    )


def _log(launch_id: UUID, refused: RefusedLaunch, now: datetime) -> None:
    """Writes the entry of the launch log; one that is nobody's is taken back."""
    error, credential = refused.error, refused.credential
    lms = refused.lms or (credential.installation.lms if credential else "")
    diagnosis = refused.diagnose() if refused.diagnose else {}
    refusal = {
        "check": error.check,
        "expected": error.expected,
        "received": error.received,
        "cause": error.cause,
        "lms": lms,
        "url": refused.url.partition("?")[0],
        **diagnosis,
        "hint": correction_hint(lms, error.code, diagnosis.get("variant", "")),
    }
    entry = Launch(
        id=launch_id,
        organization_id=credential.installation.organization_id if credential else launch_id,
        installation=credential.installation if credential else None,
        lti_key=credential.key if credential else None,
        deployment=credential.deployment if credential else None,
        credential=credential.id if credential else launch_id,
        nonce=None,
        at=now,
        result=error.code.value,
        lti_version=refused.lti_version,
        message_type=refused.message_type[:64],
        role=parse_roles(refused.roles).course_role.value,
        roles=refused.roles[:2000],
        document_target=refused.document_target[:16],
        refusal=refusal,
    )
    with transaction.atomic():
        _commit_without_waiting()
        entry.save(force_insert=True)
        if credential is None:
            transaction.set_rollback(True)


def _commit_without_waiting() -> None:
    """In this transaction PostgreSQL does not wait for the disk: a refusal is worth no wait, which floods would add up
    and which tells an entry that is kept from one that is taken back."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL synchronous_commit TO OFF")


def _page(request: HttpRequest, refused: RefusedLaunch, error: LaunchError, reference: str) -> HttpResponse:
    words = refusal_text(error.code, error.check)
    # Unverified roles may choose between two texts, but open nothing (A20).
    is_staff = parse_roles(refused.roles).course_role is not CourseRole.STUDENT
    return_url = ""
    if refused.return_url:
        return_url = return_url_with_message(
            refused.return_url,
            error_message=f"{words.title}. Reference {reference}.",
            error_log=f"{error.code.value} {reference}",
        )
    return refusal_page(request, error, reference, is_staff=is_staff, return_url=return_url)


def refusal_page(
    request: HttpRequest, error: LaunchError, reference: str, *, is_staff: bool, return_url: str = ""
) -> HttpResponse:
    """The page of a refusal, with the status and header of the contract (§3)."""
    words = refusal_text(error.code, error.check)
    response = render(
        request,
        "launches/refused.html",
        {
            "title": words.title,
            "text": words.text,
            "advice": words.advice,
            "is_staff": is_staff,
            "staff_text": words.staff,
            "details": [("Code", error.code.value), ("Time", timezone.now().strftime("%Y-%m-%d %H:%M:%S UTC"))],
            "reference": reference,
            "code": error.code.value,
            "return_url": return_url,
        },
        status=error.status,
    )
    response["X-Launch-Error"] = error.code.value
    if error.status == 405:
        response["Allow"] = "POST"
    if error.status == 429:
        response["Retry-After"] = "60"
    return response
