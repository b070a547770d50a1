"""The append-only log of what happened, and the outbox of everything that is to be told to somebody else."""

import base64
import secrets

from django.db import models
from django.utils import timezone

from organizations.encryption import EncryptedTextField
from organizations.identifiers import uuid7
from organizations.models import Organization
from organizations.rotation import RotatingSecret


class Event(models.Model):
    """Something worth telling, written in the transaction of the change itself. Never updated."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="events")
    type = models.CharField(max_length=64)
    at = models.DateTimeField(default=timezone.now)
    # {"kind": "person" | "user" | "api_token" | "system", "id": …, "name": …}
    actor = models.JSONField(default=dict)
    # {"kind": "assignment" | "score" | …, "id": …}
    subject = models.JSONField(default=dict)
    data = models.JSONField(default=dict)

    organization_path = "organization"

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["organization", "id"], name="event_by_organization"),
            models.Index(fields=["organization", "type", "id"], name="event_by_type"),
        ]

    def __str__(self) -> str:
        return self.type


def new_webhook_secret() -> str:
    """A signing secret as Standard Webhooks writes it: 32 random bytes in base64 behind `whsec_`."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


class WebhookEndpoint(RotatingSecret):
    """Where an organization wants its events told to (Standard Webhooks 1.0).

    `event_types` holds "*" or the names of event types. `disabled_reason` says in words why the platform switched it
    off (410, or days of failure); `failing_since` is when the first delivery failed after the last success.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="webhook_endpoints")
    url = models.URLField("URL", max_length=2000)
    description = models.CharField(max_length=255, blank=True)
    event_types = models.JSONField(default=list)
    secret = EncryptedTextField(default=new_webhook_secret)
    enabled = models.BooleanField(default=True)
    disabled_reason = models.CharField(max_length=500, blank=True, editable=False)
    failing_since = models.DateTimeField(null=True, blank=True, editable=False)
    warned_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    organization_path = "organization"

    class Meta:
        verbose_name = "webhook"
        ordering = ["created_at"]
        constraints = [models.UniqueConstraint(fields=["organization", "url"], name="webhook_endpoint_once")]

    def __str__(self) -> str:
        return self.description or self.url

    def valid_secrets(self) -> list[str]:
        """The secrets to sign with: the current one, and while its overlap lasts the one before."""
        previous = self.valid_previous_secret()
        return [self.secret] if previous is None else [self.secret, previous]


class Delivery(models.Model):
    """One thing to be sent to one target: a row of the outbox, written in the transaction of what caused it.

    A target (for a grade: its gradebook cell) has at most one delivery under way, and a newer sequence supersedes
    what still waits. `due_at` is null while a delivery is held: it waits for a person, not for time.
    """

    class Kind(models.TextChoices):
        GRADE = "grade", "Grade"
        WEBHOOK = "webhook", "Webhook"

    class State(models.TextChoices):
        PENDING = "pending", "Waiting"
        DELIVERED = "delivered", "Delivered"
        FAILED = "failed", "Failed"
        SUPERSEDED = "superseded", "Superseded"
        CANCELLED = "cancelled", "Cancelled"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="deliveries")
    kind = models.CharField(max_length=16, choices=Kind)
    # Of a webhook; deliveries to one endpoint go side by side, so that each is a target of its own. An endpoint may be
    # deleted while a worker is at one of them: the row and its attempts stay, as the record of what was sent.
    endpoint = models.ForeignKey(
        WebhookEndpoint, models.SET_NULL, null=True, blank=True, db_index=False, related_name="deliveries"
    )
    target_id = models.UUIDField()  # grade: the gradebook cell
    source_id = models.UUIDField()  # grade: the score; webhook: the event
    sequence = models.PositiveBigIntegerField()  # grade: the score's version
    payload = models.JSONField(default=dict)
    host = models.CharField(max_length=255, blank=True)
    state = models.CharField(max_length=16, choices=State, default=State.PENDING)
    due_at = models.DateTimeField(null=True, default=timezone.now)
    claimed_until = models.DateTimeField(null=True, blank=True)
    claim = models.UUIDField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    failures = models.PositiveIntegerField(default=0)  # in a row, since it was last made due by hand: sets the backoff
    refused_signatures = models.PositiveSmallIntegerField(default=0)  # 401 and its kin: retried a few times only (B15)
    last_error_code = models.CharField(max_length=64, blank=True)
    last_error = models.TextField(blank=True)  # plain words for the teacher and the owner
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    give_up_at = models.DateTimeField()
    delivered_at = models.DateTimeField(null=True, blank=True)

    organization_path = "organization"

    class Meta:
        verbose_name_plural = "deliveries"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "target_id", "source_id", "sequence"], name="delivery_once_per_version"
            ),
            # Deliveries to one target never overlap, whoever claims them (design §5).
            models.UniqueConstraint(
                fields=["kind", "target_id"],
                condition=models.Q(claim__isnull=False),
                name="delivery_one_under_way_per_target",
            ),
            models.UniqueConstraint(
                fields=["endpoint", "source_id"],
                condition=models.Q(endpoint__isnull=False),
                name="delivery_event_once_per_endpoint",
            ),
            models.CheckConstraint(
                condition=models.Q(endpoint__isnull=True) | models.Q(kind="webhook"),
                name="delivery_endpoint_of_webhook",
            ),
            models.CheckConstraint(
                condition=models.Q(claim__isnull=True) | models.Q(state="pending"), name="delivery_claimed_is_pending"
            ),
            models.CheckConstraint(
                condition=models.Q(claim__isnull=True, claimed_until__isnull=True)
                | models.Q(claim__isnull=False, claimed_until__isnull=False),
                name="delivery_claim_has_a_lease",
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=["pending", "delivered", "failed", "superseded", "cancelled"]),
                name="delivery_state",
            ),
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=models.Q(state="pending"), name="delivery_due"),
            models.Index(fields=["claimed_until"], condition=models.Q(claim__isnull=False), name="delivery_claimed"),
            # By which the claim steps from one receiver of an organization to the next, however much waits for each.
            models.Index(
                fields=["organization", "host", "due_at"],
                condition=models.Q(state="pending", claim__isnull=True, due_at__isnull=False),
                name="delivery_due_by_receiver",
            ),
            models.Index(fields=["source_id"], name="delivery_by_source"),
            models.Index(fields=["organization", "state", "id"], name="delivery_by_state"),
            models.Index(
                fields=["endpoint", "id"], condition=models.Q(endpoint__isnull=False), name="delivery_by_endpoint"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.get_state_display().lower()}"


class SilentHost(models.Model):
    """A host that left an organization's requests unanswered; the row goes with its first answer.

    After some in a row it rests until `resting_until` (null: not yet), and is then tried with one request at a time.
    By organization, so that nobody can make another tenant's deliveries rest.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="silent_hosts")
    host = models.CharField(max_length=255)
    unanswered = models.PositiveIntegerField()  # in a row
    rests = models.PositiveSmallIntegerField(default=0)  # in a row: each is longer than the one before
    resting_until = models.DateTimeField(null=True, blank=True)

    organization_path = "organization"

    class Meta:
        ordering = ["host"]
        constraints = [models.UniqueConstraint(fields=["organization", "host"], name="silent_host_once")]

    def __str__(self) -> str:
        return self.host


