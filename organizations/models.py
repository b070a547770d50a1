"""Tenants, the people in them, the LMSs connected to them, and the credentials those LMSs use."""

import hashlib
from datetime import timedelta
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone

from organizations.encryption import EncryptedTextField
from organizations.identifiers import random_token, uuid7
from organizations.rotation import RotatingSecret
from organizations.time_zones import time_zone_validator

# Moodle HTML-escapes a key before it looks it up, so `&`, `<`, `>` and quotes break every outcome call (moodle.md 12).
# What we generate is narrower: [A-Za-z0-9_-], at most 64.
consumer_key_validator = RegexValidator(
    r"^[A-Za-z0-9._~:@/+=-]{1,255}\Z", "Use letters, digits and . _ ~ : @ / + = - only (at most 255)."
)
slug_validator = RegexValidator(
    r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z", "Use a-z, 0-9 and inner hyphens (at most 63)."
)


class UserManager(BaseUserManager["User"]):
    """Users are named by their e-mail address, whatever its case."""

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email__iexact=username)

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """A user who signs in directly; without a password an unusable one is set."""
        user = self.model(email=self.normalize_email(email), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        return self.create_user(email, password, is_superuser=True, **fields)


class User(AbstractBaseUser, PermissionsMixin):
    """Somebody who signs in directly: an owner, a teacher, or an operator (superuser). LMS users are `Person`s."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    email = models.EmailField("e-mail address", unique=True)
    name = models.CharField(max_length=255, blank=True)
    is_active = models.BooleanField("active", default=True)
    date_joined = models.DateTimeField(default=timezone.now, editable=False)

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"

    objects = UserManager()

    class Meta:
        constraints = [models.UniqueConstraint(Lower("email"), name="user_email_case_insensitive")]

    def __str__(self) -> str:
        return self.name or self.email

    @property
    def is_staff(self) -> bool:
        """Whether the admin opens: for operators and for owners of an enabled organization."""
        return self.is_active and (
            self.is_superuser
            or self.memberships.filter(role=Membership.Role.OWNER, organization__enabled=True).exists()
        )

    def get_full_name(self) -> str:
        return self.name

    def get_short_name(self) -> str:
        return self.name or self.email


class Organization(models.Model):
    """A tenant."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.CharField(max_length=63, unique=True, validators=[slug_validator])
    name = models.CharField(max_length=255)
    enabled = models.BooleanField(
        default=True,
        help_text="A suspended organization's launches, pages and API tokens are refused; nothing is deleted.",
    )
    launch_log_days = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(3650)],
        help_text="How long launches stay in the log. Empty: the platform's default.",
    )
    time_zone = models.CharField(
        max_length=64,
        default="UTC",
        validators=[time_zone_validator],
        help_text="Where its days begin and end, on the home page and for mails: a name such as Europe/Berlin.",
    )
    grade_digest = models.BooleanField(
        default=True, help_text="Mail owners and teachers a daily digest of grades that did not arrive."
    )
    branding = models.JSONField(default=dict, blank=True)
    meeting_policy = models.JSONField(default=dict, blank=True)
    frame_ancestors = models.TextField(
        blank=True,
        help_text="Origins that may show this organization's pages in a frame, one a line (https://portal.example). "
        "The LMS that launched is always allowed.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    organization_path = ""

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A user's role in an organization."""

    class Role(models.TextChoices):
        OWNER = "owner", "Owner"
        TEACHER = "teacher", "Teacher"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role)
    grade_digest = models.BooleanField(
        "gets the digest", default=True, help_text="The daily mail about grades that did not arrive."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    organization_path = "organization"

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "user"], name="membership_once"),
            models.CheckConstraint(condition=models.Q(role__in=["owner", "teacher"]), name="membership_role"),
        ]

    def __str__(self) -> str:
        return f"{self.user.email} ({self.get_role_display()})"

    @property
    def is_accepted(self) -> bool:
        """Whether the user has come since the invitation. Until then an organization sees of a user who was known to
        the platform before no more than the address it typed in itself."""
        last_login = self.user.last_login
        return self.user.date_joined >= self.created_at - timedelta(seconds=5) or (
            last_login is not None and last_login >= self.created_at
        )


