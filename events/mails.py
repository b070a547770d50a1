"""Mails of the platform's own accord: rows written in the transaction of what they tell of, sent by whoever is told to,
and again until the mail server takes them. The queue only wakes the sender up."""

import hashlib
import smtplib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from events.models import Mail, WebhookEndpoint
from events.waking import knock
from organizations.models import Membership, Organization

logger = structlog.get_logger(__name__)

SEND_MAILS = "events.send_mails"
# Longer than a mail server may take for one mail; who died with a mail in hand lets go of it by itself.
LEASE = timedelta(minutes=5)
FIRST_RETRY = timedelta(minutes=1)
LONGEST_RETRY = timedelta(hours=6)
GIVEN_UP_AFTER = timedelta(days=7)
# How many mails one run takes; the next one goes on.
MOST_AT_ONCE = 500


@dataclass(frozen=True)
class Letter:
    """A mail to be written: `about` and `occasion` say what made it, so that one address gets it once."""

    kind: str
    about: UUID
    occasion: str
    address: str
    subject: str
    body: str
    stop_url: str = ""

    @property
    def once(self) -> str:
        who = hashlib.sha256(self.address.lower().encode()).hexdigest()[:24]
        return f"{self.kind}:{self.about}:{self.occasion}:{who}"


def write_mails(organization: Organization | UUID, letters: Iterable[Letter]) -> None:
    """Writes the mails, due at once; those that were written before stay as they are. Call it in the transaction of
    what they tell of."""
    organization_id = organization if isinstance(organization, UUID) else organization.pk
    rows = [
        Mail(
            organization_id=organization_id,
            kind=letter.kind,
            once=letter.once,
            about=letter.about,
            address=letter.address,
            subject=" ".join(letter.subject.split())[:255],
            body=letter.body,
            stop_url=letter.stop_url,
        )
        for letter in letters
    ]
    if not rows:
        return
    Mail.objects.bulk_create(rows, ignore_conflicts=True, batch_size=200)
    transaction.on_commit(wake_sender)


def wake_sender() -> None:
    """Tells a worker that mails are due. Lost wake-ups cost a minute: beat looks as well."""
    knock(task=SEND_MAILS)


@dataclass(frozen=True)
class Mailed:
    """What a run did: `unneeded` were about something that is not so any more."""

    sent: int = 0
    failed: int = 0
    unneeded: int = 0


def send_due_mails() -> Mailed:
    """Sends what is due. Each mail is claimed by one statement, so that two who run at once send it once.

    What the mail server does not take is due again later, for a week; what is no mail is given up at once. When the
    server cannot be reached at all, the rest of the run is left to the next one.
    """
    sent = failed = unneeded = 0
    due = _due(timezone.now()).order_by("due_at", "id").values_list("pk", flat=True)[:MOST_AT_ONCE]
    connection: BaseEmailBackend = get_connection()
    try:
        for pk in list(due):
            mail = _claimed(pk)
            if mail is None:
                continue
            if not _is_so(mail):
                Mail.objects.filter(pk=pk).update(due_at=None, claimed_until=None, last_error="not so any more")
                unneeded += 1
                continue
            try:
                _message(mail, connection).send()
            except ValueError as error:
                # An address or a subject that no mail can have: it must not keep those behind it waiting.
                _give_up(mail, type(error).__name__)
                failed += 1
            except (OSError, smtplib.SMTPException) as error:
                _put_off(mail, type(error).__name__)
                failed += 1
                # One that is about this mail alone leaves the connection as good as before.
                if not isinstance(error, smtplib.SMTPResponseException | smtplib.SMTPRecipientsRefused):
                    break
            else:
                _note_sent(mail)
                sent += 1
    finally:
        connection.close()
    if sent or failed or unneeded:
        logger.info("mails_sent", sent=sent, failed=failed, unneeded=unneeded)
    return Mailed(sent, failed, unneeded)


def _due(now: datetime) -> QuerySet[Mail]:
    free = Q(claimed_until=None) | Q(claimed_until__lte=now)
    return Mail.objects.filter(free, due_at__lte=now, organization__enabled=True)


def _claimed(pk: UUID) -> Mail | None:
    now = timezone.now()
    mine = Mail.objects.filter(Q(claimed_until=None) | Q(claimed_until__lte=now), pk=pk, due_at__lte=now)
    if not mine.update(claimed_until=now + LEASE, attempts=F("attempts") + 1):
        return None
    return Mail.objects.select_related("organization").get(pk=pk)


def _is_so(mail: Mail) -> bool:
    """Whether what the mail tells of is still so, days later perhaps, and its receiver is still who may hear of it."""
    if mail.kind == Mail.Kind.GRADE_DIGEST:
        # Switched off for everybody since.
        return mail.organization.grade_digest
    owners = mail.organization.memberships.filter(role=Membership.Role.OWNER, user__is_active=True)
    if not owners.filter(user__email=mail.address).exists():
        return False
    endpoints = WebhookEndpoint.objects.filter(pk=mail.about)
    if mail.kind == Mail.Kind.WEBHOOK_WARNING:
        return endpoints.filter(enabled=True, failing_since__isnull=False).exists()
    return endpoints.filter(enabled=False).exclude(disabled_reason="").exists()


def _put_off(mail: Mail, reason: str) -> None:
    now = timezone.now()
    wait = min(FIRST_RETRY * 2 ** min(mail.attempts - 1, 20), LONGEST_RETRY)
    given_up = now - mail.created_at >= GIVEN_UP_AFTER
    Mail.objects.filter(pk=mail.pk).update(
        due_at=None if given_up else now + wait, claimed_until=None, last_error=reason[:100]
    )
    logger.warning("mail_not_sent", mail_id=str(mail.pk), kind=mail.kind, reason=reason, given_up=given_up)


def _give_up(mail: Mail, reason: str) -> None:
    Mail.objects.filter(pk=mail.pk).update(due_at=None, claimed_until=None, last_error=f"Cannot be written: {reason}")
    logger.warning("mail_impossible", mail_id=str(mail.pk), kind=mail.kind, reason=reason)


def _note_sent(mail: Mail) -> None:
    now = timezone.now()
    with transaction.atomic():
        Mail.objects.filter(pk=mail.pk).update(sent_at=now, due_at=None, claimed_until=None, last_error="")
        if mail.kind == Mail.Kind.WEBHOOK_WARNING:
            # From when the warning has left, not from when it was written: owners have a day to react.
            warned = WebhookEndpoint.objects.filter(pk=mail.about, failing_since__isnull=False, warned_at=None)
            warned.update(warned_at=now)


def _message(mail: Mail, connection: BaseEmailBackend) -> EmailMessage:
    domain = settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].rstrip(">") or "localhost"
    # The same every time: where a mail left twice after all, mailboxes can tell.
    headers = {"Message-ID": f"<{mail.pk}@{domain}>", "Auto-Submitted": "auto-generated"}
    if mail.stop_url:
        headers |= {"List-Unsubscribe": f"<{mail.stop_url}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
    return EmailMessage(mail.subject, mail.body, to=[mail.address], headers=headers, connection=connection)