class Attempt(models.Model):
    """One try of a delivery: saved before anything is sent, completed afterwards. No outcome: the worker died."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    delivery = models.ForeignKey(Delivery, models.CASCADE, related_name="tries")
    number = models.PositiveIntegerField()
    started_at = models.DateTimeField(default=timezone.now)
    duration_ms = models.PositiveIntegerField(null=True, blank=True)
    request = models.TextField(blank=True)  # redacted
    response_status = models.PositiveSmallIntegerField(null=True, blank=True)
    response = models.TextField(blank=True)  # an excerpt
    outcome = models.CharField(max_length=32, blank=True)
    error = models.TextField(blank=True)

    organization_path = "delivery__organization"

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["delivery", "number"], name="attempt_number_once")]

    def __str__(self) -> str:
        return f"Attempt {self.number}"


class Mail(models.Model):
    """A mail to be sent: a row of the outbox, too, written in the transaction of what it tells of.

    `once` says which mail this is, so that nobody writes it twice. It leaves when it is due, and is due again later
    where the mail server did not take it; `due_at` is null once it has left or was given up.
    """

    class Kind(models.TextChoices):
        GRADE_DIGEST = "grade_digest", "Digest of grades that did not arrive"
        WEBHOOK_WARNING = "webhook_warning", "A webhook fails"
        WEBHOOK_DISABLED = "webhook_disabled", "A webhook was disabled"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="mails")
    kind = models.CharField(max_length=32, choices=Kind)
    once = models.CharField(max_length=128, unique=True)
    about = models.UUIDField()  # digest: the day's GradeDigest; webhook: the endpoint
    address = models.EmailField()
    subject = models.CharField(max_length=255)
    body = models.TextField()
    stop_url = models.CharField(max_length=500, blank=True)  # where the receiver switches such mails off
    due_at = models.DateTimeField(null=True, default=timezone.now)
    claimed_until = models.DateTimeField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    last_error = models.CharField(max_length=100, blank=True)
    sent_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now)

    organization_path = "organization"

    class Meta:
        indexes = [
            models.Index(fields=["due_at"], condition=models.Q(due_at__isnull=False), name="mail_due"),
            models.Index(fields=["about"], name="mail_by_subject"),
        ]

    def __str__(self) -> str:
        return self.get_kind_display()