class Installation(models.Model):
    """One LMS connected to one organization."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="installations")
    name = models.CharField(max_length=255)
    enabled = models.BooleanField(default=True)
    verified_emails = models.BooleanField(
        "this LMS's e-mail addresses are verified",
        default=False,
        help_text="People with the same address in other LMSs are then taken for one person. Turn it on only for "
        "an LMS whose users cannot choose their own address.",
    )
    service_hosts = models.JSONField(
        default=list,
        blank=True,
        help_text="Hosts that grades may be sent to, e.g. lms.example or *.instructure.com. "
        "The first verified launch adds its own.",
    )
    pending_service_hosts = models.JSONField(default=list, blank=True, editable=False)
    # What its launches say it is (A35); the guid also tells when one key is used by two LMSs (A36).
    lms = models.CharField("LMS", max_length=32, blank=True, editable=False)
    lms_version = models.CharField("LMS version", max_length=255, blank=True, editable=False)
    instance_guid = models.CharField(max_length=255, blank=True, editable=False)
    instance_name = models.CharField(max_length=255, blank=True, editable=False)
    other_instance_guids = models.JSONField(default=list, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    organization_path = "organization"

    class Meta:
        verbose_name = "LMS installation"
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["organization", "name"], name="installation_name_once")]

    def __str__(self) -> str:
        return self.name


class LtiKey(RotatingSecret):
    """An LTI 1.1 consumer key with its shared secret, and a second secret while rotating (A19)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    installation = models.ForeignKey(Installation, models.CASCADE, related_name="keys")
    # Globally unique: a launch names nothing but the key, and the key finds the tenant (A18).
    consumer_key = models.CharField(
        max_length=255, unique=True, default=random_token, validators=[consumer_key_validator]
    )
    secret = EncryptedTextField("shared secret", default=random_token)
    enabled = models.BooleanField(default=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    previous_secret_last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    organization_path = "installation__organization"

    class Meta:
        verbose_name = "LTI key"
        ordering = ["created_at"]

    def __str__(self) -> str:
        return self.consumer_key

    def secrets_by_use(self) -> list[str]:
        """The valid secrets, first the one that the LMS used last: that is the one that it knows (A19)."""
        previous = self.valid_previous_secret()
        if previous is None:
            return [self.secret]
        new_was_used = self.last_used_at is not None and (
            self.previous_secret_last_used_at is None or self.last_used_at >= self.previous_secret_last_used_at
        )
        return [self.secret, previous] if new_was_used else [previous, self.secret]


class Registration(models.Model):
    """An LTI 1.3 registration: our client id at one platform, and that platform's endpoints (D1).

    It is looked up inside the organization whose login URL was called, so nobody can claim another tenant's issuer and
    client id (design §5). Issuers are compared to the letter (D4).
    """

    class State(models.TextChoices):
        PENDING = "pending", "Waits for the owner"
        ACTIVE = "active", "Active"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="registrations")
    # Where deployments of this registration belong unless the owner says otherwise.
    installation = models.ForeignKey(Installation, models.CASCADE, related_name="registrations")
    issuer = models.CharField(max_length=255)
    client_id = models.CharField("client id", max_length=255)
    auth_login_url = models.CharField("authentication request URL", max_length=2000)
    token_url = models.CharField("access token URL", max_length=2000)
    jwks_url = models.CharField("public key set URL", max_length=2000, blank=True)
    public_key_pem = models.TextField("public key (PEM), where the LMS has no key set URL", blank=True)
    token_audience = models.CharField(max_length=2000, blank=True, help_text="Empty: the access token URL.")
    # Where the LMS keeps what it registered us as, and the token to change it (D43).
    configuration_url = models.CharField(max_length=2000, blank=True, editable=False)
    configuration_token = EncryptedTextField(blank=True, default="", editable=False)
    # The LTI 1.1 key that the LMS proved to be upgrading from (D44).
    upgraded_key = models.ForeignKey(
        LtiKey, models.SET_NULL, null=True, blank=True, editable=False, related_name="upgrades"
    )
    enabled = models.BooleanField(default=True)
    state = models.CharField(max_length=16, choices=State, default=State.ACTIVE)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    organization_path = "organization"

    class Meta:
        verbose_name = "LTI 1.3 registration"
        ordering = ["created_at"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "issuer", "client_id"], name="registration_once"),
            models.CheckConstraint(condition=models.Q(state__in=["pending", "active"]), name="registration_state"),
        ]

    def __str__(self) -> str:
        return f"{self.issuer} ({self.client_id})"

    @property
    def is_usable(self) -> bool:
        return self.enabled and self.state == self.State.ACTIVE


class Deployment(models.Model):
    """A deployment of a registration: the installation that its users, courses and links belong to.

    One that nobody announced is `pending` until an owner approves it; that approval says that its ids and the
    installation's LTI 1.1 ids are one namespace (design §5).
    """

    class State(models.TextChoices):
        PENDING = "pending", "Waits for the owner"
        APPROVED = "approved", "Approved"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    registration = models.ForeignKey(Registration, models.CASCADE, related_name="deployments")
    deployment_id = models.CharField("deployment id", max_length=255)
    installation = models.ForeignKey(Installation, models.CASCADE, related_name="deployments")
    state = models.CharField(max_length=16, choices=State, default=State.APPROVED)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    organization_path = "registration__organization"

    class Meta:
        ordering = ["created_at"]
        constraints = [
            models.UniqueConstraint(fields=["registration", "deployment_id"], name="deployment_once"),
            models.CheckConstraint(condition=models.Q(state__in=["pending", "approved"]), name="deployment_state"),
        ]

    def __str__(self) -> str:
        return self.deployment_id


class RegistrationInvite(models.Model):
    """A one-time invite for dynamic registration: seven days, used up by a registration that succeeds (D40, J18)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="invites")
    name = models.CharField(max_length=255)
    # The LMS it is for, where it is connected already.
    installation = models.ForeignKey(
        Installation, models.SET_NULL, null=True, blank=True, editable=False, related_name="invites"
    )
    hash = models.CharField(max_length=64, unique=True, editable=False)  # SHA-256 of the token in the link
    expires_at = models.DateTimeField()
    # While one registration is under way another one waits; who died with it lets go by itself.
    claimed_until = models.DateTimeField(null=True, blank=True, editable=False)
    used_at = models.DateTimeField(null=True, blank=True, editable=False)
    registration = models.OneToOneField(
        Registration, models.SET_NULL, null=True, blank=True, editable=False, related_name="invite"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    organization_path = "organization"

    class Meta:
        verbose_name = "registration invite"
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name


class Person(models.Model):
    """Somebody known to one organization."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="people")
    user = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="people")
    name = models.CharField(max_length=255, blank=True)
    given_name = models.CharField(max_length=255, blank=True)
    family_name = models.CharField(max_length=255, blank=True)
    email = models.CharField("e-mail address", max_length=320, blank=True)
    # Asserted by an installation whose addresses the owner vouched for; only such an address ever links people (J4).
    email_verified = models.BooleanField(default=False, editable=False)
    picture_url = models.CharField(max_length=2000, blank=True)
    # Of a teacher who is no member: whether the daily mail about grades that did not arrive may come.
    grade_digest = models.BooleanField(default=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    organization_path = "organization"

    class Meta:
        verbose_name_plural = "people"
        ordering = ["name"]
        indexes = [
            models.Index(fields=["organization", "name"], name="person_by_name"),
            models.Index(Lower("email"), "organization", name="person_by_email"),
        ]

    def __str__(self) -> str:
        return self.display_name

    @property
    def display_name(self) -> str:
        """The name to show; never empty (A23)."""
        return self.name or "Guest"


class SignInLink(models.Model):
    """A mailed link with which a person gets a sign-in of their own: once, within a day, and only while the LMS still
    gives the address that it was mailed to."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    person = models.ForeignKey(Person, models.CASCADE, related_name="sign_in_links")
    email = models.CharField("e-mail address", max_length=254)
    hash = models.CharField(max_length=64, unique=True, editable=False)  # SHA-256 of the token in the link
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    organization_path = "person__organization"

    class Meta:
        indexes = [models.Index(Lower("email"), name="sign_in_link_by_email")]

    def __str__(self) -> str:
        return f"{self.person}, {self.created_at:%d %b %Y %H:%M}"


class LmsAccount(models.Model):
    """(installation, LMS user id) → person. The id is opaque and case-sensitive (A22, A31)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    installation = models.ForeignKey(Installation, models.CASCADE, related_name="accounts")
    lms_user_id = models.CharField("LMS user id", max_length=255)
    person = models.ForeignKey(Person, models.CASCADE, related_name="accounts")
    username = models.CharField(max_length=255, blank=True)
    sourcedid = models.CharField(max_length=255, blank=True)
    is_test_user = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    organization_path = "installation__organization"

    class Meta:
        verbose_name = "LMS account"
        constraints = [models.UniqueConstraint(fields=["installation", "lms_user_id"], name="lms_account_once")]

    def __str__(self) -> str:
        return self.lms_user_id


class ToolKey(models.Model):
    """An organization's RSA key: signs hand-off tokens, and (LTI 1.3) client assertions and deep-linking answers."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="tool_keys")
    key_id = models.CharField(max_length=64, unique=True, default=random_token, editable=False)
    private_key = EncryptedTextField(editable=False)
    public_jwk = models.JSONField(editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # Published before it signs, and published for a while after it stopped (D33).
    signs_from = models.DateTimeField(default=timezone.now)
    retired_at = models.DateTimeField(null=True, blank=True)

    organization_path = "organization"

    def __str__(self) -> str:
        return self.key_id


class ApiToken(models.Model):
    """A bearer token of the REST API. Only its hash is stored; the prefix recognises it in lists."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=255)
    prefix = models.CharField(max_length=12, editable=False)
    hash = models.CharField(max_length=64, unique=True, editable=False)
    enabled = models.BooleanField(default=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    organization_path = "organization"

    class Meta:
        verbose_name = "API token"
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["organization", "name"], name="api_token_name_once")]

    def __str__(self) -> str:
        return self.name

    @staticmethod
    def hash_of(token: str) -> str:
        """SHA-256, hexadecimal: a token has 256 bits of entropy, so a slow hash would add nothing."""
        return hashlib.sha256(token.encode()).hexdigest()

    def set_token(self, token: str) -> None:
        # A short token (given to `provision`) must not be given away by its prefix.
        self.prefix = token[: min(8, len(token) // 4)]
        self.hash = self.hash_of(token)


class AnsweredRequest(models.Model):
    """What a request with an `Idempotency-Key` was answered, so that the same request again is answered the same."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    api_token = models.ForeignKey(ApiToken, models.CASCADE, related_name="answered_requests")
    key = models.CharField(max_length=255)
    path = models.CharField(max_length=255)
    # SHA-256 of method, path and body, hexadecimal: what the key stands for.
    digest = models.CharField(max_length=64)
    # The answer's JSON, byte for byte; empty while the request is at work, which nobody else ever sees.
    answer = models.TextField(default="")
    created_at = models.DateTimeField(default=timezone.now)

    organization_path = "api_token__organization"

    class Meta:
        constraints = [models.UniqueConstraint(fields=["api_token", "key"], name="answered_request_key_once")]
        indexes = [models.Index(fields=["created_at"], name="answered_request_by_age")]

    def __str__(self) -> str:
        return self.path
